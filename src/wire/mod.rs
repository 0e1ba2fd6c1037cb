//! Octets to AMQP 0-9-1 frames and methods, and back.
//!
//! Hot methods (publish, ack, nack, reject, content headers; deliver, get-ok, return, content, acks) are decoded and
//! encoded by hand as borrowed views. Everything else passes a guard that bounds and classifies it before the
//! `amq-protocol` crate sees it.
//!
//! Invariants: no input makes this room panic, recurse without bound or allocate by a declared number.
//! Deliberately absent: sockets, clocks, broker types, async.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::arithmetic_side_effects
)]
// Tests may index and count: a panic there is a failed test.
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

pub mod encode;
pub mod erlang;
pub mod frame;
pub mod method;
pub mod properties;
pub mod proxy;
mod reader;
pub mod refusal;
pub mod short;
mod signature;
pub mod table;

pub use refusal::{Radius, Refusal, ReplyCode};
pub use table::{Malformed, Table, Value};
