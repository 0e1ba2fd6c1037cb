//! What the node is and how it fares: status, cluster status, memory, versions, listeners, logs.
//!
//! Put together from the API's overview and node. Fields of Erlang's runtime that do not exist here are left out of
//! JSON, or stand with what comes closest; the sections and their order are RabbitMQ's.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::health::{alarm_lines, listener_line, listeners, purpose};
use crate::ctl::api::path;
use crate::ctl::command::{BOTH, Call, Command, Section, Tool, find};
use crate::ctl::failure::{Failure, UNAVAILABLE, USAGE};
use crate::ctl::options::{Switch, flag, number, text};
use crate::ctl::output::{Cell, Format, Output, Row, print};

const LOOK: Section = Section::Monitoring;
const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];
const UNIT: &[Switch] = &[text("unit")];

pub(super) const COMMANDS: &[Command] = &[
    Command::new("status", LOOK, "[--unit <unit>]", "Shows how the broker is", status)
        .tools(BOTH)
        .timed()
        .switches(UNIT)
        .banner(|call| format!("Status of node {} ...", call.node)),
    Command::new("cluster_status", Section::Cluster, "", "Shows the one node there is", cluster)
        .tools(BOTH)
        .timed()
        .banner(|call| format!("Cluster status of node {} ...", call.node)),
    Command::new("memory_breakdown", LOOK, "[--unit <unit>]", "Shows what memory is used for", memory)
        .tools(DIAGNOSTICS)
        .timed()
        .switches(UNIT)
        .banner(|call| format!("Reporting memory breakdown on node {}...", call.node)),
    Command::new("listeners", LOOK, "", "Shows where the broker listens", list_listeners)
        .tools(DIAGNOSTICS)
        .banner(|call| format!("Asking node {} to report its protocol listeners ...", call.node)),
    Command::new(
        "server_version",
        LOOK,
        "",
        "Shows the version of RabbitMQ that the broker answers as",
        server_version,
    )
    .tools(DIAGNOSTICS)
    .banner(|call| format!("Asking node {} for its RabbitMQ version...", call.node)),
    Command::new("erlang_version", LOOK, "", "Shows what stands in Erlang's place", erlang_version)
        .tools(DIAGNOSTICS)
        .timed()
        .switches(&[flag("details"), flag("offline")])
        .banner(|call| format!("Asking node {} for its Erlang/OTP version...", call.node)),
    Command::new("tls_versions", LOOK, "", "Shows the versions of TLS the broker speaks", tls_versions)
        .tools(DIAGNOSTICS)
        .banner(|_| "Listing all TLS versions supported by the runtime...".to_owned()),
    Command::new("log_location", Section::Configuration, "[--all|-a]", "Shows where the log is", log_location)
        .tools(DIAGNOSTICS)
        .timed()
        .switches(&[flag("all").short('a')])
        .banner(|call| format!("Log file location(s) on node {} ...", call.node)),
    Command::new("log_tail", LOOK, "[--number|-N <number>]", "Shows the last lines of the log file", log_tail)
        .tools(DIAGNOSTICS)
        .timed()
        .switches(&[number("number").short('N')])
        .banner(|call| format!("Last {} log lines on node {} ...", lines_wanted(call), call.node)),
    Command::new("environment", Section::Configuration, "", "Shows the settings in force", environment)
        .tools(BOTH)
        .banner(|call| format!("Application environment of node {} ...", call.node)),
    Command::new("report", LOOK, "", "Shows everything that helps to find out what is wrong", report)
        .tools(BOTH)
        .timed()
        .banner(|call| format!("Reporting server status of node {} ...", call.node)),
    Command::new(
        "list_node_auth_attempt_stats",
        LOOK,
        "[--by-source]",
        "Lists logins that were let in or refused",
        attempts,
    )
    .tools(BOTH)
    .format(Format::Table)
    .switches(&[flag("by-source")])
    .banner(|call| format!("Listing authentication attempts for node \"{}\" ...", call.node)),
];

/// The node as the API has it.
fn node(call: &Call<'_>) -> Result<Value, Failure> {
    Ok(call.list(&path(&["nodes"]))?.into_iter().next().unwrap_or_default())
}

/// What only Leveret's own API tells, where there is it.
fn own_status(call: &Call<'_>) -> Value {
    call.api().ok().and_then(|api| api.get(&path(&["leveret", "status"])).ok()).unwrap_or_default()
}

