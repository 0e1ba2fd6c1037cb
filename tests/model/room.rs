//! No room in the store: what gives room goes ahead, what needs some waits, nothing is confirmed that is not durable, and
//! everything goes on when there is room again.

use std::sync::Arc;

use leveret::broker::{Route, Transaction};
use leveret::queue::{Effects, Lease, Queue, Verdict as Concluded};
use leveret::store::faulty::Faults;
use leveret::store::memory::MemoryEngine;
use leveret::store::{Engine, Space};

use crate::messages::persistent;
use crate::node::{CALLER, Node, Verdict, kept, soon, until};

/// A queue with these messages on disk.
async fn filled(node: &Node, name: &str, ids: std::ops::RangeInclusive<u64>) -> Arc<Queue> {
    let (queue, created) = node.declare(name, &[]);
    assert!(node.durable(created).await);
    assert!(node.durable(node.publish(&queue, ids)).await);
    queue
}

async fn lease(node: &Node, queue: &Arc<Queue>) -> Lease {
    node.get(queue, false).await.and_then(|(_, _, lease)| lease).expect("there is a message")
}

/// Makes the store too small for any new message, until the alarm says so.
async fn fill(node: &Node, queue: &Arc<Queue>, ids: impl IntoIterator<Item = u64>) -> u64 {
    node.faults.limit_puts(Some(0));
    let epoch = node.publish(queue, ids);
    until(|| node.broker().alarms.raised()).await;
    epoch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_overtake_messages_that_find_no_room() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let queue = filled(&node, "q", 1..=10).await;
    let waiting = fill(&node, &queue, [11, 12]).await;
    assert_eq!(node.broker().alarms.reason(), "low on disk");
    for left in (0..10).rev() {
        let lease = lease(&node, &queue).await;
        node.settle(&queue, vec![lease], Verdict::Ack);
        until(|| kept(&memory) == left).await;
    }
    assert!(!node.committed(waiting), "nothing is confirmed early");
    node.faults.limit_puts(None);
    assert!(node.durable(waiting).await);
    until(|| !node.broker().alarms.raised()).await;
    assert_eq!((kept(&memory), node.broker().intake.bytes()), (2, 0));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_acknowledged_while_it_waits_for_room_needs_none() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let queue = filled(&node, "q", 1..=1).await;
    let waiting = fill(&node, &queue, [2]).await;
    for _ in 0..2 {
        let lease = lease(&node, &queue).await;
        node.settle(&queue, vec![lease], Verdict::Ack);
    }
    assert!(node.durable(waiting).await, "its publisher need not wait any longer");
    assert_eq!((kept(&memory), node.broker().intake.bytes()), (0, 0));
    until(|| !node.broker().alarms.raised()).await;
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purging_and_deleting_make_room_for_what_waits() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let queues = [filled(&node, "purged", 1..=5).await, filled(&node, "deleted", 6..=9).await];
    let waiting = fill(&node, &queues[1], [10, 11]).await;
    let mut fx = Effects::default();
    let (purged, epoch) = queues[0].purge(&mut fx);
    node.broker().finish(&queues[0], &mut fx);
    assert_eq!(purged, 5);
    until(|| kept(&memory) == 4).await;
    assert!(!node.committed(waiting) && !node.committed(epoch), "its answer waits for what came before");
    let deleted = node.vhost().delete_queue(node.broker(), "deleted", false, false, CALLER, &mut fx);
    assert_eq!(deleted.map(|(messages, _)| messages), Ok(6));
    assert!(node.durable(waiting).await && node.durable(epoch).await, "what waited is gone with its queue");
    assert_eq!((kept(&memory), node.broker().intake.bytes()), (0, 0));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_without_room_settles_nothing_ahead_of_its_messages() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let (input, output) = (filled(&node, "in", 1..=2).await, filled(&node, "out", 3..=3).await);
    let (moved, acked) = (lease(&node, &input).await, lease(&node, &input).await);
    node.faults.limit_puts(Some(0));
    let mut transaction = Transaction::default();
    let route = Route { queues: vec![output.clone()], memoizable: true, routed: true, ..Route::default() };
    transaction.publish(Arc::new(route), persistent(4));
    transaction.settle(Concluded::Settle, vec![moved]);
    let epoch = transaction.commit(node.broker(), node.clock.now()).unwrap();
    until(|| node.broker().alarms.raised()).await;
    node.settle(&input, vec![acked], Verdict::Ack);
    until(|| kept(&memory) == 2).await;
    // Rounds in which more could go wrong.
    let before = node.faults.calls().commits;
    until(|| node.faults.calls().commits > before + 5).await;
    assert_eq!(kept(&memory), 2, "the message it settles, and the one that was there");
    assert!(!node.committed(epoch));
    node.faults.limit_puts(None);
    assert!(node.durable(epoch).await);
    assert_eq!(kept(&memory), 2);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_messages_leave_the_reserve_alone() {
    let memory = MemoryEngine::new();
    let faults = Faults::new();
    let space = |room| Some(Space { room, total: 1 << 30, reserve: 4 << 20 });
    faults.pretend_space(space(1 << 30));
    let node = Node::start_with(&memory, faults, leveret::config::Config::default());
    let queue = filled(&node, "q", 1..=3).await;
    node.faults.pretend_space(space(4 << 20));
    node.broker().alarms.set_disk_free_limit(leveret::config::DiskFreeLimit::Automatic);
    until(|| node.broker().alarms.raised()).await;
    let waiting = node.publish(&queue, [4]);
    let lease = lease(&node, &queue).await;
    node.settle(&queue, vec![lease], Verdict::Ack);
    until(|| kept(&memory) == 2).await;
    assert!(!node.committed(waiting));
    node.faults.pretend_space(space(1 << 30));
    assert!(node.durable(waiting).await);
    until(|| !node.broker().alarms.raised()).await;
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_without_room_is_an_error_and_loses_nothing_confirmed() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let queue = filled(&node, "q", 1..=3).await;
    let waiting = fill(&node, &queue, [4]).await;
    let lease = lease(&node, &queue).await;
    node.settle(&queue, vec![lease], Verdict::Ack);
    let broker = node.broker().clone();
    assert!(node.stop().await.is_err());
    assert!(broker.watermark.get() < waiting);
    assert_eq!(kept(&memory), 2, "the acknowledgement has arrived, the message without a confirm has not");
    assert!(!soon(broker.failed()).await.is_empty());
    assert!(!memory.recover().unwrap().clean);
    let node = Node::start(&memory);
    let queue = node.queue("q").expect("it is there");
    assert_eq!(node.empty(&queue).await, [(2, true), (3, true)]);
    node.stop().await.unwrap();
}
