//! Runtime parameters, global parameters, and the limits of virtual hosts.
//!
//! Shovels and federation are parameters that nothing here acts upon; their lists say so.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::body::erlang;
use super::call::Call;
use super::list;
use super::route::{Access, Route, delete, get, put};
use crate::broker::{Parameter, Policy, PolicyKind, VHOST_LIMITS, VhostLimits, uplinks};

/// Why a shovel or a federation link does nothing.
const UNSUPPORTED: &str = "shovels and federation are not supported here";

pub(super) fn routes() -> Vec<Route> {
    const ONE: &str = "/api/parameters/{component}/{vhost}/{name}";
    const GLOBAL: &str = "/api/global-parameters/{name}";
    const LIMIT: &str = "/api/vhost-limits/{vhost}/{name}";
    vec![
        get("/api/parameters", Access::Policymaker, all),
        get("/api/parameters/{component}", Access::Policymaker, all),
        get("/api/parameters/{component}/{vhost}", Access::Policymaker, all),
        get(ONE, Access::Policymaker, one),
        put(ONE, Access::Policymaker, set),
        delete(ONE, Access::Policymaker, clear),
        get("/api/global-parameters", Access::AnyPolicymaker, all_global),
        get(GLOBAL, Access::AnyPolicymaker, one_global),
        put(GLOBAL, Access::AnyPolicymaker, set_global),
        delete(GLOBAL, Access::AnyPolicymaker, clear_global),
        get("/api/vhost-limits", Access::VisibleVhost, all_limits),
        get("/api/vhost-limits/{vhost}", Access::VisibleVhost, limits),
        put(LIMIT, Access::Administrator, set_limit),
        delete(LIMIT, Access::Administrator, clear_limit),
        get("/api/shovels", Access::Monitoring, shovels),
        get("/api/shovels/{vhost}", Access::Monitoring, shovels),
        get("/api/federation-links", Access::Monitoring, links),
        get("/api/federation-links/{vhost}", Access::Monitoring, links),
    ]
}

/// A parameter as a row.
fn row(parameter: Parameter) -> Value {
    json!({"vhost": parameter.vhost, "component": parameter.component, "name": parameter.name,
        "value": parameter.value})
}

async fn all(call: Call) -> Outcome {
    let component = call.optional_name("component");
    let vhosts = call.vhosts()?;
    let all = vhosts.iter().flat_map(|vhost| call.broker.parameters(Some(&vhost.name), component));
    list::all(all.map(row).collect(), &call.query, &["vhost", "name"])
}

fn named(call: &Call) -> Result<Parameter, ApiError> {
    let of_component = call.broker.parameters(Some(call.name("vhost")), Some(call.name("component")));
    of_component.into_iter().find(|known| known.name == call.name("name")).ok_or_else(ApiError::no_object)
}

async fn one(call: Call) -> Outcome {
    list::one(&row(named(&call)?), &call.query)
}

async fn set(call: Call) -> Outcome {
    let vhost = call.vhost_to_change()?;
    let body = call.object()?;
    body.require(&["value"])?;
    let value = body.get("value").cloned().unwrap_or_default();
    let created = call.broker.set_parameter(&vhost.name, call.name("component"), call.name("name"), value).await?;
    Ok(Answer::put(created))
}

async fn clear(call: Call) -> Outcome {
    let parameter = named(&call)?;
    call.broker.clear_parameter(&parameter.vhost, &parameter.component, &parameter.name).await?;
    Ok(Answer::done())
}

async fn all_global(call: Call) -> Outcome {
    let all = call.broker.global_parameters();
    let rows = all.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    list::all(rows, &call.query, &["name"])
}

async fn one_global(call: Call) -> Outcome {
    let name = call.name("name");
    let value = call.broker.global_parameters().remove(name).ok_or_else(ApiError::no_object)?;
    list::one(&json!({"name": name, "value": value}), &call.query)
}

async fn set_global(call: Call) -> Outcome {
    let body = call.object()?;
    body.require(&["value"])?;
    let value = body.get("value").cloned().unwrap_or_default();
    Ok(Answer::put(call.broker.set_global_parameter(call.name("name"), value).await?))
}

async fn clear_global(call: Call) -> Outcome {
    call.broker.clear_global_parameter(call.name("name")).await?;
    Ok(Answer::done())
}

