//! The administrators' verbs about virtual hosts: create, change, limit, delete, list.
//!
//! Deleting one happens in an order that leaves nothing half done: its name is taken away and its topology emptied in
//! one step, so that nothing new can come; its connections are told to leave; its queues are deleted one by one; and one
//! batch for the store removes every row. Until that batch is committed a crash brings the whole virtual host back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::administration::AdminError;
use super::policy::PolicyKind;
use super::topology::Topology;
use super::{Broker, VirtualHost, definitions};
use crate::queue::{Effects, Kind, Queue};
use crate::store::{Define, Epoch};
use crate::telemetry::printable;
use crate::wire::refusal::{Refusal, ReplyCode};

/// Queues deleted before other tasks get their turn.
const BUDGET: usize = 256;

/// Longest name of a virtual host, in octets: connection.open carries it as a short string.
const NAME_MAX: usize = 255;

/// What is known of a virtual host beside its name and its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VhostSettings {
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// For people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The type of queues declared without one, `classic` or `quorum`; the node's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_queue_type: Option<String>,
    /// Limits.
    #[serde(skip_serializing_if = "VhostLimits::is_empty")]
    pub limits: VhostLimits,
    /// Whether it may not be deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub protected: bool,
    /// Whether its messages are to be traced; remembered, but nothing traces.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tracing: bool,
}

/// Limits of a virtual host; absent or negative is unlimited, 0 allows none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct VhostLimits {
    /// Client connections at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Queues of any kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queues: Option<i64>,
}

impl VhostLimits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `max-connections`, if it limits.
    pub fn connections(&self) -> Option<u64> {
        self.max_connections.and_then(|n| u64::try_from(n).ok())
    }

    /// `max-queues`, if it limits.
    pub fn queues(&self) -> Option<u64> {
        self.max_queues.and_then(|n| u64::try_from(n).ok())
    }
}

/// The queue type of that name; streams are not there.
pub(super) fn queue_type(name: &str) -> Option<Kind> {
    [Kind::Classic, Kind::Quorum].into_iter().find(|kind| kind.as_str() == name)
}

/// Judges what a virtual host is to be.
pub(super) fn check(name: &str, settings: &VhostSettings) -> Result<(), AdminError> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(AdminError::Invalid(format!("a virtual host's name has 1 to {NAME_MAX} octets")));
    }
    match &settings.default_queue_type {
        Some(kind) if queue_type(kind).is_none() => {
            Err(AdminError::Invalid(format!("{kind} is not a valid queue type")))
        }
        _ => Ok(()),
    }
}

impl VirtualHost {
    /// The present settings.
    pub fn settings(&self) -> Arc<VhostSettings> {
        self.settings.lock().clone()
    }

    /// Replaces the settings; answers with the epoch that makes them durable.
    fn change(&self, broker: &Broker, change: impl FnOnce(&mut VhostSettings)) -> Result<Epoch, AdminError> {
        // The topology's lock keeps rows in the order of the changes.
        let topology = self.topology.write();
        if topology.deleted {
            return Err(AdminError::NoVhost(self.name.to_string()));
        }
        let mut settings = (*self.settings()).clone();
        change(&mut settings);
        let row = definitions::put_vhost(self.id, &self.name, &settings);
        *self.settings.lock() = Arc::new(settings);
        Ok(broker.intake.define([row]))
    }

    /// Replaces the limits; answers with the epoch that makes them durable.
    pub(super) fn set_limits(&self, broker: &Broker, limits: VhostLimits) -> Result<Epoch, AdminError> {
        self.change(broker, |settings| settings.limits = limits)
    }

    /// Empties the topology for good. Returns what was there.
    fn end(&self) -> Option<Topology> {
        let mut topology = self.topology.write();
        if topology.deleted {
            return None;
        }
        let ended = std::mem::take(&mut *topology);
        topology.deleted = true;
        self.count(&topology);
        self.changed();
        Some(ended)
    }

    /// The rows of everything durable in `ended`, and of the virtual host.
    fn removal(&self, ended: &Topology) -> Vec<Define> {
        let mut changes = Vec::new();
        for binding in ended.identities.values() {
            changes.push(definitions::delete_binding(self.id, binding));
        }
        for queue in ended.queues.values().filter(|queue| queue.definition().durable) {
            changes.extend(definitions::delete_queue(self.id, queue.id()));
        }
        for exchange in ended.exchanges.values().filter(|exchange| exchange.durable) {
            changes.push(definitions::delete_exchange(self.id, &exchange.name));
            changes.extend(exchange.holder.as_ref().map(|holder| Define::DropQueue { queue: holder.id() }));
        }
        for kind in [PolicyKind::User, PolicyKind::Operator] {
            let names = ended.policies.all(kind).iter().map(|policy| policy.name.clone());
            changes.extend(names.map(|name| definitions::delete_policy(self.id, kind, &name)));
        }
        let parameters = ended.parameters.keys();
        changes.extend(parameters.map(|(component, name)| definitions::delete_parameter(self.id, component, name)));
        changes.push(definitions::delete_vhost(self.id));
        changes
    }
}

