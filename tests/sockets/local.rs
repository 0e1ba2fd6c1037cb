//! A Unix socket, and sockets that are handed over.

use leveret::server::{Builder, Handed, HandedSocket};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bridge;
use crate::certificates::shared;
use crate::client::{Client, none};
use crate::server::{Broker, in_time};

#[test]
fn a_unix_socket_is_this_machine() {
    in_time(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("amqp.sock");
        let broker = Broker::start(Builder::in_memory().configure(|config| {
            config.unix_socket = Some(path.clone());
            // Not for it: a proxy speaks TCP.
            config.proxy_protocol = vec!["192.0.2.1".parse().unwrap()];
        }));
        let client = Client::connect(bridge::to_local(path.clone()).await).await;
        let connection = broker.only_connection().await;
        assert!(connection.name.starts_with("local:"), "{}", connection.name);
        assert!(connection.name.ends_with(&format!(" -> {}", path.display())), "{}", connection.name);
        client.queue("q", none()).await;
        let large = "x".repeat(4 * 1024 * 1024);
        client.put("q", &large).await;
        assert!(client.drain("q").await == [large]);
        client.close().await;
        broker.stop().await;
        assert!(!path.exists(), "nothing is left");
    });
}

#[test]
fn sockets_of_the_service_manager_take_the_place_of_addresses() {
    in_time(async {
        let tcp = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("amqp.sock");
        let local = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let (plain, secure, http, metrics) = (tcp(), tcp(), tcp(), tcp());
        let sockets = [&plain, &secure, &http, &metrics];
        let [plain_at, secure_at, http_at, metrics_at] = sockets.map(|socket| socket.local_addr().unwrap());
        let hand = |name: &str, socket| Handed { name: name.to_owned(), socket };
        let server = Builder::in_memory()
            .listen(vec![plain_at])
            .configure(|config| {
                config.tls = shared().settings();
                config.tls.listen = vec![secure_at];
            })
            .handed(vec![
                hand("", HandedSocket::Tcp(plain)),
                hand("amqps", HandedSocket::Tcp(secure)),
                hand("amqp", HandedSocket::Local(local)),
                hand("http", HandedSocket::Tcp(http)),
                hand("metrics", HandedSocket::Tcp(metrics)),
            ])
            .start()
            .unwrap();
        assert_eq!((server.addresses(), server.tls_addresses()), (&[plain_at][..], &[secure_at][..]));
        Client::connect(plain_at).await.close().await;
        Client::connect(bridge::to_local(path.clone()).await).await.close().await;
        assert!(bridge::offered(shared().client(None), secure_at).await.is_ok());
        assert_eq!(server.management_addresses(), [http_at]);
        let mut metrics = tokio::net::TcpStream::connect(metrics_at).await.unwrap();
        metrics.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        metrics.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("rabbitmq_identity_info"), "{text}");
        server.stop().await.unwrap();
        assert!(path.exists(), "whoever has made it removes it");
    });
}
