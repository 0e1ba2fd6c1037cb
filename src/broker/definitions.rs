//! Definitions as the store keeps them: JSON values under short binary keys.
//!
//! | kind (first octet) | rest of the key | value |
//! |---|---|---|
//! | 1 | virtual host id, u32 big-endian | [`VhostRecord`] |
//! | 2 | virtual host id, exchange name | [`ExchangeRecord`] |
//! | 3 | virtual host id, queue id, u64 big-endian | [`QueueRecord`] |
//! | 4 | virtual host id, 128 bits of SHA-256 over the binding's identity | [`BindingRecord`] |
//! | 5 | user name | [`crate::auth::User`] |
//! | 6 | virtual host id, policy name | [`PolicyRecord`] |
//! | 7 | virtual host id, operator policy name | [`PolicyRecord`] |
//! | 8 | virtual host id, user name | [`PermissionRecord`] |
//! | 8 | nothing | says that there are permissions; see [`super::grants`] |
//! | 11 | virtual host id, 128 bits of SHA-256 over user and exchange | [`TopicPermissionRecord`] |
//! | 9 | virtual host id, component's length (one octet), component, name | [`ParameterRecord`] |
//! | 10 | name | [`GlobalRecord`] |
//!
//! Names reach 255 octets each and LMDB's keys 511, so what has two names, as a binding, cannot be its own key.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing))]

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::binding::{Binding, Destination, Identity};
use super::exchange::Kind;
use super::policy::{Policy, PolicyAsk, PolicyKind};
use super::topology::Exchange;
use super::vhosts::VhostSettings;
use crate::auth::{Permission, TopicPermission};
use crate::queue;
use crate::store::{Define, DefinitionKey, QueueId};
use crate::wire::table::Table;

const VHOST: u8 = 1;
const EXCHANGE: u8 = 2;
const QUEUE: u8 = 3;
const BINDING: u8 = 4;
const USER: u8 = 5;
const POLICY: u8 = 6;
const OPERATOR_POLICY: u8 = 7;
const PERMISSION: u8 = 8;
const TOPIC_PERMISSION: u8 = 11;
const PARAMETER: u8 = 9;
const GLOBAL: u8 = 10;

/// A virtual host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct VhostRecord {
    /// Number used in the keys of everything inside.
    pub id: u32,
    /// Name.
    pub name: String,
    /// Everything else.
    #[serde(flatten)]
    pub settings: VhostSettings,
}

/// A policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PolicyRecord {
    /// Name.
    pub name: String,
    /// Everything else.
    #[serde(flatten)]
    pub ask: PolicyAsk,
}

/// A durable exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExchangeRecord {
    /// Name.
    pub name: String,
    /// Type.
    pub kind: Kind,
    /// See [`Exchange::auto_delete`].
    #[serde(default)]
    pub auto_delete: bool,
    /// See [`Exchange::internal`].
    #[serde(default)]
    pub internal: bool,
    /// Arguments as declared.
    #[serde(default)]
    pub arguments: Table,
    /// Identity in the store of the queue that holds its delayed messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<u64>,
}

/// A durable queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct QueueRecord {
    /// Identity in the store.
    pub id: u64,
    /// Name.
    pub name: String,
    /// Deleted when its last consumer is gone.
    #[serde(default)]
    pub auto_delete: bool,
    /// Arguments as declared.
    #[serde(default)]
    pub arguments: Table,
}

/// A binding with durable ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BindingRecord {
    /// Source exchange.
    pub source: String,
    /// Destination.
    pub destination: String,
    /// The destination is an exchange.
    #[serde(default)]
    pub to_exchange: bool,
    /// Binding key.
    pub routing_key: String,
    /// Arguments.
    #[serde(default)]
    pub arguments: Table,
    /// Ascends in the order of creation, on which some exchanges depend.
    #[serde(default)]
    pub order: u64,
}

/// A user's permission in a virtual host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PermissionRecord {
    /// User.
    pub user: String,
    /// See [`Permission::configure`].
    pub configure: String,
    /// See [`Permission::write`].
    pub write: String,
    /// See [`Permission::read`].
    pub read: String,
}

/// A user's topic permission in a virtual host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TopicPermissionRecord {
    /// User.
    pub user: String,
    /// Exchange.
    pub exchange: String,
    /// See [`TopicPermission::write`].
    pub write: String,
    /// See [`TopicPermission::read`].
    pub read: String,
}

/// A runtime parameter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ParameterRecord {
    /// What it is a parameter of.
    pub component: String,
    /// Name.
    pub name: String,
    /// Value.
    pub value: serde_json::Value,
}

