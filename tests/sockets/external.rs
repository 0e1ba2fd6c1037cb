//! Logging in by certificate.

use leveret::config::{LoginFrom, Tls, TlsVerify, UserEntry};
use leveret::server::Builder;

use crate::bridge;
use crate::certificates::{Authority, Pair, shared};
use crate::client::Client;
use crate::server::{Broker, in_time};

/// A virtual host as lapin takes it, and by which mechanism to log in.
const EXTERNAL: &str = "%2f?auth_mechanism=external";

fn broker(login_from: LoginFrom, users: &[&str]) -> Broker {
    let users: Vec<UserEntry> = users
        .iter()
        .map(|name| UserEntry {
            name: (*name).to_owned(),
            password: leveret::config::Secret::new("a password nobody knows"),
            tags: Vec::new(),
            loopback_only: false,
        })
        .collect();
    Broker::start(Builder::in_memory().configure(|config| {
        config.tls = shared().verifying(login_from);
        config.users.extend(users);
    }))
}

async fn log_in(broker: &Broker, pair: Option<&Pair>) -> Result<Client, lapin::Error> {
    let address = bridge::over_tls(shared().client(pair), broker.tls_address()).await;
    Client::try_connect_to(address, EXTERNAL).await
}

#[test]
fn the_settings_say_which_name_counts() {
    in_time(async {
        for (login_from, user) in [
            (LoginFrom::CommonName, "guest"),
            (LoginFrom::DistinguishedName, "CN=guest,O=Example"),
            (LoginFrom::SubjectAlternativeName, "app.example"),
        ] {
            let users = [user];
            // The first of them is there anyway.
            let broker = broker(login_from, &users[usize::from(user == "guest")..]);
            let offered = bridge::offered(shared().client(Some(&shared().guest)), broker.tls_address()).await;
            assert_eq!(offered.unwrap(), "AMQPLAIN PLAIN ANONYMOUS EXTERNAL");
            let client = log_in(&broker, Some(&shared().guest)).await.unwrap();
            let connection = broker.only_connection().await;
            let peer = connection.tls.as_ref().unwrap().peer.clone().unwrap();
            assert_eq!(peer.login.as_deref(), Some(user));
            assert_eq!((&*peer.subject, &*peer.issuer), ("CN=guest,O=Example", "CN=authority,O=Field"));
            client.close().await;
            broker.stop().await;
        }
    });
}

#[test]
fn a_name_without_a_user_is_refused() {
    in_time(async {
        let broker = broker(LoginFrom::CommonName, &[]);
        let Err(error) = log_in(&broker, Some(&shared().stranger)).await else { panic!("a stranger is in") };
        let (code, text) = crate::client::told(&error);
        assert_eq!(code, 403);
        assert!(text.contains("using authentication mechanism EXTERNAL"), "{text}");
        broker.stop().await;
    });
}

#[test]
fn without_a_certificate_there_is_a_password() {
    in_time(async {
        let broker = broker(LoginFrom::CommonName, &[]);
        assert_eq!(
            bridge::offered(shared().client(None), broker.tls_address()).await.unwrap(),
            "AMQPLAIN PLAIN ANONYMOUS"
        );
        assert!(log_in(&broker, None).await.is_err(), "EXTERNAL is not for those who show nothing");
        let address = bridge::over_tls(shared().client(None), broker.tls_address()).await;
        Client::connect(address).await.close().await;
        // And a password for those who have a certificate all the same.
        let address = bridge::over_tls(shared().client(Some(&shared().stranger)), broker.tls_address()).await;
        Client::connect(address).await.close().await;
        broker.stop().await;
    });
}

#[test]
fn a_certificate_can_be_required() {
    in_time(async {
        let tls = Tls { require_client_certificate: true, ..shared().verifying(LoginFrom::CommonName) };
        let broker = Broker::start(Builder::in_memory().configure(|config| config.tls = tls));
        assert!(bridge::offered(shared().client(None), broker.tls_address()).await.is_err());
        log_in(&broker, Some(&shared().guest)).await.unwrap().close().await;
        broker.stop().await;
    });
}

#[test]
fn only_certificates_of_the_authority_that_are_valid_now_count() {
    in_time(async {
        let authority = Authority::new("Hedge");
        let other = Authority::new("Hedge");
        let good = authority.sign("good", "/CN=guest", &["extendedKeyUsage=clientAuth"]);
        let revoked = authority.sign("revoked", "/CN=guest", &[]);
        let past = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"];
        let expired = authority.sign_as("expired", "/CN=guest", &[], &past);
        let for_servers = authority.sign("server", "/CN=guest", &["extendedKeyUsage=serverAuth"]);
        // The same names and serial numbers all the way up, and other keys: nothing but the signatures tells.
        let forged = other.sign("forged", "/CN=guest", &[]);
        let tls = Tls {
            ca: Some(authority.certificate()),
            crl: Some(authority.revoke("revoked")),
            verify: TlsVerify::Peer,
            login_from: LoginFrom::CommonName,
            ..shared().settings()
        };
        let broker = Broker::start(Builder::in_memory().configure(|config| config.tls = tls));
        log_in(&broker, Some(&good)).await.unwrap().close().await;
        for (what, pair) in [
            ("revoked", &revoked),
            ("expired", &expired),
            ("for servers", &for_servers),
            ("forged", &forged),
            ("of another authority", &shared().guest),
        ] {
            let offered = bridge::offered(shared().client(Some(pair)), broker.tls_address()).await;
            assert!(offered.is_err(), "a certificate that is {what} is accepted: {offered:?}");
        }
        log_in(&broker, Some(&good)).await.unwrap().close().await;
        broker.stop().await;
    });
}

#[test]
fn names_are_written_as_rabbitmq_writes_them() {
    in_time(async {
        let subject = "/C=DE/O=Hase, Igel \\+ Co/OU=#1/CN=J\u{f6}rg/emailAddress=j@example.org";
        let pair = shared_pair(subject);
        let name = "EMAILADDRESS=j@example.org,CN=J\\C3\\B6rg,OU=\\#1,O=Hase\\, Igel \\+ Co,C=DE";
        let broker = broker(LoginFrom::DistinguishedName, &[name]);
        log_in(&broker, Some(&pair)).await.unwrap().close().await;
        broker.stop().await;
    });
}

fn shared_pair(subject: &str) -> Pair {
    shared().authority.sign("odd", subject, &[])
}
