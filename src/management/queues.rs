//! Queues: the list, one, declaring and deleting it, its bindings' neighbours elsewhere, purging.
//!
//! A row of the list reads a queue when a field of it is asked for: a page of a long list, or one column, costs no more
//! than it shows.

use std::cell::OnceCell;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::body::erlang;
use super::call::Call;
use super::consumers::{self, Source};
use super::figures::{self, Ranges};
use super::list::{self, Fields};
use super::route::{Access, Route, delete, get, post, put};
use crate::broker::portable::json::written;
use crate::broker::stats::QUEUE;
use crate::broker::{Broker, Governing, QueueDeclare, VirtualHost};
use crate::clock::Millis;
use crate::queue::{Effects, Figures, Queue};
use crate::stats::Trend;
use crate::wire::table::Table;

/// A queue is said to be idle after so long, in milliseconds.
const IDLE: Millis = 10_000;

/// Lists are in this order.
const ORDER: [&str; 2] = ["vhost", "name"];

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/queues", Access::Manager, list_all),
        get("/api/queues/detailed", Access::Manager, list_detailed),
        get("/api/users/{user}/queues", Access::Manager, list_of_user),
        get("/api/queues/{vhost}", Access::VisibleVhost, list_all),
        get("/api/queues/{vhost}/{name}", Access::VisibleVhost, one),
        put("/api/queues/{vhost}/{name}", Access::Vhost, declare),
        delete("/api/queues/{vhost}/{name}", Access::Vhost, remove),
        delete("/api/queues/{vhost}/{name}/contents", Access::Vhost, purge),
        post("/api/queues/{vhost}/{name}/actions", Access::Administrator, act),
    ]
}

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// What was declared.
    Plain,
    /// And how many messages there are.
    Totals,
    /// And what has happened to them.
    Full,
    /// Everything.
    Detailed,
    /// Also what takes looking around.
    Single,
}

/// What a figure needs the queue's lock for.
struct Looked {
    figures: Figures,
    head_timestamp: Option<u64>,
    exclusive_tag: Option<String>,
    active_tag: Option<String>,
}

/// A queue as it is shown.
pub(super) struct QueueRow {
    broker: Arc<Broker>,
    vhost: Arc<VirtualHost>,
    queue: Arc<Queue>,
    level: Level,
    ranges: Ranges,
    looked: OnceCell<Looked>,
    trend: OnceCell<Trend>,
    governing: OnceCell<Governing>,
}

/// Where a figure stands in a queue's history.
fn place(name: &str) -> usize {
    QUEUE.iter().position(|known| *known == name).unwrap_or(usize::MAX)
}

impl QueueRow {
    fn new(broker: &Arc<Broker>, vhost: &Arc<VirtualHost>, queue: Arc<Queue>, level: Level, ranges: Ranges) -> Self {
        Self {
            broker: broker.clone(),
            vhost: vhost.clone(),
            queue,
            level,
            ranges,
            looked: OnceCell::new(),
            trend: OnceCell::new(),
            governing: OnceCell::new(),
        }
    }

    fn looked(&self) -> &Looked {
        self.looked.get_or_init(|| {
            let now = self.broker.clock.now();
            let text = |tag: &[u8]| String::from_utf8_lossy(tag).into_owned();
            self.queue.inspect(|state| Looked {
                figures: state.figures(now),
                head_timestamp: state.head_timestamp(),
                exclusive_tag: state.exclusive_tag().map(text),
                active_tag: state.single_active_tag().map(text),
            })
        })
    }

    fn figures(&self) -> &Figures {
        &self.looked().figures
    }

    fn trend(&self) -> &Trend {
        let (tick, deep) = (self.broker.stats.tick(), self.ranges.deep());
        self.trend.get_or_init(|| self.queue.history().trend(tick, deep))
    }

    fn governing(&self) -> &Governing {
        self.governing.get_or_init(|| self.vhost.policies_of(&self.queue))
    }

    fn is_quorum(&self) -> bool {
        self.queue.definition().options.is_quorum()
    }

    /// A value that only those see who asked for so much.
    fn from(&self, level: Level, value: impl FnOnce(&Self) -> Value) -> Option<Value> {
        (self.level >= level).then(|| value(self))
    }

    /// The same of one type of queue.
    fn of_type(&self, quorum: bool, level: Level, value: impl FnOnce(&Self) -> Value) -> Option<Value> {
        if self.is_quorum() == quorum { self.from(level, value) } else { None }
    }

    fn node(&self) -> Value {
        self.broker.config.node_name.as_str().into()
    }

    fn length_details(&self, name: &str) -> Option<Value> {
        self.from(Level::Full, |row| figures::details(row.trend(), place(name), row.ranges.lengths))
    }

