//! Publishing and getting without a connection: what administrators do with single messages.
//!
//! The same checks and the same path as a client's publish with `mandatory` and a confirm, and as its `basic.get`; only
//! direct reply-to is not served. Deliberately absent: JSON, limits on how much somebody may ask for.

use std::sync::Arc;
use std::time::Duration;

use super::stats::{Event, QueueType};
use super::{Broker, Caller, NoRoute, Routing, VirtualHost, print_exchange, print_queue};
use crate::message::{Draft, Facts, Message, address};
use crate::queue::{Cause, Effects, Entry, Got, Lease, Outbox, Push, Queue, Subscription, options};
use crate::store::Epoch;
use crate::sync::Bell;
use crate::wire::properties::Properties;
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::table::RawTable;

/// How long a message that is on disk is waited for.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Some queue has got it.
    pub routed: bool,
    /// Some queue has refused it.
    pub refused: bool,
    /// Once this epoch is committed it is on disk, where that was asked for.
    pub epoch: Epoch,
}

/// Messages got from a queue, in order; those not yet given back or let go of return to it when this is dropped.
#[derive(Debug)]
pub struct Fetched {
    queue: Arc<Queue>,
    /// The messages, each with how many were left behind it.
    pub entries: Vec<(Entry, u64)>,
    leases: Vec<Lease>,
}

/// What is done with messages that were got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// They are put back, as by basic.nack.
    Nack,
    /// They are put back, as by basic.reject.
    Reject,
    /// They are refused for good.
    Discard,
}

fn precondition(text: String) -> Refusal {
    Refusal::new(ReplyCode::PreconditionFailed, text)
}

