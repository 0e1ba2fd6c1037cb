//! Does a store keep the rules of FORMAT.md? Every row is read, every checksum computed, every reference followed.
//!
//! Reads through a transaction of the caller's; changes nothing. Invariants: nothing on disk makes this panic; memory
//! grows with the number of queues and of shared bodies, not of messages. Deliberately absent: what definitions mean, and repair.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use heed::RoTxn;

use super::blocks::{Content, Record, Records};
use super::bodies::{self, BodyId};
use super::counts;
use super::index::IndexRow;
use super::schema::{self, Hole, Key};
use super::tables::{Tables, in_hole};
use crate::store::{DefinitionKey, QueueId, Seq, StoreError};

/// Most findings that are kept; of the others only the number is told.
const MOST_FINDINGS: usize = 1000;

/// What a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Kept messages.
    pub messages: u64,
    /// Octets of their bodies.
    pub octets: u64,
}

/// What was found in a store; see [`super::examine`].
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rules that are broken, one readable line each.
    pub findings: Vec<String>,
    /// Findings beyond those that are told.
    pub untold: u64,
    /// What is remarkable and allowed.
    pub notes: Vec<String>,
    /// What each queue id with rows holds; without what is dropped and still to be removed.
    pub queues: BTreeMap<QueueId, Holding>,
    /// Queue ids that are dropped and whose rows are still to be removed.
    pub dropped: Vec<QueueId>,
    /// All definitions, ascending by key.
    pub definitions: Vec<(DefinitionKey, Vec<u8>)>,
    /// Lowest queue id that was never handed out, as the store has it.
    pub next_queue_id: u64,
    /// The last run ended in order.
    pub clean: bool,
    /// A broker runs on the store.
    pub in_use: bool,
    /// Batches that are in the redo log only; the rest of the report is without them.
    pub pending: u64,
    /// Size of the file in octets.
    pub file: u64,
    /// Octets of pages in use.
    pub used: u64,
    /// Octets of pages on free lists.
    pub free: u64,
}

impl Report {
    /// Adds a finding.
    pub fn find(&mut self, line: impl FnOnce() -> String) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(line());
        } else {
            self.untold = self.untold.saturating_add(1);
        }
    }

    /// Messages and octets of all queues.
    pub fn total(&self) -> Holding {
        self.queues.values().fold(Holding::default(), |sum, queue| Holding {
            messages: sum.messages.saturating_add(queue.messages),
            octets: sum.octets.saturating_add(queue.octets),
        })
    }
}

/// Holes of a lane, as (from, until).
type Ranges = HashMap<(QueueId, u8), Vec<(Seq, Seq)>>;

struct Check<'a> {
    tables: &'a Tables,
    txn: &'a RoTxn<'a>,
    report: &'a mut Report,
    ranges: Ranges,
    /// How often each shared body is referred to.
    references: HashMap<BodyId, u64>,
}

/// Reads every row of every table.
pub(super) fn rows(tables: &Tables, txn: &RoTxn<'_>, report: &mut Report) -> Result<(), StoreError> {
    let mut check = Check { tables, txn, report, ranges: Ranges::new(), references: HashMap::new() };
    check.meta()?;
    check.definitions()?;
    check.holes()?;
    check.messages()?;
    if tables.schema >= schema::BODIES_SINCE {
        check.bodies()?;
    }
    if tables.schema >= schema::COUNTS_SINCE {
        check.counts()?;
    }
    check.marks()
}

fn place(key: Key) -> String {
    format!("queue {}, lane {}, position {}", key.queue.0, key.lane, key.first)
}