/// A text of a field, whatever its type; nothing where it is missing.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A number of octets in a unit, rounded as RabbitMQ rounds; `None` for an unknown unit.
fn in_unit(octets: f64, unit: &str) -> Option<String> {
    let divisor = match unit.to_ascii_lowercase().as_str() {
        "bytes" => return Some(format!("{octets:.0}")),
        "k" | "kb" | "kilobytes" => 1e3,
        "m" | "mb" | "megabytes" => 1e6,
        "g" | "gb" | "gigabytes" => 1e9,
        "t" | "tb" | "terabytes" => 1e12,
        "ki" | "kib" => 1024.0,
        "mi" | "mib" => 1024.0 * 1024.0,
        "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "ti" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(format!("{:?}", (octets / divisor * 1e4).round() / 1e4))
}

/// The unit asked for.
fn unit<'c>(call: &'c Call<'_>) -> Result<&'c str, Failure> {
    let unit = call.line.text("unit").unwrap_or("gb");
    match in_unit(0.0, unit) {
        Some(_) => Ok(unit),
        None => Err(Failure::plain(
            USAGE,
            format!(
                "Error (argument validation): unit '{unit}' is not supported. \
                 Please use one of: bytes, mb, mib, gb, gib, tb, tib"
            ),
        )),
    }
}

fn amount(value: &Value, unit: &str) -> String {
    let amount = value.as_f64().and_then(|octets| in_unit(octets, unit));
    amount.map_or_else(|| "(not available)".to_owned(), |amount| format!("{amount} {unit}"))
}

/// What memory is used for: name, octets and percent, most first.
fn breakdown(memory: &Value) -> Vec<(String, f64, f64)> {
    let total = match &memory["total"] {
        Value::Object(totals) => totals.values().filter_map(Value::as_f64).fold(0.0, f64::max),
        other => other.as_f64().unwrap_or(0.0),
    };
    let mut parts: Vec<_> = memory
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "total")
        .filter_map(|(name, octets)| octets.as_f64().map(|octets| (name.clone(), octets)))
        .map(|(name, octets)| {
            let percent = if total > 0.0 { (octets / total * 1e4).round() / 1e2 } else { 0.0 };
            (name, octets, percent)
        })
        .collect();
    parts.sort_by(|one, other| other.1.total_cmp(&one.1));
    parts
}

fn read_memory(call: &Call<'_>, node: &Value) -> Value {
    let name = node["name"].as_str().unwrap_or(&call.node);
    let memory = call.api().ok().and_then(|api| api.get(&path(&["nodes", name, "memory"])).ok());
    memory.map_or_else(|| json!({}), |answer| answer["memory"].clone())
}

fn memory(call: &mut Call<'_>) -> Result<Output, Failure> {
    let unit = unit(call)?;
    let node = node(call)?;
    let parts = breakdown(&read_memory(call, &node));
    if call.format == Format::Csv {
        let (names, values): (Vec<_>, Vec<_>) = parts
            .iter()
            .flat_map(|(name, octets, percent)| {
                [
                    (format!("{name}.percentage"), format!("{percent:?}")),
                    (format!("{name}.bytes"), format!("{octets:.0}")),
                ]
            })
            .unzip();
        return Ok(Output::Verbatim(format!("{}\n{}\n", names.join(","), values.join(","))));
    }
    let mut text = String::new();
    let mut document = Map::new();
    for (name, octets, percent) in parts {
        let amount = in_unit(octets, unit).unwrap_or_default();
        let _ = writeln!(text, "{name}: {amount} {} ({percent:?}%)", unit.to_ascii_lowercase());
        document.insert(name, json!({ "bytes": octets, "percentage": percent }));
    }
    Ok(Output::Said(text, Value::Object(document)))
}

/// Names of what is enabled.
fn plugins(node: &Value) -> Vec<String> {
    super::users::tags(&node["enabled_plugins"])
}

/// Alarms in force, in the shape of the health checks.
fn alarms(node: &Value) -> Value {
    let name = &node["name"];
    let found: Vec<_> = [("mem_alarm", "memory"), ("disk_free_alarm", "disk")]
        .into_iter()
        .filter(|(field, _)| node[*field] == true)
        .map(|(_, resource)| json!({ "node": name, "resource": resource }))
        .collect();
    json!(found)
}

