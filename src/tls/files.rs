//! The files of `[tls]`: certificate, key, trusted issuers, revocations.
//!
//! Each mistake names the file and what is wrong with it. Invariant: no text of a file reaches an error. Deliberately
//! absent: the form in which openssl wrote keys behind a passphrase before PKCS#8, which guards them badly.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SigningKey};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::names::ByName;
use super::{Validity, peer};
use crate::config::{Secret, Tls, TlsVerify, TlsVersion};

/// A larger file is none of those expected here. The certificates of all public issuers take 250 KB.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// What is wrong with one of the files.
#[derive(Debug, thiserror::Error)]
#[error("{}: {wrong}", file.display())]
pub struct TlsError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub wrong: String,
}

impl TlsError {
    fn new(file: &Path, wrong: impl Into<String>) -> Self {
        Self { file: file.to_owned(), wrong: wrong.into() }
    }
}

/// What files look like from outside: enough to see that another one has taken a file's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<(SystemTime, u64, u64)>>);

impl Stamp {
    /// Of the files that the settings name; follows links, as whoever reads them does.
    pub(super) fn of(settings: &Tls) -> Self {
        let files = [&settings.certificate, &settings.key, &settings.ca, &settings.crl];
        let look = |file: &PathBuf| {
            let meta = std::fs::metadata(file).ok()?;
            Some((meta.modified().ok()?, meta.len(), meta.ino()))
        };
        Self(files.into_iter().flatten().chain(&settings.others).map(look).collect())
    }
}

/// Everything that a handshake needs.
pub(super) fn read(settings: &Tls) -> Result<(ServerConfig, Validity), TlsError> {
    let missing = |key: &str| TlsError::new(Path::new(key), "is not set, and tls.listen needs it");
    let file = settings.certificate.as_deref().ok_or_else(|| missing("tls.certificate"))?;
    let key_file = settings.key.as_deref().ok_or_else(|| missing("tls.key"))?;
    let provider = Arc::new(ring::default_provider());
    let password = settings.key_password.as_ref();
    let (own, certified) = pair(file, key_file, password, &provider)?;
    let mut by_name = ByName::new(certified);
    for file in &settings.others {
        let (other, certified) = pair(file, file, password, &provider)?;
        let names = peer::host_names(&other);
        if names.is_empty() {
            return Err(TlsError::new(
                file,
                "its certificate has no host among its alternative names to be asked for by",
            ));
        }
        by_name.add(names, certified);
    }
    let verifier = match settings.verify {
        TlsVerify::None => None,
        TlsVerify::Peer => Some(verifier(settings, &provider)?),
    };
    let mut versions = Vec::new();
    for chosen in &settings.versions {
        versions.push(match chosen {
            TlsVersion::V1_2 => &version::TLS12,
            TlsVersion::V1_3 => &version::TLS13,
        });
    }
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
    let builder = builder.map_err(|error| TlsError::new(Path::new("tls.versions"), error.to_string()))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    // Not `with_single_cert`, which refuses certificates of X.509 version 1, as simple guides make them.
    let config = builder.with_cert_resolver(Arc::new(by_name));
    let (not_before, not_after) = peer::validity(&own);
    let subject = peer::distinguished_name(&own.tbs_certificate.subject);
    Ok((config, Validity { file: file.to_owned(), subject, not_before, not_after }))
}

/// A certificate with what proves that it is ours: the chain of one file and the key of another, or of the same.
fn pair(
    file: &Path,
    key_file: &Path,
    password: Option<&Secret>,
    provider: &CryptoProvider,
) -> Result<(Certificate, CertifiedKey), TlsError> {
    let chain = certificates(file)?;
    let own = chain.first().ok_or_else(|| TlsError::new(file, "it holds no certificate"))?;
    let own = Certificate::from_der(own).map_err(|_| TlsError::new(file, "its first certificate cannot be read"))?;
    let key = private_key(key_file, password, provider)?;
    if !fits(key.as_ref(), &own) {
        return Err(TlsError::new(key_file, format!("the key is not that of the certificate in {}", file.display())));
    }
    Ok((own, CertifiedKey::new(chain, key)))
}

fn octets(file: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error: std::io::Error| TlsError::new(file, format!("cannot be read: {error}"));
    let mut octets = Vec::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(FILE_MAX.saturating_add(1)).read_to_end(&mut octets).map_err(unreadable)?;
    if u64::try_from(octets.len()).unwrap_or(u64::MAX) > FILE_MAX {
        return Err(TlsError::new(file, "is too large to be a PEM file"));
    }
    Ok(octets)
}

