//! What has been published and not yet been confirmed, in the order of publishing.
//!
//! Pure. Invariant: every message leaves once, whatever the order of confirms and whether they name one or many.

use std::collections::VecDeque;

/// In place of the time of a message that has been confirmed before one that was published earlier.
const GONE: u64 = u64::MAX;

/// Messages by their delivery tags, each with the moment it was due.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    /// Delivery tag of the first one waiting.
    first: u64,
    waiting: VecDeque<u64>,
    open: usize,
}

impl Unconfirmed {
    pub(super) fn new() -> Self {
        Self { first: 1, waiting: VecDeque::new(), open: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open
    }

    /// Another one, due at this moment.
    pub(super) fn push(&mut self, due: u64) {
        self.waiting.push_back(due.min(GONE - 1));
        self.open += 1;
    }

    /// Takes out what a confirm names, 0 with `multiple` being all; `each` is told when it was due. Tags that are not
    /// waiting are passed over.
    pub(super) fn settle(&mut self, tag: u64, multiple: bool, mut each: impl FnMut(u64)) {
        if multiple {
            let n = if tag == 0 { u64::MAX } else { (tag + 1).saturating_sub(self.first) };
            let n = usize::try_from(n).unwrap_or(usize::MAX).min(self.waiting.len());
            for due in self.waiting.drain(..n).filter(|due| *due != GONE) {
                self.open -= 1;
                each(due);
            }
            self.first += n as u64;
        } else if let Some(at) = tag.checked_sub(self.first).and_then(|at| usize::try_from(at).ok())
            && let Some(due) = self.waiting.get_mut(at)
            && *due != GONE
        {
            each(std::mem::replace(due, GONE));
            self.open -= 1;
        }
        while self.waiting.front() == Some(&GONE) {
            self.waiting.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirms_in_any_order_settle_each_once() {
        let mut unconfirmed = Unconfirmed::new();
        for due in 101..=110 {
            unconfirmed.push(due);
        }
        let mut seen = Vec::new();
        for (tag, multiple) in [(3, false), (3, false), (5, true), (5, true), (8, false), (99, false), (0, false)] {
            unconfirmed.settle(tag, multiple, |due| seen.push(due));
        }
        assert_eq!(seen, [103, 101, 102, 104, 105, 108]);
        assert_eq!(unconfirmed.len(), 4);
        unconfirmed.push(111);
        unconfirmed.settle(0, true, |due| seen.push(due));
        assert_eq!(seen[6..], [106, 107, 109, 110, 111]);
        assert_eq!(unconfirmed.len(), 0);
        unconfirmed.push(112);
        unconfirmed.settle(12, false, |due| seen.push(due));
        assert_eq!((seen.last(), unconfirmed.len()), (Some(&112), 0));
    }
}
