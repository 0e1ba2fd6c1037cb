//! Headers exchange: binding arguments are compared with the message's headers.
//!
//! `x-match` is `all` (default), `any`, `all-with-x` or `any-with-x`; the first two ignore arguments that begin with
//! `x-`. A void argument asks only for presence. Timestamps never match, as in RabbitMQ 4.

use std::collections::BTreeMap;
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

#[derive(Debug, Default)]
pub(in crate::broker) struct Headers {
    matchers: BTreeMap<u64, Matcher>,
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
        self.matchers.insert(binding.id, Matcher { mode, wanted, binding: binding.clone() });
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.matchers.remove(&binding.id);
    }

    pub(super) fn matches<'a>(&'a self, headers: Option<RawTable<'_>>, found: &mut dyn FnMut(&'a Arc<Binding>)) {
        for matcher in self.matchers.values() {
            let met = |(key, wanted): &(Box<str>, Value)| {
                let present = headers.as_ref().and_then(|h| h.get(key.as_bytes()));
                match (present, wanted) {
                    (None, _) | (Some(_), Value::Timestamp(_)) => false,
                    (Some(_), Value::Void) => true,
                    (Some(raw), wanted) => raw.to_value().is_some_and(|value| wanted.same(&value)),
                }
            };
            let matched = match matcher.mode {
                Match::All => matcher.wanted.iter().all(met),
                Match::Any => matcher.wanted.iter().any(met),
            };
            if matched {
                found(&matcher.binding);
            }
        }
    }
}
