//! The hot paths: each prepares for as many operations as it is told, and does as many as it is told.

use std::hint::black_box;
use std::sync::Arc;

use leveret::broker::{Caller, QueueDeclare, Routing, Running};
use leveret::message::{Draft, Facts, Message, address};
use leveret::queue::{Definition, Effects, Intake, Options, Queue};
use leveret::store::lmdb::{LmdbEngine, LmdbOptions};
use leveret::store::memory::MemoryEngine;
use leveret::store::{Batch, Commit, Engine, QueueId};
use leveret::wire::properties::Properties;
use leveret::wire::table::{Table, Value};
use leveret::wire::{encode, frame, method};

use super::pipe::{Client, FRAME_MAX, delivery, publish, with_broker};

/// A path.
pub(crate) struct Path {
    /// Its key in `ceilings.toml`.
    pub(crate) name: &'static str,
    /// What is one operation.
    pub(crate) each: &'static str,
    /// What it consists of.
    pub(crate) what: &'static str,
    /// Operations of the shorter run: enough to make what differs by chance small, few enough to be quick.
    pub(crate) operations: u64,
    /// Prepares for the first number of operations, and does the second. It may end the process: whatever it takes down
    /// is counted too.
    pub(crate) run: fn(u64, u64),
}

/// All of them.
pub(crate) const PATHS: &[Path] = &[
    Path {
        name: "decode-publish",
        each: "a message",
        what: "Frames, method, header and properties of a publish of 16 octets, as the session decodes them.",
        operations: 10_000,
        run: decode_publish,
    },
    Path {
        name: "validate-table",
        each: "a queue.declare",
        what: "queue.declare with seven arguments, one of them a table: guarded, then decoded.",
        operations: 2_000,
        run: validate_table,
    },
    Path {
        name: "publish-to-delivery",
        each: "a message",
        what: "A message of 16 octets from one session's read to another's write, with thousands in a read.",
        operations: 40_000,
        run: publish_to_delivery,
    },
    Path {
        name: "publish-to-delivery-alone",
        each: "a message",
        what: "The same with one message in a read: what a turn of each session costs besides.",
        operations: 5_000,
        run: publish_to_delivery_alone,
    },
    Path {
        name: "publish-to-delivery-new-key",
        each: "a message",
        what: "The same with thousands in a read, through amq.topic, each with a key that was not seen before.",
        operations: 20_000,
        run: publish_to_delivery_new_key,
    },
    Path {
        name: "ack-hundred",
        each: "an ack",
        what: "basic.ack of a hundred transient messages, from the session's read to their end.",
        operations: 200,
        run: ack_hundred,
    },
    Path {
        name: "route-topic",
        each: "a route",
        what: "A key that was not seen before through amq.topic with 1,000 bindings.",
        operations: 10_000,
        run: route_topic,
    },
    Path {
        name: "route-headers",
        each: "a route",
        what: "A message through amq.headers with 1,000 bindings of two headers each, of which one matches.",
        operations: 5_000,
        run: route_headers,
    },
    Path {
        name: "journal",
        each: "a message",
        what: "A durable message of 1 KiB pushed, taken by the writer in a batch of 1,000, and let go.",
        operations: 8_000,
        run: journal,
    },
    Path {
        name: "journal-to-disk",
        each: "a message",
        what: "The same, with LMDB's blocks built and committed without waiting for the disk.",
        operations: 8_000,
        run: journal_to_disk,
    },
    Path {
        name: "settle-on-disk",
        each: "a message",
        what: "A kept message settled, in batches of 1,000 in order, and its block removed with the last.",
        operations: 8_000,
        run: settle_on_disk,
    },
];

/// The variable that names a directory to write in.
pub(crate) const SCRATCH: &str = "LEVERET_INSTRUCTIONS_SCRATCH";

/// Body of a small message.
const SMALL: &[u8] = &[b'x'; 16];

/// Messages of a commit.
const BATCH: u64 = 1_000;

/// Messages an ack concerns.
const ACKED: u64 = 100;

/// Bindings of the exchange that is routed through.
const BINDINGS: u64 = 1_000;

/// Queues they lead to.
const QUEUES: u64 = 100;

fn count(operations: u64) -> usize {
    usize::try_from(operations).unwrap()
}

/// Runs `work` against a broker in memory and ends the process: what is left is not taken down, which would be counted.
fn counted(work: impl AsyncFnOnce(&Running)) {
    with_broker(async |running| {
        work(&running).await;
        std::process::exit(0)
    });
}

