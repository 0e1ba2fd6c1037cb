//! The `properties_key` of bindings: how paths name one among those between the same two ends.
//!
//! It is the routing key, quoted, and for a binding with arguments a tilde and a digest of these; `~` stands for neither.
//! RabbitMQ digests the arguments as an Erlang term (MD5 of the external format), and so does this, so that a key that a
//! tool has kept finds the same binding. Source: RabbitMQ's `rabbit_mgmt_format`. Deliberately absent: atoms as routing
//! keys, which old releases could store.

use std::fmt::Write as _;

use md5::{Digest, Md5};

use crate::auth::base64;
use crate::wire::table::{Table, Value};

const TILDE: char = '~';

/// Quotes for a path or query as RabbitMQ does: letters, digits and `.-~_` stay, a space becomes a plus.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'~' | b'_' => quoted.push(octet.into()),
            b' ' => quoted.push('+'),
            // Writing to a String cannot fail.
            _ => _ = write!(quoted, "%{octet:02X}"),
        }
    }
    quoted
}

fn quote_part(text: &str) -> String {
    quote(text).replace(TILDE, "%7E")
}

/// The key of a binding.
pub(super) fn of(routing_key: &str, arguments: &Table) -> String {
    match (routing_key.is_empty(), arguments.is_empty()) {
        (true, true) => TILDE.to_string(),
        (false, true) => quote_part(routing_key),
        (_, false) => format!("{}{TILDE}{}", quote_part(routing_key), digest(arguments)),
    }
}

/// Whether a path that says `named` means the binding; it may have been unquoted once too often.
pub(super) fn names(named: &str, routing_key: &str, arguments: &Table) -> bool {
    let key = of(routing_key, arguments);
    if named == key {
        return true;
    }
    let again = match named.rsplit_once(TILDE) {
        Some((key, digest)) if !arguments.is_empty() => format!("{}{TILDE}{digest}", quote_part(key)),
        _ => quote_part(named),
    };
    again == key
}

