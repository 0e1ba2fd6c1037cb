//! A queue's `x-arguments`: what they mean, and with RabbitMQ's words what is wrong with them.
//!
//! Two ways in: [`Options::parse`] is for a declaration and refuses what RabbitMQ refuses; [`Options::read`] is for a
//! definition that was accepted once, perhaps by another profile or version, and passes over what it cannot use.
//! Unknown arguments are kept with the definition and ignored, as there. What two settings amount to together (a
//! strategy without its overflow, a limit that is unset) is answered by methods, so that whoever merges options with a
//! policy merges plain values.

mod arguments;
mod compare;

use std::sync::Arc;

use crate::config::Profile;
use crate::config::compatibility::QuorumPriorities;
use crate::wire::table::{Table, Value};

pub use arguments::{BadArgument, MAX_EXPIRY};
pub use compare::compared;

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

impl Overflow {
    /// Reads the argument's value.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "drop-head" => Some(Self::DropHead),
            "reject-publish" => Some(Self::RejectPublish),
            "reject-publish-dlx" => Some(Self::RejectPublishDlx),
            _ => None,
        }
    }
}

/// The queue's type (`x-queue-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The ordinary queue.
    #[default]
    Classic,
    /// Keeps every message, counts failed deliveries, returns messages in the order of their return.
    Quorum,
}

impl Kind {
    /// The argument's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }
}

/// How sure a dead letter is of its arrival (`x-dead-letter-strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// What finds no queue is dropped.
    #[default]
    AtMostOnce,
    /// What finds no queue stays and is tried again.
    AtLeastOnce,
}

impl Strategy {
    /// Reads the argument's value.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "at-most-once" => Some(Self::AtMostOnce),
            "at-least-once" => Some(Self::AtLeastOnce),
            _ => None,
        }
    }
}

/// The level of messages without a priority where all 32 are in use.
const ORDINARY_LEVEL: u8 = 4;

/// The highest of 32 levels.
const HIGHEST_LEVEL: u8 = 31;

/// Everything a queue's arguments decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which RabbitMQ's queue this is.
    pub profile: &'static Profile,
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
    /// `x-overflow`; never [`Overflow::RejectPublishDlx`] on a quorum queue, which takes it for drop-head.
    pub overflow: Overflow,
    /// `x-dead-letter-exchange`; empty is the default exchange.
    pub dead_letter_exchange: Option<Arc<str>>,
    /// `x-dead-letter-routing-key`; the message's own keys if absent.
    pub dead_letter_routing_key: Option<Arc<str>>,
    /// `x-dead-letter-strategy`; what it comes to is [`Options::at_least_once`].
    pub dead_letter_strategy: Strategy,
    /// `x-max-priority` of a classic queue; 0 is a queue without priorities.
    pub max_priority: u8,
    /// `x-single-active-consumer`.
    pub single_active: bool,
    /// `x-delivery-limit` of a quorum queue; negative is none. What it comes to is [`Options::most_failures`].
    pub delivery_limit: Option<i64>,
    /// `x-consumer-timeout`, in milliseconds; 0 is none.
    pub consumer_timeout: Option<u64>,
    /// `x-message-deduplication`: a message whose `x-deduplication-header` equals that of one in the queue is dropped.
    pub deduplicate: bool,
}

impl Options {
    /// Reads the arguments of a declaration, refusing what `profile` refuses.
    pub fn parse(table: &Table, profile: &'static Profile) -> Result<Self, BadArgument> {
        arguments::check(table, profile)?;
        Ok(Self::read(table, profile))
    }

    /// Reads arguments that were accepted when they were new; what is not usable counts as absent.
    pub fn read(table: &Table, profile: &'static Profile) -> Self {
        let text = |key| table.get(key).and_then(Value::as_str);
        let number = |key| table.get(key).and_then(Value::as_int).and_then(|n| u64::try_from(n).ok());
        let kind = if text("x-queue-type") == Some("quorum") { Kind::Quorum } else { Kind::Classic };
        let quorum = kind == Kind::Quorum;
        let overflow = text("x-overflow").and_then(Overflow::named).unwrap_or_default();
        Self {
            profile,
            kind,
            message_ttl: number("x-message-ttl"),
            expires: number("x-expires").filter(|expires| *expires > 0),
            max_length: number("x-max-length"),
            max_length_bytes: number("x-max-length-bytes"),
            overflow: if quorum && overflow == Overflow::RejectPublishDlx { Overflow::DropHead } else { overflow },
            dead_letter_exchange: text("x-dead-letter-exchange").map(Arc::from),
            dead_letter_routing_key: text("x-dead-letter-routing-key").map(Arc::from),
            dead_letter_strategy: text("x-dead-letter-strategy").and_then(Strategy::named).unwrap_or_default(),
            max_priority: if quorum { 0 } else { number("x-max-priority").map_or(0, clamped) },
            single_active: table.get("x-single-active-consumer").and_then(Value::as_bool).unwrap_or_default(),
            delivery_limit: table.get("x-delivery-limit").and_then(Value::as_int).filter(|_| quorum),
            consumer_timeout: number("x-consumer-timeout"),
            deduplicate: table.get("x-message-deduplication").and_then(Value::as_bool) == Some(true),
        }
    }

    /// Whether it is a quorum queue.
    #[inline]
    pub fn is_quorum(&self) -> bool {
        self.kind == Kind::Quorum
    }

    /// Whether dead letters stay until they have arrived: for quorum queues, with the strategy, an exchange and the
    /// overflow that RabbitMQ wants with it.
    pub fn at_least_once(&self) -> bool {
        self.is_quorum()
            && self.dead_letter_strategy == Strategy::AtLeastOnce
            && self.dead_letter_exchange.is_some()
            && self.overflow == Overflow::RejectPublish
    }

    /// How many failed deliveries a message survives; `None` is any number.
    pub fn most_failures(&self) -> Option<u32> {
        if !self.is_quorum() {
            return None;
        }
        match self.delivery_limit {
            None => self.profile.delivery_limit,
            Some(limit) if limit < 0 => None,
            Some(limit) => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
        }
    }

    /// The highest lane that messages are put into.
    pub fn highest_lane(&self) -> u8 {
        match (self.kind, self.profile.quorum_priorities) {
            (Kind::Classic, _) => self.max_priority,
            (Kind::Quorum, QuorumPriorities::None) => 0,
            (Kind::Quorum, QuorumPriorities::Two) => 1,
            (Kind::Quorum, QuorumPriorities::Levels) => HIGHEST_LEVEL,
        }
    }

    /// Whether the lower of two lanes has a turn although the higher is not empty.
    pub fn weighs_lanes(&self) -> bool {
        self.is_quorum() && self.profile.quorum_priorities == QuorumPriorities::Two
    }

    /// The lane of a message with this priority property.
    #[inline]
    pub fn lane(&self, priority: Option<u8>) -> u8 {
        match (self.kind, self.profile.quorum_priorities) {
            (Kind::Classic, _) => priority.unwrap_or_default().min(self.max_priority),
            (Kind::Quorum, QuorumPriorities::None) => 0,
            (Kind::Quorum, QuorumPriorities::Two) => u8::from(priority.is_some_and(|p| p > ORDINARY_LEVEL)),
            (Kind::Quorum, QuorumPriorities::Levels) => priority.unwrap_or(ORDINARY_LEVEL).min(HIGHEST_LEVEL),
        }
    }
}

fn clamped(priority: u64) -> u8 {
    u8::try_from(priority).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
