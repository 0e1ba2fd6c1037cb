//! Fanout exchange: every binding matches.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::binding::Binding;

#[derive(Debug, Default)]
pub(in crate::broker) struct Fanout {
    bindings: BTreeMap<u64, Arc<Binding>>,
}

impl Fanout {
    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        self.bindings.insert(binding.id, binding.clone());
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.bindings.remove(&binding.id);
    }

    pub(super) fn matches<'a>(&'a self, found: &mut dyn FnMut(&'a Arc<Binding>)) {
        self.bindings.values().for_each(found);
    }
}
