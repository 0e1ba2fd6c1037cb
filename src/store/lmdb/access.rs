//! Looking at a store from outside: beside a running broker, or without one.
//!
//! LMDB lets other processes read while one writes. What must not happen is that the file is exchanged
//! meanwhile: the new file's transactions count from 1 again, and a table of readers that an old file's reader keeps
//! alive would tell them wrong. So whoever looks holds a shared `flock` on `data.mdb`, and whoever exchanges it an
//! exclusive one ([`Place`]). Invariants: a look changes nothing but LMDB's table of readers; a file takes the place
//! of another whole, by one rename. Deliberately absent: what is found (`check`), printing.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Seek};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use heed::{CompactionOption, Env, MdbError, RoTxn, WithoutTls};
use rustix::fs::{FlockOperation, flock};

use super::check::{self, Report};
use super::meta::{self, Meta};
use super::pages::{self, Depth};
use super::tables::Tables;
use super::{DATA_FILE, LOCK_TABLE, LmdbOptions, commit, lock, open_env, open_reader, sync_names};
use crate::store::redo::{self, Found};
use crate::store::{Batch, Generation, StoreError};

/// Directory within a data directory in which a store is prepared before it takes its place.
const WORKSHOP: &str = "new";

/// Directory within that one for what is copied once more.
const AGAIN: &str = "again";

/// How often a root is looked for before giving up; each time the writer must have committed twice in between.
const TRIES: usize = 1000;

/// A store that is looked at.
struct Look {
    dir: PathBuf,
    env: Env<WithoutTls>,
    file: File,
    /// A broker runs on the store.
    in_use: bool,
    /// If none does: nobody can start to.
    _lock: Option<File>,
}

impl Look {
    fn at(dir: &Path) -> Result<Self, StoreError> {
        let file = hold(dir, FlockOperation::NonBlockingLockShared)?;
        let lock = match lock::take(dir) {
            Ok(lock) => Some(lock),
            Err(StoreError::Locked(_)) => None,
            Err(error) => return Err(error),
        };
        Self::open(dir, file, lock.is_none(), lock)
    }

    fn open(dir: &Path, file: File, in_use: bool, lock: Option<File>) -> Result<Self, StoreError> {
        // Judged before LMDB divides by what stands there.
        let metas = meta::read(&file)?;
        if !in_use {
            belong_together(&metas)?;
        }
        Ok(Self { dir: dir.to_path_buf(), env: open_reader(dir)?, file, in_use, _lock: lock })
    }

    /// A transaction and the root it reads from.
    fn begin(&self) -> Result<(RoTxn<'_, WithoutTls>, Meta), StoreError> {
        for _ in 0..TRIES {
            let txn = self.env.read_txn()?;
            let metas = meta::read(&self.file)?;
            let is_read = |meta: &Meta| usize::try_from(meta.txn).is_ok_and(|id| id == txn.id());
            if let Some(meta) = metas.into_iter().find(is_read) {
                return Ok((txn, meta));
            }
        }
        Err(StoreError::Engine("the store changes too fast to be looked at".to_owned()))
    }

    fn examine(&self) -> Result<Report, StoreError> {
        let (txn, meta) = self.begin()?;
        let survey = pages::survey(&self.file, &meta, Depth::Everything)?;
        let mut report = Report {
            in_use: self.in_use,
            file: self.file.metadata()?.len(),
            used: survey.used.saturating_mul(survey.page_size),
            free: survey.free.saturating_mul(survey.page_size),
            ..Report::default()
        };
        let whole = survey.broken.is_empty();
        for line in survey.broken.into_iter().chain(survey.odd) {
            report.find(|| format!("{DATA_FILE}: {line}"));
        }
        let mut generation = None;
        if whole {
            match Tables::of_reader(&self.env, &txn)? {
                Some(tables) => {
                    check::rows(&tables, &txn, &mut report)?;
                    generation = match tables.generation(&txn) {
                        Err(StoreError::Damaged(what)) => {
                            report.find(|| format!("meta: {what}"));
                            None
                        }
                        generation => generation?,
                    };
                }
                None => report.notes.push("the store is new: nothing was ever kept in it".to_owned()),
            }
        } else {
            report.notes.push("the rows were not read: LMDB cannot follow a damaged tree".to_owned());
        }
        drop(txn);
        if let Some(generation) = generation {
            self.look_at_log(generation, &mut report)?;
        }
        Ok(report)
    }

