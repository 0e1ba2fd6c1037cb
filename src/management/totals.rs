//! Sums of statistics: of everything for the overview, and of single virtual hosts.
//!
//! Counts are those of this moment, rates those of the sampler's last two rounds.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

use super::answer::ApiError;
use super::call::Call;
use super::figures::{self, Ranges};
use super::overview::CHURN;
use crate::broker::stats::{EVENTS, Event, OVERALL, Places, Sums, VHOST};
use crate::broker::{Broker, VirtualHost};
use crate::queue::Tally;
use crate::stats::Trend;

/// What queues of some virtual hosts hold and have done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queues {
    /// Messages ready.
    pub(super) ready: u64,
    /// Messages that consumers hold, or that are on their way to the dead letters.
    pub(super) unacked: u64,
    /// Consumers.
    pub(super) consumers: u64,
    /// How many queues there are.
    pub(super) count: u64,
    /// What has happened in them, and in those that are deleted.
    pub(super) tally: Tally,
}

impl Queues {
    /// Looks at every queue of a virtual host.
    pub(super) fn of(broker: &Broker, vhost: &VirtualHost) -> Self {
        let now = broker.clock.now();
        let (queues, gone) = vhost.counted_queues();
        let mut sum = Self { tally: gone.tally, ..Self::default() };
        for queue in queues {
            let figures = queue.inspect(|state| state.figures(now));
            sum.add(&Self {
                ready: figures.ready.0,
                unacked: figures.unacked.0.saturating_add(figures.dying.0),
                consumers: figures.consumers as u64,
                count: 1,
                tally: figures.tally,
            });
        }
        sum
    }

    #[allow(clippy::arithmetic_side_effects)] // counts of things that are there
    fn add(&mut self, other: &Self) {
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.consumers += other.consumers;
        self.count += other.count;
        self.tally.add(&other.tally);
    }
}

fn place(places: Places, name: &str) -> usize {
    places.iter().position(|known| *known == name).unwrap_or(usize::MAX)
}

/// Figures by name with their rates, each where the history has it.
fn shown(
    named: &[(&'static str, u64)],
    places: Places,
    trend: &Trend,
    range: Option<figures::Range>,
) -> Map<String, Value> {
    figures::all(named.iter().map(|(name, value)| (*name, *value, place(places, name))), trend, range)
}

fn lengths(queues: &Queues, places: Places, trend: &Trend, ranges: Ranges) -> Map<String, Value> {
    let named = [
        ("messages", queues.ready.saturating_add(queues.unacked)),
        ("messages_ready", queues.ready),
        ("messages_unacknowledged", queues.unacked),
    ];
    shown(&named, places, trend, ranges.lengths)
}

/// What has happened to messages, with the sum of those handed out.
fn events(sums: &Sums) -> Vec<(&'static str, u64)> {
    let handed_out = [Event::Get, Event::GetNoAck, Event::Deliver, Event::DeliverNoAck];
    let handed_out = handed_out.into_iter().map(|event| sums.event(event)).sum();
    let mut named: Vec<_> = EVENTS.iter().map(|(name, event)| (*name, sums.event(*event))).collect();
    named.push(("deliver_get", handed_out));
    named
}

/// What came and went.
fn churn(broker: &Broker, trend: &Trend, ranges: Ranges) -> Map<String, Value> {
    let churn: Vec<_> = CHURN.into_iter().zip(broker.stats.churn.values()).collect();
    shown(&churn, OVERALL, trend, ranges.rates)
}

/// What came and went on the node, with the last rates.
pub(super) fn churn_of_node(broker: &Broker) -> Map<String, Value> {
    churn(broker, &broker.stats.overall.trend(broker.stats.tick(), false), Ranges::default())
}

/// The statistics that the overview shows, of everything for monitors and of their virtual hosts for others.
pub(super) fn overview(call: &Call) -> Result<Map<String, Value>, ApiError> {
    let (broker, ranges) = (&call.broker, Ranges::of(&call.query)?);
    let all = call.principal.is_monitor();
    let mut vhosts = broker.vhosts();
    vhosts.retain(|vhost| call.principal.may_see(broker, &vhost.name));
    let by_vhost = broker.connections.sums();
    let mut sums = if all { broker.stats.internal.sums() } else { Sums::default() };
    for (name, of_one) in &by_vhost {
        if all || vhosts.iter().any(|vhost| vhost.name == *name) {
            sums.add(of_one);
        }
    }
    let mut queues = Queues::default();
    let mut exchanges = 0_usize;
    for vhost in &vhosts {
        queues.add(&Queues::of(broker, vhost));
        exchanges = exchanges.saturating_add(vhost.exchange_count());
    }
    // Who sees only some virtual hosts gets no rates of all of them.
    let trend = if all { broker.stats.overall.trend(broker.stats.tick(), ranges.deep()) } else { Trend::default() };
    let mut stats = events(&sums);
    stats.extend([("disk_reads", queues.tally.disk_reads), ("disk_writes", queues.tally.disk_writes)]);
    let mut overview = Map::new();
    let mut put = |name: &str, value: Map<String, Value>| overview.insert(name.to_owned(), Value::Object(value));
    put("message_stats", shown(&stats, OVERALL, &trend, ranges.rates));
    put("churn_rates", churn(broker, &trend, ranges));
    let totals = if queues.count == 0 { Map::new() } else { lengths(&queues, OVERALL, &trend, ranges) };
    put("queue_totals", totals);
    let mut connections = broker.connections.open();
    if !all {
        let inside = |entered: &Arc<VirtualHost>| vhosts.iter().any(|vhost| Arc::ptr_eq(vhost, entered));
        connections.retain(|connection| connection.vhost().is_some_and(inside));
    }
    let channels: usize = connections.iter().map(|connection| connection.stats.channel_count()).sum();
    let objects: [(&str, Value); 5] = [
        ("channels", channels.into()),
        ("connections", connections.len().into()),
        ("consumers", queues.consumers.into()),
        ("exchanges", exchanges.into()),
        ("queues", queues.count.into()),
    ];
    put("object_totals", objects.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    Ok(overview)
}

/// What is counted in virtual hosts, read once for several of them.
pub(super) struct ByVhost {
    sums: FxHashMap<Arc<str>, Sums>,
    ranges: Ranges,
}

impl ByVhost {
    /// Adds up what connections have counted.
    pub(super) fn of(call: &Call) -> Result<Self, ApiError> {
        Ok(Self { sums: call.broker.connections.sums(), ranges: Ranges::of(&call.query)? })
    }

    /// The statistics of a virtual host, as rows of the list show them.
    pub(super) fn shown(&self, broker: &Broker, vhost: &VirtualHost) -> Map<String, Value> {
        let none = Sums::default();
        let sums = self.sums.get(&vhost.name).unwrap_or(&none);
        let trend = vhost.history.trend(broker.stats.tick(), self.ranges.deep());
        let [received, sent] = sums.octets;
        let octets = [("recv_oct", received), ("send_oct", sent)];
        let mut row = shown(&octets, VHOST, &trend, self.ranges.data);
        row.extend(lengths(&Queues::of(broker, vhost), VHOST, &trend, self.ranges));
        if sums.events.iter().any(|n| *n > 0) {
            row.insert(
                "message_stats".to_owned(),
                Value::Object(shown(&events(sums), VHOST, &trend, self.ranges.rates)),
            );
        }
        row
    }
}
