//! The session's timer: the handshake's end, heartbeats in both directions, the end of a close.
//!
//! With a heartbeat of T seconds agreed on, one is sent after nothing was written for T/2 to 3T/4, and a client that was
//! silent for almost 3 T is taken for dead. Any octet counts as a sign of life. Some clients give a connection up after T
//! without a sign, so a heartbeat must not come only just in time.

use std::time::Duration;

use super::{Session, Stage};
use crate::wire::encode;

/// How often an open session without heartbeats looks after its memory.
const IDLE_TICK: Duration = Duration::from_secs(60);

/// Ticks a heartbeat interval T has.
const TICKS: u64 = 4;

/// Ticks without a word to the client after which it is sent a heartbeat: RabbitMQ sends one every T/2.
const SPEAK_AFTER: u32 = 2;

/// Ticks without a sign of life after which a client is dead: RabbitMQ gives it up after 3 T.
const DEAD_AFTER: u32 = 11;

/// Ticks that one frame may take to arrive: ten intervals. Any octet is a sign of life, but not the same frame's for ever.
const FRAME_WITHIN: u32 = 40;

/// Signs of life since the last tick.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent facts about one tick
pub(super) struct Beats {
    heard: bool,
    said: bool,
    /// The next thing written is a heartbeat, which does not count as said, so that the next one comes T/2 later.
    beating: bool,
    /// Ticks since anything was heard.
    quiet: u32,
    /// Ticks since anything was said.
    mute: u32,
    /// A frame was completed since the last tick.
    completed: bool,
    /// Ticks that the same frame has been incomplete.
    stuck: u32,
}

impl Beats {
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    pub(super) fn completed(&mut self) {
        self.completed = true;
    }

    pub(super) fn said(&mut self) {
        self.said |= !std::mem::take(&mut self.beating);
    }
}

impl<S> Session<S> {
    fn tick(&self) -> Duration {
        match self.tuned.heartbeat {
            0 => IDLE_TICK,
            seconds => Duration::from_millis(u64::from(seconds) * 1000 / TICKS),
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
                if self.resume_login() {
                    return;
                }
                tracing::warn!(connection = self.name(), "handshake timed out");
                self.end();
            }
        }
        // The timer must not fire again before it is set again.
        self.start_heartbeats();
    }

    fn beat(&mut self) {
        // While this session does not read, silence is its own doing.
        let listening = self.wants_input();
        let Some(context) = &mut self.context else { return };
        self.beats.quiet = if std::mem::take(&mut self.beats.heard) { 0 } else { self.beats.quiet + 1 };
        let said = std::mem::take(&mut self.beats.said);
        self.beats.mute = if said { 0 } else { self.beats.mute + 1 };
        if !said {
            context.output.relax();
            context.publisher.relax();
            context.passed.relax();
            context.touched = Vec::new();
        }
        if self.beats.quiet > 0 {
            context.memo.relax();
        }
        let waiting = listening && !self.rest.is_empty() && !std::mem::take(&mut self.beats.completed);
        self.beats.stuck = if waiting { self.beats.stuck + 1 } else { 0 };
        self.channels.values_mut().for_each(|channel| channel.unacked.relax());
        if self.rest.is_empty() {
            self.rest.shrink_to(0);
        }
        if self.beats.stuck >= FRAME_WITHIN {
            tracing::warn!(connection = self.name(), "a frame did not arrive to its end in time");
            return self.end();
        }
        if self.tuned.heartbeat == 0 {
            return;
        }
        if listening && self.beats.quiet >= DEAD_AFTER {
            tracing::warn!(connection = self.name(), "missed heartbeats from client");
            self.end();
        } else if self.beats.mute >= SPEAK_AFTER {
            encode::heartbeat(context.output.buffer());
            self.beats.beating = true;
            self.beats.mute = 0;
        }
    }
}
