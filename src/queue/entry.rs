//! A message in a queue, and the lease under which a channel holds one.

use std::sync::Arc;

use super::Consumer;
use crate::clock::{Millis, NEVER};
use crate::config::compatibility::FailedDelivery;
use crate::message::Message;
use crate::store::{Seq, Settle};

/// A message together with its place in one queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Position in the queue; a classic queue returns the message here.
    pub seq: Seq,
    /// When it expires; [`crate::clock::NEVER`] if it does not.
    pub expires_at: Millis,
    /// The message.
    pub message: Message,
    /// Length of the body in octets.
    pub body_len: u32,
    /// Priority level it waits in.
    pub lane: u8,
    /// The store keeps it (or will with the next commit): persistent, in a durable queue.
    pub durable: bool,
    /// It was handed to a client before.
    pub redelivered: bool,
    /// Deliveries that failed; counted by quorum queues only.
    pub failures: u32,
    /// How often it was handed out and came back; counted by quorum queues only.
    pub acquired: u32,
}

impl Entry {
    /// An entry for a message that no queue answers for.
    pub fn unqueued(message: Message) -> Self {
        Self {
            seq: 0,
            expires_at: NEVER,
            body_len: message.body_len(),
            lane: 0,
            durable: false,
            redelivered: false,
            failures: 0,
            acquired: 0,
            message,
        }
    }

    /// The journal's word for "no longer needed".
    pub fn settle(&self) -> Settle {
        Settle { seq: self.seq, lane: self.lane, body_len: self.body_len, counted: self.acquired > 0 }
    }
}

/// Why a delivery came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// basic.nack with requeue=1.
    Nack,
    /// basic.reject with requeue=1.
    Reject,
    /// basic.recover.
    Recover,
    /// Its consumer's channel or connection ended.
    Ended,
    /// Its acknowledgement did not come in time.
    TimedOut,
}

impl Cause {
    /// Whether the delivery counts as failed.
    pub fn is_failure(self, rule: FailedDelivery) -> bool {
        match rule {
            FailedDelivery::EveryReturn => true,
            FailedDelivery::RejectOrDeath => matches!(self, Self::Reject | Self::Ended),
        }
    }
}

/// An unacknowledged delivery. Whoever holds it must settle or requeue it; one that is dropped by accident returns to
/// its queue as if its consumer had died.
#[derive(Debug)]
pub struct Lease {
    consumer: Arc<Consumer>,
    entry: Option<Entry>,
}

impl Lease {
    /// Takes responsibility for `entry`, which was pumped (or got) for `consumer`.
    pub fn new(consumer: Arc<Consumer>, entry: Entry) -> Self {
        Self { consumer, entry: Some(entry) }
    }

    /// For whom it was leased.
    pub fn consumer(&self) -> &Arc<Consumer> {
        &self.consumer
    }

    /// Gives up the entry, leaving the consumer behind for grouping.
    pub(super) fn take(&mut self) -> Option<Entry> {
        self.entry.take()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let (Some(entry), Some(queue)) = (self.entry.take(), &self.consumer.queue) {
            queue.abandon(entry);
        }
    }
}
