//! Clients behind a proxy that says who they are.

use std::time::Duration;

use leveret::config::LoginFrom;
use leveret::server::Builder;

use crate::bridge::{self, HEADER};
use crate::certificates::shared;
use crate::client::Client;
use crate::server::{Broker, in_time};

fn broker(trusted: &str) -> Broker {
    Broker::start(Builder::in_memory().configure(|config| {
        config.proxy_protocol = vec![trusted.parse().unwrap()];
        config.tls = shared().verifying(LoginFrom::CommonName);
        config.tls.handshake_timeout = Duration::from_millis(300);
    }))
}

fn line(from: &str) -> Vec<u8> {
    format!("PROXY TCP4 {from} 198.51.100.1 40000 5672\r\n").into_bytes()
}

/// Version 2 for a client of IPv4, with a field of no interest behind.
fn binary(from: [u8; 4]) -> Vec<u8> {
    let addresses = [&from[..], &[198, 51, 100, 1, 0x9c, 0x40, 0x16, 0x28], &[0x04, 0, 3, 1, 2, 3]].concat();
    let length = u8::try_from(addresses.len()).unwrap();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0".as_slice(), &[length], &addresses].concat()
}

#[test]
fn the_client_is_where_the_proxy_says() {
    in_time(async {
        let broker = broker("127.0.0.0/8");
        for header in [line("127.0.0.9"), binary([127, 0, 0, 9])] {
            let client = Client::connect(bridge::behind_proxy(header, broker.address()).await).await;
            let connection = broker.only_connection().await;
            assert_eq!(connection.name, "127.0.0.9:40000 -> 198.51.100.1:5672");
            assert_eq!(connection.peer, "127.0.0.9:40000".parse().unwrap());
            client.close().await;
        }
        broker.stop().await;
    });
}

#[test]
fn guest_is_not_at_home_behind_a_proxy() {
    in_time(async {
        let broker = broker("127.0.0.1");
        for header in [line("203.0.113.9"), binary([203, 0, 113, 9])] {
            let address = bridge::behind_proxy(header, broker.address()).await;
            let Err(error) = Client::try_connect(address).await else { panic!("guest is in from elsewhere") };
            assert_eq!(crate::client::told(&error).0, 403);
        }
        // The proxy's own connections, and clients of which it knows nothing: those are its own.
        for header in [b"PROXY UNKNOWN\r\n".to_vec(), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()] {
            Client::connect(bridge::behind_proxy(header, broker.address()).await).await.close().await;
        }
        broker.stop().await;
    });
}

#[test]
fn nobody_else_comes_in() {
    in_time(async {
        let trusting = broker("127.0.0.1");
        assert_eq!(bridge::until_closed(trusting.address(), HEADER).await, b"", "without a header");
        assert_eq!(bridge::until_closed(trusting.address(), b"PROXY TCP4 x y 1 2\r\n").await, b"");
        assert_eq!(bridge::until_closed(trusting.address(), b"PROXY TCP4 ").await, b"", "not in time");
        trusting.stop().await;
        let trusting_others = broker("192.0.2.0/24");
        let begun = [&line("127.0.0.9")[..], HEADER].concat();
        assert_eq!(bridge::until_closed(trusting_others.address(), &begun).await, b"", "none of the trusted");
        trusting_others.stop().await;
        // A header where no proxy is expected is no AMQP.
        let plain = Broker::in_memory();
        assert_eq!(bridge::until_closed(plain.address(), &begun).await, HEADER);
        plain.stop().await;
    });
}

#[test]
fn tls_begins_behind_the_header() {
    in_time(async {
        let broker = broker("127.0.0.1");
        let address = bridge::behind_proxy(binary([203, 0, 113, 9]), broker.tls_address()).await;
        let config = shared().client(Some(&shared().stranger));
        assert_eq!(bridge::offered(config, address).await.unwrap(), "AMQPLAIN PLAIN EXTERNAL");
        let address = bridge::behind_proxy(line("127.0.0.9"), broker.tls_address()).await;
        let address = bridge::over_tls(shared().client(Some(&shared().guest)), address).await;
        let client = Client::try_connect_to(address, "%2f?auth_mechanism=external").await.unwrap();
        assert_eq!(broker.only_connection().await.peer, "127.0.0.9:40000".parse().unwrap());
        client.close().await;
        broker.stop().await;
    });
}
