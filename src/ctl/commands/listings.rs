//! Listings of queues, exchanges, bindings, connections, channels and consumers, with their columns.
//!
//! Columns are RabbitMQ's; most are fields of the API by the same name. Processes of Erlang there are none: where a
//! column holds one, it names the connection, channel or queue in the same shape, always the same for the same thing,
//! so that a script can hand it back (`close_connection`).

use serde_json::Value;

use super::users::tags;
use crate::ctl::api::{path, query};
use crate::ctl::command::{BOTH, Call, Command, Section};
use crate::ctl::failure::Failure;
use crate::ctl::options::{flag, number};
use crate::ctl::output::{Cell, Output};

const LOOK: Section = Section::Monitoring;
const ONE_VHOST: &str = "[--vhost <vhost>] [--no-table-headers] [<column> ...]";
const ALL_VHOSTS: &str = "[--no-table-headers] [<column> ...]";

const QUEUE: &[&str] = &[
    "name",
    "durable",
    "auto_delete",
    "arguments",
    "policy",
    "operator_policy",
    "effective_policy_definition",
    "pid",
    "owner_pid",
    "exclusive",
    "exclusive_consumer_pid",
    "exclusive_consumer_tag",
    "messages_ready",
    "messages_unacknowledged",
    "messages",
    "messages_ready_ram",
    "messages_unacknowledged_ram",
    "messages_ram",
    "messages_persistent",
    "message_bytes",
    "message_bytes_ready",
    "message_bytes_unacknowledged",
    "message_bytes_ram",
    "message_bytes_persistent",
    "head_message_timestamp",
    "disk_reads",
    "disk_writes",
    "consumers",
    "consumer_utilisation",
    "consumer_capacity",
    "memory",
    "state",
    "type",
    "leader",
    "members",
    "online",
];
const EXCHANGE: &[&str] = &["name", "type", "durable", "auto_delete", "internal", "arguments", "policy"];
const BINDING: &[&str] =
    &["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"];
const CONNECTION: &[&str] = &[
    "pid",
    "name",
    "port",
    "host",
    "peer_port",
    "peer_host",
    "ssl",
    "ssl_protocol",
    "ssl_key_exchange",
    "ssl_cipher",
    "ssl_hash",
    "peer_cert_subject",
    "peer_cert_issuer",
    "peer_cert_serial_number",
    "peer_cert_validity",
    "state",
    "channels",
    "protocol",
    "auth_mechanism",
    "user",
    "vhost",
    "container_id",
    "timeout",
    "frame_max",
    "channel_max",
    "client_properties",
    "recv_oct",
    "recv_cnt",
    "send_oct",
    "send_cnt",
    "send_pend",
    "connected_at",
];
const CHANNEL: &[&str] = &[
    "pid",
    "connection",
    "name",
    "number",
    "user",
    "vhost",
    "transactional",
    "confirm",
    "consumer_count",
    "messages_unacknowledged",
    "messages_uncommitted",
    "acks_uncommitted",
    "messages_unconfirmed",
    "prefetch_count",
];
const CONSUMER: &[&str] = &[
    "queue_name",
    "channel_pid",
    "consumer_tag",
    "ack_required",
    "prefetch_count",
    "active",
    "activity_status",
    "arguments",
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "list_queues",
        LOOK,
        "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...]",
        "Lists queues",
        queues,
    )
    .tools(BOTH)
    .columns(QUEUE, &["name", "messages"])
    .switches(&[flag("offline"), flag("online"), flag("local")])
    .banner(|call| {
        let seconds = call.line.number("timeout").filter(|seconds| *seconds > 0).unwrap_or(60);
        format!("Timeout: {seconds}.0 seconds ...\nListing queues for vhost {} ...", call.vhost())
    }),
    Command::new("list_exchanges", LOOK, ONE_VHOST, "Lists exchanges", exchanges)
        .tools(BOTH)
        .columns(EXCHANGE, &["name", "type"])
        .banner(|call| format!("Listing exchanges for vhost {} ...", call.vhost())),
    Command::new("list_bindings", LOOK, ONE_VHOST, "Lists bindings", bindings)
        .tools(BOTH)
        .columns(BINDING, BINDING)
        .banner(|call| format!("Listing bindings for vhost {}...", call.vhost())),
    Command::new("list_connections", LOOK, ALL_VHOSTS, "Lists connections", connections)
        .tools(BOTH)
        .columns(CONNECTION, &["user", "peer_host", "peer_port", "state"])
        .banner(|_| "Listing connections ...".to_owned()),
    Command::new("list_channels", LOOK, ALL_VHOSTS, "Lists channels", channels)
        .tools(BOTH)
        .columns(CHANNEL, &["pid", "user", "consumer_count", "messages_unacknowledged"])
        .banner(|_| "Listing channels ...".to_owned()),
    Command::new("list_consumers", LOOK, ONE_VHOST, "Lists consumers", consumers)
        .tools(BOTH)
        .columns(
            CONSUMER,
            &["queue_name", "channel_pid", "consumer_tag", "ack_required", "prefetch_count", "active", "arguments"],
        )
        .banner(|call| format!("Listing consumers in vhost {} ...", call.vhost())),
    Command::new(
        "list_unresponsive_queues",
        LOOK,
        "[--local] [--queue-timeout <seconds>] [<column> ...] [--no-table-headers]",
        "Lists queues that do not answer: none, since queues do not wait for each other here",
        unresponsive,
    )
    .tools(BOTH)
    .columns(QUEUE, &["name"])
    .switches(&[flag("local"), number("queue-timeout")])
    .banner(|call| format!("Listing unresponsive queues for vhost {} ...", call.vhost())),
];

