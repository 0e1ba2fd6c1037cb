//! The management API and the metrics over TLS, and files that the settings name anew.

use std::net::SocketAddr;
use std::sync::Arc;

use leveret::config::{Config, Tls, TlsVerify};
use leveret::server::{Builder, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;

use crate::bridge;
use crate::certificates::{Authority, shared};
use crate::server::in_time;

const FREE: [u8; 4] = [127, 0, 0, 1];

/// A request that is answered and after which the connection ends.
fn request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nconnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// The answer to a request over TLS, or why there is none.
async fn ask(config: Arc<ClientConfig>, to: SocketAddr, path: &str) -> Result<String, String> {
    let mut stream = bridge::connect(config, to).await.map_err(|error| error.to_string())?;
    stream.write_all(&request(path)).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(answer).unwrap())
}

fn start(configure: impl FnOnce(&mut Config)) -> Server {
    let own = Tls { listen: Vec::new(), ..shared().settings() };
    let listen = vec![SocketAddr::from((FREE, 0))];
    let web = Tls { listen, ..Tls::default() };
    let builder = Builder::in_memory().configure(|config| {
        (config.tls, config.management_tls, config.metrics_tls) = (own, web.clone(), web);
        configure(config);
    });
    builder.start().unwrap()
}

#[test]
fn the_api_and_the_metrics_are_served_over_tls_with_the_brokers_certificate() {
    in_time(async {
        let server = start(|_| {});
        let (api, metrics) = (server.management_tls_addresses()[0], server.metrics_addresses()[0]);
        let answer = ask(shared().client(None), api, "/api/whoami").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""name":"guest""#), "{answer}");
        let answer = ask(shared().client(None), metrics, "/metrics").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("rabbitmq_connections"), "{answer:.300}");
        let listed = ask(shared().client(None), api, "/api/overview").await.unwrap();
        assert!(listed.contains(r#""protocol":"https""#) && listed.contains(r#""protocol":"https/prometheus""#));
        // Without TLS nothing is told there, and nobody else is held up by who stays silent.
        let silent = TcpStream::connect(api).await.unwrap();
        let plain = bridge::until_closed(api, &request("/api/whoami")).await;
        assert!(!String::from_utf8_lossy(&plain).contains("HTTP/1.1"), "{plain:?}");
        assert!(ask(shared().client(None), api, "/api/whoami").await.is_ok());
        drop(silent);
        server.stop().await.unwrap();
    });
}

#[test]
fn a_certificate_of_the_client_can_be_required_besides_the_login() {
    in_time(async {
        let ca = Some(shared().authority.certificate());
        let server = start(|config| {
            let tls = &mut config.management_tls;
            (tls.ca, tls.verify, tls.require_client_certificate) = (ca, TlsVerify::Peer, true);
        });
        let api = server.management_tls_addresses()[0];
        assert!(ask(shared().client(None), api, "/api/whoami").await.is_err());
        // Whose it is does not matter: the login says who it is.
        let answer = ask(shared().client(Some(&shared().stranger)), api, "/api/whoami").await.unwrap();
        assert!(answer.contains(r#""name":"guest""#), "{answer}");
        server.stop().await.unwrap();
    });
}

#[test]
fn without_files_that_serve_nothing_starts() {
    in_time(async {
        let missing = Some("/no/such/file.pem".into());
        let tls = Tls {
            listen: vec![SocketAddr::from((FREE, 0))],
            certificate: missing,
            key: Some(shared().broker.key.clone()),
            ..Tls::default()
        };
        let refused = Builder::in_memory().configure(|config| config.management_tls = tls).start();
        let wrong = refused.expect_err("it does not start").to_string();
        assert!(wrong.starts_with("TLS: /no/such/file.pem: cannot be read"), "{wrong}");
    });
}

#[test]
fn settings_that_name_other_files_are_followed_and_bad_ones_are_not() {
    in_time(async {
        let server = start(|_| {});
        let api = server.management_tls_addresses()[0];
        let authority = Authority::new("Clearing");
        let next = authority.sign("broker", "/CN=localhost", &["subjectAltName=DNS:localhost"]);
        let trusts_next = authority.client(None, &[&tokio_rustls::rustls::version::TLS13]);
        let mut settings = (*server.broker().config).clone();
        settings.tls.certificate = Some(next.certificate.clone());
        // The certificate of one with the key of the other.
        server.apply(&settings);
        settings.tls.key = Some(next.key.clone());
        assert!(ask(shared().client(None), api, "/api/whoami").await.is_ok());
        server.apply(&settings);
        while ask(trusts_next.clone(), api, "/api/whoami").await.is_err() {}
        assert!(ask(shared().client(None), api, "/api/whoami").await.is_err());
        // What is looked at from now on are the new files.
        server.broker().reload_tls().await.unwrap();
        assert!(ask(trusts_next, api, "/api/whoami").await.is_ok());
        server.stop().await.unwrap();
    });
}
