//! What a process of this machine takes: CPU time and memory, from Linux's accounts.
//!
//! May read `/proc`. Deliberately absent: processes of other machines, and children.

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::PerfError;

/// A process that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process(pub(super) u32);

/// Memory of a process, in octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    /// `VmRSS`: all that is resident, mapped files too.
    pub(super) resident: u64,
    /// `RssAnon`: what belongs to no file.
    pub(super) anonymous: u64,
}

impl Process {
    /// User and system time used so far, in microseconds, exact to the system's tick (10 ms).
    pub(super) fn cpu(self) -> Result<f64, PerfError> {
        let stat = self.read("stat")?;
        // The name, in parentheses, may hold anything.
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ').collect::<Vec<_>>());
        let field = |at: usize| fields.as_ref()?.get(at)?.parse::<f64>().ok();
        let ticks = field(11).zip(field(12)).map(|(user, system)| user + system);
        let a_second = rustix::param::clock_ticks_per_second() as f64;
        ticks.map(|ticks| ticks * 1_000_000.0 / a_second).ok_or_else(|| self.unreadable("stat"))
    }

    /// What is resident now.
    pub(super) fn memory(self) -> Result<Memory, PerfError> {
        let status = self.read("status")?;
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
        };
        let memory = line("VmRSS").zip(line("RssAnon"));
        memory.map(|(resident, anonymous)| Memory { resident, anonymous }).ok_or_else(|| self.unreadable("status"))
    }

    fn read(self, file: &str) -> Result<String, PerfError> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0)).map_err(|_| self.unreadable(file))
    }

    fn unreadable(self, file: &str) -> PerfError {
        PerfError::Setting(format!("process {}: /proc/{}/{file} cannot be read", self.0, self.0))
    }
}

/// User and system time of this process so far, in microseconds.
pub(super) fn own_cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1_000_000.0 + time.tv_nsec as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read_and_none_of_number_0() {
        let own = Process(std::process::id());
        let memory = own.memory().unwrap();
        assert!(memory.resident >= memory.anonymous && memory.anonymous > 0, "{memory:?}");
        assert!(own.cpu().unwrap() >= 0.0 && own_cpu() > 0.0);
        assert!(matches!(Process(0).cpu(), Err(PerfError::Setting(_))));
        assert!(matches!(Process(0).memory(), Err(PerfError::Setting(_))));
    }
}
