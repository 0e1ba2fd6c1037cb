//! Logins: the one way in, whatever the protocol.
//!
//! Whoever may be looked at now (see [`crate::auth::Throttle`], which stands before this) is judged by the backend. What
//! takes long, as a hash of bcrypt does, is judged on a thread that may wait, for [`Desk::places`] logins at once; others
//! wait behind, and whoever has gone meanwhile is not looked at.
//! Invariants: no thread of the runtime compares a slow hash; every answer to a client is counted, and every refusal
//! told to the throttle, once. Deliberately absent: what the client is told.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use super::{Broker, Protocol};
use crate::auth::{Backend, Denied, Login, User};
use crate::sync::Bell;

/// Who it is, or why not.
pub type Verdict = Result<Arc<User>, Denied>;

/// What comes of asking for a login.
#[derive(Debug)]
pub enum Judgement {
    /// It is known.
    Now(Verdict),
    /// It will be sent. Who drops this is not looked at any more.
    Coming(oneshot::Receiver<Verdict>),
}

/// Where slow logins are looked at.
#[derive(Debug)]
pub(super) struct Desk {
    places: Arc<Semaphore>,
}

impl Desk {
    /// With places for so many at once: half of the processors, so that guessers leave the other half to messages.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { places: Arc::new(Semaphore::new((processors / 2).max(1))) }
    }
}

impl Broker {
    /// Looks at a login from this address, which counts unless it is none of a protocol's; `bell` rings once a verdict that
    /// comes later is there. Must be called inside a tokio runtime.
    pub fn log_in(
        self: &Arc<Self>,
        protocol: Option<Protocol>,
        login: Login,
        peer: IpAddr,
        bell: Option<Arc<Bell>>,
    ) -> Judgement {
        if !self.backend().is_slow(&login) {
            let verdict = self.backend().authenticate(&login, peer);
            self.note_login(protocol, peer, &verdict);
            return Judgement::Now(verdict);
        }
        let (mut answer, verdict) = oneshot::channel();
        let broker = self.clone();
        tokio::spawn(async move {
            let place = tokio::select! {
                biased;
                () = answer.closed() => return,
                place = broker.desk.places.clone().acquire_owned() => place,
            };
            let asked = broker.clone();
            let verdict = tokio::task::spawn_blocking(move || {
                // Held until the work is done, also by a client that has gone.
                let _place = place;
                asked.backend().authenticate(&login, peer)
            });
            let verdict = verdict.await.unwrap_or(Err(Denied::Unanswered));
            broker.note_login(protocol, peer, &verdict);
            // Nobody hears it if the client has gone.
            let _ = answer.send(verdict);
            if let Some(bell) = bell {
                bell.ring();
            }
        });
        Judgement::Coming(verdict)
    }

    /// [`Broker::log_in`], waiting for the verdict.
    pub async fn log_in_and_wait(self: &Arc<Self>, protocol: Option<Protocol>, login: Login, peer: IpAddr) -> Verdict {
        match self.log_in(protocol, login, peer, None) {
            Judgement::Now(verdict) => verdict,
            Judgement::Coming(verdict) => verdict.await.unwrap_or(Err(Denied::Unanswered)),
        }
    }

    /// Whether a client from this address would get in without saying who it is. Where that would take long to find out,
    /// it is told so and refused when it tries.
    pub fn admits_anonymous(&self, peer: IpAddr) -> bool {
        let backend = self.backend();
        backend.is_slow(&Login::Anonymous) || backend.authenticate(&Login::Anonymous, peer).is_ok()
    }

    fn note_login(&self, protocol: Option<Protocol>, peer: IpAddr, verdict: &Verdict) {
        let Some(protocol) = protocol else { return };
        self.attempts.count(protocol, verdict.is_ok());
        if verdict.is_err() {
            self.logins.refused(peer, self.clock.now());
        }
    }
}
