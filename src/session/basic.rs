//! Class basic, but for publishing and delivering: qos, consume, cancel, get, ack, nack, reject, recover.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use amq_protocol::protocol::{AMQPClass, basic};

use super::channel::Channel;
use super::context::{Cancelled, Context, Flow, Park};
use super::counts;
use super::names::queue_meant;
use super::notes::Note;
use super::{timeouts, tx};
use crate::broker::stats::{Event, QueueType};
use crate::broker::{REPLY_TO, print_queue};
use crate::clock::NEVER;
use crate::queue::{Cause, Got, Lease, Options, Queue, Subscribed, Subscription, Verdict};
use crate::wire::encode;
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::short::short_string;
use crate::wire::table::{Table, Value};

/// Consumer arguments that only streams have.
const STREAM_ARGUMENTS: [&str; 3] = ["x-stream-offset", "x-stream-filter", "x-stream-match-unfiltered"];

/// A consumer argument that, where it is known, classic queues lack.
const TIMEOUT_ARGUMENT: &str = "x-consumer-timeout";

pub(super) fn handle(context: &mut Context, channel: &mut Channel, method: basic::AMQPMethod) -> Result<(), Refusal> {
    match method {
        basic::AMQPMethod::Qos(ask) => {
            qos(context, channel, &ask);
            Ok(())
        }
        basic::AMQPMethod::Consume(ask) => consume(context, channel, &ask),
        basic::AMQPMethod::Cancel(ask) => {
            cancel(context, channel, &ask);
            Ok(())
        }
        basic::AMQPMethod::Recover(ask) => {
            recover(context, channel, ask.requeue)?;
            context.send(channel.number, AMQPClass::Basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {})));
            Ok(())
        }
        basic::AMQPMethod::RecoverAsync(ask) => recover(context, channel, ask.requeue),
        // The answer to a cancel of ours; nobody waits for it.
        basic::AMQPMethod::CancelOk(_) => Ok(()),
        _ => Err(Refusal::new(ReplyCode::CommandInvalid, "unimplemented method")),
    }
}

/// The prefetch size, which amq-protocol skips, is checked where the octets are: see [`super::dispatch`].
fn qos(context: &mut Context, channel: &mut Channel, ask: &basic::Qos) {
    if ask.global && context.broker.config.profile().channel_prefetch {
        context.note(Note::GlobalPrefetch);
        let outstanding = channel.outstanding();
        channel.stats.global_prefetch.set(ask.prefetch_count.into());
        let credit = channel.credit.get_or_insert_default();
        for consumer in credit.set_limit(ask.prefetch_count, outstanding, &context.outbox) {
            if let Some(queue) = &consumer.queue {
                queue.resume(&consumer, context.now, &mut context.fx);
                context.finish(queue);
            }
        }
    } else {
        channel.prefetch = ask.prefetch_count;
    }
    context.send(channel.number, AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {})));
}

