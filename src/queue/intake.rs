//! Where durable work is announced to the group commit, and where waiting for it is told.
//!
//! The intake holds the number of the open epoch, the queues that became dirty in it, and its topology changes. A queue
//! registers under its own lock and remembers the epoch; the writer closes the epoch in one critical section and then
//! visits each queue. Therefore everything appended to a journal before the visit belongs exactly to the epoch the
//! queue remembers.
//!
//! The work of a transaction, over however many queues, belongs to one epoch: it is appended under the shared side of
//! the [`Intake::hold`], whose exclusive side [`Intake::close`] takes for closing and visiting. Nothing splits an epoch
//! into two commits. Whoever does one queue's work at a time needs no hold and takes none.

use std::sync::Arc;
use std::sync::OnceLock;

use super::{Journal, Queue, Strays};
use crate::store::{Define, Epoch, QueueBatch};
use crate::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, Ordering};
use crate::sync::{Bell, Mutex, Rank, ReadGuard, RwLock, Thread};

/// Durable work announced and not yet taken.
#[derive(Debug)]
pub struct Intake {
    open: Mutex<Open>,
    hold: RwLock<()>,
    /// The open epoch was held: it has a transaction in it.
    atomic: AtomicBool,
    /// Octets of journals, from the append to the end of the commit.
    bytes: AtomicIsize,
    writer: OnceLock<Thread>,
    /// Queues for the janitor.
    pub strays: Strays,
    stopping: AtomicBool,
}

#[derive(Debug)]
struct Open {
    epoch: Epoch,
    dirty: Vec<Arc<Queue>>,
    definitions: Vec<Define>,
    urgent: bool,
}

/// An epoch closed by the writer.
#[derive(Debug)]
pub struct Closed {
    /// Its number.
    pub epoch: Epoch,
    /// The work of its queues.
    pub queues: Vec<QueueBatch>,
    /// Octets to take off the gauge once it is committed.
    pub bytes: usize,
    /// Topology changes, in order.
    pub definitions: Vec<Define>,
    /// There is a transaction in it, which must not be torn: the work of its queues is for one commit.
    pub atomic: bool,
}

/// What the intake has for the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Nothing.
    Idle,
    /// Work that nobody waits for: it may wait for company, not for long.
    Lazy,
    /// Work that somebody waits for.
    Urgent,
}

impl Default for Intake {
    fn default() -> Self {
        let open = Open { epoch: 1, dirty: Vec::new(), definitions: Vec::new(), urgent: false };
        Self {
            open: Mutex::new(Rank::Leaf, open),
            hold: RwLock::new(Rank::Epoch, ()),
            atomic: AtomicBool::new(false),
            bytes: AtomicIsize::new(0),
            writer: OnceLock::new(),
            strays: Strays::default(),
            stopping: AtomicBool::new(false),
        }
    }
}

impl Intake {
    /// Announces what has been appended to a queue's journal; called under the queue's lock. Returns the epoch that makes
    /// it durable, 0 if there is nothing to be made so. `urgent` tells whether somebody waits for it.
    pub(super) fn announce(&self, queue: &Arc<Queue>, journal: &mut Journal, urgent: bool) -> Epoch {
        let grown = journal.growth();
        if grown != 0 {
            self.charge(grown);
        }
        if journal.is_empty() {
            return 0;
        }
        let newly_urgent = urgent && journal.urge();
        if let Some(epoch) = journal.epoch() {
            if newly_urgent {
                self.urge();
            }
            return epoch;
        }
        let epoch = self.register(queue.clone(), urgent);
        journal.registered(epoch);
        epoch
    }

    /// Registers a queue that has become dirty. Returns its epoch.
    fn register(&self, queue: Arc<Queue>, urgent: bool) -> Epoch {
        let (epoch, wake) = {
            let mut open = self.open.lock();
            let wake = open.dirty.is_empty() || (urgent && !open.urgent);
            open.dirty.push(queue);
            open.urgent |= urgent;
            (open.epoch, wake)
        };
        if wake {
            self.wake();
        }
        epoch
    }

    /// Somebody waits for work that was announced as lazy.
    pub fn urge(&self) {
        let first = !std::mem::replace(&mut self.open.lock().urgent, true);
        if first {
            self.wake();
        }
    }

    /// Adds topology changes; called under the topology's lock, so that they are committed in the order made.
    pub fn define(&self, changes: impl IntoIterator<Item = Define>) -> Epoch {
        let epoch = {
            let mut open = self.open.lock();
            open.definitions.extend(changes);
            open.urgent = true;
            open.epoch
        };
        self.wake();
        epoch
    }

