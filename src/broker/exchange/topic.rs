//! Topic exchange: binding keys are patterns of words separated by dots; `*` stands for one word, `#` for any number.
//!
//! Most bindings in the field have a key without either, which only the very same routing key matches. These are in one
//! table by key, as those of a direct exchange are; the others form a trie of words ([`trie`]).

mod bindings;
mod trie;
mod word;

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::binding::Binding;
use bindings::Bindings;
use trie::Trie;

/// The bindings of a topic exchange.
#[derive(Debug, Default)]
pub(in crate::broker) struct Topic {
    /// Those without `*` and `#`.
    literal: HashMap<Box<[u8]>, Bindings>,
    patterns: Trie,
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

fn is_pattern(key: &[u8]) -> bool {
    words(key).any(|word| matches!(word, b"*" | b"#"))
}

impl Topic {
    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        let key = binding.routing_key.as_bytes();
        if is_pattern(key) {
            self.patterns.insert(binding);
        } else {
            self.literal.entry(key.into()).or_default().insert(binding);
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let key = binding.routing_key.as_bytes();
        if is_pattern(key) {
            self.patterns.remove(binding);
        } else if let Some(bindings) = self.literal.get_mut(key) {
            bindings.remove(binding.id);
            if bindings.is_empty() {
                self.literal.remove(key);
            }
        }
    }

    pub(super) fn matches<'a>(&'a self, routing_key: &[u8], found: &mut dyn FnMut(&'a Arc<Binding>)) {
        if let Some(bindings) = self.literal.get(routing_key) {
            bindings.each(found);
        }
        self.patterns.matches(routing_key, found);
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
        assert!(topic.literal.is_empty() && topic.patterns.is_pruned());
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
            for binding in &bindings {
                topic.remove(binding);
            }
            prop_assert!(topic.literal.is_empty() && topic.patterns.is_pruned(), "something is left");
        }
    }
}
