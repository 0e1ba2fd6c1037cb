//! The maps of one virtual host: exchanges, queues, bindings and their reverse index, changed as one.
//!
//! Not concurrent maps: deleting a queue, its bindings and the auto-delete exchanges they leave unused must be one step.
//! Invariants: every binding's source exists and its destination exists; `by_destination` and the exchanges' indexes
//! hold the same bindings. Deliberately absent: permissions, reply texts (see the verbs in [`super::vhost`]), persistence.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::binding::{Binding, Destination, Identity};
use super::exchange::{Index, Kind};
use super::parameters::Parameters;
use super::policy::Policies;
use super::stats::{ExchangeStats, Gone};
use crate::queue::{Queue, State};
use crate::wire::table::Table;

/// An exchange and the bindings from it.
#[derive(Debug)]
pub struct Exchange {
    /// Name; empty for the default exchange.
    pub name: Arc<str>,
    /// Type.
    pub kind: Kind,
    /// Survives a restart.
    pub durable: bool,
    /// Deleted when the last binding from it is removed.
    pub auto_delete: bool,
    /// Cannot be published to.
    pub internal: bool,
    /// Where messages go that matched nothing here, by argument or policy.
    pub alternate: Option<Arc<str>>,
    /// Arguments as declared.
    pub arguments: Table,
    /// The epoch that makes the declaration durable.
    pub created: u64,
    /// Where messages wait, if the exchange delays them.
    pub(super) holder: Option<Arc<Queue>>,
    /// What is counted of it.
    pub stats: Arc<ExchangeStats>,
    pub(super) index: Index,
    /// Bindings from here, by identity.
    pub(super) bindings: BTreeMap<u64, Arc<Binding>>,
}

/// What deleting something took with it.
#[derive(Debug, Default)]
pub(super) struct Removed {
    pub(super) bindings: Vec<Arc<Binding>>,
    /// Auto-delete exchanges left without a binding.
    pub(super) exchanges: Vec<Exchange>,
}

/// Everything that exists in a virtual host.
#[derive(Debug, Default)]
pub struct Topology {
    pub(super) exchanges: HashMap<Arc<str>, Exchange>,
    pub(super) queues: HashMap<Arc<str>, Arc<Queue>>,
    pub(super) identities: HashMap<Identity, Arc<Binding>>,
    pub(super) by_destination: HashMap<Destination, BTreeMap<u64, Arc<Binding>>>,
    /// What governs the exchanges and queues; replaced as a whole.
    pub(super) policies: Arc<Policies>,
    /// What queues that are deleted have counted.
    pub(super) gone: Gone,
    /// What is kept for components that are not here.
    pub(super) parameters: Parameters,
    /// The virtual host is deleted: nothing may come here any more.
    pub(super) deleted: bool,
    /// Number of the latest binding.
    last_binding: u64,
}

impl Exchange {
    /// How many messages wait for their time; `None` if the exchange does not delay.
    pub fn delayed(&self) -> Option<u64> {
        self.holder.as_ref().map(|holder| holder.inspect(State::delayed))
    }
}

impl Topology {
    /// Every queue.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queues.values()
    }

    /// The queue of that name.
    pub fn queue(&self, name: &str) -> Option<&Arc<Queue>> {
        self.queues.get(name)
    }

    /// Every exchange.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values()
    }

    /// The exchange of that name.
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.get(name)
    }

    /// Every binding.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.identities.values().map(|binding| &**binding)
    }

    /// The bindings from an exchange, in the order in which they were made.
    pub fn bindings_from(&self, source: &str) -> impl Iterator<Item = &Binding> {
        self.exchanges.get(source).into_iter().flat_map(|exchange| exchange.bindings.values().map(|binding| &**binding))
    }

    /// The bindings to a queue or an exchange, in the order in which they were made.
    pub fn bindings_to(&self, destination: &Destination) -> impl Iterator<Item = &Binding> {
        self.by_destination
            .get(destination)
            .into_iter()
            .flat_map(|bindings| bindings.values().map(|binding| &**binding))
    }

    /// Adds a binding whose ends exist; `None` if it is there already.
    pub(super) fn bind(&mut self, identity: Identity, arguments: Table) -> Option<Arc<Binding>> {
        self.bind_as(self.last_binding + 1, identity, arguments)
    }

    /// Adds a binding that was made earlier, as number `id` then: bindings come back in the order of these numbers.
    pub(super) fn bind_as(&mut self, id: u64, identity: Identity, arguments: Table) -> Option<Arc<Binding>> {
        if self.identities.contains_key(&identity) {
            return None;
        }
        // Bindings of before the numbers were kept have none.
        let id = id.max(self.last_binding + 1);
        self.last_binding = id;
        let queue = match &identity.destination {
            Destination::Queue(name) => self.queues.get(name).cloned(),
            Destination::Exchange(_) => None,
        };
        let binding = Arc::new(Binding {
            id,
            source: identity.source.clone(),
            destination: identity.destination.clone(),
            routing_key: identity.routing_key.clone(),
            arguments,
            queue,
        });
        if let Some(exchange) = self.exchanges.get_mut(&identity.source) {
            exchange.index.insert(&binding);
            exchange.bindings.insert(binding.id, binding.clone());
        }
        self.by_destination.entry(identity.destination.clone()).or_default().insert(binding.id, binding.clone());
        self.identities.insert(identity, binding.clone());
        Some(binding)
    }

    /// Removes a binding, and the auto-delete exchanges that this leaves unused.
    pub(super) fn is_bound(&self, identity: &Identity) -> bool {
        self.identities.contains_key(identity)
    }

    /// Removes a binding, and what goes with it.
    pub(super) fn unbind(&mut self, identity: &Identity, removed: &mut Removed) {
        let Some(binding) = self.identities.remove(identity) else { return };
        if let Some(to) = self.by_destination.get_mut(&binding.destination) {
            to.remove(&binding.id);
            if to.is_empty() {
                self.by_destination.remove(&binding.destination);
            }
        }
        let mut unused = false;
        if let Some(exchange) = self.exchanges.get_mut(&binding.source) {
            exchange.index.remove(&binding);
            exchange.bindings.remove(&binding.id);
            unused = exchange.auto_delete && exchange.bindings.is_empty();
        }
        let source = binding.source.clone();
        removed.bindings.push(binding);
        if unused {
            self.remove_exchange(&source, removed);
        }
    }

    /// Removes an exchange with its bindings, and what that leaves unused.
    pub(super) fn remove_exchange(&mut self, name: &str, removed: &mut Removed) {
        let Some(exchange) = self.exchanges.remove(name) else { return };
        for binding in exchange.bindings.values() {
            self.identities.remove(&binding.identity());
            if let Some(to) = self.by_destination.get_mut(&binding.destination) {
                to.remove(&binding.id);
                if to.is_empty() {
                    self.by_destination.remove(&binding.destination);
                }
            }
            removed.bindings.push(binding.clone());
        }
        let destination = Destination::Exchange(exchange.name.clone());
        removed.exchanges.push(exchange);
        self.remove_bindings_to(&destination, removed);
    }

    /// Removes all bindings to a destination, and what that leaves unused.
    pub(super) fn remove_bindings_to(&mut self, destination: &Destination, removed: &mut Removed) {
        let Some(bindings) = self.by_destination.remove(destination) else { return };
        for binding in bindings.into_values() {
            self.unbind(&binding.identity(), removed);
        }
    }
}
