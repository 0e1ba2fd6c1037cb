//! The server: opens the store, recovers, listens, accepts, and shuts down in order.
//!
//! It is the only place that knows all rooms. `entrance` opens and closes sockets, `accept` leads from a socket to a
//! session, `doorman` is the task that keeps both; `systemd` talks to the service manager. Deliberately absent: anything
//! about a single connection.

mod accept;
mod doorman;
mod entrance;
mod http;
pub mod systemd;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::broker::{Broker, Running, Spill, Start, StartError};
use crate::clock::Clock;
use crate::config::{Config, Tls};
use crate::store::lmdb::{self, LmdbEngine, LmdbOptions};
use crate::store::memory::MemoryEngine;
use crate::store::redo::Redo;
use crate::store::{Engine, StoreError};
use crate::tls::{Identity, TlsError};
use doorman::{Doorman, Identities};
use entrance::{Entrance, Socket, Speech};
pub use entrance::{Handed, HandedSocket};

/// Folder of the data directory for what is spilled.
const SPILL: &str = "spill";

/// Why a server cannot start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// A Unix socket cannot be listened on.
    #[error("cannot listen on {}: {error}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A socket that was handed over cannot be used.
    #[error("cannot use a socket that was handed over: {0}")]
    Handed(io::Error),
    /// A file that TLS needs cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The broker cannot start on what it found.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store cannot be opened, or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Definitions that are to be there from the start cannot be.
    #[error("cannot load definitions from {path}: {problem}")]
    Definitions {
        /// The file.
        path: String,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// The store failed while the broker ran.
    #[error("the store has failed: {0}")]
    Failed(String),
}

/// Where a server keeps its messages.
enum Keep {
    Memory,
    Directory(PathBuf),
    Engine(Arc<dyn Engine>),
}

/// Sets a server up: in a test, on port 0 and in memory, with a few words.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), leveret::server::ServerError> {
/// let server = leveret::server::Builder::in_memory().start()?;
/// println!("amqp://{}", server.addresses()[0]);
/// server.stop().await?;
/// # Ok(()) }
/// ```
pub struct Builder {
    config: Config,
    keep: Keep,
    clock: Clock,
    handed: Vec<Handed>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Builder {
    /// A server as configured.
    pub fn new(config: Config) -> Self {
        let keep = Keep::Directory(config.data_dir.clone());
        Self { config, keep, clock: Clock::system(), handed: Vec::new() }
    }

    /// A server that keeps nothing and listens on a free port of 127.0.0.1.
    pub fn in_memory() -> Self {
        let config = Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            management_listen: Vec::new(),
            metrics_listen: Vec::new(),
            ..Config::default()
        };
        Self { config, keep: Keep::Memory, clock: Clock::system(), handed: Vec::new() }
    }

    /// Keeps messages in this directory.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.keep = Keep::Directory(dir.into());
        self
    }

    /// Keeps messages in this engine.
    #[must_use]
    pub fn engine(mut self, engine: Arc<dyn Engine>) -> Self {
        self.keep = Keep::Engine(engine);
        self
    }

    /// Listens on these addresses; port 0 is a free port.
    #[must_use]
    pub fn listen(mut self, addresses: Vec<SocketAddr>) -> Self {
        self.config.listen = addresses;
        self
    }

    /// Takes the time from this clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Listens on these sockets as well, and on no addresses of the settings where one of the same kind is among them.
    #[must_use]
    pub fn handed(mut self, sockets: Vec<Handed>) -> Self {
        self.handed = sockets;
        self
    }

    /// Changes any other setting.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Opens the store, recovers, and listens. Must be called inside a tokio runtime.
    pub fn start(self) -> Result<Server, ServerError> {
        // Files and ports first: a second server on the same machine is told so before it touches anything.
        let of_others = |handed: &Handed| matches!(&*handed.name, "http" | "metrics");
        let (elsewhere, handed): (Vec<_>, Vec<_>) = self.handed.into_iter().partition(of_others);
        let (http, metrics): (Vec<_>, Vec<_>) = elsewhere.into_iter().partition(|handed| handed.name == "http");
        let http = entrance::listen(&self.config.management_listen, http)?;
        let metrics = entrance::listen(&self.config.metrics_listen, metrics)?;
        let web_tls = self.config.web_tls();
        let [https, secure_metrics] = web_tls.each_ref().map(|tls| entrance::listen(&tls.listen, Vec::new()));
        let (https, secure_metrics) = (https?, secure_metrics?);
        let entrances = Entrance::all(&self.config, handed);
        let secure = entrances.iter().any(|entrance| entrance.speech == Speech::AmqpOverTls);
        let wall = self.clock.wall();
        let load = |wanted: bool, tls: &Tls| -> Result<Option<Arc<Identity>>, ServerError> {
            Ok(if wanted { Some(Arc::new(Identity::load(tls, wall)?)) } else { None })
        };
        let [management_tls, metrics_tls] = &web_tls;
        let identities = Identities {
            amqp: load(secure, &self.config.tls)?,
            management: load(!https.is_empty(), management_tls)?,
            metrics: load(!secure_metrics.is_empty(), metrics_tls)?,
        };
        let open = open(entrances)?;
        let directory = match &self.keep {
            Keep::Directory(dir) => Some(dir.clone()),
            Keep::Memory | Keep::Engine(_) => None,
        };
        let (engine, spill): (Arc<dyn Engine>, Option<Arc<Spill>>) = match self.keep {
            Keep::Memory => (Arc::new(MemoryEngine::new()), None),
            Keep::Engine(engine) => (engine, Some(Arc::new(|| Ok(Arc::new(MemoryEngine::new()))))),
            Keep::Directory(dir) => {
                if self.config.compact_at_start {
                    compact(&dir)?;
                }
                let options = LmdbOptions { map_size: self.config.map_size, ..LmdbOptions::default() };
                let engine = LmdbEngine::open(&dir, options)?;
                engine.report();
                let engine = Redo::open(engine, &dir, self.config.redo_log)?;
                (Arc::new(engine), Some(spill(&dir)?))
            }
        };
        let start = Start { config: Arc::new(self.config), clock: self.clock, engine, spill };
        let running = Running::start(start)?;
        let broker = &running.broker;
        if let Some(path) = &broker.config.load_definitions {
            http::load_definitions(broker, path)?;
        }
        let mut http = http::Http::start(http, directory.as_deref(), broker);
        http.serve_metrics(metrics, None, broker);
        if let Some(identity) = &identities.management {
            http.serve_tls(https, identity, broker);
        }
        http.serve_metrics(secure_metrics, identities.metrics.as_ref(), broker);
        let mut doorman = Doorman::new(running.broker.clone(), identities.clone());
        for (entrance, socket) in open {
            doorman.attend(entrance, socket);
        }
        let (addresses, tls_addresses) = (doorman.addresses(Speech::Amqp), doorman.addresses(Speech::AmqpOverTls));
        let (leave, left) = oneshot::channel();
        let orders = running.broker.listeners.take_orders();
        let doorman = tokio::spawn(async move {
            if let Some(orders) = orders {
                doorman.run(orders, left).await;
            }
        });
        Ok(Server { running, addresses, tls_addresses, leave, doorman, http, identities })
    }
}

