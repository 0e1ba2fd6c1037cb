//! One HTTP request to a broker, over its control socket or over TCP.
//!
//! Blocking from outside: a command does one thing after the other. Invariants: an answer is read to its end or not
//! at all, and never beyond [`LARGEST_ANSWER`]; a login is in no text that leaves this module. Deliberately absent:
//! what paths mean, keeping connections open, redirects.

mod tls;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

pub(super) use tls::{Tls, TlsFiles};

use crate::auth::base64;
use crate::config::Secret;

/// Octets of an answer that are read at most: a listing of a million queues.
const LARGEST_ANSWER: usize = 1 << 30;

/// Where a broker's API is.
#[derive(Clone, Debug)]
pub(super) enum Address {
    /// The control socket of a broker on this machine.
    Socket(PathBuf),
    /// A management listener.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
        /// TLS, where it is spoken.
        tls: Option<Tls>,
    },
}

/// How a broker's API is reached.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// Where.
    pub address: Address,
    /// What comes before `/api`.
    pub prefix: String,
    /// User and password; the control socket needs none.
    pub login: Option<(String, Secret)>,
    /// How long one request may take; `None` is as long as it takes.
    pub timeout: Option<Duration>,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// Status code.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Nobody accepts connections there, or the connection broke.
    Unreachable(String),
    /// There was no answer in time.
    TimedOut(Duration),
    /// What came is not an answer.
    Malformed(String),
}

/// A client of one broker.
#[derive(Debug)]
pub(super) struct Client {
    runtime: tokio::runtime::Runtime,
    /// Where it is and how it logs in.
    pub endpoint: Endpoint,
}

impl Client {
    /// A client; nothing is connected yet.
    pub(super) fn new(endpoint: Endpoint) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, endpoint })
    }

    /// Sends a request for `path`, which begins with `/api`, and reads the answer.
    pub(super) fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, Broken> {
        let request = self.prepare(method, path, body, headers)?;
        let exchange = self.exchange(request);
        self.runtime.block_on(async {
            match self.endpoint.timeout {
                None => exchange.await,
                Some(limit) => tokio::time::timeout(limit, exchange).await.unwrap_or(Err(Broken::TimedOut(limit))),
            }
        })
    }

    /// Lets some time pass.
    pub(super) fn pause(&self, time: Duration) {
        // The timer wants to be made inside of the runtime.
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    fn prepare(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
        headers: &[(&str, &str)],
    ) -> Result<hyper::Request<Full<Bytes>>, Broken> {
        let host = match &self.endpoint.address {
            Address::Socket(_) => "localhost".to_owned(),
            Address::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port, .. } => format!("{host}:{port}"),
        };
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint.prefix))
            .header(header::HOST, host)
            .header(header::CONNECTION, "close")
            .header(header::USER_AGENT, concat!("leveret/", env!("CARGO_PKG_VERSION")));
        if let Some((user, password)) = &self.endpoint.login {
            let pair = base64::encode(format!("{user}:{}", password.expose()).as_bytes());
            request = request.header(header::AUTHORIZATION, format!("Basic {pair}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        request.body(body).map_err(|error| Broken::Malformed(error.to_string()))
    }

    async fn exchange(&self, request: hyper::Request<Full<Bytes>>) -> Result<Reply, Broken> {
        let unreachable = |error: std::io::Error| Broken::Unreachable(error.to_string());
        match &self.endpoint.address {
            Address::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                converse(stream, request).await
            }
            Address::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                match tls {
                    None => converse(stream, request).await,
                    Some(tls) => converse(tls.connect(host, stream).await.map_err(unreachable)?, request).await,
                }
            }
        }
    }
}

async fn converse<S>(stream: S, request: hyper::Request<Full<Bytes>>) -> Result<Reply, Broken>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    // Its end shows in the answer; the task ends with the connection.
    let driver = tokio::spawn(connection);
    let reply = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = reply.status().as_u16();
    let body = Limited::new(reply.into_body(), LARGEST_ANSWER).collect().await;
    let body = body.map_err(|error| Broken::Malformed(error.to_string()))?.to_bytes().to_vec();
    driver.abort();
    Ok(Reply { status, body })
}

fn broken(error: &hyper::Error) -> Broken {
    if error.is_parse() { Broken::Malformed(error.to_string()) } else { Broken::Unreachable(error.to_string()) }
}
