//! Metrics: names that dashboards read, labels, sums that never fall, and what RabbitMQ lacks.

use std::collections::{BTreeMap, BTreeSet};

use lapin::options::{BasicAckOptions, BasicRejectOptions};

use crate::client::{int, next, none, persistent, table};
use crate::http::scenario;

/// Every metric that the RabbitMQ-Overview dashboard reads.
const DASHBOARD: &str = include_str!("dashboard.txt");

/// Every metric that a RabbitMQ 4.3.6 with traffic shows, but those of Raft and of Erlang's machine: name, type, labels.
const FAMILIES: &str = include_str!("families.txt");

/// Those that are not here, with the reason.
const ABSENT: &[(&str, &str)] = &[
    ("rabbitmq_queue_head_message_timestamp", "a sum of times says nothing; a single queue has it"),
    ("rabbitmq_stream_segments", "streams are not here"),
    ("rabbitmq_stream_consumer_max_offset_lag", "streams are not here"),
];

/// What the labels of a family may be followed by.
const MORE: [&str; 1] = [",product_version,product_name"];

/// Names of the samples of a page.
fn names(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(['{', ' ']).next().unwrap()).collect()
}

#[test]
fn every_metric_of_the_dashboard_is_there_from_the_start() {
    scenario(async |_, _, api| {
        for path in ["/metrics", "/metrics/"] {
            let text = api.metrics(path).await;
            let names = names(&text);
            for name in DASHBOARD.lines() {
                assert!(names.contains(name), "{name} is missing");
            }
            assert_eq!(text.matches("\nrabbitmq_identity_info{").count(), 1, "dashboards join with it");
            assert!(text.contains("rabbitmq_endpoint=\"aggregated\"} 1\n"));
        }
        let on_management = api.get("/metrics").await;
        on_management.is(200);
        assert_eq!(on_management.header("content-type"), Some("text/plain; version=0.0.4"));
    });
}

/// Types and labels of the families of a page, `le` aside.
fn families(text: &str) -> BTreeMap<&str, (&str, BTreeSet<String>)> {
    let mut families: BTreeMap<&str, (&str, BTreeSet<String>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name).or_default().0 = kind;
        } else if !line.starts_with('#') {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let name = family.filter(|family| families.contains_key(family)).unwrap_or(name);
            let labels = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(label, _)| label);
            let labels: Vec<_> = labels.filter(|label| *label != "le").collect();
            families.entry(name).or_default().1.insert(labels.join(","));
        }
    }
    families
}

fn is_of(here: &str, labels: &str) -> bool {
    here.strip_prefix(labels).is_some_and(|more| more.is_empty() || MORE.contains(&more))
}

#[test]
fn every_metric_of_rabbitmq_is_there_with_its_type_and_labels() {
    scenario(async |_, client, api| {
        client.queue("q", none()).await;
        client.put_all("q", &["1"]).await;
        let pages = [api.metrics("/metrics").await, api.metrics("/metrics/detailed?family=queue_coarse_metrics").await];
        let here = [families(&pages[0]), families(&pages[1])];
        let mut wrong = Vec::new();
        for line in FAMILIES.lines() {
            let mut words = line.split(' ');
            let (name, kind, labels) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
            if ABSENT.iter().any(|(absent, _)| *absent == name) {
                continue;
            }
            let page = &here[usize::from(name.starts_with("rabbitmq_detailed_"))];
            match page.get(name) {
                None => wrong.push(format!("{name} is missing")),
                Some((here, _)) if *here != kind => wrong.push(format!("{name} is of type {here}, not {kind}")),
                Some((_, here)) if here.iter().any(|here| !is_of(here, labels)) => {
                    wrong.push(format!("{name} has labels {here:?}, not {labels}"));
                }
                Some(_) => {}
            }
        }
        assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    });
}

