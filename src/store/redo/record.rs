//! A batch as octets: the payload of a record of the log; see FORMAT.md.
//!
//! Pure. Invariants: what is decoded was judged by the caller's checksum, and is judged all the same: nothing here
//! panics, and nothing is allocated by a number that the octets declare. Marks and the end of an orderly run have no
//! form here: such a batch never goes through the log. Deliberately absent: headers, files, what a batch means.

use bytes::{Buf, Bytes};

use crate::message::{Facts, Message};
use crate::store::{Batch, Count, Define, DropRange, Generation, MAX_KEY, Put, QueueBatch, QueueId, Seq, Settle};

/// Kinds of definitions.
const PUT: u8 = 1;
const DELETE: u8 = 2;
const DROP_QUEUE: u8 = 3;
const NEXT_QUEUE_ID: u8 = 4;

/// Flags of a message.
const PERSISTENT: u8 = 1;
const DEAD_LETTERED: u8 = 2;
const REDELIVERED: u8 = 4;

/// First octets of every record.
const MAGIC: &[u8; 8] = b"LVRTREDO";

/// Length of a record's header in octets.
pub(super) const HEADER: usize = 32;

/// Where the checksum stands in the header.
const CHECKSUM_AT: usize = 24;

/// What the header of a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) generation: Generation,
    /// Number of the record within its generation, from 0.
    pub(super) index: u32,
    /// Octets of the payload.
    pub(super) len: u32,
    checksum: u32,
}

/// Whether a batch is one that the log has a form for.
pub(super) fn has_form(batch: &Batch) -> bool {
    !batch.clean_shutdown && batch.generation.is_none() && batch.queues.iter().all(|work| work.redelivered.is_empty())
}

/// Writes a whole record into `out`, replacing what is there. `false`, with nothing of use in `out`, if the record
/// would have more than `most` octets.
pub(super) fn encode(batch: &Batch, generation: Generation, index: u32, most: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&generation.0.to_be_bytes());
    out.extend_from_slice(&index.to_be_bytes());
    out.extend_from_slice(&[0; 12]);
    if put_batch(batch, most, out).is_none() {
        return false;
    }
    let Ok(len) = u32::try_from(out.len().saturating_sub(HEADER)) else { return false };
    if let Some(place) = out.get_mut(20..CHECKSUM_AT) {
        place.copy_from_slice(&len.to_be_bytes());
    }
    let sum = checksum(out);
    if let Some(place) = out.get_mut(CHECKSUM_AT..CHECKSUM_AT.saturating_add(4)) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    true
}

/// Of a whole record, but for the four octets of the checksum itself.
fn checksum(record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(record.get(..CHECKSUM_AT).unwrap_or_default());
    hasher.update(record.get(CHECKSUM_AT.saturating_add(4)..).unwrap_or_default());
    hasher.finalize()
}

impl Header {
    /// The header at the front, if there is one.
    pub(super) fn decode(mut octets: &[u8]) -> Option<Self> {
        let magic = octets.split_off(..MAGIC.len())?;
        let generation = Generation(octets.try_get_u64().ok()?);
        let (index, len, checksum) =
            (octets.try_get_u32().ok()?, octets.try_get_u32().ok()?, octets.try_get_u32().ok()?);
        (magic == MAGIC).then_some(Self { generation, index, len, checksum })
    }

    /// Octets of the whole record.
    pub(super) fn record_len(self) -> usize {
        HEADER.saturating_add(usize::try_from(self.len).unwrap_or(usize::MAX))
    }

    /// Whether these, a whole record, are what was written.
    pub(super) fn verify(self, record: &[u8]) -> bool {
        checksum(record) == self.checksum
    }
}

/// Appends, and gives up where that would exceed `most` octets in all.
struct Out<'a> {
    most: usize,
    out: &'a mut Vec<u8>,
}

impl Out<'_> {
    fn put(&mut self, octets: &[u8]) -> Option<()> {
        if self.out.len().saturating_add(octets.len()) > self.most {
            return None;
        }
        self.out.extend_from_slice(octets);
        Some(())
    }

    fn count<T>(&mut self, items: &[T]) -> Option<()> {
        self.put(&u32::try_from(items.len()).ok()?.to_be_bytes())
    }

    fn key(&mut self, key: &[u8]) -> Option<()> {
        self.put(&u16::try_from(key.len()).ok()?.to_be_bytes())?;
        self.put(key)
    }
}

fn put_batch(batch: &Batch, most: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut out = Out { most, out };
    out.put(&batch.epoch.to_be_bytes())?;
    out.count(&batch.definitions)?;
    for define in &batch.definitions {
        put_define(define, &mut out)?;
    }
    out.count(&batch.queues)?;
    for work in &batch.queues {
        put_work(work, &mut out)?;
    }
    Some(())
}

fn put_define(define: &Define, out: &mut Out<'_>) -> Option<()> {
    match define {
        Define::Put { key, value } => {
            out.put(&[PUT])?;
            out.key(key)?;
            out.count(value)?;
            out.put(value)
        }
        Define::Delete { key } => {
            out.put(&[DELETE])?;
            out.key(key)
        }
        Define::DropQueue { queue } => {
            out.put(&[DROP_QUEUE])?;
            out.put(&queue.0.to_be_bytes())
        }
        Define::NextQueueId(id) => {
            out.put(&[NEXT_QUEUE_ID])?;
            out.put(&id.to_be_bytes())
        }
    }
}

