//! An engine that fails when it is told to. For tests only; no broker is started on it.
//!
//! [`FaultyEngine`] passes everything to another engine, [`Faults`] steers it from outside. Invariant: after an
//! injected failure nothing reaches the inner engine any more, as after a crash; a new `FaultyEngine` around the same
//! inner engine is the restart. Deliberately absent: failures of single reads; torn writes (the engines have no state
//! in which one would show).
#![allow(clippy::arithmetic_side_effects)] // it counts the calls of tests

use std::sync::Arc;
use std::time::Duration;

// Not the ranked lock: it has no condition variables, and nothing is locked under this one but in the inner engine.
use parking_lot::{Condvar, Mutex};

use super::{Batch, Commit, Engine, Generation, Page, QueueId, Recovered, Seq, Space, StoreError, Stretch};

/// Longest that [`Faults::wait_entered`] waits: a test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(30);

/// An engine whose commits can be made to fail, to find no room, or to wait. For tests only.
#[derive(Debug)]
pub struct FaultyEngine<E> {
    inner: E,
    faults: Faults,
}

impl<E: Engine> FaultyEngine<E> {
    /// Wraps an engine; `faults` should be new, since it counts this engine's calls.
    pub fn new(inner: E, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

/// The handle that steers a [`FaultyEngine`]; clones steer the same one. Commits are counted from 1.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    plan: Mutex<Plan>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Plan {
    calls: Calls,
    fail_before: Option<u64>,
    fail_after: Option<u64>,
    fenced_from: Option<u64>,
    full: u64,
    /// Batches of more octets of messages than this find no room.
    room: Option<usize>,
    /// What is said of the room there is.
    space: Option<Space>,
    /// First commit that has to wait.
    held_from: Option<u64>,
    /// The commit at which a failure was injected.
    crashed: Option<u64>,
}

/// How often each operation was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Commits entered, including those that wait or were answered with an injected failure.
    pub commits: u64,
    /// Commits that the inner engine was asked to make.
    pub applied: u64,
    /// Reads.
    pub reads: u64,
    /// Sweeps.
    pub sweeps: u64,
    /// Recoveries.
    pub recoveries: u64,
}

impl Faults {
    /// A handle without any fault.
    pub fn new() -> Self {
        Self::default()
    }

    /// Commit `n` and all later ones answer [`Commit::Unknown`], and none of them is applied.
    pub fn fail_before(&self, n: u64) {
        self.0.plan.lock().fail_before = Some(n);
    }

    /// Commit `n` is applied but answers [`Commit::Unknown`]; later ones answer the same and are not applied.
    pub fn fail_after(&self, n: u64) {
        self.0.plan.lock().fail_after = Some(n);
    }

    /// Commit `n` and all later ones answer [`Commit::Fenced`], and none of them is applied.
    pub fn fence_from(&self, n: u64) {
        self.0.plan.lock().fenced_from = Some(n);
    }

    /// The next `k` commits answer [`Commit::Full`] and are not applied.
    pub fn answer_full(&self, k: u64) {
        self.0.plan.lock().full = k;
    }

    /// Commits with more than `octets` of new messages, by [`Put::weight`](super::Put::weight), answer
    /// [`Commit::Full`]; `None` lets all go on.
    pub fn limit_puts(&self, octets: Option<usize>) {
        self.0.plan.lock().room = octets;
    }

    /// What the engine says of its room; `None` lets the inner engine speak.
    pub fn pretend_space(&self, space: Option<Space>) {
        self.0.plan.lock().space = space;
    }

    /// Commit `n` and all later ones wait, after they were counted and before they are applied.
    pub fn hold_from(&self, n: u64) {
        self.0.plan.lock().held_from = Some(n);
    }

    /// Lets commits up to and including `n` go on; later ones wait.
    pub fn release_through(&self, n: u64) {
        self.hold_from(n.saturating_add(1));
        self.0.changed.notify_all();
    }

    /// Lets all commits go on.
    pub fn release(&self) {
        self.0.plan.lock().held_from = None;
        self.0.changed.notify_all();
    }