/// Reads an expiration property: a decimal number of milliseconds. Fails with RabbitMQ's term for what is wrong.
pub fn expiration(text: &[u8]) -> Result<u64, String> {
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

/// What the broker must know of the properties.
fn facts(properties: &Properties<'_>) -> Result<Facts, Refusal> {
    let mut facts = Facts {
        persistent: properties.delivery_mode == Some(2),
        priority: properties.priority.unwrap_or(0),
        ..Facts::default()
    };
    if let Some(text) = properties.expiration {
        facts.expiration = expiration(text).map_err(|error| {
            precondition(format!("invalid expiration '{}': {error}", String::from_utf8_lossy(text)))
        })?;
    }
    Ok(facts)
}

impl Broker {
    /// Publishes a message; refused as a client's publish would be.
    pub fn publish(
        &self,
        vhost: &VirtualHost,
        exchange: &str,
        routing_key: &str,
        properties: &Properties<'_>,
        body: &[u8],
        caller: Caller<'_>,
    ) -> Result<Published, Refusal> {
        let (size, limit) = (body.len() as u64, self.config.largest_body());
        if size > limit {
            let text = format!("message size {size} is larger than configured max size {limit}");
            return Err(precondition(text));
        }
        let too_long = || Refusal::new(ReplyCode::SyntaxError, "name is longer than 255 octets");
        let address = address(exchange.as_bytes(), routing_key.as_bytes()).ok_or_else(too_long)?;
        let raw = properties.encode();
        let mut draft = Draft::new(&address, &raw, size, facts(properties)?);
        let complete = draft.try_extend(body);
        let message = draft.finish().filter(|_| complete);
        let message = message.ok_or_else(|| Refusal::new(ReplyCode::InternalError, ""))?;
        if let Some(user) = caller.who() {
            let keys = message.routing_keys(properties.headers.map(RawTable::new));
            vhost.authorize_publish(self, user, exchange, &keys)?;
        }
        self.send(vhost, exchange, properties, &message)
    }

    fn send(
        &self,
        vhost: &VirtualHost,
        exchange: &str,
        properties: &Properties<'_>,
        message: &Message,
    ) -> Result<Published, Refusal> {
        let now = self.clock.now();
        let keys = message.routing_keys(properties.headers.map(RawTable::new));
        let routing = Routing { message, keys: &keys, properties, now };
        let route = vhost.topology().route(exchange, &routing, true).map_err(|why| match why {
            NoRoute::NoExchange => vhost.no_exchange(exchange),
            NoRoute::Internal => {
                let text = format!("cannot publish to internal {}", print_exchange(exchange, &vhost.name));
                Refusal::new(ReplyCode::AccessRefused, text)
            }
        })?;
        let mut published = Published { routed: route.routed, refused: false, epoch: 0 };
        for queue in &route.queues {
            let (mut refused, mut fx) = (Vec::new(), Effects::default());
            if let Push::Taken(epoch) = queue.push([message.clone()].into_iter(), true, now, &mut refused, &mut fx) {
                published.epoch = published.epoch.max(epoch);
            }
            published.refused |= !refused.is_empty();
            self.finish(queue, &mut fx);
        }
        self.stats.internal.sizes.observe_shared(message.body_len().into());
        let traffic = self.stats.internal_traffic();
        traffic.add_shared(Event::Publish, 1);
        if !published.routed {
            traffic.add_shared(Event::ReturnUnroutable, 1);
        }
        if !published.refused {
            traffic.add_shared(Event::Confirm, 1);
        }
        if let Some(source) = &route.source {
            source.published_in.add_shared(1);
            source.published_out.add_shared(route.queues.len() as u64);
            self.stats.exchange_moves(source);
        }
        Ok(published)
    }

    /// Gets up to `count` messages, but none after those that have `octets` of bodies together. With `no_ack` they are
    /// settled at once, otherwise they are held until they are [returned](Fetched::give_back).
    pub async fn fetch(
        &self,
        vhost: &VirtualHost,
        name: &str,
        no_ack: bool,
        count: usize,
        octets: u64,
        caller: Caller<'_>,
    ) -> Result<Fetched, Refusal> {
        let queue = vhost.readable_queue(self, name, caller)?;
        let options = &queue.definition().options;
        if options.is_quorum() && options.single_active {
            let text = format!(
                "cannot obtain access to locked {}. basic.get operations are not supported {} with single active \
                 consumer",
                print_queue(name, &vhost.name),
                options.profile.get_refused_by
            );
            return Err(Refusal::new(ReplyCode::ResourceLocked, text));
        }
        let getter = Subscription::default().connect(Arc::new(Outbox::new(1)), Some(queue.clone()), None);
        let mut fetched = Fetched { queue: queue.clone(), entries: Vec::new(), leases: Vec::new() };
        let (bell, mut sum) = (Arc::new(Bell::new()), 0);
        while fetched.entries.len() < count && sum < octets {
            match self.get_one(&queue, no_ack, &bell).await {
                Got::Message(entry, left) => {
                    sum = sum.saturating_add(entry.body_len.into());
                    fetched.entries.push((entry.clone(), left));
                    if !no_ack {
                        fetched.leases.push(Lease::new(getter.clone(), entry));
                    }
                }
                Got::Empty | Got::Paged => break,
            }
        }
        Ok(fetched)
    }

    /// Gets one message, and waits for it if it is on disk; [`Got::Paged`] if it does not come.
    async fn get_one(&self, queue: &Arc<Queue>, no_ack: bool, bell: &Arc<Bell>) -> Got {
        let (traffic, handed) = (self.stats.internal_traffic(), self.stats.internal.handed(QueueType::of(Some(queue))));
        loop {
            let mut fx = Effects::default();
            let mut got = queue.get(no_ack, self.clock.now(), &mut fx);
            if matches!(got, Got::Paged) {
                // The load may arrive before the bell hangs: look again once it does.
                queue.ring_when_loaded(bell);
                got = queue.get(no_ack, self.clock.now(), &mut fx);
            }
            self.finish(queue, &mut fx);
            match &got {
                Got::Paged => {
                    if tokio::time::timeout(LOAD_TIMEOUT, bell.rung()).await.is_err() {
                        return got;
                    }
                    continue;
                }
                Got::Empty => {
                    traffic.add_shared(Event::GetEmpty, 1);
                    handed.get_empty.add_shared(1);
                }
                Got::Message(entry, _) => {
                    traffic.add_shared(if no_ack { Event::GetNoAck } else { Event::Get }, 1);
                    if no_ack { &handed.get_auto_ack } else { &handed.get_manual_ack }.add_shared(1);
                    traffic.add_shared(Event::Redeliver, entry.redelivered.into());
                    handed.redelivered.add_shared(entry.redelivered.into());
                }
            }
            return got;
        }
    }
}

impl Fetched {
    /// Does with the messages that are held what is to be done with them.
    pub fn give_back(&mut self, broker: &Broker, how: Return) {
        let (now, mut fx) = (broker.clock.now(), Effects::default());
        match how {
            Return::Nack => self.queue.requeue(&mut self.leases, Cause::Nack, now, &mut fx),
            Return::Reject => self.queue.requeue(&mut self.leases, Cause::Reject, now, &mut fx),
            Return::Discard => self.queue.reject(&mut self.leases, now, &mut fx),
        }
        self.leases.clear();
        broker.finish(&self.queue, &mut fx);
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
