//! Metrics of queues, channels, connections and exchanges: summed up, or one by one.
//!
//! A table for each kind of thing says which metric is of which family (as `/metrics/detailed` chooses them) and how it is
//! read. Sums of counters include what has gone. Of channels RabbitMQ tells the exchange and the queue as well; here they
//! stand for themselves.

use std::sync::Arc;

use super::text::{Kind, Label, Page};
use crate::broker::stats::{EVENTS, Event, Sums};
use crate::broker::{Broker, Connection, VirtualHost};
use crate::queue::Figures;
use crate::stats::Spread;

/// Longest pattern that queues are chosen by, in octets.
const PATTERN_MAX: usize = 1024;

/// Memory a compiled pattern may take, in octets.
const PATTERN_MEMORY: usize = 1 << 20;

/// Steps that a pattern with look-around may take for one name; then it does not match.
const PATTERN_STEPS: usize = 10_000;

/// A metric of a kind of thing: family, name, kind, help, and how it is read.
type Metric<T> = (&'static str, &'static str, Kind, &'static str, fn(&T) -> u64);

/// A queue as metrics see it.
#[derive(Clone, Debug, Default)]
pub(super) struct QueueView {
    pub(super) vhost: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) figures: Figures,
    pub(super) times: Spread,
    /// The timestamp of the message at the front, in seconds.
    head: Option<u64>,
    quorum: bool,
    /// Its number, by which channels know it.
    pub(super) id: u64,
}

/// A channel, or the sum of several.
#[derive(Clone, Debug, Default)]
pub(super) struct ChannelView {
    id: u64,
    events: [u64; EVENTS.len()],
    consumers: u64,
    unacked: u64,
    unconfirmed: u64,
    uncommitted: u64,
    acks_uncommitted: u64,
    prefetch: u64,
    global_prefetch: u64,
    /// When the oldest delivery it holds was made, and the id of its queue; 0 for none.
    pub(super) oldest: (u64, u64),
}

/// A connection, or the sum of several.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionView {
    id: u64,
    octets: [u64; 2],
    packets: [u64; 2],
    pending: u64,
    channels: u64,
}

/// An exchange, or the sum of several.
#[derive(Clone, Debug, Default)]
pub(super) struct ExchangeView {
    vhost: Arc<str>,
    name: Arc<str>,
    published: [u64; 2],
    bindings: u64,
}

