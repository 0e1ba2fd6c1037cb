//! Publishing: content is assembled, checked, routed, and gathered per queue until the end of the turn.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::channel::Channel;
use super::context::Context;
use crate::broker::{NoRoute, REPLY_TO, Replies, Route};
use crate::message::{Draft, Facts, Message};
use crate::queue::{Overflow, Push, Queue, options};
use crate::wire::encode;
use crate::wire::method::{ContentHeader, Publish};
use crate::wire::properties::Properties;
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::table::{Malformed, RawTable};

/// Class and method of basic.publish, for refusals.
const PUBLISH: (u16, u16) = (60, 40);

/// Largest body a content header may announce, whatever the configuration (RabbitMQ's hard limit), in octets.
const MAX_ANNOUNCED: u64 = 512 * 1024 * 1024;

/// Queues gathered in one turn before they are pushed to early.
const MAX_RUNS: usize = 1_024;

/// A publish whose content has not fully arrived.
#[derive(Debug)]
pub(super) struct Assembly {
    address: Vec<u8>,
    mandatory: bool,
    immediate: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// The header is due.
    Header,
    /// The body is due; what the properties will be refused for once it is complete.
    Body(Draft, Option<Refusal>),
    /// The body is too large: it is counted, not kept.
    TooLarge { size: u64, remaining: u64 },
}

/// Messages gathered for one queue.
#[derive(Debug)]
struct Run {
    queue: Arc<Queue>,
    messages: Vec<Message>,
    /// Channel and confirm tag of each message, kept only for queues that may refuse.
    tags: Vec<(u16, u64)>,
}

/// The publishes of one turn.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    runs: Vec<Run>,
    by_queue: FxHashMap<u64, usize>,
    last: usize,
    /// Channels in confirm mode that published in this turn.
    confirming: Vec<u16>,
    /// Publishes refused by a queue, to be told to their gates.
    refused: Vec<(u16, u64)>,
    /// The highest epoch among the turn's pushes.
    epoch: u64,
    /// Vectors to be used again.
    spare: Vec<Vec<Message>>,
}

impl Publisher {
    /// Whether nothing is gathered.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    fn run(&mut self, queue: &Arc<Queue>) -> &mut Run {
        let known = match self.runs.get(self.last) {
            Some(run) if Arc::ptr_eq(&run.queue, queue) => Some(self.last),
            _ => self.by_queue.get(&queue.id().0).copied(),
        };
        let at = known.unwrap_or_else(|| {
            let messages = self.spare.pop().unwrap_or_default();
            self.runs.push(Run { queue: queue.clone(), messages, tags: Vec::new() });
            self.by_queue.insert(queue.id().0, self.runs.len() - 1);
            self.runs.len() - 1
        });
        self.last = at;
        &mut self.runs[at]
    }

    /// Confirms gathered since the last call: for each channel the epoch its publishes wait for, after the refusals.
    pub(super) fn take_confirms(&mut self, mut each: impl FnMut(u16, &[(u16, u64)], u64)) {
        let epoch = std::mem::take(&mut self.epoch);
        for channel in self.confirming.drain(..) {
            each(channel, &self.refused, epoch);
        }
        self.refused.clear();
    }
}

fn unexpected(text: &str) -> Refusal {
    Refusal::new(ReplyCode::UnexpectedFrame, text)
}

/// The refusal for content that no publish announces.
pub(super) fn no_content_due() -> Refusal {
    unexpected("expected method frame, got non method frame instead")
}

/// Begins a publish.
pub(super) fn begin(channel: &mut Channel, publish: Publish<'_>) {
    channel.assembly = Some(Assembly {
        address: publish.address.to_vec(),
        mandatory: publish.mandatory,
        immediate: publish.immediate,
        content: Content::Header,
    });
}

/// The refusal for a frame that is neither the header nor the body that is due.
pub(super) fn out_of_order(assembly: &Assembly) -> Refusal {
    match assembly.content {
        Content::Header => unexpected("expected content header for class 60, got non content header frame instead")
            .at(PUBLISH.0, PUBLISH.1),
        _ => unexpected("expected content body, got non content body frame instead").at(PUBLISH.0, PUBLISH.1),
    }
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
        return Err(Refusal::new(ReplyCode::FrameError, text));
    }
    if header.body_size > context.broker.config.max_message_size {
        assembly.content = Content::TooLarge { size: header.body_size, remaining: header.body_size };
        return Ok(());
    }
    let checked = check_properties(context, channel.reply.as_ref().map(|(name, _)| &**name), header.properties)?;
    let properties = checked.rewritten.as_deref().unwrap_or(header.properties);
    let draft = Draft::new(&assembly.address, properties, header.body_size, checked.facts);
    assembly.content = Content::Body(draft, checked.refusal);
    if header.body_size == 0 { complete(context, channel) } else { Ok(()) }
}