fn put_work(work: &QueueBatch, out: &mut Out<'_>) -> Option<()> {
    out.put(&work.queue.0.to_be_bytes())?;
    out.count(&work.puts)?;
    for put in &work.puts {
        put_put(put, out)?;
    }
    out.count(&work.settles)?;
    for settle in &work.settles {
        out.put(&settle.seq.to_be_bytes())?;
        out.put(&[settle.lane, u8::from(settle.counted)])?;
        out.put(&settle.body_len.to_be_bytes())?;
    }
    out.count(&work.counts)?;
    for count in &work.counts {
        out.put(&count.seq.to_be_bytes())?;
        out.put(&[count.lane])?;
        out.put(&count.failures.to_be_bytes())?;
        out.put(&count.acquired.to_be_bytes())?;
    }
    out.count(&work.drops)?;
    for range in &work.drops {
        out.put(&[range.lane])?;
        out.put(&range.from.to_be_bytes())?;
        out.put(&range.until.to_be_bytes())?;
    }
    Some(())
}

fn put_put(put: &Put, out: &mut Out<'_>) -> Option<()> {
    let (message, facts) = (&put.message, put.message.facts());
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    let flags = flag(facts.persistent, PERSISTENT)
        | flag(facts.dead_lettered, DEAD_LETTERED)
        | flag(facts.redelivered, REDELIVERED);
    out.put(&put.seq.to_be_bytes())?;
    out.put(&[put.lane, flags, facts.priority])?;
    out.put(&facts.expiration.to_be_bytes())?;
    out.put(&put.expires_at.to_be_bytes())?;
    out.put(&u16::try_from(message.envelope().len()).ok()?.to_be_bytes())?;
    out.put(&u32::try_from(message.properties().len()).ok()?.to_be_bytes())?;
    out.put(&message.body_len().to_be_bytes())?;
    out.put(message.record())
}

/// The batch in a payload whose checksum was found right; `None` if it breaks a rule of the format.
pub(super) fn decode(payload: Bytes) -> Option<Batch> {
    let mut rest = payload;
    let mut batch = Batch { epoch: rest.try_get_u64().ok()?, ..Batch::default() };
    for _ in 0..rest.try_get_u32().ok()? {
        batch.definitions.push(take_define(&mut rest)?);
    }
    for _ in 0..rest.try_get_u32().ok()? {
        batch.queues.push(take_work(&mut rest)?);
    }
    rest.is_empty().then_some(batch)
}

fn slice(rest: &mut Bytes, len: usize) -> Option<Bytes> {
    (len <= rest.len()).then(|| rest.split_to(len))
}

fn take_key(rest: &mut Bytes) -> Option<Vec<u8>> {
    let len = usize::from(rest.try_get_u16().ok()?);
    let key = slice(rest, len)?;
    (1..=MAX_KEY).contains(&len).then(|| key.to_vec())
}

fn take_queue(rest: &mut Bytes) -> Option<QueueId> {
    rest.try_get_u64().ok().map(QueueId).filter(|queue| *queue <= QueueId::HIGHEST)
}

/// Positions beyond are as little believed as queue ids.
fn take_seq(rest: &mut Bytes) -> Option<Seq> {
    rest.try_get_u64().ok().filter(|seq| *seq <= QueueId::HIGHEST.0)
}

fn take_define(rest: &mut Bytes) -> Option<Define> {
    Some(match rest.try_get_u8().ok()? {
        PUT => {
            let key = take_key(rest)?;
            let len = usize::try_from(rest.try_get_u32().ok()?).ok()?;
            Define::Put { key, value: slice(rest, len)?.to_vec() }
        }
        DELETE => Define::Delete { key: take_key(rest)? },
        DROP_QUEUE => Define::DropQueue { queue: take_queue(rest)? },
        NEXT_QUEUE_ID => Define::NextQueueId(take_queue(rest)?.0),
        _ => return None,
    })
}

fn take_work(rest: &mut Bytes) -> Option<QueueBatch> {
    let mut work = QueueBatch::new(take_queue(rest)?);
    for _ in 0..rest.try_get_u32().ok()? {
        let put = take_put(rest)?;
        if work.puts.last().is_some_and(|before| before.seq >= put.seq) {
            return None;
        }
        work.puts.push(put);
    }
    for _ in 0..rest.try_get_u32().ok()? {
        let seq = take_seq(rest)?;
        let (lane, counted) = (rest.try_get_u8().ok()?, rest.try_get_u8().ok()? != 0);
        work.settles.push(Settle { seq, lane, body_len: rest.try_get_u32().ok()?, counted });
    }
    for _ in 0..rest.try_get_u32().ok()? {
        let (seq, lane) = (take_seq(rest)?, rest.try_get_u8().ok()?);
        let (failures, acquired) = (rest.try_get_u32().ok()?, rest.try_get_u32().ok()?);
        work.counts.push(Count { seq, lane, failures, acquired });
    }
    for _ in 0..rest.try_get_u32().ok()? {
        let lane = rest.try_get_u8().ok()?;
        let (from, until) = (rest.try_get_u64().ok()?, rest.try_get_u64().ok()?);
        work.drops.push(DropRange { lane, from, until });
    }
    Some(work)
}

fn take_put(rest: &mut Bytes) -> Option<Put> {
    let seq = take_seq(rest)?;
    let (lane, flags, priority) = (rest.try_get_u8().ok()?, rest.try_get_u8().ok()?, rest.try_get_u8().ok()?);
    let (expiration, expires_at) = (rest.try_get_u64().ok()?, rest.try_get_u64().ok()?);
    let address = usize::from(rest.try_get_u16().ok()?);
    let properties = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    let body = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    let record = slice(rest, address.checked_add(properties)?.checked_add(body)?)?;
    let facts = Facts {
        persistent: flags & PERSISTENT != 0,
        priority,
        expiration,
        dead_lettered: flags & DEAD_LETTERED != 0,
        redelivered: flags & REDELIVERED != 0,
    };
    Some(Put { seq, lane, expires_at, message: Message::from_record(record, address, properties, facts)? })
}
