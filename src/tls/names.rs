//! Which certificate a client is shown: that of the host it asks for (SNI), or else the broker's own.
//!
//! Pure. Invariant: whoever asks for a name that is not known is shown the broker's own certificate, as with one certificate.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// Certificates with their keys.
#[derive(Debug)]
pub(super) struct ByName {
    own: Arc<CertifiedKey>,
    /// By host name in small letters; `*.` stands for one label.
    others: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    /// For whoever does not ask for another.
    pub(super) fn new(own: CertifiedKey) -> Self {
        Self { own: Arc::new(own), others: HashMap::new() }
    }

    /// For clients that ask for one of `names`. The first certificate of a name stays.
    pub(super) fn add(&mut self, names: Vec<String>, other: CertifiedKey) {
        let other = Arc::new(other);
        for name in names {
            self.others.entry(name.to_ascii_lowercase()).or_insert_with(|| other.clone());
        }
    }

    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let by_star = || name.split_once('.').and_then(|(_, parent)| self.others.get(&format!("*.{parent}")));
        self.others.get(&name).or_else(by_star).unwrap_or(&self.own)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(hello.server_name().map_or(&self.own, |name| self.find(name)).clone())
    }
}
