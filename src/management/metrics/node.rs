//! Metrics of the node as a whole: what came and went, memory and disk, logins, and counts of all messages by protocol
//! and type of queue.
//!
//! What only Erlang has is 0, or what stands in its place: dashboards read the names.

use super::objects::Views;
use super::text::{Kind, Page, seconds};
use crate::broker::stats::{Event, QueueType, STRATEGIES};
use crate::broker::{Broker, Protocol};
use crate::queue::CAUSES;

/// The protocol that is spoken here, and those of RabbitMQ whose series its dashboards may look for.
const PROTOCOLS: [&str; 2] = ["amqp091", "amqp10"];

/// The types of queues whose series are there, those that are not here included.
const STREAM: &str = "rabbit_stream_queue";

/// Dead letters by cause, in the order in which they are counted.
const DEATHS: [&str; CAUSES] = ["rejected", "expired", "maxlen", "delivery_limit"];

/// What is handed out and comes back, in the order in which it is counted.
const HANDED: [(&str, &str); 7] = [
    ("global_messages_delivered_consume_auto_ack_total", "Delivered without acknowledgement"),
    ("global_messages_delivered_consume_manual_ack_total", "Delivered, to be acknowledged"),
    ("global_messages_delivered_get_auto_ack_total", "Got without acknowledgement"),
    ("global_messages_delivered_get_manual_ack_total", "Got, to be acknowledged"),
    ("global_messages_get_empty_total", "Asked for in vain"),
    ("global_messages_redelivered_total", "Handed out not for the first time"),
    ("global_messages_acknowledged_total", "Acknowledged"),
];

/// What came and went.
pub(super) fn churn(page: &mut Page, broker: &Broker) {
    let names = [
        ("connections_opened_total", "Connections opened"),
        ("connections_closed_total", "Connections closed"),
        ("channels_opened_total", "Channels opened"),
        ("channels_closed_total", "Channels closed"),
        ("queues_declared_total", "Queues declared"),
        ("queues_created_total", "Queues created"),
        ("queues_deleted_total", "Queues deleted"),
    ];
    for ((name, help), value) in names.into_iter().zip(broker.stats.churn.values()) {
        page.one(name, Kind::Counter, help, value);
    }
}

/// Memory, disk and descriptors in use.
pub(super) fn coarse(page: &mut Page, broker: &Broker) {
    let vitals = broker.vitals();
    page.one("process_open_fds", Kind::Gauge, "Open file descriptors", vitals.files_used);
    page.one("process_resident_memory_bytes", Kind::Gauge, "Memory in use, in octets", vitals.memory_used);
    page.one("disk_space_available_bytes", Kind::Gauge, "Room in the store, in octets", vitals.disk_free.unwrap_or(0));
    let tasks = tokio::runtime::Handle::try_current().map_or(0, |runtime| runtime.metrics().num_alive_tasks() as u64);
    page.one("erlang_processes_used", Kind::Gauge, "Tasks, in the place of Erlang processes", tasks);
    for name in ["erlang_gc_runs_total", "erlang_gc_reclaimed_bytes_total", "erlang_scheduler_context_switches_total"] {
        page.one(name, Kind::Counter, "Erlang only: none", 0);
    }
}

/// The limits of these, and the uptime.
pub(super) fn limits(page: &mut Page, broker: &Broker) {
    let vitals = broker.vitals();
    page.one("process_max_fds", Kind::Gauge, "Most file descriptors", vitals.files_limit);
    page.one("resident_memory_limit_bytes", Kind::Gauge, "Memory above which publishers wait", vitals.memory_limit);
    page.one(
        "disk_space_available_limit_bytes",
        Kind::Gauge,
        "Room below which publishers wait",
        vitals.disk_free_limit,
    );
    for (name, value) in
        [("erlang_processes_limit", 1 << 20), ("erlang_scheduler_run_queue", 0), ("erlang_net_ticktime_seconds", 60)]
    {
        page.one(name, Kind::Gauge, "Erlang only: a constant", value);
    }
    page.family("erlang_uptime_seconds", Kind::Gauge, "Seconds since the start");
    page.float("erlang_uptime_seconds", &[], seconds(broker.node.uptime(&broker.clock), 1_000.0));
}

