//! From the flags of a load to what each connection does: queues, exchange, keys, and the spread over them.
//!
//! Invariant: flags that contradict each other are refused before anything is declared.

use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};

use super::PerfError;
use super::batch::Shape;
use super::connection::{CHANNEL, Connection};
use super::consumer::Consuming;
use super::publisher::{Publishing, Sizes};
use super::schedule::Schedule;
use crate::config::perf::{Argument, Flag, Load, Phase, Size};

/// The most queues a pattern may name: a slip of the finger is not to declare a billion.
const QUEUES_MAX: u32 = 1_000_000;

/// Refuses what cannot work.
pub(super) fn check(load: &Load) -> Result<(), PerfError> {
    let no = |why: &str| Err(PerfError::Setting(why.to_owned()));
    if load.producers == 0 && load.consumers == 0 {
        return no("neither producers (-x) nor consumers (-y)");
    }
    if load.size.is_empty() {
        return no("no size (-s)");
    }
    if load.qos > 0 && load.qos < load.multi_ack_every && !load.autoack {
        return no(
            "a prefetch limit (-q) below the number acknowledged at a time (-A) stops after the first deliveries",
        );
    }
    if load.variable_rate.iter().all(|phase| phase.value == 0) && !load.variable_rate.is_empty() {
        return no("every --variable-rate is 0");
    }
    if load.latency && load.producers > 0 && load.consumers == 0 && load.confirm.is_none() {
        return no("--latency without consumers needs confirms (-c)");
    }
    if load.routing_key.is_none() && load.random_routing_key && load.exchange.is_empty() {
        return no("--random-routing-key needs an exchange (-e): the default exchange would drop every message");
    }
    queues(load).map(drop)
}

/// The names of the queues.
pub(super) fn queues(load: &Load) -> Result<Vec<String>, PerfError> {
    let Some(pattern) = &load.queue_pattern else { return Ok(vec![load.queue.clone()]) };
    let (from, to) = (load.queue_pattern_from, load.queue_pattern_to.unwrap_or(load.queue_pattern_from));
    if !pattern.contains("%d") {
        return Err(PerfError::Setting(format!("{pattern}: a queue pattern has %d where the number goes")));
    }
    if from > to || to - from >= QUEUES_MAX {
        return Err(PerfError::Setting(format!("queues {from} to {to}: at most {QUEUES_MAX}, in ascending order")));
    }
    Ok((from..=to).map(|number| pattern.replace("%d", &number.to_string())).collect())
}

/// Declares exchange, queues and bindings, or looks whether they are there; the names of the queues.
pub(super) fn declare(load: &Load, connection: &mut Connection) -> Result<Vec<String>, PerfError> {
    if !load.exchange.is_empty() {
        declare_exchange(load, connection)?;
    }
    let mut names = Vec::new();
    for name in queues(load)? {
        let declare = queue::Declare {
            queue: name.as_str().into(),
            passive: load.predeclared,
            durable: is_durable(load),
            exclusive: false,
            auto_delete: load.auto_delete,
            nowait: false,
            arguments: arguments(&load.queue_args),
        };
        let name = match connection.call(CHANNEL, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))? {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => ok.queue.to_string(),
            other => return Err(PerfError::unexpected("queue.declare-ok", &other)),
        };
        if !load.exchange.is_empty() && !load.predeclared {
            bind(connection, &load.exchange, &name, load.routing_key.as_ref().unwrap_or(&name))?;
        }
        names.push(name);
    }
    Ok(names)
}

fn declare_exchange(load: &Load, connection: &mut Connection) -> Result<(), PerfError> {
    let declare = exchange::Declare {
        exchange: load.exchange.as_str().into(),
        kind: load.exchange_type.as_str().into(),
        // Those that are there from the start cannot be declared otherwise than they are.
        passive: load.predeclared || load.exchange.starts_with("amq."),
        durable: is_durable(load),
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    };
    match connection.call(CHANNEL, AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)))? {
        AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(_)) => Ok(()),
        other => Err(PerfError::unexpected("exchange.declare-ok", &other)),
    }
}

