//! Things that come and go: acts a second, each of which waits for the broker's answer.
//!
//! Invariant: an act counts when its last answer has come. Deliberately absent: acts that are not waited for, which tell
//! how fast a client writes.

use std::io::Write;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic, queue};
use amq_protocol::types::FieldTable;

use super::PerfError;
use super::connection::{CHANNEL, Connection, nanos};
use super::consumer::subscribe;
use super::plan::{bind, delete};
use super::process::{Process, own_cpu};
use super::socket::TICK;
use super::summary::whole;
use super::target::Target;
use crate::clock::Clock;
use crate::config::perf::{Churn, Churned};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Before the measured time, as in a load.
const WARMUP: Duration = Duration::from_secs(1);
/// The exchange that bindings come to; every broker has it.
const EXCHANGE: &str = "amq.direct";

/// What a churn came to.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Outcome {
    pub(super) broker: String,
    pub(super) seconds: f64,
    /// Acts in that time, and a second.
    pub(super) acts: u64,
    pub(super) rate: f64,
    /// CPU time an act, in microseconds.
    pub(super) broker_cpu: Option<f64>,
    pub(super) own_cpu: f64,
}

/// `leveret perf churn`: runs it and prints what it came to.
pub(super) fn command(churn: &Churn, interrupted: &AtomicBool, out: &mut dyn Write) -> Result<(), PerfError> {
    let outcome = run(churn, interrupted)?;
    let unit = what(churn.what);
    writeln!(out, "{}: {:.1} s measured", outcome.broker, outcome.seconds)?;
    writeln!(out, "{} {unit}, {}/s", whole(outcome.acts as f64), whole(outcome.rate))?;
    let own = format!("this load generator {:.1} us", outcome.own_cpu);
    match outcome.broker_cpu {
        Some(cpu) => writeln!(out, "CPU each: broker {cpu:.1} us, {own}")?,
        None => writeln!(out, "CPU each: {own} (--pid tells the broker's)")?,
    }
    super::write_json(churn.whom.json.as_deref(), &outcome)
}

fn what(churned: Churned) -> &'static str {
    match churned {
        Churned::Connections => "connections opened and closed",
        Churned::Channels => "channels opened and closed",
        Churned::Queues => "queues declared and deleted",
        Churned::Bindings => "bindings made",
        Churned::Consumers => "consumers subscribed and cancelled",
    }
}

/// Runs a churn to its end, or until it is interrupted.
pub(super) fn run(churn: &Churn, interrupted: &AtomicBool) -> Result<Outcome, PerfError> {
    let target = Target::parse(&churn.whom.uri)?;
    let clock = Clock::system();
    let process = churn.whom.pid.map(Process);
    let (acts, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut clients = Vec::new();
    for index in 0..churn.clients {
        clients.push(Client::new(churn, &target, &clock, index)?);
    }
    let broker = clients.first().map(|client| client.connection.server.clone()).unwrap_or_default();
    let mut measured = Ok((0.0, 0, None, 0.0));
    let mut done = Ok(());
    std::thread::scope(|scope| {
        let (acts, stop) = (&acts, &stop);
        let threads: Vec<_> = clients.into_iter().map(|client| scope.spawn(move || client.run(acts, stop))).collect();
        let read = || -> Result<_, PerfError> {
            Ok((clock.nanos(), acts.load(Ordering::Relaxed), process.map(Process::cpu).transpose()?, own_cpu()))
        };
        let pause = |until: u64| {
            while clock.nanos() < until && !interrupted.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
                std::thread::park_timeout(TICK.min(Duration::from_nanos(until.saturating_sub(clock.nanos()))));
            }
        };
        pause(clock.nanos() + nanos(WARMUP));
        let before = read();
        pause(clock.nanos() + nanos(Duration::from_secs(churn.time)));
        let after = read();
        stop.store(true, Ordering::Relaxed);
        measured = before.and_then(|before| {
            let after = after?;
            let cpu = before.2.zip(after.2).map(|(before, after)| after - before);
            Ok(((after.0 - before.0) as f64 / 1e9, after.1 - before.1, cpu, after.3 - before.3))
        });
        for thread in threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => done = Err(error),
                Err(_) => done = Err(PerfError::Strange("a client of ours panicked".to_owned())),
            }
        }
    });
    done?;
    let (seconds, acts, broker_cpu, own) = measured?;
    let each = |cpu: f64| cpu / (acts.max(1) as f64);
    let rate = acts as f64 / seconds.max(1e-9);
    Ok(Outcome { broker, seconds, acts, rate, broker_cpu: broker_cpu.map(each), own_cpu: each(own) })
}

