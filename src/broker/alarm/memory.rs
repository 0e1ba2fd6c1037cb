//! How much memory the process holds, and how much there is for it.
//!
//! What counts is anonymous memory: pages of the store's file that happen to be mapped are the kernel's to take back, and
//! would make every large backlog look like a large process. Read from `/proc` and the cgroup file systems; on systems
//! without them nothing is known, and a relative memory watermark never raises an alarm. Deliberately absent: judgement.

use std::path::{Path, PathBuf};

/// Octets of anonymous memory this process holds now.
pub(in crate::broker) fn used() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages_used(&text).map(|pages| pages.saturating_mul(rustix::param::page_size() as u64))
}

/// Resident pages less those that are shared or of files.
fn pages_used(statm: &str) -> Option<u64> {
    let mut fields = statm.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(resident.saturating_sub(shared))
}

/// Octets of memory there are for this process: those of the machine, or of its cgroups where these allow less.
pub(super) fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups, Path::new("/sys/fs/cgroup"));
    let limits = limits.iter().filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok());
    machine.into_iter().chain(limits).min()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}

/// The files that may hold a limit of this process, by its `/proc/self/cgroup`: its own group's and those of all groups
/// above. A group that holds `max` (version 2), or that is not visible from within a container, sets no limit.
fn limit_files(groups: &str, root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (mount, file) = if controllers.is_empty() {
            (root.to_path_buf(), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // Within a container the path may be the host's: then only the mount itself is there.
        let path = Path::new(path.trim_start_matches('/'));
        files.extend(path.ancestors().map(|group| mount.join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_pages_do_not_count() {
        assert_eq!(pages_used("9000 800 300 50 0 700 0\n"), Some(500));
        assert_eq!(pages_used("9000"), None);
        assert_eq!(pages_used(""), None);
    }

    #[test]
    fn the_machine_has_memory_and_this_process_uses_some() {
        if !cfg!(target_os = "linux") {
            println!("not on Linux: nothing is known of memory");
            return;
        }
        let (used, available) = (used().unwrap(), available().unwrap());
        assert!(used > 0 && used < available, "{used} of {available}");
    }

    #[test]
    fn the_limits_of_all_groups_above_are_looked_at() {
        let show = |groups| -> Vec<String> {
            let files = limit_files(groups, Path::new("/c"));
            files.iter().map(|file| file.display().to_string()).collect()
        };
        assert_eq!(show("0::/a/b\n"), ["/c/a/b/memory.max", "/c/a/memory.max", "/c/memory.max"]);
        let old = "5:cpu,cpuacct:/x\n4:memory:/docker/1\n";
        assert_eq!(
            show(old),
            ["/c/memory/docker/1", "/c/memory/docker", "/c/memory"].map(|at| format!("{at}/memory.limit_in_bytes"))
        );
        assert!(show("nonsense\n\n").is_empty());
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2 << 20));
    }
}
