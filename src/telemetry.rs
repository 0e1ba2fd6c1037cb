//! Logging: one subscriber to standard error, and the one way client text enters a log line.
//!
//! Lines carry user, virtual host and peer; never a message body, a password or a token. Whatever a client can choose
//! goes through [`printable`] first, so that nobody can forge a second line or steer a terminal. May touch standard
//! error and the settings of `[log]`. Deliberately absent: log files and rotation, which the service manager does
//! better, and spans per message.

use crate::config::LogFormat;
use std::fmt::{self, Write};
use std::io::IsTerminal;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

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
}

/// Sends the log of this process to standard error. `filter` is a level or a filter by module, as `log.level` takes.
pub fn start(format: LogFormat, filter: &str) -> Result<(), StartError> {
    let colour = std::io::stderr().is_terminal();
    subscriber(format, EnvFilter::try_new(filter)?, colour, std::io::stderr).try_init()?;
    Ok(())
}

fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    colour: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync + 'static>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(writer);
    match format {
        LogFormat::Human => Box::new(lines.finish()),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).finish()),
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
        let subscriber = subscriber(format, EnvFilter::new("info"), false, move || writer.clone());
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
