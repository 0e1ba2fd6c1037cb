//! The second grammar: a group, an act, and long options.
//!
//! A table of acts ([`acts`]) is turned into clap's grammar, which gives help, checks and completion; each act is a
//! function of its options. Exit statuses: 2 for command lines clap refuses, 64 for options that do not go together, 65
//! for whatever the broker refuses, 69 for checks that fail.

mod acts;
mod columns;
mod objects;
mod readings;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use self::acts::{ACTS, Act, Kind, Opt};
use super::frames::{self, Frame};
use super::settings::{self, Given, Settings};
use crate::config::Secret;
use crate::ctl::api::ApiError;
use crate::ctl::command::Streams;
use crate::ctl::failure::{DATA, UNAVAILABLE, USAGE};
use crate::ctl::http::TlsFiles;

/// Seconds a request may take unless told otherwise.
const PATIENCE: u64 = 60;

/// Why an act was not done.
pub(super) enum Wrong {
    /// Options that are missing or do not go together.
    Usage(String),
    /// Something given is wrong, or a file cannot be used.
    Data(String),
    /// The broker refused or was not there.
    Api(ApiError),
    /// A check failed; rows that say how.
    Failed(Vec<(String, String)>),
}

impl From<ApiError> for Wrong {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

/// What an act found.
pub(super) enum Shown {
    /// Nothing to say.
    Nothing,
    /// A line that `--quiet` leaves out.
    Passed(String),
    /// Text as it is.
    Text(String),
    /// A table.
    Table(Vec<String>, Vec<Vec<String>>),
    /// A table of keys and values below a title.
    Titled(&'static str, Vec<Vec<String>>),
}

/// One act being done.
pub(super) struct Doing<'a, 's> {
    pub settings: &'a Settings,
    /// The act's own options.
    pub options: &'a ArgMatches,
    pub streams: &'a mut Streams<'s>,
}

impl Doing<'_, '_> {
    /// The value of an option, if it was given or has a default.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.options.try_get_one::<String>(name).ok().flatten().map(String::as_str)
    }

