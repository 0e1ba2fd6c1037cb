//! What only a store on disk can show: damage, locks, schema, a full map, readers beside the writer.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use heed::EnvFlags;
use tempfile::TempDir;

use super::schema::Key;
use super::tables::Table;
use super::{LmdbEngine, LmdbOptions};
use crate::store::fixture::{define, done, drops, open, positions, puts, settles, work};
use crate::store::{Allowance, Batch, Commit, Count, Define, Engine, Held, QueueBatch, QueueId, Seq, StoreError};

/// The stored key of a block of lane 0.
fn key(queue: u64, first: Seq) -> Vec<u8> {
    Key { queue: QueueId(queue), lane: 0, first }.encode().to_vec()
}

/// Changes a row behind the engine's back.
fn change(engine: &LmdbEngine, table: Table, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
    let mut txn = engine.env.write_txn().unwrap();
    let mut value = table.get(&txn, key).unwrap().unwrap_or_default().to_vec();
    change(&mut value);
    table.put(&mut txn, key, &value).unwrap();
    txn.commit().unwrap();
}

fn rows(engine: &LmdbEngine, table: Table) -> u64 {
    table.len(&engine.env.read_txn().unwrap()).unwrap()
}

#[test]
fn the_directory_is_private_and_locked() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("a/b");
    let engine = open(&dir);
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let Err(StoreError::Locked(text)) = LmdbEngine::open(&dir, LmdbOptions::default()) else {
        panic!("a second engine got in");
    };
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    drop(engine);
    drop(open(&dir));
}

#[test]
fn a_store_that_waits_for_the_disk_has_no_flags() {
    let dir = TempDir::new().unwrap();
    let engine = LmdbEngine::open(dir.path(), LmdbOptions::default()).unwrap();
    let forbidden = EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC | EnvFlags::WRITE_MAP | EnvFlags::MAP_ASYNC;
    assert_eq!(engine.env.get_flags().unwrap() & forbidden.bits(), 0);
    assert!(engine.env.info().map_size >= 1 << 30);
}

#[test]
fn another_schema_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    change(&engine, engine.tables.meta, b"schema", |value| *value = 7u32.to_be_bytes().to_vec());
    drop(engine);
    for _ in 0..2 {
        let refused =
            LmdbEngine::open(dir.path(), LmdbOptions { map_size: 1 << 30, sync: false, ..LmdbOptions::default() });
        assert!(matches!(refused, Err(StoreError::Schema { found: 7, expected: 3 })), "{refused:?}");
    }
}

/// Copies a store as version 1 would have written it: another number, and no database of counts.
fn as_first_schema(from: &LmdbEngine, dir: &Path) {
    let env = super::open_env_sized(dir, 1 << 30, EnvFlags::NO_SYNC).unwrap();
    let (reading, mut txn) = (from.env.read_txn().unwrap(), env.write_txn().unwrap());
    let tables = from.tables;
    for (name, table) in [
        ("meta", tables.meta),
        ("definitions", tables.definitions),
        ("index", tables.index),
        ("blocks", tables.blocks),
        ("marks", tables.marks),
        ("holes", tables.holes),
    ] {
        let copy: Table = env.create_database(&mut txn, Some(name)).unwrap();
        for row in table.iter(&reading).unwrap() {
            let (key, value) = row.unwrap();
            copy.put(&mut txn, key, if key == b"schema" { &[0, 0, 0, 1] } else { value }).unwrap();
        }
    }
    txn.commit().unwrap();
}

#[test]
fn a_store_of_the_first_schema_is_taken_over() {
    let (dir, old) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let engine = open(dir.path());
    done(&engine, &work([puts(1, 1..=3, 10)]));
    as_first_schema(&engine, old.path());
    drop(engine);
    let engine = open(old.path());
    assert_eq!(positions(&engine, 1), [1, 2, 3]);
    let counts = vec![Count { seq: 2, lane: 0, failures: 1, acquired: 1 }];
    done(&engine, &work([QueueBatch { counts: counts.clone(), ..QueueBatch::new(QueueId(1)) }]));
    drop(engine);
    let engine = open(old.path());
    assert_eq!(engine.recover().unwrap().queues[&QueueId(1)].counts, counts);
    let written = engine.tables.meta.get(&engine.env.read_txn().unwrap(), b"schema").unwrap().map(<[u8]>::to_vec);
    assert_eq!(written, Some(vec![0, 0, 0, 3]));
}

