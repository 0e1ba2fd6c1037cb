//! What RabbitMQ's configuration has said so far.
//!
//! Settings come one by one, from files and variables, the later ones before the earlier; what takes several keys to say
//! is put together at the end. Invariant: no problem noted here quotes a value of a key that may hold a password.

use super::super::Environment;
use super::super::{Config, Origin, Problem, keys};
use super::access::Access;
use super::listeners::Listeners;
use super::logging::Logging;
use super::notes::{Notes, Reason};
use super::resources::Resources;
use super::table::{self, Does};
use super::values::interpolate;

/// Settings being read.
pub(super) struct Draft<'a> {
    /// Where variables in values come from.
    pub env: &'a Environment,
    /// What is clear already.
    pub config: Config,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What has no effect.
    pub notes: Notes,
    /// Leveret's own file asks for certificates of clients.
    asks_for_certificates: bool,
    /// Whoever says nothing means what RabbitMQ does then.
    pub like_rabbitmq: bool,
    /// What takes several keys.
    pub listeners: Listeners,
    /// See `listeners`.
    pub access: Access,
    /// See `listeners`.
    pub resources: Resources,
    /// See `listeners`.
    pub logging: Logging,
}

/// Values that begin so are encrypted with a passphrase that only RabbitMQ has.
const ENCRYPTED: &str = "encrypted:";

impl<'a> Draft<'a> {
    /// Nothing said beyond `config`.
    pub(super) fn new(config: Config, env: &'a Environment) -> Self {
        Self {
            env,
            asks_for_certificates: config.tls.require_client_certificate,
            config,
            problems: Vec::new(),
            notes: Notes::default(),
            like_rabbitmq: false,
            listeners: Listeners::default(),
            access: Access::default(),
            resources: Resources::default(),
            logging: Logging::default(),
        }
    }

    /// A line of a `rabbitmq.conf`.
    pub(super) fn setting(&mut self, key: &[&str], value: &str, origin: Origin) {
        match interpolate(value, &|name| self.env.text(name)) {
            Ok(value) => {
                if !self.set(key, &value, &origin) {
                    let near = table::nearby(key);
                    self.report(origin, &key.join("."), "unknown key", &near);
                }
            }
            Err(wrong) => self.report(origin, &key.join("."), wrong, ""),
        }
    }

    /// Sets a key to a value; `false` if there is no such key.
    pub(super) fn set(&mut self, key: &[&str], value: &str, origin: &Origin) -> bool {
        let Some((row, names)) = table::find(key) else { return false };
        let whole = key.join(".");
        if value.starts_with(ENCRYPTED) && !matches!(row.does, Does::Nothing(_)) {
            self.report(origin.clone(), &whole, "is encrypted, which only RabbitMQ can read", "the text itself");
            return true;
        }
        match row.does {
            Does::Nothing(reason) => self.notes.ignore(&whole, reason),
            Does::MissingUnless(usual) if value == usual => {}
            Does::MissingUnless(_) => self.notes.ignore(&whole, Reason::Missing),
            Does::Key(leveret, text) => {
                let Some(own) = keys::find(leveret) else { return false };
                let done = text(value).map_err(|wrong| (wrong, ""));
                let done =
                    done.and_then(|text| own.assign(&mut self.config, &text).map_err(|wrong| (wrong, own.accepts)));
                if let Err((wrong, accepts)) = done {
                    self.report(origin.clone(), &whole, wrong, accepts);
                }
            }
            Does::Part(_, set) => {
                if let Err(wrong) = set(self, &names, value) {
                    self.report(origin.clone(), &whole, wrong, "");
                }
            }
        }
        true
    }

    /// Notes what is wrong.
    pub(super) fn report(&mut self, origin: Origin, key: &str, wrong: impl Into<String>, accepts: &str) {
        let (key, accepts) = (key.to_owned(), accepts.to_owned());
        self.problems.push(Problem { origin, key, wrong: wrong.into(), accepts });
    }

    /// Puts everything together.
    pub(super) fn finish(mut self) -> (Config, Notes, Vec<Problem>) {
        if self.listeners.old_versions {
            let only = self.listeners.versions.is_empty();
            if only {
                self.report(Origin::Whole, "ssl_options.versions", "names no version that is safe", "tlsv1.3, tlsv1.2");
            } else {
                self.notes
                    .remarks
                    .push("TLS before 1.2 is not spoken, although ssl_options.versions names it".to_owned());
            }
        }
        self.logging.finish(&mut self.config);
        self.listeners.finish(&mut self.config, self.like_rabbitmq);
        let parts = [self.access.finish(&mut self.config), self.resources.finish(&mut self.config)];
        for (key, wrong) in parts.into_iter().filter_map(Result::err) {
            let problem = Problem { origin: Origin::Whole, key: key.to_owned(), wrong, accepts: String::new() };
            self.problems.push(problem);
        }
        let tls = &mut self.config.tls;
        if tls.require_client_certificate && !self.asks_for_certificates && tls.verify == super::super::TlsVerify::None
        {
            // RabbitMQ asks for no certificate then, whatever the other key says.
            tls.require_client_certificate = false;
            self.notes.ignore("ssl_options.fail_if_no_peer_cert", Reason::Always);
        }
        (self.config, self.notes, self.problems)
    }
}
