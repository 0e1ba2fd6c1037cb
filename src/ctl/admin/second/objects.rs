//! Acts that change something: declarations, deletions, grants, publishes, definitions.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::readings::matching;
use super::{Doing, Shown, Wrong};
use crate::auth::PasswordHash;
use crate::ctl::api::path;
use crate::ctl::commands::write_file;

/// What closed connections are told.
const REASON: &str = "closed via rabbitmqadmin";

type Done = Result<Shown, Wrong>;

fn put(doing: &Doing<'_, '_>, segments: &[&str], body: &Value) -> Done {
    doing.settings.api.put(&path(segments), body)?;
    Ok(Shown::Nothing)
}

fn delete(doing: &Doing<'_, '_>, segments: &[&str]) -> Done {
    doing.settings.api.delete(&path(segments))?;
    Ok(Shown::Nothing)
}

/// A switch with a value, or what it is without.
fn truth(doing: &Doing<'_, '_>, name: &str, otherwise: bool) -> bool {
    doing.text(name).map_or(otherwise, |text| text == "true")
}

fn number(doing: &Doing<'_, '_>, name: &str) -> Result<i64, Wrong> {
    let text = doing.must(name);
    text.parse()
        .map_err(|_| Wrong::Data(format!("Failed to parse JSON argument: '{text}' is not a valid integer value")))
}

pub(super) fn queue(doing: &mut Doing<'_, '_>) -> Done {
    let mut arguments = doing.json("arguments")?;
    if let Some(arguments) = arguments.as_object_mut() {
        arguments.insert("x-queue-type".to_owned(), json!(doing.must("type")));
    }
    let body = json!({
        "durable": truth(doing, "durable", true),
        "auto_delete": truth(doing, "auto-delete", false),
        "arguments": arguments,
    });
    put(doing, &["queues", doing.vhost(), doing.must("name")], &body)
}

pub(super) fn exchange(doing: &mut Doing<'_, '_>) -> Done {
    let body = json!({
        "type": doing.must("type"),
        "durable": truth(doing, "durable", true),
        "auto_delete": truth(doing, "auto-delete", false),
        "arguments": doing.json("arguments")?,
    });
    put(doing, &["exchanges", doing.vhost(), doing.must("name")], &body)
}

/// How paths of bindings call the kind of a destination.
fn kind(doing: &Doing<'_, '_>) -> Result<&'static str, Wrong> {
    match doing.must("destination-type").to_ascii_lowercase().as_str() {
        "queue" | "stream" => Ok("q"),
        "exchange" => Ok("e"),
        other => Err(Wrong::Usage(format!("Invalid value for argument 'destination-type': {other}"))),
    }
}

pub(super) fn bind(doing: &mut Doing<'_, '_>) -> Done {
    let place = path(&["bindings", doing.vhost(), "e", doing.must("source"), kind(doing)?, doing.must("destination")]);
    let body = json!({ "routing_key": doing.must("routing-key"), "arguments": doing.json("arguments")? });
    doing.settings.api.post(&place, &body)?;
    Ok(Shown::Nothing)
}

pub(super) fn unbind(doing: &mut Doing<'_, '_>) -> Done {
    let kind = kind(doing)?;
    let keys = matching(doing, kind)?;
    let base = path(&["bindings", doing.vhost(), "e", doing.must("source"), kind, doing.must("destination")]);
    match keys.as_slice() {
        [] if doing.on("idempotently") => Ok(Shown::Nothing),
        [] => Err(Wrong::Data("API responded with a 404 Not Found".to_owned())),
        [key] => {
            doing.settings.api.delete(&format!("{base}/{key}"))?;
            Ok(Shown::Nothing)
        }
        _ => Err(Wrong::Usage(
            "multiple bindings match, cannot determine which binding to delete without explicitly provided arguments"
                .to_owned(),
        )),
    }
}

