#![doc = include_str!("ARCHITECTURE.md")]

pub mod auth;
pub mod broker;
pub mod clock;
pub mod config;
pub mod management;
pub mod message;
pub mod perf;
pub mod queue;
pub mod server;
pub mod session;
pub mod stats;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod tools;
pub mod wire;