/// Opens all entrances.
fn open(entrances: Vec<Entrance>) -> Result<Vec<(Entrance, Socket)>, ServerError> {
    let several = entrances.len() > 1;
    let mut open = Vec::new();
    for mut entrance in entrances {
        match entrance.open() {
            Ok(socket) => open.push((entrance, socket)),
            // A machine without IPv6 is no reason not to start on IPv4.
            Err(error) if several && entrance.lacks_family(&error) => tracing::warn!("{error}"),
            Err(error) => return Err(error),
        }
    }
    Ok(open)
}

/// Compacts the store that is there, if there is one.
fn compact(dir: &Path) -> Result<(), StoreError> {
    match lmdb::compact(dir) {
        Ok((before, after)) => tracing::info!("the store is compacted: {before} octets before, {after} after"),
        Err(StoreError::Missing(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Where messages that are not kept go when memory is short: a folder of the data directory, wiped at start, since
/// nothing in it is of use to another run. Its files are made when they are needed.
fn spill(data_dir: &Path) -> Result<Arc<Spill>, StoreError> {
    let dir = data_dir.join(SPILL);
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(Arc::new(move || {
        let engine = LmdbEngine::open(&dir, LmdbOptions { sync: false, ..LmdbOptions::default() })?;
        engine.recover()?;
        Ok(Arc::new(engine))
    }))
}

/// A broker that listens.
#[derive(Debug)]
pub struct Server {
    running: Running,
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    leave: oneshot::Sender<()>,
    doorman: JoinHandle<()>,
    http: http::Http,
    identities: Identities,
}

impl Server {
    /// Where it listens for clients without TLS.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it listens for clients with TLS.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// Where the management API is served.
    pub fn management_addresses(&self) -> &[SocketAddr] {
        self.http.addresses()
    }

    /// The broker inside.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.running.broker
    }

    /// Where the management API is served with TLS.
    pub fn management_tls_addresses(&self) -> &[SocketAddr] {
        self.http.tls_addresses()
    }

    /// Where metrics are served, without TLS and with it.
    pub fn metrics_addresses(&self) -> &[SocketAddr] {
        self.http.metrics_addresses()
    }

    /// Takes over what may change while it runs from newly read settings, see [`LIVE`](crate::config::LIVE). Must be
    /// called inside a tokio runtime; files of TLS are read a moment later.
    pub fn apply(&self, config: &Config) {
        self.running.broker.apply(config);
        let (identities, broker, config) = (self.identities.clone(), self.running.broker.clone(), config.clone());
        tokio::spawn(async move { identities.follow(&broker, &config).await });
    }

    /// Completes if the store fails; the server must be stopped then, and will not end well.
    pub async fn failed(&self) -> String {
        self.running.broker.failed().await
    }

    /// Stops in order: no new clients, the present ones are told (320) and given a moment, everything is made durable.
    pub async fn stop(self) -> Result<(), ServerError> {
        // A doorman who is gone has nothing open.
        let _ = self.leave.send(());
        let _ = self.doorman.await;
        self.http.stop(self.running.broker.config.shutdown_grace).await;
        self.running.broker.close_connections().await;
        Ok(self.running.stop().await?)
    }
}
