//! The administrators' verbs about permissions: set, clear, list; and how permissions come back at a start.
//!
//! A change is seen by the very next method of whoever is connected: nothing remembered outlives the version of the
//! virtual host. Who may not be in a virtual host any more is told to leave, whose right to consume may be gone looks
//! it up. (RabbitMQ leaves such connections and consumers as they are until they do something.)
//!
//! Invariants: a permission is of a user and a virtual host that exist. A store without the mark that there are
//! permissions was written before there were any: whoever could log in could do everything, and still can.

use std::sync::Arc;

use super::administration::AdminError;
use super::definitions::{self, PermissionRecord, TopicPermissionRecord};
use super::{Broker, VirtualHost};
use crate::auth::{Permission, Right, TopicPermission, TopicRight};
use crate::store::{Define, Epoch};
use crate::telemetry::printable;

/// Longest name of an exchange, in octets.
const EXCHANGE_NAME_MAX: usize = 255;

impl Broker {
    /// Every permission with its virtual host and user, in the order of these.
    pub fn permissions(&self) -> Vec<(Arc<str>, Arc<str>, Permission)> {
        self.permissions.list()
    }

    /// Every topic permission with its virtual host and user, in the order of these and the exchange.
    pub fn topic_permissions(&self) -> Vec<(Arc<str>, Arc<str>, TopicPermission)> {
        self.permissions.list_topics()
    }

    /// Sets what a user may do in a virtual host. Answers once that is on disk and in force, with whether it is new.
    pub async fn set_permission(&self, vhost: &str, user: &str, permission: Permission) -> Result<bool, AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let (new, epoch) = self.set_permission_now(vhost, user, &permission)?;
        self.committed(epoch).await?;
        Ok(new)
    }

    /// [`Broker::set_permission`] without the wait; callers follow one another.
    pub(super) fn set_permission_now(
        &self,
        vhost: &str,
        user: &str,
        permission: &Permission,
    ) -> Result<(bool, Epoch), AdminError> {
        let right = Right::new(permission)?;
        let (vhost, user) = (self.vhost_to_change(vhost)?, self.user_to_change(user)?);
        if self.permissions.get(&vhost.name, &user.name).as_ref() == Some(permission) {
            return Ok((false, self.intake.define([])));
        }
        let new = self.permissions.set(&vhost.name, &user.name, right);
        let epoch = self.intake.define([definitions::put_permission(vhost.id, &user.name, permission)]);
        self.changed_for(&vhost, &user.name, "permission set");
        Ok((new, epoch))
    }

    /// Removes a user's permission in a virtual host; its clients there are told (530). Answers once that is on disk,
    /// with whether there was one.
    pub async fn clear_permission(&self, vhost: &str, user: &str) -> Result<bool, AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let (vhost, user) = (self.vhost_to_change(vhost)?, self.user_to_change(user)?);
        if !self.permissions.clear(&vhost.name, &user.name) {
            return Ok(false);
        }
        let epoch = self.intake.define([definitions::delete_permission(vhost.id, &user.name)]);
        self.changed_for(&vhost, &user.name, "permission cleared");
        self.committed(epoch).await?;
        Ok(true)
    }

    /// Sets with which routing keys a user may use a topic exchange, which need not exist. Answers once that is on disk
    /// and in force, with whether it is new.
    pub async fn set_topic_permission(
        &self,
        vhost: &str,
        user: &str,
        permission: TopicPermission,
    ) -> Result<bool, AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let (new, epoch) = self.set_topic_permission_now(vhost, user, &permission)?;
        self.committed(epoch).await?;
        Ok(new)
    }

    /// [`Broker::set_topic_permission`] without the wait; callers follow one another.
    pub(super) fn set_topic_permission_now(
        &self,
        vhost: &str,
        user: &str,
        permission: &TopicPermission,
    ) -> Result<(bool, Epoch), AdminError> {
        if permission.exchange.len() > EXCHANGE_NAME_MAX {
            return Err(AdminError::Invalid(format!("an exchange's name has at most {EXCHANGE_NAME_MAX} octets")));
        }
        let right = TopicRight::new(vhost, user, permission)?;
        let (vhost, user) = (self.vhost_to_change(vhost)?, self.user_to_change(user)?);
        if self.permissions.get_topic(&vhost.name, &user.name, &permission.exchange).as_ref() == Some(permission) {
            return Ok((false, self.intake.define([])));
        }
        let new = self.permissions.set_topic(&vhost.name, &user.name, right);
        let epoch = self.intake.define([definitions::put_topic_permission(vhost.id, &user.name, permission)]);
        self.changed_for(&vhost, &user.name, "topic permission set");
        Ok((new, epoch))
    }

    /// Lets a user use a topic exchange with any routing key again. Answers once that is on disk and in force, with
    /// whether anything was set.
    pub async fn clear_topic_permission(&self, vhost: &str, user: &str, exchange: &str) -> Result<bool, AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let (vhost, user) = (self.vhost_to_change(vhost)?, self.user_to_change(user)?);
        if !self.permissions.clear_topic(&vhost.name, &user.name, exchange) {
            return Ok(false);
        }
        let epoch = self.intake.define([definitions::delete_topic_permission(vhost.id, &user.name, exchange)]);
        self.changed_for(&vhost, &user.name, "topic permission cleared");
        self.committed(epoch).await?;
        Ok(true)
    }

    /// Called after every change of what a user may do in a virtual host.
    fn changed_for(&self, vhost: &Arc<VirtualHost>, user: &str, what: &str) {
        vhost.changed();
        self.review(user, Some(vhost));
        tracing::info!(user = %printable(user), vhost = %printable(&*vhost.name), "{what}");
    }

    /// Has the connections of a user look at their rights again, in one virtual host or in all; who may not be where it
    /// is any more is told to leave.
    pub(super) fn review(&self, user: &str, vhost: Option<&Arc<VirtualHost>>) {
        for connection in self.connections.of_user(user) {
            let Some(entered) = connection.vhost() else { continue };
            if vhost.is_some_and(|vhost| !Arc::ptr_eq(vhost, entered)) {
                continue;
            }
            match self.may_stay(&connection, &entered.name) {
                Ok(()) => connection.review(),
                Err(refusal) => connection.kick(refusal),
            }
        }
    }

    /// The changes that remove the rows of those permissions that `which` chooses by virtual host and user.
    pub(super) fn permission_rows(&self, which: impl Fn(&str, &str) -> bool) -> Vec<Define> {
        let id = |name: &str| self.vhost(name).map(|vhost| vhost.id);
        let permissions = self.permissions.list();
        let permissions = permissions.iter().filter(|(vhost, user, _)| which(vhost, user));
        let permissions =
            permissions.filter_map(|(vhost, user, _)| Some(definitions::delete_permission(id(vhost)?, user)));
        let topics = self.permissions.list_topics();
        let topics = topics.iter().filter(|(vhost, user, _)| which(vhost, user)).filter_map(|(vhost, user, topic)| {
            Some(definitions::delete_topic_permission(id(vhost)?, user, &topic.exchange))
        });
        permissions.chain(topics).collect()
    }

    /// Lets everybody whom the configuration names do everything in a virtual host that is new, but for those whom it
    /// grants something else.
    pub(super) fn open_to_configured(&self, vhost: &str) -> Result<(), AdminError> {
        let config = self.config.clone();
        let known = |name: &str| self.users.get(name).is_some();
        for user in config.users.iter().filter(|user| known(&user.name) && !self.has_initial_permissions(&user.name)) {
            self.set_permission_now(vhost, &user.name, &Permission::all())?;
        }
        Ok(())
    }
}

