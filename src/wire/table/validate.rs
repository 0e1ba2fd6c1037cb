//! Validation of raw tables: one pass, no recursion.
//!
//! Invariant: time is linear in the input and memory bounded by [`MAX_TABLE_DEPTH`]. Deliberately absent: UTF-8 checks
//! of keys and strings, which RabbitMQ does not make in tables.

use crate::wire::reader::Reader;

/// Levels a table may have, its own included; RabbitMQ has no limit, but every client's parser recurses.
pub const MAX_TABLE_DEPTH: usize = 64;

/// Why octets are no table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// More than [`MAX_TABLE_DEPTH`] tables and arrays within each other.
    #[error("nested deeper than {MAX_TABLE_DEPTH} levels")]
    TooDeep,
    /// An unknown tag, a value that ends early, or octets left over.
    #[error("cannot be decoded")]
    Undecodable,
}

/// How the octets of a value are found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// So many octets.
    Fixed(usize),
    /// Four octets of length, then the value.
    Counted,
    /// Four octets of length, then further values.
    Nested,
}

/// The shape of a tag's values; `None` for a tag RabbitMQ does not know.
#[inline]
pub(super) fn shape(tag: u8) -> Option<Shape> {
    Some(match tag {
        b'V' => Shape::Fixed(0),
        b't' | b'b' | b'B' => Shape::Fixed(1),
        b's' | b'u' => Shape::Fixed(2),
        b'I' | b'i' | b'f' => Shape::Fixed(4),
        b'D' => Shape::Fixed(5),
        b'l' | b'L' | b'd' | b'T' => Shape::Fixed(8),
        b'S' | b'x' => Shape::Counted,
        b'F' | b'A' => Shape::Nested,
        _ => return None,
    })
}

/// One table or array being walked.
#[derive(Clone, Copy)]
struct Level<'a> {
    reader: Reader<'a>,
    keyed: bool,
}

/// Checks the content of a table, given without its four octets of length.
#[inline]
pub fn validate(raw: &[u8]) -> Result<(), Malformed> {
    measure(raw).map(drop)
}

/// As [`validate`]; the number of values at all levels, each of which takes some dozens of octets once it is owned,
/// however few it takes here.
pub fn measure(raw: &[u8]) -> Result<usize, Malformed> {
    // The levels around the current one; allocates nothing for flat tables.
    let mut outer: Vec<Level<'_>> = Vec::new();
    let mut level = Level { reader: Reader::new(raw), keyed: true };
    let mut values = 0usize;
    loop {
        while level.reader.is_empty() {
            match outer.pop() {
                Some(enclosing) => level = enclosing,
                None => return Ok(values),
            }
        }
        values = values.saturating_add(1);
        if let Step::Into(inner) = step(&mut level).ok_or(Malformed::Undecodable)? {
            outer.push(level);
            // The levels around the inner one, which is one more.
            if outer.len() >= MAX_TABLE_DEPTH {
                return Err(Malformed::TooDeep);
            }
            level = inner;
        }
    }
}

/// What one value means for the walk.
enum Step<'a> {
    Over,
    Into(Level<'a>),
}

/// Reads one value, up to its content if it is a table or array.
#[inline]
fn step<'a>(level: &mut Level<'a>) -> Option<Step<'a>> {
    let reader = &mut level.reader;
    if level.keyed {
        reader.short()?;
    }
    let tag = reader.octet()?;
    match shape(tag)? {
        Shape::Fixed(len) => reader.take(len).map(|_| Step::Over),
        Shape::Counted => reader.long().map(|_| Step::Over),
        Shape::Nested => {
            let inner = Reader::new(reader.long()?);
            Some(Step::Into(Level { reader: inner, keyed: tag == b'F' }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `levels` tables or arrays in a table, the innermost empty.
    fn nested(tag: u8, levels: usize) -> Vec<u8> {
        let key: &[u8] = if tag == b'F' { &[0] } else { &[] };
        let step = key.len() + 5;
        let mut out = vec![0];
        out.truncate(usize::from(tag == b'A'));
        for inner in (0..levels).rev() {
            out.extend_from_slice(key);
            out.push(tag);
            out.extend_from_slice(&((inner * step) as u32).to_be_bytes());
        }
        out
    }

    #[test]
    fn depth_is_limited_without_recursion() {
        for tag in [b'F', b'A'] {
            assert_eq!(validate(&nested(tag, MAX_TABLE_DEPTH - 1)), Ok(()));
            assert_eq!(validate(&nested(tag, MAX_TABLE_DEPTH)), Err(Malformed::TooDeep));
            assert_eq!(validate(&nested(tag, 100_000)), Err(Malformed::TooDeep));
        }
    }

    #[test]
    fn many_siblings_are_not_deep() {
        let siblings = b"\0F\0\0\0\0".repeat(20_000);
        assert_eq!(validate(&siblings), Ok(()));
    }

    #[test]
    fn every_tag_has_its_length() {
        let lengths = [
            (&b"V"[..], 0),
            (b"tbB", 1),
            (b"su", 2),
            (b"Iif", 4),
            (b"D", 5),
            (b"lLdT", 8),
            // Four octets of zero: an empty string, byte array, table or array.
            (b"SxFA", 4),
        ];
        for tag in 0..=255 {
            let len = lengths.iter().find(|(tags, _)| tags.contains(&tag)).map(|(_, len)| *len);
            for given in 0..10 {
                let raw = [&[1, b'k', tag][..], &vec![0; given]].concat();
                // A single octet left over would be the empty key of an entry without a tag.
                assert_eq!(validate(&raw).is_ok(), len == Some(given), "tag {tag} with {given} octets");
            }
        }
    }

    #[test]
    fn inner_lengths_must_meet_their_end() {
        assert_eq!(validate(b"\x01aF\0\0\0\x03\x01kV"), Ok(()));
        assert_eq!(validate(b"\x01aF\0\0\0\x02\x01kV"), Err(Malformed::Undecodable));
        assert_eq!(validate(b"\x01aF\0\0\0\x04\x01kV"), Err(Malformed::Undecodable));
        assert_eq!(validate(b"\x01aA\0\0\0\x02VV"), Ok(()));
        assert_eq!(validate(b"\x01aS\xff\xff\xff\xff"), Err(Malformed::Undecodable));
    }
}
