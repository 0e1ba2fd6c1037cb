//! Who may log in, and who may do what.
//!
//! [`Users`] is the registry of users, [`Permissions`] that of their rights in each virtual host; the broker asks both
//! through the seam [`Backend`]. [`sasl`] reads what a client sends in start-ok, `password` hashes and compares,
//! `pattern` matches names, `throttle` slows down who guesses.
//! May touch its own tables and nothing else: no sockets, no clock, no store (the broker persists what is in them).
//! Invariants: every refusal of a login takes the same work, whatever its reason (but for hashes of bcrypt, which are
//! slow by their nature), and a reason never reaches the client; an empty password is refused; what is not granted is
//! refused. Deliberately absent: tokens, and servers elsewhere that are asked.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing))]

mod backend;
pub mod base64;
mod password;
mod pattern;
mod permissions;
pub mod sasl;
mod throttle;
mod user;

use crate::config::UserEntry;
use crate::sync::{Mutex, Rank};
use dashmap::DashMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use crate::config::Secret;
pub use backend::{Access, Backend, Internal, Login, Resource};
pub use password::{Algorithm, PasswordHash, RandomError, UnusableHash};
pub use pattern::{BadPattern, Found, PATTERN_MAX, Pattern, STEPS_MAX};
pub use permissions::{Permission, Permissions, Right, TopicPermission, TopicRight};
pub use throttle::{Admission, Throttle};
pub use user::{NAME_MAX, TAGS_MAX, User, UserLimits};

/// Why a login was refused: for the log. The client gets the same 403 for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No such user, or not this user's password.
    #[error("invalid credentials")]
    Credentials,
    /// The user may log in from this machine only.
    #[error("user can only connect via localhost")]
    NotLoopback,
    /// Whoever knows the user has not answered.
    #[error("nobody could tell whether the credentials are valid")]
    Unanswered,
}

/// The user whom RabbitMQ takes anonymous clients for, unless configured otherwise: here only those of this machine.
const GUEST: &str = "guest";

/// The registry of users. Cheap to share; every method may be called from any thread.
#[derive(Debug)]
pub struct Users {
    by_name: DashMap<Arc<str>, Arc<User>>,
    /// Compared against when there is no such user, so that a stranger cannot tell which names exist by the time taken.
    nobody: PasswordHash,
    /// Whom anonymous clients are taken for, if anybody, and the password that he must have.
    anonymous: (String, Secret),
    /// Names held to this machine, whatever the users of these names say.
    loopback: Mutex<Vec<String>>,
}

impl Users {
    /// A registry without users. Fails if the system has no randomness to give.
    pub fn new() -> Result<Self, RandomError> {
        let loopback = Mutex::new(Rank::Leaf, Vec::new());
        let anonymous = (GUEST.to_owned(), Secret::new(GUEST));
        Ok(Self { by_name: DashMap::new(), nobody: PasswordHash::of(b"nobody")?, anonymous, loopback })
    }

    /// A registry with the users of the configuration. Fails if the system has no randomness to give.
    pub fn seeded(entries: &[UserEntry]) -> Result<Self, RandomError> {
        let users = Self::new()?;
        for entry in entries {
            users.insert(User {
                name: entry.name.as_str().into(),
                tags: entry.tags.iter().map(|tag| tag.as_str().into()).collect(),
                password_hash: Some(PasswordHash::of(entry.password.expose().as_bytes())?),
                loopback_only: entry.loopback_only,
                limits: UserLimits::default(),
            });
        }
        Ok(users)
    }

    /// Takes clients that do not say who they are for this user, if this is his password; the empty name is nobody.
    #[must_use]
    pub fn with_anonymous(mut self, name: &str, password: &Secret) -> Self {
        self.anonymous = (name.to_owned(), password.clone());
        self
    }

    /// Adds a user or replaces the one of that name.
    pub fn insert(&self, user: User) {
        self.by_name.insert(user.name.clone(), Arc::new(user));
    }

    /// Takes a user out of the registry; whoever is logged in stays.
    pub fn remove(&self, name: &str) -> Option<Arc<User>> {
        self.by_name.remove(name).map(|(_, user)| user)
    }

    /// Holds users of these names to this machine from now on, those included that are created later; replaces earlier
    /// names. Who is logged in stays.
    pub fn hold_to_loopback(&self, names: &[String]) {
        *self.loopback.lock() = names.to_vec();
    }

