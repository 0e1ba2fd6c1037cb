//! What is held back while there is no room: plain data, and the order in which it becomes durable after all.
//!
//! When a batch does not fit, it and all later ones are taken in here and come out again as smaller ones: first what
//! gives room (deletions of definitions and queues, settlements, dropped ranges), in ever smaller pieces down to one,
//! then definitions, then messages in the order of their epochs. A settlement of a message that is itself held back
//! cancels both, so acknowledgements make room before anything is written.
//!
//! Invariants: an epoch counts as reached only when everything up to it is durable or cancelled, so no confirm is
//! false. The work that an epoch with a transaction does on queues stays one piece, its settlements included; what is
//! settled elsewhere may only be cancelled out of it, for that is settled whether or not the transaction comes about.
//! Nothing of a queue that was dropped comes out. Definitions are deleted from the last kind of key to the first and
//! created the other way round, so that at no time something stands there without what it is in.
//!
//! Deliberately absent: engines, clocks, waiting; whoever commits tells how each piece fared.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "counts what this process holds; nothing comes from a disk or a client"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::sharing::Met;
use super::{
    Batch, Count, Define, DefinitionKey, DropRange, Epoch, PUT_OVERHEAD, Put, QueueBatch, QueueId, Seq, Settle,
};

/// Octets that a message or definition is taken to need on disk beside its own and a quarter of these: its share of a
/// page, of an index row, and of the pages above.
const SHARE: u64 = 1 << 10;

/// Octets that every commit is taken to need besides: copies of the pages from the root down to the leaf.
const BASE: u64 = 64 << 10;

/// Octets of room that may be used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// By new messages and by transactions.
    pub messages: u64,
    /// By new definitions.
    pub definitions: u64,
}

impl Allowance {
    /// As much as anybody likes.
    pub const ANY: Self = Self { messages: u64::MAX, definitions: u64::MAX };

    /// Whether new messages and definitions of a batch may be written.
    pub fn covers(&self, batch: &Batch) -> bool {
        let mut need = Need::default();
        let puts = batch.queues.iter().flat_map(|queue| &queue.puts).map(|put| need.of(put)).sum();
        let definitions = batch.definitions.iter().map(need_of_definition).sum();
        fits(puts, self.messages) && fits(definitions, self.definitions)
    }
}

fn fits(need: u64, allowance: u64) -> bool {
    need == 0 || need.saturating_add(BASE) <= allowance
}

fn need(octets: usize) -> u64 {
    let octets = octets as u64;
    octets.saturating_add(octets / 4).saturating_add(SHARE)
}

/// What the messages of one batch need, a large body that goes to several queues once.
#[derive(Debug, Default)]
struct Need(Met);

impl Need {
    fn of(&mut self, put: &Put) -> u64 {
        need(if self.0.again(put) { PUT_OVERHEAD } else { put.weight() })
    }
}

fn need_of_definition(define: &Define) -> u64 {
    match define {
        Define::Put { key, value } => need(key.len() + value.len()),
        Define::Delete { .. } | Define::DropQueue { .. } | Define::NextQueueId(_) => 0,
    }
}

/// The work of one epoch with a transaction in it, or of any number of consecutive epochs without.
#[derive(Debug, Default)]
struct Segment {
    last: Epoch,
    /// All of it is one commit.
    atomic: bool,
    puts: BTreeMap<(QueueId, Seq), Put>,
    counts: BTreeMap<(QueueId, Seq), Count>,
    /// Empty unless atomic, like the ranges: such as can go ahead do so.
    settles: Vec<(QueueId, Settle)>,
    drops: Vec<(QueueId, DropRange)>,
}

impl Segment {
    fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.counts.is_empty() && self.settles.is_empty() && self.drops.is_empty()
    }

    fn weight(&self) -> usize {
        self.puts.values().map(Put::weight).sum()
    }

    fn forget_queue(&mut self, queue: QueueId) -> usize {
        let weight = |puts: &BTreeMap<(QueueId, Seq), Put>| puts.values().map(Put::weight).sum::<usize>();
        let before = weight(&self.puts);
        self.puts.retain(|(of, _), _| *of != queue);
        self.counts.retain(|(of, _), _| *of != queue);
        self.settles.retain(|(of, _)| *of != queue);
        self.drops.retain(|(of, _)| *of != queue);
        before - weight(&self.puts)
    }
}

