//! Health checks, whose exit status is what matters.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::ctl::api::{ApiError, path};
use crate::ctl::command::{Call, Command, Section, Tool};
use crate::ctl::failure::{DATA, Failure, UNAVAILABLE};
use crate::ctl::options::{number, text};
use crate::ctl::output::Output;

const LOOK: Section = Section::Monitoring;
const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];

/// Seconds a connection to a port may take, unless told otherwise.
const CONNECT: u64 = 30;

pub(super) const COMMANDS: &[Command] = &[
    Command::new("check_running", LOOK, "", "Fails unless the broker serves", check_running)
        .tools(DIAGNOSTICS)
        .banner(|call| format!("Checking if RabbitMQ is running on node {} ...", call.node)),
    Command::new("is_running", LOOK, "", "Tells whether the broker serves", check_running)
        .tools(DIAGNOSTICS)
        .banner(|call| format!("Asking node {} for its status ...", call.node)),
    Command::new("is_booting", LOOK, "", "Tells whether the broker is starting", is_booting)
        .tools(DIAGNOSTICS)
        .banner(|call| format!("Asking node {} for its boot status ...", call.node)),
    Command::new("check_local_alarms", LOOK, "", "Fails if memory or disk is short", check_local)
        .tools(DIAGNOSTICS)
        .banner(|call| format!("Asking node {} to report any local resource alarm ...", call.node)),
    Command::new("check_alarms", LOOK, "", "Fails if memory or disk is short", check_alarms)
        .tools(DIAGNOSTICS)
        .banner(|call| format!("Asking node {} to report any local resource alarms ...", call.node)),
    Command::new("alarms", LOOK, "", "Tells whether memory or disk is short", alarms)
        .tools(DIAGNOSTICS)
        .banner(|call| format!("Asking node {} to report any known resource alarms ...", call.node)),
    Command::new(
        "check_port_connectivity",
        LOOK,
        "[--address <target address>]",
        "Fails unless every port lets connections in",
        connectivity,
    )
    .tools(DIAGNOSTICS)
    .timed()
    .switches(&[text("address").short('a')])
    .banner(|call| {
        let how = match call.line.text("address") {
            None => "hostname resolution".to_owned(),
            Some(address) => format!("{address} for node IP address"),
        };
        format!("Testing TCP connections to all active listeners on node {} using {how} ...", call.node)
    }),
    Command::new("check_port_listener", LOOK, "<port>", "Fails unless the broker listens on a port", port_listener)
        .tools(DIAGNOSTICS)
        .words(1, 1)
        .banner(|call| format!("Asking node {} if there's an active listener on port {} ...", call.node, call.word(0))),
    Command::new(
        "check_protocol_listener",
        LOOK,
        "<protocol>",
        "Fails unless the broker listens for a protocol",
        protocol_listener,
    )
    .tools(DIAGNOSTICS)
    .words(1, 1)
    .banner(|call| {
        format!("Asking node {} if there's an active listener for protocol {} ...", call.node, call.word(0))
    }),
    Command::new("check_virtual_hosts", LOOK, "", "Fails unless every virtual host serves", virtual_hosts)
        .tools(DIAGNOSTICS)
        .banner(|call| format!("Checking if all vhosts are running on node {} ...", call.node)),
    Command::new(
        "check_certificate_expiration",
        LOOK,
        "[--within <period>] [--unit <unit>]",
        "Fails if a certificate expires within a time",
        certificates,
    )
    .tools(DIAGNOSTICS)
    .switches(&[number("within"), text("unit")])
    .banner(|call| {
        let (within, unit) = period(call);
        format!("Checking if certificates on node {} expire within {within} {unit} ...", call.node)
    }),
    Command::new("check_if_metadata_store_is_initialized", LOOK, "", "Fails unless definitions can be read", store)
        .tools(DIAGNOSTICS)
        .banner(|call| format!("Checking if metadata store on node {} has finished initializing ...", call.node)),
    Command::new("check_if_metadata_store_is_initialized_with_data", LOOK, "", "The same", store)
        .tools(DIAGNOSTICS)
        .banner(|call| format!("Checking if metadata store on node {} has finished initializing ...", call.node)),
    Command::new(
        "check_for_quorum_queues_without_an_elected_leader",
        LOOK,
        "[--vhost <vhost>] [--across-all-vhosts] <pattern>",
        "Passes: a queue of one node leads itself",
        leaders,
    )
    .tools(DIAGNOSTICS)
    .words(1, 1)
    .switches(&[crate::ctl::options::flag("across-all-vhosts")])
    .banner(|call| format!("Checking leader replicas of quorum queues matching '{}' ...", call.word(0))),
    Command::new(
        "node_health_check",
        LOOK,
        "",
        "Passes if the broker answers; RabbitMQ has dropped what it checked",
        node_check,
    )
    .tools(crate::ctl::command::BOTH)
    .timed()
    .banner(|_| {
        "This command is DEPRECATED and is a no-op. It will be removed in a future version. \n\
             Use one of the options covered in https://www.rabbitmq.com/monitoring.html#health-checks instead."
            .to_owned()
    }),
];

