//! A virtual host and its verbs as whole operations: each checks in RabbitMQ's order, then changes everything or
//! nothing, and returns the epoch that makes the change durable (0: nothing to wait for).
//!
//! Lock order: topology, then one queue, then the intake. Exchanges are in [`super::exchanges`], queues in
//! [`super::queues`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::access::Caller;
use super::admission::Occupied;
use super::binding::{Binding, Destination, Identity};
use super::exchange::{Index, Kind};
use super::stats::Gone;
use super::topology::{Exchange, Removed, Topology};
use super::vhosts::VhostSettings;
use super::{Broker, definitions};
use crate::auth::{Access, Resource};
use crate::config::Profile;
use crate::queue::{Effects, Push, Queue};
use crate::stats::History;
use crate::store::{Define, Epoch};
use crate::sync::{Mutex, Rank, ReadGuard, RwLock, WriteGuard};
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::table::Table;

/// A name space of exchanges, queues and bindings.
#[derive(Debug)]
pub struct VirtualHost {
    /// Number in the store's keys.
    pub id: u32,
    /// Name, `/` for the default one.
    pub name: Arc<str>,
    pub(super) topology: RwLock<Topology>,
    /// Changes with every change of the topology and of anybody's rights; what was routed under an older version is judged
    /// and routed again.
    version: AtomicU64,
    pub(super) settings: Mutex<Arc<VhostSettings>>,
    /// What is kept of its past figures.
    pub history: History,
    /// Its open connections.
    pub(super) connections: Occupied,
    /// How many there are, for limits that look at every virtual host.
    queues: AtomicUsize,
    exchanges: AtomicUsize,
}

/// The exchanges present in every virtual host; `amq.rabbitmq.trace` is internal.
const BUILT_IN: [(&str, Kind, bool); 7] = [
    ("", Kind::Direct, false),
    ("amq.direct", Kind::Direct, false),
    ("amq.fanout", Kind::Fanout, false),
    ("amq.topic", Kind::Topic, false),
    ("amq.headers", Kind::Headers, false),
    ("amq.match", Kind::Headers, false),
    ("amq.rabbitmq.trace", Kind::Topic, true),
];

/// The exchange that RabbitMQ publishes its log to, in the default virtual host. Nothing is published to it here.
const LOG: (&str, Kind, bool) = ("amq.rabbitmq.log", Kind::Topic, true);

/// The virtual host that every broker has.
const DEFAULT: &str = "/";

/// The name by which texts call a queue.
pub fn print_queue(name: &str, vhost: &str) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}

/// The name by which texts call an exchange.
pub fn print_exchange(name: &str, vhost: &str) -> String {
    format!("exchange '{name}' in vhost '{vhost}'")
}

pub(super) fn on_default_exchange() -> Refusal {
    Refusal::new(ReplyCode::AccessRefused, "operation not permitted on the default exchange")
}

pub(super) fn precondition(text: impl Into<String>) -> Refusal {
    Refusal::new(ReplyCode::PreconditionFailed, text)
}

/// The type of a queue that is the destination of a binding.
fn destination_type(topology: &Topology, destination: &Destination) -> Option<&'static str> {
    match destination {
        Destination::Queue(name) => topology.queues.get(name).map(|queue| queue.definition().options.kind.as_str()),
        Destination::Exchange(_) => None,
    }
}

/// Gives a new binding what its source keeps for such. Done under the topology's lock, so that every message reaches
/// the queue once: those routed before the binding was made are in the history, those after it go along the binding.
fn replay(broker: &Broker, topology: &Topology, binding: &Binding) -> Vec<(Arc<Queue>, Effects)> {
    let history = topology.exchanges.get(&binding.source).map(|source| source.index.history()).unwrap_or_default();
    let now = broker.clock.now();
    let mut pushed = Vec::new();
    for message in history {
        let queues = match (&binding.queue, &binding.destination) {
            (Some(queue), _) => vec![queue.clone()],
            (None, destination) => topology.route_again(destination.name(), &message, now),
        };
        for queue in queues {
            let mut fx = Effects::default();
            if queue.push(std::iter::once(message.clone()), false, now, &mut Vec::new(), &mut fx) != Push::Gone {
                pushed.push((queue, fx));
            }
        }
    }
    pushed
}

