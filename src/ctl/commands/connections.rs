//! Connections that are closed, and listeners that are suspended.

use serde_json::{Value, json};

use super::listings::connection_pid;
use crate::ctl::api::path;
use crate::ctl::command::{Call, Command, Section, Tool};
use crate::ctl::failure::Failure;
use crate::ctl::options::{flag, number};
use crate::ctl::output::Output;

const OPERATIONS: Section = Section::Operations;

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "close_connection",
        OPERATIONS,
        "<connection pid> <explanation>",
        "Closes the connection that list_connections names so, by its pid or name",
        close,
    )
    .words(2, 2)
    .banner(|call| format!("Closing connection {}, reason: {}...", call.word(0), call.word(1))),
    Command::new(
        "close_all_connections",
        OPERATIONS,
        "[--vhost <vhost> --limit <limit>] [-n <node> --global] [--per-connection-delay <delay>] <explanation>",
        "Closes all connections of a virtual host, or of all",
        close_all,
    )
    .words(1, 1)
    .switches(&[flag("global"), number("per-connection-delay"), number("limit")])
    .banner(|call| {
        let reason = call.word(0);
        match (call.line.on("global"), limit(call)) {
            (true, _) => {
                format!("Closing all connections to node {} (across all vhosts), reason: {reason}...", call.node)
            }
            (false, None) => format!("Closing all connections in vhost {}, reason: {reason}...", call.vhost()),
            (false, Some(limit)) => {
                format!("Closing {limit} connections in vhost {}, reason: {reason}...", call.vhost())
            }
        }
    }),
    Command::new(
        "close_all_user_connections",
        OPERATIONS,
        "<username> <explanation>",
        "Closes all connections of a user",
        close_of_user,
    )
    .words(2, 2)
    .banner(|call| format!("Closing connections of user {}, reason: {}...", call.word(0), call.word(1))),
    Command::new("suspend_listeners", OPERATIONS, "", "Lets no more clients in; those who are stay", suspend).banner(|call| {
        format!(
            "Will suspend client connection listeners on node {}. The node will no longer accept client connections!",
            call.node
        )
    }),
    Command::new("resume_listeners", OPERATIONS, "", "Lets clients in again", resume).banner(|call| {
        format!(
            "Will resume client connection listeners on node {}. The node will now accept client connections",
            call.node
        )
    }),
    Command::new("drain", OPERATIONS, "", "Lets no more clients in and closes those there are, in order", drain)
        .tools(&[Tool::Upgrade])
        .entrusted()
        .banner(|call| {
            format!(
                "Will put node {} into maintenance mode. The node will no longer serve any client traffic!",
                call.node
            )
        }),
    Command::new("revive", OPERATIONS, "", "Ends what drain began", resume).tools(&[Tool::Upgrade]).banner(|call| {
        format!("Will put node {} back into regular operating mode. The node will again serve client traffic.", call.node)
    }),
];

fn limit(call: &Call<'_>) -> Option<usize> {
    call.line.number("limit").and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0)
}

fn names(connections: &[Value]) -> impl Iterator<Item = &str> {
    connections.iter().filter_map(|connection| connection["name"].as_str())
}

/// Closes these connections; those that have gone meanwhile are closed, too.
fn close_these<'n>(call: &Call<'_>, names: impl Iterator<Item = &'n str>, reason: &str) -> Result<usize, Failure> {
    let mut closed = 0;
    for name in names {
        match call.api()?.close(&path(&["connections", name]), reason) {
            Ok(()) => closed += 1,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(call.fail(&error)),
        }
    }
    Ok(closed)
}

fn close(call: &mut Call<'_>) -> Result<Output, Failure> {
    let wanted = call.word(0);
    let connections = call.list(&path(&["connections"]))?;
    let found: Vec<_> =
        names(&connections).filter(|name| *name == wanted || connection_pid(&call.node, name) == wanted).collect();
    // One that is not there any more is closed.
    close_these(call, found.into_iter(), call.word(1))?;
    Ok(Output::Done)
}

fn close_all(call: &mut Call<'_>) -> Result<Output, Failure> {
    let reason = call.word(0);
    let global = call.line.on("global");
    let path_of_list = if global { path(&["connections"]) } else { path(&["vhosts", call.vhost(), "connections"]) };
    let closed = match (limit(call), call.line.number("per-connection-delay")) {
        (None, None | Some(0)) => {
            let whose =
                if global { json!({ "reason": reason }) } else { json!({ "vhost": call.vhost(), "reason": reason }) };
            close_at_once(call, &whose, &path_of_list)?
        }
        (limit, delay) => {
            let connections = call.list(&path_of_list)?;
            let delay =
                std::time::Duration::from_millis(delay.and_then(|delay| u64::try_from(delay).ok()).unwrap_or(0));
            let mut closed = 0;
            for name in names(&connections).take(limit.unwrap_or(usize::MAX)) {
                closed += close_these(call, std::iter::once(name), reason)?;
                call.api()?.client.pause(delay);
            }
            closed
        }
    };
    Ok(Output::message(format!("Closed {closed} connections")))
}

/// Asks the broker to close them; one that has no word for that is asked for each.
fn close_at_once(call: &Call<'_>, whose: &Value, list: &str) -> Result<usize, Failure> {
    match call.api()?.post(&path(&["leveret", "close-connections"]), whose) {
        Ok(answer) => Ok(answer["closed"].as_u64().and_then(|closed| usize::try_from(closed).ok()).unwrap_or_default()),
        Err(error) if error.is_unknown() => {
            let connections = call.list(list)?;
            close_these(call, names(&connections), whose["reason"].as_str().unwrap_or_default())
        }
        Err(error) => Err(call.fail(&error)),
    }
}

fn close_of_user(call: &mut Call<'_>) -> Result<Output, Failure> {
    let list = path(&["connections", "username", call.word(0)]);
    close_at_once(call, &json!({ "user": call.word(0), "reason": call.word(1) }), &list)?;
    Ok(Output::Done)
}

/// Something only Leveret's own API has; `what` is the end of its path, as it is sent.
pub(super) fn ask(call: &Call<'_>, what: &str, body: &Value) -> Result<Output, Failure> {
    match call.api()?.post(&format!("/api/leveret/{what}"), body) {
        Ok(_) => Ok(Output::Done),
        Err(error) if error.is_unknown() => {
            Err(Failure::unsupported(call.command.name, "this broker's API does not offer it"))
        }
        Err(error) => Err(call.fail(&error)),
    }
}

fn suspend(call: &mut Call<'_>) -> Result<Output, Failure> {
    ask(call, "suspend-listeners", &json!({}))
}

fn resume(call: &mut Call<'_>) -> Result<Output, Failure> {
    ask(call, "resume-listeners", &json!({}))
}

/// The broker waits for clients as long as `--timeout` says, and answers then.
fn drain(call: &mut Call<'_>) -> Result<Output, Failure> {
    let patience = call.line.number("timeout").filter(|seconds| *seconds > 0);
    let path = patience.map_or("drain".to_owned(), |seconds| format!("drain?timeout={seconds}"));
    ask(call, &path, &json!({}))
}
