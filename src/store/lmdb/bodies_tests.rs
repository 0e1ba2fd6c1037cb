//! What only the tables can show of shared bodies: that there is one, when it goes, and what rot makes of it.

use tempfile::TempDir;

use super::access_tests::change;
use super::schema::{Key, seal_row};
use super::{LmdbEngine, LmdbOptions, bodies};
use crate::store::fixture::{define, done, drops, fanned, open, positions, puts, settles, work};
use crate::store::{Allowance, Batch, Commit, Define, Engine, Held, QueueBatch, QueueId, Seq};

/// Octets of a body that is large enough.
const LARGE: usize = 10_000;

const LEN: u32 = 10_000;

/// Ids and reference counts of the bodies there are; each has both rows.
fn counts(engine: &LmdbEngine) -> Vec<(u64, u64)> {
    let txn = engine.env.read_txn().unwrap();
    let shares = engine.tables.shares.iter(&txn).unwrap();
    let found: Vec<_> = shares.map(|row| row.map(|(key, value)| bodies::decode_share(key, value).unwrap())).collect();
    let found: Vec<(u64, u64)> = found.into_iter().map(Result::unwrap).collect();
    for (id, _) in &found {
        assert!(bodies::get(&engine.tables, &txn, *id).unwrap().is_some(), "body {id} is there");
    }
    assert_eq!(engine.tables.bodies.len(&txn).unwrap(), found.len() as u64);
    found
}

fn id(id: u64) -> [u8; 8] {
    id.to_be_bytes()
}

fn key(queue: u64, first: Seq) -> Vec<u8> {
    Key { queue: QueueId(queue), lane: 0, first }.encode().to_vec()
}

#[test]
fn a_large_body_is_written_once_and_goes_with_its_last_block() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work(fanned(1..=100, [1], LARGE)));
    assert_eq!(counts(&engine), [(1, 100)]);
    let file = dir.path().join("data.mdb").metadata().unwrap().len();
    assert!(file < 20 * LARGE as u64, "{file} octets for a hundred queues");
    done(&engine, &work((2..=100).map(|queue| settles(queue, [1], LEN))));
    assert_eq!(counts(&engine), [(1, 1)]);
    assert_eq!(engine.findings(), [""; 0]);
    done(&engine, &work([settles(1, [1], LEN)]));
    assert_eq!(counts(&engine), []);
    assert_eq!(engine.findings(), [""; 0]);
}

#[test]
fn queues_that_read_a_shared_body_have_it_in_the_same_memory() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work(fanned(1..=3, 1..=2, LARGE)));
    let read = |queue| engine.read(QueueId(queue), 0, 1, 3, usize::MAX).unwrap().messages;
    let (one, two) = (read(1), read(2));
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(one.message.record().as_ptr(), two.message.record().as_ptr());
    }
    assert_ne!(one[0].message.record().as_ptr(), one[1].message.record().as_ptr());
    // What nobody holds any more is read again, and what it was is forgotten in time.
    drop((one, two));
    assert_eq!(read(3).len(), 2);
    for seq in 3..=2_000 {
        done(&engine, &work(fanned(1..=2, [seq], 4096)));
        assert_eq!(engine.read(QueueId(1), 0, seq, seq + 1, 1).unwrap().messages.len(), 1);
    }
    assert!(engine.loaded.remembered() <= 256, "{}", engine.loaded.remembered());
}

#[test]
fn what_is_small_or_alone_is_not_shared() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work(fanned(1..=9, 1..=3, 4095)));
    done(&engine, &work(fanned([1], 4..=6, LARGE)));
    // The same octets, but not the same message.
    done(&engine, &work([puts(1, [7], LARGE), puts(2, [7], LARGE)]));
    assert_eq!(counts(&engine), []);
    done(&engine, &work(fanned(1..=2, [8], 4096)));
    assert_eq!(counts(&engine), [(1, 2)]);
}

#[test]
fn a_block_holds_on_to_its_bodies_as_long_as_to_its_own() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    // Twenty-six in a block of 256 KiB.
    done(&engine, &work(fanned(1..=2, 1..=30, LARGE)));
    assert_eq!(counts(&engine).len(), 30);
    done(&engine, &work([settles(1, 1..=25, LEN), settles(2, 1..=30, LEN)]));
    assert!(counts(&engine).iter().all(|(_, count)| *count == 1), "one message of the first block is left");
    done(&engine, &work([settles(1, [26], LEN)]));
    assert_eq!(counts(&engine).iter().map(|(id, _)| *id).collect::<Vec<_>>(), [27, 28, 29, 30]);
    assert_eq!(positions(&engine, 1), [27, 28, 29, 30]);
}

