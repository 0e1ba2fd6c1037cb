//! Transactions: all of one or nothing, whatever the store does; no queue beyond its limit; the room they reserve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret::broker::{PublishRefused, Route, Transaction};
use leveret::config::Config;
use leveret::message::{Facts, Message};
use leveret::queue::{ChannelCredit, Effects, Lease, Options, Outbox, Overflow, Queue, State, Subscription, Verdict};
use leveret::store::Epoch;
use leveret::store::faulty::Faults;
use leveret::store::memory::MemoryEngine;
use leveret::wire::table::Value;

use crate::messages::{numbered, persistent};
use crate::node::{Node, soon};
use crate::rng::Rng;

/// Queues a transaction of the crash test publishes to; many, so that a writer that could come in between would.
const OUTPUTS: usize = 60;

/// Transactions of one life.
const MOVES: u64 = 24;

fn route(queues: &[Arc<Queue>]) -> Arc<Route> {
    Arc::new(Route { queues: queues.to_vec(), memoizable: true, routed: true, ..Route::default() })
}

fn commit(node: &Node, transaction: &mut Transaction) -> Result<Epoch, PublishRefused> {
    transaction.commit(node.broker(), node.clock.now())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_under_one_hold_is_one_commit() {
    let node = Node::start(&MemoryEngine::new());
    let queues = ["a", "b", "c"].map(|name| node.declare(name, &[]));
    for (_, created) in &queues {
        assert!(node.durable(*created).await);
    }
    let before = node.faults.calls().commits;
    let hold = node.broker().intake.hold();
    let epochs = queues.each_ref().map(|(queue, _)| {
        let epoch = node.publish(queue, [1]);
        // The writer was woken by the publish and could commit, were it not for the hold.
        for _ in 0..1_000 {
            std::thread::yield_now();
        }
        epoch
    });
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "one epoch: {epochs:?}");
    assert_eq!(node.faults.calls().commits, before);
    drop(hold);
    assert!(node.durable(epochs[0]).await);
    assert_eq!(node.faults.calls().applied, before + 1);
    node.stop().await.unwrap();
}

/// Keeps the writer committing until told to stop.
fn noise(node: Arc<Node>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (queue, _) = node.declare("noise", &[]);
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            node.publish(&queue, [0]);
            std::thread::yield_now();
        }
    })
}

