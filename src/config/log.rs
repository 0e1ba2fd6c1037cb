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

impl LogFormat {
    /// The text that selects it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
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

impl LogConsole {
    /// The text that selects it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stderr => "stderr",
            Self::Stdout => "stdout",
            Self::None => "none",
        }
    }
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

impl LogRotation {
    /// The least size a file is set aside at, in octets: less would keep the disk busy with names.
    pub(super) const SIZE_MIN: u64 = 64 * 1024;

    /// The text that selects it.
    pub(super) fn name(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Hourly => "hourly".to_owned(),
            Self::Daily => "daily".to_owned(),
            Self::Weekly => "weekly".to_owned(),
            Self::Monthly => "monthly".to_owned(),
            Self::Size(octets) => octets.to_string(),
        }
    }
}
