//! What a policy may set: one row a key, with the values it takes, RabbitMQ's words for others, the types of queue that
//! know it, and the rule for a user's and an operator's policy that both have it.
//!
//! Source: RabbitMQ's policy validators and the lists of policies its queue types do not support. A key that means
//! nothing here (placement, mirroring, federation) is taken so that a policy written for a cluster can be set.

use serde_json::{Map, Value};

use crate::config::Profile;
use crate::queue::{Kind, Overflow, options::Strategy};
use crate::wire::erlang;

/// The values a key takes.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// An integer of at least this.
    AtLeast(i64),
    /// An integer; a negative one only if the profile takes it.
    Limit,
    /// 1 or 2.
    Version,
    /// Any string.
    Text,
    /// One of these.
    Names(&'static [&'static str]),
    /// A string that this function knows.
    Known(fn(&str) -> bool),
    /// Anything.
    Any,
}

/// What counts if a user's and an operator's policy both have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// The smaller number.
    Smaller,
    /// The larger number.
    Larger,
    /// The smaller number; the larger if one is negative, which means unlimited.
    Limit,
    /// The operator's.
    Operator,
}

/// One key of a definition.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    shape: Shape,
    /// What is said of a value that does not fit, after the value.
    complaint: &'static str,
    /// Whether classic queues and quorum queues can have it; a policy with a key its target lacks does not apply.
    classic: bool,
    quorum: bool,
    /// How it merges; operators may set keys that do.
    merge: Option<Merge>,
}

impl Setting {
    const fn new(key: &'static str, shape: Shape, complaint: &'static str) -> Self {
        Self { key, shape, complaint, classic: true, quorum: true, merge: None }
    }

    const fn merged(self, merge: Merge) -> Self {
        Self { merge: Some(merge), ..self }
    }

    const fn of_quorum(self) -> Self {
        Self { classic: false, ..self }
    }

    const fn of_classic(self) -> Self {
        Self { quorum: false, ..self }
    }

    const fn of_streams(self) -> Self {
        Self { classic: false, quorum: false, ..self }
    }

    /// Whether a queue of this type can have it.
    pub(super) fn suits(&self, kind: Kind) -> bool {
        match kind {
            Kind::Classic => self.classic,
            Kind::Quorum => self.quorum,
        }
    }

    /// How it merges.
    pub(super) fn merge(&self) -> Merge {
        self.merge.unwrap_or(Merge::Operator)
    }

    fn takes(&self, value: &Value, profile: &Profile) -> bool {
        let text = value.as_str();
        match self.shape {
            Shape::AtLeast(least) => number(value).is_some_and(|n| n >= least),
            Shape::Limit => number(value).is_some_and(|n| n >= 0 || profile.unlimited_deliveries_by_policy),
            Shape::Version => number(value).is_some_and(|n| n == 1 || n == 2),
            Shape::Text => text.is_some(),
            Shape::Names(names) => text.is_some_and(|text| names.contains(&text)),
            Shape::Known(known) => text.is_some_and(known),
            Shape::Any => true,
        }
    }
}

/// The integer in a JSON value; one beyond 64 bits with a sign counts as the largest.
pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX))
}

/// `10D`: digits and a unit, as for `x-max-age`.
fn is_age(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < text.len() && matches!(unit, "Y" | "M" | "D" | "h" | "m" | "s")
}

const LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders"];
const MASTER_LOCATORS: &[&str] = &["client-local", "min-masters", "random"];

