//! The start: definitions become topology, kept messages become backlogs that are read when wanted.

use std::sync::Arc;

use super::binding::{Destination, Identity};
use super::definitions::{self, BindingRecord, DamagedDefinition, ExchangeRecord, QueueRecord, Record, VhostRecord};
use super::exchange::Index;
use super::topology::Exchange;
use super::{Broker, VirtualHost};
use crate::queue::{Definition, Effects, Options, Queue};
use crate::store::{Define, QueueId, Recovered, StoreError};

/// Why a broker cannot start on what it found.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A definition cannot be read; guessing could lose a queue.
    #[error(transparent)]
    Definition(#[from] DamagedDefinition),
    /// The system has no randomness to give.
    #[error(transparent)]
    Random(crate::auth::RandomError),
}

/// Builds the topology from what the store kept; an empty store gets a virtual host `/` and the configured users.
pub(super) fn recover(broker: &Broker, kept: &Recovered) -> Result<(), StartError> {
    for line in &kept.damage {
        tracing::error!("store: {line}");
    }
    let mut vhosts: Vec<Arc<VirtualHost>> = Vec::new();
    let vhost =
        |record: VhostRecord| Arc::new(VirtualHost::new(record.id, record.name.into(), broker.config.profile()));
    let mut users = Vec::new();
    let mut orphans: Vec<QueueId> = kept.queues.keys().copied().collect();
    for (key, value) in &kept.definitions {
        // Keys sort by kind: virtual hosts come before what is in them, bindings after both their ends.
        match definitions::parse(key, value)? {
            Record::Vhost(record) => vhosts.push(vhost(record)),
            Record::User(user) => users.push(user),
            Record::Exchange(vhost, record) => exchange(find(&vhosts, vhost, key)?, record),
            Record::Queue(vhost, record) => {
                orphans.retain(|id| id.0 != record.id);
                queue(broker, find(&vhosts, vhost, key)?, record, kept);
            }
            Record::Binding(vhost, record) => binding(find(&vhosts, vhost, key)?, record),
        }
    }
    let mut changes: Vec<Define> = orphans.into_iter().map(|queue| Define::DropQueue { queue }).collect();
    if vhosts.is_empty() {
        let record = VhostRecord { id: 1, name: "/".to_owned() };
        changes.push(definitions::put_vhost(&record));
        vhosts.push(vhost(record));
    }
    if users.is_empty() {
        changes.extend(broker.users.list().iter().map(|user| definitions::put_user(user)));
    } else {
        // Who is configured only seeds an empty store; afterwards the store's word counts.
        for user in broker.users.list() {
            broker.users.remove(&user.name);
        }
        for user in users {
            broker.users.insert(user);
        }
    }
    for vhost in vhosts {
        broker.vhosts.insert(vhost.name.clone(), vhost);
    }
    if !changes.is_empty() {
        broker.intake.define(changes);
    }
    start_deadlines(broker);
    Ok(())
}

fn find<'a>(vhosts: &'a [Arc<VirtualHost>], id: u32, key: &[u8]) -> Result<&'a VirtualHost, DamagedDefinition> {
    vhosts
        .iter()
        .find(|v| v.id == id)
        .map(|v| &**v)
        .ok_or_else(|| DamagedDefinition { key: key.to_vec(), problem: format!("there is no virtual host {id}") })
}

fn exchange(vhost: &VirtualHost, record: ExchangeRecord) {
    let name: Arc<str> = record.name.into();
    let alternate = record.arguments.get("alternate-exchange").and_then(|v| v.as_str()).map(Arc::from);
    let exchange = Exchange {
        name: name.clone(),
        kind: record.kind,
        durable: true,
        auto_delete: record.auto_delete,
        internal: record.internal,
        alternate,
        arguments: record.arguments,
        created: 0,
        index: Index::new(record.kind),
        bindings: std::collections::BTreeMap::new(),
    };
    vhost.topology.write().exchanges.insert(name, exchange);
}

fn queue(broker: &Broker, vhost: &VirtualHost, record: QueueRecord, kept: &Recovered) {
    let options = Options::read(&record.arguments, broker.config.profile());
    let definition = Definition {
        id: QueueId(record.id),
        name: record.name.into(),
        vhost: vhost.name.clone(),
        durable: true,
        auto_delete: record.auto_delete,
        exclusive_to: None,
        arguments: record.arguments,
        options: Arc::new(options),
    };
    let backlog = kept.queues.get(&definition.id).map(|backlog| (backlog, kept.clean));
    let queue = Queue::new(definition, broker.intake.clone(), broker.clock.now(), backlog);
    vhost.topology.write().queues.insert(queue.name().clone(), queue);
}

fn binding(vhost: &VirtualHost, record: BindingRecord) {
    let name: Arc<str> = record.destination.into();
    let destination = if record.to_exchange { Destination::Exchange(name) } else { Destination::Queue(name) };
    let mut topology = vhost.topology.write();
    let ends = topology.exchanges.contains_key(&*record.source)
        && match &destination {
            Destination::Queue(name) => topology.queues.contains_key(name),
            Destination::Exchange(name) => topology.exchanges.contains_key(name),
        };
    if ends {
        let identity = Identity::new(&record.source, destination, &record.routing_key, &record.arguments);
        topology.bind(identity, record.arguments);
    } else {
        tracing::warn!(source = record.source, "a binding without both of its ends was left out");
    }
}

/// The clocks of message and queue expiry start anew for what was recovered.
fn start_deadlines(broker: &Broker) {
    let now = broker.clock.now();
    let mut fx = Effects::default();
    for vhost in broker.vhosts() {
        let queues: Vec<_> = vhost.topology.read().queues.values().cloned().collect();
        for queue in queues {
            queue.declared_again(now, &mut fx);
            broker.finish(&queue, &mut fx);
        }
    }
}
