//! Random batches against a naive model, with reopening, sweeping and reading in between.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::{CAPACITIES, Faulty, Lmdb, Logged, Memory, Subject};
use crate::message::Message;
use crate::store::fixture::{done, message, put};
use crate::store::{Batch, Count, Define, DropRange, Put, QueueBatch, QueueId, Seq, Settle};

const LANES: u8 = 3;

/// Work for one queue; positions are chosen when it is applied.
#[derive(Clone, Debug)]
struct Work {
    slot: usize,
    puts: Vec<(u8, Seq, usize)>,
    settles: Vec<Index>,
    counts: Vec<(Index, u32)>,
    drop: Option<(u8, Index, Index)>,
}

#[derive(Clone, Debug)]
enum Step {
    /// The messages of `fans` go to every queue there is work for.
    Commit {
        work: Vec<Work>,
        fans: Vec<(u8, usize)>,
        drop_queue: Option<usize>,
        define: Option<(u8, Option<u8>)>,
    },
    Read {
        slot: usize,
        lane: u8,
        from: Index,
        until: Index,
        budget: usize,
    },
    Sweep,
    Reopen,
}

#[derive(Default)]
struct Model {
    /// Queue ids now standing for the slots.
    ids: [u64; 4],
    next_id: u64,
    kept: BTreeMap<(u64, u8, Seq), Vec<u8>>,
    /// Counts of kept messages.
    counts: BTreeMap<(u64, u8, Seq), u32>,
    next_seq: BTreeMap<u64, Seq>,
    definitions: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Model {
    fn new() -> Self {
        Self { ids: [1, 2, 3, 4], next_id: 5, ..Self::default() }
    }

    fn next_seq(&mut self, queue: u64) -> &mut Seq {
        self.next_seq.entry(queue).or_insert(1)
    }

    /// Some position up to the next one.
    fn position(&mut self, queue: u64, index: Index) -> Seq {
        let next = *self.next_seq(queue);
        index.index(usize::try_from(next).unwrap() + 1) as Seq
    }

    fn lane(&self, queue: u64, lane: u8, from: Seq, until: Seq) -> Vec<(Seq, Vec<u8>)> {
        let all = self.kept.range((queue, lane, 0)..=(queue, lane, Seq::MAX));
        all.filter(|(key, _)| (from..until).contains(&key.2)).map(|(key, body)| (key.2, body.clone())).collect()
    }

    fn batch(
        &mut self,
        work: Vec<Work>,
        fans: &[(u8, usize)],
        drop_queue: Option<usize>,
        define: Option<(u8, Option<u8>)>,
    ) -> Batch {
        let mut batch = Batch::default();
        let fan = |(lane, len): &(u8, usize)| (*lane, message(&vec![b'a' + u8::try_from(len % 26).unwrap(); *len]));
        let fans: Vec<(u8, Message)> = fans.iter().map(fan).collect();
        if let Some(slot) = drop_queue {
            let queue = std::mem::replace(&mut self.ids[slot], self.next_id);
            self.next_id += 1;
            self.kept.retain(|key, _| key.0 != queue);
            self.counts.retain(|key, _| key.0 != queue);
            batch.definitions.push(Define::DropQueue { queue: QueueId(queue) });
            batch.definitions.push(Define::NextQueueId(self.next_id));
        }
        match define {
            Some((key, Some(value))) => {
                self.definitions.insert(vec![key], vec![value]);
                batch.definitions.push(Define::Put { key: vec![key], value: vec![value] });
            }
            Some((key, None)) => {
                self.definitions.remove(&vec![key]);
                batch.definitions.push(Define::Delete { key: vec![key] });
            }
            None => {}
        }
        for work in work {
            if batch.queues.iter().all(|queue| queue.queue.0 != self.ids[work.slot]) {
                let queue = self.queue_batch(work, &fans);
                batch.queues.push(queue);
            }
        }
        batch
    }

    fn queue_batch(&mut self, work: Work, fans: &[(u8, Message)]) -> QueueBatch {
        let queue = self.ids[work.slot];
        let mut batch = QueueBatch::new(QueueId(queue));
        let settleable: Vec<(u8, Seq)> =
            self.kept.range((queue, 0, 0)..(queue + 1, 0, 0)).map(|(key, _)| (key.1, key.2)).collect();
        for index in work.settles.iter().filter(|_| !settleable.is_empty()) {
            let (lane, seq) = *index.get(&settleable);
            if let Some(body) = self.kept.remove(&(queue, lane, seq)) {
                let counted = self.counts.remove(&(queue, lane, seq)).is_some();
                batch.settles.push(Settle { seq, lane, body_len: u32::try_from(body.len()).unwrap(), counted });
            }
        }
        for (lane, gap, len) in work.puts {
            let seq = *self.next_seq(queue) + gap;
            let body = vec![u8::try_from(seq % 256).unwrap(); len];
            *self.next_seq(queue) = seq + 1;
            batch.puts.push(put(seq, lane, &body));
            self.kept.insert((queue, lane, seq), body);
        }
        for (lane, message) in fans {
            let seq = *self.next_seq(queue);
            *self.next_seq(queue) = seq + 1;
            batch.puts.push(Put { message: message.clone(), ..put(seq, *lane, b"") });
            self.kept.insert((queue, *lane, seq), message.body().to_vec());
        }
        let countable: Vec<_> = self.kept.range((queue, 0, 0)..(queue + 1, 0, 0)).map(|(key, _)| *key).collect();
        let mut counts = BTreeMap::new();
        for (index, failures) in work.counts.iter().filter(|_| !countable.is_empty()) {
            let key = *index.get(&countable);
            self.counts.insert(key, *failures);
            counts.insert(key, Count { seq: key.2, lane: key.1, failures: *failures, acquired: 1 });
        }
        batch.counts.extend(counts.into_values());
        if let Some((lane, from, until)) = work.drop {
            let (from, until) = (self.position(queue, from), self.position(queue, until));
            batch.drops.push(DropRange { lane, from, until: until.min(*self.next_seq(queue)) });
            self.kept.retain(|key, _| (key.0, key.1) != (queue, lane) || !(from..until).contains(&key.2));
            self.counts.retain(|key, _| self.kept.contains_key(key));
        }
        batch
    }

    fn check(&self, subject: &dyn Subject) {
        let recovered = subject.engine().recover().unwrap();
        assert_eq!(recovered.damage, [""; 0]);
        assert_eq!(subject.findings(), [""; 0]);
        assert_eq!(recovered.definitions, self.definitions.clone().into_iter().collect::<Vec<_>>());
        assert!(recovered.next_queue_id <= self.next_id);
        for queue in self.ids {
            let found = recovered.queues.get(&QueueId(queue));
            let counts = found.map_or(&[][..], |queue| &queue.counts[..]);
            let counts: BTreeMap<_, _> = counts.iter().map(|c| ((queue, c.lane, c.seq), c.failures)).collect();
            let expected = self.counts.iter().filter(|(key, _)| key.0 == queue).map(|(key, n)| (*key, *n));
            assert_eq!(counts, expected.collect());
            for lane in 0..LANES {
                let expected = self.lane(queue, lane, 0, Seq::MAX);
                let found = found.and_then(|queue| queue.lanes.iter().find(|found| found.lane == lane));
                let bytes = |body: &[(Seq, Vec<u8>)]| body.iter().map(|(_, body)| body.len() as u64).sum::<u64>();
                assert_eq!(
                    found.map(|lane| (lane.count, lane.bytes, lane.first, lane.last)),
                    expected.first().map(|first| {
                        (expected.len() as u64, bytes(&expected), first.0, expected[expected.len() - 1].0)
                    })
                );
                let page = subject.engine().read(QueueId(queue), lane, 0, Seq::MAX, usize::MAX).unwrap();
                assert_eq!((page.next, page.damaged), (None, 0));
                let bodies = page.messages.iter().map(|stored| (stored.seq, stored.message.body().to_vec()));
                assert_eq!(bodies.collect::<Vec<_>>(), expected);
            }
        }
        let kept = |id: &QueueId| self.ids.contains(&id.0);
        assert!(recovered.queues.keys().all(kept), "a dropped queue is back");
    }
}

fn run(subject: &mut dyn Subject, steps: Vec<Step>) {
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Commit { work, fans, drop_queue, define } => {
                done(subject.engine(), &model.batch(work, &fans, drop_queue, define));
            }
            Step::Read { slot, lane, from, until, budget } => {
                let queue = model.ids[slot];
                let (from, until) = (model.position(queue, from), model.position(queue, until));
                let page = subject.engine().read(QueueId(queue), lane, from, until, budget).unwrap();
                let expected = model.lane(queue, lane, from, until);
                let next = expected.get(page.messages.len()).map(|(seq, _)| *seq);
                assert_eq!(page.damaged, 0);
                if subject.is_exact() {
                    assert_eq!(page.next, next);
                } else {
                    assert!(next.is_none_or(|next| page.next.is_some_and(|named| named <= next)));
                    assert!(page.next.is_none_or(|named| page.messages.last().is_none_or(|last| last.seq < named)));
                }
                assert!(!page.messages.is_empty() || expected.is_empty());
                let found: Vec<Seq> = page.messages.iter().map(|stored| stored.seq).collect();
                assert!(expected.iter().map(|(seq, _)| *seq).take(found.len()).eq(found));
            }
            Step::Sweep => {
                subject.engine().sweep().unwrap();
            }
            Step::Reopen => {
                subject.reopen();
                model.check(subject);
            }
        }
    }
    subject.reopen();
    model.check(subject);
}

