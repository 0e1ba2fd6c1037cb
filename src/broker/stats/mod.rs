//! What the broker knows of its own doings: counters, and where they are found.
//!
//! Messages are counted where they pass: by sessions ([`ChannelStats`], [`ConnectionStats`]), by queues under their lock
//! ([`Tally`](crate::queue::Tally)), by the writer ([`Commits`]). Reports add up what they need when they are asked; who
//! has gone leaves its counts behind in the same step in which it leaves its list, so that no sum ever falls. Here are
//! the counts of what happens seldom, and the list by which the sampler learns who has moved.
//!
//! Deliberately absent: JSON, metric names, and anything done for a single message.

mod channel;
mod connection;
mod exchange;
mod sampler;
mod sums;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

pub use channel::{ChannelStats, EVENTS, Event, Mode, Traffic};
pub use connection::{Client, ConnectionState, ConnectionStats, HANDED, Handed, QueueType, SIZES};
pub use exchange::{ExchangeStats, Passed};
pub(super) use sampler::run;
pub use sampler::{OVERALL, Places, QUEUE, VHOST};
pub use sums::{Gone, Lengths, Sums};

use super::Connection;
use crate::clock::Millis;
use crate::queue::{CAUSES, DeadLetter, Options, Queue, Reason};
use crate::stats::{Counter, Histogram, History};
use crate::sync::{Mutex, Rank};

/// Something that has moved since the last sample.
#[derive(Clone, Debug)]
pub enum Moved {
    /// A queue.
    Queue(Weak<Queue>),
    /// An exchange.
    Exchange(Weak<ExchangeStats>),
    /// A connection, with its channels.
    Connection(Weak<Connection>),
}

/// What became of connections, channels and queues.
#[derive(Debug, Default)]
pub struct Churn {
    /// Connections opened.
    pub connections_opened: Counter,
    /// Connections closed that had been open.
    pub connections_closed: Counter,
    /// Channels opened.
    pub channels_opened: Counter,
    /// Channels closed.
    pub channels_closed: Counter,
    /// Declarations of queues, those of existing ones included.
    pub queues_declared: Counter,
    /// Queues created.
    pub queues_created: Counter,
    /// Queues deleted.
    pub queues_deleted: Counter,
}

impl Churn {
    /// All of it: connections, channels (opened, closed), queues (declared, created, deleted).
    pub fn values(&self) -> [u64; 7] {
        [
            &self.connections_opened,
            &self.connections_closed,
            &self.channels_opened,
            &self.channels_closed,
            &self.queues_declared,
            &self.queues_created,
            &self.queues_deleted,
        ]
        .map(Counter::get)
    }
}

/// Upper bounds of the sizes of commits, in octets.
const COMMIT_SIZES: [u64; 8] = [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];

/// Upper bounds of the times that commits take, in microseconds.
const COMMIT_TIMES: [u64; 10] = [50, 100, 250, 500, 1_000, 2_500, 10_000, 50_000, 250_000, 1_000_000];

/// What the writer counts.
#[derive(Debug)]
pub struct Commits {
    /// Octets of messages.
    pub sizes: Histogram<8>,
    /// Microseconds until the store had everything on disk.
    pub times: Histogram<10>,
}

impl Default for Commits {
    fn default() -> Self {
        Self { sizes: Histogram::new(&COMMIT_SIZES), times: Histogram::new(&COMMIT_TIMES) }
    }
}

/// What is done with dead letters.
pub const STRATEGIES: [&str; 3] = ["disabled", "at_most_once", "at_least_once"];

/// Dead letters of queues of one type, by strategy and by [`Reason::place`].
type Deaths = [[Counter; CAUSES]; STRATEGIES.len()];

/// The broker's counts.
#[derive(Debug)]
pub struct Stats {
    /// When the broker was started.
    pub started: Millis,
    /// What came and went.
    pub churn: Churn,
    /// What the management API does with messages itself.
    pub internal: ConnectionStats,
    internal_channel: Arc<ChannelStats>,
    /// The writer's counts.
    pub commits: Commits,
    /// Dead letters of classic and of quorum queues.
    deaths: [Deaths; 2],
    /// Dead letters that arrived, of quorum queues that see to it.
    pub letters_confirmed: Counter,
    /// Dead letters for which there was no queue.
    pub letters_unroutable: Counter,
    /// The sums of everything, at each tick.
    pub overall: History,
    moved: Mutex<Vec<Moved>>,
    tick: AtomicU64,
}

impl Stats {
    /// Nothing counted.
    pub(super) fn new(now: Millis) -> Self {
        let (internal, internal_channel) = (ConnectionStats::default(), Arc::new(ChannelStats::new(0, 0, now)));
        internal.add_channel(&internal_channel);
        Self {
            started: now,
            churn: Churn::default(),
            internal,
            internal_channel,
            commits: Commits::default(),
            deaths: Default::default(),
            letters_confirmed: Counter::default(),
            letters_unroutable: Counter::default(),
            overall: History::default(),
            moved: Mutex::new(Rank::Leaf, Vec::new()),
            tick: AtomicU64::new(0),
        }
    }

    /// What the management API does with messages itself, by event.
    pub fn internal_traffic(&self) -> &Traffic {
        &self.internal_channel.traffic
    }

    /// The moment of the last samples; 0 before the first.
    pub fn tick(&self) -> Millis {
        self.tick.load(Ordering::Relaxed)
    }

    /// A queue has moved, or is gone.
    #[inline]
    pub(super) fn queue_moves(&self, queue: &Arc<Queue>) {
        if queue.history().moves() {
            self.moved.lock().push(Moved::Queue(Arc::downgrade(queue)));
        }
    }

    /// A connection has moved, or one of its channels.
    #[inline]
    pub fn connection_moves(&self, connection: &Arc<Connection>) {
        if connection.stats.history.moves() {
            self.moved.lock().push(Moved::Connection(Arc::downgrade(connection)));
        }
    }

    /// An exchange has been published to.
    pub fn exchange_moves(&self, exchange: &Arc<ExchangeStats>) {
        if exchange.history.moves() {
            self.moved.lock().push(Moved::Exchange(Arc::downgrade(exchange)));
        }
    }

    /// Counts messages that died in a queue and go to an exchange.
    pub(super) fn died(&self, queue: &Queue, letters: &[DeadLetter]) {
        let options = queue.options();
        let mut causes = [0; CAUSES];
        for letter in letters.iter().filter(|letter| letter.reason != Reason::Due) {
            causes[letter.reason.place()] += 1;
        }
        self.count_deaths(&options, if options.at_least_once() { 2 } else { 1 }, causes);
    }

    /// Counts messages that died in a queue without an exchange for them.
    pub(super) fn lost(&self, queue: &Queue, causes: [u32; CAUSES]) {
        self.count_deaths(&queue.definition().options, 0, causes);
    }

    fn count_deaths(&self, options: &Options, strategy: usize, causes: [u32; CAUSES]) {
        let deaths = &self.deaths[usize::from(options.is_quorum())][strategy];
        for (counter, n) in deaths.iter().zip(causes).filter(|(_, n)| *n > 0) {
            counter.add_shared(n.into());
        }
    }

    /// Messages that died in queues of a type, by place in [`STRATEGIES`] and by [`Reason::place`].
    pub fn deaths(&self, quorum: bool) -> [[u64; CAUSES]; STRATEGIES.len()] {
        let deaths = &self.deaths[usize::from(quorum)];
        std::array::from_fn(|strategy| std::array::from_fn(|cause| deaths[strategy][cause].get()))
    }
}
