//! The shape of the source: which room may know which, how long a file may be, and what may not stand in it.
//!
//! Reads `src/` as text, so it needs no compiler plugin; the price is that it sees words, not meaning. Test code
//! counts for imports as well: a test that reaches upwards ties the rooms together all the same. Comments do not.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Floor of each room: a room may use rooms on lower floors only. `telemetry` and `lib` see and are seen by all.
const FLOORS: [(&str, u8); 19] = [
    ("main", 8),
    ("server", 7),
    ("tools", 7),
    ("perf", 7),
    ("ctl", 7),
    ("session", 6),
    ("management", 6),
    ("broker", 5),
    ("queue", 4),
    ("store", 3),
    ("message", 2),
    ("auth", 2),
    ("stats", 2),
    ("tls", 2),
    ("wire", 1),
    ("clock", 1),
    ("sync", 1),
    ("config", 1),
    ("telemetry", 1),
];

/// Rooms outside of the order of floors.
const EXEMPT: [&str; 2] = ["telemetry", "lib"];

/// A file longer than this is too long, not counting its tests.
const LINES_MAX: usize = 700;

/// A file longer than this is named in the output, to be watched.
const LINES_WATCHED: usize = 400;

/// The only file that may hold the word.
const UNSAFE: &str = "store/lmdb/mod.rs";

struct Source {
    /// Path below `src/`, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// The room this file stands in: `broker/exchange/topic.rs` is in `broker`, `config.rs` in `config`.
    fn room(&self) -> &str {
        self.path.split('/').next().map_or("", |first| first.trim_end_matches(".rs"))
    }

    /// Lines with their number, counted from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The text without line comments.
    fn code(&self) -> String {
        self.text.lines().map(without_comment).collect::<Vec<_>>().join("\n")
    }

    /// Lines before the unit tests.
    fn length(&self) -> usize {
        self.text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src/ can be listed") {
            let path: PathBuf = entry.expect("src/ can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).expect("below src/");
                let text = std::fs::read_to_string(&path).expect("source is UTF-8");
                found.push(Source { path: below.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    assert!(found.iter().any(|source| source.path == "lib.rs"), "src/lib.rs is missing: wrong folder?");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Fails with all findings at once, each as `src/FILE:LINE: what`.
fn report(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// Whether `from` may name `to`.
fn may_use(from: &str, to: &str) -> bool {
    from == to || EXEMPT.contains(&from) || EXEMPT.contains(&to) || floor(from) > floor(to)
}

/// Rooms named as `crate::ROOM`, also within braces, with the line. `this` is the crate's name where the text stands.
fn rooms_named(code: &str, this: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (at, found) in code.match_indices(this) {
        let before = &code[..at];
        let Some(rest) = code[at + found.len()..].strip_prefix("::") else { continue };
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = before.matches('\n').count() + 1;
        match rest.strip_prefix('{') {
            Some(group) => named.extend(first_words(group).into_iter().map(|word| (line, word))),
            None => named.push((line, word(rest).to_owned())),
        }
    }
    named
}

/// First word of each element of a brace group that has just been opened.
fn first_words(group: &str) -> Vec<String> {
    let (mut depth, mut at_start, mut words) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && (c.is_alphanumeric() || c == '_') => {
                words.push(word(&group[at..]).to_owned());
                at_start = false;
            }
            _ => {}
        }
    }
    words
}

fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[test]
fn every_import_points_down() {
    let mut findings = Vec::new();
    for source in sources() {
        let room = source.room();
        if floor(room).is_none() && !EXEMPT.contains(&room) {
            findings.push(format!("src/{}: the room {room:?} has no floor in tests/tidy.rs", source.path));
        }
        // The binary is a crate of its own and sees the library from outside.
        let this = if room == "main" { "leveret" } else { "crate" };
        for (line, other) in rooms_named(&source.code(), this) {
            if floor(&other).is_some() && !may_use(room, &other) {
                findings.push(format!("src/{}:{line}: {room} may not know {other}", source.path));
            }
        }
    }
    report(&findings);
}

#[test]
fn no_file_is_too_long() {
    let (mut findings, mut watched) = (Vec::new(), Vec::new());
    for source in sources() {
        let length = source.length();
        if length > LINES_MAX {
            findings.push(format!("src/{}: {length} lines without tests, at most {LINES_MAX}", source.path));
        } else if length > LINES_WATCHED {
            watched.push(format!("src/{}: {length} lines", source.path));
        }
    }
    if !watched.is_empty() {
        // Written past the test harness, which shows the output of failing tests only.
        let _ = writeln!(std::io::stderr(), "Files above {LINES_WATCHED} lines:\n{}", watched.join("\n"));
    }
    report(&findings);
}

#[test]
fn nothing_is_left_for_later() {
    let mut findings = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            for mark in ["TODO", "FIXME", "XXX", "todo!", "unimplemented!"] {
                if line.contains(mark) {
                    findings.push(format!("src/{}:{number}: {mark}", source.path));
                }
            }
        }
    }
    report(&findings);
}

#[test]
fn source_is_ascii() {
    let mut findings = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            if let Some(c) = line.chars().find(|c| !c.is_ascii()) {
                findings.push(format!(
                    "src/{}:{number}: {:?} is not ASCII",
                    source.path,
                    c.escape_unicode().to_string()
                ));
            }
        }
    }
    report(&findings);
}

