//! Channels: the list, those of a connection, one.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::answer::{ApiError, Outcome};
use super::call::Call;
use super::connections::{named, visible};
use super::consumers::{self, Source};
use super::figures::{self, Ranges};
use super::list::{self, Fields};
use super::route::{Access, Route, get};
use crate::broker::stats::{ChannelStats, ConnectionState, Mode, VHOST};
use crate::broker::{Broker, Connection};
use crate::clock::Millis;

/// The list is in this order.
const ORDER: [&str; 3] = ["vhost", "name", "number"];

/// A channel is said to be idle after so long, in milliseconds.
const IDLE: Millis = 5_000;

/// Figures that come with publishing.
const OF_PUBLISHERS: std::ops::Range<usize> = 0..4;

/// Figures that come with taking messages, with the sum of those handed out.
const OF_CONSUMERS: std::ops::Range<usize> = 4..12;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/channels", Access::Manager, list_all),
        get("/api/vhosts/{vhost}/channels", Access::VisibleVhost, list_all),
        get("/api/channels/{channel}", Access::Manager, one),
        get("/api/connections/{connection}/channels", Access::Manager, list_of_connection),
        get("/api/connections/{connection}/sessions", Access::Manager, list_of_sessions),
    ]
}

/// A channel as it is shown.
struct ChannelRow {
    broker: Arc<Broker>,
    connection: Arc<Connection>,
    channel: Arc<ChannelStats>,
    ranges: Ranges,
    /// What is counted is shown, too.
    full: bool,
    /// So is what takes looking around.
    single: bool,
}

impl ChannelRow {
    fn user(&self) -> Option<Value> {
        self.connection.client().map(|client| (*client.user).into())
    }

    fn gauge(&self, read: impl FnOnce(&ChannelStats) -> u64) -> Option<Value> {
        self.full.then(|| read(&self.channel).into())
    }

    fn connection_details(&self) -> Value {
        json!({
            "name": self.connection.name,
            "peer_host": self.connection.peer.ip().to_canonical().to_string(),
            "peer_port": self.connection.peer.port(),
        })
    }

    fn message_stats(&self) -> Option<Value> {
        let mut values = self.channel.traffic.values().to_vec();
        let handed_out = values.get(4..6).into_iter().chain(values.get(7..9)).flatten().sum();
        values.push(handed_out);
        let trend = self.channel.history.trend(self.broker.stats.tick(), self.ranges.deep());
        let mut shown = Map::new();
        for group in [OF_PUBLISHERS, OF_CONSUMERS] {
            let used = values.get(group.clone()).is_some_and(|values| values.iter().any(|n| *n > 0));
            if used {
                let figures = VHOST.iter().zip(&values).enumerate().map(|(place, (name, n))| (*name, *n, place));
                let figures = figures.filter(|(_, _, place)| group.contains(place));
                shown.extend(figures::all(figures, &trend, self.ranges.rates));
            }
        }
        (self.full && !shown.is_empty()).then_some(Value::Object(shown))
    }

    fn idle_since(&self) -> Option<Value> {
        let active = self.channel.active.get();
        let idle = self.full && active.saturating_add(IDLE) < self.broker.clock.now();
        idle.then(|| figures::moment(active).into())
    }

    fn state(&self) -> Value {
        // A connection that is blocked says so itself; its channels run.
        let flow = self.connection.stats.state() == ConnectionState::Flow;
        if flow { "flow" } else { "running" }.into()
    }

    fn consumer_details(&self) -> Value {
        let Some(vhost) = self.connection.vhost() else { return json!([]) };
        let source = Source { broker: self.broker.clone(), vhost: vhost.name.clone() };
        let queues: Vec<_> = vhost.topology().queues().cloned().collect();
        let rows = queues.iter().filter(|queue| queue.inspect(|state| state.consumers() > 0));
        let rows = rows.flat_map(|queue| consumers::of_queue(&source, queue));
        rows.filter(|row| row.is_of(self.connection.id, self.channel.number)).map(|row| list::whole(&row)).collect()
    }
}

