//! Certificates by the name that a client asks for.

use leveret::config::Tls;
use leveret::server::Builder;
use leveret::tls::Identity;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::bridge;
use crate::certificates::shared;
use crate::server::{Broker, in_time};

#[test]
fn a_client_is_shown_the_certificate_of_the_host_it_asks_for() {
    in_time(async {
        let dir = tempfile::tempdir().unwrap();
        let other =
            shared().authority.sign("other", "/CN=other", &["subjectAltName=DNS:Hare.example,DNS:*.den.example"]);
        let both = [&other.certificate, &other.key].map(|file| std::fs::read_to_string(file).unwrap()).concat();
        let file = dir.path().join("other.pem");
        std::fs::write(&file, both).unwrap();
        let tls = Tls { others: vec![file], ..shared().settings() };
        let broker = Broker::start(Builder::in_memory().configure(|config| config.tls = tls));
        let [own, other] =
            [&shared().broker, &other].map(|pair| CertificateDer::from_pem_file(&pair.certificate).unwrap());
        for (host, expected) in [
            ("localhost", Some(&own)),
            ("hare.example", Some(&other)),
            ("a.den.example", Some(&other)),
            // Shown the broker's own, which is not theirs: they see it, and go.
            ("b.a.den.example", None),
            ("den.example", None),
        ] {
            let shown = bridge::connect_as(host, shared().client(None), broker.tls_address()).await;
            let shown = shown.map(|stream| stream.get_ref().1.peer_certificates().unwrap()[0].clone());
            assert_eq!(shown.as_ref().ok(), expected, "{host}: {shown:?}");
        }
        broker.stop().await;
    });
}

#[test]
fn a_certificate_without_a_host_or_its_key_is_refused() {
    let refused = |file: &std::path::Path| {
        let settings = Tls { others: vec![file.to_owned()], ..shared().settings() };
        Identity::load(&settings, leveret::clock::Clock::system().wall()).unwrap_err().to_string()
    };
    assert!(refused(&shared().broker.certificate).contains("holds no PEM block with a private key"));
    let dir = tempfile::tempdir().unwrap();
    let nameless = [&shared().stranger.certificate, &shared().stranger.key];
    let file = dir.path().join("nameless.pem");
    std::fs::write(&file, nameless.map(|file| std::fs::read_to_string(file).unwrap()).concat()).unwrap();
    assert!(refused(&file).contains("has no host among its alternative names"), "{}", refused(&file));
}