/// All blocks of one kind, at least one.
fn blocks<T: PemObject>(file: &Path, kind: &str) -> Result<Vec<T>, TlsError> {
    let octets = octets(file)?;
    let blocks: Result<Vec<T>, _> = T::pem_slice_iter(&octets).collect();
    match blocks {
        Err(_) => Err(TlsError::new(file, "a PEM block in it is damaged")),
        Ok(blocks) if blocks.is_empty() => Err(TlsError::new(file, format!("holds no PEM block with a {kind}"))),
        Ok(blocks) => Ok(blocks),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    blocks(file, "certificate (-----BEGIN CERTIFICATE-----)")
}

fn private_key(
    file: &Path,
    password: Option<&Secret>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, TlsError> {
    let octets = octets(file)?;
    let key = if let Some(block) = locked(&octets) {
        unlock(&block, password).map_err(|wrong| TlsError::new(file, wrong))?
    } else if String::from_utf8_lossy(&octets).contains("Proc-Type: 4,ENCRYPTED") {
        let old = "the key is behind a passphrase in an old form; write it as PKCS#8 (openssl pkcs8 -topk8)";
        return Err(TlsError::new(file, old));
    } else {
        let key = PrivateKeyDer::pem_slice_iter(&octets).next().ok_or_else(|| {
            let forms = "(-----BEGIN PRIVATE KEY-----, RSA and EC as well)";
            TlsError::new(file, format!("holds no PEM block with a private key {forms}"))
        })?;
        key.map_err(|_| TlsError::new(file, "a PEM block in it is damaged"))?
    };
    let unusable = "the private key cannot be used: RSA from 2048 bits on, ECDSA P-256 and P-384, and Ed25519 can";
    provider.key_provider.load_private_key(key).map_err(|_| TlsError::new(file, unusable))
}

/// The block of a file that is a key behind a passphrase.
fn locked(octets: &[u8]) -> Option<String> {
    const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
    let text = String::from_utf8_lossy(octets);
    let (_, rest) = text.split_once("-----BEGIN ENCRYPTED PRIVATE KEY-----")?;
    let (inside, _) = rest.split_once(END)?;
    Some(format!("-----BEGIN ENCRYPTED PRIVATE KEY-----{inside}{END}"))
}

fn unlock(block: &str, password: Option<&Secret>) -> Result<PrivateKeyDer<'static>, String> {
    let Some(password) = password else {
        return Err("the key is behind a passphrase, and no key_password is set".to_owned());
    };
    let (_, document) = SecretDocument::from_pem(block).map_err(|_| "a PEM block in it is damaged")?;
    let locked = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|_| "a PEM block in it is damaged")?;
    let key =
        locked.decrypt(password.expose()).map_err(|_| "key_password does not open it, or the cipher is unknown")?;
    Ok(PrivateKeyDer::Pkcs8(key.as_bytes().to_vec().into()))
}

/// Whether key and certificate belong together; yes if the key does not tell.
fn fits(key: &dyn SigningKey, own: &Certificate) -> bool {
    let Some(public) = key.public_key() else { return true };
    // Only the keys: how they are described differs, with parameters or without.
    SubjectPublicKeyInfoOwned::from_der(&public)
        .is_ok_and(|public| public.subject_public_key == own.tbs_certificate.subject_public_key_info.subject_public_key)
}

fn verifier(settings: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let file = settings.ca.as_deref();
    let file = file.ok_or_else(|| TlsError::new(Path::new("tls.ca"), "is not set, and tls.verify needs it"))?;
    let mut roots = RootCertStore::empty();
    for (at, certificate) in certificates(file)?.into_iter().enumerate() {
        let number = at.saturating_add(1);
        let wrong = |error| TlsError::new(file, format!("its certificate number {number} cannot be trusted: {error}"));
        roots.add(certificate).map_err(wrong)?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    if let Some(revoked) = &settings.crl {
        let lists: Vec<CertificateRevocationListDer<'static>> =
            blocks(revoked, "revocation list (-----BEGIN X509 CRL-----)")?;
        // A certificate whose issuer has no list here is refused: nothing says that it is not revoked.
        builder = builder.with_crls(lists).only_check_end_entity_revocation();
    }
    if !settings.require_client_certificate {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| match (&error, &settings.crl) {
        (VerifierBuilderError::InvalidCrl(_), Some(revoked)) => TlsError::new(revoked, error.to_string()),
        _ => TlsError::new(file, error.to_string()),
    })
}
