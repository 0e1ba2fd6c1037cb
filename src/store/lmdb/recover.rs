//! What a store holds, found by reading index rows; blocks stay untouched.
//!
//! Invariants: nothing on disk makes this panic; what is damaged is named, never deleted; shared bodies are counted as the
//! index has them before anything is changed. Deliberately absent: the meaning of definitions.

use std::collections::HashMap;
use std::collections::btree_map::Entry;

use heed::{RoTxn, RwTxn};

use super::bodies::{self, Tally};
use super::counts;
use super::index::{IndexRow, MAX_SPAN};
use super::schema::{self, Hole, Key};
use super::tables::{Tables, in_hole};
use crate::store::{QueueId, Recovered, RecoveredLane, RecoveredQueue, Seq, StoreError};

/// Most lines about damage that are kept; a store that lost many pages must not fill memory with complaints.
const MOST_COMPLAINTS: usize = 1000;

/// Holes by lane; a dropped queue maps to `None`.
type Holes = HashMap<QueueId, Option<HashMap<u8, Vec<(Seq, Seq)>>>>;

/// Reads everything but messages; `true` beside it if references to shared bodies must be counted anew.
pub(super) fn recover(tables: &Tables, txn: &RoTxn<'_>) -> Result<(Recovered, bool), StoreError> {
    tables.next_body(txn)??;
    let mut out = Recovered {
        next_queue_id: tables.next_queue_id(txn)??,
        clean: tables.meta.get(txn, schema::META_CLEAN)? == Some(&[1]),
        ..Recovered::default()
    };
    for entry in tables.definitions.iter(txn)? {
        let (key, value) = entry?;
        out.definitions.push((key.to_vec(), value.to_vec()));
    }
    let holes = read_holes(tables, txn, &mut out)?;
    let tally = read_index(tables, txn, &holes, &mut out)?;
    let miscounted = bodies::miscounted(tables, txn, tally, |key, damage| {
        complain(&mut out, || format!("share {key:02x?}: {damage}"));
    })?;
    read_marks(tables, txn, &holes, &mut out)?;
    read_counts(tables, txn, &mut out)?;
    if let Some(highest) = out.queues.keys().chain(holes.keys()).max() {
        out.next_queue_id = out.next_queue_id.max(highest.0.saturating_add(1));
    }
    Ok((out, miscounted))
}

/// Makes a crash from here on visible to the next recovery, and counts references anew if `miscounted`. Writes nothing if
/// neither is needed. `true` if bodies are left to which nothing refers.
pub(super) fn begin_run(
    tables: &Tables,
    mut txn: RwTxn<'_>,
    found: &mut Recovered,
    miscounted: bool,
) -> heed::Result<bool> {
    let was_clean = tables.meta.get(&txn, schema::META_CLEAN)? == Some(&[1]);
    let orphans = miscounted && bodies::recount(tables, &mut txn)?;
    if was_clean || miscounted || !tables.marks.is_empty(&txn)? {
        tables.marks.clear(&mut txn)?;
        tables.meta.put(&mut txn, schema::META_CLEAN, &[0])?;
        txn.commit()?;
    }
    if !found.clean {
        found.queues.values_mut().for_each(|queue| queue.redelivered.clear());
    }
    Ok(orphans)
}

fn complain(out: &mut Recovered, line: impl FnOnce() -> String) {
    if out.damage.len() < MOST_COMPLAINTS {
        out.damage.push(line());
    }
}

fn queue_of(out: &mut Recovered, queue: QueueId) -> &mut RecoveredQueue {
    let entry = out.queues.entry(queue);
    let vacant = matches!(entry, Entry::Vacant(_));
    let queue = entry.or_default();
    if vacant {
        queue.next_seq = 1;
    }
    queue
}