    /// Verifies what the redo log holds beside what was read, with no transaction open.
    fn look_at_log(&self, generation: Generation, report: &mut Report) -> Result<(), StoreError> {
        let found = redo::read(&self.dir, generation)?;
        // The broker may have gone on to another generation while the log was read.
        if self.generation()? == Some(generation) {
            report.pending = found.batches.len() as u64;
            for line in found.damage {
                report.find(|| line);
            }
        }
        Ok(())
    }

    /// The generation of the redo log now; with no transaction open, since LMDB's handles belong to one.
    fn generation(&self) -> Result<Option<Generation>, StoreError> {
        let txn = self.env.read_txn()?;
        Tables::of_reader(&self.env, &txn)?.map_or(Ok(None), |tables| tables.generation(&txn))
    }

    /// What the redo log holds now, and of which generation.
    fn log(&self) -> Result<(Option<Generation>, Found), StoreError> {
        match self.generation() {
            Ok(None) => Ok((None, Found::default())),
            Ok(Some(generation)) => Ok((Some(generation), redo::read(&self.dir, generation)?)),
            Err(StoreError::Damaged(what)) => Ok((None, Found { damage: vec![what], ..Found::default() })),
            Err(error) => Err(error),
        }
    }

    fn copy(&self, to: &Path) -> Result<Brought, StoreError> {
        // LMDB follows every page, and must not be led astray.
        let (txn, meta) = self.begin()?;
        pages::survey(&self.file, &meta, Depth::Everything)?.usable()?;
        drop(txn);
        // A killed process leaves its place in the table of readers, and with it pages that are never used again.
        self.env.clear_stale_readers()?;
        // Before the copy is begun: if that is of another generation, it has all of this.
        let (generation, log) = self.log()?;
        let mut file = File::options().read(true).write(true).create_new(true).mode(0o600).open(to.join(DATA_FILE))?;
        let copied = match self.env.copy_to_file(&mut file, CompactionOption::Enabled) {
            // Pages that are neither used nor free: a copy of all pages has them too.
            Err(heed::Error::Mdb(MdbError::Incompatible)) => {
                file.set_len(0)?;
                file.rewind()?;
                self.env.copy_to_file(&mut file, CompactionOption::Disabled)
            }
            copied => copied,
        };
        copied?;
        file.sync_all()?;
        bring(to, generation, log)
    }
}

/// What came to a copy from the redo log.
struct Brought {
    /// Something did.
    any: bool,
    /// What was wrong with the log.
    damage: Vec<String>,
}

/// Brings what a redo log holds into a copy that was made after it was read, and gives the copy a generation of its own:
/// no log that lies beside it, now or later, is its.
fn bring(to: &Path, generation: Option<Generation>, log: Found) -> Result<Brought, StoreError> {
    // A store without a generation has no log, and takes none for its own.
    if generation.is_none() && log.damage.is_empty() {
        return Ok(Brought { any: false, damage: log.damage });
    }
    let env = open_env(to, LmdbOptions::default())?;
    let tables = Tables::open(&env)?;
    let mut txn = env.write_txn()?;
    // One that cannot be read is no reason for a copy that cannot be read either.
    let same = tables.generation(&txn).is_ok_and(|of_copy| of_copy == generation);
    let damage = log.damage.clone();
    let log = if same { log } else { Found::default() };
    let any = !log.batches.is_empty();
    let fresh = Batch { generation: Some(redo::fresh()?), ..Batch::default() };
    let batch = redo::merged(log)?.unwrap_or(fresh);
    commit::apply(&tables, &mut txn, &batch, super::sweep::REMOVALS)?;
    txn.commit()?;
    Ok(Brought { any, damage })
}

fn belong_together(metas: &[Meta; 2]) -> Result<(), StoreError> {
    if meta::consecutive(metas) {
        Ok(())
    } else {
        Err(StoreError::Damaged(format!("{DATA_FILE}: its root records do not belong together")))
    }
}

