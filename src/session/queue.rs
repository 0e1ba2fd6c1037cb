//! Class queue: declare, bind, unbind, purge, delete.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use amq_protocol::protocol::{AMQPClass, queue};
use amq_protocol::types::ShortString;

use super::channel::Channel;
use super::context::Context;
use super::names::{clean, queue_meant};
use super::notes::Note;
use crate::broker::{Caller, QueueDeclare, REPLY_TO, Replies};
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::short::short_string;
use crate::wire::table::Table;

pub(super) fn handle(context: &mut Context, channel: &mut Channel, method: queue::AMQPMethod) -> Result<(), Refusal> {
    match method {
        queue::AMQPMethod::Declare(ask) => declare(context, channel, &ask),
        queue::AMQPMethod::Bind(ask) => bind(context, channel, &ask),
        queue::AMQPMethod::Unbind(ask) => unbind(context, channel, &ask),
        queue::AMQPMethod::Purge(ask) => purge(context, channel, &ask),
        queue::AMQPMethod::Delete(ask) => delete(context, channel, &ask),
        _ => Err(Refusal::new(ReplyCode::CommandInvalid, "unimplemented method")),
    }
}

fn ok(method: queue::AMQPMethod) -> AMQPClass {
    AMQPClass::Queue(method)
}

fn count(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn declare(context: &mut Context, channel: &mut Channel, ask: &queue::Declare) -> Result<(), Refusal> {
    let name = clean(&ask.queue);
    if name == REPLY_TO || Replies::is_reply(name.as_bytes()) {
        return probe_reply(context, channel, ask, &name);
    }
    let declare = QueueDeclare {
        name,
        passive: ask.passive,
        durable: ask.durable,
        exclusive: ask.exclusive,
        auto_delete: ask.auto_delete,
        arguments: Table::from(&ask.arguments),
    };
    let caller = Caller::client(&context.user, context.connection.id);
    let declared = context.vhost.declare_queue(&context.broker, declare, caller, &mut context.fx)?;
    let queue = declared.queue;
    context.finish(&queue);
    context.note_arguments(&queue.definition().arguments);
    if !ask.passive && !ask.durable && !ask.exclusive {
        context.note(Note::TransientQueue);
    }
    if queue.definition().exclusive_to.is_some() && !context.exclusive.iter().any(|q| q.id() == queue.id()) {
        context.exclusive.push(queue.clone());
    }
    channel.last_queue = Some(queue.name().clone());
    let declare_ok = queue::DeclareOk {
        queue: short_string(queue.name()),
        message_count: count(declared.messages),
        consumer_count: count(declared.consumers as u64),
    };
    let answer = ok(queue::AMQPMethod::DeclareOk(declare_ok));
    context.reply(declared.epoch, ask.nowait, channel.number, answer);
    Ok(())
}

/// Declaring the secret name of a direct reply-to consumer asks whether it is alive; declaring the pseudo-queue asks
/// whether there is such a thing, which clients do before they use it.
fn probe_reply(context: &mut Context, channel: &Channel, ask: &queue::Declare, name: &str) -> Result<(), Refusal> {
    if name != REPLY_TO && !context.broker.replies.alive(name) {
        let text = format!("no {}", crate::broker::print_queue(name, &context.vhost.name));
        return Err(Refusal::new(ReplyCode::NotFound, text));
    }
    let declare_ok = queue::DeclareOk { queue: short_string(name), message_count: 0, consumer_count: 1 };
    context.reply(0, ask.nowait, channel.number, ok(queue::AMQPMethod::DeclareOk(declare_ok)));
    Ok(())
}

fn refuse_reply(context: &Context, name: &str) -> Result<(), Refusal> {
    if Replies::is_reply(name.as_bytes()) && context.broker.config.profile().refuses_volatile_bindings {
        let text = "cannot bind or unbind to a volatile (direct reply-to) queue";
        return Err(Refusal::new(ReplyCode::AccessRefused, text));
    }
    Ok(())
}

/// What a bind or unbind names.
struct Ends {
    queue: String,
    exchange: String,
    key: String,
}

fn ends(
    context: &Context,
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    key: &ShortString,
) -> Result<Ends, Refusal> {
    let name = queue_meant(channel, queue)?;
    refuse_reply(context, &name)?;
    // With queue and key both empty, both mean the last declared queue.
    let both_empty = queue.as_str().is_empty() && key.as_str().is_empty();
    let key = if both_empty { name.clone() } else { key.to_string() };
    Ok(Ends { queue: name, exchange: clean(exchange), key })
}

fn bind(context: &mut Context, channel: &Channel, ask: &queue::Bind) -> Result<(), Refusal> {
    let Ends { queue, exchange, key } = ends(context, channel, &ask.queue, &ask.exchange, &ask.routing_key)?;
    let arguments = Table::from(&ask.arguments);
    let epoch = context.vhost.bind_queue(&context.broker, &queue, &exchange, &key, arguments, context.caller())?;
    context.reply(epoch, ask.nowait, channel.number, ok(queue::AMQPMethod::BindOk(queue::BindOk {})));
    Ok(())
}

fn unbind(context: &mut Context, channel: &Channel, ask: &queue::Unbind) -> Result<(), Refusal> {
    let Ends { queue, exchange, key } = ends(context, channel, &ask.queue, &ask.exchange, &ask.routing_key)?;
    let arguments = Table::from(&ask.arguments);
    let epoch = context.vhost.unbind_queue(&context.broker, &queue, &exchange, &key, &arguments, context.caller())?;
    context.reply(epoch, false, channel.number, ok(queue::AMQPMethod::UnbindOk(queue::UnbindOk {})));
    Ok(())
}

fn purge(context: &mut Context, channel: &Channel, ask: &queue::Purge) -> Result<(), Refusal> {
    let name = queue_meant(channel, &ask.queue)?;
    let queue = context.vhost.readable_queue(&context.broker, &name, context.caller())?;
    let (message_count, epoch) = queue.purge(&mut context.fx);
    context.finish(&queue);
    let purge_ok = queue::PurgeOk { message_count: count(message_count) };
    context.reply(epoch, ask.nowait, channel.number, ok(queue::AMQPMethod::PurgeOk(purge_ok)));
    Ok(())
}

fn delete(context: &mut Context, channel: &Channel, ask: &queue::Delete) -> Result<(), Refusal> {
    let name = queue_meant(channel, &ask.queue)?;
    let (if_unused, if_empty) = (ask.if_unused, ask.if_empty);
    let caller = Caller::client(&context.user, context.connection.id);
    let (message_count, epoch) =
        context.vhost.delete_queue(&context.broker, &name, if_unused, if_empty, caller, &mut context.fx)?;
    context.fx.ring();
    context.exclusive.retain(|queue| **queue.name() != *name);
    let delete_ok = queue::DeleteOk { message_count: count(message_count) };
    context.reply(epoch, ask.nowait, channel.number, ok(queue::AMQPMethod::DeleteOk(delete_ok)));
    Ok(())
}