fn work() -> impl Strategy<Value = Work> {
    let gap = prop_oneof![8 => Just(0u64), 3 => 1u64..4, 1 => 900u64..1200];
    let len = prop_oneof![9 => 0usize..300, 1 => 60_000usize..140_000];
    let puts = prop::collection::vec((0..LANES, gap, len), 0..30);
    let drop = prop::option::weighted(0.2, (0..LANES, any::<Index>(), any::<Index>()));
    let settles = prop::collection::vec(any::<Index>(), 0..30);
    let counts = prop::collection::vec((any::<Index>(), 0..9u32), 0..30);
    (0..4usize, puts, settles, counts, drop).prop_map(|(slot, puts, settles, counts, drop)| Work {
        slot,
        puts,
        settles,
        counts,
        drop,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let define = prop::option::weighted(0.3, (0..5u8, any::<Option<u8>>()));
    let len = prop_oneof![1 => 0usize..300, 2 => 4_000usize..5_000, 1 => 60_000usize..140_000];
    let fans = prop::collection::vec((0..LANES, len), 0..6);
    let commit = (prop::collection::vec(work(), 0..4), fans, prop::option::weighted(0.1, 0..4usize), define);
    let read = (0..4usize, 0..LANES, any::<Index>(), any::<Index>(), 0usize..200_000);
    let step = prop_oneof![
        8 => commit.prop_map(|(work, fans, drop_queue, define)| Step::Commit { work, fans, drop_queue, define }),
        4 => read.prop_map(|(slot, lane, from, until, budget)| Step::Read { slot, lane, from, until, budget }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_batches_in_memory(steps in steps()) {
        run(&mut Memory::default(), steps);
    }

    #[test]
    fn random_batches_through_the_faulty_engine(steps in steps()) {
        run(&mut Faulty::default(), steps);
    }

    #[test]
    fn random_batches_on_disk(steps in steps()) {
        run(&mut Lmdb::new(None), steps);
    }

    #[test]
    fn random_batches_through_a_redo_log(steps in steps(), capacity in prop::sample::select(CAPACITIES.to_vec())) {
        run(&mut Logged::new(capacity), steps);
    }

    #[test]
    fn random_batches_on_disk_with_deferred_removals(steps in steps()) {
        run(&mut Lmdb::new(Some(2)), steps);
    }
}
