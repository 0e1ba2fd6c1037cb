//! The administrators' verbs about users: put, delete, limit, list.
//!
//! A user that is deleted takes its permissions along, in one batch for the store, and its connections are told to
//! leave. A password that changes closes nothing, as with RabbitMQ; tags and limits that change are looked at again by
//! whoever is connected.

use std::sync::Arc;

use super::administration::AdminError;
use super::{Broker, definitions};
use crate::auth::{NAME_MAX, TAGS_MAX, User, UserLimits};
use crate::store::Epoch;
use crate::telemetry::printable;
use crate::wire::refusal::{Refusal, ReplyCode};

/// Longest tag, in octets.
const TAG_MAX: usize = 255;

/// Judges what a user is to be.
pub(super) fn check(user: &User) -> Result<(), AdminError> {
    let invalid = |what: String| Err(AdminError::Invalid(what));
    if user.name.is_empty() || user.name.len() > NAME_MAX {
        return invalid(format!("a user's name has 1 to {NAME_MAX} octets"));
    }
    if user.tags.len() > TAGS_MAX {
        return invalid(format!("a user has at most {TAGS_MAX} tags"));
    }
    if user.tags.iter().any(|tag| tag.is_empty() || tag.len() > TAG_MAX) {
        return invalid(format!("a tag has 1 to {TAG_MAX} octets"));
    }
    Ok(())
}

impl Broker {
    /// All users, ordered by name.
    pub fn list_users(&self) -> Vec<Arc<User>> {
        self.users.list()
    }

    /// Creates a user, or replaces the one of that name. Answers once it is on disk, with whether it is new. A new user
    /// has no permissions.
    pub async fn put_user(&self, user: User) -> Result<bool, AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let (new, epoch) = self.put_user_now(user)?;
        self.committed(epoch).await?;
        Ok(new)
    }

    /// [`Broker::put_user`] without the wait; callers follow one another.
    pub(super) fn put_user_now(&self, user: User) -> Result<(bool, Epoch), AdminError> {
        check(&user)?;
        let name = user.name.clone();
        let present = self.users.get(&name);
        if present.as_deref() == Some(&user) {
            return Ok((false, self.intake.define([])));
        }
        let epoch = self.intake.define([definitions::put_user(&user)]);
        self.users.insert(user);
        self.review(&name, None);
        let new = present.is_none();
        tracing::info!(user = %printable(&*name), "user {}", if new { "created" } else { "changed" });
        Ok((new, epoch))
    }

    /// Replaces the limits of a user; what exceeds them already stays. Answers once they are on disk.
    pub async fn set_user_limits(&self, name: &str, limits: UserLimits) -> Result<(), AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let user = self.user_to_change(name)?;
        let (_, epoch) = self.put_user_now(User { limits, ..(*user).clone() })?;
        self.committed(epoch).await
    }

    /// Deletes a user with all its permissions; its clients are told (320). Answers once nothing of it is on disk, with
    /// whether there was one.
    pub async fn delete_user(&self, name: &str) -> Result<bool, AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        if self.users.remove(name).is_none() {
            return Ok(false);
        }
        let mut changes = self.permission_rows(|_, user| user == name);
        changes.push(definitions::delete_user(name));
        self.permissions.forget_user(name);
        self.vhosts().iter().for_each(|vhost| vhost.changed());
        self.usage.remove(name);
        let epoch = self.intake.define(changes);
        let text = format!("user '{name}' is deleted");
        for connection in self.connections.of_user(name) {
            connection.kick(Refusal::new(ReplyCode::ConnectionForced, text.clone()));
        }
        tracing::info!(user = %printable(name), "user deleted");
        self.committed(epoch).await?;
        Ok(true)
    }

    /// The user of that name, for an administrator.
    pub(super) fn user_to_change(&self, name: &str) -> Result<Arc<User>, AdminError> {
        self.users.get(name).ok_or_else(|| AdminError::NoUser(name.to_owned()))
    }
}