fn listeners_json(listeners: &[Value]) -> Value {
    let rows: Vec<_> = listeners
        .iter()
        .map(|listener| {
            json!({
                "node": listener["node"],
                "protocol": listener["protocol"],
                "interface": listener["ip_address"],
                "port": listener["port"],
                "purpose": purpose(listener["protocol"].as_str().unwrap_or_default()),
            })
        })
        .collect();
    json!(rows)
}

fn heading(text: &mut String, heading: &str) {
    let _ = write!(text, "\n{heading}\n\n");
}

/// Lines, or that there are none.
fn or_none(lines: &str) -> String {
    if lines.is_empty() { "(none)\n".to_owned() } else { format!("{lines}\n") }
}

fn bullets(items: &[String]) -> String {
    items.iter().fold(String::new(), |text, item| text + " * " + item + "\n")
}

fn status(call: &mut Call<'_>) -> Result<Output, Failure> {
    let unit = unit(call)?;
    let overview = call.get(&path(&["overview"]))?;
    let node = node(call)?;
    let own = own_status(call);
    let memory = read_memory(call, &node);
    let vhosts = call.list(&path(&["vhosts"]))?.len();
    let seconds = node["uptime"].as_u64().unwrap_or_default() / 1000;
    let listeners = overview["listeners"].as_array().cloned().unwrap_or_default();
    let totals = &overview["object_totals"];
    let files = super::users::tags;
    let drained = node["being_drained"] == true;
    let document = json!({
        "pid": node["os_pid"].as_str().and_then(|pid| pid.parse::<u64>().ok()),
        "os": std::env::consts::OS,
        "uptime": seconds,
        "is_under_maintenance": drained,
        "product_name": overview["product_name"],
        "product_version": overview["product_version"],
        "rabbitmq_version": overview["rabbitmq_version"],
        "erlang_version": overview["erlang_full_version"],
        "crypto_lib_version": overview["crypto_lib_version"],
        "processes": { "used": node["proc_used"], "limit": node["proc_total"] },
        "run_queue": node["run_queue"],
        "net_ticktime": node["net_ticktime"],
        "active_plugins": plugins(&node),
        "data_directory": node["db_dir"],
        "raft_data_directory": node["db_dir"],
        "config_files": files(&node["config_files"]),
        "log_files": files(&node["log_files"]),
        "alarms": alarms(&node),
        "tags": [],
        "memory": memory,
        "vm_memory_calculation_strategy": node["mem_calculation_strategy"],
        "vm_memory_high_watermark_limit": node["mem_limit"],
        "disk_free_limit": node["disk_free_limit"],
        "disk_free": node["disk_free"],
        "totals": {
            "connection_count": totals["connections"],
            "queue_count": totals["queues"],
            "virtual_host_count": vhosts,
        },
        "listeners": listeners_json(&listeners),
        "leveret": own,
    });
    let mut text = String::from("Runtime\n\n");
    let _ = writeln!(text, "OS PID: {}", shown(&node["os_pid"]));
    let _ = writeln!(text, "OS: {}", os());
    let _ = writeln!(text, "Uptime (seconds): {seconds}");
    let _ = writeln!(text, "Is under maintenance?: {drained}");
    for (label, field) in [("Product name", "product_name"), ("Product version", "product_version")] {
        if overview[field].as_str().is_some_and(|name| !name.is_empty()) {
            let _ = writeln!(text, "{label}: {}", shown(&overview[field]));
        }
    }
    let _ = writeln!(text, "RabbitMQ version: {}", shown(&overview["rabbitmq_version"]));
    let _ = writeln!(text, "Node name: {}", call.node);
    let _ = writeln!(text, "Erlang configuration: {}", shown(&overview["erlang_full_version"]));
    let _ = writeln!(text, "Crypto library: {}", shown(&overview["crypto_lib_version"]));
    let _ =
        writeln!(text, "Erlang processes: {} used, {} limit", shown(&node["proc_used"]), shown(&node["proc_total"]));
    let _ = writeln!(text, "Scheduler run queue: {}", shown(&node["run_queue"]));
    let _ = writeln!(text, "Cluster heartbeat timeout (net_ticktime): {}", shown(&node["net_ticktime"]));
    heading(&mut text, "Plugins");
    text.push_str("Enabled plugins:\n\n");
    text.push_str(&bullets(&plugins(&node)));
    heading(&mut text, "Data directory");
    let _ = writeln!(text, "Node data directory: {}", shown(&node["db_dir"]));
    let _ = writeln!(text, "Raft data directory: {}", shown(&node["db_dir"]));
    heading(&mut text, "Config files");
    text.push_str(&bullets(&files(&node["config_files"])));
    heading(&mut text, "Log file(s)");
    text.push_str(&bullets(&files(&node["log_files"])));
    heading(&mut text, "Alarms");
    text.push_str(&or_none(&alarm_lines(&alarms(&node))));
    heading(&mut text, "Tags");
    text.push_str("(none)\n");
    heading(&mut text, "Memory");
    let _ = writeln!(text, "Total memory used: {}", amount(&node["mem_used"], unit));
    let _ = writeln!(text, "Calculation strategy: {}", shown(&node["mem_calculation_strategy"]));
    let _ = writeln!(text, "Memory high watermark setting: {}", amount(&node["mem_limit"], unit));
    text.push('\n');
    for (name, octets, percent) in breakdown(&memory) {
        let _ = writeln!(text, "{name}: {} {unit} ({percent:?} %)", in_unit(octets, unit).unwrap_or_default());
    }
    heading(&mut text, "Free Disk Space");
    let _ = writeln!(text, "Low free disk space watermark: {}", amount(&node["disk_free_limit"], unit));
    let _ = writeln!(text, "Free disk space: {}", amount(&node["disk_free"], unit));
    heading(&mut text, "Totals");
    let _ = writeln!(text, "Connection count: {}", shown(&totals["connections"]));
    let _ = writeln!(text, "Queue count: {}", shown(&totals["queues"]));
    let _ = writeln!(text, "Virtual host count: {vhosts}");
    heading(&mut text, "Listeners");
    text.push_str(&or_none(&listeners.iter().map(listener_line).collect::<Vec<_>>().join("\n")));
    Ok(Output::Said(text, document))
}

