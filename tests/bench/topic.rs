//! Routing through a topic exchange with few bindings and with many: the cost must follow the words of a key and the
//! bindings it matches, not the bindings there are.
//!
//! The patterns are those of a service with many tenants: most literal, some with `*` or `#`, and a few that concern
//! everybody. Each key matches about as many bindings however many there are. `cargo bench --bench topic` prints the
//! nanoseconds of CPU a route, and how much more they are than with the fewest bindings: for keys as traffic has them,
//! most about few tenants, and for keys about every tenant alike, which is as bad as it gets for a processor's caches.
//! Neither is helped by the routes that a session remembers.

#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use leveret::broker::{Caller, QueueDeclare, Routing, Running, Start};
use leveret::clock::Clock;
use leveret::config::Config;
use leveret::message::{Draft, Facts, Message, address};
use leveret::queue::Effects;
use leveret::store::memory::MemoryEngine;
use leveret::wire::properties::Properties;
use leveret::wire::table::Table;

/// Keys routed in turn.
const KEYS: u64 = 50_000;

/// How often they are.
const PASSES: u64 = 12;

/// Queues the bindings lead to.
const QUEUES: u64 = 100;

const SERVICES: [&str; 6] = ["orders", "billing", "stock", "mail", "users", "search"];
const EVENTS: [&str; 5] = ["created", "changed", "deleted", "failed", "expired"];

/// Bindings that concern everybody.
const GENERAL: [&str; 6] = ["#.audit", "*.*.failed", "*.billing.#", "#.eu.expired", "*.search.created.*", "*.*.*.eu"];

/// The bindings of one tenant.
fn patterns(tenant: u64) -> [String; 10] {
    [
        format!("t{tenant}.orders.created"),
        format!("t{tenant}.orders.changed"),
        format!("t{tenant}.billing.failed"),
        format!("t{tenant}.stock.deleted.eu"),
        format!("t{tenant}.mail.expired.us"),
        format!("t{tenant}.users.created"),
        format!("t{tenant}.*.deleted"),
        format!("t{tenant}.search.*"),
        format!("t{tenant}.stock.#"),
        format!("*.t{tenant}.#"),
    ]
}

/// The processor time of this thread where the system tells it, in nanoseconds: others may share the machine.
fn time(begun: Instant) -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat");
    let on_cpu = told.ok().and_then(|text| text.split(' ').next()?.parse().ok());
    on_cpu.unwrap_or_else(|| u64::try_from(begun.elapsed().as_nanos()).unwrap())
}

/// A key about any tenant alike, or four times in five about one of the first fifth, and so on within it.
fn key(random: u64, tenants: u64, alike: bool) -> String {
    let (mut among, mut dice) = (tenants, random >> 40);
    while !alike && among > 5 && dice % 5 > 0 {
        among /= 5;
        dice /= 5;
    }
    let tenant = (random >> 20) % among;
    let service = SERVICES[usize::try_from(random % 6).unwrap()];
    let event = EVENTS[usize::try_from((random >> 8) % 5).unwrap()];
    let region = ["", ".eu", ".us", ".audit"][usize::try_from((random >> 12) % 4).unwrap()];
    format!("t{tenant}.{service}.{event}{region}")
}

/// The nanoseconds a route with this many bindings, and the queues it leads to on average: for usual keys, and for keys
/// about every tenant alike.
fn row(running: &Running, bindings: u64) -> [(f64, f64); 2] {
    let (broker, vhost) = (&running.broker, running.broker.vhost("/").unwrap());
    let mut fx = Effects::default();
    for n in 0..QUEUES {
        let name = format!("{bindings}-{n}");
        let arguments = Table::default();
        let ask =
            QueueDeclare { name, passive: false, durable: false, exclusive: false, auto_delete: false, arguments };
        vhost.declare_queue(broker, ask, Caller::trusted(1), &mut fx).unwrap();
    }
    let tenants = bindings / 10;
    let all = (0..tenants).flat_map(patterns).chain(GENERAL.map(str::to_owned));
    for (n, pattern) in (0u64..).zip(all) {
        let queue = format!("{bindings}-{}", n % QUEUES);
        vhost.bind_queue(broker, &queue, "amq.topic", &pattern, Table::default(), Caller::trusted(1)).unwrap();
    }
    let measured = [false, true].map(|alike| {
        let mut random = 1u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random ^ (random >> 32)
        };
        let keys: Vec<String> = (0..KEYS).map(|_| key(next(), tenants, alike)).collect();
        let properties = Properties::default();
        let message = message();
        let mut queues = 0u64;
        let started = Instant::now();
        let begun = time(started);
        for key in (0..PASSES).flat_map(|_| &keys) {
            let keys = [black_box(key.as_bytes())];
            let routing = Routing { message: &message, keys: &keys, properties: &properties, now: 0 };
            let route = vhost.topology().route("amq.topic", &routing, true).unwrap();
            queues += route.queues.len() as u64;
        }
        let spent = time(started) - begun;
        #[allow(clippy::cast_precision_loss)]
        (spent as f64 / (PASSES * KEYS) as f64, queues as f64 / (PASSES * KEYS) as f64)
    });
    for n in 0..QUEUES {
        vhost.delete_queue(broker, &format!("{bindings}-{n}"), false, false, Caller::trusted(1), &mut fx).unwrap();
    }
    measured
}

/// What is routed: the keys compared are given apart.
fn message() -> Message {
    let address = address(b"", b"").unwrap();
    Draft::new(&address, &[0, 0], 0, Facts::default()).finish().unwrap()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let engine = Arc::new(MemoryEngine::new());
    let start = Start { config: Arc::new(Config::default()), clock: Clock::system(), engine, spill: None };
    let running = Running::start(start).unwrap();
    let mut fewest = None;
    for bindings in [1_000, 10_000, 100_000] {
        let [usual, alike] = row(&running, bindings);
        let (first, second) = *fewest.get_or_insert((usual.0, alike.0));
        let ratios = (usual.0 / first, alike.0 / second);
        println!(
            "{bindings:>7} bindings: {:>5.0} ns a route to {:.1} queues, {:.2} times the fewest; all alike: {:>5.0} ns \
             to {:.1}, {:.2} times",
            usual.0, usual.1, ratios.0, alike.0, alike.1, ratios.1,
        );
    }
    runtime.block_on(running.stop()).unwrap();
}
