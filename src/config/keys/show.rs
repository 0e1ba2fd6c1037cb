//! Settings as TOML, for `leveret config show`.
//!
//! Each function turns a value into what the file would say. Invariant: what is shown, read again, is the same value; but
//! for passwords, which are never shown.

use super::super::{
    DiskFreeLimit, MemoryWatermark, Parts, PermissionEntry, PolicyEntry, UserEntry, VhostEntry, VhostLimitEntry,
};
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;
use toml::Value;
use toml::map::Map;

/// Units of sizes, the largest first.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Stands for a password.
pub(super) const HIDDEN: &str = "[hidden]";

pub(super) fn text(text: impl Into<String>) -> String {
    Value::String(text.into()).to_string()
}

pub(super) fn plain(value: impl Display) -> String {
    value.to_string()
}

pub(super) fn place(path: Option<&PathBuf>) -> String {
    text(path.map_or_else(String::new, |path| path.to_string_lossy().into_owned()))
}

pub(super) fn list<T: Display>(items: &[T]) -> String {
    Value::Array(items.iter().map(|item| Value::String(item.to_string())).collect()).to_string()
}

pub(super) fn size(octets: impl TryInto<u64>) -> String {
    let octets = octets.try_into().unwrap_or(u64::MAX);
    let unit = UNITS.iter().find(|(_, size)| octets > 0 && octets.is_multiple_of(*size));
    unit.map_or_else(
        || octets.to_string(),
        |(unit, size)| text(format!("{}{unit}", octets.checked_div(*size).unwrap_or(0))),
    )
}

pub(super) fn time(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        text(format!("{}s", time.as_secs()))
    } else {
        text(format!("{}ms", time.as_millis()))
    }
}

pub(super) fn limit(limit: Option<u64>) -> String {
    limit.map_or_else(|| text("infinity"), plain)
}

fn fraction(parts: Parts) -> String {
    format!("{}", parts.fraction())
}

pub(super) fn memory(watermark: MemoryWatermark) -> String {
    match watermark {
        MemoryWatermark::Relative(parts) => text(fraction(parts)),
        MemoryWatermark::Absolute(octets) => text(format!("{octets}B")),
    }
}

pub(super) fn disk(limit: DiskFreeLimit) -> String {
    match limit {
        DiskFreeLimit::Automatic => text("auto"),
        DiskFreeLimit::Absolute(octets) => size(octets),
        DiskFreeLimit::OfMemory(parts) => text(format!("mem_relative {}", fraction(parts))),
    }
}

/// A table of the fields that there are.
fn table(fields: Vec<(&str, Option<Value>)>) -> Value {
    let there = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Table(there.collect::<Map<_, _>>())
}

pub(super) fn users(users: &[UserEntry]) -> String {
    let entry = |user: &UserEntry| {
        table(vec![
            ("name", Some(Value::from(user.name.as_str()))),
            ("password", Some(Value::from(HIDDEN))),
            ("tags", Some(Value::Array(user.tags.iter().map(|tag| Value::from(tag.as_str())).collect()))),
            ("loopback_only", Some(Value::from(user.loopback_only))),
        ])
    };
    Value::Array(users.iter().map(entry).collect()).to_string()
}

pub(super) fn vhosts(vhosts: &[VhostEntry]) -> String {
    let entry = |vhost: &VhostEntry| {
        table(vec![
            ("name", Some(Value::from(vhost.name.as_str()))),
            ("max_connections", vhost.max_connections.map(Value::from)),
            ("max_queues", vhost.max_queues.map(Value::from)),
            ("default_queue_type", vhost.default_queue_type.as_deref().map(Value::from)),
        ])
    };
    Value::Array(vhosts.iter().map(entry).collect()).to_string()
}

pub(super) fn vhost_limits(limits: &[VhostLimitEntry]) -> String {
    let entry = |limit: &VhostLimitEntry| {
        table(vec![
            ("name", Some(Value::from(limit.name.as_str()))),
            ("vhosts", Some(Value::from(limit.vhosts.as_str()))),
            ("max_connections", limit.max_connections.map(Value::from)),
            ("max_queues", limit.max_queues.map(Value::from)),
        ])
    };
    Value::Array(limits.iter().map(entry).collect()).to_string()
}

pub(super) fn permissions(permissions: &[PermissionEntry]) -> String {
    let entry = |permission: &PermissionEntry| {
        table(vec![
            ("user", Some(Value::from(permission.user.as_str()))),
            ("vhosts", Some(Value::from(permission.vhosts.as_str()))),
            ("configure", Some(Value::from(permission.configure.as_str()))),
            ("write", Some(Value::from(permission.write.as_str()))),
            ("read", Some(Value::from(permission.read.as_str()))),
        ])
    };
    Value::Array(permissions.iter().map(entry).collect()).to_string()
}

pub(super) fn policies(policies: &[PolicyEntry]) -> String {
    let entry = |policy: &PolicyEntry| {
        table(vec![
            ("name", Some(Value::from(policy.name.as_str()))),
            ("vhost", policy.vhosts.is_none().then(|| Value::from(policy.vhost.as_str()))),
            ("vhosts", policy.vhosts.as_deref().map(Value::from)),
            ("pattern", Some(Value::from(policy.pattern.as_str()))),
            ("definition", Value::try_from(&policy.definition).ok()),
            ("priority", Some(Value::from(policy.priority))),
            ("apply_to", Some(Value::from(policy.apply_to.as_str()))),
        ])
    };
    Value::Array(policies.iter().map(entry).collect()).to_string()
}
