//! Health checks: 200 if it is well, 503 with the reason if not.
//!
//! What a check of RabbitMQ asks of a cluster is answered for one node. Deliberately absent: what raises an alarm.

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::route::{Access, Route, get};
use crate::broker::{Broker, Listener};

/// Words for a protocol, and RabbitMQ's own.
const PROTOCOLS: &[(&str, &[&str])] = &[
    ("amqp", &["amqp091", "amqp0.9.1", "amqp0-9-1", "amqp0_9_1", "amqp10", "amqp1.0", "amqp1-0", "amqp1_0"]),
    ("amqp/ssl", &["amqps"]),
    ("clustering", &["cli", "distribution"]),
    ("clustering/ssl", &["cli/ssl", "cli/tls", "distribution/ssl", "distribution/tls"]),
    ("http", &["http1", "http1.1", "http_api", "management", "management_ui", "ui"]),
    ("mqtt", &["mqtt3.1", "mqtt3.1.1", "mqtt31", "mqtt311", "mqtt3_1", "mqtt3_1_1"]),
    ("mqtt/ssl", &["mqtts", "mqtt+tls", "mqtt+ssl"]),
    (
        "stomp",
        &["stomp1.0", "stomp1.1", "stomp1.2", "stomp10", "stomp11", "stomp12", "stomp1_0", "stomp1_1", "stomp1_2"],
    ),
    ("stomp/ssl", &["stomps", "stomp+tls", "stomp+ssl"]),
    ("http/web-mqtt", &["webmqtt", "web-mqtt", "web_mqtt"]),
    ("http/web-stomp", &["webstomp", "web-stomp", "web_stomp"]),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/health/checks/alarms", Access::Manager, alarms),
        get("/api/health/checks/local-alarms", Access::Manager, local_alarms),
        get("/api/health/checks/port-listener/{port}", Access::Manager, port_listener),
        get("/api/health/checks/protocol-listener/{protocols}", Access::Manager, protocol_listener),
        get("/api/health/checks/virtual-hosts", Access::Manager, well),
        get("/api/health/checks/certificate-expiration/{within}/{unit}", Access::Manager, certificates),
        get("/api/health/checks/node-is-quorum-critical", Access::Manager, quorum_critical),
        get("/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts", Access::Manager, well),
        get(
            "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
            Access::Manager,
            well,
        ),
        get("/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}", Access::Manager, well),
        get(
            "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
            Access::Manager,
            well,
        ),
        get("/api/health/checks/metadata-store/initialized", Access::Manager, well),
        get("/api/health/checks/metadata-store/initialized/with-data", Access::Manager, with_data),
        get("/api/health/checks/is-in-service", Access::Open, in_service),
        get("/api/health/checks/below-node-connection-limit", Access::Open, below_limit),
        get("/api/health/checks/ready-to-serve-clients", Access::Open, ready),
        get("/api/health/checks/reached-target-cluster-size", Access::Open, target_size),
        get("/api/aliveness-test/{vhost}", Access::Vhost, alive),
        get("/api/healthchecks/node", Access::Manager, node),
        get("/api/healthchecks/node/{node}", Access::Manager, node),
    ]
}

fn ok() -> Outcome {
    Ok(Answer::json(&json!({"status": "ok"})))
}

fn failed<const N: usize>(reason: &str, more: [(&str, Value); N]) -> Outcome {
    let more: Map<String, Value> = more.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Ok(Answer::failed(reason, more))
}

/// What cannot be otherwise while the broker answers at all.
async fn well(_: Call) -> Outcome {
    ok()
}

/// The alarms that are up.
fn raised(broker: &Broker) -> Vec<Value> {
    let node = &broker.config.node_name;
    let mut alarms = Vec::new();
    for (up, resource) in [(broker.alarms.short_of_memory(), "memory"), (broker.alarms.short_of_room(), "disk")] {
        if up {
            alarms.push(json!({"node": node, "resource": resource}));
        }
    }
    alarms
}

async fn alarms(call: Call) -> Outcome {
    match raised(&call.broker) {
        none if none.is_empty() => ok(),
        raised => failed("There are alarms in effect in the cluster", [("alarms", raised.into())]),
    }
}

async fn local_alarms(call: Call) -> Outcome {
    match raised(&call.broker) {
        none if none.is_empty() => ok(),
        raised => failed("There are alarms in effect on the node", [("alarms", raised.into())]),
    }
}

/// The ports there are, each once, in the order in which they were opened.
fn ports(listeners: &[Listener]) -> Vec<u16> {
    let mut ports = Vec::new();
    for listener in listeners {
        if !ports.contains(&listener.address.port()) {
            ports.push(listener.address.port());
        }
    }
    ports
}

