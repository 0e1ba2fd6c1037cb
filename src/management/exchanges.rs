//! Exchanges: the list, one, declaring and deleting it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::figures::{self, Ranges};
use super::list::{self, Fields};
use super::queues::{arguments_of, new_name};
use super::route::{Access, Route, delete, get, put};
use crate::broker::portable::json::written;
use crate::broker::stats::ExchangeStats;
use crate::broker::{Broker, Exchange, ExchangeDeclare, VirtualHost};
use crate::wire::table::Table;

/// The list is in this order.
const ORDER: [&str; 2] = ["vhost", "name"];

/// Who is said to have declared what nobody remembers.
const PERFORMER: &str = "rmq-internal";

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/exchanges", Access::Manager, list_all),
        get("/api/exchanges/{vhost}", Access::VisibleVhost, list_all),
        get("/api/exchanges/{vhost}/{name}", Access::VisibleVhost, one),
        put("/api/exchanges/{vhost}/{name}", Access::Vhost, declare),
        delete("/api/exchanges/{vhost}/{name}", Access::Vhost, remove),
    ]
}

/// An exchange as it is shown.
#[allow(clippy::struct_excessive_bools)] // independent facts
struct ExchangeRow {
    broker: Arc<Broker>,
    vhost: Arc<VirtualHost>,
    name: Arc<str>,
    kind: &'static str,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Table,
    delayed: Option<u64>,
    stats: Arc<ExchangeStats>,
    ranges: Ranges,
    /// What is counted is shown, too.
    full: bool,
    /// So is what takes looking around.
    single: bool,
}

impl ExchangeRow {
    fn message_stats(&self) -> Option<Value> {
        let [published_in, published_out] = self.stats.values();
        if !self.full || (published_in == 0 && published_out == 0) {
            return None;
        }
        let trend = self.stats.history.trend(self.broker.stats.tick(), self.ranges.deep());
        let figures = [("publish_in", published_in, 0), ("publish_out", published_out, 1)];
        Some(Value::Object(figures::all(figures.into_iter(), &trend, self.ranges.rates)))
    }

    fn policy(&self) -> Option<Value> {
        // The default exchange has none.
        let policies = (!self.name.is_empty()).then(|| self.vhost.policies().of_exchange(&self.name))?;
        policies.policy.map(|policy| (*policy.name).into())
    }
}

impl Fields for ExchangeRow {
    const FIELDS: &'static [(&'static str, fn(&Self) -> Option<Value>)] = &[
        ("name", |row| Some((*row.name).into())),
        ("vhost", |row| Some((*row.vhost.name).into())),
        ("type", |row| Some(row.kind.into())),
        ("durable", |row| Some(row.durable.into())),
        ("auto_delete", |row| Some(row.auto_delete.into())),
        ("internal", |row| Some(row.internal.into())),
        ("arguments", |row| Some(Value::Object(written(&row.arguments)))),
        ("policy", ExchangeRow::policy),
        ("user_who_performed_action", |_| Some(PERFORMER.into())),
        ("messages_delayed", |row| row.delayed.map(Value::from)),
        ("message_stats", ExchangeRow::message_stats),
        ("incoming", |row| row.single.then(|| json!([]))),
        ("outgoing", |row| row.single.then(|| json!([]))),
    ];
}

fn row(call: &Call, vhost: &Arc<VirtualHost>, exchange: &Exchange, ranges: Ranges, single: bool) -> ExchangeRow {
    let full = !call.without_statistics();
    ExchangeRow {
        broker: call.broker.clone(),
        vhost: vhost.clone(),
        name: exchange.name.clone(),
        kind: exchange.kind.as_str(),
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: exchange.arguments.clone(),
        delayed: exchange.delayed(),
        stats: exchange.stats.clone(),
        ranges,
        full,
        single: single && full,
    }
}

async fn list_all(call: Call) -> Outcome {
    let ranges = Ranges::of(&call.query)?;
    let mut rows = Vec::new();
    for vhost in call.vhosts()? {
        rows.extend(vhost.topology().exchanges().map(|exchange| row(&call, &vhost, exchange, ranges, false)));
    }
    list::pages(rows, &call.query, &ORDER)
}

async fn one(call: Call) -> Outcome {
    let (vhost, ranges) = (call.vhost()?, Ranges::of(&call.query)?);
    let found = vhost.topology().exchange(call.exchange_name("name")).map(|x| row(&call, &vhost, x, ranges, true));
    let row = found.ok_or_else(ApiError::no_object)?;
    list::one(&row, &call.query)
}

async fn declare(call: Call) -> Outcome {
    let (vhost, body, name) = (call.vhost_to_change()?, call.object()?, call.exchange_name("name"));
    let ask = ExchangeDeclare {
        name: new_name("exchange", name)?,
        kind: body.text("type")?.unwrap_or("direct").to_owned(),
        passive: false,
        durable: body.truth("durable")?.unwrap_or_default(),
        auto_delete: body.truth("auto_delete")?.unwrap_or_default(),
        internal: body.truth("internal")?.unwrap_or_default(),
        arguments: arguments_of(&body)?,
    };
    let new = vhost.topology().exchange(name).is_none();
    let epoch = vhost.declare_exchange(&call.broker, ask, call.caller())?;
    call.broker.committed(epoch).await?;
    Ok(Answer::put(new))
}

async fn remove(call: Call) -> Outcome {
    let (vhost, name) = (call.vhost()?, call.exchange_name("name"));
    if vhost.topology().exchange(name).is_none() {
        return Err(ApiError::no_object());
    }
    let epoch = vhost.delete_exchange(&call.broker, name, call.query.is_true("if-unused"), call.caller())?;
    call.broker.committed(epoch).await?;
    Ok(Answer::done())
}
