//! Lazy views of raw tables, for looking at a header without decoding its neighbours.
//!
//! Invariant: views never panic and never recurse beyond [`MAX_TABLE_DEPTH`], even on octets nobody validated; on such
//! octets they end at the first entry that cannot be decoded. Deliberately absent: sorting and removing of duplicates.

use super::validate::{Shape, shape};
use super::{MAX_TABLE_DEPTH, Table, Value};
use crate::wire::reader::Reader;

/// A table's content as received, without its four octets of length.
#[derive(Clone, Copy, Debug)]
pub struct RawTable<'a>(&'a [u8]);

/// A value as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawValue<'a> {
    /// The tag octet.
    pub tag: u8,
    /// The octets after the tag, without four octets of length where the tag has them.
    pub bytes: &'a [u8],
}

/// An entry of a table with the octets it takes there.
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: RawValue<'a>,
    pub(super) octets: &'a [u8],
}

impl<'a> RawTable<'a> {
    /// A view of content that [`super::validate`] accepted.
    pub fn new(raw: &'a [u8]) -> Self {
        Self(raw)
    }

    /// Keys and values in their order, duplicates included.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], RawValue<'a>)> + use<'a> {
        self.entries().map(|entry| (entry.key, entry.value))
    }

    /// The first value under `key`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<RawValue<'a>> {
        let key = key.as_ref();
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || {
            let start = reader.rest();
            let key = reader.short()?;
            let value = RawValue::read(&mut reader)?;
            let octets = start.get(..start.len().checked_sub(reader.rest().len())?)?;
            Some(Entry { key, value, octets })
        })
    }
}

/// An array's content as received, without its four octets of length.
#[derive(Clone, Copy, Debug)]
pub struct RawArray<'a>(&'a [u8]);

impl<'a> RawArray<'a> {
    /// The values in their order.
    pub fn iter(&self) -> impl Iterator<Item = RawValue<'a>> + use<'a> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || RawValue::read(&mut reader))
    }
}

impl<'a> RawValue<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let tag = reader.octet()?;
        let bytes = match shape(tag)? {
            Shape::Fixed(len) => reader.take(len),
            Shape::Counted | Shape::Nested => reader.long(),
        }?;
        Some(Self { tag, bytes })
    }

    /// The number under any integer tag.
    pub fn as_int(&self) -> Option<i64> {
        self.scalar().and_then(|value| value.as_int())
    }

    /// The truth under tag `t`.
    pub fn as_bool(&self) -> Option<bool> {
        self.scalar().and_then(|value| value.as_bool())
    }

    /// The octets of a long string or byte array.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        matches!(self.tag, b'S' | b'x').then_some(self.bytes)
    }

    /// The text of a long string, if it is UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        if self.tag == b'S' { std::str::from_utf8(self.bytes).ok() } else { None }
    }

    /// The nested table.
    pub fn as_table(&self) -> Option<RawTable<'a>> {
        (self.tag == b'F').then_some(RawTable(self.bytes))
    }

    /// The nested array.
    pub fn as_array(&self) -> Option<RawArray<'a>> {
        (self.tag == b'A').then_some(RawArray(self.bytes))
    }

    /// The owned value; `None` for a malformed one, which validation excludes, and for keys that are not UTF-8.
    pub fn to_value(&self) -> Option<Value> {
        self.owned(MAX_TABLE_DEPTH)
    }

    /// Equality as [`Value::same`] has it, without allocating unless both are tables or arrays.
    pub fn same(&self, other: &Value) -> bool {
        match (self.tag, other) {
            (b'S', Value::LongStr(octets)) | (b'x', Value::Bytes(octets)) => *self.bytes == **octets,
            (b'S' | b'x', _) | (_, Value::LongStr(_) | Value::Bytes(_)) => false,
            (b'A', Value::Array(_)) | (b'F', Value::Table(_)) => self.to_value().is_some_and(|value| value.same(other)),
            _ => self.scalar().is_some_and(|value| value.same(other)),
        }
    }

    /// Appends octets that are equal for values of the same meaning: integers whatever their width, floats likewise,
    /// strings octet for octet. For hashing; composite values count as they stand.
    pub fn meaning(&self, out: &mut Vec<u8>) {
        if let Some(n) = self.as_int() {
            out.push(b'i');
            out.extend_from_slice(&n.to_be_bytes());
            return;
        }
        let float = match self.scalar() {
            Some(Value::F32(n)) => Some(f64::from(n)),
            Some(Value::F64(n)) => Some(n),
            _ => None,
        };
        if let Some(n) = float {
            out.push(b'f');
            out.extend_from_slice(&n.to_bits().to_be_bytes());
            return;
        }
        // Byte arrays and strings are both binaries.
        out.push(if self.tag == b'x' { b'S' } else { self.tag });
        out.extend_from_slice(self.bytes);
    }

    fn scalar(&self) -> Option<Value> {
        let bytes = self.bytes;
        Some(match self.tag {
            b't' => Value::Bool(u8::from_be_bytes(bytes.try_into().ok()?) != 0),
            b'b' => Value::I8(i8::from_be_bytes(bytes.try_into().ok()?)),
            b'B' => Value::U8(u8::from_be_bytes(bytes.try_into().ok()?)),
            b's' => Value::I16(i16::from_be_bytes(bytes.try_into().ok()?)),
            b'u' => Value::U16(u16::from_be_bytes(bytes.try_into().ok()?)),
            b'I' => Value::I32(i32::from_be_bytes(bytes.try_into().ok()?)),
            b'i' => Value::U32(u32::from_be_bytes(bytes.try_into().ok()?)),
            b'l' | b'L' => Value::I64(i64::from_be_bytes(bytes.try_into().ok()?)),
            b'f' => Value::F32(f32::from_be_bytes(bytes.try_into().ok()?)),
            b'd' => Value::F64(f64::from_be_bytes(bytes.try_into().ok()?)),
            b'T' => Value::Timestamp(u64::from_be_bytes(bytes.try_into().ok()?)),
            b'D' => {
                let (scale, value) = bytes.split_first()?;
                Value::Decimal { scale: *scale, value: u32::from_be_bytes(value.try_into().ok()?) }
            }
            b'V' => Value::Void,
            _ => return None,
        })
    }

    fn owned(&self, levels: usize) -> Option<Value> {
        match self.tag {
            b'S' => Some(Value::LongStr(self.bytes.into())),
            b'x' => Some(Value::Bytes(self.bytes.into())),
            b'F' => table(self.bytes, levels.checked_sub(1)?).map(Value::Table),
            b'A' => {
                let levels = levels.checked_sub(1)?;
                RawArray(self.bytes).iter().map(|value| value.owned(levels)).collect::<Option<_>>().map(Value::Array)
            }
            _ => self.scalar(),
        }
    }
}