/// The limits of the virtual hosts that have any, of those that `which` chooses.
fn limit_rows(call: &Call, which: impl Fn(&str) -> bool) -> Vec<Value> {
    let all = call.broker.parameters(None, Some(VHOST_LIMITS));
    all.into_iter()
        .filter(|limits| which(&limits.vhost))
        .map(|limits| json!({"vhost": limits.vhost, "value": limits.value}))
        .collect()
}

async fn all_limits(call: Call) -> Outcome {
    let rows = limit_rows(&call, |vhost| call.principal.may_see(&call.broker, vhost));
    list::all(rows, &call.query, &["vhost"])
}

async fn limits(call: Call) -> Outcome {
    let vhost = call.vhost()?;
    list::all(limit_rows(&call, |known| *known == *vhost.name), &call.query, &["vhost"])
}

/// The limit of that name.
fn limit<'a>(limits: &'a mut VhostLimits, name: &str, value: &Value) -> Result<&'a mut Option<i64>, ApiError> {
    match name {
        "max-connections" => Ok(&mut limits.max_connections),
        "max-queues" => Ok(&mut limits.max_queues),
        _ => {
            let term = format!("{{<<\"{name}\">>,{}}}", erlang(value));
            let text = format!("Validation failed\n\nUnrecognised terms [{term}] in limits\n");
            Err(ApiError::bad_request(text))
        }
    }
}

async fn set_limit(call: Call) -> Outcome {
    if !call.is_of_type("application/json") {
        return Err(ApiError::unsupported_media_type());
    }
    let vhost = call.vhost_to_change()?;
    let body = call.object()?;
    body.require(&["value"])?;
    let (name, value) = (call.name("name"), body.get("value").unwrap_or(&Value::Null));
    let mut limits = vhost.settings().limits;
    let place = limit(&mut limits, name, value)?;
    let Some(number) = value.as_i64() else {
        let text = format!("Validation failed\n\n{name} should be a number, actually was {}\n", erlang(value));
        return Err(ApiError::bad_request(text));
    };
    *place = Some(number);
    call.broker.set_vhost_limits(&vhost.name, limits).await?;
    Ok(Answer::done())
}

async fn clear_limit(call: Call) -> Outcome {
    let vhost = call.vhost_to_change()?;
    let mut limits = vhost.settings().limits;
    if let Ok(place) = limit(&mut limits, call.name("name"), &Value::Null) {
        *place = None;
    }
    call.broker.set_vhost_limits(&vhost.name, limits).await?;
    Ok(Answer::done())
}

/// The parameters of a component as rows of what would run them.
fn idle(call: &Call, component: &str, show: impl Fn(Parameter) -> Value) -> Result<Vec<Value>, ApiError> {
    let vhosts = call.vhosts()?;
    let all = vhosts.iter().flat_map(|vhost| call.broker.parameters(Some(&vhost.name), Some(component)));
    Ok(all.map(show).collect())
}

async fn shovels(call: Call) -> Outcome {
    let node = &call.broker.config.node_name;
    let rows = idle(&call, "shovel", |shovel| {
        json!({"node": node, "name": shovel.name, "vhost": shovel.vhost, "type": "dynamic", "state": "terminated",
            "reason": UNSUPPORTED})
    })?;
    list::all(rows, &call.query, &["vhost", "name"])
}

/// A link is there once a policy asks for one, whatever it governs.
async fn links(call: Call) -> Outcome {
    let node = &call.broker.config.node_name;
    let rows = idle(&call, "federation-upstream", |upstream| {
        let policies = call.broker.policies(PolicyKind::User, Some(&upstream.vhost));
        let asks = |policy: &&Arc<Policy>| {
            let definition = policy.ask().definition;
            definition.contains_key("federation-upstream-set")
                || definition.get("federation-upstream").is_some_and(|name| *name == *upstream.name)
        };
        let Some(policy) = policies.iter().find(asks) else { return Value::Null };
        let kind = if policy.ask().apply_to == "exchanges" { "exchange" } else { "queue" };
        json!({"node": node, "upstream": upstream.name, "vhost": upstream.vhost, "id": upstream.name,
            "uri": uplinks::public_uri(&upstream.value), "type": kind, "status": "error", "error": UNSUPPORTED})
    })?;
    list::all(rows.into_iter().filter(|row| !row.is_null()).collect(), &call.query, &["vhost", "upstream"])
}
