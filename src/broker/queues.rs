//! The queue class's verbs: declare, bind, unbind, purge, delete.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::access::Caller;
use super::binding::{Destination, Identity};
use super::policy::apply::govern;
use super::topology::Removed;
use super::vhost::{VirtualHost, precondition, print_queue};
use super::{Broker, definitions};
use crate::auth::{Access, Resource};
use crate::queue::{BadArgument, Definition, Effects, Kind, Options, Queue, State, Strategy, options};
use crate::store::{Define, Epoch, QueueId};
use crate::telemetry::printable;
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::table::{Table, Value};

/// The argument that names a queue's type.
const QUEUE_TYPE: &str = "x-queue-type";

/// The argument that names the exchange of a queue's dead letters.
const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";

/// What queue.declare asks for.
#[allow(clippy::struct_excessive_bools)] // the method's own bits
#[derive(Clone, Debug)]
pub struct QueueDeclare {
    /// Name; empty for one of the server's choice.
    pub name: String,
    /// Only ask whether it exists.
    pub passive: bool,
    /// Survives a restart.
    pub durable: bool,
    /// Belongs to the declaring connection and dies with it.
    pub exclusive: bool,
    /// Deleted when its last consumer is gone.
    pub auto_delete: bool,
    /// Arguments.
    pub arguments: Table,
}

/// What queue.declare-ok tells.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The queue.
    pub queue: Arc<Queue>,
    /// Ready messages.
    pub messages: u64,
    /// Consumers.
    pub consumers: usize,
    /// The epoch that makes the declaration durable.
    pub epoch: Epoch,
}

/// How a value is printed in texts about arguments.
fn print_value(value: &Value) -> String {
    match (value.as_str(), value.as_int(), value) {
        (Some(text), _, _) => text.to_owned(),
        (_, Some(n), _) => n.to_string(),
        (_, _, Value::Bool(b)) => b.to_string(),
        // As Erlang prints them: never without a fraction.
        (_, _, Value::F64(n)) => format!("{n:?}"),
        (_, _, Value::F32(n)) => format!("{:?}", f64::from(*n)),
        (_, _, other) => other.type_name().to_owned(),
    }
}

/// Refuses a redeclaration whose argument differs, in RabbitMQ's words.
pub(super) fn same_argument(key: &str, received: &Table, current: &Table, resource: &str) -> Result<(), Refusal> {
    let the = |value: &Value| format!("the value '{}' of type '{}'", print_value(value), value.type_name());
    let (received, current) = match (received.get(key), current.get(key)) {
        (None, None) => return Ok(()),
        (Some(a), Some(b)) if a.same(b) => return Ok(()),
        (Some(a), Some(b)) => (format!("'{}'", print_value(a)), format!("'{}'", print_value(b))),
        (Some(a), None) => (the(a), "none".to_owned()),
        (None, Some(b)) => ("none".to_owned(), the(b)),
    };
    Err(precondition(format!("inequivalent arg '{key}' for {resource}: received {received} but current is {current}")))
}

