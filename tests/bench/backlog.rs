//! A backlog that does not fit memory: filled, left alone, recovered, drained.
//!
//! `cargo bench --bench backlog [-- MESSAGES [QUEUES [transient]]]` fills QUEUES (1) with MESSAGES (1,000,000) of 1 KiB in all,
//! confirmed in thousands, restarts the broker (unless they are transient), and drains them in order. It prints the rates of
//! each tenth, and the broker's own memory (`RssAnon`) at its highest; figures only, nothing is judged but the order and the
//! number of messages.

#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used, clippy::cast_precision_loss)]

#[allow(dead_code, reason = "shared with other benchmarks")]
#[path = "support/mod.rs"]
mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use amq_protocol::protocol::{AMQPClass, basic, confirm};
use amq_protocol::types::FieldTable;
use leveret::wire::encode;
use leveret::wire::frame::FrameKind;
use leveret::wire::method;

use support::{Broker, Client, message};

/// Octets of a body; the first eight are the message's number.
const BODY: usize = 1024;

/// Publishes that may be unconfirmed.
const WINDOW: u64 = 1_000;

fn queue(at: u64) -> String {
    format!("backlog-{at}")
}

/// Notes the highest `RssAnon` until it is dropped.
struct Watch<'a> {
    broker: &'a Broker,
    highest: AtomicU64,
    stop: AtomicBool,
}

impl<'a> Watch<'a> {
    /// Runs `work` and answers with what it does and the highest `RssAnon` in MiB meanwhile.
    fn during<R>(broker: &'a Broker, work: impl FnOnce() -> R) -> (R, u64) {
        let watch = Self { broker, highest: AtomicU64::new(0), stop: AtomicBool::new(false) };
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !watch.stop.load(Ordering::Relaxed) {
                    watch.highest.fetch_max(watch.broker.memory("RssAnon"), Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            let result = work();
            watch.stop.store(true, Ordering::Relaxed);
            result
        });
        (result, watch.highest.into_inner())
    }
}

/// Rates of tenths of a run, in messages a second.
struct Tenths {
    every: u64,
    begun: Instant,
    rates: Vec<f64>,
}

impl Tenths {
    fn of(messages: u64) -> Self {
        Self { every: (messages / 10).max(1), begun: Instant::now(), rates: Vec::new() }
    }

    fn reached(&mut self, messages: u64) {
        while messages >= self.every * (self.rates.len() as u64 + 1) {
            self.rates.push(self.every as f64 / self.begun.elapsed().as_secs_f64());
            self.begun = Instant::now();
        }
    }

    fn print(&self, what: &str, memory: u64) {
        let rates: Vec<String> = self.rates.iter().map(|rate| format!("{:.0}k", rate / 1_000.0)).collect();
        println!("{what:<8} {} a second; RssAnon at most {memory} MiB", rates.join(" "));
    }
}

fn fill(address: SocketAddr, messages: u64, queues: u64, durable: bool) -> Tenths {
    let mut client = Client::open(address);
    let mut templates: Vec<Vec<u8>> = Vec::new();
    for at in 0..queues {
        client.declare(&queue(at), durable);
        templates.push(message(&queue(at), BODY, durable));
    }
    client.say(1, AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })));
    client.expect(1);
    let (mut sent, mut confirmed, mut tenths, mut batch) = (0, 0, Tenths::of(messages), Vec::new());
    // A run of messages for each queue in turn.
    let run = (messages / queues).clamp(1, 50);
    while confirmed < messages {
        while sent < messages && sent + run <= confirmed + WINDOW {
            let one = &mut templates[usize::try_from(sent / run % queues).unwrap()];
            batch.clear();
            for _ in 0..run.min(messages - sent) {
                let number = one.len() - BODY - 1;
                one[number..number + 8].copy_from_slice(&sent.to_be_bytes());
                batch.extend_from_slice(one);
                sent += 1;
            }
            client.stream.write_all(&batch).unwrap();
        }
        let alive = client.frames(|_, _, payload| match method::decode(payload) {
            Ok(method::Method::Ack { delivery_tag, .. }) => confirmed = confirmed.max(delivery_tag),
            other => panic!("not a confirm: {other:?}"),
        });
        assert!(alive, "the broker has hung up");
        tenths.reached(confirmed);
    }
    tenths
}

/// Takes everything in order; answers with how long the first delivery took.
fn drain(address: SocketAddr, messages: u64, queues: u64) -> (Tenths, Duration) {
    let begun = Instant::now();
    let mut client = Client::open(address);
    let qos = basic::Qos { prefetch_count: 1_000, global: false };
    client.say(1, AMQPClass::Basic(basic::AMQPMethod::Qos(qos)));
    client.expect(1);
    for at in 0..queues {
        let consume = basic::Consume {
            queue: queue(at).as_str().into(),
            consumer_tag: at.to_string().as_str().into(),
            no_local: false,
            no_ack: false,
            exclusive: false,
            nowait: true,
            arguments: FieldTable::default(),
        };
        client.say(1, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
    }
    let (mut received, mut acked, mut first, mut tenths) = (0u64, 0, None, Tenths::of(messages));
    let mut latest = vec![None; usize::try_from(queues).unwrap()];
    let (mut of, mut acks) = (0usize, Vec::new());
    while received < messages {
        let alive = client.frames(|kind, _, payload| match kind {
            FrameKind::Method => of = consumer_of(payload),
            FrameKind::Body => {
                let number = u64::from_be_bytes(payload[..8].try_into().unwrap());
                assert!(latest[of].replace(number) < Some(number), "messages of a queue come in order");
                received += 1;
            }
            _ => {}
        });
        assert!(alive, "the broker has hung up");
        if received > 0 {
            first.get_or_insert_with(|| begun.elapsed());
        }
        acks.clear();
        if received - acked >= 100 || received == messages {
            acked = received;
            encode::ack(&mut acks, 1, acked, true);
        }
        client.stream.write_all(&acks).unwrap();
        tenths.reached(received);
    }
    (tenths, first.unwrap())
}

/// The number that is the consumer's tag in a basic.deliver.
fn consumer_of(payload: &[u8]) -> usize {
    let tag = &payload[5..5 + usize::from(payload[4])];
    std::str::from_utf8(tag).unwrap().parse().unwrap()
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let messages = numbers.first().copied().unwrap_or(1_000_000);
    let queues = numbers.get(1).copied().unwrap_or(1);
    let durable = !std::env::args().any(|arg| arg == "transient");
    let dir = tempfile::tempdir().unwrap();
    println!("{messages} messages of {BODY} octets in {queues} queues, durable: {durable}");
    let mut broker = Broker::start(dir.path());
    let (filled, memory) = Watch::during(&broker, || fill(broker.address, messages, queues, durable));
    filled.print("filled", memory);
    std::thread::sleep(Duration::from_secs(1));
    println!("at rest  RssAnon {} MiB", broker.memory("RssAnon"));
    if durable {
        drop(broker);
        let begun = Instant::now();
        broker = Broker::start(dir.path());
        println!("killed and started in {} ms", begun.elapsed().as_millis());
    }
    let ((drained, first), memory) = Watch::during(&broker, || drain(broker.address, messages, queues));
    println!("first delivery {} ms after the connection was opened", first.as_millis());
    drained.print("drained", memory);
}
