//! HTTP connections: accepted, bounded, served, and ended in order.
//!
//! Each listener has a task that accepts and a bounded number of connections. A connection that sends nothing, or its
//! head too slowly, or does not finish the handshake of TLS in time, is closed. Deliberately absent: certificates, routes,
//! HTTP/2.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::principal::Peer;
use crate::tls::Identity;

/// Connections of one listener at a time; further ones are closed at once.
const CONNECTIONS_MAX: usize = 1_000;

/// Time for the head of a request, and for the next request of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for the handshake of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Octets of a request's head, and of what is read ahead.
const HEAD_MAX: usize = 64 * 1024;

/// Pause in accepting after the process ran out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener that is being served.
#[derive(Debug)]
pub struct Serving {
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Serving {
    /// Accepts no more, and lets requests that have begun come to their end for at most `grace`.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        if tokio::time::timeout(grace, &mut self.accepting).await.is_err() {
            self.accepting.abort();
            // Cancelled, which is no news; afterwards it holds nothing any more.
            let _ = (&mut self.accepting).await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Something that accepts.
trait Accept: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, IpAddr)>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(Self::Stream, IpAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        let _ = stream.set_nodelay(true);
        Ok((stream, peer.ip()))
    }
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<(Self::Stream, IpAddr)> {
        let (stream, _) = Self::accept(self).await?;
        Ok((stream, Ipv4Addr::LOCALHOST.into()))
    }
}

/// Serves a TCP listener until it is stopped. Must be called inside a tokio runtime.
pub fn serve(listener: TcpListener, router: Router) -> Serving {
    start(listener, None, router)
}

/// [`serve`] for clients that speak TLS; each handshake is done with the certificate of that moment.
pub fn serve_tls(listener: TcpListener, identity: Arc<Identity>, router: Router) -> Serving {
    start(listener, Some(identity), router)
}

/// Serves a Unix socket until it is stopped; its clients count as being on this machine.
pub fn serve_unix(listener: UnixListener, router: Router) -> Serving {
    start(listener, None, router)
}

fn start(listener: impl Accept + Sync, identity: Option<Arc<Identity>>, router: Router) -> Serving {
    let (stop, stopping) = watch::channel(false);
    Serving { stop, accepting: tokio::spawn(accept(listener, identity, router, stopping)) }
}

async fn accept(
    listener: impl Accept + Sync,
    identity: Option<Arc<Identity>>,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Ok(place) = places.clone().try_acquire_owned() else {
                    tracing::warn!(%peer, "an HTTP connection is closed: there are {CONNECTIONS_MAX}");
                    continue;
                };
                let (router, mut stopping, identity) = (router.clone(), stopping.clone(), identity.clone());
                connections.spawn(async move {
                    let Some(identity) = identity else {
                        connection(stream, peer, router, stopping, HEAD_TIMEOUT).await;
                        return drop(place);
                    };
                    let secured = tokio::select! {
                        secured = secure(&identity, stream) => secured,
                        _ = stopping.changed() => return,
                    };
                    match secured {
                        Ok(stream) => connection(stream, peer, router, stopping, HEAD_TIMEOUT).await,
                        Err(why) => tracing::debug!(%peer, "an HTTP connection is closed: {why}"),
                    }
                    drop(place);
                });
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                tracing::error!("cannot accept HTTP connections, pausing: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Does the handshake of TLS.
async fn secure<S: AsyncRead + AsyncWrite + Unpin>(identity: &Identity, stream: S) -> io::Result<TlsStream<S>> {
    let handshake = TlsAcceptor::from(identity.config()).accept(stream);
    tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.unwrap_or_else(|late| Err(late.into()))
}

/// Serves one connection: any stream, from a client at `peer`.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    router: Router,
    mut stopping: watch::Receiver<bool>,
    head_timeout: Duration,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let answer = TowerToHyperService::new(router.clone()).call(request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(HEAD_MAX);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        _ = stopping.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, "an HTTP connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What becomes of a connection that sends this and then nothing.
    async fn after(octets: &[u8]) -> String {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (_stop, stopping) = watch::channel(false);
        let limit = Duration::from_millis(50);
        let here = Ipv4Addr::LOCALHOST.into();
        let task = tokio::spawn(connection(server, here, Router::new(), stopping, limit));
        client.write_all(octets).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        task.await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn who_sends_his_head_too_slowly_or_never_is_closed() {
        for begun in [&b""[..], b"GET", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: a\r\nx: "] {
            assert!(!after(begun).await.contains(" 200 "), "{begun:?}");
        }
        // The next request of a connection has no more time than the first.
        let answered = after(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /").await;
        assert!(answered.starts_with("HTTP/1.1 404"), "{answered}");
    }
}
