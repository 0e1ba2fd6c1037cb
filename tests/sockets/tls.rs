//! AMQP over TLS is AMQP.

use leveret::server::Builder;
use tokio_rustls::rustls::version;

use crate::bridge;
use crate::certificates::shared;
use crate::client::{Client, none};
use crate::server::{Broker, in_time};

fn broker() -> Broker {
    Broker::start(Builder::in_memory().configure(|config| config.tls = shared().settings()))
}

#[test]
fn everything_arrives_in_either_version() {
    in_time(async {
        let broker = broker();
        for version in [&version::TLS12, &version::TLS13] {
            let config = shared().authority.client(None, &[version]);
            let client = Client::connect(bridge::over_tls(config, broker.tls_address()).await).await;
            client.queue("q", none()).await;
            // Larger than any buffer on the way, so that writing has to wait for reading.
            let large = "0123456789abcdef".repeat(512 * 1024);
            client.put_all("q", &["small", &large, ""]).await;
            let mut consumer = client.consume("q").await;
            assert!(crate::client::bodies(&mut consumer, 3).await == ["small", &large, ""]);
            drop(consumer);
            client.close().await;
        }
        broker.stop().await;
    });
}

#[test]
fn many_small_messages_come_out_as_they_went_in() {
    in_time(async {
        let broker = broker();
        let address = bridge::over_tls(shared().client(None), broker.tls_address()).await;
        let (publisher, receiver) = (Client::connect(address).await, Client::connect(address).await);
        receiver.queue("q", none()).await;
        let mut consumer = receiver.consume("q").await;
        let bodies: Vec<String> = (0..2_000).map(|n| format!("{n:0>width$}", width = n % 700)).collect();
        let mut confirms = Vec::new();
        for body in &bodies {
            let options = lapin::options::BasicPublishOptions::default();
            let how = crate::client::plain();
            let sent = publisher.channel.basic_publish("".into(), "q".into(), options, body.as_bytes(), how).await;
            confirms.push(sent.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
        assert_eq!(crate::client::bodies(&mut consumer, bodies.len()).await, bodies);
        drop(consumer);
        publisher.close().await;
        receiver.close().await;
        broker.stop().await;
    });
}

#[test]
fn the_facts_of_a_connection_are_known() {
    in_time(async {
        let broker = broker();
        let config = shared().authority.client(None, &[&version::TLS13]);
        let client = Client::connect(bridge::over_tls(config, broker.tls_address()).await).await;
        let connection = broker.only_connection().await;
        let tls = connection.tls.as_ref().unwrap();
        assert_eq!((tls.protocol, tls.key_exchange, tls.hash), ("tlsv1.3", "any", "aead"));
        assert!(tls.cipher.starts_with("aes_") && tls.peer.is_none(), "{tls:?}");
        assert!(connection.name.ends_with(&format!(" -> {}", broker.tls_address())), "{}", connection.name);
        client.close().await;
        let plain = broker.client().await;
        assert!(broker.only_connection().await.tls.is_none());
        plain.close().await;
        broker.stop().await;
    });
}

#[test]
fn a_broker_that_stops_tells_its_clients() {
    in_time(async {
        let broker = broker();
        let address = bridge::over_tls(shared().client(None), broker.tls_address()).await;
        let client = Client::connect(address).await;
        broker.stop().await;
        while client.connection.status().connected() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn no_certificate_is_asked_for_by_default_and_none_logs_anybody_in() {
    in_time(async {
        let broker = broker();
        let offered = bridge::offered(shared().client(Some(&shared().guest)), broker.tls_address()).await.unwrap();
        assert_eq!(offered, "AMQPLAIN PLAIN ANONYMOUS");
        broker.stop().await;
    });
}
