//! What the rest of the broker may know of a client: facts, and a way to end it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use tokio::sync::Notify;

use super::VirtualHost;
use crate::auth::User;
use crate::sync::{Bell, Mutex, Rank};
use crate::tls::Secured;
use crate::wire::refusal::{Refusal, ReplyCode};

/// Number of a connection; never reused in this process.
pub type ConnectionId = u64;

/// Where a connection comes from, as whoever has accepted it knows.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Where the client is, as a trusted proxy says if there is one. A client on a Unix socket is on this machine, at port
    /// 0.
    pub peer: SocketAddr,
    /// Where it has connected to.
    pub local: SocketAddr,
    /// Path of the Unix socket it has come in by.
    pub socket: Option<Arc<str>>,
    /// What was agreed on, if it speaks TLS.
    pub tls: Option<Arc<Secured>>,
}

impl Origin {
    /// A connection over TCP without TLS.
    pub fn plain(peer: SocketAddr, local: SocketAddr) -> Self {
        Self { peer, local, socket: None, tls: None }
    }

    /// `peer:port -> local:port`; on a Unix socket, where all have the same, with the connection's number.
    fn name(&self, id: ConnectionId) -> String {
        match &self.socket {
            Some(path) => format!("local:{id} -> {path}"),
            None => format!("{} -> {}", self.peer, self.local),
        }
    }
}

/// The facts of one client connection. The session is the task behind it.
#[derive(Debug)]
pub struct Connection {
    /// Its number; owns exclusive queues.
    pub id: ConnectionId,
    /// `peer:port -> local:port`.
    pub name: String,
    /// Where the client is.
    pub peer: SocketAddr,
    /// Where it has connected to.
    pub local: SocketAddr,
    /// What was agreed on, if it speaks TLS.
    pub tls: Option<Arc<Secured>>,
    vhost: OnceLock<Arc<VirtualHost>>,
    user: OnceLock<Arc<User>>,
    /// What its user may do has changed.
    review: AtomicBool,
    bell: Arc<Bell>,
    kick: Mutex<Option<Refusal>>,
}

impl Connection {
    /// Facts of a new connection; `bell` wakes its session.
    pub fn new(id: ConnectionId, origin: Origin, bell: Arc<Bell>) -> Self {
        Self {
            id,
            name: origin.name(id),
            peer: origin.peer,
            local: origin.local,
            tls: origin.tls,
            vhost: OnceLock::new(),
            user: OnceLock::new(),
            review: AtomicBool::new(false),
            bell,
            kick: Mutex::new(Rank::Leaf, None),
        }
    }

    /// Notes who has opened which virtual host, once.
    pub fn enter(&self, user: Arc<User>, vhost: Arc<VirtualHost>) {
        let _ = self.user.set(user);
        let _ = self.vhost.set(vhost);
    }

    /// Who has logged in, as it was then, once it is open.
    pub fn user(&self) -> Option<&Arc<User>> {
        self.user.get()
    }

    /// Asks the session to look at its user's rights again.
    pub fn review(&self) {
        self.review.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Whether the session was asked to look at its user's rights again; says so once.
    #[inline]
    pub fn to_be_reviewed(&self) -> bool {
        self.review.load(Ordering::Relaxed) && self.review.swap(false, Ordering::AcqRel)
    }

    /// The virtual host it is in, once it is open.
    pub fn vhost(&self) -> Option<&Arc<VirtualHost>> {
        self.vhost.get()
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

/// The list of connections, from their accept to the end of their sessions.
#[derive(Debug, Default)]
pub struct Connections {
    listed: DashMap<ConnectionId, Arc<Connection>>,
    stopping: AtomicBool,
    /// Tells all who wait that the last connection has gone.
    emptied: Notify,
}

/// A place on the list, given up when dropped. It must be what a session drops last: whoever waits for the list to be
/// empty relies on the sessions holding nothing any more.
#[derive(Debug)]
pub struct Listed {
    connections: Arc<Connections>,
    id: ConnectionId,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.connections.listed.remove(&self.id);
        if self.connections.listed.is_empty() {
            self.connections.emptied.notify_waiters();
        }
    }
}

impl Connections {
    /// Lists a connection. One that comes while all are being closed is closed.
    pub fn list(self: &Arc<Self>, connection: &Arc<Connection>) -> Listed {
        self.listed.insert(connection.id, connection.clone());
        if self.stopping.load(Ordering::Acquire) {
            connection.kick(shutdown());
        }
        Listed { connections: self.clone(), id: connection.id }
    }

    /// Number of connections.
    pub fn len(&self) -> usize {
        self.listed.len()
    }

    /// The connections in a virtual host.
    pub fn in_vhost(&self, vhost: &Arc<VirtualHost>) -> Vec<Arc<Connection>> {
        let inside = |c: &Arc<Connection>| c.vhost().is_some_and(|entered| Arc::ptr_eq(entered, vhost));
        self.listed.iter().map(|entry| entry.value().clone()).filter(inside).collect()
    }

    /// The open connections of a user.
    pub fn of_user(&self, name: &str) -> Vec<Arc<Connection>> {
        let own = |c: &Arc<Connection>| c.user().is_some_and(|user| *user.name == *name);
        self.listed.iter().map(|entry| entry.value().clone()).filter(own).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Asks every session to close its connection, and completes when all have ended.
    pub async fn close_all(&self) {
        self.stopping.store(true, Ordering::Release);
        for entry in &self.listed {
            entry.value().kick(shutdown());
        }
        self.all_gone().await;
    }

    /// Completes when there is no connection.
    pub async fn all_gone(&self) {
        loop {
            // Before the look, so that whoever goes after it is heard of.
            let emptied = self.emptied.notified();
            if self.listed.is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

fn shutdown() -> Refusal {
    Refusal::new(ReplyCode::ConnectionForced, "broker forced connection closure with reason 'shutdown'")
}
