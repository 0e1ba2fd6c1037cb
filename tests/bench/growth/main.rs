//! What a message costs the broker as there is more of everything else: queues, connections, deliveries, bindings, octets,
//! backlog, threads.
//!
//! `cargo bench --bench growth [-- GROUP... SECONDS]` prints a Markdown table of the groups named, or of all: deliveries a
//! second, the broker's own processor time for each, and that as a multiple of the group's first row. What should not
//! matter (idle queues and connections, bindings, a backlog) should leave it near 1. The real binary runs in a process
//! of its own; on few processors the load takes its share of them, so read the time, and the rates as ratios.

// It reads the clock, prints what it measured and rounds for that.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used, clippy::cast_precision_loss)]

mod load;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::wire::properties::Properties;
use load::{Burst, Flow, Row, bind};
use support::message_to;

/// Time a row is measured, in seconds, unless an argument says otherwise.
const SECONDS: u64 = 2;

/// Octets that may be under way.
const AHEAD: usize = 16 << 20;

/// Deliveries that may be under way, however small.
const MOST_AHEAD: usize = 20_000;

/// Messages of a burst, if they are small.
const BURST: usize = 64;

/// Octets of a burst, if they are not.
const BURST_OCTETS: usize = 256 * 1024;

/// Keys in turn where none may be known from before: more than a session remembers.
const KEYS: usize = 20_000;

/// A small body, in octets.
const SMALL: usize = 16;

/// A large one.
const LARGE: usize = 64 * 1024;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let seconds = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(SECONDS);
    let named: Vec<&String> = args.iter().filter(|arg| arg.parse::<u64>().is_err()).collect();
    raise_file_limit();
    println!("| row | deliveries a second | CPU a delivery | ns an octet | times the first | peak MiB |");
    println!("|---|---:|---:|---:|---:|---:|");
    for (name, rows) in GROUPS {
        if !named.is_empty() && !named.iter().any(|wanted| wanted.as_str() == *name) {
            continue;
        }
        println!("| **{name}** | | | | | |");
        let mut first = None;
        for row in rows() {
            let (name, body) = (row.name.clone(), row.body);
            let figures = load::run(row, Duration::from_secs(seconds));
            let times = figures.cpu / *first.get_or_insert(figures.cpu);
            let octet = if body == 0 { String::new() } else { format!("{:.2}", figures.cpu * 1e3 / body as f64) };
            println!(
                "| {name} | {:.0} | {:.3} us | {octet} | {times:.2} | {} |",
                figures.deliveries_a_second, figures.cpu, figures.memory
            );
        }
    }
}

/// Makes the rows of a group.
type Rows = fn() -> Vec<Row>;

/// The groups by name.
const GROUPS: &[(&str, Rows)] = &[
    ("queues", queues),
    ("connections", connections),
    ("fanout-small", || fan_out(SMALL)),
    ("fanout-large", || fan_out(LARGE)),
    ("direct", || bindings("amq.direct", false)),
    ("direct-new", || bindings("amq.direct", true)),
    ("topic", || bindings("amq.topic", false)),
    ("topic-new", || bindings("amq.topic", true)),
    ("headers", headers),
    ("bodies", bodies),
    ("backlog", backlogs),
    ("threads", threads),
];

/// A thousand connections here and there take more descriptors than a shell allows.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Publishes with these exchanges and keys in turn, as many in a burst as is usual for their size.
fn bursts(exchange: &str, keys: &[String], body: usize) -> Vec<Burst> {
    let each = (BURST_OCTETS / body.max(1)).clamp(1, BURST);
    // A key alone fills a burst; many go on in the next one.
    let of = |keys: &[String]| Burst {
        octets: keys.iter().flat_map(|key| message_to(exchange, key, &[0, 0], body)).collect(),
        messages: keys.len() as u64,
    };
    match keys {
        [key] => vec![of(&vec![key.clone(); each])],
        keys => keys.chunks(each).map(of).collect(),
    }
}

fn window(body: usize) -> u64 {
    (AHEAD / body.max(1)).clamp(4, MOST_AHEAD) as u64
}

/// A publisher to each of these queues in turn, and their consumer.
fn flow(queues: Vec<String>, body: usize) -> Flow {
    Flow { bursts: bursts("", &queues, body), publishers: 1, queues, copies: 1, window: window(body) }
}

fn row(name: impl Into<String>, flow: Flow) -> Row {
    Row {
        name: name.into(),
        flows: vec![flow],
        setup: Vec::new(),
        idle_queues: 0,
        idle_connections: 0,
        backlog: 0,
        threads: 0,
        body: SMALL,
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("queue-{n}")).collect()
}

fn queues() -> Vec<Row> {
    let busy = |count: usize| row(format!("{count} queues in turn"), flow(names(count), SMALL));
    let idle = Row { idle_queues: 10_000, ..row("1 queue beside 10,000 idle ones", flow(names(1), SMALL)) };
    vec![busy(1), idle, busy(100), busy(10_000)]
}

