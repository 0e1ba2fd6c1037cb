//! What the rest of the broker may know of a client: facts, and a way to end it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Broker;
use crate::sync::{Bell, Mutex, Rank};
use crate::wire::refusal::{Refusal, ReplyCode};

/// Number of a connection; never reused in this process.
pub type ConnectionId = u64;

/// The facts of one client connection. The session is the task behind it.
#[derive(Debug)]
pub struct Connection {
    /// Its number; owns exclusive queues.
    pub id: ConnectionId,
    /// `peer:port -> local:port`.
    pub name: String,
    /// Where the client is.
    pub peer: SocketAddr,
    bell: Arc<Bell>,
    kick: Mutex<Option<Refusal>>,
}

impl Connection {
    /// Facts of a new connection; `bell` wakes its session.
    pub fn new(id: ConnectionId, peer: SocketAddr, local: SocketAddr, bell: Arc<Bell>) -> Self {
        Self { id, name: format!("{peer} -> {local}"), peer, bell, kick: Mutex::new(Rank::Leaf, None) }
    }

    /// Asks the session to close the connection with this refusal.
    pub fn kick(&self, refusal: Refusal) {
        self.kick.lock().get_or_insert(refusal);
        self.bell.ring();
    }

    /// What the session was asked to close with.
    pub fn kicked(&self) -> Option<Refusal> {
        self.kick.lock().take()
    }
}

impl Broker {
    /// Lists a connection, from the moment it is accepted. One that comes while the broker shuts down is closed.
    pub fn register(&self, connection: &Arc<Connection>) {
        self.connections.insert(connection.id, connection.clone());
        if self.stopping() {
            connection.kick(shutdown());
        }
    }

    /// Takes a connection off the list.
    pub fn deregister(&self, id: ConnectionId) {
        self.connections.remove(&id);
        if self.connections.is_empty() {
            self.emptied.ring();
        }
    }

    /// Number of connections.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Asks every session to close its connection, and completes when all have ended.
    pub async fn close_all(&self) {
        self.stopping.store(true, std::sync::atomic::Ordering::Release);
        for entry in &self.connections {
            entry.value().kick(shutdown());
        }
        while !self.connections.is_empty() {
            self.emptied.rung().await;
        }
    }
}

fn shutdown() -> Refusal {
    Refusal::new(ReplyCode::ConnectionForced, "broker forced connection closure with reason 'shutdown'")
}
