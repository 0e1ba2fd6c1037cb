//! The start: definitions become topology, kept messages become backlogs that are read when wanted.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing))]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::binding::{Destination, Identity};
use super::definitions::{self, BindingRecord, DamagedDefinition, ExchangeRecord, PolicyRecord, QueueRecord, Record};
use super::exchange::Index;
use super::exchanges::holder_definition;
use super::grants;
use super::parameters::CLUSTER_ID;
use super::policy::{Policy, PolicyKind, apply};
use super::topology::Exchange;
use super::vhosts::{VhostLimits, VhostSettings};
use super::{AdminError, Broker, VirtualHost};
use crate::message::duplicate;
use crate::queue::{Definition, Effects, Options, Queue};
use crate::store::{Define, QueueId, Recovered, RecoveredQueue, StoreError};

/// Octets of records read at a time from a queue that minds duplicates.
const RECALL_BUDGET: usize = 1024 * 1024;

/// Why a broker cannot start on what it found.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A definition cannot be read; guessing could lose a queue.
    #[error(transparent)]
    Definition(#[from] DamagedDefinition),
    /// A virtual host or policy of the configuration is not valid.
    #[error("the configuration's {what} {name:?}: {error}")]
    Configured {
        /// Virtual host or policy.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it.
        error: AdminError,
    },
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
    let mut users = Vec::new();
    let mut bindings: Vec<(Arc<VirtualHost>, BindingRecord)> = Vec::new();
    let mut orphans: BTreeSet<QueueId> = kept.queues.keys().copied().collect();
    let mut ids = BTreeSet::new();
    let mut granted = grants::Kept::default();
    for (key, value) in &kept.definitions {
        // Keys sort by kind: virtual hosts come before what is in them, bindings after both their ends.
        match definitions::parse(key, value)? {
            Record::Vhost(record) => {
                if vhosts.iter().any(|known| known.id == record.id || *known.name == *record.name) {
                    return Err(damaged(key, "there is such a virtual host already").into());
                }
                if record.id == u32::MAX {
                    return Err(damaged(key, "no virtual host can have this number").into());
                }
                let name = record.name.into();
                vhosts.push(Arc::new(VirtualHost::new(record.id, name, record.settings, broker.config.profile())));
            }
            Record::User(user) => users.push(user),
            Record::Exchange(vhost, record) => {
                if let Some(holder) = record.holder {
                    orphans.remove(&take(&mut ids, key, holder)?);
                }
                exchange(broker, find(&vhosts, vhost, key)?, record, kept)?;
            }
            Record::Queue(vhost, record) => {
                orphans.remove(&take(&mut ids, key, record.id)?);
                queue(broker, find(&vhosts, vhost, key)?, record, kept)?;
            }
            Record::Binding(vhost, record) => {
                bindings.push((find(&vhosts, vhost, key)?.clone(), record));
            }
            Record::Policy(vhost, kind, record) => policy(find(&vhosts, vhost, key)?, kind, record),
            Record::PermissionsKept => granted.known = true,
            Record::Permission(vhost, record) => {
                granted.permissions.push((find(&vhosts, vhost, key)?.clone(), record));
            }
            Record::TopicPermission(vhost, record) => {
                granted.topics.push((find(&vhosts, vhost, key)?.clone(), record));
            }
            Record::Parameter(vhost, record) => {
                let place = (record.component.into(), record.name.into());
                let mut topology = find(&vhosts, vhost, key)?.topology.write();
                topology.parameters.insert(place, Arc::new(record.value));
            }
            Record::Global(record) => {
                broker.globals.insert(&record.name, record.value);
            }
        }
    }
    bindings.sort_by_key(|(_, record)| record.order);
    for (vhost, record) in bindings {
        binding(&vhost, &record);
    }
    let mut changes: Vec<Define> = orphans.into_iter().map(|queue| Define::DropQueue { queue }).collect();
    // As in RabbitMQ, definitions to load stand in for what an empty broker is born with.
    let bare = broker.config.load_definitions.is_some() && vhosts.is_empty() && users.is_empty();
    if vhosts.is_empty() && !bare {
        let name = broker.config.default_vhost.as_str();
        let settings = VhostSettings { limits: broker.initial_limits(name), ..VhostSettings::default() };
        changes.push(definitions::put_vhost(1, name, &settings));
        vhosts.push(Arc::new(VirtualHost::new(1, name.into(), settings, broker.config.profile())));
    }
    let seeded = users.is_empty();
    if seeded {
        if bare && let Some(guest) = broker.config.only_guest() {
            broker.users.remove(guest);
        }
        changes.extend(broker.users.list().iter().map(|user| definitions::put_user(user)));
    } else {
        // Who is configured only seeds an empty store; afterwards the store's word counts.
        let configured = broker.users.list();
        for user in &configured {
            broker.users.remove(&user.name);
        }
        for user in users {
            broker.users.insert(user);
        }
        for user in configured.iter().filter(|user| broker.users.get(&user.name).is_none()) {
            let name = crate::telemetry::printable(&*user.name);
            tracing::info!(user = %name, "configured, but not created: the store has users already");
        }
    }
    changes.extend(granted.restore(broker, &vhosts, seeded));
    if broker.globals.get(CLUSTER_ID).is_none() {
        let id = super::generated_name("leveret-cluster-id-").into();
        changes.push(definitions::put_global(CLUSTER_ID, &id));
        broker.globals.insert(CLUSTER_ID, id);
    }
    let next = vhosts.iter().map(|vhost| vhost.id).max().unwrap_or(0).saturating_add(1);
    broker.next_vhost_id.store(next, Ordering::Relaxed);
    let next = ids.last().map_or(1, |highest| highest.0.saturating_add(1));
    broker.next_queue_id.fetch_max(next, Ordering::Relaxed);
    for vhost in vhosts {
        vhost.count(&vhost.topology());
        broker.vhosts.insert(vhost.name.clone(), vhost);
    }
    if !changes.is_empty() {
        broker.intake.define(changes);
    }
    configured(broker)?;
    start_deadlines(broker);
    Ok(())
}

