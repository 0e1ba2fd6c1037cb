//! How often kept messages came back: rows for the few that did.
//!
//! A row covers [`SPAN`] positions of a lane and names those that have counts, so that a consumer that dies with a
//! million deliveries writes thousands of rows, not a million. Invariants: a message's counts go with its settlement or
//! its range, in the same transaction; a damaged row is reported at recovery and overwritten when its time comes, for
//! counts that are lost only start anew. Deliberately absent: what the counts mean.

use std::ops::Bound::{Excluded, Included};

use heed::{RoTxn, RwTxn};

use super::schema::{Damage, Key, Octets, ROW_VERSION, open_row, seal_row};
use super::tables::{Span, Tables};
use crate::store::{Count, DropRange, QueueId, Seq, Settle};

/// Positions covered by one row.
const SPAN: u64 = 64;

/// The key of the row that covers a position.
fn row_key(queue: QueueId, lane: u8, seq: Seq) -> Key {
    Key { queue, lane, first: seq.saturating_sub(seq % SPAN) }
}

fn encode(key: Key, counts: &[Count]) -> Vec<u8> {
    let mut out = vec![ROW_VERSION, 0];
    out.extend_from_slice(&u16::try_from(counts.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    for count in counts {
        out.push(u8::try_from(count.seq.saturating_sub(key.first)).unwrap_or(u8::MAX));
        out.extend_from_slice(&count.failures.to_be_bytes());
        out.extend_from_slice(&count.acquired.to_be_bytes());
    }
    seal_row(&key.encode(), &mut out);
    out
}

fn decode(key: Key, value: &[u8]) -> Result<Vec<Count>, Damage> {
    let (entries, mut rest) = open_row(&key.encode(), value)?;
    let mut counts: Vec<Count> = Vec::new();
    for _ in 0..entries {
        let count = decode_count(key, &mut rest).ok_or(Damage::Length)?;
        let in_order = counts.last().is_none_or(|before| before.seq < count.seq);
        if !in_order || count.seq.saturating_sub(key.first) >= SPAN {
            return Err(Damage::Inconsistent);
        }
        counts.push(count);
    }
    if rest.0.is_empty() { Ok(counts) } else { Err(Damage::Length) }
}

fn decode_count(key: Key, rest: &mut Octets<'_>) -> Option<Count> {
    Some(Count { seq: key.seq(u16::from(rest.u8()?)), lane: key.lane, failures: rest.u32()?, acquired: rest.u32()? })
}

/// Writes counts and removes those of settled messages.
pub(super) fn apply(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    queue: QueueId,
    counts: &[Count],
    settles: &[Settle],
) -> heed::Result<()> {
    let settled = settles.iter().filter(|settle| settle.counted);
    let settled = settled.map(|s| (Count { seq: s.seq, lane: s.lane, failures: 0, acquired: 0 }, false));
    let mut changes: Vec<(Count, bool)> = counts.iter().map(|count| (*count, true)).chain(settled).collect();
    // Stable: what is settled stays settled.
    changes.sort_by_key(|(count, _)| (count.lane, count.seq));
    for of_row in changes.chunk_by(|(a, _), (b, _)| row_key(queue, a.lane, a.seq) == row_key(queue, b.lane, b.seq)) {
        let Some((first, _)) = of_row.first() else { continue };
        update(tables, txn, row_key(queue, first.lane, first.seq), |row| {
            for (count, kept) in of_row {
                row.retain(|old| old.seq != count.seq);
                if *kept {
                    row.push(*count);
                }
            }
        })?;
    }
    Ok(())
}

/// Changes a row; one without counts goes.
fn update(tables: &Tables, txn: &mut RwTxn<'_>, key: Key, change: impl FnOnce(&mut Vec<Count>)) -> heed::Result<()> {
    let octets = key.encode();
    let kept = tables.counts.get(txn, &octets)?;
    let existed = kept.is_some();
    let mut row = kept.and_then(|value| decode(key, value).ok()).unwrap_or_default();
    change(&mut row);
    row.sort_unstable_by_key(|count| count.seq);
    if !row.is_empty() {
        tables.counts.put(txn, &octets, &encode(key, &row))
    } else if existed {
        tables.counts.delete(txn, &octets).map(|_| ())
    } else {
        Ok(())
    }
}

/// Removes the counts of a range of positions. Rows are small and one covers many positions, so this is not deferred.
pub(super) fn drop_range(tables: &Tables, txn: &mut RwTxn<'_>, queue: QueueId, range: DropRange) -> heed::Result<()> {
    if range.from >= range.until || tables.counts.is_empty(txn)? {
        return Ok(());
    }
    for edge in [range.from, range.until] {
        update(tables, txn, row_key(queue, range.lane, edge), |row| {
            row.retain(|count| !(range.from..range.until).contains(&count.seq));
        })?;
    }
    // The rows at both ends hold nothing of the range any more, or nothing else.
    let from = row_key(queue, range.lane, range.from.saturating_add(SPAN - 1)).encode();
    let to = row_key(queue, range.lane, range.until).encode();
    if from < to {
        let span: Span<'_> = (Included(&from), Excluded(&to));
        tables.counts.delete_range(txn, &span)?;
    }
    Ok(())
}

/// Removes everything of a queue.
pub(super) fn drop_queue(tables: &Tables, txn: &mut RwTxn<'_>, queue: QueueId) -> heed::Result<()> {
    if tables.counts.is_empty(txn)? {
        return Ok(());
    }
    let from = queue.0.to_be_bytes();
    let to = Key { queue, lane: u8::MAX, first: Seq::MAX }.encode();
    let span: Span<'_> = (Included(&from), Included(&to));
    tables.counts.delete_range(txn, &span).map(|_| ())
}

/// Reads all rows, in order: the queue with its counts, or the key with what is wrong.
pub(super) fn read(
    tables: &Tables,
    txn: &RoTxn<'_>,
    mut each: impl FnMut(Result<(QueueId, Vec<Count>), (Vec<u8>, Damage)>),
) -> heed::Result<()> {
    for entry in tables.counts.iter(txn)? {
        let (octets, value) = entry?;
        let row = Key::decode(octets).ok_or(Damage::Length).and_then(|key| Ok((key.queue, decode(key, value)?)));
        each(row.map_err(|damage| (octets.to_vec(), damage)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { queue: QueueId(7), lane: 2, first: 128 };

    fn sample() -> Vec<Count> {
        let count = |seq, failures, acquired| Count { seq, lane: 2, failures, acquired };
        vec![count(128, 1, 1), count(130, 0, 9), count(191, u32::MAX, u32::MAX)]
    }

    #[test]
    fn a_row_comes_back_and_damage_shows() {
        let row = encode(KEY, &sample());
        assert_eq!(decode(KEY, &row), Ok(sample()));
        for at in 0..row.len() {
            let mut damaged = row.clone();
            damaged[at] ^= 0x10;
            assert!(decode(KEY, &damaged).is_err(), "octet {at}");
        }
        assert!(decode(Key { first: 64, ..KEY }, &row).is_err(), "a row under another key");
        assert!(decode(KEY, &row[..row.len() - 1]).is_err());
        assert_eq!(decode(KEY, &[]), Err(Damage::Length));
    }

    #[test]
    fn a_sealed_row_that_contradicts_itself_is_damaged() {
        let mut twice = sample();
        twice.push(twice[2]);
        assert_eq!(decode(KEY, &encode(KEY, &twice)), Err(Damage::Inconsistent), "out of order");
        let beyond = [Count { seq: 192, lane: 2, failures: 0, acquired: 1 }];
        assert_eq!(decode(KEY, &encode(KEY, &beyond)), Err(Damage::Inconsistent), "beyond the row");
    }
}
