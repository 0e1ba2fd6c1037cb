//! Random topologies beside a naive matcher: lists of exchanges, queues and bindings, searched from end to end, with the
//! definition of each exchange type written out.

use leveret::broker::{ExchangeDeclare, NoRoute, QueueDeclare, Routing};
use leveret::message::{Draft, Facts, Message, address};
use leveret::queue::Effects;
use leveret::store::memory::MemoryEngine;
use leveret::wire::properties::Properties;
use leveret::wire::table::{Table, Value};

use crate::node::{CALLER, Node};
use crate::rng::Rng;

/// Topologies built, changed and torn down, unless `LEVERET_TOPOLOGIES` says otherwise.
const TOPOLOGIES: u64 = 2_500;

/// Changes made to each.
const CHANGES: u64 = 40;

const EXCHANGES: [&str; 6] = ["e0", "e1", "e2", "e3", "e4", "e5"];
const QUEUES: [&str; 4] = ["q0", "q1", "q2", "q3"];
const KINDS: [&str; 4] = ["direct", "fanout", "topic", "headers"];
const BINDING_KEYS: [&str; 14] =
    ["", "a", "b", "a.b", "*", "#", "a.*", "#.b", "*.#.b", "a.#", "#.a.#", "*.*", "#.*.b", "..a"];
const ROUTING_KEYS: [&str; 11] = ["", "a", "b", "a.b", "b.a.b", "a.", "*", "b.b.a.b", ".", "..a", "a.a.b.b.a"];

#[derive(Clone, Debug)]
struct NaiveExchange {
    name: &'static str,
    kind: &'static str,
    auto_delete: bool,
    alternate: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct NaiveBinding {
    source: &'static str,
    destination: &'static str,
    key: &'static str,
    arguments: Table,
}

impl NaiveBinding {
    fn is(&self, other: &Self) -> bool {
        let names = (self.source, self.destination, self.key) == (other.source, other.destination, other.key);
        names && self.arguments.same(&other.arguments)
    }
}

#[derive(Debug, Default)]
struct Naive {
    exchanges: Vec<NaiveExchange>,
    queues: Vec<&'static str>,
    bindings: Vec<NaiveBinding>,
}

fn words(key: &str) -> Vec<&str> {
    if key.is_empty() { Vec::new() } else { key.split('.').collect() }
}

fn topic_matches(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, _) => key.is_empty(),
        (Some((&"#", rest)), None) => topic_matches(rest, key),
        (Some((&"#", rest)), Some((_, tail))) => topic_matches(rest, key) || topic_matches(pattern, tail),
        (Some(_), None) => false,
        (Some((word, rest)), Some((head, tail))) => (*word == "*" || word == head) && topic_matches(rest, tail),
    }
}

fn headers_match(arguments: &Table, headers: &Table) -> bool {
    let mode = arguments.get("x-match").and_then(Value::as_str).unwrap_or("all");
    let mut wanted =
        arguments.iter().filter(|(key, _)| *key != "x-match" && (mode.ends_with("-with-x") || !key.starts_with("x-")));
    let met = |(key, value): (&str, &Value)| match (headers.get(key), value) {
        (None, _) => false,
        (Some(_), Value::Void) => true,
        (Some(found), value) => found.same(value),
    };
    if mode.starts_with("all") { wanted.all(met) } else { wanted.any(met) }
}

impl Naive {
    fn exchange(&self, name: &str) -> Option<&NaiveExchange> {
        self.exchanges.iter().find(|e| e.name == name)
    }

    fn matches(&self, binding: &NaiveBinding, keys: &[&str], headers: &Table) -> bool {
        match self.exchange(binding.source).expect("a binding has a source").kind {
            "direct" => keys.contains(&binding.key),
            "fanout" => true,
            "topic" => keys.iter().any(|key| topic_matches(&words(binding.key), &words(key))),
            _ => headers_match(&binding.arguments, headers),
        }
    }

