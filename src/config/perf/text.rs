//! Values of `leveret perf` that have a form of their own: sizes, phases, queue arguments, brokers.

use std::str::FromStr;

use super::super::units;
use super::Contestant;

/// The largest message that can be published, in octets: RabbitMQ takes 16 MiB by default, and up to 512 MiB.
const SIZE_MAX: u64 = 64 << 20;

/// Octets of a body, at most 64 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

impl Size {
    /// The number.
    pub fn octets(self) -> usize {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let octets = units::size(text).ok_or_else(|| format!("is not {}", units::SIZE))?;
        let octets = usize::try_from(octets).ok().filter(|_| octets <= SIZE_MAX);
        octets.map(Self).ok_or_else(|| "is more than 64MiB".to_owned())
    }
}

/// A value that holds for some seconds: `1000:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase<T> {
    /// The value.
    pub value: T,
    /// How long it holds; at least a second.
    pub seconds: u64,
}

impl<T: FromStr> FromStr for Phase<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(value, seconds)| {
            let seconds = seconds.trim().parse().ok().filter(|seconds| *seconds > 0)?;
            Some(Self { value: value.trim().parse().ok()?, seconds })
        });
        parts.ok_or_else(|| "is not VALUE:SECONDS, as in 1000:30".to_owned())
    }
}

/// An argument of a declaration: `x-max-length=1000`. Digits are a number, `true` and `false` are what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub key: String,
    /// Its value as text.
    pub value: String,
}

impl FromStr for Argument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("is not KEY=VALUE")?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// `NAME=URI` or `NAME=URI,pid=N`.
pub(super) fn contestant(text: &str) -> Result<Contestant, String> {
    let parts = || {
        let (name, rest) = text.split_once('=')?;
        let (uri, pid) = match rest.rsplit_once(",pid=") {
            Some((uri, pid)) => (uri, Some(pid.parse().ok()?)),
            None => (rest, None),
        };
        let whole = !name.is_empty() && !uri.is_empty();
        whole.then(|| Contestant { name: name.to_owned(), uri: uri.to_owned(), pid })
    };
    parts().ok_or_else(|| "is not NAME=URI,pid=N".to_owned())
}
