//! The redo log: small batches become durable by one write to a file that is there already, and reach the engine behind
//! many at a time.
//!
//! A commit of LMDB copies and writes every page from the leaf to the root and waits for the disk twice, whatever little
//! there is to say. A record of the log is one overwrite and one wait. What the log holds is also held in memory,
//! merged ([`pending`]); a *checkpoint* commits that to the engine behind in one transaction, together with a new
//! [`Generation`], which makes all records there are records of the past. Large batches are checkpoints at once.
//!
//! Touches the file `redo` of its directory, and the engine behind. Invariants: what was answered `Done` is in a live
//! record or in the engine behind; a record is alive as long as the engine names its generation, and nothing is written
//! over it before the engine has synced what it says; readers see both; the log is used only while there is far more
//! room than its content can need in the engine behind; after an outcome that is not known, nothing is committed any
//! more. A torn last record was never confirmed. If records are lost before others, those behind are applied all the
//! same: settlements of what is missing come to nothing, and what was settled in a lost record comes back, which a
//! receiver must expect of any crash; dropping them would lose what was confirmed. Deliberately absent: threads.

mod log;
mod pending;
#[doc(hidden)]
pub mod probe;
mod record;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Batch, Commit, Define, Engine, Generation, Page, QueueId, Recovered, Seq, Space, StoreError, Stretch};
use crate::sync::{Mutex, Rank};
use log::{Append, Log};
pub(super) use log::{FILE, Found, read};
use pending::Pending;

/// Size of the log in octets: a thousand batches of one message. Much more would make the checkpoint, for which one
/// commit has to wait, longer than anybody wants to.
const CAPACITY: usize = 4 << 20;

/// A log smaller than this is not worth having, in octets.
const SMALLEST: usize = 256 << 10;

/// A longer record costs more to write twice than the engine's commit costs, in octets.
const MOST: usize = 64 << 10;

/// The log is used while there is room for its content so many times, beside the ballast: index rows, copied pages and
/// free lists take more than what they are about.
const ROOM: u64 = 8;

/// Appends until the room is looked at again.
const LOOK_AFTER: u32 = 256;

/// An engine with a redo log in front of it.
#[derive(Debug)]
pub struct Redo<E> {
    inner: E,
    dir: PathBuf,
    /// Held by whoever commits or sweeps.
    state: Mutex<State>,
    pending: Mutex<Pending>,
    /// What was wrong with the log of an earlier run, until it was told.
    damage: Mutex<Vec<String>>,
    /// Ranges or queues were dropped in the engine behind, perhaps only in part.
    holes: AtomicBool,
    /// The outcome of an earlier commit is not known.
    failed: AtomicBool,
    capacity: usize,
}

#[derive(Debug)]
struct State {
    /// `None` until the first batch that could use it.
    log: Option<Log>,
    /// Batches may be appended; otherwise what is there is read, and no more.
    wanted: bool,
    /// There was enough room when it was last looked at.
    roomy: bool,
    /// The engine behind found no room, and nothing has found any since.
    tight: bool,
    /// Appends since.
    appended: u32,
}

impl<E: Engine> Redo<E> {
    /// Puts a log in the directory `dir` in front of an engine, and brings what it holds of an earlier run into the engine.
    /// If `wanted` is false, that is all, and nothing is ever appended.
    ///
    /// Fails where the engine does, also for want of room.
    pub fn open(inner: E, dir: &Path, wanted: bool) -> Result<Self, StoreError> {
        let found = found(&inner, dir)?;
        let damage = found.damage.clone();
        let batches = found.batches.len();
        if let Some(batch) = merged(found)? {
            known(inner.commit(&batch))?;
            tracing::info!("{batches} commits of the last run were brought from the redo log into the store");
        }
        Ok(Self {
            inner,
            dir: dir.to_path_buf(),
            state: Mutex::new(Rank::Log, State { log: None, wanted, roomy: false, tight: false, appended: 0 }),
            pending: Mutex::new(Rank::Leaf, Pending::default()),
            damage: Mutex::new(Rank::Leaf, damage),
            holes: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            capacity: CAPACITY,
        })
    }

    /// Makes the log small enough to be full soon.
    #[cfg(test)]
    pub(super) fn with_capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    fn fail(&self, error: StoreError) -> Commit {
        self.failed.store(true, Ordering::Relaxed);
        Commit::Unknown(error)
    }

    fn failed(&self) -> Option<StoreError> {
        let failed = self.failed.load(Ordering::Relaxed);
        failed.then(|| StoreError::Engine("an earlier commit failed; what is durable is not known".to_owned()))
    }

    /// How large the log may be, in octets; `None` if there is no room for one.
    fn affordable(&self) -> Option<usize> {
        let Some(space) = self.inner.space() else { return Some(self.capacity) };
        // The reserve is half of the ballast: so the log is at most a quarter of that.
        let quarter = usize::try_from(space.reserve / 2).unwrap_or(usize::MAX);
        let capacity = self.capacity.min(quarter) & !(log::PAGE - 1);
        let needed = space.reserve.saturating_mul(2).saturating_add((capacity as u64).saturating_mul(ROOM));
        (capacity >= SMALLEST.min(self.capacity) && space.room >= needed).then_some(capacity)
    }

