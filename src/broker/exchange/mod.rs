//! Exchanges: one file per type, each a binding index that answers which bindings a message goes along.
//!
//! An index holds bindings of one source exchange. It never follows a binding to another exchange (that is
//! [`super::route`]) and never looks at queues. Some remember what they route, under a lock of their own. An exchange
//! that delays has the index of the type it delays for.

mod consistent_hash;
mod deduplication;
mod direct;
mod fanout;
mod hash;
mod headers;
mod modulus_hash;
mod random;
mod recent_history;
mod topic;

use std::sync::Arc;

use super::binding::Binding;
use super::route::Routing;
use crate::config::Profile;
use crate::message::Message;
use crate::wire::table::Table;

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
    /// One destination by the hash of the routing key, a header or a property.
    #[serde(rename = "x-consistent-hash")]
    ConsistentHash,
    /// One destination by the hash of the routing key, modulo their number.
    #[serde(rename = "x-modulus-hash")]
    ModulusHash,
    /// One binding at random.
    #[serde(rename = "x-random")]
    Random,
    /// One local classic queue at random.
    #[serde(rename = "x-local-random")]
    LocalRandom,
    /// Every binding; what is newly bound gets the latest messages.
    #[serde(rename = "x-recent-history")]
    RecentHistory,
    /// Every binding, for messages not seen before.
    #[serde(rename = "x-message-deduplication")]
    Deduplication,
    /// As another type, after a delay.
    #[serde(rename = "x-delayed-message")]
    Delayed,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::ConsistentHash,
        Self::ModulusHash,
        Self::Random,
        Self::LocalRandom,
        Self::RecentHistory,
        Self::Deduplication,
        Self::Delayed,
    ];

    /// The type's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
            Self::RecentHistory => "x-recent-history",
            Self::Deduplication => "x-message-deduplication",
            Self::Delayed => "x-delayed-message",
        }
    }

    /// What it does, for people.
    fn description(self) -> &'static str {
        match self {
            Self::Direct => "Routing key equals binding key",
            Self::Fanout => "Every binding",
            Self::Topic => "Binding key is a pattern of words",
            Self::Headers => "Binding arguments are compared with headers",
            Self::ConsistentHash => "One destination by a consistent hash",
            Self::ModulusHash => "One destination by a hash modulo their number",
            Self::Random => "One binding at random",
            Self::LocalRandom => "One local classic queue at random",
            Self::RecentHistory => "Every binding; new ones get the latest messages",
            Self::Deduplication => "Every binding, once for each distinct message",
            Self::Delayed => "As another type, after a delay",
        }
    }

    /// The type of that name; `local_random` is the profile's word on `x-local-random`.
    pub fn parse(name: &str, local_random: bool) -> Option<Self> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == name)?;
        (kind != Self::LocalRandom || local_random).then_some(kind)
    }

    /// What RabbitMQ says of an exchange it refuses for its arguments.
    pub(super) fn check_arguments(self, arguments: &Table, local_random: bool) -> Result<(), String> {
        match self {
            Self::ConsistentHash => consistent_hash::check_arguments(arguments),
            Self::RecentHistory => recent_history::check_arguments(arguments),
            Self::Deduplication => deduplication::check_arguments(arguments),
            Self::Delayed => {
                let kind = delayed_kind(arguments, local_random)?;
                kind.check_arguments(arguments, local_random)
            }
            _ => Ok(()),
        }
    }
}

/// The types of exchanges that `profile` has, with a sentence for people.
pub fn kinds(profile: &Profile) -> impl Iterator<Item = (&'static str, &'static str)> {
    let there = |kind: &Kind| *kind != Kind::LocalRandom || profile.local_random;
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(there).collect();
    kinds.into_iter().map(|kind| (kind.as_str(), kind.description()))
}

/// The type an exchange that delays acts as.
fn delayed_kind(arguments: &Table, local_random: bool) -> Result<Kind, String> {
    let Some(name) = arguments.get("x-delayed-type").and_then(|value| value.as_str()) else {
        return Err("Invalid argument, 'x-delayed-type' must be an existing exchange type".to_owned());
    };
    match Kind::parse(name, local_random) {
        Some(Kind::Delayed) => {
            Err("Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'".to_owned())
        }
        Some(kind) => Ok(kind),
        None => Err(format!("unknown exchange type '{name}'")),
    }
}

/// The bindings from one exchange.
#[derive(Debug)]
pub(super) enum Index {
    Direct(direct::Direct),
    Fanout(fanout::Fanout),
    Topic(topic::Topic),
    Headers(headers::Headers),
    ConsistentHash(consistent_hash::ConsistentHash),
    ModulusHash(modulus_hash::ModulusHash),
    Random(random::Random),
    LocalRandom(random::Random),
    RecentHistory(recent_history::RecentHistory),
    Deduplication(deduplication::Deduplication),
    Delayed(Box<Index>),
}

impl Index {
    /// An index without bindings, for an exchange whose arguments have been checked.
    pub(super) fn new(kind: Kind, arguments: &Table) -> Self {
        match kind {
            Kind::Direct => Self::Direct(direct::Direct::default()),
            Kind::Fanout => Self::Fanout(fanout::Fanout::default()),
            Kind::Topic => Self::Topic(topic::Topic::default()),
            Kind::Headers => Self::Headers(headers::Headers::default()),
            Kind::ConsistentHash => Self::ConsistentHash(consistent_hash::ConsistentHash::new(arguments)),
            Kind::ModulusHash => Self::ModulusHash(modulus_hash::ModulusHash::default()),
            Kind::Random => Self::Random(random::Random::default()),
            Kind::LocalRandom => Self::LocalRandom(random::Random::default()),
            Kind::RecentHistory => Self::RecentHistory(recent_history::RecentHistory::new(arguments)),
            Kind::Deduplication => Self::Deduplication(deduplication::Deduplication::new(arguments)),
            Kind::Delayed => {
                // What another profile allowed goes on as it was declared.
                let kind = delayed_kind(arguments, true).unwrap_or(Kind::Direct);
                Self::Delayed(Box::new(Self::new(kind, arguments)))
            }
        }
    }