fn damaged(key: &[u8], problem: impl Into<String>) -> DamagedDefinition {
    DamagedDefinition { key: key.to_vec(), problem: problem.into() }
}

/// The identity of a queue, which nobody else may have: their messages would be mixed for ever.
fn take(ids: &mut BTreeSet<QueueId>, key: &[u8], id: u64) -> Result<QueueId, DamagedDefinition> {
    let id = QueueId(id);
    if id.0 > QueueId::HIGHEST.0 {
        return Err(damaged(key, format!("no queue can have the number {}", id.0)));
    }
    if !ids.insert(id) {
        return Err(damaged(key, format!("another queue has the number {}", id.0)));
    }
    Ok(id)
}

/// Creates and changes what the configuration names. What it does not name stays as it is.
fn configured(broker: &Broker) -> Result<(), StartError> {
    let config = broker.config.clone();
    for entry in &config.vhosts {
        let wrong = |error| StartError::Configured { what: "virtual host", name: entry.name.clone(), error };
        let present = broker.vhost(&entry.name).map(|vhost| vhost.settings());
        let mut settings = VhostSettings {
            limits: VhostLimits { max_connections: entry.max_connections, max_queues: entry.max_queues },
            ..present.as_deref().cloned().unwrap_or_default()
        };
        if entry.default_queue_type.is_some() {
            settings.default_queue_type.clone_from(&entry.default_queue_type);
        }
        if broker.put_vhost(&entry.name, settings).map_err(wrong)?.0 {
            broker.open_to_configured(&entry.name).map_err(wrong)?;
        }
    }
    let users = config.policies.iter().map(|entry| (PolicyKind::User, entry));
    let operators = config.operator_policies.iter().map(|entry| (PolicyKind::Operator, entry));
    for (kind, entry) in users.chain(operators) {
        let wrong = |error| StartError::Configured { what: "policy", name: entry.name.clone(), error };
        if entry.vhosts.is_some() {
            continue;
        }
        let vhost = broker.vhost_to_change(&entry.vhost).map_err(wrong)?;
        broker.put_configured(kind, &vhost, entry).map_err(wrong)?;
    }
    for vhost in broker.vhosts() {
        let wrong = |error| StartError::Configured { what: "policy", name: format!("of {}", vhost.name), error };
        broker.put_initial_policies(&vhost).map_err(wrong)?;
    }
    Ok(())
}

/// A policy that cannot be used any more is passed over, loudly: without it queues keep messages rather than lose them.
fn policy(vhost: &VirtualHost, kind: PolicyKind, record: PolicyRecord) {
    match Policy::read(&vhost.name, &record.name, record.ask) {
        Ok(policy) => Arc::make_mut(&mut vhost.topology.write().policies).insert(kind, Arc::new(policy)),
        Err(problem) => {
            let name = crate::telemetry::printable(&*record.name);
            tracing::error!(policy = %name, "a policy's pattern cannot be used, the policy is left out: {problem}");
        }
    }
}

