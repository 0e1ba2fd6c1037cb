//! The management HTTP API from outside: what RabbitMQ's tools ask, and what they must not be told.

#[path = "../support/client.rs"]
#[allow(dead_code, reason = "not every test binary uses all of it")]
mod client;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "not every test binary uses all of it")]
mod server;

mod access;
mod answers;
mod api;
mod bad_input;
mod boot;
mod control;
mod definitions;
mod health;
mod people;
mod replays;
mod settings;
mod shapes;
mod sites;