    fn look_at_room(&self, state: &mut State) {
        state.appended = 0;
        let affordable = self.affordable().unwrap_or(0);
        state.roomy = state.log.as_ref().is_none_or(|log| log.capacity() <= affordable) && affordable > 0;
    }

    /// Whether a batch may be appended, making the log where it is missing.
    fn is_ready(&self, state: &mut State) -> bool {
        if !state.wanted || state.tight {
            return false;
        }
        if state.appended >= LOOK_AFTER || !state.roomy {
            self.look_at_room(state);
        }
        state.roomy && state.log.is_some()
    }

    /// Appends a batch; `None` if it has to take the other way.
    fn append(&self, state: &mut State, batch: &Batch) -> Option<Commit> {
        if !self.is_ready(state) {
            return None;
        }
        state.appended = state.appended.saturating_add(1);
        match state.log.as_mut()?.append(batch, MOST) {
            Ok(Append::NoRoom) => None,
            Ok(Append::Done) => {
                self.pending.lock().add(batch.clone());
                Some(Commit::Done)
            }
            Err(error) => Some(self.fail(error.into())),
        }
    }

    /// Opens the log for its first record, if it is wanted and can be had.
    fn open_log(&self, state: &mut State, generation: Generation) -> Option<Log> {
        if !state.wanted || state.log.is_some() {
            return None;
        }
        let capacity = self.affordable()?;
        match Log::open(&self.dir, capacity, generation) {
            Ok(log) => Some(log),
            Err(error) => {
                tracing::warn!("no redo log, so small commits are slower: {error}");
                state.wanted = false;
                None
            }
        }
    }

    /// Commits all that is in the log, and `batch`, to the engine behind.
    fn checkpoint(&self, state: &mut State, batch: Option<&Batch>) -> Commit {
        let generation = match fresh() {
            Ok(generation) => generation,
            Err(error) => return self.fail(error),
        };
        let opened = batch.filter(|batch| record::has_form(batch)).and_then(|_| self.open_log(state, generation));
        let nothing_live = state.log.as_ref().is_none_or(Log::is_empty);
        let answer = match batch {
            None if nothing_live => return Commit::Done,
            Some(batch) if nothing_live && opened.is_none() => {
                let answer = self.pass(batch);
                state.tight = matches!(answer, Commit::Full(_));
                return answer;
            }
            _ => self.bring(batch, generation),
        };
        match answer {
            Commit::Done => {
                if let Some(log) = opened {
                    state.log = Some(log);
                }
                self.begin(state, generation);
                Commit::Done
            }
            Commit::Full(error) => {
                state.tight = true;
                match batch {
                    Some(batch) if !nothing_live => self.squeeze(state, batch),
                    _ => Commit::Full(error),
                }
            }
            other => other,
        }
    }

