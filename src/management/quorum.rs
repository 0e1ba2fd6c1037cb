//! Replicas of quorum queues: how one stands, and the verbs that would move them.
//!
//! There is one node, so every queue has the one replica it can have: adding it again changes nothing, and taking it
//! away is refused as RabbitMQ refuses the last one. The fields of Raft are there for readers that look for them; what is
//! no log here has no index.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::queues::queue_of;
use super::route::{Access, Route, delete, get, post};

/// How RabbitMQ spells the refusal for a queue that is no quorum queue.
const CLASSIC: &str = "classic_queue_not_supported";

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/queues/quorum/{vhost}/{name}/status", Access::VisibleVhost, status),
        post("/api/queues/quorum/{vhost}/{name}/replicas/add", Access::Administrator, add),
        delete("/api/queues/quorum/{vhost}/{name}/replicas/delete", Access::Administrator, remove),
        post("/api/queues/quorum/replicas/on/{node}/grow", Access::Administrator, grow),
        delete("/api/queues/quorum/replicas/on/{node}/shrink", Access::Administrator, shrink),
    ]
}

async fn status(call: Call) -> Outcome {
    let (_, queue) = queue_of(&call)?;
    if !queue.definition().options.is_quorum() {
        return Ok(Answer::failed(CLASSIC, serde_json::Map::default()));
    }
    Ok(Answer::json(&json!([{
        "Node Name": call.broker.config.node_name,
        "Raft State": "leader",
        "Membership": "voter",
        "Last Log Index": 0,
        "Last Written": 0,
        "Last Applied": 0,
        "Commit Index": 0,
        "Snapshot Index": -1,
        "Term": 1,
        "Machine Version": 0,
    }])))
}

/// Refuses what names another node than this one, and what is said of other queues than quorum queues.
fn judge(call: &Call) -> Result<(), ApiError> {
    let body = call.object()?;
    body.require(&["node"])?;
    if body.get("node").and_then(Value::as_str) != Some(call.broker.config.node_name.as_str()) {
        return Err(ApiError::bad_request("Node is not a cluster member"));
    }
    let queue = queue_of(call).map_err(|_| ApiError::unavailable("not_found"))?.1;
    if queue.definition().options.is_quorum() { Ok(()) } else { Err(ApiError::unavailable(CLASSIC)) }
}

async fn add(call: Call) -> Outcome {
    judge(&call)?;
    Ok(Answer::done())
}

async fn remove(call: Call) -> Outcome {
    judge(&call)?;
    Err(ApiError::unavailable("last_node"))
}

async fn grow(call: Call) -> Outcome {
    call.object()?.require(&["vhost_pattern", "queue_pattern", "strategy"])?;
    if call.name("node") == call.broker.config.node_name { Ok(Answer::done()) } else { Err(ApiError::no_object()) }
}

/// RabbitMQ takes the order and works on it later; the last replica of a queue stays there, too.
async fn shrink(call: Call) -> Outcome {
    let here = call.name("node") == call.broker.config.node_name;
    if here { Ok(Answer::of(StatusCode::ACCEPTED)) } else { Err(ApiError::no_object()) }
}
