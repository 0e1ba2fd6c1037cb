//! How old things are that come in the order of ascending keys: messages by position, deliveries by tag.
//!
//! Nothing is kept for a single message. Now and then (once a turn, at most once a millisecond) a mark says which key
//! came when; there are at most [`MOST`]. When they are used up, those of what has long gone are dropped, and if there
//! are too few of them every second one is, and marks are made half as often from then on: an age is then told too high
//! by a part of what the oldest one is, one in [`MOST`] halves at most, which a backlog that old does not mind.

use std::collections::VecDeque;

use super::{Spread, Times};
use crate::clock::Millis;

/// Marks kept of one row of keys.
const MOST: usize = 64;

/// When which keys came.
#[derive(Debug)]
pub struct Marks {
    /// First keys of rows that came at the same time, and that time; both ascend.
    ring: VecDeque<(u64, Millis)>,
    /// When what is older than every mark came, at the latest.
    floor: Millis,
    /// Least time between two marks.
    grain: Millis,
}

impl Marks {
    /// No marks; what is there already counts as come at `now`.
    pub fn new(now: Millis) -> Self {
        Self { ring: VecDeque::new(), floor: now, grain: 1 }
    }

    /// Notes that `key` and those after it come at `now`. `oldest` is the lowest key still of interest.
    #[inline]
    pub fn note(&mut self, key: u64, now: Millis, oldest: impl Fn() -> u64) {
        if self.ring.back().is_some_and(|(_, at)| now.saturating_sub(*at) < self.grain) {
            // Time went by less than it takes for a mark, unless nothing older is there and marks can be fine again.
            if self.grain == 1 || oldest() < key {
                return;
            }
            self.relax(now);
        }
        if self.ring.len() >= MOST {
            self.make_room(oldest());
        }
        self.ring.push_back((key, now));
    }

