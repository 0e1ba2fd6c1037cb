//! The core without sockets: publisher, queue, outbox, bytes of the delivery.
//!
//! `cargo bench --bench queue_core` prints millions of messages a second for one and several publishers and queues, each
//! publisher pushing runs of 64 small messages as a session does after one read.

#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use leveret::clock::NEVER;
use leveret::message::{Draft, Facts, Message, address};
use leveret::queue::{Definition, Drained, Effects, Intake, Item, Options, Outbox, Queue, Subscription};
use leveret::store::QueueId;
use leveret::wire::encode;
use leveret::wire::table::Table;

/// Messages of one run.
const RUN: usize = 64;

/// How long one row is measured.
const MEASURED: Duration = Duration::from_secs(2);

/// Deliveries that may lie undelivered before publishers wait, so that the queue stays a queue.
const AHEAD: u64 = 100_000;

fn queue(id: u64) -> Arc<Queue> {
    let definition = Definition {
        id: QueueId(id),
        name: format!("q{id}").into(),
        vhost: "/".into(),
        durable: false,
        auto_delete: false,
        exclusive_to: None,
        arguments: Table::default(),
        options: Arc::new(Options::default()),
    };
    Queue::new(definition, Arc::new(Intake::default()), 0, None)
}

fn message(address: &[u8]) -> Message {
    let mut draft = Draft::new(address, &[0, 0], 16, Facts::default());
    assert!(draft.try_extend(&[b'x'; 16]));
    draft.finish().unwrap()
}

struct Counts {
    pushed: AtomicU64,
    delivered: AtomicU64,
    stop: AtomicBool,
}

fn publish(queues: &[Arc<Queue>], first: usize, counts: &Counts) {
    let address = address(b"", b"q").unwrap();
    let mut fx = Effects::default();
    let mut refused = Vec::new();
    let mut at = first;
    while !counts.stop.load(Ordering::Relaxed) {
        if counts.pushed.load(Ordering::Relaxed) > counts.delivered.load(Ordering::Relaxed) + AHEAD {
            std::thread::yield_now();
            continue;
        }
        let run: Vec<Message> = (0..RUN).map(|_| message(&address)).collect();
        let queue = &queues[at % queues.len()];
        at += 1;
        queue.push(run.into_iter(), false, 1, &mut refused, &mut fx);
        fx.ring();
        counts.pushed.fetch_add(RUN as u64, Ordering::Relaxed);
    }
}

/// Drains an outbox and encodes what it holds, as a session does.
fn consume(outbox: &Outbox, counts: &Counts) {
    let mut drained = Drained::default();
    let mut out = Vec::new();
    let mut fx = Effects::default();
    let mut tag = 0;
    while !counts.stop.load(Ordering::Relaxed) {
        outbox.drain(&mut drained);
        if drained.items.is_empty() && drained.starved.is_empty() {
            std::thread::yield_now();
            continue;
        }
        out.clear();
        let delivered = drained.entries.len() as u64;
        let mut entries = drained.entries.drain(..);
        for item in drained.items.drain(..) {
            let Item::Deliver { consumer, count } = item else { continue };
            for entry in entries.by_ref().take(count as usize) {
                tag += 1;
                encode::deliver(&mut out, 1, &consumer.tag, tag, entry.redelivered, entry.message.address());
                let body = entry.message.body();
                encode::content_header(&mut out, 1, body.len() as u64, entry.message.properties());
                encode::body(&mut out, 1, body, 131_072);
            }
        }
        drop(entries);
        for consumer in drained.starved.drain(..) {
            consumer.queue.as_ref().unwrap().resume(&consumer, 1, &mut fx);
            fx.ring();
        }
        counts.delivered.fetch_add(delivered, Ordering::Relaxed);
    }
}

fn row(queues: u64, publishers: usize) {
    let queues: Vec<Arc<Queue>> = (1..=queues).map(queue).collect();
    let counts =
        Arc::new(Counts { pushed: AtomicU64::new(0), delivered: AtomicU64::new(0), stop: AtomicBool::new(false) });
    let outbox = Arc::new(Outbox::new(1 << 20));
    let mut fx = Effects::default();
    for (id, queue) in (1u64..).zip(&queues) {
        let subscription = Subscription {
            id,
            tag: Box::from(&b"consumer"[..]),
            channel: 1,
            no_ack: true,
            exclusive: false,
            priority: 0,
            prefetch: 0,
            ..Subscription::default()
        };
        queue.subscribe(subscription.connect(outbox.clone(), Some(queue.clone()), None), 1, &mut fx);
    }
    assert_eq!(fx.deadline, NEVER);
    std::thread::scope(|scope| {
        for first in 0..publishers {
            let (queues, counts) = (&queues, &counts);
            scope.spawn(move || publish(queues, first, counts));
        }
        scope.spawn(|| consume(&outbox, &counts));
        let begun = Instant::now();
        std::thread::park_timeout(MEASURED);
        #[allow(clippy::cast_precision_loss)]
        let rate = counts.delivered.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64() / 1e6;
        println!("{:>2} queues, {publishers} publishers, runs of {RUN}: {rate:>6.2} M messages/s", queues.len());
        counts.stop.store(true, Ordering::Relaxed);
    });
}

fn main() {
    for (queues, publishers) in [(1, 1), (1, 4), (8, 4)] {
        row(queues, publishers);
    }
}
