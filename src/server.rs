//! The server: opens the store, recovers, listens, accepts, and shuts down in order.
//!
//! It is the only place that knows all rooms. Deliberately absent: anything about a single connection.

mod http;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::broker::{Broker, Listener, Running, Spill, Start, StartError};
use crate::clock::Clock;
use crate::config::Config;
use crate::session::Session;
use crate::store::lmdb::{self, LmdbEngine, LmdbOptions};
use crate::store::memory::MemoryEngine;
use crate::store::redo::Redo;
use crate::store::{Engine, StoreError};

/// Folder of the data directory for what is spilled.
const SPILL: &str = "spill";

/// Connections the kernel may hold before they are accepted.
const BACKLOG: u32 = 1024;

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
        Self { config, keep, clock: Clock::system() }
    }

    /// A server that keeps nothing and listens on a free port of 127.0.0.1.
    pub fn in_memory() -> Self {
        let config = Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            management_listen: Vec::new(),
            metrics_listen: Vec::new(),
            ..Config::default()
        };
        Self { config, keep: Keep::Memory, clock: Clock::system() }
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

    /// Changes any other setting.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Opens the store, recovers, and listens. Must be called inside a tokio runtime.
    pub fn start(self) -> Result<Server, ServerError> {
        // Ports first: a second server on the same machine is told so before it touches anything.
        let listeners = listen(&self.config.listen)?;
        let http = listen(&self.config.management_listen)?;
        let metrics = listen(&self.config.metrics_listen)?;
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
        http.serve_metrics(metrics, broker);
        let mut addresses = Vec::new();
        let mut accepting = JoinSet::new();
        for listener in listeners {
            if let Ok(address) = listener.local_addr() {
                addresses.push(address);
                broker.node.listens(Listener { protocol: "amqp", address, tls: false });
            }
            accepting.spawn(accept(listener, running.broker.clone()));
        }
        Ok(Server { running, addresses, accepting, http })
    }
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
    accepting: JoinSet<()>,
    http: http::Http,
}

impl Server {
    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the management API is served.
    pub fn management_addresses(&self) -> &[SocketAddr] {
        self.http.addresses()
    }

    /// The broker inside.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.running.broker
    }

    /// Completes if the store fails; the server must be stopped then, and will not end well.
    pub async fn failed(&self) -> String {
        self.running.broker.failed().await
    }

    /// Stops in order: no new clients, the present ones are told (320) and given a moment, everything is made durable.
    pub async fn stop(mut self) -> Result<(), ServerError> {
        self.accepting.shutdown().await;
        self.http.stop(self.running.broker.config.shutdown_grace).await;
        self.running.broker.close_connections().await;
        Ok(self.running.stop().await?)
    }
}

fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ServerError> {
    let mut listeners = Vec::new();
    for address in addresses {
        match listen_on(*address) {
            Ok(listener) => listeners.push(listener),
            // A machine without IPv6 is no reason not to start on IPv4.
            Err(error) if address.is_ipv6() && is_missing_family(&error) && addresses.len() > 1 => {
                tracing::warn!("not listening on {address}: {error}");
            }
            Err(error) => return Err(ServerError::Listen { address: *address, error }),
        }
    }
    Ok(listeners)
}

fn is_missing_family(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the sockets of the last run to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, broker: Arc<Broker>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => serve(stream, peer, &broker),
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: loudly, and not in a hot loop. Those who are connected go on.
                tracing::error!("cannot accept connections, pausing: {error}");
                tokio::time::sleep(pause(&broker)).await;
            }
        }
    }
}

fn pause(broker: &Broker) -> Duration {
    broker.config.accept_pause
}

/// The client gave up before it was accepted.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

fn serve(stream: TcpStream, peer: SocketAddr, broker: &Arc<Broker>) {
    let local = stream.local_addr().unwrap_or(peer);
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    tokio::spawn(Session::new(stream, broker.clone(), peer, local).run());
}
