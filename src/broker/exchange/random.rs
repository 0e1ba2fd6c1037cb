//! Exchange types `x-random` and `x-local-random`: one binding, each as likely as the others, whatever the keys.
//!
//! `x-local-random` is restricted to classic queues under the empty key ([`check_local`]); with one node all of them
//! are local.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::broker::binding::Binding;

#[derive(Debug, Default)]
pub(in crate::broker) struct Random {
    bindings: Vec<Arc<Binding>>,
}

/// A number that nobody can foresee: every new state has keys of its own.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Refuses what RabbitMQ refuses: any key, any destination but a queue of type `classic`.
pub(super) fn check_local(routing_key: &str, queue_type: Option<&str>) -> Result<(), String> {
    if !routing_key.is_empty() {
        return Err(format!("Non empty binding '{routing_key}' key not permitted"));
    }
    match queue_type {
        Some("classic") => Ok(()),
        Some(other) => Err(format!("Queue type rabbit_{other}_queue not valid for this exchange type")),
        None => Err("Destination not found".to_owned()),
    }
}

impl Random {
    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        self.bindings.push(binding.clone());
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.bindings.retain(|known| known.id != binding.id);
    }

    pub(super) fn route<'a>(&'a self, found: &mut dyn FnMut(&'a Arc<Binding>)) {
        // The high half of the product: as even as 64 bits allow, and below the length.
        let at = (u128::from(random()) * self.bindings.len() as u128) >> 64;
        usize::try_from(at).ok().and_then(|at| self.bindings.get(at)).into_iter().for_each(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::exchange::testing::binding;

    #[test]
    fn every_binding_gets_its_share() {
        let mut index = Random::default();
        for id in 0..5 {
            index.insert(&binding(id, "q", &id.to_string()));
        }
        index.remove(&binding(0, "q", "0"));
        let mut counts = [0; 5];
        for _ in 0..8_000 {
            let mut times = 0;
            index.route(&mut |binding| {
                counts[usize::try_from(binding.id).unwrap()] += 1;
                times += 1;
            });
            assert_eq!(times, 1);
        }
        assert_eq!(counts[0], 0);
        assert!(counts[1..].iter().all(|count| (1_700..2_300).contains(count)), "{counts:?}");
    }
}