    fn is_held_here(&self, user: &User) -> bool {
        user.loopback_only || self.loopback.lock().iter().any(|name| **name == *user.name)
    }

    /// The user of that name.
    pub fn get(&self, name: &str) -> Option<Arc<User>> {
        self.by_name.get(name).map(|user| Arc::clone(&user))
    }

    /// All users, ordered by name.
    pub fn list(&self) -> Vec<Arc<User>> {
        let mut users: Vec<_> = self.by_name.iter().map(|user| Arc::clone(&user)).collect();
        users.sort_by(|a, b| a.name.cmp(&b.name));
        users
    }

    /// Whether looking at this login takes milliseconds, which depends on how the user's password is hashed.
    pub fn is_slow(&self, login: &Login) -> bool {
        let name = match login {
            Login::Password { name, .. } => name.as_slice(),
            Login::Anonymous => self.anonymous.0.as_bytes(),
            Login::Certificate(_) => return false,
        };
        let known = std::str::from_utf8(name).ok().and_then(|name| self.get(name));
        known.and_then(|known| known.password_hash.as_ref().map(PasswordHash::is_slow)).unwrap_or(false)
    }

    /// The user who logs in from this address.
    pub fn authenticate(&self, login: &Login, peer: IpAddr) -> Result<Arc<User>, Denied> {
        match login {
            Login::Password { name, password } => self.by_password(name, password, peer),
            Login::Certificate(name) => self.by_certificate(name, peer),
            Login::Anonymous => self.anonymous(peer),
        }
    }

    /// The user whose password this is.
    fn by_password(&self, user: &[u8], password: &[u8], peer: IpAddr) -> Result<Arc<User>, Denied> {
        let known = std::str::from_utf8(user).ok().and_then(|name| self.get(name));
        let own = known.as_ref().and_then(|known| known.password_hash.as_ref());
        // Compared in every case: also for nobody, for a user without a password and for the empty password.
        let matches = own.unwrap_or(&self.nobody).matches(password) && own.is_some() && !password.is_empty();
        let user = known.filter(|_| matches).ok_or(Denied::Credentials)?;
        // The address is looked at last, so that this reason is only ever given to who knows the password.
        if self.is_held_here(&user) && !peer.to_canonical().is_loopback() {
            return Err(Denied::NotLoopback);
        }
        Ok(user)
    }

    /// The user whom a verified certificate stands for (SASL EXTERNAL); no password is asked for.
    fn by_certificate(&self, name: &str, peer: IpAddr) -> Result<Arc<User>, Denied> {
        let user = self.get(name).ok_or(Denied::Credentials)?;
        if self.is_held_here(&user) && !peer.to_canonical().is_loopback() {
            return Err(Denied::NotLoopback);
        }
        Ok(user)
    }

    /// Whom a client is that does not say who it is (SASL ANONYMOUS). Guest, of whom everybody knows the password, is
    /// meant for this machine only, whatever the user of that name may do.
    fn anonymous(&self, peer: IpAddr) -> Result<Arc<User>, Denied> {
        let (name, password) = &self.anonymous;
        if name == GUEST && !peer.to_canonical().is_loopback() {
            return Err(Denied::NotLoopback);
        }
        self.by_password(name.as_bytes(), password.expose().as_bytes(), peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn entry(name: &str, password: &str, loopback_only: bool) -> UserEntry {
        UserEntry { name: name.into(), password: Secret::new(password), tags: vec!["monitoring".into()], loopback_only }
    }

    fn users() -> Users {
        Users::seeded(&[entry("guest", "guest", true), entry("app", "s3cret", false)]).unwrap()
    }

    #[test]
    fn the_right_password_opens() {
        let user = users().by_password(b"app", b"s3cret", "203.0.113.9".parse().unwrap()).unwrap();
        assert_eq!(&*user.name, "app");
        assert_eq!(user.tags, ["monitoring".into()]);
    }

    #[test]
    fn everything_else_gets_the_same_refusal() {
        let users = users();
        for (user, password) in [
            (&b"app"[..], &b"S3cret"[..]),
            (b"app", b"s3cre"),
            (b"app", b"s3cret\0"),
            (b"app", b""),
            (b"", b""),
            (b"", b"s3cret"),
            (b"nobody", b"nobody"),
            (b"\xff\xfe", b"guest"),
            (b"APP", b"s3cret"),
        ] {
            assert_eq!(users.by_password(user, password, HERE), Err(Denied::Credentials), "{user:?}");
        }
    }

    #[test]
    fn an_empty_password_is_refused_even_if_it_is_the_users() {
        let users = users();
        let password_hash = PasswordHash::of(b"").unwrap();
        let app = users.get("app").unwrap();
        users.insert(User { name: "open".into(), password_hash: Some(password_hash), ..(*app).clone() });
        assert_eq!(users.by_password(b"open", b"", HERE), Err(Denied::Credentials));
    }

    #[test]
    fn nobody_logs_in_by_the_password_of_a_user_who_has_none() {
        let users = users();
        let app = users.get("app").unwrap();
        users.insert(User { name: "certified".into(), password_hash: None, ..(*app).clone() });
        // The last is what a name that does not exist is compared with.
        for password in [&b""[..], b"s3cret", b"nobody"] {
            assert_eq!(users.by_password(b"certified", password, HERE), Err(Denied::Credentials));
        }
    }

    #[test]
    fn guest_comes_from_this_machine_only() {
        let users = users();
        for here in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"] {
            assert!(users.by_password(b"guest", b"guest", here.parse().unwrap()).is_ok(), "{here}");
        }
        for there in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "0.0.0.0", "::"] {
            let refused = users.by_password(b"guest", b"guest", there.parse().unwrap());
            assert_eq!(refused, Err(Denied::NotLoopback), "{there}");
            let guessing = users.by_password(b"guest", b"wrong", there.parse().unwrap());
            assert_eq!(guessing, Err(Denied::Credentials), "{there}");
        }
    }

