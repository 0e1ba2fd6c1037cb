//! What new virtual hosts begin with: the limits and policies that the configuration has for all that fit a pattern.
//!
//! RabbitMQ's `default_limits.vhosts` and `default_policies.operator`. Invariant: a virtual host that exists already keeps
//! its limits; policies are put into it at each start, as those are that name their virtual host.

use super::policy::{PolicyAsk, PolicyKind};
use super::vhosts::VhostLimits;
use super::{Broker, VirtualHost};
use crate::broker::administration::AdminError;
use crate::config::PolicyEntry;
use crate::config::patterns::fits;
use crate::store::Epoch;

impl Broker {
    /// Limits of a virtual host of this name: those of the first entry that it fits.
    pub(super) fn initial_limits(&self, name: &str) -> VhostLimits {
        let entry = self.config.vhost_limits.iter().find(|entry| fits(&entry.vhosts, name));
        entry.map_or_else(VhostLimits::default, |entry| VhostLimits {
            max_connections: entry.max_connections,
            max_queues: entry.max_queues,
        })
    }

    /// Puts the policies into a virtual host that are for all of its kind. Answers with the epoch that makes the last of
    /// them durable.
    pub(super) fn put_initial_policies(&self, vhost: &VirtualHost) -> Result<Option<Epoch>, AdminError> {
        let config = self.config.clone();
        let users = config.policies.iter().map(|entry| (PolicyKind::User, entry));
        let operators = config.operator_policies.iter().map(|entry| (PolicyKind::Operator, entry));
        let mut last = None;
        for (kind, entry) in users.chain(operators) {
            if entry.vhosts.as_ref().is_some_and(|pattern| fits(pattern, &vhost.name)) {
                last = self.put_configured(kind, vhost, entry)?.or(last);
            }
        }
        Ok(last)
    }

    /// Puts one policy of the configuration into a virtual host, unless it is there.
    pub(super) fn put_configured(
        &self,
        kind: PolicyKind,
        vhost: &VirtualHost,
        entry: &PolicyEntry,
    ) -> Result<Option<Epoch>, AdminError> {
        let ask = PolicyAsk {
            pattern: entry.pattern.clone(),
            definition: entry.definition.clone(),
            priority: entry.priority,
            apply_to: entry.apply_to.clone(),
        };
        if vhost.policies().get(kind, &entry.name).is_some_and(|known| known.ask() == ask) {
            return Ok(None);
        }
        let policy = self.read_policy(kind, vhost, &entry.name, ask)?;
        vhost.put_policy(self, kind, policy).map(Some)
    }
}
