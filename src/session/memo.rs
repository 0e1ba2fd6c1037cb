//! The routes a session has used: the latest found in a slot of its own, others in a bounded map, all good for one version
//! of the topology and of what its user may do.

use std::collections::hash_map::IntoIter;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::broker::Route;

/// Routes remembered before all are forgotten; a publisher with more keys than this pays for routing.
const CAPACITY: usize = 16_384;

/// Routes by address (exchange and routing key as two short strings).
#[derive(Debug, Default)]
pub(super) struct Memo {
    version: u64,
    /// The exchange that was last published to, if the user may do so with any routing key.
    permitted: Option<Vec<u8>>,
    /// The route found latest, and its address.
    last: Option<Arc<Route>>,
    last_address: Vec<u8>,
    routes: FxHashMap<Box<[u8]>, Arc<Route>>,
    /// Routes that are forgotten. They are let go of few at a time: all at once would be a pause of milliseconds.
    forgotten: IntoIter<Box<[u8]>, Arc<Route>>,
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
        if let Some(route) = &self.last
            && *self.last_address == *address
        {
            return Some(route.clone());
        }
        self.routes.get(address).cloned()
    }

    /// Remembers a route found under `version`.
    pub(super) fn insert(&mut self, version: u64, address: &[u8], route: &Arc<Route>) {
        if self.version != version {
            return;
        }
        if self.routes.len() >= CAPACITY {
            self.clear();
        }
        // Two for each that comes: they are gone before as many are forgotten again.
        self.forgotten.next();
        self.forgotten.next();
        self.routes.insert(address.into(), route.clone());
        self.last_address.clear();
        self.last_address.extend_from_slice(address);
        self.last = Some(route.clone());
    }

    /// Whether it is known that the user may publish to this exchange.
    #[inline]
    pub(super) fn may_publish(&mut self, version: u64, exchange: &[u8]) -> bool {
        if self.version != version {
            self.clear();
            self.version = version;
        }
        self.permitted.as_deref() == Some(exchange)
    }

    /// Remembers what was found out under `version`.
    pub(super) fn permit(&mut self, version: u64, exchange: &[u8]) {
        if self.version == version {
            self.permitted = Some(exchange.to_vec());
        }
    }

    /// Gives memory back.
    pub(super) fn relax(&mut self) {
        *self = Self { version: self.version, ..Self::default() };
    }

    fn clear(&mut self) {
        self.last = None;
        self.permitted = None;
        self.forgotten = std::mem::take(&mut self.routes).into_iter();
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

    #[test]
    fn what_is_permitted_is_remembered_for_one_version_and_one_exchange() {
        let mut memo = Memo::default();
        assert!(!memo.may_publish(1, b""));
        memo.permit(1, b"");
        assert!(memo.may_publish(1, b"") && !memo.may_publish(1, b"x"));
        memo.permit(1, b"x");
        assert!(memo.may_publish(1, b"x") && !memo.may_publish(1, b""));
        assert!(!memo.may_publish(2, b"x"), "something has changed");
        memo.permit(1, b"x");
        assert!(!memo.may_publish(2, b"x"), "found out under another version");
        memo.permit(2, b"x");
        assert!(memo.get(3, b"a").is_none() && !memo.may_publish(3, b"x"));
    }

    #[test]
    fn what_is_forgotten_is_let_go_of_few_at_a_time() {
        let mut memo = Memo::default();
        let insert = |memo: &mut Memo, n: usize| {
            let route = Arc::new(Route::default());
            memo.insert(0, &n.to_be_bytes(), &route);
            Arc::downgrade(&route)
        };
        let routes: Vec<_> = (0..=CAPACITY).map(|n| insert(&mut memo, n)).collect();
        let left = || routes.iter().filter(|route| route.strong_count() > 0).count();
        assert!(memo.get(0, &0_usize.to_be_bytes()).is_none(), "all are forgotten");
        assert_eq!(left(), CAPACITY - 2 + 1);
        for n in 0..CAPACITY / 2 {
            insert(&mut memo, n);
        }
        assert_eq!(left(), 1, "only the one that was one too many");
    }
}