    fn route(&self, exchange: &'static str, keys: &[&str], headers: &Table) -> Option<Vec<&'static str>> {
        self.exchange(exchange)?;
        let (mut reached, mut at) = (vec![exchange], 0);
        while let Some(source) = reached.get(at).and_then(|name| self.exchange(name)) {
            let matching = self.bindings.iter().filter(|b| b.source == source.name && self.matches(b, keys, headers));
            let mut next: Vec<_> = matching.map(|b| b.destination).collect();
            if next.is_empty() {
                next.extend(source.alternate.filter(|name| self.exchange(name).is_some()));
            }
            reached.extend(next);
            // Once each, in the order they were reached.
            reached = reached.iter().enumerate().filter(|(i, n)| !reached[..*i].contains(n)).map(|(_, n)| *n).collect();
            // Queues lead nowhere.
            at += 1;
            while reached.get(at).is_some_and(|name| self.queues.contains(name)) {
                at += 1;
            }
        }
        let mut queues: Vec<_> = reached.into_iter().filter(|name| self.queues.contains(name)).collect();
        queues.sort_unstable();
        Some(queues)
    }

    /// Removes a binding; an auto-delete exchange that loses its last one goes with it.
    fn unbind(&mut self, binding: &NaiveBinding) {
        let before = self.bindings.len();
        self.bindings.retain(|b| !b.is(binding));
        let last = self.bindings.len() < before && !self.bindings.iter().any(|b| b.source == binding.source);
        if last && self.exchange(binding.source).is_some_and(|e| e.auto_delete) {
            self.delete_exchange(binding.source);
        }
    }

    fn unbind_all_to(&mut self, name: &str) {
        while let Some(binding) = self.bindings.iter().find(|b| b.destination == name).cloned() {
            self.unbind(&binding);
        }
    }

    fn delete_exchange(&mut self, name: &str) {
        self.exchanges.retain(|e| e.name != name);
        self.bindings.retain(|b| b.source != name);
        self.unbind_all_to(name);
    }

    fn delete_queue(&mut self, name: &str) {
        self.queues.retain(|q| *q != name);
        self.unbind_all_to(name);
    }
}

fn table(entries: &[(&str, Value)]) -> Table {
    let mut table = Table::default();
    for (key, value) in entries {
        table.insert(key, value.clone());
    }
    table
}

fn binding_arguments(rng: &mut Rng) -> Table {
    let mut entries = Vec::new();
    for (key, value) in [("g", Value::from("a")), ("h", Value::I32(1)), ("x-h", Value::I64(2)), ("i", Value::Void)] {
        if rng.chance(1, 3) {
            entries.push((key, value));
        }
    }
    if rng.chance(1, 2) {
        entries.push(("x-match", Value::from(rng.pick(&["all", "any", "all-with-x", "any-with-x"]))));
    }
    table(&entries)
}

fn message_headers(rng: &mut Rng) -> Table {
    let choices = [
        ("g", Value::from("a")),
        ("g", Value::from("A")),
        ("h", Value::I64(1)),
        ("h", Value::F64(1.0)),
        ("x-h", Value::U8(2)),
        ("i", Value::Bool(false)),
    ];
    let chosen: Vec<_> = choices.into_iter().filter(|_| rng.chance(1, 3)).collect();
    table(&chosen)
}

/// The broker and the naive topology, changed alike.
struct Both {
    node: Node,
    naive: Naive,
}

impl Both {
    fn declare_exchange(&mut self, rng: &mut Rng) {
        let name = rng.pick(&EXCHANGES);
        if self.naive.exchange(name).is_some() {
            return;
        }
        let alternate = rng.chance(1, 3).then(|| rng.pick(&EXCHANGES));
        let exchange = NaiveExchange { name, kind: rng.pick(&KINDS), auto_delete: rng.chance(1, 3), alternate };
        let arguments = alternate.map(|to| ("alternate-exchange", Value::from(to)));
        let ask = ExchangeDeclare {
            name: name.to_owned(),
            kind: exchange.kind.to_owned(),
            passive: false,
            durable: false,
            auto_delete: exchange.auto_delete,
            internal: false,
            arguments: table(arguments.as_slice()),
        };
        self.node.vhost().declare_exchange(self.node.broker(), ask, CALLER).expect("it is new");
        self.naive.exchanges.push(exchange);
    }

