//! Connections: the list, one, closing one or those of a user.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::figures::{self, Ranges};
use super::list::{self, Fields};
use super::route::{Access, Route, delete, get};
use crate::broker::portable::json::written;
use crate::broker::stats::Client;
use crate::broker::{Broker, Connection};
use crate::telemetry::printable;
use crate::tls::{PeerCertificate, Secured};
use crate::wire::refusal::{Refusal, ReplyCode};

/// The list is in this order.
const ORDER: [&str; 2] = ["vhost", "name"];

/// Why a connection is closed, if nobody says.
const REASON: &str = "Closed via management plugin";

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/connections", Access::Manager, list_all),
        get("/api/vhosts/{vhost}/connections", Access::VisibleVhost, list_all),
        get("/api/connections/{connection}", Access::Manager, one),
        delete("/api/connections/{connection}", Access::Manager, close),
        get("/api/connections/username/{user}", Access::Manager, list_of_user),
        delete("/api/connections/username/{user}", Access::Manager, close_of_user),
    ]
}

/// A connection as it is shown.
struct ConnectionRow {
    broker: Arc<Broker>,
    connection: Arc<Connection>,
    ranges: Ranges,
    /// What is counted is shown, too.
    full: bool,
}

impl ConnectionRow {
    fn client<T: Into<Value>>(&self, read: impl FnOnce(&Client) -> T) -> Option<Value> {
        self.connection.client().map(|client| read(client).into())
    }

    fn counted<T: Into<Value>>(&self, read: impl FnOnce(&Connection) -> T) -> Option<Value> {
        self.full.then(|| read(&self.connection).into())
    }

    /// A fact of its TLS; null without.
    fn secured(&self, read: impl FnOnce(&Secured) -> &'static str) -> Value {
        self.connection.tls.as_ref().map_or(Value::Null, |tls| read(tls).into())
    }

    /// A fact of its client's certificate; null without.
    fn certified(&self, read: impl FnOnce(&PeerCertificate) -> &String) -> Value {
        let peer = self.connection.tls.as_ref().and_then(|tls| tls.peer.as_ref());
        peer.map_or(Value::Null, |peer| read(peer).as_str().into())
    }

    fn octet_details(&self, place: usize) -> Option<Value> {
        let trend = || self.connection.stats.history.trend(self.broker.stats.tick(), self.ranges.deep());
        self.full.then(|| figures::details(&trend(), place, self.ranges.data))
    }

    fn given_name(&self) -> Option<Value> {
        let said = self.connection.client()?.said();
        said.get("connection_name")?.as_str().map(Value::from)
    }
}

/// An address as RabbitMQ shows it.
fn host(address: IpAddr) -> Value {
    address.to_canonical().to_string().into()
}

impl Fields for ConnectionRow {
    const FIELDS: &'static [(&'static str, fn(&Self) -> Option<Value>)] = &[
        ("name", |row| Some(row.connection.name.as_str().into())),
        ("node", |row| Some(row.broker.config.node_name.as_str().into())),
        ("vhost", |row| row.connection.vhost().map(|vhost| (*vhost.name).into())),
        ("user", |row| row.client(|client| client.user.to_string())),
        ("user_who_performed_action", |row| row.client(|client| client.user.to_string())),
        ("user_provided_name", ConnectionRow::given_name),
        ("protocol", |_| Some("AMQP 0-9-1".into())),
        ("type", |_| Some("network".into())),
        ("auth_mechanism", |row| row.client(|client| client.mechanism)),
        ("client_properties", |row| row.client(|client| Value::Object(written(&client.said())))),
        ("connected_at", |row| row.client(|client| client.connected_at)),
        ("channel_max", |row| row.client(|client| client.channel_max)),
        ("frame_max", |row| row.client(|client| client.frame_max)),
        ("timeout", |row| row.client(|client| client.heartbeat)),
        ("host", |row| Some(host(row.connection.local.ip()))),
        ("port", |row| Some(row.connection.local.port().into())),
        ("peer_host", |row| Some(host(row.connection.peer.ip()))),
        ("peer_port", |row| Some(row.connection.peer.port().into())),
        ("ssl", |row| Some(row.connection.tls.is_some().into())),
        ("ssl_protocol", |row| Some(row.secured(|tls| tls.protocol))),
        ("ssl_key_exchange", |row| Some(row.secured(|tls| tls.key_exchange))),
        ("ssl_cipher", |row| Some(row.secured(|tls| tls.cipher))),
        ("ssl_hash", |row| Some(row.secured(|tls| tls.hash))),
        ("peer_cert_subject", |row| Some(row.certified(|peer| &peer.subject))),
        ("peer_cert_issuer", |row| Some(row.certified(|peer| &peer.issuer))),
        ("peer_cert_serial_number", |_| Some(Value::Null)),
        ("peer_cert_validity", |row| Some(row.certified(|peer| &peer.validity))),
        ("state", |row| row.counted(|connection| connection.stats.state().as_str())),
        ("channels", |row| row.counted(|connection| connection.stats.channel_count())),
        ("recv_oct", |row| row.counted(|connection| connection.stats.received_octets.get())),
        ("recv_oct_details", |row| row.octet_details(0)),
        ("recv_cnt", |row| row.counted(|connection| connection.stats.received.get())),
        ("send_oct", |row| row.counted(|connection| connection.stats.sent_octets.get())),
        ("send_oct_details", |row| row.octet_details(1)),
        ("send_cnt", |row| row.counted(|connection| connection.stats.sent.get())),
        ("send_pend", |row| row.counted(|connection| connection.stats.pending.get())),
    ];
}

