//! Bodies that several queues share: written once by the commit that keeps them, and removed with the last block that
//! refers to them.
//!
//! What is shared is the whole record, for what goes to several queues is one record. An index row names the bodies its
//! block refers to, and a row of `shares` counts these references to one body; both change in the transactions that
//! write and delete blocks, so that no crash comes between. Rot may: [`miscounted`] compares the counts with the index
//! at every start, and [`recount`] makes them anew where they differ.
//!
//! Invariants: a body is removed only by the transaction that removes its last reference, or by a sweep after a recount
//! has found none; a count that cannot be read removes nothing; ids are never given out twice. Deliberately absent:
//! sharing between two commits: there a body is written twice.

use std::collections::HashMap;
use std::io::Write as _;

use heed::{RoTxn, RwTxn};
use rustc_hash::FxHashMap;

use super::index::IndexRow;
use super::schema::{self, Damage, HIGHEST, Key, Octets, ROW_VERSION, checksum_of, open_row, seal_row};
use super::tables::Tables;
use crate::store::{Put, QueueBatch, sharing};

/// Name of a body within a store; ascends, and is never given out twice.
pub(super) type BodyId = u64;

/// Octets of a row of `bodies` before the record.
const HEADER: usize = 8;

/// The bodies that one commit shares, by the identity of their records.
#[derive(Default)]
pub(super) struct Bodies(FxHashMap<usize, BodyId>);

impl Bodies {
    /// Writes every record that several of these queues keep, with the number of its references.
    pub(super) fn write(tables: &Tables, txn: &mut RwTxn<'_>, work: &[&QueueBatch]) -> heed::Result<Self> {
        let mut bodies = Self::default();
        let counts = if work.len() > 1 { sharing::counts(work.iter().copied()) } else { FxHashMap::default() };
        if counts.is_empty() {
            return Ok(bodies);
        }
        let mut id = next_id(tables, txn)?;
        for put in work.iter().flat_map(|work| &work.puts) {
            let Some(record) = sharing::identity(put).filter(|record| !bodies.0.contains_key(record)) else { continue };
            let Some(count) = counts.get(&record).filter(|_| id <= HIGHEST) else { continue };
            let (key, octets) = (id.to_be_bytes(), put.message.record());
            let header = header(id, octets);
            tables.bodies.put_reserved(txn, &key, HEADER.saturating_add(octets.len()), |space| {
                space.write_all(&header)?;
                space.write_all(octets)
            })?;
            tables.shares.put(txn, &key, &encode_share(id, *count))?;
            bodies.0.insert(record, id);
            id = id.saturating_add(1);
        }
        tables.meta.put(txn, schema::META_NEXT_BODY, &id.to_be_bytes())?;
        Ok(bodies)
    }

    /// The body that stands for this message's record, if there is one.
    pub(super) fn of(&self, put: &Put) -> Option<BodyId> {
        if self.0.is_empty() { None } else { self.0.get(&sharing::identity(put)?).copied() }
    }
}

/// The id for the next body: above every one there is, whatever rot has made of the number in `meta`.
fn next_id(tables: &Tables, txn: &RoTxn<'_>) -> heed::Result<BodyId> {
    let noted = tables.next_body(txn)?.unwrap_or(1);
    let last = tables.bodies.last(txn)?.and_then(|(key, _)| decode_id(key));
    Ok(noted.max(last.map_or(1, |last| last.saturating_add(1))))
}

/// What stands before the record in a row of `bodies`.
fn header(id: BodyId, record: &[u8]) -> [u8; HEADER] {
    let front = [ROW_VERSION, 0, 0, 0];
    let sum = checksum_of(&id.to_be_bytes(), &front, record).to_be_bytes();
    [front[0], front[1], front[2], front[3], sum[0], sum[1], sum[2], sum[3]]
}

/// The key of a row of `bodies` or `shares`; `None` also for what exceeds [`HIGHEST`].
pub(super) fn decode_id(key: &[u8]) -> Option<BodyId> {
    let id = <[u8; 8]>::try_from(key).map(u64::from_be_bytes).ok()?;
    (id <= HIGHEST).then_some(id)
}

fn encode_share(id: BodyId, count: u64) -> Vec<u8> {
    let mut out = vec![ROW_VERSION, 0, 0, 0, 0, 0, 0, 0];
    out.extend_from_slice(&count.to_be_bytes());
    seal_row(&id.to_be_bytes(), &mut out);
    out
}

/// A row of `shares`: the body and how many references there are to it.
pub(super) fn decode_share(key: &[u8], value: &[u8]) -> Result<(BodyId, u64), Damage> {
    let (_, mut rest) = open_row(key, value)?;
    let id = decode_id(key).ok_or(Damage::Inconsistent)?;
    let count = rest.u64().filter(|_| rest.0.is_empty()).ok_or(Damage::Length)?;
    Ok((id, count))
}

/// The record in a row of `bodies`.
pub(super) fn decode_body<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Damage> {
    let (_, Octets(record)) = open_row(key, value)?;
    decode_id(key).map(|_| record).ok_or(Damage::Inconsistent)
}