fn connections() -> Vec<Row> {
    let busy = |publishers: usize| {
        let flow = Flow { publishers, ..flow(names(1), SMALL) };
        row(format!("{publishers} publishing in turn"), flow)
    };
    let idle = Row {
        idle_queues: 1,
        idle_connections: 1_000,
        ..row("1 publishing beside 1,000 idle ones", flow(names(1), SMALL))
    };
    vec![busy(1), idle, busy(10), busy(100), busy(1_000)]
}

fn fan_out(body: usize) -> Vec<Row> {
    let to = |count: usize| {
        let queues = names(count);
        let mut setup = Vec::new();
        for queue in &queues {
            bind(&mut setup, queue, "amq.fanout", "", FieldTable::default());
        }
        let bursts = bursts("amq.fanout", &["key".to_owned()], body);
        let window = window(body).max(2 * count as u64);
        let flow = Flow { bursts, publishers: 1, queues, copies: count as u64, window };
        Row { setup, body, ..row(format!("{body} octets to {count} queues"), flow) }
    };
    vec![to(1), to(10), to(100), to(1_000)]
}

/// One queue is bound by what is published; the others have the other bindings, which nothing matches.
fn bindings(exchange: &'static str, new: bool) -> Vec<Row> {
    let with = |count: usize| {
        let others = 100;
        let mut setup = Vec::new();
        bind(&mut setup, "queue-0", exchange, "some.key", FieldTable::default());
        if exchange == "amq.topic" {
            bind(&mut setup, "queue-0", exchange, "new.*.key", FieldTable::default());
        }
        let keys: Vec<String> = if new && exchange == "amq.topic" {
            (0..KEYS).map(|n| format!("new.{n}.key")).collect()
        } else if new {
            (0..KEYS).map(|n| format!("new.{n}")).collect()
        } else {
            vec!["some.key".to_owned()]
        };
        if new && exchange == "amq.direct" {
            for key in &keys {
                bind(&mut setup, "queue-0", exchange, key, FieldTable::default());
            }
        }
        for n in 0..count {
            let key = match n % 4 {
                _ if exchange == "amq.direct" => format!("other.{n}"),
                0 => format!("other.{n}.*"),
                1 => format!("other.#.{n}"),
                _ => format!("other.{n}.created"),
            };
            bind(&mut setup, &format!("idle-{}", n % others), exchange, &key, FieldTable::default());
        }
        let flow = Flow { bursts: bursts(exchange, &keys, SMALL), ..flow(names(1), SMALL) };
        let name = if new { "ever new keys" } else { "one key" };
        Row { setup, idle_queues: others, ..row(format!("{exchange}, {count} other bindings, {name}"), flow) }
    };
    vec![with(10), with(100_000)]
}

/// Bindings by tenant and kind, each tenant's own; messages of one tenant.
fn headers() -> Vec<Row> {
    let with = |count: usize| {
        let wanted = |tenant: usize| {
            let mut arguments = FieldTable::default();
            for (key, text) in [("x-match", "all"), ("kind", "order"), ("tenant", &format!("{tenant:06}"))] {
                arguments.insert(key.into(), AMQPValue::LongString(text.into()));
            }
            arguments
        };
        let mut setup = Vec::new();
        bind(&mut setup, "queue-0", "amq.headers", "", wanted(0));
        for n in 1..=count {
            bind(&mut setup, &format!("idle-{}", n % 100), "amq.headers", "", wanted(n));
        }
        let table = b"\x06tenantS\0\0\0\x06000000\x04kindS\0\0\0\x05order";
        let properties = Properties { headers: Some(table), ..Properties::default() }.encode();
        let octets = message_to("amq.headers", "", &properties, SMALL).repeat(BURST);
        let flow = Flow { bursts: vec![Burst { octets, messages: BURST as u64 }], ..flow(names(1), SMALL) };
        Row { setup, idle_queues: 100, ..row(format!("amq.headers, {count} other bindings"), flow) }
    };
    vec![with(10), with(100_000)]
}

fn bodies() -> Vec<Row> {
    let of = |body: usize| {
        let name = match body {
            0..1024 => format!("{body} B"),
            1024..0x10_0000 => format!("{} KiB", body >> 10),
            _ => format!("{} MiB", body >> 20),
        };
        Row { body, ..row(name, flow(names(1), body)) }
    };
    [0, SMALL, 1 << 10, 16 << 10, 256 << 10, 4 << 20, 64 << 20].map(of).into()
}

fn backlogs() -> Vec<Row> {
    let behind = |backlog: u64| Row { backlog, ..row(format!("behind {backlog} messages"), flow(names(1), SMALL)) };
    vec![behind(0), behind(100_000), behind(1_000_000)]
}

fn threads() -> Vec<Row> {
    let with = |pairs: usize, threads: usize| {
        let flows = names(pairs).into_iter().map(|name| flow(vec![name], SMALL));
        let first = row(format!("{pairs} pairs, {threads} threads"), flow(Vec::new(), SMALL));
        Row { flows: flows.collect(), threads, ..first }
    };
    vec![with(1, 1), with(1, 2), with(2, 1), with(2, 2), with(4, 1), with(4, 2)]
}
