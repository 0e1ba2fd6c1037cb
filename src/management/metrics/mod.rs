//! Metrics for Prometheus, by the names of RabbitMQ's plugin, and some of this broker's own.
//!
//! `/metrics` sums everything up, `/metrics/per-object` lists every queue, channel, connection and exchange,
//! `/metrics/detailed` lists the families that are asked for, `/metrics/memory-breakdown` says what memory is held for.
//! The listener for metrics serves them to anybody, since scrapers log in nowhere; the management listener to monitors.
//! Nothing is kept between two scrapes. Deliberately absent: metrics of the Erlang virtual machine.

mod node;
mod objects;
mod own;
mod text;

use std::sync::Arc;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::IntoResponse;

use self::objects::Views;
use self::text::{Kind, Page};
use super::answer::Answer;
use super::call::Call;
use super::query::Query;
use super::route::{Access, Route, get};
use crate::broker::{Broker, VirtualHost};

/// The type of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4";

/// What most names begin with.
const PREFIX: &str = "rabbitmq_";

/// Which page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Aggregated,
    PerObject,
    Detailed,
    MemoryBreakdown,
}

/// The pages and their paths.
const ENDPOINTS: [(&str, Endpoint); 4] = [
    ("/metrics", Endpoint::Aggregated),
    ("/metrics/per-object", Endpoint::PerObject),
    ("/metrics/detailed", Endpoint::Detailed),
    ("/metrics/memory-breakdown", Endpoint::MemoryBreakdown),
];

pub(super) fn routes() -> Vec<Route> {
    let route = |(path, endpoint)| {
        get(path, Access::Monitoring, move |call: Call| async move {
            Ok(Answer::text(page(&call.broker, endpoint, &call.query), TEXT))
        })
    };
    ENDPOINTS.into_iter().map(route).collect()
}

