//! Help of the first grammar, made of its tables, and what makes bash complete it.

use std::fmt::Write as _;

use super::SWITCHES;
use super::objects::{CLOSED, DECLARED, DELETED, GOT, LISTS, PUBLISHED, PURGED, SHOWS};

fn stanza(text: &mut String, verb: &str, name: &str, needs: &[&str], takes: &[(&str, Option<&str>)]) {
    let needs: Vec<_> = needs.iter().map(|need| format!("{}=...", need.replace('|', "=... OR "))).collect();
    let takes: Vec<_> = takes.iter().map(|(name, _)| format!("{name}=...")).collect();
    let takes = if takes.is_empty() { String::new() } else { format!(" [{}]", takes.join(" ")) };
    let _ = writeln!(text, "  {} {}{takes}", format!("{verb} {name}").trim(), needs.join(" "));
}

pub(super) fn help(program: &str) -> String {
    let mut text = format!("Usage\n=====\n  {program} [options] subcommand\n\nOptions\n=======\n\n");
    for switch in SWITCHES {
        let short = switch.short.map_or_else(String::new, |letter| format!(", -{letter}"));
        let _ = writeln!(text, "  --{}{short}", switch.name);
    }
    text.push_str("\nDisplay\n=======\n\n");
    for (kinds, verb) in [(LISTS, "list"), (SHOWS, "show")] {
        for (name, ..) in kinds {
            let _ = writeln!(text, "  {verb} {name} [<column>...]");
        }
    }
    text.push_str("\nObject Manipulation\n===================\n\n");
    for object in DECLARED {
        stanza(&mut text, "declare", object.name, object.needs, object.takes);
    }
    for (name, needs) in DELETED {
        let takes: &[_] = if *name == "binding" { &[("properties_key", None)] } else { &[] };
        stanza(&mut text, "delete", name, needs, takes);
    }
    stanza(&mut text, "close", CLOSED.name, CLOSED.needs, CLOSED.takes);
    stanza(&mut text, "purge", PURGED.name, PURGED.needs, PURGED.takes);
    text.push_str("\nBroker Definitions\n==================\n\n  export <file>\n  import <file>\n");
    text.push_str("\nPublishing and Consuming\n========================\n\n");
    for object in [PUBLISHED, GOT] {
        stanza(&mut text, "", object.name, object.needs, object.takes);
    }
    text.push_str(
        "\n  * Without a payload, publish sends what is on standard input\n\n  \
         * get writes the payload to payload_file if that is given, and shows it otherwise\n\n\
         The grammar of rabbitmqadmin 2 is understood as well: rabbitmqadmin --non-interactive --help\n",
    );
    text
}

/// What makes bash complete the verbs and their objects.
pub(super) fn completion(program: &str) -> String {
    let names = |objects: &[&str]| objects.join(" ");
    let lists = names(&LISTS.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    let declared = names(&DECLARED.iter().map(|object| object.name).collect::<Vec<_>>());
    let deleted = names(&DELETED.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    format!(
        "_{program}() {{\n    local cur=\"${{COMP_WORDS[COMP_CWORD]}}\" prev=\"${{COMP_WORDS[COMP_CWORD-1]}}\" words\n    \
         case \"$prev\" in\n        list) words=\"{lists}\" ;;\n        show) words=\"overview\" ;;\n        \
         declare) words=\"{declared}\" ;;\n        delete) words=\"{deleted}\" ;;\n        close) words=\"connection\" ;;\n        \
         purge) words=\"queue\" ;;\n        export|import) COMPREPLY=($(compgen -f -- \"$cur\")); return 0 ;;\n        \
         *) words=\"list show declare delete close purge import export get publish help\" ;;\n    esac\n    \
         COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}}\ncomplete -F _{program} {program}\n"
    )
}
