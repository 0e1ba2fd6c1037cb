//! What was agreed on in a handshake, in the words of RabbitMQ's management API.

use tokio_rustls::rustls::{CipherSuite, ProtocolVersion, ServerConnection};

use super::PeerCertificate;
use crate::config::LoginFrom;

/// The facts of a connection with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// `tlsv1.2` or `tlsv1.3`.
    pub protocol: &'static str,
    /// How the keys were agreed on, such as `ecdhe_rsa`; `any` with TLS 1.3, where the cipher does not tell.
    pub key_exchange: &'static str,
    /// The cipher, such as `aes_256_gcm`.
    pub cipher: &'static str,
    /// `aead`: all ciphers here authenticate by themselves.
    pub hash: &'static str,
    /// The client's certificate, if it has shown one and it was verified.
    pub peer: Option<PeerCertificate>,
}

impl Secured {
    /// Of a connection whose handshake is over.
    pub fn of(connection: &ServerConnection, login_from: LoginFrom) -> Self {
        let protocol = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "tlsv1.2",
            _ => "tlsv1.3",
        };
        let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        let (key_exchange, cipher) = suite.map_or(("any", "unknown"), words);
        // Certificates are here only if a verifier has accepted them: without one, none is asked for.
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let peer = shown.and_then(|certificate| PeerCertificate::read(certificate, login_from));
        Self { protocol, key_exchange, cipher, hash: "aead", peer }
    }
}

fn words(suite: CipherSuite) -> (&'static str, &'static str) {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => ("any", "aes_256_gcm"),
        CipherSuite::TLS13_AES_128_GCM_SHA256 => ("any", "aes_128_gcm"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => ("any", "chacha20_poly1305"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => ("ecdhe_ecdsa", "aes_256_gcm"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => ("ecdhe_ecdsa", "aes_128_gcm"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => ("ecdhe_ecdsa", "chacha20_poly1305"),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => ("ecdhe_rsa", "aes_256_gcm"),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => ("ecdhe_rsa", "aes_128_gcm"),
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => ("ecdhe_rsa", "chacha20_poly1305"),
        _ => ("unknown", "unknown"),
    }
}
