//! A client of the management API in few words: one connection a request.

use std::net::SocketAddr;

use leveret::management::{self, Origin, Serving};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Client;
use crate::server::{Broker, in_time};

/// What a request is answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body of an answer that went well.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// Checks the status.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Status, kind and reason of a refusal; a reason that is no text as JSON.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String, String) {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        let text = |key: &str| json[key].as_str().map_or_else(|| json[key].to_string(), str::to_owned);
        (self.status, text("error"), text("reason"))
    }

    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        line.split_once(": ").map(|(_, value)| value)
    }
}

/// The refusal that [`Answer::refusal`] is compared with.
pub(crate) fn refused(status: u16, error: &str, reason: &str) -> (u16, String, String) {
    (status, error.to_owned(), reason.to_owned())
}

/// The API and the metrics of a broker.
pub(crate) struct Api {
    address: SocketAddr,
    metrics: SocketAddr,
    _serving: [Serving; 2],
}

impl Api {
    pub(crate) async fn of(broker: &Broker) -> Self {
        let (api, metrics) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let router = management::router(broker.inside().clone(), Origin::Control);
        Self {
            address: api.local_addr().unwrap(),
            metrics: metrics.local_addr().unwrap(),
            _serving: [
                management::serve(api, router),
                management::serve(metrics, management::metrics_router(broker.inside())),
            ],
        }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        request(self.address, method, path, headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Answer {
        self.send("PUT", path, "", body).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, "", body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "", "").await
    }

    /// A page of metrics.
    pub(crate) async fn metrics(&self, path: &str) -> String {
        let answer = request(self.metrics, "GET", path, "", "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
        answer.body
    }

    /// The metrics, once they have this line.
    pub(crate) async fn metrics_with(&self, path: &str, line: &str) -> String {
        loop {
            let text = self.metrics(path).await;
            if text.lines().any(|known| known == line) {
                return text;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The answer to a GET, once it is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let value = self.get(path).await.ok();
            if wanted(&value) {
                return value;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Runs a test against a broker in memory that has one client and serves its API.
pub(crate) fn scenario(test: impl AsyncFnOnce(&Broker, &Client, &Api)) {
    in_time(async {
        let broker = Broker::in_memory();
        let client = broker.client().await;
        let api = Api::of(&broker).await;
        test(&broker, &client, &api).await;
        drop(client);
        broker.stop().await;
    });
}