fn consume(context: &mut Context, channel: &mut Channel, ask: &basic::Consume) -> Result<(), Refusal> {
    let tag = if ask.consumer_tag.as_str().is_empty() {
        crate::broker::generated_name("amq.ctag-")
    } else {
        ask.consumer_tag.to_string()
    };
    let octets: Box<[u8]> = tag.as_bytes().into();
    let replies = ask.queue.as_str() == REPLY_TO;
    let reply = channel.reply.as_ref().filter(|_| !replies);
    if channel.consumers.contains_key(&octets) || reply.is_some_and(|(_, c)| c.tag == octets) {
        return Err(Refusal::new(ReplyCode::NotAllowed, format!("attempt to reuse consumer tag '{tag}'")));
    }
    let mut subscription = Subscription {
        id: context.broker.unique(),
        tag: octets.clone(),
        channel: channel.number,
        no_ack: ask.no_ack,
        exclusive: ask.exclusive,
        priority: 0,
        prefetch: channel.prefetch,
        timeout: None,
        connection: context.connection.id,
        arguments: Table::from(&ask.arguments),
    };
    let consume_ok = basic::ConsumeOk { consumer_tag: short_string(&tag) };
    let consume_ok = AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(consume_ok));
    if replies {
        if channel.reply.is_some() {
            return Err(Refusal::new(ReplyCode::PreconditionFailed, "reply consumer already set"));
        }
        if !ask.no_ack {
            return Err(Refusal::new(ReplyCode::PreconditionFailed, "reply consumer cannot acknowledge"));
        }
        let consumer = subscription.connect(context.outbox.clone(), None, None);
        channel.reply = Some((context.broker.replies.register(consumer.clone()), consumer));
        context.reply(0, ask.nowait, channel.number, consume_ok);
        return Ok(());
    }
    if let Some(max) = context.broker.live.consumer_max_per_channel()
        && channel.consumers.len() as u64 >= max
    {
        let text = format!("reached maximum ({max}) of consumers per channel");
        return Err(Refusal::new(ReplyCode::NotAllowed, text));
    }
    let name = queue_meant(channel, &ask.queue)?;
    let queue = context.vhost.readable_queue(&context.broker, &name, context.caller())?;
    let arguments = &subscription.arguments;
    let printed = print_queue(&name, &context.vhost.name);
    let options = queue.options();
    check_arguments(arguments, &options, &printed)?;
    let asked = timeout(arguments, &options, &printed)?;
    subscription.priority = priority(arguments, &printed)?;
    if !ask.no_ack {
        subscription.timeout = timeouts::timeout_of(&options, asked, context.broker.live.consumer_timeout());
    }
    if options.is_quorum() {
        // Of an exclusive consumer a quorum queue has never heard.
        subscription.exclusive = false;
        let limited = channel.credit.as_ref().is_some_and(|credit| credit.limited());
        if limited && options.profile.quorum_refuses_channel_prefetch {
            let text = format!("{printed} does not support global qos");
            return Err(Refusal::new(ReplyCode::NotImplemented, text));
        }
    }
    let credit = channel.credit.get_or_insert_default().clone();
    let consumer = subscription.connect(context.outbox.clone(), Some(queue.clone()), Some(credit));
    // The answer stands in the output before the consumer can be given anything.
    let before = context.output.buffer().len();
    context.reply(0, ask.nowait, channel.number, consume_ok);
    match queue.subscribe(consumer.clone(), context.now, &mut context.fx) {
        Subscribed::Joined => {
            context.shortest_timeout = context.shortest_timeout.min(consumer.timeout.unwrap_or(NEVER));
            channel.consumers.insert(octets, consumer);
            context.finish(&queue);
            Ok(())
        }
        refused => {
            context.output.buffer().truncate(before);
            Err(match refused {
                Subscribed::InUse => {
                    let queue = print_queue(&name, &context.vhost.name);
                    Refusal::new(ReplyCode::AccessRefused, format!("{queue} in exclusive use"))
                }
                _ => Refusal::new(ReplyCode::NotFound, format!("no {}", print_queue(&name, &context.vhost.name))),
            })
        }
    }
}

/// Refuses the arguments that RabbitMQ knows for other types of queue; of those it does not know it takes any.
fn check_arguments(arguments: &Table, options: &Options, queue: &str) -> Result<(), Refusal> {
    let timeout = !options.is_quorum() && options.profile.timeout_arguments_of_quorum;
    let timeout = timeout.then_some(TIMEOUT_ARGUMENT);
    match timeout.into_iter().chain(STREAM_ARGUMENTS).find(|key| arguments.get(key).is_some()) {
        None => Ok(()),
        Some(key) => {
            let text = format!("invalid arg '{key}' for {queue} of queue type rabbit_{}_queue", options.kind.as_str());
            Err(Refusal::new(ReplyCode::PreconditionFailed, text))
        }
    }
}

/// Reads `x-priority`.
fn priority(arguments: &Table, queue: &str) -> Result<i32, Refusal> {
    let Some(value) = arguments.get("x-priority") else { return Ok(0) };
    if let Some(n) = value.as_int() {
        return Ok(i32::try_from(n).unwrap_or(if n < 0 { i32::MIN } else { i32::MAX }));
    }
    let found = Value::type_name(value);
    let text = format!("invalid arg 'x-priority' for {queue}: \"expected integer, got {found}\"");
    Err(Refusal::new(ReplyCode::PreconditionFailed, text))
}

