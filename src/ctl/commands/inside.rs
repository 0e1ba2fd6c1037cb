//! What is inside of the node: its versions, logs, settings and logins, and a report of everything.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::ctl::api::path;
use crate::ctl::command::{BOTH, Call, Command, Section, Streams, Tool, find};
use crate::ctl::failure::{Failure, UNAVAILABLE};
use crate::ctl::options::{flag, number};
use crate::ctl::output::{Cell, Format, Output, print};

const LOOK: Section = Section::Monitoring;
const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "server_version",
        LOOK,
        "",
        "Shows the version of RabbitMQ that the broker answers as",
        server_version,
    )
    .tools(DIAGNOSTICS)
    .banner(|call| format!("Asking node {} for its RabbitMQ version...", call.node)),
    Command::new("erlang_version", LOOK, "", "Shows what stands in Erlang's place", erlang_version)
        .tools(DIAGNOSTICS)
        .timed()
        .switches(&[flag("details"), flag("offline")])
        .banner(|call| format!("Asking node {} for its Erlang/OTP version...", call.node)),
    Command::new("tls_versions", LOOK, "", "Shows the versions of TLS the broker speaks", tls_versions)
        .tools(DIAGNOSTICS)
        .banner(|_| "Listing all TLS versions supported by the runtime...".to_owned()),
    Command::new("log_location", Section::Configuration, "[--all|-a]", "Shows where the log is", log_location)
        .tools(DIAGNOSTICS)
        .timed()
        .switches(&[flag("all").short('a')])
        .banner(|call| format!("Log file location(s) on node {} ...", call.node)),
    Command::new("log_tail", LOOK, "[--number|-N <number>]", "Shows the last lines of the log file", log_tail)
        .tools(DIAGNOSTICS)
        .timed()
        .switches(&[number("number").short('N')])
        .banner(|call| format!("Last {} log lines on node {} ...", lines_wanted(call), call.node)),
    Command::new("environment", Section::Configuration, "", "Shows the settings in force", environment)
        .tools(BOTH)
        .banner(|call| format!("Application environment of node {} ...", call.node)),
    Command::new("report", LOOK, "", "Shows everything that helps to find out what is wrong", report)
        .tools(BOTH)
        .timed()
        .banner(|call| format!("Reporting server status of node {} ...", call.node)),
    Command::new(
        "list_node_auth_attempt_stats",
        LOOK,
        "[--by-source]",
        "Lists logins that were let in or refused",
        attempts,
    )
    .tools(BOTH)
    .format(Format::Table)
    .switches(&[flag("by-source")])
    .banner(|call| format!("Listing authentication attempts for node \"{}\" ...", call.node)),
];

/// The node as the API has it.
pub(super) fn node(call: &Call<'_>) -> Result<Value, Failure> {
    Ok(call.list(&path(&["nodes"]))?.into_iter().next().unwrap_or_default())
}

/// A text of a field, whatever its type; nothing where it is missing.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn server_version(call: &mut Call<'_>) -> Result<Output, Failure> {
    Ok(Output::value(shown(&call.get(&path(&["overview"]))?["rabbitmq_version"])))
}

fn erlang_version(call: &mut Call<'_>) -> Result<Output, Failure> {
    if call.line.on("offline") {
        return Err(Failure::unsupported("--offline", "these tools are not written in Erlang"));
    }
    let field = if call.line.on("details") { "erlang_full_version" } else { "erlang_version" };
    Ok(Output::value(shown(&call.get(&path(&["overview"]))?[field])))
}

fn tls_versions(_: &mut Call<'_>) -> Result<Output, Failure> {
    let versions = ["tlsv1.3", "tlsv1.2"];
    Ok(Output::Said(versions.join("\n"), json!({ "versions": versions })))
}

fn log_files(call: &Call<'_>) -> Result<Vec<String>, Failure> {
    Ok(super::users::tags(&node(call)?["log_files"]))
}

fn log_location(call: &mut Call<'_>) -> Result<Output, Failure> {
    let mut files = log_files(call)?;
    if !call.line.on("all") {
        files.truncate(1);
    }
    let document = json!({ "result": "ok", "node_name": call.node, "paths": files });
    Ok(Output::Said(files.join("\n"), document))
}