    /// What has happened to its messages; absent if nothing has.
    fn message_stats(&self) -> Option<Value> {
        let tally = self.figures().tally;
        if self.level < Level::Full || !tally.has_moved() {
            return None;
        }
        let counts = [
            tally.publish,
            tally.get,
            tally.get_no_ack,
            tally.get_empty,
            tally.deliver,
            tally.deliver_no_ack,
            tally.redeliver,
            tally.ack,
            tally.deliver_get(),
        ];
        let figures = QUEUE.iter().zip(counts).enumerate().map(|(place, (name, count))| (*name, count, place));
        Some(Value::Object(figures::all(figures, self.trend(), self.ranges.rates)))
    }

    /// Which part of the time messages could go to consumers at once.
    fn capacity(&self) -> Value {
        let figures = self.figures();
        if figures.consumers == 0 {
            return 0.into();
        }
        // Milliseconds of waiting in a second; what has not moved since the last sample has its present state.
        let stuck = self.trend().rate(place("stuck"));
        let moved = figures.active.saturating_add(crate::stats::INTERVAL) > self.broker.clock.now();
        let capacity = if moved || figures.ready.0 == 0 { 1.0 - (stuck / 1_000.0).clamp(0.0, 1.0) } else { 0.0 };
        capacity.into()
    }

    fn idle_since(&self) -> Option<Value> {
        let active = self.figures().active;
        let idle = self.level >= Level::Full && active.saturating_add(IDLE) < self.broker.clock.now();
        idle.then(|| figures::moment(active).into())
    }

    fn owner(&self) -> Option<Value> {
        let owner = self.broker.connections.get(self.queue.definition().exclusive_to?)?;
        Some(json!({
            "name": owner.name,
            "peer_host": owner.peer.ip().to_string(),
            "peer_port": owner.peer.port(),
        }))
    }

    fn consumer_details(&self) -> Value {
        let source = Source { broker: self.broker.clone(), vhost: self.vhost.name.clone() };
        consumers::of_queue(&source, &self.queue).iter().map(list::whole).collect()
    }
}

impl Fields for QueueRow {
    const FIELDS: &'static [(&'static str, fn(&Self) -> Option<Value>)] = &[
        ("name", |row| Some((**row.queue.name()).into())),
        ("vhost", |row| Some((*row.vhost.name).into())),
        ("type", |row| Some(row.queue.definition().options.kind.as_str().into())),
        ("durable", |row| Some(row.queue.definition().durable.into())),
        ("auto_delete", |row| Some(row.queue.definition().auto_delete.into())),
        ("exclusive", |row| Some(row.queue.definition().exclusive_to.is_some().into())),
        ("arguments", |row| Some(arguments(&row.queue))),
        ("internal", |_| Some(false.into())),
        ("internal_owner", |_| Some(false.into())),
        ("node", |row| Some(row.node())),
        ("state", |_| Some("running".into())),
        ("owner_pid_details", Self::owner),
        ("policy", |row| row.from(Level::Plain, |row| name(row.governing().policy.as_ref().map(|p| &*p.name)))),
        ("operator_policy", |row| {
            row.from(Level::Plain, |row| name(row.governing().operator_policy.as_ref().map(|p| &*p.name)))
        }),
        ("effective_policy_definition", |row| {
            row.from(Level::Plain, |row| Value::Object(row.governing().definition()))
        }),
        ("consumers", |row| row.from(Level::Full, |row| row.figures().consumers.into())),
        ("consumer_capacity", |row| row.from(Level::Full, Self::capacity)),
        ("consumer_utilisation", |row| row.from(Level::Full, Self::capacity)),
        ("exclusive_consumer_tag", |row| {
            row.of_type(false, Level::Detailed, |row| name(row.looked().exclusive_tag.as_deref()))
        }),
        ("single_active_consumer_tag", |row| row.from(Level::Detailed, |row| name(row.looked().active_tag.as_deref()))),
        ("idle_since", Self::idle_since),
        ("head_message_timestamp", |row| row.of_type(false, Level::Detailed, |row| row.looked().head_timestamp.into())),
        ("memory", |row| row.from(Level::Full, |row| row.figures().memory().into())),
        ("messages", |row| row.from(Level::Totals, |row| row.figures().messages().0.into())),
        ("messages_details", |row| row.length_details("messages")),
        ("messages_ready", |row| row.from(Level::Totals, |row| row.figures().ready.0.into())),
        ("messages_ready_details", |row| row.length_details("messages_ready")),
        ("messages_unacknowledged", |row| row.from(Level::Totals, |row| unacked(row.figures()).0.into())),
        ("messages_unacknowledged_details", |row| row.length_details("messages_unacknowledged")),
        ("messages_ram", |row| row.from(Level::Full, |row| in_memory(row.figures()).0.into())),
        ("messages_ready_ram", |row| row.of_type(false, Level::Full, |row| ready_in_memory(row.figures()).0.into())),
        ("messages_unacknowledged_ram", |row| row.of_type(false, Level::Full, |row| unacked(row.figures()).0.into())),
        ("messages_persistent", |row| row.from(Level::Full, |row| row.figures().persistent.0.into())),
        ("messages_paged_out", |row| row.of_type(false, Level::Detailed, |row| row.figures().paged.0.into())),
        ("message_bytes", |row| row.from(Level::Full, |row| row.figures().messages().1.into())),
        ("message_bytes_ready", |row| row.from(Level::Full, |row| row.figures().ready.1.into())),
        ("message_bytes_unacknowledged", |row| row.from(Level::Full, |row| unacked(row.figures()).1.into())),
        ("message_bytes_ram", |row| row.from(Level::Full, |row| in_memory(row.figures()).1.into())),
        ("message_bytes_persistent", |row| row.from(Level::Full, |row| row.figures().persistent.1.into())),
        ("message_bytes_paged_out", |row| row.of_type(false, Level::Detailed, |row| row.figures().paged.1.into())),
        ("messages_dlx", |row| row.of_type(true, Level::Full, |row| row.figures().dying.0.into())),
        ("message_bytes_dlx", |row| row.of_type(true, Level::Full, |row| row.figures().dying.1.into())),
        ("storage_version", |row| row.of_type(false, Level::Full, |_| 2.into())),
        ("leader", |row| row.of_type(true, Level::Plain, Self::node)),
        ("members", |row| row.of_type(true, Level::Plain, |row| json!([row.node()]))),
        ("online", |row| row.of_type(true, Level::Plain, |row| json!([row.node()]))),
        ("open_files", |row| {
            row.of_type(true, Level::Full, |row| {
                Value::Object(Map::from_iter([(row.broker.config.node_name.clone(), 0.into())]))
            })
        }),
        ("delivery_limit", |row| {
            row.of_type(true, Level::Full, |row| {
                row.figures().options.most_failures().map_or("unlimited".into(), Value::from)
            })
        }),
        ("messages_ready_returned", |row| row.of_type(true, Level::Full, |row| row.figures().returned.into())),
        ("messages_delayed", |row| row.of_type(true, Level::Full, |_| 0.into())),
        ("delayed_retry", |row| row.of_type(true, Level::Full, |_| "disabled".into())),
        ("message_stats", Self::message_stats),
        ("consumer_details", |row| row.from(Level::Single, Self::consumer_details)),
        ("incoming", |row| row.from(Level::Single, |_| json!([]))),
        ("deliveries", |row| row.from(Level::Single, |_| json!([]))),
    ];
}

