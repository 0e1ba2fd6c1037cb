//! RabbitMQ's own configuration, read as it is: `rabbitmq.conf`, `conf.d`, `advanced.config`, variables.
//!
//! A key that matters sets what it means in Leveret, a key without a meaning here is noted with a reason, and a wrong key
//! or value is a problem with file and line, as with Leveret's own file. The table of keys ([`table`]) is shown to people
//! in `config/RABBITMQ_CONF.md`. May read files and list directories at the start. Deliberately absent: where the files
//! are looked for, which [`super::load`] knows.

mod access;
mod advanced;
mod draft;
mod erlang;
mod files;
mod ignored;
mod lexer;
mod listeners;
mod logging;
mod notes;
mod resources;
mod simple;
mod table;
#[cfg(test)]
mod tests;
mod values;
mod variables;

use super::{Config, Environment, Problem};
use draft::Draft;
use std::path::PathBuf;

pub(super) use files::matching;
pub use notes::{Notes, Reason};
pub(super) use variables::assignments;

/// Where RabbitMQ's configuration is, in the order of reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// Files like `rabbitmq.conf`; later ones win.
    pub conf: Vec<PathBuf>,
    /// A file of Erlang terms.
    pub advanced: Option<PathBuf>,
    /// The file with the enabled plugins, if no variable says another.
    pub plugins: Option<PathBuf>,
    /// Whether the program is to behave as RabbitMQ where nobody says anything.
    pub like_rabbitmq: bool,
}

/// A level of RabbitMQ's log as `log.level` takes it; nothing where RabbitMQ has none of that name.
pub fn log_level(name: &str) -> Option<&'static str> {
    values::level(name).ok()
}

/// Reads files and variables over `config`.
pub(super) fn read(config: Config, sources: Sources, env: &Environment) -> (Config, Notes, Vec<Problem>) {
    let mut draft = Draft::new(config, env);
    draft.like_rabbitmq = sources.like_rabbitmq;
    for path in &sources.conf {
        draft.file(path);
    }
    if let Some(path) = &sources.advanced {
        draft.advanced(path);
    }
    draft.plugins(sources.plugins);
    draft.variables();
    draft.finish()
}