impl Check<'_> {
    fn meta(&mut self) -> Result<(), StoreError> {
        match self.tables.next_queue_id(self.txn)? {
            Ok(id) => self.report.next_queue_id = id,
            Err(error) => self.report.find(|| error.to_string()),
        }
        if let Err(error) = self.tables.next_body(self.txn)? {
            self.report.find(|| error.to_string());
        }
        match self.tables.meta.get(self.txn, schema::META_CLEAN)? {
            Some(&[flag @ (0 | 1)]) => self.report.clean = flag == 1,
            other => self.report.find(|| format!("meta: clean is {other:02x?}")),
        }
        Ok(())
    }

    fn definitions(&mut self) -> Result<(), StoreError> {
        for entry in self.tables.definitions.iter(self.txn)? {
            let (key, value) = entry?;
            self.report.definitions.push((key.to_vec(), value.to_vec()));
        }
        Ok(())
    }

    fn holes(&mut self) -> Result<(), StoreError> {
        for entry in self.tables.holes.iter(self.txn)? {
            let (key, value) = entry?;
            match schema::decode_hole(key, value) {
                Ok(Hole::Queue(queue)) => self.report.dropped.push(queue),
                Ok(Hole::Range { key, until }) => {
                    if key.first >= until {
                        self.report.find(|| format!("hole of {}: ends at {until}", place(key)));
                    }
                    self.ranges.entry((key.queue, key.lane)).or_default().push((key.first, until));
                }
                Err(damage) => self.report.find(|| format!("hole {key:02x?}: {damage}")),
            }
        }
        Ok(())
    }

    /// Index rows and blocks side by side: both are in order of their keys, which are the same.
    fn messages(&mut self) -> Result<(), StoreError> {
        let (mut index, mut blocks) = (self.tables.index.iter(self.txn)?, self.tables.blocks.iter(self.txn)?);
        let (mut row, mut block) = (index.next().transpose()?, blocks.next().transpose()?);
        let mut before: Option<(Key, Seq)> = None;
        loop {
            let order = match (row, block) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((row, _)), Some((block, _))) => row.cmp(block),
            };
            if order == Ordering::Greater {
                let key = block.map(|(key, _)| key).unwrap_or_default();
                self.report.find(|| format!("block {}: has no index row", name(key)));
            } else if let Some((octets, value)) = row {
                let with = block.filter(|_| order == Ordering::Equal).map(|(_, value)| value);
                if with.is_none() {
                    self.report.find(|| format!("index row {}: has no block", name(octets)));
                }
                self.row(octets, value, with, &mut before)?;
            }
            if order != Ordering::Greater {
                row = index.next().transpose()?;
            }
            if order != Ordering::Less {
                block = blocks.next().transpose()?;
            }
        }
    }

    fn row(
        &mut self,
        octets: &[u8],
        value: &[u8],
        block: Option<&[u8]>,
        before: &mut Option<(Key, Seq)>,
    ) -> Result<(), StoreError> {
        let Some(key) = Key::decode(octets) else {
            self.report.find(|| format!("index row {octets:02x?}: not a key"));
            return Ok(());
        };
        let row = IndexRow::decode(key, value);
        for body in row.iter().flat_map(IndexRow::bodies) {
            let count = self.references.entry(*body).or_default();
            *count = count.saturating_add(1);
        }
        if self.report.dropped.binary_search(&key.queue).is_ok() {
            return Ok(());
        }
        let row = match row {
            Ok(row) => row,
            Err(damage) => {
                self.report.find(|| format!("index row of {}: {damage}", place(key)));
                return Ok(());
            }
        };
        let last = row.last_covered(key);
        let same_lane = |other: Key| other.queue == key.queue && other.lane == key.lane;
        if let Some((other, until)) = before.filter(|(other, until)| same_lane(*other) && *until >= key.first) {
            self.report.find(|| format!("index row of {}: {} reaches to {until}", place(key), place(other)));
        }
        *before = Some((key, last));
        let ranges = self.ranges.get(&(key.queue, key.lane)).map_or(&[][..], Vec::as_slice);
        if in_hole(ranges, key, &row) {
            return Ok(());
        }
        let cut = |offset| ranges.iter().any(|(from, until)| (*from..*until).contains(&key.seq(offset)));
        if row.live_offsets().any(cut) {
            self.report.find(|| format!("index row of {}: a hole cuts through what is alive", place(key)));
        }
        let holding = self.report.queues.entry(key.queue).or_default();
        holding.messages = holding.messages.saturating_add(row.live().into());
        holding.octets = holding.octets.saturating_add(row.octets());
        block.map_or(Ok(()), |block| self.block(key, &row, block))
    }

    fn block(&mut self, key: Key, row: &IndexRow, value: &[u8]) -> Result<(), StoreError> {
        let mut records = match Records::open(key, value) {
            Ok(records) => records,
            Err(damage) => {
                let live = row.live();
                self.report.find(|| format!("block of {}: {damage}; holds {live} messages", place(key)));
                return Ok(());
            }
        };
        let mut shared = Vec::new();
        let (mut live, mut octets, mut expiry, mut before) = (0u16, 0u64, u64::MAX, None);
        for record in records.by_ref() {
            if before.is_some_and(|before| before >= record.offset) {
                self.report.find(|| format!("block of {}: records are out of order", place(key)));
            }
            before = Some(record.offset);
            expiry = expiry.min(record.expires_at);
            if row.is_live(record.offset) {
                live = live.saturating_add(1);
                octets = octets.saturating_add(record.body_len.into());
            }
            if let Content::Shared(body) = record.content {
                shared.push(body);
            }
            self.record(key, row, &record)?;
        }
        if shared != row.bodies() {
            self.report.find(|| format!("index row of {}: names other bodies than its block", place(key)));
        }
        if !records.is_at_end() {
            self.report.find(|| format!("block of {}: its records do not fill it", place(key)));
        }
        if before.map(|last| key.seq(last)) != Some(row.last_covered(key)) {
            self.report.find(|| format!("index row of {}: covers other positions than its block", place(key)));
        }
        let (said, found) = ((row.live(), row.octets(), row.earliest_expiry()), (live, octets, expiry));
        if said != found {
            let place = place(key);
            self.report.find(|| {
                format!("index row of {place}: messages, octets and expiry are {said:?}, its block's are {found:?}")
            });
        }
        Ok(())
    }

    fn record(&mut self, key: Key, row: &IndexRow, record: &Record<'_>) -> Result<(), StoreError> {
        if !row.is_live(record.offset) {
            return Ok(());
        }
        let seq = key.seq(record.offset);
        let octets = match record.content {
            Content::Here(octets) => Some(octets),
            // All bodies are verified in their turn, and once.
            Content::Shared(body) => bodies::unverified(self.tables, self.txn, body)?,
        };
        match octets {
            None => self.report.find(|| format!("block of {}: message {seq} has lost its body", place(key))),
            Some(octets) if !record.is_whole(octets) => {
                self.report.find(|| format!("block of {}: message {seq} contradicts itself", place(key)));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The shared bodies, and their counts beside what was found to refer to them.
    fn bodies(&mut self) -> Result<(), StoreError> {
        for entry in self.tables.bodies.iter(self.txn)? {
            let (key, value) = entry?;
            if let Err(damage) = bodies::decode_body(key, value) {
                self.report.find(|| format!("body {}: {damage}", id(key)));
            }
            if self.tables.shares.get(self.txn, key)?.is_none() {
                self.report.find(|| format!("body {}: is not counted", id(key)));
            }
        }
        for entry in self.tables.shares.iter(self.txn)? {
            let (key, value) = entry?;
            let found = bodies::decode_id(key).and_then(|id| self.references.get(&id)).copied().unwrap_or(0);
            match bodies::decode_share(key, value) {
                Ok((_, said)) if said != found => {
                    self.report.find(|| format!("body {}: {found} blocks refer to it, its count is {said}", id(key)));
                }
                Ok((_, 0)) => self.report.find(|| format!("body {}: nothing refers to it", id(key))),
                Ok(_) if self.tables.bodies.get(self.txn, key)?.is_none() => {
                    self.report.find(|| format!("body {}: is missing", id(key)));
                }
                Ok(_) => {}
                Err(damage) => self.report.find(|| format!("share of body {}: {damage}", id(key))),
            }
        }
        Ok(())
    }

    /// Whether a position is alive; what a damaged row says is not known, and reported already.
    fn alive(&self, queue: QueueId, lane: u8, seq: Seq) -> Result<bool, StoreError> {
        let row = self.tables.row_at(self.txn, queue, lane, seq)?;
        Ok(row.is_some_and(|(key, row)| key.offset(seq).is_some_and(|offset| row.is_live(offset))))
    }

    fn counts(&mut self) -> Result<(), StoreError> {
        let mut failed = Ok(());
        let (tables, txn) = (self.tables, self.txn);
        counts::read(tables, txn, |row| match row {
            Ok((queue, counts)) => {
                for count in counts {
                    match self.alive(queue, count.lane, count.seq) {
                        Ok(true) => {}
                        Ok(false) => {
                            let (lane, seq) = (count.lane, count.seq);
                            let queue = queue.0;
                            self.report.find(|| format!("counts: queue {queue}, lane {lane} has no message {seq}"));
                        }
                        Err(error) => failed = Err(error),
                    }
                }
            }
            Err((key, damage)) => self.report.find(|| format!("counts {}: {damage}", name(&key))),
        })?;
        failed
    }

    fn marks(&mut self) -> Result<(), StoreError> {
        for entry in self.tables.marks.iter(self.txn)? {
            let (key, value) = entry?;
            match schema::decode_marks(key, value) {
                Ok((queue, positions)) if !positions.is_sorted_by(|a, b| a < b) => {
                    self.report.find(|| format!("marks of queue {}: out of order", queue.0));
                }
                Ok(_) => {}
                Err(damage) => self.report.find(|| format!("marks {key:02x?}: {damage}")),
            }
        }
        Ok(())
    }
}

/// The id of a shared body in words, or its octets if it is none.
fn id(octets: &[u8]) -> String {
    bodies::decode_id(octets).map_or_else(|| format!("{octets:02x?}"), |id| id.to_string())
}

/// A row key in words, or its octets if it is none.
fn name(octets: &[u8]) -> String {
    Key::decode(octets).map_or_else(|| format!("{octets:02x?}"), |key| format!("of {}", place(key)))
}
