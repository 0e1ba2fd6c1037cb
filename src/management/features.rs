//! Feature flags and deprecated features: what a client may count on.
//!
//! RabbitMQ's flags tell apart nodes of mixed versions; here every flag is on, and none can be switched. Clients look for
//! names, so RabbitMQ's stand here, without its sentences.

use serde_json::{Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::list;
use super::route::{Access, Route, get, put};

/// Flags of RabbitMQ that describe what is here.
const FLAGS: [&str; 33] = [
    "classic_mirrored_queue_version",
    "classic_queue_type_delivery_support",
    "detailed_queues_endpoint",
    "direct_exchange_routing_v2",
    "drop_unroutable_metric",
    "empty_basic_get_metric",
    "feature_flags_v2",
    "implicit_default_bindings",
    "khepri_db",
    "listener_records_in_ets",
    "maintenance_mode_status",
    "message_containers",
    "message_containers_deaths_v2",
    "message_containers_store_amqp_v1",
    "quorum_queue",
    "quorum_queue_non_voters",
    "quorum_queues_v4",
    "rabbit_exchange_type_local_random",
    "rabbitmq_4.0.0",
    "rabbitmq_4.1.0",
    "rabbitmq_4.2.0",
    "rabbitmq_4.3.0",
    "restart_streams",
    "stream_filtering",
    "stream_queue",
    "stream_sac_coordinator_unblock_group",
    "stream_single_active_consumer",
    "stream_update_config_command",
    "topic_binding_projection_v4",
    "track_qq_members_uids",
    "tracking_records_in_ets",
    "user_limits",
    "virtual_host_metadata",
];

/// Deprecated features, and whether they are still there.
const DEPRECATED: [(&str, &str, &str); 9] = [
    ("amqp_address_v1", "denied", "denied_by_default"),
    ("amqp_filter_set_bug", "denied", "denied_by_default"),
    ("classic_queue_mirroring", "removed", "removed"),
    ("global_qos", "permitted", "permitted_by_default"),
    ("management_metrics_collection", "permitted", "permitted_by_default"),
    ("queue_master_locator", "permitted", "permitted_by_default"),
    ("ram_node_type", "removed", "removed"),
    ("transient_nonexcl_queues", "permitted", "permitted_by_default"),
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

/// What of RabbitMQ's is not here, whatever a flag may say.
fn is_absent(name: &str) -> bool {
    name.contains("stream") || name == "khepri_db"
}

async fn flags(call: Call) -> Outcome {
    let rows = FLAGS.iter().filter(|name| !is_absent(name)).map(|name| {
        json!({"name": name, "desc": "", "doc_url": "", "state": "enabled", "stability": "required",
            "require_level": "hard", "experiment_level": "supported", "callbacks": [], "provided_by": "rabbit"})
    });
    list::all(rows.collect::<Vec<Value>>(), &call.query, &["name"])
}

async fn enable(call: Call) -> Outcome {
    if FLAGS.contains(&call.name("name")) && !is_absent(call.name("name")) {
        return Ok(Answer::done());
    }
    Err(ApiError::bad_request("unsupported"))
}

async fn deprecated(call: Call) -> Outcome {
    let rows = DEPRECATED.iter().map(|(name, state, phase)| {
        json!({"name": name, "desc": "", "state": state, "deprecation_phase": phase, "doc_url": "",
            "provided_by": "rabbit"})
    });
    list::all(rows.collect::<Vec<Value>>(), &call.query, &[])
}

/// Use is not recorded.
async fn used(_: Call) -> Outcome {
    Ok(Answer::json(&json!([])))
}
