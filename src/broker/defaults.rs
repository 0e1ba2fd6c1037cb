//! What new virtual hosts begin with: the limits, permissions and policies that the configuration has for all that fit a
//! pattern.
//!
//! RabbitMQ's `default_limits.vhosts`, `default_users` and `default_policies.operator`. Invariant: a virtual host that exists already keeps
//! its limits; policies are put into it at each start, as those are that name their virtual host.

use super::policy::{PolicyAsk, PolicyKind};
use super::vhosts::VhostLimits;
use super::{Broker, VirtualHost};
use crate::auth::Permission;
use crate::broker::administration::AdminError;
use crate::config::patterns::fits;
use crate::config::{PermissionEntry, PolicyEntry};
use crate::store::Epoch;

fn permission(entry: &PermissionEntry) -> Permission {
    let PermissionEntry { configure, write, read, .. } = entry.clone();
    Permission { configure, write, read }
}

impl Broker {
    /// Limits of a virtual host of this name: those of the first entry that it fits.
    pub(super) fn initial_limits(&self, name: &str) -> VhostLimits {
        let entry = self.config.vhost_limits.iter().find(|entry| fits(&entry.vhosts, name));
        entry.map_or_else(VhostLimits::default, |entry| VhostLimits {
            max_connections: entry.max_connections,
            max_queues: entry.max_queues,
        })
    }

    /// Whether the configuration says what a user may do, rather than everything.
    pub(super) fn has_initial_permissions(&self, user: &str) -> bool {
        self.config.permissions.iter().any(|entry| entry.user == user)
    }

    /// What a configured user may do in a new virtual host of this name, if anything.
    pub(super) fn initial_permission(&self, vhost: &str, user: &str) -> Option<Permission> {
        if !self.has_initial_permissions(user) {
            return Some(Permission::all());
        }
        let entries = self.config.permissions.iter().filter(|entry| entry.user == user);
        entries.filter(|entry| fits(&entry.vhosts, vhost)).map(permission).next()
    }

    /// Grants in a new virtual host what the configuration grants there. Answers with the epoch that makes the last of
    /// it durable.
    pub(super) fn put_initial_permissions(&self, vhost: &str) -> Result<Option<Epoch>, AdminError> {
        let config = self.config.clone();
        let entries = config.permissions.iter().filter(|entry| fits(&entry.vhosts, vhost));
        let mut last = None;
        for entry in entries.filter(|entry| self.users.get(&entry.user).is_some()) {
            last = Some(self.set_permission_now(vhost, &entry.user, &permission(entry))?.1);
        }
        Ok(last)
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
