//! Bindings: lists by virtual host, source, destination and both; making and removing one.
//!
//! The default exchange is shown with a binding to every queue, as it routes.

use std::sync::Arc;

use serde_json::Value;

use super::answer::{Answer, ApiError, Outcome};
use super::binding_key;
use super::call::Call;
use super::list::{self, Fields};
use super::queues::arguments_of;
use super::route::{Access, Route, delete, get, post};
use crate::broker::portable::json::written;
use crate::broker::{Binding, Destination, Topology, VirtualHost};
use crate::wire::table::Table;

/// Lists are in this order.
const ORDER: [&str; 6] = ["vhost", "source", "type", "destination", "routing_key", "properties_key"];

/// The path of bindings from an exchange to a queue, and to an exchange.
const TO_QUEUE: &str = "/api/bindings/{vhost}/e/{source}/q/{destination}";
const TO_EXCHANGE: &str = "/api/bindings/{vhost}/e/{source}/e/{destination}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/bindings", Access::Manager, list_all),
        get("/api/bindings/{vhost}", Access::VisibleVhost, list_all),
        get("/api/queues/{vhost}/{name}/bindings", Access::VisibleVhost, list_of_queue),
        get("/api/exchanges/{vhost}/{name}/bindings/source", Access::VisibleVhost, list_from),
        get("/api/exchanges/{vhost}/{name}/bindings/destination", Access::VisibleVhost, list_to),
        get(TO_QUEUE, Access::VisibleVhost, |call| async move { list_between(&call, to_queue) }),
        get(TO_EXCHANGE, Access::VisibleVhost, |call| async move { list_between(&call, to_exchange) }),
        post(TO_QUEUE, Access::Vhost, |call| bind(call, to_queue)),
        post(TO_EXCHANGE, Access::Vhost, |call| bind(call, to_exchange)),
        get("/api/bindings/{vhost}/e/{source}/q/{destination}/{props}", Access::VisibleVhost, |call| async move {
            one(&call, to_queue)
        }),
        get("/api/bindings/{vhost}/e/{source}/e/{destination}/{props}", Access::VisibleVhost, |call| async move {
            one(&call, to_exchange)
        }),
        delete("/api/bindings/{vhost}/e/{source}/q/{destination}/{props}", Access::Vhost, |call| {
            unbind(call, to_queue)
        }),
        delete("/api/bindings/{vhost}/e/{source}/e/{destination}/{props}", Access::Vhost, |call| {
            unbind(call, to_exchange)
        }),
    ]
}

/// A binding as it is shown.
struct BindingRow {
    vhost: Arc<str>,
    source: Arc<str>,
    destination: Destination,
    routing_key: Arc<str>,
    arguments: Table,
}

impl BindingRow {
    fn new(vhost: &VirtualHost, binding: &Binding) -> Self {
        Self {
            vhost: vhost.name.clone(),
            source: binding.source.clone(),
            destination: binding.destination.clone(),
            routing_key: binding.routing_key.clone(),
            arguments: binding.arguments.clone(),
        }
    }

    /// The way from the default exchange to a queue.
    fn default(vhost: &VirtualHost, queue: &Arc<str>) -> Self {
        Self {
            vhost: vhost.name.clone(),
            source: "".into(),
            destination: Destination::Queue(queue.clone()),
            routing_key: queue.clone(),
            arguments: Table::default(),
        }
    }
}

impl Fields for BindingRow {
    const FIELDS: &'static [(&'static str, fn(&Self) -> Option<Value>)] = &[
        ("source", |row| Some((*row.source).into())),
        ("vhost", |row| Some((*row.vhost).into())),
        ("destination", |row| Some((**row.destination.name()).into())),
        ("destination_type", |row| {
            let queue = matches!(row.destination, Destination::Queue(_));
            Some(if queue { "queue" } else { "exchange" }.into())
        }),
        ("routing_key", |row| Some((*row.routing_key).into())),
        ("arguments", |row| Some(Value::Object(written(&row.arguments)))),
        ("properties_key", |row| Some(binding_key::of(&row.routing_key, &row.arguments).into())),
    ];
}

fn to_queue(name: &str) -> Destination {
    Destination::Queue(name.into())
}

fn to_exchange(name: &str) -> Destination {
    Destination::Exchange(if name == "amq.default" { "" } else { name }.into())
}

/// Rows of the default exchange for queues of these names.
fn defaults<'a>(vhost: &'a VirtualHost, topology: &'a Topology) -> impl Iterator<Item = BindingRow> {
    topology.queues().map(|queue| BindingRow::default(vhost, queue.name()))
}