#[test]
fn pages_are_well_formed() {
    scenario(async |_, client, api| {
        client.queue("q", none()).await;
        client.put_all("q", &["1"]).await;
        for path in
            ["/metrics", "/metrics/per-object", "/metrics/memory-breakdown", "/metrics/detailed?family=queue_metrics"]
        {
            let text = api.metrics(path).await;
            let mut known = BTreeSet::new();
            for line in text.lines() {
                if let Some(rest) = line.strip_prefix("# TYPE ") {
                    assert!(known.insert(rest.split(' ').next().unwrap()), "{path}: twice: {line}");
                } else if !line.starts_with('#') {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    assert!(value.parse::<f64>().is_ok(), "{path}: {line}");
                    let name = name.split('{').next().unwrap();
                    let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                    assert!(known.contains(name) || family.is_some_and(|f| known.contains(f)), "{path}: {line}");
                }
            }
            assert!(text.ends_with('\n'));
        }
    });
}

#[test]
fn messages_are_counted_by_protocol_and_type_and_stay_counted() {
    scenario(async |broker, client, api| {
        client.queue("q", none()).await;
        let worker = broker.client().await;
        worker.put_as("q", "1234", persistent()).await;
        worker.put_as("nowhere", "x", persistent()).await;
        let mut consumer = worker.consume("q").await;
        next(&mut consumer).await.ack(BasicAckOptions::default()).await.unwrap();
        let of = |name: &str, value: &str| format!("rabbitmq_global_messages_{name}{{protocol=\"amqp091\"}} {value}");
        let typed = |name: &str, value: &str| {
            format!(
                "rabbitmq_global_messages_{name}{{protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"}} {value}"
            )
        };
        let lines = [
            of("received_total", "2.0"),
            of("received_confirm_total", "2.0"),
            of("confirmed_total", "2.0"),
            of("routed_total", "1.0"),
            of("unroutable_dropped_total", "1.0"),
            typed("delivered_total", "1.0"),
            typed("delivered_consume_manual_ack_total", "1.0"),
            typed("redelivered_total", "0.0"),
            "rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"100.0\"} 2".to_owned(),
            "rabbitmq_message_size_bytes_sum{protocol=\"amqp091\"} 5".to_owned(),
            "rabbitmq_queue_messages_published_total 1".to_owned(),
            "rabbitmq_connections_opened_total 2".to_owned(),
            "rabbitmq_queues_created_total 1".to_owned(),
            "rabbitmq_auth_attempts_succeeded_total{protocol=\"amqp091\"} 2".to_owned(),
        ];
        let text = api.metrics_with("/metrics", &typed("acknowledged_total", "1.0")).await;
        for line in &lines {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        drop(consumer);
        worker.connection.close(200, "".into()).await.unwrap();
        api.delete("/api/queues/%2F/q").await.is(204);
        let text = api.metrics_with("/metrics", "rabbitmq_connections_closed_total 1").await;
        for line in lines.iter().chain([&typed("acknowledged_total", "1.0")]) {
            assert!(text.lines().any(|known| known == line), "what has gone stays counted: {line}\n{text}");
        }
        assert!(text.contains("\nrabbitmq_queues 0\n") && text.contains("\nrabbitmq_queues_deleted_total 1\n"));
    });
}

#[test]
fn objects_have_labels_and_hostile_names_stay_within_them() {
    scenario(async |_, client, api| {
        client.queue("a\"} 1\\x", none()).await;
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2"]).await;
        let text = api.metrics("/metrics/per-object").await;
        assert!(text.contains("rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"q\"} 2\n"), "{text}");
        assert!(text.contains("rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"a\\\"} 1\\\\x\"} 0\n"), "{text}");
        assert!(text.contains(
            "rabbitmq_queue_info{vhost=\"/\",queue=\"q\",queue_type=\"rabbit_classic_queue\",membership=\"leader\"} 1\n"
        ));
        assert!(text.contains("rabbitmq_channel_messages_published_total{channel=\"<0."), "{text}");
        assert!(text.contains("rabbitmq_connection_incoming_bytes_total{connection=\"<0."), "{text}");
        assert!(text.contains("rabbitmq_endpoint=\"per-object\"} 1\n"));
    });
}

