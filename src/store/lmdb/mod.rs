//! The LMDB engine: batches become durable in one memory-mapped B+tree file; the layout is in FORMAT.md.
//!
//! Touches the files of its directory and nothing else. Write transactions live only within `open`, `recover`,
//! `commit` and `sweep`, on the calling thread; read transactions only within `recover` and `read`, which copy out and
//! close (a reader left open makes the file grow). Invariants: every transaction is synced before it counts (`NO_SYNC`,
//! `NO_META_SYNC` and `WRITE_MAP` are never set but by [`LmdbOptions::sync`], in tests and for the spill); one broker a
//! directory; after an outcome that is not known, nothing is committed any more; LMDB maps no file whose tree of pages was
//! not judged before; the map is replaced by a larger one only while no transaction is open. What finds no room is tried
//! once more without the bulk of its deletions and without the ballast. What other processes may do with a store (look,
//! copy, exchange it) is in `access`. Deliberately absent: threads.

mod access;
mod ballast;
mod blocks;
mod bodies;
mod check;
mod commit;
mod counts;
mod index;
mod loaded;
mod lock;
mod meta;
mod pages;
#[doc(hidden)]
pub mod probe;
mod read;
mod recover;
mod schema;
mod space;
mod sweep;
mod tables;

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod bodies_tests;
#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use heed::{Env, EnvFlags, EnvOpenOptions, MdbError, WithoutTls};

use super::{Batch, Commit, Define, Engine, Generation, Page, QueueId, Recovered, Seq, Space, StoreError, Stretch};
use crate::sync::{Rank, RwLock};
pub use access::{Copied, Place, compact, copy, examine, forget_clean_end};
use ballast::Ballast;
pub use check::{Holding, Report};
use loaded::Loaded;
use tables::Tables;

/// LMDB's file: everything that is kept.
const DATA_FILE: &str = "data.mdb";

/// LMDB's table of readers.
const LOCK_TABLE: &str = "lock.mdb";

/// Size of the map that is tried first: address space only, far above any disk this broker is meant for.
const LARGEST_MAP: u64 = 1 << 40;

/// Smallest map that is tried where address space is rationed (`RLIMIT_AS`, some containers).
const SMALLEST_MAP: u64 = 1 << 30;

/// A multiple of every machine's page size; LMDB maps whole pages.
const LARGEST_PAGE: usize = 64 << 10;

/// Concurrent read transactions; more than the threads of tokio's blocking pool (512 by default).
const READERS: u32 = 1024;

/// Free space of the file system, in octets, below which LMDB's EIO is taken for a full disk: on some file systems
/// (tmpfs) a write that finds no room is short instead of failing, which LMDB reports as EIO.
const NO_SPACE: u64 = 4 << 20;

/// One commit in so many looks for places in the table of readers that a killed backup or check has left: until they are
/// cleared, no page that was in use then is used again.
const COMMITS_A_LOOK: u64 = 1024;

/// How an [`LmdbEngine`] is opened.
#[derive(Clone, Copy, Debug)]
pub struct LmdbOptions {
    /// Address space for the map in octets, the upper bound of the store's size; rounded up to 64 KiB. 0 tries
    /// 1 TiB and halves it, down to 1 GiB, until the system grants it.
    pub map_size: u64,
    /// What the map may grow to while it is in use, by doubling; 0 is `map_size`, or 1 TiB if that is 0 too.
    pub grow_to: u64,
    /// Whether commits wait for the disk. `false` loses everything at a power cut: for what need not survive, and tests.
    pub sync: bool,
}

impl Default for LmdbOptions {
    fn default() -> Self {
        Self { map_size: 0, grow_to: 0, sync: true }
    }
}

/// A store in a directory. Dropping it closes the files and gives the directory free.
#[derive(Debug)]
pub struct LmdbEngine {
    // Declared before the lock: the environment is closed before another process may come in.
    env: Env<WithoutTls>,
    tables: Tables,
    dir: PathBuf,
    /// Reading takes the shared side, replacing the map the exclusive one.
    gate: RwLock<()>,
    /// The map grows no larger than this, in octets.
    bound: AtomicU64,
    ballast: Ballast,
    loaded: Loaded,
    /// Commits until the table of readers is looked at.
    until_look: AtomicU64,
    /// There may be rows in `holes`.
    sweeping: AtomicBool,
    /// There may be shared bodies to which nothing refers.
    orphans: AtomicBool,
    /// The outcome of an earlier commit is not known; see [`Commit::Unknown`].
    failed: AtomicBool,
    /// Nothing was committed since freed pages were last helped to be usable.
    ripened: AtomicBool,
    /// Most blocks removed in one transaction.
    removals: usize,
    _lock: File,
}

