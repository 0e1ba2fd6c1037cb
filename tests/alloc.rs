//! Pins what hot paths cost in allocations: a regression here is a test failure, not a line in a benchmark.
//!
//! A transient message on its way from draft through push and pump to the outbox drain; a durable one that somebody waits
//! for, until the writer has let go of it; from one session's read to another's write and its acknowledgement; to a
//! hundred queues; and what a connection keeps while nothing happens.
//!
//! The counting allocator comes from a crate because this one allows `unsafe` in a single file of the store. One test
//! only: another one would allocate beside it.

// It prints what it counted, and is a test outside of its one test function, too.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "bench/instructions/pipe.rs"]
mod pipe;

use std::alloc::System;
use std::sync::Arc;

use bytes::Bytes;
use leveret::message::{Draft, Facts, Message, address};
use leveret::queue::{
    ChannelCredit, Definition, Drained, Effects, Intake, Lease, Options, Outbox, Queue, State, Subscription,
};
use leveret::store::QueueId;
use leveret::wire::encode;
use leveret::wire::table::Table;
use pipe::{Client, delivery, publish, with_broker};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Messages in one read of a publisher.
const BURST: usize = 64;

/// Reads measured.
const ROUNDS: usize = 500;

/// Allocations a message may cost: its record and the reference count around it.
const PER_MESSAGE: usize = 2;

/// Allocations that all rounds together may cost beside, for buffers that still grow.
const AMORTISED: usize = 16;

/// Allocations that a batch of durable work may cost beside its messages: journal, batch, intake, the queue's place.
const PER_BATCH: usize = 24;

/// Messages of one such batch.
const BATCH: usize = 1_000;

/// Allocations that a turn of two sessions may cost beside its messages: for a run, a delivery, the bell.
const PER_TURN: usize = 16;

/// Messages acknowledged at a time.
const ACKED: usize = 100;

/// Queues of a fan-out.
const QUEUES: usize = 100;

/// Allocations for a small message that goes to all of them.
const PER_FAN_OUT: usize = 16;

/// A body that is not copied into each delivery, in octets.
const LARGE: usize = 64 * 1024;

/// Octets that a connection with a channel, a queue and a consumer may keep while nothing happens. The kernel's and the
/// allocator's share comes on top, for which `tests/floods/crowd.rs` asks. About 1,200 of them are what is counted.
const IDLE: usize = 8 * 1024;

/// Connections that do nothing.
const CROWD: usize = 64;

fn measure(work: impl FnOnce()) -> Stats {
    let region = Region::new(ALLOCATOR);
    work();
    region.change()
}

/// What was allocated, for a number of messages for which so much may be.
fn judge(what: &str, messages: usize, change: &Stats, most: usize) {
    let taken = change.allocations + change.reallocations;
    println!("{what}: {taken} allocations for {messages} messages, at most {most}");
    assert!(taken <= most, "{what}: {taken} allocations for {messages} messages, at most {most}");
    assert!(taken > 0, "the allocator counts");
}

fn message(address: &[u8], body: &[u8], persistent: bool) -> Message {
    let facts = Facts { persistent, ..Facts::default() };
    let mut draft = Draft::new(address, &[0x10, 0, 1 + u8::from(persistent)], body.len() as u64, facts);
    assert!(draft.try_extend(body));
    draft.finish().unwrap()
}

fn transient_message() {
    let outbox = Arc::new(Outbox::new(1 << 20));
    let subscription = Subscription {
        id: 1,
        tag: Box::from(&b"c"[..]),
        channel: 1,
        no_ack: false,
        exclusive: false,
        priority: 0,
        prefetch: 0,
        ..Subscription::default()
    };
    let consumer = subscription.connect(outbox.clone(), None, Some(Arc::new(ChannelCredit::default())));
    let mut state = State::new(Arc::new(Options::default()), true, false, 0);
    let (mut fx, mut refused, mut drained) = (Effects::default(), Vec::new(), Drained::default());
    let mut leases: Vec<Lease> = Vec::new();
    state.subscribe(consumer.clone(), 0, &mut fx);
    let address = address(b"exchange", b"routing.key").unwrap();
    let mut round = |rounds: usize| {
        for _ in 0..rounds {
            let messages = (0..BURST).map(|_| message(&address, &[b'b'; 128], false));
            assert!(state.push(messages, 1, &mut refused, &mut fx));
            fx.ring();
            outbox.drain(&mut drained);
            assert_eq!(drained.entries.len(), BURST);
            drained.items.clear();
            leases.extend(drained.entries.drain(..).map(|entry| Lease::new(consumer.clone(), entry)));
            state.settle(&mut leases, 1, &mut fx);
            leases.clear();
        }
    };
    round(8);
    let change = measure(|| round(ROUNDS));
    judge("transient", ROUNDS * BURST, &change, PER_MESSAGE * ROUNDS * BURST + AMORTISED);
}