/// What the store kept of permissions.
#[derive(Default)]
pub(super) struct Kept {
    /// Whether whoever wrote the store knew permissions.
    pub(super) known: bool,
    pub(super) permissions: Vec<(Arc<VirtualHost>, PermissionRecord)>,
    pub(super) topics: Vec<(Arc<VirtualHost>, TopicPermissionRecord)>,
}

impl Kept {
    /// Puts everything in force, once users are known. `vhosts` are all there are; `seeded` tells that the users are those
    /// of the configuration, who may do everything. Returns what the store is to be told.
    pub(super) fn restore(self, broker: &Broker, vhosts: &[Arc<VirtualHost>], seeded: bool) -> Vec<Define> {
        let mut changes = Vec::new();
        let stray = |user: &str, what: &str| {
            let stray = broker.users.get(user).is_none();
            if stray {
                tracing::warn!(user = %printable(user), "a {what} of a user who does not exist was removed");
            }
            stray
        };
        for (vhost, PermissionRecord { user, configure, write, read }) in self.permissions {
            if stray(&user, "permission") {
                changes.push(definitions::delete_permission(vhost.id, &user));
            } else {
                broker.permissions.set(&vhost.name, &user, Right::kept(&Permission { configure, write, read }));
            }
        }
        for (vhost, TopicPermissionRecord { user, exchange, write, read }) in self.topics {
            if stray(&user, "topic permission") {
                changes.push(definitions::delete_topic_permission(vhost.id, &user, &exchange));
            } else {
                let permission = TopicPermission { exchange, write, read };
                broker.permissions.set_topic(&vhost.name, &user, TopicRight::kept(&vhost.name, &user, &permission));
            }
        }
        if !self.known {
            changes.push(definitions::keep_permissions());
        }
        if !self.known || seeded {
            let all = Permission::all();
            for (vhost, user) in
                vhosts.iter().flat_map(|vhost| broker.users.list().into_iter().map(move |u| (vhost, u)))
            {
                let initial =
                    if seeded { broker.initial_permission(&vhost.name, &user.name) } else { Some(all.clone()) };
                let Some(permission) = initial else { continue };
                broker.permissions.set(&vhost.name, &user.name, Right::kept(&permission));
                changes.push(definitions::put_permission(vhost.id, &user.name, &permission));
            }
        }
        changes
    }
}
