//! Field tables: arguments of methods and headers of messages.
//!
//! Two forms: [`Table`] and [`Value`] are owned, for what the broker keeps; [`RawTable`] and the editing functions work
//! on the octets as received, so that a message passes through byte for byte. Tags are RabbitMQ's dialect (`s` is a
//! 16-bit integer, `l` and `L` are 64-bit ones, `x` is a byte array). Invariant: nothing recurses deeper than
//! [`MAX_TABLE_DEPTH`]. Deliberately absent: the meaning of any key.

mod convert;
mod edit;
mod json;
mod raw;
mod validate;
mod value;

pub use edit::{put_length, set, set_raw, without};
pub use raw::{RawArray, RawTable, RawValue};
pub use validate::{MAX_TABLE_DEPTH, Malformed, measure, validate};
pub use value::Value;

use super::short;

/// A field table, sorted by key, each key once.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Table(Vec<(Box<str>, Value)>);

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|(_, value)| value)
    }

    /// Keys and values in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets `key` (cut at 255 octets, a key's limit on the wire) and returns what it replaced.
    pub fn insert(&mut self, key: &str, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (short::cut(key, short::MAX_LEN), value.into());
        match self.find(key) {
            Ok(at) => self.0.get_mut(at).map(|(_, old)| std::mem::replace(old, value)),
            Err(at) => {
                self.0.insert(at, (key.into(), value));
                None
            }
        }
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Whether both have the same keys with [`Value::same`] values.
    pub fn same(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        self.len() == other.len() && pairs.into_iter().all(|((k, v), (l, w))| k == l && v.same(w))
    }

    /// Appends the table's content, without its four octets of length.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        for (key, value) in &self.0 {
            short::put(out, key.as_bytes());
            value.encode_into(out);
        }
    }

    /// Reads a table's content, given without its four octets of length; the last of equal keys counts.
    ///
    /// Refuses what [`validate`] refuses, and keys that are not UTF-8.
    pub fn parse(raw: &[u8]) -> Result<Self, Malformed> {
        validate(raw)?;
        raw::table(raw, MAX_TABLE_DEPTH).ok_or(Malformed::Undecodable)
    }

    /// Sorts once, so that many keys cost no more than they must. Keys are cut at 255 octets.
    fn from_unsorted(mut entries: Vec<(Box<str>, Value)>) -> Self {
        for (key, _) in &mut entries {
            if key.len() > short::MAX_LEN {
                *key = short::cut(key, short::MAX_LEN).into();
            }
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        // The sort is stable: of equal keys the last came last.
        entries.dedup_by(|later, kept| {
            let equal = later.0 == kept.0;
            if equal {
                std::mem::swap(later, kept);
            }
            equal
        });
        Self(entries)
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(k, _)| (**k).cmp(key))
    }
}

impl<'a> FromIterator<(&'a str, Value)> for Table {
    fn from_iter<I: IntoIterator<Item = (&'a str, Value)>>(entries: I) -> Self {
        Self::from_unsorted(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_unique() {
        let mut table = Table::new();
        assert_eq!(table.insert("b", 1), None);
        assert_eq!(table.insert("a", true), None);
        assert_eq!(table.insert("b", 2), Some(Value::from(1)));
        assert_eq!(table.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((table.get("b"), table.get("c"), table.len()), (Some(&Value::I64(2)), None, 2));
        assert_eq!(table.remove("a"), Some(Value::Bool(true)));
        assert_eq!(table.remove("a"), None);
        assert!(!table.is_empty());
    }

    #[test]
    fn the_last_of_equal_keys_counts_when_parsed() {
        let raw = b"\x01bB\x01\x01aB\x02\x01bB\x03\x01bB\x04";
        let table = Table::parse(raw).unwrap();
        let expected = [("a", Value::U8(2)), ("b", Value::U8(4))];
        assert_eq!(table, expected.into_iter().collect());
        let mut out = Vec::new();
        table.encode_into(&mut out);
        assert_eq!(out, b"\x01aB\x02\x01bB\x04");
    }

    #[test]
    fn a_key_longer_than_the_wire_allows_is_cut() {
        let mut table = Table::new();
        table.insert(&"k".repeat(300), Value::Void);
        let mut out = Vec::new();
        table.encode_into(&mut out);
        assert_eq!(Table::parse(&out).unwrap(), table);
        assert_eq!(table, [(&*"k".repeat(400), Value::Void)].into_iter().collect());
    }

    #[test]
    fn tables_are_the_same_by_value() {
        let ints: Table = [("n", Value::I32(5)), ("s", Value::from("x"))].into_iter().collect();
        let wide: Table = [("n", Value::I64(5)), ("s", Value::from("x"))].into_iter().collect();
        assert!(ints.same(&wide) && ints != wide);
        assert!(!ints.same(&[("n", Value::I32(5))].into_iter().collect()));
        assert!(!ints.same(&[("m", Value::I32(5)), ("s", Value::from("x"))].into_iter().collect()));
    }

    #[test]
    fn keys_must_be_text() {
        assert_eq!(Table::parse(b"\x01\xffV"), Err(Malformed::Undecodable));
        assert_eq!(validate(b"\x01\xffV"), Ok(()), "RabbitMQ lets such headers pass");
    }
}
