//! The memory engine: the same behaviour as on disk, without a disk.
//!
//! For tests and for brokers that need not survive. Clones share their content, so that a test can start a second
//! broker on what the first one left. Invariant: a batch is applied wholly under one lock. Deliberately absent:
//! blocks, damage, deferred work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    Batch, Commit, Count, Define, DefinitionKey, Engine, Generation, Page, Put, QueueBatch, QueueId, Recovered,
    RecoveredLane, RecoveredQueue, Seq, StoreError, Stored, Stretch,
};
use crate::sync::{Mutex, Rank};

/// Messages in a stretch.
const STRETCH: usize = 128;

/// An engine that keeps everything in memory.
#[derive(Clone, Debug)]
pub struct MemoryEngine(Arc<Mutex<Content>>);

#[derive(Debug)]
struct Content {
    definitions: BTreeMap<DefinitionKey, Vec<u8>>,
    queues: BTreeMap<QueueId, Queue>,
    /// Their ids are not used again, so work for them can only be late.
    dropped: BTreeSet<QueueId>,
    next_queue_id: u64,
    clean: bool,
    generation: Option<Generation>,
}

#[derive(Debug, Default)]
struct Queue {
    lanes: BTreeMap<u8, BTreeMap<Seq, Stored>>,
    next_seq: Seq,
    redelivered: Vec<Seq>,
    counts: BTreeMap<(u8, Seq), Count>,
}

impl MemoryEngine {
    /// An empty store.
    pub fn new() -> Self {
        let content = Content {
            definitions: BTreeMap::new(),
            queues: BTreeMap::new(),
            dropped: BTreeSet::new(),
            next_queue_id: 1,
            clean: true,
            generation: None,
        };
        Self(Arc::new(Mutex::new(Rank::Leaf, content)))
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Content {
    fn define(&mut self, define: &Define) {
        match define {
            Define::Put { key, value } => {
                self.definitions.insert(key.clone(), value.clone());
            }
            Define::Delete { key } => {
                self.definitions.remove(key);
            }
            Define::DropQueue { queue } => {
                self.queues.remove(queue);
                self.dropped.insert(*queue);
            }
            Define::NextQueueId(id) => self.next_queue_id = self.next_queue_id.max(*id),
        }
    }

    fn apply(&mut self, work: &QueueBatch) {
        if self.dropped.contains(&work.queue) {
            return;
        }
        self.next_queue_id = self.next_queue_id.max(work.queue.0.saturating_add(1));
        let queue = self.queues.entry(work.queue).or_default();
        for put in &work.puts {
            queue.keep(put);
        }
        for settle in &work.settles {
            if let Some(lane) = queue.lanes.get_mut(&settle.lane) {
                lane.remove(&settle.seq);
            }
        }
        queue.counts.extend(work.counts.iter().map(|count| ((count.lane, count.seq), *count)));
        for settle in work.settles.iter().filter(|settle| settle.counted) {
            queue.counts.remove(&(settle.lane, settle.seq));
        }
        for range in &work.drops {
            if let Some(lane) = queue.lanes.get_mut(&range.lane) {
                lane.retain(|seq, _| !(range.from..range.until).contains(seq));
            }
            queue.counts.retain(|(lane, seq), _| *lane != range.lane || !(range.from..range.until).contains(seq));
            queue.next_seq = queue.next_seq.max(range.until);
        }
        if !work.redelivered.is_empty() {
            queue.redelivered.clone_from(&work.redelivered);
        }
        queue.lanes.retain(|_, lane| !lane.is_empty());
    }
}

impl Queue {
    fn keep(&mut self, put: &Put) {
        let stored = Stored { seq: put.seq, expires_at: put.expires_at, message: put.message.clone() };
        self.lanes.entry(put.lane).or_default().insert(put.seq, stored);
        self.next_seq = self.next_seq.max(put.seq.saturating_add(1));
    }

    fn recover(&mut self) -> RecoveredQueue {
        let lanes = self.lanes.iter().filter_map(|(lane, messages)| {
            let (first, last) = (messages.values().next()?, messages.values().next_back()?);
            Some(RecoveredLane {
                lane: *lane,
                count: messages.len() as u64,
                bytes: messages.values().map(|stored| u64::from(stored.message.body_len())).sum(),
                first: first.seq,
                last: last.seq,
                head_expiry: first.expires_at,
            })
        });
        RecoveredQueue {
            lanes: lanes.collect(),
            next_seq: self.next_seq.max(1),
            redelivered: std::mem::take(&mut self.redelivered),
            counts: self.counts.values().copied().collect(),
        }
    }
}

impl Engine for MemoryEngine {
    fn recover(&self) -> Result<Recovered, StoreError> {
        let mut content = self.0.lock();
        Ok(Recovered {
            definitions: content.definitions.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            queues: content
                .queues
                .iter_mut()
                .filter(|(_, queue)| !queue.lanes.is_empty())
                .map(|(id, queue)| (*id, queue.recover()))
                .collect(),
            next_queue_id: content.next_queue_id,
            clean: std::mem::replace(&mut content.clean, false),
            damage: Vec::new(),
        })
    }

    fn commit(&self, batch: &Batch) -> Commit {
        let mut content = self.0.lock();
        batch.definitions.iter().for_each(|define| content.define(define));
        batch.queues.iter().for_each(|work| content.apply(work));
        content.clean |= batch.clean_shutdown;
        content.generation = batch.generation.or(content.generation);
        Commit::Done
    }

    fn read(&self, queue: QueueId, lane: u8, from: Seq, until: Seq, budget: usize) -> Result<Page, StoreError> {
        let content = self.0.lock();
        let mut page = Page::default();
        let lane = content.queues.get(&queue).and_then(|queue| queue.lanes.get(&lane));
        let Some(lane) = lane.filter(|_| from < until) else { return Ok(page) };
        let mut octets = 0usize;
        for stored in lane.range(from..until).map(|(_, stored)| stored) {
            octets = octets.saturating_add(stored.message.record().len());
            if octets > budget && !page.messages.is_empty() {
                page.next = Some(stored.seq);
                break;
            }
            page.messages.push(stored.clone());
        }
        Ok(page)
    }

    fn stretches(&self, queue: QueueId, lane: u8) -> Result<Vec<Stretch>, StoreError> {
        let content = self.0.lock();
        let lane = content.queues.get(&queue).and_then(|queue| queue.lanes.get(&lane));
        let all: Vec<&Stored> = lane.into_iter().flat_map(BTreeMap::values).collect();
        let stretch = |run: &[&Stored]| {
            let (first, last) = (run.first()?, run.last()?);
            let earliest_expiry = run.iter().map(|stored| stored.expires_at).min()?;
            Some(Stretch { first: first.seq, last: last.seq, count: run.len() as u64, earliest_expiry })
        };
        Ok(all.chunks(STRETCH).filter_map(stretch).collect())
    }

    fn sweep(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn generation(&self) -> Result<Option<Generation>, StoreError> {
        Ok(self.0.lock().generation)
    }
}
