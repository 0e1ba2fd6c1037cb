//! Keys about where clients and tools connect.
//!
//! Several keys make one list here: `listeners.tcp.*` are Leveret's `listen`. RabbitMQ listens on every address where
//! nobody says otherwise, and so does Leveret where RabbitMQ's configuration is in force.

use super::super::{Config, Network, TlsVersion};
use super::draft::Draft;
use super::table::{Row, part};
use super::values::{Listener, everywhere, flag, listener};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// What was said about listeners.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// By name.
    pub tcp: BTreeMap<String, Listener>,
    /// There is to be none.
    pub tcp_none: bool,
    /// By name.
    pub tls: BTreeMap<String, Listener>,
    /// There is to be none.
    pub tls_none: bool,
    /// `RABBITMQ_NODE_PORT`.
    pub port: Option<u16>,
    /// `RABBITMQ_NODE_IP_ADDRESS`.
    pub address: Option<IpAddr>,
    /// The management API.
    pub management: Web,
    /// Metrics.
    pub metrics: Web,
    /// Versions of TLS by name.
    pub versions: BTreeMap<String, TlsVersion>,
    /// Versions of TLS that nobody speaks any more were named.
    pub old_versions: bool,
    /// `proxy_protocol`.
    pub proxied: Option<bool>,
}

/// A listener for HTTP.
#[derive(Debug, Default)]
pub(super) struct Web {
    /// Port.
    pub port: Option<u16>,
    /// Address.
    pub address: Option<IpAddr>,
    /// The plugin is among the enabled ones.
    pub enabled: bool,
    /// There is to be none.
    pub none: bool,
}

impl Web {
    /// Where it listens, if that is another place than Leveret's own.
    fn place(&self, port: u16) -> Option<Vec<SocketAddr>> {
        if self.none {
            return Some(Vec::new());
        }
        let port = match (self.port, self.address, self.enabled) {
            (None, None, false) => return None,
            (given, ..) => given.unwrap_or(port),
        };
        Some(self.address.map_or_else(|| everywhere(port), |address| vec![SocketAddr::new(address, port)]))
    }
}

impl Listeners {
    /// Puts everything together; `like_rabbitmq`: whoever says nothing means every address.
    pub(super) fn finish(self, config: &mut Config, like_rabbitmq: bool) {
        let named = |listeners: &BTreeMap<String, Listener>| {
            let mut addresses: Vec<SocketAddr> = Vec::new();
            for address in listeners.values().flat_map(|listener| listener.addresses()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            addresses
        };
        if self.port.is_some() || self.address.is_some() {
            let port = self.port.unwrap_or(super::super::AMQP_PORT);
            match self.address {
                Some(address) => config.listen = vec![SocketAddr::new(address, port)],
                None if like_rabbitmq => config.listen = everywhere(port),
                None => config.listen.iter_mut().for_each(|address| address.set_port(port)),
            }
        } else if self.tcp_none {
            config.listen = Vec::new();
        } else if !self.tcp.is_empty() {
            config.listen = named(&self.tcp);
        } else if like_rabbitmq {
            config.listen = everywhere(super::super::AMQP_PORT);
        }
        if self.tls_none {
            config.tls.listen = Vec::new();
        } else if !self.tls.is_empty() {
            config.tls.listen = named(&self.tls);
        }
        if !self.versions.is_empty() {
            config.tls.versions = self.versions.into_values().collect();
            config.tls.versions.dedup();
        }
        if let Some(proxied) = self.proxied {
            // RabbitMQ believes everybody who connects.
            let everybody = ["0.0.0.0/0", "::/0"].iter().filter_map(|network| network.parse::<Network>().ok());
            config.proxy_protocol = if proxied { everybody.collect() } else { Vec::new() };
        }
        if let Some(place) = self.management.place(super::super::MANAGEMENT_PORT) {
            config.management_listen = place;
        }
        if let Some(place) = self.metrics.place(super::super::METRICS_PORT) {
            config.metrics_listen = place;
        }
    }
}

fn none(text: &str) -> Result<bool, String> {
    if text == "none" { Ok(true) } else { Err(format!("{text:?} is not none; a listener is listeners.tcp.NAME")) }
}

fn port(text: &str) -> Result<Option<u16>, String> {
    text.parse().map(Some).map_err(|_| format!("{text:?} is not a port"))
}

fn address(text: &str) -> Result<Option<IpAddr>, String> {
    text.parse().map(Some).map_err(|_| format!("{text:?} is not an address"))
}

fn management_port(draft: &mut Draft<'_>, _: &[&str], text: &str) -> Result<(), String> {
    draft.listeners.management.port = port(text)?;
    Ok(())
}

fn management_address(draft: &mut Draft<'_>, _: &[&str], text: &str) -> Result<(), String> {
    draft.listeners.management.address = address(text)?;
    Ok(())
}

/// Rows of these keys.
pub(super) const ROWS: &[Row] = &[
    part("listeners.tcp", "listen", |draft, _, text| {
        draft.listeners.tcp_none = none(text)?;
        Ok(())
    }),
    part("listeners.tcp.$name", "listen", |draft, names, text| {
        draft.listeners.tcp.insert(names.concat(), listener(text)?);
        Ok(())
    }),
    part("listeners.ssl", "tls.listen", |draft, _, text| {
        draft.listeners.tls_none = none(text)?;
        Ok(())
    }),
    part("listeners.ssl.$name", "tls.listen", |draft, names, text| {
        draft.listeners.tls.insert(names.concat(), listener(text)?);
        Ok(())
    }),
    part("ssl_options.versions.$name", "tls.versions", |draft, names, text| {
        match text {
            "tlsv1.3" => draft.listeners.versions.insert(names.concat(), TlsVersion::V1_3),
            "tlsv1.2" => draft.listeners.versions.insert(names.concat(), TlsVersion::V1_2),
            "tlsv1.1" | "tlsv1" | "sslv3" => {
                draft.listeners.old_versions = true;
                None
            }
            _ => return Err(format!("{text:?} is not a version of TLS, such as tlsv1.2")),
        };
        Ok(())
    }),
    part("proxy_protocol", "proxy_protocol", |draft, _, text| {
        draft.listeners.proxied = Some(flag(text)?);
        Ok(())
    }),
    part("management.tcp.port", "management.listen", management_port),
    part("management.tcp.ip", "management.listen", management_address),
    part("management.listener.port", "management.listen", management_port),
    part("management.listener.ip", "management.listen", management_address),
    part("prometheus.tcp.port", "metrics.listen", |draft, _, text| {
        draft.listeners.metrics.port = port(text)?;
        Ok(())
    }),
    part("prometheus.tcp.ip", "metrics.listen", |draft, _, text| {
        draft.listeners.metrics.address = address(text)?;
        Ok(())
    }),
    part("prometheus.tcp.listener", "metrics.listen", |draft, _, text| {
        draft.listeners.metrics.none = none(text)?;
        Ok(())
    }),
];