    /// The value of an option that clap has made sure of.
    pub(super) fn must(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    /// Whether a switch is on.
    pub(super) fn on(&self, name: &str) -> bool {
        self.options.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or(false)
    }

    /// All values of an option that may be given more than once.
    pub(super) fn many(&self, name: &str) -> Vec<&str> {
        self.options.try_get_many::<String>(name).ok().flatten().into_iter().flatten().map(String::as_str).collect()
    }

    /// A value that has to be JSON.
    pub(super) fn json(&self, name: &str) -> Result<Value, Wrong> {
        let text = self.must(name);
        serde_json::from_str(text).map_err(|error| Wrong::Data(format!("Failed to parse JSON argument: {error}")))
    }

    /// The virtual host of the act.
    pub(super) fn vhost(&self) -> &str {
        &self.settings.declare_vhost
    }
}

/// The grammar, as clap has it.
pub(in crate::ctl) fn grammar(program: &'static str) -> Command {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name(name).help(help);
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let mut command = Command::new(program)
        .about("Talks to the management API of a broker")
        .infer_long_args(true)
        .arg_required_else_help(true)
        .subcommand_required(true)
        .arg(text("config", "file with brokers' addresses [default: ~/.rabbitmqadmin.conf]").short('c'))
        .arg(text("node", "section of that file [default: default]").short('N'))
        .arg(text("host", "host of the management API [default: localhost]").short('H'))
        .arg(text("port", "its port [default: 15672, with TLS 15671]").short('P'))
        .arg(text("base-uri", "its whole address").short('U').visible_alias("url"))
        .arg(text("path-prefix", "what comes before its paths"))
        .arg(text("username", "user to log in as [default: guest]").short('u'))
        .arg(text("password", "the user's password").short('p'))
        .arg(switch("insecure", "trust whatever certificate the broker shows").short('k'))
        .arg(switch("use-tls", "speak TLS").visible_alias("tls"))
        .arg(text("tls-ca-cert-file", "certificates to trust"))
        .arg(text("tls-cert-file", "certificate to show"))
        .arg(text("tls-key-file", "its key"))
        .arg(
            text("timeout", "seconds a request may take [default: 60]")
                .value_parser(clap::value_parser!(u64).range(1..)),
        )
        .arg(switch("verbose", "accepted for scripts that give it").short('v'))
        .arg(switch("quiet", "print no line but what was asked for").short('q'))
        .arg(text("vhost", "virtual host [default: /]").short('V').global(true))
        .arg(switch("non-interactive", "print neither frames nor headings").global(true))
        .arg(
            Arg::new("table-style")
                .long("table-style")
                .global(true)
                .help("how tables are drawn")
                .value_parser(clap::value_parser!(Frame)),
        );
    let mut groups: Vec<(&str, &str)> = Vec::new();
    for act in ACTS {
        if !groups.iter().any(|(name, _)| *name == act.group) {
            groups.push((act.group, acts::about(act.group)));
        }
    }
    for (name, about) in groups {
        let acts = ACTS.iter().filter(|act| act.group == name).map(subcommand);
        let group = Command::new(name).about(about).infer_long_args(true).subcommand_required(true);
        command = command.subcommand(group.arg_required_else_help(true).subcommands(acts));
    }
    command
}

fn subcommand(act: &Act) -> Command {
    let arguments = act.options.iter().map(|Opt { name, short, kind, default, required }| {
        let argument = Arg::new(*name).value_name(*name).required(*required);
        let argument = if *kind == Kind::Word { argument } else { argument.long(*name) };
        let argument = match kind {
            Kind::Flag => return argument.value_name("").action(ArgAction::SetTrue),
            Kind::Text | Kind::Word => argument.allow_hyphen_values(true),
            Kind::Number => argument
                .value_parser(|text: &str| {
                    text.parse::<i64>().map(|_| text.to_owned()).map_err(|_| "is not a number".to_owned())
                })
                .allow_negative_numbers(true),
            Kind::Truth => argument.value_parser(["true", "false"]),
            Kind::Many => argument.action(ArgAction::Append).value_delimiter(','),
        };
        let argument = match short {
            Some(letter) => argument.short(*letter),
            None => argument,
        };
        match default {
            Some(value) => argument.default_value(*value),
            None => argument,
        }
    });
    Command::new(act.name).about(act.about).infer_long_args(true).args(arguments)
}

/// Carries out a command line; returns the exit status.
pub(super) fn run(program: &'static str, line: &[String], streams: &mut Streams<'_>) -> u8 {
    let words = std::iter::once(OsString::from(program)).chain(line.iter().map(OsString::from));
    let matches = match grammar(program).try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            let text = error.render();
            let _ = if error.use_stderr() { write!(streams.err, "{text}") } else { write!(streams.out, "{text}") };
            return u8::try_from(error.exit_code()).unwrap_or(USAGE);
        }
    };
    let Some((group, options)) = matches.subcommand() else { return USAGE };
    let Some((name, options)) = options.subcommand() else { return USAGE };
    let Some(act) = ACTS.iter().find(|act| act.group == group && act.name == name) else { return USAGE };
    let settings = match settings::settle(&given(&matches, options), &settings::variable) {
        Ok(settings) => settings,
        Err(why) => {
            let _ = writeln!(streams.err, "{why}");
            return DATA;
        }
    };
    let variable = settings::variable;
    let is_true = |text: &str| text.eq_ignore_ascii_case("true") || text == "1";
    let scripted = options.get_flag("non-interactive")
        || variable("RABBITMQADMIN_NON_INTERACTIVE_MODE").is_some_and(|text| is_true(&text))
        || settings.file.get("non_interactive").is_some_and(|text| is_true(text));
    let named = |name: &str| <Frame as clap::ValueEnum>::from_str(name, true).ok();
    let frame = options.get_one::<Frame>("table-style").copied();
    let frame = frame.or_else(|| variable("RABBITMQADMIN_TABLE_STYLE").and_then(|name| named(&name)));
    let frame = frame.or_else(|| settings.file.get("table_style").and_then(|name| named(name))).unwrap_or_default();
    let quiet = matches.get_flag("quiet");
    let pair = ["key".to_owned(), "value".to_owned()];
    let done = (act.run)(&mut Doing { settings: &settings, options, streams });
    let (text, status) = match done {
        Ok(Shown::Nothing) => (String::new(), 0),
        Ok(Shown::Passed(text)) => (if quiet { String::new() } else { format!("{text}\n") }, 0),
        Ok(Shown::Text(text)) => (text, 0),
        Ok(Shown::Table(heading, rows)) => (frames::table(frame, scripted, None, &heading, &rows), 0),
        Ok(Shown::Titled(title, rows)) => (frames::table(frame, scripted, Some(title), &pair, &rows), 0),
        Err(Wrong::Failed(pairs)) => {
            let rows: Vec<_> = pairs.into_iter().map(|(key, value)| vec![key, value]).collect();
            (frames::table(frame, scripted, None, &pair, &rows), UNAVAILABLE)
        }
        Err(wrong) => return report(act, options, &wrong, streams),
    };
    match streams.out.write_all(text.as_bytes()).and_then(|()| streams.out.flush()) {
        Ok(()) => status,
        Err(_) => DATA,
    }
}

