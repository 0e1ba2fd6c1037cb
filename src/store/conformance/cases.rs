//! The cases of the conformance suite.

use super::Subject;
use crate::clock::NEVER;
use crate::message::Facts;
use crate::store::fixture::{all, define, done, drops, fanned, message, positions, put, puts, settles, work};
use crate::store::{Batch, Count, Define, DropRange, Put, QueueBatch, QueueId, Seq, Settle};

type Case = fn(&mut dyn Subject);

const CASES: &[(&str, Case)] = &[
    ("a new store is empty and clean", new_store),
    ("definitions", definitions),
    ("puts come back byte for byte", puts_come_back),
    ("settled messages stay away", settled),
    ("settling what is gone", settling_twice),
    ("holes in positions", sparse_positions),
    ("pages", pages),
    ("lanes", lanes),
    ("dropped ranges", dropped_ranges),
    ("a range across many blocks", long_range),
    ("dropped queues", dropped_queues),
    ("late work of a dropped queue", late_work),
    ("large messages", large_messages),
    ("one message in many queues", fan_out),
    ("one message in queues that go", fan_out_to_the_gone),
    ("clean and unclean ends", clean_flag),
    ("many queues in one commit", many_queues),
    ("expiry", expiry),
    ("counts", counts),
    ("counts go with their messages", counts_go),
    ("stretches", stretches),
];

pub(super) fn run(new: impl Fn() -> Box<dyn Subject>) {
    for (name, case) in CASES {
        println!("case: {name}");
        case(new().as_mut());
    }
}

fn sweep_all(subject: &dyn Subject) {
    while subject.engine().sweep().unwrap() {}
}

/// Count and octets of a lane at recovery.
fn totals(subject: &dyn Subject, queue: u64, lane: u8) -> Option<(u64, u64, Seq, Seq)> {
    let recovered = subject.engine().recover().unwrap();
    let queue = recovered.queues.get(&QueueId(queue))?;
    let lane = queue.lanes.iter().find(|found| found.lane == lane)?;
    assert!(queue.next_seq > lane.last);
    Some((lane.count, lane.bytes, lane.first, lane.last))
}

fn new_store(subject: &mut dyn Subject) {
    let recovered = subject.engine().recover().unwrap();
    assert!(recovered.clean && recovered.definitions.is_empty() && recovered.queues.is_empty());
    assert_eq!((recovered.next_queue_id, recovered.damage.len()), (1, 0));
    done(subject.engine(), &Batch::default());
    assert!(!subject.engine().sweep().unwrap());
    assert_eq!(positions(subject.engine(), 1), [0; 0]);
}

fn definitions(subject: &mut dyn Subject) {
    let put = |key: &[u8], value: &[u8]| Define::Put { key: key.to_vec(), value: value.to_vec() };
    let long = vec![b'k'; crate::store::MAX_KEY];
    done(subject.engine(), &define([put(b"b", b"1"), put(b"a", b"2"), put(&long, b"3"), Define::NextQueueId(9)]));
    let remove = Define::Delete { key: b"a".to_vec() };
    done(subject.engine(), &define([put(b"b", b"4"), remove.clone(), put(b"c", b""), Define::NextQueueId(5)]));
    done(subject.engine(), &define([remove, put(b"d", b"5"), Define::Delete { key: b"d".to_vec() }]));
    subject.reopen();
    let recovered = subject.engine().recover().unwrap();
    let expected = [(b"b".to_vec(), b"4".to_vec()), (b"c".to_vec(), Vec::new()), (long, b"3".to_vec())];
    assert_eq!(recovered.definitions, expected);
    assert_eq!(recovered.next_queue_id, 9, "it never falls");
}

