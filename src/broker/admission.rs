//! Who may come in: the limits on connections and channels, and the places they occupy.
//!
//! A [`Place`] is taken in one atomic step, so that a limit holds however many come at once, and given up when dropped.
//! Source: RabbitMQ's checks at connection.open and channel.open, in its order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Broker, Connection, VirtualHost};
use crate::auth::{User, UserLimits};
use crate::wire::refusal::{Refusal, ReplyCode};

/// How many of something there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Occupied(Arc<AtomicU64>);

/// One of them; gives its place up when dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicU64>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Occupied {
    /// A place, or the limit that is reached.
    fn take(&self, limit: Option<u64>) -> Result<Place, u64> {
        let limit = limit.unwrap_or(u64::MAX);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then(|| n + 1));
        taken.map(|_| Place(self.0.clone())).map_err(|_| limit)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a user has open.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    connections: Occupied,
    channels: Occupied,
}

/// The places of one open connection.
#[derive(Debug)]
pub struct Admitted {
    _places: [Place; 3],
}

/// The places of one open channel.
#[derive(Debug)]
pub struct ChannelPlace {
    _places: [Place; 2],
}

fn not_allowed(text: String) -> Refusal {
    Refusal::new(ReplyCode::NotAllowed, text)
}

impl Broker {
    /// connection.open: the virtual host and the connection's places, which last until they are dropped.
    pub fn admit(
        &self,
        connection: &Connection,
        user: &Arc<User>,
        name: &str,
    ) -> Result<(Arc<VirtualHost>, Admitted), Refusal> {
        let of_node = self
            .open_connections
            .take(self.live.connection_max())
            .map_err(|limit| not_allowed(format!("connection refused: node connection limit ({limit}) is reached")))?;
        let not_found = || not_allowed(format!("vhost {name} not found"));
        let vhost = self.vhost(name).ok_or_else(not_found)?;
        let of_vhost = vhost.connections.take(vhost.settings().limits.connections()).map_err(|limit| {
            let text = format!(
                "access to vhost '{name}' refused for user '{}': connection limit ({limit}) is reached",
                user.name
            );
            not_allowed(text)
        })?;
        let (usage, limits) = self.usage_of(user);
        let of_user = usage.connections.take(limits.connections()).map_err(|limit| {
            let name = &user.name;
            not_allowed(format!("connection refused for user '{name}': user connection limit ({limit}) is reached"))
        })?;
        connection.enter(user.clone(), vhost.clone());
        // Whoever takes away the permission, or deletes the user or the virtual host, does that first and looks for
        // connections then: one of the two sees the other.
        self.may_enter(user, name)?;
        if vhost.topology().deleted {
            return Err(not_found());
        }
        Ok((vhost, Admitted { _places: [of_node, of_vhost, of_user] }))
    }

    /// What the user has open, and may have open at present.
    fn usage_of(&self, user: &User) -> (Usage, UserLimits) {
        let limits = self.users.get(&user.name).map_or(user.limits, |user| user.limits);
        let known = self.usage.get(&user.name).map(|usage| usage.clone());
        (known.unwrap_or_else(|| self.usage.entry(user.name.clone()).or_default().clone()), limits)
    }

    /// channel.open: the channel's places, which last until they are dropped.
    pub fn admit_channel(&self, user: &User) -> Result<ChannelPlace, Refusal> {
        let (usage, limits) = self.usage_of(user);
        let of_user = usage.channels.take(limits.channels()).map_err(|limit| {
            let text = "has reached the maximum allowed user limit of";
            not_allowed(format!("number of channels opened for user '{}' {text} {limit}", user.name))
        })?;
        let of_node = self.open_channels.take(self.live.channel_max_per_node()).map_err(|limit| {
            let text = "has reached the maximum allowed limit of";
            not_allowed(format!("number of channels opened on node '{}' {text} {limit}", self.config.node_name))
        })?;
        Ok(ChannelPlace { _places: [of_user, of_node] })
    }
}
