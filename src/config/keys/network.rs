//! The section `[tls]`.

use super::super::{LoginFrom, Secret, TlsVerify, TlsVersion};
use super::{ADDRESSES, Key, PATH, Set, addresses, hidden, ms, path, show, time};

/// Rows of the section.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "tls.listen",
        default: "[]",
        doc: "Addresses to accept AMQP connections with TLS on; usually port 5671.",
        accepts: ADDRESSES,
        set: Set::List(|config, items| {
            config.tls.listen = addresses(items)?;
            Ok(())
        }),
        get: |config| show::list(&config.tls.listen),
    },
    Key {
        name: "tls.certificate",
        default: r#""""#,
        doc: "Certificate of this broker, with those of its issuers behind it: a PEM file.",
        accepts: PATH,
        set: Set::Text(|config, text| {
            config.tls.certificate = path(text)?;
            Ok(())
        }),
        get: |config| show::place(config.tls.certificate.as_ref()),
    },
    Key {
        name: "tls.key",
        default: r#""""#,
        doc: "Private key of the certificate: a PEM file.",
        accepts: PATH,
        set: Set::Text(|config, text| {
            config.tls.key = path(text)?;
            Ok(())
        }),
        get: |config| show::place(config.tls.key.as_ref()),
    },
    Key {
        name: "tls.key_password",
        default: r#""""#,
        doc: "Passphrase of the key, if it has one.",
        accepts: "a text",
        set: Set::Text(|config, text| {
            config.tls.key_password = Secret::unless_empty(text);
            Ok(())
        }),
        get: |config| hidden(config.tls.key_password.as_ref()),
    },
    Key {
        name: "tls.others",
        default: "[]",
        doc: "Other certificates, shown to clients that ask for a host in one (SNI): PEM files, each with its key.",
        accepts: "a list of paths",
        set: Set::List(|config, items| {
            config.tls.others =
                items.iter().map(|item| path(item)).filter_map(Result::transpose).collect::<Result<_, _>>()?;
            Ok(())
        }),
        get: |config| show::list(&config.tls.others.iter().map(|file| file.display()).collect::<Vec<_>>()),
    },
    Key {
        name: "tls.ca",
        default: r#""""#,
        doc: "Certificates of those whose clients are trusted: a PEM file.",
        accepts: PATH,
        set: Set::Text(|config, text| {
            config.tls.ca = path(text)?;
            Ok(())
        }),
        get: |config| show::place(config.tls.ca.as_ref()),
    },
    Key {
        name: "tls.crl",
        default: r#""""#,
        doc: "Lists of revoked certificates of clients, of every trusted issuer one: a PEM file.",
        accepts: PATH,
        set: Set::Text(|config, text| {
            config.tls.crl = path(text)?;
            Ok(())
        }),
        get: |config| show::place(config.tls.crl.as_ref()),
    },
    Key {
        name: "tls.verify",
        default: r#""none""#,
        doc: "Whether certificates of clients are looked at: none, or peer.",
        accepts: "none or peer",
        set: Set::Text(|config, text| {
            config.tls.verify = match text {
                "none" => TlsVerify::None,
                "peer" => TlsVerify::Peer,
                _ => return Err(format!("{text:?} is neither")),
            };
            Ok(())
        }),
        get: |config| show::text(config.tls.verify.name()),
    },
    Key {
        name: "tls.require_client_certificate",
        default: "false",
        doc: "Whether clients without a certificate are refused; needs verify = \"peer\".",
        accepts: "true or false",
        set: Set::Choice(|config, text| {
            config.tls.require_client_certificate = text.parse().map_err(|_| format!("{text:?} is neither"))?;
            Ok(())
        }),
        get: |config| show::plain(config.tls.require_client_certificate),
    },
    Key {
        name: "tls.login_from",
        default: r#""distinguished_name""#,
        doc: "What of a client's certificate is its user name: distinguished_name, common_name or subject_alternative_name.",
        accepts: "distinguished_name, common_name or subject_alternative_name",
        set: Set::Text(|config, text| {
            config.tls.login_from = match text {
                "distinguished_name" => LoginFrom::DistinguishedName,
                "common_name" => LoginFrom::CommonName,
                "subject_alternative_name" => LoginFrom::SubjectAlternativeName,
                _ => return Err(format!("{text:?} is none of them")),
            };
            Ok(())
        }),
        get: |config| show::text(config.tls.login_from.name()),
    },
    Key {
        name: "tls.versions",
        default: r#"["1.3", "1.2"]"#,
        doc: "Versions of TLS that are spoken.",
        accepts: "1.3, 1.2 or both",
        set: Set::List(|config, items| {
            if items.is_empty() {
                return Err("the list is empty".to_owned());
            }
            let mut versions = Vec::new();
            for item in items {
                versions.push(match item.trim() {
                    "1.3" => TlsVersion::V1_3,
                    "1.2" => TlsVersion::V1_2,
                    _ => return Err(format!("{item:?} is not spoken here")),
                });
            }
            config.tls.versions = versions;
            Ok(())
        }),
        get: |config| show::list(&config.tls.versions.iter().map(|version| version.name()).collect::<Vec<_>>()),
    },
    Key {
        name: "tls.handshake_timeout",
        default: r#""5s""#,
        doc: "Time a client has for the handshake of TLS, and a proxy for its header; both come before the login.",
        accepts: "a duration from 100ms to 1h",
        set: Set::Text(|config, text| {
            config.tls.handshake_timeout = time(text, ms(100)..=ms(3_600_000))?;
            Ok(())
        }),
        get: |config| show::time(config.tls.handshake_timeout),
    },
];
