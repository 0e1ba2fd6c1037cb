//! What is durable in the log and not yet in the store behind it: batches merged into one.
//!
//! Committing the merged batch leaves the same store as committing the batches one after another would, but for what
//! cancelled out: a message put and settled meanwhile never reaches the store, nor does work of a queue dropped since.
//! Invariants: nothing of a dropped queue is held; no message stands among puts and settlements both; a range covers
//! no message that was put after it. Deliberately absent: files, and the decision when to commit.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::store::{
    Batch, Count, Define, DefinitionKey, DropRange, Epoch, Page, Put, QueueBatch, QueueId, Seq, Settle, Stored,
};

/// Batches that were merged.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    epoch: Epoch,
    /// The latest word on each definition; `None` deletes it.
    definitions: BTreeMap<DefinitionKey, Option<Vec<u8>>>,
    next_queue_id: Option<u64>,
    dropped: BTreeSet<QueueId>,
    queues: BTreeMap<QueueId, Work>,
}

#[derive(Clone, Debug, Default)]
struct Work {
    puts: BTreeMap<Seq, Put>,
    settles: BTreeMap<(u8, Seq), Settle>,
    counts: BTreeMap<(u8, Seq), Count>,
    drops: Vec<DropRange>,
    redelivered: Vec<Seq>,
}

fn covers(range: &DropRange, lane: u8, seq: Seq) -> bool {
    range.lane == lane && (range.from..range.until).contains(&seq)
}

impl Work {
    fn is_empty(&self) -> bool {
        self.puts.is_empty()
            && self.settles.is_empty()
            && self.counts.is_empty()
            && self.drops.is_empty()
            && self.redelivered.is_empty()
    }

    fn add(&mut self, work: QueueBatch) {
        for put in work.puts {
            self.spare(put.lane, put.seq);
            self.puts.insert(put.seq, put);
        }
        for settle in work.settles {
            self.counts.remove(&(settle.lane, settle.seq));
            // A message of the store may have counts there that go with its settlement.
            if self.puts.remove(&settle.seq).is_none() {
                self.settles.insert((settle.lane, settle.seq), settle);
            }
        }
        for count in work.counts {
            self.counts.insert((count.lane, count.seq), count);
        }
        for range in work.drops.into_iter().filter(|range| range.from < range.until) {
            self.puts.retain(|seq, put| !covers(&range, put.lane, *seq));
            self.settles.retain(|(lane, seq), _| !covers(&range, *lane, *seq));
            self.counts.retain(|(lane, seq), _| !covers(&range, *lane, *seq));
            self.drops.push(range);
        }
        if !work.redelivered.is_empty() {
            self.redelivered = work.redelivered;
        }
    }

    /// Cuts a position out of the ranges: its message comes after them.
    fn spare(&mut self, lane: u8, seq: Seq) {
        if !self.drops.iter().any(|range| covers(range, lane, seq)) {
            return;
        }
        let parts = self.drops.drain(..).flat_map(|range| {
            if !covers(&range, lane, seq) {
                return [range, DropRange { until: range.from, ..range }];
            }
            [DropRange { until: seq, ..range }, DropRange { from: seq.saturating_add(1), ..range }]
        });
        self.drops = parts.filter(|range| range.from < range.until).collect();
    }

    fn batch(&self, queue: QueueId) -> QueueBatch {
        QueueBatch {
            queue,
            puts: self.puts.values().cloned().collect(),
            settles: self.settles.values().copied().collect(),
            counts: self.counts.values().copied().collect(),
            drops: self.drops.clone(),
            redelivered: self.redelivered.clone(),
        }
    }

    /// Whether later work that came to nothing but settlements may be done before this.
    fn is_apart_from(&self, work: &QueueBatch) -> bool {
        let free = |settle: &Settle| {
            let key = (settle.lane, settle.seq);
            !self.puts.contains_key(&settle.seq) && !self.counts.contains_key(&key)
        };
        work.puts.is_empty()
            && work.counts.is_empty()
            && work.drops.is_empty()
            && work.redelivered.is_empty()
            && work.settles.iter().all(free)
    }
}

impl Pending {
    /// Whether there is nothing to be brought to the store.
    pub(super) fn is_empty(&self) -> bool {
        self.definitions.is_empty() && self.next_queue_id.is_none() && self.dropped.is_empty() && self.queues.is_empty()
    }

    /// Takes in the batch that follows.
    pub(super) fn add(&mut self, batch: Batch) {
        self.epoch = batch.epoch;
        for define in batch.definitions {
            match define {
                Define::Put { key, value } => {
                    self.definitions.insert(key, Some(value));
                }
                Define::Delete { key } => {
                    self.definitions.insert(key, None);
                }
                Define::NextQueueId(id) => self.next_queue_id = self.next_queue_id.max(Some(id)),
                Define::DropQueue { queue } => {
                    self.queues.remove(&queue);
                    self.dropped.insert(queue);
                }
            }
        }
        for work in batch.queues {
            let queue = work.queue;
            // Work that was on its way when the queue was dropped.
            if self.dropped.contains(&queue) {
                continue;
            }
            let held = self.queues.entry(queue).or_default();
            held.add(work);
            if held.is_empty() {
                self.queues.remove(&queue);
            }
        }
    }