#[test]
fn unsafe_stands_in_one_file() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.path != UNSAFE) {
        for (number, line) in source.lines() {
            let code = without_comment(line);
            if code
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == "unsafe" || word == "unsafe_code")
            {
                findings.push(format!("src/{}:{number}: unsafe belongs into src/{UNSAFE} only", source.path));
            }
        }
    }
    report(&findings);
}

/// Where octets of clients and of the disk are decoded: a room by its `mod.rs`, or one file of another room.
const DECODING: [&str; 9] = [
    "auth/mod.rs",
    "broker/definitions.rs",
    "broker/recover.rs",
    "config/mod.rs",
    "management/mod.rs",
    "message/mod.rs",
    "store/mod.rs",
    "tls/mod.rs",
    "wire/mod.rs",
];

/// What may not be done to such octets.
const DENIED: [&str; 5] =
    ["arithmetic_side_effects", "cast_possible_truncation", "expect_used", "indexing_slicing", "unwrap_used"];

#[test]
fn whoever_decodes_denies_what_could_panic() {
    let mut findings = Vec::new();
    let sources = sources();
    for path in DECODING {
        let source = sources.iter().find(|source| source.path == path).expect("a file of this name");
        let code = source.code();
        let (_, denied) = code.split_once("#![deny(").unwrap_or_default();
        let (denied, _) = denied.split_once(")]").unwrap_or_default();
        let missing = DENIED.iter().filter(|lint| !denied.contains(&format!("clippy::{lint}")));
        findings.extend(missing.map(|lint| format!("src/{path}: does not deny clippy::{lint}")));
    }
    report(&findings);
}

#[test]
fn every_file_says_what_it_is() {
    let mut findings = Vec::new();
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") && !first.starts_with("#![doc = include_str!(") {
            findings.push(format!("src/{}:1: begins without a //! sentence", source.path));
        }
    }
    report(&findings);
}

#[test]
fn the_floors_are_read_as_meant() {
    assert!(may_use("server", "session") && may_use("session", "broker") && may_use("queue", "queue"));
    assert!(may_use("main", "telemetry") && may_use("telemetry", "config"));
    assert!(!may_use("broker", "session") && !may_use("session", "management") && !may_use("management", "session"));
    assert!(!may_use("message", "auth") && !may_use("wire", "clock"));
    let text = "use crate::queue::Queue;\nuse crate::{\n    store::{Batch, Engine},\n    wire,\n};\n\
                let x = crate::sync::Rank::Leaf;\nmy_crate::session::x();\npub(crate) fn f() {}\n";
    let named: Vec<_> = rooms_named(text, "crate").into_iter().map(|(line, room)| format!("{line} {room}")).collect();
    assert_eq!(named, ["1 queue", "2 store", "2 wire", "6 sync"]);
    assert_eq!(rooms_named("use leveret::server;", "leveret"), [(1, "server".to_owned())]);
}

/// Words in backquotes that can only be names of tests: of several words.
fn tests_named(page: &str) -> Vec<&str> {
    let words = page.split('`').skip(1).step_by(2);
    words
        .filter(|word| {
            word.matches('_').count() > 1
                && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
        })
        .collect()
}

#[test]
fn the_page_about_security_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("src/SECURITY.md")).expect("the page is there");
    let mut folders = vec![root.join("src"), root.join("tests")];
    let mut code = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder can be listed") {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                code += &std::fs::read_to_string(&path).expect("source is UTF-8");
            }
        }
    }
    let named = tests_named(&page);
    assert!(named.len() > 50, "{}", named.len());
    let missing: Vec<String> = named
        .into_iter()
        .filter(|name| !code.contains(&format!("fn {name}(")))
        .map(|name| format!("src/SECURITY.md: there is no test {name}"))
        .collect();
    report(&missing);
}
