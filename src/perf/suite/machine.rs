//! Where and when a suite was run: machine, date, commit.
//!
//! May read `/proc` and ask git. What cannot be found out is left out, never guessed.

use std::path::Path;
use std::process::{Command, Stdio};

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// What statfs says of a file system in memory.
const TMPFS: i128 = 0x0102_1994;

/// How the kernel lets a processor rest that has nothing to do, and for how long a guest polls first (ns).
const IDLE_DRIVER: &str = "/sys/devices/system/cpu/cpuidle/current_driver";
const HALT_POLL: &str = "/sys/module/haltpoll/parameters/guest_halt_poll_ns";

/// The circumstances of a run.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) kernel: String,
    /// GiB.
    pub(super) memory: f64,
    /// A virtual machine whose idle processors are left at once, and come back with tens of microseconds' delay: the Linux
    /// driver `haltpoll` with `guest_halt_poll_ns` of 0.
    pub(super) slow_to_wake: bool,
    /// The data directories are in memory: rows about the disk mean nothing.
    pub(super) without_disk: bool,
}

impl Machine {
    /// This one, with data directories in `scratch`.
    pub(super) fn this(scratch: &Path) -> Self {
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            line.map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned())
        };
        let kib =
            field("/proc/meminfo", "MemTotal").and_then(|text| text.strip_suffix(" kB")?.trim().parse::<f64>().ok());
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: field("/proc/sys/kernel/osrelease", "").unwrap_or_default(),
            memory: kib.unwrap_or_default() / 1_048_576.0,
            slow_to_wake: field(IDLE_DRIVER, "").as_deref() == Some("haltpoll")
                && field(HALT_POLL, "").as_deref() == Some("0"),
            without_disk: rustix::fs::statfs(scratch).is_ok_and(|fs| i128::from(fs.f_type) == TMPFS),
        }
    }
}

/// The present second in UTC, as `2026-01-31T12:00:00Z`.
pub(super) fn date() -> String {
    let mut text = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// What git calls the commit of the working directory, with a mark if it has been changed since.
pub(super) fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    Some(if changed { format!("{commit}-changed") } else { commit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_and_the_day_are_known() {
        let machine = Machine::this(Path::new("/"));
        assert!(machine.cores > 0 && machine.memory > 0.0, "{machine:?}");
        assert!(!machine.kernel.is_empty() && !machine.processor.is_empty(), "{machine:?}");
        let date = date();
        assert!(date.len() == 20 && date.starts_with("20") && date.ends_with('Z'), "{date}");
    }
}
