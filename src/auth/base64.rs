//! Base64 with padding (RFC 4648, section 4), for password hashes in definitions and for the credentials and payloads of the management API.
//!
//! Invariant: decoding is strict, so that one hash has one text: no blanks, no missing padding, no stray bits.
//! Deliberately absent: the URL alphabet, streaming, speed.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Text of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().zip([16, 8, 0]).fold(0_u32, |group, (byte, shift)| group | u32::from(*byte) << shift);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let symbol = ALPHABET.get((group >> shift) as usize & 63).filter(|_| place <= chunk.len());
            text.push(symbol.map_or('=', |symbol| char::from(*symbol)));
        }
    }
    text
}

/// Octets of `text`, or `None` unless it is exactly what [`encode`] writes.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (groups, rest) = text.as_bytes().as_chunks::<4>();
    for group in groups {
        let padding = group.iter().rev().take_while(|symbol| **symbol == b'=').count();
        let mut bits = 0_u32;
        for symbol in group.iter().take(4_usize.checked_sub(padding)?) {
            let value = ALPHABET.iter().position(|known| known == symbol)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        bits = bits.checked_shl(u32::try_from(padding).ok()?.saturating_mul(6))?;
        let [_, octets @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(octets.get(..3_usize.checked_sub(padding)?)?);
    }
    // Padding inside the text, stray bits and a ragged end do not come back the same.
    (rest.is_empty() && encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vectors_of_rfc_4648() {
        for (plain, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn decoding_is_strict() {
        for text in ["Z", "Zg", "Zg=", "Zh==", "Zg==Zg==", "Zm9v\n", "====", "===", "Z===", "Z=g=", "Zm9*", "Zm9v Zm9v"]
        {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_safe(text: String) {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
