//! Clients that speak something else, too little, or too slowly.

use std::time::Duration;

use leveret::config::LoginFrom;
use leveret::server::Builder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bridge::{self, HEADER};
use crate::certificates::shared;
use crate::client::Client;
use crate::server::{Broker, in_time};

/// Content type of an alert in TLS.
const ALERT: u8 = 21;

fn broker() -> Broker {
    Broker::start(Builder::in_memory().configure(|config| {
        config.tls = shared().verifying(LoginFrom::CommonName);
        config.tls.handshake_timeout = Duration::from_millis(300);
    }))
}

/// A client's first record, of a version that is over: no extensions, ciphers of its time.
fn old_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    // No session; TLS_RSA_WITH_AES_128_CBC_SHA and ECDHE-RSA with the same; no compression.
    hello.extend([0, 0, 4, 0, 0x2f, 0xc0, 0x13, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let handshake = [&[1, 0, 0, length], &hello[..]].concat();
    let length = u8::try_from(handshake.len()).unwrap();
    [&[22, 3, 1, 0, length], &handshake[..]].concat()
}

#[test]
fn a_plain_client_on_the_tls_port_is_closed() {
    in_time(async {
        let broker = broker();
        let answer = bridge::until_closed(broker.tls_address(), HEADER).await;
        assert!(answer.first().is_none_or(|kind| *kind == ALERT), "{answer:?}");
        let answer = bridge::until_closed(broker.tls_address(), b"GET / HTTP/1.1\r\n\r\n").await;
        assert!(answer.first().is_none_or(|kind| *kind == ALERT), "{answer:?}");
        broker.stop().await;
    });
}

#[test]
fn a_tls_client_on_the_plain_port_is_told_what_is_spoken_there() {
    in_time(async {
        let broker = broker();
        assert_eq!(bridge::until_closed(broker.address(), &old_hello(3)).await, b"AMQP\0\0\x09\x01");
        assert!(bridge::offered(shared().client(None), broker.address()).await.is_err());
        broker.client().await.close().await;
        broker.stop().await;
    });
}

#[test]
fn versions_before_1_2_are_refused() {
    in_time(async {
        let broker = broker();
        for minor in 0..3 {
            let answer = bridge::until_closed(broker.tls_address(), &old_hello(minor)).await;
            assert_eq!(answer.first(), Some(&ALERT), "version 3.{minor}: {answer:?}");
        }
        broker.stop().await;
    });
}

#[test]
fn who_does_not_finish_the_handshake_is_closed_in_time() {
    in_time(async {
        let broker = broker();
        let hello = old_hello(3);
        for begun in [&b""[..], &hello[..1], &hello[..20]] {
            let answer = bridge::until_closed(broker.tls_address(), begun).await;
            assert_eq!(answer, b"", "{begun:?}");
        }
        // Then AMQP has its own time.
        let address = bridge::over_tls(shared().client(None), broker.tls_address()).await;
        let client = Client::connect(address).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        client.close().await;
        broker.stop().await;
    });
}

#[test]
fn a_stopping_broker_does_not_wait_for_handshakes() {
    in_time(async {
        let broker = Broker::start(Builder::in_memory().configure(|config| {
            config.tls = shared().settings();
            config.tls.handshake_timeout = Duration::from_secs(3_600);
        }));
        let mut stream = TcpStream::connect(broker.tls_address()).await.unwrap();
        stream.write_all(&old_hello(3)[..9]).await.unwrap();
        broker.stop().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
    });
}

#[test]
fn garbage_in_the_middle_ends_one_connection_only() {
    in_time(async {
        let broker = broker();
        let address = bridge::over_tls(shared().client(None), broker.tls_address()).await;
        let client = Client::connect(address).await;
        let stream = bridge::connect(shared().client(None), broker.tls_address()).await.unwrap();
        let (mut socket, _) = stream.into_inner();
        socket.write_all(&[23, 3, 3, 0, 30]).await.unwrap();
        socket.write_all(&[0x5a; 30]).await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        client.queue("q", crate::client::none()).await;
        client.put("q", "still here").await;
        client.close().await;
        broker.stop().await;
    });
}
