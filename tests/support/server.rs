//! A broker in the test's own process, on a free port, whose clock the test can move.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leveret::clock::Clock;
use leveret::server::{Builder, Server};

use crate::client::Client;

/// Longer than any scenario takes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A broker under test.
pub(crate) struct Broker {
    server: Server,
    clock: Clock,
}

impl Broker {
    /// A broker that keeps nothing.
    pub(crate) fn in_memory() -> Self {
        Self::start(Builder::in_memory())
    }

    /// A broker on a data directory.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self::start(Builder::in_memory().data_dir(directory))
    }

    pub(crate) fn start(builder: Builder) -> Self {
        Self::start_at(builder, Clock::system())
    }

    /// A broker with a clock of the caller's.
    pub(crate) fn start_at(builder: Builder, clock: Clock) -> Self {
        let server = builder.clock(clock.clone()).start().expect("the broker starts");
        Self { server, clock }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// Where TLS clients come in.
    #[allow(dead_code, reason = "of use to the tests of sockets")]
    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.server.tls_addresses()[0]
    }

    /// The facts of the connection that is open, once those before it have ended.
    #[allow(dead_code, reason = "of use to the tests of sockets")]
    pub(crate) async fn only_connection(&self) -> Arc<leveret::broker::Connection> {
        let inside = self.inside();
        let vhost = inside.vhost("/").expect("the first virtual host");
        loop {
            if let [connection] = &inside.connections.in_vhost(&vhost)[..] {
                return connection.clone();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Where the management API is, if it is on.
    #[allow(dead_code, reason = "of use to the tests of the API")]
    pub(crate) fn management(&self) -> SocketAddr {
        self.server.management_addresses()[0]
    }

    /// The broker inside, for an administrator's verbs.
    pub(crate) fn inside(&self) -> &Arc<leveret::broker::Broker> {
        self.server.broker()
    }

    /// Another connection.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address()).await
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, milliseconds: u64) {
        self.clock.advance(Duration::from_millis(milliseconds));
    }

    /// The clock.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await.expect("the broker stops in order");
    }
}

/// Runs a test against a broker in memory that has one client. Both must be in order at the end.
pub(crate) fn scenario(test: impl AsyncFnOnce(&Broker, &Client)) {
    in_time(async {
        let broker = Broker::in_memory();
        let client = broker.client().await;
        test(&broker, &client).await;
        drop(client);
        broker.stop().await;
    });
}

/// Runs a test that must end in time.
pub(crate) fn in_time(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime starts");
    let ended = runtime.block_on(async { tokio::time::timeout(TIME_LIMIT, test).await });
    assert!(ended.is_ok(), "the test does not end");
}
