//! Topic and headers exchanges against their definitions, written as plainly as can be.

use leveret::broker::probe::{Bind, matched};
use leveret::wire::table::{self, RawTable, RawValue, Table, Value};

use crate::choices::Choices;

/// Bindings of a topic exchange, some removed again, and a few routing keys.
pub(crate) fn topic(input: &[u8]) {
    let mut choices = Choices(input);
    let count = choices.number() % 24;
    let bound: Vec<Bind> = (0..count)
        .map(|_| {
            let (removed, key) = (choices.octet() % 8 == 7, words(&mut choices, &["*", "#"]));
            Bind { key: String::from_utf8_lossy(&key).into_owned(), arguments: Table::new(), removed }
        })
        .map(|bind| Bind { key: cut(bind.key), ..bind })
        .collect();
    for _ in 0..=choices.octet() % 4 {
        let key = words(&mut choices, &[]);
        let found = matched("topic", &bound, &key, None).expect("a topic exchange");
        let kept = (0u64..).zip(&bound).filter(|(_, bind)| !bind.removed);
        let expected: Vec<u64> =
            kept.filter(|(_, bind)| follows(bind.key.as_bytes(), &key)).map(|(at, _)| at).collect();
        assert_eq!(found, expected, "{:?} of {bound:?}", String::from_utf8_lossy(&key));
    }
}

fn cut(mut key: String) -> String {
    while key.len() > 255 {
        key.pop();
    }
    key
}

/// A key of words out of few, or as it stands in the input.
fn words(choices: &mut Choices<'_>, wild: &[&str]) -> Vec<u8> {
    let choice = choices.number();
    if choice >= 240 {
        return choices.short().to_vec();
    }
    let mut key: Vec<u8> = Vec::new();
    for at in 0..choice % 12 {
        if at > 0 {
            key.push(b'.');
        }
        let word = choices.number() % 16;
        match wild.get(word % 4).filter(|_| word < 8) {
            Some(wild) => key.extend_from_slice(wild.as_bytes()),
            None => key.extend_from_slice(["a", "b", "", "ab", "a#", "*b", "c", "**"][word % 8].as_bytes()),
        }
    }
    key
}

/// Whether a routing key follows a pattern: a table of "the first n words of the one fit the first m of the other".
fn follows(pattern: &[u8], key: &[u8]) -> bool {
    fn split(key: &[u8]) -> Vec<&[u8]> {
        if key.is_empty() { Vec::new() } else { key.split(|octet| *octet == b'.').collect() }
    }
    let (pattern, key) = (split(pattern), split(key));
    let mut fits = vec![vec![false; key.len() + 1]; pattern.len() + 1];
    fits[0][0] = true;
    for n in 1..=pattern.len() {
        for m in 0..=key.len() {
            fits[n][m] = match pattern[n - 1] {
                b"#" => fits[n - 1][m] || (m > 0 && fits[n][m - 1]),
                b"*" => m > 0 && fits[n - 1][m - 1],
                word => m > 0 && *word == *key[m - 1] && fits[n - 1][m - 1],
            };
        }
    }
    fits[pattern.len()][key.len()]
}

/// Bindings of a headers exchange, and a message's header table.
pub(crate) fn headers(input: &[u8]) {
    let mut choices = Choices(input);
    let count = choices.number() % 12;
    let mut bound = Vec::new();
    for _ in 0..count {
        let removed = choices.octet() % 8 == 7;
        let mode = choices.octet() % 8;
        let Ok(mut arguments) = Table::parse(&entries(&mut choices)) else { continue };
        match mode {
            0 => drop(arguments.insert("x-match", "all")),
            1 | 2 => drop(arguments.insert("x-match", "any")),
            3 => drop(arguments.insert("x-match", "all-with-x")),
            4 => drop(arguments.insert("x-match", "any-with-x")),
            _ => {}
        }
        bound.push(Bind { key: String::new(), arguments, removed });
    }
    let raw = entries(&mut choices);
    let headers = table::validate(&raw).is_ok().then_some(&raw[..]);
    let found = matched("headers", &bound, b"", headers).expect("a headers exchange");
    let kept = (0u64..).zip(&bound).filter(|(_, bind)| !bind.removed);
    let expected: Vec<u64> = kept.filter(|(_, bind)| meets(&bind.arguments, headers)).map(|(at, _)| at).collect();
    assert_eq!(found, expected, "{headers:?} of {bound:?}");
}

