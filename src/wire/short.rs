//! Short strings: at most 255 octets, and texts cut to fit one.
//!
//! Invariant: a cut never splits a character. Deliberately absent: ellipses (see [`super::Refusal::reply_text`]).

use amq_protocol::types::ShortString;

/// The longest short string, in octets: its length is one octet.
pub const MAX_LEN: usize = 255;

/// `text` as a short string, cut between characters where it exceeds 255 octets.
pub fn short_string(text: &str) -> ShortString {
    // The cut makes the limit hold; an empty string would be the answer if it ever did not.
    ShortString::try_new(cut(text, MAX_LEN)).unwrap_or_default()
}

/// The longest prefix of whole characters within `limit` octets.
pub fn cut(text: &str, limit: usize) -> &str {
    let boundary = (0..=limit.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    boundary.and_then(|at| text.get(..at)).unwrap_or_default()
}

/// Appends `text` as a short string, cut at 255 octets.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.get(..MAX_LEN).unwrap_or(text);
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("abc", 5), "abc");
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("a\u{20ac}", 3), "a");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn any_text_becomes_a_short_string() {
        assert_eq!(short_string("queue").as_str(), "queue");
        assert_eq!(short_string(&"q".repeat(1000)).as_str().len(), 255);
        assert_eq!(short_string(&"\u{20ac}".repeat(200)).as_str().len(), 255);
        assert_eq!(short_string(&"\u{e9}".repeat(200)).as_str().len(), 254);
    }
}
