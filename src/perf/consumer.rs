//! One consuming connection.
//!
//! Deliveries are counted where they lie in the read buffer. Invariants: a message counts when its last octet has come;
//! delivery tags of a channel ascend by one, so acknowledgements need no look at them. Deliberately absent: looking at
//! bodies beyond the timestamp.

use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::FieldTable;

use super::PerfError;
use super::batch::STAMP;
use super::connection::{CHANNEL, Connection};
use super::latency::Recorder;
use super::schedule::Schedule;
use super::socket::{TICK, Wait};
use super::tally::Run;
use super::target::Target;
use crate::clock::Clock;
use crate::wire::encode;
use crate::wire::frame::FrameKind;
use crate::wire::method;

/// basic.deliver (60,60).
const DELIVER: (u16, u16) = (60, 60);
/// basic.cancel (60,30), which the broker sends when the queue is gone.
const CANCEL: (u16, u16) = (60, 30);

/// What one consumer does.
#[derive(Clone, Debug)]
pub(super) struct Consuming {
    pub(super) queue: String,
    pub(super) autoack: bool,
    pub(super) ack_every: u64,
    pub(super) prefetch: u16,
    /// Without one, as fast as possible.
    pub(super) rate: Option<u32>,
    pub(super) limit: Option<u64>,
}

/// A consumer with its connection.
pub(super) struct Consumer {
    connection: Connection,
    work: Consuming,
    recorder: Option<Arc<Recorder>>,
    /// Messages that have come whole, and how many of them are acknowledged.
    received: u64,
    acked: u64,
    /// Octets of the body to come.
    left: u64,
    /// A body has begun whose timestamp has not been read.
    fresh: bool,
    times: Vec<u64>,
    acks: Vec<u8>,
}

impl Consumer {
    /// Connects and subscribes; deliveries may come from then on.
    pub(super) fn open(
        target: &Target,
        clock: &Clock,
        work: Consuming,
        recorder: Option<Arc<Recorder>>,
    ) -> Result<Self, PerfError> {
        let mut connection = Connection::open_with_channel(target, clock)?;
        subscribe(&mut connection, &work.queue, work.autoack, work.prefetch)?;
        Ok(Self {
            connection,
            work,
            recorder,
            received: 0,
            acked: 0,
            left: 0,
            fresh: false,
            times: Vec::new(),
            acks: Vec::new(),
        })
    }

    /// Consumes until the limit is reached, or until it is to stop.
    pub(super) fn run(mut self, run: &Run<'_>) -> Result<(), PerfError> {
        let mut schedule = self.work.rate.map(|rate| Schedule::fixed(rate, run.clock.nanos()));
        let mut blocked = false;
        while !run.tally.is_stopped() && !self.is_full() {
            let came = self.connection.fill(Wait::Tick)?;
            let now = if self.recorder.is_some() { run.clock.nanos() } else { 0 };
            loop {
                let before = self.received;
                let allowed = schedule.as_mut().map_or(u64::MAX, |schedule| schedule.due(run.clock.nanos()));
                let more = self.take(now, before.saturating_add(allowed))?;
                let n = self.received - before;
                run.tally.consumed(n);
                if let Some(recorder) = &self.recorder {
                    recorder.record(&self.times);
                    self.times.clear();
                }
                if let Some(schedule) = &mut schedule {
                    for _ in 0..n {
                        schedule.take();
                    }
                }
                self.ack(if came { self.work.ack_every } else { 1 })?;
                if !more || run.tally.is_stopped() || self.is_full() {
                    break;
                }
                if let Some(schedule) = &mut schedule {
                    let due = Duration::from_nanos(schedule.next().saturating_sub(run.clock.nanos()));
                    std::thread::park_timeout(due.min(TICK));
                }
            }
            run.mind(&self.connection, &mut blocked);
        }
        self.ack(1)?;
        self.connection.close();
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.work.limit.is_some_and(|limit| self.received >= limit)
    }

    /// Takes what has come, up to so many messages since the beginning; whether something may be left.
    fn take(&mut self, now: u64, up_to: u64) -> Result<bool, PerfError> {
        let up_to = up_to.min(self.work.limit.unwrap_or(u64::MAX));
        while self.received < up_to {
            let Some(frame) = self.connection.next()? else { return Ok(false) };
            match frame.kind {
                FrameKind::Method => match method::ids(frame.payload) {
                    DELIVER => {}
                    CANCEL => return Err(PerfError::Strange("the consumer was cancelled by the broker".to_owned())),
                    (class, id) => {
                        return Err(PerfError::Strange(format!("method {class}.{id} instead of a delivery")));
                    }
                },
                FrameKind::Header => {
                    self.left = method::decode_header(frame.payload)?.body_size;
                    self.fresh = self.recorder.is_some();
                    self.received += u64::from(self.left == 0);
                }
                FrameKind::Body => {
                    if self.fresh {
                        self.fresh = false;
                        if let Some(stamp) = frame.payload.first_chunk::<STAMP>() {
                            self.times.push(now.saturating_sub(u64::from_be_bytes(*stamp)));
                        }
                    }
                    let len = frame.payload.len() as u64;
                    self.left = self.left.checked_sub(len).ok_or_else(too_long)?;
                    self.received += u64::from(self.left == 0);
                }
                FrameKind::Heartbeat => {}
            }
        }
        Ok(true)
    }

    /// Acknowledges in steps of `every`; of 1 because the run ends or nothing comes, all at once.
    fn ack(&mut self, every: u64) -> Result<(), PerfError> {
        if self.work.autoack || self.received == self.acked {
            return Ok(());
        }
        self.acks.clear();
        if every == 1 && self.work.ack_every > 1 {
            self.acked = self.received;
            encode::ack(&mut self.acks, CHANNEL, self.acked, true);
        }
        while self.received - self.acked >= every {
            self.acked += every;
            encode::ack(&mut self.acks, CHANNEL, self.acked, every > 1);
        }
        if self.acks.is_empty() { Ok(()) } else { self.connection.write_all(&self.acks) }
    }
}

fn too_long() -> PerfError {
    PerfError::Strange("a body longer than its header says".to_owned())
}

/// Sets the prefetch limit, if there is one, and subscribes, each confirmed by the broker.
pub(super) fn subscribe(
    connection: &mut Connection,
    queue: &str,
    no_ack: bool,
    prefetch: u16,
) -> Result<String, PerfError> {
    if prefetch > 0 {
        let qos = basic::Qos { prefetch_count: prefetch, global: false };
        match connection.call(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Qos(qos)))? {
            AMQPClass::Basic(basic::AMQPMethod::QosOk(_)) => {}
            other => return Err(PerfError::unexpected("basic.qos-ok", &other)),
        }
    }
    let consume = basic::Consume {
        queue: queue.into(),
        consumer_tag: "".into(),
        no_local: false,
        no_ack,
        exclusive: false,
        nowait: false,
        arguments: FieldTable::default(),
    };
    match connection.call(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)))? {
        AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)) => Ok(ok.consumer_tag.to_string()),
        other => Err(PerfError::unexpected("basic.consume-ok", &other)),
    }
}
