//! What there is becomes a document.
//!
//! Everything is sorted, bindings stand in the order in which they were made, since some exchanges mind it. So two exports
//! of the same definitions are the same text. Deliberately absent: who produced the document and when.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::binding::{Binding, Destination};
use super::super::parameters::{CLUSTER_ID, Parameter, UNSUPPORTED_BINDING, UNSUPPORTED_QUEUE};
use super::super::policy::PolicyKind;
use super::super::{Broker, VirtualHost};
use super::json::written;
use crate::auth::{PasswordHash, User};
use crate::queue::Queue;

/// The argument that names a queue's type.
const QUEUE_TYPE: &str = "x-queue-type";

/// The only exchange with a reserved name that RabbitMQ exports, in versions that have it.
const LOG_EXCHANGE: &str = "amq.rabbitmq.log";

/// An item of a document, without its virtual host.
type Item = Map<String, Value>;

fn item(value: Value) -> Item {
    match value {
        Value::Object(map) => map,
        _ => Item::new(),
    }
}

/// Everything, by kind: the lists of a document of the whole broker.
pub fn export(broker: &Broker) -> Map<String, Value> {
    let mut vhosts = broker.vhosts();
    vhosts.sort_by(|a, b| a.name.cmp(&b.name));
    let mut document = Map::new();
    let users = broker.users.list();
    document.insert("users".to_owned(), users.iter().map(|known| user(known)).collect());
    document.insert("vhosts".to_owned(), vhosts.iter().map(|known| vhost(broker, known)).collect());
    let permissions = broker.permissions().into_iter().map(|(vhost, user, permission)| {
        json!({"user": user, "vhost": vhost, "configure": permission.configure, "write": permission.write,
            "read": permission.read})
    });
    document.insert("permissions".to_owned(), permissions.collect());
    let topics = broker.topic_permissions().into_iter().map(|(vhost, user, permission)| {
        json!({"user": user, "vhost": vhost, "exchange": permission.exchange, "write": permission.write,
            "read": permission.read})
    });
    document.insert("topic_permissions".to_owned(), topics.collect());
    let globals = broker.global_parameters();
    let globals = globals.iter().filter(|(name, _)| ***name != *CLUSTER_ID);
    let globals = globals.map(|(name, value)| json!({"name": name, "value": value}));
    document.insert("global_parameters".to_owned(), globals.collect());
    for (kind, of) in KINDS {
        let all = vhosts.iter().flat_map(|vhost| of(broker, vhost).into_iter().map(move |item| within(vhost, item)));
        document.insert((*kind).to_owned(), all.collect());
    }
    document
}

/// The lists of a document of one virtual host, and what is known of it.
pub fn export_vhost(broker: &Broker, vhost: &VirtualHost) -> Map<String, Value> {
    let settings = vhost.settings();
    let mut document = item(json!({
        "description": settings.description,
        "metadata": metadata(broker, vhost),
        "limits": settings.limits,
    }));
    for (kind, of) in KINDS {
        let all = of(broker, vhost).into_iter().map(Value::Object);
        document.insert((*kind).to_owned(), all.collect());
    }
    document
}

