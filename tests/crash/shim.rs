//! The shim between a broker and its files (`shim/shim.c`): built once, loaded by `LD_PRELOAD`, its log read back.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tokio::process::Command;

use crate::process::command;

/// Where the shared library lies; the directory lives as long as this process.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Tests run side by side, also in several processes.
    let library = directory.join(format!("shim-{}.so", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/shim/shim.c");
    let mut compiler = std::process::Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&library).arg(source);
    let done = compiler.arg("-lpthread").output().expect("a C compiler, cc, is needed for this test");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    library
});

/// What was done to a file or a name; paths are relative to the data directory, "" is the directory itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A new file, or an old one that lost its content.
    Create {
        truncates: bool,
    },
    /// `synced`: the call returned when the octets were on disk.
    Write {
        offset: u64,
        data: Vec<u8>,
        synced: bool,
    },
    Truncate {
        len: u64,
    },
    Sync,
    Rename {
        to: String,
    },
    Link {
        to: String,
    },
    Unlink,
    MakeDirectory,
    RemoveDirectory,
    /// The call that was made to fail, and its number.
    Failed {
        call: String,
        number: u64,
    },
}

/// A call that succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// `CLOCK_MONOTONIC` when it began, in nanoseconds.
    pub(crate) start: u64,
    pub(crate) path: String,
    pub(crate) act: Act,
}

/// The command on a directory (an absolute path), with the shim before it.
pub(crate) fn shimmed(directory: &Path, log: &Path, fail: Option<(u64, &str)>) -> Command {
    watched(command(directory), directory, log, fail)
}

/// Any command of ours with the shim before it, which looks at a directory (an absolute path).
pub(crate) fn watched(mut command: Command, directory: &Path, log: &Path, fail: Option<(u64, &str)>) -> Command {
    command.env("LD_PRELOAD", &*LIBRARY).env("SHIM_DIR", directory).env("SHIM_LOG", log);
    if let Some((number, kind)) = fail {
        command.env("SHIM_FAIL", format!("{number}:{kind}"));
    }
    command
}

/// `CLOCK_MONOTONIC` in nanoseconds, which all processes of the machine share.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// A directory in memory where there is one: what is durable is decided by the log, not by a disk.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

struct Log<'a>(&'a [u8]);

impl<'a> Log<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn number<const N: usize>(&mut self) -> Option<u64> {
        let mut octets = [0; 8];
        octets[..N].copy_from_slice(self.take(N)?);
        Some(u64::from_le_bytes(octets))
    }

    fn text(&mut self, len: u64) -> Option<String> {
        Some(String::from_utf8(self.take(usize::try_from(len).unwrap())?.to_vec()).unwrap())
    }

    /// The next record; `None` at the end, also where a killed process left half of one.
    fn event(&mut self) -> Option<Event> {
        let (start, offset, len) = (self.number::<8>()?, self.number::<8>()?, self.number::<8>()?);
        let (kind, synced) = (self.number::<1>()?, self.number::<1>()? != 0);
        let (path_len, other_len) = (self.number::<2>()?, self.number::<4>()?);
        let (path, other) = (self.text(path_len)?, self.text(other_len)?);
        let act = match kind {
            1 => Act::Create { truncates: len != 0 },
            2 => Act::Write { offset, data: self.take(usize::try_from(len).unwrap())?.to_vec(), synced },
            3 => Act::Truncate { len: offset },
            4 => Act::Sync,
            5 => Act::Rename { to: other },
            6 => Act::Unlink,
            7 => Act::MakeDirectory,
            8 => Act::RemoveDirectory,
            9 => Act::Link { to: other },
            99 => Act::Failed { call: other, number: offset },
            other => panic!("record of unknown kind {other}"),
        };
        Some(Event { start, path, act })
    }
}

/// Everything that was recorded.
pub(crate) fn read_log(path: &Path) -> Vec<Event> {
    // A process that ended before its first file wrote no log.
    let octets = std::fs::read(path).unwrap_or_default();
    let mut log = Log(&octets);
    std::iter::from_fn(|| log.event()).collect()
}
