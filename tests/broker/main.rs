//! What the broker does, seen by a client: one module per feature.
//!
//! Every test has a broker of its own, in its own process and on a free port. Time is moved, never waited for.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

#[path = "../support/client.rs"]
mod client;
#[path = "../support/server.rs"]
mod server;

mod access;
mod acknowledge;
mod alarms;
mod backlog;
mod cancel;
mod consume;
mod content;
mod copies;
mod dead_letters;
mod death_headers;
mod deduplication;
mod delayed;
mod durability;
mod exchanges;
mod expiry;
mod get;
mod hashing;
mod headers;
mod history;
mod limits;
mod policies;
mod prefetch;
mod publish;
mod queues;
mod quorum;
mod recover;
mod reply_to;
mod transactions;
mod upgrades;
mod vhosts;
mod weak_spots;