pub(super) fn user(doing: &mut Doing<'_, '_>) -> Done {
    let (password, hash) = (doing.must("password"), doing.must("password-hash"));
    let mut body = json!({ "tags": doing.must("tags") });
    match (password, hash) {
        ("", "") => return Err(Wrong::Usage("Please provide either --password or --password-hash".to_owned())),
        ("", hash) => {
            let algorithm = doing.must("hashing-algorithm").to_ascii_lowercase().replace('-', "");
            body["password_hash"] = json!(hash);
            body["hashing_algorithm"] = json!(format!("rabbit_password_hashing_{algorithm}"));
        }
        (password, "") => body["password"] = json!(password),
        _ => {
            return Err(Wrong::Usage("Please provide either --password or --password-hash, not both".to_owned()));
        }
    }
    put(doing, &["users", doing.must("name")], &body)
}

pub(super) fn hash(doing: &mut Doing<'_, '_>) -> Done {
    let algorithm = doing.must("hashing-algorithm");
    let hash = match algorithm.to_ascii_lowercase().as_str() {
        "sha256" | "sha-256" => PasswordHash::of,
        "sha512" | "sha-512" => PasswordHash::of_sha512,
        _ => return Err(Wrong::Usage(format!("{algorithm} hashes cannot be made here, SHA256 and SHA512 can"))),
    };
    let hash = hash(doing.must("password").as_bytes()).map_err(|error| Wrong::Data(error.to_string()))?;
    let row = vec!["password hash".to_owned(), hash.to_base64()];
    Ok(Shown::Titled("Result", vec![row]))
}

pub(super) fn vhost(doing: &mut Doing<'_, '_>) -> Done {
    let mut body = json!({ "tracing": doing.on("tracing") });
    for (option, key) in [("description", "description"), ("default-queue-type", "default_queue_type")] {
        if let Some(text) = doing.text(option) {
            body[key] = json!(text);
        }
    }
    put(doing, &["vhosts", doing.must("name")], &body)
}

pub(super) fn protect(doing: &mut Doing<'_, '_>) -> Done {
    doing.settings.api.post(&path(&["vhosts", doing.must("name"), "deletion", "protection"]), &json!({}))?;
    Ok(Shown::Nothing)
}

pub(super) fn unprotect(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["vhosts", doing.must("name"), "deletion", "protection"])
}

pub(super) fn permissions(doing: &mut Doing<'_, '_>) -> Done {
    let body = json!({
        "configure": doing.must("configure"),
        "write": doing.must("write"),
        "read": doing.must("read"),
    });
    put(doing, &["permissions", doing.vhost(), doing.must("username")], &body)
}

fn set_policy(doing: &Doing<'_, '_>, kind: &str) -> Done {
    let body = json!({
        "pattern": doing.must("pattern"),
        "apply-to": doing.must("apply-to"),
        "priority": number(doing, "priority")?,
        "definition": doing.json("definition")?,
    });
    put(doing, &[kind, doing.vhost(), doing.must("name")], &body)
}

pub(super) fn policy(doing: &mut Doing<'_, '_>) -> Done {
    set_policy(doing, "policies")
}

pub(super) fn operator_policy(doing: &mut Doing<'_, '_>) -> Done {
    set_policy(doing, "operator-policies")
}