#[test]
fn damaged_counts_are_reported_and_start_anew() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    let count = |seq| Count { seq, lane: 0, failures: 1, acquired: 1 };
    done(&engine, &work([QueueBatch { counts: vec![count(1), count(70)], ..puts(1, 1..=100, 10) }]));
    change(&engine, engine.tables.counts, &key(1, 0), |row| row[9] ^= 1);
    let recovered = engine.recover().unwrap();
    assert_eq!((recovered.queues[&QueueId(1)].counts.clone(), recovered.damage.len()), (vec![count(70)], 1));
    done(&engine, &work([QueueBatch { counts: vec![count(2)], ..QueueBatch::new(QueueId(1)) }]));
    let recovered = engine.recover().unwrap();
    assert_eq!((recovered.queues[&QueueId(1)].counts.clone(), recovered.damage.len()), (vec![count(2), count(70)], 0));
}

#[test]
fn a_store_without_schema_is_not_taken_for_a_new_one() {
    for value in [None, Some(b"one".as_slice())] {
        let dir = TempDir::new().unwrap();
        let engine = open(dir.path());
        let mut txn = engine.env.write_txn().unwrap();
        match value {
            None => assert!(engine.tables.meta.delete(&mut txn, b"schema").unwrap()),
            Some(value) => engine.tables.meta.put(&mut txn, b"schema", value).unwrap(),
        }
        txn.commit().unwrap();
        drop(engine);
        let refused =
            LmdbEngine::open(dir.path(), LmdbOptions { map_size: 1 << 30, sync: false, ..LmdbOptions::default() });
        assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
    }
}

#[test]
fn a_damaged_block_is_counted_and_passed_over() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work([puts(1, 1..=384, 100)]));
    done(&engine, &work([settles(1, 129..=139, 100)]));
    change(&engine, engine.tables.blocks, &key(1, 129), |block| block[5000] ^= 1);
    let page = engine.read(QueueId(1), 0, 1, 1000, usize::MAX).unwrap();
    assert_eq!((page.damaged, page.next), (117, None));
    let expected: Vec<Seq> = (1..=128).chain(257..=384).collect();
    assert_eq!(page.messages.iter().map(|stored| stored.seq).collect::<Vec<_>>(), expected);
    let page = engine.read(QueueId(1), 0, 250, 258, usize::MAX).unwrap();
    assert_eq!((page.damaged, page.messages.len()), (7, 1), "only the asked-for range is counted");
    assert_eq!(engine.recover().unwrap().queues[&QueueId(1)].lanes[0].count, 373, "recovery reads no blocks");
    // A purge through a damaged block still ends with right counts.
    done(&engine, &work([drops(1, 1, 200)]));
    assert_eq!(engine.recover().unwrap().queues[&QueueId(1)].lanes[0].count, 185);
    done(&engine, &work([drops(1, 1, 300)]));
    assert_eq!(positions(&engine, 1), (300..=384).collect::<Vec<_>>());
}

#[test]
fn a_missing_block_is_damage_too() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work([puts(1, 1..=3, 10)]));
    let mut txn = engine.env.write_txn().unwrap();
    assert!(engine.tables.blocks.delete(&mut txn, &key(1, 1)).unwrap());
    txn.commit().unwrap();
    let page = engine.read(QueueId(1), 0, 0, 10, 100).unwrap();
    assert_eq!((page.messages.len(), page.damaged, page.next), (0, 3, None));
}

