//! Exchanges: one file per type, each a binding index that answers which bindings a message matches.
//!
//! An index holds bindings of one source exchange. It never follows a binding to another exchange (that is
//! [`super::route`]) and never looks at queues.

mod direct;
mod fanout;
mod headers;
mod topic;

use std::sync::Arc;

use super::binding::Binding;
use crate::config::Profile;
use crate::wire::table::{RawTable, Table};

/// The type of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Routing key equals binding key.
    Direct,
    /// Every binding.
    Fanout,
    /// Binding key is a pattern of words.
    Topic,
    /// Binding arguments are compared with message headers.
    Headers,
}

impl Kind {
    /// The type's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Direct, Self::Fanout, Self::Topic, Self::Headers].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The bindings from one exchange.
#[derive(Debug)]
pub(super) enum Index {
    Direct(direct::Direct),
    Fanout(fanout::Fanout),
    Topic(topic::Topic),
    Headers(headers::Headers),
}

impl Index {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Direct => Self::Direct(direct::Direct::default()),
            Kind::Fanout => Self::Fanout(fanout::Fanout::default()),
            Kind::Topic => Self::Topic(topic::Topic::default()),
            Kind::Headers => Self::Headers(headers::Headers::default()),
        }
    }

    /// What RabbitMQ says of a binding it refuses; checked before the binding is made.
    pub(super) fn check(&self, routing_key: &str, arguments: &Table, profile: &Profile) -> Result<(), String> {
        match self {
            Self::Headers(_) => headers::check(arguments),
            Self::Topic(_) => topic::check(routing_key, profile),
            Self::Direct(_) | Self::Fanout(_) => Ok(()),
        }
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        match self {
            Self::Direct(index) => index.insert(binding),
            Self::Fanout(index) => index.insert(binding),
            Self::Topic(index) => index.insert(binding),
            Self::Headers(index) => index.insert(binding),
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        match self {
            Self::Direct(index) => index.remove(binding),
            Self::Fanout(index) => index.remove(binding),
            Self::Topic(index) => index.remove(binding),
            Self::Headers(index) => index.remove(binding),
        }
    }

    /// Calls `found` for every binding that matches.
    pub(super) fn matches<'a>(
        &'a self,
        routing_key: &[u8],
        headers: Option<RawTable<'_>>,
        found: &mut dyn FnMut(&'a Arc<Binding>),
    ) {
        match self {
            Self::Direct(index) => index.matches(routing_key, found),
            Self::Fanout(index) => index.matches(found),
            Self::Topic(index) => index.matches(routing_key, found),
            Self::Headers(index) => index.matches(headers, found),
        }
    }

    /// Whether the answer depends on more than the routing key.
    pub(super) fn reads_headers(&self) -> bool {
        matches!(self, Self::Headers(_))
    }
}
