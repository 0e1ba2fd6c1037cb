//! Keys about where clients and tools connect.
//!
//! Several keys make one list here: `listeners.tcp.*` are Leveret's `listen`. RabbitMQ listens on every address where
//! nobody says otherwise, and so does Leveret where RabbitMQ's configuration is in force.

use super::super::{Config, Network, Tls, TlsVerify, TlsVersion};
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
    /// The listener with TLS.
    pub secure: Secure,
}

/// A listener for HTTP with TLS.
#[derive(Debug, Default)]
pub(super) struct Secure {
    /// Port.
    pub port: Option<u16>,
    /// Address.
    pub address: Option<IpAddr>,
    /// Issuers of clients' certificates.
    pub ca: Option<String>,
    /// Whether certificates are looked at.
    pub verify: bool,
    /// Whether one must be shown.
    pub required: bool,
}

fn at(address: Option<IpAddr>, port: u16) -> Vec<SocketAddr> {
    address.map_or_else(|| everywhere(port), |address| vec![SocketAddr::new(address, port)])
}

impl Web {
    /// Where it listens, if that is another place than Leveret's own.
    fn place(&self, port: u16) -> Option<Vec<SocketAddr>> {
        if self.none {
            return Some(Vec::new());
        }
        match (self.port, self.address, self.enabled) {
            // Whoever asks for TLS and for nothing else gets nothing else, as with RabbitMQ.
            (None, None, _) if self.secure.port.is_some() => Some(Vec::new()),
            (None, None, false) => None,
            (given, address, _) => Some(at(address, given.unwrap_or(port))),
        }
    }

    fn secure(&self, tls: &mut Tls) {
        if let Some(port) = self.secure.port {
            tls.listen = at(self.secure.address, port);
        }
        // A certificate that need not be shown lets nobody in who would be kept out without.
        if let (Some(ca), true, true) = (&self.secure.ca, self.secure.verify, self.secure.required) {
            tls.ca = Some(ca.into());
            tls.verify = TlsVerify::Peer;
            tls.require_client_certificate = true;
        }
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
        self.management.secure(&mut config.management_tls);
        self.metrics.secure(&mut config.metrics_tls);
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

/// The last word of a key of a listener with TLS for HTTP, and its value.
fn secure(secure: &mut Secure, key: &str, text: &str) -> Result<(), String> {
    match key {
        "port" => secure.port = port(text)?,
        "ip" => secure.address = address(text)?,
        "cacertfile" => secure.ca = Some(text.to_owned()),
        "fail_if_no_peer_cert" => secure.required = flag(text)?,
        _ => {
            secure.verify = match text {
                "verify_none" => false,
                "verify_peer" => true,
                _ => return Err(format!("{text:?} is neither verify_none nor verify_peer")),
            }
        }
    }
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
    part("management.ssl.port", "management.tls.listen", |draft, _, text| {
        secure(&mut draft.listeners.management.secure, "port", text)
    }),
    part("management.ssl.ip", "management.tls.listen", |draft, _, text| {
        secure(&mut draft.listeners.management.secure, "ip", text)
    }),
    part("management.ssl.cacertfile", "management.tls.client_ca", |draft, _, text| {
        secure(&mut draft.listeners.management.secure, "cacertfile", text)
    }),
    part("management.ssl.verify", "management.tls.client_ca", |draft, _, text| {
        secure(&mut draft.listeners.management.secure, "verify", text)
    }),
    part("management.ssl.fail_if_no_peer_cert", "management.tls.client_ca", |draft, _, text| {
        secure(&mut draft.listeners.management.secure, "fail_if_no_peer_cert", text)
    }),
    part("prometheus.ssl.port", "metrics.tls.listen", |draft, _, text| {
        secure(&mut draft.listeners.metrics.secure, "port", text)
    }),
    part("prometheus.ssl.ip", "metrics.tls.listen", |draft, _, text| {
        secure(&mut draft.listeners.metrics.secure, "ip", text)
    }),
    part("prometheus.ssl.cacertfile", "metrics.tls.client_ca", |draft, _, text| {
        secure(&mut draft.listeners.metrics.secure, "cacertfile", text)
    }),
    part("prometheus.ssl.verify", "metrics.tls.client_ca", |draft, _, text| {
        secure(&mut draft.listeners.metrics.secure, "verify", text)
    }),
    part("prometheus.ssl.fail_if_no_peer_cert", "metrics.tls.client_ca", |draft, _, text| {
        secure(&mut draft.listeners.metrics.secure, "fail_if_no_peer_cert", text)
    }),
    part("management.cors.allow_origins.$name", "management.cors_origins", |draft, _, text| {
        let own = super::super::keys::find("management.cors_origins").ok_or("is not here")?;
        let mut all = draft.config.cors_origins.clone();
        own.assign(&mut draft.config, text)?;
        all.append(&mut draft.config.cors_origins);
        draft.config.cors_origins = all;
        Ok(())
    }),
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