/// Whose connections a principal may see.
fn is_visible(call: &Call, connection: &Connection) -> bool {
    call.principal.is_monitor() || is_own(call, connection)
}

fn is_own(call: &Call, connection: &Connection) -> bool {
    connection.client().is_some_and(|client| *client.user == *call.principal.name)
}

/// The open connections that the principal may see, in the virtual host of the path if there is one.
pub(super) fn visible(call: &Call) -> Result<Vec<Arc<Connection>>, ApiError> {
    let mut connections = call.broker.connections.open();
    connections.retain(|connection| is_visible(call, connection));
    if let Some(name) = call.vhost_name() {
        let vhost = call.broker.vhost(name).ok_or_else(ApiError::no_object)?;
        connections.retain(|connection| connection.vhost().is_some_and(|entered| Arc::ptr_eq(entered, &vhost)));
    }
    Ok(connections)
}

fn rows(call: &Call, connections: Vec<Arc<Connection>>) -> Result<Vec<ConnectionRow>, ApiError> {
    let (ranges, full) = (Ranges::of(&call.query)?, !call.without_statistics());
    let row = |connection| ConnectionRow { broker: call.broker.clone(), connection, ranges, full };
    Ok(connections.into_iter().map(row).collect())
}

/// The connection of that name, if the principal may see it.
pub(super) fn named(call: &Call, name: &str) -> Result<Arc<Connection>, ApiError> {
    let found = call.broker.connections.open().into_iter().find(|connection| connection.name == name);
    let connection = found.ok_or_else(ApiError::no_object)?;
    if is_visible(call, &connection) {
        Ok(connection)
    } else {
        Err(ApiError::not_authorised("User not authorised to access object"))
    }
}

async fn list_all(call: Call) -> Outcome {
    list::pages(rows(&call, visible(&call)?)?, &call.query, &ORDER)
}

async fn one(call: Call) -> Outcome {
    let connection = named(&call, call.name("connection"))?;
    match rows(&call, vec![connection])?.first() {
        Some(row) => list::one(row, &call.query),
        None => Err(ApiError::no_object()),
    }
}

/// Tells a session to end, with the reason that the request gives for it.
fn end(call: &Call, connection: &Connection) {
    let reason = call.header("x-reason").unwrap_or(REASON);
    tracing::info!(connection = connection.name, by = %printable(&*call.principal.name), reason = %printable(reason),
        "connection closed by an administrator");
    connection.kick(Refusal::new(ReplyCode::ConnectionForced, reason));
}

/// Whether the principal may close a connection: it is theirs, or they are an administrator.
fn may_end(call: &Call, connection: &Connection) -> Result<(), ApiError> {
    if call.principal.is_administrator() || is_own(call, connection) {
        return Ok(());
    }
    Err(ApiError::not_authorised("User not authorised to access object"))
}

async fn close(call: Call) -> Outcome {
    let connection = named(&call, call.name("connection"))?;
    may_end(&call, &connection)?;
    end(&call, &connection);
    Ok(Answer::done())
}

fn of_user(call: &Call) -> Result<Vec<Arc<Connection>>, ApiError> {
    let user = call.name("user");
    if !call.principal.is_monitor() && *call.principal.name != *user {
        return Err(ApiError::not_authorised("User not authorised to access object"));
    }
    let mut connections = call.broker.connections.open();
    connections.retain(|connection| connection.client().is_some_and(|client| *client.user == *user));
    Ok(connections)
}

async fn list_of_user(call: Call) -> Outcome {
    // No more than who and where: RabbitMQ knows these from its tracking alone.
    let connections = of_user(&call)?;
    let rows: Vec<Value> = connections
        .iter()
        .map(|connection| {
            json!({
                "name": connection.name,
                "vhost": connection.vhost().map(|vhost| &*vhost.name),
                "user": connection.client().map(|client| &*client.user),
                "username": connection.client().map(|client| &*client.user),
                "node": call.broker.config.node_name,
                "protocol": "AMQP 0-9-1",
                "type": "network",
                "connected_at": connection.client().map(|client| client.connected_at),
                "peer_host": connection.peer.ip().to_canonical().to_string(),
                "peer_port": connection.peer.port(),
            })
        })
        .collect();
    list::all(rows, &call.query, &ORDER)
}

async fn close_of_user(call: Call) -> Outcome {
    let connections = of_user(&call)?;
    for connection in &connections {
        may_end(&call, connection)?;
    }
    for connection in &connections {
        end(&call, connection);
    }
    Ok(Answer::done())
}