fn puts_come_back(subject: &mut dyn Subject) {
    let facts = Facts { persistent: true, priority: 7, expiration: 1234, dead_lettered: true, redelivered: true };
    let message = message(b"body").readdressed(b"", &[b'r'; 255], &[0x80, 0, 1, b'x'], facts).unwrap();
    let kept = Put { seq: 4, lane: 7, expires_at: 99, message: message.clone() };
    done(subject.engine(), &work([QueueBatch { puts: vec![kept], ..QueueBatch::new(QueueId(3)) }]));
    subject.reopen();
    let page = subject.engine().read(QueueId(3), 7, 4, 5, 0).unwrap();
    assert_eq!((page.messages.len(), page.next, page.damaged), (1, None, 0));
    let stored = &page.messages[0];
    assert_eq!((stored.seq, stored.expires_at, stored.message.facts()), (4, 99, facts));
    assert_eq!(stored.message.record(), message.record());
    assert_eq!(stored.message.routing_key(), message.routing_key());
    assert_eq!(stored.message.properties(), message.properties());
    assert_eq!(subject.engine().recover().unwrap().next_queue_id, 4);
}

fn settled(subject: &mut dyn Subject) {
    done(subject.engine(), &work([puts(1, 1..=300, 10)]));
    done(subject.engine(), &work([settles(1, (1..=300).rev().filter(|seq| seq % 3 != 0), 10)]));
    let left: Vec<Seq> = (1..=300).filter(|seq| seq % 3 == 0).collect();
    assert_eq!(positions(subject.engine(), 1), left);
    subject.reopen();
    assert_eq!(positions(subject.engine(), 1), left);
    assert_eq!(totals(subject, 1, 0), Some((100, 1000, 3, 300)));
    done(subject.engine(), &work([settles(1, left, 10)]));
    assert_eq!(positions(subject.engine(), 1), [0; 0]);
    subject.reopen();
    assert_eq!(totals(subject, 1, 0), None);
}

fn settling_twice(subject: &mut dyn Subject) {
    done(subject.engine(), &work([puts(1, [5, 6, 7], 10)]));
    done(subject.engine(), &work([settles(1, [6, 6, 1, 4, 8, 9000], 10), settles(2, [5], 10)]));
    done(subject.engine(), &work([settles(1, [6], 10)]));
    let other_lane = Settle { seq: 5, lane: 1, body_len: 10, counted: false };
    done(subject.engine(), &work([QueueBatch { settles: vec![other_lane], ..QueueBatch::new(QueueId(1)) }]));
    assert_eq!(positions(subject.engine(), 1), [5, 7]);
    assert_eq!(totals(subject, 1, 0), Some((2, 20, 5, 7)));
}

fn sparse_positions(subject: &mut dyn Subject) {
    let sparse = [1, 3, 1000, 1001, 1025, 5000, 1 << 40, (1 << 40) + 1023, (1 << 40) + 1024];
    done(subject.engine(), &work([puts(1, sparse, 1)]));
    assert_eq!(positions(subject.engine(), 1), sparse);
    done(subject.engine(), &work([settles(1, [1000, 1025, 1 << 40], 1)]));
    subject.reopen();
    assert_eq!(positions(subject.engine(), 1), [1, 3, 1001, 5000, (1 << 40) + 1023, (1 << 40) + 1024]);
    assert_eq!(totals(subject, 1, 0), Some((6, 6, 1, (1 << 40) + 1024)));
}

fn pages(subject: &mut dyn Subject) {
    done(subject.engine(), &work([puts(1, 10..=400, 100)]));
    let engine = subject.engine();
    let record = message(&[b'm'; 100]).record().len();
    let page = engine.read(QueueId(1), 0, 0, 1000, record * 3).unwrap();
    assert_eq!(page.messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [10, 11, 12]);
    assert_eq!(page.next, Some(13));
    let page = engine.read(QueueId(1), 0, 13, 15, usize::MAX).unwrap();
    assert_eq!((page.messages.len(), page.next), (2, None));
    let page = engine.read(QueueId(1), 0, 136, 139, 0).unwrap();
    assert_eq!((page.messages.len(), page.next), (1, Some(137)), "at least one message");
    let page = engine.read(QueueId(1), 0, 400, Seq::MAX, 0).unwrap();
    assert_eq!((page.messages.len(), page.next), (1, None), "nothing is left");
    for (from, until) in [(401, Seq::MAX), (0, 10), (50, 50), (60, 50), (Seq::MAX, Seq::MAX)] {
        let page = engine.read(QueueId(1), 0, from, until, 1000).unwrap();
        assert_eq!((page.messages.len(), page.next), (0, None), "{from}..{until}");
    }
    assert_eq!(all(engine, 1, 0, 1).len(), 391);
    assert_eq!(all(engine, 1, 0, record * 7 + 1).len(), 391);
}