/// The system's name as RabbitMQ writes it.
fn os() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        other => other,
    }
}

fn cluster(call: &mut Call<'_>) -> Result<Output, Failure> {
    let overview = call.get(&path(&["overview"]))?;
    let node = node(call)?;
    let name = shown(&node["name"]);
    let processors = &node["processors"];
    let listeners = overview["listeners"].as_array().cloned().unwrap_or_default();
    let flags = call.list(&path(&["feature-flags"])).unwrap_or_default();
    let product = overview["product_name"].as_str().filter(|name| !name.is_empty()).unwrap_or("RabbitMQ");
    let version = overview["product_version"].as_str().filter(|version| !version.is_empty());
    let version = version.map_or_else(|| shown(&overview["rabbitmq_version"]), str::to_owned);
    let erlang = shown(&overview["erlang_version"]);
    let maintenance = if node["being_drained"] == true { "marked for maintenance" } else { "not under maintenance" };
    let document = json!({
        "cluster_name": overview["cluster_name"],
        "cluster_tags": [],
        "disk_nodes": [name],
        "running_nodes": [name],
        "versions": { &name: { "rabbitmq_name": product, "rabbitmq_version": version, "erlang_version": erlang } },
        "cpu_cores": { &name: processors },
        "maintenance_status": { &name: maintenance },
        "alarms": alarms(&node),
        "partitions": {},
        "listeners": { &name: listeners_json(&listeners) },
        "feature_flags": flags,
    });
    let mut text = String::from("Basics\n\n");
    let _ = writeln!(text, "Cluster name: {}", shown(&overview["cluster_name"]));
    let _ = writeln!(text, "Total CPU cores available cluster-wide: {processors}");
    heading(&mut text, "Cluster Tags");
    text.push_str("(none)\n");
    for what in ["Disk Nodes", "Running Nodes"] {
        heading(&mut text, what);
        let _ = writeln!(text, "{name}");
    }
    heading(&mut text, "Versions");
    let _ = writeln!(text, "{name}: {product} {version} on Erlang {erlang}");
    heading(&mut text, "CPU Cores");
    let _ = writeln!(text, "Node: {name}, available CPU cores: {processors}");
    heading(&mut text, "Maintenance status");
    let _ = writeln!(text, "Node: {name}, status: {maintenance}");
    heading(&mut text, "Alarms");
    text.push_str(&or_none(&alarm_lines(&alarms(&node))));
    heading(&mut text, "Network Partitions");
    text.push_str("(none)\n");
    heading(&mut text, "Listeners");
    let line =
        |listener: &Value| format!("Node: {name}, {}", listener_line(listener).replacen("Interface", "interface", 1));
    text.push_str(&or_none(&listeners.iter().map(line).collect::<Vec<_>>().join("\n")));
    heading(&mut text, "Feature flags");
    let line = |flag: &Value| format!("Flag: {}, state: {}", shown(&flag["name"]), shown(&flag["state"]));
    text.push_str(&or_none(&flags.iter().map(line).collect::<Vec<_>>().join("\n")));
    Ok(Output::Said(text, document))
}

