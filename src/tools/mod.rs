//! What the command does with a data directory besides running a broker on it: check, backup, restore, compact.
//!
//! Each prints what it found or did in lines for people and returns an exit status. Touches the directories it is
//! given, through [`store::lmdb`](crate::store::lmdb). Invariants: nothing here changes a store in place (a new one
//! takes its place by one rename); a target that holds something is not touched unless that was asked for.
//! Deliberately absent: talking to a running broker; LMDB alone lets two processes look at one store.

mod backup;
mod check;
mod settings;

use std::io::{self, Write};
use std::path::Path;

pub use settings::settings;

use crate::config::{Config, Tool};
use crate::store::StoreError;
use crate::store::lmdb;

/// Exit status: done, nothing is wrong.
pub const FINE: u8 = 0;
/// Exit status: something is wrong with the data, or the work could not be done.
pub const WRONG: u8 = 1;
/// Exit status for settings that cannot be used (`EX_CONFIG`).
pub const BAD_SETTINGS: u8 = 78;
/// Exit status of `check` for a store that cannot be read at all (`EX_NOINPUT`).
pub const UNREADABLE: u8 = 66;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The store cannot be read, or the operating system refused something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was asked for would destroy something.
    #[error("{0}")]
    Refused(String),
}

impl From<io::Error> for ToolError {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Carries out a command on the data directory of `config`; returns the exit status.
pub fn run(command: &Tool, config: &Config, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let dir = config.data_dir.as_path();
    let done = match command {
        Tool::Check => check::check(dir, config.profile(), out),
        Tool::Backup { dir: to } => backup::backup(dir, to, config.profile(), out),
        Tool::Restore { dir: from, force } => backup::restore(from, dir, *force, config.profile(), out),
        Tool::Compact => compact(dir, out),
    };
    match (done, command) {
        (Ok(status), _) => status,
        (Err(error), command) => {
            // Where not even this can be written, the status has to do.
            let _ = writeln!(err, "{error}");
            if *command == Tool::Check { UNREADABLE } else { WRONG }
        }
    }
}

fn compact(dir: &Path, out: &mut dyn Write) -> Result<u8, ToolError> {
    let (before, after) = lmdb::compact(dir)?;
    writeln!(out, "{}: {} before, {} after", dir.display(), size(before), size(after))?;
    Ok(FINE)
}

/// A number of octets for people.
fn size(octets: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = None;
    let mut whole = octets;
    let mut tenths = 0;
    for unit in UNITS {
        if whole < 1024 {
            break;
        }
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        shown = Some(unit);
    }
    match shown {
        Some(unit) => format!("{whole}.{tenths} {unit}"),
        None => format!("{octets} octets"),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_readable() {
        let said = [0, 1023, 1024, 1536, 1 << 20, (1 << 30) - 1, 1 << 40, 5 << 50].map(size);
        let expected =
            ["0 octets", "1023 octets", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1023.9 MiB", "1.0 TiB", "5120.0 TiB"];
        assert_eq!(said, expected);
    }
}
