//! Routing: from an exchange and a key to the queues that get the message.
//!
//! Bindings between exchanges are followed transitively, each exchange visited once. An exchange that matched nothing
//! hands the message to its alternate exchange. Each queue is in the answer once, however many bindings led to it. An
//! exchange that delays answers with its holder, for now: it routes when the time has come.
//!
//! Some exchanges remember what they route (duplicates, recent history), so a message is routed once.

use std::collections::HashSet;
use std::sync::Arc;

use super::binding::Destination;
use super::stats::ExchangeStats;
use super::topology::Topology;
use crate::clock::Millis;
use crate::message::{Message, delay};
use crate::queue::Queue;
use crate::store::QueueId;
use crate::wire::properties::Properties;
use crate::wire::table::RawTable;

/// Queues up to which duplicates are found by looking through the answer.
const SMALL: usize = 16;

/// Where a message goes.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// The counts of the exchange it was published to.
    pub source: Option<Arc<ExchangeStats>>,
    /// Each queue once.
    pub queues: Vec<Arc<Queue>>,
    /// Some queue gets it now, and not only the holder of a delaying exchange.
    pub routed: bool,
    /// The answer holds for this exchange and key alone, whatever the headers, and each time.
    pub memoizable: bool,
}

/// A message as exchanges look at it.
#[derive(Clone, Copy, Debug)]
pub struct Routing<'a> {
    /// The message.
    pub message: &'a Message,
    /// Its routing key, then those of `CC` and `BCC`.
    pub keys: &'a [&'a [u8]],
    /// Its properties.
    pub properties: &'a Properties<'a>,
    /// The present moment.
    pub now: Millis,
}

impl<'a> Routing<'a> {
    /// Its headers.
    pub fn headers(&self) -> Option<RawTable<'a>> {
        self.properties.headers.map(RawTable::new)
    }

    /// Whether an exchange that delays is to keep it for now.
    fn is_early(&self) -> bool {
        self.headers().and_then(delay::of).is_some_and(|delay| delay > 0)
    }
}

/// Why there is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The exchange does not exist.
    NoExchange,
    /// The exchange is internal, and the message comes from a client.
    Internal,
}

#[derive(Default)]
struct Found {
    queues: Vec<Arc<Queue>>,
    seen: HashSet<QueueId>,
}

impl Found {
    fn add(&mut self, queue: &Arc<Queue>) {
        let known = if self.queues.len() < SMALL {
            self.queues.iter().any(|q| Arc::ptr_eq(q, queue))
        } else {
            if self.seen.is_empty() {
                self.seen.extend(self.queues.iter().map(|q| q.id()));
            }
            !self.seen.insert(queue.id())
        };
        if !known {
            self.queues.push(queue.clone());
        }
    }
}

impl Topology {
    /// Whether a message can be sent to `exchange`. With `from_client`, internal exchanges refuse.
    pub fn reach(&self, exchange: &str, from_client: bool) -> Result<(), NoRoute> {
        match self.exchanges.get(exchange) {
            None => Err(NoRoute::NoExchange),
            Some(exchange) if exchange.internal && from_client => Err(NoRoute::Internal),
            Some(_) => Ok(()),
        }
    }

    /// Routes a message from `exchange`. With `from_client`, internal exchanges refuse.
    pub fn route(&self, exchange: &str, routing: &Routing<'_>, from_client: bool) -> Result<Route, NoRoute> {
        let mut found = Found::default();
        if exchange.is_empty() {
            let queues = routing.keys.iter().filter_map(|key| self.queues.get(std::str::from_utf8(key).ok()?));
            queues.for_each(|queue| found.add(queue));
            let source = self.exchanges.get(exchange).map(|exchange| exchange.stats.clone());
            return Ok(Route { source, routed: !found.queues.is_empty(), queues: found.queues, memoizable: true });
        }
        self.reach(exchange, from_client)?;
        let (mut memoizable, mut held) = (true, 0);
        let mut visited: Vec<&str> = vec![exchange];
        let mut at = 0;
        while let Some(source) = visited.get(at).and_then(|name| self.exchanges.get(*name)) {
            at += 1;
            memoizable &= source.index.memoizable();
            if let Some(holder) = &source.holder
                && routing.is_early()
            {
                held += 1;
                found.add(holder);
                continue;
            }
            let mut matched = false;
            source.index.route(routing, &mut |binding| {
                matched = true;
                match (&binding.destination, &binding.queue) {
                    (Destination::Queue(_), Some(queue)) => found.add(queue),
                    (Destination::Exchange(name), _) if !visited.contains(&&**name) => visited.push(name),
                    _ => {}
                }
            });
            if !matched
                && let Some(alternate) = &source.alternate
                && self.exchanges.contains_key(alternate)
                && !visited.contains(&&**alternate)
            {
                visited.push(alternate);
            }
        }
        let source = self.exchanges.get(exchange).map(|exchange| exchange.stats.clone());
        Ok(Route { source, routed: found.queues.len() > held, queues: found.queues, memoizable })
    }

    /// The queues for a message that was published before, with every key it was published with.
    pub(super) fn route_again(&self, exchange: &str, message: &Message, now: Millis) -> Vec<Arc<Queue>> {
        let properties = Properties::parse(message.properties()).unwrap_or_default();
        let keys = message.routing_keys(properties.headers.map(RawTable::new));
        let routing = Routing { message, keys: &keys, properties: &properties, now };
        self.route(exchange, &routing, false).map(|route| route.queues).unwrap_or_default()
    }
}
