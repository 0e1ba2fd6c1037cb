//! The exchange class's verbs: declare, delete, bind, unbind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::access::Caller;
use super::binding::Destination;
use super::exchange::{Index, Kind};
use super::topology::{Exchange, Removed};
use super::vhost::{VirtualHost, on_default_exchange, precondition, print_exchange};
use super::{Broker, definitions};
use crate::auth::{Access, Resource};
use crate::queue::{Definition, Queue};
use crate::store::{Define, Epoch, QueueId};
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::table::Table;

/// What exchange.declare asks for.
#[allow(clippy::struct_excessive_bools)] // the method's own bits
#[derive(Clone, Debug)]
pub struct ExchangeDeclare {
    /// Name.
    pub name: String,
    /// Type, by name.
    pub kind: String,
    /// Only ask whether it exists.
    pub passive: bool,
    /// Survives a restart.
    pub durable: bool,
    /// Deleted when the last binding from it is removed.
    pub auto_delete: bool,
    /// Cannot be published to.
    pub internal: bool,
    /// Arguments.
    pub arguments: Table,
}

fn inequivalent(
    arg: &str,
    resource: &str,
    received: impl std::fmt::Display,
    current: impl std::fmt::Display,
) -> Refusal {
    precondition(format!("inequivalent arg '{arg}' for {resource}: received '{received}' but current is '{current}'"))
}

impl Broker {
    /// Whether one more exchange is within the node's limit.
    fn room_for_exchange(&self, resource: &str) -> Result<(), Refusal> {
        let all = || self.vhosts().iter().map(|vhost| vhost.exchange_count() as u64).sum::<u64>();
        match self.live.cluster_exchange_limit() {
            Some(limit) if all() >= limit => {
                Err(precondition(format!("cannot declare {resource}: exchange limit of {limit} is reached")))
            }
            _ => Ok(()),
        }
    }
}

impl VirtualHost {
    /// exchange.declare. The order of checks is RabbitMQ's.
    pub fn declare_exchange(
        &self,
        broker: &Broker,
        ask: ExchangeDeclare,
        caller: Caller<'_>,
    ) -> Result<Epoch, Refusal> {
        let resource = print_exchange(&ask.name, &self.name);
        if ask.passive {
            if ask.name.is_empty() {
                return Err(on_default_exchange());
            }
            self.authorize_probe(broker, caller, Resource::Exchange(&ask.name))?;
            let topology = self.topology.read();
            return topology.exchanges.get(&*ask.name).map(|e| e.created).ok_or_else(|| self.no_exchange(&ask.name));
        }
        let local_random = broker.config.profile().local_random;
        let Some(kind) = Kind::parse(&ask.kind, local_random) else {
            // RabbitMQ tells words it has heard of in any context from those it has not; of these, only the empty one.
            let known = if ask.kind.is_empty() { "invalid" } else { "unknown" };
            return Err(precondition(format!("{known} exchange type '{}'", ask.kind)));
        };
        if ask.name.is_empty() {
            return Err(on_default_exchange());
        }
        self.authorize(broker, caller, Access::Configure, Resource::Exchange(&ask.name))?;
        let alternate = self.authorize_alternate(broker, caller, &ask);
        let mut topology = self.extend()?;
        if let Some(exchange) = topology.exchanges.get(&*ask.name) {
            equivalent(exchange, kind, &ask, &resource)?;
            return Ok(exchange.created);
        }
        if ask.name.starts_with("amq.") {
            return Err(Refusal::new(
                ReplyCode::AccessRefused,
                format!("exchange name '{}' contains reserved prefix 'amq.*'", ask.name),
            ));
        }
        if let Some(value) = ask.arguments.get("alternate-exchange").filter(|value| value.as_str().is_none()) {
            let found = value.type_name();
            return Err(precondition(format!("invalid type '{found}' for arg 'alternate-exchange' in {resource}")));
        }
        alternate?;
        kind.check_arguments(&ask.arguments, local_random).map_err(precondition)?;
        broker.room_for_exchange(&resource)?;
        let alternate = topology.policies.alternate(&ask.name, &ask.arguments);
        let name: Arc<str> = ask.name.into();
        let holder = (kind == Kind::Delayed).then(|| self.new_holder(broker, name.clone(), ask.durable));
        let mut exchange = Exchange {
            name: name.clone(),
            kind,
            durable: ask.durable,
            auto_delete: ask.auto_delete,
            internal: ask.internal,
            alternate,
            created: 0,
            index: Index::new(kind, &ask.arguments),
            stats: Arc::default(),
            arguments: ask.arguments,
            holder,
            bindings: BTreeMap::new(),
        };
        if exchange.durable {
            let mut changes = vec![definitions::put_exchange(self.id, &exchange)];
            changes.extend(exchange.holder.as_ref().map(|holder| Define::NextQueueId(holder.id().0 + 1)));
            exchange.created = broker.intake.define(changes);
        }
        let epoch = exchange.created;
        topology.exchanges.insert(name, exchange);
        self.count(&topology);
        self.changed();
        Ok(epoch)
    }

