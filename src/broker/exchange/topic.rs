//! Topic exchange: binding keys are patterns of words separated by dots; `*` stands for one word, `#` for any number.
//!
//! The patterns form a trie of words. Matching walks it breadth first, one word of the routing key at a time, with the
//! set of nodes reached so far: each node is in the set at most once, so a key of n words costs at most n times the
//! nodes that share a prefix with it, whatever the number of `#`. (A recursive walk would cost exponentially more with
//! patterns such as `#.a.#.a.#`.)
//!
//! What a walk costs with many bindings is memory that is in no cache. Hence small nodes side by side, words as numbers,
//! and one table for all steps from node to node by a word, which is not asked where a filter knows there is none.

mod words;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::broker::binding::Binding;
use words::{WordId, Words};

type NodeId = u32;

/// A node that is the child of another, which the root is not.
type Child = NonZeroU32;

const ROOT: NodeId = 0;

/// What a walk looks at.
#[derive(Debug, Default)]
struct Node {
    star: Option<Child>,
    hash: Option<Child>,
    /// Children by other words.
    children: u32,
    /// A bit for each of these words, several of which may share one.
    filter: u16,
    /// This node was reached through a `#`: it may swallow further words.
    swallows: bool,
    bindings: Bindings,
}

/// How the parent names a node, for pruning.
#[derive(Debug, Default)]
struct Origin {
    parent: NodeId,
    word: Box<[u8]>,
}

/// The bindings with one key.
#[derive(Debug, Default)]
enum Bindings {
    #[default]
    None,
    One(Arc<Binding>),
    #[allow(clippy::box_collection)] // a map in place would make every node half as large again
    Many(Box<BTreeMap<u64, Arc<Binding>>>),
}

impl Bindings {
    fn insert(&mut self, binding: &Arc<Binding>) {
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

    fn remove(&mut self, id: u64) {
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
}

impl Node {
    fn is_bare(&self) -> bool {
        self.children == 0 && self.star.is_none() && self.hash.is_none() && matches!(self.bindings, Bindings::None)
    }
}

fn bit(word: WordId) -> u16 {
    1 << (word % u16::BITS)
}

/// The trie; nodes live in a slab.
#[derive(Debug)]
pub(in crate::broker) struct Topic {
    nodes: Vec<Node>,
    origins: Vec<Origin>,
    free: Vec<NodeId>,
    words: Words,
    /// Children by node and word; `*` and `#` are in the nodes.
    steps: HashMap<(NodeId, WordId), Child, FxBuildHasher>,
}

impl Default for Topic {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            origins: vec![Origin::default()],
            free: Vec::new(),
            words: Words::default(),
            steps: HashMap::default(),
        }
    }
}

/// The words of a key; the empty key has none.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let empty = key.is_empty();
    key.split(|b| *b == b'.').filter(move |_| !empty)
}

/// Refuses more `#` words than `most`, the profile's limit.
pub(super) fn check(key: &str, most: Option<usize>) -> Result<(), String> {
    let hashes = words(key.as_bytes()).filter(|w| *w == b"#").count();
    match most {
        Some(most) if hashes > most => {
            Err(format!("Topic binding key '{key}' uses {hashes} '#' wildcards, at most {most} are allowed"))
        }
        _ => Ok(()),
    }
}