/// The owned table of raw content, at most `levels` deep.
pub(super) fn table(raw: &[u8], levels: usize) -> Option<Table> {
    let entries = RawTable(raw).iter().map(|(key, value)| {
        let key = std::str::from_utf8(key).ok()?;
        Some((key.into(), value.owned(levels)?))
    });
    entries.collect::<Option<_>>().map(Table::from_unsorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &[u8] = b"\x01bS\0\0\0\x02hi\x01aI\xff\xff\xff\xff\x01bV\x01tt\x02\x01rA\0\0\0\x03B\x07V";

    #[test]
    fn entries_come_in_order_and_the_first_of_equal_keys_counts() {
        let table = RawTable::new(RAW);
        let keys: Vec<_> = table.iter().map(|(key, value)| (key[0], value.tag)).collect();
        assert_eq!(keys, [(b'b', b'S'), (b'a', b'I'), (b'b', b'V'), (b't', b't'), (b'r', b'A')]);
        assert_eq!(table.get("b").and_then(|value| value.as_str()), Some("hi"));
        assert_eq!(table.get("a").and_then(|value| value.as_int()), Some(-1));
        assert_eq!(table.get("t").and_then(|value| value.as_bool()), Some(true));
        assert_eq!(table.get("missing"), None);
        let array = table.get("r").and_then(|value| value.as_array()).unwrap();
        assert_eq!(array.iter().map(|value| value.tag).collect::<Vec<_>>(), b"BV");
    }

    #[test]
    fn raw_values_are_the_same_as_owned_ones() {
        let table = RawTable::new(RAW);
        for (_, value) in table.iter() {
            let owned = value.to_value().unwrap();
            assert!(value.same(&owned));
            assert!(!value.same(&Value::Timestamp(9)));
        }
        assert!(table.get("a").unwrap().same(&Value::I64(-1)));
        assert!(!table.get("b").unwrap().same(&Value::Bytes(b"hi"[..].into())));
    }

    #[test]
    fn views_of_octets_nobody_validated_end_early() {
        for len in 0..RAW.len() {
            let seen = RawTable::new(&RAW[..len]).iter().count();
            assert!(seen <= RawTable::new(RAW).iter().count());
        }
        let mut deep = b"V".to_vec();
        for _ in 0..1000 {
            deep = [&[b'A'][..], &(deep.len() as u32).to_be_bytes(), &deep].concat();
        }
        let raw = [&[0][..], &deep].concat();
        assert_eq!(RawTable::new(&raw).get("").unwrap().to_value(), None, "too deep to own");
    }
}
