//! The node: its limits, its listeners, what it is made of.
//!
//! There is one. Fields that only an Erlang node has are there with a value that means nothing, since clients with typed
//! readers insist on them. Deliberately absent: counters and rates, which are statistics.

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::overview::{self, PRODUCT, contexts, exchange_types, runtime};
use super::route::{Access, Route, get};
use super::{list, totals};
use crate::broker::{Broker, Vitals};

/// Mechanisms by which clients log in, and what they are.
const MECHANISMS: [(&str, &str); 4] = [
    ("PLAIN", "user name and password"),
    ("AMQPLAIN", "user name and password in a table"),
    ("ANONYMOUS", "no name; from this machine, as guest"),
    ("EXTERNAL", "the client's certificate"),
];

/// Kinds of memory that RabbitMQ tells apart; here all is one.
const MEMORY: [&str; 25] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_procs",
    "quorum_queue_procs",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "metadata_store",
    "other_proc",
    "metrics",
    "mgmt_db",
    "mnesia",
    "quorum_ets",
    "metadata_store_ets",
    "other_ets",
    "binary",
    "msg_index",
    "code",
    "atom",
    "allocated_unused",
    "reserved_unallocated",
];

/// Queues inside RabbitMQ's statistics.
const METRICS_QUEUES: [&str; 8] = [
    "connection_closed",
    "channel_closed",
    "consumer_deleted",
    "exchange_deleted",
    "queue_deleted",
    "vhost_deleted",
    "node_node_deleted",
    "channel_consumer_deleted",
];

/// Figures that RabbitMQ tells the change of; here it is not recorded.
const STEADY: [&str; 5] = ["mem_used", "fd_used", "sockets_used", "proc_used", "disk_free"];

/// Figures of Erlang's machine, or of stores that are not here: always nothing.
const OF_ERLANG: [&str; 20] = [
    "gc_num",
    "gc_bytes_reclaimed",
    "context_switches",
    "io_read_count",
    "io_read_bytes",
    "io_read_avg_time",
    "io_write_count",
    "io_write_bytes",
    "io_write_avg_time",
    "io_sync_count",
    "io_sync_avg_time",
    "io_seek_count",
    "io_seek_avg_time",
    "io_reopen_count",
    "mnesia_ram_tx_count",
    "mnesia_disk_tx_count",
    "msg_store_read_count",
    "msg_store_write_count",
    "queue_index_read_count",
    "queue_index_write_count",
];

/// The limit of Erlang's processes unless it is configured, for readers that insist on one.
const PROCESSES_MAX: u64 = 1_048_576;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/nodes", Access::Monitoring, all),
        get("/api/nodes/{node}", Access::Monitoring, one),
        get("/api/nodes/{node}/memory", Access::Monitoring, memory),
        get("/api/nodes/{node}/memory/relative", Access::Monitoring, relative_memory),
        get("/api/nodes/{node}/memory/ets", Access::Monitoring, tables),
        get("/api/nodes/{node}/memory/ets/relative", Access::Monitoring, tables),
        get("/api/nodes/{node}/memory/ets/{filter}", Access::Monitoring, tables),
        get("/api/nodes/{node}/memory/ets/{filter}/relative", Access::Monitoring, tables),
    ]
}

/// Facts that take a look at the system, made where that harms nobody.
async fn vitals(call: &Call) -> Result<Vitals, ApiError> {
    let broker = call.broker.clone();
    let looked = tokio::task::spawn_blocking(move || broker.vitals()).await;
    looked.map_err(|error| ApiError::internal(error.to_string()))
}

