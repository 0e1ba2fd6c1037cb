//! What the node is and how it fares: status, cluster status, listeners.
//!
//! Put together from the API's overview and node. Fields of Erlang's runtime that do not exist here are left out of
//! JSON, or stand with what comes closest; the sections and their order are RabbitMQ's.

use std::fmt::Write;

use serde_json::{Value, json};

use super::health::{alarm_lines, listener_line, listeners, purpose};
use super::inside::{node, shown};
use super::memory::{UNIT, amount, breakdown, in_unit, read_memory, unit};
use crate::ctl::api::path;
use crate::ctl::command::{BOTH, Call, Command, Section, Tool};
use crate::ctl::failure::Failure;
use crate::ctl::output::{Cell, Format, Output, Row};

const LOOK: Section = Section::Monitoring;
const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];

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
    Command::new("listeners", LOOK, "", "Shows where the broker listens", list_listeners)
        .tools(DIAGNOSTICS)
        .banner(|call| format!("Asking node {} to report its protocol listeners ...", call.node)),
];

/// What only Leveret's own API tells, where there is it.
fn own_status(call: &Call<'_>) -> Value {
    call.api().ok().and_then(|api| api.get(&path(&["leveret", "status"])).ok()).unwrap_or_default()
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
