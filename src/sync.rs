//! Ranked locks: the lock order of the whole broker, checked by machine.
//!
//! A thread may take a lock only if its rank is higher than that of every lock it holds already (leaf locks are never
//! nested). Debug builds assert this on every acquisition, so each test run checks the order; release builds compile
//! the check away. Deliberately absent: try-locks, condition variables on ranked locks, re-entrancy.
//!
//! | rank | lock |
//! |---|---|
//! | 1 | [`Rank::Topology`]: a virtual host's exchanges, queues and bindings |
//! | 2 | [`Rank::Epoch`]: the hold that keeps a transaction in one commit |
//! | 3 | [`Rank::Queue`]: one queue's state; two queues are never held together |
//! | 4 | [`Rank::Log`]: the store's redo log |
//! | 5 | [`Rank::Leaf`]: outboxes, channel credit, the store's intake, inboxes of background tasks |

mod bell;
mod line;

use std::ops::{Deref, DerefMut};

pub use bell::Bell;
pub use line::{InLine, Line};
/// Atomics and thread handles of the group commit's protocol come from here, so that a test can run it with others: see
/// `tests/schedules`.
pub use std::sync::atomic;
pub use std::thread::Thread;

/// Position of a lock in the order in which locks may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A virtual host's topology.
    Topology = 1,
    /// The hold that keeps a transaction in one commit.
    Epoch = 2,
    /// One queue's state.
    Queue = 3,
    /// The store's redo log, while it writes there or to the store behind.
    Log = 4,
    /// A lock under which nothing else is taken.
    Leaf = 5,
}

#[cfg(debug_assertions)]
mod held {
    use super::Rank;
    use std::cell::RefCell;

    thread_local! {
        static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn acquire(rank: Rank) {
        HELD.with_borrow_mut(|held| {
            if let Some(highest) = held.iter().max() {
                assert!(rank > *highest, "lock order broken: {rank:?} requested while {held:?} held");
            }
            held.push(rank);
        });
    }

    pub(super) fn release(rank: Rank) {
        // During thread teardown the list may be gone already; there is nothing left to check then.
        let _ = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some(at) = held.iter().rposition(|r| *r == rank) {
                held.remove(at);
            }
        });
    }
}

#[cfg(not(debug_assertions))]
mod held {
    use super::Rank;
    #[inline]
    pub(super) fn acquire(_: Rank) {}
    #[inline]
    pub(super) fn release(_: Rank) {}
}

/// Releases a rank when dropped; fields of the guards below drop after the lock itself.
struct Held(Rank);

impl Drop for Held {
    fn drop(&mut self) {
        held::release(self.0);
    }
}

/// A mutual-exclusion lock with a [`Rank`].
pub struct Mutex<T> {
    rank: Rank,
    inner: parking_lot::Mutex<T>,
}

/// Access to the value inside a [`Mutex`].
pub struct MutexGuard<'a, T> {
    inner: parking_lot::MutexGuard<'a, T>,
    _held: Held,
}

impl<T> Mutex<T> {
    /// Wraps `value` in a lock of the given rank.
    pub const fn new(rank: Rank, value: T) -> Self {
        Self { rank, inner: parking_lot::Mutex::new(value) }
    }

    /// Waits for the lock and takes it.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        held::acquire(self.rank);
        MutexGuard { inner: self.inner.lock(), _held: Held(self.rank) }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T> std::fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mutex").field("rank", &self.rank).finish_non_exhaustive()
    }
}

/// A reader-writer lock with a [`Rank`].
pub struct RwLock<T> {
    rank: Rank,
    inner: parking_lot::RwLock<T>,
}

/// Shared access to the value inside an [`RwLock`].
pub struct ReadGuard<'a, T> {
    inner: parking_lot::RwLockReadGuard<'a, T>,
    _held: Held,
}

/// Exclusive access to the value inside an [`RwLock`].
pub struct WriteGuard<'a, T> {
    inner: parking_lot::RwLockWriteGuard<'a, T>,
    _held: Held,
}

impl<T> RwLock<T> {
    /// Wraps `value` in a lock of the given rank.
    pub const fn new(rank: Rank, value: T) -> Self {
        Self { rank, inner: parking_lot::RwLock::new(value) }
    }

    /// Waits for shared access.
    pub fn read(&self) -> ReadGuard<'_, T> {
        held::acquire(self.rank);
        ReadGuard { inner: self.inner.read(), _held: Held(self.rank) }
    }

    /// Waits for exclusive access.
    pub fn write(&self) -> WriteGuard<'_, T> {
        held::acquire(self.rank);
        WriteGuard { inner: self.inner.write(), _held: Held(self.rank) }
    }
}

impl<T> std::fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RwLock").field("rank", &self.rank).finish_non_exhaustive()
    }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_in_rank_order_are_granted() {
        let topology = RwLock::new(Rank::Topology, 1);
        let epoch = RwLock::new(Rank::Epoch, 2);
        let queue = Mutex::new(Rank::Queue, 3);
        let leaf = Mutex::new(Rank::Leaf, 4);
        let sum = *topology.read() + *epoch.read() + *queue.lock() + *leaf.lock();
        assert_eq!(sum, 10);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order broken")]
    fn two_queues_are_never_held_together() {
        let (a, b) = (Mutex::new(Rank::Queue, ()), Mutex::new(Rank::Queue, ()));
        let _a = a.lock();
        let _b = b.lock();
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order broken")]
    fn topology_is_never_taken_under_a_queue() {
        let (topology, queue) = (RwLock::new(Rank::Topology, ()), Mutex::new(Rank::Queue, ()));
        let _queue = queue.lock();
        let _topology = topology.read();
    }
}
