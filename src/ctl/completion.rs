//! What makes shells complete command lines, and the manual page.
//!
//! The tools' own grammar is not clap's, but their commands and switches are a table, of which clap makes completions
//! as of its own.

use std::io::{self, Write};

use clap::{Arg, ArgAction, CommandFactory};
use clap_complete::Shell;

use super::command::{Tool, all};
use super::options::{COMMON, Switch, Takes};
use super::{Role, admin, role};
use crate::config::Args;

/// Exit status for a program that is not known.
const UNKNOWN: u8 = super::failure::USAGE;

/// Prints completions of the program of this name; returns the exit status.
pub fn complete(shell: Shell, program: &str, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let mut command = match (program, role(program)) {
        ("leveret", _) => Args::command(),
        (_, Some((Role::Tool(tool), name))) => of_tool(tool, name),
        (_, Some((Role::Admin, name))) => admin::grammar(name),
        _ => {
            let _ = writeln!(err, "{program} is neither leveret nor a tool of its");
            return UNKNOWN;
        }
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, program, &mut text);
    print(&text, out)
}

/// Prints the manual page; returns the exit status.
pub fn manual(out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let mut text = Vec::new();
    match clap_mangen::Man::new(Args::command()).render(&mut text) {
        Ok(()) => print(&text, out),
        Err(error) => {
            let _ = writeln!(err, "{error}");
            super::failure::SOFTWARE
        }
    }
}

fn print(text: &[u8], out: &mut dyn Write) -> u8 {
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => super::failure::SOFTWARE,
        _ => 0,
    }
}

/// A tool's commands and switches as clap has them.
fn of_tool(tool: Tool, program: &'static str) -> clap::Command {
    let argument = |switch: &Switch| {
        let argument = Arg::new(switch.name).long(switch.name);
        let argument = match switch.short {
            Some(letter) => argument.short(letter),
            None => argument,
        };
        if switch.takes == Takes::Nothing { argument.action(ArgAction::SetTrue) } else { argument }
    };
    let commands = all().filter(|command| command.is_of(tool)).map(|command| {
        let own = command.switches.iter();
        // A letter that a command has for itself is not the common one.
        let taken: Vec<char> = own.clone().filter_map(|switch| switch.short).collect();
        let common = COMMON
            .iter()
            .filter(|switch| !command.switches.iter().any(|own| own.name == switch.name))
            .map(|switch| Switch { short: switch.short.filter(|letter| !taken.contains(letter)), ..*switch });
        clap::Command::new(command.name)
            .about(command.about)
            .disable_help_flag(true)
            .args(own.copied().chain(common).map(|switch| argument(&switch)))
    });
    clap::Command::new(program)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .args(COMMON.iter().map(argument))
        .subcommands(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_completed_in_every_shell() {
        for program in
            ["leveret", "rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-queues", "rabbitmq-plugins", "rabbitmqadmin"]
        {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                let (mut out, mut err) = (Vec::new(), Vec::new());
                assert_eq!(complete(shell, program, &mut out, &mut err), 0, "{program}");
                let text = String::from_utf8(out).unwrap();
                assert!(text.contains(program) && err.is_empty(), "{program} {shell}");
                if program == "rabbitmqctl" {
                    assert!(text.contains("list_queues") && text.contains("table-headers"), "{shell}");
                }
            }
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(complete(Shell::Bash, "other", &mut out, &mut err), UNKNOWN);
        assert!(out.is_empty() && !err.is_empty());
    }

    #[test]
    fn the_manual_names_the_commands() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(manual(&mut out, &mut err), 0);
        let text = String::from_utf8(out).unwrap();
        for word in [".TH", "backup", "ctl", "data\\-dir"] {
            assert!(text.contains(word), "{word}");
        }
    }
}
