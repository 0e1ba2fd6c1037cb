//! Before the login: how many octets a client may send, and how long it waits if its address has guessed before.
//!
//! A login that has to wait, or is being looked at elsewhere, stays in the input, unread, with everything behind it; the
//! session costs a timer and nothing else. The handshake's deadline holds all the same. Deliberately absent: passwords, see
//! [`crate::auth`].
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Duration;

use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::Instant;

use super::Session;
use super::context::Flow;
use super::handshake::Failure;
use crate::auth::{self, Admission, Denied};
use crate::broker::{Judgement, Protocol, Verdict};
use crate::wire::frame::{FRAME_OVERHEAD, Frame};

/// How far the login of this session has come.
#[derive(Debug, Default)]
pub(super) enum Login {
    /// It has not come yet.
    #[default]
    Due,
    /// It waits; the handshake has to be over by this moment.
    Waits(Instant),
    /// It may be looked at.
    Admitted,
    /// It is being looked at, where that may take long.
    Asked(oneshot::Receiver<Verdict>),
    /// It has been looked at.
    Judged(Verdict),
}

impl<S> Session<S> {
    /// Deals with a frame of the handshake, within the limit of what may come before connection.open is done.
    pub(super) fn on_early_frame(&mut self, frame: Frame<'_>) -> Flow {
        let octets = self.greeting.saturating_add(frame.payload.len()).saturating_add(FRAME_OVERHEAD);
        let limit = self.broker.config.handshake_bytes;
        let result = if octets > limit {
            Err(Failure::Silent(format!("more than {limit} octets before the connection is open")))
        } else {
            self.on_handshake(frame)
        };
        match result {
            Ok(()) => {}
            Err(Failure::Later(wait)) => {
                self.wait_for_login(wait);
                return Flow::Again;
            }
            Err(Failure::Asked) => return Flow::Again,
            Err(Failure::Silent(why)) => self.fall_silent(&why),
            Err(Failure::Refused(refusal)) => self.refuse(&refusal),
        }
        self.greeting = octets;
        Flow::Done
    }

    /// Whether a login waits for its time, and all input with it.
    pub(super) fn login_waits(&self) -> bool {
        matches!(self.login, Login::Waits(_) | Login::Asked(_))
    }

    /// Whether the login may be looked at now.
    pub(super) fn admit_login(&mut self) -> Result<(), Failure> {
        if matches!(self.login, Login::Admitted | Login::Judged(_)) {
            return Ok(());
        }
        let now = self.broker.clock.now();
        match self.broker.logins.admit(self.peer.ip(), now) {
            Admission::Now => Ok(()),
            Admission::At(at) => Err(Failure::Later(Duration::from_millis(at.saturating_sub(now)))),
            Admission::Never => Err(Failure::Silent("too many refused logins from this address".to_owned())),
        }
    }

    /// What the backend says to a login; [`Failure::Asked`] if that is not known yet.
    pub(super) fn judge(&mut self, login: auth::Login) -> Result<Verdict, Failure> {
        if let Login::Judged(verdict) = std::mem::take(&mut self.login) {
            return Ok(verdict);
        }
        let bell = Some(self.outbox.bell().clone());
        match self.broker.log_in(Some(Protocol::Amqp), login, self.peer.ip(), bell) {
            Judgement::Now(verdict) => Ok(verdict),
            Judgement::Coming(verdict) => {
                self.login = Login::Asked(verdict);
                Err(Failure::Asked)
            }
        }
    }

    /// The bell has rung before the connection is open: perhaps for a login that has been looked at.
    pub(super) fn hear_verdict(&mut self) {
        let Login::Asked(coming) = &mut self.login else { return };
        self.login = match coming.try_recv() {
            Ok(verdict) => Login::Judged(verdict),
            Err(TryRecvError::Closed) => Login::Judged(Err(Denied::Unanswered)),
            Err(TryRecvError::Empty) => return,
        };
    }

    fn wait_for_login(&mut self, wait: Duration) {
        let end = self.timer.deadline();
        self.login = Login::Waits(end);
        let due = Instant::now().checked_add(wait).unwrap_or(end);
        self.timer.as_mut().reset(due.min(end));
    }

    /// The timer has run out: goes on with a login that has waited. `false` if none has, or the time for it is over.
    pub(super) fn resume_login(&mut self) -> bool {
        let Login::Waits(end) = self.login else { return false };
        if Instant::now() >= end {
            return false;
        }
        self.login = Login::Admitted;
        self.timer.as_mut().reset(end);
        self.catch_up();
        true
    }
}