fn list_listeners(call: &mut Call<'_>) -> Result<Output, Failure> {
    let listeners = listeners(call)?;
    if matches!(call.format, Format::Csv | Format::Erlang | Format::Table | Format::Pretty) {
        let row = |listener: &Value| -> Row {
            vec![
                ("node", Cell::Plain(listener["node"].clone())),
                ("protocol", Cell::Plain(listener["protocol"].clone())),
                ("interface", Cell::Plain(listener["ip_address"].clone())),
                ("port", Cell::Plain(listener["port"].clone())),
                ("purpose", Cell::text(purpose(listener["protocol"].as_str().unwrap_or_default()))),
            ]
        };
        return Ok(Output::Rows { rows: listeners.iter().map(row).collect(), streamed: true });
    }
    let text = if listeners.is_empty() {
        format!("Node {} reported no enabled listeners.", call.node)
    } else {
        listeners.iter().map(listener_line).collect::<Vec<_>>().join("\n")
    };
    let document = json!({ "result": "ok", "node": call.node, "listeners": listeners_json(&listeners) });
    Ok(Output::Said(text, document))
}

fn server_version(call: &mut Call<'_>) -> Result<Output, Failure> {
    Ok(Output::value(shown(&call.get(&path(&["overview"]))?["rabbitmq_version"])))
}

fn erlang_version(call: &mut Call<'_>) -> Result<Output, Failure> {
    if call.line.on("offline") {
        return Err(Failure::unsupported("--offline", "these tools are not written in Erlang"));
    }
    let field = if call.line.on("details") { "erlang_full_version" } else { "erlang_version" };
    Ok(Output::value(shown(&call.get(&path(&["overview"]))?[field])))
}

fn tls_versions(_: &mut Call<'_>) -> Result<Output, Failure> {
    let versions = ["tlsv1.3", "tlsv1.2"];
    Ok(Output::Said(versions.join("\n"), json!({ "versions": versions })))
}

fn log_files(call: &Call<'_>) -> Result<Vec<String>, Failure> {
    Ok(super::users::tags(&node(call)?["log_files"]))
}

fn log_location(call: &mut Call<'_>) -> Result<Output, Failure> {
    let mut files = log_files(call)?;
    if !call.line.on("all") {
        files.truncate(1);
    }
    let document = json!({ "result": "ok", "node_name": call.node, "paths": files });
    Ok(Output::Said(files.join("\n"), document))
}

fn lines_wanted(call: &Call<'_>) -> usize {
    call.line.number("number").and_then(|number| usize::try_from(number).ok()).unwrap_or(50)
}

/// Octets at the end of a log that are looked through for its last lines.
const TAIL: u64 = 1 << 20;

fn log_tail(call: &mut Call<'_>) -> Result<Output, Failure> {
    use std::io::{Read, Seek, SeekFrom};
    let files = log_files(call)?;
    let file = files.iter().find(|file| std::path::Path::new(file).is_file());
    let Some(file) = file else {
        return Err(Failure::error(UNAVAILABLE, "this broker logs to no file of this machine"));
    };
    let read = std::fs::File::open(file).and_then(|mut log| {
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        log.take(TAIL).read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).into_owned())
    });
    let tail = read.map_err(|error| Failure::error(UNAVAILABLE, format!("{file}: {error}")))?;
    let lines: Vec<_> = tail.lines().collect();
    let from = lines.len().saturating_sub(lines_wanted(call));
    Ok(Output::message(lines.get(from..).unwrap_or_default().join("\n")))
}