/// A table of entries out of few, or as it stands in the input.
fn entries(choices: &mut Choices<'_>) -> Vec<u8> {
    let choice = choices.number();
    if choice >= 224 {
        return choices.short().to_vec();
    }
    let mut raw = Vec::new();
    for _ in 0..choice % 6 {
        let key = choices.one_of(&["a", "b", "c", "x-a", "x-", "x-match", ""]);
        raw.push(u8::try_from(key.len()).expect("a short key"));
        raw.extend_from_slice(key.as_bytes());
        value(choices, &mut raw);
    }
    raw
}

fn value(choices: &mut Choices<'_>, raw: &mut Vec<u8>) {
    let small = choices.octet();
    let n = i8::from_be_bytes([small]) % 3;
    let value = match choices.octet() % 20 {
        0 => Value::I8(n),
        1 => Value::U8(n.unsigned_abs()),
        2 => Value::I16(n.into()),
        3 => Value::U16(n.unsigned_abs().into()),
        4 => Value::I32(n.into()),
        5 => Value::U32(n.unsigned_abs().into()),
        6 => Value::I64(n.into()),
        7 => Value::F32(n.into()),
        8 => Value::F64(n.into()),
        9 => Value::Bool(n > 0),
        10 => Value::Void,
        11 => Value::Timestamp(n.unsigned_abs().into()),
        12 => Value::Decimal { scale: 0, value: n.unsigned_abs().into() },
        13 => Value::Bytes([small % 2].into()),
        14 => Value::Array(vec![Value::I8(n), Value::from("a")]),
        15 => Value::Array(vec![Value::I64(n.into()), Value::from("a")]),
        16 => Value::Table([("k", Value::I16(n.into()))].into_iter().collect()),
        17 => Value::F64(f64::NAN),
        _ => Value::LongStr([small % 2].into()),
    };
    value.encode_into(raw);
}

/// What RabbitMQ 4's manual says of `x-match`.
fn meets(arguments: &Table, headers: Option<&[u8]>) -> bool {
    let mode = arguments.get("x-match").and_then(Value::as_str);
    let (any, with_x) = match mode {
        Some("any") => (true, false),
        Some("all-with-x") => (false, true),
        Some("any-with-x") => (true, true),
        _ => (false, false),
    };
    let mut results = Vec::new();
    for (key, wanted) in arguments.iter() {
        if key == "x-match" || (!with_x && key.starts_with("x-")) {
            continue;
        }
        let there = headers.and_then(|raw| RawTable::new(raw).iter().find(|(name, _)| *name == key.as_bytes()));
        results.push(there.is_some_and(|(_, value)| accepts(wanted, value)));
    }
    if any { results.contains(&true) } else { !results.contains(&false) }
}

fn accepts(wanted: &Value, there: RawValue<'_>) -> bool {
    match wanted {
        Value::Timestamp(_) => false,
        Value::Void => true,
        // A value with a key that is no text cannot be in a binding.
        _ => there.to_value().is_some_and(|there| equal(wanted, &there)),
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    let float = |value: &Value| match value {
        Value::F32(n) => Some(f64::from(*n)),
        Value::F64(n) => Some(*n),
        _ => None,
    };
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Table(a), Value::Table(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => match (a.as_int(), b.as_int(), float(a), float(b)) {
            (Some(a), Some(b), _, _) => a == b,
            // No margin, and what is not a number is itself.
            (_, _, Some(a), Some(b)) => {
                a.total_cmp(&b).is_eq() || a.partial_cmp(&b).is_some_and(std::cmp::Ordering::is_eq)
            }
            _ => a == b,
        },
    }
}
