//! Where log lines go.
//!
//! Plain values. Deliberately absent: writing them, see [`crate::telemetry`].

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line per event, coloured on a terminal.
    Human,
    /// One JSON object per line, for log collectors.
    Json,
}

/// Where log lines go besides the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogConsole {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// Nowhere.
    None,
}

/// When a log file is set aside and a new one begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRotation {
    /// Never.
    None,
    /// With each hour.
    Hourly,
    /// With each day.
    Daily,
    /// With each week.
    Weekly,
    /// With each month.
    Monthly,
    /// When it has so many octets.
    Size(u64),
}