/// Takes a body frame of the publish under assembly.
pub(super) fn body(context: &mut Context, channel: &mut Channel, piece: &[u8]) -> Result<(), Refusal> {
    let Some(assembly) = &mut channel.assembly else {
        return Err(no_content_due());
    };
    let (fits, remaining) = match &mut assembly.content {
        Content::Header => return Err(out_of_order(assembly)),
        Content::Body(draft, _) => (draft.try_extend(piece), draft.remaining()),
        Content::TooLarge { remaining, .. } => {
            let left = remaining.checked_sub(piece.len() as u64);
            *remaining = left.unwrap_or(0);
            (left.is_some(), *remaining)
        }
    };
    if !fits {
        return Err(Refusal::new(ReplyCode::FrameError, "content body frame exceeds remaining content size"));
    }
    if remaining == 0 { complete(context, channel) } else { Ok(()) }
}

struct Checked {
    facts: Facts,
    /// Why the publish will be refused, once its exchange is known to be good.
    refusal: Option<Refusal>,
    /// Properties with `reply-to` replaced by the secret name.
    rewritten: Option<Vec<u8>>,
}

/// Walks the properties once: what the broker must know of them, and what RabbitMQ refuses them for.
fn check_properties(context: &Context, reply: Option<&str>, raw: &[u8]) -> Result<Checked, Refusal> {
    let properties = Properties::parse(raw).map_err(|malformed| match malformed {
        Malformed::TooDeep => Refusal::new(ReplyCode::FrameError, "headers are nested too deeply"),
        Malformed::Undecodable => Refusal::new(ReplyCode::InternalError, ""),
    })?;
    let mut facts = Facts {
        persistent: properties.delivery_mode == Some(2),
        priority: properties.priority.unwrap_or(0),
        ..Facts::default()
    };
    let mut refusal = None;
    let mut rewritten = None;
    let mut refuse = |text: String| {
        refusal.get_or_insert_with(|| Refusal::new(ReplyCode::PreconditionFailed, text).at(PUBLISH.0, PUBLISH.1));
    };
    if properties.reply_to == Some(REPLY_TO.as_bytes()) {
        match reply {
            None => refuse("fast reply consumer does not exist".to_owned()),
            Some(name) => rewritten = Some(Properties { reply_to: Some(name.as_bytes()), ..properties }.encode()),
        }
    }
    if let Some(text) = properties.expiration {
        match expiration(text) {
            Ok(millis) => facts.expiration = millis,
            Err(error) => refuse(format!("invalid expiration '{}': {error}", String::from_utf8_lossy(text))),
        }
    }
    if let Some(headers) = properties.headers {
        let headers = RawTable::new(headers);
        for key in ["CC", "BCC"] {
            if let Some(value) = headers.get(key)
                && value.as_array().is_none()
            {
                let kind = value.to_value().map_or("unknown", |value| value.type_name());
                refuse(format!("invalid message: {{unacceptable_type_in_header,\"{key}\",{kind}}}"));
            }
        }
    }
    if let Some(claimed) = properties.user_id
        && claimed != context.user.name.as_bytes()
        && !context.user.tags.iter().any(|tag| &**tag == "impersonator")
    {
        let claimed = String::from_utf8_lossy(claimed);
        refuse(format!("user_id property set to '{claimed}' but authenticated user was '{}'", context.user.name));
    }
    Ok(Checked { facts, refusal, rewritten })
}

/// Reads an expiration property: a decimal number of milliseconds.
fn expiration(text: &[u8]) -> Result<u64, String> {
    let text = String::from_utf8_lossy(text);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    if number.is_empty() {
        return Err("no_integer".to_owned());
    }
    if !rest.is_empty() {
        return Err(format!("{{leftover_string,\"{rest}\"}}"));
    }
    let number = number.trim_start_matches('0');
    let number = if number.is_empty() { "0" } else { number };
    if text.starts_with('-') && number != "0" {
        return Err(format!("{{value_negative,-{number}}}"));
    }
    let most = u64::try_from(options::MAX_EXPIRY).unwrap_or(u64::MAX);
    number.parse().ok().filter(|n| *n <= most).ok_or_else(|| format!("{{value_too_large,{number}}}"))
}

