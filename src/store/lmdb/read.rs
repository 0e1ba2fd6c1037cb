//! Reading messages back.
//!
//! Touches only pages of the asked-for lane, through a read transaction that ends with the call. Invariants: nothing is
//! returned that is settled, dropped or fails its checksum; messages own their octets, but
//! for shared bodies, which stand in memory once. Deliberately absent: caching.

use std::ops::Bound::{Excluded, Included};
use std::ops::Range;

use heed::RoTxn;

use super::blocks::{Content, Records};
use super::index::IndexRow;
use super::loaded::Loaded;
use super::schema::Key;
use super::tables::{Span, Tables, in_hole};
use crate::store::{Page, QueueId, Seq, Stored, Stretch};

/// A page of one lane; see [`crate::store::Engine::read`].
pub(super) fn page(
    tables: &Tables,
    txn: &RoTxn<'_>,
    loaded: &Loaded,
    queue: QueueId,
    lane: u8,
    range: Range<Seq>,
    budget: usize,
) -> heed::Result<Page> {
    let mut page = Page::default();
    if range.is_empty() || tables.is_dropped(txn, queue)? {
        return Ok(page);
    }
    let holes = tables.holes_in_lane(txn, queue, lane)?;
    let first = match tables.row_at(txn, queue, lane, range.start)? {
        Some((key, _)) => key.first,
        None => range.start,
    };
    let (start, end) = (Key { queue, lane, first }, Key { queue, lane, first: range.end });
    let (start, end) = (start.encode(), end.encode());
    let span: Span<'_> = (Included(&start), Excluded(&end));
    let mut octets = 0usize;
    for entry in tables.index.range(txn, &span)? {
        let (key, value) = entry?;
        let Some(key) = Key::decode(key) else { continue };
        // A damaged row was reported by recovery and is set aside.
        let Ok(row) = IndexRow::decode(key, value) else { continue };
        if in_hole(&holes, key, &row) {
            continue;
        }
        let live = row.live_offsets().filter(|offset| range.contains(&key.seq(*offset)));
        let wanted: Vec<u16> = live.collect();
        let Some(next) = wanted.first() else { continue };
        if octets >= budget && !page.messages.is_empty() {
            page.next = Some(key.seq(*next));
            return Ok(page);
        }
        let block = tables.blocks.get(txn, &key.encode())?;
        let records = block.and_then(|value| Records::open(key, value).ok()).into_iter().flatten();
        let mut found = 0u64;
        for record in records.filter(|record| wanted.binary_search(&record.offset).is_ok()) {
            let seq = key.seq(record.offset);
            let fits = octets.saturating_add(record.len) <= budget;
            if !fits && !page.messages.is_empty() {
                let passed = wanted.partition_point(|offset| *offset < record.offset) as u64;
                page.damaged = page.damaged.saturating_add(passed.saturating_sub(found));
                page.next = Some(seq);
                return Ok(page);
            }
            let message = match record.content {
                Content::Here(octets) => record.message(octets),
                Content::Shared(body) => loaded.message(tables, txn, body, &record)?,
            };
            if let Some(message) = message {
                octets = octets.saturating_add(record.len);
                found = found.saturating_add(1);
                page.messages.push(Stored { seq, expires_at: record.expires_at, message });
            }
        }
        page.damaged = page.damaged.saturating_add((wanted.len() as u64).saturating_sub(found));
    }
    Ok(page)
}

/// Every row of one lane; see [`crate::store::Engine::stretches`]. Touches no block.
pub(super) fn stretches(tables: &Tables, txn: &RoTxn<'_>, queue: QueueId, lane: u8) -> heed::Result<Vec<Stretch>> {
    let mut out = Vec::new();
    if tables.is_dropped(txn, queue)? {
        return Ok(out);
    }
    let holes = tables.holes_in_lane(txn, queue, lane)?;
    let (start, end) = (Key { queue, lane, first: 0 }.encode(), Key { queue, lane, first: Seq::MAX }.encode());
    let span: Span<'_> = (Included(&start), Included(&end));
    for entry in tables.index.range(txn, &span)? {
        let (key, value) = entry?;
        let Some(key) = Key::decode(key) else { continue };
        let Ok(row) = IndexRow::decode(key, value) else { continue };
        let mut live = row.live_offsets();
        let Some(first) = live.next().filter(|_| !in_hole(&holes, key, &row)) else { continue };
        out.push(Stretch {
            first: key.seq(first),
            last: key.seq(live.next_back().unwrap_or(first)),
            count: row.live().into(),
            earliest_expiry: row.earliest_expiry(),
        });
    }
    Ok(out)
}
