//! What a client uses that a newer RabbitMQ would refuse or pass over: said in the log once for each connection.
//!
//! Lenient behaviour must not hide from operators what a move to another broker, or another value of `compatibility`,
//! would run into. Deliberately absent: any influence on what is answered.

use super::context::Context;
use crate::telemetry::printable;
use crate::wire::table::{Table, Value};

/// Something worth a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// A queue that is neither durable nor exclusive.
    TransientQueue,
    /// basic.qos with global=1.
    GlobalPrefetch,
    /// `x-queue-mode`.
    QueueMode,
    /// `x-queue-version: 1`.
    QueueVersion,
    /// `x-queue-master-locator`.
    MasterLocator,
    /// `x-ha-policy`.
    Mirroring,
}

impl Note {
    /// What is used, and what becomes of it.
    fn text(self) -> &'static str {
        match self {
            Self::TransientQueue => "a queue neither durable nor exclusive: RabbitMQ 4.3 may refuse it",
            Self::GlobalPrefetch => "basic.qos with global=1: RabbitMQ 4.3 limits each consumer instead",
            Self::QueueMode => "the queue argument x-queue-mode: RabbitMQ 4 ignores it",
            Self::QueueVersion => "the queue argument x-queue-version below 2: RabbitMQ 4.3 refuses it",
            Self::MasterLocator => "the queue argument x-queue-master-locator: RabbitMQ 4.3 refuses it",
            Self::Mirroring => "the queue argument x-ha-policy: RabbitMQ ignores it; mirroring is gone since 4.0",
        }
    }
}

/// What has been said already about a connection.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The name its client gave it.
    client: String,
    told: Vec<Note>,
}

impl Notes {
    /// Nothing said yet of a connection that its client calls `client`.
    pub(super) fn new(client: &str) -> Self {
        Self { client: client.to_owned(), told: Vec::new() }
    }

    /// Whether this is to be said now.
    fn is_new(&mut self, note: Note) -> bool {
        let new = !self.told.contains(&note);
        if new {
            self.told.push(note);
        }
        new
    }
}

impl Context {
    /// Logs, once for this connection, that its client uses something.
    pub(super) fn note(&mut self, note: Note) {
        if self.notes.is_new(note) {
            let (client, user) = (printable(&self.notes.client), printable(&*self.user.name));
            tracing::warn!(connection = self.connection.name, %client, %user, "client uses {}", note.text());
        }
    }

    /// Notes what there is to note about the arguments of a queue that was declared.
    pub(super) fn note_arguments(&mut self, arguments: &Table) {
        if arguments.is_empty() {
            return;
        }
        for (key, note) in [
            ("x-queue-mode", Note::QueueMode),
            ("x-queue-master-locator", Note::MasterLocator),
            ("x-ha-policy", Note::Mirroring),
        ] {
            if arguments.get(key).is_some() {
                self.note(note);
            }
        }
        if arguments.get("x-queue-version").and_then(Value::as_int).is_some_and(|version| version < 2) {
            self.note(Note::QueueVersion);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_said_once() {
        let mut notes = Notes::new("app");
        assert!(notes.is_new(Note::QueueMode) && notes.is_new(Note::Mirroring));
        assert!(!notes.is_new(Note::QueueMode) && !notes.is_new(Note::Mirroring));
        assert!(notes.is_new(Note::GlobalPrefetch));
    }
}