    /// Whether an exchange may hand on what it cannot route where its arguments say: that takes messages out of it, and
    /// publishes them. Counts only if the exchange is new.
    fn authorize_alternate(&self, broker: &Broker, caller: Caller<'_>, ask: &ExchangeDeclare) -> Result<(), Refusal> {
        let alternate = ask.arguments.get("alternate-exchange").and_then(|value| value.as_str());
        let Some(alternate) = alternate else { return Ok(()) };
        self.authorize(broker, caller, Access::Read, Resource::Exchange(&ask.name))?;
        self.authorize(broker, caller, Access::Write, Resource::Exchange(alternate))
    }

    /// The queue, known to nobody, in which an exchange keeps messages until their time has come.
    fn new_holder(&self, broker: &Broker, exchange: Arc<str>, durable: bool) -> Arc<Queue> {
        let id = QueueId(broker.next_queue_id.fetch_add(1, Ordering::Relaxed));
        Queue::new_holder(
            holder_definition(id, exchange, self.name.clone(), durable),
            broker.intake.clone(),
            broker.clock.now(),
            None,
            &[],
        )
    }

    /// exchange.delete; deleting what does not exist succeeds.
    pub fn delete_exchange(
        &self,
        broker: &Broker,
        name: &str,
        if_unused: bool,
        caller: Caller<'_>,
    ) -> Result<Epoch, Refusal> {
        if name.is_empty() {
            return Err(on_default_exchange());
        }
        let resource = print_exchange(name, &self.name);
        if name.starts_with("amq.") {
            return Err(Refusal::new(ReplyCode::AccessRefused, format!("deletion of system {resource} not allowed")));
        }
        self.authorize(broker, caller, Access::Configure, Resource::Exchange(name))?;
        let mut topology = self.topology.write();
        let Some(exchange) = topology.exchanges.get(name) else { return Ok(0) };
        if if_unused && !exchange.bindings.is_empty() {
            return Err(precondition(format!("{resource} in use")));
        }
        let mut removed = Removed::default();
        topology.remove_exchange(name, &mut removed);
        Ok(self.forget(broker, &topology, &removed))
    }

    /// exchange.bind: messages that reach `source` and match go on to `destination`.
    pub fn bind_exchange(
        &self,
        broker: &Broker,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: Table,
        caller: Caller<'_>,
    ) -> Result<Epoch, Refusal> {
        self.authorize_binding(broker, caller, (Resource::Exchange(destination), source), routing_key)?;
        self.bind(broker, source, Destination::Exchange(destination.into()), routing_key, arguments)
    }

    /// exchange.unbind; unbinding what is not bound succeeds.
    pub fn unbind_exchange(
        &self,
        broker: &Broker,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: &Table,
        caller: Caller<'_>,
    ) -> Result<Epoch, Refusal> {
        self.authorize_binding(broker, caller, (Resource::Exchange(destination), source), routing_key)?;
        Ok(self.unbind(broker, source, Destination::Exchange(destination.into()), routing_key, arguments))
    }
}

/// What the holder of an exchange's delayed messages is defined as; it has the exchange's name.
pub(super) fn holder_definition(id: QueueId, exchange: Arc<str>, vhost: Arc<str>, durable: bool) -> Definition {
    Definition {
        id,
        name: exchange,
        vhost,
        durable,
        auto_delete: false,
        exclusive_to: None,
        arguments: Table::default(),
        options: Arc::default(),
    }
}

/// RabbitMQ compares type, durable, auto-delete, internal and the alternate exchange, in this order.
fn equivalent(exchange: &Exchange, kind: Kind, ask: &ExchangeDeclare, resource: &str) -> Result<(), Refusal> {
    if exchange.kind != kind {
        return Err(inequivalent("type", resource, kind.as_str(), exchange.kind.as_str()));
    }
    for (arg, received, current) in [
        ("durable", ask.durable, exchange.durable),
        ("auto_delete", ask.auto_delete, exchange.auto_delete),
        ("internal", ask.internal, exchange.internal),
    ] {
        if received != current {
            return Err(inequivalent(arg, resource, received, current));
        }
    }
    super::queues::same_argument("alternate-exchange", &ask.arguments, &exchange.arguments, resource)
}
