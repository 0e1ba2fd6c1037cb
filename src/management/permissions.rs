//! Permissions and topic permissions: what users are granted in virtual hosts.
//!
//! GET of one user's topic permissions in a virtual host is a list, as in RabbitMQ. Deliberately absent: what a
//! permission means, see [`crate::auth`].

use serde_json::{Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::list;
use super::route::{Access, Route, delete, get, put};
use crate::auth::{Permission, TopicPermission};
use crate::broker::Broker;

pub(super) fn routes() -> Vec<Route> {
    const ONE: &str = "/api/permissions/{vhost}/{user}";
    const TOPIC: &str = "/api/topic-permissions/{vhost}/{user}";
    const OF_EXCHANGE: &str = "/api/topic-permissions/{vhost}/{user}/{exchange}";
    vec![
        get("/api/permissions", Access::Administrator, all),
        get(ONE, Access::Administrator, one),
        put(ONE, Access::Administrator, set),
        delete(ONE, Access::Administrator, clear),
        get("/api/topic-permissions", Access::Administrator, all_topics),
        get(TOPIC, Access::Administrator, topics),
        put(TOPIC, Access::Administrator, set_topic),
        delete(TOPIC, Access::Administrator, clear_topics),
        get(OF_EXCHANGE, Access::Administrator, topics),
        put(OF_EXCHANGE, Access::Administrator, set_topic),
        delete(OF_EXCHANGE, Access::Administrator, clear_topic),
    ]
}

/// The permissions that `which` chooses by virtual host and user, as rows.
pub(super) fn rows(broker: &Broker, which: impl Fn(&str, &str) -> bool) -> Vec<Value> {
    let chosen = broker.permissions().into_iter().filter(|(vhost, user, _)| which(vhost, user));
    chosen
        .map(|(vhost, user, granted)| {
            json!({"user": user, "vhost": vhost, "configure": granted.configure, "write": granted.write,
                "read": granted.read})
        })
        .collect()
}

/// The topic permissions that `which` chooses by virtual host and user, as rows.
pub(super) fn topic_rows(broker: &Broker, which: impl Fn(&str, &str) -> bool) -> Vec<Value> {
    let chosen = broker.topic_permissions().into_iter().filter(|(vhost, user, _)| which(vhost, user));
    chosen
        .map(|(vhost, user, granted)| {
            json!({"user": user, "vhost": vhost, "exchange": granted.exchange, "write": granted.write,
                "read": granted.read})
        })
        .collect()
}

async fn all(call: Call) -> Outcome {
    list::all(rows(&call.broker, |_, _| true), &call.query, &["vhost", "user"])
}

async fn all_topics(call: Call) -> Outcome {
    list::all(topic_rows(&call.broker, |_, _| true), &call.query, &["vhost", "user"])
}

async fn one(call: Call) -> Outcome {
    let row = rows(&call.broker, |vhost, user| vhost == call.name("vhost") && user == call.name("user")).pop();
    list::one(&row.ok_or_else(ApiError::no_object)?, &call.query)
}

/// Refuses a change for a user or virtual host that does not exist.
fn known(call: &Call) -> Result<(), ApiError> {
    let known = call.broker.vhost(call.name("vhost")).is_some() && call.broker.users.get(call.name("user")).is_some();
    if known { Ok(()) } else { Err(ApiError::bad_request("vhost_or_user_not_found")) }
}

async fn set(call: Call) -> Outcome {
    known(&call)?;
    let body = call.object()?;
    body.require(&["configure", "write", "read"])?;
    let text = |key| Ok::<_, ApiError>(body.required_text(key)?.to_owned());
    let permission = Permission { configure: text("configure")?, write: text("write")?, read: text("read")? };
    let (vhost, user) = (call.name("vhost"), call.name("user"));
    Ok(Answer::put(call.broker.set_permission(vhost, user, permission).await?))
}

async fn clear(call: Call) -> Outcome {
    let cleared = call.broker.clear_permission(call.name("vhost"), call.name("user")).await;
    match cleared {
        Ok(true) => Ok(Answer::done()),
        _ => Err(ApiError::no_object()),
    }
}

/// The topic permissions that the path names.
fn named_topics(call: &Call) -> Vec<Value> {
    let mut rows = topic_rows(&call.broker, |vhost, user| vhost == call.name("vhost") && user == call.name("user"));
    if let Some(exchange) = call.optional_name("exchange") {
        rows.retain(|row| row.get("exchange").and_then(Value::as_str) == Some(exchange));
    }
    rows
}

async fn topics(call: Call) -> Outcome {
    let rows = named_topics(&call);
    if rows.is_empty() { Err(ApiError::no_object()) } else { list::all(rows, &call.query, &["exchange"]) }
}

async fn set_topic(call: Call) -> Outcome {
    known(&call)?;
    let body = call.object()?;
    body.require(&["exchange", "write", "read"])?;
    let text = |key| Ok::<_, ApiError>(body.required_text(key)?.to_owned());
    let permission = TopicPermission { exchange: text("exchange")?, write: text("write")?, read: text("read")? };
    // RabbitMQ tells whether the user had any in this virtual host.
    let first = named_topics(&call).is_empty();
    call.broker.set_topic_permission(call.name("vhost"), call.name("user"), permission).await?;
    Ok(Answer::put(first))
}

async fn clear_topic(call: Call) -> Outcome {
    let (vhost, user, exchange) = (call.name("vhost"), call.name("user"), call.name("exchange"));
    // RabbitMQ asks whether the user has any in this virtual host, not whether this one is there.
    if topic_rows(&call.broker, |known, who| known == vhost && who == user).is_empty() {
        return Err(ApiError::no_object());
    }
    call.broker.clear_topic_permission(vhost, user, exchange).await?;
    Ok(Answer::done())
}

async fn clear_topics(call: Call) -> Outcome {
    let rows = named_topics(&call);
    if rows.is_empty() {
        return Err(ApiError::no_object());
    }
    for row in rows {
        let exchange = row.get("exchange").and_then(Value::as_str).unwrap_or_default();
        call.broker.clear_topic_permission(call.name("vhost"), call.name("user"), exchange).await?;
    }
    Ok(Answer::done())
}