/// The node as a row.
fn row(broker: &Broker, vitals: &Vitals) -> Map<String, Value> {
    let config = &broker.config;
    let offered = config.profile().mechanisms;
    let mechanisms: Vec<Value> = MECHANISMS
        .iter()
        .map(|(name, description)| {
            json!({"name": name, "description": description, "enabled": offered.split(' ').any(|word| word == *name)})
        })
        .collect();
    let mut row = figures(broker, vitals);
    row.extend(overview::zeroes(&OF_ERLANG));
    row.extend(totals::churn_of_node(broker));
    row.extend(overview::object(json!({
        "name": config.node_name,
        "type": "disc",
        "running": true,
        "being_drained": broker.node.in_maintenance(),
        "os_pid": std::process::id().to_string(),
        "partitions": [],
        "rates_mode": "basic",
        "exchange_types": exchange_types(broker),
        "auth_mechanisms": mechanisms,
        "applications": [{"name": "leveret", "description": PRODUCT, "version": env!("CARGO_PKG_VERSION")}],
        "contexts": contexts(broker),
        "log_files": log_files(broker),
        "db_dir": config.data_dir,
        "config_files": [],
        "net_ticktime": 60,
        "enabled_plugins": ["rabbitmq_management", "rabbitmq_prometheus", "rabbitmq_consistent_hash_exchange"],
        "cluster_links": [],
        "ra_open_file_metrics": {"ra_log_wal": 0, "ra_log_segment_writer": 0},
        "metrics_gc_queue_length": METRICS_QUEUES.iter().map(|name| ((*name).to_owned(), 0.into()))
            .collect::<Map<String, Value>>(),
    })));
    row.extend(runtime(broker));
    row
}

/// What is counted of the node, beside its limits.
fn figures(broker: &Broker, vitals: &Vitals) -> Map<String, Value> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let steady = STEADY.iter().map(|name| (format!("{name}_details"), json!({"rate": 0.0})));
    let mut figures = overview::object(json!({
        "uptime": broker.node.uptime(&broker.clock),
        "processors": processors,
        "run_queue": 0,
        "fd_total": vitals.files_limit,
        "fd_used": vitals.files_used,
        "sockets_total": vitals.files_limit,
        "sockets_used": broker.connections.len(),
        "proc_total": PROCESSES_MAX,
        "proc_used": broker.connections.len(),
        "mem_limit": vitals.memory_limit,
        "mem_used": vitals.memory_used,
        "mem_alarm": vitals.memory_alarm,
        "mem_calculation_strategy": "rss",
        "disk_free_limit": vitals.disk_free_limit,
        "disk_free": vitals.disk_free,
        "disk_free_alarm": vitals.disk_alarm,
    }));
    figures.extend(steady);
    figures
}

/// Where the log goes.
fn log_files(broker: &Broker) -> Vec<String> {
    match &broker.config.log_file {
        Some(file) => vec![file.display().to_string()],
        None => vec!["<stderr>".to_owned()],
    }
}

async fn all(call: Call) -> Outcome {
    let rows = vec![row(&call.broker, &vitals(&call).await?)];
    list::all(rows, &call.query, &["name"])
}

/// Refuses a node of another name.
fn named(call: &Call) -> Result<(), ApiError> {
    if call.name("node") == call.broker.config.node_name { Ok(()) } else { Err(ApiError::no_object()) }
}

async fn one(call: Call) -> Outcome {
    named(&call)?;
    list::one(&row(&call.broker, &vitals(&call).await?), &call.query)
}

/// Memory by kind, as far as RabbitMQ's kinds fit.
fn breakdown(of: impl Fn(&str) -> Value, total: &Value) -> Value {
    let mut memory: Map<String, Value> = MEMORY.iter().map(|kind| ((*kind).to_owned(), of(kind))).collect();
    memory.insert("other_system".to_owned(), of("other_system"));
    memory.insert("strategy".to_owned(), "rss".into());
    memory.insert("total".to_owned(), total.clone());
    json!({"memory": memory})
}

async fn memory(call: Call) -> Outcome {
    named(&call)?;
    let used = vitals(&call).await?.memory_used;
    let of = |kind: &str| if kind == "other_system" { used.into() } else { 0.into() };
    let total = json!({"erlang": used, "rss": used, "allocated": used});
    Ok(Answer::json(&breakdown(of, &total)))
}

async fn relative_memory(call: Call) -> Outcome {
    named(&call)?;
    let of = |kind: &str| if kind == "other_system" { 100.into() } else { 0.into() };
    let mut shares = breakdown(of, &100.into());
    if let Some(memory) = shares.get_mut("memory").and_then(Value::as_object_mut) {
        memory.remove("strategy");
    }
    Ok(Answer::json(&shares))
}

/// Erlang's tables in memory, of which there are none.
async fn tables(call: Call) -> Outcome {
    named(&call)?;
    Ok(Answer::json(&json!({"ets_tables_memory": "no_tables"})))
}
