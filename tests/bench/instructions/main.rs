//! Instructions that the hot paths take, counted by valgrind's callgrind and held to committed ceilings.
//!
//! A clock cannot guard speed on a machine that others use; instructions come out the same each time, so that a few per
//! cent more are seen. They are not time: a change that misses caches or takes more system calls costs time and no
//! instructions, which is what `loopback` and `growth` are for.
//!
//! `cargo instructions` counts all paths (about half a minute) and fails if one is above its ceiling;
//! `cargo instructions NAME...` counts some; `cargo instructions --accept` writes what it counted, and the headroom, into
//! `ceilings.toml`. The binary runs itself under callgrind: each path is prepared for `2 * n` operations and does `n` of
//! them, then all, and the difference is what they cost, without whatever came before. Where it goes shows
//! `callgrind_annotate` on the file named after a failure.

// It prints, and a measuring tool that cannot go on says why and ends.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)]

mod paths;
mod pipe;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;

use paths::{PATHS, Path as Counted};

/// What the broker allocates with, since allocating is part of every path.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Says to the binary that it is the one that is counted: the name of a path, operations prepared, operations done.
const COUNTED: &str = "--counted";

/// The C library copies memory with what the processor is best at, and callgrind counts a copy by `rep movsb` octet by
/// octet: with these hidden from it (under the names of old and new versions) every processor copies alike.
const TUNABLES: &str = "glibc.cpu.hwcaps=-ERMS,-FSRM,-AVX512F,-AVX512VL,-AVX2,-AVX2_Usable,-AVX,-AVX_Usable,\
    -AVX_Fast_Unaligned_Load";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [first, name, prepared, done] = args.as_slice()
        && first == COUNTED
    {
        let path = PATHS.iter().find(|path| path.name == name).unwrap();
        (path.run)(prepared.parse().unwrap(), done.parse().unwrap());
        return;
    }
    if let Some(why) = inapplicable() {
        println!("instructions: not counted: {why}");
        return;
    }
    if let Err(wrong) = guard(&args) {
        println!("{wrong}");
        std::process::exit(1);
    }
}

/// Why ceilings mean nothing here.
fn inapplicable() -> Option<&'static str> {
    let myself = std::env::current_exe().unwrap();
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Some("the ceilings are those of x86-64 Linux");
    }
    let in_profile = myself.components().any(|part| part.as_os_str() == "count");
    (!in_profile).then_some("the ceilings are those of the profile `count`: run `cargo instructions`")
}

/// Counts the paths named, or all, and compares or accepts.
fn guard(args: &[String]) -> Result<(), String> {
    let accept = args.iter().any(|arg| arg == "--accept");
    let names: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "--accept").collect();
    if let Some(unknown) = names.iter().find(|name| PATHS.iter().all(|path| path.name != **name)) {
        let known: Vec<_> = PATHS.iter().map(|path| path.name).collect();
        return Err(format!("{unknown} is none of the paths counted: {}", known.join(", ")));
    }
    let folder = std::env::current_exe().unwrap().with_file_name("callgrind");
    std::fs::create_dir_all(&folder).unwrap();
    let chosen = PATHS.iter().filter(|path| names.is_empty() || names.contains(&path.name));
    let ceilings = report::ceilings()?;
    let mut counts = Vec::new();
    for path in chosen {
        let mut counted = count(path, &folder)?;
        // Where hash maps have unlucky seeds the other run has better ones.
        if !accept && ceilings.get(path.name).is_some_and(|ceiling| counted > *ceiling) {
            counted = counted.min(count(path, &folder)?);
        }
        counts.push((path, counted));
    }
    if accept { report::accept(ceilings, &counts) } else { report::compare(&ceilings, &counts, &folder) }
}

/// Instructions an operation.
fn count(path: &Counted, folder: &Path) -> Result<u64, String> {
    let all = 2 * path.operations;
    // The shorter run first, so that what is left for `callgrind_annotate` is the longer one.
    let half = callgrind(path, all, path.operations, folder)?;
    let whole = callgrind(path, all, all, folder)?;
    Ok(whole.saturating_sub(half).div_ceil(path.operations))
}

/// Instructions of a whole run.
fn callgrind(path: &Counted, prepared: u64, done: u64, folder: &Path) -> Result<u64, String> {
    let file = file(path, folder);
    let scratch = tempfile::tempdir_in(folder).unwrap();
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe().unwrap())
        .args([COUNTED, path.name, &prepared.to_string(), &done.to_string()])
        .env("GLIBC_TUNABLES", TUNABLES)
        .env(paths::SCRATCH, scratch.path())
        .output()
        .map_err(|error| format!("valgrind cannot be run ({error}); Debian's package is `valgrind`"))?;
    let said = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        return Err(format!("{}: {}\n{said}", path.name, run.status));
    }
    let profile = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let total = profile.lines().find_map(|line| line.strip_prefix("summary:").or_else(|| line.strip_prefix("totals:")));
    total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| format!("{}: nothing counted\n{said}", path.name))
}

/// Where a path's profile stays.
fn file(path: &Counted, folder: &Path) -> PathBuf {
    folder.join(format!("{}.out", path.name))
}