/// Reads a policy, changes its definition and writes it back.
fn change_policy(doing: &Doing<'_, '_>, kind: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Done {
    let place = path(&[kind, doing.vhost(), doing.must("name")]);
    let mut policy = doing.settings.api.get(&place)?;
    if let Some(definition) = policy.get_mut("definition").and_then(Value::as_object_mut) {
        change(definition);
    }
    doing.settings.api.put(&place, &policy)?;
    Ok(Shown::Nothing)
}

fn patch(doing: &Doing<'_, '_>, kind: &str) -> Done {
    let Value::Object(patch) = doing.json("definition")? else {
        return Err(Wrong::Data("Failed to parse JSON argument: definition must be a JSON object".to_owned()));
    };
    change_policy(doing, kind, |definition| definition.extend(patch))
}

fn update(doing: &Doing<'_, '_>, kind: &str) -> Done {
    let value = doing.json("new-value")?;
    change_policy(doing, kind, |definition| drop(definition.insert(doing.must("definition-key").to_owned(), value)))
}

fn keys(doing: &Doing<'_, '_>, kind: &str) -> Done {
    let keys = doing.many("definition-keys");
    change_policy(doing, kind, |definition| definition.retain(|key, _| !keys.contains(&key.as_str())))
}

pub(super) fn policy_patch(doing: &mut Doing<'_, '_>) -> Done {
    patch(doing, "policies")
}

pub(super) fn policy_update(doing: &mut Doing<'_, '_>) -> Done {
    update(doing, "policies")
}

pub(super) fn policy_keys(doing: &mut Doing<'_, '_>) -> Done {
    keys(doing, "policies")
}

pub(super) fn operator_policy_patch(doing: &mut Doing<'_, '_>) -> Done {
    patch(doing, "operator-policies")
}

pub(super) fn operator_policy_update(doing: &mut Doing<'_, '_>) -> Done {
    update(doing, "operator-policies")
}

pub(super) fn operator_policy_keys(doing: &mut Doing<'_, '_>) -> Done {
    keys(doing, "operator-policies")
}

pub(super) fn parameter(doing: &mut Doing<'_, '_>) -> Done {
    let (component, name, vhost) = (doing.must("component"), doing.must("name"), doing.vhost());
    let body = json!({ "component": component, "name": name, "vhost": vhost, "value": doing.json("value")? });
    put(doing, &["parameters", component, vhost, name], &body)
}

pub(super) fn global(doing: &mut Doing<'_, '_>) -> Done {
    let body = json!({ "name": doing.must("name"), "value": doing.json("value")? });
    put(doing, &["global-parameters", doing.must("name")], &body)
}

pub(super) fn vhost_limit(doing: &mut Doing<'_, '_>) -> Done {
    let body = json!({ "value": number(doing, "value")? });
    put(doing, &["vhost-limits", doing.vhost(), doing.must("name")], &body)
}

pub(super) fn user_limit(doing: &mut Doing<'_, '_>) -> Done {
    let body = json!({ "value": number(doing, "value")? });
    put(doing, &["user-limits", doing.must("username"), doing.must("name")], &body)
}

pub(super) fn delete_queue(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["queues", doing.vhost(), doing.must("name")])
}

pub(super) fn purge(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["queues", doing.vhost(), doing.must("name"), "contents"])
}

pub(super) fn delete_exchange(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["exchanges", doing.vhost(), doing.must("name")])
}

pub(super) fn delete_policy(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["policies", doing.vhost(), doing.must("name")])
}

pub(super) fn delete_operator_policy(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["operator-policies", doing.vhost(), doing.must("name")])
}

pub(super) fn delete_parameter(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["parameters", doing.must("component"), doing.vhost(), doing.must("name")])
}

pub(super) fn delete_global(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["global-parameters", doing.must("name")])
}

pub(super) fn delete_permissions(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["permissions", doing.vhost(), doing.must("username")])
}

pub(super) fn delete_user(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["users", doing.must("name")])
}

pub(super) fn delete_vhost(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["vhosts", doing.must("name")])
}

pub(super) fn delete_vhost_limit(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["vhost-limits", doing.vhost(), doing.must("name")])
}

pub(super) fn delete_user_limit(doing: &mut Doing<'_, '_>) -> Done {
    delete(doing, &["user-limits", doing.must("username"), doing.must("name")])
}

pub(super) fn close_connection(doing: &mut Doing<'_, '_>) -> Done {
    doing.settings.api.close(&path(&["connections", doing.must("name")]), REASON)?;
    Ok(Shown::Nothing)
}

pub(super) fn close_of_user(doing: &mut Doing<'_, '_>) -> Done {
    doing.settings.api.close(&path(&["connections", "username", doing.must("username")]), REASON)?;
    Ok(Shown::Nothing)
}

pub(super) fn enable_flag(doing: &mut Doing<'_, '_>) -> Done {
    let name = doing.must("name");
    put(doing, &["feature-flags", name, "enable"], &json!({ "name": name }))
}

