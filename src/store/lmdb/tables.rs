//! The named databases, and the look-ups that several operations share.
//!
//! Touches LMDB through a transaction of the caller's. Invariant: an index row and its block are written and deleted
//! together. Deliberately absent: beginning and ending transactions, but for the one that creates the databases.

use std::ops::Bound;

use heed::types::Bytes;
use heed::{Database, Env, RoTxn, RwTxn, WithoutTls};

use super::blocks::Draft;
use super::bodies::{self, BodyId};
use super::index::{IndexRow, MAX_SPAN};
use super::schema::{self, Hole, Key};
use crate::store::{Generation, QueueId, Seq, StoreError};

pub(super) type Table = Database<Bytes, Bytes>;

/// Bounds of a scan over keys.
pub(super) type Span<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Handles of all named databases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    /// The version that has written them. Where it is an older one, a store that is only looked at lacks some: nobody may
    /// ask for those.
    pub(super) schema: u32,
    pub(super) meta: Table,
    pub(super) definitions: Table,
    pub(super) index: Table,
    pub(super) blocks: Table,
    pub(super) marks: Table,
    pub(super) holes: Table,
    pub(super) counts: Table,
    pub(super) bodies: Table,
    pub(super) shares: Table,
}

impl Tables {
    /// Opens the databases, creating them in a new store; refuses a store with another layout before changing it.
    pub(super) fn open(env: &Env<WithoutTls>) -> Result<Self, StoreError> {
        let mut txn = env.write_txn()?;
        let meta: Table = env.create_database(&mut txn, Some(schema::META))?;
        match meta.get(&txn, schema::META_SCHEMA)?.map(<[u8; 4]>::try_from) {
            Some(Ok(found)) => match u32::from_be_bytes(found) {
                schema::SCHEMA => {}
                // What is new since are databases and rows that such a store does not have: they start empty.
                schema::OLDEST_SCHEMA..schema::SCHEMA => {
                    meta.put(&mut txn, schema::META_SCHEMA, &schema::SCHEMA.to_be_bytes())?;
                }
                found => return Err(StoreError::Schema { found, expected: schema::SCHEMA }),
            },
            Some(Err(_)) => return Err(StoreError::Damaged("the schema version is not a number".to_owned())),
            None if meta.is_empty(&txn)? => {
                meta.put(&mut txn, schema::META_SCHEMA, &schema::SCHEMA.to_be_bytes())?;
                meta.put(&mut txn, schema::META_CLEAN, &[1])?;
            }
            None => return Err(StoreError::Damaged("the schema version is missing".to_owned())),
        }
        let mut open = |name| env.create_database(&mut txn, Some(name));
        let tables = Self {
            schema: schema::SCHEMA,
            meta,
            definitions: open(schema::DEFINITIONS)?,
            index: open(schema::INDEX)?,
            blocks: open(schema::BLOCKS)?,
            marks: open(schema::MARKS)?,
            holes: open(schema::HOLES)?,
            counts: open(schema::COUNTS)?,
            bodies: open(schema::BODIES)?,
            shares: open(schema::SHARES)?,
        };
        txn.commit()?;
        Ok(tables)
    }

    /// The databases of a store that is only looked at; `None` if it never had any. One that an older version has left is
    /// read as it is: see [`Tables::schema`].
    pub(super) fn of_reader(env: &Env<WithoutTls>, txn: &RoTxn<'_, WithoutTls>) -> Result<Option<Self>, StoreError> {
        let Some(meta) = env.open_database::<Bytes, Bytes>(txn, Some(schema::META))? else { return Ok(None) };
        let schema = match meta.get(txn, schema::META_SCHEMA)?.map(<[u8; 4]>::try_from) {
            Some(Ok(found)) => u32::from_be_bytes(found),
            _ => return Err(StoreError::Damaged("the schema version is not a number".to_owned())),
        };
        if !(schema::OLDEST_SCHEMA..=schema::SCHEMA).contains(&schema) {
            return Err(StoreError::Schema { found: schema, expected: schema::SCHEMA });
        }
        let open = |name, since| {
            if schema < since {
                return Ok(meta);
            }
            let table: Option<Table> = env.open_database(txn, Some(name))?;
            table.ok_or_else(|| StoreError::Damaged(format!("there is no table {name:?}")))
        };
        Ok(Some(Self {
            schema,
            meta,
            definitions: open(schema::DEFINITIONS, 1)?,
            index: open(schema::INDEX, 1)?,
            blocks: open(schema::BLOCKS, 1)?,
            marks: open(schema::MARKS, 1)?,
            holes: open(schema::HOLES, 1)?,
            counts: open(schema::COUNTS, schema::COUNTS_SINCE)?,
            bodies: open(schema::BODIES, schema::BODIES_SINCE)?,
            shares: open(schema::SHARES, schema::BODIES_SINCE)?,
        }))
    }

    /// Octets of the pages that hold something, but for those of the list of free pages.
    pub(super) fn octets(&self, txn: &RoTxn<'_>) -> heed::Result<u64> {
        let mut octets = 0u64;
        let Self { schema: _, meta, definitions, index, blocks, marks, holes, counts, bodies, shares } = self;
        for table in [meta, definitions, index, blocks, marks, holes, counts, bodies, shares] {
            let found = table.stat(txn)?;
            let pages = found.branch_pages.saturating_add(found.leaf_pages).saturating_add(found.overflow_pages);
            octets = octets.saturating_add((pages as u64).saturating_mul(found.page_size.into()));
        }
        Ok(octets)
    }

