//! Exchange type `x-modulus-hash`: exactly one destination, by the hash of the routing key modulo their number.
//!
//! Destinations are sorted by name, each counts once, binding keys and arguments mean nothing. Made for a fixed set of
//! queues: one more or less moves almost every key.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hash::hash;
use crate::broker::binding::{Binding, Destination};
use crate::broker::route::Routing;

#[derive(Debug, Default)]
pub(in crate::broker) struct ModulusHash {
    bindings: BTreeMap<(Destination, u64), Arc<Binding>>,
    /// One binding of each destination, in their order.
    destinations: Vec<Arc<Binding>>,
}

impl ModulusHash {
    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        self.bindings.insert((binding.destination.clone(), binding.id), binding.clone());
        let at = self.destinations.partition_point(|known| known.destination < binding.destination);
        if self.destinations.get(at).is_none_or(|known| known.destination != binding.destination) {
            self.destinations.insert(at, binding.clone());
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.bindings.remove(&(binding.destination.clone(), binding.id));
        let at = self.destinations.partition_point(|known| known.destination < binding.destination);
        let same = (binding.destination.clone(), 0)..=(binding.destination.clone(), u64::MAX);
        match (self.bindings.range(same).next(), self.destinations.get_mut(at)) {
            (Some((_, other)), Some(slot)) => *slot = other.clone(),
            (None, Some(slot)) if slot.destination == binding.destination => {
                self.destinations.remove(at);
            }
            _ => {}
        }
    }

    pub(super) fn route<'a>(&'a self, routing: &Routing<'_>, found: &mut dyn FnMut(&'a Arc<Binding>)) {
        let (Some(key), count) = (routing.keys.first(), self.destinations.len() as u64) else { return };
        let at = hash(key).checked_rem(count).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.destinations.get(at)).into_iter().for_each(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::exchange::testing::{binding, routed};

    #[test]
    fn keys_spread_over_distinct_destinations_whatever_the_order_of_binding() {
        let bindings = [(1, "a"), (2, "b"), (3, "c"), (4, "a")].map(|(id, queue)| binding(id, queue, ""));
        let (mut forth, mut back) = (ModulusHash::default(), ModulusHash::default());
        for (binding, from_behind) in bindings.iter().zip(bindings.iter().rev()) {
            forth.insert(binding);
            back.insert(from_behind);
        }
        forth.remove(&bindings[0]);
        let queue = |index: &ModulusHash, key: &str| {
            let mut queues = Vec::new();
            routed(key, |routing, found| {
                index.route(routing, &mut |binding| {
                    queues.push(binding.destination.clone());
                    found(binding);
                });
            });
            assert_eq!(queues.len(), 1);
            queues.remove(0)
        };
        let mut counts = BTreeMap::new();
        for n in 0..3_000 {
            let destination = queue(&forth, &n.to_string());
            assert_eq!(destination, queue(&back, &n.to_string()));
            *counts.entry(destination).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 3);
        assert!(counts.values().all(|count| (900..1_100).contains(count)), "{counts:?}");
        for binding in &bindings {
            forth.remove(binding);
        }
        assert!(routed("k", |routing, found| forth.route(routing, found)).is_empty());
    }
}
