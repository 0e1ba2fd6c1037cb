//! The routes a session has used: the latest found in a slot of its own, others in a bounded map, all good for one version
//! of the topology.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::broker::Route;

/// Routes remembered before all are forgotten; a publisher with more keys than this pays for routing.
const CAPACITY: usize = 16_384;

/// Routes by address (exchange and routing key as two short strings).
#[derive(Debug, Default)]
pub(super) struct Memo {
    version: u64,
    last: Option<(Box<[u8]>, Arc<Route>)>,
    routes: FxHashMap<Box<[u8]>, Arc<Route>>,
}

impl Memo {
    /// The route for this address, if it is known and the topology still has this version.
    #[inline]
    pub(super) fn get(&mut self, version: u64, address: &[u8]) -> Option<Arc<Route>> {
        if self.version != version {
            self.clear();
            self.version = version;
            return None;
        }
        if let Some((known, route)) = &self.last
            && **known == *address
        {
            return Some(route.clone());
        }
        self.routes.get(address).cloned()
    }

    /// Remembers a route found under `version`.
    pub(super) fn insert(&mut self, version: u64, address: &[u8], route: &Arc<Route>) {
        if self.version == version {
            if self.routes.len() >= CAPACITY {
                self.clear();
            }
            self.routes.insert(address.into(), route.clone());
            self.last = Some((address.into(), route.clone()));
        }
    }

    /// Gives memory back.
    pub(super) fn relax(&mut self) {
        *self = Self::default();
    }

    fn clear(&mut self) {
        self.last = None;
        self.routes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_remembered_for_one_version_and_until_memory_is_given_back() {
        let (mut memo, route) = (Memo::default(), Arc::new(Route::default()));
        assert!(memo.get(1, b"a").is_none());
        for address in [b"a", b"b"] {
            memo.insert(1, address, &route);
        }
        assert!(memo.get(1, b"a").is_some() && memo.get(1, b"b").is_some());
        memo.insert(0, b"c", &route);
        assert!(memo.get(1, b"c").is_none(), "found under another version");
        memo.relax();
        assert_eq!(memo.routes.capacity(), 0);
        assert_eq!(Arc::strong_count(&route), 1);
        assert!(memo.get(1, b"a").is_none());
        memo.insert(1, b"a", &route);
        assert!(memo.get(2, b"a").is_none(), "the topology has changed");
    }
}
