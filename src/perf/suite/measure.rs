//! One measurement: one row, one broker, once.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::nice;

use super::super::connection::{Connection, nanos};
use super::super::meter::Outcome;
use super::super::process::Process;
use super::super::target::Target;
use super::super::{PerfError, churn, count, load, plan};
use super::broker::{Broker, Directory, Running};
use super::rows::{self, Measure, QUEUE, QUEUES, Row};
use crate::clock::Clock;
use crate::config::perf::{Churn, Count, Counted, Suite, Whom};
use crate::store::lmdb::probe;
use crate::sync::atomic::{AtomicBool, Ordering};

/// How long a broker is left alone before its memory is read, and between two measurements.
const SETTLE: Duration = Duration::from_millis(500);
/// How far the load that is measured steps back, so that it does not take the broker's turns (nice).
const YIELDING: i32 = 5;
/// How far the load beside it steps back: else its threads, of which there are more, would be waited for, not the broker.
const YIELDING_TO_ALL: i32 = 19;
/// How long the disk's commits are counted.
const SYNCED: Duration = Duration::from_secs(1);

/// A figure, and what else was seen with it.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Figure {
    /// In the unit of the row.
    pub(super) value: f64,
    /// Messages consumed a second, or published where nothing is consumed; in rows that are about something else.
    pub(super) rate: Option<f64>,
    /// Our own CPU time a message or act, in microseconds.
    pub(super) own_cpu: Option<f64>,
    /// Milliseconds until the port accepted, in rows about a start; the system does that for a broker that is not ready.
    pub(super) accepted: Option<f64>,
}

impl Figure {
    /// A figure alone.
    pub(super) fn of(value: f64) -> Self {
        Self { value, rate: None, own_cpu: None, accepted: None }
    }
}

/// What measurements of a suite share.
pub(super) struct Bench<'a> {
    pub(super) suite: &'a Suite,
    pub(super) scratch: PathBuf,
    pub(super) clock: Clock,
    pub(super) interrupted: &'a AtomicBool,
    /// The directory with the messages, once it is filled.
    full: Option<Directory>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(suite: &'a Suite, interrupted: &'a AtomicBool) -> Self {
        let scratch = suite.scratch.clone().unwrap_or_else(std::env::temp_dir);
        Self { suite, scratch, clock: Clock::system(), interrupted, full: None }
    }

    /// Measures a row; `None` where it cannot be measured on this broker.
    pub(super) fn measure(&mut self, row: &Row, broker: &Broker) -> Result<Option<Figure>, PerfError> {
        // What the last broker has left to write would else be waited for by this one.
        rustix::fs::sync();
        self.pause();
        match (broker, row.measure) {
            (Broker::Own, Measure::Start { full }) => self.start(full).map(Some),
            (Broker::Peer(_), _) if row.needs_start() => Ok(None),
            (Broker::Own, _) => {
                let dir = Directory::new(&self.scratch)?;
                let running = Running::start_apart(dir.path(), &self.clock)?;
                let whom = whom(running.uri(), Some(running.pid()));
                self.on(row, whom)
            }
            (Broker::Peer(peer), _) => self.on(row, whom(peer.uri.clone(), peer.pid)),
        }
    }

    /// Synced commits of one row that LMDB makes a second on the disk of the data directories.
    pub(super) fn synced(&self) -> Result<f64, PerfError> {
        let dir = Directory::new(&self.scratch)?;
        let begun = self.clock.nanos();
        let until = begun + nanos(SYNCED);
        let commits = probe::synced_commits(dir.path(), || self.clock.nanos() < until)
            .map_err(|error| PerfError::Strange(error.to_string()))?;
        Ok(commits as f64 / (self.clock.nanos().saturating_sub(begun).max(1) as f64 / 1e9))
    }

    fn start(&mut self, full: bool) -> Result<Figure, PerfError> {
        let empty = Directory::new(&self.scratch)?;
        let dir = match (full, &self.full) {
            (false, _) => empty,
            (true, None) => self.fill(empty)?,
            (true, Some(_)) => self.full.take().unwrap_or(empty),
        };
        let running = Running::start(dir.path(), &self.clock)?;
        let figure = Figure { accepted: Some(running.accepted), ..Figure::of(running.greeted) };
        running.stop()?;
        if full {
            self.full = Some(dir);
        }
        Ok(figure)
    }

    /// Publishes what is to be there at a start.
    fn fill(&self, dir: Directory) -> Result<Directory, PerfError> {
        let running = Running::start(dir.path(), &self.clock)?;
        let flags = format!("-x 1 -y 0 -s 1024 -f persistent -c 1000 -u {QUEUE} -C {}", self.suite.stored);
        run(&flags, &whom(running.uri(), Some(running.pid())), self.interrupted)?;
        running.stop()?;
        Ok(dir)
    }

    fn on(&self, row: &Row, whom: Whom) -> Result<Option<Figure>, PerfError> {
        let (suite, pid) = (self.suite, whom.pid);
        match row.measure {
            Measure::Cpu(flags) | Measure::Share(flags) | Measure::Consumed(flags) => {
                if pid.is_none() && matches!(row.measure, Measure::Cpu(_)) {
                    return Ok(None);
                }
                let outcome = self.fresh_load(flags, &whom)?;
                let rate = if outcome.consumed_rate > 0.0 { outcome.consumed_rate } else { outcome.published_rate };
                let (value, rate) = match row.measure {
                    Measure::Cpu(_) => (outcome.broker_cpu, Some(rate)),
                    Measure::Share(_) => (outcome.consumed_share.map(|share| share * 100.0), Some(rate)),
                    _ => (Some(outcome.consumed_rate), None),
                };
                let value =
                    value.ok_or_else(|| PerfError::Strange("nothing moved while it was measured".to_owned()))?;
                Ok(Some(Figure { rate, own_cpu: Some(outcome.own_cpu), ..Figure::of(value) }))
            }
            Measure::Latency(flags) => latency(&self.fresh_load(flags, &whom)?).map(Some),
            Measure::LatencyBeside(flags, beside) => latency(&self.load_beside(flags, beside, &whom)?).map(Some),
            Measure::Churn(what, durable) => {
                let churn = Churn { what, durable, clients: 1, time: suite.seconds, whom };
                let outcome = churn::run(&churn, self.interrupted)?;
                Ok(Some(Figure { own_cpu: Some(outcome.own_cpu), ..Figure::of(outcome.rate) }))
            }
            Measure::Idle => {
                let count = Count { what: Counted::Connections, number: suite.idle, durable: false, whom };
                let outcome = count::run(&count, self.interrupted)?;
                let value = outcome.each_resident.map(|octets| octets / 1024.0);
                Ok(value.map(|value| Figure { rate: Some(outcome.rate), ..Figure::of(value) }))
            }
            Measure::Memory => {
                self.pause();
                let memory = pid.map(|pid| Process(pid).memory()).transpose()?;
                Ok(memory.map(|memory| Figure::of(memory.resident as f64 / 1e6)))
            }
            Measure::Start { .. } => Ok(None),
        }
    }

    /// A load on queues that were not there before, and are not afterwards.
    fn fresh_load(&self, flags: &str, whom: &Whom) -> Result<Outcome, PerfError> {
        self.forget_queues(whom)?;
        let outcome = run(&self.timed(flags), whom, self.interrupted);
        self.forget_queues(whom)?;
        outcome
    }

    /// The same, while another load goes on that takes what it can get. Both yield to the broker, whose turns are what is
    /// measured, and the other to the one that is timed.
    fn load_beside(&self, flags: &str, beside: &str, whom: &Whom) -> Result<Outcome, PerfError> {
        self.forget_queues(whom)?;
        let enough = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                step_back(YIELDING_TO_ALL)?;
                run(&on_queues(beside), whom, &enough)
            });
            let measured = scope.spawn(|| {
                step_back(YIELDING)?;
                run(&self.timed(flags), whom, self.interrupted)
            });
            let panicked = |_| Err(PerfError::Strange("a client of ours panicked".to_owned()));
            let measured = measured.join().unwrap_or_else(panicked);
            enough.store(true, Ordering::Relaxed);
            // What is measured beside nothing is not what was asked for.
            other.join().unwrap_or_else(panicked).and(measured)
        });
        self.forget_queues(whom)?;
        outcome
    }

    fn timed(&self, flags: &str) -> String {
        format!("{} -z {}", on_queues(flags), self.suite.seconds)
    }

    fn forget_queues(&self, whom: &Whom) -> Result<(), PerfError> {
        let mut connection = Connection::open_with_channel(&Target::parse(&whom.uri)?, &self.clock)?;
        plan::delete(&mut connection, QUEUE)?;
        for number in 1..=QUEUES {
            plan::delete(&mut connection, &format!("{QUEUE}-{number}"))?;
        }
        connection.end()
    }

    fn pause(&self) {
        let until = self.clock.nanos() + nanos(SETTLE);
        while self.clock.nanos() < until {
            std::thread::park_timeout(Duration::from_nanos(until.saturating_sub(self.clock.nanos())));
        }
    }
}

