//! How the process is doing: memory, disk, descriptors, beside their limits.
//!
//! Read when somebody asks, from the system and the store. What the system does not tell is 0 or absent. Deliberately
//! absent: judgement, which is the alarms'.

use super::Broker;
use super::alarm::memory;

/// Memory, disk and descriptors at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Octets of memory of its own that the process holds.
    pub memory_used: u64,
    /// Octets of memory above which publishers are blocked.
    pub memory_limit: u64,
    /// Whether they are.
    pub memory_alarm: bool,
    /// Octets that can still be written to the store; absent if nothing limits it.
    pub disk_free: Option<u64>,
    /// Octets of room below which publishers are blocked.
    pub disk_free_limit: u64,
    /// Whether they are.
    pub disk_alarm: bool,
    /// Open file descriptors.
    pub files_used: u64,
    /// Most file descriptors the process may have.
    pub files_limit: u64,
}

impl Broker {
    /// Looks at memory, disk and descriptors. A file system may take its time to answer: not for the hot path.
    pub fn vitals(&self) -> Vitals {
        let space = self.engine().space();
        Vitals {
            memory_used: memory::used().unwrap_or(0),
            memory_limit: self.alarms.memory_limit(),
            memory_alarm: self.alarms.short_of_memory(),
            disk_free: space.map(|space| space.room),
            disk_free_limit: space.map_or(0, |space| self.alarms.disk_limit(space)),
            disk_alarm: self.alarms.short_of_room(),
            files_used: open_files(),
            files_limit: files_limit(),
        }
    }
}

/// Entries of the process's own list of descriptors, less the one that reads it.
fn open_files() -> u64 {
    let entries = std::fs::read_dir("/proc/self/fd").or_else(|_| std::fs::read_dir("/dev/fd"));
    entries.map_or(0, |entries| (entries.count() as u64).saturating_sub(1))
}

fn files_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}
