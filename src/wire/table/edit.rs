//! Changes to raw tables that leave every other entry's octets as they were.
//!
//! Used where a message is dead-lettered: the broker rewrites its own headers and no one else's. Input is content that
//! [`super::validate`] accepted, without its four octets of length, and so is the output. Deliberately absent: editing
//! inside nested tables (take the owned value, change it, set it).

use super::{RawTable, Value};
use crate::wire::short;

/// `raw` with `key` set to `value`: in place of the key's first entry, at the end if it had none.
///
/// Further entries under the same key are removed. Keys are cut at 255 octets.
pub fn set(raw: &[u8], key: &str, value: &Value) -> Vec<u8> {
    let mut octets = Vec::new();
    value.encode_into(&mut octets);
    set_raw(raw, key, &octets)
}

/// As [`set`], with the value as octets, its tag included.
pub fn set_raw(raw: &[u8], key: &str, value: &[u8]) -> Vec<u8> {
    let mut entry = Vec::new();
    let key = short::cut(key, short::MAX_LEN);
    short::put(&mut entry, key.as_bytes());
    entry.extend_from_slice(value);

    let mut out = Vec::with_capacity(raw.len().saturating_add(entry.len()));
    let mut placed = false;
    for old in RawTable::new(raw).entries() {
        if old.key != key.as_bytes() {
            out.extend_from_slice(old.octets);
        } else if !placed {
            out.extend_from_slice(&entry);
            placed = true;
        }
    }
    if !placed {
        out.extend_from_slice(&entry);
    }
    out
}

/// Appends the four octets of length that stand before a table's or an array's content.
pub fn put_length(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

/// `raw` without any entry under one of `keys`.
pub fn without(raw: &[u8], keys: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for entry in RawTable::new(raw).entries() {
        if !keys.iter().any(|key| key.as_bytes() == entry.key) {
            out.extend_from_slice(entry.octets);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &[u8] = b"\x02CCS\0\0\0\x01q\x01\xffL\0\0\0\0\0\0\0\x01\x02CCV\x03endt\x05";

    #[test]
    fn other_entries_keep_their_octets() {
        let set = set(RAW, "CC", &Value::U8(7));
        assert_eq!(set, b"\x02CCB\x07\x01\xffL\0\0\0\0\0\0\0\x01\x03endt\x05");
        let added = super::set(RAW, "x", &Value::Void);
        assert_eq!(added, [RAW, b"\x01xV"].concat());
        assert_eq!(super::set(b"", "x", &Value::Void), b"\x01xV");
    }

    #[test]
    fn removing_keeps_the_rest() {
        assert_eq!(without(RAW, &["CC", "absent"]), b"\x01\xffL\0\0\0\0\0\0\0\x01\x03endt\x05");
        assert_eq!(without(RAW, &[]), RAW);
        assert_eq!(without(b"\x01kV", &["k"]), b"");
    }
}