    /// What RabbitMQ says of a binding it refuses; checked before the binding is made. `queue_type` is that of the
    /// destination, if it is a queue.
    pub(super) fn check(
        &self,
        routing_key: &str,
        arguments: &Table,
        queue_type: Option<&str>,
        profile: &Profile,
    ) -> Result<(), String> {
        match self {
            Self::Headers(_) => headers::check(arguments),
            Self::Topic(_) => topic::check(routing_key, profile.topic_wildcards_max),
            Self::ConsistentHash(_) => consistent_hash::weight(routing_key).map(|_| ()),
            Self::LocalRandom(_) => random::check_local(routing_key, queue_type),
            Self::Delayed(index) => index.check(routing_key, arguments, queue_type, profile),
            Self::Direct(_)
            | Self::Fanout(_)
            | Self::ModulusHash(_)
            | Self::Random(_)
            | Self::RecentHistory(_)
            | Self::Deduplication(_) => Ok(()),
        }
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        match self {
            Self::Direct(index) => index.insert(binding),
            Self::Fanout(index) => index.insert(binding),
            Self::Topic(index) => index.insert(binding),
            Self::Headers(index) => index.insert(binding),
            Self::ConsistentHash(index) => index.insert(binding),
            Self::ModulusHash(index) => index.insert(binding),
            Self::Random(index) | Self::LocalRandom(index) => index.insert(binding),
            Self::RecentHistory(index) => index.bindings.insert(binding),
            Self::Deduplication(index) => index.bindings.insert(binding),
            Self::Delayed(index) => index.insert(binding),
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        match self {
            Self::Direct(index) => index.remove(binding),
            Self::Fanout(index) => index.remove(binding),
            Self::Topic(index) => index.remove(binding),
            Self::Headers(index) => index.remove(binding),
            Self::ConsistentHash(index) => index.remove(binding),
            Self::ModulusHash(index) => index.remove(binding),
            Self::Random(index) | Self::LocalRandom(index) => index.remove(binding),
            Self::RecentHistory(index) => index.bindings.remove(binding),
            Self::Deduplication(index) => index.bindings.remove(binding),
            Self::Delayed(index) => index.remove(binding),
        }
    }

    /// Calls `found` for every binding the message goes along. To be called once for each message: some remember it.
    pub(super) fn route<'a>(&'a self, routing: &Routing<'_>, found: &mut dyn FnMut(&'a Arc<Binding>)) {
        match self {
            Self::Direct(index) => routing.keys.iter().for_each(|key| index.matches(key, found)),
            Self::Fanout(index) => index.matches(found),
            Self::Topic(index) => routing.keys.iter().for_each(|key| index.matches(key, found)),
            Self::Headers(index) => index.matches(routing.headers(), found),
            Self::ConsistentHash(index) => index.route(routing, found),
            Self::ModulusHash(index) => index.route(routing, found),
            Self::Random(index) | Self::LocalRandom(index) => index.route(found),
            Self::RecentHistory(index) => {
                index.record(routing.message, routing.headers());
                index.bindings.matches(found);
            }
            Self::Deduplication(index) => {
                if index.is_new(routing) {
                    index.bindings.matches(found);
                }
            }
            Self::Delayed(index) => index.route(routing, found),
        }
    }

    /// Whether the answer is the same each time for the same routing key.
    pub(super) fn memoizable(&self) -> bool {
        match self {
            Self::Direct(_) | Self::Fanout(_) | Self::Topic(_) | Self::ModulusHash(_) => true,
            Self::ConsistentHash(index) => index.by_routing_key(),
            Self::Headers(_)
            | Self::Random(_)
            | Self::LocalRandom(_)
            | Self::RecentHistory(_)
            | Self::Deduplication(_)
            | Self::Delayed(_) => false,
        }
    }

    /// What a new binding is to be given, oldest first.
    pub(super) fn history(&self) -> Vec<Message> {
        match self {
            Self::RecentHistory(index) => index.messages(),
            Self::Delayed(index) => index.history(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod testing {
    //! Bindings and messages for the tests of each type.

    use super::*;
    use crate::broker::binding::Destination;
    use crate::message::{Draft, Facts, address};
    use crate::wire::properties::Properties;

    pub(super) fn binding(id: u64, queue: &str, key: &str) -> Arc<Binding> {
        Arc::new(Binding { destination: Destination::Queue(queue.into()), ..Binding::for_test(id, key) })
    }

    /// The ids of the bindings that a message with this key goes along.
    pub(super) fn routed<'a>(
        key: &str,
        route: impl FnOnce(&Routing<'_>, &mut dyn FnMut(&'a Arc<Binding>)),
    ) -> Vec<u64> {
        let message = Draft::new(&address(b"x", key.as_bytes()).unwrap(), &[0, 0], 0, Facts::default()).finish();
        let (message, properties) = (message.unwrap(), Properties::default());
        let keys = [key.as_bytes()];
        let mut ids = Vec::new();
        let routing = Routing { message: &message, keys: &keys, properties: &properties, now: 0 };
        route(&routing, &mut |binding| ids.push(binding.id));
        ids
    }
}
