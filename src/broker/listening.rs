//! Where the broker listens, as far as others may know it, and how they ask for less or more of that.
//!
//! The server owns the sockets and says here what it listens on; administrators' verbs are passed to it as [`Order`]s.
//! Invariants: an order is answered once it is done; without a server it is refused. Deliberately absent: sockets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

use super::{AdminError, Broker};
use crate::sync::{Mutex, Rank};
use crate::tls::Validity;

/// Orders that may wait for the server; it does one at a time, in moments.
const ORDERS: usize = 16;

/// What the server can be asked to do with its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Accept no more clients of AMQP; those who are connected stay.
    Suspend,
    /// Accept clients again.
    Resume,
    /// Read the files of `[tls]` again.
    ReloadTls,
}

/// An order and where its outcome is waited for.
pub type Asked = (Order, oneshot::Sender<Result<(), String>>);

/// A place that clients can connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// RabbitMQ's word for what is spoken there: `amqp`, `amqp/ssl`, `http`, `http/prometheus`.
    pub protocol: &'static str,
    /// Where.
    pub endpoint: Endpoint,
}

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address and port.
    Address(std::net::SocketAddr),
    /// The path of a Unix socket.
    Path(PathBuf),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The places that clients can connect to.
#[derive(Debug)]
pub struct Listeners {
    open: Mutex<Vec<(u64, Listening)>>,
    next: AtomicU64,
    certificate: Mutex<Option<Validity>>,
    orders: mpsc::Sender<Asked>,
    /// Until the server takes it.
    taken: Mutex<Option<mpsc::Receiver<Asked>>>,
    /// Sockets for other rooms that were handed over by the service manager, until they take them.
    handed: Mutex<Vec<(String, std::net::TcpListener)>>,
    draining: AtomicBool,
    stop: AtomicBool,
    stop_asked: Notify,
}

/// A place on the list; taken off when dropped.
#[derive(Debug)]
pub struct Open {
    listeners: Arc<Listeners>,
    id: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listeners.open.lock().retain(|(id, _)| *id != self.id);
    }
}

impl Default for Listeners {
    fn default() -> Self {
        let (orders, taken) = mpsc::channel(ORDERS);
        Self {
            open: Mutex::new(Rank::Leaf, Vec::new()),
            next: AtomicU64::new(0),
            certificate: Mutex::new(Rank::Leaf, None),
            orders,
            taken: Mutex::new(Rank::Leaf, Some(taken)),
            handed: Mutex::new(Rank::Leaf, Vec::new()),
            draining: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            stop_asked: Notify::new(),
        }
    }
}

impl Listeners {
    /// Lists a place for as long as the answer is kept.
    pub fn open(self: &Arc<Self>, listening: Listening) -> Open {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().push((id, listening));
        Open { listeners: self.clone(), id }
    }

    /// The places that are open now, in the order in which they were opened.
    pub fn list(&self) -> Vec<Listening> {
        self.open.lock().iter().map(|(_, listening)| listening.clone()).collect()
    }

    /// The certificate that TLS clients are shown, if there are any.
    pub fn certificate(&self) -> Option<Validity> {
        self.certificate.lock().clone()
    }

    /// Notes the certificate that TLS clients are shown from now on.
    pub fn note_certificate(&self, validity: Validity) {
        *self.certificate.lock() = Some(validity);
    }

    /// Keeps a socket that was handed over for the room that asks for it by name.
    pub fn hand_over(&self, name: String, socket: std::net::TcpListener) {
        self.handed.lock().push((name, socket));
    }

    /// The sockets that the service manager has opened under this name, such as `http` and `metrics`: once. Where there
    /// are some, addresses of the settings are not to be listened on besides.
    pub fn take_handed(&self, name: &str) -> Vec<std::net::TcpListener> {
        let mut handed = self.handed.lock();
        let (taken, left) = handed.drain(..).partition(|(given, _)| given == name);
        *handed = left;
        let taken: Vec<(String, std::net::TcpListener)> = taken;
        taken.into_iter().map(|(_, socket)| socket).collect()
    }

    /// The orders, for who carries them out: once.
    pub fn take_orders(&self) -> Option<mpsc::Receiver<Asked>> {
        self.taken.lock().take()
    }

