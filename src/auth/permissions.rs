//! Who may do what in which virtual host.
//!
//! A user without a permission in a virtual host may not enter it; one with a permission may do to a queue or exchange
//! what its three patterns find in the name. Topic permissions narrow that down by routing key, where there are any.
//! Invariants: what is not granted is refused, and so is what could not be decided. May touch its own table and nothing
//! else: the broker keeps it on disk, knows who is connected, and puts refusals into words.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use dashmap::DashMap;

use super::backend::{Access, Resource};
use super::pattern::{BadPattern, Found, Pattern};
use super::user::User;
use crate::telemetry::printable;

/// What a user may do in a virtual host, as regular expressions on names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What may be declared and deleted.
    pub configure: String,
    /// What may be published to, and bound to something.
    pub write: String,
    /// What may be consumed from, and bound something to.
    pub read: String,
}

impl Permission {
    /// Everything.
    pub fn all() -> Self {
        let everything = || ".*".to_owned();
        Self { configure: everything(), write: everything(), read: everything() }
    }
}

/// With which routing keys a user may use a topic exchange, as regular expressions. `{username}` and `{vhost}` stand for
/// the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermission {
    /// The exchange.
    pub exchange: String,
    /// Routing keys that may be published with.
    pub write: String,
    /// Routing keys that may be bound with.
    pub read: String,
}

#[derive(Clone)]
struct Rights {
    configure: Pattern,
    write: Pattern,
    read: Pattern,
}

#[derive(Clone)]
struct TopicRights {
    write: Pattern,
    read: Pattern,
}

/// A permission that can be used.
#[derive(Clone)]
pub struct Right(Rights);

/// A topic permission that can be used, for one user in one virtual host.
#[derive(Clone)]
pub struct TopicRight {
    exchange: Arc<str>,
    rights: TopicRights,
}

impl Right {
    /// Judges a permission.
    pub fn new(permission: &Permission) -> Result<Self, BadPattern> {
        let Self(Rights { configure, write, read }) = Self::kept(permission);
        Ok(Self(Rights { configure: configure.checked()?, write: write.checked()?, read: read.checked()? }))
    }

    /// A permission that was good when it was stored.
    pub fn kept(permission: &Permission) -> Self {
        Self(Rights {
            configure: Pattern::kept(&permission.configure),
            write: Pattern::kept(&permission.write),
            read: Pattern::kept(&permission.read),
        })
    }
}

impl TopicRight {
    /// Judges a topic permission.
    pub fn new(vhost: &str, user: &str, permission: &TopicPermission) -> Result<Self, BadPattern> {
        let Self { exchange, rights: TopicRights { write, read } } = Self::kept(vhost, user, permission);
        Ok(Self { exchange, rights: TopicRights { write: write.checked()?, read: read.checked()? } })
    }

    /// A topic permission that was good when it was stored.
    pub fn kept(vhost: &str, user: &str, permission: &TopicPermission) -> Self {
        let variables = [("vhost", vhost), ("username", user)];
        Self {
            exchange: permission.exchange.as_str().into(),
            rights: TopicRights {
                write: Pattern::kept(&permission.write).with(&variables),
                read: Pattern::kept(&permission.read).with(&variables),
            },
        }
    }
}

/// What one user was granted in one virtual host.
#[derive(Clone, Default)]
struct Grants {
    rights: Option<Rights>,
    topics: BTreeMap<Arc<str>, TopicRights>,
}

impl Grants {
    fn is_empty(&self) -> bool {
        self.rights.is_none() && self.topics.is_empty()
    }
}

/// The table of all permissions. Cheap to share; every method may be called from any thread.
#[derive(Default)]
pub struct Permissions {
    /// By virtual host, then by user.
    granted: DashMap<Arc<str>, BTreeMap<Arc<str>, Arc<Grants>>>,
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permissions").field("vhosts", &self.granted.len()).finish_non_exhaustive()
    }
}

impl Permissions {
    /// Sets a permission; whether there was none.
    pub fn set(&self, vhost: &str, user: &str, right: Right) -> bool {
        self.change(vhost, user, |grants| grants.rights.replace(right.0).is_none())
    }

    /// Removes a permission; whether there was one.
    pub fn clear(&self, vhost: &str, user: &str) -> bool {
        self.change(vhost, user, |grants| grants.rights.take().is_some())
    }

    /// Sets a topic permission; whether there was none.
    pub fn set_topic(&self, vhost: &str, user: &str, right: TopicRight) -> bool {
        self.change(vhost, user, |grants| grants.topics.insert(right.exchange, right.rights).is_none())
    }

    /// Removes a topic permission; whether there was one.
    pub fn clear_topic(&self, vhost: &str, user: &str, exchange: &str) -> bool {
        self.change(vhost, user, |grants| grants.topics.remove(exchange).is_some())
    }

