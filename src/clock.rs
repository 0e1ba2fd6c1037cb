//! Time behind one type, so that tests can steer it.
//!
//! Everything in the broker that depends on time asks a [`Clock`]. The system clock is read once at start; from then
//! on it advances with the monotonic clock, so a wall clock that jumps neither expires nor preserves messages.
//! Deliberately absent: sleeping (tasks sleep on their runtime and ask the clock what became due).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// The deadline of something that has none.
pub const NEVER: Millis = Millis::MAX;

/// Source of the present moment; clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    start_unix: Duration,
    /// Milliseconds a test has added.
    advanced: AtomicU64,
    /// Woken whenever a test advances the clock.
    moved: tokio::sync::Notify,
}

impl Clock {
    /// A clock that runs with the machine's.
    #[allow(clippy::disallowed_methods)] // the one place that reads the machine's clocks
    pub fn system() -> Self {
        let start_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Arc::new(Inner {
            start: Instant::now(),
            start_unix,
            advanced: AtomicU64::new(0),
            moved: tokio::sync::Notify::new(),
        }))
    }

    /// The present moment, in milliseconds since the Unix epoch.
    #[inline]
    pub fn now(&self) -> Millis {
        let real = self.0.start_unix + self.0.start.elapsed();
        u64::try_from(real.as_millis()).unwrap_or(u64::MAX - 1) + self.0.advanced.load(Ordering::Relaxed)
    }

    /// Moves the clock forward and wakes whoever waits in [`Clock::moved`]. For tests.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.advanced.fetch_add(millis, Ordering::Relaxed);
        self.0.moved.notify_waiters();
    }

    /// Completes when the clock is advanced by hand after this call, awaited or not.
    pub fn moved(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.moved.notified()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_moves_every_clone() {
        let clock = Clock::system();
        let before = clock.clone().now();
        clock.advance(Duration::from_secs(3600));
        assert!(clock.clone().now() >= before + 3_600_000);
    }
}
