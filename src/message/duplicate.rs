//! What makes a message a duplicate of another: the header `x-deduplication-header`.
//!
//! Source: the message-deduplication plugin. Values are compared by meaning: an integer of any width equals the same
//! integer of another, a string never equals a number. What is kept of a value is a digest of 128 bits, so that memory
//! does not depend on how long the values are.

use sha2::{Digest, Sha256};

use super::Message;
use crate::wire::properties::Properties;
use crate::wire::table::RawTable;

const HEADER: &str = "x-deduplication-header";

/// Stands for the value of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 16]);

/// The fingerprint of the header; `None` if there is none, in which case the message is never a duplicate.
pub fn fingerprint(headers: RawTable<'_>) -> Option<Fingerprint> {
    let mut meaning = Vec::new();
    headers.get(HEADER)?.meaning(&mut meaning);
    Sha256::digest(&meaning).first_chunk().copied().map(Fingerprint)
}

/// The fingerprint of a message.
pub fn of_message(message: &Message) -> Option<Fingerprint> {
    let properties = Properties::parse(message.properties()).ok()?;
    fingerprint(RawTable::new(properties.headers?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::table::{Table, Value};

    fn of(value: Value) -> Option<Fingerprint> {
        let (mut table, mut raw) = (Table::new(), Vec::new());
        table.insert(HEADER, value);
        table.encode_into(&mut raw);
        fingerprint(RawTable::new(&raw))
    }

    #[test]
    fn values_are_told_apart_by_meaning() {
        assert_eq!(of(Value::I8(7)), of(Value::I64(7)));
        assert_eq!(of(Value::F32(0.5)), of(Value::F64(0.5)));
        let different = [Value::I8(7), Value::I8(8), Value::from("7"), Value::F64(7.0), Value::Bool(true), Value::Void];
        for (at, a) in different.iter().enumerate() {
            for b in different.iter().skip(at + 1) {
                assert_ne!(of(a.clone()), of(b.clone()), "{a:?}, {b:?}");
            }
        }
        assert_eq!(fingerprint(RawTable::new(b"")), None);
    }
}
