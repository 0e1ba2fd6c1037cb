//! Tables of `amq-protocol` to ours and back: methods outside the hot path carry theirs.
//!
//! Invariant: recursion is bounded, since the guard refuses deep tables before `amq-protocol` reads them.

use amq_protocol::types::{AMQPValue, DecimalValue, FieldTable};

use super::{Table, Value};
use crate::wire::short::short_string;

impl From<&FieldTable> for Table {
    fn from(table: &FieldTable) -> Self {
        Self::from_unsorted(table.into_iter().map(|(key, value)| (key.as_str().into(), value.into())).collect())
    }
}

impl From<&Table> for FieldTable {
    fn from(table: &Table) -> Self {
        let mut out = Self::default();
        for (key, value) in table.iter() {
            out.insert(short_string(key), value.into());
        }
        out
    }
}

impl From<&AMQPValue> for Value {
    fn from(value: &AMQPValue) -> Self {
        match value {
            AMQPValue::Boolean(truth) => Self::Bool(*truth),
            AMQPValue::ShortShortInt(n) => Self::I8(*n),
            AMQPValue::ShortShortUInt(n) => Self::U8(*n),
            AMQPValue::ShortInt(n) => Self::I16(*n),
            AMQPValue::ShortUInt(n) => Self::U16(*n),
            AMQPValue::LongInt(n) => Self::I32(*n),
            AMQPValue::LongUInt(n) => Self::U32(*n),
            AMQPValue::LongLongInt(n) => Self::I64(*n),
            AMQPValue::Float(n) => Self::F32(*n),
            AMQPValue::Double(n) => Self::F64(*n),
            AMQPValue::DecimalValue(n) => Self::Decimal { scale: n.scale, value: n.value },
            // Has no tag on the wire; code that builds one means text.
            AMQPValue::ShortString(text) => Self::from(text.as_str()),
            AMQPValue::LongString(text) => Self::LongStr(text.as_bytes().into()),
            AMQPValue::FieldArray(values) => Self::Array(values.as_slice().iter().map(Self::from).collect()),
            AMQPValue::Timestamp(seconds) => Self::Timestamp(*seconds),
            AMQPValue::FieldTable(table) => Self::Table(table.into()),
            AMQPValue::ByteArray(octets) => Self::Bytes(octets.as_slice().into()),
            AMQPValue::Void => Self::Void,
        }
    }
}

impl From<&Value> for AMQPValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Bool(truth) => Self::Boolean(*truth),
            Value::I8(n) => Self::ShortShortInt(*n),
            Value::U8(n) => Self::ShortShortUInt(*n),
            Value::I16(n) => Self::ShortInt(*n),
            Value::U16(n) => Self::ShortUInt(*n),
            Value::I32(n) => Self::LongInt(*n),
            Value::U32(n) => Self::LongUInt(*n),
            Value::I64(n) => Self::LongLongInt(*n),
            Value::F32(n) => Self::Float(*n),
            Value::F64(n) => Self::Double(*n),
            Value::Decimal { scale, value } => Self::DecimalValue(DecimalValue { scale: *scale, value: *value }),
            Value::LongStr(octets) => Self::LongString(octets.to_vec().into()),
            Value::Bytes(octets) => Self::ByteArray(octets.to_vec().into()),
            Value::Array(values) => Self::FieldArray(values.iter().map(Self::from).collect::<Vec<_>>().into()),
            Value::Table(table) => Self::FieldTable(table.into()),
            Value::Timestamp(seconds) => Self::Timestamp(*seconds),
            Value::Void => Self::Void,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversion_loses_nothing() {
        let inner: Table = [("n", Value::from(vec![Value::I16(-2), Value::Void]))].into_iter().collect();
        let table: Table = [
            ("text", Value::from("t")),
            ("bytes", Value::Bytes([0xff][..].into())),
            ("inner", Value::from(inner)),
            ("price", Value::Decimal { scale: 2, value: 314 }),
            ("when", Value::Timestamp(u64::MAX)),
        ]
        .into_iter()
        .collect();
        let field_table = FieldTable::from(&table);
        assert_eq!(field_table.inner().len(), 5);
        assert_eq!(Table::from(&field_table), table);
    }
}
