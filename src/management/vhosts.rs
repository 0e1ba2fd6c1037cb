//! Virtual hosts: list, create, change, protect, delete; and what is granted in one.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::body::Object;
use super::call::Call;
use super::route::{Access, Route, delete, get, post, put};
use super::totals::ByVhost;
use super::{list, overview, permissions};
use crate::auth::Permission;
use crate::broker::{Broker, VhostSettings, VirtualHost};

pub(super) fn routes() -> Vec<Route> {
    const ONE: &str = "/api/vhosts/{vhost}";
    const PROTECTION: &str = "/api/vhosts/{vhost}/deletion/protection";
    vec![
        get("/api/vhosts", Access::Manager, all),
        get(ONE, Access::Administrator, one),
        put(ONE, Access::Administrator, change),
        delete(ONE, Access::Administrator, remove),
        post(PROTECTION, Access::Administrator, protect),
        delete(PROTECTION, Access::Administrator, release),
        post("/api/vhosts/{vhost}/start/{node}", Access::Administrator, start),
        get("/api/vhosts/{vhost}/permissions", Access::Administrator, granted),
        get("/api/vhosts/{vhost}/topic-permissions", Access::Administrator, granted_topics),
    ]
}

/// What RabbitMQ calls the metadata of a virtual host.
fn metadata(broker: &Broker, settings: &VhostSettings) -> Value {
    let mut metadata = json!({
        "description": settings.description,
        "tags": settings.tags,
        "default_queue_type": default_queue_type(broker, settings),
    });
    if let (true, Some(map)) = (settings.protected, metadata.as_object_mut()) {
        map.insert("protected_from_deletion".to_owned(), true.into());
    }
    metadata
}

fn default_queue_type<'a>(broker: &'a Broker, settings: &'a VhostSettings) -> &'a str {
    settings.default_queue_type.as_ref().unwrap_or(&broker.config.default_queue_type)
}

/// A virtual host as a row.
fn row(broker: &Broker, vhost: &VirtualHost, counted: &ByVhost) -> Map<String, Value> {
    let settings = vhost.settings();
    let state: Map<String, Value> = [(broker.config.node_name.clone(), "running".into())].into_iter().collect();
    let mut row = overview::object(json!({
        "name": vhost.name,
        "description": settings.description,
        "tags": settings.tags,
        "default_queue_type": default_queue_type(broker, &settings),
        "protected_from_deletion": settings.protected,
        "metadata": metadata(broker, &settings),
        "tracing": settings.tracing,
        "cluster_state": state,
    }));
    row.extend(counted.shown(broker, vhost));
    row
}

async fn all(call: Call) -> Outcome {
    let broker = &call.broker;
    let visible = broker.vhosts().into_iter().filter(|vhost| call.principal.may_see(broker, &vhost.name));
    let counted = ByVhost::of(&call)?;
    let rows = visible.map(|vhost| row(broker, &vhost, &counted)).collect();
    list::pages(rows, &call.query, &["name"])
}

async fn one(call: Call) -> Outcome {
    let counted = ByVhost::of(&call)?;
    list::one(&row(&call.broker, &*call.vhost()?, &counted), &call.query)
}

/// Tags: a list, or text with commas.
fn tags(body: &Object) -> Result<Vec<String>, ApiError> {
    let wrong = || ApiError::bad_request("tags should be a list of strings");
    match body.get("tags") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => {
            Ok(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
        }
        Some(Value::Array(list)) => list.iter().map(|tag| tag.as_str().map(str::to_owned).ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

async fn change(call: Call) -> Outcome {
    let name = call.name("vhost");
    let body = call.object()?;
    let kind = match body.text("default_queue_type")? {
        Some(kind) => Some(kind),
        None => body.text("defaultqueuetype")?,
    };
    let present = call.broker.vhost(name).map(|vhost| vhost.settings());
    let present: VhostSettings = present.as_deref().cloned().unwrap_or_default();
    let settings = VhostSettings {
        description: body.text("description")?.unwrap_or_default().to_owned(),
        tags: tags(&body)?,
        default_queue_type: kind.filter(|kind| *kind != "undefined").map(str::to_owned).or(present.default_queue_type),
        tracing: body.truth("tracing")?.unwrap_or(present.tracing),
        limits: present.limits,
        protected: present.protected,
    };
    let created = call.broker.create_vhost(name, settings).await?;
    if let (true, Some(user)) = (created, call.principal.user()) {
        call.broker.set_permission(name, &user.name, Permission::all()).await?;
    }
    Ok(Answer::put(created))
}

async fn remove(call: Call) -> Outcome {
    call.vhost()?;
    call.broker.delete_vhost(call.name("vhost")).await?;
    Ok(Answer::done())
}

/// Refuses to protect what is not there, or to take its protection away, in RabbitMQ's words.
fn to_protect(call: &Call, verb: &str) -> Result<(), ApiError> {
    let name = call.name("vhost");
    let missing = || format!("Cannot {verb} deletion protection of virtual host '{name}' because it does not exist");
    call.broker.vhost(name).map(drop).ok_or_else(|| ApiError::not_found(missing()))
}

async fn protect(call: Call) -> Outcome {
    to_protect(&call, "enable")?;
    call.broker.protect_vhost(call.name("vhost"), true).await?;
    Ok(Answer::done())
}

async fn release(call: Call) -> Outcome {
    to_protect(&call, "disable")?;
    call.broker.protect_vhost(call.name("vhost"), false).await?;
    Ok(Answer::done())
}

/// Every virtual host runs as long as the broker does.
async fn start(call: Call) -> Outcome {
    let (name, node) = (call.name("vhost"), call.name("node"));
    if node != call.broker.config.node_name {
        return Err(ApiError::bad_request(format!("Unknown node: {node}")));
    }
    if call.broker.vhost(name).is_none() {
        let why = format!("Request to node {node} failed with {{no_such_vhost,<<\"{name}\">>}}");
        return Err(ApiError::bad_request(why));
    }
    Ok(Answer::done())
}

async fn granted(call: Call) -> Outcome {
    let vhost: Arc<VirtualHost> = call.vhost()?;
    let rows = permissions::rows(&call.broker, |known, _| *known == *vhost.name);
    list::all(rows, &call.query, &["vhost", "user"])
}

async fn granted_topics(call: Call) -> Outcome {
    let vhost: Arc<VirtualHost> = call.vhost()?;
    let rows = permissions::topic_rows(&call.broker, |known, _| *known == *vhost.name);
    list::all(rows, &call.query, &["vhost", "user"])
}