fn digest(arguments: &Table) -> String {
    let mut term = vec![131];
    put_table(&mut term, arguments);
    let text = base64::encode(&Md5::digest(&term));
    text.chars()
        .filter(|c| *c != '=')
        .map(|c| {
            if c == '+' {
                '-'
            } else if c == '/' {
                '_'
            } else {
                c
            }
        })
        .collect()
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_atom(out: &mut Vec<u8>, atom: &str) {
    out.extend([119, u8::try_from(atom.len()).unwrap_or(u8::MAX)]);
    out.extend(atom.as_bytes());
}

fn put_binary(out: &mut Vec<u8>, octets: &[u8]) {
    out.push(109);
    put_length(out, octets.len());
    out.extend(octets);
}

fn put_integer(out: &mut Vec<u8>, n: i128) {
    if let Ok(small) = u8::try_from(n) {
        out.extend([97, small]);
    } else if let Ok(int) = i32::try_from(n) {
        out.push(98);
        out.extend(int.to_be_bytes());
    } else {
        let octets = n.unsigned_abs().to_le_bytes();
        let used = octets.iter().rposition(|octet| *octet > 0).map_or(0, |at| at.saturating_add(1));
        out.extend([110, u8::try_from(used).unwrap_or(u8::MAX), u8::from(n < 0)]);
        out.extend(octets.iter().take(used));
    }
}

fn put_list<T>(out: &mut Vec<u8>, items: impl ExactSizeIterator<Item = T>, mut put: impl FnMut(&mut Vec<u8>, T)) {
    if items.len() > 0 {
        out.push(108);
        put_length(out, items.len());
        items.for_each(|item| put(out, item));
    }
    out.push(106);
}

fn put_table(out: &mut Vec<u8>, table: &Table) {
    let entries: Vec<_> = table.iter().collect();
    put_list(out, entries.into_iter(), |out, (key, value)| {
        out.extend([104, 3]);
        put_binary(out, key.as_bytes());
        put_typed(out, value);
    });
}

/// The atom of a value's type, and the value.
fn put_typed(out: &mut Vec<u8>, value: &Value) {
    let atom = match value {
        Value::Bool(_) => "bool",
        Value::I8(_) => "byte",
        Value::U8(_) => "unsignedbyte",
        Value::I16(_) => "short",
        Value::U16(_) => "unsignedshort",
        Value::I32(_) => "signedint",
        Value::U32(_) => "unsignedint",
        Value::I64(_) => "long",
        Value::F32(_) => "float",
        Value::F64(_) => "double",
        Value::Decimal { .. } => "decimal",
        Value::LongStr(_) => "longstr",
        Value::Bytes(_) => "binary",
        Value::Array(_) => "array",
        Value::Table(_) => "table",
        Value::Timestamp(_) => "timestamp",
        Value::Void => "void",
    };
    put_atom(out, atom);
    match value {
        Value::Bool(truth) => put_atom(out, if *truth { "true" } else { "false" }),
        Value::F32(n) => put_float(out, f64::from(*n)),
        Value::F64(n) => put_float(out, *n),
        Value::Decimal { scale, value } => {
            out.extend([104, 2]);
            put_integer(out, (*scale).into());
            put_integer(out, (*value).into());
        }
        Value::LongStr(octets) | Value::Bytes(octets) => put_binary(out, octets),
        Value::Array(values) => put_list(out, values.iter(), |out, value| {
            out.extend([104, 2]);
            put_typed(out, value);
        }),
        Value::Table(table) => put_table(out, table),
        Value::Timestamp(seconds) => put_integer(out, (*seconds).into()),
        Value::Void => put_atom(out, "undefined"),
        whole => put_integer(out, whole.as_int().unwrap_or_default().into()),
    }
}

fn put_float(out: &mut Vec<u8>, n: f64) {
    out.push(70);
    out.extend(n.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
        entries.into_iter().collect()
    }

    #[test]
    fn keys_are_quoted_and_a_tilde_is_nothing() {
        let none = Table::default();
        assert_eq!(of("", &none), "~");
        assert_eq!(of("orders.*.q0", &none), "orders.%2A.q0");
        assert_eq!(of("a b~c/#\u{e9}", &none), "a+b%7Ec%2F%23%C3%A9");
        assert_eq!(quote("a.%23"), "a.%2523");
    }

    #[test]
    fn a_path_finds_its_binding_quoted_once_or_twice() {
        let (none, some) = (Table::default(), table([("x-match", Value::from("all"))]));
        assert!(names("orders.%2A.q0", "orders.*.q0", &none) && names("orders.*.q0", "orders.*.q0", &none));
        assert!(names("~", "", &none) && !names("~", "k", &none) && !names("a", "b", &none));
        let key = of("a.#", &some);
        assert!(names(&key, "a.#", &some) && names(&key.replace("%23", "#"), "a.#", &some));
        assert!(!names(&key, "a.#", &none) && !names("a.%23", "a.#", &some));
    }

    #[test]
    fn arguments_are_digested_as_terms() {
        let mut term = Vec::new();
        put_table(&mut term, &table([("k", Value::I32(-1)), ("t", Value::Bool(true))]));
        let expected: &[u8] = b"\x6c\0\0\0\x02\x68\x03\x6d\0\0\0\x01k\x77\x09signedint\x62\xff\xff\xff\xff\
            \x68\x03\x6d\0\0\0\x01t\x77\x04bool\x77\x04true\x6a";
        assert_eq!(term, expected);
        let mut big = Vec::new();
        put_integer(&mut big, 1 << 40);
        put_integer(&mut big, -(1 << 32));
        assert_eq!(big, [110, 6, 0, 0, 0, 0, 0, 0, 1, 110, 5, 1, 0, 0, 0, 0, 1]);
        let key = of("", &table([("x-match", Value::from("all"))]));
        assert!(key.starts_with('~') && key.len() == 23, "{key}");
    }
}
