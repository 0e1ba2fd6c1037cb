//! What the broker counts, and how the management API and the metrics show it; and what the API does with queues,
//! exchanges, bindings and messages.
//!
//! The API is asked as the control socket is, without a login: who may ask what is tested elsewhere. Time is moved,
//! never waited for; what a session tells at the end of its turn is asked for until it is there.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

#[path = "../support/client.rs"]
#[allow(dead_code)] // shared with other tests
mod client;
#[path = "../support/server.rs"]
#[allow(dead_code)] // shared with other tests
mod server;

mod bindings;
mod connections;
mod http;
mod messages;
mod metrics;
mod queues;
mod rates;