pub(super) fn enable_flags(doing: &mut Doing<'_, '_>) -> Done {
    for flag in doing.settings.api.list(&path(&["feature-flags"]))? {
        if let (Some(name), true) = (flag["name"].as_str(), flag["state"] != "enabled") {
            put(doing, &["feature-flags", name, "enable"], &json!({ "name": name }))?;
        }
    }
    Ok(Shown::Nothing)
}

pub(super) fn rebalance(doing: &mut Doing<'_, '_>) -> Done {
    doing.settings.api.post(&path(&["rebalance", "queues"]), &json!({}))?;
    Ok(Shown::Nothing)
}

pub(super) fn publish(doing: &mut Doing<'_, '_>) -> Done {
    let (payload, encoding) = match (doing.text("payload"), doing.text("payload-file")) {
        (Some(text), None) => (text.to_owned(), "string"),
        (None, Some(file)) => {
            let octets = std::fs::read(file).map_err(|error| Wrong::Data(format!("{file}: {error}")))?;
            (crate::auth::base64::encode(&octets), "base64")
        }
        (None, None) => return Err(Wrong::Usage("Missing required argument: payload".to_owned())),
        (Some(_), Some(_)) => {
            return Err(Wrong::Usage("Please provide either --payload or --payload-file, not both".to_owned()));
        }
    };
    let exchange = doing.text("exchange").filter(|name| !name.is_empty()).unwrap_or("amq.default");
    let body = json!({
        "properties": doing.json("properties")?,
        "routing_key": doing.must("routing-key"),
        "payload": payload,
        "payload_encoding": encoding,
    });
    let answer = doing.settings.api.post(&path(&["exchanges", doing.vhost(), exchange, "publish"]), &body)?;
    let routed = answer["routed"] == true;
    let said = if routed { "Message published and routed successfully" } else { "Message published but NOT routed" };
    Ok(Shown::Text(format!("{said}\n")))
}

fn write(doing: &mut Doing<'_, '_>, place: &str) -> Done {
    let found = doing.settings.api.get(place)?;
    let text = serde_json::to_string_pretty(&found).unwrap_or_default();
    match (doing.text("file"), doing.on("stdout")) {
        (_, true) | (Some("-"), _) => Ok(Shown::Text(format!("{text}\n"))),
        (Some(file), _) => {
            write_file(Path::new(file), text.as_bytes()).map_err(|error| Wrong::Data(format!("{file}: {error}")))?;
            Ok(Shown::Nothing)
        }
        (None, false) => Err(Wrong::Usage("either --file or --stdout must be provided".to_owned())),
    }
}

pub(super) fn export(doing: &mut Doing<'_, '_>) -> Done {
    write(doing, &path(&["definitions"]))
}

pub(super) fn export_vhost(doing: &mut Doing<'_, '_>) -> Done {
    let place = path(&["definitions", doing.vhost()]);
    write(doing, &place)
}

fn read(doing: &mut Doing<'_, '_>, place: &str) -> Done {
    let mut text = Vec::new();
    match doing.text("file").filter(|_| !doing.on("stdin")).map(str::to_owned) {
        Some(file) if file != "-" => {
            text = std::fs::read(&file).map_err(|error| Wrong::Data(format!("`{file}`: {error}")))?;
        }
        file => {
            if file.is_none() && !doing.on("stdin") {
                return Err(Wrong::Usage("either --file or --stdin must be provided".to_owned()));
            }
            let read = doing.streams.input.read_to_end(&mut text);
            read.map_err(|error| Wrong::Data(format!("cannot read standard input: {error}")))?;
        }
    }
    let parsed: Result<Value, _> = serde_json::from_slice(&text);
    parsed.map_err(|error| Wrong::Data(format!("could not parse definitions as JSON: {error}")))?;
    doing.settings.api.post_text(place, text)?;
    Ok(Shown::Nothing)
}

pub(super) fn import(doing: &mut Doing<'_, '_>) -> Done {
    read(doing, &path(&["definitions"]))
}

pub(super) fn import_vhost(doing: &mut Doing<'_, '_>) -> Done {
    let place = path(&["definitions", doing.vhost()]);
    read(doing, &place)
}
