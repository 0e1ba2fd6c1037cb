//! Logins: how many there were, one by a form, and hashes of passwords.

use serde_json::{Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::list;
use super::principal::{self, Principal};
use super::route::{Access, Route, delete, get, post};
use crate::auth::{PasswordHash, base64};
use crate::broker::Protocol;

pub(super) fn routes() -> Vec<Route> {
    const ATTEMPTS: &str = "/api/auth/attempts/{node}";
    const BY_SOURCE: &str = "/api/auth/attempts/{node}/source";
    vec![
        get("/api/auth", Access::Open, methods),
        get(ATTEMPTS, Access::Monitoring, attempts),
        delete(ATTEMPTS, Access::Administrator, forget),
        get(BY_SOURCE, Access::Monitoring, by_source),
        delete(BY_SOURCE, Access::Administrator, forget),
        get("/api/auth/hash_password/{password}", Access::Administrator, hash),
        post("/api/login", Access::Open, login),
    ]
}

async fn methods(_: Call) -> Outcome {
    Ok(Answer::json(&json!({"oauth_enabled": false})))
}

fn named(call: &Call) -> Result<(), ApiError> {
    if call.name("node") == call.broker.config.node_name { Ok(()) } else { Err(ApiError::no_object()) }
}

async fn attempts(call: Call) -> Outcome {
    named(&call)?;
    let rows = Protocol::ALL.iter().map(|protocol| {
        let (succeeded, failed) = call.broker.attempts.of(*protocol);
        json!({"protocol": protocol.as_str(), "auth_attempts": succeeded.saturating_add(failed),
            "auth_attempts_failed": failed, "auth_attempts_succeeded": succeeded})
    });
    list::all(rows.collect::<Vec<Value>>(), &call.query, &[])
}

/// Addresses are not remembered.
async fn by_source(call: Call) -> Outcome {
    named(&call)?;
    Ok(Answer::json(&json!([])))
}

async fn forget(call: Call) -> Outcome {
    named(&call)?;
    call.broker.attempts.forget();
    Ok(Answer::done())
}

async fn hash(call: Call) -> Outcome {
    let hash = PasswordHash::of(call.name("password").as_bytes());
    let hash = hash.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(Answer::json(&json!({"ok": hash.to_base64()})))
}

/// A login by a form. The answer has what RabbitMQ 4.3 tells beside what earlier versions told.
async fn login(call: Call) -> Outcome {
    let mut form: Vec<(String, String)> = url::form_urlencoded::parse(&call.body).into_owned().collect();
    let mut field = |name: &str| {
        let at = form.iter().position(|(known, _)| known == name)?;
        Some(form.swap_remove(at).1)
    };
    let (Some(name), Some(password)) = (field("username"), field("password")) else {
        return Err(ApiError::bad_credentials());
    };
    let who = match call.peer {
        Some(peer) => principal::authenticate(&call.broker, name.as_bytes(), password.as_bytes(), peer).await?,
        None => Principal::control(),
    };
    if !who.is_manager() {
        return Err(ApiError::not_authorised("Not management user"));
    }
    let token = base64::encode(format!("{name}:{password}").as_bytes());
    let user = json!({"name": who.name, "tags": who.tags, "is_internal_user": true});
    Ok(Answer::json(&json!({"token": {"type": "basic", "value": token}, "user": user, "name": who.name,
        "tags": who.tags, "is_internal_user": true})))
}