/// Opens the file of a store and locks it.
fn hold(dir: &Path, how: FlockOperation) -> Result<File, StoreError> {
    let path = dir.join(DATA_FILE);
    loop {
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(StoreError::Missing(dir.to_path_buf())),
            file => file?,
        };
        match flock(&file, how) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::Locked(dir.display().to_string())),
            Err(error) => return Err(StoreError::Io(error.into())),
        }
        // Another may have taken its place before the lock was there.
        let named = fs::metadata(&path)?;
        let held = file.metadata()?;
        if (named.dev(), named.ino()) == (held.dev(), held.ino()) {
            return Ok(file);
        }
    }
}

/// Reads a whole store and compares it with its rules. A running broker is not disturbed: what is read is one moment
/// of it. Fails with [`StoreError::Missing`] if there is no store, and where it cannot be read at all.
pub fn examine(dir: &Path) -> Result<Report, StoreError> {
    Look::at(dir)?.examine()
}

/// Copies a store, as it is at one moment, into the directory `to`, which must not hold one; the copy is as small as
/// it can be and synced, its name is not. What a redo log holds beside the original is in the copy, which needs none. A
/// running broker goes on meanwhile, but can use no page again before the copy is done.
pub fn copy(from: &Path, to: &Path) -> Result<Copied, StoreError> {
    let look = Look::at(from)?;
    let brought = look.copy(to)?;
    Ok(Copied { original: look.file.metadata()?.len(), damage: brought.damage })
}

/// What [`copy`] came to.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Size of the original's file in octets.
    pub original: u64,
    /// What was wrong with the redo log of the original, one readable line each.
    pub damage: Vec<String>,
}

/// Makes sure that there is a file that LMDB may map for writing; the caller holds the directory's lock.
pub(super) fn prepare(dir: &Path, options: LmdbOptions) -> Result<(), StoreError> {
    clear(dir)?;
    let file = match File::open(dir.join(DATA_FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return create(dir, options),
        file => file?,
    };
    let metas = meta::read(&file)?;
    belong_together(&metas)?;
    pages::survey(&file, &metas[0], Depth::Start)?.usable()
}

/// Writes the store anew without its unused space. Returns the size of its file before and after, in octets. Fails as
/// [`Place::take`] does, with [`StoreError::Missing`] if there is no store, and with [`StoreError::Damaged`], leaving
/// it as it was, if the copy is not as whole as the original.
pub fn compact(dir: &Path) -> Result<(u64, u64), StoreError> {
    let missing = || StoreError::Missing(dir.to_path_buf());
    if !dir.join(DATA_FILE).try_exists()? {
        return Err(missing());
    }
    let place = Place::take(dir)?;
    let workshop = place.workshop()?;
    let old = place.old.as_ref().ok_or_else(missing)?.try_clone()?;
    let before = old.metadata()?.len();
    let look = Look::open(dir, old, false, None)?;
    if look.copy(&workshop)?.any {
        // What the log removed has left unused space in the copy.
        let again = workshop.join(AGAIN);
        DirBuilder::new().mode(0o700).create(&again)?;
        copy(&workshop, &again)?;
        exchange(&again.join(DATA_FILE), &workshop)?;
    }
    let copied = examine(&workshop)?;
    if !copied.findings.is_empty() {
        // What is damaged and set aside already is no reason to keep the space as well.
        let original = look.examine()?;
        let same = original.pending > 0 || original.total() == copied.total();
        if !same || copied.findings.len() > original.findings.len() {
            let first = copied.findings.first().map_or("", String::as_str);
            return Err(StoreError::Damaged(format!("the compacted copy: {first}")));
        }
    }
    // LMDB's files are closed before another one gets their name.
    drop(look);
    place.install()?;
    Ok((before, copied.file))
}

/// The right to exchange the store of a data directory: nobody runs on it, and nobody looks at it.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    old: Option<File>,
    _lock: File,
}

