//! What every tool has: help, version, completion of names.

use serde_json::json;

use crate::ctl::command::{Call, Command, Section, Tool, all, find};
use crate::ctl::failure::{Failure, USAGE};
use crate::ctl::help;
use crate::ctl::options::flag;
use crate::ctl::output::Output;

const ALL: &[Tool] = &[Tool::Ctl, Tool::Diagnostics, Tool::Queues, Tool::Plugins, Tool::Upgrade];

pub(super) const COMMANDS: &[Command] = &[
    Command::new("help", Section::Help, "(<command> | [--list-commands])", "Shows how a command is used", show)
        .tools(ALL)
        .words(0, 1)
        .switches(&[flag("list-commands")]),
    Command::new("version", Section::Help, "", "Shows the version of this tool", version).tools(ALL),
    Command::new("autocomplete", Section::Help, "[prefix]", "Shows the commands that begin so", complete)
        .tools(ALL)
        .words(0, 1),
];

fn show(call: &mut Call<'_>) -> Result<Output, Failure> {
    if call.line.on("list-commands") {
        return Ok(Output::message(help::commands(call.tool)));
    }
    let Some(name) = call.words.first() else { return Ok(Output::message(help::tool(call.tool, call.program))) };
    match find(call.tool, name) {
        Some(command) => Ok(Output::message(help::command(call.program, command))),
        None => Err(Failure::plain(USAGE, help::unknown(call.tool, call.program, name))),
    }
}

fn version(_: &mut Call<'_>) -> Result<Output, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    Ok(Output::Said(version.to_owned(), json!({ "version": version })))
}

fn complete(call: &mut Call<'_>) -> Result<Output, Failure> {
    let mut names: Vec<_> = all()
        .filter(|command| command.is_of(call.tool) && command.name.starts_with(call.word(0)))
        .map(|command| format!("{}\n", command.name))
        .collect();
    names.sort();
    Ok(Output::Verbatim(names.concat()))
}