/// The service of the listener for metrics, which anybody may read.
pub fn router(broker: &Arc<Broker>) -> Router {
    let mut router = Router::new();
    for (path, endpoint) in ENDPOINTS {
        let broker = broker.clone();
        let serve = move |RawQuery(query): RawQuery| async move {
            let text = page(&broker, endpoint, &Query::parse(query.as_deref().unwrap_or_default()));
            ([(CONTENT_TYPE, TEXT), (X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
        };
        router =
            router.route(path, axum::routing::get(serve.clone())).route(&format!("{path}/"), axum::routing::get(serve));
    }
    router
}

impl Endpoint {
    fn as_str(self) -> &'static str {
        match self {
            Self::Aggregated => "aggregated",
            Self::PerObject => "per-object",
            Self::Detailed => "detailed",
            Self::MemoryBreakdown => "memory-breakdown",
        }
    }
}

fn page(broker: &Broker, endpoint: Endpoint, query: &Query) -> String {
    let mut page = Page::new(PREFIX);
    match endpoint {
        Endpoint::Aggregated => aggregated(&mut page, broker),
        Endpoint::PerObject => per_object(&mut page, broker),
        Endpoint::Detailed => detailed(&mut page, broker, query),
        Endpoint::MemoryBreakdown => memory_breakdown(&mut page, broker),
    }
    page.begin_with(PREFIX);
    identity(&mut page, broker, endpoint);
    page.finish()
}

/// What every page has of the node.
fn of_node(page: &mut Page, broker: &Broker, views: &Views) {
    node::churn(page, broker);
    node::coarse(page, broker);
    node::limits(page, broker);
    node::persister(page, broker, views);
    node::logins(page, broker);
}

fn aggregated(page: &mut Page, broker: &Broker) {
    let views = Views::of(broker, &broker.vhosts());
    of_node(page, broker, &views);
    views.summed(page);
    node::totals(page, &views);
    node::global(page, broker, &views);
    node::alarms(page, broker);
    own::summed(page, broker, &views);
}

fn per_object(page: &mut Page, broker: &Broker) {
    let views = Views::of(broker, &broker.vhosts());
    of_node(page, broker, &views);
    views.listed(page, &|_| true);
    node::totals(page, &views);
    views.queue_infos(page);
    node::global(page, broker, &views);
    node::alarms(page, broker);
    own::listed(page, broker, &views);
}

/// A part of a page that is of the node as a whole.
type Part = fn(&mut Page, &Broker);

/// The virtual hosts that a query chooses: all, unless it names some.
fn chosen(broker: &Broker, query: &Query) -> Vec<Arc<VirtualHost>> {
    let mut vhosts = broker.vhosts();
    if query.get("vhost").is_some() {
        vhosts.retain(|vhost| query.all("vhost").any(|name| *name == *vhost.name));
    }
    vhosts
}

fn detailed(page: &mut Page, broker: &Broker, query: &Query) {
    let vhosts = chosen(broker, query);
    let mut views = Views::of(broker, &vhosts);
    if let Some(pattern) = query.get("queue") {
        views.keep_queues(pattern);
    }
    let wanted = |family: &str| query.all("family").any(|asked| asked == family);
    page.begin_with("rabbitmq_detailed_");
    let parts: [(&str, Part); 4] = [
        ("connection_churn_metrics", node::churn),
        ("node_coarse_metrics", node::coarse),
        ("node_metrics", node::limits),
        ("auth_attempt_metrics", node::logins),
    ];
    for (family, write) in parts {
        if wanted(family) {
            write(page, broker);
        }
    }
    if wanted("node_persister_metrics") {
        node::persister(page, broker, &views);
    }
    views.listed(page, &wanted);
    if ["queue_coarse_metrics", "queue_consumer_count", "queue_metrics"].into_iter().any(wanted) {
        views.queue_infos(page);
    }
    page.begin_with("rabbitmq_cluster_");
    views.cluster(page, &vhosts, &wanted);
}

/// What RabbitMQ's parts of memory come to here, and the ledger of this broker's own.
fn memory_breakdown(page: &mut Page, broker: &Broker) {
    let used = broker.vitals().memory_used;
    let [(_, messages), (_, deliveries), (_, journals)] = own::ledger_rows(broker);
    let known = messages.saturating_add(deliveries);
    for (name, octets) in [
        ("memory_binary_heap_bytes", messages),
        ("memory_client_connection_writer_bytes", deliveries),
        ("memory_message_index_bytes", journals),
        ("memory_other_system_bytes", used.saturating_sub(known)),
    ] {
        page.one(name, Kind::Gauge, "Octets of memory", octets);
    }
    for name in [
        "memory_code_module_bytes",
        "memory_client_connection_reader_bytes",
        "memory_client_connection_channel_bytes",
        "memory_client_connection_other_bytes",
        "memory_classic_queue_erlang_process_bytes",
        "memory_quorum_queue_erlang_process_bytes",
        "memory_quorum_queue_dlx_erlang_process_bytes",
        "memory_stream_erlang_process_bytes",
        "memory_stream_replica_reader_erlang_process_bytes",
        "memory_stream_coordinator_erlang_process_bytes",
        "memory_plugin_bytes",
        "memory_modern_metadata_store_bytes",
        "memory_other_erlang_process_bytes",
        "memory_metrics_bytes",
        "memory_management_stats_db_bytes",
        "memory_classic_metadata_store_bytes",
        "memory_quorum_queue_ets_table_bytes",
        "memory_modern_metadata_store_ets_table_bytes",
        "memory_other_ets_table_bytes",
        "memory_atom_table_bytes",
        "memory_runtime_allocated_unused_bytes",
        "memory_runtime_reserved_unallocated_bytes",
    ] {
        page.one(name, Kind::Gauge, "Erlang only: none", 0);
    }
    page.begin_with("leveret_");
    own::memory(page, broker);
}

/// Who this is: dashboards join every series with it.
fn identity(page: &mut Page, broker: &Broker, endpoint: Endpoint) {
    let config = &broker.config;
    page.family("build_info", Kind::Untyped, "Versions");
    let version = config.profile().version;
    let labels = [
        ("rabbitmq_version", version),
        ("prometheus_plugin_version", version),
        ("prometheus_client_version", "none"),
        ("erlang_version", "none"),
        ("product_version", env!("CARGO_PKG_VERSION")),
        ("product_name", super::overview::PRODUCT),
    ];
    page.sample("build_info", &labels, 1);
    page.family("identity_info", Kind::Untyped, "Names of the node and its cluster");
    let labels = [
        ("rabbitmq_node", config.node_name.as_str()),
        ("rabbitmq_cluster", config.cluster_name.as_str()),
        ("rabbitmq_cluster_permanent_id", config.cluster_name.as_str()),
        ("rabbitmq_endpoint", endpoint.as_str()),
    ];
    page.sample("identity_info", &labels, 1);
}
