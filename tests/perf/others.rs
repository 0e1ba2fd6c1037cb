//! Churn, count, and the suite.

use std::process::Command;

use leveret::perf;

use crate::{Broker, json, perf as perf_of};

#[tokio::test]
async fn everything_can_come_and_go() {
    let broker = Broker::start();
    let dir = tempfile::tempdir().unwrap();
    let whats =
        ["connections", "channels", "queues", "bindings", "consumers", "queues --durable", "bindings --durable"];
    let mut churns = tokio::task::JoinSet::new();
    for (index, what) in whats.into_iter().enumerate() {
        let file = dir.path().join(index.to_string());
        let flags = format!("-x 2 -z 1 --pid {} -H {} --json {}", std::process::id(), broker.uri(), file.display());
        churns.spawn(async move {
            let out = perf_of(&format!("churn {what} {flags}")).await.fine();
            assert!(out.contains("CPU each: broker "), "{what}: {out}");
            assert!(json(&file)["acts"].as_u64().unwrap() > 0, "{what}: {out}");
        });
    }
    churns.join_all().await;
    let done = broker.perf(&format!("load --predeclared -u perf-churn-{}-0 -z 1", std::process::id())).await;
    assert!(done.err.contains("404 NOT_FOUND"), "nothing is left: {}", done.err);
    broker.0.stop().await.unwrap();
}

#[tokio::test]
async fn many_of_one_thing_are_made_and_removed() {
    let broker = Broker::start();
    let dir = tempfile::tempdir().unwrap();
    for what in ["connections 20", "queues 20", "queues 20 --durable"] {
        let file = dir.path().join("figures.json");
        let line = format!("count {what} --pid {} --json {}", std::process::id(), file.display());
        let out = broker.perf(&line).await.fine();
        assert!(out.contains("20 ") && out.contains("KiB resident"), "{out}");
        let figures = json(&file);
        assert_eq!(figures["number"], 20);
        assert!(figures["before"]["resident"].as_u64().unwrap() > 0, "{figures}");
        assert!(figures["each_anonymous"].is_number(), "{figures}");
    }
    for left in [0, 1, 20] {
        let done = broker.perf(&format!("load --predeclared -u perf-count-{}-{left} -z 1", std::process::id())).await;
        assert!(done.err.contains("404 NOT_FOUND"), "{left}: {}", done.err);
    }
    broker.0.stop().await.unwrap();
}

#[test]
fn the_suite_measures_leveret_and_others_and_writes_its_table() {
    // Another broker, which is this one once more.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let peer = runtime.block_on(async { Broker::start() });
    let dir = tempfile::tempdir().unwrap();
    let results = dir.path().join("results");
    let output = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args([
            "perf",
            "suite",
            "--rounds",
            "1",
            "--seconds",
            "1",
            "--commit",
            "0123abc",
            "--idle",
            "10",
            "--stored",
            "500",
        ])
        .args([
            "--only",
            "with durable 1 KiB messages|bindings of a durable|idle connection|10 consumers|beside four pairs",
        ])
        .arg(format!("--broker=Peer={},pid={}", peer.uri(), std::process::id()))
        .arg("--results")
        .arg(&results)
        .arg("--scratch")
        .arg(dir.path())
        .env("LEVERET_LISTEN", "nonsense that must not reach the brokers")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("round 1 of 1, bindings of a durable queue, Peer: "), "{out}");
    let mut files: Vec<_> = std::fs::read_dir(&results).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    let figures = json(&files[0]);
    assert_eq!((figures["commit"].as_str(), figures["rounds"].as_u64()), (Some("0123abc"), Some(1)));
    assert!(figures["brokers"]["Leveret"].is_string() && figures["brokers"]["Peer"].is_string());
    let rows = figures["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 5, "{figures}");
    for row in rows {
        let of = |broker: &str| &row["brokers"][broker]["spread"]["median"];
        assert!(of("Leveret").is_number() && row["met"].is_boolean(), "{row}");
        let needs_start = row["name"].as_str().unwrap().starts_with("start");
        assert_eq!(of("Peer").is_number(), !needs_start, "{row}");
    }
    let bindings = rows.iter().find(|row| row["name"] == "bindings of a durable queue").unwrap();
    assert!(bindings["must"].as_f64().unwrap() > 0.0 && bindings["synced_commits"].as_array().unwrap().len() == 1);
    let page = std::fs::read_to_string(&files[1]).unwrap();
    assert!(page.contains("| must reach | Leveret | verdict | Peer | times the best peer |"), "{page}");
    assert!(out.contains(&page), "the table is printed too");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["results"], "data directories are removed");
    runtime.block_on(async { peer.0.stop().await }).unwrap();
}

#[test]
fn the_suite_refuses_what_it_does_not_have() {
    let output = Command::new(env!("CARGO_BIN_EXE_leveret")).args(["perf", "suite", "--only", "no such row"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(i32::from(perf::MISUSED)));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("there are:\n16 B transient, auto-ack, 1 to 1\n"), "{err}");
}
