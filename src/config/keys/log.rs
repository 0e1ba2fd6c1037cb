//! The section `[log]`.

use super::super::{LogConsole, LogFormat, LogRotation};
use super::{KIB, Key, LEVEL, Set, TIB, bytes, level, path, show};

/// Rows of the section.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "log.format",
        default: r#""human""#,
        doc: "Shape of a log line: human or json.",
        accepts: "human or json",
        set: Set::Text(|config, text| {
            config.log_format = match text {
                "human" => LogFormat::Human,
                "json" => LogFormat::Json,
                _ => return Err(format!("{text:?} is not a format")),
            };
            Ok(())
        }),
        get: |config| show::text(config.log_format.name()),
    },
    Key {
        name: "log.level",
        default: r#""info""#,
        doc: "Least severe level that is logged, or a filter such as info,leveret::session=debug.",
        accepts: LEVEL,
        set: Set::Text(|config, text| {
            config.log_level = level(text)?;
            Ok(())
        }),
        get: |config| show::text(&config.log_level),
    },
    Key {
        name: "log.console",
        default: r#""stderr""#,
        doc: "Where log lines go besides the file: stderr, stdout or none.",
        accepts: "stderr, stdout or none",
        set: Set::Text(|config, text| {
            config.log_console = match text {
                "stderr" => LogConsole::Stderr,
                "stdout" => LogConsole::Stdout,
                "none" => LogConsole::None,
                _ => return Err(format!("{text:?} is none of them")),
            };
            Ok(())
        }),
        get: |config| show::text(config.log_console.name()),
    },
    Key {
        name: "log.file",
        default: r#""""#,
        doc: "File for log lines, which is created if missing; empty is none.",
        accepts: "a path; ~ is not expanded",
        set: Set::Text(|config, text| {
            config.log_file = path(text)?;
            Ok(())
        }),
        get: |config| show::place(config.log_file.as_ref()),
    },
    Key {
        name: "log.file_level",
        default: r#""""#,
        doc: "As level, for the file; empty means the same.",
        accepts: LEVEL,
        set: Set::Text(|config, text| {
            config.log_file_level = if text.is_empty() { None } else { Some(level(text)?) };
            Ok(())
        }),
        get: |config| show::text(config.log_file_level.as_deref().unwrap_or_default()),
    },
    Key {
        name: "log.rotation",
        default: r#""none""#,
        doc: "When the file is set aside and a new one begun: none, hourly, daily, weekly, monthly, or at a size.",
        accepts: "none, hourly, daily, weekly, monthly, or a size from 64KiB to 1TiB",
        set: Set::Text(|config, text| {
            config.log_rotation = match text {
                "none" => LogRotation::None,
                "hourly" => LogRotation::Hourly,
                "daily" => LogRotation::Daily,
                "weekly" => LogRotation::Weekly,
                "monthly" => LogRotation::Monthly,
                size => LogRotation::Size(bytes(size, 64 * KIB..=TIB)?),
            };
            Ok(())
        }),
        get: |config| show::text(config.log_rotation.name()),
    },
    Key {
        name: "log.rotation_count",
        default: "10",
        doc: "Files that were set aside and are kept.",
        accepts: "a number from 0 to 1000",
        set: Set::Text(|config, text| {
            config.log_rotation_count = match text.parse() {
                Ok(count) if count <= 1_000 => count,
                _ => return Err(format!("{text:?} is not a number of files")),
            };
            Ok(())
        }),
        get: |config| show::plain(config.log_rotation_count),
    },
];
