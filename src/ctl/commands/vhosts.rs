//! Virtual hosts: what they are called, what they may hold, whether they are traced or protected.

use serde_json::{Map, Value, json};

use super::users::{limit_row, limits_of, put_limits, tags};
use crate::ctl::api::{ApiError, path};
use crate::ctl::command::{BOTH, Call, Command, MANY, Section};
use crate::ctl::failure::{DATA, Failure};
use crate::ctl::options::{flag, text};
use crate::ctl::output::{Cell, Output};

const VHOSTS: Section = Section::Vhosts;

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "add_vhost",
        VHOSTS,
        "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" --default-queue-type <quorum|classic>]",
        "Creates a virtual host",
        add,
    )
    .words(1, 1)
    .switches(&[text("description").short('d'), text("tags"), text("default-queue-type")])
    .banner(|call| format!("Adding vhost \"{}\" ...", call.word(0))),
    Command::new("delete_vhost", VHOSTS, "<vhost>", "Deletes a virtual host and all that is in it", delete)
        .words(1, 1)
        .banner(|call| format!("Deleting vhost \"{}\" ...", call.word(0))),
    Command::new("list_vhosts", Section::Access, "[--no-table-headers] [<column> ...]", "Lists virtual hosts", list)
        .tools(BOTH)
        .columns(
            &["name", "description", "tags", "default_queue_type", "protected_from_deletion", "tracing", "cluster_state", "metadata"],
            &["name"],
        )
        .banner(|_| "Listing vhosts ...".to_owned()),
    Command::new(
        "update_vhost_metadata",
        VHOSTS,
        "<vhost> [--description=<description>] [--tags=\"<tag1>,<tag2>,<...>\"] [--default-queue-type=<quorum|classic>] \
         [--protected-from-deletion=<true|false>]",
        "Changes a virtual host's description, tags, default queue type or protection",
        update,
    )
    .words(1, 1)
    .switches(&[
        text("description").short('d'),
        text("tags"),
        text("default-queue-type"),
        flag("protected-from-deletion"),
    ])
    .banner(|call| format!("Updating metadata of vhost \"{}\" ...", call.word(0))),
    Command::new("set_vhost_tags", VHOSTS, "<vhost> <tag> [...]", "Gives a virtual host these tags, and no others", set_tags)
        .words(1, MANY)
        .banner(|call| {
            let tags = call.words.get(1..).unwrap_or_default().join(", ");
            format!("Setting tags for virtual host \"{}\" to [{tags}] ...", call.word(0))
        }),
    Command::new("set_vhost_limits", VHOSTS, "[--vhost <vhost>] <definition>", "Sets limits of a virtual host", set_limits)
        .words(1, 1)
        .banner(|call| format!("Setting vhost limits to \"{}\" for vhost \"{}\" ...", call.word(0), call.vhost())),
    Command::new("clear_vhost_limits", VHOSTS, "[--vhost <vhost>]", "Clears the limits of a virtual host", clear_limits)
        .banner(|call| format!("Clearing vhost \"{}\" limits ...", call.vhost())),
    Command::new(
        "list_vhost_limits",
        VHOSTS,
        "[--vhost <vhost>] [--global] [--no-table-headers]",
        "Lists limits of virtual hosts",
        list_limits,
    )
    .tools(BOTH)
    .table()
    .switches(&[flag("global")])
    .banner(|call| {
        if call.line.on("global") {
            "Listing limits for all vhosts ...".to_owned()
        } else {
            format!("Listing limits for vhost \"{}\" ...", call.vhost())
        }
    }),
    Command::new("restart_vhost", VHOSTS, "[--vhost <vhost>]", "Does nothing to a virtual host that runs", restart)
        .banner(|call| format!("Trying to restart vhost '{}' on node '{}' ...", call.vhost(), call.node)),
    Command::new(
        "enable_vhost_deletion_protection",
        VHOSTS,
        "<vhost>",
        "Protects a virtual host from being deleted",
        protect,
    )
    .words(1, 1),
    Command::new(
        "disable_vhost_deletion_protection",
        VHOSTS,
        "<vhost>",
        "Lets a protected virtual host be deleted",
        unprotect,
    )
    .words(1, 1),
    Command::new("trace_on", VHOSTS, "[--vhost <vhost>]", "Traces the messages of a virtual host", trace_on)
        .banner(|call| format!("Starting tracing for vhost \"{}\" ...", call.vhost())),
    Command::new("trace_off", VHOSTS, "[--vhost <vhost>]", "Ends tracing", trace_off)
        .banner(|call| format!("Stopping tracing for vhost \"{}\" ...", call.vhost())),
];

fn refused(call: &Call<'_>, vhost: &str, error: &ApiError) -> Failure {
    if error.is_not_found() { Failure::no_vhost(vhost) } else { call.fail(error) }
}

fn read(call: &Call<'_>, vhost: &str) -> Result<Value, Failure> {
    call.api()?.get(&path(&["vhosts", vhost])).map_err(|error| refused(call, vhost, &error))
}

/// What the switches say about a virtual host.
fn metadata(call: &Call<'_>) -> Map<String, Value> {
    let mut body = Map::new();
    for (switch, key) in
        [("description", "description"), ("tags", "tags"), ("default-queue-type", "default_queue_type")]
    {
        if let Some(text) = call.line.text(switch) {
            body.insert(key.to_owned(), json!(text));
        }
    }
    if let Some(text) = call.line.text("protected-from-deletion") {
        body.insert("protected_from_deletion".to_owned(), json!(text == "true"));
    }
    body
}