    #[test]
    fn names_are_held_to_this_machine_whoever_made_the_users() {
        let (users, there) = (users(), "192.0.2.1".parse().unwrap());
        users.hold_to_loopback(&["app".to_owned()]);
        assert_eq!(users.by_password(b"app", b"s3cret", there), Err(Denied::NotLoopback));
        assert!(users.by_password(b"app", b"s3cret", HERE).is_ok());
        users.hold_to_loopback(&[]);
        assert!(users.by_password(b"app", b"s3cret", there).is_ok());
    }

    #[test]
    fn who_does_not_say_who_he_is_is_guest_here_and_nobody_elsewhere() {
        let users = users();
        assert_eq!(&*users.anonymous(HERE).unwrap().name, "guest");
        assert_eq!(users.anonymous("192.0.2.1".parse().unwrap()), Err(Denied::NotLoopback));
        let changed = Users::seeded(&[entry("guest", "changed", false)]).unwrap();
        assert_eq!(
            changed.anonymous(HERE),
            Err(Denied::Credentials),
            "guest with another password is not for everybody"
        );
        assert_eq!(changed.anonymous("192.0.2.1".parse().unwrap()), Err(Denied::NotLoopback));
        let there = "192.0.2.1".parse().unwrap();
        let named = |name: &str, password: &str| {
            let named = Users::seeded(&[entry("app", "s3cret", false)]).unwrap();
            named.with_anonymous(name, &Secret::new(password)).anonymous(there).map(|user| user.name.to_string())
        };
        assert_eq!(named("app", "s3cret"), Ok("app".to_owned()));
        for (name, password) in [("app", "other"), ("app", ""), ("", ""), ("nobody", "nobody")] {
            assert_eq!(named(name, password), Err(Denied::Credentials), "{name}");
        }
    }

    #[test]
    fn a_certificate_needs_no_password_but_a_user() {
        let users = users();
        assert_eq!(&*users.by_certificate("app", "203.0.113.9".parse().unwrap()).unwrap().name, "app");
        assert!(users.by_certificate("guest", HERE).is_ok());
        assert_eq!(users.by_certificate("guest", "203.0.113.9".parse().unwrap()), Err(Denied::NotLoopback));
        users.hold_to_loopback(&["app".to_owned()]);
        assert_eq!(users.by_certificate("app", "203.0.113.9".parse().unwrap()), Err(Denied::NotLoopback));
        for name in ["", "nobody", "APP", "CN=app"] {
            assert_eq!(users.by_certificate(name, HERE), Err(Denied::Credentials), "{name}");
        }
    }

    #[test]
    fn users_come_and_go() {
        let users = users();
        assert_eq!(users.list().iter().map(|user| user.name.to_string()).collect::<Vec<_>>(), ["app", "guest"]);
        assert!(users.remove("app").is_some() && users.remove("app").is_none() && users.get("app").is_none());
        assert_eq!(users.by_password(b"app", b"s3cret", HERE), Err(Denied::Credentials));
    }
}
