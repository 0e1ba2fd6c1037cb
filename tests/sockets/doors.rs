//! Doors that close and open again while clients stay, and a broker that takes its leave.

use std::time::Duration;

use leveret::broker::Then;
use leveret::server::Builder;
use tokio::net::TcpStream;

use crate::client::{Client, none};
use crate::server::{Broker, in_time};

#[test]
fn suspended_listeners_refuse_the_new_and_keep_the_old() {
    in_time(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("amqp.sock");
        let broker = Broker::start(Builder::in_memory().configure(|config| config.unix_socket = Some(path.clone())));
        let client = broker.client().await;
        client.queue("q", none()).await;
        let inside = broker.inside();
        assert_eq!(inside.node.listeners().len(), 1);
        for _ in 0..2 {
            inside.suspend_listeners().await.unwrap();
            assert!(TcpStream::connect(broker.address()).await.is_err());
            assert!(!path.exists() && inside.node.listeners().is_empty());
            assert!(!inside.node.in_maintenance());
            client.put("q", "while closed").await;
        }
        for _ in 0..2 {
            inside.resume_listeners().await.unwrap();
            broker.client().await.close().await;
            assert!(path.exists() && inside.node.listeners().len() == 1);
        }
        assert_eq!(client.ready("q").await, 2);
        client.close().await;
        broker.stop().await;
    });
}

#[test]
fn who_has_taken_the_port_meanwhile_is_named() {
    in_time(async {
        let broker = Broker::in_memory();
        broker.inside().suspend_listeners().await.unwrap();
        let other = std::net::TcpListener::bind(broker.address()).unwrap();
        let error = broker.inside().resume_listeners().await.unwrap_err().to_string();
        assert!(error.contains(&broker.address().to_string()), "{error}");
        drop(other);
        broker.inside().resume_listeners().await.unwrap();
        broker.client().await.close().await;
        broker.stop().await;
    });
}

#[test]
fn a_drained_broker_waits_for_its_clients_and_asks_to_stop() {
    in_time(async {
        let broker = Broker::in_memory();
        let client = broker.client().await;
        let inside = broker.inside().clone();
        let draining = tokio::spawn(async move { inside.drain(Duration::from_secs(3_600), Then::Stop).await });
        while !broker.inside().node.listeners().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(broker.inside().node.in_maintenance());
        assert!(Client::try_connect(broker.address()).await.is_err());
        client.queue("q", none()).await;
        client.put("q", "a last word").await;
        assert!(!draining.is_finished(), "there is a client");
        client.close().await;
        assert_eq!(draining.await.unwrap(), Ok(0));
        broker.inside().node.stop_requested().await;
        broker.stop().await;
    });
}

#[test]
fn draining_ends_when_its_time_is_over_or_when_it_is_called_off() {
    in_time(async {
        let broker = Broker::in_memory();
        let client = broker.client().await;
        let inside = broker.inside().clone();
        let draining = tokio::spawn(async move { inside.drain(Duration::from_secs(3_600), Then::Stop).await });
        while !broker.inside().node.listeners().is_empty() {
            tokio::task::yield_now().await;
        }
        broker.inside().resume_listeners().await.unwrap();
        assert!(!broker.inside().node.in_maintenance());
        client.close().await;
        assert!(draining.await.unwrap().is_err(), "it was called off");
        let client = broker.client().await;
        assert_eq!(broker.inside().drain(Duration::from_millis(1), Then::Stay).await, Ok(1));
        assert!(broker.inside().node.in_maintenance(), "until somebody ends it");
        drop(client);
        broker.stop().await;
    });
}
