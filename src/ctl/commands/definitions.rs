//! Definitions, written to a file and read from one.
//!
//! Invariant: a file that is written is whole or not there: it takes its place when all of it is on the disk.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::ctl::api::path;
use crate::ctl::command::{Call, Command, Section};
use crate::ctl::failure::{DATA, Failure};
use crate::ctl::options::{flag, text};
use crate::ctl::output::Output;

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "export_definitions",
        Section::Definitions,
        "<file_path | \"-\"> [--format <json>]",
        "Writes all definitions as JSON",
        export,
    )
    .words(1, 1)
    .timed()
    .switches(&[text("format")])
    .banner(|call| format!("Exporting definitions in JSON to a file at \"{}\" ...", call.word(0))),
    Command::new(
        "import_definitions",
        Section::Definitions,
        "<file_path> [--format <json>] [--skip-if-unchanged]",
        "Reads definitions from a file of JSON, or from standard input",
        import,
    )
    .words(0, 1)
    .timed()
    .patience(None)
    .switches(&[text("format"), flag("skip-if-unchanged")])
    .banner(|call| match call.words.first() {
        None => "Importing definitions in JSON from standard input ...".to_owned(),
        Some(file) => format!("Importing definitions in JSON from a file at \"{file}\" ..."),
    }),
];

fn check_format(call: &Call<'_>) -> Result<(), Failure> {
    match call.line.text("format").map(str::to_ascii_lowercase).as_deref() {
        None | Some("json") => Ok(()),
        Some("erlang") => Err(Failure::unsupported("--format erlang", "definitions are JSON here")),
        Some(_) => Err(Failure::error(DATA, "Format should be either json or erlang")),
    }
}

fn export(call: &mut Call<'_>) -> Result<Output, Failure> {
    check_format(call)?;
    let definitions = call.get(&path(&["definitions"]))?;
    if call.word(0) == "-" {
        return Ok(Output::Verbatim(format!("{definitions}\n")));
    }
    let file = Path::new(call.word(0));
    write(file, definitions.to_string().as_bytes()).map_err(|error| failure(file, "write to", &error))?;
    Ok(Output::Silent)
}

/// Puts `text` into `file` in one step. It holds hashes of passwords, so nobody else may read it.
pub(in crate::ctl) fn write(file: &Path, text: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        // A device or a pipe is written to as it is; a directory says so itself.
        return fs::OpenOptions::new().write(true).open(file)?.write_all(text);
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.unfinished", std::process::id()));
    let unfinished: PathBuf = file.with_file_name(name);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut made| made.write_all(text).and_then(|()| made.sync_all()))
        .and_then(|()| fs::rename(&unfinished, file));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// RabbitMQ's words for a file that cannot be used.
fn failure(file: &Path, what: &str, error: &io::Error) -> Failure {
    let file = file.display();
    Failure::error(
        DATA,
        match error.kind() {
            io::ErrorKind::NotFound => format!("Parent directory or file {file} does not exist"),
            io::ErrorKind::NotADirectory => format!("Parent directory of file {file} is not a directory"),
            io::ErrorKind::PermissionDenied => format!("No permissions to {what} file {file} or its parent directory"),
            io::ErrorKind::IsADirectory => format!("Path {file} is a directory"),
            io::ErrorKind::StorageFull => format!("No space left on device hosting {file}"),
            _ => format!("Could not {what} file {file}: {error}"),
        },
    )
}

fn import(call: &mut Call<'_>) -> Result<Output, Failure> {
    check_format(call)?;
    let mut text = Vec::new();
    if let Some(name) = call.words.first() {
        let file = Path::new(name);
        text = fs::read(file).map_err(|error| failure(file, "read from", &error))?;
        if text.is_empty() {
            return Err(Failure::error(DATA, format!("File {name} is zero-sized")));
        }
    } else {
        let read = call.streams.input.read_to_end(&mut text);
        read.map_err(|error| Failure::error(DATA, format!("Could not read standard input: {error}")))?;
    }
    let document: Result<Value, _> = serde_json::from_slice(&text);
    if let Err(error) = document {
        return Err(Failure::error(DATA, format!("Failed to deserialise input (format: JSON) (error: {error})")));
    }
    call.api()?.post_text(&path(&["definitions"]), text).map_err(|error| call.fail(&error))?;
    if call.is_quiet() {
        return Ok(Output::Done);
    }
    let told = json!({ "result": "ok", "node": call.node });
    Ok(Output::Said("Successfully imported the definitions".to_owned(), told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_is_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("definitions.json");
        fs::write(&file, "what was there before, and is longer").unwrap();
        write(&file, b"{}").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"{}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(dir.path(), b"{}").is_err());
        assert!(write(&dir.path().join("missing/definitions.json"), b"{}").is_err());
    }
}