    /// The lowest queue id that was never handed out.
    pub(super) fn next_queue_id(&self, txn: &RoTxn<'_>) -> heed::Result<Result<u64, StoreError>> {
        Ok(match self.meta.get(txn, schema::META_NEXT_QUEUE_ID)?.map(<[u8; 8]>::try_from) {
            None => Ok(1),
            Some(Ok(id)) if u64::from_be_bytes(id) <= schema::HIGHEST => Ok(u64::from_be_bytes(id)),
            Some(_) => Err(StoreError::Damaged("the next queue id is not a number".to_owned())),
        })
    }

    /// The lowest id of a shared body that was never given out.
    pub(super) fn next_body(&self, txn: &RoTxn<'_>) -> heed::Result<Result<BodyId, StoreError>> {
        Ok(match self.meta.get(txn, schema::META_NEXT_BODY)?.map(<[u8; 8]>::try_from) {
            None => Ok(1),
            Some(Ok(id)) if u64::from_be_bytes(id) <= schema::HIGHEST.saturating_add(1) => Ok(u64::from_be_bytes(id)),
            Some(_) => Err(StoreError::Damaged("the next id of a shared body is not a number".to_owned())),
        })
    }

    /// The generation of the redo log whose records are not in the store yet, if there ever was one.
    pub(super) fn generation(&self, txn: &RoTxn<'_>) -> Result<Option<Generation>, StoreError> {
        let row = self.meta.get(txn, schema::META_GENERATION)?.map(schema::decode_generation).transpose();
        row.map_err(|damage| StoreError::Damaged(format!("the generation of the redo log: {damage}")))
    }

    /// Writes a block, straight from its messages' records, and its index row.
    pub(super) fn put_block(&self, txn: &mut RwTxn<'_>, draft: &Draft<'_>) -> heed::Result<()> {
        let key = draft.key.encode();
        self.blocks.put_reserved(txn, &key, draft.len(), |space| draft.write(space))?;
        self.index.put(txn, &key, &draft.index_row().encode(draft.key))
    }

    /// The undamaged index row that covers a position, if there is one.
    pub(super) fn row_at(
        &self,
        txn: &RoTxn<'_>,
        queue: QueueId,
        lane: u8,
        seq: Seq,
    ) -> heed::Result<Option<(Key, IndexRow)>> {
        // Mostly the first one looked at. A damaged one between must not hide it, wherever its key says it stands.
        let farthest = Key { queue, lane, first: seq.saturating_sub(MAX_SPAN.into()) }.encode();
        let wanted = Key { queue, lane, first: seq }.encode();
        let span: Span<'_> = (Bound::Included(&farthest), Bound::Included(&wanted));
        for entry in self.index.rev_range(txn, &span)? {
            let (key, value) = entry?;
            let Some(key) = Key::decode(key) else { continue };
            if let Ok(row) = IndexRow::decode(key, value) {
                return Ok((seq <= row.last_covered(key)).then_some((key, row)));
            }
        }
        Ok(None)
    }

    /// Writes a changed index row back; one without messages goes, and its block with it.
    pub(super) fn update_row(&self, txn: &mut RwTxn<'_>, key: Key, row: &IndexRow) -> heed::Result<()> {
        if row.live() == 0 {
            return self.delete_row(txn, &key.encode(), row.bodies());
        }
        self.index.put(txn, &key.encode(), &row.encode(key))
    }

    /// Deletes an index row and its block, which referred to these bodies.
    pub(super) fn delete_row(&self, txn: &mut RwTxn<'_>, key: &[u8], bodies: &[BodyId]) -> heed::Result<()> {
        self.index.delete(txn, key)?;
        self.blocks.delete(txn, key)?;
        bodies::release(self, txn, bodies)
    }

    /// Whether a queue is dropped and its rows are not all removed yet.
    pub(super) fn is_dropped(&self, txn: &RoTxn<'_>, queue: QueueId) -> heed::Result<bool> {
        let key = queue.0.to_be_bytes();
        let row = self.holes.get(txn, &key)?;
        Ok(row.is_some_and(|row| schema::decode_hole(&key, row).is_ok()))
    }

    /// Ranges of a lane whose rows are not all removed yet, as (from, until).
    pub(super) fn holes_in_lane(&self, txn: &RoTxn<'_>, queue: QueueId, lane: u8) -> heed::Result<Vec<(Seq, Seq)>> {
        let mut prefix = [0; 9];
        prefix[..8].copy_from_slice(&queue.0.to_be_bytes());
        prefix[8] = lane;
        let mut out = Vec::new();
        for entry in self.holes.prefix_iter(txn, &prefix)? {
            let (key, value) = entry?;
            if let Ok(Hole::Range { key, until }) = schema::decode_hole(key, value) {
                out.push((key.first, until));
            }
        }
        Ok(out)
    }
}

/// Whether one of these holes covers the whole row.
pub(super) fn in_hole(holes: &[(Seq, Seq)], key: Key, row: &IndexRow) -> bool {
    holes.iter().any(|(from, until)| *from <= key.first && row.last_covered(key) < *until)
}
