//! Who keeps the entrances: a task that accepts at all of them, and closes and opens them as administrators ask.
//!
//! It also looks whether the files of TLS have been exchanged. Invariant: when [`Doorman::run`] is over nobody comes
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
use crate::clock::Millis;
use crate::config::Config;
use crate::tls::{Identity, TlsError};

/// How often the files of TLS are looked at. They are read when they look the same twice, so a new certificate is in
/// use after two to three times that.
const LOOK: Duration = Duration::from_secs(2);

/// Who the broker is to TLS clients of each kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Identities {
    /// Of AMQP.
    pub(super) amqp: Option<Arc<Identity>>,
    /// Of the management API.
    pub(super) management: Option<Arc<Identity>>,
    /// Of the metrics.
    pub(super) metrics: Option<Arc<Identity>>,
}

impl Identities {
    fn all(&self) -> impl Iterator<Item = &Arc<Identity>> {
        [&self.amqp, &self.management, &self.metrics].into_iter().flatten()
    }

    /// Notes the certificates that TLS clients are shown from now on, for health checks.
    fn show(&self, broker: &Broker) {
        let certificate = |identity: &Arc<Identity>| {
            let validity = identity.validity();
            Certificate { certfile: validity.file.display().to_string(), expires: validity.not_after }
        };
        let mut shown: Vec<Certificate> = Vec::new();
        for certificate in self.all().map(certificate) {
            if !shown.contains(&certificate) {
                shown.push(certificate);
            }
        }
        broker.node.shows(shown);
    }

    /// Does to each of them what may wait for files, and logs what has come of it. Fails with the first mistake.
    async fn each(
        &self,
        broker: &Arc<Broker>,
        read: impl Fn(&Identity, Millis) -> Option<Result<(), TlsError>> + Send + 'static,
    ) -> Result<(), String> {
        let (own, wall) = (self.clone(), broker.clock.wall());
        let read = move || own.all().filter_map(|identity| read(identity, wall)).collect::<Vec<_>>();
        let outcomes = tokio::task::spawn_blocking(read).await.unwrap_or_default();
        let mut wrong = None;
        let changed = outcomes.iter().any(Result::is_ok);
        for error in outcomes.into_iter().filter_map(Result::err) {
            tracing::error!("TLS goes on with what it has: {error}");
            wrong.get_or_insert_with(|| error.to_string());
        }
        if changed {
            self.show(broker);
            tracing::info!("the files of TLS have been read again; connections from now on use them");
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Reads the files that the settings name by now, which need not be those of before.
    pub(super) async fn follow(&self, broker: &Arc<Broker>, config: &Config) {
        let [management, metrics] = config.web_tls();
        let (own, amqp) = (self.clone(), config.tls.clone());
        let is = |one: &Option<Arc<Identity>>, other: &Identity| {
            one.as_ref().is_some_and(|one| std::ptr::eq(Arc::as_ptr(one), other))
        };
        let follow = move |identity: &Identity, wall| {
            let settings = if is(&own.amqp, identity) {
                &amqp
            } else if is(&own.management, identity) {
                &management
            } else {
                &metrics
            };
            Some(identity.follow(settings, wall))
        };
        // What is wrong has been logged, and nobody waits.
        let _ = self.each(broker, follow).await;
    }
}

/// The entrances and who accepts there.
pub(super) struct Doorman {
    broker: Arc<Broker>,
    identities: Identities,
    entrances: Vec<Entrance>,
    accepting: JoinSet<()>,
    /// The files of Unix sockets, while they are open.
    files: Vec<LocalFile>,
}

impl Doorman {
    pub(super) fn new(broker: Arc<Broker>, identities: Identities) -> Self {
        identities.show(&broker);
        Self { broker, identities, entrances: Vec::new(), accepting: JoinSet::new(), files: Vec::new() }
    }

    /// Accepts at an entrance that has been opened.
    pub(super) fn attend(&mut self, entrance: Entrance, socket: Socket) {
        self.accept(&entrance, socket);
        self.entrances.push(entrance);
    }

    fn accept(&mut self, entrance: &Entrance, socket: Socket) {
        let identity = match entrance.speech {
            Speech::Amqp => None,
            Speech::AmqpOverTls => self.identities.amqp.clone(),
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
                _ = look.tick(), if self.identities.all().next().is_some() => {
                    // What is wrong has been logged, and nobody has asked.
                    let _ = self.identities.each(&self.broker, Identity::reload_if_changed).await;
                }
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
            Order::ReloadTls => self.identities.each(&self.broker, |identity, wall| Some(identity.reload(wall))).await,
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

    /// Where clients come in by TCP, with and without TLS.
    pub(super) fn addresses(&self, speech: Speech) -> Vec<std::net::SocketAddr> {
        let of_kind = self.entrances.iter().filter(|entrance| entrance.speech == speech);
        of_kind.filter_map(Entrance::address).collect()
    }
}
