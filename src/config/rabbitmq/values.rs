//! Values of a `rabbitmq.conf`: numbers with units, addresses, choices.
//!
//! Pure functions from text to what Leveret's own keys accept as text, or to a value. Units are RabbitMQ's: `k` is 1024,
//! `kB` is 1000, where sizes of memory and disks are meant; and 1024 in either form for `frame_max` and its like.

use std::net::{IpAddr, SocketAddr};

/// What [`information`] accepts.
pub(super) const INFORMATION: &str = "a number of octets, or one with k, kiB, kB, M, MiB, MB, G, GiB, GB, T, TiB or TB";

/// A number, in decimal digits.
pub(super) fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

/// `true` or `false`; RabbitMQ has keys that take `on` and `off`, too.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// Octets of memory or disk.
pub(super) fn information(text: &str) -> Result<u64, String> {
    let (digits, unit) = split(text);
    let factor = match unit {
        "" | "B" | "b" => 1,
        "k" | "K" | "kiB" | "KiB" | "Ki" | "ki" => 1 << 10,
        "M" | "m" | "MiB" | "miB" | "Mi" | "mi" => 1 << 20,
        "G" | "g" | "GiB" | "giB" | "Gi" | "gi" => 1 << 30,
        "T" | "t" | "TiB" | "tiB" | "Ti" | "ti" => 1 << 40,
        "P" | "p" | "PiB" | "piB" | "Pi" | "pi" => 1 << 50,
        "kB" | "KB" | "kb" => 1_000,
        "MB" | "mb" => 1_000_000,
        "GB" | "gb" => 1_000_000_000,
        "TB" | "tb" => 1_000_000_000_000,
        "PB" | "pb" => 1_000_000_000_000_000,
        _ => return Err(format!("{text:?} is not {INFORMATION}")),
    };
    product(text, digits, factor)
}

/// Octets of a frame: every unit is a power of two.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = split(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(format!("{text:?} is not a number of octets, or one with KB, MB or GB")),
    };
    product(text, digits, factor)
}

/// Milliseconds: a number, or one with a unit.
pub(super) fn millis(text: &str) -> Result<u64, String> {
    let (digits, unit) = split(text);
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return Err(format!("{text:?} is not a number of milliseconds, or one with ms, s, m, h, d or w")),
    };
    product(text, digits, factor)
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (digits, unit.trim_start())
}

fn product(text: &str, digits: &str, factor: u64) -> Result<u64, String> {
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| format!("{text:?} is not a number, or too large"))
}

/// A listener: a port on all addresses, or one address with its port.
pub(super) fn listener(text: &str) -> Result<Listener, String> {
    if let Ok(port) = text.parse() {
        return Ok(Listener::Port(port));
    }
    let (address, port) = text.rsplit_once(':').ok_or_else(|| format!("{text:?} is not a port"))?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    match (address.parse::<IpAddr>(), port.parse()) {
        (Ok(address), Ok(port)) => Ok(Listener::Address(SocketAddr::new(address, port))),
        _ => Err(format!("{text:?} is neither a port nor ADDRESS:PORT")),
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    /// On this port of every address.
    Port(u16),
    /// On this one.
    Address(SocketAddr),
}

impl Listener {
    /// The addresses to bind.
    pub(super) fn addresses(self) -> Vec<SocketAddr> {
        match self {
            Self::Port(port) => everywhere(port),
            Self::Address(address) => vec![address],
        }
    }
}

/// A port of every address of either family.
pub(super) fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from(([0, 0, 0, 0], port)), SocketAddr::from(([0_u16; 8], port))]
}

/// A level of RabbitMQ's log as one of Leveret's. `notice` is above the ordinary, so nothing ordinary is logged at it.
pub(super) fn level(text: &str) -> Result<&'static str, String> {
    match text {
        "debug" => Ok("debug"),
        "info" => Ok("info"),
        "notice" | "warning" => Ok("warn"),
        "error" | "critical" | "alert" | "emergency" => Ok("error"),
        "none" => Ok("off"),
        _ => Err(format!("{text:?} is not debug, info, notice, warning, error, critical, alert, emergency or none")),
    }
}

/// A value in which `$(NAME)` stands for a variable of the environment.
pub(super) fn interpolate(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut pieces = text.split("$(");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once(')').ok_or("$( is not closed")?;
        whole.push_str(&variable(name).ok_or_else(|| format!("the variable {name:?} is not set"))?);
        whole.push_str(rest);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_meanings() {
        for (text, memory, frame) in [
            ("131072", Some(131_072), Some(131_072)),
            ("128k", Some(131_072), Some(131_072)),
            ("128kB", Some(128_000), Some(131_072)),
            ("2GiB", Some(2 << 30), Some(2 << 30)),
            ("2GB", Some(2_000_000_000), Some(2 << 30)),
            ("1 MB", Some(1_000_000), Some(1 << 20)),
            ("1.5GB", None, None),
            ("-1", None, None),
            ("", None, None),
            ("GB", None, None),
            ("1XB", None, None),
            ("99999999999GB", None, None),
        ] {
            assert_eq!((information(text).ok(), size(text).ok()), (memory, frame), "{text}");
        }
    }

    #[test]
    fn listeners_are_ports_or_addresses() {
        let address = |text: &str| Ok(Listener::Address(text.parse().unwrap()));
        assert_eq!(listener("5672"), Ok(Listener::Port(5_672)));
        assert_eq!(listener("127.0.0.1:5672"), address("127.0.0.1:5672"));
        assert_eq!(listener(":::5672"), address("[::]:5672"));
        assert_eq!(listener("::1:5672"), address("[::1]:5672"));
        assert_eq!(listener("[::1]:5672"), address("[::1]:5672"));
        for wrong in ["", "65536", "localhost:5672", "127.0.0.1", "127.0.0.1:", ":5672", "1.2.3.4:99999"] {
            assert!(listener(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Listener::Port(1).addresses().len(), 2);
    }

    #[test]
    fn variables_stand_in_values() {
        let variable = |name: &str| (name == "NAME").then(|| "hare".to_owned());
        assert_eq!(interpolate("a-$(NAME)/$(NAME)", &variable), Ok("a-hare/hare".to_owned()));
        assert_eq!(interpolate("plain $ (x)", &variable), Ok("plain $ (x)".to_owned()));
        assert!(interpolate("$(OTHER)", &variable).is_err() && interpolate("$(NAME", &variable).is_err());
    }

    #[test]
    fn times_are_milliseconds() {
        assert_eq!((millis("1800000"), millis("2h"), millis("1w")), (Ok(1_800_000), Ok(7_200_000), Ok(604_800_000)));
        assert!(millis("soon").is_err() && millis("1y").is_err() && millis("99999999999999w").is_err());
    }
}