fn lines_wanted(call: &Call<'_>) -> usize {
    call.line.number("number").and_then(|number| usize::try_from(number).ok()).unwrap_or(50)
}

/// Octets at the end of a log that are looked through for its last lines.
const TAIL: u64 = 1 << 20;

fn log_tail(call: &mut Call<'_>) -> Result<Output, Failure> {
    use std::io::{Read, Seek, SeekFrom};
    let files = log_files(call)?;
    let file = files.iter().find(|file| std::path::Path::new(file).is_file());
    let Some(file) = file else {
        return Err(Failure::error(UNAVAILABLE, "this broker logs to no file of this machine"));
    };
    let read = std::fs::File::open(file).and_then(|mut log| {
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        log.take(TAIL).read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).into_owned())
    });
    let tail = read.map_err(|error| Failure::error(UNAVAILABLE, format!("{file}: {error}")))?;
    let lines: Vec<_> = tail.lines().collect();
    let from = lines.len().saturating_sub(lines_wanted(call));
    Ok(Output::message(lines.get(from..).unwrap_or_default().join("\n")))
}

fn environment(call: &mut Call<'_>) -> Result<Output, Failure> {
    match call.api()?.text(&path(&["leveret", "environment"])) {
        Ok(settings) => Ok(Output::Said(settings.trim_end().to_owned(), settings.into())),
        Err(error) if error.is_unknown() => {
            Err(Failure::unsupported("environment", "this broker's API does not show its settings"))
        }
        Err(error) => Err(call.fail(&error)),
    }
}

/// What a report is made of, command by command.
const REPORTED: [&str; 13] = [
    "status",
    "cluster_status",
    "memory_breakdown",
    "environment",
    "list_vhosts",
    "list_users",
    "list_feature_flags",
    "list_connections",
    "list_channels",
    "list_queues",
    "list_exchanges",
    "list_policies",
    "list_permissions",
];

fn report(call: &mut Call<'_>) -> Result<Output, Failure> {
    call.get(&path(&["overview"]))?;
    let vhosts = call.list(&path(&["vhosts"]))?;
    let vhosts: Vec<_> = vhosts.iter().filter_map(|vhost| vhost["name"].as_str()).collect();
    let mut text = String::new();
    for name in REPORTED {
        let Some(command) = find(Tool::Leveret, name) else { continue };
        let of_vhosts = command.usage.contains("--vhost");
        for vhost in if of_vhosts { vhosts.as_slice() } else { &["/"] } {
            let mut line = call.line.clone();
            line.switches.push(("vhost", (*vhost).to_owned()));
            let mut nothing = std::io::empty();
            let (mut out, mut err) = (std::io::sink(), std::io::sink());
            let streams = Streams { input: &mut nothing, terminal: false, out: &mut out, err: &mut err };
            let mut part =
                Call::new((call.tool, call.program), command, (&[], &line), command.format, call.place, streams);
            let banner = command.banner.map_or_else(|| name.to_owned(), |banner| banner(&part));
            let _ = writeln!(text, "{banner}");
            match (command.run)(&mut part) {
                Ok(output) => text.push_str(&print(&output, part.format, true, &part.node)),
                Err(failure) => {
                    let _ = writeln!(text, "{}", failure.text);
                }
            }
            text.push('\n');
        }
    }
    Ok(Output::message(text))
}

fn attempts(call: &mut Call<'_>) -> Result<Output, Failure> {
    let name = shown(&node(call)?["name"]);
    let by_source = call.line.on("by-source");
    let mut segments = vec!["auth", "attempts", name.as_str()];
    segments.extend(by_source.then_some("source"));
    let columns: &[&'static str] = if by_source {
        &["remote_address", "username", "protocol", "auth_attempts", "auth_attempts_failed", "auth_attempts_succeeded"]
    } else {
        &["protocol", "auth_attempts", "auth_attempts_failed", "auth_attempts_succeeded"]
    };
    let found = call.list(&path(&segments))?;
    let row = |item: &Value| columns.iter().map(|name| (*name, Cell::Plain(item[*name].clone()))).collect();
    Ok(Output::Rows { rows: found.iter().map(row).collect(), streamed: false })
}