const QUEUES: &[Metric<QueueView>] = &[
    ("queue_coarse_metrics", "queue_messages_ready", Kind::Gauge, "Messages that wait for consumers", |q| {
        q.figures.ready.0
    }),
    ("queue_coarse_metrics", "queue_messages_unacked", Kind::Gauge, "Messages that consumers hold", |q| {
        q.figures.unacked.0.saturating_add(q.figures.dying.0)
    }),
    ("queue_coarse_metrics", "queue_messages", Kind::Gauge, "Messages, ready and unacknowledged", |q| {
        q.figures.messages().0
    }),
    ("queue_coarse_metrics", "queue_process_reductions_total", Kind::Counter, "Erlang only: none", |_| 0),
    ("queue_metrics", "queue_consumers", Kind::Gauge, "Consumers", |q| q.figures.consumers as u64),
    ("queue_metrics", "queue_consumer_capacity", Kind::Gauge, "Whether consumers take what there is", capacity),
    ("queue_metrics", "queue_consumer_utilisation", Kind::Gauge, "The same as consumer capacity", capacity),
    ("queue_metrics", "queue_process_memory_bytes", Kind::Gauge, "Memory that messages take, in octets", |q| {
        q.figures.memory()
    }),
    ("queue_metrics", "queue_messages_ram", Kind::Gauge, "Messages in memory", |q| {
        q.figures.messages().0.saturating_sub(q.figures.paged.0)
    }),
    ("queue_metrics", "queue_messages_ram_bytes", Kind::Gauge, "Octets of messages in memory", |q| {
        q.figures.messages().1.saturating_sub(q.figures.paged.1)
    }),
    ("queue_metrics", "queue_messages_ready_ram", Kind::Gauge, "Ready messages in memory", |q| {
        q.figures.ready.0.saturating_sub(q.figures.paged.0)
    }),
    ("queue_metrics", "queue_messages_unacked_ram", Kind::Gauge, "Unacknowledged messages in memory", |q| {
        q.figures.unacked.0.saturating_add(q.figures.dying.0)
    }),
    ("queue_metrics", "queue_messages_persistent", Kind::Gauge, "Messages that the store keeps", |q| {
        q.figures.persistent.0
    }),
    ("queue_metrics", "queue_messages_persistent_bytes", Kind::Gauge, "Octets of messages that the store keeps", |q| {
        q.figures.persistent.1
    }),
    ("queue_metrics", "queue_messages_bytes", Kind::Gauge, "Octets of messages", |q| q.figures.messages().1),
    ("queue_metrics", "queue_messages_ready_bytes", Kind::Gauge, "Octets of ready messages", |q| q.figures.ready.1),
    ("queue_metrics", "queue_messages_unacked_bytes", Kind::Gauge, "Octets of unacknowledged messages", |q| {
        q.figures.unacked.1.saturating_add(q.figures.dying.1)
    }),
    ("queue_metrics", "queue_disk_reads_total", Kind::Counter, "Messages read from disk", |q| {
        q.figures.tally.disk_reads
    }),
    ("queue_metrics", "queue_disk_writes_total", Kind::Counter, "Messages for the disk", |q| {
        q.figures.tally.disk_writes
    }),
    ("queue_delivery_metrics", "queue_get_ack_total", Kind::Counter, "Got, to be acknowledged", |q| {
        q.figures.tally.get
    }),
    ("queue_delivery_metrics", "queue_get_total", Kind::Counter, "Got without acknowledgement", |q| {
        q.figures.tally.get_no_ack
    }),
    (
        "queue_delivery_metrics",
        "queue_messages_delivered_ack_total",
        Kind::Counter,
        "Delivered, to be acknowledged",
        |q| q.figures.tally.deliver,
    ),
    (
        "queue_delivery_metrics",
        "queue_messages_delivered_total",
        Kind::Counter,
        "Delivered without acknowledgement",
        |q| q.figures.tally.deliver_no_ack,
    ),
    (
        "queue_delivery_metrics",
        "queue_messages_redelivered_total",
        Kind::Counter,
        "Handed out not for the first time",
        |q| q.figures.tally.redeliver,
    ),
    ("queue_delivery_metrics", "queue_messages_acked_total", Kind::Counter, "Acknowledged", |q| q.figures.tally.ack),
    ("queue_delivery_metrics", "queue_get_empty_total", Kind::Counter, "Asked for in vain", |q| {
        q.figures.tally.get_empty
    }),
    ("channel_queue_exchange_metrics", "queue_messages_published_total", Kind::Counter, "Published into queues", |q| {
        q.figures.tally.publish
    }),
    (
        "queue_exchange_metrics",
        "queue_exchange_messages_published_total",
        Kind::Counter,
        "Published into queues",
        |q| q.figures.tally.publish,
    ),
];

/// One while no ready message waits for a consumer that could not take it.
fn capacity(queue: &QueueView) -> u64 {
    u64::from(queue.figures.consumers > 0 && queue.figures.ready.0 == 0)
}

