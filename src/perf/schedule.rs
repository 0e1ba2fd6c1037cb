//! When messages are due, and how large they are then.
//!
//! Pure: moments are nanoseconds of the caller's clock. Invariant: the moments of a schedule depend on its beginning
//! alone, never on when somebody asked; who falls behind is told of all he has missed. That is what keeps a stalled
//! broker from hiding its stall (coordinated omission).

use crate::config::perf::Phase;

const SECOND: u64 = 1_000_000_000;

/// A rate that may change by the clock, again and again.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// Messages a second, and for how many nanoseconds.
    phases: Vec<(u64, u64)>,
    /// The phase in force, when it began, and how many of its messages have been taken.
    phase: usize,
    begun: u64,
    taken: u64,
}

impl Schedule {
    /// So many messages a second, from `begin` on.
    pub(super) fn fixed(rate: u32, begin: u64) -> Self {
        Self { phases: vec![(rate.into(), SECOND)], phase: 0, begun: begin, taken: 0 }
    }

    /// Each rate for its time, then from the first again; `None` unless some rate is above 0.
    pub(super) fn variable(phases: &[Phase<u32>], begin: u64) -> Option<Self> {
        let phases: Vec<_> =
            phases.iter().map(|phase| (phase.value.into(), phase.seconds.saturating_mul(SECOND))).collect();
        phases.iter().any(|(rate, _)| *rate > 0).then_some(Self { phases, phase: 0, begun: begin, taken: 0 })
    }

    /// Moves the beginning of a schedule that has not begun by so much.
    pub(super) fn begin(&mut self, at: u64) {
        self.begun = self.begun.saturating_add(at);
    }

    /// When the next message is due.
    pub(super) fn next(&mut self) -> u64 {
        loop {
            let (rate, long) = self.phases[self.phase];
            let after = if rate == 0 { long } else { scaled(self.taken, SECOND, rate) };
            if after < long {
                return self.begun.saturating_add(after);
            }
            self.begun = self.begun.saturating_add(long);
            self.phase = (self.phase + 1) % self.phases.len();
            self.taken = 0;
        }
    }

    /// Takes the next message; when it was due.
    pub(super) fn take(&mut self) -> u64 {
        let due = self.next();
        self.taken += 1;
        due
    }

    /// How many messages are due by now; perhaps fewer, if the rate has changed meanwhile, but never none if one is.
    pub(super) fn due(&mut self, now: u64) -> u64 {
        if self.next() > now {
            return 0;
        }
        let (rate, long) = self.phases[self.phase];
        let passed = (now - self.begun).min(long);
        scaled(passed, rate, SECOND).saturating_add(1).min(scaled(long, rate, SECOND)).saturating_sub(self.taken).max(1)
    }
}

/// `a * b / c`, which fits where it is used.
fn scaled(a: u64, b: u64, c: u64) -> u64 {
    u64::try_from(u128::from(a) * u128::from(b) / u128::from(c)).unwrap_or(u64::MAX)
}

/// The phase in force after so many nanoseconds, of phases that repeat.
pub(super) fn in_force<T: Copy>(phases: &[Phase<T>], passed: u64) -> Option<T> {
    let whole: u64 = phases.iter().map(|phase| phase.seconds).sum();
    let mut left = (passed / SECOND).checked_rem(whole)?;
    for phase in phases {
        if left < phase.seconds {
            return Some(phase.value);
        }
        left -= phase.seconds;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_rate_keeps_its_moments_whoever_is_late() {
        let mut schedule = Schedule::fixed(1_000, 5 * SECOND);
        assert_eq!(schedule.due(5 * SECOND - 1), 0);
        assert_eq!(schedule.due(5 * SECOND), 1);
        assert_eq!(schedule.take(), 5 * SECOND);
        assert_eq!(schedule.due(5 * SECOND), 0);
        assert_eq!(schedule.next(), 5 * SECOND + 1_000_000);
        // Nobody asks for two and a half seconds; everything is due, at the moments it was due.
        let now = 7 * SECOND + SECOND / 2;
        let mut late = Vec::new();
        loop {
            let due = schedule.due(now);
            if due == 0 {
                break;
            }
            late.extend((0..due).map(|_| schedule.take()));
        }
        assert_eq!(late.len(), 2_500);
        assert!(late.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000));
        assert_eq!(late.last(), Some(&now));
    }

    #[test]
    fn rates_that_do_not_divide_a_second_come_out_right() {
        let mut schedule = Schedule::fixed(7, 0);
        let moments: Vec<u64> = (0..15).map(|_| schedule.take()).collect();
        assert_eq!((moments[0], moments[7], moments[14]), (0, SECOND, 2 * SECOND));
        assert!(moments.is_sorted());
    }

    #[test]
    fn variable_rates_take_turns() {
        let phases: Vec<Phase<u32>> = ["100:2", "0:3", "10:1"].iter().map(|text| text.parse().unwrap()).collect();
        let mut schedule = Schedule::variable(&phases, 0).unwrap();
        let mut each_second = [0; 12];
        while schedule.next() < 12 * SECOND {
            let at = schedule.take();
            each_second[usize::try_from(at / SECOND).unwrap()] += 1;
        }
        assert_eq!(each_second, [100, 100, 0, 0, 0, 10, 100, 100, 0, 0, 0, 10]);
        let mut schedule = Schedule::variable(&phases, 0).unwrap();
        assert_eq!(schedule.due(SECOND - 1), 100);
        assert_eq!(schedule.due(10 * SECOND), 200, "of the first phase");
        assert!(Schedule::variable(&["0:5".parse().unwrap()], 0).is_none(), "pauses alone never end");
    }

    #[test]
    fn sizes_take_turns_by_the_second() {
        let phases: Vec<Phase<u32>> = ["16:2", "4096:1"].iter().map(|text| text.parse().unwrap()).collect();
        let seen: Vec<_> = (0..6).map(|second| in_force(&phases, second * SECOND + 5).unwrap()).collect();
        assert_eq!(seen, [16, 16, 4096, 16, 16, 4096]);
        assert_eq!(in_force::<u32>(&[], 5), None);
    }
}
