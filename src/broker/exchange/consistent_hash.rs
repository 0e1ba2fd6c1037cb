//! Exchange type `x-consistent-hash`: exactly one destination, chosen by the hash of the routing key, of a header or of
//! a property; binding keys are weights.
//!
//! The destinations stand in the order in which they were bound, each on as many buckets as its weight; the hash picks
//! a bucket by jump consistent hashing. Another destination takes its share from all others and moves nothing between
//! them. A second binding of a destination counts only when the first is gone. The plugin numbers buckets likewise but
//! hashes otherwise: which destination a value goes to differs, what goes together does not.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::hash::{hash, jump};
use crate::broker::binding::{Binding, Destination};
use crate::broker::route::Routing;
use crate::wire::table::Table;

/// Highest weight of a binding.
const MAX_WEIGHT: u64 = 10_000;

/// What is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum By {
    RoutingKey,
    Header(Box<str>),
    CorrelationId,
    MessageId,
    Timestamp,
}

/// The ring of destinations.
#[derive(Debug)]
pub(in crate::broker) struct ConsistentHash {
    by: By,
    bindings: BTreeMap<u64, Arc<Binding>>,
    /// The bindings that count, each with the bucket after its last.
    ring: Vec<(u64, Arc<Binding>)>,
    on_ring: HashSet<Destination>,
}

fn text<'a>(arguments: &'a Table, key: &str) -> Option<&'a str> {
    arguments.get(key).and_then(|value| value.as_str())
}

/// What is to be hashed, or what RabbitMQ says of arguments it refuses.
fn by(arguments: &Table) -> Result<By, String> {
    match (text(arguments, "hash-header"), text(arguments, "hash-property")) {
        (None, None) => Ok(By::RoutingKey),
        (Some(header), None) => Ok(By::Header(header.into())),
        (None, Some("correlation_id")) => Ok(By::CorrelationId),
        (None, Some("message_id")) => Ok(By::MessageId),
        (None, Some("timestamp")) => Ok(By::Timestamp),
        (None, Some(other)) => Err(format!("Unsupported property: {other}")),
        (Some(_), Some(_)) => Err("hash-header and hash-property are mutually exclusive".to_owned()),
    }
}

/// Refuses what RabbitMQ refuses of the exchange's arguments.
pub(super) fn check_arguments(arguments: &Table) -> Result<(), String> {
    by(arguments).map(|_| ())
}

/// The weight a binding key stands for, or what RabbitMQ says of it.
pub(super) fn weight(routing_key: &str) -> Result<u64, String> {
    let weight: i64 = routing_key.parse().map_err(|_| {
        // Digits alone can only have been too many.
        let digits = routing_key.strip_prefix(['-', '+']).unwrap_or(routing_key);
        match (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()), routing_key.starts_with('-')) {
            (true, false) => format!("The binding key must not exceed {MAX_WEIGHT}"),
            (true, true) => "The binding key must be greater than 0".to_owned(),
            (false, _) => format!("The binding key must be an integer: <<\"{routing_key}\">>"),
        }
    })?;
    match u64::try_from(weight) {
        Ok(weight) if weight > MAX_WEIGHT => Err(format!("The binding key must not exceed {MAX_WEIGHT}")),
        Ok(weight) if weight > 0 => Ok(weight),
        _ => Err("The binding key must be greater than 0".to_owned()),
    }
}

impl ConsistentHash {
    pub(super) fn new(arguments: &Table) -> Self {
        let by = by(arguments).unwrap_or(By::RoutingKey);
        Self { by, bindings: BTreeMap::new(), ring: Vec::new(), on_ring: HashSet::new() }
    }

    pub(super) fn by_routing_key(&self) -> bool {
        self.by == By::RoutingKey
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        let newest = self.bindings.last_key_value().is_none_or(|(last, _)| *last < binding.id);
        self.bindings.insert(binding.id, binding.clone());
        if newest { self.append(binding.clone()) } else { self.rebuild() }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        if self.bindings.remove(&binding.id).is_some() {
            self.rebuild();
        }
    }

    fn append(&mut self, binding: Arc<Binding>) {
        if self.on_ring.insert(binding.destination.clone()) {
            let before = self.ring.last().map_or(0, |(end, _)| *end);
            self.ring.push((before + weight(&binding.routing_key).unwrap_or(1), binding));
        }
    }

    fn rebuild(&mut self) {
        self.ring.clear();
        self.on_ring.clear();
        for binding in self.bindings.values().cloned().collect::<Vec<_>>() {
            self.append(binding);
        }
    }

