//! What a look from outside must see, and what it must not do.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tempfile::TempDir;

use super::schema::{Key, seal_row};
use super::tables::Table;
use super::{DATA_FILE, LmdbEngine, LmdbOptions, Place, compact, copy, examine};
use crate::store::fixture::{all, define, done, drops, open, positions, puts, settles, work};
use crate::store::{Batch, Count, Define, Engine, QueueBatch, QueueId, Seq, StoreError};

fn key(queue: u64, first: Seq) -> Vec<u8> {
    Key { queue: QueueId(queue), lane: 0, first }.encode().to_vec()
}

/// A store with some of everything.
fn fill(dir: &Path) -> LmdbEngine {
    let engine = open(dir);
    let counts = vec![Count { seq: 3, lane: 0, failures: 1, acquired: 2 }];
    done(&engine, &define([Define::Put { key: b"k".to_vec(), value: b"v".to_vec() }, Define::NextQueueId(9)]));
    done(&engine, &work([QueueBatch { counts, ..puts(1, 1..=300, 100) }, puts(2, 1..=3, 100_000)]));
    done(&engine, &work([settles(1, 10..=20, 100), settles(2, [2], 100_000)]));
    done(&engine, &work([drops(1, 150, 200)]));
    engine
}

/// Changes or removes a row behind the engine's back.
pub(super) fn change(engine: &LmdbEngine, table: Table, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
    let mut txn = engine.env.write_txn().unwrap();
    let mut value = table.get(&txn, key).unwrap().unwrap_or_default().to_vec();
    change(&mut value);
    if value.is_empty() {
        table.delete(&mut txn, key).unwrap();
    } else {
        table.put(&mut txn, key, &value).unwrap();
    }
    txn.commit().unwrap();
}

#[test]
fn a_whole_store_has_no_findings_and_is_counted() {
    let dir = TempDir::new().unwrap();
    drop(fill(dir.path()));
    let report = examine(dir.path()).unwrap();
    assert_eq!((&report.findings, &report.notes), (&vec![], &vec![]));
    let one = report.queues[&QueueId(1)];
    assert_eq!((one.messages, one.octets), (300 - 11 - 50, (300 - 11 - 50) * 100));
    assert_eq!(report.queues[&QueueId(2)].messages, 2);
    assert_eq!((report.next_queue_id, report.definitions.len(), report.in_use), (9, 1, false));
    assert_eq!(report.used + report.free, report.file, "every page is accounted for");
}

#[test]
fn every_broken_rule_is_found() {
    type Break = (&'static str, &'static str, fn(&LmdbEngine));
    let broken: [Break; 12] = [
        ("checksum of an index row", "index row of queue 1", |e| {
            change(e, e.tables.index, &key(1, 1), |row| row[9] ^= 1);
        }),
        ("octets of an index row", "messages, octets and expiry", |e| {
            change(e, e.tables.index, &key(1, 1), |row| {
                row[15] ^= 1;
                seal_row(&key(1, 1), row);
            });
        }),
        ("index row without block", "has no block", |e| change(e, e.tables.blocks, &key(1, 1), Vec::clear)),
        ("block without index row", "has no index row", |e| change(e, e.tables.index, &key(1, 1), Vec::clear)),
        ("checksum of a block", "block of queue 2", |e| {
            change(e, e.tables.blocks, &key(2, 1), |row| row[1000] ^= 1);
        }),
        ("spans overlap", "reaches to", |e| {
            let mut row = e.tables.index.get(&e.env.read_txn().unwrap(), &key(2, 1)).unwrap().unwrap().to_vec();
            seal_row(&key(1, 2), &mut row);
            change(e, e.tables.index, &key(1, 2), |new| *new = row);
        }),
        ("count of a settled message", "has no message 15", |e| {
            let count = Count { seq: 15, lane: 0, failures: 1, acquired: 1 };
            done(e, &work([QueueBatch { counts: vec![count], ..QueueBatch::new(QueueId(1)) }]));
        }),
        ("checksum of counts", "counts", |e| change(e, e.tables.counts, &key(1, 0), |row| row[9] ^= 1)),
        ("marks", "marks", |e| change(e, e.tables.marks, &1u64.to_be_bytes(), |row| row.extend([1; 9]))),
        ("a hole", "hole", |e| change(e, e.tables.holes, &[1, 2, 3], |row| row.push(1))),
        ("a hole through live messages", "a hole cuts through", |e| {
            let until: &[u8] = &[1, 0, 0, 0, 0, 0, 0, 0, 5];
            change(e, e.tables.holes, &key(1, 1), |row| row.extend(until));
        }),
        ("clean", "meta: clean", |e| change(e, e.tables.meta, b"clean", |value| *value = vec![7])),
    ];
    for (what, told, harm) in broken {
        let dir = TempDir::new().unwrap();
        let engine = fill(dir.path());
        harm(&engine);
        drop(engine);
        let findings = examine(dir.path()).unwrap().findings;
        assert!(findings.iter().any(|line| line.contains(told)), "{what}: {findings:?}");
    }
}

