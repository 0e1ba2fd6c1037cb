//! A client's certificate, as far as it is of interest: who it says the client is, in RabbitMQ's words.
//!
//! The certificate has been verified by whoever hands it over. Source: RabbitMQ's `rabbit_cert_info` and `rabbit_ssl`:
//! RFC 4514 with the last element of the name first, its names of attributes, its escapes.

use std::fmt::Write;

use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::time::Time;

use crate::clock::Millis;
use crate::config::LoginFrom;

/// Attributes and what they are called in a name; others go by their number.
const ATTRIBUTES: [(&str, &str); 17] = [
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.6", "C"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What a verified certificate says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject, such as `CN=app,O=Example`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// From when to when it is valid: two dates with ` - ` between them.
    pub validity: String,
    /// The user it stands for, if it says so where the settings look for it.
    pub login: Option<String>,
}

impl PeerCertificate {
    /// Reads a certificate in DER. `None` if it cannot be read.
    pub fn read(der: &[u8], login_from: LoginFrom) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let tbs = &certificate.tbs_certificate;
        let subject = distinguished_name(&tbs.subject);
        let login = match login_from {
            LoginFrom::DistinguishedName => Some(subject.clone()),
            LoginFrom::CommonName => common_name(&tbs.subject),
            LoginFrom::SubjectAlternativeName => first_host_name(&certificate),
        };
        let (from, to) = validity(&certificate);
        Some(Self {
            subject,
            issuer: distinguished_name(&tbs.issuer),
            validity: format!("{} - {}", date(from), date(to)),
            login: login.filter(|name| !name.is_empty()),
        })
    }
}

/// All common names with commas between them, as RabbitMQ joins them.
fn common_name(subject: &Name) -> Option<String> {
    let attributes = subject.0.iter().flat_map(|element| element.0.iter());
    let names: Vec<String> = attributes.filter(|a| a.oid == COMMON_NAME).map(|a| utf8_lossy(&text(a))).collect();
    if names.is_empty() { None } else { Some(names.join(",")) }
}

/// The DNS names among the subject's alternative names.
pub(super) fn host_names(certificate: &Certificate) -> Vec<String> {
    let names = certificate.tbs_certificate.get::<SubjectAltName>().ok().flatten();
    let names = names.map_or_else(Vec::new, |(_, names)| names.0);
    let host = |name| if let GeneralName::DnsName(name) = name { Some(name.to_string()) } else { None };
    names.into_iter().filter_map(host).collect()
}

/// The first of them: RabbitMQ's `ssl_cert_login_san_type` and `..._index` with their defaults.
fn first_host_name(certificate: &Certificate) -> Option<String> {
    host_names(certificate).into_iter().next()
}

/// A name in RabbitMQ's form of RFC 4514.
pub(super) fn distinguished_name(name: &Name) -> String {
    let mut elements = Vec::new();
    for element in name.0.iter().rev() {
        let attributes: Vec<String> = element.0.iter().map(attribute).collect();
        elements.push(attributes.join("+"));
    }
    elements.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue) -> String {
    let number = attribute.oid.to_string();
    let name = ATTRIBUTES.iter().find(|(known, _)| *known == number).map_or(number.as_str(), |(_, name)| name);
    format!("{name}={}", escaped(&text(attribute)))
}

/// The value of an attribute in UTF-8, if it is one of the many kinds of strings; otherwise its octets.
fn text(attribute: &AttributeTypeAndValue) -> Vec<u8> {
    let octets = attribute.value.value();
    match attribute.value.tag() {
        Tag::TeletexString => octets.iter().map(|octet| char::from(*octet)).collect::<String>().into_bytes(),
        Tag::BmpString => {
            let (units, _) = octets.as_chunks::<2>();
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>().into_bytes()
        }
        _ => octets.to_vec(),
    }
}

fn utf8_lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// A value with the escapes of RFC 4514, and all that is not printable ASCII as octets.
fn escaped(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, octet) in value.iter().enumerate() {
        match octet {
            b' ' | b'#' if at == 0 => text.extend(['\\', char::from(*octet)]),
            b' ' if at == last => text.push_str("\\ "),
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => text.extend(['\\', char::from(*octet)]),
            32..126 => text.push(char::from(*octet)),
            _ => {
                // Writing to a string does not fail.
                let _ = write!(text, "\\{octet:02X}");
            }
        }
    }
    text
}

/// From when to when a certificate is valid.
pub(super) fn validity(certificate: &Certificate) -> (Millis, Millis) {
    let millis = |time: Time| u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX);
    let validity = certificate.tbs_certificate.validity;
    (millis(validity.not_before), millis(validity.not_after))
}

/// A moment as RabbitMQ writes it: `2026-11-22T13:00:00Z`.
pub(super) fn date(at: Millis) -> String {
    let moment = x509_cert::der::DateTime::from_unix_duration(std::time::Duration::from_millis(at));
    moment.map_or_else(|_| "the end of time".to_owned(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_escaped_as_rabbitmq_escapes_them() {
        for (value, text) in [
            ("app", "app"),
            ("", ""),
            (" ", "\\ "),
            (" a b ", "\\ a b\\ "),
            ("#1 #2", "\\#1 #2"),
            ("a,b+c;d<e>f\"g\\h=i", "a\\,b\\+c\\;d\\<e\\>f\\\"g\\\\h=i"),
            ("a\0\x1f~\x7f", "a\\00\\1F\\7E\\7F"),
            ("J\u{f6}rg", "J\\C3\\B6rg"),
        ] {
            assert_eq!(escaped(value.as_bytes()), text);
        }
    }

    #[test]
    fn dates_are_written_as_in_reports() {
        assert_eq!(date(1_577_836_800_000), "2020-01-01T00:00:00Z");
        assert_eq!(date(u64::MAX), "the end of time");
    }

    proptest! {
        #[test]
        fn any_octets_are_safe(octets: Vec<u8>) {
            prop_assert_eq!(PeerCertificate::read(&octets, LoginFrom::CommonName), None);
        }
    }
}
