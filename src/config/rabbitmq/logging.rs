//! Keys about the log.
//!
//! Where RabbitMQ writes a file unless told otherwise, Leveret goes on writing to the console: service managers and
//! containers collect that. A file is written where a key or variable names one.

use super::super::{Config, LogConsole, LogFormat, LogRotation};
use super::draft::Draft;
use super::table::{Row, part};
use super::values::{flag, level, number};
use std::path::PathBuf;

/// What was said about the log.
#[derive(Debug, Default)]
pub(super) struct Logging {
    /// `log.console`.
    pub console: Option<bool>,
    /// `log.console.stdio`.
    pub stderr: bool,
    /// Level of everything.
    pub level: Option<&'static str>,
    console_level: Option<&'static str>,
    file_level: Option<&'static str>,
    /// Level of lines about connections.
    pub connection_level: Option<&'static str>,
    /// `log.file`, or `RABBITMQ_LOGS`.
    pub file: Option<File>,
    /// `log.dir`, or `RABBITMQ_LOG_BASE`.
    pub dir: Option<PathBuf>,
    format: Option<LogFormat>,
    date: Option<LogRotation>,
    size: Option<u64>,
    count: Option<usize>,
}

/// What is said about the file.
#[derive(Debug)]
pub(super) enum File {
    /// There is to be none.
    None,
    /// This one, in the directory if it is not a path.
    Named(String),
}

/// Where RabbitMQ's packages have their logs: what a file without a directory is in.
const DIR: &str = "/var/log/rabbitmq";

/// The module that logs what `log.connection.level` is about.
const CONNECTIONS: &str = "leveret::session";

impl Logging {
    /// Puts everything together.
    pub(super) fn finish(self, config: &mut Config) {
        let file = match (self.file, self.dir) {
            (Some(File::None), _) => None,
            (Some(File::Named(name)), dir) => Some(dir.unwrap_or_else(|| DIR.into()).join(name)),
            (None, Some(dir)) => Some(dir.join(format!("{}.log", config.node_name))),
            (None, None) => config.log_file.take(),
        };
        match self.console {
            Some(true) if self.stderr => config.log_console = LogConsole::Stderr,
            Some(true) => config.log_console = LogConsole::Stdout,
            // Without a file there would be no log at all.
            Some(false) if file.is_some() => config.log_console = LogConsole::None,
            Some(false) | None => {}
        }
        config.log_file = file;
        let filter = |level: &str| match self.connection_level {
            Some(connections) => format!("{level},{CONNECTIONS}={connections}"),
            None => level.to_owned(),
        };
        if let Some(level) = self.console_level.or(self.level) {
            config.log_level = filter(level);
        } else if self.connection_level.is_some() {
            config.log_level = filter(&config.log_level);
        }
        if let Some(level) = self.file_level.or(self.level.filter(|_| self.console_level.is_some())) {
            config.log_file_level = Some(filter(level));
        }
        if let Some(format) = self.format {
            config.log_format = format;
        }
        if let Some(size) = self.size.filter(|size| *size > 0) {
            config.log_rotation = LogRotation::Size(size.max(LogRotation::SIZE_MIN));
        } else if let Some(date) = self.date {
            config.log_rotation = date;
        }
        if let Some(count) = self.count {
            config.log_rotation_count = count;
        }
    }
}

fn formatter(draft: &mut Draft<'_>, _: &[&str], text: &str) -> Result<(), String> {
    draft.logging.format = match text {
        "plaintext" => Some(LogFormat::Human),
        "json" => Some(LogFormat::Json),
        _ => return Err(format!("{text:?} is neither plaintext nor json")),
    };
    Ok(())
}

/// RabbitMQ's notation: `$D0` is midnight each day, `$W0` begins with the day of the week, `$M1` with that of the month,
/// `$H30` is a minute of each hour. Which hour or minute it is counts for nothing here.
fn date(text: &str) -> Result<Option<LogRotation>, String> {
    let when = text.strip_prefix('$').unwrap_or(text);
    Ok(Some(match when.chars().next() {
        None => LogRotation::None,
        Some('H') => LogRotation::Hourly,
        Some('D') => LogRotation::Daily,
        Some('W') => LogRotation::Weekly,
        Some('M') => LogRotation::Monthly,
        Some(_) => return Err(format!("{text:?} is not $H.., $D.., $W.. or $M..")),
    }))
}

/// Rows of these keys.
pub(super) const ROWS: &[Row] = &[
    part("log.console", "log.console", |draft, _, text| {
        draft.logging.console = Some(flag(text)?);
        Ok(())
    }),
    part("log.console.stdio", "log.console", |draft, _, text| {
        draft.logging.stderr = match text {
            "stdout" => false,
            "stderr" => true,
            _ => return Err(format!("{text:?} is neither stdout nor stderr")),
        };
        Ok(())
    }),
    part("log.console.level", "log.level", |draft, _, text| {
        draft.logging.console_level = Some(level(text)?);
        Ok(())
    }),
    part("log.file.level", "log.file_level", |draft, _, text| {
        // Comparisons such as =info, which that key takes, mean the level they name.
        draft.logging.file_level = Some(level(text.trim_start_matches(['=', '!', '<', '>']))?);
        Ok(())
    }),
    part("log.default.level", "log.level", |draft, _, text| {
        draft.logging.level = Some(level(text)?);
        Ok(())
    }),
    part("log.connection.level", "log.level", |draft, _, text| {
        draft.logging.connection_level = Some(level(text)?);
        Ok(())
    }),
    part("log.file", "log.file", |draft, _, text| {
        draft.logging.file = Some(if text == "false" { File::None } else { File::Named(text.to_owned()) });
        Ok(())
    }),
    part("log.dir", "log.file", |draft, _, text| {
        draft.logging.dir = Some(text.into());
        Ok(())
    }),
    part("log.file.rotation.date", "log.rotation", |draft, _, text| {
        draft.logging.date = date(text)?;
        Ok(())
    }),
    part("log.file.rotation.size", "log.rotation", |draft, _, text| {
        draft.logging.size = Some(number(text)?);
        Ok(())
    }),
    part("log.file.rotation.count", "log.rotation_count", |draft, _, text| {
        const MOST: usize = 1_000;
        draft.logging.count = Some(usize::try_from(number(text)?).unwrap_or(MOST).min(MOST));
        Ok(())
    }),
    part("log.console.formatter", "log.format", formatter),
    part("log.file.formatter", "log.format", formatter),
];
