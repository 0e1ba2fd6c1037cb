//! Frames from lines, and lines from frames.
//!
//! A line is a method's name, then its arguments: a flag by its name, `name=value`, or bare values in the order of the
//! grammar. Behind ` | ` follow the body and the properties of a message. A message's frames are one line.

use crate::grammar::{self, Argument, Method, PROPERTIES};
use crate::value::{Reader, pair, put_long, put_short, put_table, quoted, show, show_table, string, tokens};

/// The protocol header of AMQP 0-9-1.
pub(crate) const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// Payload of a body frame, in octets: the usual frame-max without the frame around it.
const BODY: usize = 131_072 - 8;

/// A frame of any content.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(channel.to_be_bytes());
    put_long(&mut out, payload);
    out.push(0xCE);
    out
}

/// Which of `arguments` the tokens set, in the order of the grammar.
fn assign<'a>(arguments: &[Argument], tokens: &'a [String]) -> Vec<Option<&'a str>> {
    let mut values = vec![None; arguments.len()];
    let place = |name: &str| arguments.iter().position(|argument| !name.is_empty() && argument.name == name);
    for token in tokens {
        if let Some((at, value)) = pair(token).and_then(|(key, value)| Some((place(key)?, value))) {
            values[at] = Some(value);
        } else if let Some(at) = place(token).filter(|at| arguments[*at].kind == 'b') {
            values[at] = Some("1");
        } else {
            let table = token.starts_with('{');
            let free = arguments.iter().enumerate().find(|(at, argument)| {
                let fits = if table { argument.kind == 'F' } else { !"bF".contains(argument.kind) };
                fits && !argument.name.is_empty() && values[*at].is_none()
            });
            let (at, _) = free.unwrap_or_else(|| panic!("no argument for {token}"));
            values[at] = Some(token);
        }
    }
    values
}

fn put(out: &mut Vec<u8>, kind: char, value: Option<&str>) {
    let number = || value.map_or(0, |value| value.parse::<u64>().unwrap_or_else(|_| panic!("not a number: {value}")));
    match kind {
        'o' => out.push(u8::try_from(number()).expect("an octet")),
        'u' => out.extend(u16::try_from(number()).expect("a short").to_be_bytes()),
        'i' => out.extend(u32::try_from(number()).expect("a long").to_be_bytes()),
        'l' => out.extend(number().to_be_bytes()),
        's' => put_short(out, &string(value.unwrap_or_default())),
        'S' => put_long(out, &string(value.unwrap_or_default())),
        'F' => put_table(out, value.unwrap_or("{}")),
        _ => panic!("no kind {kind}"),
    }
}

/// The payload of a method frame.
fn method(method: &Method, tokens: &[String]) -> Vec<u8> {
    let mut out = [method.ids.0.to_be_bytes(), method.ids.1.to_be_bytes()].concat();
    let mut bits: Option<(u8, u32)> = None;
    for (argument, value) in method.arguments.iter().zip(assign(&method.arguments, tokens)) {
        if argument.kind == 'b' {
            let (octet, n) = bits.get_or_insert((0, 0));
            *octet |= u8::from(value == Some("1")) << *n;
            *n += 1;
            continue;
        }
        if let Some((octet, _)) = bits.take() {
            out.push(octet);
        }
        put(&mut out, argument.kind, value);
    }
    if let Some((octet, _)) = bits {
        out.push(octet);
    }
    out
}

/// The payload of a content header.
pub(crate) fn content_header(class: u16, size: u64, tokens: &[String]) -> Vec<u8> {
    let mut out = [class.to_be_bytes(), [0, 0]].concat();
    out.extend(size.to_be_bytes());
    let values = assign(&PROPERTIES, tokens);
    let mut flags = 0_u16;
    let mut block = Vec::new();
    for (n, (property, value)) in PROPERTIES.iter().zip(values).enumerate() {
        if value.is_some() {
            flags |= 1 << (15 - n);
            put(&mut block, property.kind, value);
        }
    }
    out.extend(flags.to_be_bytes());
    out.extend(block);
    out
}

/// The frames of a line: a method, with its content if it has one.
pub(crate) fn encode(channel: u16, line: &str) -> Vec<u8> {
    let (head, content) = line.split_once(" | ").map_or((line, None), |(head, content)| (head, Some(content)));
    let words = tokens(head);
    let known = grammar::named(&words[0]).unwrap_or_else(|| panic!("no method {}", words[0]));
    let mut out = frame(1, channel, &method(&known, &words[1..]));
    if let Some(content) = content {
        let words = tokens(content);
        let body = string(&words[0]);
        out.extend(frame(2, channel, &content_header(known.ids.0, body.len() as u64, &words[1..])));
        for piece in body.chunks(BODY) {
            out.extend(frame(3, channel, piece));
        }
    }
    out
}