fn name(name: Option<&str>) -> Value {
    name.map_or(Value::Null, Value::from)
}

/// The arguments as declared; RabbitMQ notes the type among them.
fn arguments(queue: &Queue) -> Value {
    let definition = queue.definition();
    let mut arguments = written(&definition.arguments);
    if definition.options.profile.stores_queue_type {
        arguments.entry("x-queue-type").or_insert_with(|| definition.options.kind.as_str().into());
    }
    Value::Object(arguments)
}

/// What is held by consumers or on its way to the dead letters.
fn unacked(figures: &Figures) -> (u64, u64) {
    (figures.unacked.0.saturating_add(figures.dying.0), figures.unacked.1.saturating_add(figures.dying.1))
}

fn ready_in_memory(figures: &Figures) -> (u64, u64) {
    (figures.ready.0.saturating_sub(figures.paged.0), figures.ready.1.saturating_sub(figures.paged.1))
}

fn in_memory(figures: &Figures) -> (u64, u64) {
    let (count, bytes) = figures.messages();
    (count.saturating_sub(figures.paged.0), bytes.saturating_sub(figures.paged.1))
}

fn level(call: &Call, full: Level) -> Level {
    match (call.without_statistics(), call.query.is_true("enable_queue_totals")) {
        (false, _) => full,
        (true, true) => Level::Totals,
        (true, false) => Level::Plain,
    }
}

async fn list_all(call: Call) -> Outcome {
    // Who asks for fields by name gets what there is of them.
    let full = if call.query.get("columns").is_some() { Level::Detailed } else { Level::Full };
    listed(&call, full)
}

async fn list_detailed(call: Call) -> Outcome {
    listed(&call, Level::Detailed)
}

/// The queues that connections of a user own. Who has declared a queue that is anybody's is not remembered.
async fn list_of_user(call: Call) -> Outcome {
    let (ranges, level) = (Ranges::of(&call.query)?, level(&call, Level::Full));
    let user = call.name("user");
    let owns = |id| {
        let owner = call.broker.connections.get(id);
        owner.is_some_and(|owner| owner.user().is_some_and(|owner| *owner.name == *user))
    };
    let mut rows = Vec::new();
    for vhost in call.vhosts()? {
        let queues: Vec<_> = vhost.topology().queues().cloned().collect();
        let owned = queues.into_iter().filter(|queue| queue.definition().exclusive_to.is_some_and(owns));
        rows.extend(owned.map(|queue| QueueRow::new(&call.broker, &vhost, queue, level, ranges)));
    }
    list::pages(rows, &call.query, &ORDER)
}