    /// Whether the broker takes its leave: it is drained, and not open again.
    pub fn in_maintenance(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    async fn order(&self, order: Order) -> Result<(), AdminError> {
        let (answer, answered) = oneshot::channel();
        let nobody = || AdminError::Invalid("nothing listens here".to_owned());
        // Without a server nobody would ever take the order.
        if self.taken.lock().is_some() {
            return Err(nobody());
        }
        self.orders.send((order, answer)).await.map_err(|_| nobody())?;
        answered.await.map_err(|_| nobody())?.map_err(AdminError::Invalid)
    }
}

impl Broker {
    /// Closes the sockets on which AMQP clients come in, until [`Broker::resume_listeners`]. Connections stay, and the
    /// management API stays reachable. RabbitMQ: `suspend_listeners`.
    pub async fn suspend_listeners(&self) -> Result<(), AdminError> {
        self.listeners.order(Order::Suspend).await
    }

    /// Opens the sockets again, and ends the maintenance that [`Broker::drain`] began. Fails with what could not be
    /// opened. RabbitMQ: `resume_listeners`.
    pub async fn resume_listeners(&self) -> Result<(), AdminError> {
        self.listeners.order(Order::Resume).await?;
        self.listeners.draining.store(false, Ordering::Release);
        Ok(())
    }

    /// Reads certificate, key, issuers and revocations anew, for handshakes from now on. Fails with the file and what is
    /// wrong, and then everything stays as it was. Without TLS there is nothing to do.
    pub async fn reload_tls(&self) -> Result<(), AdminError> {
        self.listeners.order(Order::ReloadTls).await
    }

    /// Takes leave: accepts no more clients, tells those who are there nothing, waits until they have gone or `patience`
    /// is over, and asks for the end of the process. Answers with how many are left, who will be told (320). Called off
    /// by [`Broker::resume_listeners`], which makes it fail.
    pub async fn drain(self: &Arc<Self>, patience: Duration) -> Result<usize, AdminError> {
        self.listeners.draining.store(true, Ordering::Release);
        if let Err(error) = self.suspend_listeners().await {
            self.listeners.draining.store(false, Ordering::Release);
            return Err(error);
        }
        tracing::info!("draining: waiting for {} connections to end", self.connections.len());
        // Goes on when the one who asked does not wait for the answer.
        let broker = self.clone();
        let waiting = tokio::spawn(async move {
            // Over time is not an error: the rest are told to leave.
            let _ = tokio::time::timeout(patience, broker.connections.all_gone()).await;
            if !broker.in_maintenance() {
                return Err(AdminError::Invalid("the listeners were opened again meanwhile".to_owned()));
            }
            broker.request_stop();
            Ok(broker.connections.len())
        });
        waiting.await.unwrap_or_else(|error| Err(AdminError::Invalid(error.to_string())))
    }

    /// Whether the broker is being drained; a health check says so to those who choose between nodes.
    pub fn in_maintenance(&self) -> bool {
        self.listeners.in_maintenance()
    }

    /// Asks whoever runs the server to stop it in order.
    pub fn request_stop(&self) {
        self.listeners.stop.store(true, Ordering::Release);
        self.listeners.stop_asked.notify_waiters();
    }

    /// Completes once somebody has asked for the end by [`Broker::request_stop`].
    pub async fn stop_requested(&self) {
        loop {
            let asked = self.listeners.stop_asked.notified();
            if self.listeners.stop.load(Ordering::Acquire) {
                return;
            }
            asked.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_listed_while_they_are_open() {
        let listeners = Arc::new(Listeners::default());
        let at = |port| Listening { protocol: "amqp", endpoint: Endpoint::Address(([127, 0, 0, 1], port).into()) };
        let one = listeners.open(at(1));
        let two = listeners.open(at(2));
        assert_eq!(listeners.list(), [at(1), at(2)]);
        drop(one);
        assert_eq!(listeners.list(), [at(2)]);
        drop(two);
        assert!(listeners.list().is_empty());
    }

    #[tokio::test]
    async fn orders_are_refused_without_a_server_and_after_it() {
        let listeners = Listeners::default();
        assert!(listeners.order(Order::Suspend).await.is_err());
        let orders = listeners.take_orders();
        assert!(orders.is_some() && listeners.take_orders().is_none());
        drop(orders);
        assert!(listeners.order(Order::Suspend).await.is_err());
    }
}
