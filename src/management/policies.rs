//! Policies of users and of operators.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::list;
use super::route::{Access, Route, delete, get, put};
use crate::broker::{Policy, PolicyAsk, PolicyKind};

pub(super) fn routes() -> Vec<Route> {
    const ONE: &str = "/api/policies/{vhost}/{name}";
    const OPERATORS_ONE: &str = "/api/operator-policies/{vhost}/{name}";
    let users = |call| all(PolicyKind::User, call);
    let operators = |call| all(PolicyKind::Operator, call);
    vec![
        get("/api/policies", Access::Vhost, users),
        get("/api/policies/{vhost}", Access::Vhost, users),
        get(ONE, Access::Policymaker, |call| one(PolicyKind::User, call)),
        put(ONE, Access::Policymaker, |call| set(PolicyKind::User, call)),
        delete(ONE, Access::Policymaker, |call| clear(PolicyKind::User, call)),
        get("/api/operator-policies", Access::Vhost, operators),
        get("/api/operator-policies/{vhost}", Access::Vhost, operators),
        get(OPERATORS_ONE, Access::Administrator, |call| one(PolicyKind::Operator, call)),
        put(OPERATORS_ONE, Access::Administrator, |call| set(PolicyKind::Operator, call)),
        delete(OPERATORS_ONE, Access::Administrator, |call| clear(PolicyKind::Operator, call)),
    ]
}

/// A policy as a row.
fn row(policy: &Policy) -> Map<String, Value> {
    let ask = policy.ask();
    let mut row = Map::new();
    row.insert("vhost".to_owned(), (*policy.vhost).into());
    row.insert("name".to_owned(), (*policy.name).into());
    row.insert("pattern".to_owned(), ask.pattern.into());
    row.insert("apply-to".to_owned(), ask.apply_to.into());
    row.insert("definition".to_owned(), Value::Object(ask.definition));
    row.insert("priority".to_owned(), ask.priority.into());
    row
}

async fn all(kind: PolicyKind, call: Call) -> Outcome {
    let vhosts = call.vhosts()?;
    let all = vhosts.iter().flat_map(|vhost| call.broker.policies(kind, Some(&vhost.name)));
    list::all(all.map(|policy| row(&policy)).collect(), &call.query, &["priority", "vhost", "name"])
}

fn named(kind: PolicyKind, call: &Call) -> Result<Arc<Policy>, ApiError> {
    let vhost = call.vhost()?;
    vhost.policies().get(kind, call.name("name")).cloned().ok_or_else(ApiError::no_object)
}

async fn one(kind: PolicyKind, call: Call) -> Outcome {
    list::one(&row(&*named(kind, &call)?), &call.query)
}

async fn set(kind: PolicyKind, call: Call) -> Outcome {
    let vhost = call.vhost_to_change()?;
    let body = call.object()?;
    body.require(&["pattern", "definition"])?;
    let Some(Value::Object(definition)) = body.get("definition") else {
        return Err(ApiError::bad_request("definition should be an object"));
    };
    let ask = PolicyAsk {
        pattern: body.required_text("pattern")?.to_owned(),
        definition: definition.clone(),
        priority: body.integer("priority")?.unwrap_or_default(),
        apply_to: body.text("apply-to")?.unwrap_or("all").to_owned(),
    };
    let name = call.name("name");
    let created = vhost.policies().get(kind, name).is_none();
    match kind {
        PolicyKind::User => call.broker.set_policy(&vhost.name, name, ask).await?,
        PolicyKind::Operator => call.broker.set_operator_policy(&vhost.name, name, ask).await?,
    }
    Ok(Answer::put(created))
}

async fn clear(kind: PolicyKind, call: Call) -> Outcome {
    let policy = named(kind, &call)?;
    match kind {
        PolicyKind::User => call.broker.clear_policy(&policy.vhost, &policy.name).await?,
        PolicyKind::Operator => call.broker.clear_operator_policy(&policy.vhost, &policy.name).await?,
    }
    Ok(Answer::done())
}
