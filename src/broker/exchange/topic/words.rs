//! The words of binding keys as small numbers, each counted by how often it is used.
//!
//! A routing key's word is looked up once, whatever the number of nodes it is compared at. Words come from clients, so
//! they are hashed with a key of this process; short ones, which is nearly all, lie in the table itself.

use std::collections::HashMap;

/// Number of a word.
pub(super) type WordId = u32;

/// Octets of a word that still fits into the table.
const SHORT: usize = 15;

/// The words in use.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Words of up to [`SHORT`] octets, with their length behind them.
    short: HashMap<[u8; SHORT + 1], WordId>,
    long: HashMap<Box<[u8]>, WordId>,
    /// Uses by number.
    uses: Vec<usize>,
    free: Vec<WordId>,
}

fn pack(word: &[u8]) -> Option<[u8; SHORT + 1]> {
    let mut packed = [0; SHORT + 1];
    packed.get_mut(..SHORT)?.get_mut(..word.len())?.copy_from_slice(word);
    packed[SHORT] = u8::try_from(word.len()).ok()?;
    Some(packed)
}

impl Words {
    /// The number of a word, if it is in use.
    pub(super) fn find(&self, word: &[u8]) -> Option<WordId> {
        match pack(word) {
            Some(packed) => self.short.get(&packed).copied(),
            None => self.long.get(word).copied(),
        }
    }

    /// The number of a word that is used once more from now on.
    pub(super) fn add(&mut self, word: &[u8]) -> WordId {
        let id = self.find(word).unwrap_or_else(|| {
            let id = self.free.pop().unwrap_or_else(|| {
                self.uses.push(0);
                WordId::try_from(self.uses.len() - 1).expect("memory holds fewer than 2^32 words")
            });
            match pack(word) {
                Some(packed) => self.short.insert(packed, id),
                None => self.long.insert(word.into(), id),
            };
            id
        });
        self.uses[id as usize] += 1;
        id
    }

    /// Ends one use of a word.
    pub(super) fn remove(&mut self, word: &[u8]) {
        let Some(id) = self.find(word) else { return };
        let uses = &mut self.uses[id as usize];
        *uses -= 1;
        if *uses == 0 {
            match pack(word) {
                Some(packed) => self.short.remove(&packed),
                None => self.long.remove(word),
            };
            self.free.push(id);
        }
    }

    /// Whether no word is in use.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.short.is_empty() && self.long.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart_and_their_numbers_used_again() {
        let mut words = Words::default();
        let long = [b'x'; SHORT + 1];
        let all: [&[u8]; 6] = [b"", b"a", b"a\0", &long[..SHORT], &long, b"b"];
        for (id, word) in (0..).zip(all) {
            assert_eq!(words.add(word), id);
            assert_eq!(words.add(word), id, "used twice");
        }
        assert_eq!(words.find(b"c"), None);
        for word in all {
            words.remove(word);
            assert!(words.find(word).is_some());
            words.remove(word);
            assert_eq!(words.find(word), None);
        }
        assert!(words.is_empty());
        assert!(words.add(b"new") < 6);
    }
}
