//! The sections `[management]` and `[metrics]` with their TLS.

use super::super::{Secret, Tls, TlsVerify};
use super::{ADDRESSES, Key, PATH, Set, addresses, hidden, path, show};

const LISTEN_TLS: &str = "Addresses of the same with TLS, such as 127.0.0.1:15671; an empty list or \"none\" for none.";
const CERTIFICATE: &str = "Certificate for them: a PEM file; empty is that of [tls], with its key.";
const KEY: &str = "Private key of the certificate: a PEM file.";
const KEY_PASSWORD: &str = "Passphrase of the key, if it has one.";
const CLIENT_CA: &str = "If set, everybody must show a certificate issued by one of these: a PEM file.";

/// Whoever names issuers wants to see certificates.
fn trust(tls: &mut Tls, text: &str) -> Result<(), String> {
    tls.ca = path(text)?;
    tls.require_client_certificate = tls.ca.is_some();
    tls.verify = if tls.ca.is_some() { TlsVerify::Peer } else { TlsVerify::None };
    Ok(())
}

/// What browsers call the place a page is from: a scheme and an authority, or `*` for every place.
fn site(text: &str) -> Result<String, String> {
    let text = text.trim();
    let authority = text.split_once("://").map(|(_, authority)| authority);
    let is_site = authority.is_some_and(|authority| !authority.is_empty() && !authority.contains('/'));
    if (is_site || text == "*") && text.bytes().all(|octet| octet.is_ascii_graphic()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("{text:?} is not SCHEME://HOST:PORT"))
    }
}

/// Segments of a path, each of which stands in every place of the management API.
fn prefix(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~/".contains(&octet);
    let whole = text.is_empty() || text.starts_with('/');
    if whole && text.bytes().all(plain) && text.split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a path of letters, digits, -, ., _ and ~"))
    }
}

/// Rows of the sections.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "management.listen",
        default: r#"["127.0.0.1:15672", "[::1]:15672"]"#,
        doc: "Addresses of the management API; an empty list or \"none\" switches it off.",
        accepts: ADDRESSES,
        set: Set::List(|config, items| {
            config.management_listen = addresses(items)?;
            Ok(())
        }),
        get: |config| show::list(&config.management_listen),
    },
    Key {
        name: "management.path_prefix",
        default: r#""""#,
        doc: "What every path of the management API begins with, such as /rabbitmq behind a proxy that keeps it.",
        accepts: "a path such as /rabbitmq",
        set: Set::Text(|config, text| {
            config.management_prefix = prefix(text)?;
            Ok(())
        }),
        get: |config| show::text(&config.management_prefix),
    },
    Key {
        name: "management.cors_origins",
        default: "[]",
        doc: "Sites whose pages may use the management API, such as https://dashboard.example, or * for all.",
        accepts: "SCHEME://HOST or SCHEME://HOST:PORT, or *",
        set: Set::List(|config, items| {
            let items = items.iter().filter(|item| !item.trim().is_empty());
            config.cors_origins = items.map(|item| site(item)).collect::<Result<_, _>>()?;
            Ok(())
        }),
        get: |config| show::list(&config.cors_origins),
    },
    Key {
        name: "management.tls.listen",
        default: "[]",
        doc: LISTEN_TLS,
        accepts: ADDRESSES,
        set: Set::List(|config, items| {
            config.management_tls.listen = addresses(items)?;
            Ok(())
        }),
        get: |config| show::list(&config.management_tls.listen),
    },
    Key {
        name: "management.tls.certificate",
        default: r#""""#,
        doc: CERTIFICATE,
        accepts: PATH,
        set: Set::Text(|config, text| {
            config.management_tls.certificate = path(text)?;
            Ok(())
        }),
        get: |config| show::place(config.management_tls.certificate.as_ref()),
    },
    Key {
        name: "management.tls.key",
        default: r#""""#,
        doc: KEY,
        accepts: PATH,
        set: Set::Text(|config, text| {
            config.management_tls.key = path(text)?;
            Ok(())
        }),
        get: |config| show::place(config.management_tls.key.as_ref()),
    },
    Key {
        name: "management.tls.key_password",
        default: r#""""#,
        doc: KEY_PASSWORD,
        accepts: "a text",
        set: Set::Text(|config, text| {
            config.management_tls.key_password = Secret::unless_empty(text);
            Ok(())
        }),
        get: |config| hidden(config.management_tls.key_password.as_ref()),
    },
    Key {
        name: "management.tls.client_ca",
        default: r#""""#,
        doc: CLIENT_CA,
        accepts: PATH,
        set: Set::Text(|config, text| trust(&mut config.management_tls, text)),
        get: |config| show::place(config.management_tls.ca.as_ref()),
    },
    Key {
        name: "metrics.listen",
        default: r#"["127.0.0.1:15692", "[::1]:15692"]"#,
        doc: "Addresses that Prometheus reads metrics from; an empty list or \"none\" switches that off.",
        accepts: ADDRESSES,
        set: Set::List(|config, items| {
            config.metrics_listen = addresses(items)?;
            Ok(())
        }),
        get: |config| show::list(&config.metrics_listen),
    },
    Key {
        name: "metrics.tls.listen",
        default: "[]",
        doc: LISTEN_TLS,
        accepts: ADDRESSES,
        set: Set::List(|config, items| {
            config.metrics_tls.listen = addresses(items)?;
            Ok(())
        }),
        get: |config| show::list(&config.metrics_tls.listen),
    },
    Key {
        name: "metrics.tls.certificate",
        default: r#""""#,
        doc: CERTIFICATE,
        accepts: PATH,
        set: Set::Text(|config, text| {
            config.metrics_tls.certificate = path(text)?;
            Ok(())
        }),
        get: |config| show::place(config.metrics_tls.certificate.as_ref()),
    },
    Key {
        name: "metrics.tls.key",
        default: r#""""#,
        doc: KEY,
        accepts: PATH,
        set: Set::Text(|config, text| {
            config.metrics_tls.key = path(text)?;
            Ok(())
        }),
        get: |config| show::place(config.metrics_tls.key.as_ref()),
    },
    Key {
        name: "metrics.tls.key_password",
        default: r#""""#,
        doc: KEY_PASSWORD,
        accepts: "a text",
        set: Set::Text(|config, text| {
            config.metrics_tls.key_password = Secret::unless_empty(text);
            Ok(())
        }),
        get: |config| hidden(config.metrics_tls.key_password.as_ref()),
    },
    Key {
        name: "metrics.tls.client_ca",
        default: r#""""#,
        doc: CLIENT_CA,
        accepts: PATH,
        set: Set::Text(|config, text| trust(&mut config.metrics_tls, text)),
        get: |config| show::place(config.metrics_tls.ca.as_ref()),
    },
];
