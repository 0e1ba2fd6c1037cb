//! Sums over connections and over queues, and what those that have gone leave behind.

use super::connection::{HANDED, QueueType};
use super::{EVENTS, Event};
use crate::queue::Tally;
use crate::stats::Spread;

/// What connections have counted, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// By event.
    pub events: [u64; EVENTS.len()],
    /// Of the publishes, those to be confirmed.
    pub to_confirm: u64,
    /// By type of queue, in the order of [`QueueType::ALL`]; then as [`super::Handed::values`].
    pub handed: [[u64; HANDED]; QueueType::ALL.len()],
    /// Sizes of published messages.
    pub sizes: Spread,
    /// Milliseconds between delivery and acknowledgement.
    pub times_to_ack: Spread,
    /// Octets read and written.
    pub octets: [u64; 2],
    /// Reads and writes.
    pub packets: [u64; 2],
}

impl Sums {
    /// Adds what others have counted.
    pub fn add(&mut self, other: &Self) {
        let rows = self.handed.iter_mut().flatten().zip(other.handed.iter().flatten());
        let pairs = self.events.iter_mut().zip(&other.events).chain(rows);
        let pairs = pairs.chain(self.octets.iter_mut().zip(&other.octets));
        for (sum, n) in pairs.chain(self.packets.iter_mut().zip(&other.packets)) {
            *sum += n;
        }
        self.to_confirm += other.to_confirm;
        self.sizes.add(&other.sizes);
        self.times_to_ack.add(&other.times_to_ack);
    }

    /// How often something has happened.
    pub fn event(&self, event: Event) -> u64 {
        self.events[event as usize]
    }
}

/// What deleted queues have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// What had happened in them.
    pub tally: Tally,
    /// How long their messages were ready before they were handed out.
    pub times_in_queue: Spread,
}

impl Gone {
    /// Adds what a queue, or others, have counted.
    pub fn add(&mut self, tally: &Tally, times_in_queue: &Spread) {
        self.tally.add(tally);
        self.times_in_queue.add(times_in_queue);
    }
}

/// Messages in queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Messages that wait for consumers.
    pub ready: u64,
    /// Messages that consumers hold.
    pub unacked: u64,
}

impl Lengths {
    /// All of them.
    pub fn messages(self) -> u64 {
        self.ready + self.unacked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_add_everything() {
        let one = Sums {
            events: [1; EVENTS.len()],
            to_confirm: 2,
            handed: [[3; HANDED]; 3],
            octets: [4, 5],
            packets: [6, 7],
            ..Sums::default()
        };
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!((sum.event(Event::Ack), sum.to_confirm, sum.handed[2][6]), (2, 4, 6));
        assert_eq!((sum.octets, sum.packets), ([8, 10], [12, 14]));
    }
}