/// One client with a connection of its own, and what it needs to act.
struct Client {
    connection: Connection,
    target: Target,
    clock: Clock,
    what: Churned,
    durable: bool,
    /// The queue that bindings and consumers are of.
    queue: String,
    index: u16,
    acts: u64,
}

impl Client {
    fn new(churn: &Churn, target: &Target, clock: &Clock, index: u16) -> Result<Self, PerfError> {
        let mut connection = Connection::open_with_channel(target, clock)?;
        let queue = match churn.what {
            Churned::Bindings | Churned::Consumers => {
                let name =
                    if churn.durable { format!("perf-churn-{}-{index}", std::process::id()) } else { String::new() };
                declare(&mut connection, &name, churn.durable)?
            }
            Churned::Channels => {
                connection.close_channel()?;
                String::new()
            }
            Churned::Connections | Churned::Queues => String::new(),
        };
        let (target, clock) = (target.clone(), clock.clone());
        Ok(Self { connection, target, clock, what: churn.what, durable: churn.durable, queue, index, acts: 0 })
    }

    fn run(mut self, acts: &AtomicU64, stop: &AtomicBool) -> Result<(), PerfError> {
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = self.act() {
                stop.store(true, Ordering::Relaxed);
                return Err(error);
            }
            acts.fetch_add(1, Ordering::Relaxed);
        }
        if self.durable && !self.queue.is_empty() {
            delete(&mut self.connection, &self.queue)?;
        }
        self.connection.close();
        Ok(())
    }

    fn act(&mut self) -> Result<(), PerfError> {
        self.acts += 1;
        match self.what {
            Churned::Connections => Connection::open_with_channel(&self.target, &self.clock)?.end(),
            Churned::Channels => {
                self.connection.open_channel()?;
                self.connection.close_channel()
            }
            Churned::Queues => {
                let (process, index, acts) = (std::process::id(), self.index, self.acts);
                let name = if self.durable { format!("perf-churn-{process}-{index}-{acts}") } else { String::new() };
                let name = declare(&mut self.connection, &name, self.durable)?;
                delete(&mut self.connection, &name)
            }
            Churned::Bindings => {
                // As long as the keys of lavinmqperf, in no order that would help.
                let key = format!("{:032x}", u128::from(self.acts.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
                bind(&mut self.connection, EXCHANGE, &self.queue, &key)
            }
            Churned::Consumers => {
                let consumer_tag = subscribe(&mut self.connection, &self.queue, true, 0)?;
                let cancel = basic::Cancel { consumer_tag: consumer_tag.as_str().into(), nowait: false };
                match self.connection.call(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)))? {
                    AMQPClass::Basic(basic::AMQPMethod::CancelOk(_)) => Ok(()),
                    other => Err(PerfError::unexpected("basic.cancel-ok", &other)),
                }
            }
        }
    }
}

/// Declares a durable queue of this name, or an exclusive one, named by the broker if `name` is empty. Its name.
pub(super) fn declare(connection: &mut Connection, name: &str, durable: bool) -> Result<String, PerfError> {
    let declare = queue::Declare {
        queue: name.into(),
        passive: false,
        durable,
        exclusive: !durable,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    };
    match connection.call(CHANNEL, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))? {
        AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => Ok(ok.queue.to_string()),
        other => Err(PerfError::unexpected("queue.declare-ok", &other)),
    }
}
