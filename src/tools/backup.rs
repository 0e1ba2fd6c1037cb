//! `leveret backup` and `leveret restore`.
//!
//! A backup is a directory with a store in it, which a broker could run on. Invariants: a directory that bears the
//! backup's name is whole and synced; a restore leaves the old store or the new one, whenever it is interrupted.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::check::{examine, print};
use super::{FINE, ToolError, WRONG, size};
use crate::config::Profile;
use crate::store::StoreError;
use crate::store::lmdb::{self, Place, Report};

/// What opening a store leaves beside it, and a backup need not keep.
const LEFT: [&str; 2] = ["lock", "lock.mdb"];

/// Copies the store of `from` into the new directory `to`, and verifies the copy.
pub(super) fn backup(from: &Path, to: &Path, profile: &Profile, out: &mut dyn Write) -> Result<u8, ToolError> {
    if !is_free(to)? {
        return Err(ToolError::Refused(format!("{} exists and is not empty", to.display())));
    }
    let unfinished = beside(to)?;
    DirBuilder::new().mode(0o700).create(&unfinished)?;
    let made = make(from, &unfinished, profile).and_then(|made| {
        fs::rename(&unfinished, to)?;
        sync_directory(parent(to))?;
        Ok(made)
    });
    if made.is_err() {
        // It is the failure that matters, not what is left of the attempt.
        let _ = fs::remove_dir_all(&unfinished);
    }
    let (original, report) = made?;
    writeln!(out, "{}: copied from {} of {}", to.display(), size(original), from.display())?;
    print(&report, out)?;
    Ok(if report.findings.is_empty() { FINE } else { WRONG })
}

/// Writes a copy; returns the size of the original and what was found in the copy.
fn make(from: &Path, to: &Path, profile: &Profile) -> Result<(u64, Report), ToolError> {
    let copied = lmdb::copy(from, to)?;
    let mut report = examine(to, profile)?;
    report.findings.extend(copied.damage);
    for name in LEFT {
        match fs::remove_file(to.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    sync_directory(to)?;
    Ok((copied.original, report))
}

/// Puts the backup `from` into the data directory `to`.
pub(super) fn restore(
    from: &Path,
    to: &Path,
    force: bool,
    profile: &Profile,
    out: &mut dyn Write,
) -> Result<u8, ToolError> {
    let report = examine(from, profile)?;
    print(&report, out)?;
    if !report.findings.is_empty() && !force {
        let why = format!("{} is damaged; --force restores what is whole of it", from.display());
        return Err(ToolError::Refused(why));
    }
    if same(from, to) {
        return Err(ToolError::Refused("the backup is the data directory itself".to_owned()));
    }
    let place = Place::take(to)?;
    if place.is_taken() && !force {
        let why = format!("{} holds a store already; --force sets it aside", to.display());
        return Err(ToolError::Refused(why));
    }
    let workshop = place.workshop()?;
    lmdb::copy(from, &workshop)?;
    lmdb::forget_clean_end(&workshop)?;
    let copied = examine(&workshop, profile)?;
    // What a redo log held is in the copy now, and was not in the report.
    let same = report.pending > 0 || copied.total() == report.total();
    if !same || copied.findings.len() > report.findings.len() {
        return Err(StoreError::Damaged("what was copied differs from the backup".to_owned()).into());
    }
    for aside in place.set_aside()? {
        writeln!(out, "the store that was here is kept as {}", aside.display())?;
    }
    place.install()?;
    writeln!(out, "{}: restored", to.display())?;
    Ok(FINE)
}

fn same(a: &Path, b: &Path) -> bool {
    a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b)
}

/// Whether nothing is there, or an empty directory.
fn is_free(path: &Path) -> Result<bool, ToolError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A name of this process's own in the directory of `path`.
fn beside(path: &Path) -> Result<PathBuf, ToolError> {
    let name = path.file_name().ok_or_else(|| ToolError::Refused(format!("{} has no name", path.display())))?;
    let mut own = OsString::from(".");
    own.push(name);
    own.push(format!(".unfinished-{}", std::process::id()));
    Ok(parent(path).join(own))
}

fn sync_directory(path: &Path) -> Result<(), ToolError> {
    Ok(File::open(path)?.sync_all()?)
}
