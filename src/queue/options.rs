//! A queue's `x-arguments`, parsed once, with RabbitMQ's words for what is wrong with them.
//!
//! Source: the argument tables of RabbitMQ's classic queue. Unknown arguments are kept and ignored, as there.

use std::sync::Arc;

use crate::wire::table::{Table, Value};

/// What happens to a publish when the queue is full (`x-overflow`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest message makes room.
    #[default]
    DropHead,
    /// The publish is refused.
    RejectPublish,
    /// The publish is refused and dead-lettered.
    RejectPublishDlx,
}

/// The queue's type (`x-queue-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The ordinary queue.
    #[default]
    Classic,
    /// Declared as a quorum queue; served by the same machine.
    Quorum,
}

/// Everything a queue's arguments decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `x-queue-type`.
    pub kind: Kind,
    /// `x-message-ttl`, in milliseconds.
    pub message_ttl: Option<u64>,
    /// `x-expires`, in milliseconds.
    pub expires: Option<u64>,
    /// `x-max-length`, in ready messages.
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`, in octets of ready bodies.
    pub max_length_bytes: Option<u64>,
    /// `x-overflow`.
    pub overflow: Overflow,
    /// `x-dead-letter-exchange`; empty is the default exchange.
    pub dead_letter_exchange: Option<Arc<str>>,
    /// `x-dead-letter-routing-key`; the message's own keys if absent.
    pub dead_letter_routing_key: Option<Arc<str>>,
    /// `x-max-priority`; 0 is a queue without priorities.
    pub max_priority: u8,
    /// `x-single-active-consumer`.
    pub single_active: bool,
}

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
}

/// Longest time to live or idle time RabbitMQ takes, in milliseconds (ten years).
pub const MAX_EXPIRY: i64 = 315_360_000_000;

/// The arguments that a redeclaration must repeat exactly; others may differ.
pub const COMPARED: [&str; 12] = [
    "x-queue-type",
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-max-priority",
    "x-single-active-consumer",
    "x-queue-mode",
    "x-queue-version",
];

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
fn bounded(table: &Table, key: &'static str, least: i64, most: i64) -> Result<Option<u64>, BadArgument> {
    match integer(table, key)? {
        None => Ok(None),
        Some(n) if n < 0 => Err(invalid(key, format!("{{value_negative,{n}}}"))),
        Some(n) if n < least => Err(invalid(key, format!("{{value_zero,{n}}}"))),
        Some(n) if n > most => Err(invalid(key, format!("{{value_too_large,{n}}}"))),
        Some(n) => Ok(u64::try_from(n).ok()),
    }
}

fn text<'a>(table: &'a Table, key: &'static str) -> Result<Option<&'a str>, BadArgument> {
    match table.get(key) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| unacceptable(key, value)),
    }
}

impl Options {
    /// Reads a queue's arguments.
    pub fn parse(table: &Table) -> Result<Self, BadArgument> {
        let kind = match text(table, "x-queue-type")? {
            None | Some("classic") => Kind::Classic,
            Some("quorum") => Kind::Quorum,
            Some(other) => return Err(invalid("x-queue-type", format!("\"unsupported queue type '{other}'\""))),
        };
        let expires = bounded(table, "x-expires", 1, MAX_EXPIRY)?;
        let message_ttl = bounded(table, "x-message-ttl", 0, MAX_EXPIRY)?;
        let max_length = bounded(table, "x-max-length", 0, i64::MAX)?;
        let max_length_bytes = bounded(table, "x-max-length-bytes", 0, i64::MAX)?;
        let max_priority = match bounded(table, "x-max-priority", 0, i64::MAX)? {
            None => 0,
            Some(n) => u8::try_from(n).map_err(|_| invalid("x-max-priority", format!("{{max_value_exceeded,{n}}}")))?,
        };
        let overflow = match text(table, "x-overflow")? {
            None | Some("drop-head") => Overflow::DropHead,
            Some("reject-publish") => Overflow::RejectPublish,
            Some("reject-publish-dlx") => Overflow::RejectPublishDlx,
            Some(_) => return Err(invalid("x-overflow", "invalid_overflow")),
        };
        let single_active = match table.get("x-single-active-consumer") {
            None => false,
            Some(Value::Bool(on)) => *on,
            Some(other) => return Err(unacceptable("x-single-active-consumer", other)),
        };
        match integer(table, "x-queue-version")? {
            None | Some(1 | 2) => {}
            Some(n) => return Err(invalid("x-queue-version", format!("\"unsupported queue version '{n}'\""))),
        }
        let dead_letter_routing_key = text(table, "x-dead-letter-routing-key")?;
        let dead_letter_exchange = match table.get("x-dead-letter-exchange") {
            None => None,
            Some(value) => Some(
                value.as_str().ok_or(BadArgument::Type { key: "x-dead-letter-exchange", found: value.type_name() })?,
            ),
        };
        if dead_letter_routing_key.is_some() && dead_letter_exchange.is_none() {
            return Err(invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
        }
        Ok(Self {
            kind,
            message_ttl,
            expires,
            max_length,
            max_length_bytes,
            overflow,
            dead_letter_exchange: dead_letter_exchange.map(Arc::from),
            dead_letter_routing_key: dead_letter_routing_key.map(Arc::from),
            max_priority,
            single_active,
        })
    }
}

impl BadArgument {
    /// RabbitMQ's explanation, for a queue printed as `queue` (`queue 'Q' in vhost 'V'`).
    pub fn explain(&self, queue: &str) -> String {
        match self {
            Self::Invalid { key, error } => format!("invalid arg '{key}' for {queue}: {error}"),
            Self::Type { key, found } => format!("invalid type '{found}' for arg '{key}' in {queue}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, Value)]) -> Table {
        let mut table = Table::default();
        for (key, value) in entries {
            table.insert(key, value.clone());
        }
        table
    }

    fn refused(key: &str, value: Value) -> String {
        Options::parse(&table(&[(key, value)])).unwrap_err().explain("queue 'q' in vhost '/'")
    }

    #[test]
    fn rabbitmqs_words_for_bad_arguments() {
        let long = |s: &str| Value::from(s);
        let cases = [
            (
                "x-message-ttl",
                long("abc"),
                "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': \"expected integer, got longstr\"",
            ),
            (
                "x-message-ttl",
                Value::I32(-1),
                "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_negative,-1}",
            ),
            (
                "x-message-ttl",
                Value::I64(MAX_EXPIRY + 1),
                "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_too_large,315360000001}",
            ),
            ("x-expires", Value::I32(0), "invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}"),
            (
                "x-max-priority",
                Value::I32(256),
                "invalid arg 'x-max-priority' for queue 'q' in vhost '/': {max_value_exceeded,256}",
            ),
            ("x-overflow", long("x"), "invalid arg 'x-overflow' for queue 'q' in vhost '/': invalid_overflow"),
            (
                "x-overflow",
                Value::I32(1),
                "invalid arg 'x-overflow' for queue 'q' in vhost '/': {unacceptable_type,signedint}",
            ),
            (
                "x-single-active-consumer",
                long("1"),
                "invalid arg 'x-single-active-consumer' for queue 'q' in vhost '/': {unacceptable_type,longstr}",
            ),
            (
                "x-queue-type",
                long("zzz"),
                "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'zzz'\"",
            ),
            (
                "x-queue-version",
                Value::I32(3),
                "invalid arg 'x-queue-version' for queue 'q' in vhost '/': \"unsupported queue version '3'\"",
            ),
            (
                "x-dead-letter-routing-key",
                long("k"),
                "invalid arg 'x-dead-letter-routing-key' for queue 'q' in vhost '/': routing_key_but_no_dlx_defined",
            ),
            (
                "x-dead-letter-exchange",
                Value::I32(5),
                "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
            ),
        ];
        for (key, value, text) in cases {
            assert_eq!(refused(key, value), text);
        }
    }

    #[test]
    fn integers_of_any_width_are_taken_and_unknown_arguments_ignored() {
        let options = Options::parse(&table(&[
            ("x-message-ttl", Value::U8(7)),
            ("x-max-length", Value::I64(9)),
            ("x-dead-letter-exchange", Value::from("")),
            ("made-up", Value::Void),
        ]));
        let options = options.unwrap();
        assert_eq!((options.message_ttl, options.max_length), (Some(7), Some(9)));
        assert_eq!(options.dead_letter_exchange.as_deref(), Some(""));
    }
}
