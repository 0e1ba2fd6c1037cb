//! Queues that are deleted, purged, or asked how they are.

use serde_json::{Value, json};

use crate::ctl::api::{ApiError, path, query};
use crate::ctl::command::{Call, Command, Section, Tool};
use crate::ctl::failure::{Failure, USAGE};
use crate::ctl::options::flag;
use crate::ctl::output::{Cell, Format, Output};

const LOOK: &[Tool] = &[Tool::Diagnostics, Tool::Queues];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "delete_queue",
        Section::Queues,
        "[--vhost <vhost>] <queue_name> [--if-empty|-e] [--if-unused|-u] [--force]",
        "Deletes a queue",
        delete,
    )
    .words(1, 1)
    .timed()
    .switches(&[flag("if-empty").short('e'), flag("if-unused").short('u'), flag("force")])
    .banner(|call| {
        let conditions: Vec<_> = [("if-empty", "if queue is empty "), ("if-unused", "if queue is unused ")]
            .into_iter()
            .filter(|(switch, _)| call.line.on(switch))
            .map(|(_, text)| text)
            .collect();
        format!("Deleting queue '{}' on vhost '{}' {}...", call.word(0), call.vhost(), conditions.join("and "))
    }),
    Command::new("purge_queue", Section::Queues, "<queue>", "Drops all messages of a queue that are ready", purge)
        .words(1, 1)
        .banner(|call| format!("Purging queue '{}' in vhost '{}' ...", call.word(0), call.vhost())),
    Command::new(
        "quorum_status",
        Section::Monitoring,
        "[--vhost <vhost>] <queue>",
        "Shows how a quorum queue is",
        quorum,
    )
    .tools(LOOK)
    .words(1, 1)
    .format(Format::Pretty)
    .banner(|call| format!("Status of queue {} on node {} ...", call.word(0), call.node)),
    Command::new(
        "check_if_node_is_quorum_critical",
        Section::Monitoring,
        "",
        "Passes: there is one node, and no queue has another to go to",
        critical,
    )
    .tools(LOOK)
    .banner(|call| format!("Checking if node {} is critical for quorum of any queues/streams ...", call.node)),
    Command::new(
        "rebalance",
        Section::Cluster,
        "< all | quorum | stream >",
        "Does nothing: there is one node",
        rebalance,
    )
    .tools(&[Tool::Queues])
    .words(1, 1)
    .banner(|call| match call.word(0) {
        "all" => "Re-balancing leaders of all replicated queues...".to_owned(),
        kind => format!("Re-balancing leaders of {kind} queues..."),
    }),
];

fn read(call: &Call<'_>) -> Result<Value, ApiError> {
    match call.api() {
        Ok(api) => api.get(&path(&["queues", call.vhost(), call.word(0)])),
        // Told again, and better, by whoever asks for the API next.
        Err(_) => Ok(Value::Null),
    }
}

fn delete(call: &mut Call<'_>) -> Result<Output, Failure> {
    let ready = read(call).ok().and_then(|queue| queue["messages_ready"].as_u64()).unwrap_or(0);
    let conditions: Vec<_> = ["if-empty", "if-unused"]
        .into_iter()
        .filter(|switch| call.line.on(switch))
        .map(|s| format!("{s}=true"))
        .collect();
    let mut path = path(&["queues", call.vhost(), call.word(0)]);
    if !conditions.is_empty() {
        path = format!("{path}?{}", conditions.join("&"));
    }
    let refused = |why: &str| Failure::error(USAGE, why);
    match call.api()?.delete(&path) {
        Ok(()) => Ok(Output::message(format!("Queue was successfully deleted with {ready} ready messages"))),
        Err(error) if error.is_not_found() => Err(refused("No such queue was found")),
        Err(error @ ApiError::Refused { .. }) if error.reason().contains("not empty") => {
            Err(refused("The queue is not empty"))
        }
        Err(error @ ApiError::Refused { .. }) if error.reason().contains("in use") => {
            Err(refused("The queue is in use"))
        }
        Err(error) if error.reason().contains("RESOURCE_LOCKED") => {
            Err(refused("The queue is locked or protected from deletion"))
        }
        Err(error) => Err(call.fail(&error)),
    }
}

fn purge(call: &mut Call<'_>) -> Result<Output, Failure> {
    let purged = call.api()?.delete(&path(&["queues", call.vhost(), call.word(0), "contents"]));
    purged.map(|()| Output::Done).map_err(|error| call.fail(&error))
}

fn quorum(call: &mut Call<'_>) -> Result<Output, Failure> {
    let queue = call.get(&path(&["queues", call.vhost(), call.word(0)]))?;
    if queue["type"] != "quorum" {
        return Err(Failure::error(super::super::failure::UNAVAILABLE, "Operation not supported for this queue type"));
    }
    // The columns of RabbitMQ's Raft: one member, which leads and has nothing to catch up with.
    let row = vec![
        ("Node Name", Cell::text(&*call.node)),
        ("Raft State", Cell::text("leader")),
        ("Membership", Cell::text("voter")),
        ("Last Log Index", Cell::Plain(json!(0))),
        ("Last Written", Cell::Plain(json!(0))),
        ("Last Applied", Cell::Plain(json!(0))),
        ("Commit Index", Cell::Plain(json!(0))),
        ("Snapshot Index", Cell::Plain(json!(0))),
        ("Term", Cell::Plain(json!(1))),
        ("Machine Version", Cell::Plain(json!(0))),
    ];
    Ok(Output::Rows { rows: vec![row], streamed: true })
}

fn critical(call: &mut Call<'_>) -> Result<Output, Failure> {
    let checked = call.get(&path(&["health", "checks", "node-is-quorum-critical"]))?;
    let alone = checked["reason"].as_str().is_some_and(|reason| reason.contains("single node"));
    let node = &call.node;
    Ok(Output::passed(if alone {
        format!("Node {node} seems to be the only one in a single node cluster, the check does not apply")
    } else {
        format!("Node {node} reported no queues/streams with minimum quorum")
    }))
}

fn rebalance(call: &mut Call<'_>) -> Result<Output, Failure> {
    let kind = call.word(0);
    if !["all", "quorum", "stream", "classic"].contains(&kind) {
        return Err(Failure::error(USAGE, format!("type {kind} is not supported. Try one of all, quorum, stream.")));
    }
    let found = call.list(&format!("{}?columns={}", path(&["queues"]), query("type")))?;
    let quorum = found.iter().filter(|queue| queue["type"] == "quorum").count();
    let row = vec![("Node name", Cell::text(&*call.node)), ("Number of quorum queues", Cell::Plain(json!(quorum)))];
    Ok(Output::Rows { rows: vec![row], streamed: true })
}