async fn list_all(call: Call) -> Outcome {
    let mut rows = Vec::new();
    for vhost in call.vhosts()? {
        let topology = vhost.topology();
        rows.extend(defaults(&vhost, &topology));
        rows.extend(topology.bindings().map(|binding| BindingRow::new(&vhost, binding)));
    }
    list::all(rows, &call.query, &ORDER)
}

/// All bindings to a destination.
fn to(vhost: &VirtualHost, destination: &Destination) -> Vec<BindingRow> {
    let topology = vhost.topology();
    let default = match destination {
        Destination::Queue(name) => topology.queue(name).map(|queue| BindingRow::default(vhost, queue.name())),
        Destination::Exchange(_) => None,
    };
    let others = topology.bindings_to(destination).map(|binding| BindingRow::new(vhost, binding));
    default.into_iter().chain(others).collect()
}

/// The virtual host of the path. What does not exist has no bindings, which RabbitMQ answers with an empty list.
fn place(call: &Call) -> Option<Arc<VirtualHost>> {
    call.broker.vhost(call.name("vhost"))
}

async fn list_of_queue(call: Call) -> Outcome {
    let destination = to_queue(call.name("name"));
    let rows = place(&call).map(|vhost| to(&vhost, &destination));
    list::all(rows.unwrap_or_default(), &call.query, &ORDER)
}

async fn list_from(call: Call) -> Outcome {
    let name = call.exchange_name("name");
    let from = |vhost: Arc<VirtualHost>| {
        let topology = vhost.topology();
        if name.is_empty() {
            defaults(&vhost, &topology).collect()
        } else {
            topology.bindings_from(name).map(|binding| BindingRow::new(&vhost, binding)).collect::<Vec<_>>()
        }
    };
    list::all(place(&call).map(from).unwrap_or_default(), &call.query, &ORDER)
}

async fn list_to(call: Call) -> Outcome {
    let destination = to_exchange(call.name("name"));
    let rows = place(&call).map(|vhost| to(&vhost, &destination));
    list::all(rows.unwrap_or_default(), &call.query, &ORDER)
}

/// The bindings between the two ends that a path names.
fn between(call: &Call, end: fn(&str) -> Destination) -> Vec<BindingRow> {
    let (source, destination) = (call.exchange_name("source"), end(call.name("destination")));
    let mut rows = place(call).map(|vhost| to(&vhost, &destination)).unwrap_or_default();
    rows.retain(|row| *row.source == *source);
    rows
}

fn list_between(call: &Call, end: fn(&str) -> Destination) -> Outcome {
    list::all(between(call, end), &call.query, &ORDER)
}

/// The binding that a path names.
fn binding_of(call: &Call, end: fn(&str) -> Destination) -> Result<BindingRow, ApiError> {
    let named = call.name("props");
    let mut rows = between(call, end).into_iter();
    rows.find(|row| binding_key::names(named, &row.routing_key, &row.arguments)).ok_or_else(ApiError::no_object)
}

fn one(call: &Call, end: fn(&str) -> Destination) -> Outcome {
    list::one(&binding_of(call, end)?, &call.query)
}

async fn bind(call: Call, end: fn(&str) -> Destination) -> Outcome {
    let (vhost, body, source) = (call.vhost_to_change()?, call.object()?, call.exchange_name("source"));
    // Clients without a key send null.
    let key = if body.get("routing_key").is_some_and(Value::is_null) { None } else { body.text("routing_key")? };
    let key = key.unwrap_or_default();
    let arguments = arguments_of(&body)?;
    let location = binding_key::quote(&binding_key::of(key, &arguments));
    let epoch = match end(call.name("destination")) {
        Destination::Queue(name) => vhost.bind_queue(&call.broker, &name, source, key, arguments, call.caller())?,
        Destination::Exchange(name) => {
            vhost.bind_exchange(&call.broker, &name, source, key, arguments, call.caller())?
        }
    };
    call.broker.committed(epoch).await?;
    Ok(Answer::created_at(&format!("{}/{location}", binding_key::quote(call.name("destination")))))
}

async fn unbind(call: Call, end: fn(&str) -> Destination) -> Outcome {
    let vhost = call.vhost()?;
    let BindingRow { source, destination, routing_key, arguments, .. } = binding_of(&call, end)?;
    let broker = &call.broker;
    let epoch = match destination {
        Destination::Queue(name) => {
            vhost.unbind_queue(broker, &name, &source, &routing_key, &arguments, call.caller())?
        }
        Destination::Exchange(name) => {
            vhost.unbind_exchange(broker, &name, &source, &routing_key, &arguments, call.caller())?
        }
    };
    broker.committed(epoch).await?;
    Ok(Answer::done())
}
