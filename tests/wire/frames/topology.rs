//! Classes exchange and queue.

use amq_protocol::protocol::{AMQPClass, exchange, queue};
use leveret::wire::table::Table;

use super::{flags, method};

fn on_exchange(channel: u16, class: exchange::AMQPMethod) -> Vec<u8> {
    method(channel, AMQPClass::Exchange(class))
}

fn on_queue(channel: u16, class: queue::AMQPMethod) -> Vec<u8> {
    method(channel, AMQPClass::Queue(class))
}

pub(crate) fn exchange_declare(channel: u16, name: &str, kind: &str, words: &str, arguments: &Table) -> Vec<u8> {
    let known = ["passive", "durable", "auto-delete", "internal", "nowait"];
    let [passive, durable, auto_delete, internal, nowait] = flags(words, known);
    on_exchange(
        channel,
        exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: name.into(),
            kind: kind.into(),
            passive,
            durable,
            auto_delete,
            internal,
            nowait,
            arguments: arguments.into(),
        }),
    )
}

pub(crate) fn exchange_declare_ok(channel: u16) -> Vec<u8> {
    on_exchange(channel, exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}))
}

pub(crate) fn exchange_delete(channel: u16, name: &str, words: &str) -> Vec<u8> {
    let [if_unused, nowait] = flags(words, ["if-unused", "nowait"]);
    on_exchange(channel, exchange::AMQPMethod::Delete(exchange::Delete { exchange: name.into(), if_unused, nowait }))
}

pub(crate) fn exchange_delete_ok(channel: u16) -> Vec<u8> {
    on_exchange(channel, exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {}))
}

pub(crate) fn exchange_bind(channel: u16, destination: &str, source: &str, key: &str, arguments: &Table) -> Vec<u8> {
    on_exchange(
        channel,
        exchange::AMQPMethod::Bind(exchange::Bind {
            destination: destination.into(),
            source: source.into(),
            routing_key: key.into(),
            nowait: false,
            arguments: arguments.into(),
        }),
    )
}

pub(crate) fn exchange_bind_ok(channel: u16) -> Vec<u8> {
    on_exchange(channel, exchange::AMQPMethod::BindOk(exchange::BindOk {}))
}

pub(crate) fn exchange_unbind(channel: u16, destination: &str, source: &str, key: &str, arguments: &Table) -> Vec<u8> {
    on_exchange(
        channel,
        exchange::AMQPMethod::Unbind(exchange::Unbind {
            destination: destination.into(),
            source: source.into(),
            routing_key: key.into(),
            nowait: false,
            arguments: arguments.into(),
        }),
    )
}

pub(crate) fn exchange_unbind_ok(channel: u16) -> Vec<u8> {
    on_exchange(channel, exchange::AMQPMethod::UnbindOk(exchange::UnbindOk {}))
}

pub(crate) fn queue_declare(channel: u16, name: &str, words: &str, arguments: &Table) -> Vec<u8> {
    let known = ["passive", "durable", "exclusive", "auto-delete", "nowait"];
    let [passive, durable, exclusive, auto_delete, nowait] = flags(words, known);
    on_queue(
        channel,
        queue::AMQPMethod::Declare(queue::Declare {
            queue: name.into(),
            passive,
            durable,
            exclusive,
            auto_delete,
            nowait,
            arguments: arguments.into(),
        }),
    )
}

pub(crate) fn queue_declare_ok(channel: u16, name: &str, message_count: u32, consumer_count: u32) -> Vec<u8> {
    let ok = queue::DeclareOk { queue: name.into(), message_count, consumer_count };
    on_queue(channel, queue::AMQPMethod::DeclareOk(ok))
}

pub(crate) fn queue_bind(channel: u16, name: &str, exchange: &str, key: &str, arguments: &Table) -> Vec<u8> {
    on_queue(
        channel,
        queue::AMQPMethod::Bind(queue::Bind {
            queue: name.into(),
            exchange: exchange.into(),
            routing_key: key.into(),
            nowait: false,
            arguments: arguments.into(),
        }),
    )
}

pub(crate) fn queue_bind_ok(channel: u16) -> Vec<u8> {
    on_queue(channel, queue::AMQPMethod::BindOk(queue::BindOk {}))
}

pub(crate) fn queue_unbind(channel: u16, name: &str, exchange: &str, key: &str, arguments: &Table) -> Vec<u8> {
    on_queue(
        channel,
        queue::AMQPMethod::Unbind(queue::Unbind {
            queue: name.into(),
            exchange: exchange.into(),
            routing_key: key.into(),
            arguments: arguments.into(),
        }),
    )
}

pub(crate) fn queue_unbind_ok(channel: u16) -> Vec<u8> {
    on_queue(channel, queue::AMQPMethod::UnbindOk(queue::UnbindOk {}))
}

pub(crate) fn queue_purge(channel: u16, name: &str) -> Vec<u8> {
    on_queue(channel, queue::AMQPMethod::Purge(queue::Purge { queue: name.into(), nowait: false }))
}

pub(crate) fn queue_purge_ok(channel: u16, message_count: u32) -> Vec<u8> {
    on_queue(channel, queue::AMQPMethod::PurgeOk(queue::PurgeOk { message_count }))
}

pub(crate) fn queue_delete(channel: u16, name: &str, words: &str) -> Vec<u8> {
    let [if_unused, if_empty, nowait] = flags(words, ["if-unused", "if-empty", "nowait"]);
    on_queue(channel, queue::AMQPMethod::Delete(queue::Delete { queue: name.into(), if_unused, if_empty, nowait }))
}

pub(crate) fn queue_delete_ok(channel: u16, message_count: u32) -> Vec<u8> {
    on_queue(channel, queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count }))
}
