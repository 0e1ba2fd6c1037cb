//! What the first grammar can work on: objects with their arguments, their paths, and what of them is listed.

use serde_json::{Map, Value};

use crate::ctl::api::path;

/// Values by name, as given.
pub(super) type Upload = Map<String, Value>;

/// What can be listed: whether a virtual host narrows it, and the columns shown when none are named.
pub(super) const LISTS: &[(&str, bool, &[&str])] = &[
    ("connections", false, &["name", "user", "channels"]),
    ("channels", false, &["name", "user"]),
    ("consumers", true, &[]),
    ("exchanges", true, &["name", "type"]),
    ("queues", true, &["name", "messages"]),
    ("bindings", true, &["source", "destination", "routing_key"]),
    ("users", false, &[]),
    ("vhosts", false, &["name", "messages"]),
    ("permissions", false, &[]),
    ("nodes", false, &["name", "type", "mem_used"]),
    ("parameters", false, &[]),
    ("policies", false, &[]),
    ("operator_policies", false, &[]),
    ("vhost_limits", false, &[]),
];

pub(super) const SHOWS: &[(&str, bool, &[&str])] =
    &[("overview", false, &["rabbitmq_version", "cluster_name", "queue_totals.messages", "object_totals.queues"])];

/// Fields that are shown as JSON in one column.
pub(super) const AS_JSON: &[(&str, &str)] = &[
    ("parameters", "value"),
    ("policies", "definition"),
    ("operator_policies", "definition"),
    ("vhost_limits", "value"),
];

/// An object that is declared, deleted, closed, purged, published to or got from.
pub(super) struct Object {
    pub(super) name: &'static str,
    /// Names that have to be given; alternatives are separated by a bar.
    pub(super) needs: &'static [&'static str],
    /// Names that may be given, with the value they have otherwise, as JSON.
    pub(super) takes: &'static [(&'static str, Option<&'static str>)],
    /// Names whose values are JSON.
    pub(super) json: &'static [&'static str],
    /// Segments of its path; names in braces are replaced.
    pub(super) path: &'static [&'static str],
}

const ARGUMENTS: (&str, Option<&str>) = ("arguments", Some("{}"));

pub(super) const DECLARED: &[Object] = &[
    Object {
        name: "exchange",
        needs: &["name", "type"],
        takes: &[
            ("auto_delete", Some("\"false\"")),
            ("durable", Some("\"true\"")),
            ("internal", Some("\"false\"")),
            ARGUMENTS,
        ],
        json: &["arguments"],
        path: &["exchanges", "{vhost}", "{name}"],
    },
    Object {
        name: "queue",
        needs: &["name"],
        takes: &[
            ("auto_delete", Some("\"false\"")),
            ("durable", Some("\"true\"")),
            ARGUMENTS,
            ("node", None),
            ("queue_type", None),
        ],
        json: &["arguments"],
        path: &["queues", "{vhost}", "{name}"],
    },
    Object {
        name: "binding",
        needs: &["source", "destination"],
        takes: &[("destination_type", Some("\"queue\"")), ("routing_key", Some("\"\"")), ARGUMENTS],
        json: &["arguments"],
        path: &["bindings", "{vhost}", "e", "{source}", "{kind}", "{destination}"],
    },
    Object {
        name: "vhost",
        needs: &["name"],
        takes: &[("tracing", None), ("description", None), ("tags", None), ("default_queue_type", None)],
        json: &[],
        path: &["vhosts", "{name}"],
    },
    Object {
        name: "user",
        needs: &["name", "password|password_hash", "tags"],
        takes: &[("hashing_algorithm", None)],
        json: &[],
        path: &["users", "{name}"],
    },
    Object {
        name: "permission",
        needs: &["vhost", "user", "configure", "write", "read"],
        takes: &[],
        json: &[],
        path: &["permissions", "{vhost}", "{user}"],
    },
    Object {
        name: "parameter",
        needs: &["component", "name", "value"],
        takes: &[],
        json: &["value"],
        path: &["parameters", "{component}", "{vhost}", "{name}"],
    },
    Object {
        name: "policy",
        needs: &["name", "pattern", "definition"],
        takes: &[("priority", Some("0")), ("apply-to", None)],
        json: &["definition", "priority"],
        path: &["policies", "{vhost}", "{name}"],
    },
    Object {
        name: "operator_policy",
        needs: &["name", "pattern", "definition"],
        takes: &[("priority", Some("0")), ("apply-to", None)],
        json: &["definition", "priority"],
        path: &["operator-policies", "{vhost}", "{name}"],
    },
    Object {
        name: "vhost_limit",
        needs: &["vhost", "name", "value"],
        takes: &[],
        json: &["value"],
        path: &["vhost-limits", "{vhost}", "{name}"],
    },
];

/// What is deleted: its name and what has to be given; paths are those of the declaration.
pub(super) const DELETED: &[(&str, &[&str])] = &[
    ("exchange", &["name"]),
    ("queue", &["name"]),
    ("binding", &["source", "destination_type", "destination"]),
    ("vhost", &["name"]),
    ("user", &["name"]),
    ("permission", &["vhost", "user"]),
    ("parameter", &["component", "name"]),
    ("policy", &["name"]),
    ("operator_policy", &["name"]),
    ("vhost_limit", &["vhost", "name"]),
];

pub(super) const CLOSED: Object =
    Object { name: "connection", needs: &["name"], takes: &[], json: &[], path: &["connections", "{name}"] };
pub(super) const PURGED: Object = Object {
    name: "queue",
    needs: &["name"],
    takes: &[],
    json: &[],
    path: &["queues", "{vhost}", "{name}", "contents"],
};
pub(super) const PUBLISHED: Object = Object {
    name: "publish",
    needs: &["routing_key"],
    takes: &[
        ("payload", None),
        ("properties", Some("{}")),
        ("exchange", Some("\"amq.default\"")),
        ("payload_encoding", Some("\"string\"")),
    ],
    json: &["properties"],
    path: &["exchanges", "{vhost}", "{exchange}", "publish"],
};
pub(super) const GOT: Object = Object {
    name: "get",
    needs: &["queue"],
    takes: &[
        ("count", Some("\"1\"")),
        ("ackmode", Some("\"ack_requeue_true\"")),
        ("payload_file", None),
        ("encoding", Some("\"auto\"")),
    ],
    json: &[],
    path: &["queues", "{vhost}", "{queue}", "get"],
};

/// A path with its names replaced by what was given.
pub(super) fn fill(segments: &[&str], upload: &Upload) -> String {
    let text = |name: &str| upload.get(name).and_then(Value::as_str).unwrap_or_default();
    let filled: Vec<&str> = segments
        .iter()
        .map(|segment| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            None => segment,
            Some("kind") => text("destination_type").get(..1).unwrap_or("q"),
            // The default exchange has no name, and paths need one.
            Some(name @ ("exchange" | "source")) if text(name).is_empty() => "amq.default",
            Some(name) => text(name),
        })
        .collect();
    path(&filled)
}
