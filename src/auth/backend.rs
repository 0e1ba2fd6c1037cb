//! Who decides: the seam between the broker and what knows users and their rights.
//!
//! The broker asks a [`Backend`] and puts refusals into words itself. [`Internal`] is the only one so far; one that asks
//! a token or a server elsewhere needs no more than these questions.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Denied, Permissions, User, Users};

/// What somebody shows to be let in.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password, as they came.
    Password {
        /// The name.
        name: Vec<u8>,
        /// The password, in the clear.
        password: Vec<u8>,
    },
    /// A certificate that has been verified; the name is what it says.
    Certificate(String),
    /// Nothing.
    Anonymous,
}

impl Login {
    /// A name and a password.
    pub fn password(name: &[u8], password: &[u8]) -> Self {
        Self::Password { name: name.to_vec(), password: password.to_vec() }
    }

    /// The name that somebody says he has; empty if he says none.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Password { name, .. } => name,
            Self::Certificate(name) => name.as_bytes(),
            Self::Anonymous => &[],
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[login]")
    }
}

/// What can be done to a queue or exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Declare, delete.
    Configure,
    /// Publish to an exchange; bind a queue or exchange to another.
    Write,
    /// Consume, get, purge; bind something to an exchange.
    Read,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        })
    }
}

/// What something is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The queue of this name.
    Queue(&'a str),
    /// The exchange of this name; the default exchange goes by `amq.default`.
    Exchange(&'a str),
}

/// The name by which permissions know the default exchange.
const DEFAULT_EXCHANGE: &str = "amq.default";

impl<'a> Resource<'a> {
    /// The name that patterns are looked for in.
    pub fn name(self) -> &'a str {
        match self {
            Self::Exchange("") => DEFAULT_EXCHANGE,
            Self::Queue(name) | Self::Exchange(name) => name,
        }
    }
}

/// What the broker asks. Every question but a slow login is answered at once and by nothing but what is in memory: they
/// come from the middle of a session's turn.
pub trait Backend: fmt::Debug {
    /// Whether [`Backend::authenticate`] would take long, or wait: then it is asked on a thread where it may.
    fn is_slow(&self, login: &Login) -> bool;

    /// The user who logs in from this address.
    fn authenticate(&self, login: &Login, peer: IpAddr) -> Result<Arc<User>, Denied>;

    /// Whether the user may enter the virtual host at all.
    fn may_enter(&self, user: &User, vhost: &str) -> bool;

    /// Whether the user may do this to a queue or exchange.
    fn permits(&self, user: &User, access: Access, vhost: &str, resource: Resource<'_>) -> bool;

    /// Whether anything but [`Backend::permits`] limits this user in this virtual host.
    fn minds_topics(&self, user: &User, vhost: &str) -> bool;

    /// Whether the user may use a topic exchange with this routing key.
    fn permits_topic(&self, user: &User, access: Access, vhost: &str, exchange: &str, key: &str) -> bool;
}

/// The broker's own users and permissions.
#[derive(Clone, Copy, Debug)]
pub struct Internal<'a> {
    /// Who may log in.
    pub users: &'a Users,
    /// Who may do what.
    pub permissions: &'a Permissions,
}

impl Backend for Internal<'_> {
    fn is_slow(&self, login: &Login) -> bool {
        self.users.is_slow(login)
    }

    fn authenticate(&self, login: &Login, peer: IpAddr) -> Result<Arc<User>, Denied> {
        self.users.authenticate(login, peer)
    }

    fn may_enter(&self, user: &User, vhost: &str) -> bool {
        self.permissions.may_enter(user, vhost)
    }

    fn permits(&self, user: &User, access: Access, vhost: &str, resource: Resource<'_>) -> bool {
        self.permissions.permits(user, access, vhost, resource)
    }

    fn minds_topics(&self, user: &User, vhost: &str) -> bool {
        self.permissions.has_topics(vhost, &user.name)
    }

    fn permits_topic(&self, user: &User, access: Access, vhost: &str, exchange: &str, key: &str) -> bool {
        self.permissions.permits_topic(user, access, vhost, exchange, key)
    }
}