/// Until the store would have it: what the store itself allocates is its engine's matter.
fn confirmed_durable_message() {
    let definition = Definition {
        id: QueueId(1),
        name: "q".into(),
        vhost: "/".into(),
        durable: true,
        auto_delete: false,
        exclusive_to: None,
        arguments: Table::default(),
        options: Arc::new(Options::default()),
    };
    let intake = Arc::new(Intake::default());
    let queue = Queue::new(definition, intake.clone(), 0, None);
    let (mut fx, mut refused) = (Effects::default(), Vec::new());
    let address = address(b"", b"q").unwrap();
    let mut round = |rounds: usize| {
        for _ in 0..rounds {
            let messages = (0..BATCH).map(|_| message(&address, &[b'b'; 128], true));
            queue.push(messages, true, 1, &mut refused, &mut fx);
            let closed = intake.close();
            assert_eq!(closed.queues[0].puts.len(), BATCH);
            intake.discharge(closed.bytes);
        }
    };
    round(2);
    let rounds = 16;
    let change = measure(|| round(rounds));
    let growth = AMORTISED;
    judge("durable", rounds * BATCH, &change, rounds * (PER_MESSAGE * BATCH + PER_BATCH) + growth);
}

/// A message from one session's read to the other's write, and its acknowledgement.
fn delivery_and_ack() {
    with_broker(async |running| {
        let (publisher, consumer) = (Client::open(&running), Client::open(&running));
        consumer.consume("q", None, false).await;
        publisher.done().await;
        let turn = Bytes::from(publish("", "q", &[b'x'; 16]).repeat(BURST * 10));
        let octets = delivery("q", "", "q", &[b'x'; 16]) * BURST * 10;
        let mut acked = 0;
        for (rounds, measured) in [(8, false), (50, true)] {
            let acks: Vec<Bytes> = (0..rounds).map(|_| acks(&mut acked, BURST * 10)).collect();
            let region = Region::new(ALLOCATOR);
            for acks in acks {
                let until = consumer.heard() + octets;
                publisher.say(turn.clone());
                consumer.hear(until).await;
                consumer.say(acks);
                consumer.done().await;
            }
            let messages = rounds * BURST * 10;
            if measured {
                judge("delivered", messages, &region.change(), PER_MESSAGE * messages + rounds * PER_TURN);
            }
        }
    });
}

/// Acknowledgements of the next messages, many at a time.
fn acks(acked: &mut u64, messages: usize) -> Bytes {
    let mut out = Vec::new();
    let until = *acked + messages as u64;
    while *acked < until {
        *acked = (*acked + ACKED as u64).min(until);
        encode::ack(&mut out, 1, *acked, true);
    }
    out.into()
}

/// A message is one record, however many queues it goes to: how many allocations and octets it takes.
fn fan_out(body: &[u8]) -> (usize, usize) {
    let mut taken = (0, 0);
    with_broker(async |running| {
        let (publisher, consumer) = (Client::open(&running), Client::open(&running));
        for n in 0..QUEUES {
            consumer.consume(&format!("q{n:02}"), Some(("amq.fanout", "")), true).await;
        }
        publisher.done().await;
        let one = Bytes::from(publish("amq.fanout", "k", body));
        let octets = delivery("q00", "amq.fanout", "k", body) * QUEUES;
        // What the first messages take is the growth of buffers.
        for messages in [8, 100] {
            let region = Region::new(ALLOCATOR);
            for _ in 0..messages {
                let until = consumer.heard() + octets;
                publisher.say(one.clone());
                consumer.hear(until).await;
            }
            let change = region.change();
            taken = ((change.allocations + change.reallocations) / messages, change.bytes_allocated / messages);
        }
    });
    println!("{} octets to {QUEUES} queues: {} allocations of {} octets a message", body.len(), taken.0, taken.1);
    taken
}

fn fan_outs() {
    let (allocations, _) = fan_out(&[b'x'; 128]);
    assert!((1..=PER_FAN_OUT).contains(&allocations), "{allocations} allocations for a message to {QUEUES} queues");
    let (_, octets) = fan_out(&vec![b'x'; LARGE]);
    assert!((LARGE..2 * LARGE).contains(&octets), "{octets} octets for a message of {LARGE} to {QUEUES} queues");
}

fn idle_connection() {
    with_broker(async |running| {
        let open = async |name: &str| {
            let client = Client::open(&running);
            client.consume(name, None, false).await;
            client
        };
        let first = open("first").await;
        let names: Vec<String> = (0..CROWD).map(|n| format!("idle-{n}")).collect();
        let mut crowd = Vec::with_capacity(CROWD);
        let region = Region::new(ALLOCATOR);
        for name in &names {
            crowd.push(open(name).await);
        }
        let change = region.change();
        let each = (change.bytes_allocated - change.bytes_deallocated) / CROWD;
        println!("an idle connection keeps {each} octets, at most {IDLE}");
        assert!(each <= IDLE, "{each} octets for an idle connection");
        assert!(each > 500, "the allocator counts: {each}");
        drop((first, crowd));
    });
}

#[test]
fn hot_paths_allocate_no_more_than_this() {
    transient_message();
    confirmed_durable_message();
    delivery_and_ack();
    fan_outs();
    idle_connection();
}
