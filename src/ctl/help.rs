//! Help: what a tool can do, how a command is called, which command was meant.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::command::{Command, Section, Tool, all};

/// How alike two names must be for one to be taken for the other, from 0 to 1: RabbitMQ's measure.
const ALIKE: f64 = 0.77;

/// Everything a tool can do.
pub(super) fn tool(tool: Tool, program: &str) -> String {
    let mut text = format!(
        "\nUsage\n\n{program} [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> \
         [<command options>]\n\nAvailable commands:\n"
    );
    text.push_str(&commands(tool));
    let _ = write!(text, "\nUse '{program} help <command>' to learn more about a specific command");
    text
}

/// The commands of a tool, by section.
pub(super) fn commands(tool: Tool) -> String {
    let mut sections: BTreeMap<Section, Vec<&Command>> = BTreeMap::new();
    for command in all().filter(|command| command.is_of(tool)) {
        sections.entry(command.section).or_default().push(command);
    }
    let width = sections.values().flatten().map(|command| command.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (section, mut commands) in sections {
        commands.sort_by_key(|command| command.name);
        let _ = write!(text, "\n{}:\n\n", section.heading());
        for command in commands {
            let _ = writeln!(text, "   {:width$}  {}", command.name, command.about);
        }
    }
    text
}

/// How a command is called.
pub(super) fn usage(program: &str, command: &Command) -> String {
    let mut text = format!("\nUsage\n\n{program} [--node <node>] [--longnames] [--quiet] {}", command.name);
    if !command.usage.is_empty() {
        let _ = write!(text, " {}", command.usage);
    }
    if command.timed {
        text.push_str(" [--timeout <timeout>]");
    }
    text
}

/// Help on one command.
pub(super) fn command(program: &str, command: &Command) -> String {
    let mut text = format!("{}\n\n{}.\n", usage(program, command), command.about);
    if let Some(columns) = command.columns {
        let _ = write!(
            text,
            "\nColumns\n\n{}\n\nShown when none are named: {}\n",
            columns.all.join(", "),
            columns.shown.join(", ")
        );
    }
    text.push_str(
        "\nGeneral Options\n\n\
         -n, --node <node>       fail unless the broker is the node of this name\n\
         -p, --vhost <vhost>     virtual host, for commands that are about one (default /)\n\
         -q, --quiet             print no line that says what is being done\n\
         -s, --silent            as --quiet, and no headings of columns\n\
         -t, --timeout <n>       give up after this many seconds\n    \
             --formatter <f>     table, pretty_table, csv, json, erlang or plain\n    \
             --no-table-headers  print no headings of columns\n    \
             --data-dir <dir>    the broker's data directory, where its control socket is\n    \
             --config <file>     the broker's settings, which say where that is\n    \
             --url <url>         a broker's management API instead: http://user:password@host:15672\n\
         -?, --help              this help\n",
    );
    text
}

/// What to say of a command that is not there.
pub(super) fn unknown(of: Tool, program: &str, name: &str) -> String {
    let mut best: (f64, &str) = (0.0, "");
    for command in all().filter(|command| command.is_of(of)) {
        let alike = strsim::jaro(command.name, name);
        if alike > best.0 {
            best = (alike, command.name);
        }
    }
    if best.0 >= ALIKE {
        return format!("\nCommand '{name}' not found. \nDid you mean '{}'? \n", best.1);
    }
    format!("\nCommand '{name}' not found. \n{}", tool(of, program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_suggested_and_others_are_not() {
        assert!(unknown(Tool::Ctl, "rabbitmqctl", "list_queue").contains("Did you mean 'list_queues'?"));
        let text = unknown(Tool::Ctl, "rabbitmqctl", "nonsense");
        assert!(text.starts_with("\nCommand 'nonsense' not found. \n\nUsage\n\nrabbitmqctl [--node <node>]"), "{text}");
        assert!(text.contains("\nAvailable commands:\n\nHelp:\n\n   autocomplete"), "{text}");
    }
}
