//! A channel's unacknowledged deliveries: tags ascend by one, so a tag is an index.

use std::collections::VecDeque;

use crate::clock::Millis;
use crate::queue::Lease;
use crate::stats::Marks;

/// How far apart deliveries are at least whose times are told apart, in milliseconds.
pub(super) const GRAIN: Millis = 500;

/// Leases by delivery tag.
#[derive(Debug)]
pub(super) struct Unacked {
    /// Tag of the first slot.
    base: u64,
    slots: VecDeque<Option<Lease>>,
    held: usize,
    /// First tags of rows of deliveries, and when their first one was made; kept only while something has a timeout.
    stamps: VecDeque<(u64, Millis)>,
    /// When which deliveries were made, for reports.
    marks: Marks,
}

impl Default for Unacked {
    fn default() -> Self {
        Self { base: 0, slots: VecDeque::new(), held: 0, stamps: VecDeque::new(), marks: Marks::new(0) }
    }
}

impl Unacked {
    /// Leases held.
    pub(super) fn len(&self) -> usize {
        self.held
    }

    /// Leases held, in order.
    pub(super) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.slots.iter().flatten()
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

    /// Notes that deliveries are made, the next one under `tag`.
    #[inline]
    pub(super) fn mark(&mut self, tag: u64, now: Millis) {
        let oldest = if self.slots.is_empty() { tag } else { self.base };
        self.marks.note(tag, now, || oldest);
    }

    /// When the oldest delivery held was made, and the id of the queue it is from.
    pub(super) fn oldest(&self) -> Option<(Millis, u64)> {
        let lease = self.slots.front()?.as_ref()?;
        Some((self.marks.since(self.base), lease.consumer().queue.as_ref().map_or(0, |queue| queue.id().0)))
    }

    /// The tag of the oldest delivery held, or of the next one.
    pub(super) fn first(&self) -> u64 {
        self.base
    }

    /// When the deliveries `first..=last` were made: calls `each` with how many of them were when. Those that needed no
    /// acknowledgement, or had theirs already, are counted with the others.
    #[inline]
    pub(super) fn made(&self, first: u64, last: u64, each: impl FnMut(u64, Millis)) {
        self.marks.rows(first, last, each);
    }

    /// Notes that deliveries with a timeout are made, the next one under `tag`.
    pub(super) fn stamp(&mut self, tag: u64, now: Millis) {
        let oldest = if self.slots.is_empty() { tag } else { self.base };
        while self.stamps.get(1).is_some_and(|(first, _)| *first <= oldest) {
            self.stamps.pop_front();
        }
        if self.stamps.back().is_none_or(|(_, at)| now.saturating_sub(*at) >= GRAIN) {
            self.stamps.push_back((tag, now));
        }
    }

    /// Places of the leases whose time is over, in order, with their timeouts.
    fn late(&self, now: Millis) -> impl Iterator<Item = (usize, Millis)> {
        let mut stamps = self.stamps.iter().peekable();
        // A row's deliveries may be younger than its first by so much.
        let mut since = self.stamps.front().map_or(now, |(_, at)| at.saturating_add(GRAIN));
        let aged = self.slots.iter().enumerate().map(move |(at, slot)| {
            let tag = self.base + at as u64;
            while let Some((_, first)) = stamps.next_if(|(first, _)| *first <= tag) {
                since = first.saturating_add(GRAIN);
            }
            (at, slot, since)
        });
        aged.take_while(move |(_, _, since)| *since <= now).filter_map(move |(at, slot, since)| {
            let timeout = slot.as_ref()?.consumer().timeout?;
            (since.saturating_add(timeout) <= now).then_some((at, timeout))
        })
    }

    /// The timeout of the first lease whose time is over.
    pub(super) fn overdue(&self, now: Millis) -> Option<Millis> {
        self.late(now).next().map(|(_, timeout)| timeout)
    }

    /// Takes out the leases whose time is over, in order.
    pub(super) fn take_overdue(&mut self, now: Millis, into: &mut Vec<Lease>) {
        let late: Vec<usize> = self.late(now).map(|(at, _)| at).collect();
        let before = into.len();
        into.extend(late.into_iter().filter_map(|at| self.slots.get_mut(at)?.take()));
        self.held -= into.len() - before;
        self.drop_settled();
    }

    fn drop_settled(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
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
        self.drop_settled();
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
            self.stamps.clear();
            self.stamps.shrink_to(0);
            self.marks.relax(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::{Draft, Facts, address};
    use crate::queue::{Consumer, Entry, Outbox, Subscription};

    fn consumer(timeout: Option<Millis>) -> Arc<Consumer> {
        Subscription { timeout, ..Subscription::default() }.connect(Arc::new(Outbox::new(1)), None, None)
    }

    fn lease(consumer: &Arc<Consumer>) -> Lease {
        let message = Draft::new(&address(b"", b"q").unwrap(), &[0, 0], 0, Facts::default()).finish().unwrap();
        Lease::new(consumer.clone(), Entry::unqueued(message))
    }

    /// Delivers `count` messages to `consumer` at `now`.
    fn deliver(unacked: &mut Unacked, tags: std::ops::RangeInclusive<u64>, consumer: &Arc<Consumer>, now: Millis) {
        if consumer.timeout.is_some() {
            unacked.stamp(*tags.start(), now);
        }
        tags.for_each(|tag| unacked.hold(tag, lease(consumer)));
    }

    #[test]
    fn what_is_late_is_found_behind_what_has_no_timeout() {
        let (soon, late, never) = (consumer(Some(1_000)), consumer(Some(60_000)), consumer(None));
        let mut unacked = Unacked::default();
        deliver(&mut unacked, 1..=2, &never, 0);
        deliver(&mut unacked, 3..=3, &late, 0);
        deliver(&mut unacked, 4..=5, &soon, 0);
        deliver(&mut unacked, 6..=6, &soon, 10_000);
        assert_eq!(unacked.overdue(1_499), None);
        assert_eq!(unacked.overdue(1_500), Some(1_000));
        let mut taken = Vec::new();
        unacked.take_overdue(1_500, &mut taken);
        assert_eq!((taken.len(), unacked.len(), unacked.overdue(11_499)), (2, 4, None));
        assert_eq!(unacked.overdue(11_500), Some(1_000));
        assert!(!unacked.take(4, false, &mut taken), "what timed out is unknown");
        assert!(unacked.take(6, true, &mut taken));
        assert_eq!((unacked.len(), unacked.overdue(1 << 40)), (0, None));
    }

    #[test]
    fn times_are_noted_now_and_then_and_forgotten_with_their_deliveries() {
        let soon = consumer(Some(1_000));
        let (mut unacked, mut taken) = (Unacked::default(), Vec::new());
        for tag in 1..=10_000 {
            deliver(&mut unacked, tag..=tag, &soon, tag);
        }
        assert_eq!(unacked.stamps.len(), 20, "one each {GRAIN} ms");
        assert!(unacked.take(9_999, true, &mut taken));
        deliver(&mut unacked, 10_001..=10_001, &soon, 20_000);
        assert_eq!((unacked.stamps.len(), unacked.overdue(11_500)), (2, Some(1_000)));
        assert!(unacked.take(10_001, true, &mut taken));
        unacked.relax();
        assert!(unacked.stamps.is_empty());
    }
}
