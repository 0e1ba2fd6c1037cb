//! Tables as JSON, for definitions at rest: exact, readable, and never deeper than the table itself.
//!
//! A table is an object. Text, truth and void are JSON's own; every other scalar is an object of its tag, like
//! `{"I": 60000}`. Nested containers are `["A", value, ...]` and `["F", key, value, ...]`, so that one level of a table
//! costs one level of JSON and the deepest table stays within a JSON parser's limit of 128. Floats are text: JSON
//! has no NaN and its parsers round. Deliberately absent: RabbitMQ's lossy form for definitions and the HTTP API.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Table, Value};

const ARRAY: &str = "A";
const TABLE: &str = "F";

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Void => serializer.serialize_unit(),
            Self::I8(n) => tagged(serializer, "b", n),
            Self::U8(n) => tagged(serializer, "B", n),
            Self::I16(n) => tagged(serializer, "s", n),
            Self::U16(n) => tagged(serializer, "u", n),
            Self::I32(n) => tagged(serializer, "I", n),
            Self::U32(n) => tagged(serializer, "i", n),
            Self::I64(n) => tagged(serializer, "l", n),
            Self::F32(n) => tagged(serializer, "f", &format!("{n:?}")),
            Self::F64(n) => tagged(serializer, "d", &format!("{n:?}")),
            Self::Decimal { scale, value } => tagged(serializer, "D", &(scale, value)),
            Self::LongStr(octets) => match std::str::from_utf8(octets) {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => tagged(serializer, "S", octets),
            },
            Self::Bytes(octets) => tagged(serializer, "x", octets),
            Self::Timestamp(seconds) => tagged(serializer, "T", seconds),
            Self::Array(values) => {
                let mut seq = serializer.serialize_seq(None)?;
                seq.serialize_element(ARRAY)?;
                values.iter().try_for_each(|value| seq.serialize_element(value))?;
                seq.end()
            }
            Self::Table(table) => {
                let mut seq = serializer.serialize_seq(None)?;
                seq.serialize_element(TABLE)?;
                for (key, value) in table.iter() {
                    seq.serialize_element(key)?;
                    seq.serialize_element(value)?;
                }
                seq.end()
            }
        }
    }
}

fn tagged<S: Serializer>(serializer: S, tag: &str, content: &impl Serialize) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(tag, content)?;
    map.end()
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor)
    }
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Table;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of field values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Table::from_unsorted(entries))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field value: text, true, false, null, {tag: value} or [tag, values]")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Void)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Some(tag) = map.next_key::<String>()? else {
            return Err(A::Error::invalid_length(0, &self));
        };
        let value = match tag.as_str() {
            "b" => Value::I8(map.next_value()?),
            "B" => Value::U8(map.next_value()?),
            "s" => Value::I16(map.next_value()?),
            "u" => Value::U16(map.next_value()?),
            "I" => Value::I32(map.next_value()?),
            "i" => Value::U32(map.next_value()?),
            "l" => Value::I64(map.next_value()?),
            "f" => Value::F32(float(&map.next_value::<String>()?)?),
            "d" => Value::F64(float(&map.next_value::<String>()?)?),
            "D" => {
                let (scale, value) = map.next_value()?;
                Value::Decimal { scale, value }
            }
            "S" => Value::LongStr(map.next_value()?),
            "x" => Value::Bytes(map.next_value()?),
            "T" => Value::Timestamp(map.next_value()?),
            _ => return Err(A::Error::invalid_value(Unexpected::Str(&tag), &"the tag of a scalar")),
        };
        match map.next_key::<String>()? {
            None => Ok(value),
            Some(_) => Err(A::Error::invalid_length(2, &"one tag")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        match seq.next_element::<String>()?.as_deref() {
            Some(ARRAY) => {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Value::Array(values))
            }
            Some(TABLE) => {
                let mut entries = Vec::new();
                while let Some(key) = seq.next_element()? {
                    let value = seq.next_element()?.ok_or_else(|| A::Error::custom("a key without a value"))?;
                    entries.push((key, value));
                }
                Ok(Value::Table(Table::from_unsorted(entries)))
            }
            _ => Err(A::Error::custom("a container starts with its tag, A or F")),
        }
    }
}

fn float<F: std::str::FromStr, E: Error>(text: &str) -> Result<F, E> {
    text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &"a float as text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Table {
        let inner: Table = [("k", Value::I8(-1)), ("I", Value::from("not a tag"))].into_iter().collect();
        [
            ("a", Value::Bool(false)),
            ("b", Value::from(vec![Value::U8(1), Value::from(Vec::new()), Value::from("F")])),
            ("c", Value::from(inner)),
            ("d", Value::I16(-300)),
            ("e", Value::U16(300)),
            ("f", Value::I32(60000)),
            ("g", Value::U32(u32::MAX)),
            ("h", Value::I64(i64::MIN)),
            ("i", Value::F32(0.1)),
            ("j", Value::F64(1e300)),
            ("k", Value::F64(f64::NEG_INFINITY)),
            ("l", Value::Decimal { scale: 2, value: 314 }),
            ("m", Value::from("text")),
            ("n", Value::LongStr([0xff, 0][..].into())),
            ("o", Value::Bytes(b"b"[..].into())),
            ("p", Value::Timestamp(u64::MAX)),
            ("q", Value::Void),
            ("r", Value::from(Table::new())),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn every_value_survives_exactly() {
        let json = serde_json::to_string(&all()).unwrap();
        assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), all());
    }

    #[test]
    fn common_arguments_are_readable() {
        let table: Table =
            [("x-message-ttl", Value::I32(60000)), ("x-queue-type", Value::from("classic"))].into_iter().collect();
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(json, r#"{"x-message-ttl":{"I":60000},"x-queue-type":"classic"}"#);
    }

    #[test]
    fn not_a_number_is_kept_as_such() {
        let json = serde_json::to_string(&Value::F32(f32::NAN)).unwrap();
        assert!(matches!(serde_json::from_str(&json), Ok(Value::F32(n)) if n.is_nan()));
    }

    #[test]
    fn the_deepest_table_fits_a_json_parser() {
        let mut value = Value::I32(1);
        for level in 0..super::super::MAX_TABLE_DEPTH - 1 {
            value = if level % 2 == 0 {
                Value::from(vec![value])
            } else {
                Value::from([("k", value)].into_iter().collect::<Table>())
            };
        }
        let table: Table = [("k", value)].into_iter().collect();
        let json = serde_json::to_string(&[[&table]]).unwrap();
        assert_eq!(serde_json::from_str::<[[Table; 1]; 1]>(&json).unwrap(), [[table]]);
    }

    #[test]
    fn anything_else_is_refused() {
        for json in [r#"{"I":1,"i":2}"#, r#"{"F":{}}"#, "{}", "[]", "[1]", r#"["F","k"]"#, "1", r#"{"b":300}"#] {
            assert!(serde_json::from_str::<Value>(json).is_err(), "{json}");
        }
    }
}
