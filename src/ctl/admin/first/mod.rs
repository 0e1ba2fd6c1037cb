//! The first grammar: a verb, an object, and `name=value`.
//!
//! Verbs, objects, mandatory and optional arguments are tables; a declaration's body is what was given, as it was given.
//! Invariant: every failure is exit status 1, as in the script (2 for switches it does not know).

mod help;
mod objects;

use std::fmt::Write as _;

use serde_json::{Value, json};

use self::help::{completion, help};
use self::objects::{AS_JSON, CLOSED, DECLARED, DELETED, GOT, LISTS, Object, PUBLISHED, PURGED, SHOWS, Upload, fill};
use super::formats::{self, Style};
use super::settings::{self, Given, Settings};
use crate::auth::base64;
use crate::config::Secret;
use crate::ctl::api::{ApiError, path, query};
use crate::ctl::command::Streams;
use crate::ctl::commands::write_file;
use crate::ctl::http::{Broken, TlsFiles};
use crate::ctl::options::{Parsed, Switch, flag, number, parse_only, text};

/// Exit status of every failure but those of switches.
const FAILED: u8 = 1;
/// Exit status for switches that are not known.
const MISUSED: u8 = 2;

/// Seconds a request may take unless told otherwise.
const PATIENCE: u64 = 120;

const SWITCHES: &[Switch] = &[
    text("config").short('c'),
    text("node").short('N'),
    text("host").short('H'),
    text("port").short('P'),
    text("path-prefix"),
    text("vhost").short('V'),
    text("username").short('u'),
    text("password").short('p'),
    text("base-uri").short('U'),
    text("url"),
    flag("quiet").short('q'),
    flag("ssl").short('s'),
    text("ssl-key-file"),
    text("ssl-cert-file"),
    text("ssl-ca-cert-file"),
    flag("ssl-disable-hostname-verification"),
    flag("ssl-insecure").short('k'),
    number("request-timeout").short('t'),
    text("format").short('f'),
    text("sort").short('S'),
    flag("sort-reverse").short('R'),
    number("depth").short('d'),
    flag("bash-completion"),
    flag("version"),
    flag("help").short('h'),
];

/// Carries out a command line; returns the exit status.
pub(super) fn run(program: &str, line: &[String], streams: &mut Streams<'_>) -> u8 {
    let parsed = parse_only(line, SWITCHES);
    if let Some((name, _)) = parsed.invalid.first() {
        let what = if SWITCHES
            .iter()
            .any(|s| format!("--{}", s.name) == *name || s.short.is_some_and(|c| *name == format!("-{c}")))
        {
            "needs another value"
        } else {
            "is no option"
        };
        let _ = writeln!(
            streams.err,
            "Usage\n=====\n{program} [options] subcommand\n\n{program}: error: {name} {what}; see {program} --help"
        );
        return MISUSED;
    }
    match act(program, &parsed, streams) {
        Ok(text) => match streams.out.write_all(text.as_bytes()).and_then(|()| streams.out.flush()) {
            Ok(()) => 0,
            Err(_) => FAILED,
        },
        Err(wrong) => {
            let _ = match wrong {
                Wrong::Usage(text) => writeln!(streams.err, "\nERROR: {text}\n\n{program} --help for help\n"),
                Wrong::Failed(text) => writeln!(streams.err, "*** {text}\n"),
            };
            FAILED
        }
    }
}

/// What went wrong.
enum Wrong {
    /// The command line is not understood.
    Usage(String),
    /// The command was not carried out.
    Failed(String),
}

fn usage<T>(text: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Usage(text.into()))
}

/// The script's words for an answer that is none, or a refusal.
fn failed(path: &str, error: &ApiError) -> Wrong {
    let shown = path.split('?').next().unwrap_or_default();
    Wrong::Failed(match error {
        ApiError::Refused { status: 401, .. } => format!("Access refused: {shown}"),
        ApiError::Refused { status: 404, .. } => format!("Not found: {shown}"),
        ApiError::Broken(Broken::TimedOut(limit)) => {
            format!("Timed out getting HTTP response (request timeout: {} seconds)", limit.as_secs())
        }
        error => error.reason(),
    })
}

