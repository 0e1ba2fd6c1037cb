//! The sampler: every five seconds it takes the figures of what has moved, and sums of all of it.
//!
//! Who moves tells so once (see [`History::moves`]); nobody else is looked at. Sums of queue lengths follow from what the
//! lengths of those that moved have changed by. Deliberately absent: rates, which readers compute from the samples.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use super::sums::Sums;
use super::{EVENTS, Event, Moved, Stats};
use crate::broker::{Broker, Connection};
use crate::clock::Millis;
use crate::queue::{Figures, Queue};
use crate::stats::{History, INTERVAL};

/// Names of the figures of a sample, in their order.
pub type Places = &'static [&'static str];

/// What is sampled of a queue.
pub const QUEUE: Places = &[
    "publish",
    "get",
    "get_no_ack",
    "get_empty",
    "deliver",
    "deliver_no_ack",
    "redeliver",
    "ack",
    "deliver_get",
    "disk_reads",
    "disk_writes",
    "messages",
    "messages_ready",
    "messages_unacknowledged",
    "stuck",
];

/// What is sampled of a virtual host; of a channel, the first so many as there are events, and their sum.
pub const VHOST: Places = &[
    "publish",
    "confirm",
    "return_unroutable",
    "drop_unroutable",
    "get",
    "get_no_ack",
    "get_empty",
    "deliver",
    "deliver_no_ack",
    "redeliver",
    "ack",
    "deliver_get",
    "recv_oct",
    "send_oct",
    "messages",
    "messages_ready",
    "messages_unacknowledged",
];

/// What is sampled of everything together.
pub const OVERALL: Places = &[
    "publish",
    "confirm",
    "return_unroutable",
    "drop_unroutable",
    "get",
    "get_no_ack",
    "get_empty",
    "deliver",
    "deliver_no_ack",
    "redeliver",
    "ack",
    "deliver_get",
    "recv_oct",
    "send_oct",
    "messages",
    "messages_ready",
    "messages_unacknowledged",
    "disk_reads",
    "disk_writes",
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
];

/// Samples kept of sums: an hour.
const OF_SUMS: usize = 721;

/// Samples kept of one thing: ten minutes.
const OF_ONE: usize = 121;

/// The same while very many things move: a minute.
const OF_MANY: usize = 13;

/// So many things that move are very many.
const MANY: usize = 1_000;

/// Ticks after which what did not move is looked for.
const SWEEP: u64 = 12;

/// Things sampled before other tasks get their turn.
const BUDGET: usize = 256;

/// What the sampler remembers between its rounds.
#[derive(Debug, Default)]
struct Sampler {
    /// Who has samples.
    tracked: Vec<Moved>,
    /// Messages ready and unacknowledged, by virtual host.
    lengths: FxHashMap<Arc<str>, [u64; 2]>,
    /// Messages read from and written to disk.
    disk: [u64; 2],
    rounds: u64,
}

/// Messages handed out in any way, by event.
fn deliver_get(events: &[u64; EVENTS.len()]) -> u64 {
    [Event::Get, Event::GetNoAck, Event::Deliver, Event::DeliverNoAck].iter().map(|event| events[*event as usize]).sum()
}

/// The figures of a queue, as [`QUEUE`] names them.
fn of_queue(figures: &Figures) -> Box<[u64]> {
    let tally = &figures.tally;
    let (ready, unacked) = if figures.deleted { (0, 0) } else { lengths(figures) };
    Box::new([
        tally.publish,
        tally.get,
        tally.get_no_ack,
        tally.get_empty,
        tally.deliver,
        tally.deliver_no_ack,
        tally.redeliver,
        tally.ack,
        tally.deliver_get(),
        tally.disk_reads,
        tally.disk_writes,
        ready + unacked,
        ready,
        unacked,
        figures.stuck,
    ])
}

fn lengths(figures: &Figures) -> (u64, u64) {
    (figures.ready.0, figures.unacked.0 + figures.dying.0)
}

fn of_events(events: &[u64; EVENTS.len()]) -> Vec<u64> {
    let mut values = events.to_vec();
    values.push(deliver_get(events));
    values
}

/// Samples until the broker stops.
pub(in crate::broker) async fn run(broker: Arc<Broker>) {
    let mut sampler = Sampler::default();
    sampler.begin(&broker).await;
    while !broker.stopping() {
        // Taken before the time is read, so that a step of the clock in between is not missed.
        let moved = broker.clock.moved();
        let now = broker.clock.now();
        let last = broker.stats.tick();
        if now >= last + INTERVAL {
            sampler.tick(&broker, now / INTERVAL * INTERVAL).await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(last + INTERVAL - now)) => {}
            () = moved => {}
        }
    }
}

impl Sampler {
    /// Takes up what recovered queues hold, so that it does not look as if it came just now.
    async fn begin(&mut self, broker: &Arc<Broker>) {
        let at = broker.clock.now() / INTERVAL * INTERVAL;
        for vhost in broker.vhosts() {
            let queues: Vec<_> = vhost.topology().queues.values().cloned().collect();
            for piece in queues.chunks(BUDGET) {
                for queue in piece.iter().filter(|queue| queue.inspect(|state| state.ready() > 0)) {
                    self.queue(broker, queue, at);
                }
                tokio::task::yield_now().await;
            }
        }
        self.sums(broker, at, &FxHashSet::default());
        broker.stats.tick.store(at, Ordering::Relaxed);
    }

