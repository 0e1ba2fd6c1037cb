//! The routes a session has used: the latest found in a slot of its own, others in a bounded map, all good for one version
//! of the topology.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::broker::Route;

/// Routes remembered before all are forgotten; a publisher with more keys than this pays for routing.
const CAPACITY: usize = 4_096;

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

    fn clear(&mut self) {
        self.last = None;
        self.routes.clear();
    }
}
