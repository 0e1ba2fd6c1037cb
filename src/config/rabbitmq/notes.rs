//! What was read without effect, and why: the line that is logged at the start.

use std::fmt;
use std::path::PathBuf;

/// Why a key of RabbitMQ has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// What it asks for is not done. Whoever relies on it must know.
    Missing,
    /// It is about nodes of a cluster.
    Cluster,
    /// It is about Erlang, or about how RabbitMQ stores things.
    Machine,
    /// It is about a protocol, a plugin or a service that is not part of Leveret.
    Plugin,
    /// The setting `compatibility` decides it.
    Compatibility,
    /// It is so whatever it says.
    Always,
    /// It is no key that is known here. Only where RabbitMQ itself takes any key.
    Unknown,
}

impl Reason {
    /// Every reason, with its sentence for people.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Missing, "asks for what Leveret does not do"),
        (Self::Cluster, "is about clusters, and Leveret is one node"),
        (Self::Machine, "is about Erlang or RabbitMQ's storage"),
        (Self::Plugin, "is about a protocol, plugin or service that is not part of Leveret"),
        (Self::Compatibility, "is decided by the setting compatibility"),
        (Self::Always, "is the same here whatever it says"),
        (Self::Unknown, "is not known here"),
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::ALL.iter().find(|(reason, _)| reason == self);
        f.write_str(found.map_or("", |(_, sentence)| sentence))
    }
}

/// What the origins of the settings said that did not become settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Files that were read, in this order.
    pub files: Vec<PathBuf>,
    /// Keys and variables without effect, each once, and why.
    pub ignored: Vec<(String, Reason)>,
    /// What else should be known.
    pub remarks: Vec<String>,
}

impl Notes {
    /// Notes a key without effect.
    pub(super) fn ignore(&mut self, key: &str, reason: Reason) {
        if self.ignored.iter().all(|(known, _)| known != key) {
            self.ignored.push((key.to_owned(), reason));
        }
    }

    /// One line for each reason there is, `Missing` first.
    pub fn lines(&self) -> Vec<(Reason, String)> {
        let line = |(reason, sentence): &(Reason, &str)| {
            let keys = self.ignored.iter().filter(|(_, why)| why == reason).map(|(key, _)| key.as_str());
            let keys: Vec<&str> = keys.collect();
            (!keys.is_empty()).then(|| (*reason, format!("without effect, since it {sentence}: {}", keys.join(", "))))
        };
        Reason::ALL.iter().filter_map(line).collect()
    }
}