impl VirtualHost {
    /// queue.declare. The order of checks is RabbitMQ's.
    pub fn declare_queue(
        &self,
        broker: &Broker,
        mut ask: QueueDeclare,
        caller: Caller<'_>,
        fx: &mut Effects,
    ) -> Result<Declared, Refusal> {
        let now = broker.clock.now();
        if ask.passive {
            self.authorize_probe(broker, caller, Resource::Queue(&ask.name))?;
            let queue = self.usable_queue(&ask.name, caller.connection)?;
            broker.stats.churn.queues_declared.add_shared(1);
            let (messages, consumers) = queue.declared_again(now, fx);
            return Ok(Declared { messages, consumers, epoch: queue.created(), queue });
        }
        if broker.config.profile().stores_queue_type
            && ask.arguments.get(QUEUE_TYPE).and_then(Value::as_str) == Some("")
        {
            ask.arguments.remove(QUEUE_TYPE);
        }
        let generated = ask.name.is_empty();
        if generated {
            if matches!(ask.arguments.get(QUEUE_TYPE).and_then(Value::as_str), Some("quorum")) {
                let text = "Cannot declare a server-named queue for type rabbit_quorum_queue";
                return Err(precondition(text));
            }
            ask.name = super::generated_name("amq.gen-");
        } else if ask.name.starts_with("amq.") {
            return Err(Refusal::new(
                ReplyCode::AccessRefused,
                format!("queue name '{}' contains reserved prefix 'amq.*'", ask.name),
            ));
        }
        self.authorize(broker, caller, Access::Configure, Resource::Queue(&ask.name))?;
        let dead_letters = self.authorize_dead_letters(broker, caller, &ask);
        if self.prefers_quorum(broker, &ask, generated) {
            ask.arguments.insert(QUEUE_TYPE, Kind::Quorum.as_str());
        }
        let resource = print_queue(&ask.name, &self.name);
        // An exclusive queue is never durable, whatever was asked.
        let durable = ask.durable && !ask.exclusive;
        let mut topology = self.extend()?;
        if let Some(queue) = topology.queues.get(&*ask.name) {
            let queue = queue.clone();
            drop(topology);
            self.check_owner(&queue, caller.connection)?;
            equivalent(&queue, &ask, durable, &resource)?;
            broker.stats.churn.queues_declared.add_shared(1);
            let (messages, consumers) = queue.declared_again(now, fx);
            return Ok(Declared { messages, consumers, epoch: queue.created(), queue });
        }
        dead_letters?;
        let room = self.room_for_queue(broker, &ask.name, topology.queues.len());
        let options = match Options::parse(&ask.arguments, broker.config.profile()) {
            Ok(options) => options,
            Err(bad) => {
                let code = match bad {
                    BadArgument::Deprecated { .. } => ReplyCode::InternalError,
                    _ => ReplyCode::PreconditionFailed,
                };
                // An unknown type is found out after the limits.
                if let BadArgument::Invalid { key: QUEUE_TYPE, .. } = bad {
                    room?;
                }
                return Err(Refusal::new(code, bad.explain(&resource)).at(50, 10));
            }
        };
        room?;
        if options.kind == Kind::Quorum {
            quorum_takes(&ask, &resource)?;
        }
        let definition = Definition {
            id: QueueId(broker.next_queue_id.fetch_add(1, Ordering::Relaxed)),
            name: ask.name.into(),
            vhost: self.name.clone(),
            durable,
            auto_delete: ask.auto_delete,
            exclusive_to: ask.exclusive.then_some(caller.connection),
            arguments: ask.arguments,
            options: Arc::new(options),
        };
        let mut epoch = 0;
        if durable {
            let next = Define::NextQueueId(definition.id.0 + 1);
            epoch = broker.intake.define([next, definitions::put_queue(self.id, &definition)]);
        }
        let queue = Queue::new(definition, broker.intake.clone(), now, None);
        queue.set_created(epoch);
        govern(&topology.policies, &queue, now, fx);
        topology.queues.insert(queue.name().clone(), queue.clone());
        self.count(&topology);
        self.changed();
        drop(topology);
        warn_of_strategy(&queue);
        broker.stats.churn.queues_declared.add_shared(1);
        broker.stats.churn.queues_created.add_shared(1);
        // Starts the clock of x-expires.
        queue.declared_again(now, fx);
        Ok(Declared { queue, messages: 0, consumers: 0, epoch })
    }

    /// Whether a queue may send its dead letters where its arguments say: that takes messages out of it, and publishes
    /// them. Counts only if the queue is new.
    fn authorize_dead_letters(&self, broker: &Broker, caller: Caller<'_>, ask: &QueueDeclare) -> Result<(), Refusal> {
        let Some(exchange) = ask.arguments.get(DEAD_LETTER_EXCHANGE).and_then(Value::as_str) else { return Ok(()) };
        self.authorize(broker, caller, Access::Read, Resource::Queue(&ask.name))?;
        self.authorize(broker, caller, Access::Write, Resource::Exchange(exchange))
    }