const CHANNELS: &[Metric<ChannelView>] = &[
    ("channel_metrics", "channel_consumers", Kind::Gauge, "Consumers", |c| c.consumers),
    ("channel_metrics", "channel_messages_unacked", Kind::Gauge, "Unacknowledged deliveries", |c| c.unacked),
    ("channel_metrics", "channel_messages_unconfirmed", Kind::Gauge, "Unconfirmed publishes", |c| c.unconfirmed),
    ("channel_metrics", "channel_messages_uncommitted", Kind::Gauge, "Publishes of open transactions", |c| {
        c.uncommitted
    }),
    ("channel_metrics", "channel_acks_uncommitted", Kind::Gauge, "Settlements of open transactions", |c| {
        c.acks_uncommitted
    }),
    ("channel_metrics", "consumer_prefetch", Kind::Gauge, "Limit of deliveries a consumer may hold", |c| c.prefetch),
    ("channel_metrics", "channel_prefetch", Kind::Gauge, "Limit of deliveries a channel may hold", |c| {
        c.global_prefetch
    }),
    ("channel_process_metrics", "channel_process_reductions_total", Kind::Counter, "Erlang only: none", |_| 0),
    ("channel_exchange_metrics", "channel_messages_published_total", Kind::Counter, "Published", |c| {
        c.event(Event::Publish)
    }),
    ("channel_exchange_metrics", "channel_messages_confirmed_total", Kind::Counter, "Confirmed", |c| {
        c.event(Event::Confirm)
    }),
    (
        "channel_exchange_metrics",
        "channel_messages_unroutable_returned_total",
        Kind::Counter,
        "Returned as unroutable",
        |c| c.event(Event::ReturnUnroutable),
    ),
    (
        "channel_exchange_metrics",
        "channel_messages_unroutable_dropped_total",
        Kind::Counter,
        "Dropped as unroutable",
        |c| c.event(Event::DropUnroutable),
    ),
    ("channel_queue_metrics", "channel_get_ack_total", Kind::Counter, "Got, to be acknowledged", |c| {
        c.event(Event::Get)
    }),
    ("channel_queue_metrics", "channel_get_total", Kind::Counter, "Got without acknowledgement", |c| {
        c.event(Event::GetNoAck)
    }),
    (
        "channel_queue_metrics",
        "channel_messages_delivered_ack_total",
        Kind::Counter,
        "Delivered, to be acknowledged",
        |c| c.event(Event::Deliver),
    ),
    (
        "channel_queue_metrics",
        "channel_messages_delivered_total",
        Kind::Counter,
        "Delivered without acknowledgement",
        |c| c.event(Event::DeliverNoAck),
    ),
    (
        "channel_queue_metrics",
        "channel_messages_redelivered_total",
        Kind::Counter,
        "Handed out not for the first time",
        |c| c.event(Event::Redeliver),
    ),
    ("channel_queue_metrics", "channel_messages_acked_total", Kind::Counter, "Acknowledged", |c| c.event(Event::Ack)),
    ("channel_queue_metrics", "channel_get_empty_total", Kind::Counter, "Asked for in vain", |c| {
        c.event(Event::GetEmpty)
    }),
];

const CONNECTIONS: &[Metric<ConnectionView>] = &[
    ("connection_coarse_metrics", "connection_incoming_bytes_total", Kind::Counter, "Octets received", |c| c.octets[0]),
    ("connection_coarse_metrics", "connection_outgoing_bytes_total", Kind::Counter, "Octets sent", |c| c.octets[1]),
    ("connection_coarse_metrics", "connection_process_reductions_total", Kind::Counter, "Erlang only: none", |_| 0),
    ("connection_metrics", "connection_incoming_packets_total", Kind::Counter, "Reads", |c| c.packets[0]),
    ("connection_metrics", "connection_outgoing_packets_total", Kind::Counter, "Writes", |c| c.packets[1]),
    ("connection_metrics", "connection_pending_packets", Kind::Gauge, "Octets that wait to be sent", |c| c.pending),
    ("connection_metrics", "connection_channels", Kind::Gauge, "Channels", |c| c.channels),
];

const EXCHANGES: &[Metric<ExchangeView>] =
    &[("exchange_metrics", "exchange_messages_published_total", Kind::Counter, "Published to exchanges", |x| {
        x.published[0]
    })];

/// What is known of exchanges as a whole only, in the order of channels' events.
const OF_ALL_EXCHANGES: [(&str, &str, Event); 3] = [
    ("exchange_messages_confirmed_total", "Confirmed", Event::Confirm),
    ("exchange_messages_unroutable_returned_total", "Returned as unroutable", Event::ReturnUnroutable),
    ("exchange_messages_unroutable_dropped_total", "Dropped as unroutable", Event::DropUnroutable),
];

impl ChannelView {
    /// Its number.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    fn event(&self, event: Event) -> u64 {
        self.events.get(event as usize).copied().unwrap_or(0)
    }

    #[allow(clippy::arithmetic_side_effects)] // counts of things that are there
    fn add(&mut self, other: &Self) {
        self.consumers += other.consumers;
        self.unacked += other.unacked;
        self.unconfirmed += other.unconfirmed;
        self.uncommitted += other.uncommitted;
        self.acks_uncommitted += other.acks_uncommitted;
        self.prefetch += other.prefetch;
        self.global_prefetch += other.global_prefetch;
    }
}

/// Everything that metrics are of, at one moment.
#[derive(Debug, Default)]
pub(super) struct Views {
    pub(super) queues: Vec<QueueView>,
    /// What deleted queues have counted.
    pub(super) gone: QueueView,
    pub(super) channels: Vec<ChannelView>,
    connections: Vec<ConnectionView>,
    exchanges: Vec<ExchangeView>,
    /// What connections have counted, those that have ended included.
    pub(super) sums: Sums,
    /// Channels that have published.
    pub(super) publishers: u64,
}