impl Broker {
    /// Creates a virtual host, into which nobody is let yet, or gives the one of that name these settings (its limits are
    /// kept unless `settings` has some, and its protection). Answers once it is on disk, with whether it is new.
    pub async fn create_vhost(&self, name: &str, settings: VhostSettings) -> Result<bool, AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let (new, epoch) = self.put_vhost(name, settings)?;
        self.committed(epoch).await?;
        Ok(new)
    }

    /// [`Broker::create_vhost`] without the wait; callers follow one another.
    pub(super) fn put_vhost(&self, name: &str, mut settings: VhostSettings) -> Result<(bool, Epoch), AdminError> {
        check(name, &settings)?;
        if let Some(vhost) = self.vhost(name) {
            let present = vhost.settings();
            if settings.limits.is_empty() {
                settings.limits = present.limits;
            }
            settings.protected |= present.protected;
            if *present == settings {
                return Ok((false, self.intake.define([])));
            }
            return Ok((false, vhost.change(self, |present| *present = settings)?));
        }
        if let Some(limit) = self.live.vhost_max().filter(|max| self.vhosts.len() as u64 >= *max) {
            return Err(AdminError::VhostLimit { name: name.to_owned(), limit });
        }
        if settings.limits.is_empty() {
            settings.limits = self.initial_limits(name);
        }
        let id = self.next_vhost_id.fetch_add(1, Ordering::Relaxed);
        let epoch = self.intake.define([definitions::put_vhost(id, name, &settings)]);
        let vhost = Arc::new(VirtualHost::new(id, name.into(), settings, self.config.profile()));
        self.vhosts.insert(vhost.name.clone(), vhost.clone());
        tracing::info!(vhost = %printable(name), "virtual host created");
        // They were judged at the start; one that is wrong for this virtual host alone is no reason to have no host.
        let wrong = |error| {
            tracing::error!(vhost = %printable(name), "what is configured for new virtual hosts cannot be set: {error}");
            None
        };
        let policies = self.put_initial_policies(&vhost).unwrap_or_else(wrong);
        let permissions = self.put_initial_permissions(name).unwrap_or_else(wrong);
        Ok((true, epoch.max(policies.unwrap_or(epoch)).max(permissions.unwrap_or(epoch))))
    }

    /// Replaces the limits of a virtual host; what exceeds them already stays. Answers once they are on disk.
    pub async fn set_vhost_limits(&self, name: &str, limits: VhostLimits) -> Result<(), AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let epoch = self.vhost_to_change(name)?.set_limits(self, limits)?;
        self.committed(epoch).await
    }

    /// Protects a virtual host from deletion, or ends that. Answers once it is on disk.
    pub async fn protect_vhost(&self, name: &str, protected: bool) -> Result<(), AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let epoch = self.vhost_to_change(name)?.change(self, |settings| settings.protected = protected)?;
        self.committed(epoch).await
    }

    /// Deletes a virtual host with everything in it; its clients are told (320). Answers once nothing of it is on disk.
    pub async fn delete_vhost(self: &Arc<Self>, name: &str) -> Result<(), AdminError> {
        let (broker, name) = (self.clone(), name.to_owned());
        // A task of its own: once begun it comes to its end, whether or not somebody waits.
        let deletion = tokio::spawn(async move { broker.delete_vhost_now(&name).await });
        deletion.await.unwrap_or_else(|error| Err(AdminError::Store(error.to_string())))
    }

    async fn delete_vhost_now(&self, name: &str) -> Result<(), AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let vhost = self.vhost_to_change(name)?;
        if vhost.settings().protected {
            return Err(AdminError::Protected(name.to_owned()));
        }
        let Some(ended) = vhost.end() else { return Err(AdminError::NoVhost(name.to_owned())) };
        let permissions = self.permission_rows(|vhost, _| vhost == name);
        self.vhosts.remove(name);
        self.permissions.forget_vhost(name);
        let text = format!("vhost '{name}' is deleted");
        for connection in self.connections.in_vhost(&vhost) {
            connection.kick(Refusal::new(ReplyCode::ConnectionForced, text.clone()));
        }
        let holders = ended.exchanges.values().filter_map(|exchange| exchange.holder.as_ref());
        let queues: Vec<&Arc<Queue>> = ended.queues.values().chain(holders).collect();
        let mut fx = Effects::default();
        for piece in queues.chunks(BUDGET) {
            for queue in piece {
                let _ = queue.delete_if(&mut fx, |_| Ok::<(), std::convert::Infallible>(()));
                self.finish(queue, &mut fx);
            }
            tokio::task::yield_now().await;
        }
        // A virtual host of the same name may follow: it is not to get this one's dead letters.
        self.courier.forget(|queue| queue.definition().vhost == vhost.name);
        self.stats.churn.queues_deleted.add_shared(ended.queues.len() as u64);
        self.connections.forget_vhost(name);
        let epoch = self.intake.define(vhost.removal(&ended).into_iter().chain(permissions));
        tracing::info!(vhost = %printable(name), queues = queues.len(), "virtual host deleted");
        self.committed(epoch).await
    }
}
