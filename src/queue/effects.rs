//! What a queue operation leaves to be done after its lock is released.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Consumer, Entry, Outbox};
use crate::clock::{Millis, NEVER};
use crate::store::Seq;

/// Why a message died, in the words of the `x-death` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Refused by a consumer with requeue=0.
    Rejected,
    /// Its time to live ran out.
    Expired,
    /// The queue was over its length limit.
    MaxLen,
    /// Too many of its deliveries failed.
    DeliveryLimit,
    /// It did not die: its delay is over, and it goes on through the exchange that delayed it.
    Due,
}

/// Causes of death there are; see [`Reason::place`].
pub const CAUSES: usize = 4;

impl Reason {
    /// Its place in counts of deaths: rejected, expired, maxlen, delivery limit.
    #[inline]
    pub fn place(self) -> usize {
        match self {
            // What was only delayed is never counted.
            Self::Rejected | Self::Due => 0,
            Self::Expired => 1,
            Self::MaxLen => 2,
            Self::DeliveryLimit => 3,
        }
    }

    /// The word used in `x-death`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLen => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
            Self::Due => "due",
        }
    }
}

/// A message on its way to the dead-letter exchange; its queue still answers for it until it is settled there.
#[derive(Debug)]
pub struct DeadLetter {
    /// The message is from before a start and was marked at it: a crash may have undone its death, so that its letter
    /// may have been delivered already.
    pub recovered: bool,
    /// The message.
    pub entry: Entry,
    /// Why it died.
    pub reason: Reason,
}

/// A request to read kept messages back into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Lane to read.
    pub lane: u8,
    /// First position to read.
    pub from: Seq,
    /// Position before which to stop.
    pub until: Seq,
    /// Some of them are in the spill.
    pub spilled: bool,
}

/// Everything an operation asks of its caller. Bells ring even if the value is dropped early.
#[derive(Debug)]
pub struct Effects {
    /// Outboxes that have become non-empty.
    pub outboxes: Vec<Arc<Outbox>>,
    /// Messages for the courier.
    pub dead: Vec<DeadLetter>,
    /// Messages that died where there is no exchange for them, by [`Reason::place`].
    pub lost: [u32; CAUSES],
    /// A read for the loader.
    pub load: Option<Load>,
    /// The queue wants to be looked at by then; [`NEVER`] if nothing changed.
    pub deadline: Millis,
    /// Consumers of any queue that may take part again, since channel credit has returned.
    pub resume: VecDeque<Arc<Consumer>>,
    /// The queue has reason to be deleted (auto-delete, expiry); to be checked again under the topology lock.
    pub doomed: bool,
}

impl Default for Effects {
    fn default() -> Self {
        Self {
            outboxes: Vec::new(),
            dead: Vec::new(),
            lost: [0; CAUSES],
            load: None,
            deadline: NEVER,
            resume: VecDeque::new(),
            doomed: false,
        }
    }
}

impl Effects {
    /// Rings every bell collected so far.
    #[inline]
    pub fn ring(&mut self) {
        for outbox in self.outboxes.drain(..) {
            outbox.bell().ring();
        }
    }
}

impl Drop for Effects {
    fn drop(&mut self) {
        self.ring();
    }
}
