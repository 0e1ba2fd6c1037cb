//! The administrators' verbs about policies: set, clear, list.
//!
//! A change is one step under the topology's lock: the list, its version and the row for the store. The visits to what
//! lives follow in a task of their own, so that they come to their end even if whoever asked does not wait.

use std::sync::Arc;

use super::administration::AdminError;
use super::policy::{Governing, Policies, Policy, PolicyAsk, PolicyKind, apply};
use super::{Broker, VirtualHost, definitions};
use crate::queue::Queue;
use crate::store::Epoch;
use crate::telemetry::printable;

impl VirtualHost {
    /// The present policies.
    pub fn policies(&self) -> Arc<Policies> {
        self.topology().policies.clone()
    }

    /// The policies that govern a queue at present.
    pub fn policies_of(&self, queue: &Queue) -> Governing {
        self.policies().of_queue(queue.definition())
    }

    /// Changes the list and answers with the epoch that makes it durable; what lives is not visited.
    pub(super) fn put_policy(&self, broker: &Broker, kind: PolicyKind, policy: Policy) -> Result<Epoch, AdminError> {
        let mut topology = self.topology.write();
        if topology.deleted {
            return Err(AdminError::NoVhost(self.name.to_string()));
        }
        let row = definitions::put_policy(self.id, kind, &policy);
        Arc::make_mut(&mut topology.policies).insert(kind, Arc::new(policy));
        Ok(broker.intake.define([row]))
    }

    fn remove_policy(&self, broker: &Broker, kind: PolicyKind, name: &str) -> Result<Epoch, AdminError> {
        let mut topology = self.topology.write();
        if !Arc::make_mut(&mut topology.policies).remove(kind, name) {
            return Err(AdminError::NoPolicy);
        }
        Ok(broker.intake.define([definitions::delete_policy(self.id, kind, name)]))
    }
}

impl Broker {
    /// Sets a policy, replacing the one of that name; answers once it is on disk and in force.
    pub async fn set_policy(self: &Arc<Self>, vhost: &str, name: &str, ask: PolicyAsk) -> Result<(), AdminError> {
        self.set(PolicyKind::User, vhost, name, ask).await
    }

    /// Sets an operator's policy; see [`Broker::set_policy`].
    pub async fn set_operator_policy(
        self: &Arc<Self>,
        vhost: &str,
        name: &str,
        ask: PolicyAsk,
    ) -> Result<(), AdminError> {
        self.set(PolicyKind::Operator, vhost, name, ask).await
    }

    /// Removes a policy; answers once that is on disk and in force.
    pub async fn clear_policy(self: &Arc<Self>, vhost: &str, name: &str) -> Result<(), AdminError> {
        self.clear(PolicyKind::User, vhost, name).await
    }

    /// Removes an operator's policy; see [`Broker::clear_policy`].
    pub async fn clear_operator_policy(self: &Arc<Self>, vhost: &str, name: &str) -> Result<(), AdminError> {
        self.clear(PolicyKind::Operator, vhost, name).await
    }

    /// The policies of one kind in a virtual host, or with `None` in all, highest priority first.
    pub fn policies(&self, kind: PolicyKind, vhost: Option<&str>) -> Vec<Arc<Policy>> {
        let vhosts = match vhost {
            Some(name) => self.vhost(name).into_iter().collect(),
            None => self.vhosts(),
        };
        vhosts.iter().flat_map(|vhost| vhost.policies().all(kind).to_vec()).collect()
    }

    async fn set(
        self: &Arc<Self>,
        kind: PolicyKind,
        vhost: &str,
        name: &str,
        ask: PolicyAsk,
    ) -> Result<(), AdminError> {
        let vhost = self.vhost_to_change(vhost)?;
        let policy = self.read_policy(kind, &vhost, name, ask)?;
        let epoch = vhost.put_policy(self, kind, policy)?;
        tracing::info!(policy = %printable(name), vhost = %printable(&*vhost.name), ?kind, "policy set");
        self.enforce(vhost, epoch).await
    }

    async fn clear(self: &Arc<Self>, kind: PolicyKind, vhost: &str, name: &str) -> Result<(), AdminError> {
        let vhost = self.vhost_to_change(vhost)?;
        let epoch = vhost.remove_policy(self, kind, name)?;
        tracing::info!(policy = %printable(name), vhost = %printable(&*vhost.name), ?kind, "policy cleared");
        self.enforce(vhost, epoch).await
    }

    /// Judges a policy, and notes what a newer RabbitMQ would not take.
    pub(super) fn read_policy(
        &self,
        kind: PolicyKind,
        vhost: &VirtualHost,
        name: &str,
        ask: PolicyAsk,
    ) -> Result<Policy, AdminError> {
        let policy = Policy::parse(kind, &vhost.name, name, ask, self.config.profile()).map_err(AdminError::Invalid)?;
        let outdated = policy.outdated();
        if !outdated.is_empty() {
            tracing::info!(policy = %printable(name), keys = %printable(&outdated.join(", ")),
                "these keys are taken and mean nothing here; RabbitMQ 4 refuses them");
        }
        Ok(policy)
    }

    /// Judges a policy without setting it.
    pub(super) fn judge_policy(&self, kind: PolicyKind, name: &str, ask: PolicyAsk) -> Result<(), AdminError> {
        let vhost: Arc<str> = Arc::from("");
        Policy::parse(kind, &vhost, name, ask, self.config.profile()).map(|_| ()).map_err(AdminError::Invalid)
    }

    async fn enforce(self: &Arc<Self>, vhost: Arc<VirtualHost>, epoch: Epoch) -> Result<(), AdminError> {
        let visits = tokio::spawn(apply::reapply(self.clone(), vhost));
        self.committed(epoch).await?;
        // It ends otherwise only with the runtime.
        let _ = visits.await;
        Ok(())
    }
}