fn report(act: &Act, options: &ArgMatches, wrong: &Wrong, streams: &mut Streams<'_>) -> u8 {
    let idempotent = options.try_get_one::<bool>("idempotently").ok().flatten().copied().unwrap_or(false);
    let (text, status) = match wrong {
        Wrong::Usage(text) => (text.clone(), USAGE),
        Wrong::Data(text) => (text.clone(), DATA),
        Wrong::Api(error) if error.is_not_found() && idempotent => return 0,
        Wrong::Api(error) if error.is_not_found() => ("API responded with a 404 Not Found".to_owned(), DATA),
        Wrong::Api(error) => (error.reason(), if act.group == "health_check" { UNAVAILABLE } else { DATA }),
        Wrong::Failed(_) => (String::new(), UNAVAILABLE),
    };
    let _ = writeln!(streams.err, "{text}");
    status
}

fn given(matches: &ArgMatches, options: &ArgMatches) -> Given {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let path = |name: &str| matches.get_one::<String>(name).map(PathBuf::from);
    Given {
        file: text("config"),
        node: text("node"),
        host: text("host"),
        port: text("port"),
        prefix: text("path-prefix"),
        vhost: options.get_one::<String>("vhost").cloned(),
        user: text("username"),
        password: text("password").map(Secret::new),
        base_uri: text("base-uri"),
        tls: matches.get_flag("use-tls"),
        files: TlsFiles {
            ca: path("tls-ca-cert-file"),
            certificate: path("tls-cert-file"),
            key: path("tls-key-file"),
            insecure: matches.get_flag("insecure"),
            any_host: false,
        },
        timeout: Some(matches.get_one::<u64>("timeout").copied().unwrap_or(PATIENCE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        grammar("rabbitmqadmin").debug_assert();
    }

    #[test]
    fn acts_take_their_options() {
        let lines = [
            "queues list",
            "--non-interactive list queues --page 1 --page-size 5",
            "declare queue --name q --type quorum --durable true --arguments {}",
            "publish message --routing-key q --payload -x- --properties {}",
            "get messages -q q -c 3 -a ack_requeue_false",
            "health_check port_listener --port 5672",
            "declare user --name u --password p --tags administrator",
            "declare policy --name p --pattern ^x --apply-to queues --priority -3 --definition {}",
            "passwords salt_and_hash secret",
            "show overview",
            "-H h -P 1 -u a -p b -V v delete queue --name q --idempotently",
        ];
        for line in lines {
            let words = std::iter::once("rabbitmqadmin").chain(line.split_whitespace());
            if let Err(error) = grammar("rabbitmqadmin").try_get_matches_from(words) {
                panic!("{line}: {error}");
            }
        }
        for line in [
            "queues",
            "queues list --page",
            "declare queue",
            "declare vhost_limit --name n --value many",
            "nonsense do",
        ] {
            let words = std::iter::once("rabbitmqadmin").chain(line.split_whitespace());
            assert!(grammar("rabbitmqadmin").try_get_matches_from(words).is_err(), "{line}");
        }
    }
}