/// A kind of things in a virtual host, and how to list them.
type Kind = (&'static str, fn(&Broker, &VirtualHost) -> Vec<Item>);

/// Every kind.
const KINDS: &[Kind] = &[
    ("parameters", parameters),
    ("policies", policies),
    ("exchanges", exchanges),
    ("queues", queues),
    ("bindings", bindings),
];

fn within(vhost: &VirtualHost, mut item: Item) -> Value {
    item.insert("vhost".to_owned(), (*vhost.name).into());
    Value::Object(item)
}

fn user(user: &User) -> Value {
    let hash = user.password_hash.as_ref();
    json!({
        "name": user.name,
        "password_hash": hash.map(PasswordHash::to_base64).unwrap_or_default(),
        "hashing_algorithm": hash.map_or("rabbit_password_hashing_sha256", PasswordHash::algorithm_name),
        "tags": user.tags,
        "limits": user.limits,
    })
}

/// What RabbitMQ calls the metadata of a virtual host.
fn metadata(broker: &Broker, vhost: &VirtualHost) -> Value {
    let settings = vhost.settings();
    let mut metadata = item(json!({
        "description": settings.description,
        "tags": settings.tags,
        "default_queue_type": settings.default_queue_type.as_ref().unwrap_or(&broker.config.default_queue_type),
    }));
    if settings.protected {
        metadata.insert("protected_from_deletion".to_owned(), true.into());
    }
    Value::Object(metadata)
}

fn vhost(broker: &Broker, vhost: &VirtualHost) -> Value {
    json!({"name": vhost.name, "limits": vhost.settings().limits, "metadata": metadata(broker, vhost)})
}

/// Whether a parameter stands for something else in a document.
fn is_kept_aside(parameter: &Parameter) -> bool {
    [UNSUPPORTED_QUEUE, UNSUPPORTED_BINDING].contains(&parameter.component.as_str())
}

fn parameters(_: &Broker, vhost: &VirtualHost) -> Vec<Item> {
    let all = vhost.all_parameters().into_iter().filter(|parameter| !is_kept_aside(parameter));
    all.map(|parameter| {
        item(json!({"component": parameter.component, "name": parameter.name, "value": parameter.value}))
    })
    .collect()
}

fn policies(_: &Broker, vhost: &VirtualHost) -> Vec<Item> {
    let policies = vhost.policies();
    let mut all: Vec<_> = policies.all(PolicyKind::User).iter().collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let shown = all.into_iter().map(|policy| {
        // Plain data with string keys.
        let mut shown = item(serde_json::to_value(policy.ask()).unwrap_or_default());
        shown.insert("name".to_owned(), (*policy.name).into());
        shown
    });
    shown.collect()
}

fn exchanges(broker: &Broker, vhost: &VirtualHost) -> Vec<Item> {
    let topology = vhost.topology();
    let logs = broker.config.profile().log_exchange;
    let exported = |name: &str, internal: bool| {
        (!internal && !name.is_empty() && !name.starts_with("amq.")) || (logs && name == LOG_EXCHANGE)
    };
    let mut all: Vec<_> =
        topology.exchanges.values().filter(|exchange| exported(&exchange.name, exchange.internal)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let shown = all.into_iter().map(|exchange| {
        item(json!({
            "name": exchange.name,
            "type": exchange.kind.as_str(),
            "durable": exchange.durable,
            "auto_delete": exchange.auto_delete,
            "arguments": written(&exchange.arguments),
        }))
    });
    shown.collect()
}

/// What was kept aside, as it stood.
fn kept_aside(vhost: &VirtualHost, kind: &str) -> Vec<Item> {
    let topology = vhost.topology();
    let kept = topology.parameters().filter(|(component, ..)| ***component == *kind);
    kept.map(|(_, _, value)| {
        let mut item = item((**value).clone());
        item.remove("vhost");
        item
    })
    .collect()
}

fn queues(broker: &Broker, vhost: &VirtualHost) -> Vec<Item> {
    let typed = broker.config.profile().stores_queue_type;
    let mut queues: Vec<Arc<Queue>> = vhost.topology().queues.values().cloned().collect();
    queues.retain(|queue| queue.definition().exclusive_to.is_none());
    let mut all: Vec<Item> = queues.iter().map(|queue| shown_queue(queue, typed)).collect();
    all.extend(kept_aside(vhost, UNSUPPORTED_QUEUE));
    all.sort_by(|a, b| a.get("name").and_then(Value::as_str).cmp(&b.get("name").and_then(Value::as_str)));
    all
}

fn shown_queue(queue: &Queue, typed: bool) -> Item {
    let definition = queue.definition();
    let kind = definition.options.kind.as_str();
    let mut arguments = written(&definition.arguments);
    if typed && !arguments.contains_key(QUEUE_TYPE) {
        arguments.insert(QUEUE_TYPE.to_owned(), kind.into());
    }
    item(json!({
        "name": definition.name,
        "type": kind,
        "durable": definition.durable,
        "auto_delete": definition.auto_delete,
        "arguments": arguments,
    }))
}

fn bindings(_: &Broker, vhost: &VirtualHost) -> Vec<Item> {
    let mut all: Vec<Arc<Binding>> = {
        let topology = vhost.topology();
        let internal = |name: &Arc<str>| topology.exchanges.get(name).is_some_and(|exchange| exchange.internal);
        let hidden = |binding: &Binding| {
            let to = match (&binding.destination, &binding.queue) {
                (Destination::Exchange(name), _) => internal(name),
                (_, Some(queue)) => queue.definition().exclusive_to.is_some(),
                _ => false,
            };
            to || internal(&binding.source)
        };
        topology.identities.values().filter(|binding| !hidden(binding)).cloned().collect()
    };
    all.sort_by_key(|binding| binding.id);
    let mut shown: Vec<Item> = all.iter().map(|binding| shown_binding(binding)).collect();
    shown.extend(kept_aside(vhost, UNSUPPORTED_BINDING));
    shown
}

fn shown_binding(binding: &Binding) -> Item {
    let kind = match &binding.destination {
        Destination::Queue(_) => "queue",
        Destination::Exchange(_) => "exchange",
    };
    item(json!({
        "source": binding.source,
        "destination": binding.destination.name(),
        "destination_type": kind,
        "routing_key": binding.routing_key,
        "arguments": written(&binding.arguments),
    }))
}