fn act(program: &str, line: &Parsed, streams: &mut Streams<'_>) -> Result<String, Wrong> {
    if line.on("version") {
        return Ok(format!("{program} {}\n", env!("CARGO_PKG_VERSION")));
    }
    if line.on("bash-completion") {
        return Ok(completion(program));
    }
    let Some((verb, words)) = line.words.split_first() else {
        return if line.on("help") { Ok(help(program)) } else { usage("Action not specified") };
    };
    if line.on("help") || verb == "help" {
        return Ok(help(program));
    }
    let known = ["list", "show", "declare", "delete", "close", "purge", "publish", "get", "export", "import"];
    if !known.contains(&verb.as_str()) {
        return usage(format!("Action {verb} not understood"));
    }
    let style = match line.text("format") {
        None => Style::Table,
        Some(name) => Style::named(name).map_or_else(|| usage(format!("Format {name} not recognised")), Ok)?,
    };
    let settings = settings::settle(&given(line), &settings::variable).map_err(Wrong::Usage)?;
    let mut admin = Admin { settings, line, style, quiet: line.on("quiet"), streams };
    match verb.as_str() {
        "list" => admin.list(words, LISTS, "list"),
        "show" => admin.list(words, SHOWS, "show"),
        "declare" => admin.declare(words),
        "delete" => admin.delete(words),
        "close" => admin.remove(words, &CLOSED, "closed"),
        "purge" => admin.remove(words, &PURGED, "purged"),
        "publish" => admin.publish(words),
        "get" => admin.take(words),
        "export" => admin.export(words),
        _ => admin.import(words),
    }
}

fn given(line: &Parsed) -> Given {
    let text = |name| line.text(name).map(str::to_owned);
    let path = |name| line.text(name).map(std::path::PathBuf::from);
    Given {
        file: text("config"),
        node: text("node"),
        host: text("host"),
        port: text("port"),
        prefix: text("path-prefix"),
        vhost: text("vhost"),
        user: text("username"),
        password: line.text("password").map(Secret::new),
        base_uri: text("base-uri").or_else(|| text("url")),
        tls: line.on("ssl"),
        files: TlsFiles {
            ca: path("ssl-ca-cert-file"),
            certificate: path("ssl-cert-file"),
            key: path("ssl-key-file"),
            insecure: line.on("ssl-insecure"),
            any_host: line.on("ssl-disable-hostname-verification"),
        },
        timeout: Some(line.number("request-timeout").and_then(|s| u64::try_from(s).ok()).unwrap_or(PATIENCE)),
    }
}

struct Admin<'a, 's> {
    settings: Settings,
    line: &'a Parsed,
    style: Style,
    quiet: bool,
    streams: &'a mut Streams<'s>,
}

impl Admin<'_, '_> {
    /// A line that `--quiet` leaves out.
    fn said(&self, text: impl Into<String>) -> String {
        if self.quiet { String::new() } else { format!("{}\n", text.into()) }
    }