    /// Whether a queue declared without a type is to be a quorum queue: by the virtual host's default, or else the
    /// node's, if a quorum queue can be what is asked for.
    fn prefers_quorum(&self, broker: &Broker, ask: &QueueDeclare, generated: bool) -> bool {
        let able = ask.durable && !ask.exclusive && !ask.auto_delete && !generated;
        if !able || ask.arguments.get(QUEUE_TYPE).is_some() {
            return false;
        }
        let settings = self.settings();
        let default = settings.default_queue_type.as_ref().unwrap_or(&broker.config.default_queue_type);
        default == Kind::Quorum.as_str()
    }

    /// Whether one more queue is within the limits of the virtual host, which has `present`, and of the node.
    fn room_for_queue(&self, broker: &Broker, name: &str, present: usize) -> Result<(), Refusal> {
        if let Some(limit) = self.settings().limits.queues().filter(|limit| present as u64 >= *limit) {
            let text =
                format!("cannot declare queue '{name}': queue limit in vhost '{}' ({limit}) is reached", self.name);
            return Err(precondition(text));
        }
        let all = || broker.vhosts().iter().map(|vhost| vhost.queue_count() as u64).sum::<u64>();
        match broker.live.cluster_queue_limit() {
            Some(limit) if all() >= limit => {
                let text = format!("cannot declare queue '{name}': queue limit in cluster ({limit}) is reached");
                Err(precondition(text))
            }
            _ => Ok(()),
        }
    }

    /// queue.bind. A missing exchange is reported before a missing queue.
    pub fn bind_queue(
        &self,
        broker: &Broker,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: Table,
        caller: Caller<'_>,
    ) -> Result<Epoch, Refusal> {
        self.authorize_binding(broker, caller, (Resource::Queue(queue), exchange), routing_key)?;
        if !self.topology.read().exchanges.contains_key(exchange) {
            return Err(self.no_exchange(exchange));
        }
        self.usable_queue(queue, caller.connection)?;
        self.bind(broker, exchange, Destination::Queue(queue.into()), routing_key, arguments)
    }

    /// queue.unbind; unbinding what is not bound succeeds.
    pub fn unbind_queue(
        &self,
        broker: &Broker,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: &Table,
        caller: Caller<'_>,
    ) -> Result<Epoch, Refusal> {
        self.authorize_binding(broker, caller, (Resource::Queue(queue), exchange), routing_key)?;
        let bound = Identity::new(exchange, Destination::Queue(queue.into()), routing_key, arguments);
        // Whose queue it is matters only if there is something to unbind.
        if let Some(queue) = self.queue(queue).filter(|_| self.topology.read().is_bound(&bound)) {
            self.check_owner(&queue, caller.connection)?;
        }
        Ok(self.unbind(broker, exchange, Destination::Queue(queue.into()), routing_key, arguments))
    }

    /// queue.delete. Returns the ready messages dropped with it.
    pub fn delete_queue(
        &self,
        broker: &Broker,
        name: &str,
        if_unused: bool,
        if_empty: bool,
        caller: Caller<'_>,
        fx: &mut Effects,
    ) -> Result<(u64, Epoch), Refusal> {
        self.authorize(broker, caller, Access::Configure, Resource::Queue(name))?;
        let Some(queue) = self.queue(name) else { return Ok((0, 0)) };
        self.check_owner(&queue, caller.connection)?;
        let resource = print_queue(name, &self.name);
        if queue.definition().options.kind == Kind::Quorum && (if_unused || if_empty) {
            let flag = if if_unused { "if-unused" } else { "if-empty" };
            return Err(Refusal::new(
                ReplyCode::NotImplemented,
                format!(
                    "cannot delete {resource}. queue.delete operations with {flag} flag set are not supported by \
                     quorum queues"
                ),
            ));
        }
        self.remove_queue(broker, &queue, fx, |state| {
            if if_unused && state.consumers() > 0 {
                return Err(precondition(format!("{resource} in use")));
            }
            if if_empty && state.ready() > 0 {
                return Err(precondition(format!("{resource} not empty")));
            }
            Ok(())
        })
    }