fn decode_publish(_: u64, done: u64) {
    let message = publish("", "order.created", SMALL);
    for _ in 0..done {
        let mut octets = black_box(message.as_slice());
        while let Ok(Some((frame, used))) = frame::decode(octets, FRAME_MAX) {
            match frame.kind {
                frame::FrameKind::Method => drop(black_box(method::decode(frame.payload))),
                frame::FrameKind::Header => {
                    let header = method::decode_header(frame.payload).unwrap();
                    _ = black_box(Properties::parse(header.properties));
                }
                _ => _ = black_box(frame),
            }
            octets = &octets[used..];
        }
    }
}

fn validate_table(_: u64, done: u64) {
    let content: [&[u8]; 7] = [
        b"\x0cx-max-lengthI\0\x0f\x42\x40",
        b"\x0dx-message-ttll\0\0\0\0\0\0\xea\x60",
        b"\x16x-dead-letter-exchangeS\0\0\0\x03dlx",
        b"\x19x-dead-letter-routing-keyS\0\0\0\x04dead",
        b"\x0ax-overflowS\0\0\0\x0ereject-publish",
        b"\x0ax-priorityb\x05",
        b"\x05ownerF\0\0\0\x14\x04teamS\0\0\0\x03web\x04yeart\x01",
    ];
    let content = content.concat();
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let declare = [&[0, 50, 0, 10, 0, 0, 1, b'q', 2][..], &length, &content].concat();
    assert!(method::decode(&declare).is_ok());
    for _ in 0..done {
        drop(black_box(method::decode(black_box(&declare))));
    }
}

fn publish_to_delivery(prepared: u64, done: u64) {
    counted(async |running| {
        let (publisher, consumer) = (Client::open(running), Client::open(running));
        consumer.consume("q", None, true).await;
        publisher.done().await;
        let message = publish("", "q", SMALL);
        let messages = bytes::Bytes::from(message.repeat(count(prepared)));
        let until = consumer.heard() + count(done) * delivery("q", "", "q", SMALL);
        publisher.say(messages.slice(..count(done) * message.len()));
        consumer.hear(until).await;
    });
}

fn publish_to_delivery_alone(_: u64, done: u64) {
    counted(async |running| {
        let (publisher, consumer) = (Client::open(running), Client::open(running));
        consumer.consume("q", None, true).await;
        publisher.done().await;
        let message = bytes::Bytes::from(publish("", "q", SMALL));
        for _ in 0..done {
            let until = consumer.heard() + delivery("q", "", "q", SMALL);
            publisher.say(message.clone());
            consumer.hear(until).await;
        }
    });
}

fn publish_to_delivery_new_key(prepared: u64, done: u64) {
    counted(async |running| {
        let (publisher, consumer) = (Client::open(running), Client::open(running));
        consumer.consume("q", Some(("amq.topic", "order.*")), true).await;
        publisher.done().await;
        let messages = (0..prepared).map(|n| publish("amq.topic", &format!("order.{n:08}"), SMALL));
        let messages: Vec<Vec<u8>> = messages.collect();
        let of_one = messages[0].len();
        let messages = bytes::Bytes::from(messages.concat());
        let until = consumer.heard() + count(done) * delivery("q", "amq.topic", "order.00000000", SMALL);
        publisher.say(messages.slice(..count(done) * of_one));
        consumer.hear(until).await;
    });
}

fn ack_hundred(prepared: u64, done: u64) {
    counted(async |running| {
        let (publisher, consumer) = (Client::open(running), Client::open(running));
        consumer.consume("q", None, false).await;
        publisher.done().await;
        let messages = count(prepared * ACKED);
        let until = consumer.heard() + messages * delivery("q", "", "q", SMALL);
        publisher.say(publish("", "q", SMALL).repeat(messages));
        consumer.hear(until).await;
        let mut acks = Vec::new();
        (1..=done).for_each(|n| encode::ack(&mut acks, 1, n * ACKED, true));
        consumer.say(acks);
        consumer.done().await;
    });
}

/// Routes messages with these routing keys and headers through an exchange with these bindings.
fn route(exchange: &str, bindings: impl Iterator<Item = (String, Table)>, messages: &[(String, Vec<u8>)], done: u64) {
    counted(async |running| {
        let (broker, vhost) = (&running.broker, running.broker.vhost("/").unwrap());
        let mut fx = Effects::default();
        for n in 0..QUEUES {
            let ask = QueueDeclare {
                name: format!("q{n}"),
                passive: false,
                durable: false,
                exclusive: false,
                auto_delete: false,
                arguments: Table::default(),
            };
            vhost.declare_queue(broker, ask, Caller::trusted(1), &mut fx).unwrap();
        }
        for (n, (key, arguments)) in (0u64..).zip(bindings) {
            let (queue, caller) = (format!("q{}", n % QUEUES), Caller::trusted(1));
            vhost.bind_queue(broker, &queue, exchange, &key, arguments, caller).unwrap();
        }
        let address = address(exchange.as_bytes(), b"").unwrap();
        let message = Draft::new(&address, &[0, 0], 0, Facts::default()).finish().unwrap();
        for (key, headers) in &messages[..count(done)] {
            let keys = [black_box(key.as_bytes())];
            let properties = Properties { headers: Some(headers), ..Properties::default() };
            let routing = Routing { message: &message, keys: &keys, properties: &properties, now: 0 };
            let route = vhost.topology().route(exchange, &routing, true).unwrap();
            assert!(!black_box(route).queues.is_empty());
        }
    });
}

