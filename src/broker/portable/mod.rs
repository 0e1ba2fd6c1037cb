//! Definitions as RabbitMQ exports them: everything a broker has but its messages, as one JSON document.
//!
//! [`Definitions::parse`] reads a document, [`import`] judges all of it and then applies all of it, [`export`] writes what
//! there is. Invariants: what is refused has changed nothing, and the error names the item; importing what was exported
//! changes nothing; what exists already is left as it is (queues, exchanges, bindings) or replaced (all else), as in
//! RabbitMQ. A stream cannot exist here: it is kept aside with its bindings and exported again. Deliberately absent:
//! exclusive queues and internal exchanges, which RabbitMQ does not export either; HTTP; files.

mod check;
mod export;
mod import;
pub mod json;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::policy::PolicyAsk;
use super::vhosts::VhostSettings;
use crate::auth::{Permission, TopicPermission, User};
use crate::wire::table::Table;

pub use export::{export, export_vhost};
pub use import::{import, import_at_start};

/// Why definitions are not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    /// The bad item, such as `queues[3].arguments.x-expires`; empty if it is the whole.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

impl ImportError {
    fn at(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { path: path.into(), problem: problem.to_string() }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ImportError {}

/// A document of definitions, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definitions {
    users: Vec<User>,
    vhosts: Vec<Vhost>,
    permissions: Vec<Granted<Permission>>,
    topic_permissions: Vec<Granted<TopicPermission>>,
    parameters: Vec<Parameter>,
    global_parameters: Vec<(String, Value)>,
    policies: Vec<Policy>,
    exchanges: Vec<Exchange>,
    queues: Vec<Queue>,
    bindings: Vec<Binding>,
}

/// A virtual host. What the document leaves out stays as it is.
#[derive(Clone, Debug, PartialEq)]
struct Vhost {
    name: String,
    settings: VhostSettings,
}

/// What a user is granted in a virtual host.
#[derive(Clone, Debug, PartialEq)]
struct Granted<T> {
    user: String,
    vhost: String,
    what: T,
}

/// A parameter of a virtual host.
#[derive(Clone, Debug, PartialEq)]
struct Parameter {
    vhost: String,
    component: String,
    name: String,
    value: Value,
}

/// A user's policy; those of operators are parameters.
#[derive(Clone, Debug, PartialEq)]
struct Policy {
    vhost: String,
    name: String,
    ask: PolicyAsk,
}

/// An exchange.
#[derive(Clone, Debug, PartialEq)]
struct Exchange {
    vhost: String,
    name: String,
    kind: String,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Table,
}

/// A queue, with the item as it stood in the document, for what cannot exist here.
#[derive(Clone, Debug, PartialEq)]
struct Queue {
    vhost: String,
    name: String,
    durable: bool,
    auto_delete: bool,
    arguments: Table,
    item: Arc<Map<String, Value>>,
}

/// A binding, with the item as it stood in the document.
#[derive(Clone, Debug, PartialEq)]
struct Binding {
    vhost: String,
    source: String,
    destination: String,
    to_exchange: bool,
    routing_key: String,
    arguments: Table,
    item: Arc<Map<String, Value>>,
}

impl Queue {
    /// Whether it is of a type that is not here.
    fn is_unsupported(&self) -> bool {
        self.arguments.get("x-queue-type").and_then(|kind| kind.as_str()) == Some("stream")
    }
}

/// What an import has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many of each kind the document has, and how many of them are new.
    pub kinds: Vec<(&'static str, usize, usize)>,
    /// Queues and bindings that cannot exist here, kept aside.
    pub unsupported: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (kind, all, new) in self.kinds.iter().filter(|(_, all, _)| *all > 0) {
            let comma = if first { "" } else { ", " };
            write!(f, "{comma}{all} {kind} ({new} new)")?;
            first = false;
        }
        if first {
            f.write_str("nothing")?;
        }
        if self.unsupported > 0 {
            write!(f, "; kept aside, since streams are not here: {}", self.unsupported)?;
        }
        Ok(())
    }
}