    /// Deletes a queue if `doom`, asked under the locks, still agrees.
    pub(super) fn remove_queue<E>(
        &self,
        broker: &Broker,
        queue: &Arc<Queue>,
        fx: &mut Effects,
        doom: impl FnOnce(&State) -> Result<(), E>,
    ) -> Result<(u64, Epoch), E> {
        let mut topology = self.topology.write();
        let name = queue.name();
        if !topology.queues.get(name).is_some_and(|q| Arc::ptr_eq(q, queue)) {
            return Ok((0, 0));
        }
        let count = queue.delete_if(fx, doom)?;
        topology.queues.remove(name);
        let counted = queue.inspect(|state| (state.tally(), state.times_in_queue()));
        topology.gone.add(&counted.0, &counted.1);
        broker.stats.churn.queues_deleted.add_shared(1);
        broker.stats.queue_moves(queue);
        self.count(&topology);
        let mut removed = Removed::default();
        topology.remove_bindings_to(&Destination::Queue(name.clone()), &mut removed);
        let mut epoch = self.forget(broker, &topology, &removed);
        self.changed();
        if queue.definition().durable {
            epoch = broker.intake.define(definitions::delete_queue(self.id, queue.id()));
        }
        Ok((count, epoch))
    }

    /// Deletes the exclusive queues of a connection that has ended.
    pub fn delete_exclusive(&self, broker: &Broker, queues: Vec<Arc<Queue>>) {
        for queue in queues {
            let mut fx = Effects::default();
            let _ = self.remove_queue(broker, &queue, &mut fx, |_| Ok::<(), std::convert::Infallible>(()));
            broker.finish(&queue, &mut fx);
        }
    }
}

/// A quorum queue cannot keep its dead letters without an exchange for them, or while it drops messages to make room.
fn warn_of_strategy(queue: &Queue) {
    let options = queue.options();
    if options.is_quorum() && options.dead_letter_strategy == Strategy::AtLeastOnce && !options.at_least_once() {
        let queue = printable(&**queue.name());
        tracing::warn!(%queue, "its dead letters are sent at most once: at-least-once needs a dead-letter exchange \
            and the overflow reject-publish");
    }
}

/// Properties that quorum queues lack, in the order in which RabbitMQ looks for them.
pub(super) fn quorum_takes(ask: &QueueDeclare, resource: &str) -> Result<(), Refusal> {
    for (bad, property) in
        [(ask.auto_delete, "auto-delete"), (ask.exclusive, "exclusive-owner"), (!ask.durable, "non-durable")]
    {
        if bad {
            return Err(precondition(format!("invalid property '{property}' for {resource}")));
        }
    }
    Ok(())
}

/// RabbitMQ compares exclusive, durable, auto-delete, then the arguments it knows.
fn equivalent(queue: &Queue, ask: &QueueDeclare, durable: bool, resource: &str) -> Result<(), Refusal> {
    let current = queue.definition();
    // An exclusive queue declared again without the flag, by its own connection, or the reverse.
    if ask.exclusive != current.exclusive_to.is_some() {
        let text = format!(
            "cannot obtain exclusive access to locked {resource}. It could be originally declared on another \
             connection or the exclusive property value does not match that of the original declaration."
        );
        return Err(Refusal::new(ReplyCode::ResourceLocked, text));
    }
    for (arg, received, current) in
        [("durable", durable, current.durable), ("auto_delete", ask.auto_delete, current.auto_delete)]
    {
        if received != current {
            let text = format!("received '{received}' but current is '{current}'");
            return Err(precondition(format!("inequivalent arg '{arg}' for {resource}: {text}")));
        }
    }
    let mut received = ask.arguments.clone();
    let mut stored = current.arguments.clone();
    // Absent and classic are the same; whether the texts say so is a matter of the version.
    let classic = |table: &Table| table.get(QUEUE_TYPE).is_none_or(|kind| kind.as_str() == Some("classic"));
    if current.options.profile.stores_queue_type || classic(&received) && classic(&stored) {
        for table in [&mut received, &mut stored] {
            if table.get(QUEUE_TYPE).is_none() {
                table.insert(QUEUE_TYPE, Value::from("classic"));
            }
        }
    }
    options::compared(&current.options).try_for_each(|key| same_argument(key, &received, &stored, resource))
}
