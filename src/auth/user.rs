//! A user as the registry, the store and exported definitions know it.
//!
//! Invariant: what an earlier version stored is still read: a hash without the name of its algorithm is SHA-256.
//! Deliberately absent: what a user may do, see [`super::permissions`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::password::{Algorithm, PasswordHash, UnusableHash};

/// Most tags of one user; RabbitMQ's limit.
pub const TAGS_MAX: usize = 32;

/// Longest name of a user, in octets: the user-id property carries it as a short string.
pub const NAME_MAX: usize = 255;

/// Someone who may log in, as kept in the definitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct User {
    /// Name the client logs in with, and the only value its messages' user-id property may have.
    pub name: Arc<str>,
    /// Tags such as `administrator`. They open the management API, and `impersonator` other users' ids; no queue.
    pub tags: Vec<Arc<str>>,
    /// Salted hash of the password; `None` lets nobody log in by a password.
    pub password_hash: Option<PasswordHash>,
    /// Whether logins are accepted from this machine only (RabbitMQ's `loopback_users`).
    pub loopback_only: bool,
    /// What this user may hold at a time.
    pub limits: UserLimits,
}

impl User {
    /// Whether the user has this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| **own == *tag)
    }
}

/// Limits of a user, over all virtual hosts; absent or negative is unlimited, 0 allows none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct UserLimits {
    /// Client connections at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Channels at a time, of all connections together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_channels: Option<i64>,
}

impl UserLimits {
    /// `max-connections`, if it limits.
    pub fn connections(&self) -> Option<u64> {
        self.max_connections.and_then(|n| u64::try_from(n).ok())
    }

    /// `max-channels`, if it limits.
    pub fn channels(&self) -> Option<u64> {
        self.max_channels.and_then(|n| u64::try_from(n).ok())
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The form in the store.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: Arc<str>,
    #[serde(default)]
    tags: Vec<Arc<str>>,
    /// Empty: no password.
    #[serde(default)]
    password_hash: String,
    #[serde(default = "oldest")]
    hashing_algorithm: String,
    #[serde(default)]
    loopback_only: bool,
    #[serde(default, skip_serializing_if = "UserLimits::is_empty")]
    limits: UserLimits,
}

/// The algorithm of the hashes that were stored before algorithms were.
fn oldest() -> String {
    Algorithm::Sha256.name().to_owned()
}

impl From<User> for Stored {
    fn from(user: User) -> Self {
        let algorithm = user.password_hash.as_ref().map_or(Algorithm::Sha256.name(), PasswordHash::algorithm_name);
        Self {
            name: user.name,
            tags: user.tags,
            password_hash: user.password_hash.as_ref().map(PasswordHash::to_base64).unwrap_or_default(),
            hashing_algorithm: algorithm.to_owned(),
            loopback_only: user.loopback_only,
            limits: user.limits,
        }
    }
}

impl TryFrom<Stored> for User {
    type Error = UnusableHash;

    fn try_from(stored: Stored) -> Result<Self, UnusableHash> {
        Ok(Self {
            password_hash: PasswordHash::from_export(&stored.password_hash, &stored.hashing_algorithm)?,
            name: stored.name,
            tags: stored.tags,
            loopback_only: stored.loopback_only,
            limits: stored.limits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User {
            name: "app".into(),
            tags: vec!["monitoring".into()],
            password_hash: Some(PasswordHash::of(b"s3cret").unwrap()),
            loopback_only: true,
            limits: UserLimits { max_connections: Some(-1), max_channels: Some(0) },
        }
    }

    #[test]
    fn a_user_is_stored_whole_and_without_the_password() {
        for user in [user(), User { password_hash: None, limits: UserLimits::default(), ..user() }] {
            let json = serde_json::to_string(&user).unwrap();
            assert!(!json.contains("s3cret"), "{json}");
            assert_eq!(serde_json::from_str::<User>(&json).unwrap(), user);
        }
    }

    #[test]
    fn what_was_stored_before_there_were_algorithms_and_limits_is_read() {
        let hash = PasswordHash::of(b"s3cret").unwrap().to_base64();
        let old = format!(r#"{{"name":"app","password_hash":"{hash}"}}"#);
        let read: User = serde_json::from_str(&old).unwrap();
        assert!(read.password_hash.unwrap().matches(b"s3cret"));
        assert!(read.tags.is_empty() && !read.loopback_only && read.limits == UserLimits::default());
    }

    #[test]
    fn a_hash_that_cannot_be_read_is_refused_and_not_quoted() {
        for (hash, algorithm) in [("c2VjcmV0", "rabbit_password_hashing_sha256"), ("c2VjcmV0", "rot13")] {
            let json = format!(r#"{{"name":"a","password_hash":"{hash}","hashing_algorithm":"{algorithm}"}}"#);
            let refused = serde_json::from_str::<User>(&json).unwrap_err().to_string();
            assert!(!refused.contains(hash), "{refused}");
        }
    }

    #[test]
    fn negative_limits_do_not_limit() {
        let limits = user().limits;
        assert_eq!((limits.connections(), limits.channels()), (None, Some(0)));
    }
}
