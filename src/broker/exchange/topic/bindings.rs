//! The bindings with one key: mostly one, sometimes very many.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::binding::Binding;

/// The bindings with one key.
#[derive(Debug, Default)]
pub(super) enum Bindings {
    #[default]
    None,
    One(Arc<Binding>),
    #[allow(clippy::box_collection)] // a map in place would make every node half as large again
    Many(Box<BTreeMap<u64, Arc<Binding>>>),
}

impl Bindings {
    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(binding.clone()),
            Self::One(first) => {
                let all = [(first.id, first), (binding.id, binding.clone())];
                Self::Many(Box::new(BTreeMap::from(all)))
            }
            Self::Many(mut all) => {
                all.insert(binding.id, binding.clone());
                Self::Many(all)
            }
        };
    }

    pub(super) fn remove(&mut self, id: u64) {
        match self {
            Self::None => {}
            Self::One(only) => {
                if only.id == id {
                    *self = Self::None;
                }
            }
            Self::Many(all) => {
                all.remove(&id);
                if all.is_empty() {
                    *self = Self::None;
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Calls `found` for each.
    pub(super) fn each<'a>(&'a self, found: &mut dyn FnMut(&'a Arc<Binding>)) {
        match self {
            Self::None => {}
            Self::One(only) => found(only),
            Self::Many(all) => all.values().for_each(found),
        }
    }
}
