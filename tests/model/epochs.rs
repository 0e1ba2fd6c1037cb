//! The protocol between queues, intake, writer and store: nothing is confirmed early, nothing is lost, nothing rises
//! from the dead, whatever the store does and however threads meet.

use std::path::Path;
use std::sync::Arc;

use leveret::config::Config;
use leveret::queue::Queue;
use leveret::store::faulty::Faults;
use leveret::store::memory::MemoryEngine;

use crate::node::{Client, Node, Verdict, kept, leases, soon};
use crate::rng::Rng;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_confirmed_before_its_commit() {
    let node = Node::start(&MemoryEngine::new());
    let (queue, created) = node.declare("q", &[]);
    assert!(node.durable(created).await);
    let before = node.faults.calls().commits;
    node.faults.hold_from(before + 1);
    let first = node.publish(&queue, [1]);
    assert!(node.faults.wait_entered(before + 1));
    let second = node.publish(&queue, [2]);
    assert!(second > first, "what comes after the visit belongs to a later commit");
    assert!(!node.committed(first) && !node.committed(second));
    node.faults.release_through(before + 1);
    assert!(node.durable(first).await);
    assert!(node.faults.wait_entered(before + 2));
    assert!(!node.committed(second), "its commit is under way");
    node.faults.release();
    assert!(node.durable(second).await);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_room_is_tried_again_in_pieces() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let (queue, created) = node.declare("q", &[]);
    assert!(node.durable(created).await);
    let before = node.faults.calls();
    node.faults.answer_full(2);
    assert!(node.durable(node.publish(&queue, [1, 2])).await);
    let after = node.faults.calls();
    assert_eq!((after.commits - before.commits, after.applied - before.applied), (4, 2));
    node.stop().await.unwrap();
    assert_eq!(kept(&memory), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_unknown_or_fenced_commit_nothing_is_confirmed() {
    for fenced in [false, true] {
        let node = Node::start(&MemoryEngine::new());
        let (queue, created) = node.declare("q", &[]);
        assert!(node.durable(created).await);
        let (mark, next) = (node.broker().watermark.get(), node.faults.calls().commits + 1);
        if fenced {
            node.faults.fence_from(next);
        } else {
            node.faults.fail_after(next);
        }
        let epoch = node.publish(&queue, [1]);
        assert!(!soon(node.broker().failed()).await.is_empty(), "the reason is told");
        assert!(!node.durable(epoch).await);
        let later = node.publish(&queue, [2]);
        assert!(!node.durable(later).await);
        assert_eq!(node.broker().watermark.get(), mark, "the mark stands still");
        assert!(node.stop().await.is_err());
    }
}

/// Publishes in runs of random length, every other run with confirms.
async fn publisher(node: Arc<Node>, queues: [Arc<Queue>; 2], ids: std::ops::Range<u64>, mut rng: Rng) {
    let mut next = ids.start;
    while next < ids.end {
        let end = (next + 1 + rng.below(9)).min(ids.end);
        let messages = (next..end).map(crate::messages::persistent).collect();
        let epoch = node.push(&queues[rng.index(2)], messages, rng.chance(1, 2));
        if rng.chance(1, 8) {
            assert!(node.durable(epoch).await);
        }
        next = end;
        tokio::task::yield_now().await;
    }
}

/// Acknowledges everything in random portions, after returning some of it; ends when the message that says so has
/// been seen and nothing is left.
async fn consumer(node: Arc<Node>, queue: Arc<Queue>, client: Client, last: u64, mut rng: Rng) -> Vec<u64> {
    let (mut acked, mut ended) = (Vec::new(), false);
    while !ended || queue.inspect(|state| state.ready() + state.leased() > 0) {
        let mut received = client.receive(1).await;
        while !received.is_empty() {
            let n = 1 + rng.index(received.len());
            let portion: Vec<_> = received.drain(..n).collect();
            let verdict = if rng.chance(1, 5) { Verdict::Requeue } else { Verdict::Ack };
            if matches!(verdict, Verdict::Ack) {
                ended |= portion.iter().any(|(id, ..)| *id == last);
                acked.extend(portion.iter().map(|(id, ..)| *id));
            }
            node.settle(&queue, leases(portion), verdict);
            tokio::task::yield_now().await;
        }
    }
    acked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_left_between_publishers_consumers_and_the_writer() {
    const EACH: u64 = 400;
    for seed in 0..12 {
        let memory = MemoryEngine::new();
        let node = Arc::new(Node::start(&memory));
        let queues = ["a", "b"].map(|name| node.declare(name, &[]).0);
        let last = [u64::MAX, u64::MAX - 1];
        let consumers = [0, 1].map(|at| {
            let client = Client::subscribe(&node, &queues[at], 20);
            tokio::spawn(consumer(node.clone(), queues[at].clone(), client, last[at], Rng::new(seed * 10 + at as u64)))
        });
        let publishers = (0..3).map(|at| {
            let ids = at * EACH..(at + 1) * EACH;
            tokio::spawn(publisher(node.clone(), queues.clone(), ids, Rng::new(seed * 10 + 5 + at)))
        });
        for publisher in publishers.collect::<Vec<_>>() {
            soon(publisher).await.unwrap();
        }
        node.publish(&queues[0], [last[0]]);
        node.publish(&queues[1], [last[1]]);
        let mut acked = Vec::new();
        for consumer in consumers {
            acked.extend(soon(consumer).await.unwrap());
        }
        acked.sort_unstable();
        let expected: Vec<u64> = (0..3 * EACH).chain([last[1], last[0]]).collect();
        assert_eq!(acked, expected, "seed {seed}: each message once");
        Arc::into_inner(node).expect("nobody else holds it").stop().await.unwrap();
        assert_eq!(kept(&memory), 0, "seed {seed}: a settled message is still in the store");
    }
}

/// What a publisher and a consumer know of their messages.
#[derive(Debug, Default)]
struct Ledger {
    declared: bool,
    published: Vec<u64>,
    confirmed: Vec<u64>,
    acked: Vec<u64>,
}

/// A short life of a queue, each step waiting for its answer; ends early when the store fails.
async fn scenario(node: &Node, ledger: &mut Ledger) -> Option<()> {
    let (queue, created) = node.declare("q", &[]);
    ledger.declared = node.durable(created).await;
    let client = Client::subscribe(node, &queue, 2);
    for round in 0..4 {
        let ids: Vec<u64> = (round * 5..round * 5 + 5).collect();
        ledger.published.extend(&ids);
        let epoch = node.publish(&queue, ids.clone());
        if !node.durable(epoch).await {
            return None;
        }
        ledger.confirmed.extend(ids);
        let delivered = client.take();
        ledger.acked.extend(delivered.iter().map(|(id, ..)| *id));
        node.settle(&queue, leases(delivered), Verdict::Ack);
        let returned = client.take();
        node.settle(&queue, leases(returned), Verdict::Requeue);
    }
    Some(())
}

/// Crashes a broker at each commit in turn, and audits what the next one finds; how many crashes there were. `start` is
/// called twice for each, with what is shared between the two.
async fn crash_at_any_commit(applied: bool, start: impl Fn(&MemoryEngine, &Path, Faults) -> Node) -> u32 {
    let mut crashes = 0;
    for n in 1.. {
        let (memory, faults, log) = (MemoryEngine::new(), Faults::new(), tempfile::tempdir().unwrap());
        if applied {
            faults.fail_after(n);
        } else {
            faults.fail_before(n);
        }
        let node = start(&memory, log.path(), faults);
        let mut ledger = Ledger::default();
        let finished = scenario(&node, &mut ledger).await.is_some();
        crashes += u32::from(!finished);
        node.crash().await;
        let node = start(&memory, log.path(), Faults::new());
        let found = if let Some(queue) = node.queue("q") {
            node.empty(&queue).await
        } else {
            assert!(!ledger.declared && ledger.confirmed.is_empty(), "commit {n}: the queue was promised");
            Vec::new()
        };
        assert!(found.iter().all(|(_, redelivered)| *redelivered), "commit {n}: nobody knows who saw what");
        let ids: Vec<u64> = found.iter().map(|(id, _)| *id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "commit {n}: order, and each once: {ids:?}");
        assert!(ids.iter().all(|id| ledger.published.contains(id)));
        let owed = ledger.confirmed.iter().filter(|id| !ledger.acked.contains(id));
        for id in owed {
            assert!(ids.contains(id), "commit {n}: {id} was confirmed and never acknowledged: {ids:?}");
        }
        node.stop().await.unwrap();
        if finished {
            break;
        }
    }
    crashes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_commit_loses_nothing_confirmed() {
    for applied in [false, true] {
        let crashes =
            crash_at_any_commit(applied, |memory, _, faults| Node::start_with(memory, faults, Config::default()));
        assert!(crashes.await >= 4, "every publish was interrupted once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_commit_through_a_redo_log_loses_nothing_confirmed() {
    for applied in [false, true] {
        let crashes =
            crash_at_any_commit(applied, |memory, log, faults| Node::start_logged(memory, log, faults, false));
        assert!(crashes.await >= 4, "every publish was interrupted once");
        crash_at_any_commit(applied, |memory, log, faults| Node::start_logged(memory, log, faults, true)).await;
    }
}

/// Starts on what a crash left, and compares it with what was promised.
async fn audit(memory: &MemoryEngine, ledger: &Ledger, when: &str) {
    let node = Node::start(memory);
    let found = match node.queue("q") {
        Some(queue) => node.empty(&queue).await,
        None => Vec::new(),
    };
    let ids: Vec<u64> = found.iter().map(|(id, _)| *id).collect();
    assert!(found.iter().all(|(_, redelivered)| *redelivered), "{when}: nobody knows who saw what");
    assert!(ids.is_sorted_by(|a, b| a < b), "{when}: order, and each once: {ids:?}");
    let owed: Vec<&u64> = ledger.confirmed.iter().filter(|id| !ledger.acked.contains(id)).collect();
    assert!(owed.iter().all(|id| ids.contains(id)), "{when}: owed {owed:?}, found {ids:?}");
    node.stop().await.expect("nothing fails any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_the_stop_or_of_the_recovery_after_a_crash_loses_nothing_confirmed() {
    for applied in [false, true] {
        for crashed_before in [false, true] {
            let memory = MemoryEngine::new();
            let node = Node::start(&memory);
            let mut ledger = Ledger::default();
            assert!(scenario(&node, &mut ledger).await.is_some());
            if crashed_before {
                node.crash().await;
            } else {
                // The commit that marks the end, or one of those before it.
                let next = node.faults.calls().commits + 1;
                if applied {
                    node.faults.fail_after(next);
                } else {
                    node.faults.fail_before(next);
                }
                assert!(node.stop().await.is_err(), "the stop does not end well");
            }
            // The first commits of the next run fail as well, again and again.
            for n in 1..=3 {
                let faults = Faults::new();
                if applied {
                    faults.fail_after(n);
                } else {
                    faults.fail_before(n);
                }
                let node = Node::start_with(&memory, faults, Config::default());
                if let Some(queue) = node.queue("q") {
                    let more: Vec<u64> = (1_000 * n..1_000 * n + 3).collect();
                    for id in more {
                        if node.durable(node.publish(&queue, [id])).await {
                            ledger.confirmed.push(id);
                        }
                    }
                }
                node.crash().await;
            }
            audit(&memory, &ledger, &format!("applied: {applied}, crashed before: {crashed_before}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_restart_keeps_redelivered_exact() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let (queue, _) = node.declare("q", &[]);
    node.publish(&queue, 1..=6);
    let client = Client::subscribe(&node, &queue, 3);
    let seen = client.receive(3).await;
    client.cancel(&node, &queue);
    node.settle(&queue, leases(seen), Verdict::Requeue);
    node.stop().await.unwrap();
    // A second restart without reading anything: what is on disk keeps its mark.
    let node = Node::start(&memory);
    assert_eq!(node.queue("q").unwrap().inspect(leveret::queue::State::ready), 6);
    node.stop().await.unwrap();
    let node = Node::start(&memory);
    let queue = node.queue("q").unwrap();
    let found = node.empty(&queue).await;
    assert_eq!(found, [(1, true), (2, true), (3, true), (4, false), (5, false), (6, false)]);
    node.stop().await.unwrap();
}