    fn list(
        &mut self,
        words: &[String],
        kinds: &[(&str, bool, &'static [&'static str])],
        verb: &str,
    ) -> Result<String, Wrong> {
        let Some((kind, columns)) = words.split_first() else {
            return usage(format!("Don't know how to {verb} nothing"));
        };
        let Some((_, by_vhost, shown)) = kinds.iter().find(|(name, ..)| name == kind) else {
            return usage(format!("Don't know how to {verb} {kind}"));
        };
        let segment = kind.replace('_', "-");
        let mut place = match &self.settings.vhost {
            Some(vhost) if *by_vhost => path(&[&segment, vhost]),
            _ => path(&[&segment]),
        };
        let mut columns: Vec<String> = columns.iter().flat_map(|word| word.split(',')).map(str::to_owned).collect();
        // Somebody who asks for more depth wants to see what is there.
        if columns.is_empty() && self.line.text("depth").is_none() && !self.style.is_json() {
            columns = shown.iter().map(|name| (*name).to_owned()).collect();
        }
        let mut queries = Vec::new();
        if !columns.is_empty() {
            queries.push(format!("columns={}", columns.iter().map(|c| query(c)).collect::<Vec<_>>().join(",")));
        }
        if let Some(sort) = self.line.text("sort") {
            queries.push(format!("sort={}", query(sort)));
        }
        if self.line.on("sort-reverse") {
            queries.push("sort_reverse=true".to_owned());
        }
        if !queries.is_empty() {
            let _ = write!(place, "?{}", queries.join("&"));
        }
        let api = &self.settings.api;
        let items = match verb {
            "list" => api.list(&place),
            _ => api.get(&place).map(|item| vec![item]),
        };
        let items = items.map_err(|error| failed(&place, &error))?;
        let json: Vec<_> = AS_JSON.iter().filter(|(of, _)| of == kind).map(|(_, field)| *field).collect();
        Ok(self.show(&items, &columns, &json))
    }

    fn show(&self, items: &[Value], columns: &[String], json: &[&str]) -> String {
        let depth = match self.line.number("depth") {
            _ if !columns.is_empty() => usize::MAX,
            depth => depth.and_then(|depth| usize::try_from(depth).ok()).unwrap_or(1),
        };
        formats::show(self.style, items, columns, json, depth, self.quiet)
    }

    /// Reads `name=value` as an object takes them.
    fn read(&self, words: &[String], object: &Object, needs: &[&str]) -> Result<Upload, Wrong> {
        let mut upload = Upload::new();
        for (name, value) in object.takes {
            if let Some(value) = value {
                upload.insert((*name).to_owned(), serde_json::from_str(value).unwrap_or_default());
            }
        }
        let known = |name: &str| {
            needs.iter().flat_map(|need| need.split('|')).any(|need| need == name)
                || object.takes.iter().any(|(take, _)| *take == name)
        };
        for word in words {
            let Some((name, value)) = word.split_once('=') else {
                return usage(format!("Argument \"{word}\" not in the name=value format"));
            };
            if !known(name) {
                return usage(format!("Argument \"{name}\" is not recognised"));
            }
            let value = if object.json.contains(&name) {
                serde_json::from_str(value)
                    .map_err(|_| Wrong::Failed(format!("ERROR: Could not parse JSON:\n  {value}")))?
            } else {
                json!(value)
            };
            upload.insert(name.to_owned(), value);
        }
        for need in needs {
            if !need.split('|').any(|name| upload.contains_key(name)) {
                return usage(if need.contains('|') {
                    format!("one of mandatory arguments \"{}\" is required", need.replace('|', ", "))
                } else {
                    format!("mandatory argument \"{need}\" is required")
                });
            }
        }
        if !needs.contains(&"vhost") {
            upload.insert("vhost".to_owned(), json!(self.settings.declare_vhost));
        }
        Ok(upload)
    }

    fn declare(&mut self, words: &[String]) -> Result<String, Wrong> {
        let Some((kind, words)) = words.split_first() else { return usage("Type not specified") };
        let Some(object) = DECLARED.iter().find(|object| object.name == kind) else {
            return usage(format!("Type {kind} not recognised"));
        };
        let mut upload = self.read(words, object, object.needs)?;
        let place = fill(object.path, &upload);
        if let Some(kind) = upload.get("queue_type").cloned()
            && let Some(Value::Object(arguments)) = upload.get_mut("arguments")
        {
            arguments.insert("x-queue-type".to_owned(), kind);
        }
        let body = Value::Object(upload);
        let api = &self.settings.api;
        let done = if kind == "binding" { api.post(&place, &body).map(drop) } else { api.put(&place, &body).map(drop) };
        done.map_err(|error| failed(&place, &error))?;
        Ok(self.said(format!("{kind} declared")))
    }

    fn delete(&mut self, words: &[String]) -> Result<String, Wrong> {
        let Some((kind, words)) = words.split_first() else { return usage("Type not specified") };
        let Some((_, needs)) = DELETED.iter().find(|(name, _)| name == kind) else {
            return usage(format!("Type {kind} not recognised"));
        };
        let Some(declared) = DECLARED.iter().find(|object| object.name == kind) else {
            return usage(format!("Type {kind} not recognised"));
        };
        let mut segments = declared.path.to_vec();
        let takes: &[(&str, Option<&str>)] = match kind.as_str() {
            "binding" => {
                segments.push("{properties_key}");
                &[("properties_key", Some("\"~\""))]
            }
            _ => &[],
        };
        let object = Object { name: declared.name, needs: &[], takes, json: &[], path: &[] };
        let upload = self.read(words, &object, needs)?;
        let place = fill(&segments, &upload);
        self.settings.api.delete(&place).map_err(|error| failed(&place, &error))?;
        Ok(self.said(format!("{kind} deleted")))
    }

    fn remove(&mut self, words: &[String], object: &Object, done: &str) -> Result<String, Wrong> {
        let Some((kind, words)) = words.split_first() else { return usage("Type not specified") };
        if kind != object.name {
            return usage(format!("Type {kind} not recognised"));
        }
        let place = fill(object.path, &self.read(words, object, object.needs)?);
        self.settings.api.delete(&place).map_err(|error| failed(&place, &error))?;
        Ok(self.said(format!("{kind} {done}")))
    }

    fn publish(&mut self, words: &[String]) -> Result<String, Wrong> {
        let mut upload = self.read(words, &PUBLISHED, PUBLISHED.needs)?;
        let place = fill(PUBLISHED.path, &upload);
        if !upload.contains_key("payload") {
            let mut payload = Vec::new();
            let read = self.streams.input.read_to_end(&mut payload);
            read.map_err(|error| Wrong::Failed(format!("cannot read standard input: {error}")))?;
            upload.insert("payload".to_owned(), json!(base64::encode(&payload)));
            upload.insert("payload_encoding".to_owned(), json!("base64"));
        }
        let answer = self.settings.api.post(&place, &Value::Object(upload)).map_err(|error| failed(&place, &error))?;
        Ok(self.said(if answer["routed"] == true { "Message published" } else { "Message published but NOT routed" }))
    }

    fn take(&mut self, words: &[String]) -> Result<String, Wrong> {
        let upload = self.read(words, &GOT, GOT.needs)?;
        let file = upload.get("payload_file").and_then(Value::as_str).map(str::to_owned);
        if file.is_some() && upload.get("count").is_none_or(|count| *count != "1") {
            return usage("Cannot get multiple messages using payload_file");
        }
        let place = fill(GOT.path, &upload);
        let answer = self.settings.api.post(&place, &Value::Object(upload)).map_err(|error| failed(&place, &error))?;
        let messages = answer.as_array().cloned().unwrap_or_default();
        let mut columns = Vec::new();
        if let (Some(file), Some(message)) = (file, messages.first()) {
            let payload = message["payload"].as_str().unwrap_or_default();
            let octets = match message["payload_encoding"].as_str() {
                Some("base64") => base64::decode(payload).unwrap_or_default(),
                _ => payload.as_bytes().to_vec(),
            };
            std::fs::write(&file, octets).map_err(|error| Wrong::Failed(format!("{file}: {error}")))?;
            columns = ["routing_key", "exchange", "message_count", "payload_bytes", "redelivered"]
                .map(str::to_owned)
                .to_vec();
        }
        Ok(self.show(&messages, &columns, &[]))
    }

    fn definitions(&self) -> String {
        match &self.settings.vhost {
            Some(vhost) => path(&["definitions", vhost]),
            None => path(&["definitions"]),
        }
    }

    fn export(&mut self, words: &[String]) -> Result<String, Wrong> {
        let [file] = words else { return usage("Exactly one argument required") };
        let place = self.definitions();
        let found = self.settings.api.get(&place).map_err(|error| failed(&place, &error))?;
        let wrote = write_file(std::path::Path::new(file), found.to_string().as_bytes());
        wrote.map_err(|error| Wrong::Failed(format!("{file}: {error}")))?;
        Ok(self.said(format!("Exported definitions for {} to \"{file}\"", self.settings.host)))
    }

    fn import(&mut self, words: &[String]) -> Result<String, Wrong> {
        let [file] = words else { return usage("Exactly one argument required") };
        let place = self.definitions();
        let text = std::fs::read(file).map_err(|error| Wrong::Failed(format!("{file}: {error}")))?;
        self.settings.api.post_text(&place, text).map_err(|error| failed(&place, &error))?;
        Ok(self.said(format!("Uploaded definitions from \"{}\" to {file}. The import process may take some time. Consult server logs to track progress.", self.settings.host)))
    }
}