/// Binds a queue and waits for the answer.
pub(super) fn bind(connection: &mut Connection, exchange: &str, queue: &str, key: &str) -> Result<(), PerfError> {
    let bind = queue::Bind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: key.into(),
        nowait: false,
        arguments: FieldTable::default(),
    };
    match connection.call(CHANNEL, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)))? {
        AMQPClass::Queue(queue::AMQPMethod::BindOk(_)) => Ok(()),
        other => Err(PerfError::unexpected("queue.bind-ok", &other)),
    }
}

/// Deletes a queue and waits for the answer; one that is not there is no error.
pub(super) fn delete(connection: &mut Connection, queue: &str) -> Result<(), PerfError> {
    let delete = queue::Delete { queue: queue.into(), if_unused: false, if_empty: false, nowait: false };
    match connection.call(CHANNEL, AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))? {
        AMQPClass::Queue(queue::AMQPMethod::DeleteOk(_)) => Ok(()),
        other => Err(PerfError::unexpected("queue.delete-ok", &other)),
    }
}

/// Arguments with the types that brokers expect: digits are a number.
fn arguments(given: &[Argument]) -> FieldTable {
    let mut table = FieldTable::default();
    for argument in given {
        let text = argument.value.as_str();
        let value = match (text, text.parse::<i64>()) {
            (_, Ok(number)) => AMQPValue::LongLongInt(number),
            ("true" | "false", _) => AMQPValue::Boolean(text == "true"),
            _ => AMQPValue::LongString(text.into()),
        };
        table.insert(argument.key.as_str().into(), value);
    }
    table
}

/// PerfTest's rule: persistent messages want a queue that keeps them.
fn is_durable(load: &Load) -> bool {
    load.durable || load.flag.contains(&Flag::Persistent)
}

/// What publisher `index` does; its schedule begins at 0, to be moved.
pub(super) fn publishing(load: &Load, queues: &[String], index: u16) -> Publishing {
    let key = load.routing_key.as_ref().unwrap_or(&queues[usize::from(index) % queues.len()]);
    // Publishers of one rate take turns rather than all publish at the same moment.
    let turn =
        load.rate.map_or(0, |rate| 1_000_000_000 / u64::from(rate) * u64::from(index) / u64::from(load.producers));
    let schedule = match load.rate {
        Some(rate) => Some(Schedule::fixed(rate, turn)),
        None => Schedule::variable(&load.variable_rate, 0),
    };
    let sizes = if load.variable_size.is_empty() {
        Sizes::Turns(load.size.iter().map(|size| size.octets()).collect())
    } else {
        let octets = |phase: &Phase<Size>| Phase { value: phase.value.octets(), seconds: phase.seconds };
        Sizes::Phases(load.variable_size.iter().map(octets).collect())
    };
    Publishing {
        shape: Shape {
            exchange: load.exchange.clone(),
            routing_key: (!load.random_routing_key).then(|| key.clone()),
            persistent: load.flag.contains(&Flag::Persistent),
            mandatory: load.flag.contains(&Flag::Mandatory),
            stamped: load.latency,
            frame_max: 0,
        },
        sizes,
        schedule,
        window: load.confirm.map(|window| window as usize),
        limit: load.pmessages,
        seed: 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(2 * u64::from(index) + 1),
    }
}

/// What consumer `index` does.
pub(super) fn consuming(load: &Load, queues: &[String], index: u16) -> Consuming {
    Consuming {
        queue: queues[usize::from(index) % queues.len()].clone(),
        autoack: load.autoack,
        ack_every: load.multi_ack_every.into(),
        prefetch: load.qos,
        rate: load.consumer_rate,
        limit: load.cmessages,
    }
}
