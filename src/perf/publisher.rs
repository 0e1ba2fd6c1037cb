//! One publishing connection.
//!
//! Sends as much at once as its rate, its window of confirms and the ring of prepared messages allow. Invariants: it
//! reads whenever it waits, and between any two writes, so confirms, returns and a close are seen at once; messages are
//! counted when all their octets have been taken. Deliberately absent: deciding what to publish, which the plan does.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, confirm};

use super::PerfError;
use super::batch::{Batch, Shape};
use super::connection::{CHANNEL, Connection, nanos};
use super::latency::Recorder;
use super::schedule::{Schedule, in_force};
use super::socket::{TICK, Wait};
use super::tally::Run;
use super::target::Target;
use super::unconfirmed::Unconfirmed;
use crate::clock::Clock;
use crate::config::perf::Phase;
use crate::wire::frame::FrameKind;
use crate::wire::method::{self, Method};

/// basic.return (60,50).
const RETURN: (u16, u16) = (60, 50);
/// With confirms, a write waits for room for a quarter of the window, but for no more messages than this.
const STEP_MAX: usize = 64;
/// How long a broker that takes nothing keeps a publisher that is to stop.
const GRACE: Duration = Duration::from_secs(1);

/// How bodies vary.
#[derive(Clone, Debug)]
pub(super) enum Sizes {
    /// These take turns by message.
    Turns(Vec<usize>),
    /// These take turns by time.
    Phases(Vec<Phase<usize>>),
}

/// What one publisher does.
#[derive(Clone, Debug)]
pub(super) struct Publishing {
    pub(super) shape: Shape,
    pub(super) sizes: Sizes,
    /// Without one, as fast as possible.
    pub(super) schedule: Option<Schedule>,
    /// Messages that may be unconfirmed; `None` is without confirms.
    pub(super) window: Option<usize>,
    pub(super) limit: Option<u64>,
    /// Makes random keys of publishers differ.
    pub(super) seed: u64,
}

/// A publisher with its connection.
pub(super) struct Publisher {
    connection: Connection,
    work: Publishing,
    batch: Batch,
    size: Option<usize>,
    unconfirmed: Option<Unconfirmed>,
    recorder: Option<Arc<Recorder>>,
    blocked: bool,
    /// Times of confirms that came in one read.
    times: Vec<u64>,
}