#[test]
fn a_missing_store_is_not_made_by_looking_for_it() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(examine(dir.path()), Err(StoreError::Missing(_))));
    assert!(matches!(compact(&dir.path().join("none")), Err(StoreError::Missing(_))));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_copy_holds_the_same_and_no_free_pages() {
    let (dir, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    drop(fill(dir.path()));
    let original = copy(dir.path(), to.path()).unwrap();
    let (from, copied) = (examine(dir.path()).unwrap(), examine(to.path()).unwrap());
    assert_eq!((&copied.findings, &copied.queues), (&vec![], &from.queues));
    assert_eq!((copied.definitions, copied.free), (from.definitions, 0));
    assert!(copied.file < original.original && original.original == from.file);
    assert!(copy(dir.path(), to.path()).is_err(), "a copy is never overwritten");
    let (one, two) = (all(&open(dir.path()), 1, 0, 1 << 20), all(&open(to.path()), 1, 0, 1 << 20));
    assert_eq!(one, two);
}

#[test]
fn a_store_is_exchanged_only_while_nobody_looks() {
    let dir = TempDir::new().unwrap();
    let engine = fill(dir.path());
    assert!(matches!(Place::take(dir.path()), Err(StoreError::Locked(_))), "a broker runs");
    assert!(matches!(compact(dir.path()), Err(StoreError::Locked(_))));
    drop(engine);
    let place = Place::take(dir.path()).unwrap();
    assert!(matches!(examine(dir.path()), Err(StoreError::Locked(_))), "it is being exchanged");
    assert!(matches!(LmdbEngine::open(dir.path(), LmdbOptions::default()), Err(StoreError::Locked(_))));
    drop(place);
    assert_eq!(positions(&open(dir.path()), 2), [1, 3]);
}

#[test]
fn what_a_crash_left_unfinished_is_removed() {
    let dir = TempDir::new().unwrap();
    drop(fill(dir.path()));
    let half = dir.path().join("new");
    fs::create_dir(&half).unwrap();
    fs::write(half.join(DATA_FILE), b"half").unwrap();
    drop(open(dir.path()));
    assert!(!half.exists());
}

#[test]
fn compacting_keeps_what_is_damaged_and_whole_alike() {
    let dir = TempDir::new().unwrap();
    let engine = fill(dir.path());
    change(&engine, engine.tables.blocks, &key(2, 1), |row| row[1000] ^= 1);
    done(&engine, &work([drops(1, 1, 100)]));
    let recovered = engine.recover().unwrap();
    drop(engine);
    let (before, after) = compact(dir.path()).unwrap();
    assert!(after < before);
    let engine = open(dir.path());
    let compacted = engine.recover().unwrap();
    assert_eq!(format!("{:?}", compacted.queues), format!("{:?}", recovered.queues));
    done(&engine, &Batch { epoch: 1, queues: vec![puts(1, [1000], 5)], ..Batch::default() });
    assert_eq!(positions(&engine, 1).last(), Some(&1000));
}

#[test]
fn a_file_that_lmdb_could_not_bear_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(fill(dir.path()));
    let path = dir.path().join(DATA_FILE);
    let whole = fs::read(&path).unwrap();
    let [newest, _] = super::meta::read(&fs::File::open(&path).unwrap()).unwrap();
    let refused = |file: &[u8]| {
        fs::write(&path, file).unwrap();
        let opened =
            LmdbEngine::open(dir.path(), LmdbOptions { map_size: 1 << 30, sync: false, ..LmdbOptions::default() });
        assert!(matches!(opened, Err(StoreError::Damaged(_))), "{:?}", opened.map(|_| ()));
        match examine(dir.path()) {
            Ok(report) => assert!(!report.findings.is_empty()),
            Err(error) => assert!(matches!(error, StoreError::Damaged(_)), "{error}"),
        }
    };
    for len in [0, 100, 4096, 8191, 8192, 12_288, whole.len() / 2] {
        refused(&whole[..len]);
    }
    let names = usize::try_from(newest.main.root.unwrap()).unwrap();
    for (at, octet) in [(0, 0xFF), (10, 0x01), (12, 0xFF), (16, 0x03), (16, 0xFF)] {
        let mut file = whole.clone();
        file[names * 4096 + at] = octet;
        refused(&file);
    }
    for root in [0, 1] {
        let (mut magic, mut size, mut number) = (whole.clone(), whole.clone(), whole.clone());
        magic[root * 4096 + 16] ^= 1;
        size[root * 4096 + 16 + 24] ^= 1;
        number[root * 4096 + 16 + 128] ^= 4;
        for file in [magic, size, number] {
            refused(&file);
        }
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(positions(&open(dir.path()), 2), [1, 3]);
}

#[test]
fn no_flipped_bit_in_a_tree_page_panics() {
    let dir = TempDir::new().unwrap();
    drop(fill(dir.path()));
    let path = dir.path().join(DATA_FILE);
    let whole = fs::read(&path).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    for page in 0..whole.len() / 4096 {
        for at in (0..160).map(|at| page * 4096 + at) {
            for bit in [0x01, 0x80] {
                file.write_all_at(&[whole[at] ^ bit], at as u64).unwrap();
                // The walk only: LMDB itself must not be asked to follow such a tree.
                let read = fs::File::open(&path).unwrap();
                if let Ok([newest, ..]) = super::meta::read(&read) {
                    let _ = super::pages::survey(&read, &newest, super::pages::Depth::Everything);
                }
                file.write_all_at(&[whole[at]], at as u64).unwrap();
            }
        }
    }
    assert!(examine(dir.path()).unwrap().findings.is_empty());
}
