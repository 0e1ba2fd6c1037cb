//! Applying a batch within one write transaction.
//!
//! Invariants: definitions come before the queues' work; bodies that several queues share come, with all their
//! references counted, before anything that may take one back; a settlement touches an index row, never a block; the rows a
//! transaction removes for dropped ranges and queues are bounded, the rest becomes a hole. Deliberately absent: what
//! an error means for the caller.

use std::collections::BTreeSet;

use heed::RwTxn;

use super::blocks::Draft;
use super::bodies::Bodies;
use super::counts;
use super::schema;
use super::sweep;
use super::tables::Tables;
use crate::store::{Batch, Define, Put, QueueBatch, QueueId, Settle};

/// Applies a batch, removing at most `removals` blocks for dropped ranges and queues; `true` if there are holes to
/// sweep now.
pub(super) fn apply(tables: &Tables, txn: &mut RwTxn<'_>, batch: &Batch, mut removals: usize) -> heed::Result<bool> {
    let mut dropped = BTreeSet::new();
    for define in &batch.definitions {
        match define {
            Define::Put { key, value } => tables.definitions.put(txn, key, value)?,
            Define::Delete { key } => {
                tables.definitions.delete(txn, key)?;
            }
            Define::DropQueue { queue } => {
                dropped.insert(*queue);
                sweep::drop_queue(tables, txn, *queue, &mut removals)?;
            }
            Define::NextQueueId(id) => put_next_queue_id(tables, txn, *id)?,
        }
    }
    let holes = !tables.holes.is_empty(txn)?;
    let mut queues = Vec::with_capacity(batch.queues.len());
    for work in &batch.queues {
        // Work of a queue that is gone was on its way when the queue was dropped.
        if dropped.contains(&work.queue) || holes && tables.is_dropped(txn, work.queue)? {
            continue;
        }
        queues.push(work);
    }
    let bodies = Bodies::write(tables, txn, &queues)?;
    for work in queues {
        apply_queue(tables, txn, work, &bodies, &mut removals)?;
    }
    if batch.clean_shutdown {
        tables.meta.put(txn, schema::META_CLEAN, &[1])?;
    }
    if let Some(generation) = batch.generation {
        tables.meta.put(txn, schema::META_GENERATION, &schema::encode_generation(generation))?;
    }
    Ok(!tables.holes.is_empty(txn)?)
}

fn put_next_queue_id(tables: &Tables, txn: &mut RwTxn<'_>, id: u64) -> heed::Result<()> {
    // A number that recovery found unreadable would have stopped the start.
    let known = tables.next_queue_id(txn)?.unwrap_or(id);
    tables.meta.put(txn, schema::META_NEXT_QUEUE_ID, &id.max(known).to_be_bytes())
}

fn apply_queue(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    work: &QueueBatch,
    bodies: &Bodies,
    removals: &mut usize,
) -> heed::Result<()> {
    append(tables, txn, work.queue, &work.puts, bodies)?;
    settle(tables, txn, work.queue, &work.settles)?;
    counts::apply(tables, txn, work.queue, &work.counts, &work.settles)?;
    for range in &work.drops {
        sweep::drop_range(tables, txn, work.queue, *range, removals)?;
        counts::drop_range(tables, txn, work.queue, *range)?;
    }
    if !work.redelivered.is_empty() {
        let value = schema::encode_marks(work.queue, &work.redelivered);
        tables.marks.put(txn, &work.queue.0.to_be_bytes(), &value)?;
    }
    Ok(())
}

fn append(tables: &Tables, txn: &mut RwTxn<'_>, queue: QueueId, puts: &[Put], bodies: &Bodies) -> heed::Result<()> {
    let mut run: Vec<&Put> = puts.iter().collect();
    // Stable: within a lane the order, which is ascending, stays. One pass for queues without priorities.
    run.sort_by_key(|put| put.lane);
    let mut rest = run.as_slice();
    while let Some((block, after)) = Draft::cut(queue, rest, bodies) {
        tables.put_block(txn, &block)?;
        rest = after;
    }
    Ok(())
}

/// Clears the bits of settled messages, row by row. What has no live bit is gone already.
fn settle(tables: &Tables, txn: &mut RwTxn<'_>, queue: QueueId, settles: &[Settle]) -> heed::Result<()> {
    let mut sorted = settles.to_vec();
    sorted.sort_unstable_by_key(|settle| (settle.lane, settle.seq));
    let mut rest = sorted.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let Some((key, mut row)) = tables.row_at(txn, queue, first.lane, first.seq)? else {
            rest = others;
            continue;
        };
        let last = row.last_covered(key);
        let of_row = rest.iter().take_while(|settle| settle.lane == key.lane && settle.seq <= last).count();
        let (mine, after) = rest.split_at(of_row);
        let before = row.live();
        for settle in mine {
            if let Some(offset) = key.offset(settle.seq) {
                row.remove(offset, settle.body_len);
            }
        }
        if row.live() < before {
            tables.update_row(txn, key, &row)?;
        }
        rest = after;
    }
    Ok(())
}
