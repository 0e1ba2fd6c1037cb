//! What is in the spill: copies of messages that the store does not keep, by queue and lane, as ranges.
//!
//! A copy is of use while its message is folded, and in the way afterwards: a message that is read back may be spilled
//! again (not before the whole range it was in has been read: blocks of one lane must not overlap), and two copies would be
//! read as two messages. So before a queue's messages are spilled, every copy outside of its folded ranges is removed; and
//! now and then those of all queues. Nothing is ever removed from within a folded range: the loader reads beside this.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::queue::{Chunk, Queue};
use crate::store::{Batch, Commit, Define, DropRange, Engine, Epoch, QueueBatch, QueueId, Seq, StoreError};

struct Held {
    queue: Arc<Queue>,
    /// Where copies may be, by lane.
    ranges: BTreeMap<u8, Range<Seq>>,
}

/// The spill's table of contents.
#[derive(Default)]
pub(super) struct Copies {
    queues: HashMap<QueueId, Held>,
    /// Commits made.
    epoch: Epoch,
    /// The spill could not take something, and that was told.
    failing: bool,
}

impl Held {
    /// Removes what is outside of the folded ranges from the ranges, and answers with what that is.
    fn outside(&mut self) -> Vec<DropRange> {
        let folded = self.queue.inspect(super::State::spilled);
        let mut drops = Vec::new();
        for (lane, held) in &mut self.ranges {
            let kept = folded.iter().find(|(at, ..)| at == lane);
            // Nothing folded: the kept range is empty, behind everything.
            let kept =
                kept.map_or(held.end..held.end, |(_, from, until)| (*from).max(held.start)..(*until).min(held.end));
            for (from, until) in [(held.start, kept.start), (kept.end, held.end)] {
                if from < until {
                    drops.push(DropRange { lane: *lane, from, until });
                }
            }
            *held = kept;
        }
        self.ranges.retain(|_, held| !held.is_empty());
        drops
    }
}

impl Copies {
    /// Whether nothing is there.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Copies what the store does not keep of a chunk; `false` if that cannot be.
    pub(super) fn add(
        &mut self,
        spill: Result<&Arc<dyn Engine>, StoreError>,
        queue: &Arc<Queue>,
        chunk: &Chunk,
    ) -> bool {
        let spill = match spill {
            Ok(spill) => &**spill,
            Err(error) => return self.failed(&error),
        };
        if !self.clean(spill, queue.id()) {
            return false;
        }
        let held = self.queues.entry(queue.id());
        let held = held.or_insert_with(|| Held { queue: queue.clone(), ranges: BTreeMap::new() });
        let range = held.ranges.entry(chunk.lane).or_insert(chunk.first..chunk.last + 1);
        *range = range.start.min(chunk.first)..range.end.max(chunk.last + 1);
        let work = QueueBatch { puts: chunk.copies.clone(), ..QueueBatch::new(queue.id()) };
        self.commit(spill, Batch { queues: vec![work], ..Batch::default() })
    }

    /// Removes what is in nobody's way yet.
    pub(super) fn tidy(&mut self, spill: &dyn Engine) {
        let queues: Vec<QueueId> = self.queues.keys().copied().collect();
        for id in queues {
            if !self.clean(spill, id) {
                return;
            }
        }
    }

    /// Removes a queue's copies outside of its folded ranges; `false` if that cannot be.
    fn clean(&mut self, spill: &dyn Engine, id: QueueId) -> bool {
        let Some(held) = self.queues.get_mut(&id) else { return true };
        let before = held.ranges.clone();
        let mut batch = Batch::default();
        if held.queue.inspect(super::State::is_deleted) {
            batch.definitions.push(Define::DropQueue { queue: id });
            held.ranges.clear();
        } else {
            let drops = held.outside();
            if drops.is_empty() {
                return true;
            }
            batch.queues.push(QueueBatch { drops, ..QueueBatch::new(id) });
        }
        let empty = held.ranges.is_empty();
        // A hole that is left to be swept must not meet a later copy.
        let cleaned = self.commit(spill, batch) && self.sweep(spill);
        match self.queues.get_mut(&id) {
            Some(held) if !cleaned => held.ranges = before,
            _ if empty => drop(self.queues.remove(&id)),
            _ => {}
        }
        cleaned
    }

    fn sweep(&mut self, spill: &dyn Engine) -> bool {
        loop {
            match spill.sweep() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(error) => return self.failed(&error),
            }
        }
    }

    fn commit(&mut self, spill: &dyn Engine, batch: Batch) -> bool {
        self.epoch += 1;
        match spill.commit(&Batch { epoch: self.epoch, ..batch }) {
            Commit::Done => {
                self.failing = false;
                true
            }
            Commit::Full(error) | Commit::Unknown(error) => self.failed(&error),
            Commit::Fenced => self.failed(&StoreError::Engine("fenced".to_owned())),
        }
    }

    fn failed(&mut self, error: &StoreError) -> bool {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!("messages that are not kept stay in memory, since they cannot be spilled: {error}");
        }
        false
    }
}
