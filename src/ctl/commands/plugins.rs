//! `rabbitmq-plugins`: what RabbitMQ has as plugins and Leveret has built in.
//!
//! Nothing can be switched here, so that nothing needs a broker: what is built in is enabled, before the first start as
//! after, and a script that enables it gets what it wants. What is not there is refused, by name.

use std::fmt::Write;

use regex::Regex;
use serde_json::json;

use crate::ctl::api::path;
use crate::ctl::command::{Call, Command, MANY, Section, Tool};
use crate::ctl::failure::{DATA, Failure, SOFTWARE, UNAVAILABLE};
use crate::ctl::options::{Switch, flag};
use crate::ctl::output::{Format, Output};

const PLUGINS: Section = Section::Plugins;
const TOOLS: &[Tool] = &[Tool::Plugins];
const MODES: &[Switch] = &[flag("online"), flag("offline"), flag("all")];

/// What is built in, in order: its name, and whether it is there for its own sake or for another.
const BUILT_IN: &[(&str, char, &str)] = &[
    ("rabbitmq_auth_mechanism_ssl", 'E', "Logins with a client certificate: SASL EXTERNAL"),
    ("rabbitmq_consistent_hash_exchange", 'E', "Exchanges of type x-consistent-hash"),
    ("rabbitmq_delayed_message_exchange", 'E', "Exchanges of type x-delayed-message"),
    ("rabbitmq_management", 'E', "The HTTP API"),
    ("rabbitmq_management_agent", 'e', "What the HTTP API stands on"),
    ("rabbitmq_message_deduplication", 'E', "Exchanges and queues that drop duplicates"),
    ("rabbitmq_prometheus", 'E', "Metrics"),
    ("rabbitmq_random_exchange", 'E', "Exchanges of type x-random"),
    ("rabbitmq_recent_history_exchange", 'E', "Exchanges of type x-recent-history"),
    ("rabbitmq_sharding", 'E', "Exchanges of type x-modulus-hash; queues are not made by policy"),
    ("rabbitmq_web_dispatch", 'e', "What the HTTP API stands on"),
];

/// Plugins of RabbitMQ that there is nothing of.
const ABSENT: &[&str] = &[
    "rabbitmq_amqp1_0",
    "rabbitmq_auth_backend_cache",
    "rabbitmq_auth_backend_http",
    "rabbitmq_auth_backend_internal_loopback",
    "rabbitmq_auth_backend_ldap",
    "rabbitmq_auth_backend_oauth2",
    "rabbitmq_event_exchange",
    "rabbitmq_exchange_federation",
    "rabbitmq_federation",
    "rabbitmq_federation_management",
    "rabbitmq_federation_prometheus",
    "rabbitmq_jms_topic_exchange",
    "rabbitmq_mqtt",
    "rabbitmq_peer_discovery_aws",
    "rabbitmq_peer_discovery_common",
    "rabbitmq_peer_discovery_consul",
    "rabbitmq_peer_discovery_etcd",
    "rabbitmq_peer_discovery_k8s",
    "rabbitmq_queue_federation",
    "rabbitmq_shovel",
    "rabbitmq_shovel_management",
    "rabbitmq_shovel_prometheus",
    "rabbitmq_stomp",
    "rabbitmq_stream",
    "rabbitmq_stream_management",
    "rabbitmq_top",
    "rabbitmq_tracing",
    "rabbitmq_trust_store",
    "rabbitmq_web_mqtt",
    "rabbitmq_web_stomp",
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "list",
        PLUGINS,
        "[pattern] [--verbose] [--minimal] [--enabled] [--implicitly-enabled]",
        "Lists plugins; those marked are built in",
        list,
    )
    .tools(TOOLS)
    .words(0, 1)
    .switches(&[
        flag("verbose").short('v'),
        flag("minimal").short('m'),
        flag("enabled").short('E'),
        flag("implicitly-enabled").short('e'),
    ])
    .banner(|call| format!("Listing plugins with pattern \"{}\" ...", pattern(call))),
    Command::new(
        "enable",
        PLUGINS,
        "<plugin1> [ <plugin2>] | --all [--offline] [--online]",
        "Succeeds for what is built in",
        enable,
    )
    .tools(TOOLS)
    .words(0, MANY)
    .switches(MODES)
    .banner(|call| announce(call, "Enabling")),
    Command::new(
        "set",
        PLUGINS,
        "<plugin1> [ <plugin2>] [--offline] [--online]",
        "Succeeds for what is built in",
        enable,
    )
    .tools(TOOLS)
    .words(0, MANY)
    .switches(MODES)
    .banner(|call| announce(call, "Enabling")),
    Command::new(
        "disable",
        PLUGINS,
        "<plugin1> [ <plugin2>] | --all [--offline] [--online]",
        "Changes nothing: what is built in stays",
        disable,
    )
    .tools(TOOLS)
    .words(0, MANY)
    .switches(MODES)
    .banner(|call| announce(call, "Disabling")),
    Command::new(
        "is_enabled",
        Section::Monitoring,
        "<plugin1> [ <plugin2>] [--offline] [--online]",
        "Fails unless all of them are built in",
        is_enabled,
    )
    .tools(TOOLS)
    .words(1, MANY)
    .switches(&[flag("online"), flag("offline")])
    .banner(|call| {
        if call.line.on("offline") {
            format!("Inferring if {} from local environment...", these(call))
        } else {
            format!("Asking node {} if {} enabled...", call.node, these(call))
        }
    }),
    Command::new("directories", Section::Monitoring, "[--offline] [--online]", "There are none", directories)
        .tools(TOOLS)
        .switches(&[flag("online"), flag("offline")])
        .banner(|call| format!("Listing plugin directories used by node {}", call.node)),
];

