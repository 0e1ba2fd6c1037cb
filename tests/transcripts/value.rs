//! Values as text and as octets: what stands in tables, and the tokens of a line.
//!
//! `5` is a `signedint`, `"x"` a `longstr`, `true` a `bool`; any other type carries its tag: `l:5`, `T:1`, `x:"ab"`,
//! `V`, `d:1.5`. `[...]` is an array, `{key=value, ...}` a table, `"ab"*3` repeats a string, `?:5a00` is raw octets.
//! Printing uses the same notation, so that a recording can be read by who wrote the conversation.

/// Longest text printed in full, in octets.
const SHOWN: usize = 200;

/// Splits a line at white space outside of quotes and brackets.
pub(crate) fn tokens(line: &str) -> Vec<String> {
    split(line, char::is_whitespace)
}

/// Splits at separators outside of quotes and brackets; empty pieces are dropped.
fn split(text: &str, separates: impl Fn(char) -> bool) -> Vec<String> {
    let (mut found, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
    for c in text.chars() {
        if depth == 0 && !quoted && separates(c) {
            found.push(String::new());
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            _ => {}
        }
        if let Some(last) = found.last_mut() {
            last.push(c);
        }
    }
    assert!(!quoted && depth == 0, "open quotes or brackets: {text}");
    found.into_iter().map(|piece| piece.trim().to_owned()).filter(|piece| !piece.is_empty()).collect()
}

/// Splits `key=value`, if `key` is a word.
pub(crate) fn pair(token: &str) -> Option<(&str, &str)> {
    let (key, value) = token.split_once('=')?;
    let word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (!key.is_empty() && key.chars().all(word)).then_some((key, value))
}

/// The octets of a bare or quoted string.
pub(crate) fn string(token: &str) -> Vec<u8> {
    let Some(rest) = token.strip_prefix('"') else { return token.as_bytes().to_vec() };
    let end = rest.rfind('"').expect("closing quotes");
    let (quoted, times) = (&rest[..end], &rest[end + 1..]);
    let mut octets = Vec::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            octets.extend(c.to_string().as_bytes());
            continue;
        }
        match chars.next().expect("an escaped character") {
            'x' => {
                let digits: String = chars.by_ref().take(2).collect();
                octets.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits"));
            }
            'n' => octets.push(b'\n'),
            'r' => octets.push(b'\r'),
            '0' => octets.push(0),
            other => octets.extend(other.to_string().as_bytes()),
        }
    }
    match times.strip_prefix('*') {
        Some(times) => octets.repeat(times.parse().expect("a number of times")),
        None => octets,
    }
}

/// Octets given as hexadecimal digits.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("two digits");
    digits.chunks(2).map(octet).collect()
}

/// Appends a string with four octets of length.
pub(crate) fn put_long(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend(u32::try_from(octets.len()).expect("a short text").to_be_bytes());
    out.extend(octets);
}

/// Appends a string with one octet of length.
pub(crate) fn put_short(out: &mut Vec<u8>, octets: &[u8]) {
    out.push(u8::try_from(octets.len()).expect("at most 255 octets"));
    out.extend(octets);
}

/// Appends a table written as `{key=value, ...}`, with its length.
pub(crate) fn put_table(out: &mut Vec<u8>, text: &str) {
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).expect("a table in braces");
    let mut content = Vec::new();
    for entry in split(inner, |c| c == ',') {
        let (key, value) = entry.split_once('=').expect("key=value");
        put_short(&mut content, &string(key));
        put_value(&mut content, value);
    }
    put_long(out, &content);
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("not a number that fits: {text}"))
}

fn put_value(out: &mut Vec<u8>, text: &str) {
    if text == "true" || text == "false" {
        out.extend([b't', u8::from(text == "true")]);
    } else if text.starts_with('"') {
        out.push(b'S');
        put_long(out, &string(text));
    } else if text.starts_with('{') {
        out.push(b'F');
        put_table(out, text);
    } else if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        out.push(b'A');
        let mut content = Vec::new();
        for value in split(inner, |c| c == ',') {
            put_value(&mut content, &value);
        }
        put_long(out, &content);
    } else if text == "V" {
        out.push(b'V');
    } else if let Some(digits) = text.strip_prefix("?:") {
        out.extend(hex(digits));
    } else if let Some((tag, value)) = text.split_once(':') {
        out.extend(tag.as_bytes());
        match tag {
            "b" => out.extend(number::<i8>(value).to_be_bytes()),
            "B" | "t" => out.extend(number::<u8>(value).to_be_bytes()),
            "s" => out.extend(number::<i16>(value).to_be_bytes()),
            "u" => out.extend(number::<u16>(value).to_be_bytes()),
            "I" => out.extend(number::<i32>(value).to_be_bytes()),
            "i" => out.extend(number::<u32>(value).to_be_bytes()),
            "l" => out.extend(number::<i64>(value).to_be_bytes()),
            "L" | "T" => out.extend(number::<u64>(value).to_be_bytes()),
            "f" => out.extend(number::<f32>(value).to_be_bytes()),
            "d" => out.extend(number::<f64>(value).to_be_bytes()),
            "D" => {
                let (scale, digits) = value.split_once(':').expect("scale:digits");
                out.push(number(scale));
                out.extend(number::<u32>(digits).to_be_bytes());
            }
            "S" | "x" => put_long(out, &string(value)),
            _ => panic!("no such type: {text}"),
        }
    } else {
        out.push(b'I');
        out.extend(number::<i32>(text).to_be_bytes());
    }
}