/// What was handed out to be committed.
#[derive(Debug)]
enum Piece {
    /// Deletions of these definitions, then of so many queues.
    Deletes(Vec<DefinitionKey>, usize),
    Settles(usize),
    Ranges(usize),
    /// New definitions, by key.
    Definitions(Vec<DefinitionKey>),
    /// The first segment.
    Whole,
    /// So many messages of the first segment, and its counts if these are all.
    Messages(usize),
}

/// Where a round stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Deletes,
    Settles,
    Ranges,
    Definitions,
    Messages,
    Over,
}

/// Everything that waits for room.
#[derive(Debug)]
pub struct Held {
    /// The last epoch taken in.
    epoch: Epoch,
    /// The latest word on each definition; `None` deletes it.
    definitions: BTreeMap<DefinitionKey, Option<Vec<u8>>>,
    next_queue_id: Option<u64>,
    /// Queues to be dropped.
    doomed: Vec<QueueId>,
    /// Queues dropped since something is held: what still comes of them is late.
    dropped: BTreeSet<QueueId>,
    settles: BTreeMap<(QueueId, u8, Seq), Settle>,
    ranges: Vec<(QueueId, DropRange)>,
    segments: VecDeque<Segment>,
    stage: Stage,
    /// Most items of a piece.
    step: usize,
    /// A single item found no room in this round.
    stuck: bool,
    piece: Option<Piece>,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            epoch: 0,
            definitions: BTreeMap::new(),
            next_queue_id: None,
            doomed: Vec::new(),
            dropped: BTreeSet::new(),
            settles: BTreeMap::new(),
            ranges: Vec::new(),
            segments: VecDeque::new(),
            stage: Stage::Deletes,
            step: usize::MAX,
            stuck: false,
            piece: None,
        }
    }
}

