//! What is wrong with the settings, and where.
//!
//! Invariant: the text of a problem never holds a password.

use std::fmt;
use std::path::PathBuf;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file, counted from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// An option on the command line, or the lack of one.
    Flag(&'static str),
    /// All settings together: each is right by itself.
    Whole,
}

/// One thing that is wrong with the settings; prints as `FILE:LINE: key: what is wrong (what is accepted)`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// Where to look.
    pub origin: Origin,
    /// Dotted name of the key, as far as it is known.
    pub key: String,
    /// What is wrong.
    pub wrong: String,
    /// What is accepted instead.
    pub accepts: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(path, line) => write!(f, "{}:{line}: ", path.display())?,
            Origin::Variable(name) => write!(f, "{name}: ")?,
            Origin::Flag(name) => write!(f, "{name}: ")?,
            Origin::Whole => {}
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.wrong)?;
        if self.accepts.is_empty() { Ok(()) } else { write!(f, " (accepted: {})", self.accepts) }
    }
}