#[test]
fn purges_and_deletions_take_references_back_piece_by_piece() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).with_removals(1);
    for seq in 1..=5 {
        done(&engine, &work(fanned(1..=2, [seq], LARGE)));
    }
    done(&engine, &work([drops(1, 1, 6)]));
    done(&engine, &define([Define::DropQueue { queue: QueueId(2) }]));
    assert_eq!(counts(&engine).len(), 4, "those of one block are gone");
    assert_eq!(engine.findings(), [""; 0], "what is still to be removed counts");
    drop(engine);
    let engine = open(dir.path()).with_removals(1);
    assert_eq!(engine.recover().unwrap().damage, [""; 0]);
    while engine.sweep().unwrap() {}
    assert_eq!(counts(&engine), []);
}

#[test]
fn an_id_is_never_given_out_twice() {
    let dir = TempDir::new().unwrap();
    for seq in 1..=3 {
        let engine = open(dir.path());
        engine.recover().unwrap();
        done(&engine, &work(fanned(1..=2, [seq], LARGE)));
        assert_eq!(counts(&engine), [(seq, 2)]);
        done(&engine, &work([settles(1, [seq], LEN), settles(2, [seq], LEN)]));
    }
    // Rot in the number does not make one body take another's place.
    let engine = open(dir.path());
    done(&engine, &work(fanned(1..=2, [9], LARGE)));
    change(&engine, engine.tables.meta, b"next_body", |id| *id = 1u64.to_be_bytes().to_vec());
    done(&engine, &work(fanned(1..=2, [10], LARGE)));
    assert_eq!(counts(&engine), [(4, 2), (5, 2)]);
    change(&engine, engine.tables.meta, b"next_body", |id| id[0] = 0xFF);
    assert!(engine.recover().is_err());
    assert!(engine.findings().iter().any(|line| line.contains("next id of a shared body")));
    // Where none is left, each queue gets its own again.
    change(&engine, engine.tables.meta, b"next_body", |id| *id = ((1u64 << 61) + 1).to_be_bytes().to_vec());
    done(&engine, &work(fanned(1..=2, [11], LARGE)));
    assert_eq!(counts(&engine).len(), 2);
    assert_eq!(positions(&engine, 1), [9, 10, 11]);
}

/// What it does, and does it.
type Harm<T> = (&'static str, fn(&mut T));

#[test]
fn a_missing_or_damaged_body_is_damage_in_every_queue() {
    let harms: [Harm<Vec<u8>>; 3] = [
        ("has lost its body", Vec::clear),
        ("body 2: checksum", |row| row[5000] ^= 1),
        ("contradicts itself", |row| row.truncate(LARGE / 2)),
    ];
    for (what, harm) in harms {
        let dir = TempDir::new().unwrap();
        let engine = open(dir.path());
        done(&engine, &work(fanned(1..=2, 1..=3, LARGE)));
        change(&engine, engine.tables.bodies, &id(2), harm);
        let told = engine.findings();
        assert!(told.iter().any(|line| line.contains(what)), "{what}: {told:?}");
        engine.recover().unwrap();
        for queue in 1..=2 {
            let page = engine.read(QueueId(queue), 0, 0, 10, 1 << 20).unwrap();
            let found: Vec<Seq> = page.messages.iter().map(|stored| stored.seq).collect();
            assert_eq!((found, page.damaged, page.next), (vec![1, 3], 1, None), "{what}");
        }
        // What is left goes its way.
        done(&engine, &work([settles(1, 1..=3, LEN), drops(2, 1, 4)]));
        assert_eq!(counts(&engine), [], "{what}");
    }
}

#[test]
fn counts_that_rot_are_made_anew_and_orphans_swept() {
    let harms: [Harm<LmdbEngine>; 5] = [
        ("a count too low", |e| {
            change(e, e.tables.shares, &id(1), |row| {
                row[15] = 1;
                seal_row(&id(1), row);
            });
        }),
        ("two counts that are wrong together", |e| {
            for (body, count) in [(1, 2), (2, 4)] {
                change(e, e.tables.shares, &id(body), |row| {
                    row[15] = count;
                    seal_row(&id(body), row);
                });
            }
        }),
        ("a count that cannot be read", |e| change(e, e.tables.shares, &id(2), |row| row[15] ^= 1)),
        ("a count that is lost", |e| change(e, e.tables.shares, &id(2), Vec::clear)),
        ("a count of nothing", |e| change(e, e.tables.shares, &id(77), |row| row.extend([1; 16]))),
    ];
    for (what, harm) in harms {
        let dir = TempDir::new().unwrap();
        let mut engine = open(dir.path());
        done(&engine, &work(fanned(1..=3, 1..=3, LARGE)));
        harm(&mut engine);
        assert!(!engine.findings().is_empty(), "{what}");
        // Before the next start nothing is removed that may be needed.
        drop(engine);
        let engine = open(dir.path());
        engine.recover().unwrap();
        assert_eq!(counts(&engine), [(1, 3), (2, 3), (3, 3)], "{what}");
        assert_eq!(engine.findings(), [""; 0], "{what}");
    }
}

#[test]
fn orphans_are_swept_within_a_budget_but_not_while_an_index_row_is_damaged() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path()).with_removals(2);
    done(&engine, &work(fanned(1..=2, 1..=5, LARGE)));
    done(&engine, &work(fanned(3..=4, 1..=2, LARGE)));
    // Both rows of the first five vanish: their bodies are orphans. One of the others cannot be read.
    for queue in 1..=2 {
        change(&engine, engine.tables.index, &key(queue, 1), Vec::clear);
        change(&engine, engine.tables.blocks, &key(queue, 1), Vec::clear);
    }
    change(&engine, engine.tables.index, &key(3, 1), |row| row[20] ^= 1);
    assert!(engine.findings().iter().any(|line| line.contains("0 blocks refer to it, its count is 2")));
    engine.recover().unwrap();
    while engine.sweep().unwrap() {}
    assert_eq!(counts(&engine).len(), 7, "what the damaged row refers to is not known");
    assert_eq!(positions(&engine, 4), [1, 2]);
    // The damage goes with its queue; the next start knows.
    done(&engine, &define([Define::DropQueue { queue: QueueId(3) }]));
    engine.recover().unwrap();
    assert_eq!(counts(&engine).iter().map(|(_, count)| *count).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 1]);
    assert!(engine.findings().iter().any(|line| line.contains("nothing refers to it")));
    assert!(engine.sweep().unwrap());
    assert_eq!(counts(&engine).len(), 5, "a piece at a time");
    // A crash between: the next start finds them again.
    drop(engine);
    let engine = open(dir.path()).with_removals(2);
    engine.recover().unwrap();
    while engine.sweep().unwrap() {}
    assert_eq!(counts(&engine), [(6, 1), (7, 1)]);
    assert_eq!(engine.findings(), [""; 0]);
    done(&engine, &work([settles(4, 1..=2, LEN)]));
    assert_eq!(counts(&engine), []);
}

