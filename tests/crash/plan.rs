//! The lines of the mixed load: which queues a message may pass through, and what its clients do with it.
//!
//! A line has one publisher. Each of its messages goes along every *branch*, which is a chain of queues, each the
//! dead-letter target of the one before: a message is in exactly one of them until it is settled for good.

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::FieldTable;

use crate::client::{Client, int, none, table, text};

/// Which RabbitMQ the broker answers as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compatibility {
    Lenient,
    V3,
    V4,
}

impl Compatibility {
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Lenient => "lenient",
            Self::V3 => "3.13",
            Self::V4 => "4.3",
        }
    }

    /// A dead letter of a message that was delivered is marked as redelivered.
    pub(crate) fn letters_keep_marks(self) -> bool {
        self == Self::V4
    }

    /// A message that a client returns counts as having failed.
    pub(crate) fn returns_are_failures(self) -> bool {
        self != Self::V4
    }
}

/// What a consumer does, in percent; what remains is held until the end of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) ack: u64,
    /// Refused for good.
    pub(crate) reject: u64,
    pub(crate) requeue: u64,
    pub(crate) prefetch: u16,
}

/// A durable queue that messages of a line pass through.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) arguments: fn() -> FieldTable,
    pub(crate) manner: Manner,
    /// Most messages ready, where those above it are dropped.
    pub(crate) limit: u32,
}

/// How a line's messages are published and consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// With confirms; acknowledged one by one or many at once.
    Confirms,
    /// In transactions, and consumed in transactions.
    Transactions,
    /// With confirms; consumed by two clients of which one is active.
    Single,
}

/// A flow of messages.
#[allow(clippy::struct_excessive_bools)] // independent facts
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) style: Style,
    /// Published to the fanout exchange of the line's name, instead of straight to the first queue.
    pub(crate) exchange: Option<fn() -> (ExchangeKind, FieldTable)>,
    pub(crate) branches: &'static [&'static [Place]],
    /// Bodies up to 1 MiB now and then.
    pub(crate) large: bool,
    /// Percentage of messages that are not persistent.
    pub(crate) transient: u64,
    /// Priorities are below this; 0 is none.
    pub(crate) priorities: u64,
    /// Upper bound of the messages' time to live in milliseconds; 0 is none.
    pub(crate) expiration: u64,
    /// Upper bound of the messages' delay in milliseconds; 0 is none.
    pub(crate) delay: u64,
    /// Messages may vanish from the last queue without a letter.
    pub(crate) lossy: bool,
    /// First deliveries come in the order of publishing (of each priority).
    pub(crate) ordered: bool,
    /// What returned comes first, so that a queue's content is not in the order of publishing.
    pub(crate) returns_first: bool,
    /// Its first queue counts failed deliveries.
    pub(crate) counted: bool,
    /// Messages above which nothing more is published.
    pub(crate) cap: usize,
}

impl Line {
    /// A crash may find a message both where it was and where it went: it is carried by the courier.
    pub(crate) fn is_carried(&self) -> bool {
        self.delay > 0 || self.branches.iter().any(|branch| branch.len() > 1)
    }

    /// Where its messages are published to: exchange and routing key.
    pub(crate) fn target(&self) -> (&'static str, &'static str) {
        if self.exchange.is_some() { (self.name, "") } else { ("", self.branches[0][0].name) }
    }
}

/// A queue by line, branch and position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) line: usize,
    pub(crate) branch: usize,
    pub(crate) at: usize,
}

impl Spot {
    pub(crate) fn place(self) -> &'static Place {
        &LINES[self.line].branches[self.branch][self.at]
    }

    /// Nothing comes after it: what is refused here is gone.
    pub(crate) fn is_last(self) -> bool {
        self.at + 1 == LINES[self.line].branches[self.branch].len()
    }

    /// Messages enter and leave only as clients say: not by time, limits or letters.
    pub(crate) fn is_stable(self) -> bool {
        let line = &LINES[self.line];
        !line.is_carried() && !line.lossy
    }
}

/// Every queue of every line.
pub(crate) fn spots() -> impl Iterator<Item = Spot> {
    LINES.iter().enumerate().flat_map(|(line, known)| {
        known
            .branches
            .iter()
            .enumerate()
            .flat_map(move |(branch, places)| (0..places.len()).map(move |at| Spot { line, branch, at }))
    })
}

const fn place(name: &'static str, arguments: fn() -> FieldTable, manner: Manner) -> Place {
    Place { name, arguments, manner, limit: u32::MAX }
}

const fn manner(ack: u64, reject: u64, requeue: u64, prefetch: u16) -> Manner {
    Manner { ack, reject, requeue, prefetch }
}

const LINE: Line = Line {
    name: "",
    style: Style::Confirms,
    exchange: None,
    branches: &[],
    large: false,
    transient: 0,
    priorities: 0,
    expiration: 0,
    delay: 0,
    lossy: false,
    ordered: true,
    returns_first: false,
    counted: false,
    cap: 400,
};

/// Takes most of what there is.
const WORKER: Manner = manner(75, 0, 15, 40);

/// Refuses much.
const CRITIC: Manner = manner(30, 45, 15, 30);

