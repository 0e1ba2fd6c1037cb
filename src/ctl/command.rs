//! What a command is, and the one table of all commands.
//!
//! A row of the table holds everything that is known of a command: which tools have it, what it takes, its columns, how
//! it announces itself, what it does. Help, completion and dispatch read that row and nothing else. Invariant: names are
//! unique within a tool, which a test holds.

use std::cell::OnceCell;
use std::io::{BufRead, Write};

use serde_json::Value;

use super::api::{Api, ApiError};
use super::commands;
use super::failure::{Failure, UNAVAILABLE};
use super::options::{Parsed, Switch};
use super::output::{Format, Output};
use super::place::Place;
use super::secrets;

/// RabbitMQ's tools that share this grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `leveret ctl`: the commands of all tools but that for plugins.
    Leveret,
    /// `rabbitmqctl`.
    Ctl,
    /// `rabbitmq-diagnostics`.
    Diagnostics,
    /// `rabbitmq-queues`.
    Queues,
    /// `rabbitmq-plugins`, and `leveret plugins`.
    Plugins,
    /// `rabbitmq-upgrade`.
    Upgrade,
}

/// Where help lists a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Help,
    Nodes,
    Cluster,
    Users,
    Access,
    Monitoring,
    Parameters,
    Policies,
    Vhosts,
    Configuration,
    Definitions,
    FeatureFlags,
    Operations,
    Queues,
    Plugins,
    Unsupported,
}

impl Section {
    /// Its heading.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Help => "Help",
            Self::Nodes => "Nodes",
            Self::Cluster => "Cluster",
            Self::Users => "Users",
            Self::Access => "Access Control",
            Self::Monitoring => "Monitoring, observability and health checks",
            Self::Parameters => "Parameters",
            Self::Policies => "Policies",
            Self::Vhosts => "Virtual hosts",
            Self::Configuration => "Configuration and Environment",
            Self::Definitions => "Definitions",
            Self::FeatureFlags => "Feature flags",
            Self::Operations => "Operations",
            Self::Queues => "Queues",
            Self::Plugins => "Plugin Management",
            Self::Unsupported => "Known, but not supported here",
        }
    }
}

/// Columns a listing can have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    /// All, in RabbitMQ's order.
    pub all: &'static [&'static str],
    /// Those shown when none are asked for.
    pub shown: &'static [&'static str],
}

