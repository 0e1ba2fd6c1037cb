//! A binding: from an exchange to a queue or another exchange, under a key and arguments that are part of its identity.

use std::sync::Arc;

use crate::queue::Queue;
use crate::wire::table::Table;

/// What a binding leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// A queue.
    Queue(Arc<str>),
    /// An exchange.
    Exchange(Arc<str>),
}

impl Destination {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Queue(name) | Self::Exchange(name) => name,
        }
    }
}

/// A route from an exchange to a queue or another exchange.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Ascends in the order of creation.
    pub id: u64,
    /// The exchange it leads from.
    pub source: Arc<str>,
    /// What it leads to.
    pub destination: Destination,
    /// The binding key.
    pub routing_key: Arc<str>,
    /// Arguments, part of its identity.
    pub arguments: Table,
    /// The queue itself, so that routing needs no look-up.
    pub(super) queue: Option<Arc<Queue>>,
}

/// What makes two bindings the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) source: Arc<str>,
    pub(super) destination: Destination,
    pub(super) routing_key: Arc<str>,
    /// The arguments, encoded in key order.
    pub(super) arguments: Vec<u8>,
}

impl Identity {
    pub(super) fn new(source: &str, destination: Destination, routing_key: &str, arguments: &Table) -> Self {
        let mut encoded = Vec::new();
        arguments.encode_into(&mut encoded);
        Self { source: source.into(), destination, routing_key: routing_key.into(), arguments: encoded }
    }
}

impl Binding {
    pub(super) fn identity(&self) -> Identity {
        Identity::new(&self.source, self.destination.clone(), &self.routing_key, &self.arguments)
    }

    #[cfg(test)]
    pub(super) fn for_test(id: u64, key: &str) -> Self {
        let destination = Destination::Queue("q".into());
        Self { id, source: "x".into(), destination, routing_key: key.into(), arguments: Table::default(), queue: None }
    }
}
