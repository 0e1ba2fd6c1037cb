//! Deliveries: from the outbox onto the wire.
//!
//! Delivery tags are assigned here, so that they ascend on the wire whatever queue a message came from. What belongs to
//! a consumer that is gone returns to its queue unseen.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, basic};

use super::Channels;
use super::channel::{Channel, Phase};
use super::context::{Context, Park};
use super::counts;
use crate::broker::stats::{Event, QueueType};
use crate::queue::{Consumer, Drained, Effects, Entry, Item, Lease, SHARE};
use crate::wire::encode;

/// Unwritten output above which nothing more is drained, in octets.
const ENOUGH: usize = 512 * 1024;

/// Writes what the outbox holds, as long as the client keeps up. Returns whether there may be more.
pub(super) fn drain(context: &mut Context, channels: &mut Channels, drained: &mut Drained) -> bool {
    while context.output.pending() < if context.outbox.pool().is_used_up() { SHARE } else { ENOUGH } {
        context.outbox.drain(drained);
        if drained.items.is_empty() && drained.starved.is_empty() {
            return false;
        }
        let mut entries = drained.entries.drain(..);
        for item in drained.items.drain(..) {
            match item {
                Item::Deliver { consumer, count } => {
                    let entries = entries.by_ref().take(count as usize);
                    match channels.get_mut(&consumer.channel) {
                        Some(channel) if channel.phase == Phase::Open && channel.has(&consumer) => {
                            deliver(context, channel, &consumer, entries);
                        }
                        _ => unsend(context, &consumer, entries.collect()),
                    }
                }
                // Whose own delete it may be that is being answered: it learns of that first.
                Item::Cancelled(consumer) if matches!(context.park, Some(Park::Reply(..))) => {
                    context.parting.push(consumer);
                }
                Item::Cancelled(consumer) => cancelled(context, channels, &consumer),
            }
        }
        drop(entries);
        for consumer in drained.starved.drain(..) {
            if let Some(queue) = &consumer.queue {
                queue.resume(&consumer, context.now, &mut context.fx);
                context.finish(queue);
            }
        }
    }
    true
}

fn deliver(
    context: &mut Context,
    channel: &mut Channel,
    consumer: &Arc<Consumer>,
    entries: impl Iterator<Item = Entry>,
) {
    let counting = counts::counting(consumer.queue.as_deref());
    context.expect_within(channel, consumer.timeout, channel.last_tag + 1);
    let (before, mut redelivered) = (channel.last_tag, 0);
    if !consumer.no_ack {
        channel.unacked.mark(before + 1, context.now);
    }
    for entry in entries {
        context.turn.spend(1);
        redelivered += u64::from(entry.redelivered);
        let tag = channel.next_tag();
        let message = &entry.message;
        let out = context.output.buffer();
        encode::deliver(out, channel.number, &consumer.tag, tag, entry.redelivered, message.address());
        match counts::properties(counting, &entry) {
            None => context.output.content(channel.number, message, context.frame_max),
            Some(counted) => context.output.content_with(channel.number, message, &counted, context.frame_max),
        }
        if consumer.no_ack {
            channel.unacked.skip(tag);
        } else {
            channel.unacked.hold(tag, Lease::new(consumer.clone(), entry));
        }
    }
    count(context, channel, consumer, channel.last_tag - before, redelivered);
    if context.is_crowded(channel) {
        pause(context, channel);
    }
}

fn count(context: &mut Context, channel: &Channel, consumer: &Consumer, delivered: u64, redelivered: u64) {
    let traffic = &channel.stats.traffic;
    let handed = context.connection.stats.handed(QueueType::of(consumer.queue.as_deref()));
    if consumer.no_ack {
        traffic.add(Event::DeliverNoAck, delivered);
        handed.auto_ack.add(delivered);
    } else {
        traffic.add(Event::Deliver, delivered);
        handed.manual_ack.add(delivered);
    }
    traffic.add(Event::Redeliver, redelivered);
    handed.redelivered.add(redelivered);
    context.touch(channel.number);
}

/// Lets a channel's consumers wait until its client has acknowledged some of what it holds.
#[cold]
fn pause(context: &mut Context, channel: &mut Channel) {
    let limit = context.broker.config.unacked_max_per_channel.and_then(|max| u32::try_from(max).ok());
    let credit = channel.credit.get_or_insert_default().clone();
    // A limit that its client has set is lower.
    let (Some(limit), false) = (limit, credit.limited()) else { return };
    tracing::warn!(
        connection = context.connection.name,
        channel = channel.number,
        limit,
        "consumers pause: too many deliveries are unacknowledged"
    );
    for consumer in credit.limit_to(limit, channel.outstanding(), &context.outbox) {
        if let Some(queue) = &consumer.queue {
            queue.resume(&consumer, context.now, &mut context.fx);
            context.finish(queue);
        }
    }
}

/// Returns what was pumped for a consumer that is gone. Messages for a consumer without acknowledgements are settled
/// when they are pumped, as RabbitMQ settles them when it sends them; they are lost with it.
pub(super) fn unsend(context: &mut Context, consumer: &Consumer, entries: Vec<Entry>) {
    if let (Some(queue), false) = (&consumer.queue, consumer.no_ack) {
        let count = entries.len();
        queue.unsend(entries, context.now, &mut context.fx);
        if let Some(credit) = &consumer.credit {
            context.fx.resume.extend(credit.give_back(count));
        }
        context.finish(queue);
    }
}

/// Tells the client of consumers whose end it was not told of while an answer was waiting.
pub(super) fn part(context: &mut Context, channels: &mut Channels) {
    for consumer in std::mem::take(&mut context.parting) {
        cancelled(context, channels, &consumer);
    }
}

/// Tells the client of consumers whose end is known and not yet told, before the connection ends. Deliveries stay where
/// [`abandon`] looks for them.
pub(super) fn part_last(context: &mut Context, channels: &mut Channels, drained: &mut Drained) {
    part(context, channels);
    if drained.items.is_empty() {
        context.outbox.drain(drained);
    }
    for item in &drained.items {
        if let Item::Cancelled(consumer) = item {
            cancelled(context, channels, consumer);
        }
    }
}

/// A consumer has been ended by the broker: its client is told, if it understands that.
pub(super) fn cancelled(context: &mut Context, channels: &mut Channels, consumer: &Consumer) {
    let Some(channel) = channels.get_mut(&consumer.channel).filter(|channel| channel.has(consumer)) else { return };
    channel.consumers.remove(&consumer.tag);
    if context.capabilities.consumer_cancel_notify && channel.phase == Phase::Open {
        let tag = String::from_utf8_lossy(&consumer.tag);
        let cancel = basic::Cancel { consumer_tag: crate::wire::short::short_string(&tag), nowait: true };
        context.send(channel.number, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)));
    }
}

/// Returns everything undelivered when the session ends.
pub(super) fn abandon(context: &mut Context, drained: &mut Drained) {
    context.outbox.close();
    loop {
        let mut entries = std::mem::take(&mut drained.entries).into_iter();
        let items = std::mem::take(&mut drained.items);
        drained.starved.clear();
        for item in items {
            if let Item::Deliver { consumer, count } = item {
                unsend(context, &consumer, entries.by_ref().take(count as usize).collect());
            }
        }
        context.outbox.drain(drained);
        if drained.items.is_empty() {
            break;
        }
    }
    context.fx = Effects::default();
}