fn answers(call: &Call<'_>) -> Result<Value, Failure> {
    call.get(&path(&["overview"]))
}

fn check_running(call: &mut Call<'_>) -> Result<Output, Failure> {
    answers(call)?;
    Ok(Output::passed(format!("RabbitMQ on node {} is fully booted and running", call.node)))
}

fn is_booting(call: &mut Call<'_>) -> Result<Output, Failure> {
    // The control socket opens when the start is complete.
    answers(call)?;
    let text = format!(
        "RabbitMQ on node {} is fully booted (check with is_running), stopped or has not started booting yet",
        call.node
    );
    let document = json!({ "result": false, "message": text });
    Ok(Output::Said(text, document))
}

fn node_check(call: &mut Call<'_>) -> Result<Output, Failure> {
    answers(call)?;
    Ok(Output::Done)
}

/// What a check of the API says: `None` if it passed, or its answer.
fn check(call: &Call<'_>, segments: &[&str]) -> Result<Option<Value>, Failure> {
    match call.api()?.get(&path(&[&["health", "checks"], segments].concat())) {
        Ok(_) => Ok(None),
        Err(ApiError::Refused { status: 503, body, .. }) => Ok(Some(body)),
        Err(error) => Err(call.fail(&error)),
    }
}

/// A check that failed: RabbitMQ prints nothing when silent.
fn failed(call: &Call<'_>, text: impl Into<String>, document: &Value) -> Failure {
    if call.line.on("silent") {
        return Failure::plain(UNAVAILABLE, "");
    }
    let json = call.format == crate::ctl::output::Format::Json;
    Failure::plain(UNAVAILABLE, if json { document.to_string() } else { text.into() })
}

