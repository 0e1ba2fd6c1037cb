//! Conversations, recordings and differences as they lie on disk: sections that begin with `== name`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A named part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) lines: Vec<String>,
}

/// Where the files of this test are.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name)
}

/// The sections of a text. Lines before the first, empty ones and those that begin with `#` are for readers only.
pub(crate) fn sections(text: &str) -> Vec<Section> {
    let mut found: Vec<Section> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        if let Some(name) = line.strip_prefix("== ") {
            found.push(Section { name: name.to_owned(), lines: Vec::new() });
        } else if !line.is_empty()
            && !line.starts_with('#')
            && let Some(section) = found.last_mut()
        {
            section.lines.push(line.to_owned());
        }
    }
    found
}

/// All sections of the text files in a folder, by file.
pub(crate) fn read_folder(name: &str) -> BTreeMap<String, Vec<Section>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder(name)).into_iter().flatten() {
        let path = entry.expect("the folder can be listed").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            files.insert(stem, read_file(&path));
        }
    }
    files
}

/// The sections of a file; none if it is missing.
pub(crate) fn read_file(path: &Path) -> Vec<Section> {
    sections(&std::fs::read_to_string(path).unwrap_or_default())
}

/// Writes sections into a file, replacing those it has of the same name, and dropping those not in `order`.
pub(crate) fn update(path: &Path, order: &[String], fresh: Vec<Section>) {
    let mut all: BTreeMap<String, Section> =
        read_file(path).into_iter().chain(fresh).map(|section| (section.name.clone(), section)).collect();
    let mut text = String::new();
    for section in order.iter().filter_map(|name| all.remove(name)) {
        text.extend(["== ", &section.name, "\n", &section.lines.join("\n"), "\n\n"]);
    }
    std::fs::write(path, text.trim_end().to_owned() + "\n").expect("the file can be written");
}