#[test]
fn a_damaged_index_row_is_set_aside() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work([puts(1, 1..=384, 100), puts(2, [5], 1)]));
    change(&engine, engine.tables.index, &key(1, 129), |row| row[26] ^= 1);
    change(&engine, engine.tables.index, &key(2, 5), |row| row.truncate(3));
    drop(engine);
    let engine = open(dir.path());
    let recovered = engine.recover().unwrap();
    assert_eq!(recovered.damage.len(), 2);
    assert!(recovered.damage[0].contains("queue 1, lane 0, position 129"), "{:?}", recovered.damage);
    let queue = &recovered.queues[&QueueId(1)];
    assert_eq!((queue.lanes[0].count, queue.lanes[0].last), (256, 384));
    assert!(queue.next_seq > 129 + 1000, "nothing is written over the damaged row");
    assert!(recovered.queues[&QueueId(2)].lanes.is_empty());
    let expected: Vec<Seq> = (1..=128).chain(257..=384).collect();
    assert_eq!(positions(&engine, 1), expected);
    done(&engine, &work([settles(1, 120..=140, 100)]));
    done(&engine, &work([drops(1, 100, 260)]));
    assert_eq!(positions(&engine, 1), (1..100).chain(260..=384).collect::<Vec<_>>());
    assert_eq!(rows(&engine, engine.tables.blocks), 4, "damaged rows are kept");
    done(&engine, &define([Define::DropQueue { queue: QueueId(1) }]));
    assert_eq!(rows(&engine, engine.tables.blocks), 1, "until their queue goes");
}

#[test]
fn a_damaged_row_does_not_hide_the_one_it_stands_in() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work([puts(1, 1..=100, 10)]));
    // The key of some other row has rotted and stands in the middle of this one.
    change(&engine, engine.tables.index, &key(1, 50), |row| row.extend([1, 0, 0, 1]));
    assert_eq!(engine.recover().unwrap().damage.len(), 1);
    let page = engine.read(QueueId(1), 0, 60, Seq::MAX, 1 << 20).unwrap();
    assert_eq!((page.messages.len(), page.damaged), (41, 0));
    done(&engine, &work([settles(1, [70, 80], 10)]));
    assert_eq!(positions(&engine, 1).len(), 98, "acknowledgements reach it too");
    done(&engine, &work([drops(1, 90, 101)]));
    assert_eq!(positions(&engine, 1).len(), 87);
}

#[test]
fn a_damaged_removal_removes_nothing() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work([puts(1, 1..=3, 10)]));
    change(&engine, engine.tables.holes, &1u64.to_be_bytes(), |row| row.extend([2, 0, 0, 0, 9, 9, 9, 9]));
    assert_eq!(engine.recover().unwrap().damage.len(), 1);
    done(&engine, &work([puts(1, [4], 10)]));
    assert_eq!(positions(&engine, 1), [1, 2, 3, 4]);
    assert!(!engine.sweep().unwrap(), "there is nothing to sweep that can be read");
    assert_eq!(positions(&engine, 1), [1, 2, 3, 4]);
}

#[test]
fn nothing_beyond_belief_takes_the_last_position_or_id() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work([puts(1, [1], 10)]));
    change(&engine, engine.tables.index, &key(1, Seq::MAX - 5), |row| row.extend([1, 0, 0, 1]));
    change(&engine, engine.tables.index, &key(u64::MAX, 1), |row| row.extend([1, 0, 0, 1]));
    change(&engine, engine.tables.holes, &u64::MAX.to_be_bytes(), |row| row.push(1));
    let recovered = engine.recover().unwrap();
    assert_eq!(recovered.damage.len(), 3);
    assert_eq!((recovered.next_queue_id, recovered.queues[&QueueId(1)].next_seq), (2, 2));
    change(&engine, engine.tables.meta, b"next_queue_id", |id| *id = u64::MAX.to_be_bytes().to_vec());
    assert!(matches!(engine.recover(), Err(StoreError::Damaged(_))));
}

