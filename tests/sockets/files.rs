//! Files of certificates and keys that cannot be used, and those that can though they look odd.

use std::path::Path;

use leveret::config::{Secret, Tls, TlsVerify};
use leveret::server::Builder;
use leveret::tls::Identity;

use crate::bridge;
use crate::certificates::{openssl, shared};
use crate::client::Client;
use crate::server::{Broker, in_time};

/// A moment at which certificates of these tests are valid.
fn now() -> u64 {
    leveret::clock::Clock::system().wall()
}

fn wrong(settings: &Tls) -> String {
    match Identity::load(settings, now()) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn each_mistake_names_the_file_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = shared().settings();
    let empty = file("empty.pem", "");
    let cut = std::fs::read_to_string(&shared().broker.certificate).unwrap();
    let damaged = file("damaged.pem", &cut[..cut.len() / 2]);
    let no_der = file("no.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let no_key = file("no.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    openssl(dir.path(), &["genrsa", "-aes128", "-passout", "pass:secret", "-out", "locked.key", "2048"]);
    openssl(dir.path(), &["genrsa", "-traditional", "-aes128", "-passout", "pass:secret", "-out", "old.key", "2048"]);
    let old = dir.path().join("old.key");
    openssl(dir.path(), &["genrsa", "-out", "short.key", "1024"]);
    let (locked, short) = (dir.path().join("locked.key"), dir.path().join("short.key"));
    let missing = dir.path().join("missing.pem");
    let with_certificate = |path: &Path| Tls { certificate: Some(path.to_owned()), ..good.clone() };
    let with_key = |path: &Path| Tls { key: Some(path.to_owned()), ..good.clone() };
    let with_ca = |path: &Path| Tls { ca: Some(path.to_owned()), verify: TlsVerify::Peer, ..good.clone() };
    let with_crl = |path: &Path| Tls { crl: Some(path.to_owned()), ..with_ca(&shared().authority.certificate()) };
    for (settings, path, text) in [
        (with_certificate(&missing), &missing, "cannot be read: No such file"),
        (with_certificate(dir.path()), &dir.path().to_owned(), "cannot be read: Is a directory"),
        (with_certificate(&empty), &empty, "holds no PEM block with a certificate"),
        (with_certificate(&shared().broker.key), &shared().broker.key, "holds no PEM block with a certificate"),
        (with_certificate(&damaged), &damaged, "a PEM block in it is damaged"),
        (with_certificate(&no_der), &no_der, "its first certificate cannot be read"),
        (with_key(&missing), &missing, "cannot be read: No such file"),
        (with_key(&shared().broker.certificate), &shared().broker.certificate, "holds no PEM block with a private key"),
        (with_key(&shared().guest.key), &shared().guest.key, "the key is not that of the certificate in"),
        (with_key(&locked), &locked, "the key is behind a passphrase, and no key_password is set"),
        (
            Tls { key_password: Some(Secret::new("wrong")), ..with_key(&locked) },
            &locked,
            "key_password does not open it",
        ),
        (
            Tls { key_password: Some(Secret::new("secret")), ..with_key(&old) },
            &old,
            "the key is behind a passphrase in",
        ),
        (with_key(&no_key), &no_key, "the private key cannot be used"),
        (with_key(&short), &short, "the private key cannot be used"),
        (with_ca(&missing), &missing, "cannot be read: No such file"),
        (with_ca(&empty), &empty, "holds no PEM block with a certificate"),
        (with_ca(&no_der), &no_der, "its certificate number 1 cannot be trusted"),
        (with_crl(&missing), &missing, "cannot be read: No such file"),
        (with_crl(&shared().broker.key), &shared().broker.key, "holds no PEM block with a revocation list"),
    ] {
        let error = wrong(&settings);
        assert!(error.starts_with(&format!("{}: {text}", path.display())), "{error}");
        assert!(!error.contains("BEGIN RSA") && !error.contains("AAAA"), "{error}");
    }
    assert!(wrong(&Tls { key: None, ..good.clone() }).starts_with("tls.key: is not set"));
    assert!(wrong(&Tls { ca: None, ..with_ca(&empty) }).starts_with("tls.ca: is not set"));
    let refused = Builder::in_memory().configure(|config| config.tls = with_key(&missing)).start();
    assert!(refused.is_err_and(|error| error.to_string().starts_with("TLS: ")), "nothing is opened");
}

#[test]
fn every_common_form_of_key_and_certificate_serves() {
    in_time(async {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let sign = ["x509", "-req", "-CAcreateserial", "-days", "2"];
        let authority = ["-CA", "ca.pem", "-CAkey", "ca.key"];
        openssl(
            at,
            &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=a"],
        );
        // Keys as RSA and EC have had them since before there was one form for all, and as there is.
        openssl(at, &["genrsa", "-traditional", "-out", "pkcs1.key", "2048"]);
        openssl(at, &["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", "sec1.key"]);
        openssl(at, &["genpkey", "-algorithm", "ed25519", "-out", "pkcs8.key"]);
        let lock = ["pkcs8", "-topk8", "-passout", "pass:secret"];
        openssl(at, &[&lock[..], &["-in", "sec1.key", "-out", "locked.key"]].concat());
        openssl(at, &[&lock[..], &["-in", "pkcs1.key", "-scrypt", "-out", "scrypt.key"]].concat());
        for name in ["pkcs1", "sec1", "pkcs8", "locked", "scrypt"] {
            let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
            let open = ["-passin", "pass:secret"];
            openssl(
                at,
                &[&["req", "-new", "-key", &key, "-out", &request, "-subj", "/CN=localhost"][..], &open].concat(),
            );
            openssl(at, &[&sign[..], &authority, &["-in", &request, "-out", &certificate]].concat());
            // Key and certificate in one file, with words around them, as some tools write them.
            let both = format!(
                "Bag Attributes\n{}\n{}",
                std::fs::read_to_string(at.join(&key)).unwrap(),
                std::fs::read_to_string(at.join(&certificate)).unwrap()
            );
            std::fs::write(at.join("both.pem"), both).unwrap();
            let both = Some(at.join("both.pem"));
            let key_password = Some(Secret::new("secret"));
            let settings = Tls { certificate: both.clone(), key: both, key_password, ..shared().settings() };
            let identity = Identity::load(&settings, now()).unwrap();
            assert_eq!(identity.validity().subject, "CN=localhost", "{name}");
            assert!(identity.validity().not_after > now());
        }
    });
}

#[test]
fn an_expired_certificate_is_used_and_clients_refuse_it() {
    in_time(async {
        let past = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"];
        let pair = shared().authority.sign_as("past", "/CN=localhost", &["subjectAltName=DNS:localhost"], &past);
        let tls = Tls { certificate: Some(pair.certificate), key: Some(pair.key), ..shared().settings() };
        let broker = Broker::start(Builder::in_memory().configure(|config| config.tls = tls));
        let expiring = broker.inside().node.certificates_expiring(now());
        assert_eq!(expiring.first().unwrap().expires, 1_577_923_200_000, "health checks tell");
        let refused = bridge::offered(shared().client(None), broker.tls_address()).await.unwrap_err();
        assert!(refused.contains("expired"), "{refused}");
        broker.client().await.close().await;
        broker.stop().await;
    });
}

#[test]
fn a_certificate_for_another_host_is_refused_by_clients() {
    in_time(async {
        let names = ["subjectAltName=DNS:elsewhere.example"];
        // The common name fits; where there are alternative names it does not count.
        let pair = shared().authority.sign("elsewhere", "/CN=localhost", &names);
        let tls = Tls { certificate: Some(pair.certificate), key: Some(pair.key), ..shared().settings() };
        let broker = Broker::start(Builder::in_memory().configure(|config| config.tls = tls));
        assert!(bridge::offered(shared().client(None), broker.tls_address()).await.is_err());
        Client::connect(broker.address()).await.close().await;
        broker.stop().await;
    });
}
