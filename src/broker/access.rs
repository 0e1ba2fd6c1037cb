//! The one place where it is decided whether somebody may do something, and how a refusal reads.
//!
//! Every verb that changes or uses a queue or exchange asks here, whatever protocol it was called by: it is given the
//! [`Caller`] and judges at the place in its checks where RabbitMQ does. Invariants: default deny, as the backend's;
//! nothing is asked under a lock, since a pattern may take its time. Deliberately absent: what is granted, see
//! [`crate::auth`], and how that changes, see [`super::grants`].

use super::connection::ConnectionId;
use super::exchange::Kind;
use super::vhost::{VirtualHost, on_default_exchange, print_exchange, print_queue};
use super::{Broker, Connection};
use crate::auth::{Access, Backend, Internal, Resource, User};
use crate::wire::refusal::{Refusal, ReplyCode};

/// The connection of those who have none.
const NO_CONNECTION: ConnectionId = 0;

/// On whose behalf a verb is called.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Whose rights count; `None` for the broker itself, which may do everything.
    user: Option<&'a User>,
    /// Whose exclusive queues may be used.
    pub(super) connection: ConnectionId,
}

impl<'a> Caller<'a> {
    /// A user by a connection of its own.
    pub fn client(user: &'a User, connection: ConnectionId) -> Self {
        Self { user: Some(user), connection }
    }

    /// A user without a connection, as of the management API.
    pub fn user(user: &'a User) -> Self {
        Self::client(user, NO_CONNECTION)
    }

    /// Whose rights count, if anybody's.
    pub(super) fn who(&self) -> Option<&'a User> {
        self.user
    }

    /// Somebody whose rights were judged elsewhere, or need not be: an import of definitions, a test. What is declared
    /// exclusively is of this connection.
    pub const fn trusted(connection: ConnectionId) -> Self {
        Self { user: None, connection }
    }
}

/// The name by which texts call a resource; the default exchange by the name that permissions know.
fn print(resource: Resource<'_>, vhost: &str) -> String {
    match resource {
        Resource::Queue(name) => print_queue(name, vhost),
        Resource::Exchange(_) => print_exchange(resource.name(), vhost),
    }
}

impl Broker {
    /// Who decides.
    pub(super) fn backend(&self) -> impl Backend + '_ {
        Internal { users: &self.users, permissions: &self.permissions }
    }

    /// Whether the user may enter the virtual host (530 otherwise).
    pub fn may_enter(&self, user: &User, vhost: &str) -> Result<(), Refusal> {
        if self.backend().may_enter(user, vhost) {
            return Ok(());
        }
        let text = format!("access to vhost '{vhost}' refused for user '{}'", user.name);
        Err(Refusal::new(ReplyCode::NotAllowed, text))
    }

    /// Whether the user may do this to a queue or exchange of a virtual host (403 otherwise).
    pub fn authorize(&self, user: &User, access: Access, vhost: &str, resource: Resource<'_>) -> Result<(), Refusal> {
        if self.backend().permits(user, access, vhost, resource) {
            return Ok(());
        }
        let text = format!("{access} access to {} refused for user '{}'", print(resource, vhost), user.name);
        Err(Refusal::new(ReplyCode::AccessRefused, text))
    }

    /// Whether the user may use a topic exchange with this routing key (403 otherwise).
    pub fn authorize_topic(
        &self,
        user: &User,
        access: Access,
        vhost: &str,
        exchange: &str,
        key: &str,
    ) -> Result<(), Refusal> {
        if self.backend().permits_topic(user, access, vhost, exchange, key) {
            return Ok(());
        }
        let exchange = print_exchange(exchange, vhost);
        let text = format!("{access} access to topic '{key}' in {exchange} refused for user '{}'", user.name);
        Err(Refusal::new(ReplyCode::AccessRefused, text))
    }

    /// Whether the connection's user may still be in its virtual host.
    pub(super) fn may_stay(&self, connection: &Connection, vhost: &str) -> Result<(), Refusal> {
        connection.user().map_or(Ok(()), |user| self.may_enter(user, vhost))
    }
}

impl VirtualHost {
    /// [`Broker::authorize`] for whoever calls a verb.
    pub(super) fn authorize(
        &self,
        broker: &Broker,
        caller: Caller<'_>,
        access: Access,
        resource: Resource<'_>,
    ) -> Result<(), Refusal> {
        caller.user.map_or(Ok(()), |user| broker.authorize(user, access, &self.name, resource))
    }

    /// Passive declarations need any right at all, where they need one.
    pub(super) fn authorize_probe(
        &self,
        broker: &Broker,
        caller: Caller<'_>,
        resource: Resource<'_>,
    ) -> Result<(), Refusal> {
        let Some(user) = caller.user.filter(|_| broker.config.profile().passive_needs_permission) else {
            return Ok(());
        };
        let backend = broker.backend();
        if [Access::Read, Access::Write].iter().any(|access| backend.permits(user, *access, &self.name, resource)) {
            return Ok(());
        }
        broker.authorize(user, Access::Configure, &self.name, resource)
    }

    /// What comes before anything else when something is bound to the exchange `source`, or unbound from it.
    pub(super) fn authorize_binding(
        &self,
        broker: &Broker,
        caller: Caller<'_>,
        (destination, source): (Resource<'_>, &str),
        key: &str,
    ) -> Result<(), Refusal> {
        self.authorize(broker, caller, Access::Write, destination)?;
        if source.is_empty() || destination == Resource::Exchange("") {
            return Err(on_default_exchange());
        }
        self.authorize(broker, caller, Access::Read, Resource::Exchange(source))?;
        match caller.user {
            Some(user) if broker.backend().minds_topics(user, &self.name) && self.is_topic(source) => {
                broker.authorize_topic(user, Access::Read, &self.name, source, key)
            }
            _ => Ok(()),
        }
    }

    /// Whether the user may publish to an exchange. Its routing keys are looked at if it exists and can be published to;
    /// `false` if they were, and others would have to be as well.
    pub fn authorize_publish(
        &self,
        broker: &Broker,
        user: &User,
        exchange: &str,
        keys: &[&[u8]],
    ) -> Result<bool, Refusal> {
        broker.authorize(user, Access::Write, &self.name, Resource::Exchange(exchange))?;
        if !broker.backend().minds_topics(user, &self.name) {
            return Ok(true);
        }
        self.authorize_keys(broker, user, exchange, keys).map(|()| false)
    }

    /// Whether the user may publish with these routing keys, as far as the exchange is one of topics.
    pub fn authorize_keys(&self, broker: &Broker, user: &User, exchange: &str, keys: &[&[u8]]) -> Result<(), Refusal> {
        if self.topology().reach(exchange, true).is_err() || !self.is_topic(exchange) {
            return Ok(());
        }
        let looked_at = if broker.config.profile().topic_permission_of_copies { keys.len() } else { 1 };
        keys.iter().take(looked_at).try_for_each(|key| {
            broker.authorize_topic(user, Access::Write, &self.name, exchange, &String::from_utf8_lossy(key))
        })
    }

    /// Whether the exchange exists and is of the type that topic permissions are about.
    fn is_topic(&self, exchange: &str) -> bool {
        self.topology().exchanges.get(exchange).is_some_and(|exchange| exchange.kind == Kind::Topic)
    }
}
