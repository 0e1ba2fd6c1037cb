//! The overview and what else tells of the broker as a whole.
//!
//! The version is that of the RabbitMQ the broker answers as, since clients decide by it what they may ask for; the
//! product is this one. Deliberately absent: counters and rates, which are statistics.

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::route::{Access, Route, delete, get, post, put};
use super::{list, totals};
use crate::broker::{Broker, Listener, exchange_kinds};

/// What the broker calls itself.
pub(super) const PRODUCT: &str = "Leveret";

/// What stands where RabbitMQ tells of Erlang.
const RUNTIME: &str = concat!("none (Leveret ", env!("CARGO_PKG_VERSION"), ")");

/// What comes and goes.
pub(super) const CHURN: [&str; 7] = [
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/overview", Access::Manager, overview),
        get("/api/whoami", Access::Manager, whoami),
        get("/api/version", Access::Open, version),
        get("/api/extensions", Access::Manager, extensions),
        get("/api/cluster-name", Access::Manager, cluster_name),
        put("/api/cluster-name", Access::Administrator, set_cluster_name),
        post("/api/rebalance/queues", Access::Administrator, nothing_to_do),
        delete("/api/reset", Access::Administrator, nothing_to_do),
        delete("/api/reset/{node}", Access::Administrator, reset_node),
    ]
}

/// A JSON object as a map.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What stands where RabbitMQ tells of its runtime.
pub(super) fn runtime(broker: &Broker) -> Map<String, Value> {
    let version = broker.config.profile().version;
    [
        ("rabbitmq_version", version),
        ("erlang_version", RUNTIME),
        ("erlang_full_version", RUNTIME),
        ("crypto_lib_version", "rustls with ring"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.into()))
    .collect()
}

/// The types of exchanges there are.
pub(super) fn exchange_types(broker: &Broker) -> Vec<Value> {
    let kinds = exchange_kinds(broker.config.profile());
    kinds.map(|(name, description)| json!({"name": name, "description": description, "enabled": true})).collect()
}

/// The listeners that answer HTTP, as RabbitMQ tells of them.
pub(super) fn contexts(broker: &Broker) -> Vec<Value> {
    let http = broker.node.listeners().into_iter().filter(|listener| listener.protocol.starts_with("http"));
    http.map(|listener| {
        let description = if listener.protocol.ends_with("prometheus") { "Metrics" } else { "Management" };
        json!({"node": broker.config.node_name, "description": format!("{PRODUCT} {description}"), "path": "/",
            "cowboy_opts": "[]", "ip": listener.address.ip().to_string(),
            "port": listener.address.port().to_string()})
    })
    .collect()
}

/// A listener as RabbitMQ tells of it.
fn listener(node: &str, listener: &Listener) -> Value {
    let address = listener.address;
    json!({"node": node, "protocol": listener.protocol, "ip_address": address.ip().to_string(),
        "port": address.port(), "socket_opts": {"nodelay": true}, "tls": listener.tls})
}

/// Names with a count of nothing and a rate of nothing.
pub(super) fn zeroes(names: &[&str]) -> Map<String, Value> {
    let mut counts = Map::new();
    for name in names {
        counts.insert((*name).to_owned(), 0.into());
        counts.insert(format!("{name}_details"), json!({"rate": 0.0}));
    }
    counts
}

async fn overview(call: Call) -> Outcome {
    let (broker, config) = (&call.broker, &call.broker.config);
    let mut overview = object(json!({
        "management_version": config.profile().version,
        "rates_mode": "basic",
        "sample_retention_policies": {"global": [600, 3600, 28800, 86400], "basic": [600, 3600], "detailed": [600]},
        "exchange_types": exchange_types(broker),
        "product_version": env!("CARGO_PKG_VERSION"),
        "product_name": PRODUCT,
        "cluster_name": broker.cluster_name(),
        "cluster_tags": {},
        "node_tags": {},
        "disable_stats": false,
        "default_queue_type": config.default_queue_type,
        "is_op_policy_updating_enabled": true,
        "enable_queue_totals": false,
        "require_definition_json_extension": false,
        "statistics_db_event_queue": 0,
    }));
    overview.extend(runtime(broker));
    overview.extend(totals::overview(&call)?);
    if call.principal.is_monitor() {
        let listeners = broker.node.listeners();
        let listeners = listeners.iter().map(|known| listener(&config.node_name, known)).collect();
        overview.insert("node".to_owned(), config.node_name.as_str().into());
        overview.insert("listeners".to_owned(), listeners);
        overview.insert("contexts".to_owned(), contexts(broker).into());
    }
    list::one(&overview, &call.query)
}

async fn whoami(call: Call) -> Outcome {
    let who = &call.principal;
    list::one(&json!({"name": who.name, "tags": who.tags, "is_internal_user": true}), &call.query)
}

async fn version(call: Call) -> Outcome {
    Ok(Answer::json(&call.broker.config.profile().version))
}

async fn extensions(_: Call) -> Outcome {
    // The script of the browser interface; there is none, but clients count on the answer.
    Ok(Answer::json(&json!([{"javascript": "dispatcher.js"}])))
}

async fn cluster_name(call: Call) -> Outcome {
    list::one(&json!({"name": call.broker.cluster_name()}), &call.query)
}

async fn set_cluster_name(call: Call) -> Outcome {
    let body = call.object()?;
    call.broker.set_cluster_name(body.required_text("name")?).await?;
    Ok(Answer::done())
}

/// One node has nobody to share queues with, and no database of statistics to reset.
async fn nothing_to_do(_: Call) -> Outcome {
    Ok(Answer::done())
}

async fn reset_node(call: Call) -> Outcome {
    if call.name("node") == call.broker.config.node_name { Ok(Answer::done()) } else { Err(ApiError::no_object()) }
}