/// A parameter of the whole broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct GlobalRecord {
    /// Name.
    pub name: String,
    /// Value.
    pub value: serde_json::Value,
}

/// A definition read back.
#[derive(Clone, Debug)]
pub(super) enum Record {
    /// A virtual host.
    Vhost(VhostRecord),
    /// An exchange of a virtual host.
    Exchange(u32, ExchangeRecord),
    /// A queue of a virtual host.
    Queue(u32, QueueRecord),
    /// A binding of a virtual host.
    Binding(u32, BindingRecord),
    /// A user.
    User(crate::auth::User),
    /// A policy of a virtual host.
    Policy(u32, PolicyKind, PolicyRecord),
    /// Whoever wrote the store knew permissions.
    PermissionsKept,
    /// A permission in a virtual host.
    Permission(u32, PermissionRecord),
    /// A topic permission in a virtual host.
    TopicPermission(u32, TopicPermissionRecord),
    /// A parameter of a virtual host.
    Parameter(u32, ParameterRecord),
    /// A parameter of the whole broker.
    Global(GlobalRecord),
}

/// A definition that cannot be read; the start is refused rather than guessing.
#[derive(Debug, thiserror::Error)]
#[error("definition with key {key:02x?} is damaged: {problem}")]
pub struct DamagedDefinition {
    /// Its key.
    pub key: Vec<u8>,
    /// What is wrong.
    pub problem: String,
}

fn key(kind: u8, vhost: u32, rest: &[u8]) -> DefinitionKey {
    let mut key = Vec::with_capacity(rest.len().saturating_add(5));
    key.push(kind);
    key.extend_from_slice(&vhost.to_be_bytes());
    key.extend_from_slice(rest);
    key
}

fn put(key: DefinitionKey, record: &impl Serialize) -> Define {
    // The records are plain data with string keys: serialisation to memory cannot fail.
    let value = serde_json::to_vec(record).unwrap_or_default();
    Define::Put { key, value }
}

fn vhost_key(id: u32) -> DefinitionKey {
    key(VHOST, id, &[])
}

/// Stores a virtual host.
pub(super) fn put_vhost(id: u32, name: &str, settings: &VhostSettings) -> Define {
    put(vhost_key(id), &VhostRecord { id, name: name.to_owned(), settings: settings.clone() })
}

/// Removes a virtual host; what is in it is removed by itself.
pub(super) fn delete_vhost(id: u32) -> Define {
    Define::Delete { key: vhost_key(id) }
}

fn policy_key(vhost: u32, kind: PolicyKind, name: &str) -> DefinitionKey {
    let kind = match kind {
        PolicyKind::User => POLICY,
        PolicyKind::Operator => OPERATOR_POLICY,
    };
    key(kind, vhost, name.as_bytes())
}

/// Stores a policy.
pub(super) fn put_policy(vhost: u32, kind: PolicyKind, policy: &Policy) -> Define {
    let record = PolicyRecord { name: policy.name.to_string(), ask: policy.ask() };
    put(policy_key(vhost, kind, &policy.name), &record)
}

/// Removes a policy.
pub(super) fn delete_policy(vhost: u32, kind: PolicyKind, name: &str) -> Define {
    Define::Delete { key: policy_key(vhost, kind, name) }
}

fn parameter_key(vhost: u32, component: &str, name: &str) -> DefinitionKey {
    // Components are short words; see what is refused when one is set.
    let length = u8::try_from(component.len()).unwrap_or(u8::MAX);
    let mut rest = vec![length];
    rest.extend_from_slice(component.as_bytes());
    rest.extend_from_slice(name.as_bytes());
    key(PARAMETER, vhost, &rest)
}

/// Stores a parameter.
pub(super) fn put_parameter(vhost: u32, component: &str, name: &str, value: &serde_json::Value) -> Define {
    let record = ParameterRecord { component: component.to_owned(), name: name.to_owned(), value: value.clone() };
    put(parameter_key(vhost, component, name), &record)
}

/// Removes a parameter.
pub(super) fn delete_parameter(vhost: u32, component: &str, name: &str) -> Define {
    Define::Delete { key: parameter_key(vhost, component, name) }
}

fn global_key(name: &str) -> DefinitionKey {
    let mut key = vec![GLOBAL];
    key.extend_from_slice(name.as_bytes());
    key
}

/// Stores a global parameter.
pub(super) fn put_global(name: &str, value: &serde_json::Value) -> Define {
    put(global_key(name), &GlobalRecord { name: name.to_owned(), value: value.clone() })
}

/// Removes a global parameter.
pub(super) fn delete_global(name: &str) -> Define {
    Define::Delete { key: global_key(name) }
}

fn user_key(name: &str) -> DefinitionKey {
    let mut key = vec![USER];
    key.extend_from_slice(name.as_bytes());
    key
}

