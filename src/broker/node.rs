//! Facts of the node as a whole: since when it runs, where it listens, who tried to log in, whether it is to stop.
//!
//! Plain facts behind short locks, noted by who knows them and read by reports. Deliberately absent: what they mean.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

use crate::clock::{Clock, Millis};
use crate::sync::{Mutex, Rank};

/// A socket that clients can connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// RabbitMQ's word: `amqp`, `amqp/ssl`, `http`, `https`, `http/prometheus`.
    pub protocol: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// Whether what is sent there is TLS.
    pub tls: bool,
}

/// Facts of the node.
#[derive(Debug)]
pub struct Node {
    started: Millis,
    listeners: Mutex<Vec<Listener>>,
    certificates: Mutex<Vec<Certificate>>,
    maintenance: AtomicBool,
    stop: watch::Sender<bool>,
}

/// A certificate that a listener shows.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Certificate {
    /// Its file.
    pub certfile: String,
    /// Until when it is good, in milliseconds since the Unix epoch.
    pub expires: Millis,
}

impl Node {
    pub(super) fn new(clock: &Clock) -> Self {
        Self {
            started: clock.now(),
            listeners: Mutex::new(Rank::Leaf, Vec::new()),
            certificates: Mutex::new(Rank::Leaf, Vec::new()),
            maintenance: AtomicBool::new(false),
            stop: watch::Sender::new(false),
        }
    }

    /// How long it has run, in milliseconds.
    pub fn uptime(&self, clock: &Clock) -> Millis {
        clock.now().saturating_sub(self.started)
    }

    /// Notes that clients can connect there.
    pub fn listens(&self, listener: Listener) {
        self.listeners.lock().push(listener);
    }

    /// Notes that clients cannot connect there any more.
    pub fn listens_no_more(&self, address: SocketAddr) {
        self.listeners.lock().retain(|listener| listener.address != address);
    }

    /// Where clients can connect.
    pub fn listeners(&self) -> Vec<Listener> {
        self.listeners.lock().clone()
    }

    /// Notes which certificates the listeners show.
    pub fn shows(&self, certificates: Vec<Certificate>) {
        *self.certificates.lock() = certificates;
    }

    /// The certificates that are no longer good at that moment.
    pub fn certificates_expiring(&self, until: Millis) -> Vec<Certificate> {
        self.certificates.lock().iter().filter(|certificate| certificate.expires < until).cloned().collect()
    }

    /// Notes whether the node takes no new clients for now.
    pub fn maintain(&self, on: bool) {
        self.maintenance.store(on, Ordering::Release);
    }

    /// Whether the node takes no new clients for now.
    pub fn in_maintenance(&self) -> bool {
        self.maintenance.load(Ordering::Acquire)
    }

    /// Asks whoever runs the broker to stop it in order.
    pub fn request_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Completes once somebody has asked for the end.
    pub async fn stop_requested(&self) {
        let mut asked = self.stop.subscribe();
        // The sender lives as long as the node.
        let _ = asked.wait_for(|asked| *asked).await;
    }
}

/// What somebody logs in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// An AMQP connection.
    Amqp,
    /// A request to the management API.
    Http,
}

impl Protocol {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Amqp, Self::Http];

    /// RabbitMQ's word in counts of logins.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amqp => "amqp091",
            Self::Http => "http",
        }
    }
}

/// Logins since the start, or since they were last forgotten.
#[derive(Debug, Default)]
pub struct Attempts {
    succeeded: [AtomicU64; 2],
    failed: [AtomicU64; 2],
}

impl Attempts {
    /// Counts a login.
    pub fn count(&self, protocol: Protocol, succeeded: bool) {
        let counters = if succeeded { &self.succeeded } else { &self.failed };
        if let Some(counter) = counters.get(protocol as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Logins that succeeded, and that failed.
    pub fn of(&self, protocol: Protocol) -> (u64, u64) {
        let read = |counters: &[AtomicU64; 2]| {
            counters.get(protocol as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
        };
        (read(&self.succeeded), read(&self.failed))
    }

    /// Begins to count anew.
    pub fn forget(&self) {
        for counter in self.succeeded.iter().chain(&self.failed) {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_counted_by_protocol_until_forgotten() {
        let attempts = Attempts::default();
        attempts.count(Protocol::Http, true);
        attempts.count(Protocol::Http, true);
        attempts.count(Protocol::Http, false);
        attempts.count(Protocol::Amqp, false);
        assert_eq!((attempts.of(Protocol::Http), attempts.of(Protocol::Amqp)), ((2, 1), (0, 1)));
        attempts.forget();
        assert_eq!(attempts.of(Protocol::Http), (0, 0));
    }
}
