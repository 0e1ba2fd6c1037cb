//! Octets and JSON values as RabbitMQ prints them in its error texts.
//!
//! RabbitMQ formats with Erlang's `~w` (numbers only) in one place and `~p` (text where everything is printable) in
//! others; client suites compare those texts. Deliberately absent: `~p`'s line breaks after 80 columns but for the
//! list of unknown settings, and a list of small numbers printed as the text it could be.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Octets of a frame's payload that RabbitMQ shows.
const SNIPPET: usize = 16;

/// More octets than ever fit a reply text: each takes at least two characters there.
const LONGEST: usize = 255;

/// `all octets = <<...>>` or `first 16 octets = <<...>>`, as frame errors name a payload.
pub(super) fn snippet(payload: &[u8]) -> String {
    match payload.get(..SNIPPET) {
        Some(first) if payload.len() > SNIPPET => format!("first {SNIPPET} octets = {}", pretty(first)),
        _ => format!("all octets = {}", pretty(payload)),
    }
}

/// `<<0,20,0,10>>`: numbers only, cut where no reply text could show more.
pub(super) fn numbers(octets: &[u8]) -> String {
    let mut text = String::from("<<");
    for (at, octet) in octets.iter().take(LONGEST).enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{octet}");
    }
    text.push_str(">>");
    text
}

/// Text in quotes when every character is printable to Erlang, numbers otherwise.
fn pretty(octets: &[u8]) -> String {
    let (text, suffix) = match std::str::from_utf8(octets) {
        Ok(text) if text.is_ascii() => (text.to_owned(), ""),
        Ok(text) => (text.to_owned(), "/utf8"),
        Err(_) => (octets.iter().copied().map(char::from).collect(), ""),
    };
    if text.is_empty() {
        return numbers(octets);
    }
    let mut quoted = String::from("<<\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' | '\u{a0}'..='\u{ff}' => quoted.push(c),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\u{1b}' => quoted.push_str("\\e"),
            _ => return numbers(octets),
        }
    }
    quoted.push('"');
    quoted.push_str(suffix);
    quoted.push_str(">>");
    quoted
}

/// Columns after which `~p` breaks a line.
const COLUMNS: usize = 80;

/// A JSON value as the term RabbitMQ reads it as.
pub fn term(value: &Value) -> String {
    // One level of nesting is all a policy's values have; deeper ones come from a bounded JSON parser.
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(on) => on.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => pretty(text.as_bytes()),
        Value::Array(list) => format!("[{}]", list.iter().map(term).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{} => {}", pretty(key.as_bytes()), term(value)));
            format!("#{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
    }
}

/// `[{<<"foo">>,1}]`: an object as the list of pairs RabbitMQ keeps it as.
pub fn pairs(map: &Map<String, Value>) -> String {
    let pairs: Vec<_> =
        map.iter().map(|(key, value)| format!("{{{},{}}}", pretty(key.as_bytes()), term(value))).collect();
    let line = format!("[{}]", pairs.join(","));
    if line.len() <= COLUMNS { line } else { format!("[{}]", pairs.join(",\n ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_reads_as_the_terms_rabbitmq_prints() {
        let value =
            serde_json::json!({"foo": true, "l": [1, 2.5], "m": {"a": 1}, "n": null, "s": ["a"], "zoo": "x\"y"});
        let Value::Object(map) = &value else { unreachable!() };
        assert_eq!(term(&value["zoo"]), "<<\"x\\\"y\">>");
        let expected = "[{<<\"foo\">>,true},\n {<<\"l\">>,[1,2.5]},\n {<<\"m\">>,#{<<\"a\">> => 1}},\n {<<\"n\">>,null},\n \
                        {<<\"s\">>,[<<\"a\">>]},\n {<<\"zoo\">>,<<\"x\\\"y\">>}]";
        assert_eq!(pairs(map), expected);
        let Value::Object(short) = serde_json::json!({"foo": 1}) else { unreachable!() };
        assert_eq!(pairs(&short), "[{<<\"foo\">>,1}]");
    }

    #[test]
    fn snippets_read_as_rabbitmq_prints_them() {
        assert_eq!(snippet(&[0, 20, 0, 10, 0]), "all octets = <<0,20,0,10,0>>");
        assert_eq!(snippet(b""), "all octets = <<>>");
        assert_eq!(snippet(b"abc"), "all octets = <<\"abc\">>");
        assert_eq!(snippet(b"0123456789abcdef"), "all octets = <<\"0123456789abcdef\">>");
        assert_eq!(snippet(b"0123456789abcdefg"), "first 16 octets = <<\"0123456789abcdef\">>");
        assert_eq!(snippet(b"a\"b\\\r\n"), "all octets = <<\"a\\\"b\\\\\\r\\n\">>");
        assert_eq!(snippet("\u{e9}".as_bytes()), "all octets = <<\"\u{e9}\"/utf8>>");
        assert_eq!(snippet(&[b'a', 0xe9]), "all octets = <<\"a\u{e9}\">>");
        assert_eq!(snippet(&[b'a', 0x7f]), "all octets = <<97,127>>");
    }

    #[test]
    fn numbers_never_become_text_and_are_bounded() {
        assert_eq!(numbers(b"abc"), "<<97,98,99>>");
        assert_eq!(numbers(b""), "<<>>");
        assert!(numbers(&vec![200; 100_000]).len() < 1100);
    }
}
