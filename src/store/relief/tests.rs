//! Holding back: what goes first, what stays together, and that nothing is ever false, whatever finds room.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fixture::{define, drops, positions, put, puts, settles, work};
use super::super::memory::MemoryEngine;
use super::super::{Batch, Commit, Define, DropRange, Engine, QueueBatch, QueueId, Seq, Settle};
use super::{Allowance, Held};

fn epoch(epoch: u64, batch: Batch) -> Batch {
    Batch { epoch, ..batch }
}

fn settle(seq: Seq) -> Settle {
    Settle { seq, lane: 0, body_len: 1, counted: false }
}

/// What a batch does, in short.
fn shape(batch: &Batch) -> (Vec<&str>, usize, usize, usize) {
    let definitions = batch.definitions.iter().map(|define| match define {
        Define::Put { .. } => "put",
        Define::Delete { .. } => "delete",
        Define::DropQueue { .. } => "drop",
        Define::NextQueueId(_) => "next",
    });
    let count = |f: fn(&QueueBatch) -> usize| batch.queues.iter().map(f).sum();
    (definitions.collect(), count(|q| q.puts.len()), count(|q| q.settles.len()), count(|q| q.drops.len()))
}

#[test]
fn what_gives_room_goes_first_and_messages_last() {
    let mut held = Held::default();
    let first = Batch {
        definitions: vec![
            Define::Put { key: vec![3, 1], value: vec![1] },
            Define::Delete { key: vec![1] },
            Define::Delete { key: vec![2] },
            Define::DropQueue { queue: QueueId(9) },
            Define::NextQueueId(10),
        ],
        queues: vec![QueueBatch { puts: vec![put(20, 0, b"x")], ..settles(1, [1, 2], 1) }, drops(2, 1, 9)],
        ..epoch(1, Batch::default())
    };
    assert_eq!(held.take_in(first, false), 0);
    held.begin();
    let mut shapes = Vec::new();
    while let Some(batch) = held.next(Allowance::ANY) {
        if shapes.is_empty() {
            let keys = [vec![2], vec![1]].map(|key| Define::Delete { key });
            assert_eq!(batch.definitions[..2], keys, "what is inside of something goes before it");
        }
        shapes.push(format!("{:?}", shape(&batch)));
        assert_eq!(held.reached(), 0, "nothing is confirmed while anything waits");
        held.committed();
    }
    assert_eq!(
        shapes,
        [
            r#"(["delete", "delete", "drop"], 0, 0, 0)"#,
            "([], 0, 2, 0)",
            "([], 0, 0, 1)",
            r#"(["next", "put"], 0, 0, 0)"#,
            "([], 1, 0, 0)"
        ]
    );
    assert_eq!(held.reached(), 1);
    assert!(held.is_empty());
}

#[test]
fn pieces_shrink_to_one_and_grow_again() {
    let mut held = Held::default();
    held.take_in(epoch(1, work([settles(1, 1..=10, 1)])), false);
    held.begin();
    let mut sizes = Vec::new();
    while let Some(batch) = held.next(Allowance::ANY) {
        let size = shape(&batch).2;
        sizes.push(size);
        if size > 1 && sizes.len() < 5 {
            held.refused();
        } else {
            assert_eq!(held.committed(), 0, "settlements weigh nothing");
        }
    }
    assert_eq!(sizes, [10, 5, 2, 1, 2, 4, 3]);
    assert_eq!(held.reached(), 1);
}

#[test]
fn a_single_one_without_room_ends_the_round_and_the_next_begins_small() {
    let mut held = Held::default();
    held.take_in(epoch(1, work([puts(1, 1..=4, 10)])), false);
    for expected in [vec![4, 2, 1], vec![1]] {
        held.begin();
        let mut sizes = Vec::new();
        while let Some(batch) = held.next(Allowance::ANY) {
            sizes.push(shape(&batch).1);
            held.refused();
        }
        assert_eq!(sizes, expected);
    }
    assert!(!held.is_empty());
}

#[test]
fn a_message_that_is_settled_while_held_never_comes_out() {
    let mut held = Held::default();
    assert_eq!(held.take_in(epoch(1, work([puts(1, 1..=3, 10)])), false), 0);
    let weight = put(1, 0, &[b'm'; 10]).weight();
    assert_eq!(held.take_in(epoch(2, work([settles(1, [1, 2], 10)])), false), 2 * weight);
    assert_eq!(held.take_in(epoch(3, work([drops(1, 3, 4)])), false), weight);
    held.begin();
    let batch = held.next(Allowance::ANY).unwrap();
    assert_eq!(shape(&batch), (vec![], 0, 0, 1), "the range may cover what is on disk");
    held.committed();
    assert_eq!(held.reached(), 3);
}