    fn change<T>(&self, vhost: &str, user: &str, change: impl FnOnce(&mut Grants) -> T) -> T {
        let mut users = self.granted.entry(vhost.into()).or_default();
        let mut grants = users.get(user).map(|grants| (**grants).clone()).unwrap_or_default();
        let answer = change(&mut grants);
        if grants.is_empty() {
            users.remove(user);
        } else {
            users.insert(user.into(), Arc::new(grants));
        }
        answer
    }

    /// Removes everything granted in a virtual host.
    pub fn forget_vhost(&self, vhost: &str) {
        self.granted.remove(vhost);
    }

    /// Removes everything granted to a user.
    pub fn forget_user(&self, user: &str) {
        for mut users in self.granted.iter_mut() {
            users.remove(user);
        }
    }

    fn grants(&self, vhost: &str, user: &str) -> Option<Arc<Grants>> {
        self.granted.get(vhost)?.get(user).cloned()
    }

    /// The permission of a user in a virtual host.
    pub fn get(&self, vhost: &str, user: &str) -> Option<Permission> {
        self.grants(vhost, user)?.rights.as_ref().map(Rights::written)
    }

    /// The topic permission of a user in a virtual host for an exchange.
    pub fn get_topic(&self, vhost: &str, user: &str, exchange: &str) -> Option<TopicPermission> {
        self.grants(vhost, user)?.topics.get(exchange).map(|rights| rights.written(exchange))
    }

    /// Whether any routing key is refused to this user in this virtual host.
    pub fn has_topics(&self, vhost: &str, user: &str) -> bool {
        self.grants(vhost, user).is_some_and(|grants| !grants.topics.is_empty())
    }

    /// Every permission with its virtual host and user, in the order of these.
    pub fn list(&self) -> Vec<(Arc<str>, Arc<str>, Permission)> {
        let mut all = Vec::new();
        for vhost in &self.granted {
            let rights = vhost.iter().filter_map(|(user, grants)| Some((user, grants.rights.as_ref()?)));
            all.extend(rights.map(|(user, rights)| (vhost.key().clone(), user.clone(), rights.written())));
        }
        all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        all
    }

    /// Every topic permission with its virtual host and user, in the order of these and the exchange.
    pub fn list_topics(&self) -> Vec<(Arc<str>, Arc<str>, TopicPermission)> {
        let mut all = Vec::new();
        for vhost in &self.granted {
            for (user, grants) in vhost.iter() {
                let topics = grants.topics.iter().map(|(exchange, rights)| rights.written(exchange));
                all.extend(topics.map(|written| (vhost.key().clone(), user.clone(), written)));
            }
        }
        all.sort_by(|a, b| (&a.0, &a.1, &a.2.exchange).cmp(&(&b.0, &b.1, &b.2.exchange)));
        all
    }

    /// Whether the user may enter the virtual host at all.
    pub fn may_enter(&self, user: &User, vhost: &str) -> bool {
        self.grants(vhost, &user.name).is_some_and(|grants| grants.rights.is_some())
    }

    /// Whether the user may do this to a queue or exchange.
    pub fn permits(&self, user: &User, access: Access, vhost: &str, resource: Resource<'_>) -> bool {
        let Some(grants) = self.grants(vhost, &user.name) else { return false };
        grants.rights.as_ref().is_some_and(|rights| found(rights.pattern(access), resource.name(), user))
    }

    /// Whether the user may use a topic exchange with this routing key; with any, where nothing says otherwise.
    pub fn permits_topic(&self, user: &User, access: Access, vhost: &str, exchange: &str, key: &str) -> bool {
        let Some(grants) = self.grants(vhost, &user.name) else { return false };
        grants.topics.get(exchange).is_none_or(|rights| match access {
            Access::Write => found(&rights.write, key, user),
            Access::Read => found(&rights.read, key, user),
            Access::Configure => false,
        })
    }
}

/// Looks for a pattern. Nothing is locked here: a search may take a while, and may be worth a line in the log.
fn found(pattern: &Pattern, name: &str, user: &User) -> bool {
    let found = pattern.find(name);
    if found == Found::Unknown {
        tracing::warn!(user = %printable(&*user.name), pattern = %printable(pattern.text()), name = %printable(name),
            "refused: the pattern of a permission takes too many steps for this name, or cannot be used");
    }
    found == Found::Yes
}

impl Rights {
    fn pattern(&self, access: Access) -> &Pattern {
        match access {
            Access::Configure => &self.configure,
            Access::Write => &self.write,
            Access::Read => &self.read,
        }
    }

    fn written(&self) -> Permission {
        let text = |pattern: &Pattern| pattern.text().to_owned();
        Permission { configure: text(&self.configure), write: text(&self.write), read: text(&self.read) }
    }
}

