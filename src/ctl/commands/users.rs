//! Users: their passwords, tags and limits.

use serde_json::{Map, Value, json};

use crate::auth::{PasswordHash, base64};
use crate::ctl::api::{ApiError, path};
use crate::ctl::command::{BOTH, Call, Command, MANY, Section};
use crate::ctl::failure::{DATA, Failure, NO_USER, SOFTWARE, UNAVAILABLE, USAGE};
use crate::ctl::options::{flag, text};
use crate::ctl::output::{Cell, Output, Row};
use crate::ctl::place::log_in;

const USERS: Section = Section::Users;

/// What is said after a user was added; scripts look for its beginning.
const ADDED: &str = "Done. Don't forget to grant the user permissions to some virtual hosts! \
                     See 'rabbitmqctl help set_permissions' to learn more.";

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "add_user",
        USERS,
        "<username> [<password>] [<password_hash> --pre-hashed-password]",
        "Creates a user, who may do nothing yet; without a password here, it is read from standard input",
        add,
    )
    .words(1, 2)
    .secret(1)
    .switches(&[flag("pre-hashed-password")])
    .banner(|call| format!("Adding user \"{}\" ...", call.word(0))),
    Command::new(
        "change_password",
        USERS,
        "<username> <password>",
        "Changes a user's password; without one here, it is read from standard input",
        change_password,
    )
    .words(1, 2)
    .secret(1)
    .banner(|call| format!("Changing password for user \"{}\" ...", call.word(0))),
    Command::new(
        "clear_password",
        USERS,
        "<username>",
        "Takes a user's password away: no login with any",
        clear_password,
    )
    .words(1, 1)
    .banner(|call| format!("Clearing password for user \"{}\" ...", call.word(0))),
    Command::new("delete_user", USERS, "<username>", "Deletes a user", delete)
        .words(1, 1)
        .banner(|call| format!("Deleting user \"{}\" ...", call.word(0))),
    Command::new("list_users", USERS, "[--no-table-headers]", "Lists users and their tags", list)
        .tools(BOTH)
        .table()
        .banner(|_| "Listing users ...".to_owned()),
    Command::new("set_user_tags", USERS, "<username> <tag> [...]", "Gives a user these tags, and no others", set_tags)
        .words(1, MANY)
        .banner(|call| {
            let tags = call.words.get(1..).unwrap_or_default().join(", ");
            format!("Setting tags for user \"{}\" to [{tags}] ...", call.word(0))
        }),
    Command::new(
        "authenticate_user",
        USERS,
        "<username> <password>",
        "Tries a login; the exit status tells whether it was let in",
        authenticate,
    )
    .words(1, 2)
    .secret(1)
    .banner(|call| format!("Authenticating user \"{}\" ...", call.word(0))),
    Command::new(
        "hash_password",
        USERS,
        "<cleartext_password> [--hashing-algorithm <algorithm>]",
        "Hashes a password with a fresh salt, for add_user --pre-hashed-password and for definitions",
        hash,
    )
    .words(0, 1)
    .secret(0)
    .switches(&[text("hashing-algorithm")])
    .banner(|_| "Will hash provided password".to_owned()),
    Command::new("set_user_limits", USERS, "<username> <definition>", "Sets limits of a user", set_limits)
        .words(2, 2)
        .banner(|call| format!("Setting user limits to \"{}\" for user \"{}\" ...", call.word(1), call.word(0))),
    Command::new("clear_user_limits", USERS, "<username> <limit_type> | all", "Clears limits of a user", clear_limits)
        .words(2, 2)
        .banner(|call| match call.word(1) {
            "all" => format!("Clearing all limits for user \"{}\" ...", call.word(0)),
            limit => format!("Clearing \"{limit}\" limit for user \"{}\" ...", call.word(0)),
        }),
    Command::new("list_user_limits", USERS, "[--user <username>] [--global]", "Lists limits of users", list_limits)
        .tools(BOTH)
        .table()
        .switches(&[flag("global"), text("user")])
        .banner(|call| {
            if call.line.on("global") {
                "Listing limits for all users ...".to_owned()
            } else {
                format!("Listing limits for user \"{}\" ...", limited(call))
            }
        }),
];

/// The user does not exist.
pub(super) fn missing(name: &str) -> Failure {
    Failure::error(NO_USER, format!("User \"{name}\" does not exist"))
}

/// The same where RabbitMQ has no status of its own for it: in listings.
pub(super) fn missing_in_listing(name: &str) -> Failure {
    Failure { status: UNAVAILABLE, ..missing(name) }
}

