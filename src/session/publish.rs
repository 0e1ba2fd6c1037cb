//! Publishing: content is assembled, checked, routed, and gathered per queue until the end of the turn.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::sync::Arc;

use super::assembly::{Assembly, Content, Late, PUBLISH, no_content_due, out_of_order, unexpected};
use super::channel::{Channel, Mode};
use super::context::Context;
use super::properties;
use crate::auth::{Access, Resource};
use crate::broker::stats::Event;
use crate::broker::{NoRoute, Replies, Route, Routing};
use crate::message::{Draft, Message, add_blind_key};
use crate::queue::{Push, Queue};
use crate::wire::encode;
use crate::wire::method::{ContentHeader, Publish};
use crate::wire::properties::Properties;
use crate::wire::refusal::{Refusal, ReplyCode};

/// Largest body a content header may announce, whatever the configuration (RabbitMQ's hard limit), in octets.
const MAX_ANNOUNCED: u64 = 512 * 1024 * 1024;

/// Queues gathered in one turn before they are pushed to early.
const MAX_RUNS: usize = 1_024;

/// Begins a publish.
pub(super) fn begin(channel: &mut Channel, publish: Publish<'_>) {
    let mut address = std::mem::take(&mut channel.address);
    address.clear();
    address.extend_from_slice(publish.address);
    channel.assembly = Some(Assembly {
        address,
        mandatory: publish.mandatory,
        immediate: publish.immediate,
        content: Content::Header,
    });
}

/// Takes the content header of the publish under assembly.
pub(super) fn header(context: &mut Context, channel: &mut Channel, header: ContentHeader<'_>) -> Result<(), Refusal> {
    let Some(assembly) = &mut channel.assembly else {
        return Err(no_content_due());
    };
    if !matches!(assembly.content, Content::Header) {
        return Err(out_of_order(assembly));
    }
    if header.class_id != PUBLISH.0 {
        let text = format!("expected content header for class 60, got one for class {} instead", header.class_id);
        return Err(unexpected(&text).at(PUBLISH.0, PUBLISH.1));
    }
    if header.body_size > MAX_ANNOUNCED {
        let size = header.body_size;
        let text = format!("content body size {size} exceeds maximum allowed size {MAX_ANNOUNCED}");
        return Err(Refusal::new(ReplyCode::FrameError, text).at(PUBLISH.0, PUBLISH.1));
    }
    if header.body_size > context.broker.config.largest_body() {
        assembly.content = Content::TooLarge { size: header.body_size, remaining: header.body_size };
        return Ok(());
    }
    let checked = properties::check(context, channel.reply.as_ref().map(|(name, _)| &**name), header.properties)?;
    let properties = checked.rewritten.as_deref().unwrap_or(header.properties);
    for key in checked.copies.iter().rev().take(checked.blind).rev() {
        add_blind_key(&mut assembly.address, key);
    }
    let draft = Draft::new(&assembly.address, properties, header.body_size, checked.facts);
    assembly.content = Content::Body { draft, refusal: checked.refusal, copies: checked.copies };
    if header.body_size == 0 { complete(context, channel) } else { Ok(()) }
}

/// Takes a body frame of the publish under assembly.
pub(super) fn body(context: &mut Context, channel: &mut Channel, piece: &[u8]) -> Result<(), Refusal> {
    let Some(assembly) = &mut channel.assembly else {
        return Err(no_content_due());
    };
    let (fits, remaining) = match &mut assembly.content {
        Content::Header => return Err(out_of_order(assembly)),
        Content::Body { draft, .. } => (draft.try_extend(piece), draft.remaining()),
        Content::TooLarge { remaining, .. } => {
            let left = remaining.checked_sub(piece.len() as u64);
            *remaining = left.unwrap_or(0);
            (left.is_some(), *remaining)
        }
    };
    if !fits {
        let text = "content body frame exceeds remaining content size";
        return Err(Refusal::new(ReplyCode::FrameError, text).at(PUBLISH.0, PUBLISH.1));
    }
    if remaining == 0 { complete(context, channel) } else { Ok(()) }
}

