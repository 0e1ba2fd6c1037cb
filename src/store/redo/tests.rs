//! Tests of the redo log: the codec, the file, what a crash leaves, and a lack of room.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::log::{Append, FILE, Log, PAGE, scan};
use super::pending::Pending;
use super::{MOST, Redo, record};
use crate::message::{Draft, Facts, address};
use crate::store::faulty::{Faults, FaultyEngine};
use crate::store::fixture::{define, done, drops, open, positions, put, puts, settles, work};
use crate::store::lmdb::LmdbEngine;
use crate::store::memory::MemoryEngine;
use crate::store::{
    Batch, Commit, Count, Define, DropRange, Engine, Generation, Put, QueueBatch, QueueId, Seq, Settle, Space,
    StoreError,
};

const ONE: Generation = Generation(1);

/// A log in front of a store of its directory.
fn logged(dir: &Path) -> Redo<LmdbEngine> {
    Redo::open(open(dir), dir, true).unwrap()
}

/// One with its first commit done, so that the next ones go to the log.
fn begun(dir: &Path) -> Redo<LmdbEngine> {
    let engine = logged(dir);
    done(&engine, &define([Define::NextQueueId(1)]));
    engine
}

/// Octets of the log's file.
fn octets(dir: &Path) -> Vec<u8> {
    fs::read(dir.join(FILE)).unwrap()
}

fn overwrite(dir: &Path, at: usize, with: &[u8]) {
    File::options().write(true).open(dir.join(FILE)).unwrap().write_all_at(with, at as u64).unwrap();
}

/// Positions of a queue after a crash, and the lines of damage.
fn after_crash(engine: Redo<LmdbEngine>, dir: &Path) -> (Vec<Seq>, Vec<String>) {
    drop(engine);
    let engine = logged(dir);
    let damage = engine.recover().unwrap().damage;
    (positions(&engine, 1), damage)
}

fn sample() -> Batch {
    let mut work = puts(7, [3, 9], 100);
    work.settles.push(Settle { seq: 1, lane: 3, body_len: 9, counted: true });
    work.counts.push(Count { seq: 2, lane: 1, failures: 4, acquired: 5 });
    work.drops.push(DropRange { lane: 9, from: 1, until: Seq::MAX });
    let definitions = vec![
        Define::Put { key: b"k".to_vec(), value: b"v".to_vec() },
        Define::Delete { key: vec![0; 511] },
        Define::DropQueue { queue: QueueId(4) },
        Define::NextQueueId(12),
    ];
    Batch { epoch: 77, definitions, queues: vec![work], ..Batch::default() }
}

fn encoded(batch: &Batch, index: u32) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(record::encode(batch, ONE, index, usize::MAX, &mut out));
    out
}

/// A log with these records, one behind the other.
fn file(records: &[Vec<u8>]) -> Bytes {
    let mut out = Vec::new();
    for record in records {
        out.extend_from_slice(record);
        out.resize(out.len().next_multiple_of(PAGE), 0);
    }
    Bytes::from(out)
}

#[test]
fn a_batch_comes_back() {
    let batch = sample();
    let found = scan(&file(&[encoded(&batch, 0)]), ONE);
    assert_eq!(found.damage, [""; 0]);
    assert_eq!(format!("{:?}", found.batches), format!("{:?}", [&batch]));
    assert!(scan(&file(&[encoded(&batch, 0)]), Generation(2)).batches.is_empty(), "of another generation");
}

#[test]
fn a_record_with_any_octet_changed_is_none() {
    let record = encoded(&sample(), 0);
    for at in 0..record.len() {
        let mut changed = record.clone();
        changed[at] ^= 4;
        let found = scan(&file(&[changed]), ONE);
        // The reserved octets behind the checksum count as well.
        assert!(found.batches.is_empty() && found.damage.is_empty(), "octet {at}");
        assert!(scan(&Bytes::copy_from_slice(&record[..at]), ONE).batches.is_empty(), "cut at {at}");
    }
}