impl Topic {
    #[inline]
    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// The child by a word of a binding key.
    fn child(&self, at: NodeId, word: &[u8]) -> Option<Child> {
        match word {
            b"*" => self.node(at).star,
            b"#" => self.node(at).hash,
            _ => self.steps.get(&(at, self.words.find(word)?)).copied(),
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
        let origin = Origin { parent, word: Box::from(word) };
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
                let word = self.words.add(word);
                self.steps.insert((parent, word), id);
                let parent = self.node_mut(parent);
                parent.children += 1;
                parent.filter |= bit(word);
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
        while at != ROOT && self.node(at).is_bare() {
            at = self.prune(at);
        }
    }

    /// Removes a node without children; returns its parent.
    fn prune(&mut self, at: NodeId) -> NodeId {
        *self.node_mut(at) = Node::default();
        let Origin { parent, word } = std::mem::take(&mut self.origins[at as usize]);
        self.free.push(at);
        match &*word {
            b"*" => self.node_mut(parent).star = None,
            b"#" => self.node_mut(parent).hash = None,
            word => {
                if let Some(id) = self.words.find(word) {
                    self.steps.remove(&(parent, id));
                }
                self.words.remove(word);
                let parent = self.node_mut(parent);
                parent.children -= 1;
                if parent.children == 0 {
                    parent.filter = 0;
                }
            }
        }
        parent
    }

    pub(super) fn matches<'a>(&'a self, routing_key: &[u8], found: &mut dyn FnMut(&'a Arc<Binding>)) {
        let (mut reached, mut next) = (Vec::new(), Vec::new());
        self.reach(ROOT, &mut reached);
        for word in words(routing_key) {
            let word = self.words.find(word);
            for &at in &reached {
                let node = self.node(at);
                if node.swallows {
                    self.reach(at, &mut next);
                }
                if let Some(word) = word
                    && node.filter & bit(word) != 0
                    && let Some(child) = self.steps.get(&(at, word))
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
        for at in reached {
            match &self.node(at).bindings {
                Bindings::None => {}
                Bindings::One(binding) => found(binding),
                Bindings::Many(all) => all.values().for_each(&mut *found),
            }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(keys: &[String]) -> (Topic, Vec<Arc<Binding>>) {
        let mut topic = Topic::default();
        let bindings: Vec<_> = (1u64..).zip(keys).map(|(id, key)| Arc::new(Binding::for_test(id, key))).collect();
        for binding in &bindings {
            topic.insert(binding);
        }
        (topic, bindings)
    }

    fn matched(topic: &Topic, key: &str) -> Vec<u64> {
        let mut ids = Vec::new();
        topic.matches(key.as_bytes(), &mut |b| ids.push(b.id));
        ids.sort_unstable();
        ids
    }

    /// The definition, word by word.
    fn naive(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
        let Some((word, rest)) = pattern.split_first() else { return key.is_empty() };
        match key.split_first() {
            None => *word == b"#" && naive(rest, key),
            Some((_, tail)) if *word == b"#" => naive(rest, key) || naive(pattern, tail),
            Some((head, tail)) => (*word == b"*" || word == head) && naive(rest, tail),
        }
    }

    #[test]
    fn the_empty_key_has_no_words_and_empty_words_count() {
        let keys = ["#", "", "*", "a.*.b", "a..b"].map(String::from);
        let (topic, _) = index(&keys);
        assert_eq!(matched(&topic, ""), [1, 2]);
        assert_eq!(matched(&topic, "a..b"), [1, 4, 5]);
        assert_eq!(matched(&topic, "x"), [1, 3]);
    }

    #[test]
    fn three_hashes_are_refused_in_rabbitmqs_words() {
        assert!(check("#.a.#", Some(2)).is_ok());
        assert!(check("#.a.#.b.#", None).is_ok());
        assert_eq!(
            check("#.a.#.b.#", Some(2)).unwrap_err(),
            "Topic binding key '#.a.#.b.#' uses 3 '#' wildcards, at most 2 are allowed"
        );
    }

    #[test]
    fn removing_every_binding_leaves_a_bare_root() {
        let keys = ["a.b.c", "a.#", "#.c", "a.b"].map(String::from);
        let (mut topic, bindings) = index(&keys);
        for binding in &bindings {
            topic.remove(binding);
        }
        assert!(topic.node(ROOT).is_bare() && topic.steps.is_empty() && topic.words.is_empty());
        assert_eq!(topic.node(ROOT).filter, 0);
        assert_eq!(topic.free.len(), topic.nodes.len() - 1);
    }

    fn key(words: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(words), 0..7).prop_map(|w| w.join("."))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn agrees_with_the_definition(
            patterns in prop::collection::vec(key(&["a", "b", "*", "#", ""]), 1..12),
            removed in 0usize..12,
            routing in key(&["a", "b", "c", ""]),
        ) {
            let (mut topic, bindings) = index(&patterns);
            if let Some(binding) = bindings.get(removed) {
                topic.remove(binding);
            }
            let routing_words: Vec<&[u8]> = words(routing.as_bytes()).collect();
            let expected: Vec<u64> = bindings
                .iter()
                .enumerate()
                .filter(|(at, b)| {
                    let pattern: Vec<&[u8]> = words(b.routing_key.as_bytes()).collect();
                    *at != removed && naive(&pattern, &routing_words)
                })
                .map(|(_, b)| b.id)
                .collect();
            prop_assert_eq!(matched(&topic, &routing), expected);
        }
    }
}
