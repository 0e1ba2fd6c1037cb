//! A million delayed messages: memory while they wait, cost of each as it goes on, and the start of a broker that finds
//! them.
//!
//! `cargo bench --bench delays` prints one line for each. The store is the real one, in a temporary directory; the clock
//! is moved, not waited for. Delays come in random order, which is the worst case for reading bodies back.

#![allow(clippy::cast_precision_loss, clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leveret::broker::{Caller, ExchangeDeclare, QueueDeclare, Routing, Running, Start, VirtualHost};
use leveret::clock::Clock;
use leveret::config::Config;
use leveret::message::{Draft, Facts, Message, address};
use leveret::queue::{Effects, Queue};
use leveret::store::lmdb::{LmdbEngine, LmdbOptions};
use leveret::wire::properties::Properties;
use leveret::wire::table::{Table, Value};

const MESSAGES: usize = 1_000_000;

/// Octets of a body.
const BODY: usize = 256;

/// Messages pushed at once.
const RUN: usize = 1_000;

/// The longest delay, in milliseconds.
const LONGEST: u64 = 86_400_000;

fn message(n: usize) -> Message {
    let delay = 60_000 + (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % LONGEST;
    let (mut headers, mut raw) = (Table::new(), Vec::new());
    headers.insert("x-delay", Value::I64(i64::try_from(delay).unwrap()));
    headers.encode_into(&mut raw);
    let properties = Properties { headers: Some(&raw), delivery_mode: Some(2), ..Properties::default() };
    let facts = Facts { persistent: true, ..Facts::default() };
    let mut draft = Draft::new(&address(b"x", b"").unwrap(), &properties.encode(), BODY as u64, facts);
    assert!(draft.try_extend(&[b'x'; BODY]));
    draft.finish().unwrap()
}

fn start(path: &Path, clock: &Clock) -> Running {
    let engine = Arc::new(LmdbEngine::open(path, LmdbOptions::default()).unwrap());
    Running::start(Start { config: Arc::new(Config::default()), clock: clock.clone(), engine, spill: None }).unwrap()
}

/// Octets of this process that are resident, in MiB, and those that belong to no file.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    (field("VmRSS:").unwrap_or(0) / 1024, field("RssAnon:").unwrap_or(0) / 1024)
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The exchange's holder, found by routing.
fn holder(vhost: &VirtualHost) -> Arc<Queue> {
    let (message, properties) = (message(0), Properties::default());
    let parsed = Properties::parse(message.properties()).unwrap_or(properties);
    let routing = Routing { message: &message, keys: &[b""], properties: &parsed, now: 0 };
    vhost.topology().route("x", &routing, true).unwrap().queues.remove(0)
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let running = start(directory.path(), &clock);
    let broker = running.broker.clone();
    let vhost = broker.vhost("/").unwrap();
    let mut arguments = Table::new();
    arguments.insert("x-delayed-type", Value::from("fanout"));
    let exchange = ExchangeDeclare {
        name: "x".to_owned(),
        kind: "x-delayed-message".to_owned(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
    };
    vhost.declare_exchange(&broker, exchange, Caller::trusted(1)).unwrap();
    let queue = QueueDeclare {
        name: "q".to_owned(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: Table::new(),
    };
    vhost.declare_queue(&broker, queue, Caller::trusted(1), &mut Effects::default()).unwrap();
    vhost.bind_queue(&broker, "q", "x", "", Table::new(), Caller::trusted(1)).unwrap();

    let before = resident();
    let (began, cpu_before) = (Instant::now(), cpu());
    let held = holder(&vhost);
    for run in 0..MESSAGES / RUN {
        let (mut fx, mut refused) = (Effects::default(), Vec::new());
        let messages = (0..RUN).map(|n| message(run * RUN + n));
        held.push(messages, true, clock.now(), &mut refused, &mut fx);
        broker.finish(&held, &mut fx);
        until(|| broker.intake.bytes() < broker.config.journal_bytes).await;
    }
    until(|| broker.intake.bytes() == 0).await;
    let took = (began.elapsed(), cpu().saturating_sub(cpu_before));
    let after = resident();
    println!(
        "{MESSAGES} delays taken in {:.1?} ({:.2} us CPU each); {} MiB more in memory, {} MiB of it not the store's map",
        took.0,
        took.1.as_secs_f64() * 1e6 / MESSAGES as f64,
        after.0.saturating_sub(before.0),
        after.1.saturating_sub(before.1),
    );
    drop((held, vhost));
    drop(broker);
    running.stop().await.unwrap();

    let began = Instant::now();
    let running = start(directory.path(), &clock);
    let broker = running.broker.clone();
    let vhost = broker.vhost("/").unwrap();
    let held = holder(&vhost);
    assert_eq!(held.inspect(leveret::queue::State::delayed), MESSAGES as u64);
    println!("started with {MESSAGES} delays in {:.1?}; {} MiB not the store's map", began.elapsed(), resident().1);

    // One after another: a minute of a day, then what is left of it at once.
    let q = vhost.queue("q").unwrap();
    let ready = |queue: &Queue| queue.inspect(leveret::queue::State::ready);
    for minutes in [1 + 10, 60, 1_440] {
        let before = ready(&q);
        let (began, cpu_before) = (Instant::now(), cpu());
        clock.advance(Duration::from_secs(minutes * 60));
        let settled = |held: &Queue| held.inspect(|state| state.leased() == 0 && state.next_due() > clock.now());
        until(|| settled(&held)).await;
        let released = ready(&q) - before;
        println!(
            "{released} due within {minutes} minutes went on in {:.1?}, {:.1} us CPU each; {} MiB not the store's map",
            began.elapsed(),
            cpu().saturating_sub(cpu_before).as_secs_f64() * 1e6 / released.max(1) as f64,
            resident().1,
        );
    }
    drop((held, vhost, q));
    drop(broker);
    running.stop().await.unwrap();
}