/// Reads `x-consumer-timeout`, in milliseconds; where it is not known, a bad one is no mistake.
fn timeout(arguments: &Table, options: &Options, queue: &str) -> Result<Option<u64>, Refusal> {
    let Some(value) = arguments.get(TIMEOUT_ARGUMENT) else { return Ok(None) };
    let error = match value.as_int().map(|n| (n, u64::try_from(n))) {
        Some((_, Ok(timeout))) => return Ok(Some(timeout)),
        _ if !options.profile.timeout_arguments_of_quorum => return Ok(None),
        Some((n, Err(_))) => format!("{{value_negative,{n}}}"),
        None => format!("\"expected integer, got {}\"", value.type_name()),
    };
    let text = format!("invalid arg '{TIMEOUT_ARGUMENT}' for {queue}: {error}");
    Err(Refusal::new(ReplyCode::PreconditionFailed, text))
}

fn cancel(context: &mut Context, channel: &mut Channel, ask: &basic::Cancel) {
    let tag = ask.consumer_tag.as_str().as_bytes();
    if let Some(consumer) = channel.consumers.get(tag).cloned() {
        if let Some(queue) = &consumer.queue {
            queue.unsubscribe(&consumer, context.now, &mut context.fx);
            context.finish(queue);
        }
    } else if let Some((name, _)) = channel.reply.take_if(|(_, consumer)| *consumer.tag == *tag) {
        context.broker.replies.forget(&name);
    }
    // What was pumped before is delivered before the answer; nothing follows it.
    context.cancelled.push(Cancelled { channel: channel.number, tag: ask.consumer_tag.clone(), nowait: ask.nowait });
}

/// basic.get; asks to be called again if the message has to be loaded first.
pub(super) fn get(context: &mut Context, channel: &mut Channel, ask: &basic::Get) -> Result<Flow, Refusal> {
    let name = queue_meant(channel, &ask.queue)?;
    let queue = context.vhost.readable_queue(&context.broker, &name, context.caller())?;
    if !ask.no_ack && context.is_crowded(channel) {
        let text = format!("channel {} holds {} unacknowledged deliveries", channel.number, channel.unacked.len());
        return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
    }
    let options = &queue.definition().options;
    if options.is_quorum() && options.single_active {
        let text = format!(
            "cannot obtain access to locked {}. basic.get operations are not supported {} with single active consumer",
            print_queue(&name, &context.vhost.name),
            options.profile.get_refused_by
        );
        return Err(Refusal::new(ReplyCode::ResourceLocked, text));
    }
    let mut got = queue.get(ask.no_ack, context.now, &mut context.fx);
    if matches!(got, Got::Paged) {
        // The load may arrive before the bell hangs: look again once it does.
        queue.ring_when_loaded(context.outbox.bell());
        got = queue.get(ask.no_ack, context.now, &mut context.fx);
    }
    context.finish(&queue);
    count_get(context, channel, ask.no_ack, &queue, &got);
    match got {
        Got::Empty => {
            context.send(channel.number, AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})));
        }
        Got::Paged => {
            context.park = Some(Park::Load);
            return Ok(Flow::Again);
        }
        Got::Message(entry, remaining) => {
            let tag = channel.next_tag();
            let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
            let message = entry.message.clone();
            let (out, redelivered) = (context.output.buffer(), entry.redelivered);
            encode::get_ok(out, channel.number, tag, redelivered, message.address(), remaining);
            let counted = counts::properties(counts::counting(Some(&queue)), &entry);
            let properties = counted.as_deref().unwrap_or(message.properties());
            context.output.content_with(channel.number, &message, properties, context.frame_max);
            if ask.no_ack {
                channel.unacked.skip(tag);
            } else {
                let timeout = timeouts::timeout_of(&queue.options(), None, context.broker.live.consumer_timeout());
                let (id, channel_number) = (context.broker.unique(), channel.number);
                let getter = Subscription { id, channel: channel_number, timeout, ..Subscription::default() };
                context.expect_within(channel, timeout, tag);
                channel.unacked.mark(tag, context.now);
                // No prefetch limit holds it back, and it takes nothing from one.
                let getter = getter.connect(context.outbox.clone(), Some(queue), None);
                channel.unacked.hold(tag, Lease::new(getter, entry));
            }
        }
    }
    Ok(Flow::Done)
}