impl Fields for ChannelRow {
    const FIELDS: &'static [(&'static str, fn(&Self) -> Option<Value>)] = &[
        ("name", |row| Some(format!("{} ({})", row.connection.name, row.channel.number).into())),
        ("number", |row| Some(row.channel.number.into())),
        ("node", |row| Some(row.broker.config.node_name.as_str().into())),
        ("vhost", |row| row.connection.vhost().map(|vhost| (*vhost.name).into())),
        ("user", ChannelRow::user),
        ("user_who_performed_action", ChannelRow::user),
        ("connection_details", |row| Some(row.connection_details())),
        ("state", |row| row.full.then(|| row.state())),
        ("confirm", |row| row.full.then(|| (row.channel.mode() == Mode::Confirm).into())),
        ("transactional", |row| row.full.then(|| (row.channel.mode() == Mode::Transactional).into())),
        ("consumer_count", |row| row.gauge(|channel| channel.consumers.get())),
        ("prefetch_count", |row| row.gauge(|channel| channel.prefetch.get())),
        ("global_prefetch_count", |row| {
            // RabbitMQ 4.3 has none any more.
            let known = row.broker.config.profile().channel_prefetch;
            row.gauge(|channel| channel.global_prefetch.get()).filter(|_| known)
        }),
        ("messages_unacknowledged", |row| row.gauge(|channel| channel.unacked.get())),
        ("messages_unconfirmed", |row| row.gauge(|channel| channel.unconfirmed.get())),
        ("messages_uncommitted", |row| row.gauge(|channel| channel.uncommitted.get())),
        ("acks_uncommitted", |row| row.gauge(|channel| channel.acks_uncommitted.get())),
        ("pending_raft_commands", |row| row.gauge(|_| 0)),
        ("idle_since", ChannelRow::idle_since),
        ("message_stats", ChannelRow::message_stats),
        ("consumer_details", |row| row.single.then(|| row.consumer_details())),
        ("publishes", |row| row.single.then(|| json!([]))),
        ("deliveries", |row| row.single.then(|| json!([]))),
    ];
}

fn rows(call: &Call, connections: &[Arc<Connection>], single: bool) -> Result<Vec<ChannelRow>, ApiError> {
    let (ranges, full) = (Ranges::of(&call.query)?, !call.without_statistics());
    let of = |connection: &Arc<Connection>| {
        let (broker, connection) = (call.broker.clone(), connection.clone());
        let channels = connection.stats.channels();
        channels.into_iter().map(move |channel| ChannelRow {
            broker: broker.clone(),
            connection: connection.clone(),
            channel,
            ranges,
            full,
            single: single && full,
        })
    };
    Ok(connections.iter().flat_map(of).collect())
}

async fn list_all(call: Call) -> Outcome {
    list::pages(rows(&call, &visible(&call)?, false)?, &call.query, &ORDER)
}

async fn list_of_connection(call: Call) -> Outcome {
    let connection = named(&call, call.name("connection"))?;
    list::all(rows(&call, &[connection], false)?, &call.query, &ORDER)
}

/// Sessions are AMQP 1.0's, which is not spoken here.
async fn list_of_sessions(call: Call) -> Outcome {
    named(&call, call.name("connection"))?;
    list::all(Vec::<Value>::new(), &call.query, &ORDER)
}

async fn one(call: Call) -> Outcome {
    // `CONNECTION (NUMBER)`
    let name = call.name("channel");
    let (connection, number) = name.rsplit_once(" (").ok_or_else(ApiError::no_object)?;
    let number: u16 = number.strip_suffix(')').and_then(|n| n.parse().ok()).ok_or_else(ApiError::no_object)?;
    let connection = named(&call, connection)?;
    let rows = rows(&call, &[connection], true)?;
    let row = rows.iter().find(|row| row.channel.number == number).ok_or_else(ApiError::no_object)?;
    list::one(row, &call.query)
}