#[test]
fn a_transaction_stays_whole_and_its_settlements_wait_for_it() {
    let mut held = Held::default();
    let moved = QueueBatch { settles: vec![settle(1)], ..puts(1, 10..20, 100) };
    held.take_in(epoch(1, work([moved])), true);
    held.take_in(epoch(2, work([settles(2, [5], 1)])), false);
    held.begin();
    let mut tight = Allowance { messages: 100, definitions: 0 };
    assert_eq!(shape(&held.next(tight).unwrap()).2, 1, "an acknowledgement overtakes it");
    held.committed();
    assert_eq!(held.reached(), 0);
    assert!(held.next(tight).is_none(), "there is no room for all of it, so nothing of it comes");
    held.begin();
    tight.messages = 1 << 20;
    let batch = held.next(tight).unwrap();
    assert_eq!(shape(&batch), (vec![], 10, 1, 0));
    held.refused();
    assert!(held.next(tight).is_none(), "it has no smaller pieces");
    held.begin();
    assert_eq!(shape(&held.next(Allowance::ANY).unwrap()), (vec![], 10, 1, 0));
    assert!(held.committed() > 0);
    assert_eq!(held.reached(), 2);
}

#[test]
fn a_transaction_settles_a_message_that_is_held_only_together_with_its_own() {
    let engine = MemoryEngine::new();
    let mut held = Held::default();
    held.take_in(epoch(1, work([puts(1, [1], 10)])), false);
    let moved = work([settles(1, [1], 10), puts(2, [1], 10)]);
    assert_eq!(held.take_in(epoch(2, moved), true), 0, "the first may be confirmed without the second");
    held.begin();
    let first = held.next(Allowance::ANY).unwrap();
    assert!(matches!(engine.commit(&first), Commit::Done));
    held.committed();
    assert_eq!(held.reached(), 1);
    assert_eq!((positions(&engine, 1), positions(&engine, 2)), (vec![1], vec![]));
    let second = held.next(Allowance::ANY).unwrap();
    assert!(matches!(engine.commit(&second), Commit::Done));
    held.committed();
    assert_eq!((positions(&engine, 1), positions(&engine, 2)), (vec![], vec![1]));
    assert_eq!(held.reached(), 2);
}

