//! What RabbitMQ refuses in a declaration's arguments, and its words for it.
//!
//! Source: the argument tables of RabbitMQ's classic and quorum queues, and the checks it makes of their values. First
//! the values of the arguments the queue's type knows, then the arguments that only another type knows.

use super::{Kind, Overflow, Strategy};
use crate::config::Profile;
use crate::wire::table::{Table, Value};

/// An argument that RabbitMQ refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadArgument {
    /// `invalid arg 'KEY' for queue ...: ERROR`.
    Invalid {
        /// The argument.
        key: &'static str,
        /// RabbitMQ's term for what is wrong.
        error: String,
    },
    /// `invalid type 'TYPE' for arg 'KEY' in queue ...`.
    Type {
        /// The argument.
        key: &'static str,
        /// The type received.
        found: &'static str,
    },
    /// `invalid arg 'KEY' for queue ... of queue type rabbit_TYPE_queue`.
    OfAnotherType {
        /// The argument.
        key: &'static str,
        /// The queue's type.
        kind: Kind,
    },
    /// The version takes it no more; RabbitMQ closes the connection over it.
    Deprecated {
        /// RabbitMQ's name for what is denied.
        feature: &'static str,
    },
}

impl BadArgument {
    /// RabbitMQ's explanation, for a queue printed as `queue` (`queue 'Q' in vhost 'V'`).
    pub fn explain(&self, queue: &str) -> String {
        match self {
            Self::Invalid { key, error } => format!("invalid arg '{key}' for {queue}: {error}"),
            Self::Type { key, found } => format!("invalid type '{found}' for arg '{key}' in {queue}"),
            Self::OfAnotherType { key, kind } => {
                format!("invalid arg '{key}' for {queue} of queue type rabbit_{}_queue", kind.as_str())
            }
            Self::Deprecated { feature } => {
                format!(
                    "Feature `{feature}` is deprecated.\nBy default, this feature is not permitted anymore.\nThe feature \
                     will be removed from a future major RabbitMQ version, regardless of the configuration; actual \
                     version to be determined.\nTo continue using this feature when it is not permitted by default, set \
                     the following parameter in your configuration:\n    \"deprecated_features.permit.{feature} = true\""
                )
            }
        }
    }
}

/// Longest time to live or idle time RabbitMQ takes, in milliseconds (ten years).
pub const MAX_EXPIRY: i64 = 315_360_000_000;

/// What streams know and other queues do not.
const OF_STREAMS: &[&str] =
    &["x-max-age", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes", "x-initial-cluster-size"];

/// What quorum queues know and classic queues do not.
const OF_QUORUM: &[&str] = &[
    "x-dead-letter-strategy",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
];

/// The same, of versions that know these at all.
const OF_QUORUM_LATELY: &[&str] = &[
    "x-consumer-timeout",
    "x-consumer-disconnected-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
];

/// What classic queues know and quorum queues do not.
const OF_CLASSIC: &[&str] = &["x-max-priority", "x-queue-mode", "x-queue-version", "x-queue-master-locator"];

/// Of all types but, in some versions, the classic one.
const LOCATOR: &[&str] = &["x-queue-leader-locator"];

/// Where a queue's leader may be asked to be.
const LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders", "min-masters"];

fn invalid(key: &'static str, error: impl Into<String>) -> BadArgument {
    BadArgument::Invalid { key, error: error.into() }
}

fn unacceptable(key: &'static str, value: &Value) -> BadArgument {
    invalid(key, format!("{{unacceptable_type,{}}}", value.type_name()))
}

fn integer(table: &Table, key: &'static str) -> Result<Option<i64>, BadArgument> {
    let Some(value) = table.get(key) else { return Ok(None) };
    match value.as_int() {
        Some(n) => Ok(Some(n)),
        None => Err(invalid(key, format!("\"expected integer, got {}\"", value.type_name()))),
    }
}

/// An integer of at least `least`, at most `most`.
fn bounded(table: &Table, key: &'static str, least: i64, most: i64) -> Result<(), BadArgument> {
    match integer(table, key)? {
        Some(n) if n < 0 => Err(invalid(key, format!("{{value_negative,{n}}}"))),
        Some(n) if n < least => Err(invalid(key, format!("{{value_zero,{n}}}"))),
        Some(n) if n > most => Err(invalid(key, format!("{{value_too_large,{n}}}"))),
        _ => Ok(()),
    }
}

fn text<'a>(table: &'a Table, key: &'static str) -> Result<Option<&'a str>, BadArgument> {
    match table.get(key) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| unacceptable(key, value)),
    }
}

