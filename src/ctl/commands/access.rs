//! Permissions and topic permissions.

use serde_json::{Value, json};

use super::users::missing_in_listing;
use crate::ctl::api::{ApiError, path};
use crate::ctl::command::{BOTH, Call, Command, Section};
use crate::ctl::failure::{Failure, NO_USER, UNAVAILABLE};
use crate::ctl::output::{Cell, Output};

const ACCESS: Section = Section::Access;

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "set_permissions",
        ACCESS,
        "[--vhost <vhost>] <username> <conf> <write> <read>",
        "Lets a user configure, write and read what these patterns match, in a virtual host",
        set,
    )
    .words(4, 4)
    .banner(|call| format!("Setting permissions for user \"{}\" in vhost \"{}\" ...", call.word(0), call.vhost())),
    Command::new(
        "set_permissions_globally",
        ACCESS,
        "<username> <conf> <write> <read>",
        "The same in every virtual host there is",
        set_globally,
    )
    .words(4, 4)
    .banner(|call| format!("Setting permissions for user \"{}\" in all virtual hosts ...", call.word(0))),
    Command::new(
        "clear_permissions",
        ACCESS,
        "[--vhost <vhost>] <username>",
        "Takes a user's permissions in a virtual host away",
        clear,
    )
    .words(1, 1)
    .banner(|call| format!("Clearing permissions for user \"{}\" in vhost \"{}\" ...", call.word(0), call.vhost())),
    Command::new(
        "list_permissions",
        ACCESS,
        "[--vhost <vhost>] [--no-table-headers]",
        "Lists permissions in a virtual host",
        list,
    )
    .tools(BOTH)
    .table()
    .banner(|call| format!("Listing permissions for vhost \"{}\" ...", call.vhost())),
    Command::new(
        "list_user_permissions",
        ACCESS,
        "[--no-table-headers] <username>",
        "Lists permissions of a user",
        list_of_user,
    )
    .tools(BOTH)
    .table()
    .words(1, 1)
    .banner(|call| format!("Listing permissions for user \"{}\" ...", call.word(0))),
    Command::new(
        "set_topic_permissions",
        ACCESS,
        "[--vhost <vhost>] <username> <exchange> <write> <read>",
        "Lets a user publish and bind with the routing keys these patterns match, on a topic exchange",
        set_topic,
    )
    .words(4, 4)
    .banner(|call| {
        let (user, exchange, vhost) = (call.word(0), call.word(1), call.vhost());
        format!("Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ...")
    }),
    Command::new(
        "clear_topic_permissions",
        ACCESS,
        "[--vhost <vhost>] <username> [<exchange>]",
        "Takes a user's topic permissions away, on one exchange or all",
        clear_topic,
    )
    .words(1, 2)
    .banner(|call| match call.words.get(1) {
        None => format!("Clearing topic permissions for user \"{}\" in vhost \"{}\" ...", call.word(0), call.vhost()),
        Some(exchange) => format!(
            "Clearing topic permissions on \"{exchange}\" for user \"{}\" in vhost \"{}\" ...",
            call.word(0),
            call.vhost()
        ),
    }),
    Command::new(
        "list_topic_permissions",
        ACCESS,
        "[--vhost <vhost>] [--no-table-headers]",
        "Lists topic permissions in a virtual host",
        list_topic,
    )
    .tools(BOTH)
    .table()
    .banner(|call| format!("Listing topic permissions for vhost \"{}\" ...", call.vhost())),
    Command::new(
        "list_user_topic_permissions",
        ACCESS,
        "[--no-table-headers] <username>",
        "Lists topic permissions of a user",
        list_topic_of_user,
    )
    .tools(BOTH)
    .table()
    .words(1, 1)
    .banner(|call| format!("Listing topic permissions for user \"{}\" ...", call.word(0))),
];

