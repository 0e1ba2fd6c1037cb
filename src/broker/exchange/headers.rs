//! Headers exchange: binding arguments are compared with the message's headers.
//!
//! `x-match` is `all` (default), `any`, `all-with-x` or `any-with-x`; the first two ignore arguments that begin with
//! `x-`. A void argument asks only for presence. Timestamps never match, as in RabbitMQ 4.
//!
//! A binding that asks for a text among all it asks for stands under that text, so that a message is compared only with
//! bindings that share one with it; the others, which are few as a rule, are compared with every message.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::broker::binding::Binding;
use crate::wire::table::{RawTable, Table, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    All,
    Any,
}

#[derive(Debug)]
struct Matcher {
    mode: Match,
    wanted: Vec<(Box<str>, Value)>,
    binding: Arc<Binding>,
}

impl Matcher {
    fn meets(&self, headers: Option<RawTable<'_>>) -> bool {
        let met = |(key, wanted): &(Box<str>, Value)| {
            let present = headers.as_ref().and_then(|h| h.get(key.as_bytes()));
            match (present, wanted) {
                (None, _) | (Some(_), Value::Timestamp(_)) => false,
                (Some(_), Value::Void) => true,
                (Some(raw), wanted) => raw.same(wanted),
            }
        };
        match self.mode {
            Match::All => self.wanted.iter().all(met),
            Match::Any => self.wanted.iter().any(met),
        }
    }

    /// The texts of which none may be missing.
    fn texts(&self) -> impl Iterator<Item = Text> {
        let wanted = if self.mode == Match::All { self.wanted.as_slice() } else { &[] };
        wanted.iter().filter_map(|(key, wanted)| match wanted {
            Value::LongStr(octets) => Some(text(key.as_bytes(), octets)),
            _ => None,
        })
    }
}

/// A header with a text: the key's length, the key, the text.
type Text = Box<[u8]>;

fn text(key: &[u8], octets: &[u8]) -> Text {
    let mut text = Vec::with_capacity(key.len() + octets.len() + 1);
    put_text(&mut text, key, octets);
    text.into()
}

fn put_text(out: &mut Vec<u8>, key: &[u8], octets: &[u8]) {
    // A key has at most 255 octets.
    out.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(key);
    out.extend_from_slice(octets);
}

#[derive(Debug, Default)]
pub(in crate::broker) struct Headers {
    /// By one of the texts they ask for.
    by_text: HashMap<Text, BTreeMap<u64, Matcher>>,
    /// Under which text each of these is.
    texts: HashMap<u64, Text>,
    others: BTreeMap<u64, Matcher>,
}

fn mode(arguments: &Table) -> Result<(Match, bool), String> {
    match arguments.get("x-match") {
        None => Ok((Match::All, false)),
        Some(value) => match value.as_str() {
            Some("all") => Ok((Match::All, false)),
            Some("any") => Ok((Match::Any, false)),
            Some("all-with-x") => Ok((Match::All, true)),
            Some("any-with-x") => Ok((Match::Any, true)),
            Some(other) => Err(format!(
                "Invalid x-match field value <<\"{other}\">>; expected all, any, all-with-x, or any-with-x"
            )),
            None => Err(format!(
                "Invalid x-match field type {} (value {}); expected longstr",
                value.type_name(),
                value.as_int().map_or_else(|| "?".to_owned(), |n| n.to_string())
            )),
        },
    }
}

/// Refuses what RabbitMQ refuses.
pub(super) fn check(arguments: &Table) -> Result<(), String> {
    mode(arguments).map(|_| ())
}

impl Headers {
    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        let (mode, with_x) = mode(&binding.arguments).unwrap_or((Match::All, false));
        let wanted = binding
            .arguments
            .iter()
            .filter(|(key, _)| *key != "x-match" && (with_x || !key.starts_with("x-")))
            .map(|(key, value)| (Box::from(key), value.clone()))
            .collect();
        let matcher = Matcher { mode, wanted, binding: binding.clone() };
        // Where fewest are: a tenant rather than a kind that all tenants have.
        let chosen = matcher.texts().min_by_key(|text| self.by_text.get(text).map_or(0, BTreeMap::len));
        if let Some(text) = chosen {
            self.by_text.entry(text.clone()).or_default().insert(binding.id, matcher);
            self.texts.insert(binding.id, text);
        } else {
            self.others.insert(binding.id, matcher);
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let Some(text) = self.texts.remove(&binding.id) else {
            self.others.remove(&binding.id);
            return;
        };
        if let Some(matchers) = self.by_text.get_mut(&text) {
            matchers.remove(&binding.id);
            if matchers.is_empty() {
                self.by_text.remove(&text);
            }
        }
    }

    /// Calls `found` for each binding that is met, in the order in which they were made.
    pub(super) fn matches<'a>(&'a self, headers: Option<RawTable<'_>>, found: &mut dyn FnMut(&'a Arc<Binding>)) {
        let mut met: Vec<&Matcher> = self.others.values().filter(|matcher| matcher.meets(headers)).collect();
        if let (Some(headers), false) = (headers, self.by_text.is_empty()) {
            let mut text = Vec::new();
            for (key, value) in headers.iter().filter(|(_, value)| value.tag == b'S') {
                text.clear();
                put_text(&mut text, key, value.bytes);
                let matchers = self.by_text.get(text.as_slice()).into_iter().flat_map(BTreeMap::values);
                met.extend(matchers.filter(|matcher| matcher.meets(Some(headers))));
            }
        }
        met.sort_unstable_by_key(|matcher| matcher.binding.id);
        // A header may be there twice.
        met.dedup_by_key(|matcher| matcher.binding.id);
        for matcher in met {
            found(&matcher.binding);
        }
    }
}