#[test]
fn records_before_and_behind_a_lost_one_are_read() {
    let batch = |epoch| Batch { epoch, ..sample() };
    let mut records: Vec<Vec<u8>> = (0..5).map(|n| encoded(&batch(u64::from(n)), n)).collect();
    records[0][40] ^= 1;
    records[3][40] ^= 1;
    let found = scan(&file(&records), ONE);
    assert_eq!(found.batches.iter().map(|batch| batch.epoch).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(found.damage.len(), 2, "{:?}", found.damage);
    records.swap(1, 2);
    assert_eq!(scan(&file(&records), ONE).batches.len(), 2, "numbers ascend");
}

#[test]
fn what_a_body_says_is_no_record() {
    let inner = encoded(&sample(), 1);
    let mut body = vec![0; 3 * PAGE];
    body[PAGE..PAGE + inner.len()].copy_from_slice(&inner);
    let outer = |pad: usize| {
        let bodies = [vec![0; pad], body.clone()].concat();
        encoded(&work([QueueBatch { puts: vec![put(1, 0, &bodies)], ..QueueBatch::new(QueueId(1)) }]), 0)
    };
    // Wherever a page begins: the record is passed over whole.
    for pad in [PAGE - 120, PAGE - 112, PAGE - 104, 0] {
        let found = scan(&file(&[outer(pad)]), ONE);
        assert_eq!((found.batches.len(), found.damage.len()), (1, 0));
    }
}

#[test]
fn a_payload_that_breaks_a_rule_is_told() {
    let twice = work([QueueBatch { puts: vec![put(2, 0, b"a"), put(2, 0, b"b")], ..QueueBatch::new(QueueId(1)) }]);
    let beyond = define([Define::DropQueue { queue: QueueId(u64::MAX) }]);
    let unnamed = define([Define::Delete { key: Vec::new() }]);
    for batch in [twice, beyond, unnamed] {
        let found = scan(&file(&[encoded(&batch, 0), encoded(&sample(), 1)]), ONE);
        assert_eq!((found.batches.len(), found.damage.len()), (1, 1), "{batch:?}");
    }
}

#[test]
fn batches_without_a_form_are_known() {
    assert!(record::has_form(&sample()));
    assert!(!record::has_form(&Batch { clean_shutdown: true, ..Batch::default() }));
    assert!(!record::has_form(&Batch { generation: Some(ONE), ..Batch::default() }));
    let marked = QueueBatch { redelivered: vec![1], ..QueueBatch::new(QueueId(1)) };
    assert!(!record::has_form(&work([marked])));
    let mut out = Vec::new();
    assert!(!record::encode(&sample(), ONE, 0, 100, &mut out), "too long");
}

fn facts() -> impl Strategy<Value = Facts> {
    (any::<[bool; 3]>(), any::<u8>(), any::<u64>()).prop_map(|(flags, priority, expiration)| Facts {
        persistent: flags[0],
        priority,
        expiration,
        dead_lettered: flags[1],
        redelivered: flags[2],
    })
}

fn any_put() -> impl Strategy<Value = Put> {
    let names = (prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(any::<u8>(), 0..20));
    let properties = prop::collection::vec(any::<u8>(), 2..30);
    let body = prop::collection::vec(any::<u8>(), 0..200);
    (names, properties, body, facts(), any::<u8>(), any::<u64>()).prop_map(
        |(names, properties, body, facts, lane, at)| {
            let address = address(&names.0, &names.1).unwrap();
            let mut draft = Draft::new(&address, &properties, body.len() as u64, facts);
            assert!(draft.try_extend(&body));
            Put { seq: 0, lane, expires_at: at, message: draft.finish().unwrap() }
        },
    )
}

fn any_batch() -> impl Strategy<Value = Batch> {
    let key = || prop::collection::vec(any::<u8>(), 1..40);
    let define = prop_oneof![
        (key(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(key, value)| Define::Put { key, value }),
        key().prop_map(|key| Define::Delete { key }),
        (0..9u64).prop_map(|queue| Define::DropQueue { queue: QueueId(queue) }),
        (0..QueueId::HIGHEST.0).prop_map(Define::NextQueueId),
    ];
    let settle = (0..999u64, any::<u8>(), any::<u32>(), any::<bool>());
    let settle = settle.prop_map(|(seq, lane, body_len, counted)| Settle { seq, lane, body_len, counted });
    let count = (0..999u64, any::<u8>(), any::<u32>(), any::<u32>());
    let count = count.prop_map(|(seq, lane, failures, acquired)| Count { seq, lane, failures, acquired });
    let range =
        (any::<u8>(), any::<u64>(), any::<u64>()).prop_map(|(lane, from, until)| DropRange { lane, from, until });
    let work = (
        0..QueueId::HIGHEST.0,
        prop::collection::vec(any_put(), 0..4),
        prop::collection::vec(settle, 0..4),
        prop::collection::vec(count, 0..4),
        prop::collection::vec(range, 0..3),
    );
    let work = work.prop_map(|(queue, mut puts, settles, counts, drops)| {
        (1..).zip(&mut puts).for_each(|(seq, put)| put.seq = seq);
        QueueBatch { puts, settles, counts, drops, ..QueueBatch::new(QueueId(queue)) }
    });
    (any::<u64>(), prop::collection::vec(define, 0..4), prop::collection::vec(work, 0..4))
        .prop_map(|(epoch, definitions, queues)| Batch { epoch, definitions, queues, ..Batch::default() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_batch_comes_back(batch in any_batch()) {
        let found = scan(&file(&[encoded(&batch, 0)]), ONE);
        prop_assert_eq!(found.damage, [""; 0]);
        prop_assert_eq!(format!("{:?}", found.batches), format!("{:?}", [&batch]));
    }
}

#[test]
fn the_log_is_made_once_and_never_grows() {
    let dir = TempDir::new().unwrap();
    let mut log = Log::open(dir.path(), 4 * PAGE, ONE).unwrap();
    assert_eq!(octets(dir.path()).len(), 4 * PAGE);
    for _ in 0..4 {
        assert_eq!(log.append(&sample(), MOST).unwrap(), Append::Done);
    }
    assert_eq!(log.append(&sample(), MOST).unwrap(), Append::NoRoom);
    assert_eq!(octets(dir.path()).len(), 4 * PAGE);
    let inode = |dir: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(dir.join(FILE)).unwrap());
    let before = inode(dir.path());
    let _again = Log::open(dir.path(), 4 * PAGE, Generation(2)).unwrap();
    assert_eq!(before, inode(dir.path()));
    let _larger = Log::open(dir.path(), 8 * PAGE, Generation(2)).unwrap();
    assert_eq!(octets(dir.path()).len(), 8 * PAGE);
    fs::write(dir.path().join(FILE), b"").unwrap();
    File::options().write(true).open(dir.path().join(FILE)).unwrap().set_len(4 * PAGE as u64).unwrap();
    let _whole = Log::open(dir.path(), 4 * PAGE, Generation(2)).unwrap();
    let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(dir.path().join(FILE)).unwrap());
    assert!(blocks * 512 >= 4 * PAGE as u64, "a file with a hole would need room later");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing unfinished is left");
}

#[test]
fn small_commits_go_to_the_log_and_large_ones_to_the_store() {
    let dir = TempDir::new().unwrap();
    let faults = Faults::new();
    let engine = Redo::open(FaultyEngine::new(open(dir.path()), faults.clone()), dir.path(), true).unwrap();
    done(&engine, &work([puts(1, [1], 10)]));
    assert_eq!(faults.calls().commits, 1, "the first names the generation");
    for seq in 2..=50 {
        done(&engine, &work([puts(1, [seq], 10)]));
    }
    assert_eq!(faults.calls().commits, 1);
    assert!(engine.is_behind());
    assert_eq!(positions(&engine, 1), (1..=50).collect::<Vec<_>>(), "readers see both");
    done(&engine, &work([puts(1, [51], MOST)]));
    assert_eq!((faults.calls().commits, engine.is_behind()), (2, false));
    done(&engine, &work([settles(1, [3], 10)]));
    engine.catch_up().unwrap();
    engine.catch_up().unwrap();
    assert_eq!((faults.calls().commits, engine.is_behind()), (3, false));
    done(&engine, &Batch { clean_shutdown: true, ..Batch::default() });
    assert_eq!(faults.calls().commits, 4);
    assert_eq!(positions(&open_beside(engine, dir.path()), 1).len(), 50);
}

/// The store of a directory alone, without its log.
fn open_beside<E>(engine: Redo<E>, dir: &Path) -> LmdbEngine {
    drop(engine);
    open(dir)
}

#[test]
fn an_orderly_end_leaves_an_empty_log() {
    let dir = TempDir::new().unwrap();
    let engine = begun(dir.path());
    done(&engine, &work([puts(1, 1..=3, 10)]));
    done(&engine, &work([settles(1, 1..=3, 10)]));
    assert!(!engine.is_behind(), "it came to nothing");
    done(&engine, &Batch { clean_shutdown: true, ..Batch::default() });
    let store = open_beside(engine, dir.path());
    let generation = store.generation().unwrap().unwrap();
    let found = scan(&Bytes::from(octets(dir.path())), generation);
    assert!(found.batches.is_empty() && found.damage.is_empty());
    assert!(store.recover().unwrap().clean);
}

#[test]
fn a_crash_after_any_commit_loses_none() {
    for commits in 0..12u64 {
        let dir = TempDir::new().unwrap();
        let engine = logged(dir.path()).with_capacity(4 * PAGE);
        for seq in 1..=commits {
            done(&engine, &work([puts(1, [seq], 10)]));
        }
        let (found, damage) = after_crash_of(engine, dir.path());
        assert_eq!((found, damage.len()), ((1..=commits).collect::<Vec<_>>(), 0), "{commits} commits");
    }
}

/// As [`after_crash`], twice, since a log may not be replayed by two starts to another effect than by one.
fn after_crash_of(engine: Redo<LmdbEngine>, dir: &Path) -> (Vec<Seq>, Vec<String>) {
    let (once, damage) = after_crash(engine, dir);
    let (twice, _) = after_crash(logged(dir), dir);
    assert_eq!(once, twice);
    (once, damage)
}

#[test]
fn a_torn_last_record_was_never_there() {
    let dir = TempDir::new().unwrap();
    let engine = begun(dir.path());
    for seq in 1..=4 {
        done(&engine, &work([puts(1, [seq], 5000)]));
    }
    // The fourth record: its first page is as it was before, its second is new.
    overwrite(dir.path(), 6 * PAGE, &[0; PAGE]);
    assert_eq!(after_crash(engine, dir.path()), (vec![1, 2, 3], vec![]));
}

#[test]
fn a_damaged_record_in_the_midst_is_told_and_the_others_are_kept() {
    let dir = TempDir::new().unwrap();
    let engine = begun(dir.path());
    for seq in 1..=4 {
        done(&engine, &work([puts(1, [seq], 10)]));
    }
    done(&engine, &work([settles(1, [2, 3], 10)]));
    overwrite(dir.path(), PAGE + 50, &[0xFF; 4]);
    let (found, damage) = after_crash(engine, dir.path());
    assert_eq!(found, [1, 4]);
    assert_eq!(damage, ["redo log: 1 batches before number 2 are lost"]);
}

#[test]
fn what_an_earlier_generation_or_another_store_wrote_is_never_read() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let engine = begun(dir.path());
    done(&engine, &work([puts(1, 1..=3, 10)]));
    let stale = octets(dir.path());
    done(&engine, &work([puts(1, [4], MOST)]));
    done(&engine, &work([settles(1, [4], u32::try_from(MOST).unwrap())]));
    let foreign = begun(other.path());
    done(&foreign, &work([puts(1, 100..=103, 10)]));
    drop(engine);
    for log in [stale, octets(other.path()), vec![0xFF; 5 * PAGE], Vec::new()] {
        fs::write(dir.path().join(FILE), log).unwrap();
        let (found, damage) = after_crash(logged(dir.path()), dir.path());
        assert_eq!((found, damage.len()), (vec![1, 2, 3, 4], 0), "the settlement is lost with its log");
    }
    fs::remove_file(dir.path().join(FILE)).unwrap();
    assert_eq!(after_crash(logged(dir.path()), dir.path()).0, [1, 2, 3, 4]);
}

#[test]
fn a_log_that_is_not_wanted_is_recovered_and_not_used() {
    let dir = TempDir::new().unwrap();
    let engine = begun(dir.path());
    done(&engine, &work([puts(1, 1..=3, 10)]));
    drop(engine);
    let engine = Redo::open(open(dir.path()), dir.path(), false).unwrap();
    assert_eq!(positions(&engine, 1), [1, 2, 3]);
    done(&engine, &work([settles(1, [2], 10)]));
    assert!(!engine.is_behind());
    assert_eq!(positions(&open_beside(engine, dir.path()), 1), [1, 3]);
}

#[test]
fn a_range_covers_what_was_put_before_it_and_nothing_else() {
    let mut pending = Pending::default();
    pending.add(work([drops(1, 1, 100)]));
    pending.add(work([puts(1, [5, 6], 1)]));
    pending.add(work([puts(1, [99], 1)]));
    let ranges = |pending: &Pending| -> Vec<(Seq, Seq)> {
        pending.batch().queues[0].drops.iter().map(|range| (range.from, range.until)).collect()
    };
    assert_eq!(ranges(&pending), [(1, 5), (7, 99)]);
    pending.add(work([drops(1, 5, 7)]));
    let batch = pending.batch();
    assert_eq!(batch.queues[0].puts.iter().map(|put| put.seq).collect::<Vec<_>>(), [99]);
    assert_eq!(ranges(&pending), [(1, 5), (7, 99), (5, 7)]);
}

#[test]
fn the_latest_word_on_a_definition_wins_and_dropped_queues_are_gone() {
    let set = |value: u8| Define::Put { key: vec![1], value: vec![value] };
    let mut pending = Pending::default();
    pending.add(define([set(1), Define::NextQueueId(5), Define::NextQueueId(3)]));
    pending.add(work([puts(1, [1], 1), puts(2, [1], 1)]));
    let mut batch = define([set(2), Define::DropQueue { queue: QueueId(1) }]);
    batch.queues.push(puts(1, [2], 1));
    pending.add(batch);
    pending.add(work([puts(1, [3], 1)]));
    let merged = pending.batch();
    assert_eq!(merged.definitions, [set(2), Define::NextQueueId(5), Define::DropQueue { queue: QueueId(1) }]);
    assert_eq!(merged.queues.iter().map(|work| work.queue.0).collect::<Vec<_>>(), [2]);
    pending.add(define([Define::Delete { key: vec![1] }]));
    assert_eq!(pending.batch().definitions[0], Define::Delete { key: vec![1] });
}

/// A log in front of an engine whose room is steered.
fn steered(dir: &Path) -> (Redo<FaultyEngine<MemoryEngine>>, Faults, MemoryEngine) {
    let (memory, faults) = (MemoryEngine::new(), Faults::new());
    let engine = Redo::open(FaultyEngine::new(memory.clone(), faults.clone()), dir, true).unwrap();
    done(&engine, &define([Define::NextQueueId(1)]));
    (engine, faults, memory)
}

#[test]
fn without_much_room_nothing_is_left_in_the_log() {
    let dir = TempDir::new().unwrap();
    let (engine, faults, memory) = steered(dir.path());
    let space = |room| Some(Space { room, total: 1 << 30, reserve: 32 << 20 });
    faults.pretend_space(space(1 << 30));
    done(&engine, &work([puts(1, [1], 10)]));
    assert!(engine.is_behind());
    faults.pretend_space(space(90 << 20));
    engine.catch_up().unwrap();
    done(&engine, &work([puts(1, [2], 10)]));
    assert!(!engine.is_behind());
    assert_eq!(positions(&memory, 1), [1, 2]);
    faults.pretend_space(space(1 << 30));
    done(&engine, &work([puts(1, [3], 10)]));
    assert!(engine.is_behind(), "there is room again");
}

#[test]
fn a_tiny_disk_gets_a_small_log_or_none() {
    for (reserve, size) in [(32 << 20, 4 << 20), (2 << 20, 1 << 20), (512 << 10, 256 << 10)] {
        let (dir, faults) = (TempDir::new().unwrap(), Faults::new());
        faults.pretend_space(Some(Space { room: 1 << 30, total: 1 << 30, reserve }));
        let engine = Redo::open(FaultyEngine::new(MemoryEngine::new(), faults), dir.path(), true).unwrap();
        done(&engine, &work([puts(1, [1], 10)]));
        assert_eq!(octets(dir.path()).len(), size);
    }
    let (dir, faults) = (TempDir::new().unwrap(), Faults::new());
    faults.pretend_space(Some(Space { room: 1 << 30, total: 1 << 30, reserve: 100 << 10 }));
    let engine = Redo::open(FaultyEngine::new(MemoryEngine::new(), faults), dir.path(), true).unwrap();
    done(&engine, &work([puts(1, [1], 10)]));
    done(&engine, &work([puts(1, [2], 10)]));
    assert!(!engine.is_behind() && !dir.path().join(FILE).exists());
}

#[test]
fn a_directory_in_which_no_log_can_be_made_is_used_without() {
    let dir = TempDir::new().unwrap();
    let gone = dir.path().join("gone");
    let (engine, _, memory) = steered(&gone);
    done(&engine, &work([puts(1, [1], 10)]));
    assert!(!engine.is_behind());
    assert_eq!(positions(&memory, 1), [1]);
}

#[test]
fn without_room_what_gives_room_passes_by_what_waits() {
    let dir = TempDir::new().unwrap();
    let (engine, faults, memory) = steered(dir.path());
    done(&engine, &work([puts(1, [1], MOST), puts(2, [1], 10)]));
    done(&engine, &work([puts(2, 2..=9, 10)]));
    assert!(engine.is_behind());
    // Neither what waits finds room, nor more of it.
    faults.limit_puts(Some(10));
    assert!(matches!(engine.commit(&work([puts(3, [1], MOST)])), Commit::Full(_)));
    assert!(matches!(engine.commit(&work([puts(3, [1], 10)])), Commit::Full(_)), "nothing goes to the log either");
    done(&engine, &work([settles(1, [1], u32::try_from(MOST).unwrap())]));
    assert_eq!(positions(&memory, 1), [0; 0], "it has gone ahead");
    assert_eq!(positions(&memory, 2), [1]);
    assert_eq!(positions(&engine, 2), (1..=9).collect::<Vec<_>>());
    let stuck = work([QueueBatch { puts: vec![put(10, 0, b"")], ..settles(2, [4], 10) }]);
    assert!(matches!(engine.commit(&stuck), Commit::Full(_)), "that concerns what waits");
    engine.catch_up().unwrap();
    assert!(engine.is_behind() && !engine.sweep().unwrap());
    done(&engine, &work([settles(2, 2..=9, 10)]));
    assert_eq!(positions(&memory, 2), [1], "cancelled");
    drop(engine);
    let again = Redo::open(memory.clone(), dir.path(), true).unwrap();
    assert_eq!(positions(&again, 2), [1]);
}

#[test]
fn what_waits_goes_first_if_there_is_room_for_it_alone() {
    let dir = TempDir::new().unwrap();
    let (engine, faults, memory) = steered(dir.path());
    done(&engine, &work([puts(2, 1..=3, 10)]));
    faults.limit_puts(Some(1000));
    assert!(matches!(engine.commit(&work([puts(3, [1], MOST)])), Commit::Full(_)));
    assert_eq!(positions(&memory, 2), [1, 2, 3]);
    assert!(!engine.is_behind());
    faults.limit_puts(None);
    done(&engine, &work([puts(3, [1], MOST)]));
    assert_eq!(positions(&engine, 3), [1]);
}

#[test]
fn a_crash_at_any_commit_of_the_store_behind_loses_nothing_that_was_answered() {
    for after in [false, true] {
        for n in 2..6 {
            let dir = TempDir::new().unwrap();
            let (engine, faults, memory) = steered(dir.path());
            let engine = engine.with_capacity(4 * PAGE);
            if after {
                faults.fail_after(n);
            } else {
                faults.fail_before(n);
            }
            let mut answered = 0;
            for seq in 1..40 {
                // Every fifth is too large for the log.
                let size = if seq % 5 == 0 { MOST } else { 10 };
                match engine.commit(&work([puts(1, [seq], size)])) {
                    Commit::Done => answered = seq,
                    Commit::Unknown(_) => break,
                    other => panic!("{other:?}"),
                }
            }
            assert!(answered > 0 && answered < 39, "{answered}");
            assert!(matches!(engine.commit(&work([puts(1, [99], 1)])), Commit::Unknown(_)));
            assert!(engine.sweep().is_err() && engine.catch_up().is_err());
            drop(engine);
            let again = Redo::open(memory, dir.path(), true).unwrap();
            let found = positions(&again, 1);
            let whole = (1..=answered).collect::<Vec<_>>();
            let more = (1..=answered + 1).collect::<Vec<_>>();
            assert!(found == whole || after && found == more, "{found:?} after {answered}");
        }
    }
}

#[test]
fn a_start_without_room_for_the_log_fails_and_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let (engine, _, memory) = steered(dir.path());
    done(&engine, &work([puts(1, 1..=3, 10)]));
    drop(engine);
    let faults = Faults::new();
    faults.answer_full(1);
    let full = Redo::open(FaultyEngine::new(memory.clone(), faults), dir.path(), true);
    assert!(matches!(full, Err(StoreError::Injected(1))));
    assert_eq!(positions(&Redo::open(memory, dir.path(), true).unwrap(), 1), [1, 2, 3]);
}
