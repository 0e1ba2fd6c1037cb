//! From an accepted socket to a session: the header of a proxy, the handshake of TLS.
//!
//! A plain client is handed to its session at once; for the others a task of the entrance's does what comes before, within
//! one time for all of it, and ends with the entrance. Invariants: a proxy is believed if the settings trust its address,
//! and where there are trusted ones nobody else comes in; before a session begins nothing is allocated by what a client
//! declares. Deliberately absent: anything about AMQP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{AlertDescription, Error as TlsFault, InvalidMessage};

use crate::broker::{Broker, Origin};
use crate::session::{Guarded, Session};
use crate::telemetry::printable;
use crate::tls::{Identity, Secured};
use crate::wire::proxy::{self, Step};

/// Octets that are read at once of what stands in a proxy's header and is of no use.
const SKIPPED: usize = 256;

/// What happens to those who come in by an entrance.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) broker: Arc<Broker>,
    /// Whose certificate TLS clients are shown; without it TLS is not spoken.
    pub(super) identity: Option<Arc<Identity>>,
}

/// Accepts from a TCP socket until it is aborted.
pub(super) async fn from_tcp(listener: TcpListener, gate: Arc<Gate>) {
    let mut greetings = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => gate.admit(stream, peer, &mut greetings),
            Err(error) => gate.pause(&error).await,
        }
        while greetings.try_join_next().is_some() {}
    }
}

/// Accepts from a Unix socket until it is aborted.
pub(super) async fn from_local(listener: UnixListener, path: Arc<str>, gate: Arc<Gate>) {
    // Whoever can open the socket is on this machine.
    let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let origin = Origin { socket: Some(path.clone()), ..Origin::plain(here, here) };
                tokio::spawn(Session::new(Guarded::Local(stream), gate.broker.clone(), origin).run());
            }
            Err(error) => gate.pause(&error).await,
        }
    }
}

impl Gate {
    /// After a connection that could not be accepted.
    async fn pause(&self, error: &io::Error) {
        // The client gave up before it was accepted.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        // Out of descriptors or memory: loudly, and not in a hot loop. Those who are connected go on.
        tracing::error!("cannot accept connections, pausing: {error}");
        tokio::time::sleep(self.broker.config.accept_pause).await;
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, greetings: &mut JoinSet<()>) {
        let local = stream.local_addr().unwrap_or(peer);
        // Answers are small and waited for.
        let _ = stream.set_nodelay(true);
        let trusted = &self.broker.config.proxy_protocol;
        if trusted.is_empty() && self.identity.is_none() {
            tokio::spawn(Session::new(stream, self.broker.clone(), Origin::plain(peer, local)).run());
            return;
        }
        if !trusted.is_empty() && !trusted.iter().any(|network| network.contains(peer.ip())) {
            tracing::warn!("closed: {peer} is none of the proxies in proxy_protocol");
            return;
        }
        greetings.spawn(self.clone().greet(stream, peer, local));
    }

    /// Everything that comes before the session.
    async fn greet(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr, local: SocketAddr) {
        let broker = self.broker.clone();
        let limit = broker.config.tls.handshake_timeout;
        let mut origin = Origin::plain(peer, local);
        let greeted = tokio::time::timeout(limit, async {
            if !broker.config.proxy_protocol.is_empty()
                && let Some((peer, local)) = header(&mut stream).await?
            {
                (origin.peer, origin.local) = (peer, local);
            }
            match &self.identity {
                None => Ok::<_, Ended>(Greeted::Plain(stream)),
                Some(identity) => Ok(Greeted::Tls(handshake(identity, stream).await?)),
            }
        });
        match greeted.await {
            Ok(Ok(Greeted::Plain(stream))) => {
                tokio::spawn(Session::new(stream, broker, origin).run());
            }
            Ok(Ok(Greeted::Tls((stream, secured)))) => {
                origin.tls = Some(Arc::new(secured));
                tokio::spawn(Session::new(stream, broker, origin).run());
            }
            Ok(Err(Ended::Silently(why))) => tracing::debug!("closed: {peer}: {why}"),
            Ok(Err(Ended::Wrongly(why))) => tracing::warn!("closed: {peer}: {why}"),
            Err(_) => tracing::warn!("closed: {peer}: {} have passed before its login", in_words(limit)),
        }
    }
}

fn in_words(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// What a session is to run on.
enum Greeted {
    Plain(TcpStream),
    Tls((Guarded, Secured)),
}

/// Why there is no session.
#[derive(Debug)]
enum Ended {
    /// The client has gone before it has said anything wrong, as those do who only look whether somebody listens.
    Silently(String),
    /// Whoever runs the client or the broker has something to put right.
    Wrongly(String),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Silently(error.to_string())
    }
}

/// Reads the header of a trusted proxy, and not an octet more.
async fn header(stream: &mut TcpStream) -> Result<Option<(SocketAddr, SocketAddr)>, Ended> {
    let mut octets = [0; proxy::LONGEST];
    let mut begun = 0;
    loop {
        let so_far = octets.get(..begun).unwrap_or_default();
        let step = proxy::decode(so_far);
        let step = step.map_err(|why| Ended::Wrongly(format!("{why}: {}", printable(so_far))))?;
        let (addresses, mut skip) = match step {
            Step::Need(more) => {
                let room = octets.get_mut(begun..).and_then(|room| room.get_mut(..more));
                let room = room.ok_or_else(|| Ended::Wrongly("the PROXY header is too long".to_owned()))?;
                match stream.read(room).await? {
                    0 => return Err(Ended::Silently("gone before the end of the PROXY header".to_owned())),
                    n => begun += n,
                }
                continue;
            }
            Step::Done { addresses, skip } => (addresses, skip),
        };
        let mut unused = [0; SKIPPED];
        while skip > 0 {
            let piece = unused.get_mut(..skip.min(SKIPPED)).unwrap_or_default();
            skip -= stream.read_exact(piece).await?;
        }
        return Ok(addresses);
    }
}

async fn handshake(identity: &Identity, stream: TcpStream) -> Result<(Guarded, Secured), Ended> {
    let config = identity.config();
    match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => {
            let secured = Secured::of(stream.get_ref().1, identity.login_from());
            Ok((Guarded::Tls(Box::new(stream)), secured))
        }
        Err(error) => Err(explain(&error)),
    }
}

/// What a failed handshake means to who reads the log.
fn explain(error: &io::Error) -> Ended {
    let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsFault>()) else {
        return Ended::Silently(format!("gone during the TLS handshake: {error}"));
    };
    Ended::Wrongly(match fault {
        TlsFault::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS, and this port does (amqps://)".to_owned()
        }
        TlsFault::NoCertificatesPresented => "it has shown no certificate, and one is required".to_owned(),
        TlsFault::InvalidCertificate(why) => format!("its certificate is not accepted: {why}"),
        TlsFault::PeerIncompatible(why) => {
            format!("it has no version or cipher of TLS in common with this broker: {why:?}")
        }
        TlsFault::AlertReceived(alert) => refusal(*alert),
        other => format!("the TLS handshake has failed: {other}"),
    })
}

/// What clients say when they do not like the broker's certificate.
fn refusal(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            " (it does not trust the issuer of this broker's certificate, or knows the broker by another name)"
        }
        AlertDescription::CertificateExpired => " (this broker's certificate has expired)",
        _ => "",
    };
    format!("it has ended the TLS handshake with the alert {alert:?}{why}")
}
