//! Who keeps the entrances: a task that accepts at all of them, and closes and opens them as administrators ask.
//!
//! It also looks whether the files of `[tls]` have been exchanged. Invariant: when [`Doorman::run`] is over nobody comes
//! in any more, and no socket is open. Deliberately absent: connections, which are their sessions' matter.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::accept::{self, Gate};
use super::entrance::{Entrance, LocalFile, Socket, Speech};
use super::{ServerError, systemd};
use crate::broker::{Asked, Broker, Certificate, Listener, Order};
use crate::tls::{Identity, TlsError};

/// How often the files of `[tls]` are looked at. They are read when they look the same twice, so a new certificate is in
/// use after two to three times that.
const LOOK: Duration = Duration::from_secs(2);

/// The entrances and who accepts there.
pub(super) struct Doorman {
    broker: Arc<Broker>,
    identity: Option<Arc<Identity>>,
    entrances: Vec<Entrance>,
    accepting: JoinSet<()>,
    /// The files of Unix sockets, while they are open.
    files: Vec<LocalFile>,
}

impl Doorman {
    pub(super) fn new(broker: Arc<Broker>, identity: Option<Arc<Identity>>) -> Self {
        if let Some(identity) = &identity {
            show(&broker, identity);
        }
        Self { broker, identity, entrances: Vec::new(), accepting: JoinSet::new(), files: Vec::new() }
    }

    /// Accepts at an entrance that has been opened.
    pub(super) fn attend(&mut self, entrance: Entrance, socket: Socket) {
        self.accept(&entrance, socket);
        self.entrances.push(entrance);
    }

    fn accept(&mut self, entrance: &Entrance, socket: Socket) {
        let identity = match entrance.speech {
            Speech::Amqp => None,
            Speech::AmqpOverTls => self.identity.clone(),
        };
        let gate = Arc::new(Gate { broker: self.broker.clone(), identity });
        match socket {
            Socket::Tcp(listener) => {
                if let Some(address) = entrance.address() {
                    let (protocol, tls) = (entrance.speech.protocol(), gate.identity.is_some());
                    self.broker.node.listens(Listener { protocol, address, tls });
                }
                self.accepting.spawn(accept::from_tcp(listener, gate));
            }
            Socket::Local(listener, file) => {
                let path = Arc::from(file.path.to_string_lossy());
                self.accepting.spawn(accept::from_local(listener, path, gate));
                self.files.push(file);
            }
        }
    }

    /// Does its work until `leave` completes, by a word or because the other end is gone.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Asked>, mut leave: oneshot::Receiver<()>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut leave => break,
                Some((order, answer)) = orders.recv() => {
                    let outcome = self.obey(order).await;
                    // Whoever asked need not wait.
                    let _ = answer.send(outcome);
                }
                _ = look.tick(), if self.identity.is_some() => self.look().await,
            }
        }
        self.close().await;
    }

    async fn obey(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Suspend => {
                self.close().await;
                tracing::info!("listeners are suspended: no more clients come in");
                systemd::status("listeners are suspended");
                Ok(())
            }
            Order::Resume if !self.accepting.is_empty() => Ok(()),
            Order::Resume => match self.reopen() {
                Ok(()) => {
                    tracing::info!("listeners are resumed: clients come in again");
                    systemd::status("accepting clients");
                    Ok(())
                }
                Err(error) => {
                    self.close().await;
                    tracing::error!("listeners cannot be resumed: {error}");
                    Err(error.to_string())
                }
            },
            Order::ReloadTls => {
                let Some(identity) = self.identity.clone() else { return Ok(()) };
                let wall = self.broker.clock.wall();
                self.judge(read(move || Some(identity.reload(wall))).await)
            }
        }
    }

    /// Opens all entrances, or fails with the first that cannot be opened.
    fn reopen(&mut self) -> Result<(), ServerError> {
        let mut entrances = std::mem::take(&mut self.entrances);
        let opened = entrances.iter_mut().try_for_each(|entrance| {
            let socket = entrance.open()?;
            self.accept(entrance, socket);
            Ok(())
        });
        self.entrances = entrances;
        opened
    }

    async fn close(&mut self) {
        self.accepting.shutdown().await;
        self.files.clear();
        for address in self.entrances.iter().filter_map(Entrance::address) {
            self.broker.node.listens_no_more(address);
        }
    }

    /// Looks whether the files of TLS have been exchanged.
    async fn look(&self) {
        let Some(identity) = self.identity.clone() else { return };
        let wall = self.broker.clock.wall();
        // What is wrong has been logged, and nobody has asked.
        let _ = self.judge(read(move || identity.reload_if_changed(wall)).await);
    }

    /// Tells how reading the files of TLS has ended.
    fn judge(&self, outcome: Option<Result<(), TlsError>>) -> Result<(), String> {
        match (outcome, &self.identity) {
            (Some(Ok(())), Some(identity)) => {
                show(&self.broker, identity);
                tracing::info!("the files of TLS have been read again; connections from now on use them");
                Ok(())
            }
            (Some(Err(error)), _) => {
                tracing::error!("TLS goes on with what it has: {error}");
                Err(error.to_string())
            }
            _ => Ok(()),
        }
    }

    /// Where clients come in by TCP, with and without TLS.
    pub(super) fn addresses(&self, speech: Speech) -> Vec<std::net::SocketAddr> {
        let of_kind = self.entrances.iter().filter(|entrance| entrance.speech == speech);
        of_kind.filter_map(Entrance::address).collect()
    }
}

/// Notes the certificate that TLS clients are shown from now on, for health checks.
fn show(broker: &Broker, identity: &Identity) {
    let validity = identity.validity();
    let certfile = validity.file.display().to_string();
    broker.node.shows(vec![Certificate { certfile, expires: validity.not_after }]);
}

/// Reads files on a thread that may wait for them.
async fn read<T: Send + 'static>(read: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(read).await.ok().flatten()
}