/// Why a permission was refused: mostly because the user or the virtual host is not there.
fn refused(call: &Call<'_>, vhost: &str, error: &ApiError) -> Failure {
    let (ApiError::Refused { status: 400 | 404, .. }, Ok(api)) = (error, call.api()) else { return call.fail(error) };
    let is_missing = |path: &str| matches!(api.get(path), Err(error) if error.is_not_found());
    if is_missing(&path(&["users", call.word(0)])) {
        return Failure::error(NO_USER, format!("User {} does not exist", call.word(0)));
    }
    if is_missing(&path(&["vhosts", vhost])) {
        return Failure::error(UNAVAILABLE, format!("Virtual host {vhost} does not exist"));
    }
    call.fail(error)
}

fn put(call: &Call<'_>, vhost: &str) -> Result<(), Failure> {
    let body = json!({ "configure": call.word(1), "write": call.word(2), "read": call.word(3) });
    let path = path(&["permissions", vhost, call.word(0)]);
    call.api()?.put(&path, &body).map(drop).map_err(|error| refused(call, vhost, &error))
}

fn set(call: &mut Call<'_>) -> Result<Output, Failure> {
    put(call, call.vhost()).map(|()| Output::Done)
}

fn set_globally(call: &mut Call<'_>) -> Result<Output, Failure> {
    for vhost in call.list(&path(&["vhosts"]))? {
        put(call, vhost["name"].as_str().unwrap_or_default())?;
    }
    Ok(Output::Done)
}

fn clear(call: &mut Call<'_>) -> Result<Output, Failure> {
    gone(call, &["permissions", call.vhost(), call.word(0)])
}

/// Deletes a permission. One that is not there is gone, as it is for RabbitMQ, whoever it would have been of.
fn gone(call: &Call<'_>, segments: &[&str]) -> Result<Output, Failure> {
    match call.api()?.delete(&path(segments)) {
        Err(error) if !error.is_not_found() => Err(call.fail(&error)),
        _ => Ok(Output::Done),
    }
}

/// Rows of these columns.
fn rows(items: &[Value], columns: [&'static str; 4]) -> Output {
    let row = |item: &Value| {
        columns.iter().filter(|name| !name.is_empty()).map(|name| (*name, Cell::Plain(item[*name].clone()))).collect()
    };
    Output::Rows { rows: items.iter().map(row).collect(), streamed: false }
}

fn of_vhost(call: &Call<'_>, kind: &str) -> Result<Vec<Value>, Failure> {
    call.api()?
        .list(&path(&["vhosts", call.vhost(), kind]))
        .map_err(|error| if error.is_not_found() { Failure::no_vhost(call.vhost()) } else { call.fail(&error) })
}

fn of_user(call: &Call<'_>, kind: &str) -> Result<Vec<Value>, Failure> {
    let found = call.api()?.list(&path(&["users", call.word(0), kind]));
    found.map_err(|error| if error.is_not_found() { missing_in_listing(call.word(0)) } else { call.fail(&error) })
}

fn list(call: &mut Call<'_>) -> Result<Output, Failure> {
    Ok(rows(&of_vhost(call, "permissions")?, ["user", "configure", "write", "read"]))
}

fn list_of_user(call: &mut Call<'_>) -> Result<Output, Failure> {
    Ok(rows(&of_user(call, "permissions")?, ["vhost", "configure", "write", "read"]))
}

fn set_topic(call: &mut Call<'_>) -> Result<Output, Failure> {
    let body = json!({ "exchange": call.word(1), "write": call.word(2), "read": call.word(3) });
    let path = path(&["topic-permissions", call.vhost(), call.word(0)]);
    call.api()?.put(&path, &body).map_err(|error| refused(call, call.vhost(), &error))?;
    Ok(Output::Done)
}

fn clear_topic(call: &mut Call<'_>) -> Result<Output, Failure> {
    let mut segments = vec!["topic-permissions", call.vhost(), call.word(0)];
    segments.extend(call.words.get(1).map(String::as_str));
    gone(call, &segments)
}

fn list_topic(call: &mut Call<'_>) -> Result<Output, Failure> {
    Ok(rows(&of_vhost(call, "topic-permissions")?, ["user", "exchange", "write", "read"]))
}

fn list_topic_of_user(call: &mut Call<'_>) -> Result<Output, Failure> {
    Ok(rows(&of_user(call, "topic-permissions")?, ["vhost", "exchange", "write", "read"]))
}