fn lanes(subject: &mut dyn Subject) {
    let lane_of = |seq: Seq| [0, 9, 255][usize::try_from(seq % 3).unwrap()];
    let puts = (1..=600).map(|seq| put(seq, lane_of(seq), &[b'x'; 5])).collect();
    done(subject.engine(), &work([QueueBatch { puts, ..QueueBatch::new(QueueId(1)) }]));
    let settles = (1..=300).map(|seq| Settle { seq, lane: lane_of(seq), body_len: 5, counted: false }).collect();
    done(subject.engine(), &work([QueueBatch { settles, ..QueueBatch::new(QueueId(1)) }]));
    subject.reopen();
    for lane in [0, 9, 255] {
        let expected: Vec<Seq> = (301..=600).filter(|seq| lane_of(*seq) == lane).collect();
        let found: Vec<Seq> = all(subject.engine(), 1, lane, 200).into_iter().map(|(seq, _)| seq).collect();
        assert_eq!(found, expected);
        assert_eq!(totals(subject, 1, lane), Some((100, 500, expected[0], expected[99])));
    }
    let recovered = subject.engine().recover().unwrap();
    let order: Vec<u8> = recovered.queues[&QueueId(1)].lanes.iter().map(|lane| lane.lane).collect();
    assert_eq!(order, [0, 9, 255]);
}

fn dropped_ranges(subject: &mut dyn Subject) {
    done(subject.engine(), &work([puts(1, 1..=500, 10), puts(2, 1..=10, 10)]));
    // Within one block, across a border, and backwards or empty.
    done(subject.engine(), &work([drops(1, 5, 8)]));
    done(subject.engine(), &work([drops(1, 100, 200), drops(2, 5, 5)]));
    done(subject.engine(), &work([drops(1, 9, 8)]));
    let left: Vec<Seq> = (1..=500).filter(|seq| !(5..8).contains(seq) && !(100..200).contains(seq)).collect();
    assert_eq!(positions(subject.engine(), 1), left);
    subject.reopen();
    assert_eq!(positions(subject.engine(), 1), left);
    assert_eq!(totals(subject, 1, 0), Some((397, 3970, 1, 500)));
    sweep_all(subject);
    assert_eq!(positions(subject.engine(), 1), left);
    assert_eq!(positions(subject.engine(), 2).len(), 10);
}

fn long_range(subject: &mut dyn Subject) {
    for start in (0..1000).step_by(5) {
        done(subject.engine(), &work([puts(1, start + 1..=start + 5, 3)]));
    }
    // The same batch adds a message, and one that the range covers.
    let mut both = drops(1, 3, 1002);
    both.puts = vec![put(1001, 0, b"gone"), put(1002, 0, b"new")];
    done(subject.engine(), &work([both]));
    for _ in 0..2 {
        assert_eq!(positions(subject.engine(), 1), [1, 2, 1002]);
        assert_eq!(totals(subject, 1, 0), Some((3, 9, 1, 1002)));
        subject.reopen();
    }
    assert_eq!(subject.engine().read(QueueId(1), 0, 3, 1002, 100).unwrap().messages.len(), 0);
    done(subject.engine(), &work([drops(1, 1, 1003)]));
    done(subject.engine(), &work([puts(1, [1003], 3), settles(1, [7, 500], 3)]));
    assert_eq!(positions(subject.engine(), 1), [1003]);
    sweep_all(subject);
    subject.reopen();
    assert_eq!(positions(subject.engine(), 1), [1003]);
    assert_eq!(totals(subject, 1, 0), Some((1, 3, 1003, 1003)));
}