fn read_holes(tables: &Tables, txn: &RoTxn<'_>, out: &mut Recovered) -> Result<Holes, StoreError> {
    let mut holes = Holes::new();
    for entry in tables.holes.iter(txn)? {
        let (key, value) = entry?;
        match schema::decode_hole(key, value) {
            Ok(Hole::Queue(queue)) => {
                holes.insert(queue, None);
            }
            Ok(Hole::Range { key, until }) => {
                if let Some(lanes) = holes.entry(key.queue).or_insert_with(|| Some(HashMap::new())) {
                    lanes.entry(key.lane).or_default().push((key.first, until));
                    let queue = queue_of(out, key.queue);
                    queue.next_seq = queue.next_seq.max(until);
                }
            }
            Err(damage) => complain(out, || format!("hole {key:02x?}: {damage}")),
        }
    }
    Ok(holes)
}

/// Counts the messages; returns the references to shared bodies, those of rows that are still to be removed too.
fn read_index(tables: &Tables, txn: &RoTxn<'_>, holes: &Holes, out: &mut Recovered) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    for entry in tables.index.iter(txn)? {
        let (octets, value) = entry?;
        let Some(key) = Key::decode(octets) else {
            complain(out, || format!("index row {octets:02x?}: not a key"));
            continue;
        };
        let row = IndexRow::decode(key, value);
        row.iter().flat_map(IndexRow::bodies).for_each(|body| tally.add(*body, 1));
        let lanes = match holes.get(&key.queue) {
            Some(None) => continue,
            Some(Some(lanes)) => lanes.get(&key.lane),
            None => None,
        };
        match row {
            Ok(row) if lanes.is_some_and(|holes| in_hole(holes, key, &row)) => {}
            Ok(row) => count(queue_of(out, key.queue), key, &row),
            Err(damage) => {
                let Key { queue, lane, first } = key;
                complain(out, || format!("index row of queue {}, lane {lane}, position {first}: {damage}", queue.0));
                let queue = queue_of(out, queue);
                queue.next_seq = queue.next_seq.max(key.seq(MAX_SPAN));
            }
        }
    }
    Ok(tally)
}

/// Adds a row's messages to its queue; rows come in ascending order of (lane, position).
fn count(queue: &mut RecoveredQueue, key: Key, row: &IndexRow) {
    queue.next_seq = queue.next_seq.max(row.last_covered(key).saturating_add(1));
    let mut live = row.live_offsets();
    let Some(first) = live.next() else { return };
    let last = key.seq(live.next_back().unwrap_or(first));
    match queue.lanes.last_mut() {
        Some(lane) if lane.lane == key.lane => {
            lane.count = lane.count.saturating_add(row.live().into());
            lane.bytes = lane.bytes.saturating_add(row.octets());
            lane.last = last;
        }
        _ => queue.lanes.push(RecoveredLane {
            lane: key.lane,
            count: row.live().into(),
            bytes: row.octets(),
            first: key.seq(first),
            last,
            head_expiry: row.earliest_expiry(),
        }),
    }
}

/// Counts of queues that hold nothing any more are of no interest.
fn read_counts(tables: &Tables, txn: &RoTxn<'_>, out: &mut Recovered) -> Result<(), StoreError> {
    counts::read(tables, txn, |row| match row {
        Ok((queue, counts)) => {
            if let Some(queue) = out.queues.get_mut(&queue) {
                queue.counts.extend(counts);
            }
        }
        Err((key, damage)) => complain(out, || format!("counts {key:02x?}: {damage}")),
    })?;
    Ok(())
}

fn read_marks(tables: &Tables, txn: &RoTxn<'_>, holes: &Holes, out: &mut Recovered) -> Result<(), StoreError> {
    for entry in tables.marks.iter(txn)? {
        let (key, value) = entry?;
        match schema::decode_marks(key, value) {
            Ok((queue, _)) if holes.get(&queue).is_some_and(Option::is_none) => {}
            Ok((queue, positions)) => queue_of(out, queue).redelivered = positions,
            Err(damage) => {
                // Which messages were delivered is not known any more: the same as after a crash.
                out.clean = false;
                complain(out, || format!("marks {key:02x?}: {damage}"));
            }
        }
    }
    Ok(())
}
