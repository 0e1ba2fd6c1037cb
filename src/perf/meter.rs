//! What is read while a load runs, and what it comes to.
//!
//! Invariant: what happens is in exactly one interval; the window forgets what came before it.

use std::sync::Arc;

use hdrhistogram::Histogram;

use super::PerfError;
use super::latency::{Percentiles, Recorder, empty};
use super::process::{Memory, Process, own_cpu};
use super::tally::{Counts, Tally};
use crate::clock::Clock;

/// Histograms that connections share: one takes a quarter of a MiB.
const RECORDERS: usize = 16;

/// What happened during an interval.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Point {
    /// Seconds from the beginning to the end of the interval.
    pub(super) seconds: f64,
    /// Messages a second.
    pub(super) published: f64,
    pub(super) confirmed: f64,
    pub(super) consumed: f64,
    /// The broker's CPU time a message, in microseconds.
    pub(super) broker_cpu: Option<f64>,
    pub(super) broker_memory: Option<Memory>,
    pub(super) end_to_end: Option<Percentiles>,
    pub(super) confirm: Option<Percentiles>,
}

/// What a load came to.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Outcome {
    /// The broker's name and version, as it says.
    pub(super) broker: String,
    /// Seconds before the window, and seconds the window of the figures below is long.
    pub(super) warmup: f64,
    pub(super) seconds: f64,
    /// Messages of the whole run, warm-up and end included.
    pub(super) total: Counts,
    /// Messages of the window.
    pub(super) window: Counts,
    /// Messages a second in the window.
    pub(super) published_rate: f64,
    pub(super) consumed_rate: f64,
    /// Consumed share of published, from the beginning: a backlog of the warm-up is none of the window's merit. `None` if
    /// nothing was published.
    pub(super) consumed_share: Option<f64>,
    /// The broker's CPU time a message moved, in microseconds.
    pub(super) broker_cpu: Option<f64>,
    pub(super) broker_memory: Option<Memory>,
    /// Our own CPU time a message moved, in microseconds.
    pub(super) own_cpu: f64,
    /// From when a message was due to its arrival, in microseconds.
    pub(super) end_to_end: Option<Percentiles>,
    /// From when a message was due to its confirm, in microseconds.
    pub(super) confirm: Option<Percentiles>,
    pub(super) points: Vec<Point>,
}

/// Counts, CPU times and the moment they were read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) at: u64,
    pub(super) counts: Counts,
    pub(super) broker_cpu: Option<f64>,
    pub(super) own_cpu: f64,
}

/// Histograms of all connections, filled at each interval.
pub(super) struct Times {
    recorders: Vec<Arc<Recorder>>,
    interval: Histogram<u64>,
    pub(super) window: Histogram<u64>,
}

impl Times {
    fn new() -> Result<Self, PerfError> {
        Ok(Self { recorders: Vec::new(), interval: empty()?, window: empty()? })
    }

    /// One for connection `index`, if it is wanted.
    pub(super) fn recorder(&mut self, index: u16, wanted: bool) -> Result<Option<Arc<Recorder>>, PerfError> {
        if !wanted {
            return Ok(None);
        }
        let at = usize::from(index) % RECORDERS;
        if at == self.recorders.len() {
            self.recorders.push(Arc::new(Recorder::new()?));
        }
        Ok(self.recorders.get(at).cloned())
    }

    /// What was recorded since the last call.
    fn percentiles(&mut self) -> Option<Percentiles> {
        self.interval.reset();
        for recorder in &self.recorders {
            recorder.drain(&mut self.interval);
        }
        // Both have the same bounds.
        let _ = self.window.add(&self.interval);
        Percentiles::of(&self.interval)
    }
}

/// What a load is measured with.
pub(super) struct Meter<'a> {
    pub(super) clock: &'a Clock,
    pub(super) tally: &'a Tally,
    process: Option<Process>,
    pub(super) end_to_end: Times,
    pub(super) confirm: Times,
    pub(super) points: Vec<Point>,
}

impl<'a> Meter<'a> {
    /// Refuses a process that cannot be read.
    pub(super) fn new(clock: &'a Clock, tally: &'a Tally, process: Option<Process>) -> Result<Self, PerfError> {
        let (end_to_end, confirm) = (Times::new()?, Times::new()?);
        let meter = Self { clock, tally, process, end_to_end, confirm, points: Vec::new() };
        meter.memory()?;
        Ok(meter)
    }

    pub(super) fn read(&self) -> Result<Reading, PerfError> {
        let broker_cpu = self.process.map(Process::cpu).transpose()?;
        Ok(Reading { at: self.clock.nanos(), counts: self.tally.counts(), broker_cpu, own_cpu: own_cpu() })
    }

    fn memory(&self) -> Result<Option<Memory>, PerfError> {
        self.process.map(Process::memory).transpose()
    }

    /// Ends an interval.
    pub(super) fn point(&mut self, begun: u64, earlier: Reading) -> Result<Reading, PerfError> {
        let now = self.read()?;
        let counts = now.counts.since(earlier.counts);
        let seconds = seconds(earlier.at, now.at);
        self.points.push(Point {
            seconds: self::seconds(begun, now.at),
            published: counts.published as f64 / seconds,
            confirmed: counts.confirmed as f64 / seconds,
            consumed: counts.consumed as f64 / seconds,
            broker_cpu: a_message(earlier.broker_cpu, now.broker_cpu, counts),
            broker_memory: self.memory()?,
            end_to_end: self.end_to_end.percentiles(),
            confirm: self.confirm.percentiles(),
        });
        Ok(now)
    }

    /// Begins the window anew.
    pub(super) fn forget(&mut self) {
        for times in [&mut self.end_to_end, &mut self.confirm] {
            let _ = times.percentiles();
            times.window.reset();
        }
    }
}

/// Seconds between two moments; never 0, since it is divided by.
pub(super) fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from).max(1) as f64 / 1e9
}

/// CPU time a message, in microseconds; `None` without messages, or where it is not known.
pub(super) fn a_message(earlier: Option<f64>, now: Option<f64>, counts: Counts) -> Option<f64> {
    let (earlier, now) = earlier.zip(now)?;
    (counts.moved() > 0.0).then(|| (now - earlier) / counts.moved())
}