    /// Commits a batch to the engine behind, with nothing in the log.
    fn pass(&self, batch: &Batch) -> Commit {
        self.holes.fetch_or(removes(batch), Ordering::Relaxed);
        let answer = self.inner.commit(batch);
        if matches!(answer, Commit::Unknown(_) | Commit::Fenced) {
            self.failed.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Commits what is pending, and `batch`, with a new generation.
    fn bring(&self, batch: Option<&Batch>, generation: Generation) -> Commit {
        let mut merged = self.pending.lock().clone();
        let (mut clean_shutdown, mut epoch) = (false, 0);
        if let Some(batch) = batch {
            (clean_shutdown, epoch) = (batch.clean_shutdown, batch.epoch);
            merged.add(batch.clone());
        }
        let merged = merged.batch();
        let epoch = epoch.max(merged.epoch);
        self.pass(&Batch { clean_shutdown, epoch, generation: Some(generation), ..merged })
    }

    /// What was pending is in the engine behind.
    fn begin(&self, state: &mut State, generation: Generation) {
        *self.pending.lock() = Pending::default();
        if let Some(log) = &mut state.log {
            log.begin(generation);
        }
        state.tight = false;
        self.look_at_room(state);
    }

    /// There was no room for everything at once: what is pending goes first, or what has nothing to do with it and gives
    /// room. Nothing of the log is lost if neither goes.
    fn squeeze(&self, state: &mut State, batch: &Batch) -> Commit {
        let generation = match fresh() {
            Ok(generation) => generation,
            Err(error) => return self.fail(error),
        };
        match self.bring(None, generation) {
            Commit::Done => {
                self.begin(state, generation);
                let answer = self.pass(batch);
                state.tight = matches!(answer, Commit::Full(_));
                answer
            }
            Commit::Full(_) if !batch.clean_shutdown && self.pending.lock().is_apart_from(batch) => self.pass(batch),
            other => other,
        }
    }
}

/// What a log holds that is not in the engine yet. Which records these are may have rotted: then none is believed, and
/// that is told.
fn found(inner: &impl Engine, dir: &Path) -> Result<Found, StoreError> {
    match inner.generation() {
        Ok(Some(generation)) => read(dir, generation),
        Ok(None) => Ok(Found::default()),
        Err(StoreError::Damaged(what)) => {
            Ok(Found { damage: vec![format!("damaged, its records are lost: {what}")], ..Found::default() })
        }
        Err(error) => Err(error),
    }
}

/// A generation that no other log has.
pub(super) fn fresh() -> Result<Generation, StoreError> {
    getrandom::u64().map(Generation).map_err(|error| StoreError::Engine(format!("no random number: {error}")))
}

/// Merges what a log holds into one batch of a new generation; `None` if there is nothing to be done about it.
pub(super) fn merged(found: Found) -> Result<Option<Batch>, StoreError> {
    if found.batches.is_empty() && found.damage.is_empty() {
        return Ok(None);
    }
    let mut pending = Pending::default();
    for batch in found.batches {
        pending.add(batch);
    }
    Ok(Some(Batch { generation: Some(fresh()?), ..pending.batch() }))
}

/// Whether a batch drops queues or ranges.
fn removes(batch: &Batch) -> bool {
    batch.definitions.iter().any(|define| matches!(define, Define::DropQueue { .. }))
        || batch.queues.iter().any(|queue| !queue.drops.is_empty())
}

fn known(answer: Commit) -> Result<(), StoreError> {
    match answer {
        Commit::Done => Ok(()),
        Commit::Full(error) | Commit::Unknown(error) => Err(error),
        Commit::Fenced => Err(StoreError::Engine("another node has taken over".to_owned())),
    }
}

impl<E: Engine> Engine for Redo<E> {
    fn recover(&self) -> Result<Recovered, StoreError> {
        known(self.checkpoint(&mut self.state.lock(), None))?;
        let mut recovered = self.inner.recover()?;
        recovered.damage.splice(0..0, std::mem::take(&mut *self.damage.lock()));
        Ok(recovered)
    }

    fn commit(&self, batch: &Batch) -> Commit {
        let mut state = self.state.lock();
        if let Some(error) = self.failed() {
            return Commit::Unknown(error);
        }
        let appended = if record::has_form(batch) { self.append(&mut state, batch) } else { None };
        appended.unwrap_or_else(|| self.checkpoint(&mut state, Some(batch)))
    }

    /// A page of the engine behind, and what is pending laid over it. What a checkpoint brings over meanwhile may be in
    /// both, and says the same.
    fn read(&self, queue: QueueId, lane: u8, from: Seq, until: Seq, budget: usize) -> Result<Page, StoreError> {
        let overlay = self.pending.lock().overlay(queue, lane, from..until);
        let Some(overlay) = overlay else { return self.inner.read(queue, lane, from, until, budget) };
        if overlay.is_dropped() {
            return Ok(Page::default());
        }
        let mut from = from;
        loop {
            let mut page = self.inner.read(queue, lane, from, until, budget)?;
            let end = page.next.unwrap_or(until);
            overlay.apply(&mut page, from..end, budget);
            match page.next.filter(|_| page.messages.is_empty()) {
                Some(next) => from = next,
                None => return Ok(page),
            }
        }
    }

    /// Asked at the start, when nothing is pending as a rule.
    fn stretches(&self, queue: QueueId, lane: u8) -> Result<Vec<Stretch>, StoreError> {
        let mut state = self.state.lock();
        let concerns = self.pending.lock().concerns(queue, lane);
        if concerns {
            known(self.checkpoint(&mut state, None))?;
        }
        self.inner.stretches(queue, lane)
    }

    fn sweep(&self) -> Result<bool, StoreError> {
        let mut state = self.state.lock();
        if let Some(error) = self.failed() {
            return Err(error);
        }
        // Without room, ranges and queues that are dropped in the log give none.
        if state.tight && !matches!(self.checkpoint(&mut state, None), Commit::Done | Commit::Full(_)) {
            return Err(StoreError::Engine("what the redo log holds cannot be brought into the store".to_owned()));
        }
        self.inner.sweep().inspect_err(|_| self.failed.store(true, Ordering::Relaxed))
    }

    fn space(&self) -> Option<Space> {
        self.inner.space()
    }

    fn give_up_ballast(&self) -> bool {
        self.inner.give_up_ballast()
    }

    fn restore_ballast(&self, spare: u64) {
        self.inner.restore_ballast(spare);
    }

    fn generation(&self) -> Result<Option<Generation>, StoreError> {
        self.inner.generation()
    }

    fn is_behind(&self) -> bool {
        self.holes.load(Ordering::Relaxed) || !self.pending.lock().is_empty()
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if let Some(error) = self.failed() {
            return Err(error);
        }
        let empty = self.pending.lock().is_empty();
        match if empty { Commit::Done } else { self.checkpoint(&mut state, None) } {
            Commit::Full(_) => {}
            answer => known(answer)?,
        }
        // The caller sweeps now.
        self.holes.store(false, Ordering::Relaxed);
        Ok(())
    }
}