/// Moves each message to all outputs, one transaction a message; returns those whose commit was answered.
async fn moves(node: &Node, input: Vec<(u64, Option<Lease>)>, outputs: &[Arc<Queue>]) -> Vec<u64> {
    let mut answered = Vec::new();
    for (id, lease) in input {
        let mut transaction = Transaction::default();
        transaction.publish(route(outputs), persistent(id));
        transaction.settle(Verdict::Settle, lease.into_iter().collect());
        let epoch = commit(node, &mut transaction).expect("no limits");
        if !node.durable(epoch).await {
            return answered;
        }
        answered.push(id);
    }
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_commit_leaves_all_of_a_transaction_or_nothing() {
    let mut interrupted = 0;
    for n in 1..=50 {
        for applied in [false, true] {
            let memory = MemoryEngine::new();
            let node = Node::start(&memory);
            let (input, _) = node.declare("in", &[]);
            for output in 0..OUTPUTS {
                node.declare(&format!("out-{output}"), &[]);
            }
            node.publish(&input, 1..=MOVES);
            node.stop().await.unwrap();

            let faults = Faults::new();
            if applied {
                faults.fail_after(n);
            } else {
                faults.fail_before(n);
            }
            let node = Arc::new(Node::start_with(&memory, faults, Config::default()));
            let queue = |name: &str| node.queue(name).expect("it was declared");
            let outputs: Vec<_> = (0..OUTPUTS).map(|output| queue(&format!("out-{output}"))).collect();
            // Got before anything can fail.
            let (source, mut input) = (queue("in"), Vec::new());
            while let Some((id, _, lease)) = node.get(&source, false).await {
                input.push((id, lease));
            }
            let stop = Arc::new(AtomicBool::new(false));
            let noise = noise(node.clone(), stop.clone());
            let answered = moves(&node, input, &outputs).await;
            stop.store(true, Ordering::Relaxed);
            noise.join().unwrap();
            drop((source, outputs));
            Arc::into_inner(node).expect("nobody else holds it").crash().await;

            let node = Node::start(&memory);
            let input: Vec<u64> = ids(&node, "in").await;
            for output in 0..OUTPUTS {
                let output = ids(&node, &format!("out-{output}")).await;
                let mut all = [&input[..], &output].concat();
                all.sort_unstable();
                assert_eq!(all, (1..=MOVES).collect::<Vec<_>>(), "commit {n}: each is in one place");
                assert!(answered.iter().all(|id| output.contains(id)), "commit {n}: {answered:?} were answered");
            }
            interrupted += usize::from(!input.is_empty());
            node.stop().await.unwrap();
        }
    }
    assert!(interrupted > 20, "crashes met transactions: {interrupted}");
}

async fn ids(node: &Node, queue: &str) -> Vec<u64> {
    let queue = node.queue(queue).expect("it was declared");
    node.empty(&queue).await.into_iter().map(|(id, _)| id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_room_on_the_disk_is_tried_again_whole() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let (input, _) = node.declare("in", &[]);
    let outputs = ["a", "b", "c"].map(|name| node.declare(name, &[]).0);
    assert!(node.durable(node.publish(&input, [1])).await);
    let (_, _, lease) = node.get(&input, false).await.unwrap();
    node.faults.answer_full(2);
    let before = node.faults.calls();
    let mut transaction = Transaction::default();
    transaction.publish(route(&outputs), persistent(1));
    transaction.settle(Verdict::Settle, lease.into_iter().collect());
    let epoch = commit(&node, &mut transaction).unwrap();
    assert!(node.durable(epoch).await);
    let after = node.faults.calls();
    assert_eq!((after.commits - before.commits, after.applied - before.applied), (3, 1));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_nothing_durable_waits_for_nobody() {
    let node = Node::start(&MemoryEngine::new());
    let (queue, created) = node.declare("q", &[]);
    assert!(node.durable(created).await);
    assert_eq!(commit(&node, &mut Transaction::default()), Ok(0));
    let mut transaction = Transaction::default();
    transaction.publish(route(&[queue]), numbered(1, 0, Facts::default()));
    assert_eq!(commit(&node, &mut transaction), Ok(0));
    node.stop().await.unwrap();
}

const LIMIT: i32 = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_and_publishers_side_by_side_never_exceed_a_limit() {
    for round in 0..20 {
        let node = Arc::new(Node::start(&MemoryEngine::new()));
        let limited = [("x-max-length", Value::I32(LIMIT)), ("x-overflow", Value::from("reject-publish"))];
        let queues = ["a", "b"].map(|name| node.declare(name, &limited).0);
        let transacting = [0u64, 1].map(|at| {
            let (node, queues) = (node.clone(), queues.clone());
            tokio::task::spawn_blocking(move || {
                let mut taken = 0;
                for id in 0..10 {
                    let mut transaction = Transaction::default();
                    let message = persistent(at * 100 + id);
                    transaction.publish(route(&queues), message.clone());
                    transaction.publish(route(&queues[..1]), message);
                    taken += u64::from(commit(&node, &mut transaction).is_ok());
                }
                taken
            })
        });
        let publishing = {
            let (node, queue) = (node.clone(), queues[0].clone());
            tokio::task::spawn_blocking(move || {
                let (mut fx, mut refused) = (Effects::default(), Vec::new());
                for id in 0..10 {
                    queue.push(std::iter::once(persistent(500 + id)), true, node.clock.now(), &mut refused, &mut fx);
                }
                10 - refused.len() as u64
            })
        };
        let mut taken = 0;
        for transactions in transacting {
            taken += soon(transactions).await.unwrap();
        }
        let published = soon(publishing).await.unwrap();
        let ready = queues.each_ref().map(|queue| queue.inspect(State::ready));
        assert_eq!(ready, [2 * taken + published, taken], "round {round}: what was taken is there, twice and once");
        assert!(ready[0] <= u64::from(LIMIT.unsigned_abs()), "round {round}: {ready:?}");
        drop(queues);
        Arc::into_inner(node).expect("nobody else holds it").stop().await.unwrap();
    }
}

/// A queue with a random limit, backlog and consumers; the same for the same seed.
fn limited(seed: u64) -> (State, Vec<Message>) {
    let mut rng = Rng::new(seed);
    let options = Options {
        max_length: rng.chance(2, 3).then(|| rng.below(6)),
        max_length_bytes: rng.chance(1, 2).then(|| rng.below(60)),
        message_ttl: rng.chance(1, 8).then_some(0),
        overflow: rng.pick(&[Overflow::RejectPublish, Overflow::RejectPublishDlx, Overflow::DropHead]),
        ..Options::default()
    };
    let mut state = State::new(Arc::new(options), true, false, 0);
    let mut fx = Effects::default();
    let outbox = Arc::new(Outbox::new(1 << 20));
    let message = |rng: &mut Rng, id| {
        let expiration = if rng.chance(1, 6) { 0 } else { u64::MAX };
        numbered(id, rng.below(20), Facts { persistent: true, expiration, ..Facts::default() })
    };
    for id in 0..rng.below(4) {
        let credit = Arc::new(ChannelCredit::default());
        if rng.chance(1, 3) {
            assert!(credit.set_limit(rng.pick(&[1, 2, 3]), 0, &outbox).is_empty());
        }
        let subscription = Subscription {
            id,
            tag: Box::default(),
            channel: 1,
            no_ack: rng.chance(1, 6),
            exclusive: false,
            priority: 0,
            prefetch: rng.pick(&[0, 1, 2, 3]),
            ..Subscription::default()
        };
        state.subscribe(subscription.connect(outbox.clone(), None, Some(credit)), 0, &mut fx);
    }
    for id in 0..rng.below(8) {
        let message = message(&mut rng, 100 + id);
        state.push(std::iter::once(message), 0, &mut Vec::new(), &mut fx);
    }
    let asked = (0..=rng.below(6)).map(|id| message(&mut rng, id)).collect();
    (state, asked)
}

#[test]
fn room_is_judged_as_a_row_of_publishes_is() {
    let (mut granted, mut refused) = (0, 0);
    for seed in 0..20_000 {
        let (mut judged, asked) = limited(seed);
        let (mut pushed, ..) = limited(seed);
        let (mut fx, mut over) = (Effects::default(), Vec::new());
        assert!(pushed.push(asked.clone().into_iter(), 0, &mut over, &mut fx));
        let ready = judged.ready();
        match judged.reserve(&asked) {
            None => {
                refused += 1;
                assert!(!over.is_empty(), "seed {seed}: refused without need");
            }
            Some(room) => {
                granted += 1;
                assert!(over.is_empty(), "seed {seed}: {over:?} should have been refused");
                judged.push_reserved(room, asked.into_iter(), 0, &mut fx);
                assert_eq!((judged.ready(), judged.leased()), (pushed.ready(), pushed.leased()), "seed {seed}");
                continue;
            }
        }
        assert_eq!(judged.ready(), ready, "seed {seed}: a refused reservation changes nothing");
    }
    assert!(granted > 2_000 && refused > 2_000, "{granted} granted, {refused} refused");
}

#[test]
fn reserved_room_is_not_given_to_others_until_it_is_released() {
    let options = Options { max_length: Some(2), overflow: Overflow::RejectPublish, ..Options::default() };
    let mut state = State::new(Arc::new(options), true, false, 0);
    let (mut fx, mut refused) = (Effects::default(), Vec::new());
    let room = state.reserve(&[persistent(1)]).expect("there is room");
    assert!(state.push([2, 3].map(persistent).into_iter(), 0, &mut refused, &mut fx));
    assert_eq!((refused.as_slice(), state.ready()), (&[1][..], 1));
    assert!(state.reserve(&[persistent(4)]).is_none());
    state.push_reserved(room, std::iter::once(persistent(1)), 0, &mut fx);
    assert_eq!(state.ready(), 2);
    let mut empty = State::new(
        Arc::new(Options { max_length: Some(1), overflow: Overflow::RejectPublish, ..Options::default() }),
        true,
        false,
        0,
    );
    let room = empty.reserve(&[persistent(1)]).expect("there is room");
    empty.unreserve(room);
    refused.clear();
    assert!(empty.push(std::iter::once(persistent(5)), 0, &mut refused, &mut fx) && refused.is_empty());
}
