//! Field tables as the JSON of RabbitMQ's management API and definitions: readable, and not exact.
//!
//! Written: numbers of any width are numbers, text is text (octets that are none are replaced), octets are base64, a
//! timestamp is its seconds, void is null. Read: a whole number is a long, another a double, text is a long string; null
//! is refused, as RabbitMQ refuses it. For exact JSON see [`crate::wire::table`]. Recursion ends where tables end.

use serde_json::{Map, Value as Json};

use crate::auth::base64;
use crate::wire::table::{Table, Value};

/// A table as a JSON object.
pub fn written(table: &Table) -> Map<String, Json> {
    table.iter().map(|(key, value)| (key.to_owned(), value_written(value))).collect()
}

/// A value as JSON.
pub fn value_written(value: &Value) -> Json {
    match value {
        Value::Bool(truth) => (*truth).into(),
        Value::Void => Json::Null,
        // Not a number and the infinities have no JSON.
        Value::F32(n) => f64::from(*n).into(),
        Value::F64(n) => (*n).into(),
        Value::Decimal { scale, value } => (f64::from(*value) / 10_f64.powi((*scale).into())).into(),
        Value::LongStr(octets) => String::from_utf8_lossy(octets).into_owned().into(),
        Value::Bytes(octets) => base64::encode(octets).into(),
        Value::Timestamp(seconds) => (*seconds).into(),
        Value::Array(values) => values.iter().map(value_written).collect(),
        Value::Table(table) => Json::Object(written(table)),
        Value::I8(_) | Value::U8(_) | Value::I16(_) | Value::U16(_) | Value::I32(_) | Value::U32(_) | Value::I64(_) => {
            value.as_int().into()
        }
    }
}

/// What is wrong with a value, and under which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The key at the top.
    pub key: String,
    /// RabbitMQ's word.
    pub problem: &'static str,
}

/// Reads a JSON object as a table.
pub fn read(map: &Map<String, Json>) -> Result<Table, Unreadable> {
    let mut entries = Vec::with_capacity(map.len());
    for (key, value) in map {
        let unreadable = |problem| Unreadable { key: key.clone(), problem };
        let value = value_read(value).map_err(unreadable)?;
        value.check_depth().map_err(|_| unreadable("nested_too_deeply"))?;
        entries.push((key.as_str(), value));
    }
    Ok(entries.into_iter().collect())
}

/// Reads a JSON value.
pub fn value_read(value: &Json) -> Result<Value, &'static str> {
    Ok(match value {
        Json::Null => return Err("null_not_allowed"),
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(n) => match n.as_i64() {
            Some(whole) => Value::I64(whole),
            None => Value::F64(n.as_f64().ok_or("not_a_number")?),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(values) => Value::Array(values.iter().map(value_read).collect::<Result<_, _>>()?),
        Json::Object(map) => {
            let mut table = Vec::with_capacity(map.len());
            for (key, value) in map {
                table.push((key.as_str(), value_read(value)?));
            }
            Value::Table(table.into_iter().collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_json_can_say_comes_back() {
        let Json::Object(map) = json!({"a": 1, "b": -2.5, "c": "text", "d": true, "e": [1, {"f": "g"}], "h": {}})
        else {
            panic!("an object")
        };
        let table = read(&map).unwrap();
        assert_eq!(table.get("a"), Some(&Value::I64(1)));
        assert_eq!(Json::Object(written(&table)), Json::Object(map));
    }

    #[test]
    fn null_and_too_deep_values_are_refused() {
        let refused = |value: Json| {
            let map: Map<String, Json> = [("k".to_owned(), value)].into_iter().collect();
            read(&map).unwrap_err().problem
        };
        assert_eq!(refused(json!(null)), "null_not_allowed");
        assert_eq!(refused(json!([{"a": null}])), "null_not_allowed");
        let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(refused(deep), "nested_too_deeply");
    }

    #[test]
    fn every_kind_of_value_can_be_shown() {
        let table: Table = [
            ("decimal", Value::Decimal { scale: 2, value: 256 }),
            ("nan", Value::F64(f64::NAN)),
            ("octets", Value::Bytes(b"ab"[..].into())),
            ("text", Value::LongStr([0xff, b'a'][..].into())),
            ("time", Value::Timestamp(7)),
            ("void", Value::Void),
            ("wide", Value::I8(-1)),
        ]
        .into_iter()
        .collect();
        let shown = json!({"decimal": 2.56, "nan": null, "octets": "YWI=", "text": "\u{fffd}a", "time": 7, "void": null,
            "wide": -1});
        assert_eq!(Json::Object(written(&table)), shown);
    }
}
