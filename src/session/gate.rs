//! Publisher confirms of one channel, released in tag order as the store's watermark rises.
//!
//! Publishes of one turn share the highest epoch among them, so the gate holds one pair a turn, not one entry a
//! message. A transient publish behind a durable one waits at most one commit; in exchange confirms are in order and
//! come out as few `multiple` ones as possible.
//!
//! A returned message goes through here too, and its confirm stands alone right behind it: lapin takes a return to
//! belong to the next publish it sees confirmed.

use std::collections::{BTreeSet, VecDeque};

use crate::store::Epoch;
use crate::wire::encode;

/// The confirm state of a channel.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Tag of the latest publish.
    published: u64,
    /// Publishes up to the tag are released once the epoch is committed; both ascend.
    waiting: VecDeque<(Epoch, u64)>,
    refused: BTreeSet<u64>,
    /// Returns by tag, ascending, as they go onto the wire.
    returned: VecDeque<(u64, Vec<u8>)>,
    /// Publishes up to this tag are confirmed.
    released: u64,
    /// Publishes up to this tag are in `waiting`.
    sealed: u64,
}

impl Gate {
    /// Counts a publish; returns its tag. If it was returned, the return's octets go right before its confirm.
    #[inline]
    pub(super) fn publish(&mut self, returned: Vec<u8>) -> u64 {
        self.published += 1;
        if !returned.is_empty() {
            self.returned.push_back((self.published, returned));
        }
        self.published
    }

    /// The publish with this tag was refused by a queue.
    pub(super) fn refuse(&mut self, tag: u64) {
        self.refused.insert(tag);
    }

    /// All publishes so far are durable once `epoch` is committed.
    #[inline]
    pub(super) fn seal(&mut self, epoch: Epoch) {
        if self.sealed == self.published {
            return;
        }
        self.sealed = self.published;
        match self.waiting.back_mut() {
            // An earlier publish waits for at least as long: this one goes with it.
            Some((last, up_to)) if *last >= epoch => *up_to = self.published,
            _ => self.waiting.push_back((epoch, self.published)),
        }
    }

    /// The epoch the next release waits for.
    #[inline]
    pub(super) fn next(&self) -> Option<Epoch> {
        self.waiting.front().map(|(epoch, _)| *epoch)
    }

    /// Publishes that are neither confirmed nor refused yet.
    pub(super) fn unconfirmed(&self) -> u64 {
        self.published - self.released
    }

    /// Writes the confirms that `committed` releases. Returns how many publishes were confirmed, not counting refusals.
    pub(super) fn release(&mut self, committed: Epoch, channel: u16, out: &mut Vec<u8>) -> u64 {
        let (before, mut refused) = (self.released, 0);
        let mut up_to = self.released;
        while let Some((epoch, tag)) = self.waiting.front()
            && *epoch <= committed
        {
            up_to = *tag;
            self.waiting.pop_front();
        }
        while let Some(tag) = self.next_alone().filter(|tag| *tag <= up_to) {
            self.ack(tag - 1, channel, out);
            if self.refused.remove(&tag) {
                encode::nack(out, channel, tag, false);
                refused += 1;
                self.released = tag;
            } else if let Some((_, octets)) = self.returned.pop_front() {
                out.extend_from_slice(&octets);
                self.ack(tag, channel, out);
            }
        }
        self.ack(up_to, channel, out);
        self.released - before - refused
    }

    /// The next publish whose confirm stands alone. One that was returned reached no queue that could refuse it.
    fn next_alone(&self) -> Option<u64> {
        let returned = self.returned.front().map(|(tag, _)| *tag);
        self.refused.first().copied().into_iter().chain(returned).min()
    }

    fn ack(&mut self, up_to: u64, channel: u16, out: &mut Vec<u8>) {
        if up_to > self.released {
            encode::ack(out, channel, up_to, up_to - self.released > 1);
            self.released = up_to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(confirms: &[(bool, u64, bool)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (ack, tag, multiple) in confirms {
            if *ack { encode::ack(&mut out, 1, *tag, *multiple) } else { encode::nack(&mut out, 1, *tag, *multiple) }
        }
        out
    }

    #[test]
    fn nothing_is_confirmed_before_its_commit_and_everything_in_order() {
        let mut gate = Gate::default();
        for _ in 0..3 {
            gate.publish(Vec::new());
        }
        gate.seal(5);
        gate.publish(Vec::new());
        gate.seal(0);
        let mut out = Vec::new();
        gate.release(4, 1, &mut out);
        assert!(out.is_empty(), "the transient publish waits for the durable ones before it");
        gate.release(5, 1, &mut out);
        assert_eq!(out, expected(&[(true, 4, true)]));
    }

    #[test]
    fn a_return_stands_right_before_its_own_confirm() {
        let mut gate = Gate::default();
        for tag in 1..=4 {
            let returned = if tag == 3 { b"return".to_vec() } else { Vec::new() };
            assert_eq!(gate.publish(returned), tag);
        }
        gate.seal(1);
        let mut out = Vec::new();
        gate.release(0, 1, &mut out);
        assert!(out.is_empty(), "it keeps its place behind what waits for a commit");
        gate.release(1, 1, &mut out);
        let expected =
            [expected(&[(true, 2, true)]), b"return".to_vec(), expected(&[(true, 3, false), (true, 4, false)])];
        assert_eq!(out, expected.concat());
    }

    #[test]
    fn a_refused_publish_breaks_the_run_of_confirms() {
        let mut gate = Gate::default();
        for tag in 1..=6 {
            assert_eq!(gate.publish(Vec::new()), tag);
        }
        gate.refuse(1);
        gate.refuse(4);
        gate.seal(1);
        let mut out = Vec::new();
        assert_eq!(gate.release(1, 1, &mut out), 4, "refusals are no confirms");
        assert_eq!(gate.unconfirmed(), 0);
        assert_eq!(out, expected(&[(false, 1, false), (true, 3, true), (false, 4, false), (true, 6, true)]));
    }
}
