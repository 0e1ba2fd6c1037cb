//! The management HTTP API, as RabbitMQ's tools speak it.
//!
//! [`router`] makes the service of one broker from the table of routes ([`route`]), [`serve`] answers on a listener,
//! [`control`] on the Unix socket that the command-line tools use. A handler is a function of a [`call::Call`] (who asks,
//! which names stand in the path, query, body) to an [`answer::Answer`] or an [`answer::ApiError`]; who may call it says
//! its row in the table, and is checked before it runs. A resource is one file: its routes and its handlers.
//!
//! May know the broker, the users, the settings; never a session. Invariants: a route without a row is not there; what
//! a client sends is bounded before it is read; a change is answered once it is committed. Deliberately absent: cookies
//! and sessions (so there is nothing to forge requests with), CORS, compression, the browser interface.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]
#![allow(
    clippy::unnecessary_wraps,
    clippy::unused_async,
    clippy::needless_pass_by_value,
    reason = "every handler takes a call and comes to an outcome, whether or not it waits or can fail"
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing))]

mod answer;
mod binding_key;
mod bindings;
mod body;
mod call;
mod channels;
mod connections;
mod consumers;
pub mod control;
mod definitions;
mod doors;
mod exchanges;
mod features;
mod figures;
mod health;
mod list;
mod logins;
mod messages;
mod metrics;
mod nodes;
mod overview;
mod parameters;
mod permissions;
mod policies;
mod principal;
mod query;
mod queues;
mod quorum;
mod route;
mod serve;
mod totals;
mod users;
mod vhosts;

use std::sync::Arc;

use axum::Router;

use crate::broker::Broker;

pub use metrics::router as metrics_router;
pub use principal::Origin;
pub use route::{Access, Row, rows};
pub use serve::{Serving, serve, serve_unix};

/// The service of a broker for requests that come in at `origin`.
pub fn router(broker: Arc<Broker>, origin: Origin) -> Router {
    route::router(broker, origin)
}
