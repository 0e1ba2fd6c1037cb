//! Routing: from an exchange and a key to the queues that get the message.
//!
//! Bindings between exchanges are followed transitively, each exchange visited once. An exchange that matched nothing
//! hands the message to its alternate exchange. Each queue is in the answer once, however many bindings led to it.

use std::collections::HashSet;
use std::sync::Arc;

use super::binding::Destination;
use super::topology::Topology;
use crate::queue::Queue;
use crate::store::QueueId;
use crate::wire::table::RawTable;

/// Queues up to which duplicates are found by looking through the answer.
const SMALL: usize = 16;

/// Where a message goes.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Each queue once.
    pub queues: Vec<Arc<Queue>>,
    /// The answer holds for this exchange and key alone, whatever the headers.
    pub memoizable: bool,
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
    /// Routes a message with any of `keys`. With `from_client`, internal exchanges refuse.
    pub fn route(
        &self,
        exchange: &str,
        keys: &[&[u8]],
        headers: Option<RawTable<'_>>,
        from_client: bool,
    ) -> Result<Route, NoRoute> {
        if exchange.is_empty() {
            let queues = keys.iter().filter_map(|key| self.queues.get(std::str::from_utf8(key).ok()?));
            let mut found = Found::default();
            queues.for_each(|queue| found.add(queue));
            return Ok(Route { queues: found.queues, memoizable: true });
        }
        let first = self.exchanges.get(exchange).ok_or(NoRoute::NoExchange)?;
        if first.internal && from_client {
            return Err(NoRoute::Internal);
        }
        let mut found = Found::default();
        let mut memoizable = true;
        let mut visited: Vec<&str> = vec![exchange];
        let mut at = 0;
        while let Some(source) = visited.get(at).and_then(|name| self.exchanges.get(*name)) {
            at += 1;
            let mut matched = false;
            memoizable &= !source.index.reads_headers();
            for key in keys {
                source.index.matches(key, headers, &mut |binding| {
                    matched = true;
                    match (&binding.destination, &binding.queue) {
                        (Destination::Queue(_), Some(queue)) => found.add(queue),
                        (Destination::Exchange(name), _) if !visited.contains(&&**name) => visited.push(name),
                        _ => {}
                    }
                });
            }
            if !matched
                && let Some(alternate) = &source.alternate
                && self.exchanges.contains_key(alternate)
                && !visited.contains(&&**alternate)
            {
                visited.push(alternate);
            }
        }
        Ok(Route { queues: found.queues, memoizable })
    }
}
