//! What all clients of a run share: counts, the sign to stop, and what they have to say.
//!
//! Invariant: a count is raised after what it counts has happened, in steps of many messages, so that it costs nothing.

use std::sync::mpsc::SyncSender;

use super::PerfError;
use super::connection::Connection;
use crate::clock::Clock;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts of a run since its beginning.
#[derive(Debug, Default)]
pub(super) struct Tally {
    published: AtomicU64,
    confirmed: AtomicU64,
    nacked: AtomicU64,
    returned: AtomicU64,
    consumed: AtomicU64,
    stop: AtomicBool,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) confirmed: u64,
    /// Confirmed as refused.
    pub(super) nacked: u64,
    /// Mandatory messages that no queue took.
    pub(super) returned: u64,
    pub(super) consumed: u64,
}

impl Tally {
    pub(super) fn published(&self, n: u64) {
        self.published.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn confirmed(&self, n: u64) {
        self.confirmed.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn nacked(&self, n: u64) {
        self.nacked.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn returned(&self, n: u64) {
        self.returned.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn consumed(&self, n: u64) {
        self.consumed.fetch_add(n, Ordering::Relaxed);
    }

    /// Asks everybody to come to an end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            published: read(&self.published),
            confirmed: read(&self.confirmed),
            nacked: read(&self.nacked),
            returned: read(&self.returned),
            consumed: read(&self.consumed),
        }
    }
}

impl Counts {
    /// What happened after `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            published: self.published - earlier.published,
            confirmed: self.confirmed - earlier.confirmed,
            nacked: self.nacked - earlier.nacked,
            returned: self.returned - earlier.returned,
            consumed: self.consumed - earlier.consumed,
        }
    }

    /// Messages moved, by which CPU time is divided: the mean of those published and those consumed, or all of one kind
    /// where there is no other.
    pub(super) fn moved(self) -> f64 {
        let (published, consumed) = (self.published as f64, self.consumed as f64);
        match (self.published, self.consumed) {
            (_, 0) => published,
            (0, _) => consumed,
            _ => f64::midpoint(published, consumed),
        }
    }
}

/// What a client tells whoever runs it.
#[derive(Debug)]
pub(super) enum Event {
    /// A publisher is done.
    Published(Result<(), PerfError>),
    /// A consumer is done.
    Consumed(Result<(), PerfError>),
    /// Something people may want to know.
    Notice(String),
}

/// What a client knows of the run it is part of.
#[derive(Clone, Debug)]
pub(super) struct Run<'a> {
    pub(super) clock: &'a Clock,
    pub(super) tally: &'a Tally,
    pub(super) events: SyncSender<Event>,
}

impl Run<'_> {
    /// Tells, once, when the broker blocks a connection and when it goes on.
    pub(super) fn mind(&self, connection: &Connection, was_blocked: &mut bool) {
        if connection.blocked.is_some() != *was_blocked {
            *was_blocked = !*was_blocked;
            let notice = match &connection.blocked {
                Some(reason) => format!("the broker blocks publishers: {reason}"),
                None => "the broker takes messages again".to_owned(),
            };
            // Where nobody listens any more it is not news.
            let _ = self.events.try_send(Event::Notice(notice));
        }
    }
}
