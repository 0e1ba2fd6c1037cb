//! Direct exchange: a binding matches when its key equals the routing key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::broker::binding::Binding;

#[derive(Debug, Default)]
pub(in crate::broker) struct Direct {
    by_key: HashMap<Box<[u8]>, BTreeMap<u64, Arc<Binding>>>,
}

impl Direct {
    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        let key = Box::from(binding.routing_key.as_bytes());
        self.by_key.entry(key).or_default().insert(binding.id, binding.clone());
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let key = binding.routing_key.as_bytes();
        if let Some(bindings) = self.by_key.get_mut(key) {
            bindings.remove(&binding.id);
            if bindings.is_empty() {
                self.by_key.remove(key);
            }
        }
    }

    pub(super) fn matches<'a>(&'a self, routing_key: &[u8], found: &mut dyn FnMut(&'a Arc<Binding>)) {
        self.by_key.get(routing_key).into_iter().flat_map(BTreeMap::values).for_each(found);
    }
}