/// The content is complete: routes it and gathers it for its queues.
fn complete(context: &mut Context, channel: &mut Channel) -> Result<(), Refusal> {
    let Some(assembly) = channel.assembly.take() else { return Ok(()) };
    let at = |refusal: Refusal| refusal.at(PUBLISH.0, PUBLISH.1);
    if assembly.immediate {
        return Err(at(Refusal::new(ReplyCode::NotImplemented, "immediate=true")));
    }
    let (draft, late) = match assembly.content {
        Content::Body(draft, late) => (draft, late),
        Content::TooLarge { size, .. } => {
            let limit = context.broker.config.max_message_size;
            let text = format!("message size {size} is larger than configured max size {limit}");
            return Err(at(Refusal::new(ReplyCode::PreconditionFailed, text)));
        }
        Content::Header => return Err(unexpected("expected content header for class 60")),
    };
    // The draft was sized by its own header: it is complete, and within what a record can hold.
    let message = draft.finish().ok_or_else(|| at(Refusal::new(ReplyCode::InternalError, "")))?;
    let route = route(context, &message).map_err(at)?;
    if let Some(refusal) = late {
        return Err(refusal);
    }
    if route.queues.is_empty() && assembly.mandatory && !to_reply(&message) {
        let out = context.output.buffer();
        encode::basic_return(out, channel.number, ReplyCode::NoRoute.code(), "NO_ROUTE", message.address());
        context.output.content(channel.number, &message, context.frame_max);
    }
    let tag = match &mut channel.gate {
        Some(gate) => {
            if !context.publisher.confirming.contains(&channel.number) {
                context.publisher.confirming.push(channel.number);
            }
            gate.publish()
        }
        None => 0,
    };
    if to_reply(&message) {
        // In order with what was published before.
        context.flush_publishes();
        if let Ok(name) = std::str::from_utf8(message.routing_key()) {
            context.broker.replies.deliver(name, message.clone());
        }
    }
    gather(context, channel.number, tag, &route, message);
    Ok(())
}

fn to_reply(message: &Message) -> bool {
    message.exchange().is_empty() && Replies::is_reply(message.routing_key())
}

fn gather(context: &mut Context, channel: u16, tag: u64, route: &Route, message: Message) {
    let publisher = &mut context.publisher;
    let Some((last, others)) = route.queues.split_last() else { return };
    let mut add = |queue: &Arc<Queue>, message: Message| {
        let run = publisher.run(queue);
        run.messages.push(message);
        if tag > 0 && queue.definition().options.overflow != Overflow::DropHead {
            run.tags.push((channel, tag));
        }
    };
    for queue in others {
        add(queue, message.clone());
    }
    add(last, message);
    if publisher.runs.len() >= MAX_RUNS {
        context.flush_publishes();
    }
}

fn route(context: &mut Context, message: &Message) -> Result<Arc<Route>, Refusal> {
    // Read before routing: a change in between makes what is remembered stale, never wrong.
    let version = context.vhost.version();
    if let Some(route) = context.memo.get(version, message.address()) {
        return Ok(route);
    }
    let name = String::from_utf8_lossy(message.exchange()).into_owned();
    let properties = Properties::parse(message.properties()).unwrap_or_default();
    let headers = properties.headers.map(RawTable::new);
    let routed = context.vhost.topology().route(&name, &[message.routing_key()], headers, true);
    match routed {
        Ok(route) => {
            let route = Arc::new(route);
            if route.memoizable {
                context.memo.insert(version, message.address(), &route);
            }
            Ok(route)
        }
        Err(NoRoute::NoExchange) => Err(context.vhost.no_exchange(&name)),
        Err(NoRoute::Internal) => Err(Refusal::new(
            ReplyCode::AccessRefused,
            format!("cannot publish to internal {}", crate::broker::print_exchange(&name, &context.vhost.name)),
        )),
    }
}

impl Context {
    /// Pushes everything gathered, one lock a queue.
    pub(super) fn flush_publishes(&mut self) {
        let mut runs = std::mem::take(&mut self.publisher.runs);
        self.publisher.by_queue.clear();
        let confirm = !self.publisher.confirming.is_empty();
        let mut refused = Vec::new();
        for run in &mut runs {
            let push = run.queue.push(run.messages.drain(..), confirm, self.now, &mut refused, &mut self.fx);
            if let Push::Taken(epoch) = push {
                self.publisher.epoch = self.publisher.epoch.max(epoch);
                self.pressing = self.pressing.max(epoch);
            }
            self.publisher.refused.extend(refused.drain(..).filter_map(|at| run.tags.get(at).copied()));
            self.broker.finish(&run.queue, &mut self.fx);
        }
        // The first few vectors are used again; a fan-out to a thousand queues does not stay in memory.
        for run in runs.drain(..) {
            if self.publisher.spare.len() < 8 && run.messages.capacity() <= 4_096 {
                self.publisher.spare.push(run.messages);
            }
        }
        self.publisher.runs = runs;
    }
}

#[cfg(test)]
mod tests {
    use super::expiration;

    #[test]
    fn expirations_are_read_and_refused_as_rabbitmq_does() {
        let cases: [(&[u8], Result<u64, &str>); 8] = [
            (b"0", Ok(0)),
            (b"60000", Ok(60_000)),
            (b"315360000000", Ok(315_360_000_000)),
            (b"", Err("no_integer")),
            (b"abc", Err("no_integer")),
            (b"10x", Err("{leftover_string,\"x\"}")),
            (b"-1", Err("{value_negative,-1}")),
            (b"315360000001", Err("{value_too_large,315360000001}")),
        ];
        for (text, expected) in cases {
            assert_eq!(expiration(text), expected.map_err(str::to_owned));
        }
    }
}