/// Alarms in RabbitMQ's words, line by line.
pub(super) fn alarm_lines(alarms: &Value) -> String {
    let line = |alarm: &Value| {
        let what = if alarm["resource"] == "disk" { "Free disk space alarm" } else { "Memory alarm" };
        format!("{what} on node {}", alarm["node"].as_str().unwrap_or_default())
    };
    alarms.as_array().into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

fn check_local(call: &mut Call<'_>) -> Result<Output, Failure> {
    match check(call, &["local-alarms"])? {
        None => Ok(Output::passed(format!("Node {} reported no local alarms", call.node))),
        Some(body) => Err(failed(call, alarm_lines(&body["alarms"]), &body)),
    }
}

fn check_alarms(call: &mut Call<'_>) -> Result<Output, Failure> {
    match check(call, &["alarms"])? {
        None => Ok(Output::passed(format!("Node {} reported no alarms, local or clusterwide", call.node))),
        Some(body) => Err(failed(call, alarm_lines(&body["alarms"]), &body)),
    }
}

fn alarms(call: &mut Call<'_>) -> Result<Output, Failure> {
    let found = check(call, &["alarms"])?.map_or_else(|| json!([]), |body| body["alarms"].clone());
    let none = found.as_array().is_none_or(Vec::is_empty);
    let text =
        if none { format!("Node {} reported no alarms, local or clusterwide", call.node) } else { alarm_lines(&found) };
    let document = json!({ "result": "ok", "node": call.node, "alarms": found });
    Ok(Output::Said(text, document))
}

/// Where the broker listens.
pub(super) fn listeners(call: &Call<'_>) -> Result<Vec<Value>, Failure> {
    Ok(answers(call)?["listeners"].as_array().cloned().unwrap_or_default())
}

/// Ports, in order and without repetition.
fn ports(listeners: &[Value]) -> String {
    let mut ports: Vec<_> = listeners.iter().filter_map(|listener| listener["port"].as_u64()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn connectivity(call: &mut Call<'_>) -> Result<Output, Failure> {
    let target: Option<IpAddr> = match call.line.text("address") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Failure::error(DATA, format!("{text} is not an address")))?),
    };
    let patience = call.line.number("timeout").and_then(|seconds| u64::try_from(seconds).ok()).filter(|s| *s > 0);
    let patience = Duration::from_secs(patience.unwrap_or(CONNECT));
    let listeners = listeners(call)?;
    let mut unreachable = Vec::new();
    for listener in &listeners {
        let Some(port) = listener["port"].as_u64().and_then(|port| u16::try_from(port).ok()) else { continue };
        let bound = listener["ip_address"].as_str().and_then(|text| text.parse().ok());
        let address = SocketAddr::new(target.unwrap_or_else(|| reachable(bound)), port);
        if !call.is_quiet() && !call.format.is_for_machines() {
            let _ = writeln!(call.streams.out, "Will connect to {address}");
        }
        if TcpStream::connect_timeout(&address, patience).is_err() {
            unreachable.push(listener);
        }
    }
    let node = &call.node;
    if !unreachable.is_empty() {
        let lines: Vec<_> = unreachable.iter().map(|listener| listener_line(listener)).collect();
        let document = json!({ "result": "error", "node": node, "failures": unreachable });
        let text =
            format!("Connection to ports of the following listeners on node {node} failed: \n{}", lines.join("\n"));
        return Err(failed(call, text, &document));
    }
    let how = target.map_or("node hostname resolution".to_owned(), |target| format!("{target} for target IP address"));
    let text = format!("Successfully connected to ports {} on node {node} (using {how})", ports(&listeners));
    let document = json!({ "result": "ok", "node": node, "listeners": listeners });
    Ok(Output::Said(text, document))
}