#[test]
fn strange_rows_are_reported_and_harm_nothing() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work([puts(1, 1..=3, 10)]));
    change(&engine, engine.tables.index, b"odd", |row| row.push(1));
    change(&engine, engine.tables.index, &[0; 9], |row| row.push(1));
    change(&engine, engine.tables.index, &[0xFF; 17], |row| row.push(1));
    change(&engine, engine.tables.holes, b"odd", |row| row.push(1));
    change(&engine, engine.tables.marks, b"odd", |row| row.push(1));
    let recovered = engine.recover().unwrap();
    assert_eq!(recovered.damage.len(), 5, "{:?}", recovered.damage);
    assert!(!recovered.clean, "with damaged marks nobody knows what was delivered");
    assert_eq!(positions(&engine, 1), [1, 2, 3]);
    assert!(engine.sweep().is_ok());
}

#[test]
fn damaged_marks_count_as_a_crash() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    let marked = |queue: u64| QueueBatch { redelivered: vec![1], ..puts(queue, [1], 1) };
    done(&engine, &Batch { clean_shutdown: true, ..work([marked(1), marked(2)]) });
    change(&engine, engine.tables.marks, &1u64.to_be_bytes(), |row| row[9] ^= 1);
    let recovered = engine.recover().unwrap();
    assert!(!recovered.clean);
    assert_eq!(recovered.queues[&QueueId(2)].redelivered, [0; 0]);
    assert_eq!(rows(&engine, engine.tables.marks), 0);
}

#[test]
fn removals_are_bounded_and_swept_later() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).with_removals(10);
    for seq in 1..=100 {
        done(&engine, &work([puts(1, [seq], 1), puts(2, [seq], 1)]));
    }
    done(&engine, &work([drops(1, 1, 91)]));
    assert_eq!(rows(&engine, engine.tables.index), 190);
    done(&engine, &define([Define::DropQueue { queue: QueueId(2) }]));
    assert_eq!(rows(&engine, engine.tables.index), 180);
    drop(engine);
    let engine = open(dir.path()).with_removals(10);
    let recovered = engine.recover().unwrap();
    assert_eq!((recovered.queues.len(), recovered.queues[&QueueId(1)].lanes[0].count), (1, 10));
    let mut before = rows(&engine, engine.tables.index);
    while engine.sweep().unwrap() {
        let after = rows(&engine, engine.tables.index);
        assert!(after < before && before - after <= 10, "{before} to {after}");
        before = after;
    }
    let tables = engine.tables;
    assert_eq!([tables.index, tables.blocks, tables.holes].map(|table| rows(&engine, table)), [10, 10, 0]);
    assert!(!engine.sweep().unwrap());
}

#[test]
fn a_purged_range_keeps_its_positions_while_it_is_swept() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).with_removals(1);
    for seq in 1..=10 {
        done(&engine, &work([puts(1, [seq], 1)]));
    }
    done(&engine, &work([drops(1, 1, 50)]));
    let recovered = engine.recover().unwrap();
    assert_eq!((recovered.queues[&QueueId(1)].next_seq, recovered.queues[&QueueId(1)].lanes.len()), (50, 0));
}

#[test]
fn a_queue_that_is_being_removed_takes_no_work() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).with_removals(1);
    for seq in 1..=5 {
        done(&engine, &work([puts(1, [seq], 1)]));
    }
    done(&engine, &define([Define::DropQueue { queue: QueueId(1) }]));
    done(&engine, &work([puts(1, 6..=7, 1), puts(2, [1], 1)]));
    assert_eq!(rows(&engine, engine.tables.index), 4 + 1);
    assert_eq!((positions(&engine, 1), positions(&engine, 2)), (vec![], vec![1]));
}

#[test]
fn settled_blocks_leave_no_rows() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work([puts(1, 1..=1000, 10)]));
    let tables = engine.tables;
    assert_eq!([tables.index, tables.blocks].map(|table| rows(&engine, table)), [8, 8]);
    done(&engine, &work([settles(1, (1..=1000).rev(), 10)]));
    assert_eq!([tables.index, tables.blocks].map(|table| rows(&engine, table)), [0, 0]);
}

