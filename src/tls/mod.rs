//! Who the broker is to TLS clients, and who they are to it.
//!
//! [`Identity`] holds what the files of `[tls]` say, ready for handshakes, and exchanges it while connections go on;
//! `files` reads them, `names` chooses among them; [`PeerCertificate`] is what is of interest of a client's certificate, [`Secured`] of a connection.
//! May touch those files and the settings. Invariants: nothing of a private key reaches a log or an error; files that
//! cannot be used change nothing; without `tls.verify = "peer"` no name in a certificate is ever believed.
//! Deliberately absent: sockets, handshakes, users. TLS below 1.2 is not there to be switched on.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing))]

mod files;
mod names;
mod peer;
mod secured;

use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

use crate::clock::Millis;
use crate::config::{LoginFrom, Tls};
use crate::sync::{Mutex, Rank};

pub use files::TlsError;
pub use peer::PeerCertificate;
pub use secured::Secured;

/// What is known of the broker's certificate, for health checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The file it is read from.
    pub file: std::path::PathBuf,
    /// Whose it is, as [`PeerCertificate::subject`].
    pub subject: String,
    /// When it becomes valid, in milliseconds since the Unix epoch.
    pub not_before: Millis,
    /// When it ceases to be.
    pub not_after: Millis,
}

/// What handshakes are done with at the moment.
#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    validity: Validity,
    /// What the files looked like before they were read.
    stamp: files::Stamp,
}

/// The broker's certificate and whom it trusts: what the files of the settings hold.
#[derive(Debug)]
pub struct Identity {
    settings: Mutex<Tls>,
    loaded: Mutex<Loaded>,
    /// What [`Identity::reload_if_changed`] saw last.
    seen: Mutex<Option<files::Stamp>>,
}

impl Identity {
    /// Reads the files. `wall` is the present moment; a certificate that is not valid then is used, with a warning.
    pub fn load(settings: &Tls, wall: Millis) -> Result<Self, TlsError> {
        let loaded = load(settings, wall)?;
        let loaded = Mutex::new(Rank::Leaf, loaded);
        Ok(Self { settings: Mutex::new(Rank::Leaf, settings.clone()), loaded, seen: Mutex::new(Rank::Leaf, None) })
    }

    /// What the next handshake is to be done with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.loaded.lock().config.clone()
    }

    /// The broker's certificate.
    pub fn validity(&self) -> Validity {
        self.loaded.lock().validity.clone()
    }

    /// What of a client's certificate is its user name.
    pub fn login_from(&self) -> LoginFrom {
        self.settings.lock().login_from
    }

    /// Reads the files again. If they can be used the next handshakes are done with what they hold; if not everything
    /// stays as it was. Sessions of earlier handshakes are not resumed, so that nobody comes in by a trust that is over.
    pub fn reload(&self, wall: Millis) -> Result<(), TlsError> {
        let settings = self.settings.lock().clone();
        let loaded = load(&settings, wall)?;
        *self.loaded.lock() = loaded;
        Ok(())
    }

    /// [`Identity::reload`] from other files, if the settings name others by now. Fails as that does, and then the files
    /// named before stay the ones that are looked at.
    pub fn follow(&self, settings: &Tls, wall: Millis) -> Result<(), TlsError> {
        let loaded = load(settings, wall)?;
        *self.settings.lock() = settings.clone();
        *self.loaded.lock() = loaded;
        Ok(())
    }

    /// [`Identity::reload`] if the files have changed since they were read, and look now as they did at the call before:
    /// whoever exchanges several files is given the time to do so. `None` if there is nothing to do. Files that cannot be
    /// used are read once, not again until they change.
    pub fn reload_if_changed(&self, wall: Millis) -> Option<Result<(), TlsError>> {
        let settings = self.settings.lock().clone();
        let now = files::Stamp::of(&settings);
        if self.loaded.lock().stamp == now {
            *self.seen.lock() = None;
            return None;
        }
        let before = self.seen.lock().replace(now.clone());
        if before.as_ref() != Some(&now) {
            return None;
        }
        let result = self.reload(wall);
        if result.is_err() {
            self.loaded.lock().stamp = now;
        }
        *self.seen.lock() = None;
        Some(result)
    }
}

fn load(settings: &Tls, wall: Millis) -> Result<Loaded, TlsError> {
    // Taken first: what changes while the files are read is seen as a change later.
    let stamp = files::Stamp::of(settings);
    let (config, validity) = files::read(settings)?;
    let file = validity.file.display();
    let (from, to) = (peer::date(validity.not_before), peer::date(validity.not_after));
    if validity.not_after < wall {
        tracing::warn!("the certificate in {file} has expired on {to}: clients will refuse it");
    } else if validity.not_before > wall {
        tracing::warn!("the certificate in {file} is not valid before {from}: clients will refuse it");
    } else {
        tracing::info!("the certificate in {file} is valid until {to}");
    }
    Ok(Loaded { config: Arc::new(config), validity, stamp })
}