fn find<'a>(vhosts: &'a [Arc<VirtualHost>], id: u32, key: &[u8]) -> Result<&'a Arc<VirtualHost>, DamagedDefinition> {
    vhosts.iter().find(|v| v.id == id).ok_or_else(|| damaged(key, format!("there is no virtual host {id}")))
}

fn exchange(broker: &Broker, vhost: &VirtualHost, record: ExchangeRecord, kept: &Recovered) -> Result<(), StoreError> {
    let name: Arc<str> = record.name.into();
    let alternate = record.arguments.get("alternate-exchange").and_then(|v| v.as_str()).map(Arc::from);
    let holder = match record.holder {
        None => None,
        Some(id) => {
            let definition = holder_definition(QueueId(id), name.clone(), vhost.name.clone(), true);
            let backlog = kept.queues.get(&definition.id).map(|backlog| (backlog, kept.clean));
            let stretches = broker.engine().stretches(definition.id, 0)?;
            let now = broker.clock.now();
            Some(Queue::new_holder(definition, broker.intake.clone(), now, backlog, &stretches))
        }
    };
    let exchange = Exchange {
        name: name.clone(),
        kind: record.kind,
        durable: true,
        auto_delete: record.auto_delete,
        internal: record.internal,
        alternate,
        created: 0,
        holder,
        index: Index::new(record.kind, &record.arguments),
        stats: Arc::default(),
        arguments: record.arguments,
        bindings: std::collections::BTreeMap::new(),
    };
    vhost.topology.write().exchanges.insert(name, exchange);
    Ok(())
}

fn queue(broker: &Broker, vhost: &VirtualHost, record: QueueRecord, kept: &Recovered) -> Result<(), StoreError> {
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
    if let Some((backlog, _)) = backlog.filter(|_| queue.definition().options.deduplicate) {
        recall(broker, &queue, backlog)?;
    }
    vhost.topology.write().queues.insert(queue.name().clone(), queue);
    Ok(())
}

/// Reads a backlog through for what may not come again: before the first publish, or a duplicate would slip in.
fn recall(broker: &Broker, queue: &Queue, backlog: &RecoveredQueue) -> Result<(), StoreError> {
    for lane in &backlog.lanes {
        let (mut from, until) = (Some(lane.first), lane.last.saturating_add(1));
        while let Some(first) = from.filter(|from| *from < until) {
            let page = broker.engine().read(queue.id(), lane.lane, first, until, RECALL_BUDGET)?;
            queue.recall(page.messages.iter().filter_map(|m| Some((duplicate::of_message(&m.message)?, m.seq))));
            from = page.next;
        }
    }
    Ok(())
}

fn binding(vhost: &VirtualHost, record: &BindingRecord) {
    let name: Arc<str> = record.destination.as_str().into();
    let destination = if record.to_exchange { Destination::Exchange(name) } else { Destination::Queue(name) };
    let mut topology = vhost.topology.write();
    let ends = topology.exchanges.contains_key(&*record.source)
        && match &destination {
            Destination::Queue(name) => topology.queues.contains_key(name),
            Destination::Exchange(name) => topology.exchanges.contains_key(name),
        };
    if ends {
        let identity = Identity::new(&record.source, destination, &record.routing_key, &record.arguments);
        // A number that leaves none for the next binding can only be damage.
        topology.bind_as(record.order.min(QueueId::HIGHEST.0), identity, record.arguments.clone());
    } else {
        tracing::warn!(source = record.source, "a binding without both of its ends was left out");
    }
}

/// Policies reach what was recovered, and the clocks of message and queue expiry start anew.
fn start_deadlines(broker: &Broker) {
    let now = broker.clock.now();
    let mut fx = Effects::default();
    for vhost in broker.vhosts() {
        let (exchanges, holders, queues, policies) = {
            let topology = vhost.topology.read();
            let exchanges: Vec<_> = topology.exchanges.keys().cloned().collect();
            let queues: Vec<_> = topology.queues.values().cloned().collect();
            let holders: Vec<_> = topology.exchanges.values().filter_map(|exchange| exchange.holder.clone()).collect();
            (exchanges, holders, queues, topology.policies.clone())
        };
        apply::redirect(&vhost, &exchanges);
        for holder in holders {
            holder.declared_again(now, &mut fx);
            broker.finish(&holder, &mut fx);
        }
        for queue in queues {
            apply::govern(&policies, &queue, now, &mut fx);
            queue.declared_again(now, &mut fx);
            // What was on its way to the dead letters when the broker crashed is back, above a length limit.
            queue.tick(now, &mut fx);
            broker.finish(&queue, &mut fx);
        }
    }
}
