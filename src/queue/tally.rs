//! What a queue counts of what happens in it: plain numbers under its lock.

use super::CAUSES;
use crate::clock::Millis;

/// How often what has happened in a queue since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages taken in.
    pub publish: u64,
    /// Messages given to consumers that acknowledge.
    pub deliver: u64,
    /// Messages given to consumers that do not.
    pub deliver_no_ack: u64,
    /// Messages taken by basic.get, to be acknowledged.
    pub get: u64,
    /// Messages taken by basic.get without acknowledgement.
    pub get_no_ack: u64,
    /// basic.get that found nothing.
    pub get_empty: u64,
    /// Messages acknowledged.
    pub ack: u64,
    /// Of the messages handed out, those that had been handed out before.
    pub redeliver: u64,
    /// Messages read back from disk.
    pub disk_reads: u64,
    /// Messages for the store.
    pub disk_writes: u64,
    /// Messages that died, by [`Reason::place`](super::Reason::place).
    pub dead: [u64; CAUSES],
}

impl Tally {
    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        let Self { publish, deliver, deliver_no_ack, get, get_no_ack, get_empty, ack, redeliver, .. } = other;
        self.publish += publish;
        self.deliver += deliver;
        self.deliver_no_ack += deliver_no_ack;
        self.get += get;
        self.get_no_ack += get_no_ack;
        self.get_empty += get_empty;
        self.ack += ack;
        self.redeliver += redeliver;
        self.disk_reads += other.disk_reads;
        self.disk_writes += other.disk_writes;
        for (dead, more) in self.dead.iter_mut().zip(other.dead) {
            *dead += more;
        }
    }

    /// Messages handed out in any way.
    pub fn deliver_get(&self) -> u64 {
        self.deliver + self.deliver_no_ack + self.get + self.get_no_ack
    }

    /// Whether messages have been taken in, handed out or asked for.
    pub fn has_moved(&self) -> bool {
        self.publish + self.deliver_get() + self.get_empty + self.ack > 0
    }
}

/// For how long ready messages have waited although there were consumers: for their prefetch, their channel or their
/// socket. The rest of the time the queue could have delivered at once, which is what RabbitMQ calls its consumer
/// capacity.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stuck {
    /// Since when this is so; 0 if it is not.
    since: Millis,
    /// All such times that are over.
    total: Millis,
}

impl Stuck {
    /// Notes whether it is so now.
    #[inline]
    pub(super) fn note(&mut self, stuck: bool, now: Millis) {
        if stuck == (self.since > 0) {
            return;
        }
        if stuck {
            self.since = now.max(1);
        } else {
            self.total += now.saturating_sub(self.since);
            self.since = 0;
        }
    }

    /// All of it up to now.
    pub(super) fn time(&self, now: Millis) -> Millis {
        self.total + if self.since > 0 { now.saturating_sub(self.since) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_which_consumers_hold_a_queue_up_adds_up() {
        let mut stuck = Stuck::default();
        for (now, is) in [(100, false), (200, true), (250, true), (300, false), (400, true)] {
            stuck.note(is, now);
        }
        assert_eq!((stuck.time(400), stuck.time(450)), (100, 150));
    }

    #[test]
    fn tallies_add_up() {
        let one = Tally { deliver: 1, get_no_ack: 2, dead: [0, 3, 0, 0], ..Tally::default() };
        let mut sum = one;
        sum.add(&one);
        assert_eq!((sum.deliver_get(), sum.dead, sum.has_moved()), (6, [0, 6, 0, 0], true));
        assert!(!Tally::default().has_moved());
    }
}