/// A name in the shape of a process of Erlang: the node, a number that stands for `name`, and a number.
pub(super) fn pid(node: &str, name: &str, number: u64) -> String {
    format!("<{node}.{}.{number}.0>", crc32fast::hash(name.as_bytes()))
}

/// The pid of a connection of that name.
pub(super) fn connection_pid(node: &str, name: &str) -> String {
    pid(node, name, 0)
}

/// The pid of a channel, from what the API says about it.
fn channel_pid(node: &str, connection: &Value, number: &Value) -> String {
    pid(node, connection.as_str().unwrap_or_default(), number.as_u64().unwrap_or_default())
}

/// Rows of what is at `path`; a virtual host that does not exist has none, as in RabbitMQ.
fn rows(call: &Call<'_>, path: &str, shown: fn(&Call<'_>, &Value, &str) -> Cell) -> Result<Output, Failure> {
    let columns = call.columns().unwrap_or_default();
    let items = match call.api()?.list(path) {
        Err(error) if error.is_not_found() && call.command.usage.contains("--vhost") => Vec::new(),
        found => found.map_err(|error| call.fail(&error))?,
    };
    let rows = items.iter().map(|item| columns.iter().map(|name| (*name, shown(call, item, name))).collect()).collect();
    Ok(Output::Rows { rows, streamed: true })
}

fn plain(item: &Value, name: &str) -> Cell {
    match item[name].as_object() {
        Some(map) => Cell::Table(map.clone()),
        None => Cell::Plain(item[name].clone()),
    }
}

/// A table of AMQP, which the API writes as an empty list where it is empty.
fn arguments(value: &Value) -> Cell {
    Cell::Table(value.as_object().cloned().unwrap_or_default())
}

fn queues(call: &mut Call<'_>) -> Result<Output, Failure> {
    if call.line.on("offline") && !call.line.on("online") {
        // A broker that answers has no queues that are down.
        return Ok(Output::Rows { rows: Vec::new(), streamed: true });
    }
    let columns = call.columns().unwrap_or_default();
    let fields: Vec<_> = columns
        .iter()
        .map(|name| match *name {
            "owner_pid" => "owner_pid_details",
            "disk_reads" => "message_stats.disk_reads",
            "disk_writes" => "message_stats.disk_writes",
            name => name,
        })
        .chain(["name", "vhost"])
        .collect();
    rows(call, &format!("{}?columns={}", path(&["queues", call.vhost()]), fields.join(",")), |call, queue, name| {
        match name {
            "pid" => {
                let whole = format!(
                    "{}/{}",
                    queue["vhost"].as_str().unwrap_or_default(),
                    queue["name"].as_str().unwrap_or_default()
                );
                Cell::text(pid(&call.node, &whole, 0))
            }
            "owner_pid" => match queue["owner_pid_details"]["name"].as_str() {
                Some(owner) => Cell::text(connection_pid(&call.node, owner)),
                None => Cell::Plain(Value::Null),
            },
            "disk_reads" | "disk_writes" => Cell::Plain(queue["message_stats"][name].clone()),
            "arguments" | "effective_policy_definition" => arguments(&queue[name]),
            "members" | "online" if queue[name].is_null() => Cell::Plain(Value::Null),
            "members" | "online" => Cell::Words(tags(&queue[name])),
            name => plain(queue, name),
        }
    })
}

fn exchanges(call: &mut Call<'_>) -> Result<Output, Failure> {
    rows(call, &path(&["exchanges", call.vhost()]), |_, exchange, name| match name {
        "arguments" => arguments(&exchange[name]),
        name => plain(exchange, name),
    })
}

fn bindings(call: &mut Call<'_>) -> Result<Output, Failure> {
    rows(call, &path(&["bindings", call.vhost()]), |_, binding, name| match name {
        "source_name" => plain(binding, "source"),
        "source_kind" => Cell::text("exchange"),
        "destination_name" => plain(binding, "destination"),
        "destination_kind" => plain(binding, "destination_type"),
        "arguments" => arguments(&binding[name]),
        name => plain(binding, name),
    })
}

fn connections(call: &mut Call<'_>) -> Result<Output, Failure> {
    rows(call, &path(&["connections"]), |call, connection, name| match name {
        "pid" => Cell::text(connection_pid(&call.node, connection["name"].as_str().unwrap_or_default())),
        "host" | "peer_host" => Cell::Address(connection[name].as_str().unwrap_or_default().to_owned()),
        "client_properties" => arguments(&connection[name]),
        name => plain(connection, name),
    })
}

fn channels(call: &mut Call<'_>) -> Result<Output, Failure> {
    rows(call, &path(&["channels"]), |call, channel, name| {
        let connection = &channel["connection_details"]["name"];
        match name {
            "pid" => Cell::text(channel_pid(&call.node, connection, &channel["number"])),
            "connection" => Cell::text(connection_pid(&call.node, connection.as_str().unwrap_or_default())),
            name => plain(channel, name),
        }
    })
}

fn consumers(call: &mut Call<'_>) -> Result<Output, Failure> {
    rows(call, &path(&["consumers", call.vhost()]), |call, consumer, name| {
        let channel = &consumer["channel_details"];
        match name {
            "queue_name" => Cell::Plain(consumer["queue"]["name"].clone()),
            "channel_pid" => Cell::text(channel_pid(&call.node, &channel["connection_name"], &channel["number"])),
            "arguments" => arguments(&consumer[name]),
            name => plain(consumer, name),
        }
    })
}

fn unresponsive(call: &mut Call<'_>) -> Result<Output, Failure> {
    // The broker is asked all the same: if it does not answer, that is the answer.
    call.get(&format!("{}?columns={}", path(&["overview"]), query("node")))?;
    Ok(Output::Rows { rows: Vec::new(), streamed: true })
}
