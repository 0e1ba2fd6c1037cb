//! What reports say of a queue: its figures at one moment, and its consumers.

use std::sync::Arc;

use super::{Consumer, Front, Middle, Millis, Options, State};
use crate::queue::Tally;
use crate::stats::Spread;
use crate::wire::properties::Properties;

/// Octets counted for a message in memory beside its body.
const OVERHEAD: u64 = 200;

/// The figures of a queue.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Messages that wait for consumers, with the octets of their bodies.
    pub ready: (u64, u64),
    /// Messages that consumers hold, likewise.
    pub unacked: (u64, u64),
    /// Messages on their way to the dead-letter exchange, likewise.
    pub dying: (u64, u64),
    /// Of all these, what the store keeps, likewise.
    pub persistent: (u64, u64),
    /// Of the ready ones, those that are on disk alone, likewise.
    pub paged: (u64, u64),
    /// Of the ready messages of a quorum queue, those that came back.
    pub returned: u64,
    /// Consumers.
    pub consumers: usize,
    /// What has happened so far.
    pub tally: Tally,
    /// When something was last done with its messages.
    pub active: Millis,
    /// When the oldest ready message came.
    pub oldest: Option<Millis>,
    /// Milliseconds in which ready messages waited although there were consumers.
    pub stuck: Millis,
    /// Messages that wait in a holder for their time.
    pub delayed: u64,
    /// The queue is deleted.
    pub deleted: bool,
    /// The options in force.
    pub options: Arc<Options>,
}

impl Figures {
    /// Messages, ready or unacknowledged, with the octets of their bodies.
    pub fn messages(&self) -> (u64, u64) {
        let (ready, unacked, dying) = (self.ready, self.unacked, self.dying);
        (ready.0 + unacked.0 + dying.0, ready.1 + unacked.1 + dying.1)
    }

    /// About how much memory its messages take, in octets.
    pub fn memory(&self) -> u64 {
        let (count, bytes) = self.messages();
        let (paged, paged_bytes) = self.paged;
        bytes.saturating_sub(paged_bytes) + count.saturating_sub(paged) * OVERHEAD
    }
}

/// A consumer of a queue.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The consumer.
    pub consumer: Arc<Consumer>,
    /// It may be given messages; of those of a queue with a single active one, only that is.
    pub active: bool,
}

impl State {
    /// Its figures at `now`.
    pub fn figures(&self, now: Millis) -> Figures {
        let paged = self.lanes.middles().fold((0, 0), |(n, bytes), (_, m)| (n + m.count, bytes + m.bytes));
        Figures {
            ready: (self.lanes.count(), self.lanes.bytes()),
            unacked: (self.leased.saturating_sub(self.dying.0), self.leased_bytes.saturating_sub(self.dying.1)),
            dying: self.dying,
            persistent: self.persistent,
            paged,
            returned: self.lanes.came_back(),
            consumers: self.roster.len(),
            tally: self.tally,
            active: self.active,
            oldest: self.lanes.oldest().map(|seq| self.ages.since(seq)),
            stuck: self.stuck.time(now),
            delayed: self.delayed(),
            deleted: self.deleted,
            options: self.options.clone(),
        }
    }

    /// What has happened so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// How long messages were ready before they were handed out.
    pub fn times_in_queue(&self) -> Spread {
        self.ages.spread()
    }

    /// The timestamp property of the next message to go out, in seconds, if it is in memory and has one.
    pub fn head_timestamp(&self) -> Option<u64> {
        let Front::Resident(entry) = self.lanes.front() else { return None };
        Properties::parse(entry.message.properties()).ok()?.timestamp
    }

    /// The tag of the consumer that has the queue for itself.
    pub fn exclusive_tag(&self) -> Option<&[u8]> {
        self.roster.listed().find(|(consumer, _)| consumer.exclusive).map(|(consumer, _)| &*consumer.tag)
    }

    /// The tag of the single active consumer.
    pub fn single_active_tag(&self) -> Option<&[u8]> {
        if !self.options.single_active {
            return None;
        }
        self.roster.listed().find(|(_, active)| *active).map(|(consumer, _)| &*consumer.tag)
    }

    /// Its consumers, in the order in which they came.
    pub fn listed(&self) -> Vec<Listed> {
        self.roster.listed().map(|(consumer, active)| Listed { consumer: consumer.clone(), active }).collect()
    }

    /// Notes that messages come at `now`.
    #[inline]
    pub(super) fn note_arrival(&mut self, now: Millis) {
        self.active = now;
        let (lanes, next) = (&self.lanes, self.next_seq);
        self.ages.note(next, now, || lanes.oldest().unwrap_or(next));
    }

    /// Takes what a purged range of kept messages held off the count.
    pub(super) fn forget_persistent(&mut self, middle: Middle) {
        let kept = middle.count - middle.spilled;
        // Of a range that is partly spilled, the octets are known only together.
        let bytes = u128::from(middle.bytes) * u128::from(kept) / u128::from(middle.count.max(1));
        self.persistent.0 = self.persistent.0.saturating_sub(kept);
        self.persistent.1 = self.persistent.1.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}
