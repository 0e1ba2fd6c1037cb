//! Keys that are one setting of Leveret each.

use super::table::{Does, Row, key, part};
use super::values::{flag, information, millis, number, size};

/// What `infinity` is for a time that must end.
const LONG: &str = "1h";
/// The most channels, and the largest frame: what 0 stands for.
const ALL_CHANNELS: &str = "65535";
const ANY_FRAME: &str = "128MiB";

#[allow(clippy::unnecessary_wraps)] // one of the functions that make texts, most of which may fail
fn same(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn time(text: &str) -> Result<String, String> {
    if text == "infinity" { Ok(LONG.to_owned()) } else { Ok(format!("{}ms", millis(text)?)) }
}

/// Before version 4.3 no timeout is `undefined`, in `advanced.config`.
fn timeout(text: &str) -> Result<String, String> {
    match text {
        "undefined" | "infinity" => Ok("0s".to_owned()),
        _ => Ok(format!("{}ms", millis(text)?)),
    }
}

fn seconds(text: &str) -> Result<String, String> {
    Ok(format!("{}s", number(text)?))
}

fn channels(text: &str) -> Result<String, String> {
    if number(text)? == 0 { same(ALL_CHANNELS) } else { same(text) }
}

fn frame(text: &str) -> Result<String, String> {
    match size(text)? {
        0 => same(ANY_FRAME),
        octets => Ok(octets.to_string()),
    }
}

fn limit(text: &str) -> Result<String, String> {
    if text == "infinity" { same(text) } else { Ok(number(text)?.to_string()) }
}

fn octets(text: &str) -> Result<String, String> {
    Ok(information(text)?.to_string())
}

/// Queue types have names of Erlang modules, too.
fn queue_type(text: &str) -> Result<String, String> {
    same(match text {
        "rabbit_classic_queue" => "classic",
        "rabbit_quorum_queue" => "quorum",
        other => other,
    })
}

fn choice(text: &str) -> Result<String, String> {
    Ok(flag(text)?.to_string())
}

fn verify(text: &str) -> Result<String, String> {
    match text {
        "verify_none" => same("none"),
        "verify_peer" => same("peer"),
        _ => Err(format!("{text:?} is neither verify_none nor verify_peer")),
    }
}

fn login_from(text: &str) -> Result<String, String> {
    if text == "subject_alt_name" { same("subject_alternative_name") } else { same(text) }
}

/// Rows of these keys.
pub(super) const ROWS: &[Row] = &[
    key("handshake_timeout", "limits.handshake_timeout", time),
    key("ssl_handshake_timeout", "tls.handshake_timeout", time),
    key("heartbeat", "limits.heartbeat", seconds),
    key("frame_max", "limits.frame_max", frame),
    key("channel_max", "limits.channel_max", channels),
    key("max_channels_per_connection", "limits.channel_max", channels),
    key("connection_max", "limits.connection_max", limit),
    key("max_connections", "limits.connection_max", limit),
    key("channel_max_per_node", "limits.channel_max_per_node", limit),
    key("consumer_max_per_channel", "limits.consumer_max_per_channel", limit),
    key("vhost_max", "limits.vhost_max", limit),
    key("cluster_queue_limit", "limits.cluster_queue_limit", limit),
    key("cluster_exchange_limit", "limits.cluster_exchange_limit", limit),
    key("max_message_size", "limits.max_message_size", octets),
    key("consumer_timeout", "limits.consumer_timeout", timeout),
    key("default_queue_type", "default_queue_type", queue_type),
    key("cluster_name", "cluster_name", same),
    key("default_vhost", "default_vhost", same),
    key("load_definitions", "load_definitions", same),
    key("definitions.local.path", "load_definitions", same),
    key("management.load_definitions", "load_definitions", same),
    part("definitions.import_backend", "load_definitions", |_, _, text| match text {
        "local_filesystem" | "rabbit_definitions_import_local_filesystem" => Ok(()),
        _ => Err(format!("{text:?} is no place that definitions are read from here; local_filesystem is")),
    }),
    key("ssl_options.cacertfile", "tls.ca", same),
    key("ssl_options.certfile", "tls.certificate", same),
    key("ssl_options.keyfile", "tls.key", same),
    key("ssl_options.password", "tls.key_password", same),
    key("management.ssl.certfile", "management.tls.certificate", same),
    key("management.ssl.keyfile", "management.tls.key", same),
    key("management.ssl.password", "management.tls.key_password", same),
    key("prometheus.ssl.certfile", "metrics.tls.certificate", same),
    key("prometheus.ssl.keyfile", "metrics.tls.key", same),
    key("prometheus.ssl.password", "metrics.tls.key_password", same),
    key("management.path_prefix", "management.path_prefix", same),
    key("ssl_options.verify", "tls.verify", verify),
    key("ssl_options.fail_if_no_peer_cert", "tls.require_client_certificate", choice),
    key("ssl_cert_login_from", "tls.login_from", login_from),
    Row { key: "ssl_options", does: Does::MissingUnless("none") },
];