    fn declare_queue(&mut self, name: &'static str) {
        if !self.naive.queues.contains(&name) {
            self.node.declare_as(QueueDeclare {
                name: name.to_owned(),
                passive: false,
                durable: false,
                exclusive: false,
                auto_delete: false,
                arguments: Table::default(),
            });
            self.naive.queues.push(name);
        }
    }

    fn bind(&mut self, rng: &mut Rng) {
        let to_exchange = rng.chance(1, 3);
        let destination = if to_exchange { rng.pick(&EXCHANGES) } else { rng.pick(&QUEUES) };
        let (source, key, arguments) = (rng.pick(&EXCHANGES), rng.pick(&BINDING_KEYS), binding_arguments(rng));
        let (vhost, broker, table) = (self.node.vhost(), self.node.broker(), arguments.clone());
        let bound = if to_exchange {
            vhost.bind_exchange(broker, destination, source, key, table, CALLER)
        } else {
            vhost.bind_queue(broker, destination, source, key, table, CALLER)
        };
        let there = self.naive.queues.contains(&destination) || self.naive.exchange(destination).is_some();
        assert_eq!(bound.is_ok(), there && self.naive.exchange(source).is_some());
        let binding = NaiveBinding { source, destination, key, arguments };
        if bound.is_ok() && !self.naive.bindings.iter().any(|b| b.is(&binding)) {
            self.naive.bindings.push(binding);
        }
    }

    fn unbind(&mut self, rng: &mut Rng) {
        let Some(binding) = (!self.naive.bindings.is_empty()).then(|| {
            let at = rng.index(self.naive.bindings.len());
            self.naive.bindings[at].clone()
        }) else {
            return;
        };
        let (vhost, broker) = (self.node.vhost(), self.node.broker());
        let NaiveBinding { source, destination, key, arguments } = &binding;
        let unbound = if self.naive.queues.contains(destination) {
            vhost.unbind_queue(broker, destination, source, key, arguments, CALLER)
        } else {
            vhost.unbind_exchange(broker, destination, source, key, arguments, CALLER)
        };
        assert!(unbound.is_ok());
        self.naive.unbind(&binding);
    }

    fn delete_exchange(&mut self, name: &str, if_unused: bool) {
        let used = self.naive.bindings.iter().any(|b| b.source == name);
        let deleted = self.node.vhost().delete_exchange(self.node.broker(), name, if_unused, CALLER);
        assert_eq!(deleted.is_err(), if_unused && used, "in use");
        if deleted.is_ok() {
            self.naive.delete_exchange(name);
        }
    }

    fn delete_queue(&mut self, name: &str) {
        let mut fx = Effects::default();
        let deleted = self.node.vhost().delete_queue(self.node.broker(), name, false, false, CALLER, &mut fx);
        assert!(deleted.is_ok());
        self.naive.delete_queue(name);
    }

    fn change(&mut self, rng: &mut Rng) {
        match rng.below(20) {
            0..4 => self.declare_exchange(rng),
            4..6 => self.declare_queue(rng.pick(&QUEUES)),
            6..14 => self.bind(rng),
            14..17 => self.unbind(rng),
            17..19 => self.delete_exchange(rng.pick(&EXCHANGES), rng.chance(1, 2)),
            _ => self.delete_queue(rng.pick(&QUEUES)),
        }
    }