fn announce(call: &Call<'_>, what: &str) -> String {
    if call.line.on("all") {
        return format!("{what} ALL plugins on node {}", call.node);
    }
    let mut lines = vec![format!("{what} plugins on node {}:", call.node)];
    lines.extend(call.words.iter().cloned());
    lines.join("\n")
}

/// The plugins named, in a sentence.
fn these(call: &Call<'_>) -> String {
    match call.words {
        [one] => format!("plugin {one} is"),
        many => format!("plugins {} are", many.join(", ")),
    }
}

fn pattern<'c>(call: &'c Call<'_>) -> &'c str {
    call.words.first().map_or(".*", String::as_str)
}

fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(known, ..)| *known == name)
}

/// Refuses names that cannot be enabled.
fn check(call: &Call<'_>) -> Result<(), Failure> {
    if call.words.is_empty() && !call.line.on("all") && call.command.name != "set" {
        let text = "Error (argument validation): not enough arguments.";
        return Err(Failure::plain(super::super::failure::USAGE, text));
    }
    if call.line.on("all") && !call.words.is_empty() {
        return Err(Failure::plain(
            DATA,
            "Error (argument validation): Bad argument: Cannot set both --all and a list of plugins",
        ));
    }
    if call.line.on("online") && call.line.on("offline") {
        return Err(Failure::plain(
            DATA,
            "Error (argument validation): Bad argument: Cannot set both online and offline",
        ));
    }
    let unknown: Vec<_> =
        call.words.iter().map(String::as_str).filter(|name| !is_built_in(name) && !ABSENT.contains(name)).collect();
    if !unknown.is_empty() {
        return Err(Failure::error(SOFTWARE, format!("{{:plugins_not_found, [:{}]}}", unknown.join(", :"))));
    }
    let absent: Vec<_> = call.words.iter().map(String::as_str).filter(|name| ABSENT.contains(name)).collect();
    if !absent.is_empty() && call.command.name != "disable" {
        return Err(Failure::unsupported(&absent.join(", "), "there is nothing like it built in"));
    }
    Ok(())
}

