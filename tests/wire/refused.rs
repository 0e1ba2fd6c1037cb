//! Refusals as rows: what was done before, the offence, and RabbitMQ's literal answer.
//!
//! Every row also checks what surrounds a refusal. After one of a channel: frames behind it are discarded until
//! close-ok, other channels work, the number can be used again, and what was asked for does not half exist. After one
//! of the connection: the broker waits for close-ok, closes, and serves others.

use crate::client::Cut;
use crate::frames::{self, Properties};
use crate::script::Script;

/// One refusal.
pub(crate) struct Refused {
    offence: Vec<u8>,
    before: Script,
    no_queue: Option<&'static str>,
    no_exchange: Option<&'static str>,
}

impl Refused {
    /// A client with open channels sends this on channel 1.
    pub(crate) fn on(offence: impl AsRef<[u8]>) -> Self {
        Self { offence: offence.as_ref().to_vec(), before: Script::open(), no_queue: None, no_exchange: None }
    }

    /// What is done before.
    pub(crate) fn after(mut self, before: impl FnOnce(Script) -> Script) -> Self {
        self.before = before(self.before);
        self
    }

    /// This queue must not exist afterwards.
    pub(crate) fn no_queue(mut self, name: &'static str) -> Self {
        self.no_queue = Some(name);
        self
    }

    /// This exchange must not exist afterwards.
    pub(crate) fn no_exchange(mut self, name: &'static str) -> Self {
        self.no_exchange = Some(name);
        self
    }

    /// The answer is channel.close.
    pub(crate) async fn channel(self, code: u16, text: &str, at: (u16, u16)) {
        self.channel_then(code, text, at, |script| script).await;
    }

    /// The answer is channel.close; then more is looked at, on channel 2.
    pub(crate) async fn channel_then(self, code: u16, text: &str, at: (u16, u16), then: impl FnOnce(Script) -> Script) {
        let discarded = [
            frames::queue_declare(1, "ghost", "", &frames::none()),
            frames::publish(1, "", "ghost", "", Properties::default(), b"unseen"),
        ];
        let mut script = self
            .before
            .ask(&self.offence, frames::channel_close(1, code, text, at))
            .send(discarded.concat())
            .quiet()
            .reopen(1)
            .no_queue("ghost");
        if let Some(name) = self.no_queue {
            script = script.no_queue(name);
        }
        if let Some(name) = self.no_exchange {
            script = script.no_exchange(name);
        }
        let script = then(script).ask(frames::flow(1, true), frames::flow_ok(1)).close();
        script.play(Cut::Nowhere).await;
        script.play(Cut::Everywhere).await;
    }

    /// The answer is connection.close, and the broker waits for the client to agree.
    pub(crate) async fn connection(self, code: u16, text: &str, at: (u16, u16)) {
        let mut script = self
            .before
            .ask(&self.offence, frames::connection_closed(code, text, at))
            .send(frames::queue_declare(2, "ghost", "", &frames::none()))
            .send(frames::connection_close_ok())
            .end()
            .client(99)
            .no_queue("ghost");
        if let Some(name) = self.no_queue {
            script = script.no_queue(name);
        }
        let script = script.close();
        script.play(Cut::Nowhere).await;
        script.play(Cut::Everywhere).await;
    }

    /// The answer is connection.close, and the broker closes at once: what follows a bad frame cannot be read.
    pub(crate) async fn stream(self, code: u16, text: &str) {
        let script = self
            .before
            .ask(&self.offence, frames::connection_closed(code, text, (0, 0)))
            .end()
            .client(99)
            .quiet()
            .close();
        script.play(Cut::Nowhere).await;
        script.play(Cut::Everywhere).await;
    }
}