fn route_topic(prepared: u64, done: u64) {
    let pattern = |n: u64| match n % 10 {
        0 => format!("t{}.*.deleted", n / 10),
        1 => format!("t{}.stock.#", n / 10),
        2 => format!("*.t{}.#", n / 10),
        kind => format!("t{}.orders.created.{kind}", n / 10),
    };
    let key = |n: u64| (format!("t{}.stock.o{n}.deleted", n % (BINDINGS / 10)), Vec::new());
    let keys: Vec<_> = (0..prepared).map(key).collect();
    route("amq.topic", (0..BINDINGS).map(|n| (pattern(n), Table::default())), &keys, done);
}

fn route_headers(prepared: u64, done: u64) {
    let text = |text: &str| Value::LongStr(text.as_bytes().into());
    let bind = |n: u64| {
        let mut arguments = Table::new();
        arguments.insert("x-match", text("all"));
        arguments.insert("tenant", text(&format!("t{n:03}")));
        arguments.insert("kind", text("order"));
        (String::new(), arguments)
    };
    let headers = |n: u64| {
        let tenant = format!("t{:03}", n % BINDINGS);
        (String::new(), [b"\x06tenantS\0\0\0\x04", tenant.as_bytes(), b"\x04kindS\0\0\0\x05order"].concat())
    };
    let messages: Vec<_> = (0..prepared).map(headers).collect();
    route("amq.headers", (0..BINDINGS).map(bind), &messages, done);
}

/// A durable queue outside of any broker, with what the writer would take from it.
fn durable() -> (Arc<Queue>, Arc<Intake>) {
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
    (Queue::new(definition, intake.clone(), 0, None), intake)
}

fn kept_message(address: &[u8]) -> Message {
    let mut draft = Draft::new(address, &[0x10, 0, 2], 1_024, Facts { persistent: true, ..Facts::default() });
    assert!(draft.try_extend(&[b'x'; 1_024]));
    draft.finish().unwrap()
}

/// Pushes batches of messages, somebody waiting for each, and commits them as the writer does.
fn push(queue: &Arc<Queue>, intake: &Intake, engine: &dyn Engine, messages: u64) {
    let address = address(b"", b"q").unwrap();
    let (mut refused, mut fx) = (Vec::new(), Effects::default());
    for _ in 0..messages / BATCH {
        queue.push((0..BATCH).map(|_| kept_message(&address)), true, 1, &mut refused, &mut fx);
        commit(intake, engine);
    }
}

/// The writer's part.
fn commit(intake: &Intake, engine: &dyn Engine) {
    let closed = intake.close();
    assert!(closed.bytes > 0 || !closed.queues.is_empty());
    let batch =
        Batch { epoch: closed.epoch, queues: closed.queues, definitions: closed.definitions, ..Batch::default() };
    let answer = engine.commit(&batch);
    assert!(matches!(answer, Commit::Done), "{answer:?}");
    intake.discharge(closed.bytes);
}

fn journal(_: u64, done: u64) {
    let (queue, intake) = durable();
    push(&queue, &intake, &MemoryEngine::new(), done);
    std::process::exit(0)
}

/// A store that does not wait for the disk.
fn store() -> LmdbEngine {
    let options = LmdbOptions { sync: false, map_size: 1 << 30, ..LmdbOptions::default() };
    LmdbEngine::open(std::path::Path::new(&std::env::var(SCRATCH).unwrap()), options).unwrap()
}

fn journal_to_disk(_: u64, done: u64) {
    let ((queue, intake), engine) = (durable(), store());
    push(&queue, &intake, &engine, done);
    std::process::exit(0)
}

fn settle_on_disk(prepared: u64, done: u64) {
    let ((queue, intake), engine) = (durable(), store());
    push(&queue, &intake, &engine, prepared);
    let mut fx = Effects::default();
    for _ in 0..done / BATCH {
        (0..BATCH).for_each(|_| _ = queue.get(true, 1, &mut fx));
        commit(&intake, &engine);
    }
    std::process::exit(0)
}