/// Takes everything, in the end.
const TAKER: Manner = manner(80, 0, 10, 20);

/// A dead-letter target through the default exchange.
fn dead(to: &str) -> FieldTable {
    table([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(to))])
}

fn with<const N: usize>(mut arguments: FieldTable, more: [(&str, lapin::types::AMQPValue); N]) -> FieldTable {
    for (key, value) in more {
        arguments.insert(key.into(), value);
    }
    arguments
}

fn fanout() -> (ExchangeKind, FieldTable) {
    (ExchangeKind::Fanout, none())
}

fn delaying() -> (ExchangeKind, FieldTable) {
    (ExchangeKind::Custom("x-delayed-message".to_owned()), table([("x-delayed-type", text("fanout"))]))
}

/// Messages above which a queue drops the first.
const DROPS_ABOVE: i32 = 40;

/// Most failed deliveries of a message in the quorum queue.
pub(crate) const DELIVERY_LIMIT: i32 = 3;

fn quorum() -> FieldTable {
    table([("x-queue-type", text("quorum"))])
}

/// All lines.
pub(crate) const LINES: &[Line] = &[
    Line { name: "plain", branches: &[&[place("plain", none, WORKER)]], large: true, ..LINE },
    Line {
        name: "chain",
        branches: &[&[
            place("chain", || dead("chain.late"), CRITIC),
            place("chain.late", || with(dead("chain.end"), [("x-message-ttl", int(150))]), manner(20, 20, 10, 10)),
            place("chain.end", none, TAKER),
        ]],
        ..LINE
    },
    Line {
        name: "drops",
        branches: &[&[
            Place {
                limit: DROPS_ABOVE.unsigned_abs(),
                ..place("drops", || with(dead("drops.dead"), [("x-max-length", int(DROPS_ABOVE))]), WORKER)
            },
            place("drops.dead", none, TAKER),
        ]],
        ordered: false,
        ..LINE
    },
    Line {
        name: "refuses",
        branches: &[&[place(
            "refuses",
            || table([("x-max-length", int(120)), ("x-overflow", text("reject-publish"))]),
            WORKER,
        )]],
        ..LINE
    },
    Line {
        name: "expires",
        branches: &[&[place("expires", || dead("expires.dead"), WORKER), place("expires.dead", none, TAKER)]],
        expiration: 600,
        ..LINE
    },
    Line {
        name: "fades",
        branches: &[&[place("fades", || table([("x-message-ttl", int(400))]), WORKER)]],
        lossy: true,
        ..LINE
    },
    Line {
        name: "priority",
        branches: &[&[place("priority", || table([("x-max-priority", int(5))]), WORKER)]],
        priorities: 7,
        ..LINE
    },
    Line {
        name: "copies",
        exchange: Some(fanout),
        branches: &[
            &[place("copies.a", none, WORKER)],
            &[place("copies.b", || with(quorum(), [("x-delivery-limit", int(1_000_000))]), WORKER)],
            &[place("copies.c", none, TAKER)],
        ],
        large: true,
        returns_first: true,
        ..LINE
    },
    Line {
        name: "quorum",
        branches: &[&[
            place(
                "quorum",
                || {
                    let limits = [("x-delivery-limit", int(DELIVERY_LIMIT)), ("x-overflow", text("reject-publish"))];
                    let strategy = [("x-dead-letter-strategy", text("at-least-once"))];
                    with(with(with(dead("quorum.dead"), limits), strategy), [("x-queue-type", text("quorum"))])
                },
                manner(40, 10, 45, 30),
            ),
            place("quorum.dead", none, TAKER),
        ]],
        returns_first: true,
        counted: true,
        ..LINE
    },
    Line {
        name: "delay",
        exchange: Some(delaying),
        branches: &[&[place("delay", none, WORKER)]],
        delay: 900,
        ordered: false,
        ..LINE
    },
    Line {
        name: "single",
        style: Style::Single,
        branches: &[&[place("single", || table([("x-single-active-consumer", true.into())]), WORKER)]],
        ..LINE
    },
    Line {
        name: "pair",
        style: Style::Transactions,
        exchange: Some(fanout),
        branches: &[&[place("pair.left", none, WORKER)], &[place("pair.right", none, WORKER)]],
        large: true,
        ..LINE
    },
    Line { name: "light", branches: &[&[place("light", none, WORKER)]], transient: 50, ..LINE },
    Line {
        name: "backlog",
        branches: &[&[place("backlog", none, manner(70, 5, 10, 100))]],
        transient: 10,
        large: true,
        cap: 6_000,
        ..LINE
    },
];

/// Declares every line.
pub(crate) async fn declare(client: &Client) {
    for spot in spots() {
        client.durable(spot.place().name, (spot.place().arguments)()).await;
    }
    for line in LINES {
        let Some(exchange) = line.exchange else { continue };
        let (kind, arguments) = exchange();
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        client.channel.exchange_declare(line.name.into(), kind, options, arguments).await.unwrap();
        for branch in line.branches {
            let (queue, options) = (branch[0].name.into(), QueueBindOptions::default());
            client.channel.queue_bind(queue, line.name.into(), "".into(), options, none()).await.unwrap();
        }
    }
}
