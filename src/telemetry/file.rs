//! The log file: appended to, set aside by time or size, opened anew on request.
//!
//! Files set aside are named after the file with `.1`, `.2` and so on, the newest first. Invariants: what goes wrong with
//! the file is never the trouble of who logs: the line is lost, and the file is tried again with the next; a line is in
//! one file. Deliberately absent: compression.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use file_rotate::suffix::AppendCount;
use file_rotate::{ContentLimit, FileRotate, TimeFrequency, compression::Compression};
use tracing_subscriber::fmt::MakeWriter;

use crate::config::LogRotation;
use crate::sync::{Mutex, Rank};

/// A log file; clones are the same one.
#[derive(Clone)]
pub(super) struct LogFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    rotation: LogRotation,
    count: usize,
    file: Mutex<Option<FileRotate<AppendCount>>>,
}

impl LogFile {
    /// Opens or creates it, with its directory.
    pub(super) fn open(path: &Path, rotation: LogRotation, count: usize) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let inner = Inner { path, rotation, count, file: Mutex::new(Rank::Leaf, None) };
        *inner.file.lock() = Some(inner.begin()?);
        Ok(Self(Arc::new(inner)))
    }

    /// Goes on in the file of this name, whatever has become of the one written so far.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let fresh = self.0.begin()?;
        *self.0.file.lock() = Some(fresh);
        Ok(())
    }
}

impl Inner {
    fn begin(&self) -> io::Result<FileRotate<AppendCount>> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // The writer below keeps silent about a file it cannot open.
        std::fs::OpenOptions::new().create(true).append(true).open(&self.path)?;
        let limit = match self.rotation {
            LogRotation::None => ContentLimit::None,
            LogRotation::Hourly => ContentLimit::Time(TimeFrequency::Hourly),
            LogRotation::Daily => ContentLimit::Time(TimeFrequency::Daily),
            LogRotation::Weekly => ContentLimit::Time(TimeFrequency::Weekly),
            LogRotation::Monthly => ContentLimit::Time(TimeFrequency::Monthly),
            LogRotation::Size(octets) => {
                ContentLimit::BytesSurpassed(usize::try_from(octets).unwrap_or(usize::MAX).max(1))
            }
        };
        let begin = || FileRotate::new(&self.path, AppendCount::new(self.count), limit, Compression::None, None);
        careful(|| Ok(begin()))
    }
}

/// The writer asserts what a file system need not keep to, such as that a file it has opened is still there.
fn careful<T>(act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| Err(io::Error::other("the log file is not as it was left")))
}

impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut file = self.0.file.lock();
        if file.is_none() {
            *file = Some(self.0.begin()?);
        }
        let Some(open) = file.as_mut() else { return Ok(line.len()) };
        let written = careful(|| open.write_all(line));
        if written.is_err() {
            *file = None;
        }
        written.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = &'a LogFile;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_file_is_appended_to_and_set_aside_by_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/broker.log");
        std::fs::create_dir(dir.path().join("logs")).unwrap();
        std::fs::write(&path, "before\n").unwrap();
        let file = LogFile::open(&path, LogRotation::Size(10), 2).unwrap();
        for line in ["one\n", "two\n", "three\n", "four, which is long\n", "five, which is long\n", "six\n"] {
            (&file).write_all(line.as_bytes()).unwrap();
        }
        let aside = |number: u8| path.with_extension(format!("log.{number}"));
        assert_eq!(text(&path), "six\n");
        assert_eq!(text(&aside(1)), "five, which is long\n");
        assert!(aside(2).exists() && !aside(3).exists(), "two are kept");
    }

    #[test]
    fn a_file_that_is_moved_or_removed_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.log");
        let file = LogFile::open(&path, LogRotation::Size(1), 3).unwrap();
        (&file).write_all(b"one\n").unwrap();
        std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        file.reopen().unwrap();
        (&file).write_all(b"two\n").unwrap();
        assert_eq!((text(&path).as_str(), text(&dir.path().join("elsewhere")).as_str()), ("two\n", "one\n"));
        // Without its directory nothing can be written; whoever logs gets an error and no more.
        std::fs::remove_dir_all(dir.path()).unwrap();
        std::fs::write(dir.path(), "a file in its place").unwrap();
        assert!((&file).write_all(b"lost\n").is_err() | (&file).write_all(b"lost\n").is_err());
        std::fs::remove_file(dir.path()).unwrap();
        (&file).write_all(b"three\n").unwrap();
        assert_eq!(text(&path), "three\n");
    }

    #[test]
    fn a_file_that_cannot_be_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(LogFile::open(dir.path(), LogRotation::None, 1).is_err());
        std::fs::write(dir.path().join("x"), "").unwrap();
        assert!(LogFile::open(&dir.path().join("x/y.log"), LogRotation::None, 1).is_err());
    }
}
