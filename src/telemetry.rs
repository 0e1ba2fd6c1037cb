//! Logging: one subscriber, and the one way client text enters a log line.
//!
//! Lines go to the console, to a file that is set aside by time or size ([`file`]), or to both, each with its own level,
//! which may change while the process runs.
//!
//! Lines carry user, virtual host and peer; never a message body, a password or a token. Whatever a client can choose
//! goes through [`printable`] first, so that nobody can forge a second line or steer a terminal. May touch the console,
//! the log file and the settings of `[log]`. Deliberately absent: spans per message.

mod file;

use crate::config::{Config, LogConsole, LogFormat};
use file::LogFile;
use std::fmt::{self, Write};
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// Octets of a client's text shown in a log line: a short string's length, so that names appear in full.
pub const PRINTABLE_MAX: usize = 256;

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The filter is not one.
    #[error("log.level: {0}")]
    Filter(#[from] ParseError),
    /// The process has a subscriber already.
    #[error(transparent)]
    Taken(#[from] TryInitError),
    /// The file cannot be written.
    #[error("log.file: {0}")]
    File(io::Error),
}

/// What may change of the subscriber of this process.
struct Controls {
    console: Option<reload::Handle<EnvFilter, Registry>>,
    file: Option<reload::Handle<EnvFilter, Registry>>,
    log_file: Option<LogFile>,
}

static CONTROLS: OnceLock<Controls> = OnceLock::new();

type Output = Box<dyn Layer<Registry> + Send + Sync>;

/// Sends the log of this process where the settings say.
pub fn start(config: &Config) -> Result<(), StartError> {
    let mut outputs: Vec<Output> = Vec::new();
    let mut controls = Controls { console: None, file: None, log_file: None };
    let console = EnvFilter::try_new(&config.log_level)?;
    match config.log_console {
        LogConsole::Stderr => {
            let (filter, handle) = reload::Layer::new(console);
            let colour = io::stderr().is_terminal();
            outputs.push(layer(config.log_format, colour, io::stderr).with_filter(filter).boxed());
            controls.console = Some(handle);
        }
        LogConsole::Stdout => {
            let (filter, handle) = reload::Layer::new(console);
            let colour = io::stdout().is_terminal();
            outputs.push(layer(config.log_format, colour, io::stdout).with_filter(filter).boxed());
            controls.console = Some(handle);
        }
        LogConsole::None => {}
    }
    if let Some(path) = &config.log_file {
        let writer = LogFile::open(path, config.log_rotation, config.log_rotation_count).map_err(StartError::File)?;
        let (filter, handle) = reload::Layer::new(EnvFilter::try_new(file_level(config))?);
        outputs.push(layer(config.log_format, false, writer.clone()).with_filter(filter).boxed());
        (controls.file, controls.log_file) = (Some(handle), Some(writer));
    }
    tracing_subscriber::registry().with(outputs).try_init()?;
    let _ = CONTROLS.set(controls);
    Ok(())
}

fn file_level(config: &Config) -> &str {
    config.log_file_level.as_deref().unwrap_or(&config.log_level)
}

/// Takes over the levels of newly read settings, and opens the log file anew, in case somebody has moved it away.
pub fn apply(config: &Config) -> Result<(), StartError> {
    let Some(controls) = CONTROLS.get() else { return Ok(()) };
    // First what may fail: the levels have been judged.
    controls.log_file.as_ref().map_or(Ok(()), LogFile::reopen).map_err(StartError::File)?;
    set_level(&config.log_level, file_level(config))
}

/// Changes what is logged to the console and to the file: levels, or filters by module, as `log.level` takes.
pub fn set_level(console: &str, file: &str) -> Result<(), StartError> {
    let (console, file) = (EnvFilter::try_new(console)?, EnvFilter::try_new(file)?);
    let Some(controls) = CONTROLS.get() else { return Ok(()) };
    for (handle, filter) in [(&controls.console, console), (&controls.file, file)] {
        if let Some(handle) = handle {
            // Fails only when the subscriber is gone, and with it the log.
            let _ = handle.reload(filter);
        }
    }
    Ok(())
}

/// One output.
fn layer<S, W>(format: LogFormat, colour: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(writer);
    match format {
        LogFormat::Human => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

/// A client's text, fit for a log line: control characters, line separators and bidirectional overrides are escaped,
/// octets that are not UTF-8 appear as `\xNN`, and after [`PRINTABLE_MAX`] octets the rest is only counted.
pub fn printable<T: AsRef<[u8]> + ?Sized>(text: &T) -> Printable<'_> {
    Printable(text.as_ref())
}

/// See [`printable`].
#[derive(Clone, Copy)]
pub struct Printable<'a>(&'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) = self.0.split_at(self.0.len().min(PRINTABLE_MAX));
        for chunk in shown.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    '\\' => f.write_str("\\\\")?,
                    c if is_hazardous(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                    c => f.write_char(c)?,
                }
            }
            for octet in chunk.invalid() {
                write!(f, "\\x{octet:02x}")?;
            }
        }
        if rest.is_empty() { Ok(()) } else { write!(f, "... ({} octets more)", rest.len()) }
    }
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Control characters (C0, DEL, C1: among them ESC and CSI), separators that some viewers break lines at, and
/// characters that reorder or hide what stands next to them.
fn is_hazardous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    #[derive(Clone)]
    struct Buffer(Arc<crate::sync::Mutex<Vec<u8>>>);

    impl Buffer {
        fn new() -> Self {
            Self(Arc::new(crate::sync::Mutex::new(crate::sync::Rank::Leaf, Vec::new())))
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, user: &[u8]) -> String {
        let buffer = Buffer::new();
        let writer = buffer.clone();
        let output = layer(format, false, move || writer.clone()).with_filter(EnvFilter::new("info"));
        let subscriber = tracing_subscriber::registry().with(output);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(user = %printable(user), "login refused for {}", printable(user));
            tracing::debug!("not shown");
        });
        buffer.text()
    }

    #[test]
    fn a_client_cannot_forge_a_log_line() {
        let forged = b"eve\r\n2026-01-01T00:00:00Z  INFO user 'admin' authenticated\x1b[2K\x1b[1A\xc2\x9b2J";
        for format in [LogFormat::Human, LogFormat::Json] {
            let text = logged(format, forged);
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(text.ends_with('\n') && text.contains("eve"), "{text:?}");
            assert!(text.trim_end_matches('\n').chars().all(|c| !c.is_control()), "{text:?}");
            assert!(!text.contains("not shown"));
        }
    }

    #[test]
    fn json_lines_are_json() {
        let line: serde_json::Value = serde_json::from_str(&logged(LogFormat::Json, b"a\"b\\\x00")).unwrap();
        assert_eq!(line["user"], "a\"b\\\\\\u{0}");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_stays_readable_and_escapes_are_unambiguous() {
        assert_eq!(printable("order.created").to_string(), "order.created");
        assert_eq!(printable("gr\u{fc}n").to_string(), "gr\u{fc}n");
        assert_eq!(printable("a\nb\\n").to_string(), "a\\nb\\\\n");
        assert_eq!(printable(b"a\xffb\x00").to_string(), "a\\xffb\\u{0}");
        assert_eq!(printable("\u{202e}x\u{2028}").to_string(), "\\u{202e}x\\u{2028}");
    }

    #[test]
    fn long_text_is_cut_and_counted() {
        let text = printable(&[b'a'; 1000]).to_string();
        assert_eq!(text, format!("{}... (744 octets more)", "a".repeat(256)));
        assert_eq!(printable(&[b'a'; 256]).to_string().len(), 256);
        // A character cut in two shows as its octets instead of being lost.
        let cut = format!("{}\u{fc}", "a".repeat(255));
        assert_eq!(printable(&cut).to_string(), format!("{}\\xc3... (1 octets more)", "a".repeat(255)));
    }
}
