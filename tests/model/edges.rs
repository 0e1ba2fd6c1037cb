//! The sharp edges of the design, one test each, in the words of the design.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use leveret::broker::QueueDeclare;
use leveret::config::Config;
use leveret::queue::{ChannelCredit, Drained, Effects, Outbox, State, Subscription};
use leveret::store::faulty::Faults;
use leveret::store::memory::MemoryEngine;
use leveret::wire::table::{Table, Value};

use crate::messages::persistent;
use crate::node::{CALLER, Client, Node, Verdict, kept, leases, until};

/// A store with a durable queue `q` that holds messages 1 to `n`, of which nobody has seen any.
async fn backlog(n: u64, arguments: &[(&str, Value)]) -> MemoryEngine {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let (queue, _) = node.declare("q", arguments);
    node.publish(&queue, 1..=n);
    node.stop().await.expect("an orderly stop");
    memory
}

fn dead_letters_to(target: &str) -> [(&'static str, Value); 2] {
    [("x-dead-letter-exchange", Value::from("")), ("x-dead-letter-routing-key", Value::from(target))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_commit_leaves_a_dead_letter_in_source_or_target_and_not_in_both() {
    for n in 1.. {
        let (memory, faults) = (MemoryEngine::new(), Faults::new());
        faults.fail_before(n);
        let node = Node::start_with(&memory, faults, Config::default());
        let (target, _) = node.declare("target", &[]);
        let (source, created) = node.declare("source", &dead_letters_to("target"));
        let confirmed = node.durable(created).await && node.durable(node.publish(&source, [1])).await;
        if confirmed {
            let (_, _, lease) = node.get(&source, false).await.unwrap();
            node.settle(&source, lease.into_iter().collect(), Verdict::Reject);
            until(|| target.inspect(State::ready) == 1).await;
        }
        // A commit that nobody else waits for carries the rest, or fails.
        let finished = node.durable(node.publish(&target, [2])).await;
        node.crash().await;
        let node = Node::start(&memory);
        let mut copies = 0;
        for queue in ["source", "target"].iter().filter_map(|name| node.queue(name)) {
            copies += node.empty(&queue).await.iter().filter(|(id, _)| *id == 1).count();
        }
        assert!(copies >= usize::from(confirmed), "commit {n}: the letter is lost");
        assert!(copies <= 1, "commit {n}: the letter is there {copies} times");
        node.stop().await.unwrap();
        if finished {
            assert!(n > 3);
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_waits_for_a_paged_head() {
    let node = Node::start(&backlog(3, &[]).await);
    let queue = node.queue("q").unwrap();
    let (id, redelivered, lease) = node.get(&queue, false).await.expect("not answered empty");
    assert_eq!((id, redelivered), (1, false));
    node.settle(&queue, lease.into_iter().collect(), Verdict::Requeue);
    assert_eq!(node.empty(&queue).await, [(1, true), (2, false), (3, false)]);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paged_head_makes_room_and_is_dead_lettered() {
    let mut arguments = dead_letters_to("target").to_vec();
    arguments.push(("x-max-length", Value::I32(3)));
    let node = Node::start(&backlog(3, &arguments).await);
    let queue = node.queue("q").unwrap();
    let (target, _) = node.declare("target", &[]);
    node.publish(&queue, [4, 5]);
    until(|| target.inspect(State::ready) == 2).await;
    assert_eq!(node.empty(&target).await, [(1, false), (2, false)]);
    assert_eq!(node.empty(&queue).await, [(3, false), (4, false), (5, false)]);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paged_head_expires_unasked() {
    let memory = backlog(3, &[("x-message-ttl", Value::I32(60_000))]).await;
    let node = Node::start(&memory);
    let queue = node.queue("q").unwrap();
    assert_eq!(queue.inspect(State::ready), 3);
    node.clock.advance(Duration::from_secs(61));
    until(|| queue.inspect(State::ready) == 0).await;
    node.stop().await.unwrap();
    assert_eq!(kept(&memory), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_are_never_missing_after_a_crash() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let (queue, _) = node.declare("q", &[]);
    assert!(node.durable(node.publish(&queue, 1..=4)).await);
    let _held = node.get(&queue, false).await.unwrap();
    node.crash().await;
    let node = Node::start(&memory);
    let queue = node.queue("q").unwrap();
    assert_eq!(node.empty(&queue).await, [(1, true), (2, true), (3, true), (4, true)]);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_count_leases_that_nobody_returned() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let (queue, _) = node.declare("q", &[]);
    node.publish(&queue, [1, 2]);
    drop(node.get(&queue, false).await.unwrap());
    node.stop().await.unwrap();
    let node = Node::start(&memory);
    assert_eq!(node.empty(&node.queue("q").unwrap()).await, [(1, true), (2, false)]);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_are_not_missing_on_a_dead_letter_that_a_stop_overtook() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let (target, _) = node.declare("target", &[]);
    let (source, _) = node.declare("source", &dead_letters_to("target"));
    assert!(node.durable(node.publish(&source, [1])).await);
    let (_, _, lease) = node.get(&source, false).await.unwrap();
    node.faults.hold_from(node.faults.calls().commits + 1);
    node.settle(&source, lease.into_iter().collect(), Verdict::Reject);
    until(|| target.inspect(State::ready) == 1).await;
    let (faults, broker) = (node.faults.clone(), node.broker().clone());
    let stopping = tokio::spawn(node.stop());
    until(|| broker.stopping()).await;
    faults.release();
    stopping.await.unwrap().unwrap();
    let node = Node::start(&memory);
    let left = node.empty(&node.queue("source").unwrap()).await;
    assert!(left.iter().all(|(_, redelivered)| *redelivered), "a client has seen it: {left:?}");
    assert_eq!(node.empty(&node.queue("target").unwrap()).await.len(), 1);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_dropped_under_its_queues_lock_returns_with_the_next_operation() {
    let node = Node::start(&MemoryEngine::new());
    let (queue, _) = node.declare("q", &[]);
    node.publish(&queue, [1, 2]);
    let (_, _, lease) = node.get(&queue, false).await.unwrap();
    queue.inspect(|state| {
        drop(lease);
        assert_eq!(state.leased(), 1);
    });
    assert_eq!(node.empty(&queue).await, [(1, true), (2, false)]);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_declare_or_bind_waits_for_the_first() {
    let node = Node::start(&MemoryEngine::new());
    let (queue, ready) = node.declare("first", &[]);
    assert!(node.durable(ready).await && queue.created() == ready);
    node.faults.hold_from(node.faults.calls().commits + 1);
    let (_, declared) = node.declare("q", &[]);
    let bind = || {
        let bound = node.vhost().bind_queue(node.broker(), "q", "amq.direct", "k", Table::default(), CALLER);
        bound.expect("both are there")
    };
    let bound = bind();
    let (_, again) = node.declare("q", &[]);
    let bound_again = bind();
    assert!(again >= declared && bound >= declared && bound_again >= bound);
    assert!(!node.committed(again) && !node.committed(bound_again));
    node.faults.release();
    assert!(node.durable(bound_again).await);
    assert!(node.committed(declared));
    assert!(node.durable(bind()).await, "a binding made long ago is answered on an idle broker, too");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channel_wide_prefetch_is_shared_by_queues_and_wakes_who_starved() {
    let node = Node::start(&MemoryEngine::new());
    let (a, b) = (node.declare("a", &[]).0, node.declare("b", &[]).0);
    let credit = Arc::new(ChannelCredit::default());
    let outbox = Outbox::new(1 << 20);
    assert!(credit.set_limit(2, 0, &outbox).is_empty());
    let on_a = Client::subscribe_on(&node, &a, 0, &credit);
    let on_b = Client::subscribe_on(&node, &b, 0, &credit);
    node.publish(&a, 1..=3);
    node.publish(&b, 11..=13);
    let mut held = on_a.take();
    assert_eq!((held.len(), on_b.take().len()), (2, 0), "the limit is the channel's");
    // Lowered while two are out: one settled is not enough.
    assert!(credit.set_limit(1, 2, &outbox).is_empty());
    node.settle(&a, leases(vec![held.pop().unwrap()]), Verdict::Ack);
    assert_eq!((on_a.take().len(), on_b.take().len()), (0, 0));
    node.settle(&a, leases(held), Verdict::Ack);
    let (mut seen, mut sources) = (2, [0, 0]);
    while seen < 6 {
        let (from_a, from_b) = (on_a.take(), on_b.take());
        assert_eq!(from_a.len() + from_b.len(), 1, "one at a time, and always one");
        seen += 1;
        sources[0] += from_a.len();
        sources[1] += from_b.len();
        node.settle(&a, leases(from_a), Verdict::Ack);
        node.settle(&b, leases(from_b), Verdict::Ack);
    }
    assert_eq!(sources, [1, 3]);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_wide_prefetch_counts_what_is_on_its_way() {
    let node = Node::start(&MemoryEngine::new());
    let (queue, _) = node.declare("q", &[]);
    let credit = Arc::new(ChannelCredit::default());
    let client = Client::subscribe_on(&node, &queue, 0, &credit);
    node.publish(&queue, 1..=4);
    // All four are pumped, none is written to the client yet.
    assert!(credit.set_limit(2, 0, &client.outbox).is_empty());
    node.publish(&queue, [5]);
    let mut held = client.take();
    assert_eq!(held.len(), 4, "four were out before the limit, and nothing since");
    for left in [3, 2] {
        node.settle(&queue, leases(vec![held.remove(0)]), Verdict::Ack);
        assert!(client.take().is_empty(), "{left} are out, 2 may be");
    }
    node.settle(&queue, leases(vec![held.remove(0)]), Verdict::Ack);
    assert_eq!(client.take().len(), 1);
    node.stop().await.unwrap();
}

/// Of a limit that is lowered below what is out, a session hears nothing: it has no reason to look again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lowered_channel_wide_prefetch_leaves_the_session_in_peace() {
    let node = Node::start(&MemoryEngine::new());
    let (queue, _) = node.declare("q", &[]);
    let credit = Arc::new(ChannelCredit::default());
    let client = Client::subscribe_on(&node, &queue, 0, &credit);
    assert!(credit.set_limit(4, 0, &client.outbox).is_empty());
    node.publish(&queue, 1..=9);
    let mut held = client.take();
    assert_eq!(held.len(), 4);
    let rings = || async { std::future::poll_fn(|cx| Poll::Ready(client.outbox.bell().poll(cx).is_ready())).await };
    assert!(rings().await, "it was told of the four");
    assert!(credit.set_limit(1, held.len(), &client.outbox).is_empty());
    for _ in 0..3 {
        node.settle(&queue, leases(vec![held.remove(0)]), Verdict::Ack);
        let mut drained = Drained::default();
        client.outbox.drain(&mut drained);
        assert!(drained.items.is_empty() && drained.starved.is_empty() && !rings().await);
    }
    node.settle(&queue, leases(held), Verdict::Ack);
    assert!(rings().await);
    assert_eq!(client.take().len(), 1);
    node.stop().await.unwrap();
}

/// What a report says of ready and leased messages was true at one moment, however fast they change places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_and_unacknowledged_are_counted_under_one_lock() {
    const MESSAGES: u64 = 20;
    let node = Arc::new(Node::start(&MemoryEngine::new()));
    let (queue, _) = node.declare("q", &[]);
    node.publish(&queue, 1..=MESSAGES);
    let client = Client::subscribe(&node, &queue, 5);
    let moving = {
        let (node, queue) = (node.clone(), queue.clone());
        std::thread::spawn(move || {
            for _ in 0..2_000 {
                node.settle(&queue, leases(client.take()), Verdict::Requeue);
            }
            client.cancel(&node, &queue);
        })
    };
    let mut looks = 0;
    while !moving.is_finished() || looks == 0 {
        assert_eq!(queue.inspect(|state| state.ready() + state.leased()), MESSAGES);
        looks += 1;
    }
    moving.join().unwrap();
    drop(queue);
    Arc::into_inner(node).expect("nobody else holds it").stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_lease_returns_without_anybody_asking() {
    let node = Node::start(&MemoryEngine::new());
    let (queue, _) = node.declare("q", &[]);
    node.publish(&queue, [1]);
    let broken = Client::subscribe(&node, &queue, 1);
    let held = broken.receive(1).await;
    broken.cancel(&node, &queue);
    let waiting = Client::subscribe(&node, &queue, 1);
    drop(held);
    assert_eq!(waiting.receive(1).await.iter().map(|(id, seen, _)| (*id, *seen)).collect::<Vec<_>>(), [(1, true)]);
    node.stop().await.unwrap();
}

/// However the limit meets pumping publishers: once as many are out as it allows, no more come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_wide_prefetch_set_while_publishers_pump_is_exact() {
    const LIMIT: usize = 3;
    let node = Arc::new(Node::start(&MemoryEngine::new()));
    for round in 0..200 {
        let credit = Arc::new(ChannelCredit::default());
        let outbox = Arc::new(Outbox::new(1 << 20));
        let queues = [0, 1].map(|at| {
            let (queue, _) = node.declare(&format!("q-{round}-{at}"), &[]);
            let (id, tag) = (node.broker().unique(), Box::from(&b"c"[..]));
            let ask = Subscription { id, tag, channel: 1, ..Subscription::default() };
            let consumer = ask.connect(outbox.clone(), Some(queue.clone()), Some(credit.clone()));
            queue.subscribe(consumer, node.clock.now(), &mut Effects::default());
            queue
        });
        let publishing = queues.map(|queue| {
            let node = node.clone();
            std::thread::spawn(move || {
                for id in 0..20 {
                    node.publish(&queue, [id]);
                }
            })
        });
        let take = || {
            let mut drained = Drained::default();
            outbox.drain(&mut drained);
            drained.entries.len()
        };
        let mut out = 0;
        while out == 0 {
            out += take();
        }
        credit.set_limit(u16::try_from(LIMIT).unwrap(), out, &outbox);
        out += take();
        for publishing in publishing {
            publishing.join().unwrap();
        }
        let since = take();
        assert!(since == 0 || out + since <= LIMIT, "round {round}: {out} were out, and {since} more came");
    }
    Arc::into_inner(node).expect("nobody else holds it").stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_of_a_paged_range_is_durable_and_spares_what_is_leased() {
    let memory = backlog(5, &[]).await;
    let node = Node::start(&memory);
    let queue = node.queue("q").unwrap();
    let (_, _, lease) = node.get(&queue, false).await.unwrap();
    node.publish(&queue, [6]);
    let mut fx = Effects::default();
    let (count, epoch) = queue.purge(&mut fx);
    node.broker().finish(&queue, &mut fx);
    assert_eq!(count, 5);
    assert!(node.durable(epoch).await);
    node.settle(&queue, lease.into_iter().collect(), Verdict::Requeue);
    node.publish(&queue, [7]);
    node.stop().await.unwrap();
    let node = Node::start(&memory);
    assert_eq!(node.empty(&node.queue("q").unwrap()).await, [(1, true), (7, false)]);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_of_an_unread_range_leaves_nothing_on_disk() {
    let memory = backlog(5, &[]).await;
    let node = Node::start(&memory);
    let queue = node.queue("q").unwrap();
    let mut fx = Effects::default();
    let (count, epoch) = queue.purge(&mut fx);
    assert!(node.durable(epoch).await && count == 5);
    node.crash().await;
    assert_eq!(kept(&memory), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_takes_its_paged_range_and_its_leases_with_it() {
    let memory = backlog(5, &[]).await;
    let node = Node::start(&memory);
    let queue = node.queue("q").unwrap();
    let (_, _, lease) = node.get(&queue, false).await.unwrap();
    let mut fx = Effects::default();
    let deleted = node.vhost().delete_queue(node.broker(), "q", false, false, CALLER, &mut fx);
    node.broker().finish(&queue, &mut fx);
    let (count, epoch) = deleted.unwrap();
    assert_eq!(count, 4);
    node.settle(&queue, lease.into_iter().collect(), Verdict::Requeue);
    assert!(node.durable(epoch).await);
    assert_eq!(queue.inspect(|state| (state.ready(), state.leased())), (0, 0), "a late lease is inert");
    node.crash().await;
    assert_eq!(kept(&memory), 0);
    let node = Node::start(&memory);
    assert!(node.queue("q").is_none());
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_alone_is_flushed_after_a_while_and_not_before() {
    for (flush, alone) in [(Duration::from_millis(1), true), (Duration::from_secs(3_600), false)] {
        let memory = MemoryEngine::new();
        let node = Node::start_with(&memory, Faults::new(), Config { ack_flush: flush, ..Config::default() });
        let (queue, _) = node.declare("q", &[]);
        assert!(node.durable(node.publish(&queue, [1])).await);
        let (_, _, lease) = node.get(&queue, false).await.unwrap();
        let before = node.faults.calls().commits;
        node.settle(&queue, lease.into_iter().collect(), Verdict::Ack);
        if alone {
            assert!(node.faults.wait_entered(before + 1), "nobody else had to come");
        } else {
            // Company comes: one commit carries both.
            assert!(node.durable(node.publish(&queue, [2])).await);
            assert_eq!(node.faults.calls().commits, before + 1);
        }
        node.stop().await.unwrap();
        assert_eq!(kept(&memory), u64::from(!alone));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auto_delete_does_not_fire_while_shutting_down_and_exclusive_queues_go_at_once() {
    let memory = MemoryEngine::new();
    let node = Node::start(&memory);
    let declare = |name: &str, exclusive, auto_delete| {
        let (name, arguments) = (name.to_owned(), Table::default());
        node.declare_as(QueueDeclare { name, passive: false, durable: true, exclusive, auto_delete, arguments }).0
    };
    let (own, kept, gone) = (declare("own", true, false), declare("kept", false, true), declare("gone", false, true));
    node.vhost().delete_exclusive(node.broker(), vec![own.clone()]);
    assert!(own.inspect(State::is_deleted) && node.queue("own").is_none());
    let (first, second) = (Client::subscribe(&node, &gone, 1), Client::subscribe(&node, &kept, 1));
    first.cancel(&node, &gone);
    assert!(node.queue("gone").is_none(), "its last consumer has left");
    node.push(&kept, vec![persistent(1)], false);
    node.broker().close_connections().await;
    second.cancel(&node, &kept);
    node.stop().await.unwrap();
    let node = Node::start(&memory);
    assert!(node.queue("kept").is_some() && node.queue("gone").is_none());
    node.stop().await.unwrap();
}
