//! The frames of both sides as octets, built by `amq-protocol`.
//!
//! Flags are given as words: `"durable exclusive"`. An unknown word fails the test.

mod basic;
mod topology;

use amq_protocol::protocol::{AMQPClass, channel, connection};
use leveret::wire::encode;
use leveret::wire::table::{Table, Value};

pub(crate) use basic::*;
pub(crate) use topology::*;

/// The protocol header of AMQP 0-9-1.
pub(crate) const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// A method as a frame.
fn method(channel: u16, class: AMQPClass) -> Vec<u8> {
    let mut out = Vec::new();
    encode::method(&mut out, channel, class);
    out
}

/// Any frame.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("a small frame");
    [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, &[encode::FRAME_END]].concat()
}

/// A method frame of any octets behind the ids.
pub(crate) fn raw_method(channel: u16, (class, method): (u16, u16), arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes()[..], &method.to_be_bytes(), arguments].concat())
}

/// No arguments.
pub(crate) fn none() -> Table {
    Table::new()
}

/// A table of one value.
pub(crate) fn argument(key: &str, value: impl Into<Value>) -> Table {
    let mut table = Table::new();
    table.insert(key, value);
    table
}

/// Which of the known words are among the flags.
fn flags<const N: usize>(given: &str, known: [&str; N]) -> [bool; N] {
    for word in given.split_whitespace() {
        assert!(known.contains(&word), "no flag {word:?} here");
    }
    known.map(|word| given.split_whitespace().any(|given| given == word))
}

fn connection(class: connection::AMQPMethod) -> Vec<u8> {
    method(0, AMQPClass::Connection(class))
}

fn on_channel(number: u16, class: channel::AMQPMethod) -> Vec<u8> {
    method(number, AMQPClass::Channel(class))
}

/// connection.start-ok with a response and client capabilities.
pub(crate) fn start_ok(mechanism: &str, response: &[u8], capabilities: &[&str]) -> Vec<u8> {
    let capabilities: Table = capabilities.iter().map(|name| (*name, Value::Bool(true))).collect();
    start_ok_with(mechanism, response, &argument("capabilities", capabilities))
}

/// connection.start-ok with any client properties.
pub(crate) fn start_ok_with(mechanism: &str, response: &[u8], properties: &Table) -> Vec<u8> {
    connection(connection::AMQPMethod::StartOk(connection::StartOk {
        client_properties: properties.into(),
        mechanism: mechanism.into(),
        response: response.to_vec().into(),
        locale: "en_US".into(),
    }))
}

/// connection.start-ok as guest, who wants to be told of consumers that the broker cancels.
pub(crate) fn login() -> Vec<u8> {
    start_ok("PLAIN", b"\0guest\0guest", &["consumer_cancel_notify"])
}

/// connection.tune with the defaults.
pub(crate) fn tune() -> Vec<u8> {
    let tune = connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
    connection(connection::AMQPMethod::Tune(tune))
}

pub(crate) fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> Vec<u8> {
    connection(connection::AMQPMethod::TuneOk(connection::TuneOk { channel_max, frame_max, heartbeat }))
}

pub(crate) fn open(vhost: &str) -> Vec<u8> {
    connection(connection::AMQPMethod::Open(connection::Open { virtual_host: vhost.into() }))
}

pub(crate) fn open_ok() -> Vec<u8> {
    connection(connection::AMQPMethod::OpenOk(connection::OpenOk {}))
}

/// connection.close by a client.
pub(crate) fn connection_close() -> Vec<u8> {
    connection_closed(200, "goodbye", (0, 0))
}

/// connection.close by the broker.
pub(crate) fn connection_closed(code: u16, text: &str, (class_id, method_id): (u16, u16)) -> Vec<u8> {
    let close = connection::Close { reply_code: code, reply_text: text.into(), class_id, method_id };
    connection(connection::AMQPMethod::Close(close))
}

pub(crate) fn connection_close_ok() -> Vec<u8> {
    connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))
}

pub(crate) fn channel_open(number: u16) -> Vec<u8> {
    on_channel(number, channel::AMQPMethod::Open(channel::Open {}))
}

pub(crate) fn channel_open_ok(number: u16) -> Vec<u8> {
    on_channel(number, channel::AMQPMethod::OpenOk(channel::OpenOk {}))
}

/// channel.close, by either side.
pub(crate) fn channel_close(number: u16, code: u16, text: &str, (class_id, method_id): (u16, u16)) -> Vec<u8> {
    let close = channel::Close { reply_code: code, reply_text: text.into(), class_id, method_id };
    on_channel(number, channel::AMQPMethod::Close(close))
}

/// channel.close by a client.
pub(crate) fn channel_goodbye(number: u16) -> Vec<u8> {
    channel_close(number, 200, "goodbye", (0, 0))
}

pub(crate) fn channel_close_ok(number: u16) -> Vec<u8> {
    on_channel(number, channel::AMQPMethod::CloseOk(channel::CloseOk {}))
}

pub(crate) fn flow(number: u16, active: bool) -> Vec<u8> {
    on_channel(number, channel::AMQPMethod::Flow(channel::Flow { active }))
}

pub(crate) fn flow_ok(number: u16) -> Vec<u8> {
    on_channel(number, channel::AMQPMethod::FlowOk(channel::FlowOk { active: true }))
}

/// A heartbeat.
pub(crate) fn heartbeat() -> Vec<u8> {
    frame(8, 0, &[])
}

/// connection.blocked.
pub(crate) fn blocked(reason: &str) -> Vec<u8> {
    connection(connection::AMQPMethod::Blocked(connection::Blocked { reason: reason.into() }))
}

/// connection.unblocked.
pub(crate) fn unblocked() -> Vec<u8> {
    connection(connection::AMQPMethod::Unblocked(connection::Unblocked {}))
}
