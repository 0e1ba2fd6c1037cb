//! What the server does for the management API and the metrics: definitions before anybody comes, their listeners, the
//! control socket.
//!
//! Deliberately absent: what is answered, see [`crate::management`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::ServerError;
use crate::broker::{Broker, Listener, portable};
use crate::management::{self, Origin, Serving, control};
use crate::tls::Identity;

/// The listeners of the management API.
#[derive(Debug, Default)]
pub(super) struct Http {
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    metrics_addresses: Vec<SocketAddr>,
    serving: Vec<Serving>,
    control: Option<PathBuf>,
}

impl Http {
    /// Serves the listeners, and the control socket in the data directory, if there is one.
    pub(super) fn start(listeners: Vec<TcpListener>, directory: Option<&Path>, broker: &Arc<Broker>) -> Self {
        let mut http = Self::default();
        if let Some(directory) = directory {
            http.control(directory, broker);
        }
        if listeners.is_empty() {
            return http;
        }
        let router = management::router(broker.clone(), Origin::Network);
        for listener in listeners {
            if let Ok(address) = listener.local_addr() {
                http.addresses.push(address);
                broker.node.listens(Listener { protocol: "http", address, tls: false });
            }
            http.serving.push(management::serve(listener, router.clone()));
        }
        http
    }

    /// Serves the listeners of the management API with TLS.
    pub(super) fn serve_tls(&mut self, listeners: Vec<TcpListener>, identity: &Arc<Identity>, broker: &Arc<Broker>) {
        let router = management::router(broker.clone(), Origin::Network);
        for listener in listeners {
            if let Ok(address) = listener.local_addr() {
                self.tls_addresses.push(address);
                broker.node.listens(Listener { protocol: "https", address, tls: true });
            }
            self.serving.push(management::serve_tls(listener, identity.clone(), router.clone()));
        }
    }

    /// Serves listeners for metrics, with TLS if there is an identity for it.
    pub(super) fn serve_metrics(
        &mut self,
        listeners: Vec<TcpListener>,
        identity: Option<&Arc<Identity>>,
        broker: &Arc<Broker>,
    ) {
        for listener in listeners {
            let protocol = if identity.is_some() { "https/prometheus" } else { "http/prometheus" };
            if let Ok(address) = listener.local_addr() {
                self.metrics_addresses.push(address);
                broker.node.listens(Listener { protocol, address, tls: identity.is_some() });
            }
            let router = management::metrics_router(broker);
            self.serving.push(match identity {
                Some(identity) => management::serve_tls(listener, identity.clone(), router),
                None => management::serve(listener, router),
            });
        }
    }

    /// Without it the broker serves its clients all the same.
    fn control(&mut self, directory: &Path, broker: &Arc<Broker>) {
        let path = control::path(directory);
        match control::listen(directory) {
            Ok(listener) => {
                let router = management::router(broker.clone(), Origin::Control);
                self.serving.push(management::serve_unix(listener, router));
                self.control = Some(path);
            }
            Err(error) => {
                tracing::warn!("command-line tools cannot reach this broker, {}: {error}", path.display());
            }
        }
    }

    /// Where the network finds it.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the network finds it with TLS.
    pub(super) fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// Where metrics are read.
    pub(super) fn metrics_addresses(&self) -> &[SocketAddr] {
        &self.metrics_addresses
    }

    /// Ends in order: requests that have begun have `grace` to come to their end.
    pub(super) async fn stop(self, grace: Duration) {
        if let Some(path) = &self.control
            && let Err(error) = control::remove(path)
        {
            tracing::warn!("the control socket stays behind, {}: {error}", path.display());
        }
        for serving in self.serving {
            serving.stop(grace).await;
        }
    }
}

/// Imports definitions from a file, or from every `.json` file of a directory in the order of their names.
pub(super) fn load_definitions(broker: &Arc<Broker>, path: &Path) -> Result<(), ServerError> {
    let wrong = |path: &Path, problem: String| ServerError::Definitions { path: path.display().to_string(), problem };
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| wrong(path, error.to_string()))?;
        files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        files.sort();
    }
    for file in files {
        let text = std::fs::read(&file).map_err(|error| wrong(&file, error.to_string()))?;
        let definitions = portable::Definitions::parse(&text).map_err(|error| wrong(&file, error.to_string()))?;
        let summary =
            portable::import_at_start(broker, &definitions).map_err(|error| wrong(&file, error.to_string()))?;
        tracing::info!("definitions loaded from {}: {summary}", file.display());
    }
    Ok(())
}
