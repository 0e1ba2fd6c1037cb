//! Topic exchange: binding keys are patterns of words separated by dots; `*` stands for one word, `#` for any number.
//!
//! The patterns form a trie of words. Matching walks it breadth first, one word of the routing key at a time, with the
//! set of nodes reached so far: each node is in the set at most once, so a key of n words costs at most n times the
//! nodes that share a prefix with it, whatever the number of `#`. (A recursive walk would cost exponentially more with
//! patterns such as `#.a.#.a.#`.)

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::broker::binding::Binding;

type NodeId = usize;

const ROOT: NodeId = 0;

#[derive(Debug, Default)]
struct Node {
    words: HashMap<Box<[u8]>, NodeId>,
    star: Option<NodeId>,
    hash: Option<NodeId>,
    /// This node was reached through a `#`: it may swallow further words.
    swallows: bool,
    bindings: BTreeMap<u64, Arc<Binding>>,
    /// How the parent names this node, for pruning.
    parent: NodeId,
    word: Box<[u8]>,
}

impl Node {
    fn is_bare(&self) -> bool {
        self.words.is_empty() && self.star.is_none() && self.hash.is_none() && self.bindings.is_empty()
    }

    fn child(&self, word: &[u8]) -> Option<NodeId> {
        match word {
            b"*" => self.star,
            b"#" => self.hash,
            _ => self.words.get(word).copied(),
        }
    }
}

/// The trie; nodes live in a slab.
#[derive(Debug)]
pub(in crate::broker) struct Topic {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
}

impl Default for Topic {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new() }
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
    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        let mut at = ROOT;
        for word in words(binding.routing_key.as_bytes()) {
            at = match self.nodes[at].child(word) {
                Some(next) => next,
                None => self.grow(at, word),
            };
        }
        self.nodes[at].bindings.insert(binding.id, binding.clone());
    }

    fn grow(&mut self, parent: NodeId, word: &[u8]) -> NodeId {
        let node = Node { swallows: word == b"#", parent, word: Box::from(word), ..Node::default() };
        let id = if let Some(id) = self.free.pop() {
            self.nodes[id] = node;
            id
        } else {
            self.nodes.push(node);
            self.nodes.len() - 1
        };
        let parent = &mut self.nodes[parent];
        match word {
            b"*" => parent.star = Some(id),
            b"#" => parent.hash = Some(id),
            _ => {
                parent.words.insert(Box::from(word), id);
            }
        }
        id
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let mut at = ROOT;
        for word in words(binding.routing_key.as_bytes()) {
            match self.nodes[at].child(word) {
                Some(next) => at = next,
                None => return,
            }
        }
        self.nodes[at].bindings.remove(&binding.id);
        while at != ROOT && self.nodes[at].is_bare() {
            let node = std::mem::take(&mut self.nodes[at]);
            let parent = &mut self.nodes[node.parent];
            match &*node.word {
                b"*" => parent.star = None,
                b"#" => parent.hash = None,
                word => {
                    parent.words.remove(word);
                }
            }
            self.free.push(at);
            at = node.parent;
        }
    }

    pub(super) fn matches<'a>(&'a self, routing_key: &[u8], found: &mut dyn FnMut(&'a Arc<Binding>)) {
        let (mut reached, mut next) = (Vec::new(), Vec::new());
        self.reach(ROOT, &mut reached);
        for word in words(routing_key) {
            for &at in &reached {
                let node = &self.nodes[at];
                if node.swallows {
                    self.reach(at, &mut next);
                }
                if let Some(child) = node.words.get(word) {
                    self.reach(*child, &mut next);
                }
                if let Some(child) = node.star {
                    self.reach(child, &mut next);
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
            self.nodes[at].bindings.values().for_each(&mut *found);
        }
    }

    /// Adds a node and whatever `#` reaches from it without a word.
    fn reach(&self, mut at: NodeId, into: &mut Vec<NodeId>) {
        loop {
            into.push(at);
            match self.nodes[at].hash {
                Some(hash) => at = hash,
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
        assert!(topic.nodes[ROOT].is_bare());
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
