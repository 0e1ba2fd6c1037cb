//! Dropped ranges and queues: removing their rows in bounded pieces.
//!
//! Invariants: a hole never cuts through a row that is alive (the rows at the ends of a range are trimmed at once); a
//! piece of work removes at most [`REMOVALS`] blocks, so that no confirm waits long behind it. Deliberately absent:
//! deciding when to sweep.

use std::ops::Bound::{Excluded, Included};
use std::ops::Range;

use heed::RwTxn;

use super::blocks::Records;
use super::bodies::BodyId;
use super::counts;
use super::index::IndexRow;
use super::schema::{self, Hole, Key};
use super::tables::{Span, Tables};
use crate::store::{DropRange, QueueId, Seq};

/// Most blocks removed in one transaction: at up to 64 pages each, some 16 MiB of pages to put on the free list, a few
/// milliseconds.
pub(super) const REMOVALS: usize = 256;

/// Drops a queue; what exceeds `removals` is left in a hole.
pub(super) fn drop_queue(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    queue: QueueId,
    removals: &mut usize,
) -> heed::Result<()> {
    let key = queue.0.to_be_bytes();
    tables.marks.delete(txn, &key)?;
    counts::drop_queue(tables, txn, queue)?;
    if remove_queue(tables, txn, queue, removals)? {
        tables.holes.put(txn, &key, &schema::encode_queue_hole(queue))?;
    }
    Ok(())
}

/// Drops a range of a lane; what exceeds `removals` is left in a hole.
pub(super) fn drop_range(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    queue: QueueId,
    range: DropRange,
    removals: &mut usize,
) -> heed::Result<()> {
    if range.from >= range.until {
        return Ok(());
    }
    let start = Key { queue, lane: range.lane, first: range.from };
    let positions = range.from..range.until;
    trim(tables, txn, queue, range.lane, range.from, &positions)?;
    trim(tables, txn, queue, range.lane, range.until.saturating_sub(1), &positions)?;
    if let Some(left) = remove_range(tables, txn, start, range.until, removals)? {
        put_hole(tables, txn, left, range.until)?;
    }
    Ok(())
}

/// Removes at most `removals` blocks that holes cover; `true` if holes are left.
pub(super) fn piece(tables: &Tables, txn: &mut RwTxn<'_>, mut removals: usize) -> heed::Result<bool> {
    while removals > 0 {
        let Some((key, hole)) = first_hole(tables, txn)? else { return Ok(false) };
        match hole {
            Hole::Queue(queue) => {
                if remove_queue(tables, txn, queue, &mut removals)? {
                    return Ok(true);
                }
            }
            Hole::Range { key, until } => {
                if let Some(left) = remove_range(tables, txn, key, until, &mut removals)? {
                    if left != key {
                        tables.holes.delete(txn, &key.encode())?;
                        put_hole(tables, txn, left, until)?;
                    }
                    return Ok(true);
                }
            }
        }
        tables.holes.delete(txn, &key)?;
        // A hole costs something even where it covers nothing.
        removals = removals.saturating_sub(1);
    }
    Ok(!tables.holes.is_empty(txn)?)
}

/// The first readable hole. What is not readable covers nothing and is reported by recovery.
fn first_hole(tables: &Tables, txn: &RwTxn<'_>) -> heed::Result<Option<(Vec<u8>, Hole)>> {
    for entry in tables.holes.iter(txn)? {
        let (key, value) = entry?;
        if let Ok(hole) = schema::decode_hole(key, value) {
            return Ok(Some((key.to_vec(), hole)));
        }
    }
    Ok(None)
}

fn put_hole(tables: &Tables, txn: &mut RwTxn<'_>, key: Key, until: Seq) -> heed::Result<()> {
    let known = tables.holes.get(txn, &key.encode())?;
    let known = match known.map(|value| schema::decode_hole(&key.encode(), value)) {
        Some(Ok(Hole::Range { until, .. })) => until,
        _ => 0,
    };
    tables.holes.put(txn, &key.encode(), &schema::encode_hole(key, until.max(known)))
}

/// Removes rows of a queue, damaged ones too; `true` if some are left.
fn remove_queue(tables: &Tables, txn: &mut RwTxn<'_>, queue: QueueId, removals: &mut usize) -> heed::Result<bool> {
    let prefix = queue.0.to_be_bytes();
    let mut doomed: Vec<(Vec<u8>, Vec<BodyId>)> = Vec::new();
    let mut left = false;
    for entry in tables.index.prefix_iter(txn, &prefix)? {
        let (key, value) = entry?;
        if doomed.len() == *removals {
            left = true;
            break;
        }
        let row = Key::decode(key).and_then(|key| IndexRow::decode(key, value).ok());
        doomed.push((key.to_vec(), row.map_or_else(Vec::new, |row| row.bodies().to_vec())));
    }
    *removals = removals.saturating_sub(doomed.len());
    for (key, bodies) in doomed {
        tables.delete_row(txn, &key, &bodies)?;
    }
    Ok(left)
}

/// Removes rows that lie wholly between `start` and `until`; the key of the first that is left, if any.
fn remove_range(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    start: Key,
    until: Seq,
    removals: &mut usize,
) -> heed::Result<Option<Key>> {
    let (from, to) = (start.encode(), Key { first: until, ..start }.encode());
    let span: Span<'_> = (Included(&from), Excluded(&to));
    let mut doomed: Vec<(Key, Vec<BodyId>)> = Vec::new();
    let mut left = None;
    for entry in tables.index.range(txn, &span)? {
        let (key, value) = entry?;
        let Some(key) = Key::decode(key) else { continue };
        let Ok(row) = IndexRow::decode(key, value) else { continue };
        if row.last_covered(key) >= until {
            break;
        }
        if doomed.len() == *removals {
            left = Some(key);
            break;
        }
        doomed.push((key, row.bodies().to_vec()));
    }
    *removals = removals.saturating_sub(doomed.len());
    for (key, bodies) in doomed {
        tables.delete_row(txn, &key.encode(), &bodies)?;
    }
    Ok(left)
}

/// Clears the bits of `positions` in the row that covers `seq`, unless it lies wholly within them.
fn trim(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    queue: QueueId,
    lane: u8,
    seq: Seq,
    positions: &Range<Seq>,
) -> heed::Result<()> {
    let Some((key, mut row)) = tables.row_at(txn, queue, lane, seq)? else { return Ok(()) };
    if positions.start <= key.first && row.last_covered(key) < positions.end {
        return Ok(());
    }
    let gone: Vec<u16> = row.live_offsets().filter(|offset| positions.contains(&key.seq(*offset))).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let block = tables.blocks.get(txn, &key.encode())?;
    if let Some(records) = block.and_then(|value| Records::open(key, value).ok()) {
        for record in records.filter(|record| gone.contains(&record.offset)) {
            row.remove(record.offset, record.body_len);
        }
    }
    // What is missing in a damaged block has lost its length with it: an equal share for each message.
    let share = row.octets().checked_div(row.live().into()).and_then(|share| share.try_into().ok()).unwrap_or(u32::MAX);
    for offset in gone {
        row.remove(offset, share);
    }
    tables.update_row(txn, key, &row)
}
