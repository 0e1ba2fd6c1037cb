//! Which files there are, and what they say.
//!
//! Reads files and lists directories, at the start only. Invariants: files are read in the order in which later ones win;
//! includes are followed [`INCLUDES_MAX`] deep at most.

use super::super::Origin;
use super::draft::Draft;
use super::lexer::{self, Item};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Octets of a file: one that has more is none of settings.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// Includes within includes.
const INCLUDES_MAX: usize = 8;

impl Draft<'_> {
    /// Reads a `rabbitmq.conf`.
    pub(super) fn file(&mut self, path: &Path) {
        self.like_rabbitmq = true;
        self.file_at(path, INCLUDES_MAX);
    }

    /// The text of a file, unless it cannot be read, which is reported.
    pub(super) fn text_of(&mut self, path: &Path) -> Option<String> {
        self.notes.files.push(path.to_owned());
        match read_text(path) {
            Ok(text) => Some(text),
            Err(error) => {
                let wrong = format!("cannot be read: {error}");
                self.report(Origin::File(path.to_owned(), 1), "", wrong, "a readable file in UTF-8");
                None
            }
        }
    }

    fn file_at(&mut self, path: &Path, deeper: usize) {
        let Some(text) = self.text_of(path) else { return };
        let at = |line| Origin::File(path.to_owned(), line);
        let (items, wrongs) = lexer::read(&text);
        for (line, wrong) in wrongs {
            self.report(at(line), "", wrong, "");
        }
        for item in items {
            match item {
                Item::Setting(setting) => {
                    let key: Vec<&str> = setting.key.iter().map(String::as_str).collect();
                    self.setting(&key, &setting.value, at(setting.line));
                }
                Item::Include(line, files) => {
                    let Some(deeper) = deeper.checked_sub(1) else {
                        self.report(at(line), "include", "files include each other too deeply", "");
                        continue;
                    };
                    let base = path.parent().unwrap_or(Path::new("."));
                    for path in matching(&base.join(files)) {
                        self.file_at(&path, deeper);
                    }
                }
            }
        }
    }
}

/// A file's text; a device that never ends is not read to its end.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    if read as u64 >= FILE_MAX { Err(io::Error::other("it is too large")) } else { Ok(text) }
}

/// The files that a pattern means, by name: those of a directory that end in `.conf`, those whose name fits if its last
/// part has a `*`, or the file itself.
pub(in super::super) fn matching(pattern: &Path) -> Vec<PathBuf> {
    let (folder, name) = if pattern.is_dir() {
        (pattern, "*.conf")
    } else {
        match (pattern.parent(), pattern.file_name().and_then(|name| name.to_str())) {
            (Some(folder), Some(name)) if name.contains('*') => (folder, name),
            _ => return vec![pattern.to_owned()],
        }
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let fits_name = |path: &PathBuf| {
        path.file_name()
            .and_then(|known| known.to_str())
            .is_some_and(|known| !known.starts_with('.') && fits(name, known))
    };
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(fits_name).filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        let Some((_, behind)) = name.split_once(part) else { return false };
        name = behind;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("1*-*.conf", "10-defaults.conf", true),
            ("1*-*.conf", "10.conf", false),
            ("*", "x", true),
            ("x", "x", true),
            ("x", "y", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn directories_hold_conf_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["20-b.conf", "10-a.conf", "note.txt", ".hidden.conf"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let names = |paths: Vec<PathBuf>| -> Vec<String> {
            paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(matching(dir.path())), ["10-a.conf", "20-b.conf"]);
        assert_eq!(names(matching(&dir.path().join("1*.conf"))), ["10-a.conf"]);
        assert_eq!(names(matching(&dir.path().join("one.conf"))), ["one.conf"]);
        assert_eq!(names(matching(&dir.path().join("no/such/*.conf"))), [""; 0]);
    }
}