fn count_get(context: &Context, channel: &Channel, no_ack: bool, queue: &Queue, got: &Got) {
    let (traffic, handed) = (&channel.stats.traffic, context.connection.stats.handed(QueueType::of(Some(queue))));
    match got {
        Got::Paged => {}
        Got::Empty => {
            traffic.add(Event::GetEmpty, 1);
            handed.get_empty.add(1);
        }
        Got::Message(entry, _) => {
            traffic.add(if no_ack { Event::GetNoAck } else { Event::Get }, 1);
            if no_ack { &handed.get_auto_ack } else { &handed.get_manual_ack }.add(1);
            traffic.add(Event::Redeliver, entry.redelivered.into());
            handed.redelivered.add(entry.redelivered.into());
        }
    }
}

/// Counts acknowledgements of `acked` deliveries up to `last`, of which the oldest was `first`.
fn count_acks(context: &Context, channel: &Channel, first: u64, last: u64, acked: usize) {
    channel.stats.traffic.add(Event::Ack, acked as u64);
    let times = &context.connection.stats.times_to_ack;
    channel.unacked.made(first, last, |n, since| times.observe(context.now.saturating_sub(since), n));
}

fn unknown_tag(tag: u64) -> Refusal {
    Refusal::new(ReplyCode::PreconditionFailed, format!("unknown delivery tag {tag}"))
}

/// basic.ack: settled with the rest of this turn's.
pub(super) fn ack(context: &mut Context, channel: &mut Channel, tag: u64, multiple: bool) -> Result<(), Refusal> {
    let (before, first) = (context.settled.len(), channel.unacked.first());
    let known = tx::settle(channel, tag, multiple, Verdict::Settle)
        .unwrap_or_else(|| channel.unacked.take(tag, multiple, &mut context.settled));
    let acked = context.settled.len().saturating_sub(before);
    context.turn.spend(acked);
    match (acked, multiple) {
        (0, _) => {}
        (_, false) => count_acks(context, channel, tag, tag, acked),
        (_, true) if tag > 0 => count_acks(context, channel, first, tag, acked),
        (_, true) => {
            let last = first.saturating_add(acked as u64).saturating_sub(1);
            count_acks(context, channel, first, last, acked);
        }
    }
    if known { Ok(()) } else { Err(unknown_tag(tag)) }
}

/// basic.nack and basic.reject: `requeue` tells which of them returns the message, if it is to be returned.
pub(super) fn nack(
    context: &mut Context,
    channel: &mut Channel,
    tag: u64,
    multiple: bool,
    requeue: Option<Cause>,
) -> Result<(), Refusal> {
    context.flush();
    let verdict = requeue.map_or(Verdict::Reject, Verdict::Requeue);
    match tx::settle(channel, tag, multiple, verdict) {
        Some(true) => return Ok(()),
        Some(false) => return Err(unknown_tag(tag)),
        None => {}
    }
    let mut leases = Vec::new();
    if !channel.unacked.take(tag, multiple, &mut leases) {
        return Err(unknown_tag(tag));
    }
    context.turn.spend(leases.len());
    match requeue {
        Some(cause) => context.requeue(&mut leases, cause),
        None => context.for_each_queue(&mut leases, Queue::reject),
    }
    Ok(())
}

fn recover(context: &mut Context, channel: &mut Channel, requeue: bool) -> Result<(), Refusal> {
    if !requeue {
        return Err(Refusal::new(ReplyCode::NotImplemented, "requeue=false"));
    }
    let mut leases = Vec::new();
    channel.unacked.take_all(&mut leases);
    context.requeue(&mut leases, Cause::Recover);
    Ok(())
}

/// The prefetch size of basic.qos, which RabbitMQ refuses unless it is 0.
pub(super) fn check_prefetch_size(payload: &[u8]) -> Result<(), Refusal> {
    let size = payload.get(4..8).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
    if size == 0 {
        return Ok(());
    }
    Err(Refusal::new(ReplyCode::NotImplemented, format!("prefetch_size!=0 ({size})")))
}

/// Answers a cancel whose consumer is gone.
pub(super) fn answer_cancel(context: &mut Context, cancel: Cancelled) {
    if !cancel.nowait {
        let cancel_ok = basic::CancelOk { consumer_tag: cancel.tag };
        context.send(cancel.channel, AMQPClass::Basic(basic::AMQPMethod::CancelOk(cancel_ok)));
    }
}
