//! How much a session may do before others have their turn.
//!
//! A read of 128 KiB can hold thousands of publishes, and each of them can go to thousands of queues: counted in octets,
//! one turn could take seconds, in which nobody else on its thread logs in, is delivered to or hears a heartbeat. So a
//! turn is counted in work, roughly in units of what decoding a frame costs, and what is left of the input waits for the
//! next turn. While it waits nothing more is read, so that a client that sends too much is held back by its socket.
//! Deliberately absent: clocks. The same input always makes the same turns.

/// Work of one turn: about 1,000 small publishes to one queue each, or one to a thousand queues; less than half a
/// millisecond. Four times as much costs as much a message, and lets others wait twice as long.
const BUDGET: usize = 4_096;

/// A message in one of the queues it goes to, if there are several: each has a lock, and memory that is not at hand.
const FAN_OUT: usize = 8;

/// A method other than those for which work is gathered: it does what was gathered first.
pub(super) const METHOD: usize = 16;

/// The work of the present turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    done: usize,
}

impl Turn {
    /// Begins a new turn.
    pub(super) fn begin(&mut self) {
        self.done = 0;
    }

    /// Counts work.
    #[inline]
    pub(super) fn spend(&mut self, work: usize) {
        self.done = self.done.saturating_add(work);
    }

    /// Counts a message that goes to so many queues.
    #[inline]
    pub(super) fn route(&mut self, queues: usize) {
        self.spend(if queues > 1 { queues.saturating_mul(FAN_OUT) } else { queues });
    }

    /// Whether it is the turn of others.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.done >= BUDGET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages that go to `queues` queues in one turn.
    fn messages(queues: usize) -> usize {
        let mut turn = Turn::default();
        let frames = 3;
        let work = |turn: &mut Turn| {
            turn.spend(frames);
            turn.route(queues);
        };
        std::iter::from_fn(|| (!turn.is_over()).then(|| work(&mut turn))).count()
    }

    #[test]
    fn a_turn_is_bounded_by_what_its_messages_lead_to() {
        assert_eq!([0, 1, 2, 10, 1_500, usize::MAX].map(messages), [1_366, 1_024, 216, 50, 1, 1]);
    }
}