    /// All of it as one batch.
    pub(super) fn batch(&self) -> Batch {
        let definitions = self.definitions.iter().map(|(key, value)| match value {
            Some(value) => Define::Put { key: key.clone(), value: value.clone() },
            None => Define::Delete { key: key.clone() },
        });
        let next = self.next_queue_id.map(Define::NextQueueId);
        let dropped = self.dropped.iter().map(|queue| Define::DropQueue { queue: *queue });
        Batch {
            epoch: self.epoch,
            definitions: definitions.chain(next).chain(dropped).collect(),
            queues: self.queues.iter().map(|(queue, work)| work.batch(*queue)).collect(),
            ..Batch::default()
        }
    }

    /// Whether `later` may become durable in the store before this does, to the same effect. Says `false` where that
    /// would need a closer look.
    pub(super) fn is_apart_from(&self, later: &Batch) -> bool {
        let definitions = later.definitions.iter().all(|define| match define {
            Define::Put { key, .. } | Define::Delete { key } => !self.definitions.contains_key(key),
            Define::DropQueue { queue } => !self.queues.contains_key(queue),
            Define::NextQueueId(_) => true,
        });
        definitions
            && later.queues.iter().all(|work| {
                !self.dropped.contains(&work.queue)
                    && self.queues.get(&work.queue).is_none_or(|held| held.is_apart_from(work))
            })
    }

    /// Whether anything concerns this lane.
    pub(super) fn concerns(&self, queue: QueueId, lane: u8) -> bool {
        self.dropped.contains(&queue)
            || self.queues.get(&queue).is_some_and(|work| {
                work.puts.values().any(|put| put.lane == lane)
                    || work.settles.keys().any(|(of, _)| *of == lane)
                    || work.drops.iter().any(|range| range.lane == lane)
            })
    }

    /// What a reader of these positions must know beside the store; `None` if the store alone is right.
    pub(super) fn overlay(&self, queue: QueueId, lane: u8, range: Range<Seq>) -> Option<Overlay> {
        if self.dropped.contains(&queue) {
            return Some(Overlay { dropped: true, ..Overlay::default() });
        }
        let work = self.queues.get(&queue).filter(|_| range.start < range.end)?;
        let puts = work.puts.range(range.clone()).map(|(_, put)| put).filter(|put| put.lane == lane);
        let stored = |put: &Put| Stored { seq: put.seq, expires_at: put.expires_at, message: put.message.clone() };
        let within = (lane, range.start)..(lane, range.end);
        let overlay = Overlay {
            dropped: false,
            puts: puts.map(stored).collect(),
            settled: work.settles.range(within).map(|((_, seq), _)| *seq).collect(),
            drops: work
                .drops
                .iter()
                .filter(|drop| drop.lane == lane && drop.from < range.end && range.start < drop.until)
                .copied()
                .collect(),
        };
        (!overlay.puts.is_empty() || !overlay.settled.is_empty() || !overlay.drops.is_empty()).then_some(overlay)
    }
}

/// What stands between the store and a reader.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    dropped: bool,
    /// Ascending, like the next.
    puts: Vec<Stored>,
    settled: Vec<Seq>,
    drops: Vec<DropRange>,
}

impl Overlay {
    /// Whether the reader shall see nothing at all.
    pub(super) fn is_dropped(&self) -> bool {
        self.dropped
    }

    /// Corrects a page that holds what the store has of `range`, and cuts it at `budget` octets.
    pub(super) fn apply(&self, page: &mut Page, range: Range<Seq>, budget: usize) {
        let gone = |seq: Seq| {
            self.settled.binary_search(&seq).is_ok() || self.drops.iter().any(|drop| covers(drop, drop.lane, seq))
        };
        page.messages.retain(|stored| !gone(stored.seq));
        let start = self.puts.partition_point(|put| put.seq < range.start);
        let end = self.puts.partition_point(|put| put.seq < range.end);
        let Some(puts) = self.puts.get(start..end).filter(|puts| !puts.is_empty()) else { return };
        page.messages.extend(puts.iter().cloned());
        page.messages.sort_by_key(|stored| stored.seq);
        // What was put into the store meanwhile is there twice.
        page.messages.dedup_by_key(|stored| stored.seq);
        let mut octets = 0usize;
        let fits = page.messages.iter().take_while(|stored| {
            octets = octets.saturating_add(stored.message.record().len());
            octets <= budget
        });
        let fits = fits.count().max(1);
        if let Some(next) = page.messages.get(fits) {
            page.next = Some(next.seq);
            page.messages.truncate(fits);
        }
    }
}
