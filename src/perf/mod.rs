//! `leveret perf`: measures a broker, this one or any other that speaks AMQP 0-9-1.
//!
//! A client: threads with blocking sockets and the room [`wire`](crate::wire). It must outrun the broker, so messages are
//! built once and written many at a time, and deliveries are counted where they lie in the read buffer; what that costs is
//! printed with every figure. May touch the network, `/proc`, and the files it is told to write. Invariants: it knows a
//! broker by the protocol only, Leveret too; every answer is checked; whatever the broker refuses ends the run with the
//! broker's text and an exit status other than 0. Deliberately absent: TLS, several machines, and knowledge of Leveret's
//! insides (the suite starts it as a process of its own).
// Counts become ratios and rates here, of which nobody reads sixteen digits.
#![allow(clippy::cast_precision_loss)]

mod batch;
mod churn;
mod connection;
mod consumer;
mod count;
mod latency;
mod load;
mod meter;
mod plan;
mod plot;
mod process;
mod publisher;
mod schedule;
mod socket;
mod suite;
mod summary;
mod tally;
mod target;
mod unconfirmed;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use amq_protocol::protocol::AMQPClass;

use crate::config::perf::Perf;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::wire::Refusal;

/// Exit status: done.
pub const FINE: u8 = 0;
/// Exit status: the broker refused something or hung up, or a file could not be written.
pub const FAILED: u8 = 1;
/// Exit status: the flags make no sense together (`EX_USAGE`).
pub const MISUSED: u8 = 64;

/// Why a measurement came to no end.
#[derive(Debug, thiserror::Error)]
pub enum PerfError {
    /// Flags that contradict each other, or name what is not there.
    #[error("{0}")]
    Setting(String),
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    /// The operating system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// connection.close or channel.close, with the broker's code and text.
    #[error("the broker closed the {what}: {code} {text}")]
    Closed {
        /// `connection` or `channel`.
        what: &'static str,
        /// The reply code.
        code: u16,
        /// The reply text.
        text: String,
    },
    /// The connection ended without a word.
    #[error("the broker hung up")]
    HungUp,
    /// No answer within a minute.
    #[error("no answer to {0} within a minute")]
    Silent(String),
    /// An answer, but not to what was asked.
    #[error("unexpected: {0}")]
    Strange(String),
    /// Octets that are no AMQP.
    #[error("what the broker sent cannot be read: {}", .0.reply_text())]
    Unreadable(Refusal),
}

impl From<Refusal> for PerfError {
    fn from(refusal: Refusal) -> Self {
        Self::Unreadable(refusal)
    }
}

impl PerfError {
    fn closed(what: &'static str, code: u16, text: &str) -> Self {
        Self::Closed { what, code, text: text.to_owned() }
    }

    fn unexpected(awaited: &str, class: &AMQPClass) -> Self {
        let (class_id, method_id) = (class.get_amqp_class_id(), class.get_amqp_method_id());
        Self::Strange(format!("method {class_id}.{method_id} instead of {awaited}"))
    }
}

/// Measures what was asked for and prints it; returns the exit status. `interrupted` ends a load early, with its summary.
pub fn run(command: &Perf, interrupted: &AtomicBool, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let done = match command {
        Perf::Load(args) => load::command(args, interrupted, out),
        Perf::Churn(args) => churn::command(args, interrupted, out),
        Perf::Count(args) => count::command(args, interrupted, out),
        Perf::Suite(args) => suite::command(args, interrupted, out),
    };
    match done {
        Ok(()) => FINE,
        Err(error) => {
            // Where not even this can be written, the status has to do.
            let _ = writeln!(err, "{error}");
            if matches!(error, PerfError::Setting(_)) { MISUSED } else { FAILED }
        }
    }
}

/// Writes figures to a file, if one was asked for.
fn write_json(file: Option<&Path>, figures: &impl serde::Serialize) -> Result<(), PerfError> {
    let Some(file) = file else { return Ok(()) };
    let text = serde_json::to_string_pretty(figures).map_err(|error| PerfError::Strange(error.to_string()))?;
    write(file, &(text + "\n"))
}

fn write(file: &Path, text: &str) -> Result<(), PerfError> {
    std::fs::write(file, text)
        .map_err(|error| PerfError::Setting(format!("{} cannot be written: {error}", file.display())))
}

/// Set when the process is interrupted (SIGINT) for the first time; the second time ends it.
pub fn until_interrupted() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let told = interrupted.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without it an interrupt ends the process at once, as it does by default.
        let Ok(runtime) = runtime else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            told.store(true, Ordering::Relaxed);
            let _ = runtime.block_on(tokio::signal::ctrl_c());
            std::process::exit(i32::from(FAILED));
        }
    });
    interrupted
}
