//! Feature flags and deprecated features: what a client may count on.
//!
//! RabbitMQ's flags tell apart nodes of mixed versions; here every flag is on, and none can be switched. Clients look for
//! names, so RabbitMQ's stand here, without its sentences.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::list;
use super::route::{Access, Route, get, put};
use crate::broker::VirtualHost;

/// Flags of RabbitMQ that describe what is here. `stream_queue` is among them without streams: no RabbitMQ lacks it, and
/// `NServiceBus` does not start without it, since it is a condition there for dead-lettering at least once.
const FLAGS: [&str; 23] = [
    "classic_mirrored_queue_version",
    "classic_queue_type_delivery_support",
    "detailed_queues_endpoint",
    "direct_exchange_routing_v2",
    "drop_unroutable_metric",
    "empty_basic_get_metric",
    "feature_flags_v2",
    "implicit_default_bindings",
    "listener_records_in_ets",
    "maintenance_mode_status",
    "message_containers",
    "message_containers_deaths_v2",
    "message_containers_store_amqp_v1",
    "quorum_queue",
    "quorum_queue_non_voters",
    "quorum_queues_v4",
    "rabbit_exchange_type_local_random",
    "stream_queue",
    "topic_binding_projection_v4",
    "track_qq_members_uids",
    "tracking_records_in_ets",
    "user_limits",
    "virtual_host_metadata",
];

/// The one whose use can be seen.
const TRANSIENT: &str = "transient_nonexcl_queues";

/// Deprecated features, and whether they are still there.
const DEPRECATED: [(&str, &str, &str); 9] = [
    ("amqp_address_v1", "denied", "denied_by_default"),
    ("amqp_filter_set_bug", "denied", "denied_by_default"),
    ("classic_queue_mirroring", "removed", "removed"),
    ("global_qos", "permitted", "permitted_by_default"),
    ("management_metrics_collection", "permitted", "permitted_by_default"),
    ("queue_master_locator", "permitted", "permitted_by_default"),
    ("ram_node_type", "removed", "removed"),
    (TRANSIENT, "permitted", "permitted_by_default"),
    ("x_death_client_headers", "denied", "denied_by_default"),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/feature-flags", Access::Manager, flags),
        put("/api/feature-flags/{name}/enable", Access::Administrator, enable),
        get("/api/deprecated-features", Access::Manager, deprecated),
        get("/api/deprecated-features/used", Access::Manager, used),
    ]
}

/// Every flag, with its stability: the flag of the version itself can be lacking in a RabbitMQ of that version.
fn stabilities(call: &Call) -> impl Iterator<Item = (&'static str, &'static str)> {
    let versions = call.broker.config.profile().version_flags;
    let newest = versions.last().copied();
    let all = FLAGS.iter().chain(versions).copied();
    all.map(move |name| (name, if Some(name) == newest { "stable" } else { "required" }))
}

async fn flags(call: Call) -> Outcome {
    let rows = stabilities(&call).map(|(name, stability)| {
        let level = if stability == "required" { "hard" } else { "none" };
        json!({"name": name, "desc": "", "doc_url": "", "state": "enabled", "stability": stability,
            "require_level": level, "experiment_level": "supported", "callbacks": [], "provided_by": "rabbit"})
    });
    list::all(rows.collect::<Vec<Value>>(), &call.query, &["name"])
}

async fn enable(call: Call) -> Outcome {
    if stabilities(&call).any(|(name, _)| name == call.name("name")) {
        return Ok(Answer::done());
    }
    Err(ApiError::bad_request("unsupported"))
}

/// The deprecated features that `which` chooses, as a list.
fn deprecated_rows(call: &Call, which: impl Fn(&str) -> bool) -> Outcome {
    let chosen = DEPRECATED.iter().filter(|(name, ..)| which(name));
    let rows = chosen.map(|(name, state, phase)| {
        json!({"name": name, "desc": "", "state": state, "deprecation_phase": phase, "doc_url": "",
            "provided_by": "rabbit"})
    });
    list::all(rows.collect::<Vec<Value>>(), &call.query, &[])
}

async fn deprecated(call: Call) -> Outcome {
    deprecated_rows(&call, |_| true)
}

/// Use is not recorded, only seen: queues that are transient and not exclusive.
async fn used(call: Call) -> Outcome {
    let is_transient = |vhost: &Arc<VirtualHost>| {
        let topology = vhost.topology();
        topology.queues().any(|queue| !queue.definition().durable && queue.definition().exclusive_to.is_none())
    };
    let transient = call.broker.vhosts().iter().any(is_transient);
    deprecated_rows(&call, |name| transient && name == TRANSIENT)
}