impl LmdbEngine {
    /// Opens the store in `dir`, creating both (mode 0700) where missing.
    ///
    /// Fails with [`StoreError::Locked`] while another engine, of this or another process, has the directory open, and
    /// with [`StoreError::Schema`], changing nothing, if the store has another layout, and with
    /// [`StoreError::Damaged`] if LMDB could not use the file without harm.
    pub fn open(dir: &Path, options: LmdbOptions) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = lock::take(dir)?;
        access::prepare(dir, options)?;
        let env = open_env(dir, options)?;
        check_flags(&env, options)?;
        env.clear_stale_readers()?;
        let tables = Tables::open(&env)?;
        sync_names(dir)?;
        let bound = match (options.grow_to, options.map_size) {
            (0, 0) => LARGEST_MAP,
            (0, size) | (size, _) => size,
        };
        Ok(Self {
            env,
            tables,
            dir: dir.to_path_buf(),
            gate: RwLock::new(Rank::Leaf, ()),
            bound: AtomicU64::new(rounded(bound) as u64),
            ballast: Ballast::new(dir),
            loaded: Loaded::default(),
            until_look: AtomicU64::new(COMMITS_A_LOOK),
            sweeping: AtomicBool::new(true),
            orphans: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            ripened: AtomicBool::new(false),
            removals: sweep::REMOVALS,
            _lock: lock,
        })
    }

    /// How large the store's file is and how much of it is in use, for people.
    pub fn report(&self) {
        if let Some(usage) = self.usage() {
            let (file, used) = (usage.file >> 20, usage.used >> 20);
            tracing::info!("the store's file takes {file} MiB, of which {used} MiB are in use");
        }
    }

    /// Makes few blocks enough to defer their removal.
    #[cfg(test)]
    pub(super) fn with_removals(self, removals: usize) -> Self {
        Self { removals, ..self }
    }

    /// What a check of the rows finds.
    #[cfg(test)]
    pub(super) fn findings(&self) -> Vec<String> {
        let (txn, mut report) = (self.env.read_txn().expect("a transaction"), Report::default());
        check::rows(&self.tables, &txn, &mut report).expect("readable");
        report.findings
    }

    /// Whether an error means that there was no room, and everything is as before.
    fn is_full(&self, error: &heed::Error) -> bool {
        let no_room = match error {
            heed::Error::Mdb(MdbError::MapFull) => true,
            heed::Error::Io(error) => match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => true,
                _ => error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) && self.is_disk_full(),
            },
            _ => false,
        };
        // When LMDB could not write its root record, it refuses every later transaction: then it is not known
        // whether the old or the new root is on disk, whatever the error was.
        no_room && self.env.write_txn().is_ok()
    }

    fn is_disk_full(&self) -> bool {
        rustix::fs::statvfs(&self.dir).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < NO_SPACE)
    }

    /// Commits in one transaction that removes at most `removals` blocks for dropped ranges and queues.
    fn apply(&self, batch: &Batch, removals: usize) -> heed::Result<()> {
        let mut txn = self.env.write_txn()?;
        let holes = commit::apply(&self.tables, &mut txn, batch, removals)?;
        txn.commit()?;
        self.ripened.store(false, Ordering::Relaxed);
        self.sweeping.fetch_or(holes, Ordering::Relaxed);
        Ok(())
    }

    fn sweep_piece(&self, removals: usize) -> heed::Result<bool> {
        let mut txn = self.env.write_txn()?;
        let holes = sweep::piece(&self.tables, &mut txn, removals)?;
        let orphans = self.orphans.load(Ordering::Relaxed) && bodies::sweep(&self.tables, &mut txn, removals)?;
        txn.commit()?;
        self.ripened.store(false, Ordering::Relaxed);
        self.orphans.store(orphans, Ordering::Relaxed);
        self.sweeping.store(holes || orphans, Ordering::Relaxed);
        Ok(holes || orphans)
    }

    /// Whether something can be done so that a transaction which found no room may find some.
    fn make_room(&self, error: &heed::Error) -> bool {
        let more = match error {
            heed::Error::Mdb(MdbError::MapFull) => self.grow(),
            _ => self.drop_ballast(),
        };
        more || self.ripen()
    }

    /// LMDB hands a page out again two transactions after the one that freed it. If that was the last, what it freed is
    /// there and cannot be had: small transactions, which find room where a batch does not, bring it about. `false` if
    /// there was none of them, or nothing was committed since the last time.
    fn ripen(&self) -> bool {
        !self.ripened.swap(true, Ordering::Relaxed) && (self.advance().is_ok() && self.advance().is_ok())
    }

    fn advance(&self) -> heed::Result<()> {
        let mut txn = self.env.write_txn()?;
        // What the beginning of a run wrote there.
        self.tables.meta.put(&mut txn, schema::META_CLEAN, &[0])?;
        txn.commit()
    }

    fn failed(&self) -> Option<StoreError> {
        let failed = self.failed.load(Ordering::Relaxed);
        failed.then(|| StoreError::Engine("an earlier commit failed; what is durable is not known".to_owned()))
    }
}

