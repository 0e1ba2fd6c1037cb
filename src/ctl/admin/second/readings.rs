//! Acts that look: listings, the overview, memory, health, messages.

use serde_json::{Value, json};

use super::columns::{self, Columns, cell, field};
use super::{Doing, Shown, Wrong};
use crate::ctl::api::{ApiError, path, query};

/// Everything at `path` that is a list.
fn list(doing: &Doing<'_, '_>, path: &str, columns: Columns) -> Result<Shown, Wrong> {
    Ok(columns::table(&doing.settings.api.list(path)?, columns))
}

/// The page asked for, if one is, as a query.
fn page(doing: &Doing<'_, '_>) -> String {
    let parts: Vec<_> = [("page", "page"), ("page-size", "page_size")]
        .into_iter()
        .filter_map(|(option, name)| doing.text(option).map(|value| format!("{name}={value}")))
        .collect();
    let first = if doing.text("page").is_none() && !parts.is_empty() { "page=1&" } else { "" };
    if parts.is_empty() { String::new() } else { format!("?{first}{}", parts.join("&")) }
}

pub(super) fn queues(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    let found = doing.settings.api.list(&format!("{}{}", path(&["queues", doing.vhost()]), page(doing)))?;
    Ok(columns::chosen(&found, columns::QUEUES, doing.text("columns")))
}

pub(super) fn queue(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    let found = doing.settings.api.get(&path(&["queues", doing.vhost(), doing.must("name")]))?;
    Ok(columns::chosen(&[found], columns::QUEUES, doing.text("columns")))
}

pub(super) fn exchanges(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &format!("{}{}", path(&["exchanges", doing.vhost()]), page(doing)), columns::EXCHANGES)
}

pub(super) fn bindings(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["bindings", doing.vhost()]), columns::BINDINGS)
}

pub(super) fn connections(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &format!("{}{}", path(&["connections"]), page(doing)), columns::CONNECTIONS)
}

pub(super) fn user_connections(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["connections", "username", doing.must("username")]), columns::USER_CONNECTIONS)
}

pub(super) fn channels(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &format!("{}{}", path(&["channels"]), page(doing)), columns::CHANNELS)
}

pub(super) fn consumers(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["consumers", doing.vhost()]), columns::CONSUMERS)
}

pub(super) fn nodes(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["nodes"]), columns::NODES)
}

pub(super) fn users(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &format!("{}{}", path(&["users"]), page(doing)), columns::USERS)
}

pub(super) fn vhosts(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["vhosts"]), columns::VHOSTS)
}

pub(super) fn permissions(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["permissions"]), columns::PERMISSIONS)
}

pub(super) fn policies(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["policies"]), columns::POLICIES)
}

pub(super) fn operator_policies(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["operator-policies"]), columns::POLICIES)
}

fn applying(doing: &Doing<'_, '_>, kind: &str) -> Result<Shown, Wrong> {
    let mut found = doing.settings.api.list(&path(&[kind, doing.vhost()]))?;
    if let Some(target) = doing.text("apply-to") {
        found.retain(|policy| policy["apply-to"] == target);
    }
    Ok(columns::table(&found, columns::POLICIES))
}

pub(super) fn policies_in(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    applying(doing, "policies")
}

pub(super) fn operator_policies_in(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    applying(doing, "operator-policies")
}

pub(super) fn all_parameters(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["parameters"]), columns::PARAMETERS)
}

pub(super) fn parameters(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    if let Some(component) = doing.text("component") {
        return list(doing, &path(&["parameters", component, doing.vhost()]), columns::PARAMETERS);
    }
    let mut found = doing.settings.api.list(&path(&["parameters"]))?;
    found.retain(|parameter| parameter["vhost"] == doing.vhost());
    Ok(columns::table(&found, columns::PARAMETERS))
}

pub(super) fn global_parameters(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["global-parameters"]), columns::GLOBAL_PARAMETERS)
}

pub(super) fn user_limits(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["user-limits"]), columns::USER_LIMITS)
}

pub(super) fn vhost_limits(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["vhost-limits"]), columns::VHOST_LIMITS)
}

pub(super) fn feature_flags(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["feature-flags"]), columns::FEATURE_FLAGS)
}

pub(super) fn deprecated(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["deprecated-features"]), columns::DEPRECATED)
}