/// The content is complete: routes it and gathers it for its queues.
fn complete(context: &mut Context, channel: &mut Channel) -> Result<(), Refusal> {
    let Some(assembly) = channel.assembly.take() else { return Ok(()) };
    channel.address = assembly.address;
    let at = |refusal: Refusal| refusal.at(PUBLISH.0, PUBLISH.1);
    if assembly.immediate {
        return Err(at(Refusal::new(ReplyCode::NotImplemented, "immediate=true")));
    }
    let (draft, late, copies) = match assembly.content {
        Content::Body { draft, refusal, copies } => (draft, refusal, copies),
        Content::TooLarge { size, .. } => {
            let limit = context.broker.config.largest_body();
            let text = format!("message size {size} is larger than configured max size {limit}");
            return Err(at(Refusal::new(ReplyCode::PreconditionFailed, text)));
        }
        Content::Header => return Err(unexpected("expected content header for class 60")),
    };
    // The draft was sized by its own header: it is complete, and within what a record can hold.
    let message = draft.finish().ok_or_else(|| at(Refusal::new(ReplyCode::InternalError, "")))?;
    if let Some(late) = late {
        reach(context, &message, &copies, &late).map_err(at)?;
        return Err(late.refusal);
    }
    let route = route(context, &message, &copies).map_err(at)?;
    count(context, channel, &route, &message);
    let unroutable = !route.routed && assembly.mandatory && !answers(context, &message);
    if unroutable {
        channel.stats.traffic.add(Event::ReturnUnroutable, 1);
    } else if route.queues.is_empty() && !to_reply(&message) {
        channel.stats.traffic.add(Event::DropUnroutable, 1);
    }
    if let Mode::Tx(tx) = &mut channel.mode {
        return tx.publish(context, &route, message, unroutable).map_err(at);
    }
    let returned = if unroutable { returned(channel.number, &message, context.frame_max) } else { Vec::new() };
    let tag = if let Some(gate) = channel.mode.gate_mut() {
        context.publisher.confirm(channel.number);
        gate.publish(returned)
    } else {
        context.output.buffer().extend_from_slice(&returned);
        0
    };
    if to_reply(&message) {
        // In order with what was published before.
        context.flush_publishes();
        reply(context, &message);
    }
    gather(context, channel.number, tag, &route, message);
    Ok(())
}

fn count(context: &mut Context, channel: &Channel, route: &Route, message: &Message) {
    channel.stats.traffic.add(Event::Publish, 1);
    context.connection.stats.sizes.observe(message.body_len().into(), 1);
    if let Some(exchange) = &route.source {
        context.passed.count(exchange, route.queues.len(), &context.broker.stats);
    }
}

/// basic.return with its content.
pub(super) fn returned(channel: u16, message: &Message, frame_max: u32) -> Vec<u8> {
    let mut out = Vec::new();
    encode::basic_return(&mut out, channel, ReplyCode::NoRoute.code(), "NO_ROUTE", message.address());
    encode::content_header(&mut out, channel, u64::from(message.body_len()), message.properties());
    encode::body(&mut out, channel, message.body(), frame_max);
    out
}

pub(super) fn to_reply(message: &Message) -> bool {
    message.exchange().is_empty() && Replies::is_reply(message.routing_key())
}

/// Whether a message counts as a reply that has arrived. RabbitMQ 4.2 says so of one whose requester is gone as well, 3
/// of none at all.
fn answers(context: &Context, message: &Message) -> bool {
    let believed = !context.broker.config.profile().returns_replies;
    believed && to_reply(message) && Replies::is_well_formed(message.routing_key())
}

/// Delivers a message to the direct reply-to consumer it is for.
pub(super) fn reply(context: &Context, message: &Message) {
    if let Ok(name) = std::str::from_utf8(message.routing_key()) {
        context.broker.replies.deliver(name, message.clone());
    }
}