type Run = fn(&mut Call<'_>) -> Result<Output, Failure>;
type Banner = fn(&Call<'_>) -> String;

/// One command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub name: &'static str,
    pub tools: &'static [Tool],
    pub section: Section,
    /// What follows the name in its usage.
    pub usage: &'static str,
    pub about: &'static str,
    /// Switches beyond the common ones.
    pub switches: &'static [Switch],
    /// Fewest and most words behind the name.
    pub words: (usize, usize),
    /// Which word is a secret, counted from 0.
    pub secret: Option<usize>,
    pub columns: Option<Columns>,
    pub format: Format,
    /// Seconds after which it gives up, unless told otherwise.
    pub patience: Option<u64>,
    /// Whether the broker is told `--timeout` and answers in that time, so that nobody gives up before it.
    pub entrusted: bool,
    /// Whether its usage names `--timeout`.
    pub timed: bool,
    pub banner: Option<Banner>,
    pub run: Run,
}

/// Seconds a command waits for the broker: what RabbitMQ's listings wait.
const PATIENCE: u64 = 60;

/// Words without an upper bound.
pub(super) const MANY: usize = usize::MAX;

const CTL: &[Tool] = &[Tool::Ctl];

/// Tools that both list and look.
pub(super) const BOTH: &[Tool] = &[Tool::Ctl, Tool::Diagnostics];

impl Command {
    /// A command of `rabbitmqctl` without words.
    pub(super) const fn new(
        name: &'static str,
        section: Section,
        usage: &'static str,
        about: &'static str,
        run: Run,
    ) -> Self {
        Self {
            name,
            tools: CTL,
            section,
            usage,
            about,
            switches: &[],
            words: (0, 0),
            secret: None,
            columns: None,
            format: Format::Plain,
            patience: Some(PATIENCE),
            entrusted: false,
            timed: false,
            banner: None,
            run,
        }
    }

    pub(super) const fn tools(self, tools: &'static [Tool]) -> Self {
        Self { tools, ..self }
    }

    pub(super) const fn words(self, fewest: usize, most: usize) -> Self {
        Self { words: (fewest, most), ..self }
    }

    pub(super) const fn switches(self, switches: &'static [Switch]) -> Self {
        Self { switches, ..self }
    }

    pub(super) const fn secret(self, word: usize) -> Self {
        Self { secret: Some(word), ..self }
    }

    /// A listing with these columns, all of which may be asked for.
    pub(super) const fn columns(self, all: &'static [&'static str], shown: &'static [&'static str]) -> Self {
        Self { columns: Some(Columns { all, shown }), format: Format::Table, words: (0, MANY), timed: true, ..self }
    }

    /// A table of fixed columns.
    pub(super) const fn table(self) -> Self {
        Self { format: Format::Table, timed: true, ..self }
    }

    pub(super) const fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    pub(super) const fn timed(self) -> Self {
        Self { timed: true, ..self }
    }

    pub(super) const fn patience(self, seconds: Option<u64>) -> Self {
        Self { patience: seconds, ..self }
    }

    pub(super) const fn entrusted(self) -> Self {
        Self { patience: None, entrusted: true, timed: true, ..self }
    }

    pub(super) const fn banner(self, banner: Banner) -> Self {
        Self { banner: Some(banner), ..self }
    }

    /// Whether `tool` has it.
    pub(super) fn is_of(&self, tool: Tool) -> bool {
        self.tools.contains(&tool) || (tool == Tool::Leveret && self.tools.iter().any(|tool| *tool != Tool::Plugins))
    }
}

/// Every command, group by group.
pub(super) fn all() -> impl Iterator<Item = &'static Command> {
    commands::GROUPS.iter().copied().flatten()
}

/// The command of that name, if the tool has it.
pub(super) fn find(tool: Tool, name: &str) -> Option<&'static Command> {
    all().find(|command| command.name == name && command.is_of(tool))
}

/// What a tool reads and writes.
pub struct Streams<'a> {
    /// Standard input.
    pub input: &'a mut dyn BufRead,
    /// Whether a person types there.
    pub terminal: bool,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

impl Streams<'_> {
    /// The same streams for a while.
    pub(super) fn lend(&mut self) -> Streams<'_> {
        Streams { input: &mut *self.input, terminal: self.terminal, out: &mut *self.out, err: &mut *self.err }
    }
}

impl std::fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

/// One command being carried out.
pub(super) struct Call<'a> {
    pub tool: Tool,
    pub program: &'a str,
    pub command: &'static Command,
    /// Words behind the command's name.
    pub words: &'a [String],
    pub line: &'a Parsed,
    pub format: Format,
    /// The node's name as texts have it.
    pub node: String,
    pub place: &'a Place,
    pub streams: Streams<'a>,
    api: OnceCell<Api>,
    checked: OnceCell<()>,
}

