//! A channel's unacknowledged deliveries: tags ascend by one, so a tag is an index.

use std::collections::VecDeque;

use crate::queue::Lease;

/// Leases by delivery tag.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    /// Tag of the first slot.
    base: u64,
    slots: VecDeque<Option<Lease>>,
    held: usize,
}

impl Unacked {
    /// Leases held.
    pub(super) fn len(&self) -> usize {
        self.held
    }

    /// Notes a delivery that needs no acknowledgement.
    #[inline]
    pub(super) fn skip(&mut self, tag: u64) {
        if self.slots.is_empty() {
            self.base = tag + 1;
        } else {
            self.slots.push_back(None);
        }
    }

    /// Holds a lease under the next tag.
    #[inline]
    pub(super) fn hold(&mut self, tag: u64, lease: Lease) {
        if self.slots.is_empty() {
            self.base = tag;
        }
        debug_assert_eq!(self.base + self.slots.len() as u64, tag, "tags ascend by one");
        self.slots.push_back(Some(lease));
        self.held += 1;
    }

    /// Takes out what an acknowledgement names, in order; `false` if it names nothing outstanding (RabbitMQ:
    /// `unknown delivery tag`). Tag 0 with `multiple` is everything, also when there is nothing.
    #[inline]
    pub(super) fn take(&mut self, tag: u64, multiple: bool, into: &mut Vec<Lease>) -> bool {
        if tag == 0 && multiple {
            self.take_all(into);
            return true;
        }
        let at = tag.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        let Some(at) = at.filter(|at| matches!(self.slots.get(*at), Some(Some(_)))) else { return false };
        let before = into.len();
        if multiple {
            into.extend(self.slots.drain(..=at).flatten());
            self.base += at as u64 + 1;
        } else {
            into.extend(self.slots.get_mut(at).and_then(Option::take));
        }
        self.held -= into.len() - before;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
        true
    }

    /// Adds the tags of what [`Unacked::take`] would take out, in order.
    pub(super) fn tags(&self, tag: u64, multiple: bool, into: &mut Vec<u64>) {
        if !multiple {
            return into.push(tag);
        }
        let held = (self.base..).zip(&self.slots).filter(|(_, slot)| slot.is_some()).map(|(at, _)| at);
        into.extend(held.take_while(|at| tag == 0 || *at <= tag));
    }

    /// Puts leases back under the tags they were taken from; `last` is the tag of the latest delivery.
    pub(super) fn restore(&mut self, mut leases: Vec<(u64, Lease)>, last: u64) {
        leases.sort_by_key(|(tag, _)| *tag);
        if self.slots.is_empty() {
            self.base = last + 1;
        }
        self.held += leases.len();
        // The last first, so that those before the first slot extend the ring one by one.
        for (tag, lease) in leases.into_iter().rev() {
            while self.base > tag {
                self.slots.push_front(None);
                self.base -= 1;
            }
            let slot = usize::try_from(tag - self.base).ok().and_then(|at| self.slots.get_mut(at));
            debug_assert!(matches!(slot, Some(None)), "the place is free");
            if let Some(slot) = slot {
                *slot = Some(lease);
            }
        }
    }

    /// Takes out everything, in order.
    pub(super) fn take_all(&mut self, into: &mut Vec<Lease>) {
        self.base += self.slots.len() as u64;
        into.extend(self.slots.drain(..).flatten());
        self.held = 0;
    }

    /// Gives memory back while nothing is held.
    pub(super) fn relax(&mut self) {
        if self.slots.is_empty() {
            self.slots.shrink_to(0);
        }
    }
}
