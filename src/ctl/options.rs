//! Command lines as RabbitMQ's tools read them: switches anywhere, words between them, nothing unknown.
//!
//! The grammar is that of the tools' own parser: `--name value`, `--name=value`, `--no-name` for a switch that is on or
//! off, `-n value`; after `--` everything is a word. A word that begins with `-` and is a number is a word.
//! Invariant: what is not known is reported with its value, never guessed. clap cannot be told this grammar: its
//! subcommands end where an unknown word begins, and its errors are its own.

/// What stands behind a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing: it is on or off.
    Nothing,
    /// A text.
    Text,
    /// A whole number.
    Number,
}

/// One switch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch {
    /// Long name, with dashes.
    pub name: &'static str,
    /// The letter that is short for it.
    pub short: Option<char>,
    /// What stands behind it.
    pub takes: Takes,
}

/// A switch that is on or off.
pub(super) const fn flag(name: &'static str) -> Switch {
    Switch { name, short: None, takes: Takes::Nothing }
}

/// A switch with a text.
pub(super) const fn text(name: &'static str) -> Switch {
    Switch { name, short: None, takes: Takes::Text }
}

/// A switch with a number.
pub(super) const fn number(name: &'static str) -> Switch {
    Switch { name, short: None, takes: Takes::Number }
}

impl Switch {
    /// The same, with a letter for short.
    pub(super) const fn short(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }
}

/// The switches that every command takes. Those without a meaning here are taken all the same, since scripts give them.
pub(super) const COMMON: &[Switch] = &[
    text("node").short('n'),
    flag("quiet").short('q'),
    flag("silent").short('s'),
    flag("dry-run"),
    text("vhost").short('p'),
    number("timeout").short('t'),
    flag("longnames").short('l'),
    text("formatter"),
    text("printer"),
    text("file"),
    text("script-name"),
    text("rabbitmq-home"),
    text("data-dir"),
    text("mnesia-dir"),
    text("plugins-dir"),
    text("enabled-plugins-file"),
    text("aliases-file"),
    text("erlang-cookie"),
    flag("help").short('?'),
    flag("print-stacktrace"),
    flag("table-headers"),
    flag("pad-to-header"),
    // Leveret's own.
    text("config"),
    text("url"),
];

/// A command line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    /// What is no switch, in order.
    pub words: Vec<String>,
    /// Switches with their values; a switch that is on has `true`.
    pub switches: Vec<(&'static str, String)>,
    /// What is not known or cannot be, with the value that makes it so.
    pub invalid: Vec<(String, Option<String>)>,
}

impl Parsed {
    /// The value of a switch; the last one given counts.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.switches.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub(super) fn on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The value of a switch with a number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(|text| text.parse().ok())
    }
}

/// Takes a command line apart, knowing [`COMMON`] and these switches.
pub(super) fn parse(line: &[String], switches: &[Switch]) -> Parsed {
    // A command's own meaning of a letter goes first.
    read(line, &[switches, COMMON].concat(), false)
}

/// Takes a command line apart, knowing these switches only; a value may stand right behind its letter.
pub(super) fn parse_only(line: &[String], switches: &[Switch]) -> Parsed {
    read(line, switches, true)
}

fn read(line: &[String], switches: &[Switch], joined: bool) -> Parsed {
    let find = |matches: &dyn Fn(&Switch) -> bool| switches.iter().find(|switch| matches(switch)).copied();
    let mut parsed = Parsed::default();
    let mut rest = line.iter().peekable();
    while let Some(word) = rest.next() {
        if word == "--" {
            parsed.words.extend(rest.cloned());
            break;
        }
        if !word.starts_with('-') || word == "-" || word.parse::<f64>().is_ok() {
            parsed.words.push(word.clone());
            continue;
        }
        let (mut given, mut attached) = match word.split_once('=') {
            Some((given, value)) if given.starts_with("--") || !joined => (given, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        if joined && !given.starts_with("--") && given.len() > 2 {
            let (letter, value) = given.split_at_checked(2).unwrap_or((given, ""));
            (given, attached) = (letter, Some(value.to_owned()));
        }
        let (switch, denied) = if let Some(long) = given.strip_prefix("--") {
            let known = find(&|switch| switch.name == long);
            let denied = long
                .strip_prefix("no-")
                .and_then(|name| find(&|switch| switch.name == name && switch.takes == Takes::Nothing));
            (known.or(denied), known.is_none())
        } else {
            let mut letters = given.chars().skip(1);
            let letter = letters.next().filter(|_| letters.next().is_none());
            (letter.and_then(|letter| find(&|switch| switch.short == Some(letter))), false)
        };
        let Some(switch) = switch else {
            parsed.invalid.push((given.to_owned(), attached));
            continue;
        };
        if switch.takes == Takes::Nothing {
            match attached.as_deref() {
                None => parsed.switches.push((switch.name, (!denied).to_string())),
                Some("true" | "false") => parsed.switches.push((switch.name, attached.unwrap_or_default())),
                Some(_) => parsed.invalid.push((given.to_owned(), attached)),
            }
            continue;
        }
        let value = attached.or_else(|| {
            rest.next_if(|next| !next.starts_with('-') || *next == "-" || next.parse::<f64>().is_ok()).cloned()
        });
        match value {
            Some(value) if switch.takes == Takes::Text || value.parse::<i64>().is_ok() => {
                parsed.switches.push((switch.name, value));
            }
            other => parsed.invalid.push((given.to_owned(), other)),
        }
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(line: &str) -> Parsed {
        let own = [number("priority"), text("apply-to"), number("number").short('N'), flag("if-empty").short('e')];
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), &own)
    }

    #[test]
    fn switches_stand_anywhere() {
        let line = take("-q list_queues -p shop --formatter=json name --no-table-headers messages");
        assert_eq!(line.words, ["list_queues", "name", "messages"]);
        assert_eq!(
            (line.text("vhost"), line.text("formatter"), line.text("table-headers"), line.on("quiet")),
            (Some("shop"), Some("json"), Some("false"), true)
        );
        assert!(line.invalid.is_empty());
    }

    #[test]
    fn numbers_may_be_negative() {
        let line = take("set_policy --priority -5 -1 -- -x --y");
        assert_eq!(
            (line.number("priority"), line.words),
            (Some(-5), ["set_policy", "-1", "-x", "--y"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn what_is_unknown_is_said() {
        let cases = [
            ("list --limit 3", "--limit", None),
            ("list --limit=3", "--limit", Some("3")),
            ("list -z", "-z", None),
            ("list --priority high", "--priority", Some("high")),
            ("list --vhost", "--vhost", None),
            ("list --vhost --quiet", "--vhost", None),
            ("list --quiet=maybe", "--quiet", Some("maybe")),
            ("list --no-vhost", "--no-vhost", None),
            ("list -qs", "-qs", None),
        ];
        for (line, name, value) in cases {
            let invalid = take(line).invalid;
            assert_eq!(invalid, [(name.to_owned(), value.map(str::to_owned))], "{line}");
        }
    }

    #[test]
    fn a_commands_letter_goes_first() {
        let line = take("log_tail -N 5 -e -n rabbit@host");
        assert_eq!(
            (line.number("number"), line.on("if-empty"), line.text("node")),
            (Some(5), true, Some("rabbit@host"))
        );
    }
}