impl Place {
    /// Takes a data directory, creating it (mode 0700) if it is missing. Fails with [`StoreError::Locked`] while
    /// a broker runs on it or a backup or check reads from it.
    pub fn take(dir: &Path) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = lock::take(dir)?;
        let old = match hold(dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(file) => Some(file),
            Err(StoreError::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        clear(dir)?;
        Ok(Self { dir: dir.to_path_buf(), old, _lock: lock })
    }

    /// Whether there is a store.
    pub fn is_taken(&self) -> bool {
        self.old.is_some()
    }

    /// An empty directory on the same file system, in which the new store is to be written.
    pub fn workshop(&self) -> Result<PathBuf, StoreError> {
        workshop(&self.dir)
    }

    /// Keeps the old store under another name in the same directory, and its redo log beside it. Returns the names: two if
    /// the log holds what the store does not have yet, none if there was no store.
    pub fn set_aside(&self) -> Result<Vec<PathBuf>, StoreError> {
        if !self.is_taken() {
            return Ok(Vec::new());
        }
        for n in 1..u32::MAX {
            let named = |file: &str| self.dir.join(format!("{file}.before-restore-{n}"));
            let aside = named(DATA_FILE);
            match fs::hard_link(self.dir.join(DATA_FILE), &aside) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                linked => {
                    linked?;
                    let log = self.set_log_aside(&named(redo::FILE))?;
                    return Ok(std::iter::once(aside).chain(log).collect());
                }
            }
        }
        Err(StoreError::Engine("too many stores were set aside".to_owned()))
    }

    /// Copies the redo log, which the next broker will write over; not where it is known to hold nothing of this store.
    fn set_log_aside(&self, to: &Path) -> Result<Option<PathBuf>, StoreError> {
        let from = self.dir.join(redo::FILE);
        if !from.try_exists()? || self.has_empty_log().unwrap_or(false) {
            return Ok(None);
        }
        fs::copy(from, to)?;
        File::open(to)?.sync_all()?;
        Ok(Some(to.to_path_buf()))
    }

    /// Fails where the store cannot be read, which may be why it is set aside.
    fn has_empty_log(&self) -> Result<bool, StoreError> {
        let Some(file) = &self.old else { return Ok(true) };
        let look = Look::open(&self.dir, file.try_clone()?, false, None)?;
        let (_, meta) = look.begin()?;
        pages::survey(file, &meta, Depth::Start)?.usable()?;
        let (_, log) = look.log()?;
        Ok(log.batches.is_empty() && log.damage.is_empty())
    }

    /// Puts the store of the workshop into its place. A crash at any moment leaves the old store or the new one.
    pub fn install(&self) -> Result<(), StoreError> {
        install(&self.dir)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What was not installed takes up room; where it stays, the next start removes it.
        let _ = clear(&self.dir);
    }
}

fn workshop(dir: &Path) -> Result<PathBuf, StoreError> {
    let path = dir.join(WORKSHOP);
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

/// Removes what a crash left of a store that was not finished.
fn clear(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir.join(WORKSHOP)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn install(dir: &Path) -> Result<(), StoreError> {
    let made = dir.join(WORKSHOP).join(DATA_FILE);
    File::open(&made)?.sync_all()?;
    exchange(&made, dir)?;
    sync_names(dir)?;
    clear(dir)
}

/// Puts a file into the place of a store's that nobody has open.
fn exchange(made: &Path, dir: &Path) -> Result<(), StoreError> {
    // Its transactions are those of the old file.
    match fs::remove_file(dir.join(LOCK_TABLE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(fs::rename(made, dir.join(DATA_FILE))?)
}

/// Makes an empty store; the caller holds the directory's lock. LMDB's own first file is not yet synced when it gets
/// its name: a power cut could leave a file that no LMDB opens any more.
fn create(dir: &Path, options: LmdbOptions) -> Result<(), StoreError> {
    let env = open_env(&workshop(dir)?, options)?;
    Tables::open(&env)?;
    drop(env);
    install(dir)
}

/// Makes the next start take every message as possibly delivered; the caller holds the directory, or nobody else
/// knows of it.
pub fn forget_clean_end(dir: &Path) -> Result<(), StoreError> {
    let env = open_env(dir, LmdbOptions::default())?;
    let tables = Tables::open(&env)?;
    let mut txn = env.write_txn()?;
    tables.marks.clear(&mut txn)?;
    tables.meta.put(&mut txn, super::schema::META_CLEAN, &[0])?;
    Ok(txn.commit()?)
}