#[test]
fn a_full_map_refuses_the_batch_and_goes_on() {
    let dir = TempDir::new().unwrap();
    let engine =
        LmdbEngine::open(dir.path(), LmdbOptions { map_size: 1 << 20, sync: false, ..LmdbOptions::default() }).unwrap();
    done(&engine, &work([puts(1, 1..=100, 1000)]));
    let answer = engine.commit(&work([puts(1, 101..=2100, 1000)]));
    assert!(matches!(answer, Commit::Full(_)), "{answer:?}");
    assert_eq!(positions(&engine, 1), (1..=100).collect::<Vec<_>>());
    done(&engine, &work([settles(1, 1..=100, 1000)]));
    done(&engine, &work([puts(1, 101..=110, 1000)]));
    assert_eq!(positions(&engine, 1), (101..=110).collect::<Vec<_>>());
}

#[test]
fn what_the_last_commit_freed_has_room_for_the_next() {
    let dir = TempDir::new().unwrap();
    let options = LmdbOptions { map_size: 2 << 20, sync: false, ..LmdbOptions::default() };
    let engine = LmdbEngine::open(dir.path(), options).unwrap();
    let mut last = 0;
    while matches!(engine.commit(&work([puts(1, last + 1..=last + 10, 4_000)])), Commit::Done) {
        last += 10;
    }
    assert!(last > 100, "{last}");
    done(&engine, &work([settles(1, 1..=last, 4_000)]));
    // Not a word in between: the pages that were just freed are the only ones there are.
    done(&engine, &work([puts(1, last + 1..=last + last / 2, 4_000)]));
    assert_eq!(positions(&engine, 1), (last + 1..=last + last / 2).collect::<Vec<_>>());
}

#[test]
fn after_an_unknown_outcome_nothing_is_committed() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work([puts(1, [1], 1)]));
    let impossible = Define::Put { key: vec![0; 600], value: vec![] };
    let mut batch = work([puts(1, [2], 1)]);
    batch.definitions.push(impossible);
    assert!(matches!(engine.commit(&batch), Commit::Unknown(_)));
    assert!(matches!(engine.commit(&work([puts(1, [2], 1)])), Commit::Unknown(_)));
    assert!(engine.sweep().is_err());
    assert_eq!(positions(&engine, 1), [1]);
}

#[test]
fn space_is_used_again() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    let size = |dir: &Path| dir.join("data.mdb").metadata().unwrap().len();
    let mut early = 0;
    for round in 0..200u64 {
        done(&engine, &work([puts(1, round * 100 + 1..=round * 100 + 100, 1000)]));
        done(&engine, &work([settles(1, round * 100 + 1..=round * 100 + 100, 1000)]));
        if round == 20 {
            early = size(dir.path());
        }
    }
    assert!(size(dir.path()) <= early * 2, "{} octets after {early}", size(dir.path()));
}

