//! The samples of a thing that has moved lately, and the rates they tell.
//!
//! The sampler comes every [`INTERVAL`] and asks only those that have moved since it came last. A thing that has not
//! moved has the figures of its last sample; so a ring of samples need not hold one for each moment, and nothing at all
//! is kept of what never moved.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::Millis;
use crate::sync::{Mutex, Rank};

/// Time between two samples, in milliseconds; RabbitMQ's. Samples are told for multiples of it.
pub const INTERVAL: Millis = 5_000;

/// Figures at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The moment, a multiple of [`INTERVAL`].
    pub at: Millis,
    /// The figures, in an order that their owner knows.
    pub values: Box<[u64]>,
}

/// What is kept of one thing's past.
#[derive(Debug)]
pub struct History {
    /// It has moved since the last sample; the sampler knows.
    moved: AtomicBool,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    samples: VecDeque<Sample>,
    /// There were older samples.
    cut: bool,
}

impl Default for History {
    fn default() -> Self {
        Self { moved: AtomicBool::new(false), ring: Mutex::new(Rank::Leaf, Ring::default()) }
    }
}

impl History {
    /// Notes that the thing has moved; `true` if the sampler has to be told of it.
    #[inline]
    pub fn moves(&self) -> bool {
        !self.moved.load(Ordering::Relaxed) && !self.moved.swap(true, Ordering::Relaxed)
    }

    /// Takes the sample of the moment `at`, of which at most `most` are kept. Returns the figures before.
    pub fn sample(&self, at: Millis, most: usize, read: impl FnOnce() -> Box<[u64]>) -> Option<Box<[u64]>> {
        // First: what moves while the figures are read is told again.
        self.moved.store(false, Ordering::Relaxed);
        let values = read();
        let mut ring = self.ring.lock();
        let before = ring.samples.back().map(|sample| sample.values.clone());
        if ring.samples.back().is_some_and(|sample| sample.at >= at) {
            ring.samples.pop_back();
        }
        ring.samples.push_back(Sample { at, values });
        ring.keep(most);
        before
    }

    /// Keeps what is not older than `since`, and the latest sample in any case; `false` if no more than that is left.
    pub fn forget_before(&self, since: Millis) -> bool {
        let mut ring = self.ring.lock();
        let old = ring.samples.iter().filter(|sample| sample.at < since).count();
        let rest = ring.samples.len() - old;
        ring.keep(rest.max(1));
        if ring.samples.len() <= 1 {
            ring.samples.shrink_to(1);
            return false;
        }
        true
    }

    /// The past up to `tick`, the moment of the sampler's last coming: the latest two samples, or all with `deep`.
    pub fn trend(&self, tick: Millis, deep: bool) -> Trend {
        let ring = self.ring.lock();
        let most = if deep { usize::MAX } else { 2 };
        let cut = ring.cut || ring.samples.len() > most;
        Trend { tick, samples: ring.samples.iter().rev().take(most).cloned().collect(), cut }
    }
}

impl Ring {
    fn keep(&mut self, most: usize) {
        while self.samples.len() > most {
            self.samples.pop_front();
            self.cut = true;
        }
    }
}

/// Samples of one thing, the latest first.
#[derive(Clone, Debug, Default)]
pub struct Trend {
    tick: Millis,
    samples: Vec<Sample>,
    cut: bool,
}

impl Trend {
    /// How fast the figure at `place` has grown between the last two ticks, a second.
    pub fn rate(&self, place: usize) -> f64 {
        let moment = |at: Millis| self.value(place, at);
        slope(moment(self.tick), moment(self.tick.saturating_sub(INTERVAL)), INTERVAL)
    }

    /// The figures at moments `step` apart that go back `age` milliseconds from the last tick, the latest first; at most
    /// `most`.
    pub fn points(&self, place: usize, age: Millis, step: Millis, most: usize) -> Vec<(Millis, u64)> {
        let step = step.max(1);
        let n = usize::try_from(age / step).unwrap_or(most).saturating_add(1).min(most);
        let moments = (0u64..).take(n).map(|n| self.tick.saturating_sub(n.saturating_mul(step)));
        moments.map(|at| (at, self.value(place, at))).collect()
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Whether the latest sample has these figures.
    pub fn ends_with(&self, values: &[u64]) -> bool {
        self.samples.first().is_some_and(|sample| *sample.values == *values)
    }

    /// The figure as it was at a moment: that of the sample before it. Before the first there was nothing, unless there
    /// were samples that are not kept.
    fn value(&self, place: usize, at: Millis) -> u64 {
        let known = self.samples.iter().find(|sample| sample.at <= at);
        let sample = known.or_else(|| self.samples.last().filter(|_| self.cut));
        sample.and_then(|sample| sample.values.get(place)).copied().unwrap_or(0)
    }
}

/// Growth a second; negative for what has shrunk.
#[allow(clippy::cast_precision_loss)] // a rate needs no more
pub(super) fn slope(last: u64, first: u64, over: Millis) -> f64 {
    let seconds = over.max(1) as f64 / 1_000.0;
    if last >= first { (last - first) as f64 / seconds } else { -((first - last) as f64 / seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(history: &History, at: Millis, value: u64) -> Option<Box<[u64]>> {
        history.sample(at, 3, || [value].into())
    }

    #[test]
    fn a_thing_tells_once_that_it_has_moved() {
        let history = History::default();
        assert!(history.moves() && !history.moves());
        assert_eq!(of(&history, 5_000, 10), None);
        assert!(history.moves(), "and anew after a sample");
        assert_eq!(of(&history, 10_000, 20).as_deref(), Some(&[10][..]));
    }

    #[test]
    #[allow(clippy::float_cmp)] // exact by construction
    fn what_does_not_move_has_a_rate_of_nothing() {
        let history = History::default();
        of(&history, 5_000, 10);
        assert_eq!(history.trend(5_000, false).rate(0), 2.0, "from nothing");
        of(&history, 10_000, 25);
        assert_eq!(history.trend(10_000, false).rate(0), 3.0);
        assert_eq!(history.trend(15_000, false).rate(0), 0.0);
        of(&history, 20_000, 5);
        assert_eq!(history.trend(20_000, true).rate(0), -4.0);
        assert_eq!(history.trend(20_000, true).rate(9), 0.0, "no such figure");
        assert_eq!(Trend::default().rate(0), 0.0);
    }

    #[test]
    fn points_go_back_over_what_did_not_move() {
        let history = History::default();
        of(&history, 10_000, 10);
        of(&history, 25_000, 40);
        let trend = history.trend(30_000, true);
        let points = trend.points(0, 25_000, 5_000, 500);
        let values: Vec<u64> = points.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [40, 40, 10, 10, 10, 0]);
        assert_eq!((points[0].0, points[5].0), (30_000, 5_000));
        assert_eq!(trend.points(0, 1 << 40, 0, 500).len(), 500, "bounded");
        for at in [30_000, 35_000] {
            of(&history, at, 50);
        }
        let oldest = history.trend(35_000, true).points(0, 30_000, 5_000, 500).pop();
        assert_eq!(oldest, Some((5_000, 40)), "what is not kept was not nothing");
        assert!(!history.forget_before(60_000), "only the latest is left");
        assert_eq!(history.trend(35_000, true).samples.len(), 1);
    }
}
