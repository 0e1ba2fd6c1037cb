//! Certificates are exchanged while connections go on.

use std::path::Path;
use std::sync::Arc;

use leveret::config::Tls;
use leveret::server::Builder;
use tokio_rustls::rustls::ClientConfig;

use crate::bridge;
use crate::certificates::{Authority, Pair, shared};
use crate::client::{Client, none};
use crate::server::{Broker, in_time};

/// Connections that are open while the certificate changes.
const CONNECTIONS: usize = 100;

/// A broker's certificate of another authority, and a client that trusts that one only.
fn another() -> (Pair, Arc<ClientConfig>, Authority) {
    let authority = Authority::new("Meadow");
    let pair = authority.sign("broker", "/CN=localhost", &["subjectAltName=DNS:localhost"]);
    let versions = [&tokio_rustls::rustls::version::TLS13];
    let client = authority.client(None, &versions);
    (pair, client, authority)
}

/// Puts a file into the place of another in one step, as tools that renew certificates do.
fn replace(file: &Path, by: &Path) {
    let making = file.with_extension("new");
    std::fs::copy(by, &making).unwrap();
    std::fs::rename(&making, file).unwrap();
}

/// A broker whose files are copies, so that they can be exchanged.
fn broker(dir: &Path) -> (Broker, Pair) {
    let pair = Pair { certificate: dir.join("broker.pem"), key: dir.join("broker.key") };
    std::fs::copy(&shared().broker.certificate, &pair.certificate).unwrap();
    std::fs::copy(&shared().broker.key, &pair.key).unwrap();
    let tls = Tls { certificate: Some(pair.certificate.clone()), key: Some(pair.key.clone()), ..shared().settings() };
    (Broker::start(Builder::in_memory().configure(|config| config.tls = tls)), pair)
}

#[test]
fn a_hundred_connections_live_through_a_new_certificate() {
    in_time(async {
        let dir = tempfile::tempdir().unwrap();
        let (broker, files) = broker(dir.path());
        let (next, trusts_next, _authority) = another();
        let address = bridge::over_tls(shared().client(None), broker.tls_address()).await;
        let mut clients = Vec::new();
        for at in 0..CONNECTIONS {
            let client = Client::connect(address).await;
            client.queue(&format!("q{at}"), none()).await;
            client.put(&format!("q{at}"), "before").await;
            clients.push(client);
        }
        replace(&files.certificate, &next.certificate);
        replace(&files.key, &next.key);
        broker.inside().reload_tls().await.unwrap();
        for (at, client) in clients.iter().enumerate() {
            client.put(&format!("q{at}"), "after").await;
            assert_eq!(client.drain(&format!("q{at}")).await, ["before", "after"], "connection {at}");
        }
        assert_eq!(broker.inside().connections.len(), CONNECTIONS, "none was dropped");
        assert!(bridge::offered(shared().client(None), broker.tls_address()).await.is_err(), "the old one is over");
        assert!(bridge::offered(trusts_next, broker.tls_address()).await.is_ok());
        drop(clients);
        broker.stop().await;
    });
}

#[test]
fn files_that_change_are_noticed_and_bad_ones_change_nothing() {
    in_time(async {
        let dir = tempfile::tempdir().unwrap();
        let (broker, files) = broker(dir.path());
        let (next, trusts_next, _authority) = another();
        // Half of an exchange: the new certificate with the old key.
        replace(&files.certificate, &next.certificate);
        let wrong = broker.inside().reload_tls().await.unwrap_err().to_string();
        assert!(wrong.starts_with(&format!("{}: the key is not that of", files.key.display())), "{wrong}");
        assert!(bridge::offered(shared().client(None), broker.tls_address()).await.is_ok(), "the old one stays");
        // The other half, and nobody says so.
        replace(&files.key, &next.key);
        while bridge::offered(trusts_next.clone(), broker.tls_address()).await.is_err() {}
        assert!(bridge::offered(shared().client(None), broker.tls_address()).await.is_err());
        broker.stop().await;
    });
}

#[test]
fn without_tls_there_is_nothing_to_read() {
    in_time(async {
        let broker = Broker::in_memory();
        broker.inside().reload_tls().await.unwrap();
        broker.stop().await;
    });
}
