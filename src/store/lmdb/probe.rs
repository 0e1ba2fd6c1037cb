//! Rows as they stand on disk, for tests that damage a store; and what the disk under a store can do.
//!
//! Whole tables are taken out and put back, so that a test need not open a new environment for every kind of damage.
//! Deliberately absent: anything a broker could use.

use std::path::Path;

use super::schema;
use super::tables::{Table, Tables};
use super::{LmdbEngine, Ordering};
use crate::store::StoreError;

/// Names of the tables, in the order of [`LmdbEngine::tables`].
pub const TABLES: [&str; schema::DATABASES as usize] = [
    schema::META,
    schema::DEFINITIONS,
    schema::INDEX,
    schema::BLOCKS,
    schema::MARKS,
    schema::HOLES,
    schema::COUNTS,
    schema::BODIES,
    schema::SHARES,
];

/// Key and value of each row of a table, ascending by key.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Makes the checksum of a row right again, so that what it says is believed.
pub fn reseal(key: &[u8], value: &mut [u8]) {
    schema::seal_row(key, value);
}

/// Commits one row at a time to a new environment in `dir`, each synced before the next, while `go_on` says so; how many.
/// It is what a disk gives a broker that answers every change of its definitions by a commit.
pub fn synced_commits(dir: &Path, mut go_on: impl FnMut() -> bool) -> Result<u64, StoreError> {
    let env = super::open_env_sized(dir, 1 << 30, heed::EnvFlags::empty())?;
    let mut txn = env.write_txn()?;
    let table: heed::Database<heed::types::Bytes, heed::types::Bytes> = env.create_database(&mut txn, None)?;
    txn.commit()?;
    let mut commits = 0u64;
    while go_on() {
        let mut txn = env.write_txn()?;
        // About as long as a binding.
        table.put(&mut txn, &commits.to_be_bytes(), &[0; 64])?;
        txn.commit()?;
        commits = commits.saturating_add(1);
    }
    Ok(commits)
}

impl LmdbEngine {
    fn each_table(&self) -> [Table; TABLES.len()] {
        let Tables { schema: _, meta, definitions, index, blocks, marks, holes, counts, bodies, shares } = self.tables;
        [meta, definitions, index, blocks, marks, holes, counts, bodies, shares]
    }

    /// Everything that is stored.
    pub fn tables(&self) -> Result<Vec<Rows>, StoreError> {
        let txn = self.env.read_txn()?;
        let rows = |table: Table| -> Result<Rows, StoreError> {
            let rows = table.iter(&txn)?.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())));
            Ok(rows.collect::<heed::Result<_>>()?)
        };
        self.each_table().into_iter().map(rows).collect()
    }

    /// Replaces everything that is stored, and forgets that a commit may have failed. Keys that LMDB cannot take, and
    /// tables beyond those there are, are passed over.
    pub fn replace(&self, rows: &[Rows]) -> Result<(), StoreError> {
        let mut txn = self.env.write_txn()?;
        for (table, rows) in self.each_table().into_iter().zip(rows) {
            table.clear(&mut txn)?;
            for (key, value) in rows.iter().filter(|(key, _)| (1..=crate::store::MAX_KEY).contains(&key.len())) {
                table.put(&mut txn, key, value)?;
            }
        }
        txn.commit()?;
        self.sweeping.store(true, Ordering::Relaxed);
        self.failed.store(false, Ordering::Relaxed);
        Ok(())
    }
}
