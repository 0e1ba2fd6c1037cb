//! Owned field values.
//!
//! Invariant: a value read from the wire is no deeper than a validated table. Deliberately absent: a short string,
//! which has no tag in RabbitMQ's dialect.

use super::{Malformed, Table};

/// One value of a field table.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Tag `t`.
    Bool(bool),
    /// Tag `b`.
    I8(i8),
    /// Tag `B`.
    U8(u8),
    /// Tag `s`.
    I16(i16),
    /// Tag `u`.
    U16(u16),
    /// Tag `I`.
    I32(i32),
    /// Tag `i`.
    U32(u32),
    /// Tags `l` and `L`; written as `l`.
    I64(i64),
    /// Tag `f`.
    F32(f32),
    /// Tag `d`.
    F64(f64),
    /// Tag `D`.
    Decimal {
        /// Digits after the point.
        scale: u8,
        /// The digits as one number.
        value: u32,
    },
    /// Tag `S`: text by convention, any octets in fact.
    LongStr(Box<[u8]>),
    /// Tag `x`.
    Bytes(Box<[u8]>),
    /// Tag `A`.
    Array(Vec<Value>),
    /// Tag `F`.
    Table(Table),
    /// Tag `T`: seconds since the Unix epoch.
    Timestamp(u64),
    /// Tag `V`.
    Void,
}

impl Value {
    /// The type's name in RabbitMQ's error texts.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::I8(_) => "byte",
            Self::U8(_) => "unsignedbyte",
            Self::I16(_) => "short",
            Self::U16(_) => "unsignedshort",
            Self::I32(_) => "signedint",
            Self::U32(_) => "unsignedint",
            Self::I64(_) => "long",
            Self::F32(_) => "float",
            Self::F64(_) => "double",
            Self::Decimal { .. } => "decimal",
            Self::LongStr(_) => "longstr",
            Self::Bytes(_) => "binary",
            Self::Array(_) => "array",
            Self::Table(_) => "table",
            Self::Timestamp(_) => "timestamp",
            Self::Void => "void",
        }
    }

    /// The number under any integer tag.
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            Self::I8(n) => Some(n.into()),
            Self::U8(n) => Some(n.into()),
            Self::I16(n) => Some(n.into()),
            Self::U16(n) => Some(n.into()),
            Self::I32(n) => Some(n.into()),
            Self::U32(n) => Some(n.into()),
            Self::I64(n) => Some(n),
            _ => None,
        }
    }

    /// The text of a long string, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::LongStr(octets) => std::str::from_utf8(octets).ok(),
            _ => None,
        }
    }

    /// The octets of a long string or byte array.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::LongStr(octets) | Self::Bytes(octets) => Some(octets),
            _ => None,
        }
    }

    /// The truth under tag `t`.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// The nested table.
    pub fn as_table(&self) -> Option<&Table> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The values of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// Equality as RabbitMQ compares arguments: integers by value whatever their width, floats likewise, an integer
    /// never equal to a float, strings octet for octet.
    pub fn same(&self, other: &Self) -> bool {
        if let (Some(a), Some(b)) = (self.as_int(), other.as_int()) {
            return a == b;
        }
        if let (Some(a), Some(b)) = (self.as_float(), other.as_float()) {
            // A declaration must equal itself, so the same bits are the same value even if not a number.
            return a.to_bits() == b.to_bits() || a.partial_cmp(&b).is_some_and(std::cmp::Ordering::is_eq);
        }
        match (self, other) {
            (Self::Array(a), Self::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Self::Table(a), Self::Table(b)) => a.same(b),
            _ => self == other,
        }
    }

    fn as_float(&self) -> Option<f64> {
        match *self {
            Self::F32(n) => Some(n.into()),
            Self::F64(n) => Some(n),
            _ => None,
        }
    }

    /// Appends tag and value.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(truth) => out.extend_from_slice(&[b't', u8::from(*truth)]),
            Self::I8(n) => tagged(out, b'b', &n.to_be_bytes()),
            Self::U8(n) => tagged(out, b'B', &n.to_be_bytes()),
            Self::I16(n) => tagged(out, b's', &n.to_be_bytes()),
            Self::U16(n) => tagged(out, b'u', &n.to_be_bytes()),
            Self::I32(n) => tagged(out, b'I', &n.to_be_bytes()),
            Self::U32(n) => tagged(out, b'i', &n.to_be_bytes()),
            Self::I64(n) => tagged(out, b'l', &n.to_be_bytes()),
            Self::F32(n) => tagged(out, b'f', &n.to_be_bytes()),
            Self::F64(n) => tagged(out, b'd', &n.to_be_bytes()),
            Self::Decimal { scale, value } => {
                tagged(out, b'D', &[*scale]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::LongStr(octets) => counted(out, b'S', |out| out.extend_from_slice(octets)),
            Self::Bytes(octets) => counted(out, b'x', |out| out.extend_from_slice(octets)),
            Self::Array(values) => counted(out, b'A', |out| values.iter().for_each(|value| value.encode_into(out))),
            Self::Table(table) => counted(out, b'F', |out| table.encode_into(out)),
            Self::Timestamp(seconds) => tagged(out, b'T', &seconds.to_be_bytes()),
            Self::Void => out.push(b'V'),
        }
    }

    /// Whether the value, inside a table, keeps that table within the depth [`super::validate`] allows.
    pub fn check_depth(&self) -> Result<(), Malformed> {
        if self.fits(super::MAX_TABLE_DEPTH.saturating_sub(1)) { Ok(()) } else { Err(Malformed::TooDeep) }
    }

    fn fits(&self, levels: usize) -> bool {
        let inner = levels.checked_sub(1);
        match self {
            Self::Array(values) => inner.is_some_and(|inner| values.iter().all(|value| value.fits(inner))),
            Self::Table(table) => inner.is_some_and(|inner| table.iter().all(|(_, value)| value.fits(inner))),
            _ => true,
        }
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, octets: &[u8]) {
    out.push(tag);
    out.extend_from_slice(octets);
}

