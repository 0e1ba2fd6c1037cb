//! Words as digests, so that a routing key's word is hashed once, whatever the number of nodes it is compared at.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Stands for a word.
///
/// Two words have the same with a chance of one in 2^96, and nobody can look for such a pair: the digests depend on a
/// random key that no answer of the broker tells anything about. With a million words in use and a million unknown ones
/// routed a second, a mistake is due once in three thousand years. So the words themselves need not be compared, which
/// would be one more visit to memory that is in no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest([u32; 3]);

impl Digest {
    /// 64 of its bits.
    pub(super) fn low(self) -> u64 {
        u64::from(self.0[0]) | u64::from(self.0[1]) << 32
    }

    /// One of 32 bits, for a filter.
    pub(super) fn bit(self) -> u32 {
        1 << (self.0[2] % u32::BITS)
    }
}

/// Makes digests, with a key of its own.
#[derive(Debug, Default)]
pub(super) struct Digester(RandomState);

impl Digester {
    #[allow(clippy::cast_possible_truncation)] // cut into parts
    pub(super) fn digest(&self, word: &[u8]) -> Digest {
        let mut hasher = self.0.build_hasher();
        hasher.write(word);
        let low = hasher.finish();
        // The digest of another input: as good as independent of the first.
        hasher.write_u8(b'.');
        let high = hasher.finish();
        Digest([low as u32, (low >> 32) as u32, high as u32])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_one_digest_and_other_words_others() {
        let digester = Digester::default();
        let words: [&[u8]; 6] = [b"", b"a", b"a\0", b"b", b"ab", b"ba"];
        for (n, one) in words.iter().enumerate() {
            for (m, other) in words.iter().enumerate() {
                assert_eq!(digester.digest(one) == digester.digest(other), n == m);
            }
        }
        assert_ne!(digester.digest(b"a"), Digester::default().digest(b"a"), "keyed");
    }
}