fn dropped_queues(subject: &mut dyn Subject) {
    for seq in 1..=20 {
        done(subject.engine(), &work([puts(1, [seq], 3), puts(2, [seq], 3), puts(3, [seq], 3)]));
    }
    done(subject.engine(), &work([drops(2, 1, 15)]));
    let drop = |queue| Define::DropQueue { queue: QueueId(queue) };
    done(subject.engine(), &define([drop(2), drop(7)]));
    assert_eq!(positions(subject.engine(), 2), [0; 0]);
    subject.reopen();
    let recovered = subject.engine().recover().unwrap();
    assert_eq!(recovered.queues.keys().map(|id| id.0).collect::<Vec<_>>(), [1, 3]);
    sweep_all(subject);
    subject.reopen();
    assert_eq!(positions(subject.engine(), 2), [0; 0]);
    for neighbour in [1, 3] {
        assert_eq!(positions(subject.engine(), neighbour), (1..=20).collect::<Vec<_>>());
    }
}

fn late_work(subject: &mut dyn Subject) {
    done(subject.engine(), &work([puts(1, 1..=3, 3)]));
    let mut batch = work([puts(1, 4..=5, 3), puts(2, [1], 3)]);
    batch.definitions.push(Define::DropQueue { queue: QueueId(1) });
    done(subject.engine(), &batch);
    assert_eq!(positions(subject.engine(), 1), [0; 0]);
    assert_eq!(positions(subject.engine(), 2), [1]);
}