#[test]
fn detailed_metrics_are_chosen_by_family_vhost_and_name() {
    scenario(async |broker, client, api| {
        broker.inside().create_vhost("other", leveret::broker::VhostSettings::default()).await.unwrap();
        api.put("/api/queues/other/there", r#"{"durable":true}"#).await.is(201);
        client.queue("here", none()).await;
        let text = api.metrics("/metrics/detailed?family=queue_coarse_metrics&family=exchange_names").await;
        assert!(text.contains("rabbitmq_detailed_queue_messages_ready{vhost=\"other\",queue=\"there\"} 0\n"));
        assert!(text.contains("rabbitmq_cluster_exchange_name{vhost=\"/\",exchange=\"amq.topic\"} 1\n"));
        assert!(text.contains("rabbitmq_detailed_queue_info{") && !text.contains("queue_consumers"));
        let text = api.metrics("/metrics/detailed?family=queue_consumer_count&vhost=other").await;
        assert!(text.contains("rabbitmq_detailed_queue_consumers{vhost=\"other\",queue=\"there\"} 0\n"), "{text}");
        assert!(!text.contains("vhost=\"/\""), "{text}");
        let text = api.metrics("/metrics/detailed?family=queue_metrics&queue=^h.re$").await;
        assert!(text.contains("queue=\"here\"") && !text.contains("queue=\"there\""), "{text}");
        let text = api.metrics("/metrics/detailed").await;
        assert!(text.contains("rabbitmq_endpoint=\"detailed\"} 1\n") && !text.contains("rabbitmq_detailed_queue"));
    });
}

#[test]
fn ages_times_and_deaths_are_told() {
    scenario(async |broker, client, api| {
        client.queue("q", table([("x-message-ttl", int(600_000))])).await;
        client.put_all("q", &["1", "2"]).await;
        broker.pass(20_000);
        let text = api.metrics("/metrics").await;
        let oldest = |text: &str, name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}\n{text}"));
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        let age = oldest(&text, "leveret_queue_oldest_ready_message_age_seconds");
        assert!((20.0..60.0).contains(&age), "{age}");
        let mut consumer = client.consume("q").await;
        let (first, second) = (next(&mut consumer).await, next(&mut consumer).await);
        broker.pass(40_000);
        let text = api.metrics_with("/metrics", "rabbitmq_queue_messages_unacked 2").await;
        let age = oldest(&text, "leveret_channel_oldest_unacked_age_seconds");
        assert!((40.0..80.0).contains(&age), "{age}");
        assert!(text.contains("leveret_message_time_in_queue_seconds_bucket{le=\"5.0\"} 0\n"), "{text}");
        assert!(text.contains("leveret_message_time_in_queue_seconds_bucket{le=\"300.0\"} 2\n"), "{text}");
        first.ack(BasicAckOptions::default()).await.unwrap();
        second.reject(BasicRejectOptions { requeue: false }).await.unwrap();
        let text = api.metrics_with("/metrics", "leveret_messages_dead_lettered_total{cause=\"rejected\"} 1").await;
        assert!(text.contains("leveret_message_time_to_ack_seconds_count 1\n"), "{text}");
        let lost = "rabbitmq_global_messages_dead_lettered_rejected_total{queue_type=\"rabbit_classic_queue\",dead_letter_strategy=\"disabled\"} 1.0\n";
        assert!(text.contains(lost), "{text}");
        let listed = api.metrics("/metrics/per-object").await;
        assert!(
            listed
                .contains("leveret_queue_messages_dead_lettered_total{vhost=\"/\",queue=\"q\",cause=\"rejected\"} 1\n")
        );
        assert!(listed.contains("leveret_queue_message_time_in_queue_seconds_count{vhost=\"/\",queue=\"q\"} 2\n"));
    });
}
