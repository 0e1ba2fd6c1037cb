//! Users: list, create, change, delete, and their limits.
//!
//! A user who is changed without a password has none afterwards, as in RabbitMQ. Users with the tag `protected` are not
//! changed over HTTP. Deliberately absent: how passwords are hashed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::body::{Object, erlang};
use super::call::Call;
use super::route::{Access, Route, delete, get, post, put};
use super::{list, permissions};
use crate::auth::{PasswordHash, Permission, TAGS_MAX, User, UserLimits};

/// The tag of users who are not changed over HTTP.
const PROTECTED: &str = "protected";

/// The algorithm of a hash that does not name its own.
const SHA256: &str = "rabbit_password_hashing_sha256";

pub(super) fn routes() -> Vec<Route> {
    const ONE: &str = "/api/users/{user}";
    const LIMIT: &str = "/api/user-limits/{user}/{name}";
    vec![
        get("/api/users", Access::Administrator, all),
        get("/api/users/without-permissions", Access::Administrator, without_permissions),
        post("/api/users/bulk-delete", Access::Administrator, remove_several),
        get(ONE, Access::Administrator, one),
        put(ONE, Access::Administrator, change),
        delete(ONE, Access::Administrator, remove),
        get("/api/users/{user}/permissions", Access::Administrator, granted),
        get("/api/users/{user}/topic-permissions", Access::Administrator, granted_topics),
        get("/api/user-limits", Access::Administrator, all_limits),
        get("/api/user-limits/{user}", Access::Manager, limits),
        put(LIMIT, Access::Administrator, set_limit),
        delete(LIMIT, Access::Administrator, clear_limit),
    ]
}

/// A user as a row.
fn row(user: &User) -> Value {
    let hash = user.password_hash.as_ref();
    json!({
        "name": user.name,
        "password_hash": hash.map(PasswordHash::to_base64).unwrap_or_default(),
        "hashing_algorithm": hash.map_or(SHA256, PasswordHash::algorithm_name),
        "tags": user.tags,
        "limits": user.limits,
    })
}

fn named(call: &Call) -> Result<Arc<User>, ApiError> {
    call.broker.users.get(call.name("user")).ok_or_else(ApiError::no_object)
}

async fn all(call: Call) -> Outcome {
    let rows = call.broker.users.list().iter().map(|user| row(user)).collect();
    list::pages(rows, &call.query, &["name"])
}

async fn without_permissions(call: Call) -> Outcome {
    let granted = call.broker.permissions();
    let mut users = call.broker.users.list();
    users.retain(|user| !granted.iter().any(|(_, granted, _)| *granted == user.name));
    list::pages(users.iter().map(|user| row(user)).collect(), &call.query, &["name"])
}

async fn one(call: Call) -> Outcome {
    list::one(&row(&*named(&call)?), &call.query)
}

/// The tags of a body: a list, or text with commas.
fn tags(body: &Object) -> Result<Vec<Arc<str>>, ApiError> {
    let wrong = || ApiError::bad_request("tags should be a list of strings");
    let tags: Vec<Arc<str>> = match (body.get("tags"), body.truth("administrator")?) {
        (None | Some(Value::Null), None) => return Err(ApiError::bad_request("tags_not_present")),
        (None | Some(Value::Null), Some(administrator)) => {
            if administrator {
                vec!["administrator".into()]
            } else {
                Vec::new()
            }
        }
        (Some(Value::String(text)), _) => {
            text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(Arc::from).collect()
        }
        (Some(Value::Array(list)), _) => {
            let tags = list.iter().map(|tag| tag.as_str().map(|tag| tag.trim().into()).ok_or_else(wrong));
            tags.collect::<Result<_, _>>()?
        }
        (Some(_), _) => return Err(wrong()),
    };
    if tags.len() > TAGS_MAX {
        let text = format!("A user can have at most {TAGS_MAX} tags (received {})", tags.len());
        return Err(ApiError::bad_request(text));
    }
    Ok(tags)
}

/// What a body says of the password.
fn password(body: &Object) -> Result<Option<PasswordHash>, ApiError> {
    match (body.text("password")?, body.text("password_hash")?) {
        (Some(_), Some(_)) => Err(ApiError::bad_request("both_password_and_password_hash_are_provided")),
        (Some(password), None) => {
            let hash = PasswordHash::of(password.as_bytes()).map_err(|error| ApiError::internal(error.to_string()))?;
            Ok(Some(hash))
        }
        (None, Some(hash)) => {
            let algorithm = body.text("hashing_algorithm")?.unwrap_or_else(|| PasswordHash::algorithm_by_length(hash));
            PasswordHash::from_export(hash, algorithm).map_err(|error| ApiError::bad_request(error.to_string()))
        }
        (None, None) => Ok(None),
    }
}

/// The limits of a body, if it has any.
fn own_limits(body: &Object) -> Result<Option<UserLimits>, ApiError> {
    let Some(value) = body.get("limits") else { return Ok(None) };
    let mut limits = UserLimits::default();
    let Value::Object(map) = value else { return Err(ApiError::bad_request("limits should be an object")) };
    for (name, value) in map {
        *limit(&mut limits, name, value)? = Some(integer(name, value)?);
    }
    Ok(Some(limits))
}

/// Whether a user is not to be changed over HTTP.
fn is_protected(user: &User) -> bool {
    user.tags.iter().any(|tag| **tag == *PROTECTED)
}