    pub(super) fn route<'a>(&'a self, routing: &Routing<'_>, found: &mut dyn FnMut(&'a Arc<Binding>)) {
        let Some((buckets, _)) = self.ring.last() else { return };
        let bucket = jump(self.hash(routing), *buckets);
        let at = self.ring.partition_point(|(end, _)| *end <= bucket);
        if let Some((_, binding)) = self.ring.get(at) {
            found(binding);
        }
    }

    /// The hash of what counts; everything without it hashes alike.
    fn hash(&self, routing: &Routing<'_>) -> u64 {
        let properties = routing.properties;
        let octets = match &self.by {
            By::RoutingKey => routing.keys.first().copied(),
            By::CorrelationId => properties.correlation_id,
            By::MessageId => properties.message_id,
            By::Timestamp => return properties.timestamp.map_or(0, |time| hash(&time.to_be_bytes())),
            By::Header(name) => {
                let Some(value) = routing.headers().and_then(|headers| headers.get(name.as_bytes())) else { return 0 };
                let mut meaning = Vec::new();
                value.meaning(&mut meaning);
                return hash(&meaning);
            }
        };
        octets.map_or(0, hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::exchange::testing::{binding, routed};
    use proptest::prelude::*;

    fn ring(weights: &[u64]) -> ConsistentHash {
        let mut ring = ConsistentHash::new(&Table::default());
        for (id, weight) in (1u64..).zip(weights) {
            ring.insert(&binding(id, &format!("q{id}"), &weight.to_string()));
        }
        ring
    }

    fn places(ring: &ConsistentHash, keys: usize) -> Vec<u64> {
        let place = |n: usize| match &routed(&n.to_string(), |routing, found| ring.route(routing, found))[..] {
            [one] => *one,
            other => panic!("exactly one destination, not {other:?}"),
        };
        (0..keys).map(place).collect()
    }

    #[test]
    fn keys_spread_by_weight() {
        let placed = places(&ring(&[1, 2, 5]), 16_000);
        for (id, expected) in [(1, 2_000), (2, 4_000), (3, 10_000)] {
            let count = placed.iter().filter(|place| **place == id).count();
            assert!(count.abs_diff(expected) < expected / 10, "{count} of about {expected} keys for weight of {id}");
        }
    }

    #[test]
    fn a_second_binding_of_a_destination_counts_when_the_first_is_gone() {
        let mut ring = ring(&[1, 1]);
        let before = places(&ring, 100);
        let second = binding(3, "q1", "9999");
        ring.insert(&second);
        assert_eq!(places(&ring, 100), before);
        ring.remove(&binding(1, "q1", "1"));
        let heavy = places(&ring, 100).iter().filter(|place| **place == 3).count();
        assert!(heavy > 95, "{heavy}");
        ring.remove(&second);
        ring.remove(&binding(2, "q2", "1"));
        assert!(routed("k", |routing, found| ring.route(routing, found)).is_empty());
    }

    #[test]
    fn weights_are_checked_in_rabbitmqs_words() {
        assert_eq!((weight("1"), weight("10000"), weight("+7")), (Ok(1), Ok(10_000), Ok(7)));
        for (key, text) in [
            ("foo", "The binding key must be an integer: <<\"foo\">>"),
            ("", "The binding key must be an integer: <<\"\">>"),
            ("1.5", "The binding key must be an integer: <<\"1.5\">>"),
            ("0", "The binding key must be greater than 0"),
            ("-3", "The binding key must be greater than 0"),
            ("-99999999999999999999", "The binding key must be greater than 0"),
            ("10001", "The binding key must not exceed 10000"),
            ("99999999999999999999", "The binding key must not exceed 10000"),
        ] {
            assert_eq!(weight(key), Err(text.to_owned()), "{key}");
        }
    }

    proptest! {
        #[test]
        fn another_destination_takes_its_share_and_moves_nothing_else(
            weights in prop::collection::vec(1u64..20, 1..12),
            added in 1u64..20,
        ) {
            let mut ring = ring(&weights);
            let before = places(&ring, 1_000);
            let id = weights.len() as u64 + 1;
            let new = binding(id, "new", &added.to_string());
            ring.insert(&new);
            let after = places(&ring, 1_000);
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(after == before || *after == id);
            }
            let moved = after.iter().filter(|place| **place == id).count() as u64;
            let share = 1_000 * added / (weights.iter().sum::<u64>() + added);
            prop_assert!(moved.abs_diff(share) < 60 + share / 4, "{} moved, {} expected", moved, share);
            ring.remove(&new);
            prop_assert_eq!(places(&ring, 1_000), before);
        }
    }
}
