//! What was counted, against the committed ceilings.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::paths::{PATHS, Path as Counted};

/// Where the ceilings are.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/instructions/ceilings.toml");

/// What `--accept` leaves above a count, in per cent. Two runs differ by less than one, with topics by three, since hash
/// maps have other seeds; two releases of the compiler, or changes elsewhere that make it inline otherwise, by a few.
const HEADROOM: u64 = 5;

/// Beneath this share of its ceiling, in per cent, a path has become so much better that the ceiling no longer guards it.
const SLACK: u64 = 80;

const HEADING: &str = "\
# Instructions that one operation of each hot path may take, with about 5 % of headroom: see main.rs beside this file.
# Written by `cargo instructions --accept` on x86-64. Whoever raises a line says why in the commit.
";

/// Ceilings by the names of their paths.
pub(crate) type Ceilings = BTreeMap<String, u64>;

/// The committed ones; none if there is no file yet.
pub(crate) fn ceilings() -> Result<Ceilings, String> {
    let text = std::fs::read_to_string(FILE).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(String::new()),
        _ => Err(format!("{FILE}: {error}")),
    })?;
    toml::from_str(&text).map_err(|error| format!("{FILE}: {error}"))
}

/// Prints the table; an error names every path that is above its ceiling, or without one.
pub(crate) fn compare(ceilings: &Ceilings, counts: &[(&Counted, u64)], profiles: &Path) -> Result<(), String> {
    let mut wrong = String::new();
    println!("| path | instructions | ceiling | |\n|---|---:|---:|---|");
    for (path, count) in counts {
        let Some(ceiling) = ceilings.get(path.name) else {
            let _ = writeln!(wrong, "{}: {count} instructions {}, and no ceiling yet", path.name, path.each);
            continue;
        };
        let note = if count > ceiling {
            "too many"
        } else if count * 100 < ceiling * SLACK {
            "lower the ceiling"
        } else {
            ""
        };
        println!("| {} | {count} | {ceiling} | {note} |", path.name);
        if count > ceiling {
            let _ = writeln!(wrong, "{}: {count} instructions {}, at most {ceiling} may be", path.name, path.each);
        }
    }
    let stale = ceilings.keys().filter(|name| PATHS.iter().all(|path| path.name != **name));
    stale.for_each(|name| _ = writeln!(wrong, "{name}: has a ceiling, and is not counted"));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "\n{wrong}\nWhere they go: `callgrind_annotate --auto=no {}/NAME.out`, here and on the commit before.\n\
         If they are worth it: `cargo instructions --accept`, and commit {FILE} with the reason.",
        profiles.display()
    ))
}

/// Writes what was counted as the new ceilings; those of paths that were not counted stay.
pub(crate) fn accept(mut ceilings: Ceilings, counts: &[(&Counted, u64)]) -> Result<(), String> {
    ceilings.retain(|name, _| PATHS.iter().any(|path| path.name == *name));
    for (path, count) in counts {
        let ceiling = (count * (100 + HEADROOM)).div_ceil(100);
        println!("{}: {count}, ceiling {ceiling}", path.name);
        ceilings.insert(path.name.to_owned(), ceiling);
    }
    let mut text = HEADING.to_owned();
    for path in PATHS {
        if let Some(ceiling) = ceilings.get(path.name) {
            let _ = write!(text, "\n# {}\n{} = {ceiling}\n", path.what, path.name);
        }
    }
    std::fs::write(FILE, text).map_err(|error| format!("{FILE}: {error}"))
}
