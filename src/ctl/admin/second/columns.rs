//! The columns of the second grammar's tables: their headings, and the fields of the API they show.

use serde_json::Value;

use super::Shown;

/// A heading and the field below it; dots lead into objects. A field's name that ends its line has a value that does,
/// too: a blank line, or a comma for scripts, as RabbitMQ's program has them there.
pub(super) type Columns = &'static [(&'static str, &'static str)];

pub(super) const QUEUES: Columns = &[
    ("name", "name"),
    ("vhost", "vhost"),
    ("queue_type", "type"),
    ("durable", "durable"),
    ("auto_delete", "auto_delete"),
    ("exclusive", "exclusive"),
    ("arguments", "arguments"),
    ("node", "node"),
    ("state", "state"),
    ("leader", "leader"),
    ("members", "members"),
    ("online", "online"),
    ("memory", "memory"),
    ("consumer_count", "consumers"),
    ("consumer_utilisation", "consumer_utilisation"),
    ("policy", "policy"),
    ("operator_policy", "operator_policy"),
    ("message_bytes", "message_bytes"),
    ("message_count", "messages"),
    ("unacknowledged_message_count", "messages_unacknowledged"),
];
pub(super) const CONNECTIONS: Columns = &[
    ("name", "name"),
    ("node", "node"),
    ("state", "state"),
    ("protocol", "protocol"),
    ("username", "user"),
    ("connected_at", "connected_at"),
    ("server_hostname", "host"),
    ("server_port", "port"),
    ("client_hostname", "peer_host"),
    ("client_port", "peer_port"),
    ("channel_max", "channel_max"),
    ("channel_count", "channels"),
];
pub(super) const USER_CONNECTIONS: Columns =
    &[("name", "name"), ("node", "node"), ("username", "user"), ("vhost", "vhost")];
pub(super) const CHANNELS: Columns = &[
    ("id", "number"),
    ("name", "name"),
    ("vhost", "vhost"),
    ("state", "state"),
    ("consumer_count", "consumer_count"),
    ("has_publisher_confirms_enabled", "confirm"),
    ("prefetch_count", "prefetch_count"),
    ("messages_unacknowledged", "messages_unacknowledged"),
    ("messages_unconfirmed", "messages_unconfirmed"),
];
pub(super) const CONSUMERS: Columns = &[
    ("vhost", "queue.vhost"),
    ("queue", "queue.name"),
    ("consumer_tag", "consumer_tag"),
    ("manual_ack", "ack_required"),
    ("prefetch_count", "prefetch_count"),
    ("active", "active"),
    ("exclusive", "exclusive"),
    ("arguments", "arguments"),
    ("delivery_ack_timeout", "consumer_timeout"),
];
pub(super) const EXCHANGES: Columns = &[
    ("name", "name"),
    ("vhost", "vhost"),
    ("exchange_type", "type"),
    ("durable", "durable"),
    ("auto_delete", "auto_delete"),
    ("arguments", "arguments"),
];
pub(super) const BINDINGS: Columns = &[
    ("vhost", "vhost"),
    ("source", "source"),
    ("destination", "destination"),
    ("destination_type", "destination_type"),
    ("routing_key", "routing_key"),
    ("arguments", "arguments"),
    ("properties_key", "properties_key"),
];
pub(super) const NODES: Columns = &[
    ("name", "name"),
    ("uptime", "uptime"),
    ("run_queue", "run_queue"),
    ("processors", "processors"),
    ("os_pid", "os_pid"),
    ("fd_total", "fd_total"),
    ("total_erlang_processes", "proc_total"),
    ("memory_high_watermark", "mem_limit"),
    ("has_memory_alarm_in_effect", "mem_alarm"),
    ("free_disk_space_low_watermark", "disk_free_limit"),
    ("has_free_disk_space_alarm_in_effect", "disk_free_alarm"),
    ("rates_mode", "rates_mode"),
    ("enabled_plugins", "enabled_plugins"),
    ("being_drained", "being_drained"),
];
pub(super) const USERS: Columns = &[("name", "name"), ("tags", "tags"), ("password_hash", "password_hash")];
pub(super) const VHOSTS: Columns =
    &[("name", "name"), ("tags", "tags"), ("description", "description"), ("default_queue_type", "default_queue_type")];
