//! RabbitMQ's command-line tools: `leveret ctl`, and the tools by the names they are called with.
//!
//! A client of the management API and nothing else: the broker's control socket is `control.sock` in its data directory,
//! and `rabbitmqadmin` or `--url` reach any broker that has RabbitMQ's API, over TCP. One table of commands ([`command`])
//! drives dispatch, help, columns and completion. Knows the settings, to find the socket, and hashes of passwords.
//! Invariants: exit statuses are those of RabbitMQ's tools; a password stands in no text that is printed, and is read
//! from standard input where it is not given. Deliberately absent: Erlang's distribution, `eval`.
#![deny(clippy::expect_used)]
#![cfg_attr(test, allow(clippy::expect_used))]
// Commands are functions of one shape, those that cannot fail or change nothing included.
#![allow(clippy::unnecessary_wraps)]

mod admin;
mod api;
mod command;
mod commands;
mod completion;
mod failure;
mod help;
mod http;
mod options;
mod output;
mod place;
mod secrets;

use std::io::{IsTerminal, Write};
use std::path::Path;

pub use command::{Streams, Tool};
pub use completion::{complete, manual};
pub use place::CONTROL_SOCKET;

use crate::config::Args;
use command::Call;
use failure::{CONFIG, Failure, USAGE};
use options::Parsed;
use output::{Format, Output, print};
use place::Place;

/// What this program is by the name it is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of RabbitMQ's tools.
    Tool(Tool),
    /// `rabbitmqadmin`.
    Admin,
}

/// Names that stand for a role, in the first word of a command line.
const ROLES: [(&str, Role); 6] = [
    ("rabbitmqctl", Role::Tool(Tool::Ctl)),
    ("rabbitmq-diagnostics", Role::Tool(Tool::Diagnostics)),
    ("rabbitmq-queues", Role::Tool(Tool::Queues)),
    ("rabbitmq-plugins", Role::Tool(Tool::Plugins)),
    ("rabbitmq-upgrade", Role::Tool(Tool::Upgrade)),
    ("rabbitmqadmin", Role::Admin),
];

/// The role that goes with the name of a program, and that name; `None` for the broker itself.
pub fn role(program: &str) -> Option<(Role, &'static str)> {
    let name = Path::new(program).file_name()?.to_str()?;
    ROLES.iter().find(|(known, _)| *known == name).map(|(name, role)| (*role, *name))
}

/// Carries out a command line on the standard streams of this process; returns the exit status.
pub fn run(role: Role, program: &'static str, line: &[String], args: &Args) -> u8 {
    let stdin = std::io::stdin();
    let terminal = stdin.is_terminal();
    let mut input = stdin.lock();
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let streams = Streams { input: &mut input, terminal, out: &mut out, err: &mut err };
    run_with(role, program, line, args, streams)
}

/// [`run`] with streams of the caller's choice.
pub fn run_with(role: Role, program: &'static str, line: &[String], args: &Args, mut streams: Streams<'_>) -> u8 {
    let Role::Tool(tool) = role else { return admin::run(program, line, &mut streams) };
    let failed = match prepare(tool, program, line, args, &mut streams) {
        Ok(None) => return 0,
        Ok(Some(prepared)) => {
            let Prepared { command, parsed, words, format, place } = prepared;
            let mut call = Call::new((tool, program), command, (&words, &parsed), format, &place, streams.lend());
            let done = carry_out(&mut call);
            // Where the answer cannot be written, the reader has gone and knows.
            let failure = done.err();
            if let Some(failure) = &failure {
                report(call.streams.err, failure);
            }
            return failure.map_or(0, |failure| failure.status);
        }
        Err(failure) => failure,
    };
    report(streams.err, &failed);
    failed.status
}

fn report(err: &mut dyn Write, failure: &Failure) {
    if !failure.text.is_empty() {
        let _ = writeln!(err, "{}", failure.text);
    }
}

/// A command line that has been understood.
struct Prepared {
    command: &'static command::Command,
    parsed: Parsed,
    words: Vec<String>,
    format: Format,
    place: Place,
}

/// Understands a command line; `None` where help was all that was wanted, and has been given.
fn prepare(
    tool: Tool,
    program: &str,
    line: &[String],
    args: &Args,
    streams: &mut Streams<'_>,
) -> Result<Option<Prepared>, Failure> {
    let global = options::parse(line, &[]);
    let Some(name) = global.words.first() else {
        if line.iter().any(|word| word == "--version") {
            let _ = writeln!(streams.out, "{}", env!("CARGO_PKG_VERSION"));
            return Ok(None);
        }
        let usage = help::tool(tool, program);
        if global.on("help") {
            let _ = writeln!(streams.out, "{usage}");
            return Ok(None);
        }
        return Err(Failure::plain(USAGE, usage));
    };
    let Some(command) = command::find(tool, name) else {
        return Err(Failure::plain(USAGE, help::unknown(tool, program, name)));
    };
    let mut parsed = options::parse(line, command.switches);
    if parsed.on("help") {
        let _ = writeln!(streams.out, "{}", help::command(program, command));
        return Ok(None);
    }
    let words = parsed.words.split_off(1.min(parsed.words.len()));
    let wrong = |what: &str| {
        let hidden = command.secret.and_then(|at| words.get(at)).filter(|secret| !secret.is_empty());
        let line: Vec<_> =
            line.iter().map(|word| if Some(word) == hidden { "[hidden]" } else { word.as_str() }).collect();
        let usage = help::usage(program, command);
        let text = format!("Error (argument validation): {what}\nArguments given:\n\t{}\n{usage}", line.join(" "));
        Failure::plain(USAGE, text)
    };
    if !parsed.invalid.is_empty() {
        let invalid: Vec<_> =
            parsed.invalid.iter().map(|(name, value)| format!("{name} : {}", value.as_deref().unwrap_or(""))).collect();
        return Err(wrong(&format!("Invalid options for this command:\n{}", invalid.join("\n"))));
    }
    if words.len() < command.words.0 {
        return Err(wrong("not enough arguments."));
    }
    if words.len() > command.words.1 {
        return Err(wrong("too many arguments."));
    }
    let format = match parsed.text("formatter") {
        None => command.format,
        Some(name) => {
            Format::named(name).ok_or_else(|| wrong("the requested formatter is not supported by this command"))?
        }
    };
    let place = Place::find(args, &parsed);
    let unknown = {
        let mut nothing = std::io::empty();
        let (mut out, mut err) = (std::io::sink(), std::io::sink());
        let none = Streams { input: &mut nothing, terminal: false, out: &mut out, err: &mut err };
        Call::new((tool, program), command, (&words, &parsed), format, &place, none).columns().err()
    };
    if let Some(unknown) = unknown {
        return Err(wrong(&format!("Info key(s) {} are not supported", unknown.join(","))));
    }
    Ok(Some(Prepared { command, parsed, words, format, place }))
}

fn carry_out(call: &mut Call<'_>) -> Result<(), Failure> {
    if !call.is_quiet()
        && !call.format.is_for_machines()
        && let Some(banner) = call.command.banner
    {
        let banner = banner(call);
        let _ = writeln!(call.streams.out, "{banner}");
    }
    let output = if call.line.on("dry-run") { Output::Silent } else { (call.command.run)(call)? };
    let headings = !call.line.on("silent") && call.line.text("table-headers") != Some("false");
    let text = print(&output, call.format, headings, &call.node);
    match call.streams.out.write_all(text.as_bytes()).and_then(|()| call.streams.out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::error(CONFIG, format!("cannot write: {error}")))
        }
        _ => Ok(()),
    }
}
