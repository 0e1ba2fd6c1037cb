//! How often a value was how large: cumulative buckets, as Prometheus has them.

use std::sync::OnceLock;

use super::Counter;

/// Upper bounds of times, in milliseconds: from what is not noticed to a day.
pub const TIMES: [u64; 12] = [1, 5, 10, 50, 100, 500, 1_000, 5_000, 30_000, 300_000, 3_600_000, 86_400_000];

/// A histogram of times.
pub type Times = Histogram<12>;

/// Counts by upper bound, with one writer at a time. Takes memory once something is counted.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    counts: OnceLock<Box<Counts<N>>>,
}

#[derive(Debug)]
struct Counts<const N: usize> {
    up_to: [Counter; N],
    above: Counter,
    sum: Counter,
}

impl<const N: usize> Counts<N> {
    fn new() -> Self {
        let up_to = std::array::from_fn(|_| Counter::default());
        Self { up_to, above: Counter::default(), sum: Counter::default() }
    }
}

impl<const N: usize> Histogram<N> {
    /// An empty one; `bounds` ascend.
    pub fn new(bounds: &'static [u64; N]) -> Self {
        Self { bounds, counts: OnceLock::new() }
    }

    /// Where a value is counted, and the sum of all.
    #[inline]
    fn place(&self, value: u64) -> (&Counter, &Counter) {
        let counts = self.counts.get_or_init(|| Box::new(Counts::new()));
        let bucket = self.bounds.iter().zip(&counts.up_to).find(|(bound, _)| value <= **bound);
        (bucket.map_or(&counts.above, |(_, count)| count), &counts.sum)
    }

    /// Counts a value `n` times.
    #[inline]
    pub fn observe(&self, value: u64, n: u64) {
        let (count, sum) = self.place(value);
        count.add(n);
        sum.add(value.wrapping_mul(n));
    }

    /// Counts a value where several tasks do: for what happens seldom.
    pub fn observe_shared(&self, value: u64) {
        let (count, sum) = self.place(value);
        count.add_shared(1);
        sum.add_shared(value);
    }

    /// What has been counted so far.
    pub fn spread(&self) -> Spread {
        let Some(counts) = self.counts.get() else {
            return Spread { bounds: self.bounds, counts: vec![0; N + 1], sum: 0 };
        };
        let all = counts.up_to.iter().chain([&counts.above]).map(Counter::get).collect();
        Spread { bounds: self.bounds, counts: all, sum: counts.sum.get() }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::new(&TIMES)
    }
}

/// What a histogram has counted, at one moment; several may be added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Upper bounds, ascending.
    pub bounds: &'static [u64],
    /// Values up to each bound and above the bound before it; the last is of those above all bounds.
    pub counts: Vec<u64>,
    /// All values together.
    pub sum: u64,
}

impl Spread {
    /// Adds what another has counted by the same bounds.
    pub fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.clone_from(other);
            return;
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// For each bound, how many values were at most as large.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bounds.iter().zip(&self.counts).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((*bound, *sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_up_to_their_bound() {
        let times = Times::default();
        for (value, n) in [(0, 1), (1, 1), (2, 3), (86_400_000, 1), (86_400_001, 2)] {
            times.observe(value, n);
        }
        let mut spread = times.spread();
        assert_eq!(spread.cumulative().next(), Some((1, 2)));
        assert_eq!(spread.cumulative().nth(1), Some((5, 5)));
        assert_eq!(spread.cumulative().last(), Some((86_400_000, 6)));
        assert_eq!((spread.count(), spread.sum), (8, 1 + 6 + 3 * 86_400_000 + 2));
        spread.add(&times.spread());
        assert_eq!(spread.count(), 16);
        let mut none = Spread::default();
        none.add(&spread);
        assert_eq!(none, spread);
    }
}