impl Publisher {
    /// Connects and asks for confirms, if there is to be a window.
    pub(super) fn open(
        target: &Target,
        clock: &Clock,
        mut work: Publishing,
        recorder: Option<Arc<Recorder>>,
    ) -> Result<Self, PerfError> {
        let mut connection = Connection::open_with_channel(target, clock)?;
        work.shape.frame_max = connection.frame_max;
        if work.window.is_some() {
            let select = AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }));
            match connection.call(CHANNEL, select)? {
                AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)) => {}
                other => return Err(PerfError::unexpected("confirm.select-ok", &other)),
            }
        }
        let unconfirmed = work.window.map(|_| Unconfirmed::new());
        let (batch, size) = match &work.sizes {
            Sizes::Turns(sizes) => (Batch::new(&work.shape, sizes, work.seed), None),
            Sizes::Phases(phases) => {
                let size = in_force(phases, 0);
                (Batch::new(&work.shape, &[size.unwrap_or(0)], work.seed), size)
            }
        };
        Ok(Self { connection, work, batch, size, unconfirmed, recorder, blocked: false, times: Vec::new() })
    }

    /// Says when the schedule begins.
    pub(super) fn begin(&mut self, at: u64) {
        if let Some(schedule) = &mut self.work.schedule {
            schedule.begin(at);
        }
    }

    /// Publishes until the limit is reached and everything confirmed, or until it is to stop.
    pub(super) fn run(mut self, run: &Run<'_>) -> Result<(), PerfError> {
        let begun = run.clock.nanos();
        let mut sent = 0;
        if self.work.schedule.is_some() {
            be_punctual();
        }
        // Moments are asked for only where they are of use.
        let timed = self.work.schedule.is_some() || self.work.shape.stamped || self.size.is_some();
        while !run.tally.is_stopped() && self.work.limit.is_none_or(|limit| sent < limit) {
            let now = if timed { run.clock.nanos() } else { 0 };
            self.resize(now.saturating_sub(begun));
            let n = self.allowed(now, sent);
            if n == 0 {
                self.wait(now)?;
                self.read(run, Wait::No)?;
                continue;
            }
            let range = self.prepare(n, now);
            if !self.push(range, run)? {
                break;
            }
            sent += n as u64;
            run.tally.published(n as u64);
            self.read(run, Wait::No)?;
        }
        while self.unconfirmed.as_ref().is_some_and(|unconfirmed| unconfirmed.len() > 0) && !run.tally.is_stopped() {
            self.read(run, Wait::Tick)?;
        }
        self.connection.close();
        Ok(())
    }

    /// Builds other messages when another size is in force.
    fn resize(&mut self, passed: u64) {
        if let Sizes::Phases(phases) = &self.work.sizes {
            let size = in_force(phases, passed);
            if size != self.size {
                self.size = size;
                self.batch = Batch::new(&self.work.shape, &[size.unwrap_or(0)], self.work.seed);
            }
        }
    }

    /// How many messages may go now.
    fn allowed(&mut self, now: u64, sent: u64) -> usize {
        if self.blocked {
            return 0;
        }
        let mut n = self.batch.available();
        if let (Some(window), Some(unconfirmed)) = (self.work.window, &self.unconfirmed) {
            let room = window.saturating_sub(unconfirmed.len());
            let step = if self.work.schedule.is_some() { 1 } else { (window / 4).clamp(1, STEP_MAX) };
            n = if room < step { 0 } else { n.min(room) };
        }
        let fits = |n: usize, most: u64| usize::try_from(most).map_or(n, |most| n.min(most));
        if let Some(limit) = self.work.limit {
            n = fits(n, limit - sent);
        }
        match &mut self.work.schedule {
            Some(schedule) if n > 0 => fits(n, schedule.due(now)),
            _ => n,
        }
    }

    /// Waits for input, or until the next message is due.
    fn wait(&mut self, now: u64) -> Result<(), PerfError> {
        let due = self.work.schedule.as_mut().map(|schedule| schedule.next().saturating_sub(now));
        // What is due already waits for a confirm.
        let at_most = due.filter(|due| *due > 0).map_or(TICK, |due| Duration::from_nanos(due).min(TICK));
        self.connection.until_moved(false, at_most)
    }

    fn prepare(&mut self, n: usize, now: u64) -> Range<usize> {
        let (schedule, unconfirmed) = (&mut self.work.schedule, &mut self.unconfirmed);
        self.batch.take(n, || {
            let due = schedule.as_mut().map_or(now, Schedule::take);
            if let Some(unconfirmed) = unconfirmed {
                unconfirmed.push(due);
            }
            due
        })
    }

    /// Writes all of it; `false` if it is to stop and the broker takes nothing.
    fn push(&mut self, range: Range<usize>, run: &Run<'_>) -> Result<bool, PerfError> {
        let (mut at, mut stopping) = (range.start, None);
        while at < range.end {
            let written = self.connection.write_some(self.batch.octets(at..range.end))?;
            at += written;
            if written == 0 {
                self.connection.until_moved(true, TICK)?;
                self.read(run, Wait::No)?;
                if run.tally.is_stopped() {
                    let now = run.clock.nanos();
                    if now.saturating_sub(*stopping.get_or_insert(now)) > nanos(GRACE) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Reads once and does what came.
    fn read(&mut self, run: &Run<'_>, wait: Wait) -> Result<(), PerfError> {
        if !self.connection.fill(wait)? {
            return Ok(());
        }
        let now = if self.recorder.is_some() { run.clock.nanos() } else { 0 };
        let (mut confirmed, mut nacked, mut returned) = (0, 0, 0);
        self.times.clear();
        while let Some(frame) = self.connection.next()? {
            if frame.kind != FrameKind::Method {
                continue;
            }
            if method::ids(frame.payload) == RETURN {
                returned += 1;
                continue;
            }
            let (tag, multiple, count) = match method::decode(frame.payload)? {
                Method::Ack { delivery_tag, multiple } => (delivery_tag, multiple, &mut confirmed),
                Method::Nack { delivery_tag, multiple, .. } => (delivery_tag, multiple, &mut nacked),
                Method::Other(class) => return Err(PerfError::unexpected("a confirm", &class)),
                _ => return Err(PerfError::Strange("a method that only clients send".to_owned())),
            };
            if let Some(unconfirmed) = &mut self.unconfirmed {
                unconfirmed.settle(tag, multiple, |due| {
                    *count += 1;
                    self.times.push(now.saturating_sub(due));
                });
            }
        }
        run.tally.confirmed(confirmed);
        run.tally.nacked(nacked);
        run.tally.returned(returned);
        if let Some(recorder) = &self.recorder {
            recorder.record(&self.times);
        }
        run.mind(&self.connection, &mut self.blocked);
        Ok(())
    }
}

/// Asks the system to wake this thread when it is due, not up to 50 us later, which would look like the broker's latency.
fn be_punctual() {
    // Where it refuses, figures are that much worse.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