impl TopicRights {
    fn written(&self, exchange: &str) -> TopicPermission {
        let text = |pattern: &Pattern| pattern.text().to_owned();
        TopicPermission { exchange: exchange.to_owned(), write: text(&self.write), read: text(&self.read) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::user::UserLimits;
    use super::*;

    fn user(name: &str) -> User {
        let name = name.into();
        User { name, tags: Vec::new(), password_hash: None, loopback_only: false, limits: UserLimits::default() }
    }

    fn right(configure: &str, write: &str, read: &str) -> Right {
        let [configure, write, read] = [configure, write, read].map(str::to_owned);
        Right::new(&Permission { configure, write, read }).unwrap()
    }

    fn topic(write: &str, read: &str) -> TopicRight {
        let [write, read] = [write, read].map(str::to_owned);
        TopicRight::new("v", "app", &TopicPermission { exchange: "x".to_owned(), write, read }).unwrap()
    }

    #[test]
    fn what_is_not_granted_is_refused() {
        let permissions = Permissions::default();
        let (app, other) = (user("app"), user("other"));
        let (queue, exchange) = (Resource::Queue("q"), Resource::Exchange("x"));
        let all = [Access::Configure, Access::Write, Access::Read];
        assert!(!permissions.may_enter(&app, "v"));
        assert!(!all.iter().any(|access| permissions.permits(&app, *access, "v", queue)));
        assert!(permissions.set("v", "app", right("^q", "^x", "")));
        assert!(permissions.may_enter(&app, "v") && !permissions.may_enter(&app, "w"));
        assert!(!permissions.may_enter(&other, "v"));
        assert_eq!(all.map(|access| permissions.permits(&app, access, "v", queue)), [true, false, false]);
        assert_eq!(all.map(|access| permissions.permits(&app, access, "v", exchange)), [false, true, false]);
        assert!(!all.iter().any(|access| permissions.permits(&app, *access, "w", queue)));
        assert!(!all.iter().any(|access| permissions.permits(&other, *access, "v", queue)));
        assert!(!permissions.set("v", "app", right("", "", "")), "it was there");
        assert!(permissions.may_enter(&app, "v"), "who may do nothing may still come in");
        assert!(permissions.clear("v", "app") && !permissions.clear("v", "app"));
        assert!(!permissions.may_enter(&app, "v"));
    }

    #[test]
    fn topics_are_free_unless_something_is_said_of_the_exchange() {
        let permissions = Permissions::default();
        let app = user("app");
        let permits = |access, exchange, key| permissions.permits_topic(&app, access, "v", exchange, key);
        permissions.set("v", "app", right(".*", ".*", ".*"));
        assert!(permits(Access::Write, "x", "k") && !permissions.has_topics("v", "app"));
        assert!(permissions.set_topic("v", "app", topic("^{username}\\.", "")));
        assert!(permissions.has_topics("v", "app"));
        assert!(permits(Access::Write, "x", "app.k") && !permits(Access::Write, "x", "other.k"));
        assert!(permits(Access::Read, "x", "") && !permits(Access::Read, "x", "app.k"));
        assert!(permits(Access::Write, "y", "other.k"), "another exchange");
        assert!(permissions.clear_topic("v", "app", "x") && !permissions.clear_topic("v", "app", "x"));
        assert!(permits(Access::Write, "x", "other.k"));
    }

    #[test]
    fn lists_are_in_order_and_as_written_and_forgetting_is_complete() {
        let permissions = Permissions::default();
        for (vhost, user) in [("v", "b"), ("v", "a"), ("u", "b")] {
            permissions.set(vhost, user, right("1", "2", "3"));
        }
        permissions.set_topic("v", "b", topic("{username}", ""));
        let names = |permissions: &Permissions| {
            permissions.list().iter().map(|(vhost, user, _)| format!("{vhost}{user}")).collect::<Vec<_>>()
        };
        assert_eq!(names(&permissions), ["ub", "va", "vb"]);
        assert_eq!(permissions.get("v", "a").unwrap().write, "2");
        let (_, _, written) = permissions.list_topics().remove(0);
        assert_eq!((&*written.exchange, &*written.write), ("x", "{username}"));
        permissions.forget_user("b");
        assert_eq!((names(&permissions), permissions.list_topics()), (vec!["va".to_owned()], vec![]));
        permissions.forget_vhost("v");
        assert!(permissions.list().is_empty() && permissions.get("v", "a").is_none());
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_before_anything_is_set() {
        let bad = Permission { read: "(".to_owned(), ..Permission::all() };
        assert_eq!(Right::new(&bad).err().unwrap().pattern, "(");
        let topic = TopicPermission { exchange: "x".to_owned(), write: "[".to_owned(), read: String::new() };
        assert_eq!(TopicRight::new("v", "u", &topic).err().unwrap().pattern, "[");
    }
}