fn put(call: &Call<'_>, vhost: &str, body: Map<String, Value>) -> Result<Output, Failure> {
    let put = call.api()?.put(&path(&["vhosts", vhost]), &Value::Object(body));
    put.map(|_| Output::Done).map_err(|error| refused(call, vhost, &error))
}

fn add(call: &mut Call<'_>) -> Result<Output, Failure> {
    put(call, call.word(0), metadata(call))
}

fn delete(call: &mut Call<'_>) -> Result<Output, Failure> {
    let deleted = call.api()?.delete(&path(&["vhosts", call.word(0)]));
    deleted.map(|()| Output::Done).map_err(|error| refused(call, call.word(0), &error))
}

fn list(call: &mut Call<'_>) -> Result<Output, Failure> {
    let columns = call.columns().unwrap_or_default();
    let shown = |vhost: &Value, name: &str| match name {
        "tags" => Cell::Words(tags(&vhost["tags"])),
        _ => Cell::Plain(vhost[name].clone()),
    };
    let vhosts = call.list(&path(&["vhosts"]))?;
    let rows = vhosts.iter().map(|vhost| columns.iter().map(|name| (*name, shown(vhost, name))).collect()).collect();
    Ok(Output::Rows { rows, streamed: false })
}

/// Writes a virtual host anew, with what it had where nothing else is said.
fn change(call: &Call<'_>, changes: Map<String, Value>) -> Result<Output, Failure> {
    let before = read(call, call.word(0))?;
    let mut body = Map::new();
    body.insert("tags".to_owned(), json!(tags(&before["tags"]).join(",")));
    for key in ["description", "default_queue_type", "tracing"] {
        if before.get(key).is_some_and(|value| !value.is_null() && value != "undefined") {
            body.insert(key.to_owned(), before[key].clone());
        }
    }
    body.extend(changes);
    put(call, call.word(0), body)
}

fn update(call: &mut Call<'_>) -> Result<Output, Failure> {
    change(call, metadata(call))
}

fn set_tags(call: &mut Call<'_>) -> Result<Output, Failure> {
    let tags = call.words.get(1..).unwrap_or_default().join(",");
    change(call, Map::from_iter([("tags".to_owned(), json!(tags))]))
}

fn set_limits(call: &mut Call<'_>) -> Result<Output, Failure> {
    let limits = call.json(0)?;
    read(call, call.vhost())?;
    put_limits(call, &["vhost-limits", call.vhost()], &limits)?;
    Ok(Output::Done)
}

fn clear_limits(call: &mut Call<'_>) -> Result<Output, Failure> {
    read(call, call.vhost())?;
    for name in ["max-connections", "max-queues"] {
        match call.api()?.delete(&path(&["vhost-limits", call.vhost(), name])) {
            Err(error) if !error.is_not_found() => return Err(call.fail(&error)),
            _ => {}
        }
    }
    Ok(Output::Done)
}

fn list_limits(call: &mut Call<'_>) -> Result<Output, Failure> {
    if call.line.on("global") {
        let rows = call.list(&path(&["vhost-limits"]))?.iter().map(|item| limit_row("vhost", item)).collect();
        return Ok(Output::Rows { rows, streamed: false });
    }
    read(call, call.vhost())?;
    let found = call.list(&path(&["vhost-limits", call.vhost()]))?;
    let none = found.iter().all(|item| item["value"].as_object().is_none_or(Map::is_empty));
    Ok(if none { Output::Rows { rows: Vec::new(), streamed: false } } else { limits_of(&found) })
}

fn restart(call: &mut Call<'_>) -> Result<Output, Failure> {
    read(call, call.vhost())?;
    Ok(Output::message(format!("Successfully restarted vhost '{}' on node '{}'", call.vhost(), call.node)))
}

fn protect(call: &mut Call<'_>) -> Result<Output, Failure> {
    let protected = call.api()?.post(&path(&["vhosts", call.word(0), "deletion", "protection"]), &json!({}));
    protected.map(|_| Output::Done).map_err(|error| refused(call, call.word(0), &error))
}

fn unprotect(call: &mut Call<'_>) -> Result<Output, Failure> {
    let unprotected = call.api()?.delete(&path(&["vhosts", call.word(0), "deletion", "protection"]));
    unprotected.map(|()| Output::Done).map_err(|error| refused(call, call.word(0), &error))
}

/// Switches tracing and says so only once the broker says it is so.
fn trace(call: &Call<'_>, on: bool) -> Result<Output, Failure> {
    let vhost = call.vhost();
    read(call, vhost)?;
    put(call, vhost, Map::from_iter([("tracing".to_owned(), json!(on))]))?;
    if read(call, vhost)?["tracing"].as_bool() != Some(on) {
        return Err(Failure::error(
            DATA,
            format!("tracing of vhost {vhost} has not changed: this broker does not trace"),
        ));
    }
    let word = if on { "enabled" } else { "disabled" };
    Ok(Output::message(format!("Trace {word} for vhost {vhost}")))
}

fn trace_on(call: &mut Call<'_>) -> Result<Output, Failure> {
    trace(call, true)
}

fn trace_off(call: &mut Call<'_>) -> Result<Output, Failure> {
    trace(call, false)
}
