//! Words as digests, so that a routing key's word is hashed once, whatever the number of nodes it is compared at.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// Stands for a word.
///
/// Two words have the same with a chance of one in 2^96, and nobody can look for such a pair: the digests depend on a
/// random key that no answer of the broker tells anything about. With a million words in use and a million unknown ones
/// routed a second, a mistake is due once in two thousand million years. So the words themselves need not be compared,
/// which would be one more visit to memory that is in no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    low: u64,
    high: u32,
}

/// From a node by a word.
///
/// It is the sum of both: since digests are random, two sums are equal as rarely as two digests are. With the node
/// that is reached, it fills a quarter of a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step([u32; 3]);

impl Hash for Step {
    /// Random already.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.0[0]) | u64::from(self.0[1]) << 32);
    }
}

impl Digest {
    #[allow(clippy::cast_possible_truncation)] // cut into parts
    pub(super) fn step(self, from: u32) -> Step {
        let low = self.low.wrapping_add(from.into());
        Step([low as u32, (low >> 32) as u32, self.high])
    }

    /// One of 32 bits, for a filter.
    pub(super) fn bit(self) -> u32 {
        1 << (self.high % u32::BITS)
    }
}

/// Makes digests, with a key of its own.
#[derive(Debug, Default)]
pub(super) struct Digester(RandomState);

impl Digester {
    #[allow(clippy::cast_possible_truncation)] // 32 of 64 bits, all alike
    pub(super) fn digest(&self, word: &[u8]) -> Digest {
        let mut hasher = self.0.build_hasher();
        hasher.write(word);
        let low = hasher.finish();
        // The digest of another input: as good as independent of the first.
        hasher.write_u8(b'.');
        let high = hasher.finish() as u32;
        Digest { low, high }
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
