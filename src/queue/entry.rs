//! A message in a queue, and the lease under which a channel holds one.

use std::sync::Arc;

use super::Consumer;
use crate::clock::Millis;
use crate::message::Message;
use crate::store::{Seq, Settle};

/// A message together with its place in one queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Position in the queue; a requeue returns the message here.
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
}

impl Entry {
    /// The journal's word for "no longer needed".
    pub fn settle(&self) -> Settle {
        Settle { seq: self.seq, lane: self.lane, body_len: self.body_len, counted: false }
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