    #[cold]
    fn make_room(&mut self, oldest: u64) {
        while self.ring.get(1).is_some_and(|(key, _)| *key <= oldest) {
            self.floor = self.ring.pop_front().map_or(self.floor, |(_, at)| at);
        }
        if self.ring.len() <= MOST / 4 {
            self.grain = 1;
        } else if self.ring.len() > MOST / 2 {
            self.grain = self.grain.saturating_mul(2);
            let mut keep = false;
            self.ring.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// The first mark that is not of `key` or a lower one.
    #[inline]
    fn after(&self, key: u64) -> usize {
        match self.ring.back() {
            Some((last, _)) if *last <= key => self.ring.len(),
            _ => self.ring.partition_point(|(first, _)| *first <= key),
        }
    }

    /// When `key` came.
    pub fn since(&self, key: u64) -> Millis {
        self.before(self.after(key)).1
    }

    fn before(&self, at: usize) -> (u64, Millis) {
        at.checked_sub(1).and_then(|at| self.ring.get(at)).copied().unwrap_or((0, self.floor))
    }

    /// The keys around `key` that came at the same time, the last one excluded, and that time.
    #[inline]
    fn row(&self, key: u64) -> (u64, u64, Millis) {
        let after = self.after(key);
        let (from, at) = self.before(after);
        (from, self.ring.get(after).map_or(u64::MAX, |(key, _)| *key), at)
    }

    /// Calls `each` with how many of the keys `from..=until` came when.
    pub fn rows(&self, from: u64, until: u64, mut each: impl FnMut(u64, Millis)) {
        let mut key = from;
        while key <= until {
            let (_, next, at) = self.row(key);
            // The last row has no end.
            let last = if next == u64::MAX { until } else { until.min(next - 1) };
            each(last - key + 1, at);
            if last == u64::MAX {
                return;
            }
            key = last + 1;
        }
    }

    /// Gives memory back while nothing is of interest.
    pub fn relax(&mut self, now: Millis) {
        self.ring = VecDeque::new();
        self.floor = now;
        self.grain = 1;
    }
}

/// Marks, and how old things were when they left.
#[derive(Debug)]
pub struct Ages {
    marks: Marks,
    times: Times,
    /// The row of keys looked up last, as its first key and its length; with the age of those in it.
    from: u64,
    span: u64,
    age: Millis,
    /// How many of that row have left, and are not yet counted.
    left: u64,
}

impl Ages {
    /// Nothing counted; what is there already counts as come at `now`.
    pub fn new(now: Millis) -> Self {
        Self { marks: Marks::new(now), times: Times::default(), from: 0, span: 0, age: 0, left: 0 }
    }

    /// See [`Marks::note`].
    #[inline]
    pub fn note(&mut self, key: u64, now: Millis, oldest: impl Fn() -> u64) {
        self.marks.note(key, now, oldest);
    }

    /// See [`Marks::since`].
    pub fn since(&self, key: u64) -> Millis {
        self.marks.since(key)
    }

    /// Counts one that leaves at `now`; [`Ages::end`] must follow before `now` changes.
    #[inline]
    pub fn leaves(&mut self, key: u64, now: Millis) {
        if key.wrapping_sub(self.from) >= self.span {
            self.look_up(key, now);
        }
        self.left += 1;
    }

    fn look_up(&mut self, key: u64, now: Millis) {
        self.end();
        let (from, until, at) = self.marks.row(key);
        (self.from, self.span) = (from, until - from);
        self.age = now.saturating_sub(at);
    }

    /// Ends a row of those that leave.
    #[inline]
    pub fn end(&mut self) {
        if self.left > 0 {
            self.times.observe(self.age, self.left);
            self.left = 0;
        }
        self.span = 0;
    }

    /// How old things were when they left, in milliseconds.
    pub fn spread(&self) -> Spread {
        self.times.spread()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_as_old_as_the_mark_before_it() {
        let mut marks = Marks::new(5);
        for (key, at) in [(10, 100), (20, 100), (30, 200), (40, 150)] {
            marks.note(key, at, || 0);
        }
        let since = [9, 10, 29, 30, 99].map(|key| marks.since(key));
        assert_eq!(since, [5, 100, 100, 200, 200], "one mark a moment, and the clock does not go back");
        let mut rows = Vec::new();
        marks.rows(8, 31, |n, at| rows.push((n, at)));
        assert_eq!(rows, [(2, 5), (20, 100), (2, 200)]);
        marks.rows(u64::MAX, u64::MAX, |n, at| rows.push((n, at)));
        assert_eq!(rows.last(), Some(&(1, 200)));
        marks.relax(300);
        assert_eq!(marks.since(99), 300);
    }

    #[test]
    fn marks_are_bounded_and_those_of_what_has_gone_go_first() {
        let mut marks = Marks::new(0);
        for n in 1..=10_000 {
            marks.note(n * 10, n, || (n * 10).saturating_sub(50));
            assert!(marks.ring.len() <= MOST);
            let (known, came) = ((n * 10).saturating_sub(45), n.saturating_sub(5));
            assert_eq!(marks.since(known), came, "what is there is known exactly");
        }
        let mut backlog = Marks::new(0);
        for n in 1..=100_000 {
            backlog.note(n, n, || 1);
            assert!(backlog.ring.len() <= MOST);
        }
        assert_eq!(backlog.since(1), 1);
        for key in [10_u64, 1_000, 50_000, 99_999] {
            let off = backlog.since(key).abs_diff(key);
            assert!(off <= 10_000, "{key}: off by {off}");
        }
    }

    #[test]
    fn marks_are_fine_again_once_a_backlog_has_gone() {
        let mut marks = Marks::new(0);
        (1..=100_000).for_each(|n| marks.note(n, n, || 1));
        assert!(marks.grain > 500, "{}", marks.grain);
        for n in 100_001..100_200 {
            marks.note(n, n, || n);
            assert_eq!(marks.since(n), n, "nothing older is there");
        }
    }

    #[test]
    fn ages_are_counted_when_things_leave() {
        let mut ages = Ages::new(0);
        ages.note(1, 100, || 1);
        ages.note(5, 103, || 1);
        for key in [1, 2, 5, 3] {
            ages.leaves(key, 104);
        }
        ages.end();
        ages.leaves(6, 203);
        ages.end();
        let spread = ages.spread();
        assert_eq!((spread.count(), spread.sum), (5, 3 * 4 + 1 + 100));
        assert_eq!(ages.since(6), 103);
    }
}