/// Stores a user.
pub(super) fn put_user(user: &crate::auth::User) -> Define {
    put(user_key(&user.name), user)
}

/// Removes a user.
pub(super) fn delete_user(name: &str) -> Define {
    Define::Delete { key: user_key(name) }
}

/// Stores that there are permissions, whether or not anybody has one.
pub(super) fn keep_permissions() -> Define {
    Define::Put { key: vec![PERMISSION], value: b"{}".to_vec() }
}

fn permission_key(vhost: u32, user: &str) -> DefinitionKey {
    key(PERMISSION, vhost, user.as_bytes())
}

/// Stores a permission.
pub(super) fn put_permission(vhost: u32, user: &str, permission: &Permission) -> Define {
    let Permission { configure, write, read } = permission.clone();
    put(permission_key(vhost, user), &PermissionRecord { user: user.to_owned(), configure, write, read })
}

/// Removes a permission.
pub(super) fn delete_permission(vhost: u32, user: &str) -> Define {
    Define::Delete { key: permission_key(vhost, user) }
}

fn topic_permission_key(vhost: u32, user: &str, exchange: &str) -> DefinitionKey {
    key(TOPIC_PERMISSION, vhost, &digest(&[user.as_bytes(), exchange.as_bytes()]))
}

/// Stores a topic permission.
pub(super) fn put_topic_permission(vhost: u32, user: &str, permission: &TopicPermission) -> Define {
    let TopicPermission { exchange, write, read } = permission.clone();
    let key = topic_permission_key(vhost, user, &exchange);
    put(key, &TopicPermissionRecord { user: user.to_owned(), exchange, write, read })
}

/// Removes a topic permission.
pub(super) fn delete_topic_permission(vhost: u32, user: &str, exchange: &str) -> Define {
    Define::Delete { key: topic_permission_key(vhost, user, exchange) }
}

fn exchange_key(vhost: u32, name: &str) -> DefinitionKey {
    key(EXCHANGE, vhost, name.as_bytes())
}

/// Stores an exchange.
pub(super) fn put_exchange(vhost: u32, exchange: &Exchange) -> Define {
    let record = ExchangeRecord {
        name: exchange.name.to_string(),
        kind: exchange.kind,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: exchange.arguments.clone(),
        holder: exchange.holder.as_ref().map(|holder| holder.id().0),
    };
    put(exchange_key(vhost, &exchange.name), &record)
}

/// Removes an exchange.
pub(super) fn delete_exchange(vhost: u32, name: &str) -> Define {
    Define::Delete { key: exchange_key(vhost, name) }
}

fn queue_key(vhost: u32, id: QueueId) -> DefinitionKey {
    key(QUEUE, vhost, &id.0.to_be_bytes())
}

/// Stores a queue.
pub(super) fn put_queue(vhost: u32, queue: &queue::Definition) -> Define {
    let record = QueueRecord {
        id: queue.id.0,
        name: queue.name.to_string(),
        auto_delete: queue.auto_delete,
        arguments: queue.arguments.clone(),
    };
    put(queue_key(vhost, queue.id), &record)
}

/// Removes a queue and everything in it.
pub(super) fn delete_queue(vhost: u32, id: QueueId) -> [Define; 2] {
    [Define::Delete { key: queue_key(vhost, id) }, Define::DropQueue { queue: id }]
}

/// Stores a binding.
pub(super) fn put_binding(vhost: u32, binding: &Binding) -> Define {
    let record = BindingRecord {
        source: binding.source.to_string(),
        destination: binding.destination.name().to_string(),
        to_exchange: matches!(binding.destination, Destination::Exchange(_)),
        routing_key: binding.routing_key.to_string(),
        arguments: binding.arguments.clone(),
        order: binding.id,
    };
    put(binding_key(vhost, &binding.identity()), &record)
}

/// Removes a binding.
pub(super) fn delete_binding(vhost: u32, binding: &Binding) -> Define {
    Define::Delete { key: binding_key(vhost, &binding.identity()) }
}

/// Key of a binding.
pub(super) fn binding_key(vhost: u32, identity: &Identity) -> DefinitionKey {
    let kind = match identity.destination {
        Destination::Queue(_) => b"q",
        Destination::Exchange(_) => b"e",
    };
    let name = identity.destination.name().as_bytes();
    let parts = [&kind[..], identity.source.as_bytes(), name, identity.routing_key.as_bytes(), &identity.arguments];
    key(BINDING, vhost, &digest(&parts))
}

/// 128 bits in place of names that are too long together.
fn digest(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk::<16>().map_or(&hash[..], |half| half).to_vec()
}