impl VirtualHost {
    pub(super) fn new(id: u32, name: Arc<str>, settings: VhostSettings, profile: &Profile) -> Self {
        let mut topology = Topology::default();
        let log = Some(LOG).filter(|_| profile.log_exchange && *name == *DEFAULT);
        for (name, kind, internal) in BUILT_IN.into_iter().chain(log) {
            let name: Arc<str> = name.into();
            let exchange = Exchange {
                name: name.clone(),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                alternate: None,
                arguments: Table::default(),
                created: 0,
                holder: None,
                index: Index::new(kind, &Table::default()),
                stats: Arc::default(),
                bindings: std::collections::BTreeMap::new(),
            };
            topology.exchanges.insert(name, exchange);
        }
        let exchanges = AtomicUsize::new(topology.exchanges.len());
        Self {
            id,
            name,
            topology: RwLock::new(Rank::Topology, topology),
            version: AtomicU64::new(1),
            settings: Mutex::new(Rank::Leaf, Arc::new(settings)),
            history: History::default(),
            connections: Occupied::default(),
            queues: AtomicUsize::new(0),
            exchanges,
        }
    }

    /// Exclusive access to the topology for something new; refused once the virtual host is deleted.
    pub(super) fn extend(&self) -> Result<WriteGuard<'_, Topology>, Refusal> {
        let topology = self.topology.write();
        if topology.deleted {
            let text = format!("vhost '{}' is deleted", self.name);
            return Err(Refusal::new(ReplyCode::ConnectionForced, text));
        }
        Ok(topology)
    }

    /// Notes how many queues and exchanges there are; called after either has changed, under the topology's lock.
    pub(super) fn count(&self, topology: &Topology) {
        self.queues.store(topology.queues.len(), Ordering::Relaxed);
        self.exchanges.store(topology.exchanges.len(), Ordering::Relaxed);
    }

    /// Queues.
    pub fn queue_count(&self) -> usize {
        self.queues.load(Ordering::Relaxed)
    }

    /// Exchanges, those every virtual host has included.
    pub fn exchange_count(&self) -> usize {
        self.exchanges.load(Ordering::Relaxed)
    }

    /// Open client connections.
    pub fn connection_count(&self) -> u64 {
        self.connections.count()
    }

    /// The present version of the topology and of everybody's rights.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Makes every route remembered so far stale; called after a change: of the topology under its lock, of rights under
    /// none.
    pub(super) fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Shared access to the topology, for routing and reports.
    pub fn topology(&self) -> ReadGuard<'_, Topology> {
        self.topology.read()
    }

    /// Every queue, and what those that are deleted have counted, at the same moment.
    pub fn counted_queues(&self) -> (Vec<Arc<Queue>>, Gone) {
        let topology = self.topology.read();
        (topology.queues.values().cloned().collect(), topology.gone.clone())
    }

    /// The queue of that name.
    pub fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.topology.read().queues.get(name).cloned()
    }

    pub(super) fn no_queue(&self, name: &str) -> Refusal {
        Refusal::new(ReplyCode::NotFound, format!("no {}", print_queue(name, &self.name)))
    }

    /// The refusal for an exchange that does not exist.
    pub fn no_exchange(&self, name: &str) -> Refusal {
        Refusal::new(ReplyCode::NotFound, format!("no {}", print_exchange(name, &self.name)))
    }

    /// Whether `connection` may use `queue`: an exclusive queue belongs to one connection.
    pub fn check_owner(&self, queue: &Queue, connection: u64) -> Result<(), Refusal> {
        match queue.definition().exclusive_to {
            Some(owner) if owner != connection => Err(Refusal::new(
                ReplyCode::ResourceLocked,
                format!(
                    "cannot obtain exclusive access to locked {}. It could be originally declared on another \
                     connection or the exclusive property value does not match that of the original declaration.",
                    print_queue(queue.name(), &self.name)
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The queue of that name, if it exists and `connection` may use it.
    pub(super) fn usable_queue(&self, name: &str, connection: u64) -> Result<Arc<Queue>, Refusal> {
        let queue = self.queue(name).ok_or_else(|| self.no_queue(name))?;
        self.check_owner(&queue, connection)?;
        Ok(queue)
    }

    /// The queue of that name, if `caller` may take messages out of it. Who may not is not told whether it exists.
    pub fn readable_queue(&self, broker: &Broker, name: &str, caller: Caller<'_>) -> Result<Arc<Queue>, Refusal> {
        self.authorize(broker, caller, Access::Read, Resource::Queue(name))?;
        self.usable_queue(name, caller.connection)
    }

    /// Binds `destination` to `source`; a binding that exists is left as it is.
    pub(super) fn bind(
        &self,
        broker: &Broker,
        source: &str,
        destination: Destination,
        routing_key: &str,
        arguments: Table,
    ) -> Result<Epoch, Refusal> {
        let mut topology = self.extend()?;
        let exchange = topology.exchanges.get(source).ok_or_else(|| self.no_exchange(source))?;
        let durable_source = exchange.durable;
        let mut epoch = exchange.created;
        let durable_destination = match &destination {
            Destination::Queue(name) => {
                let queue = topology.queues.get(name).ok_or_else(|| self.no_queue(name))?;
                epoch = epoch.max(queue.created());
                queue.definition().durable
            }
            Destination::Exchange(name) => {
                let to = topology.exchanges.get(name).ok_or_else(|| self.no_exchange(name))?;
                epoch = epoch.max(to.created);
                to.durable
            }
        };
        let queue_type = destination_type(&topology, &destination);
        let profile = broker.config.profile();
        exchange.index.check(routing_key, &arguments, queue_type, profile).map_err(precondition)?;
        let identity = Identity::new(source, destination, routing_key, &arguments);
        if let Some(max) = broker.live.binding_max_per_vhost()
            && topology.identities.len() as u64 >= max
            && !topology.is_bound(&identity)
        {
            return Err(precondition(format!(
                "cannot bind: binding limit in vhost '{}' ({max}) is reached",
                self.name
            )));
        }
        let mut replayed = Vec::new();
        if let Some(binding) = topology.bind(identity, arguments) {
            self.changed();
            replayed = replay(broker, &topology, &binding);
            if durable_source && durable_destination {
                epoch = broker.intake.define([definitions::put_binding(self.id, &binding)]);
            }
        } else if durable_source && durable_destination {
            // Made by somebody else, perhaps not yet committed: this answer must not come before theirs.
            epoch = broker.intake.define([]);
        }
        drop(topology);
        for (queue, mut fx) in replayed {
            broker.finish(&queue, &mut fx);
        }
        Ok(epoch)
    }

    /// Removes a binding; one that does not exist is no error.
    pub(super) fn unbind(
        &self,
        broker: &Broker,
        source: &str,
        destination: Destination,
        routing_key: &str,
        arguments: &Table,
    ) -> Epoch {
        let identity = Identity::new(source, destination, routing_key, arguments);
        let mut removed = Removed::default();
        let mut topology = self.topology.write();
        topology.unbind(&identity, &mut removed);
        self.forget(broker, &topology, &removed)
    }

    /// Makes the removal of bindings and exchanges durable, where they were.
    pub(super) fn forget(&self, broker: &Broker, topology: &Topology, removed: &Removed) -> Epoch {
        if removed.bindings.is_empty() && removed.exchanges.is_empty() {
            return 0;
        }
        self.count(topology);
        self.changed();
        let durable = |name: &str| {
            topology.exchanges.get(name).map_or_else(
                || removed.exchanges.iter().any(|e| &*e.name == name && e.durable),
                |exchange| exchange.durable,
            )
        };
        let mut changes: Vec<Define> = Vec::new();
        for binding in &removed.bindings {
            let to = match (&binding.destination, &binding.queue) {
                (_, Some(queue)) => queue.definition().durable,
                (Destination::Exchange(name), None) => durable(name),
                (Destination::Queue(_), None) => false,
            };
            if to && durable(&binding.source) {
                changes.push(definitions::delete_binding(self.id, binding));
            }
        }
        changes.extend(
            removed.exchanges.iter().filter(|e| e.durable).map(|e| definitions::delete_exchange(self.id, &e.name)),
        );
        // What waits in an exchange goes with it.
        for holder in removed.exchanges.iter().filter_map(|e| e.holder.as_ref()) {
            let _ = holder.delete_if(&mut Effects::default(), |_| Ok::<(), std::convert::Infallible>(()));
            changes.extend(holder.definition().durable.then_some(Define::DropQueue { queue: holder.id() }));
        }
        if changes.is_empty() { 0 } else { broker.intake.define(changes) }
    }
}
