//! End to end over loopback: the real binary, a publisher and a consumer that cost next to nothing.
//!
//! `cargo bench --bench loopback [-- SECONDS [PART OF A NAME]...]` prints, for each workload, published and consumed messages a second and
//! the broker's own CPU time a message (user and system, from the process accounting of Linux). Read them as ratios.

#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "support/mod.rs"]
mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use amq_protocol::protocol::{AMQPClass, basic, confirm};
use amq_protocol::types::FieldTable;
use leveret::wire::encode;
use leveret::wire::frame::FrameKind;
use leveret::wire::method;

use support::{Broker, Client, message};

/// What one run does.
#[derive(Clone, Copy)]
struct Workload {
    name: &'static str,
    body: usize,
    durable: bool,
    /// Publishes that may be unconfirmed at a time; 0 is without confirms.
    window: u64,
    /// Deliveries acknowledged at a time; 0 is without acknowledgements.
    ack_every: u64,
    prefetch: u16,
    consumers: usize,
    publishers: usize,
    /// Queues, each with its publishers and consumers.
    pairs: usize,
}

const TRANSIENT: Workload = Workload {
    name: "16 B transient, auto-ack, 1 to 1",
    body: 16,
    durable: false,
    window: 0,
    ack_every: 0,
    prefetch: 0,
    consumers: 1,
    publishers: 1,
    pairs: 1,
};
const DURABLE: Workload = Workload {
    name: "1 KiB durable, confirms in 1,000s, acks in 100s, prefetch 1,000",
    body: 1024,
    durable: true,
    window: 1_000,
    ack_every: 100,
    prefetch: 1_000,
    ..TRANSIENT
};

const WORKLOADS: [Workload; 9] = [
    TRANSIENT,
    Workload { name: "1 KiB transient, auto-ack, 1 to 1", body: 1024, ..TRANSIENT },
    Workload { name: "16 B transient, 4 queues, 4 to 4", pairs: 4, ..TRANSIENT },
    DURABLE,
    Workload { name: "16 B durable, same", body: 16, ..DURABLE },
    Workload { name: "1 KiB durable, publish only, confirms in 1,000s", consumers: 0, ..DURABLE },
    Workload { name: "1 KiB durable, one confirm at a time", window: 1, ack_every: 1, prefetch: 100, ..DURABLE },
    Workload {
        name: "128 B transient, 1 to 10, prefetch 10, ack each",
        body: 128,
        ack_every: 1,
        prefetch: 10,
        consumers: 10,
        ..TRANSIENT
    },
    Workload { name: "16 B transient, auto-ack, 10 to 1", publishers: 10, ..TRANSIENT },
];

struct Counters {
    published: AtomicU64,
    consumed: AtomicU64,
    stop: AtomicBool,
}

fn publish(address: SocketAddr, queue: &str, work: Workload, counters: &Counters) {
    let mut client = Client::open(address);
    let one = message(queue, work.body, work.durable);
    let per_write = if work.window == 0 { (32 * 1024 / one.len()).clamp(1, 256) as u64 } else { work.window.min(64) };
    let batch = one.repeat(usize::try_from(per_write).unwrap());
    if work.window > 0 {
        client.say(1, AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })));
        client.expect(1);
    }
    let (mut sent, mut confirmed) = (0u64, 0u64);
    while !counters.stop.load(Ordering::Relaxed) {
        while work.window > 0 && sent + per_write > confirmed + work.window {
            let alive = client.frames(|_, _, payload| {
                if let Ok(method::Method::Ack { delivery_tag, .. }) = method::decode(payload) {
                    confirmed = confirmed.max(delivery_tag);
                }
            });
            if !alive {
                return;
            }
        }
        // The broker is killed at the end of a run.
        if client.stream.write_all(&batch).is_err() {
            return;
        }
        sent += per_write;
        counters.published.fetch_add(per_write, Ordering::Relaxed);
    }
}

fn consume(address: SocketAddr, queue: &str, work: Workload, counters: &Counters) {
    let mut client = Client::open(address);
    if work.prefetch > 0 {
        let qos = basic::Qos { prefetch_count: work.prefetch, global: false };
        client.say(1, AMQPClass::Basic(basic::AMQPMethod::Qos(qos)));
        client.expect(1);
    }
    let consume = basic::Consume {
        queue: queue.into(),
        consumer_tag: "".into(),
        no_local: false,
        no_ack: work.ack_every == 0,
        exclusive: false,
        nowait: true,
        arguments: FieldTable::default(),
    };
    client.say(1, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
    client.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (mut received, mut acked) = (0u64, 0u64);
    let mut acks = Vec::new();
    while !counters.stop.load(Ordering::Relaxed) {
        let before = received;
        let alive = client.frames(|kind, _, _| received += u64::from(kind == FrameKind::Header));
        counters.consumed.fetch_add(received - before, Ordering::Relaxed);
        acks.clear();
        while work.ack_every > 0 && received - acked >= work.ack_every {
            acked += work.ack_every;
            encode::ack(&mut acks, 1, acked, true);
        }
        if !alive || client.stream.write_all(&acks).is_err() {
            return;
        }
    }
}

fn run(work: Workload, seconds: u64) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let counters =
        Arc::new(Counters { published: AtomicU64::new(0), consumed: AtomicU64::new(0), stop: AtomicBool::new(false) });
    let mut threads = Vec::new();
    for pair in 0..work.pairs {
        let queue = format!("bench-{pair}");
        Client::open(broker.address).declare(&queue, work.durable);
        for _ in 0..work.consumers {
            let (queue, counters, address) = (queue.clone(), counters.clone(), broker.address);
            threads.push(std::thread::spawn(move || consume(address, &queue, work, &counters)));
        }
        for _ in 0..work.publishers {
            let (queue, counters, address) = (queue.clone(), counters.clone(), broker.address);
            threads.push(std::thread::spawn(move || publish(address, &queue, work, &counters)));
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let read = || (counters.published.load(Ordering::Relaxed), counters.consumed.load(Ordering::Relaxed), broker.cpu());
    let (published, consumed, cpu) = read();
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let (published, consumed, cpu) = {
        let now = read();
        (now.0 - published, now.1 - consumed, now.2 - cpu)
    };
    let elapsed = begun.elapsed().as_secs_f64();
    counters.stop.store(true, Ordering::Relaxed);
    let memory = broker.memory("VmHWM");
    drop(broker);
    for thread in threads {
        let _ = thread.join();
    }
    #[allow(clippy::cast_precision_loss)]
    let (published, consumed) = (published as f64, consumed as f64);
    let moved = if work.consumers == 0 { published } else { f64::midpoint(published, consumed) };
    println!(
        "{:<64} {:>9.0} pub/s {:>9.0} con/s {:>8.3} us broker CPU/msg  peak {memory} MiB",
        work.name,
        published / elapsed,
        consumed / elapsed,
        cpu / moved
    );
}

fn main() {
    let seconds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(4);
    // Further arguments choose workloads by a part of their names.
    let chosen: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--") && arg.parse::<u64>().is_err()).collect();
    for work in WORKLOADS {
        if chosen.is_empty() || chosen.iter().any(|part| work.name.contains(part.as_str())) {
            run(work, seconds);
        }
    }
}