/// Flags with the suite's queues. They are durable in transient rows too: there are brokers that refuse others, and none
/// where it costs.
fn on_queues(flags: &str) -> String {
    let queue = if flags.contains("--queue-pattern") { String::new() } else { format!("-u {QUEUE}") };
    format!("{flags} {queue} --durable --auto-delete false")
}

/// Runs a load from its flags.
fn run(flags: &str, whom: &Whom, interrupted: &AtomicBool) -> Result<Outcome, PerfError> {
    let mut parsed = rows::load(flags).map_err(|error| PerfError::Setting(error.to_string()))?;
    parsed.whom = whom.clone();
    load::run(&parsed, interrupted, &mut |_| {})
}

/// Gives up priority, for this thread and those it starts.
fn step_back(by: i32) -> Result<(), PerfError> {
    nice(by).map(drop).map_err(|error| PerfError::Io(error.into()))
}

/// The 99th percentile of a load that was timed, in milliseconds.
fn latency(outcome: &Outcome) -> Result<Figure, PerfError> {
    let times = outcome.end_to_end.ok_or_else(|| PerfError::Strange("nothing arrived".to_owned()))?;
    let (rate, own_cpu) = (Some(outcome.consumed_rate), Some(outcome.own_cpu));
    Ok(Figure { rate, own_cpu, ..Figure::of(times.p99 / 1_000.0) })
}

fn whom(uri: String, pid: Option<u32>) -> Whom {
    Whom { uri, pid, json: None, quiet: true }
}

/// The version a broker introduces itself with.
pub(super) fn version(broker: &Broker, clock: &Clock) -> Result<String, PerfError> {
    match broker {
        Broker::Own => Ok(env!("CARGO_PKG_VERSION").to_owned()),
        Broker::Peer(peer) => {
            let connection = Connection::open(&Target::parse(&peer.uri)?, clock)?;
            let server = connection.server.clone();
            connection.end()?;
            Ok(server)
        }
    }
}
