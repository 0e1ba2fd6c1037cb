//! Shared bodies that were read and are still in use: the queues that read them next get the same memory.
//!
//! Without this, a message in a thousand queues would be in memory once before a restart and a thousand times after it.
//! Invariants: nothing here keeps a body in memory; what is remembered of those that have gone is bounded by those that
//! have not. Deliberately absent: a cache, for what nobody holds any more is read again.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use heed::RoTxn;

use super::blocks::Record;
use super::bodies::{self, BodyId};
use super::tables::Tables;
use crate::message::{Message, WeakMessage};

/// As many are remembered before it is looked who has gone.
const FEW: usize = 256;

#[derive(Debug)]
pub(super) struct Loaded {
    messages: DashMap<BodyId, WeakMessage>,
    /// When there are as many, it is looked who has gone.
    many: AtomicUsize,
}

impl Default for Loaded {
    fn default() -> Self {
        Self { messages: DashMap::new(), many: AtomicUsize::new(FEW) }
    }
}

impl Loaded {
    /// The message of a record that stands among the shared bodies; `None` if that is missing or damaged.
    pub(super) fn message(
        &self,
        tables: &Tables,
        txn: &RoTxn<'_>,
        id: BodyId,
        record: &Record<'_>,
    ) -> heed::Result<Option<Message>> {
        let held = self.messages.get(&id).and_then(|held| held.upgrade());
        if let Some(message) = held.filter(|message| record.is_of(message)) {
            return Ok(Some(message));
        }
        let message = bodies::get(tables, txn, id)?.and_then(|octets| record.message(octets));
        if let Some(message) = &message {
            self.remember(id, message);
        }
        Ok(message)
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.messages.len()
    }

    fn remember(&self, id: BodyId, message: &Message) {
        if self.messages.len() >= self.many.load(Ordering::Relaxed) {
            self.messages.retain(|_, held| held.upgrade().is_some());
            self.many.store(self.messages.len().saturating_mul(2).max(FEW), Ordering::Relaxed);
        }
        self.messages.insert(id, message.downgrade());
    }
}
