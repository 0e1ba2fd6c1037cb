//! Health checks and what tells of the node.

use leveret::broker::Listener;
use leveret::config::{DiskFreeLimit, MemoryWatermark};
use serde_json::json;

use crate::api::scenario;

#[test]
fn a_broker_that_is_well_says_so() {
    scenario(async |broker, api| {
        let port = broker.address().port();
        for path in [
            "alarms",
            "local-alarms",
            "virtual-hosts",
            "certificate-expiration/1/months",
            "node-is-quorum-critical",
            "quorum-queues-without-elected-leaders/all-vhosts/",
            "quorum-queues-without-elected-leaders/all-vhosts/pattern/.*",
            "quorum-queues-without-elected-leaders/vhost/%2F/",
            "metadata-store/initialized",
            "metadata-store/initialized/with-data",
            "is-in-service",
            "below-node-connection-limit",
            "ready-to-serve-clients",
            "reached-target-cluster-size",
            "protocol-listener/amqp,management",
            &format!("port-listener/{port}"),
        ] {
            let answer = api.get(&format!("/api/health/checks/{path}")).await.ok();
            assert_eq!(answer["status"], "ok", "{path}: {answer}");
        }
        assert_eq!(api.get("/api/aliveness-test/%2F").await.ok(), json!({"status": "ok"}));
        assert_eq!(api.get("/api/healthchecks/node/rabbit@localhost").await.ok(), json!({"status": "ok"}));
        api.get("/api/healthchecks/node/rabbit@elsewhere").await.is(404);
        api.get("/api/aliveness-test/nowhere").await.is(404);
    });
}

#[test]
fn what_is_missing_is_named() {
    scenario(async |broker, api| {
        let ports = json!([broker.management().port(), broker.address().port()]);
        let answer = api.get("/api/health/checks/port-listener/9").await.is(503).json();
        assert_eq!(answer, json!({"status": "failed", "reason": "No active listener", "missing": 9, "ports": ports}));
        assert_eq!(api.get("/api/health/checks/port-listener/x").await.is(400).reason(), "Invalid port");
        let answer = api.get("/api/health/checks/protocol-listener/amqps,mqtt3.1.1").await.is(503).json();
        assert_eq!(answer["missing"], json!(["amqp/ssl", "mqtt"]));
        let address = "127.0.0.1:5671".parse().unwrap();
        broker.inside().node.listens(Listener { protocol: "amqp/ssl", address, tls: true });
        api.get("/api/health/checks/protocol-listener/amqps").await.is(200);
        let answer = api.get("/api/health/checks/certificate-expiration/1/fortnights").await.is(400);
        assert!(answer.reason().starts_with("Time unit not recognised"), "{answer:?}");
    });
}

#[test]
fn alarms_fail_the_checks_while_they_are_up() {
    scenario(async |broker, api| {
        let alarms = &broker.inside().alarms;
        alarms.set_memory_watermark(MemoryWatermark::Absolute(1));
        while !alarms.short_of_memory() {
            tokio::task::yield_now().await;
        }
        let answer = api.get("/api/health/checks/alarms").await.is(503).json();
        let expected = json!({
            "status": "failed", "reason": "There are alarms in effect in the cluster",
            "alarms": [{"node": "rabbit@localhost", "resource": "memory"}],
        });
        assert_eq!(answer, expected);
        api.get("/api/health/checks/local-alarms").await.is(503);
        assert_eq!(api.get("/api/nodes").await.ok()[0]["mem_alarm"], true);
        alarms.set_memory_watermark(MemoryWatermark::Absolute(u64::MAX));
        alarms.set_disk_free_limit(DiskFreeLimit::Absolute(0));
        while alarms.short_of_memory() {
            tokio::task::yield_now().await;
        }
        api.get("/api/health/checks/alarms").await.is(200);
    });
}

#[test]
fn the_node_is_found_by_its_name_and_no_other() {
    scenario(async |broker, api| {
        let node = api.get("/api/nodes/rabbit@localhost?columns=name,uptime,os_pid").await.ok();
        assert_eq!(node["name"], "rabbit@localhost");
        assert_eq!(node["os_pid"], std::process::id().to_string());
        assert_eq!(node.as_object().unwrap().len(), 3, "{node}");
        api.get("/api/nodes/rabbit@elsewhere").await.is(404);
        let memory = api.get("/api/nodes/rabbit@localhost/memory").await.ok();
        assert!(memory["memory"]["total"]["rss"].is_u64(), "{memory}");
        broker.inside().node.maintain(true);
        api.get("/api/health/checks/is-in-service").await.is(503);
        assert_eq!(api.get("/api/nodes").await.ok()[0]["being_drained"], true);
    });
}

#[test]
fn the_cluster_has_a_name_that_can_be_changed() {
    scenario(async |_, api| {
        assert_eq!(api.get("/api/cluster-name").await.ok(), json!({"name": "rabbit@localhost"}));
        api.put("/api/cluster-name", r#"{"name":"the burrow"}"#).await.is(204);
        assert_eq!(api.get("/api/cluster-name").await.ok(), json!({"name": "the burrow"}));
        assert_eq!(api.get("/api/overview").await.ok()["cluster_name"], "the burrow");
        api.put("/api/cluster-name", "{}").await.is(400);
    });
}