impl Views {
    /// Looks at everything in these virtual hosts.
    pub(super) fn of(broker: &Broker, vhosts: &[Arc<VirtualHost>]) -> Self {
        let mut views = Self::default();
        for vhost in vhosts {
            views.look_at(broker, vhost);
        }
        for connection in broker.connections.open() {
            let inside = |entered: &Arc<VirtualHost>| vhosts.iter().any(|vhost| Arc::ptr_eq(vhost, entered));
            if connection.vhost().is_some_and(inside) {
                views.look_into(&connection);
            }
        }
        views.sums = broker.stats.internal.sums();
        broker.connections.sums().values().for_each(|sums| views.sums.add(sums));
        views
    }

    fn look_at(&mut self, broker: &Broker, vhost: &VirtualHost) {
        let now = broker.clock.now();
        let (queues, gone) = vhost.counted_queues();
        self.gone.figures.tally.add(&gone.tally);
        self.gone.times.add(&gone.times_in_queue);
        for queue in queues {
            let (figures, times, head) =
                queue.inspect(|state| (state.figures(now), state.times_in_queue(), state.head_timestamp()));
            self.queues.push(QueueView {
                vhost: vhost.name.clone(),
                name: queue.name().clone(),
                figures,
                times,
                head,
                quorum: queue.definition().options.is_quorum(),
                id: queue.id().0,
            });
        }
        let topology = vhost.topology();
        self.exchanges.extend(topology.exchanges().map(|exchange| ExchangeView {
            vhost: vhost.name.clone(),
            name: exchange.name.clone(),
            published: exchange.stats.values(),
            bindings: topology.bindings_from(&exchange.name).count() as u64,
        }));
    }

    #[allow(clippy::arithmetic_side_effects)] // counts of things that are there
    fn look_into(&mut self, connection: &Connection) {
        let stats = &connection.stats;
        let channels = stats.channels();
        self.connections.push(ConnectionView {
            id: connection.id,
            octets: [stats.received_octets.get(), stats.sent_octets.get()],
            packets: [stats.received.get(), stats.sent.get()],
            pending: stats.pending.get(),
            channels: channels.len() as u64,
        });
        for channel in channels {
            let events = channel.traffic.values();
            self.publishers += u64::from(channel.traffic.get(Event::Publish) > 0);
            self.channels.push(ChannelView {
                id: channel.id,
                events,
                consumers: channel.consumers.get(),
                unacked: channel.unacked.get(),
                unconfirmed: channel.unconfirmed.get(),
                uncommitted: channel.uncommitted.get(),
                acks_uncommitted: channel.acks_uncommitted.get(),
                prefetch: channel.prefetch.get(),
                global_prefetch: channel.global_prefetch.get(),
                oldest: (channel.oldest_unacked.get(), channel.oldest_from.get()),
            });
        }
    }

    /// Leaves out queues whose name does not match; a pattern that cannot be used leaves out all.
    pub(super) fn keep_queues(&mut self, pattern: &str) {
        let mut builder = fancy_regex::RegexBuilder::new(pattern);
        let built = builder.backtrack_limit(PATTERN_STEPS).delegate_size_limit(PATTERN_MEMORY).build();
        let pattern = built.ok().filter(|_| pattern.len() <= PATTERN_MAX);
        self.queues
            .retain(|queue| pattern.as_ref().is_some_and(|pattern| pattern.is_match(&queue.name).unwrap_or(false)));
    }

    /// How many connections, channels, consumers and queues there are.
    pub(super) fn counts(&self) -> [u64; 4] {
        let consumers = self.queues.iter().map(|queue| queue.figures.consumers as u64).sum();
        [self.connections.len() as u64, self.channels.len() as u64, consumers, self.queues.len() as u64]
    }

    /// Sums of everything.
    pub(super) fn summed(&self, page: &mut Page) {
        for (_, name, kind, help, read) in QUEUES {
            let live: u64 = self.queues.iter().map(read).sum();
            let gone = if *kind == Kind::Counter { read(&self.gone) } else { 0 };
            page.one(name, *kind, help, live.saturating_add(gone));
        }
        let mut channels = ChannelView { events: self.sums.events, ..ChannelView::default() };
        self.channels.iter().for_each(|channel| channels.add(channel));
        of_one(page, CHANNELS, &channels);
        let connections = ConnectionView {
            octets: self.sums.octets,
            packets: self.sums.packets,
            pending: self.connections.iter().map(|connection| connection.pending).sum(),
            channels: self.channels.len() as u64,
            ..ConnectionView::default()
        };
        of_one(page, CONNECTIONS, &connections);
        let published = self.sums.event(Event::Publish);
        of_one(page, EXCHANGES, &ExchangeView { published: [published, 0], ..ExchangeView::default() });
        for (name, help, event) in OF_ALL_EXCHANGES {
            page.one(name, Kind::Counter, help, self.sums.event(event));
        }
    }

