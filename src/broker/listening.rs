//! How administrators ask for fewer or more clients: verbs that whoever owns the sockets carries out.
//!
//! The server takes the [`Order`]s. Invariants: an order is answered once it is done; without a server it is refused.
//! Deliberately absent: sockets, and the list of those that are open, which is the node's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{AdminError, Broker};
use crate::sync::{Mutex, Rank};

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

/// What follows when the clients have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing: the broker stays, without clients.
    Stay,
    /// The end of the process, in order.
    Stop,
}

/// An order and where its outcome is waited for.
pub type Asked = (Order, oneshot::Sender<Result<(), String>>);

/// What the broker and whoever owns its sockets have to say to each other.
#[derive(Debug)]
pub struct Listeners {
    orders: mpsc::Sender<Asked>,
    /// Until the server takes it.
    taken: Mutex<Option<mpsc::Receiver<Asked>>>,
}

impl Default for Listeners {
    fn default() -> Self {
        let (orders, taken) = mpsc::channel(ORDERS);
        Self { orders, taken: Mutex::new(Rank::Leaf, Some(taken)) }
    }
}

impl Listeners {
    /// The orders, for who carries them out: once.
    pub fn take_orders(&self) -> Option<mpsc::Receiver<Asked>> {
        self.taken.lock().take()
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
        self.node.maintain(false);
        Ok(())
    }

    /// Reads certificate, key, issuers and revocations anew, for handshakes from now on. Fails with the file and what is
    /// wrong, and then everything stays as it was. Without TLS there is nothing to do.
    pub async fn reload_tls(&self) -> Result<(), AdminError> {
        self.listeners.order(Order::ReloadTls).await
    }

    /// Takes leave: accepts no more clients, tells those who are there nothing, and waits until they have gone or
    /// `patience` is over. Then it asks for the end of the process, if that is what is to come `then`; if not the broker
    /// stays in maintenance until [`Broker::resume_listeners`], which also calls this off. Answers with how many clients
    /// are left. RabbitMQ: `rabbitmq-upgrade drain`, which closes their connections at once.
    pub async fn drain(self: &Arc<Self>, patience: Duration, then: Then) -> Result<usize, AdminError> {
        self.node.maintain(true);
        if let Err(error) = self.suspend_listeners().await {
            self.node.maintain(false);
            return Err(error);
        }
        tracing::info!("draining: waiting for {} connections to end", self.connections.len());
        // Goes on when the one who asked does not wait for the answer.
        let broker = self.clone();
        let waiting = tokio::spawn(async move {
            // Over time is not an error: it is what the number of those who are left tells.
            let _ = tokio::time::timeout(patience, broker.connections.all_gone()).await;
            if !broker.node.in_maintenance() {
                return Err(AdminError::Invalid("the listeners were opened again meanwhile".to_owned()));
            }
            let left = broker.connections.len();
            tracing::info!("drained: {left} connections are left");
            if then == Then::Stop {
                broker.node.request_stop();
            }
            Ok(left)
        });
        waiting.await.unwrap_or_else(|error| Err(AdminError::Invalid(error.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
