//! Who comes in: listeners that are suspended and resumed, a broker that is drained, certificates that are read again.
//!
//! On the control socket only: these are the verbs of `rabbitmqctl` and `rabbitmq-upgrade` that RabbitMQ's API lacks.

use std::time::Duration;

use serde_json::json;

use super::answer::{Answer, Outcome};
use super::call::Call;
use super::route::{Access, Route, post};
use crate::broker::Then;

/// How long clients are waited for, in seconds, if nobody says otherwise: as long as most service managers wait.
const PATIENCE: u64 = 60;

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/api/leveret/suspend-listeners", Access::Control, suspend),
        post("/api/leveret/resume-listeners", Access::Control, resume),
        post("/api/leveret/drain", Access::Control, drain),
        post("/api/leveret/reload-tls", Access::Control, reload),
    ]
}

async fn suspend(call: Call) -> Outcome {
    call.broker.suspend_listeners().await?;
    Ok(Answer::done())
}

async fn resume(call: Call) -> Outcome {
    call.broker.resume_listeners().await?;
    Ok(Answer::done())
}

/// Waits for clients to go, for `timeout` seconds at most (query string), and with `stop=true` ends the broker then.
async fn drain(call: Call) -> Outcome {
    let given = call.query.get("timeout").and_then(|text| text.parse().ok());
    let patience = Duration::from_secs(given.unwrap_or(PATIENCE));
    let then = if call.query.is_true("stop") { Then::Stop } else { Then::Stay };
    let left = call.broker.drain(patience, then).await?;
    Ok(Answer::json(&json!({"connections": left})))
}

async fn reload(call: Call) -> Outcome {
    call.broker.reload_tls().await?;
    Ok(Answer::done())
}
