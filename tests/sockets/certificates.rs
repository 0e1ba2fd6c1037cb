//! An authority made by `openssl` for these tests, and what it signs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use leveret::config::{LoginFrom, Tls, TlsVerify};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

/// What an authority needs to sign whatever it is asked to sign.
const CONFIGURATION: &str = "
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
crlnumber = crlnumber
crl_extensions = list
policy = any
unique_subject = no
copy_extensions = copy
email_in_dn = yes
[any]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = optional
emailAddress = optional
[leaf]
basicConstraints = CA:FALSE
[list]
authorityKeyIdentifier = keyid:always
";

/// An authority in a directory of its own, which goes with it.
pub(crate) struct Authority {
    dir: tempfile::TempDir,
    /// Held while its files are worked on: `openssl` expects to be alone.
    signing: parking_lot::Mutex<()>,
}

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Runs `openssl` in a directory.
pub(crate) fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").current_dir(dir).args(arguments).output();
    let output = output.expect("openssl is installed: these tests make certificates with it");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The authority that most tests share; signing is its owner's matter alone.
pub(crate) fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let authority = Authority::new("Field");
        let broker = authority.sign("broker", "/CN=localhost", &["subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        let guest = authority.sign("guest", "/O=Example/CN=guest", &["subjectAltName=DNS:app.example,DNS:b.example"]);
        let stranger = authority.sign("stranger", "/CN=stranger", &[]);
        Shared { authority, broker, guest, stranger }
    })
}

/// What most tests share.
pub(crate) struct Shared {
    pub(crate) authority: Authority,
    pub(crate) broker: Pair,
    /// A client's, for the user that every broker has.
    pub(crate) guest: Pair,
    /// A client's, for whom there is no user.
    pub(crate) stranger: Pair,
}

impl Shared {
    /// Settings of a broker that asks nobody for a certificate.
    pub(crate) fn settings(&self) -> Tls {
        Tls {
            listen: vec![([127, 0, 0, 1], 0).into()],
            certificate: Some(self.broker.certificate.clone()),
            key: Some(self.broker.key.clone()),
            ..Tls::default()
        }
    }

    /// Settings of a broker that trusts certificates of the authority.
    pub(crate) fn verifying(&self, login_from: LoginFrom) -> Tls {
        Tls { ca: Some(self.authority.certificate()), verify: TlsVerify::Peer, login_from, ..self.settings() }
    }

    /// A client that trusts the authority, with a certificate or without.
    pub(crate) fn client(&self, pair: Option<&Pair>) -> Arc<ClientConfig> {
        self.authority.client(pair, &[&version::TLS13, &version::TLS12])
    }
}

impl Authority {
    /// An authority of that name.
    pub(crate) fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.conf"), CONFIGURATION).unwrap();
        std::fs::write(dir.path().join("index.txt"), "").unwrap();
        std::fs::write(dir.path().join("serial"), "1000\n").unwrap();
        std::fs::write(dir.path().join("crlnumber"), "01\n").unwrap();
        let subject = format!("/O={name}/CN=authority");
        let new_key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
        let files = ["-keyout", "ca.key", "-out", "ca.pem", "-subj", &subject];
        openssl(dir.path(), &[&new_key[..], &files].concat());
        Self { dir, signing: parking_lot::Mutex::new(()) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A certificate that is valid now, with these extensions.
    pub(crate) fn sign(&self, name: &str, subject: &str, extensions: &[&str]) -> Pair {
        self.sign_as(name, subject, extensions, &[])
    }

    /// The same, with further words to `openssl ca`.
    pub(crate) fn sign_as(&self, name: &str, subject: &str, extensions: &[&str], words: &[&str]) -> Pair {
        let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let new_key = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8"];
        let mut arguments = [&new_key[..], &["-keyout", &key, "-out", &request, "-subj", subject]].concat();
        for extension in extensions {
            arguments.extend(["-addext", extension]);
        }
        openssl(self.dir.path(), &arguments);
        let _alone = self.signing.lock();
        let sign = ["ca", "-config", "ca.conf", "-batch", "-notext", "-preserveDN", "-extensions", "leaf"];
        openssl(self.dir.path(), &[&sign[..], &["-in", &request, "-out", &certificate], words].concat());
        Pair { certificate: self.path(&certificate), key: self.path(&key) }
    }

    /// Revokes a certificate, and writes the list of those that are revoked.
    pub(crate) fn revoke(&self, name: &str) -> PathBuf {
        let _alone = self.signing.lock();
        openssl(self.dir.path(), &["ca", "-config", "ca.conf", "-revoke", &format!("{name}.pem")]);
        openssl(self.dir.path(), &["ca", "-config", "ca.conf", "-gencrl", "-out", "crl.pem"]);
        self.path("crl.pem")
    }

    /// A client that trusts this authority and speaks these versions.
    pub(crate) fn client(
        &self,
        pair: Option<&Pair>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.certificate()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
        Arc::new(match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = vec![CertificateDer::from_pem_file(&pair.certificate).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }
}
