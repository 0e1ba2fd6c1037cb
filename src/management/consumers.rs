//! Consumers: the list of all, and those of one queue or channel.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::answer::Outcome;
use super::call::Call;
use super::list::{self, Fields};
use super::route::{Access, Route, get};
use crate::broker::portable::json::written;
use crate::broker::{Broker, Connection};
use crate::queue::{Listed, Queue};

/// The list is in this order.
const ORDER: [&str; 2] = ["channel_details.name", "consumer_tag"];

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/consumers", Access::Manager, list_all),
        get("/api/consumers/{vhost}", Access::VisibleVhost, list_all),
    ]
}

/// Where consumers are looked for.
pub(super) struct Source {
    pub(super) broker: Arc<Broker>,
    pub(super) vhost: Arc<str>,
}

/// A consumer as it is shown.
pub(super) struct ConsumerRow {
    listed: Listed,
    queue: Arc<str>,
    vhost: Arc<str>,
    /// Whose it is; none if it has just gone.
    connection: Option<Arc<Connection>>,
    node: String,
}

impl ConsumerRow {
    fn channel_details(&self) -> Value {
        let Some(connection) = &self.connection else { return json!([]) };
        let number = self.listed.consumer.channel;
        json!({
            "connection_name": connection.name,
            "name": format!("{} ({number})", connection.name),
            "node": self.node,
            "number": number,
            "peer_host": connection.peer.ip().to_string(),
            "peer_port": connection.peer.port(),
            "user": connection.client().map(|client| &*client.user),
        })
    }

    fn status(&self) -> &'static str {
        let queue = self.listed.consumer.queue.as_ref();
        let single = queue.is_some_and(|queue| queue.definition().options.single_active);
        match (single, self.listed.active) {
            (true, true) => "single_active",
            (true, false) => "waiting",
            (false, _) => "up",
        }
    }

    /// The connection and channel it belongs to.
    pub(super) fn is_of(&self, connection: u64, channel: u16) -> bool {
        let consumer = &self.listed.consumer;
        consumer.connection == connection && consumer.channel == channel
    }

    /// The connection it belongs to, if that is still there.
    fn connection(&self) -> Option<&Arc<Connection>> {
        self.connection.as_ref()
    }
}

impl Fields for ConsumerRow {
    const FIELDS: &'static [(&'static str, fn(&Self) -> Option<Value>)] = &[
        ("arguments", |row| Some(Value::Object(written(&row.listed.consumer.arguments)))),
        ("ack_required", |row| Some((!row.listed.consumer.no_ack).into())),
        ("active", |row| Some(row.listed.active.into())),
        ("activity_status", |row| Some(row.status().into())),
        ("channel_details", |row| Some(row.channel_details())),
        ("consumer_tag", |row| Some(String::from_utf8_lossy(&row.listed.consumer.tag).into())),
        ("consumer_timeout", |row| row.listed.consumer.timeout.map(Value::from)),
        ("exclusive", |row| Some(row.listed.consumer.exclusive.into())),
        ("prefetch_count", |row| Some(row.listed.consumer.prefetch.into())),
        ("queue", |row| {
            Some(Value::Object(Map::from_iter([
                ("name".to_owned(), (*row.queue).into()),
                ("vhost".to_owned(), (*row.vhost).into()),
            ])))
        }),
    ];
}

/// The consumers of a queue, in the order in which they came.
pub(super) fn of_queue(source: &Source, queue: &Queue) -> Vec<ConsumerRow> {
    let row = |listed: Listed| ConsumerRow {
        connection: source.broker.connections.get(listed.consumer.connection),
        listed,
        queue: queue.name().clone(),
        vhost: source.vhost.clone(),
        node: source.broker.config.node_name.clone(),
    };
    queue.inspect(crate::queue::State::listed).into_iter().map(row).collect()
}

/// All consumers in some virtual hosts.
fn all(call: &Call) -> Result<Vec<ConsumerRow>, super::answer::ApiError> {
    let mut rows = Vec::new();
    for vhost in call.vhosts()? {
        let source = Source { broker: call.broker.clone(), vhost: vhost.name.clone() };
        let queues: Vec<_> = vhost.topology().queues().cloned().collect();
        for queue in queues.iter().filter(|queue| queue.inspect(|state| state.consumers() > 0)) {
            rows.extend(of_queue(&source, queue));
        }
    }
    Ok(rows)
}

async fn list_all(call: Call) -> Outcome {
    let who = &call.principal;
    let mut rows = all(&call)?;
    // Those of others are for monitors.
    rows.retain(|row| {
        let owner = row.connection().and_then(|connection| connection.client()).map(|client| &client.user);
        who.is_monitor() || owner.is_some_and(|owner| **owner == *who.name)
    });
    list::all(rows, &call.query, &ORDER)
}