/// Every key, by name.
#[rustfmt::skip] // a table
const SETTINGS: &[Setting] = &[
    Setting::new("alternate-exchange", Shape::Text, "is not a valid alternate exchange name"),
    Setting::new("consumer-disconnected-timeout", Shape::AtLeast(0), "is not a valid consumer disconnected timeout").of_quorum(),
    Setting::new("consumer-timeout", Shape::AtLeast(0), "is not a valid consumer timeout").of_quorum(),
    Setting::new("dead-letter-exchange", Shape::Text, "is not a valid dead letter exchange name"),
    Setting::new("dead-letter-routing-key", Shape::Text, "is not a valid dead letter routing key"),
    Setting::new("dead-letter-strategy", Shape::Known(|text| Strategy::named(text).is_some()), "is not a valid dead letter strategy").of_quorum(),
    Setting::new("delayed-retry-max", Shape::AtLeast(0), "is not a valid delayed retry maximum").of_quorum().merged(Merge::Smaller),
    Setting::new("delayed-retry-min", Shape::AtLeast(0), "is not a valid delayed retry minimum").of_quorum().merged(Merge::Smaller),
    Setting::new("delayed-retry-type", Shape::Names(&["disabled", "all", "failed", "returned"]), "is not a valid delayed retry type").of_quorum().merged(Merge::Operator),
    Setting::new("delivery-limit", Shape::Limit, "is not a valid delivery limit").of_quorum().merged(Merge::Limit),
    Setting::new("expires", Shape::AtLeast(1), "is not a valid queue expiry").merged(Merge::Smaller),
    Setting::new("federation-upstream", Shape::Text, "is not a valid federation upstream name"),
    Setting::new("federation-upstream-set", Shape::Text, "is not a valid federation upstream set name"),
    Setting::new("ha-mode", Shape::Names(&["all", "exactly", "nodes"]), "is not a valid ha-mode value").of_classic(),
    Setting::new("ha-params", Shape::Any, "").of_classic(),
    Setting::new("ha-promote-on-failure", Shape::Any, "").of_classic(),
    Setting::new("ha-promote-on-shutdown", Shape::Any, "").of_classic(),
    Setting::new("ha-sync-batch-size", Shape::Any, "").of_classic(),
    Setting::new("ha-sync-mode", Shape::Any, "").of_classic(),
    Setting::new("initial-cluster-size", Shape::AtLeast(0), "is not a valid cluster size").of_streams(),
    Setting::new("max-age", Shape::Known(is_age), "is not a valid max age").of_streams(),
    Setting::new("max-in-memory-bytes", Shape::AtLeast(0), "is not a valid maximum memory in bytes").of_quorum().merged(Merge::Smaller),
    Setting::new("max-in-memory-length", Shape::AtLeast(0), "is not a valid maximum memory in bytes").of_quorum().merged(Merge::Smaller),
    Setting::new("max-length", Shape::AtLeast(0), "is not a valid maximum length").merged(Merge::Smaller),
    Setting::new("max-length-bytes", Shape::AtLeast(0), "is not a valid maximum length in bytes").merged(Merge::Smaller),
    Setting::new("message-ttl", Shape::AtLeast(0), "is not a valid message TTL").merged(Merge::Smaller),
    Setting::new("overflow", Shape::Known(|text| Overflow::named(text).is_some()), "is not a valid overflow value").merged(Merge::Operator),
    Setting::new("queue-leader-locator", Shape::Names(LOCATORS), "is not a valid queue leader locator value"),
    Setting::new("queue-master-locator", Shape::Names(MASTER_LOCATORS), "invalid queue-master-locator value").of_classic(),
    Setting::new("queue-mode", Shape::Names(&["default", "lazy"]), "is not a valid queue-mode value").of_classic(),
    Setting::new("queue-version", Shape::Version, "is not a valid queue-version value").merged(Merge::Operator),
    Setting::new("stream-filter-size-bytes", Shape::AtLeast(16), "is not a valid filter size").of_streams(),
    Setting::new("stream-max-segment-size-bytes", Shape::AtLeast(0), "is not a valid segment size").of_streams(),
    Setting::new("target-group-size", Shape::AtLeast(1), "is not a valid target group size").of_quorum().merged(Merge::Larger),
];

/// Keys of classic mirroring and what came with it, which RabbitMQ 4 has no more.
fn is_mirroring(key: &str) -> bool {
    key.starts_with("ha-") || key == "queue-master-locator"
}

/// The row of that key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// What RabbitMQ says of a definition it refuses; `operator` if an operator's policy is to have it.
pub(super) fn check(definition: &Map<String, Value>, operator: bool, profile: &Profile) -> Result<(), String> {
    if definition.is_empty() {
        return Err("no policy provided".to_owned());
    }
    let mut unknown = Map::new();
    for (key, value) in definition {
        let usable = |s: &&Setting| (!operator || s.merge.is_some()) && (profile.mirroring || !is_mirroring(s.key));
        match find(key).filter(usable) {
            None => {
                unknown.insert(key.clone(), value.clone());
            }
            Some(setting) if setting.takes(value, profile) => {}
            Some(setting) => return Err(format!("{} {}", erlang::term(value), setting.complaint)),
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    Err(format!("{} are not recognised policy settings", erlang::pairs(&unknown)))
}

/// The keys of a definition that a newer RabbitMQ does not know any more.
pub(super) fn outdated(definition: &Map<String, Value>) -> Vec<&str> {
    definition.keys().map(String::as_str).filter(|key| is_mirroring(key)).collect()
}