fn large_messages(subject: &mut dyn Subject) {
    let pattern = |len: usize| (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect::<Vec<u8>>();
    let bodies = [pattern(500 << 10), pattern(20 << 20), pattern(1), pattern(500 << 10)];
    let puts: Vec<Put> = (1..).zip(&bodies).map(|(seq, body)| put(seq, 0, body)).collect();
    done(subject.engine(), &work([QueueBatch { puts, ..QueueBatch::new(QueueId(1)) }]));
    subject.reopen();
    let found = all(subject.engine(), 1, 0, 1 << 20);
    assert!(found.iter().map(|(_, body)| body).eq(&bodies), "bodies differ");
    done(subject.engine(), &work([settles(1, [2], 20 << 20)]));
    assert_eq!(totals(subject, 1, 0), Some((3, (1000 << 10) + 1, 1, 4)));
}

/// Octets of a body that is large enough to be shared.
const LARGE: usize = 10_000;

fn fan_out(subject: &mut dyn Subject) {
    let large = u32::try_from(LARGE).unwrap();
    done(subject.engine(), &work(fanned(1..=4, 1..=40, LARGE)));
    done(subject.engine(), &work([puts(1, [41], LARGE), puts(5, [1], 3)]));
    for _ in 0..2 {
        for queue in 1..=4 {
            assert_eq!(totals(subject, queue, 0).map(|lane| lane.0), Some(40 + u64::from(queue == 1)));
            let found = all(subject.engine(), queue, 0, 3 * LARGE);
            assert!(found.iter().all(|(_, body)| *body == [b'm'; LARGE]), "read again, it is the same");
        }
        subject.reopen();
    }
    // One queue lets go of some, one of all, one is purged, one deleted: the others keep theirs.
    done(subject.engine(), &work([settles(1, (1..=40).filter(|seq| seq % 2 == 0), large), settles(2, 1..=40, large)]));
    assert_eq!(positions(subject.engine(), 1), (1..=41).filter(|seq| seq % 2 == 1).collect::<Vec<_>>());
    assert_eq!(positions(subject.engine(), 2), [0; 0]);
    done(subject.engine(), &work([drops(3, 1, 39)]));
    assert_eq!(positions(subject.engine(), 3), [39, 40]);
    done(subject.engine(), &define([Define::DropQueue { queue: QueueId(1) }]));
    subject.reopen();
    sweep_all(subject);
    assert_eq!(positions(subject.engine(), 4), (1..=40).collect::<Vec<_>>());
    done(subject.engine(), &work([settles(3, [39, 40], large), settles(4, 2..=40, large)]));
    subject.reopen();
    assert_eq!(all(subject.engine(), 4, 0, LARGE), [(1, vec![b'm'; LARGE])]);
    assert_eq!(totals(subject, 4, 0), Some((1, large.into(), 1, 1)));
    done(subject.engine(), &work(fanned(2..=3, 50..=51, LARGE)));
    done(subject.engine(), &work([settles(4, [1], large)]));
    assert_eq!((positions(subject.engine(), 2), positions(subject.engine(), 3)), (vec![50, 51], vec![50, 51]));
}

fn fan_out_to_the_gone(subject: &mut dyn Subject) {
    done(subject.engine(), &work([puts(1, [1], 3), puts(2, [1], 3)]));
    // Deleted and purged by the very commit that brings it.
    let mut batch = work(fanned(1..=3, 2..=4, LARGE));
    batch.definitions.push(Define::DropQueue { queue: QueueId(1) });
    batch.queues[1].drops.push(DropRange { lane: 0, from: 1, until: 4 });
    done(subject.engine(), &batch);
    for _ in 0..2 {
        assert_eq!(positions(subject.engine(), 1), [0; 0]);
        assert_eq!(positions(subject.engine(), 2), [4]);
        assert_eq!(positions(subject.engine(), 3), [2, 3, 4]);
        sweep_all(subject);
        subject.reopen();
    }
    done(subject.engine(), &work(fanned([2], 5..=6, LARGE)));
    assert_eq!(positions(subject.engine(), 2), [4, 5, 6]);
}

fn clean_flag(subject: &mut dyn Subject) {
    assert!(subject.engine().recover().unwrap().clean, "a new store");
    done(subject.engine(), &work([puts(1, 1..=5, 3)]));
    subject.reopen();
    assert!(!subject.engine().recover().unwrap().clean, "the first run was killed");
    let redelivered = QueueBatch { redelivered: vec![2, 4], ..QueueBatch::new(QueueId(1)) };
    done(subject.engine(), &Batch { clean_shutdown: true, ..work([redelivered]) });
    subject.reopen();
    let recovered = subject.engine().recover().unwrap();
    assert!(recovered.clean);
    assert_eq!(recovered.queues[&QueueId(1)].redelivered, [2, 4]);
    subject.reopen();
    let recovered = subject.engine().recover().unwrap();
    assert!(!recovered.clean, "killed right after the start");
    assert_eq!(recovered.queues[&QueueId(1)].redelivered, [0; 0]);
    assert_eq!(recovered.queues[&QueueId(1)].lanes[0].count, 5);
}

fn many_queues(subject: &mut dyn Subject) {
    done(subject.engine(), &work((1..=1000).map(|queue| puts(queue, [1, 2], 20))));
    done(subject.engine(), &work((1..=1000).map(|queue| settles(queue, [1 + queue % 2], 20))));
    subject.reopen();
    let recovered = subject.engine().recover().unwrap();
    assert_eq!((recovered.queues.len(), recovered.next_queue_id), (1000, 1001));
    for (id, queue) in recovered.queues {
        assert_eq!((queue.lanes[0].count, queue.lanes[0].first), (1, 2 - id.0 % 2));
    }
}

fn expiry(subject: &mut dyn Subject) {
    let mut batch = puts(1, 1..=3, 3);
    batch.puts[0].expires_at = 700;
    done(subject.engine(), &work([batch, puts(2, 1..=3, 3)]));
    subject.reopen();
    let recovered = subject.engine().recover().unwrap();
    assert_eq!(recovered.queues[&QueueId(1)].lanes[0].head_expiry, 700);
    assert_eq!(recovered.queues[&QueueId(2)].lanes[0].head_expiry, NEVER);
}

fn count(seq: Seq, lane: u8, failures: u32) -> Count {
    Count { seq, lane, failures, acquired: failures + 1 }
}

fn counting(queue: u64, counts: impl IntoIterator<Item = Count>) -> QueueBatch {
    QueueBatch { counts: counts.into_iter().collect(), ..QueueBatch::new(QueueId(queue)) }
}

/// What is counted of a queue, by lane and position.
fn counted(subject: &dyn Subject, queue: u64) -> Vec<(u8, Seq, u32)> {
    let recovered = subject.engine().recover().unwrap();
    assert_eq!(recovered.damage, [""; 0]);
    let counts = recovered.queues.get(&QueueId(queue)).map(|queue| queue.counts.clone()).unwrap_or_default();
    assert!(counts.iter().all(|count| count.acquired == count.failures + 1));
    let mut found: Vec<_> = counts.iter().map(|count| (count.lane, count.seq, count.failures)).collect();
    found.sort_unstable();
    found
}

fn counts(subject: &mut dyn Subject) {
    done(subject.engine(), &work([QueueBatch { counts: vec![count(2, 0, 0)], ..puts(1, 1..=300, 1) }]));
    done(subject.engine(), &work([counting(1, [count(300, 0, 7), count(63, 0, 1), count(64, 0, 1), count(2, 0, 3)])]));
    done(subject.engine(), &work([puts(2, [2], 1), counting(3, [])]));
    for _ in 0..2 {
        assert_eq!(counted(subject, 1), [(0, 2, 3), (0, 63, 1), (0, 64, 1), (0, 300, 7)]);
        assert_eq!(counted(subject, 2), []);
        subject.reopen();
    }
}

fn counts_go(subject: &mut dyn Subject) {
    let lanes = (1..=400).map(|seq| put(seq, u8::from(seq.is_multiple_of(2)), b"x")).collect();
    let lane_of = |seq: Seq| u8::from(seq.is_multiple_of(2));
    let all = (1..=400).map(|seq| count(seq, lane_of(seq), 1)).collect();
    done(subject.engine(), &work([QueueBatch { puts: lanes, counts: all, ..QueueBatch::new(QueueId(1)) }]));
    let settle = |seq| Settle { seq, lane: lane_of(seq), body_len: 1, counted: true };
    let settles = vec![settle(1), settle(2), settle(400)];
    done(subject.engine(), &work([QueueBatch { settles, ..QueueBatch::new(QueueId(1)) }]));
    assert_eq!(counted(subject, 1).len(), 397);
    let drops = vec![DropRange { lane: 1, from: 10, until: 391 }, DropRange { lane: 0, from: 390, until: 390 }];
    done(subject.engine(), &work([QueueBatch { drops, ..QueueBatch::new(QueueId(1)) }]));
    subject.reopen();
    let left = |lane: u8| counted(subject, 1).into_iter().filter(|c| c.0 == lane).map(|c| c.1).collect::<Vec<_>>();
    assert_eq!(left(1), [4, 6, 8, 392, 394, 396, 398]);
    assert_eq!(left(0).len(), 199);
    done(subject.engine(), &define([Define::DropQueue { queue: QueueId(1) }]));
    sweep_all(subject);
    subject.reopen();
    assert_eq!(counted(subject, 1), []);
}

fn stretches(subject: &mut dyn Subject) {
    let expiring = |seq: Seq| Put { expires_at: 10_000 - seq, ..put(seq, 3, b"body") };
    done(subject.engine(), &work([puts(1, 1..=5, 10)]));
    done(
        subject.engine(),
        &work([QueueBatch { puts: (1..=400).map(expiring).collect(), ..QueueBatch::new(QueueId(2)) }]),
    );
    let gone = (1..=400).filter(|seq| seq % 7 == 0 || (100..=300).contains(seq));
    let settles = gone.map(|seq| Settle { seq, lane: 3, body_len: 4, counted: false }).collect();
    done(subject.engine(), &work([QueueBatch { settles, ..QueueBatch::new(QueueId(2)) }]));
    subject.reopen();
    let found = subject.engine().stretches(QueueId(2), 3).unwrap();
    assert!(found.len() > 1, "one row does not hold all");
    assert!(found.is_sorted_by(|a, b| a.last < b.first));
    for stretch in &found {
        let page = subject.engine().read(QueueId(2), 3, stretch.first, stretch.last + 1, usize::MAX).unwrap();
        assert_eq!(page.messages.len() as u64, stretch.count);
        let (first, last) = (page.messages.first().unwrap(), page.messages.last().unwrap());
        assert_eq!((first.seq, last.seq), (stretch.first, stretch.last));
        assert!(page.messages.iter().all(|stored| stored.expires_at >= stretch.earliest_expiry));
    }
    assert_eq!(
        found.iter().map(|stretch| stretch.count).sum::<u64>(),
        (1..=400).filter(|s| s % 7 != 0 && !(100..=300).contains(s)).count() as u64
    );
    assert!(subject.engine().stretches(QueueId(2), 0).unwrap().is_empty());
    done(subject.engine(), &define([Define::DropQueue { queue: QueueId(2) }]));
    assert!(subject.engine().stretches(QueueId(2), 3).unwrap().is_empty());
}