pub(super) fn deprecated_used(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["deprecated-features", "used"]), columns::DEPRECATED)
}

pub(super) fn attempts(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    list(doing, &path(&["auth", "attempts", doing.must("node")]), columns::ATTEMPTS)
}

/// Names of plugins, one a row.
fn plugins_of(nodes: &[Value], wanted: Option<&str>) -> Shown {
    let rows = nodes
        .iter()
        .filter(|node| wanted.is_none_or(|wanted| node["name"] == wanted))
        .flat_map(|node| {
            let plugins = node["enabled_plugins"].as_array().into_iter().flatten();
            plugins.map(|plugin| vec![cell(&node["name"]), cell(plugin)])
        })
        .collect();
    Shown::Table(["node", "name"].map(str::to_owned).to_vec(), rows)
}

pub(super) fn plugins(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    Ok(plugins_of(&doing.settings.api.list(&path(&["nodes"]))?, None))
}

pub(super) fn plugins_on_node(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    let node = doing.settings.api.get(&path(&["nodes", doing.must("node")]))?;
    Ok(plugins_of(&[node], None))
}

/// A table of keys and values below a title.
fn pairs(title: &'static str, item: &Value, rows: &[(&str, &str)]) -> Shown {
    let rows = rows.iter().map(|(name, from)| vec![(*name).to_owned(), cell(field(item, from))]).collect();
    Shown::Titled(title, rows)
}

pub(super) fn overview(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    let overview = doing.settings.api.get(&path(&["overview"]))?;
    let rows = [
        ("Product name", "product_name"),
        ("Product version", "product_version"),
        ("RabbitMQ version", "rabbitmq_version"),
        ("Erlang version", "erlang_version"),
        ("Erlang details", "erlang_full_version"),
        ("Connections (total)", "object_totals.connections"),
        ("AMQP 0-9-1 channels (total)", "object_totals.channels"),
        ("Queues and streams (total)", "object_totals.queues"),
        ("Consumers (total)", "object_totals.consumers"),
        ("Messages (total)", "queue_totals.messages"),
        ("Messages ready for delivery (total)", "queue_totals.messages_ready"),
        ("Messages delivered but unacknowledged by consumers (total)", "queue_totals.messages_unacknowledged"),
        ("Publishing (ingress) rate (global)", "message_stats.publish_details.rate"),
        ("Publishing confirm rate (global)", "message_stats.confirm_details.rate"),
        ("Consumer delivery (egress) rate (global)", "message_stats.deliver_get_details.rate"),
        (
            "Consumer delivery in automatic acknowledgement mode rate (global)",
            "message_stats.deliver_no_ack_details.rate",
        ),
        ("Consumer acknowledgement rate (global)", "message_stats.ack_details.rate"),
        ("Unroutable messages: returned-to-publisher rate (global)", "message_stats.return_unroutable_details.rate"),
        ("Unroutable messages: dropped rate (global)", "message_stats.drop_unroutable_details.rate"),
        ("Cluster tags", "cluster_tags"),
        ("Node tags", "node_tags"),
    ];
    Ok(pairs("Overview", &overview, &rows))
}

pub(super) fn churn(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    let overview = doing.settings.api.get(&path(&["overview"]))?;
    let rows = [
        ("Client connections opened", "churn_rates.connection_created"),
        ("Client connections closed", "churn_rates.connection_closed"),
        ("Client channels opened", "churn_rates.channel_created"),
        ("Client channels closed", "churn_rates.channel_closed"),
        ("Queues and streams (re)declarations", "churn_rates.queue_declared"),
        ("Queues and streams created", "churn_rates.queue_created"),
        ("Queues and streams deleted", "churn_rates.queue_deleted"),
    ];
    Ok(pairs("Entity (connections, queues, etc) churn over the most recent sampling period", &overview, &rows))
}

pub(super) fn endpoint(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    Ok(Shown::Text(format!("Using endpoint: {}/api\n", doing.settings.place)))
}