impl Held {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.gives_nothing() && self.segments.is_empty()
    }

    /// Whether all that goes ahead of the messages has gone.
    fn gives_nothing(&self) -> bool {
        self.definitions.is_empty()
            && self.next_queue_id.is_none()
            && self.doomed.is_empty()
            && self.settles.is_empty()
            && self.ranges.is_empty()
    }

    /// Takes in the batch of the next epoch; `atomic` tells whether there is a transaction in it. Returns the octets, by
    /// [`Put::weight`], of messages that need not be kept any more.
    pub fn take_in(&mut self, batch: Batch, atomic: bool) -> usize {
        self.epoch = batch.epoch;
        let mut cancelled = 0;
        for define in batch.definitions {
            cancelled += self.define(define);
        }
        let late = |queue: &QueueId| self.dropped.contains(queue);
        let (queues, gone): (Vec<_>, Vec<_>) = batch.queues.into_iter().partition(|work| !late(&work.queue));
        cancelled += gone.iter().flat_map(|work| &work.puts).map(Put::weight).sum::<usize>();
        if atomic {
            let segment = self.open(true);
            for work in queues {
                let queue = work.queue;
                segment.puts.extend(work.puts.into_iter().map(|put| ((queue, put.seq), put)));
                segment.counts.extend(work.counts.into_iter().map(|count| ((queue, count.seq), count)));
                segment.settles.extend(work.settles.into_iter().map(|settle| (queue, settle)));
                segment.drops.extend(work.drops.into_iter().map(|range| (queue, range)));
            }
            return cancelled;
        }
        for work in queues {
            let queue = work.queue;
            for settle in work.settles {
                cancelled += self.settle(queue, settle);
            }
            if !work.puts.is_empty() || !work.counts.is_empty() {
                let segment = self.open(false);
                segment.puts.extend(work.puts.into_iter().map(|put| ((queue, put.seq), put)));
                segment.counts.extend(work.counts.into_iter().map(|count| ((queue, count.seq), count)));
            }
            for range in work.drops {
                cancelled += self.drop_range(queue, range);
            }
        }
        cancelled
    }

    /// The segment for the epoch being taken in.
    fn open(&mut self, atomic: bool) -> &mut Segment {
        if atomic || self.segments.back().is_none_or(|last| last.atomic) {
            self.segments.push_back(Segment { atomic, ..Segment::default() });
        }
        let at = self.segments.len() - 1;
        #[allow(clippy::indexing_slicing)] // there is one: it was there, or was pushed
        let segment = &mut self.segments[at];
        segment.last = self.epoch;
        segment
    }

    fn define(&mut self, define: Define) -> usize {
        match define {
            Define::Put { key, value } => {
                self.definitions.insert(key, Some(value));
                0
            }
            Define::Delete { key } => {
                self.definitions.insert(key, None);
                0
            }
            Define::NextQueueId(id) => {
                self.next_queue_id = self.next_queue_id.max(Some(id));
                0
            }
            Define::DropQueue { queue } => {
                self.doomed.push(queue);
                self.dropped.insert(queue);
                self.settles.retain(|(of, _, _), _| *of != queue);
                self.ranges.retain(|(of, _)| *of != queue);
                self.segments.iter_mut().map(|segment| segment.forget_queue(queue)).sum()
            }
        }
    }

    fn settle(&mut self, queue: QueueId, settle: Settle) -> usize {
        let key = (queue, settle.seq);
        if settle.counted {
            for segment in &mut self.segments {
                segment.counts.remove(&key);
            }
        }
        if let Some(put) = self.segments.iter_mut().find_map(|segment| segment.puts.remove(&key)) {
            return put.weight();
        }
        self.settles.insert((queue, settle.lane, settle.seq), settle);
        0
    }

    fn drop_range(&mut self, queue: QueueId, range: DropRange) -> usize {
        let within = |of: QueueId, lane: u8, seq: Seq| {
            of == queue && lane == range.lane && (range.from..range.until).contains(&seq)
        };
        let mut cancelled = 0;
        for segment in &mut self.segments {
            segment.puts.retain(|(of, seq), put| {
                let gone = within(*of, put.lane, *seq);
                cancelled += if gone { put.weight() } else { 0 };
                !gone
            });
            segment.counts.retain(|(of, seq), count| !within(*of, count.lane, *seq));
        }
        self.settles.retain(|(of, lane, seq), _| !within(*of, *lane, *seq));
        self.ranges.push((queue, range));
        cancelled
    }

    /// Begins a round: everything is tried, starting with pieces of the size that went well last.
    pub fn begin(&mut self) {
        self.stage = Stage::Deletes;
        self.stuck = false;
        self.piece = None;
    }

    /// The next batch to be committed; to be answered by [`Held::committed`] or [`Held::refused`] before the next call.
    /// `None` ends the round.
    pub fn next(&mut self, allowance: Allowance) -> Option<Batch> {
        loop {
            let next = match self.stage {
                Stage::Deletes => self.deletes(),
                Stage::Settles => self.settlements(),
                Stage::Ranges => self.dropped_ranges(),
                Stage::Definitions if !self.stuck => self.new_definitions(allowance.definitions),
                Stage::Messages if self.gives_nothing() => self.messages(allowance.messages),
                Stage::Definitions | Stage::Messages => None,
                Stage::Over => return None,
            };
            if let Some((piece, batch)) = next {
                self.piece = Some(piece);
                return Some(Batch { epoch: self.epoch, ..batch });
            }
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        self.stage = match self.stage {
            Stage::Deletes => Stage::Settles,
            Stage::Settles => Stage::Ranges,
            Stage::Ranges => Stage::Definitions,
            Stage::Definitions => Stage::Messages,
            Stage::Messages | Stage::Over => Stage::Over,
        };
    }

    /// The last batch is durable. Returns the octets of the messages in it.
    pub fn committed(&mut self) -> usize {
        self.step = self.step.saturating_mul(2);
        match self.piece.take() {
            None => 0,
            Some(Piece::Deletes(keys, queues)) => {
                for key in &keys {
                    self.definitions.remove(key);
                }
                self.doomed.drain(..queues);
                0
            }
            Some(Piece::Settles(n)) => {
                for _ in 0..n {
                    self.settles.pop_first();
                }
                0
            }
            Some(Piece::Ranges(n)) => {
                self.ranges.drain(..n);
                0
            }
            Some(Piece::Definitions(keys)) => {
                for key in &keys {
                    self.definitions.remove(key);
                }
                self.next_queue_id = None;
                0
            }
            Some(Piece::Whole) => {
                let Some(segment) = self.segments.front_mut() else { return 0 };
                let done = std::mem::take(segment);
                segment.last = done.last;
                done.weight()
            }
            Some(Piece::Messages(n)) => {
                let Some(segment) = self.segments.front_mut() else { return 0 };
                let done = (0..n).filter_map(|_| segment.puts.pop_first()).map(|(_, put)| put.weight()).sum();
                if segment.puts.is_empty() {
                    segment.counts.clear();
                }
                done
            }
        }
    }

    /// The last batch found no room: a smaller one comes next, or something else.
    pub fn refused(&mut self) {
        let items = match self.piece.take() {
            None | Some(Piece::Whole) => 1,
            Some(Piece::Deletes(keys, queues)) => keys.len() + queues,
            Some(Piece::Settles(n) | Piece::Ranges(n) | Piece::Messages(n)) => n,
            Some(Piece::Definitions(keys)) => keys.len(),
        };
        self.step = (items / 2).max(1);
        if items <= 1 {
            self.stuck = true;
            self.stage = if self.stage < Stage::Definitions { self.stage } else { Stage::Over };
            self.pass_on();
        }
    }

    /// Everything up to the returned epoch is durable; 0 if that cannot be said of any. To be asked whenever something was
    /// taken in or committed.
    pub fn reached(&mut self) -> Epoch {
        if !self.gives_nothing() {
            return 0;
        }
        let mut reached = 0;
        while let Some(first) = self.segments.front().filter(|first| first.is_empty()) {
            reached = first.last;
            self.segments.pop_front();
        }
        if self.segments.is_empty() {
            reached = self.epoch;
            self.dropped.clear();
            self.step = usize::MAX;
        }
        reached
    }

    fn deletes(&self) -> Option<(Piece, Batch)> {
        let deleted = self.definitions.iter().rev().filter(|(_, value)| value.is_none());
        let keys: Vec<DefinitionKey> = deleted.take(self.step).map(|(key, _)| key.clone()).collect();
        let queues = self.doomed.len().min(self.step - keys.len());
        if keys.is_empty() && queues == 0 {
            return None;
        }
        let mut definitions: Vec<Define> = keys.iter().map(|key| Define::Delete { key: key.clone() }).collect();
        definitions.extend(self.doomed.iter().take(queues).map(|queue| Define::DropQueue { queue: *queue }));
        Some((Piece::Deletes(keys, queues), Batch { definitions, ..Batch::default() }))
    }

    fn settlements(&self) -> Option<(Piece, Batch)> {
        let mut queues = Queues::default();
        let mut n = 0;
        for ((queue, _, _), settle) in self.settles.iter().take(self.step) {
            queues.of(*queue).settles.push(*settle);
            n += 1;
        }
        (n > 0).then(|| (Piece::Settles(n), queues.batch()))
    }

    fn dropped_ranges(&self) -> Option<(Piece, Batch)> {
        let mut queues = Queues::default();
        let n = self.ranges.len().min(self.step);
        for (queue, range) in self.ranges.iter().take(n) {
            queues.of(*queue).drops.push(*range);
        }
        (n > 0).then(|| (Piece::Ranges(n), queues.batch()))
    }

    fn new_definitions(&self, allowance: u64) -> Option<(Piece, Batch)> {
        let mut definitions: Vec<Define> = self.next_queue_id.map(Define::NextQueueId).into_iter().collect();
        let (mut keys, mut need) = (Vec::new(), 0);
        let created = self.definitions.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        for (key, value) in created.take(self.step) {
            let define = Define::Put { key: key.clone(), value: value.clone() };
            need += need_of_definition(&define);
            if !fits(need, allowance) {
                break;
            }
            keys.push(key.clone());
            definitions.push(define);
        }
        (!definitions.is_empty()).then(|| (Piece::Definitions(keys), Batch { definitions, ..Batch::default() }))
    }

    fn messages(&self, allowance: u64) -> Option<(Piece, Batch)> {
        let segment = self.segments.front().filter(|segment| !segment.is_empty())?;
        let mut queues = Queues::default();
        let (mut n, mut need, mut of_batch) = (0, 0, Need::default());
        let most = if segment.atomic { usize::MAX } else { self.step };
        for ((queue, _), put) in segment.puts.iter().take(most) {
            need += of_batch.of(put);
            if !fits(need, allowance) {
                break;
            }
            queues.of(*queue).puts.push(put.clone());
            n += 1;
        }
        let all = n == segment.puts.len();
        if !all && (n == 0 || segment.atomic) {
            return None;
        }
        if all {
            for ((queue, _), count) in &segment.counts {
                queues.of(*queue).counts.push(*count);
            }
        }
        for (queue, settle) in &segment.settles {
            queues.of(*queue).settles.push(*settle);
        }
        for (queue, range) in &segment.drops {
            queues.of(*queue).drops.push(*range);
        }
        let piece = if segment.atomic { Piece::Whole } else { Piece::Messages(n) };
        Some((piece, queues.batch()))
    }
}

/// Work of queues on its way into a batch.
#[derive(Debug, Default)]
struct Queues(BTreeMap<QueueId, QueueBatch>);

impl Queues {
    fn of(&mut self, queue: QueueId) -> &mut QueueBatch {
        self.0.entry(queue).or_insert_with(|| QueueBatch::new(queue))
    }

    fn batch(self) -> Batch {
        Batch { queues: self.0.into_values().collect(), ..Batch::default() }
    }
}

#[cfg(test)]
mod tests;