/// The address by which this machine reaches a listener.
fn reachable(bound: Option<IpAddr>) -> IpAddr {
    match bound {
        Some(address) if !address.is_unspecified() => address,
        Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// One listener in RabbitMQ's words.
pub(super) fn listener_line(listener: &Value) -> String {
    let protocol = listener["protocol"].as_str().unwrap_or_default();
    let address = listener["ip_address"].as_str().unwrap_or_default();
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    format!("Interface: {address}, port: {}, protocol: {protocol}, purpose: {}", listener["port"], purpose(protocol))
}

/// What a protocol is for.
pub(super) fn purpose(protocol: &str) -> &str {
    match protocol {
        "amqp" => "AMQP 0-9-1 and AMQP 1.0",
        "amqp/ssl" => "AMQP 0-9-1 and AMQP 1.0 over TLS",
        "http" => "HTTP API",
        "https" => "HTTP API over TLS (HTTPS)",
        "http/prometheus" => "Prometheus exporter API over HTTP",
        "https/prometheus" => "Prometheus exporter API over TLS (HTTPS)",
        "clustering" => "inter-node and CLI tool communication",
        other => other,
    }
}

fn port_listener(call: &mut Call<'_>) -> Result<Output, Failure> {
    let port: u16 = call.word(0).parse().map_err(|_| {
        Failure::plain(DATA, format!("Error (argument validation): Bad argument: {} is not a port", call.word(0)))
    })?;
    let listeners = listeners(call)?;
    let node = &call.node;
    if listeners.iter().any(|listener| listener["port"] == port) {
        return Ok(Output::passed(format!("A listener for port {port} is running on node {node}.")));
    }
    let text = format!(
        "No listener for port {port} is active on node {node}. Found listeners that use the following ports: {}",
        ports(&listeners)
    );
    Err(failed(call, text, &json!({ "result": "error", "node": node, "port": port, "listeners": listeners })))
}

/// The name a protocol has in listings of listeners.
fn protocol(given: &str) -> String {
    let given = given.to_ascii_lowercase();
    match given.as_str() {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp0_9_1" | "amqp10" | "amqp1.0" | "amqp1-0" | "amqp1_0" => "amqp",
        "amqps" | "amqp+ssl" | "amqp+tls" => "amqp/ssl",
        "http1" | "http1.1" | "http_api" | "management" | "management_ui" | "ui" => "http",
        "prometheus" => "http/prometheus",
        other => other,
    }
    .to_owned()
}

fn protocol_listener(call: &mut Call<'_>) -> Result<Output, Failure> {
    let given = call.word(0);
    let wanted = protocol(given);
    let listeners = listeners(call)?;
    let node = &call.node;
    if listeners.iter().any(|listener| listener["protocol"] == wanted) {
        return Ok(Output::passed(format!("A listener for protocol {given} is running on node {node}.")));
    }
    let mut known: Vec<_> = listeners.iter().filter_map(|listener| listener["protocol"].as_str()).collect();
    known.sort_unstable();
    known.dedup();
    let text = format!(
        "No listener for protocol {given} is active on node {node}. Found listeners for the following protocols: {}",
        known.join(", ")
    );
    Err(failed(call, text, &json!({ "result": "error", "node": node, "protocol": given, "listeners": listeners })))
}

fn virtual_hosts(call: &mut Call<'_>) -> Result<Output, Failure> {
    let node = &call.node;
    match check(call, &["virtual-hosts"])? {
        None => Ok(Output::passed(format!("Node {node} reported all vhosts as running"))),
        Some(body) => {
            let down: Vec<_> =
                body["virtual-hosts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let text = format!("Some virtual hosts on node {node} are down:\n{}", down.join("\n"));
            Err(failed(call, text, &json!({ "result": "error", "down_vhosts": down })))
        }
    }
}

fn period<'c>(call: &'c Call<'_>) -> (i64, &'c str) {
    (call.line.number("within").unwrap_or(4), call.line.text("unit").unwrap_or("weeks"))
}

fn certificates(call: &mut Call<'_>) -> Result<Output, Failure> {
    let (within, unit) = period(call);
    if !["days", "weeks", "months", "years"].contains(&unit) {
        let why = format!("unit '{unit}' is not supported. Please use one of: days, weeks, months, years");
        return Err(Failure::error(DATA, why));
    }
    match check(call, &["certificate-expiration", &within.to_string(), unit])? {
        None => Ok(Output::passed(format!("No certificates on node {} expire within {within} {unit}", call.node))),
        Some(body) => {
            let text = format!("Certificates on node {} expire within {within} {unit}: {}", call.node, body["expired"]);
            Err(failed(call, text, &body))
        }
    }
}

fn store(call: &mut Call<'_>) -> Result<Output, Failure> {
    answers(call)?;
    Ok(Output::passed(format!("Metadata store on node {} has completed its initialization", call.node)))
}

fn leaders(call: &mut Call<'_>) -> Result<Output, Failure> {
    answers(call)?;
    let node = &call.node;
    Ok(Output::passed(format!("Node {node} reported all quorum queue as having responsive leader replicas")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_told_as_rabbitmq_tells_them() {
        let listener = json!({ "node": "n", "protocol": "amqp", "ip_address": "::", "port": 5672 });
        let told = "Interface: [::], port: 5672, protocol: amqp, purpose: AMQP 0-9-1 and AMQP 1.0";
        assert_eq!(listener_line(&listener), told);
        assert_eq!(ports(&[json!({"port": 15672}), json!({"port": 5672}), json!({"port": 5672})]), "5672, 15672");
        assert_eq!((protocol("AMQPS").as_str(), protocol("mqtt").as_str()), ("amqp/ssl", "mqtt"));
        assert_eq!(reachable("0.0.0.0".parse().ok()), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(reachable("::".parse().ok()), IpAddr::V6(Ipv6Addr::LOCALHOST));
    }
}