    /// Everything one by one, of the families that are wanted.
    pub(super) fn listed(&self, page: &mut Page, wanted: &dyn Fn(&str) -> bool) {
        let of_queue = |queue: &QueueView, write: &mut dyn FnMut(&[Label<'_>])| {
            write(&[("vhost", &queue.vhost), ("queue", &queue.name)]);
        };
        each(page, QUEUES, &self.queues, wanted, &of_queue);
        if wanted("queue_consumer_count") && !wanted("queue_metrics") {
            let count: Vec<_> = QUEUES.iter().filter(|metric| metric.1 == "queue_consumers").copied().collect();
            each(page, &count, &self.queues, &|_| true, &of_queue);
        }
        if wanted("queue_metrics") {
            let name = "queue_head_message_timestamp";
            page.family(name, Kind::Gauge, "Timestamp of the message at the front, in seconds");
            for queue in &self.queues {
                if let Some(head) = queue.head {
                    page.sample(name, &[("vhost", &queue.vhost), ("queue", &queue.name)], head);
                }
            }
        }
        each(page, CHANNELS, &self.channels, wanted, &|channel, write| write(&[("channel", &process(channel.id))]));
        each(page, CONNECTIONS, &self.connections, wanted, &|connection, write| {
            write(&[("connection", &process(connection.id))]);
        });
        each(page, EXCHANGES, &self.exchanges, wanted, &|exchange, write| {
            write(&[("vhost", &exchange.vhost), ("exchange", &exchange.name)]);
        });
    }

    /// What type each queue is of.
    pub(super) fn queue_infos(&self, page: &mut Page) {
        page.family("queue_info", Kind::Gauge, "Queues and their types");
        for queue in &self.queues {
            let kind = if queue.quorum { "rabbit_quorum_queue" } else { "rabbit_classic_queue" };
            let labels =
                [("vhost", &*queue.vhost), ("queue", &*queue.name), ("queue_type", kind), ("membership", "leader")];
            page.sample("queue_info", &labels, 1);
        }
    }

    /// How many bindings exchanges have, and which there are: of the cluster, as RabbitMQ has it.
    pub(super) fn cluster(&self, page: &mut Page, vhosts: &[Arc<VirtualHost>], wanted: &dyn Fn(&str) -> bool) {
        if wanted("vhost_status") {
            page.family("vhost_status", Kind::Gauge, "Whether a virtual host runs");
            for vhost in vhosts {
                page.sample("vhost_status", &[("vhost", &vhost.name)], 1);
            }
        }
        for (family, name, help) in [
            ("exchange_bindings", "exchange_bindings", "Bindings from an exchange"),
            ("exchange_names", "exchange_name", "Exchanges there are"),
        ] {
            if wanted(family) {
                page.family(name, Kind::Gauge, help);
                for exchange in &self.exchanges {
                    let value = if family == "exchange_names" { 1 } else { exchange.bindings };
                    page.sample(name, &[("vhost", &exchange.vhost), ("exchange", &exchange.name)], value);
                }
            }
        }
    }
}

/// A number as RabbitMQ shows the Erlang process that would be behind it.
pub(super) fn process(id: u64) -> String {
    format!("<0.{id}.0>")
}

fn of_one<T>(page: &mut Page, metrics: &[Metric<T>], one: &T) {
    for (_, name, kind, help, read) in metrics {
        page.one(name, *kind, help, read(one));
    }
}

/// Calls the writer of a sample with the labels of a thing.
type Labelled<'a, T> = &'a dyn Fn(&T, &mut dyn FnMut(&[Label<'_>]));

fn each<T>(
    page: &mut Page,
    metrics: &[Metric<T>],
    things: &[T],
    wanted: &dyn Fn(&str) -> bool,
    labels: Labelled<'_, T>,
) {
    for (family, name, kind, help, read) in metrics {
        if wanted(family) {
            page.family(name, *kind, help);
            for thing in things {
                labels(thing, &mut |labels| page.sample(name, labels, read(thing)));
            }
        }
    }
}
