//! What can be set about TLS.
//!
//! Plain values. Deliberately absent: reading the files, which whoever listens does, at the start and again when they
//! change.

use super::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The section `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Addresses to accept AMQP connections with TLS on.
    pub listen: Vec<SocketAddr>,
    /// Certificate chain, the broker's own first: a PEM file. [`super::load`] has it and the key whenever `listen` is not
    /// empty.
    pub certificate: Option<PathBuf>,
    /// Private key of the certificate: a PEM file.
    pub key: Option<PathBuf>,
    /// Passphrase of the key.
    pub key_password: Option<Secret>,
    /// Files with a certificate chain and its key each, shown to clients that ask for one of its hosts (SNI).
    pub others: Vec<PathBuf>,
    /// Certificates of trusted issuers of clients' certificates: a PEM file.
    pub ca: Option<PathBuf>,
    /// Lists of revoked certificates: a PEM file. With it, a client whose issuer has no list is refused.
    pub crl: Option<PathBuf>,
    /// Whether certificates of clients are looked at.
    pub verify: TlsVerify,
    /// Whether clients without a certificate are refused (RabbitMQ's `fail_if_no_peer_cert`).
    pub require_client_certificate: bool,
    /// What of a client's certificate is its user name (RabbitMQ's `ssl_cert_login_from`).
    pub login_from: LoginFrom,
    /// Versions that are spoken.
    pub versions: Vec<TlsVersion>,
    /// Time a client has for the handshake.
    pub handshake_timeout: Duration,
}

/// Whether certificates of clients are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVerify {
    /// None is asked for.
    None,
    /// One that is shown must be from a trusted issuer.
    Peer,
}

/// What of a client's certificate is its user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFrom {
    /// The whole subject.
    DistinguishedName,
    /// The subject's common name.
    CommonName,
    /// A subject alternative name.
    SubjectAlternativeName,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVerify {
    /// The text that selects it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Peer => "peer",
        }
    }
}

impl LoginFrom {
    /// The text that selects it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DistinguishedName => "distinguished_name",
            Self::CommonName => "common_name",
            Self::SubjectAlternativeName => "subject_alternative_name",
        }
    }
}

impl TlsVersion {
    /// The text that selects it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            certificate: None,
            key: None,
            key_password: None,
            others: Vec::new(),
            ca: None,
            crl: None,
            verify: TlsVerify::None,
            require_client_certificate: false,
            login_from: LoginFrom::DistinguishedName,
            versions: vec![TlsVersion::V1_3, TlsVersion::V1_2],
            handshake_timeout: Duration::from_secs(5),
        }
    }
}

impl Tls {
    /// For a listener of HTTP: with the certificate of `own` if it names none itself.
    pub(super) fn for_web(&self, own: &Self) -> Self {
        if self.certificate.is_some() {
            return self.clone();
        }
        let (certificate, key, key_password) = (own.certificate.clone(), own.key.clone(), own.key_password.clone());
        Self { certificate, key, key_password, ..self.clone() }
    }

    /// What is missing: the key it should have, and why.
    pub(super) fn lacks(&self) -> Vec<(&'static str, &'static str)> {
        let mut lacks = Vec::new();
        let listens = !self.listen.is_empty();
        if listens && self.certificate.is_none() {
            lacks.push(("tls.certificate", "is missing: tls.listen needs it"));
        }
        if listens && self.key.is_none() {
            lacks.push(("tls.key", "is missing: tls.listen needs it"));
        }
        if self.verify == TlsVerify::Peer && self.ca.is_none() {
            lacks.push(("tls.ca", "is missing: tls.verify needs it"));
        }
        if self.require_client_certificate && self.verify == TlsVerify::None {
            lacks.push(("tls.verify", "is none, but tls.require_client_certificate is true"));
        }
        lacks
    }
}
