//! `leveret check`: every rule of a store and of its definitions, and a summary.

use std::io::{self, Write};
use std::path::Path;

use super::{FINE, ToolError, WRONG, size};
use crate::broker;
use crate::config::Profile;
use crate::store::lmdb::{self, Report};

/// Checks a data directory and prints what was found.
pub(super) fn check(dir: &Path, profile: &Profile, out: &mut dyn Write) -> Result<u8, ToolError> {
    let report = examine(dir, profile)?;
    print(&report, out)?;
    Ok(if report.findings.is_empty() { FINE } else { WRONG })
}

/// The report of a data directory, definitions included.
pub(super) fn examine(dir: &Path, profile: &Profile) -> Result<Report, ToolError> {
    let mut report = lmdb::examine(dir)?;
    broker::check(&mut report, profile);
    Ok(report)
}

/// One line a finding or note, then the summary.
pub(super) fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for line in &report.findings {
        writeln!(out, "wrong: {line}")?;
    }
    if report.untold > 0 {
        writeln!(out, "wrong: {} more findings", report.untold)?;
    }
    for line in &report.notes {
        writeln!(out, "note: {line}")?;
    }
    let total = report.total();
    let (queues, definitions) = (report.queues.len(), report.definitions.len());
    writeln!(out, "{definitions} definitions, {queues} queues with messages")?;
    writeln!(out, "{} messages, {} of bodies", total.messages, size(total.octets))?;
    let (file, used, free) = (size(report.file), size(report.used), size(report.free));
    writeln!(out, "file {file}: {used} used, {free} free for use again")?;
    if report.pending > 0 {
        writeln!(out, "{} commits are in the redo log and not counted", report.pending)?;
    }
    let state = match (report.in_use, report.clean) {
        (true, _) => "a broker runs on it",
        (false, true) => "stopped in order",
        (false, false) => "not stopped in order: the next start marks every message as redelivered",
    };
    writeln!(out, "{state}")?;
    match report.findings.len() {
        0 => writeln!(out, "nothing is wrong"),
        n => writeln!(out, "{} findings", (n as u64).saturating_add(report.untold)),
    }
}