    /// Samples what has moved.
    async fn tick(&mut self, broker: &Arc<Broker>, at: Millis) {
        let moved = broker.stats.take_moved();
        let mut vhosts = FxHashSet::default();
        for piece in moved.chunks(BUDGET) {
            for moved in piece {
                self.one(broker, moved, at, &mut vhosts);
            }
            tokio::task::yield_now().await;
        }
        if !moved.is_empty() {
            self.sums(broker, at, &vhosts);
        }
        self.rounds += 1;
        if self.rounds.is_multiple_of(SWEEP) {
            self.sweep(at);
        }
        broker.stats.tick.store(at, Ordering::Relaxed);
    }

    /// Samples to keep of one thing.
    fn most(&self) -> usize {
        if self.tracked.len() > MANY { OF_MANY } else { OF_ONE }
    }

    fn one(&mut self, broker: &Broker, moved: &Moved, at: Millis, vhosts: &mut FxHashSet<Arc<str>>) {
        match moved {
            Moved::Queue(queue) => {
                let Some(queue) = queue.upgrade() else { return };
                vhosts.insert(queue.definition().vhost.clone());
                self.queue(broker, &queue, at);
            }
            Moved::Exchange(exchange) => {
                let Some(exchange) = exchange.upgrade() else { return };
                let before = exchange.history.sample(at, self.most(), || Box::new(exchange.values()));
                self.track(moved, before.is_none());
            }
            Moved::Connection(connection) => {
                let Some(connection) = connection.upgrade() else { return };
                vhosts.extend(connection.vhost().map(|vhost| vhost.name.clone()));
                self.connection(&connection, at);
            }
        }
    }

    fn track(&mut self, moved: &Moved, new: bool) {
        if new {
            self.tracked.push(moved.clone());
        }
    }

    fn queue(&mut self, broker: &Broker, queue: &Arc<Queue>, at: Millis) {
        let now = broker.clock.now();
        let mut values: Box<[u64]> = Box::default();
        let before = queue.history().sample(at, self.most(), || {
            values = of_queue(&queue.inspect(|state| state.figures(now)));
            values.clone()
        });
        if queue.is_holder() {
            return;
        }
        self.track(&Moved::Queue(Arc::downgrade(queue)), before.is_none());
        let grown = |place: usize| {
            let before = before.as_ref().and_then(|before| before.get(place)).copied().unwrap_or(0);
            (before, values.get(place).copied().unwrap_or(0))
        };
        let lengths = self.lengths.entry(queue.definition().vhost.clone()).or_default();
        for (sum, place) in lengths.iter_mut().zip([12, 13]) {
            let (before, now) = grown(place);
            *sum = (*sum + now).saturating_sub(before);
        }
        for (sum, place) in self.disk.iter_mut().zip([9, 10]) {
            let (before, now) = grown(place);
            *sum += now.saturating_sub(before);
        }
    }

    fn connection(&mut self, connection: &Arc<Connection>, at: Millis) {
        let (stats, most) = (&connection.stats, self.most());
        let octets = || Box::new([stats.received_octets.get(), stats.sent_octets.get()]);
        let before = stats.history.sample(at, most, || octets());
        self.track(&Moved::Connection(Arc::downgrade(connection)), before.is_none());
        for channel in stats.channels() {
            let last = channel.history.trend(at, false);
            let values = of_events(&channel.traffic.values());
            // Nobody tells that a channel has moved: its connection has.
            if !last.ends_with(&values) {
                channel.history.sample(at, most, || values.into());
            }
        }
    }

    /// The sums of what these virtual hosts have, and of everything.
    fn sums(&mut self, broker: &Broker, at: Millis, vhosts: &FxHashSet<Arc<str>>) {
        let sums = broker.connections.sums();
        let none = Sums::default();
        for name in vhosts {
            let Some(vhost) = broker.vhost(name) else { continue };
            let values = Self::of_sums(sums.get(name).unwrap_or(&none), self.lengths.get(name).copied());
            vhost.history.sample(at, OF_SUMS, || values.into());
        }
        self.lengths.retain(|name, _| broker.vhost(name).is_some());
        let mut all = broker.stats.internal.sums();
        for of_one in sums.values() {
            all.add(of_one);
        }
        let lengths = self.lengths.values().fold([0, 0], |sum, n| [sum[0] + n[0], sum[1] + n[1]]);
        let mut values = Self::of_sums(&all, Some(lengths));
        values.extend(self.disk);
        values.extend(broker.stats.churn.values());
        broker.stats.overall.sample(at, OF_SUMS, || values.into());
    }

    fn of_sums(sums: &Sums, lengths: Option<[u64; 2]>) -> Vec<u64> {
        let [ready, unacked] = lengths.unwrap_or_default();
        let mut values = of_events(&sums.events);
        values.extend(sums.octets);
        values.extend([ready + unacked, ready, unacked]);
        values
    }

    /// Lets go of old samples of what has not moved since.
    fn sweep(&mut self, at: Millis) {
        let since = at.saturating_sub(INTERVAL * self.most() as u64);
        // Who is left with one sample is known still: the next one adds to it.
        let keeps = |history: Option<&History>| history.map(|history| history.forget_before(since)).is_some();
        self.tracked.retain(|moved| match moved {
            Moved::Queue(queue) => keeps(queue.upgrade().as_deref().map(Queue::history)),
            Moved::Exchange(exchange) => keeps(exchange.upgrade().as_ref().map(|exchange| &exchange.history)),
            Moved::Connection(connection) => {
                let connection = connection.upgrade();
                for channel in connection.iter().flat_map(|connection| connection.stats.channels()) {
                    channel.history.forget_before(since);
                }
                keeps(connection.as_ref().map(|connection| &connection.stats.history))
            }
        });
    }
}

impl Stats {
    fn take_moved(&self) -> Vec<Moved> {
        std::mem::take(&mut *self.moved.lock())
    }
}