async fn port_listener(call: Call) -> Outcome {
    let asked: i64 = call.name("port").parse().map_err(|_| ApiError::bad_request("Invalid port"))?;
    let ports = ports(&call.broker.node.listeners());
    if ports.iter().any(|port| i64::from(*port) == asked) {
        return Ok(Answer::json(&json!({"status": "ok", "port": asked})));
    }
    failed("No active listener", [("missing", asked.into()), ("ports", json!(ports))])
}

/// RabbitMQ's own word for a protocol.
fn protocol(word: &str) -> String {
    let word = word.to_lowercase();
    let known = PROTOCOLS.iter().find(|(_, words)| words.contains(&&*word));
    known.map_or(word, |(own, _)| (*own).to_owned())
}

async fn protocol_listener(call: Call) -> Outcome {
    let mut active: Vec<&str> = call.broker.node.listeners().iter().map(|listener| listener.protocol).collect();
    active.sort_unstable();
    active.dedup();
    let mut missing: Vec<String> = call.name("protocols").split(',').map(protocol).collect();
    missing.retain(|asked| !active.contains(&asked.as_str()));
    missing.dedup();
    if missing.is_empty() {
        return Ok(Answer::json(&json!({"status": "ok", "protocols": active})));
    }
    failed("No active listener", [("missing", json!(missing)), ("protocols", json!(active))])
}

/// Seconds of a time as the path tells it.
fn seconds(within: &str, unit: &str) -> Result<u64, ApiError> {
    const DAY: u64 = 86_400;
    let days = match unit.to_lowercase().as_str() {
        "days" => 1,
        "weeks" => 7,
        "months" => 30,
        "years" => 365,
        _ => {
            let text = "Time unit not recognised. Supported units: days, weeks, months, years.";
            return Err(ApiError::bad_request(text));
        }
    };
    let within: u64 = within.parse().map_err(|_| ApiError::bad_request("Invalid expiration value."))?;
    Ok(within.saturating_mul(days).saturating_mul(DAY))
}

async fn certificates(call: Call) -> Outcome {
    let seconds = seconds(call.name("within"), call.name("unit"))?;
    let until = call.broker.clock.wall().saturating_add(seconds.saturating_mul(1_000));
    let expiring = call.broker.node.certificates_expiring(until);
    if expiring.is_empty() {
        return ok();
    }
    failed("Certificates expiring", [("expired", json!(expiring))])
}

async fn quorum_critical(_: Call) -> Outcome {
    Ok(Answer::json(&json!({"status": "ok", "reason": "single node cluster"})))
}

async fn with_data(call: Call) -> Outcome {
    if call.broker.vhosts().is_empty() {
        return failed("Metadata store has not yet been initialized: it reports to have no virtual hosts", []);
    }
    ok()
}

async fn in_service(call: Call) -> Outcome {
    if call.broker.stopping() || call.broker.node.in_maintenance() {
        return failed("this rabbit node is not currently available to serve", []);
    }
    ok()
}

async fn below_limit(call: Call) -> Outcome {
    let open = call.broker.connections.len() as u64;
    if call.broker.live.connection_max().is_some_and(|limit| open >= limit) {
        return failed("node connection limit is reached", []);
    }
    ok()
}

async fn ready(call: Call) -> Outcome {
    if call.broker.stopping() || call.broker.node.in_maintenance() {
        return failed("the rabbit node is not currently available to serve", []);
    }
    if !call.broker.node.listeners().iter().any(|listener| listener.protocol.starts_with("amqp")) {
        return failed("no active listeners for AMQP/AMQPS", []);
    }
    below_limit(call).await
}

async fn target_size(_: Call) -> Outcome {
    ok()
}

async fn alive(call: Call) -> Outcome {
    call.vhost()?;
    ok()
}

async fn node(call: Call) -> Outcome {
    match call.optional_name("node") {
        Some(name) if name != call.broker.config.node_name => Err(ApiError::no_object()),
        _ => ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_have_many_names() {
        for (word, own) in [
            ("AMQP091", "amqp"),
            ("amqps", "amqp/ssl"),
            ("management", "http"),
            ("amqp", "amqp"),
            ("cli", "clustering"),
            ("http/prometheus", "http/prometheus"),
            ("unheard", "unheard"),
        ] {
            assert_eq!(protocol(word), own);
        }
    }

    #[test]
    fn times_are_read_and_bounded() {
        assert_eq!(seconds("2", "Weeks"), Ok(14 * 86_400));
        assert_eq!(seconds("99999999999999999999", "days"), Err(ApiError::bad_request("Invalid expiration value.")));
        assert!(seconds("1", "fortnights").is_err() && seconds("-1", "days").is_err());
        assert_eq!(seconds("18446744073709551615", "years"), Ok(u64::MAX));
    }
}