#[test]
fn without_an_allowance_nothing_that_takes_room_comes() {
    let mut held = Held::default();
    held.take_in(
        epoch(1, define([Define::Put { key: vec![1], value: vec![1] }, Define::Delete { key: vec![2] }])),
        false,
    );
    held.take_in(epoch(2, work([QueueBatch { settles: vec![settle(1)], ..puts(1, [7], 10) }])), false);
    held.begin();
    let none = Allowance { messages: 0, definitions: 0 };
    let mut shapes = Vec::new();
    while let Some(batch) = held.next(none) {
        shapes.push(format!("{:?}", shape(&batch)));
        held.committed();
    }
    assert_eq!(shapes, [r#"(["delete"], 0, 0, 0)"#, "([], 0, 1, 0)"]);
    assert!(!none.covers(&work([puts(1, [7], 10)])) && none.covers(&work([settles(1, [7], 10)])));
}

/// Numbers that look random and repeat with their seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

type Place = (u64, Seq);

/// What was asked for so far.
#[derive(Default)]
struct Asked {
    epoch: u64,
    next: BTreeMap<u64, Seq>,
    /// Messages put and not settled.
    alive: BTreeSet<Place>,
    /// The epoch of each put.
    put: BTreeMap<Place, u64>,
    /// Settled or purged outside of transactions, or gone with their queue.
    gone: BTreeSet<Place>,
    /// Settlements by transactions.
    moved: BTreeMap<Place, u64>,
    dropped: BTreeSet<u64>,
    /// Transactions: what they put and what they settle.
    transactions: BTreeMap<u64, (Vec<Place>, Vec<Place>)>,
    weight: usize,
    /// Messages that were in the store at some time.
    seen: BTreeSet<Place>,
}

impl Asked {
    fn next(&mut self, random: &mut Random) -> (Batch, bool) {
        self.epoch += 1;
        let atomic = random.below(3) == 0;
        let before = self.alive.clone();
        let mut batch = Batch { epoch: self.epoch, ..Batch::default() };
        let (mut new, mut settled) = (Vec::new(), Vec::new());
        for queue in 1..=4u64 {
            if self.dropped.contains(&queue) {
                continue;
            }
            let mut work = QueueBatch::new(QueueId(queue));
            for _ in 0..random.below(5) {
                let next = self.next.entry(queue).or_insert(1);
                work.puts.push(put(*next, 0, &[b'm'; 10]));
                new.push((queue, *next));
                *next += 1;
            }
            self.weight += work.puts.iter().map(super::Put::weight).sum::<usize>();
            for place in before.iter().filter(|place| place.0 == queue) {
                if random.below(4) == 0 {
                    work.settles.push(settle(place.1));
                    settled.push(*place);
                }
            }
            if !atomic && random.below(12) == 0 {
                let until = self.next.get(&queue).copied().unwrap_or(1);
                let from = until.saturating_sub(1 + random.below(8));
                work.drops.push(DropRange { lane: 0, from, until });
                self.gone.extend((from..until).map(|seq| (queue, seq)));
            }
            if !(work.puts.is_empty() && work.settles.is_empty() && work.drops.is_empty()) {
                batch.queues.push(work);
            }
        }
        if random.below(25) == 0 {
            let queue = 1 + random.below(4);
            if self.dropped.insert(queue) {
                batch.definitions.push(Define::DropQueue { queue: QueueId(queue) });
                self.gone.extend((1..1_000).map(|seq| (queue, seq)));
            }
        }
        for place in &new {
            self.put.insert(*place, self.epoch);
            self.alive.insert(*place);
        }
        for place in &settled {
            self.alive.remove(place);
            if atomic {
                self.moved.insert(*place, self.epoch);
            } else {
                self.gone.insert(*place);
            }
        }
        self.alive.retain(|place| !self.gone.contains(place));
        if atomic {
            self.transactions.insert(self.epoch, (new, settled));
        }
        (batch, atomic)
    }

    /// Looks whether a crash now would leave anything that must not be.
    fn check(&mut self, engine: &MemoryEngine, reached: u64) {
        let mut there: BTreeSet<Place> = BTreeSet::new();
        for queue in 1..=4 {
            there.extend(positions(engine, queue).into_iter().map(|seq| (queue, seq)));
        }
        self.seen.extend(&there);
        let mut done = BTreeSet::new();
        for (epoch, (new, settled)) in &self.transactions {
            let counts = |place: &&Place| !self.gone.contains(place);
            let arrived = new.iter().filter(counts).all(|place| self.seen.contains(place));
            let settled_all = settled.iter().filter(counts).all(|place| !there.contains(place));
            let begun = new.iter().any(|place| there.contains(place))
                || settled.iter().filter(counts).any(|place| self.seen.contains(place) && !there.contains(place));
            assert!(!begun || arrived && settled_all, "transaction {epoch} is torn");
            assert!(*epoch > reached || arrived && settled_all, "transaction {epoch} was answered");
            if arrived && settled_all {
                done.insert(*epoch);
            }
        }
        for (place, epoch) in self.put.iter().filter(|(_, epoch)| **epoch <= reached) {
            let settled = self.gone.contains(place) || self.moved.get(place).is_some_and(|by| done.contains(by));
            assert!(settled || there.contains(place), "{place:?} of epoch {epoch} was confirmed and is lost");
        }
        for place in &there {
            assert!(self.put.contains_key(place), "{place:?} was never sent");
        }
    }
}

/// Answers at random, less often with success the more there is to write.
fn attempt(engine: &MemoryEngine, batch: &Batch, scarcity: u64, random: &mut Random) -> bool {
    let (definitions, puts, settles, drops) = shape(batch);
    let size = (definitions.len() + 4 * puts + settles + drops) as u64;
    if random.below(size + 1) > scarcity {
        return false;
    }
    assert!(matches!(engine.commit(batch), Commit::Done));
    true
}

#[test]
fn whatever_finds_room_no_confirm_is_false_and_no_transaction_is_torn() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let (engine, direct) = (MemoryEngine::new(), MemoryEngine::new());
        let (mut asked, mut held) = (Asked::default(), Held::default());
        let (mut reached, mut released) = (0, 0);
        for turn in 0..60 {
            let (batch, atomic) = asked.next(&mut random);
            assert!(matches!(direct.commit(&batch), Commit::Done));
            released += held.take_in(batch, atomic);
            held.begin();
            let scarcity = if turn == 59 { u64::MAX } else { random.below(20) };
            let allowance = Allowance { messages: 65_536 + random.below(40_000), definitions: u64::MAX };
            let allowance = if turn == 59 { Allowance::ANY } else { allowance };
            reached = reached.max(held.reached());
            asked.check(&engine, reached);
            while let Some(batch) = held.next(allowance) {
                if attempt(&engine, &batch, scarcity, &mut random) {
                    released += held.committed();
                    reached = reached.max(held.reached());
                } else {
                    held.refused();
                }
                asked.check(&engine, reached);
            }
        }
        assert!(held.is_empty() && reached == asked.epoch, "seed {seed}: with room everything goes");
        assert_eq!(released, asked.weight, "seed {seed}: the gauge is even");
        for queue in 1..=4 {
            assert_eq!(positions(&engine, queue), positions(&direct, queue), "seed {seed}, queue {queue}");
        }
    }
}
