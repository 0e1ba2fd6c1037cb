//! Exchange type `x-message-deduplication`: a fanout that drops a message whose `x-deduplication-header` it has seen.
//!
//! As in the plugin: `x-cache-size` values are remembered, each for `x-cache-ttl` milliseconds (a message's own header
//! `x-cache-ttl` comes first; without either, until there is no room); seeing a value again does not prolong its stay;
//! messages without the header pass. Where the plugin evicts a random value for lack of room, this evicts the oldest.
//! Constant cost: whatever is outdated goes when it comes to the front of the line.
//!
//! Deliberately absent: keeping the cache over a restart (`x-cache-persistence` is checked, `disk` acts as `memory`).

use std::collections::{HashMap, VecDeque};

use super::fanout::Fanout;
use crate::broker::route::Routing;
use crate::clock::{Millis, NEVER};
use crate::message::duplicate::{Fingerprint, fingerprint};
use crate::sync::{Mutex, Rank};
use crate::wire::table::{RawValue, Table, Value};

const TTL: &str = "x-cache-ttl";

#[derive(Debug)]
pub(in crate::broker) struct Deduplication {
    pub(super) bindings: Fanout,
    ttl: Option<u64>,
    cache: Mutex<Cache>,
}

/// A positive number under any integer tag, or as text, as the plugin takes both.
fn number(value: &Value) -> Option<u64> {
    let n = value.as_int().or_else(|| value.as_str()?.trim_start().parse().ok())?;
    u64::try_from(n).ok().filter(|n| *n > 0)
}

fn arguments(table: &Table) -> Result<(usize, Option<u64>), String> {
    let size = table
        .get("x-cache-size")
        .and_then(number)
        .ok_or_else(|| "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0".to_owned())?;
    let ttl = match table.get(TTL) {
        None => None,
        Some(value) => {
            Some(number(value).ok_or_else(|| format!("Invalid argument, '{TTL}' must be an integer greater than 0"))?)
        }
    };
    match table.get("x-cache-persistence").map(|value| value.as_str()) {
        None | Some(Some("memory" | "disk")) => Ok((usize::try_from(size).unwrap_or(usize::MAX), ttl)),
        Some(_) => Err("Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'".to_owned()),
    }
}

/// Refuses what RabbitMQ refuses of the exchange's arguments.
pub(super) fn check_arguments(table: &Table) -> Result<(), String> {
    arguments(table).map(|_| ())
}

/// A message's own time to live in the cache, in milliseconds.
fn own_ttl(value: RawValue<'_>) -> Option<u64> {
    let n = value.as_int().or_else(|| value.as_str()?.parse().ok())?;
    Some(u64::try_from(n).unwrap_or(0))
}

impl Deduplication {
    pub(super) fn new(table: &Table) -> Self {
        let (size, ttl) = arguments(table).unwrap_or((1, None));
        let cache = Mutex::new(Rank::Leaf, Cache::new(size));
        Self { bindings: Fanout::default(), ttl, cache }
    }

    /// Whether the message is the first of its kind; remembers it if so.
    pub(super) fn is_new(&self, routing: &Routing<'_>) -> bool {
        let Some(headers) = routing.headers() else { return true };
        let Some(fingerprint) = fingerprint(headers) else { return true };
        let ttl = headers.get(TTL).and_then(own_ttl).or(self.ttl);
        let until = ttl.map_or(NEVER, |ttl| routing.now.saturating_add(ttl));
        self.cache.lock().insert(fingerprint, until, routing.now)
    }
}

/// Fingerprints in the order in which they came, at most `size` of them.
#[derive(Debug)]
struct Cache {
    size: usize,
    /// Until when a fingerprint is remembered, and which place in the line is its own.
    known: HashMap<Fingerprint, (Millis, u64)>,
    /// Places in the order of arrival; one whose number is not in `known` any more is outdated.
    line: VecDeque<(Fingerprint, u64)>,
    next: u64,
}

impl Cache {
    fn new(size: usize) -> Self {
        Self { size, known: HashMap::new(), line: VecDeque::new(), next: 0 }
    }

    /// Adds a fingerprint; `false` if it is known at this moment.
    fn insert(&mut self, fingerprint: Fingerprint, until: Millis, now: Millis) -> bool {
        if self.known.get(&fingerprint).is_some_and(|(until, _)| *until > now) {
            return false;
        }
        self.known.remove(&fingerprint);
        self.drop_outdated(now);
        while self.known.len() >= self.size {
            let Some((oldest, number)) = self.line.pop_front() else { break };
            self.forget(oldest, number);
        }
        self.next += 1;
        self.known.insert(fingerprint, (until, self.next));
        self.line.push_back((fingerprint, self.next));
        if self.line.len() > 2 * self.known.len() + 16 {
            // Half of the line at least is outdated: as many insertions have paid for this.
            self.line.retain(|(fingerprint, number)| self.known.get(fingerprint).is_some_and(|(_, n)| n == number));
        }
        true
    }

    fn forget(&mut self, fingerprint: Fingerprint, number: u64) {
        if self.known.get(&fingerprint).is_some_and(|(_, n)| *n == number) {
            self.known.remove(&fingerprint);
        }
    }

    fn drop_outdated(&mut self, now: Millis) {
        while let Some((fingerprint, number)) = self.line.front().copied() {
            match self.known.get(&fingerprint) {
                Some((until, n)) if *n == number && *until > now => return,
                _ => {
                    self.line.pop_front();
                    self.forget(fingerprint, number);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(n: u8) -> Fingerprint {
        let (mut table, mut raw) = (Table::new(), Vec::new());
        table.insert("x-deduplication-header", Value::U8(n));
        table.encode_into(&mut raw);
        fingerprint(crate::wire::table::RawTable::new(&raw)).unwrap()
    }

    #[test]
    fn a_full_cache_forgets_the_oldest_and_a_dead_one_is_new_again() {
        let mut cache = Cache::new(2);
        assert!(cache.insert(print(1), NEVER, 0));
        assert!(!cache.insert(print(1), NEVER, 0));
        assert!(cache.insert(print(2), 10, 0));
        assert!(cache.insert(print(3), NEVER, 0));
        assert!(cache.insert(print(1), NEVER, 0), "it was the oldest");
        assert!(!cache.insert(print(3), NEVER, 0));
        let mut cache = Cache::new(9);
        assert!(cache.insert(print(1), 10, 0));
        assert!(!cache.insert(print(1), 99, 9), "and its stay is not prolonged");
        assert!(cache.insert(print(1), 20, 10));
    }

    proptest! {
        #[test]
        fn it_does_as_a_plain_list_would(
            size in 1usize..6,
            steps in prop::collection::vec((0u8..9, 1u64..8, 0u64..4), 1..200),
        ) {
            let mut cache = Cache::new(size);
            let mut list: Vec<(u8, Millis)> = Vec::new();
            let mut now = 0;
            for (value, ttl, passed) in steps {
                now += passed;
                let new = !list.iter().any(|(v, until)| *v == value && *until > now);
                if new {
                    list.retain(|(v, _)| *v != value);
                    while list.first().is_some_and(|(_, until)| *until <= now) {
                        list.remove(0);
                    }
                    while list.len() >= size {
                        list.remove(0);
                    }
                    list.push((value, now + ttl));
                }
                prop_assert_eq!(cache.insert(print(value), now + ttl, now), new);
                prop_assert!(cache.known.len() <= size);
                prop_assert!(cache.line.len() <= 2 * size + 17);
            }
        }
    }
}
