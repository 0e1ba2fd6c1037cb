//! The overview and what else tells of the broker as a whole.

use serde_json::json;

use super::answer::{Answer, Outcome};
use super::call::Call;
use super::route::{Access, Route, get};
use super::{list, totals};

/// What the broker calls itself.
pub(super) const PRODUCT: &str = "Leveret";

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/overview", Access::Manager, overview),
        get("/api/whoami", Access::Manager, whoami),
        get("/api/version", Access::Open, version),
        get("/api/extensions", Access::Manager, extensions),
    ]
}

async fn overview(call: Call) -> Outcome {
    let broker = &call.broker;
    let version = broker.config.profile().version;
    let mut overview = totals::overview(&call)?;
    for (name, value) in [
        ("management_version", version),
        ("rabbitmq_version", version),
        ("product_name", PRODUCT),
        ("product_version", env!("CARGO_PKG_VERSION")),
    ] {
        overview.insert(name.to_owned(), value.into());
    }
    list::one(&overview, &call.query)
}

async fn whoami(call: Call) -> Outcome {
    let who = &call.principal;
    list::one(&json!({"name": who.name, "tags": who.tags, "is_internal_user": true}), &call.query)
}

async fn version(call: Call) -> Outcome {
    Ok(Answer::json(&call.broker.config.profile().version))
}

async fn extensions(_: Call) -> Outcome {
    // The browser interface's script; there is none, but clients count on the answer.
    Ok(Answer::json(&json!([{"javascript": "dispatcher.js"}])))
}