fn listed(call: &Call, full: Level) -> Outcome {
    let (ranges, level) = (Ranges::of(&call.query)?, level(call, full));
    let mut rows = Vec::new();
    for vhost in call.vhosts()? {
        let queues: Vec<_> = vhost.topology().queues().cloned().collect();
        rows.extend(queues.into_iter().map(|queue| QueueRow::new(&call.broker, &vhost, queue, level, ranges)));
    }
    list::pages(rows, &call.query, &ORDER)
}

/// The queue that a path names.
pub(super) fn queue_of(call: &Call) -> Result<(Arc<VirtualHost>, Arc<Queue>), ApiError> {
    let vhost = call.vhost()?;
    let queue = vhost.queue(call.name("name")).ok_or_else(ApiError::no_object)?;
    Ok((vhost, queue))
}

async fn one(call: Call) -> Outcome {
    let (vhost, queue) = queue_of(&call)?;
    let row = QueueRow::new(&call.broker, &vhost, queue, level(&call, Level::Single), Ranges::of(&call.query)?);
    list::one(&row, &call.query)
}

/// The arguments in a body, as a table.
pub(super) fn arguments_of(body: &super::body::Object) -> Result<Table, ApiError> {
    match body.get("arguments") {
        None => Ok(Table::default()),
        Some(Value::Object(map)) => {
            crate::broker::portable::json::read(map).map_err(|unreadable| ApiError::bad_request(unreadable.problem))
        }
        // Some tools write an empty object as an empty list.
        Some(Value::Array(none)) if none.is_empty() => Ok(Table::default()),
        Some(other) => {
            Err(ApiError::bad_request(format!("arguments should be an object, actually was {}", erlang(other))))
        }
    }
}

/// Longest name of a queue or exchange, in octets.
const NAME_MAX: usize = 255;

/// A name for something new, without carriage returns and line feeds, which RabbitMQ removes; one that AMQP cannot carry
/// is refused.
pub(super) fn new_name(what: &str, name: &str) -> Result<String, ApiError> {
    if name.len() <= NAME_MAX {
        return Ok(name.replace(['\r', '\n'], ""));
    }
    Err(ApiError::bad_request(format!("{what} name is longer than {NAME_MAX} octets")))
}

async fn declare(call: Call) -> Outcome {
    let (vhost, body) = (call.vhost_to_change()?, call.object()?);
    let ask = QueueDeclare {
        name: new_name("queue", call.name("name"))?,
        passive: false,
        durable: body.truth("durable")?.unwrap_or_default(),
        // Nobody's connection is there to own it.
        exclusive: false,
        auto_delete: body.truth("auto_delete")?.unwrap_or_default(),
        arguments: arguments_of(&body)?,
    };
    let new = vhost.queue(&ask.name).is_none();
    let declared = {
        let mut fx = Effects::default();
        let declared = vhost.declare_queue(&call.broker, ask, call.caller(), &mut fx)?;
        call.broker.finish(&declared.queue, &mut fx);
        declared
    };
    call.broker.committed(declared.epoch).await?;
    Ok(Answer::put(new))
}

async fn remove(call: Call) -> Outcome {
    let (vhost, queue) = queue_of(&call)?;
    let (if_unused, if_empty) = (call.query.is_true("if-unused"), call.query.is_true("if-empty"));
    let epoch = {
        let mut fx = Effects::default();
        let (_, epoch) = vhost.delete_queue(&call.broker, queue.name(), if_unused, if_empty, call.caller(), &mut fx)?;
        fx.ring();
        epoch
    };
    call.broker.committed(epoch).await?;
    Ok(Answer::done())
}

async fn purge(call: Call) -> Outcome {
    let (vhost, queue) = queue_of(&call)?;
    vhost.readable_queue(&call.broker, queue.name(), call.caller())?;
    let epoch = {
        let mut fx = Effects::default();
        let (_, epoch) = queue.purge(&mut fx);
        call.broker.finish(&queue, &mut fx);
        epoch
    };
    call.broker.committed(epoch).await?;
    Ok(Answer::done())
}

/// What could once be asked of mirrored queues.
async fn act(call: Call) -> Outcome {
    queue_of(&call).map_err(|_| ApiError::not_found("queue_not_found"))?;
    let body = call.object()?;
    body.require(&["action"])?;
    Err(ApiError::pair("unknown", body.get("action").cloned()))
}
