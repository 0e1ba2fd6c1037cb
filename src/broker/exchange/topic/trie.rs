//! The trie of the binding keys with `*` or `#`; its nodes live in a slab.
//!
//! Matching walks it breadth first, one word of the routing key at a time, with the set of nodes reached so far: each
//! node is in the set at most once, so a key of n words costs at most n times the nodes that share a prefix with it,
//! whatever the number of `#`. (A recursive walk would cost exponentially more with patterns such as `#.a.#.a.#`.)
//!
//! What a walk costs with many bindings is memory that is in no cache. Hence nodes of half a cache line side by side,
//! and one table for all steps from node to node by a word, which is not asked where a filter knows there is none.

use std::cell::Cell;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use super::bindings::Bindings;
use super::word::{Digester, Step};
use super::words;
use crate::broker::binding::Binding;

type NodeId = u32;

/// A node that is the child of another, which the root is not.
type Child = NonZeroU32;

const ROOT: NodeId = 0;

/// Nodes a set of nodes reached has room for from one walk to the next.
const REACHED: usize = 256;

thread_local! {
    /// The two sets of nodes reached of whichever walk this thread is at.
    static SCRATCH: Cell<(Vec<NodeId>, Vec<NodeId>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// What a walk looks at.
#[derive(Debug, Default)]
#[repr(align(32))]
struct Node {
    star: Option<Child>,
    hash: Option<Child>,
    /// A bit for each word that leads to another child, several of which may share one.
    filter: u32,
    /// This node was reached through a `#`: it may swallow further words.
    swallows: bool,
    bindings: Bindings,
}

/// What only growing and pruning look at.
#[derive(Debug, Default)]
struct Origin {
    parent: NodeId,
    /// How the parent names this node.
    word: Box<[u8]>,
    /// Children by other words than `*` and `#`.
    children: u32,
}

#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    origins: Vec<Origin>,
    free: Vec<NodeId>,
    digester: Digester,
    /// Children by other words than `*` and `#`.
    steps: HashMap<Step, Child, FxBuildHasher>,
}

impl Default for Trie {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            origins: vec![Origin::default()],
            free: Vec::new(),
            digester: Digester::default(),
            steps: HashMap::default(),
        }
    }
}

impl Trie {
    #[inline]
    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    fn is_bare(&self, id: NodeId) -> bool {
        let node = self.node(id);
        let childless = node.star.is_none() && node.hash.is_none() && self.origins[id as usize].children == 0;
        childless && node.bindings.is_empty()
    }

    /// The child by a word of a binding key.
    fn child(&self, from: NodeId, word: &[u8]) -> Option<Child> {
        match word {
            b"*" => self.node(from).star,
            b"#" => self.node(from).hash,
            _ => self.steps.get(&self.digester.digest(word).step(from)).copied(),
        }
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        let mut at = ROOT;
        for word in words(binding.routing_key.as_bytes()) {
            at = self.child(at, word).unwrap_or_else(|| self.grow(at, word)).get();
        }
        self.node_mut(at).bindings.insert(binding);
    }

    fn grow(&mut self, parent: NodeId, word: &[u8]) -> Child {
        let node = Node { swallows: word == b"#", ..Node::default() };
        let origin = Origin { parent, word: Box::from(word), children: 0 };
        let id = if let Some(id) = self.free.pop() {
            self.nodes[id as usize] = node;
            self.origins[id as usize] = origin;
            id
        } else {
            self.nodes.push(node);
            self.origins.push(origin);
            NodeId::try_from(self.nodes.len() - 1).expect("memory holds fewer than 2^32 nodes")
        };
        let id = Child::new(id).expect("the root is never freed");
        match word {
            b"*" => self.node_mut(parent).star = Some(id),
            b"#" => self.node_mut(parent).hash = Some(id),
            _ => {
                let word = self.digester.digest(word);
                self.steps.insert(word.step(parent), id);
                self.origins[parent as usize].children += 1;
                self.node_mut(parent).filter |= word.bit();
            }
        }
        id
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let mut at = ROOT;
        for word in words(binding.routing_key.as_bytes()) {
            match self.child(at, word) {
                Some(next) => at = next.get(),
                None => return,
            }
        }
        self.node_mut(at).bindings.remove(binding.id);
        while at != ROOT && self.is_bare(at) {
            at = self.prune(at);
        }
    }

    /// Removes a node without children; returns its parent.
    fn prune(&mut self, at: NodeId) -> NodeId {
        *self.node_mut(at) = Node::default();
        let Origin { parent, word, .. } = std::mem::take(&mut self.origins[at as usize]);
        self.free.push(at);
        match &*word {
            b"*" => self.node_mut(parent).star = None,
            b"#" => self.node_mut(parent).hash = None,
            word => {
                self.steps.remove(&self.digester.digest(word).step(parent));
                let origin = &mut self.origins[parent as usize];
                origin.children -= 1;
                if origin.children == 0 {
                    self.node_mut(parent).filter = 0;
                }
            }
        }
        parent
    }

    pub(super) fn matches<'a>(&'a self, routing_key: &[u8], found: &mut dyn FnMut(&'a Arc<Binding>)) {
        let (mut reached, mut next) = SCRATCH.take();
        self.reach(ROOT, &mut reached);
        for word in words(routing_key) {
            let word = self.digester.digest(word);
            for &at in &reached {
                let node = self.node(at);
                if node.swallows {
                    self.reach(at, &mut next);
                }
                if node.filter & word.bit() != 0
                    && let Some(child) = self.steps.get(&word.step(at))
                {
                    self.reach(child.get(), &mut next);
                }
                if let Some(child) = node.star {
                    self.reach(child.get(), &mut next);
                }
            }
            std::mem::swap(&mut reached, &mut next);
            next.clear();
            // Both `#` and a word may lead to the same node.
            if reached.len() > 1 {
                reached.sort_unstable();
                reached.dedup();
            }
        }
        for &at in &reached {
            self.node(at).bindings.each(found);
        }
        reached.clear();
        if reached.capacity().max(next.capacity()) <= REACHED {
            SCRATCH.set((reached, next));
        }
    }

    /// Adds a node and whatever `#` reaches from it without a word.
    fn reach(&self, mut at: NodeId, into: &mut Vec<NodeId>) {
        loop {
            into.push(at);
            match self.node(at).hash {
                Some(hash) => at = hash.get(),
                None => return,
            }
        }
    }

    /// Whether nothing is left of what was inserted.
    #[cfg(test)]
    pub(super) fn is_pruned(&self) -> bool {
        let root_only = self.is_bare(ROOT) && self.free.len() == self.nodes.len() - 1;
        root_only && self.steps.is_empty() && self.node(ROOT).filter == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_fill_a_cache_line() {
        assert_eq!(size_of::<Node>(), 32);
    }
}
