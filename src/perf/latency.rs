//! Histograms of how long things took, and the percentiles shown of them.
//!
//! Pure but for a lock each. Times are counted from the moment a message was due, which the caller has from its
//! schedule. Invariant: what is recorded is in exactly one interval.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::PerfError;
use crate::sync::{Mutex, Rank};

/// The least difference told apart, in nanoseconds.
const LEAST: u64 = 1_000;
/// The longest time told apart, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;
/// Significant digits.
const DIGITS: u8 = 3;

/// What some connections measure; emptied at each interval.
#[derive(Debug)]
pub(super) struct Recorder(Mutex<Histogram<u64>>);

impl Recorder {
    pub(super) fn new() -> Result<Self, PerfError> {
        Ok(Self(Mutex::new(Rank::Leaf, empty()?)))
    }

    /// Records times, in nanoseconds.
    pub(super) fn record(&self, times: &[u64]) {
        if !times.is_empty() {
            let mut histogram = self.0.lock();
            for time in times {
                histogram.saturating_record(*time);
            }
        }
    }

    /// Moves what has been recorded into `into`.
    pub(super) fn drain(&self, into: &mut Histogram<u64>) {
        let mut histogram = self.0.lock();
        if !histogram.is_empty() {
            // Both have the same bounds.
            let _ = into.add(&*histogram);
            histogram.reset();
        }
    }
}

/// A histogram with room for everything.
pub(super) fn empty() -> Result<Histogram<u64>, PerfError> {
    Histogram::new_with_bounds(LEAST, LONGEST, DIGITS).map_err(|why| PerfError::Strange(why.to_string()))
}

/// Times in microseconds below which a share of all lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Percentiles {
    /// How many were measured.
    pub(super) count: u64,
    pub(super) p50: f64,
    pub(super) p75: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) p9999: f64,
    pub(super) max: f64,
}

impl Percentiles {
    /// `None` of nothing.
    pub(super) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            p50: at(0.5),
            p75: at(0.75),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max() as f64 / 1_000.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::schedule::Schedule;

    const MILLI: u64 = 1_000_000;

    /// Publishes 1,000 messages a second for 10 s to a broker that takes each at once, but nothing for the whole third
    /// second. The clock is a number. Times from the intended moments, and from those of sending.
    fn stalled() -> (Percentiles, Percentiles) {
        let (corrected, naive) = (Recorder::new().unwrap(), Recorder::new().unwrap());
        let mut schedule = Schedule::fixed(1_000, 0);
        let (mut now, mut sent) = (0, 0);
        while sent < 10_000 {
            now = now.max(schedule.next());
            // Whoever sends into the stall is held until it is over.
            let due = schedule.take();
            let begun = now;
            if (2_000 * MILLI..3_000 * MILLI).contains(&now) {
                now = 3_000 * MILLI;
            }
            now += MILLI / 100;
            corrected.record(&[now - due]);
            naive.record(&[now - begun]);
            sent += 1;
        }
        let percentiles = |recorder: Recorder| {
            let mut all = empty().unwrap();
            recorder.drain(&mut all);
            Percentiles::of(&all).unwrap()
        };
        (percentiles(corrected), percentiles(naive))
    }

    #[test]
    fn a_stall_shows_in_intended_times_and_hides_from_naive_ones() {
        let (corrected, naive) = stalled();
        assert_eq!((corrected.count, naive.count), (10_000, 10_000));
        // One message of 10,000 was in the broker's hands during the stall: the naive 99.9th percentile knows nothing.
        assert!(naive.p999 < 20.0 && naive.max > 999_000.0, "{naive:?}");
        // A tenth of all were due during it, and waited for half of it on average.
        assert!(corrected.p50 < 20.0, "{corrected:?}");
        assert!(corrected.p95 > 400_000.0 && corrected.p99 > 850_000.0, "{corrected:?}");
        assert!((999_000.0..1_010_000.0).contains(&corrected.max), "{corrected:?}");
    }

    #[test]
    fn draining_moves_everything_once() {
        let recorder = Recorder::new().unwrap();
        recorder.record(&[MILLI, 2 * MILLI, u64::MAX]);
        let mut all = empty().unwrap();
        recorder.drain(&mut all);
        recorder.drain(&mut all);
        assert_eq!(all.len(), 3);
        let shown = Percentiles::of(&all).unwrap();
        assert!((shown.p50 - 2_000.0).abs() < 5.0 && shown.max > 3_599e6, "{shown:?}");
        assert_eq!(Percentiles::of(&empty().unwrap()), None);
    }
}