impl Engine for LmdbEngine {
    fn recover(&self) -> Result<Recovered, StoreError> {
        loop {
            let txn = self.env.read_txn()?;
            let (mut recovered, miscounted) = recover::recover(&self.tables, &txn)?;
            drop(txn);
            match recover::begin_run(&self.tables, self.env.write_txn()?, &mut recovered, miscounted) {
                Ok(orphans) => {
                    self.orphans.store(orphans, Ordering::Relaxed);
                    self.sweeping.fetch_or(orphans, Ordering::Relaxed);
                    return Ok(recovered);
                }
                Err(error) if self.is_full(&error) && self.make_room(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn commit(&self, batch: &Batch) -> Commit {
        if let Some(error) = self.failed() {
            return Commit::Unknown(error);
        }
        self.grow_in_time();
        if self.until_look.fetch_sub(1, Ordering::Relaxed) <= 1 {
            self.until_look.store(COMMITS_A_LOOK, Ordering::Relaxed);
            // Where this fails the file grows a little more; the commit is none the worse for it.
            let _ = self.env.clear_stale_readers();
        }
        let mut removals = if removes(batch) { self.removals } else { 0 };
        loop {
            match self.apply(batch, removals) {
                Ok(()) => return Commit::Done,
                Err(error) if self.is_full(&error) => {
                    // Removing blocks takes room before it gives some: what is dropped may be removed later.
                    if std::mem::take(&mut removals) == 0 && !self.make_room(&error) {
                        return Commit::Full(error.into());
                    }
                }
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return Commit::Unknown(error.into());
                }
            }
        }
    }

    fn read(&self, queue: QueueId, lane: u8, from: Seq, until: Seq, budget: usize) -> Result<Page, StoreError> {
        let _shared = self.gate.read();
        let txn = self.env.read_txn()?;
        Ok(read::page(&self.tables, &txn, &self.loaded, queue, lane, from..until, budget)?)
    }

    fn stretches(&self, queue: QueueId, lane: u8) -> Result<Vec<Stretch>, StoreError> {
        let _shared = self.gate.read();
        let txn = self.env.read_txn()?;
        Ok(read::stretches(&self.tables, &txn, queue, lane)?)
    }

    /// Answers `false` also while there is no room to go on, so that nobody spins; the next call tries again.
    fn sweep(&self) -> Result<bool, StoreError> {
        if !self.sweeping.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if let Some(error) = self.failed() {
            return Err(error);
        }
        let mut removals = self.removals;
        loop {
            match self.sweep_piece(removals) {
                Ok(left) => return Ok(left),
                Err(error) if self.is_full(&error) => {
                    if removals <= 1 && !self.make_room(&error) {
                        return Ok(false);
                    }
                    removals = (removals / 2).max(1);
                }
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return Err(error.into());
                }
            }
        }
    }

    fn space(&self) -> Option<Space> {
        self.measure()
    }

    fn give_up_ballast(&self) -> bool {
        self.drop_ballast()
    }

    fn restore_ballast(&self, spare: u64) {
        self.remake_ballast(spare);
    }

    fn generation(&self) -> Result<Option<Generation>, StoreError> {
        let _shared = self.gate.read();
        let txn = self.env.read_txn()?;
        self.tables.generation(&txn)
    }
}

/// Whether a batch drops queues or ranges.
fn removes(batch: &Batch) -> bool {
    batch.definitions.iter().any(|define| matches!(define, Define::DropQueue { .. }))
        || batch.queues.iter().any(|queue| !queue.drops.is_empty())
}

impl From<heed::Error> for StoreError {
    fn from(error: heed::Error) -> Self {
        match error {
            heed::Error::Io(error) => Self::Io(error),
            other => Self::Engine(other.to_string()),
        }
    }
}

/// Opens the environment with the asked-for map, or the largest the system grants.
fn open_env(dir: &Path, options: LmdbOptions) -> Result<Env<WithoutTls>, StoreError> {
    let flags = if options.sync { EnvFlags::empty() } else { EnvFlags::NO_SYNC };
    if options.map_size > 0 {
        return Ok(open_env_sized(dir, options.map_size, flags)?);
    }
    open_largest(dir, flags)
}

/// Opens the environment of a store that another process may be writing to, for reading.
fn open_reader(dir: &Path) -> Result<Env<WithoutTls>, StoreError> {
    open_largest(dir, EnvFlags::READ_ONLY)
}

fn open_largest(dir: &Path, flags: EnvFlags) -> Result<Env<WithoutTls>, StoreError> {
    let mut size = LARGEST_MAP;
    loop {
        match open_env_sized(dir, size, flags) {
            Err(heed::Error::Io(error)) if error.kind() == ErrorKind::OutOfMemory && size / 2 >= SMALLEST_MAP => {
                size /= 2;
            }
            opened => return Ok(opened?),
        }
    }
}

fn rounded(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX / 2).next_multiple_of(LARGEST_PAGE)
}

#[allow(unsafe_code)] // the only file: opening a memory map is a promise about a file that no compiler can check
fn open_env_sized(dir: &Path, size: u64, flags: EnvFlags) -> heed::Result<Env<WithoutTls>> {
    let size = rounded(size);
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(size).max_readers(READERS).max_dbs(schema::DATABASES);
    // SAFETY: `flags` and `open` are unsafe because the map shows whatever happens to the file, and because some flags
    // weaken LMDB's promises.
    // 1. Nobody else writes the file: the caller holds the exclusive lock of the directory for as long as the `Env`
    //    lives, the directory belongs to this user alone (mode 0700), and heed refuses a second `Env` on the same path
    //    in this process. A user who truncates `data.mdb` under a running broker is beyond what can be guarded.
    // 2. A reader (`READ_ONLY`: the map is not writable, no transaction writes) may open it without that lock, beside
    //    one writer in another process. That is what LMDB is made for: the writer finds the reader's transaction in
    //    `lock.mdb`, which both share, and writes no page that it can reach; pages never leave the file while it is
    //    open. Nobody exchanges the file meanwhile: a reader holds a shared lock on it (see `access`).
    // 3. The only other flag that is ever set is `NO_SYNC`, in tests and for the spill; it gives up durability, not memory
    //    safety. `WRITE_MAP`, with which a stray write or a full disk (SIGBUS) would hit the map, and `NO_LOCK` are never
    //    set.
    // 4. The map is resized by `resize` alone, see there.
    // 5. What LMDB believes of the file without looking (page size, page numbers, sizes of nodes) was judged by the
    //    caller first (`meta`, `pages`), so that it does not read outside of the map.
    unsafe {
        options.flags(flags);
        options.open(dir)
    }
}

/// Whether the process may map `size` more octets: tries it, and lets go.
#[allow(unsafe_code)]
fn address_space(size: u64) -> bool {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    let size = rounded(size);
    // SAFETY: a new private mapping without access, at an address of the system's choice, which nobody else knows and
    // which is unmapped as a whole before this returns.
    unsafe {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        mmap_anonymous(std::ptr::null_mut(), size, ProtFlags::empty(), flags).is_ok_and(|at| munmap(at, size).is_ok())
    }
}

/// Replaces the map by one of `size` octets. The caller holds the gate of readers exclusively, on the thread that commits,
/// with no transaction open.
#[allow(unsafe_code)]
fn resize(env: &Env<WithoutTls>, size: u64) -> bool {
    // SAFETY: LMDB demands that no transaction of this process is open, since the old map is unmapped. Read transactions
    // live only within `read`, `stretches` and `usage`, which hold the shared side of the gate, and within `recover`,
    // which comes before all; write transactions only within `commit` and `sweep`, which are called one at a time (by the
    // one thread that commits, or under the lock of the redo log), and it is one of these that is here.
    // Nothing borrowed from the map outlives its transaction: what is read is copied out.
    unsafe { env.resize(rounded(size)).is_ok() }
}

/// Reads the flags back: with one of these, an answer of `Done` would be a lie.
fn check_flags(env: &Env<WithoutTls>, options: LmdbOptions) -> Result<(), StoreError> {
    let mut lies = EnvFlags::NO_META_SYNC | EnvFlags::WRITE_MAP | EnvFlags::MAP_ASYNC | EnvFlags::NO_LOCK;
    lies.set(EnvFlags::NO_SYNC, options.sync);
    if env.get_flags()? & lies.bits() == 0 {
        Ok(())
    } else {
        Err(StoreError::Engine("the environment was opened with flags that give up durability".to_owned()))
    }
}

/// Makes the names of new files survive a power cut; LMDB syncs contents only.
fn sync_names(dir: &Path) -> Result<(), StoreError> {
    let dir = dir.canonicalize()?;
    File::open(&dir)?.sync_all()?;
    if let Some(parent) = dir.parent() {
        match File::open(parent) {
            // A parent that may not be read is not one we created the directory in.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            parent => parent?.sync_all()?,
        }
    }
    Ok(())
}