impl<'a> Call<'a> {
    /// A call; nothing is connected yet.
    pub(super) fn new(
        (tool, program): (Tool, &'a str),
        command: &'static Command,
        (words, line): (&'a [String], &'a Parsed),
        format: Format,
        place: &'a Place,
        streams: Streams<'a>,
    ) -> Self {
        let node = place.node(line);
        let (api, checked) = (OnceCell::new(), OnceCell::new());
        Self { tool, program, command, words, line, format, node, place, streams, api, checked }
    }

    /// The broker's API, once it is known to be that of the node named.
    pub(super) fn api(&self) -> Result<&Api, Failure> {
        let api = self.any_api()?;
        if self.checked.get().is_none() {
            Place::check(api, self.line, self.command, &self.node)?;
            let _ = self.checked.set(());
        }
        Ok(api)
    }

    /// The broker's API, whatever its name, for those who wait for it to be there.
    pub(super) fn any_api(&self) -> Result<&Api, Failure> {
        if let Some(api) = self.api.get() {
            return Ok(api);
        }
        let api = self.place.connect(self.line, self.command)?;
        Ok(self.api.get_or_init(|| api))
    }

    /// A word behind the name; empty where there is none, which the command's count of words excludes.
    pub(super) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    /// The virtual host the command is about.
    pub(super) fn vhost(&self) -> &str {
        self.line.text("vhost").unwrap_or("/")
    }

    /// Whether nothing but the answer may be printed.
    pub(super) fn is_quiet(&self) -> bool {
        self.line.on("quiet") || self.line.on("silent")
    }

    /// A failure of this command that nothing more special is known of.
    pub(super) fn fail(&self, error: &ApiError) -> Failure {
        error.failure(self.command.name, &self.node)
    }

    /// What is at `path`.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.api()?.get(path).map_err(|error| self.fail(&error))
    }

    /// The list at `path`.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        self.api()?.list(path).map_err(|error| self.fail(&error))
    }

    /// The columns asked for.
    pub(super) fn columns(&self) -> Result<Vec<&'static str>, Vec<String>> {
        let Some(columns) = self.command.columns else { return Ok(Vec::new()) };
        if self.words.is_empty() {
            return Ok(columns.shown.to_vec());
        }
        let (mut known, mut unknown): (Vec<&'static str>, Vec<String>) = (Vec::new(), Vec::new());
        for name in self.words.iter().flat_map(|word| word.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
            match columns.all.iter().find(|known| **known == name) {
                Some(name) if known.contains(name) => {}
                Some(name) => known.push(name),
                None => unknown.push(name.to_owned()),
            }
        }
        if unknown.is_empty() { Ok(known) } else { Err(unknown) }
    }

    /// The secret of that place: a word, or the first line of standard input.
    pub(super) fn secret(&mut self, at: usize, prompt: &str, missing: u8) -> Result<String, Failure> {
        if let Some(word) = self.words.get(at) {
            return Ok(word.clone());
        }
        secrets::read(&mut self.streams, prompt)
            .ok_or_else(|| Failure::error(missing, "Password is not provided via argument or stdin"))
    }

    /// A word that has to be a JSON document.
    pub(super) fn json(&self, at: usize) -> Result<Value, Failure> {
        serde_json::from_str(self.word(at))
            .map_err(|error| Failure::error(UNAVAILABLE, format!("Could not parse JSON document: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_within_a_tool() {
        for tool in [Tool::Leveret, Tool::Ctl, Tool::Diagnostics, Tool::Queues, Tool::Plugins, Tool::Upgrade] {
            let mut seen = HashSet::new();
            for command in all().filter(|command| command.is_of(tool)) {
                assert!(seen.insert(command.name), "{tool:?}: {} is there twice", command.name);
            }
            assert!(seen.contains("help"), "{tool:?} has no help");
        }
    }

    #[test]
    fn rows_of_the_table_make_sense() {
        for command in all() {
            assert!(!command.tools.is_empty() && !command.about.is_empty(), "{}", command.name);
            assert!(!command.about.ends_with('.'), "{}: help ends sentences itself", command.name);
            assert!(command.words.0 <= command.words.1, "{}", command.name);
            if let Some(columns) = command.columns {
                let unknown: Vec<_> = columns.shown.iter().filter(|name| !columns.all.contains(name)).collect();
                assert!(unknown.is_empty(), "{}: {unknown:?}", command.name);
            }
        }
    }
}