/// Reading and writing; what only RabbitMQ's files have is 0.
pub(super) fn persister(page: &mut Page, broker: &Broker, views: &Views) {
    let commits = &broker.stats.commits;
    let (times, sizes) = (commits.times.spread(), commits.sizes.spread());
    let mut tally = views.gone.figures.tally;
    views.queues.iter().for_each(|queue| tally.add(&queue.figures.tally));
    for (name, value) in [
        ("io_read_ops_total", 0),
        ("io_read_bytes_total", 0),
        ("io_write_ops_total", times.count()),
        ("io_write_bytes_total", sizes.sum),
        ("io_sync_ops_total", times.count()),
        ("io_seek_ops_total", 0),
        ("io_reopen_ops_total", 0),
        ("schema_db_ram_tx_total", 0),
        ("schema_db_disk_tx_total", times.count()),
        ("msg_store_read_total", tally.disk_reads),
        ("msg_store_write_total", tally.disk_writes),
        ("queue_index_read_ops_total", 0),
        ("queue_index_write_ops_total", 0),
    ] {
        page.one(name, Kind::Counter, "Operations of the store", value);
    }
    for (name, micros) in [
        ("io_read_time_seconds_total", 0),
        ("io_write_time_seconds_total", 0),
        ("io_sync_time_seconds_total", times.sum),
        ("io_seek_time_seconds_total", 0),
    ] {
        page.family(name, Kind::Counter, "Time that the store took for operations");
        page.float(name, &[], seconds(micros, 1_000_000.0));
    }
}

/// Reads a count from logins that succeeded and that failed.
type Read = fn((u64, u64)) -> u64;

/// Logins.
pub(super) fn logins(page: &mut Page, broker: &Broker) {
    let metrics: [(&str, &str, Read); 3] = [
        ("auth_attempts_total", "Logins", |(succeeded, failed)| succeeded.saturating_add(failed)),
        ("auth_attempts_succeeded_total", "Logins that were let in", |(succeeded, _)| succeeded),
        ("auth_attempts_failed_total", "Logins that were refused", |(_, failed)| failed),
    ];
    for (name, help, read) in metrics {
        page.family(name, Kind::Counter, help);
        for protocol in Protocol::ALL {
            page.sample(name, &[("protocol", protocol.as_str())], read(broker.attempts.of(protocol)));
        }
    }
}

/// Alarms.
pub(super) fn alarms(page: &mut Page, broker: &Broker) {
    for (name, up) in [
        ("alarms_free_disk_space_watermark", broker.alarms.short_of_room()),
        ("alarms_memory_used_watermark", broker.alarms.short_of_memory()),
        ("alarms_file_descriptor_limit", false),
    ] {
        page.one(name, Kind::Untyped, "1 while the alarm is up", u64::from(up));
    }
    page.one("unreachable_cluster_peers_count", Kind::Gauge, "One node has no peers", 0);
}

#[allow(clippy::cast_precision_loss)] // RabbitMQ prints these as floats
fn by_protocol(page: &mut Page, name: &str, kind: Kind, help: &str, value: u64) {
    page.family(name, kind, help);
    for protocol in PROTOCOLS {
        let value = if protocol == "amqp091" { value as f64 } else { 0.0 };
        page.float(name, &[("protocol", protocol)], value);
    }
}

#[allow(clippy::cast_precision_loss)] // RabbitMQ prints these as floats
fn by_queue_type(page: &mut Page, name: &str, help: &str, of: impl Fn(QueueType) -> u64) {
    page.family(name, Kind::Counter, help);
    for protocol in PROTOCOLS {
        let spoken = protocol == "amqp091";
        for kind in QueueType::ALL {
            let value = if spoken { of(kind) as f64 } else { 0.0 };
            page.float(name, &[("protocol", protocol), ("queue_type", kind.label())], value);
        }
        page.float(name, &[("protocol", protocol), ("queue_type", STREAM)], 0.0);
    }
}

