//! The session's timer: the handshake's end, heartbeats in both directions, the end of a close.
//!
//! With a heartbeat of T seconds agreed on, one is sent whenever nothing was written for T/2, and a client that was
//! silent for more than 2 T is taken for dead. Any octet counts as a sign of life.

use std::time::Duration;

use super::{Session, Stage};
use crate::wire::encode;

/// How often an open session without heartbeats looks after its memory.
const IDLE_TICK: Duration = Duration::from_secs(60);

/// Ticks of T/2 without a sign of life after which a client is dead.
const DEAD_AFTER: u32 = 5;

/// Signs of life since the last tick.
#[derive(Debug, Default)]
pub(super) struct Beats {
    heard: bool,
    said: bool,
    /// The next thing written is a heartbeat, which does not count as said: RabbitMQ sends one every T/2.
    beating: bool,
    /// Ticks since anything was heard.
    quiet: u32,
}

impl Beats {
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    pub(super) fn said(&mut self) {
        self.said |= !std::mem::take(&mut self.beating);
    }
}

impl<S> Session<S> {
    fn tick(&self) -> Duration {
        match self.tuned.heartbeat {
            0 => IDLE_TICK,
            seconds => Duration::from_millis(u64::from(seconds) * 500),
        }
    }

    pub(super) fn start_heartbeats(&mut self) {
        let next = tokio::time::Instant::now() + self.tick();
        self.timer.as_mut().reset(next);
    }

    pub(super) fn on_timer(&mut self) {
        match self.stage {
            Stage::Open => self.beat(),
            Stage::Ended => {}
            Stage::Closing | Stage::Silent | Stage::Leaving { .. } => self.end(),
            _ => {
                tracing::warn!(connection = self.name(), "handshake timed out");
                self.end();
            }
        }
        // The timer must not fire again before it is set again.
        self.start_heartbeats();
    }

    fn beat(&mut self) {
        let Some(context) = &mut self.context else { return };
        self.beats.quiet = if std::mem::take(&mut self.beats.heard) { 0 } else { self.beats.quiet + 1 };
        let said = std::mem::take(&mut self.beats.said);
        if !said {
            context.output.relax();
            context.publisher.relax();
        }
        self.channels.values_mut().for_each(|channel| channel.unacked.relax());
        if self.rest.is_empty() {
            self.rest.shrink_to(0);
        }
        if self.tuned.heartbeat == 0 {
            return;
        }
        // While this session does not read, silence is its own doing.
        let listening = context.park.is_none() && self.throttled <= self.broker.watermark.get();
        if listening && self.beats.quiet >= DEAD_AFTER {
            tracing::warn!(connection = self.name(), "missed heartbeats from client");
            self.end();
        } else if !said {
            encode::heartbeat(context.output.buffer());
            self.beats.beating = true;
        }
    }
}