fn gather(context: &mut Context, channel: u16, tag: u64, route: &Route, message: Message) {
    context.turn.route(route.queues.len());
    let publisher = &mut context.publisher;
    let Some((last, others)) = route.queues.split_last() else { return };
    let mut add = |queue: &Arc<Queue>, message: Message| {
        let run = publisher.run(queue);
        run.messages.push(message);
        // Kept for every message: whether the queue refuses any is known under its lock only, since a policy may
        // change that at any time.
        run.tags.push((channel, tag));
    };
    for queue in others {
        add(queue, message.clone());
    }
    add(last, message);
    if publisher.len() >= MAX_RUNS {
        context.flush_publishes();
    }
}

/// The queues for a message; `copies` are routing keys beside its own, whose routes are not remembered. What is
/// remembered was permitted, and is forgotten when that may have changed.
fn route(context: &mut Context, message: &Message, copies: &[Vec<u8>]) -> Result<Arc<Route>, Refusal> {
    // Read before routing: a change in between makes what is remembered stale, never wrong.
    let version = context.vhost.version();
    if copies.is_empty()
        && let Some(route) = context.memo.get(version, message.address())
    {
        return Ok(route);
    }
    let name = exchange_name(message);
    let keys = keys(message, copies);
    if !context.memo.may_publish(version, message.exchange()) {
        let (broker, user) = (&context.broker, &context.user);
        if context.vhost.authorize_publish(broker, user, &name, &keys)? {
            context.memo.permit(version, message.exchange());
        }
    }
    let properties = Properties::parse(message.properties()).unwrap_or_default();
    context.turn.spend(copies.len());
    let routing = Routing { message, keys: &keys, properties: &properties, now: context.now };
    let routed = context.vhost.topology().route(&name, &routing, true);
    match routed {
        Ok(route) => {
            let route = Arc::new(route);
            if route.memoizable && copies.is_empty() {
                context.memo.insert(version, message.address(), &route);
            }
            Ok(route)
        }
        Err(no_route) => Err(refused(context, &name, no_route)),
    }
}

/// The routing keys of a message: its own, then those of the copies.
fn keys<'a>(message: &'a Message, copies: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
    let mut keys = vec![message.routing_key()];
    keys.extend(copies.iter().map(|key| &**key));
    keys
}

/// Refuses a message whose exchange cannot be published to. Routing it would leave traces: some exchanges remember.
fn reach(context: &Context, message: &Message, copies: &[Vec<u8>], late: &Late) -> Result<(), Refusal> {
    let name = exchange_name(message);
    let (vhost, broker, user) = (&context.vhost, &context.broker, &context.user);
    broker.authorize(user, Access::Write, &vhost.name, Resource::Exchange(&name))?;
    let reached = vhost.topology().reach(&name, true);
    reached.map_err(|no_route| refused(context, &name, no_route))?;
    if late.after_keys { vhost.authorize_keys(broker, user, &name, &keys(message, copies)) } else { Ok(()) }
}

fn exchange_name(message: &Message) -> Cow<'_, str> {
    String::from_utf8_lossy(message.exchange())
}

fn refused(context: &Context, exchange: &str, why: NoRoute) -> Refusal {
    match why {
        NoRoute::NoExchange => context.vhost.no_exchange(exchange),
        NoRoute::Internal => Refusal::new(
            ReplyCode::AccessRefused,
            format!("cannot publish to internal {}", crate::broker::print_exchange(exchange, &context.vhost.name)),
        ),
    }
}

impl Context {
    /// Pushes everything gathered, one lock a queue.
    pub(super) fn flush_publishes(&mut self) {
        let mut runs = self.publisher.take();
        let confirm = self.publisher.confirms();
        let mut refused = Vec::new();
        for run in &mut runs {
            // Counted only where it is likely to be asked for.
            let (messages, octets) = (run.messages.len(), if run.queue.is_outrun() { run.octets() } else { 0 });
            let push = run.queue.push(run.messages.drain(..), confirm, self.now, &mut refused, &mut self.fx);
            let epoch = if let Push::Taken(epoch) = push { epoch } else { 0 };
            self.pressing = self.pressing.max(epoch);
            self.pushed = true;
            if run.queue.is_outrun() {
                self.ahead.note(&run.queue, messages, octets);
            }
            self.publisher.pushed(run, epoch, refused.drain(..));
            self.broker.finish(&run.queue, &mut self.fx);
        }
        self.publisher.reuse(runs);
    }
}