/// Looks at everything RabbitMQ looks at, in its order.
pub(super) fn check(table: &Table, profile: &Profile) -> Result<(), BadArgument> {
    let kind = match text(table, "x-queue-type")? {
        None | Some("classic") => Kind::Classic,
        // Where a type is stored, none is what this is.
        Some("") if profile.stores_queue_type => Kind::Classic,
        Some("quorum") => Kind::Quorum,
        Some(other) => return Err(invalid("x-queue-type", format!("\"unsupported queue type '{other}'\""))),
    };
    bounded(table, "x-expires", 1, MAX_EXPIRY)?;
    bounded(table, "x-message-ttl", 0, MAX_EXPIRY)?;
    bounded(table, "x-max-length", 0, i64::MAX)?;
    bounded(table, "x-max-length-bytes", 0, i64::MAX)?;
    match kind {
        Kind::Classic => check_classic(table, profile)?,
        Kind::Quorum => check_quorum(table, profile)?,
    }
    if text(table, "x-overflow")?.is_some_and(|name| Overflow::named(name).is_none()) {
        return Err(invalid("x-overflow", "invalid_overflow"));
    }
    match table.get("x-single-active-consumer") {
        None | Some(Value::Bool(_)) => {}
        Some(other) => return Err(unacceptable("x-single-active-consumer", other)),
    }
    let locators = kind == Kind::Quorum || profile.leader_locator_of_classic;
    if locators && text(table, "x-queue-leader-locator")?.is_some_and(|name| !LOCATORS.contains(&name)) {
        return Err(invalid("x-queue-leader-locator", "invalid_queue_locator_arg"));
    }
    let dead_letter_routing_key = text(table, "x-dead-letter-routing-key")?;
    match table.get("x-dead-letter-exchange") {
        Some(value) if value.as_str().is_none() => {
            return Err(BadArgument::Type { key: "x-dead-letter-exchange", found: value.type_name() });
        }
        None if dead_letter_routing_key.is_some() => {
            return Err(invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
        }
        _ => {}
    }
    let none: &[&str] = &[];
    let lately = if profile.timeout_arguments_of_quorum { OF_QUORUM_LATELY } else { none };
    let foreign = match kind {
        Kind::Classic => [OF_QUORUM, OF_STREAMS, lately, if locators { none } else { LOCATOR }],
        Kind::Quorum => [OF_CLASSIC, OF_STREAMS, none, none],
    };
    match foreign.into_iter().flatten().find(|key| table.get(key).is_some()) {
        None => Ok(()),
        Some(key) => Err(BadArgument::OfAnotherType { key, kind }),
    }
}

fn check_classic(table: &Table, profile: &Profile) -> Result<(), BadArgument> {
    bounded(table, "x-max-priority", 0, i64::MAX)?;
    if let Some(n) = integer(table, "x-max-priority")?.filter(|n| *n > i64::from(u8::MAX)) {
        return Err(invalid("x-max-priority", format!("{{max_value_exceeded,{n}}}")));
    }
    if profile.checks_queue_mode
        && let Some(mode) = text(table, "x-queue-mode")?.filter(|mode| !matches!(*mode, "default" | "lazy"))
    {
        return Err(invalid("x-queue-mode", format!("\"unsupported queue mode '{mode}'\"")));
    }
    match integer(table, "x-queue-version")? {
        Some(n) if n < profile.queue_version_min || n > 2 => {
            return Err(invalid("x-queue-version", format!("\"unsupported queue version '{n}'\"")));
        }
        _ => {}
    }
    if !profile.takes_master_locator && table.get("x-queue-master-locator").is_some() {
        return Err(BadArgument::Deprecated { feature: "queue_master_locator" });
    }
    Ok(())
}

fn check_quorum(table: &Table, profile: &Profile) -> Result<(), BadArgument> {
    if text(table, "x-dead-letter-strategy")?.is_some_and(|name| Strategy::named(name).is_none()) {
        return Err(invalid("x-dead-letter-strategy", "invalid_dlx_strategy"));
    }
    bounded(table, "x-max-in-memory-length", 0, i64::MAX)?;
    bounded(table, "x-max-in-memory-bytes", 0, i64::MAX)?;
    bounded(table, "x-quorum-initial-group-size", 1, i64::MAX)?;
    if profile.timeout_arguments_of_quorum {
        bounded(table, "x-consumer-timeout", 0, i64::MAX)?;
        bounded(table, "x-consumer-disconnected-timeout", 0, i64::MAX)?;
    }
    Ok(())
}
