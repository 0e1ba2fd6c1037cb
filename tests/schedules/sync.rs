//! The locks of `src/sync.rs`, built on shuttle's: the same names and the same check of their order.

#[path = "../../src/sync/bell.rs"]
mod bell;
#[path = "../../src/sync/line.rs"]
mod line;

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

pub use bell::Bell;
pub use line::Line;
pub use shuttle::sync::atomic;
pub use shuttle::thread::Thread;

/// As in `src/sync.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Epoch = 2,
    Queue = 3,
    Leaf = 4,
}

shuttle::thread_local! {
    static HELD: RefCell<Vec<Rank>> = RefCell::new(Vec::new());
}

struct Held(Rank);

impl Held {
    fn acquire(rank: Rank) -> Self {
        HELD.with(|held| {
            let mut held = held.borrow_mut();
            assert!(held.iter().all(|other| rank > *other), "{rank:?} requested while {held:?} held");
            held.push(rank);
        });
        Self(rank)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.with(|held| held.borrow_mut().retain(|rank| *rank != self.0));
    }
}

#[derive(Debug)]
pub struct Mutex<T> {
    rank: Rank,
    inner: shuttle::sync::Mutex<T>,
}

pub struct MutexGuard<'a, T> {
    inner: shuttle::sync::MutexGuard<'a, T>,
    _held: Held,
}

impl<T> Mutex<T> {
    pub fn new(rank: Rank, value: T) -> Self {
        Self { rank, inner: shuttle::sync::Mutex::new(value) }
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = Held::acquire(self.rank);
        MutexGuard { inner: self.inner.lock().expect("nobody panics under a lock"), _held: held }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

#[derive(Debug)]
pub struct RwLock<T> {
    rank: Rank,
    inner: shuttle::sync::RwLock<T>,
}

pub struct ReadGuard<'a, T> {
    _inner: shuttle::sync::RwLockReadGuard<'a, T>,
    _held: Held,
}

pub struct WriteGuard<'a, T> {
    _inner: shuttle::sync::RwLockWriteGuard<'a, T>,
    _held: Held,
}

impl<T> RwLock<T> {
    pub fn new(rank: Rank, value: T) -> Self {
        Self { rank, inner: shuttle::sync::RwLock::new(value) }
    }

    pub fn read(&self) -> ReadGuard<'_, T> {
        let held = Held::acquire(self.rank);
        ReadGuard { _inner: self.inner.read().expect("nobody panics under a lock"), _held: held }
    }

    pub fn write(&self) -> WriteGuard<'_, T> {
        let held = Held::acquire(self.rank);
        WriteGuard { _inner: self.inner.write().expect("nobody panics under a lock"), _held: held }
    }
}