/// What memory is used for, most first, each as `show` tells it.
fn memory(doing: &Doing<'_, '_>, show: fn(f64, f64) -> String) -> Result<Shown, Wrong> {
    let memory = doing.settings.api.get(&path(&["nodes", doing.must("node"), "memory"]))?["memory"].clone();
    let total = memory["total"]["rss"].as_f64().unwrap_or_default();
    let mut parts: Vec<(String, f64)> = memory
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, octets)| octets.as_f64().map(|octets| (name.clone(), octets)))
        .collect();
    for (name, key) in [("total (RSS)", "rss"), ("total (allocated)", "allocated")] {
        parts.extend(memory["total"][key].as_f64().map(|octets| (name.to_owned(), octets)));
    }
    parts.sort_by(|one, other| other.1.total_cmp(&one.1));
    let rows = parts.into_iter().map(|(name, octets)| vec![name, show(octets, total)]).collect();
    Ok(Shown::Table(["key", "value"].map(str::to_owned).to_vec(), rows))
}

pub(super) fn memory_bytes(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    memory(doing, |octets, _| format!("{octets:.0}"))
}

pub(super) fn memory_percent(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    memory(doing, |octets, total| {
        let percent = if total > 0.0 { octets * 100.0 / total } else { 0.0 };
        format!("{percent:.2}%")
    })
}

/// A health check of the API; one that fails says how.
fn check(doing: &Doing<'_, '_>, segments: &[&str]) -> Result<Shown, Wrong> {
    let place = path(&[&["health", "checks"], segments].concat());
    match doing.settings.api.get(&place) {
        Ok(_) => Ok(Shown::Passed("health check passed".to_owned())),
        Err(ApiError::Refused { status: 503, reason, body }) => {
            let row = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            let mut rows = vec![
                row("result", "health check failed"),
                row("path", place.trim_start_matches("/api/")),
                row("status_code", "503 Service Unavailable"),
                row("reason", &reason),
            ];
            for alarm in body["alarms"].as_array().into_iter().flatten() {
                let key = format!("alarm in effect on node {}", cell(&alarm["node"]));
                rows.push((key, cell(&alarm["resource"])));
            }
            match segments {
                ["port-listener", port] => rows.push(row("inactive port", port)),
                ["protocol-listener", protocol] => rows.push(row("inactive protocol", protocol)),
                _ => {}
            }
            Err(Wrong::Failed(rows))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn alarms(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    check(doing, &["alarms"])
}

pub(super) fn local_alarms(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    check(doing, &["local-alarms"])
}

pub(super) fn quorum_critical(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    check(doing, &["node-is-quorum-critical"])
}

pub(super) fn port_listener(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    check(doing, &["port-listener", doing.must("port")])
}

pub(super) fn protocol_listener(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    check(doing, &["protocol-listener", doing.must("protocol")])
}

pub(super) fn no_deprecated(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    let used = doing.settings.api.list(&path(&["deprecated-features", "used"]))?;
    if used.is_empty() {
        return Ok(Shown::Passed("health check passed".to_owned()));
    }
    Err(Wrong::Failed(used.iter().map(|feature| ("in use".to_owned(), cell(&feature["name"]))).collect()))
}

pub(super) fn messages(doing: &mut Doing<'_, '_>) -> Result<Shown, Wrong> {
    let count: u32 = doing
        .must("count")
        .parse()
        .map_err(|_| Wrong::Usage("Invalid value for argument 'count': it is a number of messages".to_owned()))?;
    let body = json!({ "count": count, "ackmode": doing.must("ack-mode"), "encoding": "auto" });
    let place = path(&["queues", doing.vhost(), doing.must("queue"), "get"]);
    let found = doing.settings.api.post(&place, &body)?;
    Ok(columns::table(found.as_array().map(Vec::as_slice).unwrap_or_default(), columns::MESSAGES))
}

/// Bindings that are those of an act, by their source, destination, key and arguments.
pub(super) fn matching(doing: &Doing<'_, '_>, kind: &str) -> Result<Vec<String>, Wrong> {
    let place = path(&["bindings", doing.vhost(), "e", doing.must("source"), kind, doing.must("destination")]);
    let arguments = doing.json("arguments")?;
    let found = doing.settings.api.list(&place)?;
    let same = |binding: &&Value| {
        let bound = if binding["arguments"].is_object() { binding["arguments"].clone() } else { json!({}) };
        binding["routing_key"] == doing.must("routing-key") && (bound == arguments || arguments == json!({}))
    };
    Ok(found.iter().filter(same).map(|binding| cell(&binding["properties_key"])).map(|key| query(&key)).collect())
}
