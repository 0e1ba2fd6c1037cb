//! What the rest of the broker may know of a client: facts, and a way to end it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::VirtualHost;
use super::stats::{Client, ConnectionStats, Sums};
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
    /// What is counted of it.
    pub stats: ConnectionStats,
    client: OnceLock<Client>,
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
            stats: ConnectionStats::default(),
            client: OnceLock::new(),
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

    /// Notes who the client is, once: the connection is open.
    pub fn introduce(&self, client: Client) {
        let _ = self.client.set(client);
    }

    /// Who the client is, once the connection is open.
    pub fn client(&self) -> Option<&Client> {
        self.client.get()
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
#[derive(Debug)]
pub struct Connections {
    listed: DashMap<ConnectionId, Arc<Connection>>,
    stopping: AtomicBool,
    /// What those that have ended have counted, by virtual host; under the empty name, of those that are deleted.
    gone: Mutex<FxHashMap<Arc<str>, Sums>>,
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
        self.connections.take_leave(self.id);
        if self.connections.listed.is_empty() {
            self.connections.emptied.notify_waiters();
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            listed: DashMap::new(),
            stopping: AtomicBool::new(false),
            gone: Mutex::new(Rank::Leaf, FxHashMap::default()),
            emptied: Notify::new(),
        }
    }
}

impl Connections {
    /// Takes a connection off the list; its counts stay, in one step for whoever adds them up.
    fn take_leave(&self, id: ConnectionId) {
        let Some(connection) = self.listed.get(&id).map(|entry| entry.value().clone()) else { return };
        let counted = connection.vhost().map(|vhost| {
            let deleted = vhost.topology().deleted;
            (if deleted { Arc::default() } else { vhost.name.clone() }, connection.stats.sums())
        });
        let mut gone = self.gone.lock();
        if let Some((name, sums)) = counted {
            gone.entry(name).or_default().add(&sums);
        }
        self.listed.remove(&id);
    }

    /// A virtual host is deleted: what was counted in it counts for the broker only.
    pub(super) fn forget_vhost(&self, name: &str) {
        let mut gone = self.gone.lock();
        if let Some(sums) = gone.remove(name) {
            gone.entry(Arc::default()).or_default().add(&sums);
        }
    }

    /// What all connections have counted, those that have ended included, by virtual host; under the empty name what was
    /// counted in none that is left.
    pub fn sums(&self) -> FxHashMap<Arc<str>, Sums> {
        let (mut sums, live) = {
            let gone = self.gone.lock();
            let live: Vec<_> = self.listed.iter().map(|entry| entry.value().clone()).collect();
            (gone.clone(), live)
        };
        for connection in live {
            if let Some(vhost) = connection.vhost() {
                sums.entry(vhost.name.clone()).or_default().add(&connection.stats.sums());
            }
        }
        sums
    }

    /// The open connections, oldest first.
    pub fn open(&self) -> Vec<Arc<Connection>> {
        let open = |entry: dashmap::mapref::multiple::RefMulti<'_, ConnectionId, Arc<Connection>>| {
            Some(entry.value().clone()).filter(|connection| connection.client().is_some())
        };
        let mut open: Vec<_> = self.listed.iter().filter_map(open).collect();
        open.sort_by_key(|connection| connection.id);
        open
    }

    /// The connection of that number.
    pub fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.listed.get(&id).map(|entry| entry.value().clone())
    }

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