    /// Octets of durable work between its journal and the disk.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(super) fn charge(&self, bytes: isize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes committed (or cancelled) octets off the gauge.
    pub fn discharge(&self, bytes: usize) {
        self.bytes.fetch_sub(isize::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    /// Names the thread to be woken.
    pub fn attach(&self, writer: Thread) {
        let _ = self.writer.set(writer);
    }

    /// Asks the writer to commit what there is and end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether [`Intake::stop`] was called.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// What there is to do.
    pub fn pressure(&self) -> Pressure {
        let open = self.open.lock();
        match (open.urgent, open.dirty.is_empty() && open.definitions.is_empty()) {
            // Somebody may wait for an epoch in which nothing is done: behind a change that is under way.
            (true, _) => Pressure::Urgent,
            (false, false) => Pressure::Lazy,
            (false, true) => Pressure::Idle,
        }
    }

    /// Keeps the open epoch open: all durable work appended while this is held belongs to it. Not to be held across a
    /// wait, since the group commit stands still meanwhile.
    pub fn hold(&self) -> ReadGuard<'_, ()> {
        let hold = self.hold.read();
        // Read and reset under the exclusive side.
        self.atomic.store(true, Ordering::Relaxed);
        hold
    }

    /// Closes the open epoch, opens the next, and takes the journals of the queues that were dirty in it; waits until
    /// nobody holds the epoch.
    pub fn close(&self) -> Closed {
        let exclusive = self.hold.write();
        let (epoch, dirty, definitions) = {
            let mut open = self.open.lock();
            let epoch = open.epoch;
            open.epoch += 1;
            open.urgent = false;
            (epoch, std::mem::take(&mut open.dirty), std::mem::take(&mut open.definitions))
        };
        let atomic = self.atomic.swap(false, Ordering::Relaxed);
        let taken: Vec<_> = dirty.iter().map(|queue| (queue.id(), queue.take_journal())).collect();
        drop(exclusive);
        let bytes = taken.iter().map(|(_, taken)| taken.bytes).sum();
        let queues = taken.into_iter().filter_map(|(id, taken)| taken.into_batch(id)).collect();
        Closed { epoch, queues, bytes, definitions, atomic }
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

/// How far the store has got: every epoch up to the mark would survive a power cut.
#[derive(Debug)]
pub struct Watermark {
    committed: AtomicU64,
    waiting: Mutex<Vec<(Epoch, Arc<Bell>)>>,
}

impl Default for Watermark {
    fn default() -> Self {
        Self { committed: AtomicU64::new(0), waiting: Mutex::new(Rank::Leaf, Vec::new()) }
    }
}

impl Watermark {
    /// The highest committed epoch.
    #[inline]
    pub fn get(&self) -> Epoch {
        self.committed.load(Ordering::Acquire)
    }

    /// Rings `bell` once `epoch` is committed; returns `true`, without ringing, if it is already.
    #[must_use]
    pub fn await_epoch(&self, epoch: Epoch, bell: &Arc<Bell>) -> bool {
        if self.get() >= epoch {
            return true;
        }
        let mut waiting = self.waiting.lock();
        // The writer publishes the mark before it takes this lock: either it is seen here, or the bell is seen there.
        if self.get() >= epoch {
            return true;
        }
        waiting.push((epoch, bell.clone()));
        false
    }

    /// Moves the mark; whether somebody waited for it, who is to be rung. Called by one thread only.
    #[must_use]
    pub fn mark(&self, epoch: Epoch) -> bool {
        self.committed.store(epoch, Ordering::Release);
        self.waiting.lock().iter().any(|(wanted, _)| *wanted <= epoch)
    }

    /// Rings whoever waited for what is marked.
    pub fn ring_due(&self) {
        let epoch = self.get();
        let due: Vec<Arc<Bell>> = {
            let mut waiting = self.waiting.lock();
            let (due, rest) = std::mem::take(&mut *waiting).into_iter().partition(|(wanted, _)| *wanted <= epoch);
            *waiting = rest;
            let due: Vec<(Epoch, Arc<Bell>)> = due;
            due.into_iter().map(|(_, bell)| bell).collect()
        };
        for bell in due {
            bell.ring();
        }
    }

    /// Both.
    pub fn advance(&self, epoch: Epoch) {
        if self.mark(epoch) {
            self.ring_due();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bell_rings_for_its_epoch_and_not_before() {
        let mark = Watermark::default();
        let bell = Arc::new(Bell::new());
        assert!(!mark.await_epoch(2, &bell));
        mark.advance(1);
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(bell.poll(cx).is_pending())).await);
        mark.advance(2);
        bell.rung().await;
        assert!(mark.await_epoch(2, &bell), "what is committed is not waited for");
    }

    #[test]
    fn closing_an_epoch_takes_its_definitions() {
        let intake = Intake::default();
        assert_eq!(intake.pressure(), Pressure::Idle);
        assert_eq!(intake.define([Define::NextQueueId(7)]), 1);
        assert_eq!(intake.pressure(), Pressure::Urgent);
        let closed = intake.close();
        assert_eq!((closed.epoch, closed.definitions.len()), (1, 1));
        assert_eq!(intake.pressure(), Pressure::Idle);
        assert_eq!(intake.define([]), 2);
        assert_eq!(intake.pressure(), Pressure::Urgent, "an epoch without work is waited for all the same");
    }
}