/// Reads octets from the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `n` octets.
    pub(crate) fn number(&mut self, n: usize) -> Option<u64> {
        Some(self.take(n)?.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet)))
    }

    pub(crate) fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.number(1)?;
        self.take(usize::try_from(length).ok()?)
    }

    pub(crate) fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.number(4)?;
        self.take(usize::try_from(length).ok()?)
    }
}

/// A string as it is printed: bare if it is a simple word, else in quotes.
pub(crate) fn show(octets: &[u8]) -> String {
    // The names of direct reply-to consumers hold all of base64, and are bare like all others.
    let more: &[u8] = if octets.starts_with(b"amq.rabbitmq.reply-to.") { b"+=" } else { b"" };
    let simple = |octet: &u8| octet.is_ascii_alphanumeric() || b".-_/#*".contains(octet) || more.contains(octet);
    if !octets.is_empty() && octets.len() < SHOWN && octets.iter().all(simple) {
        return String::from_utf8_lossy(octets).into_owned();
    }
    quoted(octets)
}

/// A string in quotes.
pub(crate) fn quoted(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("\"");
    for octet in octets.iter().take(256) {
        match octet {
            b'"' | b'\\' => text.extend(['\\', char::from(*octet)]),
            0x20..0x7f => text.push(char::from(*octet)),
            _ => write!(text, "\\x{octet:02x}").expect("memory"),
        }
    }
    text.push('"');
    if octets.len() > 256 {
        write!(text, "... {} octets", octets.len()).expect("memory");
    }
    text
}

/// A table's content as text; what differs from run to run is an asterisk.
pub(crate) fn show_table(content: &[u8]) -> Option<String> {
    let mut reader = Reader(content);
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        let key = show(reader.short()?);
        let value = show_value(&mut reader)?;
        entries.push(match key.as_str() {
            "cluster_name" | "copyright" | "information" | "platform" => format!("{key}=\"*\""),
            "time" if value.starts_with("T:") => "time=T:*".to_owned(),
            _ => format!("{key}={value}"),
        });
    }
    Some(format!("{{{}}}", entries.join(", ")))
}

fn show_value(reader: &mut Reader<'_>) -> Option<String> {
    let signed = |number: u64, bits: u32| (number << (64 - bits)).cast_signed() >> (64 - bits);
    let tag = reader.number(1)?;
    let tag = char::from(u8::try_from(tag).ok()?);
    Some(match tag {
        't' => (reader.number(1)? != 0).to_string(),
        'b' => format!("b:{}", signed(reader.number(1)?, 8)),
        'B' => format!("B:{}", reader.number(1)?),
        's' => format!("s:{}", signed(reader.number(2)?, 16)),
        'u' => format!("u:{}", reader.number(2)?),
        'I' => signed(reader.number(4)?, 32).to_string(),
        'i' => format!("i:{}", reader.number(4)?),
        'l' => format!("l:{}", reader.number(8)?.cast_signed()),
        'L' | 'T' => format!("{tag}:{}", reader.number(8)?),
        'f' => format!("f:{}", f32::from_bits(u32::try_from(reader.number(4)?).ok()?)),
        'd' => format!("d:{}", f64::from_bits(reader.number(8)?)),
        'D' => format!("D:{}:{}", reader.number(1)?, reader.number(4)?),
        'S' => quoted(reader.long()?),
        'x' => format!("x:{}", quoted(reader.long()?)),
        'V' => "V".to_owned(),
        'F' => show_table(reader.long()?)?,
        'A' => {
            let mut inner = Reader(reader.long()?);
            let mut values = Vec::new();
            while !inner.0.is_empty() {
                values.push(show_value(&mut inner)?);
            }
            format!("[{}]", values.join(", "))
        }
        _ => return None,
    })
}