/// Reads a definition back.
pub(super) fn parse(key: &[u8], value: &[u8]) -> Result<Record, DamagedDefinition> {
    let damaged = |problem: String| DamagedDefinition { key: key.to_vec(), problem };
    let json = |e: serde_json::Error| damaged(e.to_string());
    let vhost = || {
        let octets = key.get(1..5).and_then(|b| b.try_into().ok());
        octets.map(u32::from_be_bytes).ok_or_else(|| damaged("the key is too short".to_owned()))
    };
    let record = match key.first() {
        Some(&VHOST) => Record::Vhost(serde_json::from_slice(value).map_err(json)?),
        Some(&EXCHANGE) => Record::Exchange(vhost()?, serde_json::from_slice(value).map_err(json)?),
        Some(&QUEUE) => Record::Queue(vhost()?, serde_json::from_slice(value).map_err(json)?),
        Some(&BINDING) => Record::Binding(vhost()?, serde_json::from_slice(value).map_err(json)?),
        Some(&USER) => Record::User(serde_json::from_slice(value).map_err(json)?),
        Some(&kind @ (POLICY | OPERATOR_POLICY)) => {
            let kind = if kind == POLICY { PolicyKind::User } else { PolicyKind::Operator };
            Record::Policy(vhost()?, kind, serde_json::from_slice(value).map_err(json)?)
        }
        Some(&PERMISSION) if key.len() == 1 => Record::PermissionsKept,
        Some(&PERMISSION) => Record::Permission(vhost()?, serde_json::from_slice(value).map_err(json)?),
        Some(&TOPIC_PERMISSION) => Record::TopicPermission(vhost()?, serde_json::from_slice(value).map_err(json)?),
        Some(&PARAMETER) => Record::Parameter(vhost()?, serde_json::from_slice(value).map_err(json)?),
        Some(&GLOBAL) => Record::Global(serde_json::from_slice(value).map_err(json)?),
        _ => return Err(damaged("the kind is unknown".to_owned())),
    };
    // Definitions have no checksum. A queue id that has rotted would leave messages without a queue, to be removed.
    match own_key(&record) {
        Some(own) if own != key => Err(damaged(format!("it belongs under {own:02x?}"))),
        _ => Ok(record),
    }
}

/// The key a definition belongs under; not told of bindings, which only [`super::check`] hashes again.
fn own_key(record: &Record) -> Option<DefinitionKey> {
    Some(match record {
        Record::Vhost(record) => vhost_key(record.id),
        Record::Exchange(vhost, record) => exchange_key(*vhost, &record.name),
        Record::Queue(vhost, record) => queue_key(*vhost, QueueId(record.id)),
        Record::User(user) => user_key(&user.name),
        Record::Policy(vhost, kind, record) => policy_key(*vhost, *kind, &record.name),
        Record::Permission(vhost, record) => permission_key(*vhost, &record.user),
        Record::TopicPermission(vhost, record) => topic_permission_key(*vhost, &record.user, &record.exchange),
        Record::Parameter(vhost, record) => parameter_key(*vhost, &record.component, &record.name),
        Record::Global(record) => global_key(&record.name),
        Record::PermissionsKept | Record::Binding(..) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_put(define: Define, change: impl Fn(&mut DefinitionKey)) -> Result<Record, DamagedDefinition> {
        let Define::Put { mut key, value } = define else { panic!("a definition") };
        change(&mut key);
        parse(&key, &value)
    }

    #[test]
    fn a_definition_under_the_key_of_another_is_refused() {
        let vhost = || put_vhost(1, "/", &VhostSettings::default());
        assert!(parse_put(vhost(), |_| ()).is_ok());
        let refused = parse_put(vhost(), |key| key[4] ^= 1).unwrap_err();
        assert!(refused.to_string().contains("belongs under"), "{refused}");
        let record = QueueRecord { id: 7, name: "q".to_owned(), auto_delete: false, arguments: Table::default() };
        let queue = || put(queue_key(1, QueueId(7)), &record);
        assert!(matches!(parse_put(queue(), |_| ()), Ok(Record::Queue(1, _))));
        assert!(parse_put(queue(), |key| key[12] ^= 1).is_err());
        let topic = TopicPermission { exchange: "x".to_owned(), write: ".*".to_owned(), read: String::new() };
        for rotten in [put_permission(1, "u", &Permission::all()), put_topic_permission(1, "u", &topic)] {
            assert!(parse_put(rotten.clone(), |_| ()).is_ok());
            assert!(parse_put(rotten, |key| key[5] ^= 1).is_err());
        }
        assert!(matches!(parse_put(keep_permissions(), |_| ()), Ok(Record::PermissionsKept)));
    }
}
