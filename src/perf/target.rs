//! Where a broker is and who logs in, read from an AMQP URI.
//!
//! Pure. Deliberately absent: `amqps`, since blocking sockets carry no TLS here.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

use super::PerfError;
use crate::config::AMQP_PORT;

/// A broker's address, virtual host and user.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) vhost: String,
}

impl Target {
    /// Reads `amqp://user:password@host:port/vhost`; whatever is left out is RabbitMQ's default. A path of `/` alone is
    /// the default virtual host, as tools have it, not one with an empty name, as the letter of the URI has it.
    pub(super) fn parse(uri: &str) -> Result<Self, PerfError> {
        let wrong = |why: String| PerfError::Setting(format!("{uri}: {why}"));
        let url = Url::parse(uri).map_err(|why| wrong(why.to_string()))?;
        match url.scheme() {
            "amqp" => {}
            "amqps" => return Err(wrong("TLS is not supported".to_owned())),
            other => return Err(wrong(format!("the scheme is {other}, not amqp"))),
        }
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let or_guest = |text: &str| if text.is_empty() { "guest".to_owned() } else { plain(text) };
        let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("localhost");
        let vhost = url.path().strip_prefix('/').filter(|path| !path.is_empty()).unwrap_or("/");
        Ok(Self {
            // An IPv6 address stands in brackets in a URI, and without them everywhere else.
            host: plain(host.trim_start_matches('[').trim_end_matches(']')),
            port: url.port().unwrap_or(AMQP_PORT),
            user: or_guest(url.username()),
            password: or_guest(url.password().unwrap_or_default()),
            vhost: plain(vhost),
        })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.vhost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(uri: &str) -> [String; 5] {
        let target = Target::parse(uri).unwrap();
        [target.host, target.port.to_string(), target.user, target.password, target.vhost]
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        assert_eq!(parsed("amqp://localhost"), ["localhost", "5672", "guest", "guest", "/"]);
        assert_eq!(parsed("amqp://127.0.0.1:1234/"), ["127.0.0.1", "1234", "guest", "guest", "/"]);
        assert_eq!(parsed("amqp://u:p%40@h:1/%2fv"), ["h", "1", "u", "p@", "/v"]);
        assert_eq!(parsed("amqp://[::1]:5672/v"), ["::1", "5672", "guest", "guest", "v"]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for uri in ["http://localhost", "localhost:5672", "amqps://localhost"] {
            assert!(matches!(Target::parse(uri), Err(PerfError::Setting(_))), "{uri}");
        }
    }
}
