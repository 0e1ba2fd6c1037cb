//! The header `x-delay`: for how long an exchange of type `x-delayed-message` keeps a message.
//!
//! Source: the delayed-message plugin. It takes integers of any width, numeric strings and floats, and sends the message
//! on with the sign of the header turned, so that it is not delayed twice and the consumer can tell. Unlike there, a
//! delay beyond 2^32 milliseconds is a delay like any other.

use super::{Facts, Message};
use crate::wire::properties::Properties;
use crate::wire::table::{self, RawTable, RawValue, Value};

const X_DELAY: &str = "x-delay";

/// Milliseconds to wait, as the headers ask for; `None` if they do not, or not in numbers.
pub fn of(headers: RawTable<'_>) -> Option<i64> {
    number(headers.get(X_DELAY)?)
}

fn number(value: RawValue<'_>) -> Option<i64> {
    if let Some(n) = value.as_int() {
        return Some(n);
    }
    if let Some(text) = value.as_str() {
        return text.parse().ok();
    }
    let float = match value.to_value()? {
        Value::F32(n) => f64::from(n),
        Value::F64(n) => n,
        Value::Decimal { scale, value } => f64::from(value) / 10f64.powi(scale.into()),
        _ => return None,
    };
    // The cast cuts off what is behind the point and saturates.
    #[allow(clippy::cast_possible_truncation)]
    float.is_finite().then_some(float as i64)
}

/// Milliseconds for which this message is to be kept; 0 if it is not delayed.
pub fn of_message(message: &Message) -> u64 {
    let properties = Properties::parse(message.properties()).unwrap_or_default();
    let delay = properties.headers.map(RawTable::new).and_then(of).unwrap_or(0);
    u64::try_from(delay).unwrap_or(0)
}

/// The message as it goes on after its delay, `redelivered` if it may have gone on before. `None` if it has become
/// larger than a message may be.
pub fn released(message: &Message, redelivered: bool) -> Option<Message> {
    let mut properties = Properties::parse(message.properties()).ok()?;
    let headers = properties.headers?;
    let delay = of(RawTable::new(headers))?.saturating_neg();
    let turned = i32::try_from(delay).map_or(Value::I64(delay), Value::I32);
    let headers = table::set(headers, X_DELAY, &turned);
    properties.headers = Some(&headers);
    let facts = Facts { redelivered: message.facts().redelivered || redelivered, ..message.facts() };
    message.rewritten(message.envelope(), &properties.encode(), facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Draft, address};
    use crate::wire::table::Table;

    fn headers(value: Value) -> Vec<u8> {
        let (mut table, mut raw) = (Table::new(), Vec::new());
        table.insert(X_DELAY, value);
        table.encode_into(&mut raw);
        raw
    }

    #[test]
    fn any_number_is_a_delay() {
        let cases = [
            (Value::I8(-5), Some(-5)),
            (Value::U8(200), Some(200)),
            (Value::I16(-300), Some(-300)),
            (Value::U16(65_535), Some(65_535)),
            (Value::I32(5_000), Some(5_000)),
            (Value::U32(u32::MAX), Some(4_294_967_295)),
            (Value::I64(31_536_000_000), Some(31_536_000_000)),
            (Value::from("1500"), Some(1_500)),
            (Value::from("-1"), Some(-1)),
            (Value::from("soon"), None),
            (Value::from("1.5"), None),
            (Value::F32(2.75), Some(2)),
            (Value::F64(-0.5), Some(0)),
            (Value::F64(f64::NAN), None),
            (Value::F64(f64::INFINITY), None),
            (Value::Decimal { scale: 2, value: 12_345 }, Some(123)),
            (Value::Bool(true), None),
            (Value::Void, None),
            (Value::Timestamp(5), None),
        ];
        for (value, expected) in cases {
            assert_eq!(of(RawTable::new(&headers(value.clone()))), expected, "{value:?}");
        }
    }

    #[test]
    fn what_goes_on_carries_the_delay_with_its_sign_turned() {
        for (value, turned) in [
            (Value::from("1500"), Value::I32(-1_500)),
            (Value::I64(1 << 40), Value::I64(-(1 << 40))),
            (Value::I64(i64::MIN), Value::I64(i64::MAX)),
        ] {
            let raw = headers(value);
            let properties = Properties { headers: Some(&raw), ..Properties::default() };
            let address = address(b"x", b"k").unwrap();
            let message = Draft::new(&address, &properties.encode(), 0, Facts::default()).finish().unwrap();
            let released = released(&message, true).unwrap();
            let properties = Properties::parse(released.properties()).unwrap();
            let delay = RawTable::new(properties.headers.unwrap()).get(X_DELAY).unwrap().to_value();
            assert_eq!(delay, Some(turned));
            assert!(released.facts().redelivered);
        }
    }
}
