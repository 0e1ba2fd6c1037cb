//! Which messages of a queue may not come twice: the queue argument `x-message-deduplication`.
//!
//! Source: the message-deduplication plugin. A message is a duplicate while another one with the same value in its
//! header `x-deduplication-header` is in the queue, ready or leased; the value is free again when that one has left it
//! for good. Costs one look-up a message, and memory for the values in the queue only.

use std::collections::HashMap;

use super::Entry;
use crate::message::duplicate::{self, Fingerprint};
use crate::store::Seq;

/// The values in a queue, each with the position of the message that has it.
#[derive(Debug, Default)]
pub(super) struct Unique(HashMap<Fingerprint, Seq>);

impl Unique {
    pub(super) fn holds(&self, fingerprint: Fingerprint) -> bool {
        self.0.contains_key(&fingerprint)
    }

    pub(super) fn insert(&mut self, fingerprint: Fingerprint, seq: Seq) {
        self.0.insert(fingerprint, seq);
    }

    /// The message has left the queue for good.
    pub(super) fn left(&mut self, entry: &Entry) {
        if let Some(fingerprint) = duplicate::of_message(&entry.message)
            && self.0.get(&fingerprint) == Some(&entry.seq)
        {
            self.0.remove(&fingerprint);
        }
    }

    /// The queue was purged. Values of leased messages are forgotten as well, as the plugin does.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
