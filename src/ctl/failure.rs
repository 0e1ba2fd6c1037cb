//! Why a command ends badly: the exit status and the text, as RabbitMQ's tools have them.
//!
//! The numbers are those of `sysexits.h`, which RabbitMQ's tools took over. Invariant: a text never holds a password.

/// The command line cannot be understood (`EX_USAGE`).
pub(super) const USAGE: u8 = 64;
/// What was given is wrong: a bad value, a refused login, something that does not exist (`EX_DATAERR`).
pub(super) const DATA: u8 = 65;
/// The user does not exist (`EX_NOUSER`).
pub(super) const NO_USER: u8 = 67;
/// The broker does not run, a check failed, or any other refusal (`EX_UNAVAILABLE`).
pub(super) const UNAVAILABLE: u8 = 69;
/// What should be new exists already (`EX_SOFTWARE`).
pub(super) const SOFTWARE: u8 = 70;
/// The broker did not answer in time (`EX_TEMPFAIL`).
pub(super) const TEMPORARY: u8 = 75;
/// The settings cannot be used (`EX_CONFIG`).
pub(super) const CONFIG: u8 = 78;

/// A command that was not carried out, or a check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Exit status of the process.
    pub status: u8,
    /// What standard error gets; empty where the status says it all.
    pub text: String,
}

impl Failure {
    /// A failure with a text printed as it is.
    pub(super) fn plain(status: u8, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// A failure with RabbitMQ's heading, `Error:` on a line of its own.
    pub(super) fn error(status: u8, text: impl AsRef<str>) -> Self {
        Self { status, text: format!("Error:\n{}", text.as_ref()) }
    }

    /// Something named in the command does not exist.
    pub(super) fn not_found() -> Self {
        Self::plain(DATA, "Object (queue, stream, exchange, etc) was not found")
    }

    /// The virtual host does not exist.
    pub(super) fn no_vhost(vhost: &str) -> Self {
        Self::plain(DATA, format!("Virtual host '{vhost}' does not exist"))
    }

    /// A command of RabbitMQ that means nothing here, with the reason.
    pub(super) fn unsupported(command: &str, why: &str) -> Self {
        Self::error(UNAVAILABLE, format!("{command} is not supported by Leveret: {why}"))
    }
}