fn list(call: &mut Call<'_>) -> Result<Output, Failure> {
    let wanted = Regex::new(pattern(call)).map_err(|error| Failure::error(DATA, error.to_string()))?;
    let overview = call.api().and_then(|api| api.get(&path(&["overview"])).map_err(|error| call.fail(&error))).ok();
    let version = overview.as_ref().and_then(|overview| overview["rabbitmq_version"].as_str());
    let version = version.unwrap_or(env!("CARGO_PKG_VERSION"));
    let (explicit, any) = (call.line.on("enabled"), call.line.on("implicitly-enabled"));
    let mut rows: Vec<_> = BUILT_IN.to_vec();
    if !explicit && !any {
        rows.extend(ABSENT.iter().map(|name| (*name, ' ', "Not supported")));
        rows.sort_unstable();
    }
    rows.retain(|(name, mark, _)| wanted.is_match(name) && (!explicit || *mark == 'E'));
    if call.format == Format::Json {
        let plugins: Vec<_> = rows
            .iter()
            .map(|(name, mark, about)| {
                let enabled = match mark {
                    'E' => "enabled",
                    'e' => "implicit",
                    _ => "not_enabled",
                };
                let running = overview.is_some() && *mark != ' ';
                json!({ "name": name, "version": version, "enabled": enabled, "running": running, "description": about })
            })
            .collect();
        let status = if overview.is_some() { "running" } else { "node_down" };
        let format = if call.line.on("minimal") { "minimal" } else { "normal" };
        return Ok(Output::Verbatim(format!(
            "{}\n",
            json!({ "status": status, "format": format, "plugins": plugins })
        )));
    }
    let mut text = String::new();
    if call.line.on("minimal") {
        for (name, ..) in rows {
            let _ = writeln!(text, "{name}");
        }
        return Ok(Output::Verbatim(text));
    }
    if !call.is_quiet() {
        let status = match overview {
            Some(_) => format!("* = running on {}", call.node),
            None => format!("[failed to contact {} - status not shown]", call.node),
        };
        text += " Configured: E = explicitly enabled; e = implicitly enabled\n";
        let _ = write!(text, " | Status: {status}\n |/\n");
    }
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
    for (name, mark, about) in rows {
        let running = if overview.is_some() && mark != ' ' { '*' } else { ' ' };
        if call.line.on("verbose") {
            let _ =
                writeln!(text, "[{mark}{running}] {name}\n     Version:     \t{version}\n     Description: \t{about}");
        } else {
            let _ = writeln!(text, "[{mark}{running}] {name:width$} {version}");
        }
    }
    Ok(Output::Verbatim(text))
}

fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|(name, ..)| *name).collect()
}

fn unchanged(call: &Call<'_>, told: &str) -> Output {
    if call.format == Format::Json {
        return Output::Verbatim(format!("{}\n", json!({ "enabled": [], "set": names() })));
    }
    let listed = names().join("\n  ");
    Output::message(format!(
        "The following plugins have been configured:\n  {listed}\nApplying plugin configuration to {}...\n{told}\n\
         Plugin configuration unchanged.",
        call.node
    ))
}

fn enable(call: &mut Call<'_>) -> Result<Output, Failure> {
    check(call)?;
    let told: Vec<_> =
        call.words.iter().map(|name| format!("{name} is built into Leveret and always enabled.")).collect();
    Ok(unchanged(call, &told.join("\n")))
}

fn disable(call: &mut Call<'_>) -> Result<Output, Failure> {
    check(call)?;
    let told = |name: &String| {
        if is_built_in(name) {
            format!("{name} is built into Leveret and stays; what it listens on is a matter of the settings.")
        } else {
            format!("{name} is not there.")
        }
    };
    let told: Vec<_> = call.words.iter().map(told).collect();
    Ok(unchanged(call, &told.join("\n")))
}

fn is_enabled(call: &mut Call<'_>) -> Result<Output, Failure> {
    let place = if call.line.on("offline") { String::new() } else { format!(" on node {}", call.node) };
    if !call.line.on("offline") {
        // Asked about a node, the answer is the node's.
        call.get(&path(&["overview"]))?;
    }
    let capital = |text: String| text.replacen("plugin", "Plugin", 1);
    let missing: Vec<_> = call.words.iter().map(String::as_str).filter(|name| !is_built_in(name)).collect();
    if missing.is_empty() {
        let text = capital(format!("{} enabled{place}", these(call)));
        let document = json!({ "result": "ok", "message": text });
        return Ok(Output::Said(text, document));
    }
    let which = if let [one] = missing.as_slice() {
        format!("Plugin {one} is")
    } else {
        format!("Plugins {} are", missing.join(", "))
    };
    let text = format!("{which} not enabled{place}. Enabled plugins and dependencies: {}", names().join(", "));
    Err(Failure::error(UNAVAILABLE, text))
}

fn directories(call: &mut Call<'_>) -> Result<Output, Failure> {
    Err(Failure::unsupported(call.command.name, "plugins are built in"))
}
