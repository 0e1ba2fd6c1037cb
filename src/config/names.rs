//! Names of nodes, and addresses of networks.
//!
//! A node is named as RabbitMQ names it, `NAME@HOST`. Asks the system for the host's name once, when nobody says another.

use std::net::IpAddr;
use std::str::FromStr;

/// Longest name of a node or cluster, in octets: it travels as a short string.
pub(super) const NAME_MAX: usize = 255;

/// The part before the `@` if nothing else is said, as with RabbitMQ.
const NODE: &str = "rabbit";

/// `rabbit@` and the name of this host up to its first dot.
pub(super) fn default_node_name() -> String {
    format!("{NODE}@{}", short_host())
}

/// A name with its host, which is this one if it names none; none if it is not fit for a name.
pub(super) fn node_name(text: &str) -> Option<String> {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let (name, host) = match text.split_once('@') {
        Some((name, host)) => (name, host.to_owned()),
        None => (text, short_host()),
    };
    let fits = part(name) && part(&host) && name.len().saturating_add(host.len()) < NAME_MAX;
    fits.then(|| format!("{name}@{host}"))
}

/// `rabbit@` and the whole name of this host (`RABBITMQ_USE_LONGNAME`).
pub(super) fn long_node_name() -> String {
    format!("{NODE}@{}", host())
}

fn short_host() -> String {
    host().split('.').next().unwrap_or_default().to_owned()
}

fn host() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let fit: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    if fit.is_empty() || fit.starts_with('.') { "localhost".to_owned() } else { fit }
}

/// An address, or all addresses that begin as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Whether the address is one of this network; an IPv4 address written as an IPv6 one is the same address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.leading_zeros() >= self.prefix
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.leading_zeros() >= self.prefix
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) => digits.parse().ok().filter(|prefix| *prefix <= most).ok_or(())?,
            None => most,
        };
        Ok(Self { address, prefix })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_a_name_and_a_host() {
        let default = default_node_name();
        assert!(default.starts_with("rabbit@") && !default.contains('.'), "{default}");
        assert_eq!(node_name("hare@field.example").as_deref(), Some("hare@field.example"));
        assert_eq!(node_name("rabbit"), Some(default));
        for wrong in ["", "@host", "name@", "a b@c", "a@b@c", "a@b\n", &"x".repeat(300)] {
            assert_eq!(node_name(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn networks_hold_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "fd00::1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "203.0.113.1", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("::1", "::1", "::2"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "/8", "host", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