/// A shared record; `None` if it is missing or damaged.
pub(super) fn get<'a>(tables: &Tables, txn: &'a RoTxn<'_>, id: BodyId) -> heed::Result<Option<&'a [u8]>> {
    let key = id.to_be_bytes();
    Ok(tables.bodies.get(txn, &key)?.and_then(|value| decode_body(&key, value).ok()))
}

/// The same for one whose checksum is of no interest; `None` if it is missing.
pub(super) fn unverified<'a>(tables: &Tables, txn: &'a RoTxn<'_>, id: BodyId) -> heed::Result<Option<&'a [u8]>> {
    Ok(tables.bodies.get(txn, &id.to_be_bytes())?.and_then(|value| value.get(HEADER..)))
}

/// Takes references back; a body without any goes.
pub(super) fn release(tables: &Tables, txn: &mut RwTxn<'_>, bodies: &[BodyId]) -> heed::Result<()> {
    for id in bodies {
        let key = id.to_be_bytes();
        match tables.shares.get(txn, &key)?.map(|value| decode_share(&key, value)) {
            Some(Ok((_, 0 | 1))) => remove(tables, txn, *id)?,
            Some(Ok((_, count))) => tables.shares.put(txn, &key, &encode_share(*id, count.saturating_sub(1)))?,
            // Nobody knows who else refers to it; the next start counts.
            Some(Err(_)) | None => {}
        }
    }
    Ok(())
}

fn remove(tables: &Tables, txn: &mut RwTxn<'_>, id: BodyId) -> heed::Result<()> {
    tables.shares.delete(txn, &id.to_be_bytes())?;
    tables.bodies.delete(txn, &id.to_be_bytes())?;
    Ok(())
}

/// References by body, condensed to one number: equal for equal references, in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally(u64);

impl Tally {
    /// Adds references to a body.
    pub(super) fn add(&mut self, id: BodyId, count: u64) {
        // Mixed well (as SplitMix64 does), so that errors do not cancel each other out.
        let mut mixed = id.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 = self.0.wrapping_add((mixed ^ (mixed >> 31)).wrapping_mul(count));
    }
}

/// Whether the counts are not those of the index, or bodies wait to be swept. Reads no body.
pub(super) fn miscounted(
    tables: &Tables,
    txn: &RoTxn<'_>,
    index: Tally,
    mut damaged: impl FnMut(&[u8], Damage),
) -> heed::Result<bool> {
    let (mut tally, mut wrong) = (Tally::default(), tables.shares.len(txn)? != tables.bodies.len(txn)?);
    for entry in tables.shares.iter(txn)? {
        let (key, value) = entry?;
        match decode_share(key, value) {
            Ok((id, count)) => {
                tally.add(id, count);
                wrong |= count == 0;
            }
            Err(damage) => {
                damaged(key, damage);
                wrong = true;
            }
        }
    }
    Ok(wrong || tally != index)
}

/// Counts all references anew. What nothing refers to has a count of 0 afterwards, for [`sweep`]; `true` if there is
/// such a body. While an index row is damaged, what it refers to is not known, and no count is lowered.
pub(super) fn recount(tables: &Tables, txn: &mut RwTxn<'_>) -> heed::Result<bool> {
    let (mut found, mut certain) = (HashMap::<BodyId, u64>::new(), true);
    for entry in tables.index.iter(txn)? {
        let (key, value) = entry?;
        match Key::decode(key).map(|key| IndexRow::decode(key, value)) {
            Some(Ok(row)) => {
                for id in row.bodies() {
                    let count = found.entry(*id).or_default();
                    *count = count.saturating_add(1);
                }
            }
            _ => certain = false,
        }
    }
    let (mut wrong, mut orphans) = (Vec::new(), false);
    for entry in tables.bodies.lazily_decode_data().iter(txn)? {
        let Some(id) = decode_id(entry?.0) else { continue };
        let key = id.to_be_bytes();
        let said = tables.shares.get(txn, &key)?.and_then(|value| decode_share(&key, value).ok()).map(|(_, n)| n);
        let counted = found.get(&id).copied().unwrap_or(0);
        let count = if certain { counted } else { counted.max(said.unwrap_or(1)) };
        orphans |= count == 0;
        if said != Some(count) {
            wrong.push((id, count));
        }
    }
    for (id, count) in wrong {
        tables.shares.put(txn, &id.to_be_bytes(), &encode_share(id, count))?;
    }
    let mut idle = Vec::new();
    for entry in tables.shares.iter(txn)? {
        let (key, _) = entry?;
        if tables.bodies.get(txn, key)?.is_none() {
            idle.push(key.to_vec());
        }
    }
    for key in idle {
        tables.shares.delete(txn, &key)?;
    }
    Ok(orphans)
}

/// Removes at most `removals` bodies whose count is 0; `true` if some are left.
pub(super) fn sweep(tables: &Tables, txn: &mut RwTxn<'_>, removals: usize) -> heed::Result<bool> {
    let mut doomed = Vec::new();
    for entry in tables.shares.iter(txn)? {
        let (key, value) = entry?;
        if let Ok((id, 0)) = decode_share(key, value) {
            if doomed.len() == removals {
                break;
            }
            doomed.push(id);
        }
    }
    let left = doomed.len() == removals;
    for id in doomed {
        remove(tables, txn, id)?;
    }
    Ok(left)
}
