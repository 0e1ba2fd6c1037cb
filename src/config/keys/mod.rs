//! The one table of keys.
//!
//! Every setting is one row; the file, the environment and the documentation are read from it. A setter gets text,
//! whatever the origin (a TOML integer arrives as its digits), and answers with what is wrong. Invariant: setters accept
//! exactly the range their row's `accepts` names. Deliberately absent: `[[users]]` and other lists of tables field by
//! field, see [`super::users`] and [`super::tables`].

mod general;
mod limits;
mod log;
mod network;
mod running;
mod show;
mod web;

use super::names::{self, NAME_MAX};
use super::units::{self, DURATION, SIZE};
use super::users::Wrong;
use super::{Config, Network, Secret, UserEntry};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeArray;
use tracing_subscriber::EnvFilter;

/// One setting.
pub(super) struct Key {
    /// Dotted name: section and key as in the file.
    pub name: &'static str,
    /// The default, as TOML.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the test that holds the file to this table"))]
    pub default: &'static str,
    /// One sentence for people: the comment above the key in `config/leveret.toml`.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the test that holds the file to this table"))]
    pub doc: &'static str,
    /// What is accepted, for error messages.
    pub accepts: &'static str,
    /// How the value is taken over.
    pub set: Set,
    /// The value, as TOML.
    pub get: fn(&Config) -> String,
}

/// A setter, by the shape of value it takes.
#[derive(Clone, Copy)]
pub(super) enum Set {
    /// A string or integer.
    Text(fn(&mut Config, &str) -> Result<(), String>),
    /// A string, integer or fraction.
    Number(fn(&mut Config, &str) -> Result<(), String>),
    /// True or false.
    Choice(fn(&mut Config, &str) -> Result<(), String>),
    /// A list of strings; in the environment and on the command line, separated by commas.
    List(fn(&mut Config, &[String]) -> Result<(), String>),
    /// A list of tables that may be empty.
    Tables(fn(&mut Config, &DeArray<'_>) -> Result<(), Vec<Wrong>>),
    /// The list of users.
    Users(fn(&mut Config, Vec<UserEntry>)),
}

impl Key {
    /// The environment variable of this key: `limits.frame_max` is `LEVERET_LIMITS__FRAME_MAX`.
    pub(super) fn env(&self) -> String {
        format!("LEVERET_{}", self.name.to_ascii_uppercase().replace('.', "__"))
    }

    /// Sets this key to what a text says, lists with commas; lists of tables cannot be said so.
    pub(super) fn assign(&self, config: &mut Config, text: &str) -> Result<(), String> {
        match self.set {
            Set::Text(set) | Set::Number(set) | Set::Choice(set) => set(config, text.trim()),
            Set::List(set) => set(config, &text.split(',').map(str::to_owned).collect::<Vec<_>>()),
            Set::Users(_) | Set::Tables(_) => Err("is not a list of tables".to_owned()),
        }
    }
}

/// Every setting, in the order of `config/leveret.toml`.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [general::KEYS, log::KEYS, web::KEYS, network::KEYS, limits::KEYS, running::KEYS].into_iter().flatten()
}

/// All settings as a file of this kind; passwords are hidden.
pub fn shown(config: &Config) -> String {
    let (mut text, mut section) = (String::new(), "");
    // What stands behind the last section in the table is a list of tables; here, a bare key like the first ones.
    let (bare, sectioned): (Vec<_>, Vec<_>) = all().partition(|key| !key.name.contains('.'));
    for key in bare.into_iter().chain(sectioned) {
        let (its_section, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        if its_section != section {
            let _ = writeln!(text, "\n[{its_section}]");
            section = its_section;
        }
        let _ = writeln!(text, "{name} = {}", (key.get)(config));
    }
    text
}

/// The row named `name`.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// Whether `name` is a section of the file, or one within a section.
pub(super) fn is_section(name: &str) -> bool {
    all().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

const PATH: &str = "a path; ~ is not expanded";
const LIMIT: &str = "a number from 0 to 9007199254740991, or infinity";
const QUEUE_TYPE: &str = "classic or quorum";
const POLICIES: &str = "tables with name, vhost or vhosts, pattern, definition (a table), priority and apply_to";
const ADDRESSES: &str = "ADDRESS:PORT, such as 127.0.0.1:5672 or [::1]:5672; none for no address";
const NETWORKS: &str = "addresses such as 10.0.0.7, or networks such as 10.0.0.0/8 or fd00::/8";
const LEVEL: &str = "error, warn, info, debug, trace, off, or a filter of these by module";

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Largest limit: what every language's numbers hold exactly.
const LIMIT_MAX: u64 = (1 << 53) - 1;

fn limit(text: &str) -> Result<Option<u64>, String> {
    if text == "infinity" {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|n| *n <= LIMIT_MAX);
    number.map(Some).ok_or_else(|| format!("{text:?} is not a limit"))
}

fn time(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let given = units::duration(text).ok_or_else(|| format!("{text:?} is not {DURATION}"))?;
    if range.contains(&given) { Ok(given) } else { Err(format!("{text:?} is out of range")) }
}

fn bytes<N: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<N, String> {
    let given = units::size(text).ok_or_else(|| format!("{text:?} is not {SIZE}"))?;
    let in_range = if range.contains(&given) { N::try_from(given).ok() } else { None };
    in_range.ok_or_else(|| format!("{text:?} is out of range"))
}

/// Addresses with ports; `none` alone is none.
fn addresses(items: &[String]) -> Result<Vec<SocketAddr>, String> {
    if let [only] = items
        && only.trim() == "none"
    {
        return Ok(Vec::new());
    }
    let read = |item: &String| item.trim().parse().map_err(|_| format!("{item:?} is not an address with a port"));
    items.iter().map(read).collect()
}

fn networks(items: &[String]) -> Result<Vec<Network>, String> {
    let read = |item: &String| item.trim().parse().map_err(|()| format!("{item:?} is neither"));
    items.iter().map(read).collect()
}

/// What is shown of a password.
fn hidden(secret: Option<&Secret>) -> String {
    show::text(secret.map_or("", |_| show::HIDDEN))
}

/// A path; the empty text is none.
fn path(text: &str) -> Result<Option<PathBuf>, String> {
    match text {
        "" => Ok(None),
        // A shell would have expanded it.
        _ if text.starts_with('~') => Err(format!("{text:?} starts with ~")),
        _ => Ok(Some(text.into())),
    }
}

/// A level or filter of log lines.
fn level(text: &str) -> Result<String, String> {
    if text.is_empty() || EnvFilter::try_new(text).is_err() {
        return Err(format!("{text:?} is not a level"));
    }
    Ok(text.to_owned())
}

/// The name of a node; the empty text is the default.
fn node_name(text: &str) -> Result<String, String> {
    match text {
        "" => Ok(names::default_node_name()),
        _ => names::node_name(text).ok_or_else(|| format!("{text:?} is not a name of a node")),
    }
}
