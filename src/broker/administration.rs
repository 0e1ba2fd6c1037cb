//! What administrators' verbs share: why one is refused, and how the verbs wait for the disk.
//!
//! The verbs themselves are in [`super::policies`], [`super::parameters`], [`super::vhosts`], [`super::users`] and
//! [`super::grants`]. They are methods of [`Broker`], answer once
//! the change is committed and in force, and know neither HTTP nor permissions: whoever calls them has checked who asks.

use std::sync::Arc;

use super::{Broker, VirtualHost};
use crate::auth::BadPattern;
use crate::store::Epoch;
use crate::sync::Bell;

/// Why something cannot be changed as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// There is no virtual host of that name.
    #[error("Virtual host '{0}' does not exist")]
    NoVhost(String),
    /// There is no user of that name.
    #[error("User '{0}' does not exist")]
    NoUser(String),
    /// A permission's regular expression cannot be used.
    #[error("invalid regular expression '{}': {}", .0.pattern, .0.problem)]
    Pattern(#[from] BadPattern),
    /// There is no policy of that name.
    #[error("Parameter does not exist")]
    NoPolicy,
    /// There is no parameter of that name.
    #[error("Parameter does not exist")]
    NoParameter,
    /// The virtual host is protected from deletion.
    #[error("Refusing to delete virtual host '{0}' because it is protected from deletion")]
    Protected(String),
    /// What was given is not valid; RabbitMQ's text.
    #[error("{0}")]
    Invalid(String),
    /// There are as many virtual hosts as the configuration allows.
    #[error("cannot create vhost '{name}': vhost limit of {limit} is reached")]
    VhostLimit {
        /// The one asked for.
        name: String,
        /// `limits.vhost_max`.
        limit: u64,
    },
    /// The store can no longer keep its promise; nothing is known of the change.
    #[error("the store has failed: {0}")]
    Store(String),
}

impl Broker {
    /// The virtual host of that name, for an administrator.
    pub(super) fn vhost_to_change(&self, name: &str) -> Result<Arc<VirtualHost>, AdminError> {
        self.vhost(name).ok_or_else(|| AdminError::NoVhost(name.to_owned()))
    }

    /// Completes once `epoch` is committed, or the store has failed.
    pub async fn committed(&self, epoch: Epoch) -> Result<(), AdminError> {
        let bell = Arc::new(Bell::new());
        while !self.watermark.await_epoch(epoch, &bell) {
            tokio::select! {
                () = bell.rung() => {}
                why = self.failed() => return Err(AdminError::Store(why)),
            }
        }
        Ok(())
    }
}