    /// Blocks the calling thread until commit `n` has been entered; `false` if that did not happen within 30 seconds.
    #[must_use]
    pub fn wait_entered(&self, n: u64) -> bool {
        let mut plan = self.0.plan.lock();
        let waited = self.0.changed.wait_while_for(&mut plan, |plan| plan.calls.commits < n, PATIENCE);
        !waited.timed_out()
    }

    /// How often each operation was called.
    pub fn calls(&self) -> Calls {
        self.0.plan.lock().calls
    }

    fn crashed(&self) -> Result<(), StoreError> {
        self.0.plan.lock().crashed.map_or(Ok(()), |n| Err(StoreError::Injected(n)))
    }

    /// Counts a commit, waits while it is held, and decides its fate: `Err` is its answer.
    fn enter(&self, batch: &Batch) -> Result<u64, Commit> {
        let mut plan = self.0.plan.lock();
        plan.calls.commits += 1;
        let n = plan.calls.commits;
        self.0.changed.notify_all();
        self.0.changed.wait_while(&mut plan, |plan| plan.held_from.is_some_and(|held| n >= held));
        if plan.fail_before.is_some_and(|at| n >= at) {
            plan.crashed.get_or_insert(n);
        }
        if let Some(n) = plan.crashed {
            return Err(Commit::Unknown(StoreError::Injected(n)));
        }
        if plan.fenced_from.is_some_and(|at| n >= at) {
            return Err(Commit::Fenced);
        }
        if plan.full > 0 {
            plan.full -= 1;
            return Err(Commit::Full(StoreError::Injected(n)));
        }
        let weight: usize = batch.queues.iter().flat_map(|queue| &queue.puts).map(super::Put::weight).sum();
        if plan.room.is_some_and(|room| weight > room) {
            return Err(Commit::Full(StoreError::Injected(n)));
        }
        plan.calls.applied += 1;
        Ok(n)
    }

    /// Replaces the answer of an applied commit, if that was asked for.
    fn leave(&self, n: u64, answer: Commit) -> Commit {
        let mut plan = self.0.plan.lock();
        if plan.fail_after == Some(n) {
            plan.crashed = Some(n);
            return Commit::Unknown(StoreError::Injected(n));
        }
        answer
    }
}

impl<E: Engine> Engine for FaultyEngine<E> {
    fn recover(&self) -> Result<Recovered, StoreError> {
        self.faults.0.plan.lock().calls.recoveries += 1;
        self.faults.crashed()?;
        self.inner.recover()
    }

    fn commit(&self, batch: &Batch) -> Commit {
        match self.faults.enter(batch) {
            Ok(n) => self.faults.leave(n, self.inner.commit(batch)),
            Err(answer) => answer,
        }
    }

    fn read(&self, queue: QueueId, lane: u8, from: Seq, until: Seq, budget: usize) -> Result<Page, StoreError> {
        self.faults.0.plan.lock().calls.reads += 1;
        self.faults.crashed()?;
        self.inner.read(queue, lane, from, until, budget)
    }

    fn stretches(&self, queue: QueueId, lane: u8) -> Result<Vec<Stretch>, StoreError> {
        self.faults.crashed()?;
        self.inner.stretches(queue, lane)
    }

    fn sweep(&self) -> Result<bool, StoreError> {
        self.faults.0.plan.lock().calls.sweeps += 1;
        self.faults.crashed()?;
        self.inner.sweep()
    }

    fn space(&self) -> Option<Space> {
        let limit = self.faults.0.plan.lock().space;
        limit.or_else(|| self.inner.space())
    }

    fn give_up_ballast(&self) -> bool {
        self.inner.give_up_ballast()
    }

    fn restore_ballast(&self, spare: u64) {
        self.inner.restore_ballast(spare);
    }

    fn generation(&self) -> Result<Option<Generation>, StoreError> {
        self.faults.crashed()?;
        self.inner.generation()
    }

    fn is_behind(&self) -> bool {
        self.inner.is_behind()
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        self.faults.crashed()?;
        self.inner.catch_up()
    }
}