fn environment(call: &mut Call<'_>) -> Result<Output, Failure> {
    match call.api()?.get(&path(&["leveret", "environment"])) {
        Ok(settings) => {
            let text = match &settings {
                Value::String(text) => text.clone(),
                other => serde_json::to_string_pretty(other).unwrap_or_default(),
            };
            Ok(Output::Said(text, settings))
        }
        Err(error) if error.is_unknown() => {
            Err(Failure::unsupported("environment", "this broker's API does not show its settings"))
        }
        Err(error) => Err(call.fail(&error)),
    }
}

/// What a report is made of, command by command.
const REPORTED: [&str; 13] = [
    "status",
    "cluster_status",
    "memory_breakdown",
    "environment",
    "list_vhosts",
    "list_users",
    "list_feature_flags",
    "list_connections",
    "list_channels",
    "list_queues",
    "list_exchanges",
    "list_policies",
    "list_permissions",
];

fn report(call: &mut Call<'_>) -> Result<Output, Failure> {
    call.get(&path(&["overview"]))?;
    let vhosts = call.list(&path(&["vhosts"]))?;
    let vhosts: Vec<_> = vhosts.iter().filter_map(|vhost| vhost["name"].as_str()).collect();
    let mut text = String::new();
    for name in REPORTED {
        let Some(command) = find(Tool::Leveret, name) else { continue };
        let of_vhosts = command.usage.contains("--vhost");
        for vhost in if of_vhosts { vhosts.as_slice() } else { &["/"] } {
            let mut line = call.line.clone();
            line.switches.push(("vhost", (*vhost).to_owned()));
            let mut nothing = std::io::empty();
            let (mut out, mut err) = (std::io::sink(), std::io::sink());
            let streams =
                crate::ctl::command::Streams { input: &mut nothing, terminal: false, out: &mut out, err: &mut err };
            let mut part =
                Call::new((call.tool, call.program), command, (&[], &line), command.format, call.place, streams);
            let banner = command.banner.map_or_else(|| name.to_owned(), |banner| banner(&part));
            let _ = writeln!(text, "{banner}");
            match (command.run)(&mut part) {
                Ok(output) => text.push_str(&print(&output, part.format, true, &part.node)),
                Err(failure) => {
                    let _ = writeln!(text, "{}", failure.text);
                }
            }
            text.push('\n');
        }
    }
    Ok(Output::message(text))
}

fn attempts(call: &mut Call<'_>) -> Result<Output, Failure> {
    let name = shown(&node(call)?["name"]);
    let by_source = call.line.on("by-source");
    let mut segments = vec!["auth", "attempts", name.as_str()];
    segments.extend(by_source.then_some("source"));
    let columns: &[&'static str] = if by_source {
        &["remote_address", "username", "protocol", "auth_attempts", "auth_attempts_failed", "auth_attempts_succeeded"]
    } else {
        &["protocol", "auth_attempts", "auth_attempts_failed", "auth_attempts_succeeded"]
    };
    let found = call.list(&path(&segments))?;
    let row = |item: &Value| columns.iter().map(|name| (*name, Cell::Plain(item[*name].clone()))).collect();
    Ok(Output::Rows { rows: found.iter().map(row).collect(), streamed: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_as_rabbitmq_rounds_them() {
        assert_eq!(in_unit(74_800_000.0, "gb").as_deref(), Some("0.0748"));
        assert_eq!(in_unit(30_000.0, "GB").as_deref(), Some("0.0"));
        assert_eq!(in_unit(2_000_000.0, "mb").as_deref(), Some("2.0"));
        assert_eq!(in_unit(1024.0, "kib").as_deref(), Some("1.0"));
        assert_eq!(in_unit(7.0, "bytes").as_deref(), Some("7"));
        assert_eq!(in_unit(7.0, "stone"), None);
    }

    #[test]
    fn a_breakdown_is_relative_to_the_largest_total() {
        let memory = json!({ "code": 250, "binary": 750, "strategy": "rss", "total": { "rss": 1000, "erlang": 900 } });
        assert_eq!(breakdown(&memory), [("binary".to_owned(), 750.0, 75.0), ("code".to_owned(), 250.0, 25.0)]);
        assert_eq!(breakdown(&json!({})), []);
    }
}