/// Counts of all messages.
pub(super) fn global(page: &mut Page, broker: &Broker, views: &Views) {
    let sums = &views.sums;
    let [received, confirmed, returned, dropped] =
        [Event::Publish, Event::Confirm, Event::ReturnUnroutable, Event::DropUnroutable].map(|event| sums.event(event));
    let [_, _, consumers, _] = views.counts();
    by_protocol(page, "global_publishers", Kind::Gauge, "Channels that have published", views.publishers);
    by_protocol(page, "global_consumers", Kind::Gauge, "Consumers", consumers);
    let routed = received.saturating_sub(returned).saturating_sub(dropped);
    for (name, help, value) in [
        ("global_messages_received_total", "Published", received),
        ("global_messages_received_confirm_total", "Published, to be confirmed", sums.to_confirm),
        ("global_messages_routed_total", "Published and routed to a queue", routed),
        ("global_messages_confirmed_total", "Confirmed", confirmed),
        ("global_messages_unroutable_dropped_total", "Routed nowhere and dropped", dropped),
        ("global_messages_unroutable_returned_total", "Routed nowhere and returned", returned),
    ] {
        by_protocol(page, name, Kind::Counter, help, value);
    }
    by_queue_type(page, "global_messages_delivered_total", "Handed out", |kind| {
        sums.handed.get(kind as usize).map_or(0, |handed| handed.iter().take(4).sum())
    });
    for (place, (name, help)) in HANDED.into_iter().enumerate() {
        by_queue_type(page, name, help, |kind| {
            sums.handed.get(kind as usize).and_then(|handed| handed.get(place)).copied().unwrap_or(0)
        });
    }
    dead_letters(page, broker);
    page.family("message_size_bytes", Kind::Histogram, "Sizes of published messages, in octets");
    for protocol in PROTOCOLS {
        let none = crate::stats::Spread { counts: vec![0; sums.sizes.counts.len()], sum: 0, ..sums.sizes.clone() };
        let spread = if protocol == "amqp091" { &sums.sizes } else { &none };
        page.histogram("message_size_bytes", &[("protocol", protocol)], spread);
    }
}

#[allow(clippy::cast_precision_loss)] // RabbitMQ prints these as floats
fn dead_letters(page: &mut Page, broker: &Broker) {
    let types = [(QueueType::Classic, false), (QueueType::Quorum, true)];
    for (place, cause) in DEATHS.into_iter().enumerate() {
        let name = format!("global_messages_dead_lettered_{cause}_total");
        page.family(&name, Kind::Counter, "Messages that died, by what is done with them");
        for (kind, quorum) in types {
            let deaths = broker.stats.deaths(quorum);
            for (strategy, causes) in STRATEGIES.into_iter().zip(&deaths) {
                // Only quorum queues limit deliveries, and see to it that letters arrive.
                if quorum || (strategy != "at_least_once" && cause != "delivery_limit") {
                    let value = causes.get(place).copied().unwrap_or(0) as f64;
                    page.float(&name, &[("queue_type", kind.label()), ("dead_letter_strategy", strategy)], value);
                }
            }
        }
    }
    let name = "global_messages_dead_lettered_confirmed_total";
    page.family(name, Kind::Counter, "Dead letters that arrived");
    let labels = [("queue_type", QueueType::Quorum.label()), ("dead_letter_strategy", "at_least_once")];
    page.float(name, &labels, broker.stats.letters_confirmed.get() as f64);
}

/// How many things there are.
pub(super) fn totals(page: &mut Page, views: &Views) {
    let names = ["connections", "channels", "consumers", "queues"];
    for (name, count) in names.into_iter().zip(views.counts()) {
        page.one(name, Kind::Gauge, "How many there are", count);
    }
}
