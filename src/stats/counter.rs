//! A number with one writer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one task at a time changes and any may read; readers see it a moment late, never torn.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Not to be called by two tasks at once: one of the two would be lost.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets it to `n`, where it stands for how many there are rather than how many there were.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Adds `n` where several tasks do: for what happens seldom.
    pub fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The number.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_is_seen_by_all() {
        let counter = std::sync::Arc::new(Counter::default());
        let writer = counter.clone();
        std::thread::spawn(move || (0..1_000).for_each(|_| writer.add(2))).join().unwrap();
        assert_eq!(counter.get(), 2_000);
        counter.set(7);
        counter.add_shared(1);
        assert_eq!(counter.get(), 8);
    }
}
