//! An HTTP client in few words: one connection a request, Basic credentials, JSON.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use leveret::server::Builder;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::server::{Broker, in_time};

/// What a request is answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body's reason for a refusal.
    pub(crate) fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap_or_else(|| panic!("no reason: {self:?}")).to_owned()
    }

    /// Status, kind and reason of a refusal; a reason that is no text as JSON.
    pub(crate) fn refusal(&self) -> (u16, String, String) {
        let json = self.json();
        let text = |key: &str| match &json[key] {
            serde_json::Value::Null => panic!("no {key}: {self:?}"),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (self.status, text("error"), text("reason"))
    }

    /// The body of an answer that went well.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// Checks the status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header is text"))
    }
}

/// The refusal that [`Answer::refusal`] is compared with.
pub(crate) fn refused(status: u16, error: &str, reason: &str) -> (u16, String, String) {
    (status, error.to_owned(), reason.to_owned())
}

/// Somebody who asks.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    address: SocketAddr,
    authorization: Option<String>,
}

impl Api {
    /// Guest, who is an administrator.
    pub(crate) fn new(broker: &Broker) -> Self {
        Self::at(broker.management())
    }

    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address, authorization: None }.user("guest", "guest")
    }

    /// The same place as another user.
    pub(crate) fn user(&self, name: &str, password: &str) -> Self {
        let credentials = leveret::auth::base64::encode(format!("{name}:{password}").as_bytes());
        Self { address: self.address, authorization: Some(format!("Basic {credentials}")) }
    }

    /// The same place as nobody.
    pub(crate) fn nobody(&self) -> Self {
        Self { address: self.address, authorization: None }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Answer {
        self.send(Method::PUT, path, &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = headers.to_vec();
        if let Some(authorization) = &self.authorization {
            all.push(("authorization", authorization));
        }
        let stream = TcpStream::connect(self.address).await.expect("the API listens");
        exchange(stream, method, path, &all, body).await
    }
}

/// Sends one request on a stream and reads its answer.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost:15672");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole answer").to_bytes();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// Settings of a broker in memory whose API listens on a free port.
pub(crate) fn builder() -> Builder {
    Builder::in_memory().configure(|config| {
        config.management_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        "rabbit@localhost".clone_into(&mut config.node_name);
        "rabbit@localhost".clone_into(&mut config.cluster_name);
    })
}

/// Runs a test against a broker in memory and its API as guest.
pub(crate) fn scenario(test: impl AsyncFnOnce(&Broker, &Api)) {
    in_time(async {
        let broker = Broker::start(builder());
        let api = Api::new(&broker);
        test(&broker, &api).await;
        broker.stop().await;
    });
}