/// What the broker has on a user.
fn read(call: &Call<'_>, name: &str) -> Result<Value, Failure> {
    call.api()?.get(&path(&["users", name])).map_err(|error| no_user(call, name, &error))
}

fn no_user(call: &Call<'_>, name: &str, error: &ApiError) -> Failure {
    if error.is_not_found() { missing(name) } else { call.fail(error) }
}

/// Tags, whether they come as a list or, as before RabbitMQ 3.9, as a text.
pub(super) fn tags(value: &Value) -> Vec<String> {
    match value {
        Value::Array(tags) => tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(tags) => {
            tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

fn add(call: &mut Call<'_>) -> Result<Output, Failure> {
    let hashed = call.line.on("pre-hashed-password");
    let prompt = if hashed { "Hashed and salted password: " } else { "Password: " };
    let name = call.word(0).to_owned();
    if name.is_empty() {
        return Err(Failure::plain(DATA, "Error (argument validation): Bad argument: user cannot be an empty string"));
    }
    let password = call.secret(1, prompt, DATA)?;
    if hashed && base64::decode(&password).is_none() {
        return Err(Failure::error(DATA, "Could not Base64 decode provided password hash value"));
    }
    match call.api()?.get(&path(&["users", &name])) {
        Ok(_) => return Err(Failure::error(SOFTWARE, format!("User \"{name}\" already exists"))),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(call.fail(&error)),
    }
    let key = if hashed { "password_hash" } else { "password" };
    // A blank password is none: RabbitMQ lets the user exist, for logins by certificate.
    let body = if password.is_empty() {
        json!({ "password_hash": "", "tags": "" })
    } else {
        json!({ key: password, "tags": "" })
    };
    call.api()?.put(&path(&["users", &name]), &body).map_err(|error| call.fail(&error))?;
    let told = json!({ "status": "ok", "node": call.node, "message": ADDED });
    Ok(if call.is_quiet() { Output::Done } else { Output::Said(ADDED.to_owned(), told) })
}

/// Writes a user anew with some keys changed; tags and hash stay unless they are among them.
fn change(call: &Call<'_>, name: &str, changes: &Value) -> Result<Output, Failure> {
    let before = read(call, name)?;
    let mut body = Map::new();
    body.insert("tags".to_owned(), json!(tags(&before["tags"]).join(",")));
    if changes.get("password").is_none() {
        for key in ["password_hash", "hashing_algorithm"] {
            body.insert(key.to_owned(), before[key].clone());
        }
    }
    body.extend(changes.as_object().cloned().unwrap_or_default());
    body.retain(|_, value| !value.is_null());
    call.api()?.put(&path(&["users", name]), &Value::Object(body)).map_err(|error| no_user(call, name, &error))?;
    Ok(Output::Done)
}

fn change_password(call: &mut Call<'_>) -> Result<Output, Failure> {
    let password = call.secret(1, "Password: ", SOFTWARE)?;
    change(call, call.word(0), &json!({ "password": password }))
}

fn clear_password(call: &mut Call<'_>) -> Result<Output, Failure> {
    change(call, call.word(0), &json!({ "password_hash": "", "hashing_algorithm": null }))
}

fn set_tags(call: &mut Call<'_>) -> Result<Output, Failure> {
    let tags: Vec<_> = call.words.iter().skip(1).flat_map(|word| word.split(',')).map(str::trim).collect();
    change(call, call.word(0), &json!({ "tags": tags.join(",") }))
}

fn delete(call: &mut Call<'_>) -> Result<Output, Failure> {
    match call.api()?.delete(&path(&["users", call.word(0)])) {
        // RabbitMQ 4 is content with a user who is not there; scripts have come to rely on it.
        Err(error) if !error.is_not_found() => Err(call.fail(&error)),
        _ => Ok(Output::Done),
    }
}

fn list(call: &mut Call<'_>) -> Result<Output, Failure> {
    let users = call.list(&path(&["users"]))?;
    let rows = users
        .iter()
        .map(|user| vec![("user", Cell::Plain(user["name"].clone())), ("tags", Cell::Words(tags(&user["tags"])))])
        .collect();
    Ok(Output::Rows { rows, streamed: false })
}

fn authenticate(call: &mut Call<'_>) -> Result<Output, Failure> {
    let password = call.secret(1, "Password: ", SOFTWARE)?;
    let name = call.word(0);
    let body = json!({ "username": name, "password": password });
    let answer = match call.api()?.post(&path(&["leveret", "authenticate"]), &body) {
        Err(error) if error.is_unknown() => log_in(call, name, &password),
        answer => answer,
    };
    match answer {
        Ok(_) => Ok(Output::message("Success")),
        Err(ApiError::Refused { status: 400 | 401 | 403, reason, .. }) => Err(Failure::error(
            DATA,
            format!("Error: failed to authenticate user \"{name}\"\n{}", refusal(name, &reason)),
        )),
        Err(error) => Err(call.fail(&error)),
    }
}

/// RabbitMQ's words for a login refused, unless the broker has more to say.
fn refusal(name: &str, reason: &str) -> String {
    if reason.is_empty() || reason.starts_with("Not") || reason == "Login failed" {
        format!("user '{name}' - invalid credentials")
    } else {
        reason.to_owned()
    }
}

fn hash(call: &mut Call<'_>) -> Result<Output, Failure> {
    let algorithm = call.line.text("hashing-algorithm").unwrap_or("sha256").to_ascii_lowercase();
    let hash = match algorithm.as_str() {
        "sha256" | "sha-256" => PasswordHash::of,
        "sha512" | "sha-512" => PasswordHash::of_sha512,
        "md5" => return Err(Failure::error(DATA, "hashes by MD5 are read, and no longer made")),
        _ => return Err(Failure::error(DATA, format!("unsupported hashing algorithm: {algorithm}"))),
    };
    let password = call.secret(0, "Password: ", USAGE)?;
    if password.is_empty() {
        return Err(Failure::plain(
            DATA,
            "Error (argument validation): Bad argument: password cannot be an empty string",
        ));
    }
    let hash = hash(password.as_bytes()).map_err(|error| Failure::error(UNAVAILABLE, error.to_string()))?;
    Ok(Output::value(hash.to_base64()))
}

/// Sets every limit of a document below `base`, one by one.
pub(super) fn put_limits(call: &Call<'_>, base: &[&str], limits: &Value) -> Result<(), Failure> {
    let Value::Object(limits) = limits else {
        return Err(Failure::error(DATA, "Limits are a JSON object, such as {\"max-connections\": 10}"));
    };
    if let Some((name, value)) = limits.iter().find(|(_, value)| !value.is_i64()) {
        return Err(Failure::error(
            DATA,
            format!("Validation failed\n\n{name} should be a number, actually was {value}\n"),
        ));
    }
    for (name, value) in limits {
        let path = path(&[base, &[name.as_str()]].concat());
        call.api()?.put(&path, &json!({ "value": value })).map_err(|error| call.fail(&error))?;
    }
    Ok(())
}

fn set_limits(call: &mut Call<'_>) -> Result<Output, Failure> {
    let limits = call.json(1)?;
    read(call, call.word(0))?;
    put_limits(call, &["user-limits", call.word(0)], &limits)?;
    Ok(Output::Done)
}

fn clear_limits(call: &mut Call<'_>) -> Result<Output, Failure> {
    read(call, call.word(0))?;
    let names = match call.word(1) {
        "all" => vec!["max-connections", "max-channels"],
        name => vec![name],
    };
    for name in names {
        match call.api()?.delete(&path(&["user-limits", call.word(0), name])) {
            Err(error) if !error.is_not_found() => return Err(call.fail(&error)),
            _ => {}
        }
    }
    Ok(Output::Done)
}

fn limited<'c>(call: &'c Call<'_>) -> &'c str {
    call.line.text("user").unwrap_or("guest")
}

fn list_limits(call: &mut Call<'_>) -> Result<Output, Failure> {
    if call.line.on("global") {
        let rows = call.list(&path(&["user-limits"]))?.iter().map(|item| limit_row("user", item)).collect();
        return Ok(Output::Rows { rows, streamed: false });
    }
    let name = limited(call);
    read(call, name).map_err(|failure| if failure.status == NO_USER { missing_in_listing(name) } else { failure })?;
    Ok(limits_of(&call.list(&path(&["user-limits", name]))?))
}

/// One row of a listing of limits.
pub(super) fn limit_row(whose: &'static str, item: &Value) -> Row {
    vec![(whose, Cell::Plain(item[whose].clone())), ("limits", Cell::text(item["value"].to_string()))]
}

/// The limits of one user or virtual host, as the document they were set with.
pub(super) fn limits_of(items: &[Value]) -> Output {
    let limits = items.first().map(|item| item["value"].clone()).filter(Value::is_object).unwrap_or_else(|| json!({}));
    Output::Said(limits.to_string(), limits)
}
