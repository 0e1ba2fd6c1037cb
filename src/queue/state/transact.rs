//! What a transaction asks of a queue: room for all of its messages before any of them is pushed.
//!
//! A queue that refuses when it is full must not do so in the middle of a transaction. Its messages are therefore judged
//! beforehand, one after another as a publish would be, and the room they will need counts as used until they come.
//! What waiting consumers can take needs no room. Should such a consumer be gone a moment later, the message stays all
//! the same: a limit exceeded for a moment is the lesser evil.

use super::{Effects, Message, Millis, Overflow, State};
use crate::queue::Cause;

/// Room in a queue, reserved for a transaction; to be given back by [`State::unreserve`] or used by
/// [`State::push_reserved`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Room {
    /// Ready messages.
    pub(super) messages: u64,
    /// Octets of their bodies.
    pub(super) bytes: u64,
}

/// What a transaction does with leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are acknowledged.
    Settle,
    /// They are refused for good.
    Reject,
    /// They return to the queue.
    Requeue(Cause),
}

impl State {
    /// Reserves room for messages that will be pushed in this order; `None`, reserving nothing, if one would be refused.
    /// A deleted queue, and one that makes room itself, refuses nothing.
    pub fn reserve(&mut self, messages: &[Message]) -> Option<Room> {
        if self.deleted || self.options.overflow == Overflow::DropHead {
            return Some(Room::default());
        }
        let mut hunger = if self.lanes.count() == 0 { self.roster.appetite(messages.len() as u64) } else { 0 };
        let mut room = Room::default();
        for message in messages {
            if self.is_duplicate(self.fingerprint(message)) {
                continue;
            }
            if self.full(message.body_len()) {
                self.unreserve(room);
                return None;
            }
            // One that expires at once leaves at once, unless it stands behind another.
            let alone = self.lanes.count() + room.messages == 0;
            let fleeting = alone && (message.facts().expiration == 0 || self.options.message_ttl == Some(0));
            if hunger > 0 {
                hunger -= 1;
            } else if !fleeting {
                room.messages += 1;
                room.bytes += u64::from(message.body_len());
                self.reserved.messages += 1;
                self.reserved.bytes += u64::from(message.body_len());
            }
        }
        Some(room)
    }

    /// Gives reserved room back.
    pub fn unreserve(&mut self, room: Room) {
        self.reserved.messages -= room.messages;
        self.reserved.bytes -= room.bytes;
    }

    /// Appends messages in order and pumps; none is refused. Without effect if the queue is deleted.
    pub fn push_reserved(
        &mut self,
        room: Room,
        messages: impl Iterator<Item = Message>,
        now: Millis,
        fx: &mut Effects,
    ) {
        self.unreserve(room);
        if self.deleted {
            return;
        }
        if self.delay.is_some() {
            return self.hold(messages, now, fx);
        }
        self.note_arrival(now);
        for message in messages {
            let fingerprint = self.fingerprint(&message);
            if self.is_duplicate(fingerprint) {
                continue;
            }
            self.take_in(message, fingerprint, now, fx);
        }
        self.settle_down(now, fx);
    }
}