#[test]
fn an_index_row_that_names_other_bodies_is_found() {
    let dir = TempDir::new().unwrap();
    let engine = open(dir.path());
    done(&engine, &work(fanned(1..=2, 1..=2, LARGE)));
    change(&engine, engine.tables.index, &key(1, 1), |row| {
        let last = row.len() - 1;
        row[last] ^= 3;
        seal_row(&key(1, 1), row);
    });
    assert!(engine.findings().iter().any(|line| line.contains("names other bodies than its block")));
    assert_eq!(engine.recover().unwrap().damage, [""; 0]);
    assert_eq!(counts(&engine), [(1, 3), (2, 1)]);
    done(&engine, &work([settles(1, 1..=2, LEN)]));
    assert_eq!(positions(&engine, 2), [1, 2]);
}

#[test]
fn a_map_full_of_shared_bodies_is_drained_in_any_order() {
    let dir = TempDir::new().unwrap();
    let options = LmdbOptions { map_size: 4 << 20, sync: false, ..LmdbOptions::default() };
    let engine = LmdbEngine::open(dir.path(), options).unwrap();
    let (mut held, mut epoch) = (Held::default(), 0);
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
    let mut last = 0;
    while round(&mut held, work(fanned(1..=5, [last + 1], LARGE))) {
        last += 1;
    }
    assert!(last > 200, "{last} of at most 419, five times");
    let mut order: Vec<u64> = (1..=last + 1).collect();
    order.sort_by_key(|seq| seq.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for some in order.chunks(100) {
        for queue in [3, 1, 5, 2, 4] {
            round(&mut held, work([settles(queue, some.iter().copied(), LEN)]));
        }
    }
    assert!(held.is_empty());
    assert_eq!(counts(&engine), []);
    let space = engine.space().unwrap();
    assert!(space.room > (4 << 20) * 9 / 10, "{space:?}");
}

#[test]
fn a_fan_out_needs_the_room_of_one() {
    let allowance = |messages| Allowance { messages, definitions: 0 };
    let batch = work(fanned(1..=1000, [1], 1 << 20));
    assert!(allowance(4 << 20).covers(&batch));
    assert!(!allowance(1 << 20).covers(&batch));
    let copies: Vec<QueueBatch> = (1..=10).map(|queue| puts(queue, [1], 1 << 20)).collect();
    assert!(!allowance(4 << 20).covers(&work(copies)));
    let mut held = Held::default();
    held.take_in(Batch { epoch: 1, ..batch }, false);
    held.begin();
    let whole = held.next(allowance(4 << 20)).unwrap();
    assert_eq!(whole.queues.len(), 1000, "it comes out whole");
}