    /// Every exchange routes as the definition says, and those that should be gone are.
    fn compare(&self, rng: &mut Rng, seed: u64) {
        let keys: Vec<&str> = (0..=rng.below(2)).map(|_| rng.pick(&ROUTING_KEYS)).collect();
        let octets: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let (headers, mut raw) = (message_headers(rng), Vec::new());
        headers.encode_into(&mut raw);
        let vhost = self.node.vhost();
        let topology = vhost.topology();
        let (message, properties) = (message(), Properties { headers: Some(&raw), ..Properties::default() });
        let routing = Routing { message: &message, keys: &octets, properties: &properties, now: 0 };
        for exchange in EXCHANGES {
            let found = topology.route(exchange, &routing, true).map(|route| {
                let mut names: Vec<String> = route.queues.iter().map(|queue| queue.name().to_string()).collect();
                names.sort_unstable();
                names
            });
            match self.naive.route(exchange, &keys, &headers) {
                None => assert_eq!(found, Err(NoRoute::NoExchange), "seed {seed}: {exchange} is gone"),
                Some(expected) => {
                    let found = found.expect("it exists");
                    assert_eq!(found, expected, "seed {seed}: {exchange}, {keys:?}, {headers:?}, {:#?}", self.naive);
                }
            }
        }
    }
}

/// What is routed: what the model compares are keys and headers, given apart.
fn message() -> Message {
    let address = address(b"", b"").expect("short");
    Draft::new(&address, &[0, 0], 0, Facts::default()).finish().expect("complete")
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// `LEVERET_TOPOLOGIES=100000 cargo test --release --test model routing_agrees -- --nocapture` is the long form.
#[tokio::test]
async fn routing_agrees_with_the_definition_of_each_exchange_type() {
    let mut both = Both { node: Node::start(&MemoryEngine::new()), naive: Naive::default() };
    let mut routed = 0;
    let topologies = setting("LEVERET_TOPOLOGIES").unwrap_or(TOPOLOGIES);
    let first = setting("LEVERET_TOPOLOGIES_SEED").unwrap_or(0);
    println!("LEVERET_TOPOLOGIES={topologies}, seeds from LEVERET_TOPOLOGIES_SEED={first} on");
    for seed in first..first + topologies {
        let mut rng = Rng::new(seed);
        for _ in 0..8 {
            both.declare_exchange(&mut rng);
        }
        for queue in QUEUES {
            both.declare_queue(queue);
        }
        for _ in 0..CHANGES {
            both.change(&mut rng);
            both.compare(&mut rng, seed);
        }
        routed += both.naive.bindings.len();
        for exchange in EXCHANGES {
            both.delete_exchange(exchange, false);
        }
        for queue in QUEUES {
            both.delete_queue(queue);
        }
        assert!(both.naive.bindings.is_empty() && both.naive.exchanges.is_empty());
    }
    println!("{topologies} topologies, {routed} bindings at their ends");
    assert!(routed as u64 > topologies, "the topologies were not empty: {routed} bindings at their ends");
    both.node.stop().await.unwrap();
}

#[tokio::test]
async fn auto_delete_exchanges_fall_one_after_another() {
    let node = Node::start(&MemoryEngine::new());
    let (vhost, broker) = (node.vhost(), node.broker().clone());
    let declare = |name: &str| ExchangeDeclare {
        name: name.to_owned(),
        kind: "fanout".to_owned(),
        passive: false,
        durable: true,
        auto_delete: true,
        internal: false,
        arguments: Table::default(),
    };
    for name in ["a", "b", "c", "never-bound"] {
        vhost.declare_exchange(&broker, declare(name), CALLER).unwrap();
    }
    node.declare("q", &[]);
    for (source, destination) in [("a", "b"), ("b", "c")] {
        vhost.bind_exchange(&broker, destination, source, "", Table::default(), CALLER).unwrap();
    }
    vhost.bind_queue(&broker, "q", "c", "", Table::default(), CALLER).unwrap();
    let (message, properties) = (message(), Properties::default());
    let routing = Routing { message: &message, keys: &[b""], properties: &properties, now: 0 };
    let route = vhost.topology().route("a", &routing, true).unwrap();
    assert_eq!(route.queues.len(), 1);
    vhost.delete_queue(&broker, "q", false, false, CALLER, &mut Effects::default()).unwrap();
    for name in ["a", "b", "c"] {
        let gone = vhost.topology().route(name, &routing, true).map(|_| ());
        assert_eq!(gone, Err(NoRoute::NoExchange), "{name} led nowhere any more");
    }
    assert!(vhost.topology().route("never-bound", &routing, true).is_ok());
    node.stop().await.unwrap();
}
