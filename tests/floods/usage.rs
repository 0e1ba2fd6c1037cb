//! What a process uses, as the kernel counts it.

/// Octets of memory that the process has for itself (`RssAnon`), or `what` else of `/proc/PID/status` in kB.
pub(crate) fn status(id: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Anonymous memory in use, in octets.
pub(crate) fn memory(id: u32) -> u64 {
    status(id, "RssAnon:")
}

/// Descriptors that are open.
pub(crate) fn descriptors(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

/// Lets this process open as many descriptors as the system allows; returns how many those are.
pub(crate) fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}