#[test]
fn readers_beside_the_writer_see_what_is_done() {
    const COMMITS: u64 = 200;
    let dir = TempDir::new().unwrap();
    let engine = Arc::new(open(dir.path()));
    let committed = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (engine, committed) = (Arc::clone(&engine), Arc::clone(&committed));
            thread::spawn(move || {
                loop {
                    let before = committed.load(Ordering::Acquire);
                    let page = engine.read(QueueId(1), 0, 1, Seq::MAX, usize::MAX).unwrap();
                    let after = committed.load(Ordering::Acquire);
                    assert_eq!((page.damaged, page.next), (0, None));
                    let found: Vec<Seq> = page.messages.iter().map(|stored| stored.seq).collect();
                    assert!(found.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a torn commit");
                    // Commit n leaves the positions 10 (n - 1) + 1 to 10 n; one more may be on its way.
                    let done = found.last().map_or(0, |last| last / 10);
                    assert!((before..=after + 1).contains(&done), "{done} not in {before}..={after} + 1");
                    assert!(found.is_empty() || (found.len() == 10 && found[9].is_multiple_of(10)));
                    if before == COMMITS {
                        break;
                    }
                }
            })
        })
        .collect();
    for n in 1..=COMMITS {
        let mut batch = puts(1, (n - 1) * 10 + 1..=n * 10, 100);
        if n > 1 {
            batch.settles = settles(1, (n - 2) * 10 + 1..=(n - 1) * 10, 100).settles;
        }
        done(&*engine, &work([batch]));
        committed.store(n, Ordering::Release);
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn a_map_grows_beside_its_readers_up_to_its_bound() {
    let dir = TempDir::new().unwrap();
    let options = LmdbOptions { map_size: 1 << 20, grow_to: 16 << 20, sync: false };
    let engine = LmdbEngine::open(dir.path(), options).unwrap();
    let stop = AtomicBool::new(false);
    let mut committed = 0;
    thread::scope(|scope| {
        let readers = [(); 3].map(|()| {
            scope.spawn(|| {
                let mut most = 0;
                while !stop.load(Ordering::Relaxed) {
                    let page = engine.read(QueueId(1), 0, 0, Seq::MAX, 1 << 20).unwrap();
                    assert!(page.messages.iter().all(|stored| stored.message.body() == [b'm'; 1000]));
                    assert!(engine.space().is_some());
                    most = most.max(page.messages.len());
                }
                most
            })
        });
        // Far more than the first map, in pieces that need several growths.
        while committed < 8_000 {
            done(&engine, &work([puts(1, committed + 1..=committed + 500, 1000)]));
            committed += 500;
        }
        stop.store(true, Ordering::Relaxed);
        let most = readers.map(|reader| reader.join().unwrap());
        assert!(most.iter().any(|most| *most > 0), "they have read: {most:?}");
    });
    assert_eq!(engine.env.info().map_size, 16 << 20);
    let answer = engine.commit(&work([puts(1, committed + 1..=committed + 10_000, 1000)]));
    assert!(matches!(answer, Commit::Full(_)), "{answer:?}");
    assert_eq!(positions(&engine, 1), (1..=committed).collect::<Vec<_>>());
}

#[test]
fn a_map_filled_up_to_its_reserve_is_drained_in_any_order() {
    let dir = TempDir::new().unwrap();
    let options = LmdbOptions { map_size: 4 << 20, sync: false, ..LmdbOptions::default() };
    let engine = LmdbEngine::open(dir.path(), options).unwrap();
    let mut held = Held::default();
    let mut epoch = 0;
    let mut round = |held: &mut Held, batch: Batch| {
        epoch += 1;
        held.take_in(Batch { epoch, ..batch }, false);
        held.begin();
        loop {
            let space = engine.space().unwrap();
            let left = space.room.saturating_sub(space.reserve);
            let Some(batch) = held.next(Allowance { messages: left, definitions: left }) else { break };
            match engine.commit(&batch) {
                Commit::Done => {
                    held.committed();
                }
                Commit::Full(_) => held.refused(),
                other => panic!("{other:?}"),
            }
        }
        held.reached() == epoch
    };
    // Two queues in turn, a message a block: rows and blocks lie as far apart as can be.
    let mut last = 0;
    while round(&mut held, work([puts(1, [last + 1], 700), puts(2, [last + 1], 700)])) {
        last += 1;
    }
    assert!(last > 500, "{last}");
    // What did not fit is settled as well, and thereby needs no room.
    let mut order: Vec<u64> = (1..=last + 1).collect();
    order.sort_by_key(|seq| seq.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for (turn, some) in order.chunks(100).enumerate() {
        let batch = work([settles(1, some.iter().copied(), 700), settles(2, some.iter().copied(), 700)]);
        // What is held may need more room than that makes.
        round(&mut held, batch);
        let most = order.len().saturating_sub(100 * (turn + 1));
        assert!(positions(&engine, 1).len() <= most && positions(&engine, 2).len() <= most, "turn {turn}");
    }
    assert!(held.is_empty());
    assert_eq!((positions(&engine, 1), positions(&engine, 2)), (vec![], vec![]));
    let space = engine.space().unwrap();
    assert!(space.room > (4 << 20) * 9 / 10, "{space:?}");
}
