//! Loads that end well: everything published is consumed, and the files say so.

use serde_json::Value;

use crate::{Broker, json};

/// Totals of a load that ends by its counts.
async fn totals(line: &str) -> Value {
    let broker = Broker::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("figures.json");
    broker.perf(&format!("load {line} --json {}", file.display())).await.fine();
    broker.0.stop().await.unwrap();
    json(&file)["outcome"].take()
}

fn counts(outcome: &Value) -> [u64; 5] {
    ["published", "confirmed", "nacked", "returned", "consumed"].map(|name| outcome["total"][name].as_u64().unwrap())
}

#[tokio::test]
async fn everything_published_is_confirmed_consumed_and_timed() {
    let broker = Broker::start();
    let dir = tempfile::tempdir().unwrap();
    let (figures, drawing) = (dir.path().join("figures.json"), dir.path().join("drawing.svg"));
    let line = format!(
        "load -x 2 -y 1 -C 1000 -D 2000 -c 100 -A 10 -q 50 -s 0,100 -f persistent --latency --pid {} --json {} --svg {}",
        std::process::id(),
        figures.display(),
        drawing.display()
    );
    let out = broker.perf(&line).await.fine();
    assert!(out.contains("consumed share of published: 100.0 %"), "{out}");
    assert!(out.contains("CPU a message: broker ") && out.contains("p99.99"), "{out}");
    let outcome = json(&figures)["outcome"].take();
    assert_eq!(counts(&outcome), [2000, 2000, 0, 0, 2000]);
    for times in ["end_to_end", "confirm"] {
        let times = &outcome[times];
        assert_eq!(times["count"], 2000);
        let of = |name: &str| times[name].as_f64().unwrap();
        assert!(of("p50") > 0.0 && of("p50") <= of("p99") && of("p99") <= of("max"), "{times}");
    }
    assert_eq!(outcome["window"], outcome["total"], "a counted run has no warm-up");
    assert!(outcome["points"].as_array().is_some_and(|points| !points.is_empty()));
    let drawing = std::fs::read_to_string(drawing).unwrap();
    assert!(drawing.starts_with("<svg") && drawing.trim_end().ends_with("</svg>"));
    assert!(drawing.contains("end-to-end latency") && drawing.contains("confirm latency"));
    for tag in ["text", "g"] {
        assert_eq!(
            drawing.matches(&format!("<{tag} ")).count(),
            drawing.matches(&format!("</{tag}>")).count(),
            "{tag}"
        );
    }
    broker.0.stop().await.unwrap();
}

#[tokio::test]
async fn a_run_counted_by_publishers_ends_when_consumers_have_it_all() {
    let outcome = totals("-x 3 -y 2 -C 700 -a").await;
    assert_eq!(counts(&outcome), [2100, 0, 0, 0, 2100]);
}

#[tokio::test]
async fn a_run_counted_by_consumers_ends_when_they_have_enough() {
    let outcome = totals("-x 1 -y 2 -D 500 -A 7").await;
    let [published, .., consumed] = counts(&outcome);
    assert!(published >= 1000 && consumed == 1000, "{outcome}");
}

#[tokio::test]
async fn large_bodies_go_in_many_frames() {
    let outcome = totals("-C 8 -D 8 -c 2 -s 0,131064,131065,3MiB").await;
    assert_eq!(counts(&outcome), [8, 8, 0, 0, 8]);
}

#[tokio::test]
async fn producers_and_consumers_are_spread_over_queues() {
    let outcome =
        totals("-x 3 -y 3 -C 100 -D 100 --queue-pattern q-%d --queue-pattern-from 7 --queue-pattern-to 9").await;
    assert_eq!(counts(&outcome), [300, 0, 0, 0, 300]);
}

#[tokio::test]
async fn an_exchange_is_declared_and_bound() {
    let outcome = totals(
        "-x 2 -y 3 -C 50 -D 100 -e perf -t fanout --random-routing-key --queue-pattern q-%d --queue-pattern-to 3",
    )
    .await;
    assert_eq!(counts(&outcome), [100, 0, 0, 0, 300], "each of three queues gets all");
    let outcome = totals("-C 50 -D 50 -e amq.topic -t topic -k a.b").await;
    assert_eq!(counts(&outcome), [50, 0, 0, 0, 50]);
}

#[tokio::test]
async fn mandatory_messages_that_no_queue_takes_come_back() {
    let outcome = totals("-y 0 -C 20 -c 5 -f mandatory -k nowhere").await;
    assert_eq!(counts(&outcome), [20, 20, 0, 20, 0]);
}

#[tokio::test]
async fn rates_hold_on_both_sides() {
    // A hundred messages, the last of which is due 99 ms after the first.
    let outcome = totals("-C 100 -D 100 -r 1000 -R 2000 -c 10 --latency").await;
    assert_eq!(counts(&outcome), [100, 100, 0, 0, 100]);
    assert!(outcome["seconds"].as_f64().unwrap() >= 0.099, "{outcome}");
}

#[tokio::test]
async fn rates_and_sizes_that_vary() {
    let outcome =
        totals("-C 300 -D 300 --variable-rate 10000:1 --variable-rate 0:1 --variable-size 10:1 --variable-size 5000:1")
            .await;
    assert_eq!(counts(&outcome), [300, 0, 0, 0, 300]);
}

#[tokio::test]
async fn a_timed_run_counts_what_came_after_the_warm_up() {
    let outcome = totals("-z 1 -a --queue-args x-max-length=100000").await;
    let ([published, .., consumed], window) = (counts(&outcome), &outcome["window"]);
    assert!(
        published > window["published"].as_u64().unwrap() && window["published"].as_u64().unwrap() > 0,
        "{outcome}"
    );
    assert!(consumed > window["consumed"].as_u64().unwrap() && window["consumed"].as_u64().unwrap() > 0, "{outcome}");
    assert!(outcome["own_cpu"].as_f64().unwrap() > 0.0 && outcome["broker_cpu"].is_null());
}