fn refuse_protected(user: &User) -> Result<(), ApiError> {
    if is_protected(user) {
        return Err(ApiError::bad_request("Protected users cannot be modified via the HTTP API"));
    }
    Ok(())
}

async fn change(call: Call) -> Outcome {
    let name = call.name("user");
    let present = call.broker.users.get(name);
    if let Some(present) = &present {
        refuse_protected(present)?;
    }
    let body = call.object()?;
    let tags = tags(&body)?;
    let granted = preset(&call, &body)?;
    let configured = call.broker.config.users.iter().any(|entry| entry.name == name && entry.loopback_only);
    let user = User {
        name: name.into(),
        tags,
        password_hash: password(&body)?,
        loopback_only: present.as_ref().map_or(configured, |present| present.loopback_only),
        limits: own_limits(&body)?.or(present.map(|present| present.limits)).unwrap_or_default(),
    };
    let created = call.broker.put_user(user).await?;
    if created {
        for (vhost, permission) in granted {
            call.broker.set_permission(&vhost, name, permission).await?;
        }
    }
    Ok(Answer::put(created))
}

/// Permissions that a new user is to have from the start.
fn preset(call: &Call, body: &Object) -> Result<Vec<(String, Permission)>, ApiError> {
    let map = match body.get("permissions") {
        None => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(ApiError::bad_request("permissions should be an object")),
    };
    let mut granted = Vec::new();
    for (vhost, patterns) in map {
        if call.broker.vhost(vhost).is_none() {
            return Err(ApiError::bad_request("vhost_or_user_not_found"));
        }
        let text = |key: &str| patterns.get(key).and_then(Value::as_str).map(str::to_owned);
        match (text("configure"), text("write"), text("read")) {
            (Some(configure), Some(write), Some(read)) => {
                granted.push((vhost.clone(), Permission { configure, write, read }));
            }
            _ => return Err(ApiError::bad_request("permissions need configure, write and read")),
        }
    }
    Ok(granted)
}

async fn remove(call: Call) -> Outcome {
    refuse_protected(&*named(&call)?)?;
    call.broker.delete_user(call.name("user")).await?;
    Ok(Answer::done())
}

async fn remove_several(call: Call) -> Outcome {
    let body = call.object()?;
    body.require(&["users"])?;
    let names: Option<Vec<&str>> =
        body.get("users").and_then(Value::as_array).and_then(|list| list.iter().map(Value::as_str).collect());
    let names = names.ok_or_else(|| ApiError::bad_request("users should be a list of names"))?;
    for name in names {
        if call.broker.users.get(name).is_some_and(|user| !is_protected(&user)) {
            call.broker.delete_user(name).await?;
        }
    }
    Ok(Answer::done())
}

async fn granted(call: Call) -> Outcome {
    let user = named(&call)?;
    let rows = permissions::rows(&call.broker, |_, known| *known == *user.name);
    list::all(rows, &call.query, &["vhost", "user"])
}

async fn granted_topics(call: Call) -> Outcome {
    let user = named(&call)?;
    let rows = permissions::topic_rows(&call.broker, |_, known| *known == *user.name);
    list::all(rows, &call.query, &["vhost", "user"])
}

/// The limit of that name.
fn limit<'a>(limits: &'a mut UserLimits, name: &str, value: &Value) -> Result<&'a mut Option<i64>, ApiError> {
    match name {
        "max-connections" => Ok(&mut limits.max_connections),
        "max-channels" => Ok(&mut limits.max_channels),
        _ => {
            let text = format!("Unrecognised terms [{{<<\"{name}\">>,{}}}] in user-limits", erlang(value));
            Err(ApiError::bad_request(text))
        }
    }
}

fn integer(name: &str, value: &Value) -> Result<i64, ApiError> {
    value
        .as_i64()
        .ok_or_else(|| ApiError::bad_request(format!("{name} should be a number, actually was {}", erlang(value))))
}

fn limit_row(user: &User) -> Option<Value> {
    (user.limits != UserLimits::default()).then(|| json!({"user": user.name, "value": user.limits}))
}

async fn all_limits(call: Call) -> Outcome {
    let rows = call.broker.users.list().iter().filter_map(|user| limit_row(user)).collect();
    list::all(rows, &call.query, &["user"])
}

async fn limits(call: Call) -> Outcome {
    let own = *call.principal.name == *call.name("user");
    if !own && !call.principal.is_monitor() {
        return Err(ApiError::not_authorised("User not authorised to access object"));
    }
    list::all(limit_row(&*named(&call)?).into_iter().collect(), &call.query, &["user"])
}

async fn set_limit(call: Call) -> Outcome {
    if !call.is_of_type("application/json") {
        return Err(ApiError::unsupported_media_type());
    }
    let user = call.broker.users.get(call.name("user"));
    let user = user.ok_or_else(|| ApiError::pair("no_such_user", call.name("user")))?;
    let body = call.object()?;
    body.require(&["value"])?;
    let mut limits = user.limits;
    let (name, value) = (call.name("name"), body.get("value").unwrap_or(&Value::Null));
    *limit(&mut limits, name, value)? = Some(integer(name, value)?);
    call.broker.set_user_limits(&user.name, limits).await?;
    Ok(Answer::done())
}

async fn clear_limit(call: Call) -> Outcome {
    let user = named(&call)?;
    let mut limits = user.limits;
    if let Ok(place) = limit(&mut limits, call.name("name"), &Value::Null) {
        *place = None;
    }
    call.broker.set_user_limits(&user.name, limits).await?;
    Ok(Answer::done())
}