pub(super) const PERMISSIONS: Columns =
    &[("user", "user"), ("vhost", "vhost"), ("configure", "configure"), ("read", "read"), ("write", "write")];
pub(super) const POLICIES: Columns = &[
    ("name", "name"),
    ("vhost", "vhost"),
    ("pattern", "pattern"),
    ("apply_to", "apply-to"),
    ("priority", "priority"),
    ("definition", "definition\n"),
];
pub(super) const PARAMETERS: Columns =
    &[("name", "name"), ("vhost", "vhost"), ("component", "component"), ("value", "value")];
pub(super) const GLOBAL_PARAMETERS: Columns = &[("name", "name"), ("value", "value")];
pub(super) const USER_LIMITS: Columns = &[("username", "user"), ("limits", "value")];
pub(super) const VHOST_LIMITS: Columns = &[("vhost", "vhost"), ("limits", "value")];
pub(super) const FEATURE_FLAGS: Columns = &[
    ("name", "name"),
    ("state", "state\n"),
    ("description", "desc"),
    ("doc_url", "doc_url"),
    ("stability", "stability\n"),
    ("provided_by", "provided_by"),
];
pub(super) const DEPRECATED: Columns = &[
    ("name", "name"),
    ("description", "desc"),
    ("deprecation_phase", "deprecation_phase"),
    ("doc_url", "doc_url"),
    ("provided_by", "provided_by"),
    ("state", "state"),
];
pub(super) const MESSAGES: Columns = &[
    ("payload_bytes", "payload_bytes"),
    ("redelivered", "redelivered"),
    ("exchange", "exchange"),
    ("routing_key", "routing_key"),
    ("message_count", "message_count"),
    ("properties", "properties"),
    ("payload", "payload"),
    ("payload_encoding", "payload_encoding"),
];
pub(super) const ATTEMPTS: Columns = &[
    ("Protocol", "protocol"),
    ("Number of attempts", "auth_attempts"),
    ("Failed", "auth_attempts_failed"),
    ("Successful", "auth_attempts_succeeded"),
];

/// A field of an object, however deep.
pub(super) fn field<'v>(item: &'v Value, name: &str) -> &'v Value {
    name.split('.').fold(item, |value, part| &value[part])
}

/// A value as one cell; what has parts gets a line for each.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join("\n"),
        Value::Object(map) => map.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

/// The value of a column.
fn shown(item: &Value, name: &str) -> String {
    match name.strip_suffix('\n') {
        Some(name) => cell(field(item, name)) + "\n",
        None => cell(field(item, name)),
    }
}

/// A table of these items.
pub(super) fn table(items: &[Value], columns: Columns) -> Shown {
    chosen(items, columns, None)
}

/// A table of these items with only the columns named, in that order; headings or fields, whatever is known.
pub(super) fn chosen(items: &[Value], columns: Columns, names: Option<&str>) -> Shown {
    let columns: Vec<(String, &str)> = match names {
        None => columns.iter().map(|(heading, field)| ((*heading).to_owned(), *field)).collect(),
        Some(names) => names
            .split(',')
            .map(str::trim)
            .filter_map(|name| columns.iter().find(|(heading, field)| name == *heading || name == field.trim_end()))
            .map(|(heading, field)| ((*heading).to_owned(), *field))
            .collect(),
    };
    let rows = items.iter().map(|item| columns.iter().map(|(_, name)| shown(item, name)).collect()).collect();
    Shown::Table(columns.into_iter().map(|(heading, _)| heading).collect(), rows)
}