/// A method received: its name and its line.
pub(crate) fn decode(payload: &[u8]) -> Option<(Method, String)> {
    let mut reader = Reader(payload);
    let class = u16::try_from(reader.number(2)?).ok()?;
    let id = u16::try_from(reader.number(2)?).ok()?;
    let method = grammar::with_ids((class, id))?;
    let mut line = method.name.to_owned();
    let mut bits: Option<(u64, u32)> = None;
    for argument in &method.arguments {
        if argument.kind == 'b' {
            let (octet, n) = match bits {
                Some(bits) => bits,
                None => (reader.number(1)?, 0),
            };
            if octet >> n & 1 == 1 {
                line.extend([" ", argument.name]);
            }
            bits = Some((octet, n + 1));
            continue;
        }
        bits = None;
        let value = value(&mut reader, argument.kind)?;
        if !argument.name.is_empty() {
            line.extend([" ", argument.name, "=", &value]);
        }
    }
    assert!(reader.0.is_empty(), "octets behind the arguments of {line}");
    Some((method, line))
}

fn value(reader: &mut Reader<'_>, kind: char) -> Option<String> {
    Some(match kind {
        'o' => reader.number(1)?.to_string(),
        'u' => reader.number(2)?.to_string(),
        'i' => reader.number(4)?.to_string(),
        'l' => reader.number(8)?.to_string(),
        's' => show(reader.short()?),
        'S' => show(reader.long()?),
        'F' => show_table(reader.long()?)?,
        _ => return None,
    })
}

/// A content header received: the body's size, and the properties as text.
pub(crate) fn decode_header(payload: &[u8]) -> Option<(usize, String)> {
    let mut reader = Reader(payload);
    reader.take(4)?;
    let size = usize::try_from(reader.number(8)?).ok()?;
    let flags = reader.number(2)?;
    let mut line = String::new();
    for (n, property) in PROPERTIES.iter().enumerate() {
        if flags >> (15 - n) & 1 == 1 {
            line.extend([" ", property.name, "=", &value(&mut reader, property.kind)?]);
        }
    }
    assert!(reader.0.is_empty(), "octets behind the properties{line}");
    Some((size, line))
}

/// A body received, and in how many frames if they were several.
pub(crate) fn show_body(body: &[u8], frames: usize) -> String {
    let text = if body.len() > 64 { format!("{}... {} octets", quoted(&body[..16]), body.len()) } else { quoted(body) };
    if frames > 1 { format!("{text} in {frames} frames") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let line = "queue.declare queue=q durable auto-delete \
                    arguments={a=5, b=\"x y\", c=true, d=[l:-1, V, {}], e=d:1.5, f=T:7, g=x:\"\\xff\", h=D:2:100}";
        let octets = encode(1, line);
        assert_eq!(octets.first_chunk(), Some(&[1, 0, 1]));
        let (method, decoded) = decode(&octets[7..octets.len() - 1]).expect("a method");
        assert_eq!((method.ids, decoded.as_str()), ((50, 10), line));
        let short = encode(1, "queue.declare q durable auto-delete {a=5}");
        assert_eq!(short, encode(1, "queue.declare queue=q durable auto-delete arguments={a=5}"));
    }

    #[test]
    fn content_is_encoded_as_the_specification_says() {
        let octets = encode(2, "basic.publish \"\" q mandatory | \"ab\" priority=3 headers={k=1}");
        let expected = [
            &b"\x01\x00\x02\x00\x00\x00\x0a\x00\x3c\x00\x28\x00\x00\x00\x01q\x01\xce"[..],
            b"\x02\x00\x02\x00\x00\x00\x1a\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x28\x00",
            b"\x00\x00\x00\x07\x01kI\x00\x00\x00\x01\x03\xce\x03\x00\x02\x00\x00\x00\x02ab\xce",
        ];
        assert_eq!(octets, expected.concat());
        let (size, properties) = decode_header(&octets[18 + 7..18 + 7 + 0x1a]).expect("a header");
        assert_eq!((size, properties.as_str()), (2, " headers={k=1} priority=3"));
    }
}