/// Appends tag, four octets of length, and what `content` appends.
fn counted(out: &mut Vec<u8>, tag: u8, content: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[tag, 0, 0, 0, 0]);
    let start = out.len();
    content(out);
    let len = u32::try_from(out.len().saturating_sub(start)).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start.saturating_sub(4)..start) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::I64(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::LongStr(text.as_bytes().into())
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::Array(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_the_same_across_widths_and_never_floats() {
        let fives =
            [Value::I8(5), Value::U8(5), Value::I16(5), Value::U16(5), Value::I32(5), Value::U32(5), Value::I64(5)];
        for a in &fives {
            assert!(fives.iter().all(|b| a.same(b)), "{a:?}");
            assert!(!a.same(&Value::F64(5.0)) && !a.same(&Value::Timestamp(5)) && !a.same(&Value::I8(6)));
            assert_eq!(a.as_int(), Some(5));
        }
        assert!(Value::F32(0.5).same(&Value::F64(0.5)));
        assert!(Value::F64(f64::NAN).same(&Value::F64(f64::NAN)), "a declaration equals itself");
        assert!(!Value::from("x").same(&Value::Bytes(b"x"[..].into())));
        assert!(Value::from(vec![Value::I8(1)]).same(&Value::from(vec![Value::I64(1)])));
        assert!(!Value::from(vec![Value::I8(1)]).same(&Value::from(Vec::new())));
    }

    #[test]
    fn types_have_the_names_of_error_texts() {
        let names = [
            (Value::from("x"), "longstr"),
            (Value::I32(1), "signedint"),
            (Value::U32(1), "unsignedint"),
            (Value::I64(1), "long"),
            (Value::I16(1), "short"),
            (Value::U16(1), "unsignedshort"),
            (Value::I8(1), "byte"),
            (Value::U8(1), "unsignedbyte"),
            (Value::Bool(true), "bool"),
            (Value::F64(1.0), "double"),
            (Value::F32(1.0), "float"),
            (Value::Timestamp(1), "timestamp"),
            (Value::Decimal { scale: 1, value: 1 }, "decimal"),
            (Value::from(Table::new()), "table"),
            (Value::from(Vec::new()), "array"),
            (Value::Bytes(Box::default()), "binary"),
            (Value::Void, "void"),
        ];
        for (value, name) in names {
            assert_eq!(value.type_name(), name);
        }
    }

    #[test]
    fn depth_of_owned_values_is_checked_as_on_the_wire() {
        let nested = |levels: usize| (0..levels).fold(Value::Void, |inner, _| Value::from(vec![inner]));
        for levels in [0, 1, 62, 63, 64, 65] {
            let mut raw = vec![0];
            nested(levels).encode_into(&mut raw);
            assert_eq!(nested(levels).check_depth(), super::super::validate(&raw), "{levels} levels");
        }
    }
}
