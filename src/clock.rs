//! Time behind one type, so that tests can steer it.
//!
//! Everything in the broker that depends on time asks a [`Clock`]. The system clock is read once at start; from then
//! on it advances with the monotonic clock, so a wall clock that jumps neither expires nor preserves messages.
//!
//! What outlives the process is told in wall time, which is read anew for it: the next process begins with the wall
//! clock of its own start, and must not inherit a wrong one, or the time this one has slept. [`Clock::to_wall`] and
//! [`Clock::from_wall`] stand where times go to the store and come back.
//! Deliberately absent: sleeping (tasks sleep on their runtime and ask the clock what became due).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// The deadline of something that has none.
pub const NEVER: Millis = Millis::MAX;

/// Difference of two clocks, in milliseconds, below which they agree.
const SKEW: u64 = 1_000;

/// Source of the present moment; clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    start_unix: Duration,
    /// Milliseconds a test has added.
    advanced: AtomicU64,
    /// Milliseconds by which a test has set the wall clock.
    set: AtomicI64,
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
            set: AtomicI64::new(0),
            moved: tokio::sync::Notify::new(),
        }))
    }

    /// The present moment, in milliseconds since the Unix epoch.
    #[inline]
    pub fn now(&self) -> Millis {
        let real = self.0.start_unix + self.0.start.elapsed();
        u64::try_from(real.as_millis()).unwrap_or(u64::MAX - 1) + self.0.advanced.load(Ordering::Relaxed)
    }

    /// [`Clock::now`] in nanoseconds, for measuring.
    #[inline]
    pub fn nanos(&self) -> u64 {
        let real = self.0.start_unix + self.0.start.elapsed();
        let advanced = self.0.advanced.load(Ordering::Relaxed).saturating_mul(1_000_000);
        u64::try_from(real.as_nanos()).unwrap_or(u64::MAX).saturating_add(advanced)
    }

    /// The wall clock, as the machine tells it now.
    #[allow(clippy::disallowed_methods)] // the one place that reads the machine's clocks
    pub fn wall(&self) -> Millis {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let real = u64::try_from(real.as_millis()).unwrap_or(u64::MAX - 1);
        real.saturating_add(self.0.advanced.load(Ordering::Relaxed))
            .saturating_add_signed(self.0.set.load(Ordering::Relaxed))
    }

    /// How far the wall clock is ahead, in milliseconds; small differences, which any two clocks have, are none.
    pub fn skew(&self) -> i64 {
        let skew = i64::try_from(self.wall()).unwrap_or(i64::MAX) - i64::try_from(self.now()).unwrap_or(i64::MAX);
        if skew.unsigned_abs() < SKEW { 0 } else { skew }
    }

    /// A moment of this clock as wall time, for keeping; `skew` is that of now.
    pub fn to_wall(at: Millis, skew: i64) -> Millis {
        if at == NEVER { NEVER } else { at.saturating_add_signed(skew).min(NEVER - 1) }
    }

    /// A moment that was kept, on this clock.
    pub fn from_wall(at: Millis, skew: i64) -> Millis {
        Self::to_wall(at, skew.saturating_neg())
    }

    /// Sets the wall clock of the machine, as far as this clock knows it: by so many milliseconds. For tests.
    pub fn set_wall(&self, by: i64) {
        self.0.set.fetch_add(by, Ordering::Relaxed);
    }

    /// The clock of a process that starts now. For tests.
    pub fn restarted(&self) -> Self {
        let next = Self::system();
        next.0.advanced.store(self.0.advanced.load(Ordering::Relaxed), Ordering::Relaxed);
        let set = self.0.set.load(Ordering::Relaxed);
        // Its start is read from a wall clock that is set already.
        Self(Arc::new(Inner {
            start: next.0.start,
            start_unix: Duration::from_millis(next.wall().saturating_add_signed(set)),
            advanced: AtomicU64::new(0),
            set: AtomicI64::new(i64::try_from(self.0.advanced.load(Ordering::Relaxed)).unwrap_or(0) + set),
            moved: tokio::sync::Notify::new(),
        }))
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
        assert_eq!(clock.skew(), 0, "time passes for both");
    }

    #[test]
    fn a_wall_clock_that_is_set_changes_nothing_but_what_is_kept() {
        let hour = 3_600_000;
        let clock = Clock::system();
        let before = clock.now();
        clock.set_wall(-5 * hour);
        assert!(clock.now() >= before && clock.now() < before + 60_000);
        assert!((clock.skew() + 5 * hour).abs() < 60_000, "{}", clock.skew());
        let (due, skew) = (clock.now() + 1_000, clock.skew());
        assert_eq!(Clock::from_wall(Clock::to_wall(due, skew), skew), due);
        assert_eq!((Clock::to_wall(NEVER, skew), Clock::from_wall(NEVER, skew)), (NEVER, NEVER));
        clock.advance(Duration::from_secs(7_200));
        let next = clock.restarted();
        assert_eq!(next.skew(), 0, "a process begins with the wall clock there is");
        let kept = Clock::to_wall(due, skew);
        let passed = next.now().saturating_sub(kept);
        assert!((7_190_000..7_300_000).contains(&passed), "two hours have passed, whatever the wall said: {passed}");
    }
}
