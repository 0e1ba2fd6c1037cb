//! The one part of a session that others may touch: deliveries wait here until the session writes them.
//!
//! The order of an outbox is the order in which queues pumped into it. Its byte budget bounds what a slow client can
//! make the broker hold: a full outbox refuses, the refused consumers are remembered as *starved* in the same critical
//! section, and the session resumes them after it has drained.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::{ChannelCredit, Consumer, Entry};
use crate::sync::{Bell, Mutex, MutexGuard, Rank};

/// What a delivery costs of the budget beside its record, in octets: entry, method and header frames.
const OVERHEAD: usize = 128;

/// Something to be written to the client.
#[derive(Debug)]
pub enum Item {
    /// The next `count` entries go to this consumer.
    Deliver {
        /// Receiver.
        consumer: Arc<Consumer>,
        /// How many of the drained entries are its.
        count: u32,
    },
    /// The consumer's queue is gone.
    Cancelled(Arc<Consumer>),
}

/// What an outbox may hold, in octets, while the outboxes together hold as much as they may.
pub const SHARE: usize = 16 * 1024;

/// What is owed to the clients of all outboxes together.
#[derive(Debug)]
pub struct Pool {
    limit: usize,
    held: AtomicUsize,
}

impl Pool {
    /// A pool of so many octets.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicUsize::new(0) })
    }

    /// Counts what somebody holds, who held `before`.
    #[inline]
    pub fn change(&self, before: usize, now: usize) {
        match now.cmp(&before) {
            Ordering::Greater => drop(self.held.fetch_add(now - before, Relaxed)),
            Ordering::Less => drop(self.held.fetch_sub(before - now, Relaxed)),
            Ordering::Equal => {}
        }
    }

    /// Whether everybody is left with a [`SHARE`].
    #[inline]
    pub fn is_used_up(&self) -> bool {
        self.held.load(Relaxed) >= self.limit
    }

    /// Octets held by all together.
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }
}

#[derive(Debug, Default)]
struct Inner {
    items: Vec<Item>,
    entries: Vec<Entry>,
    bytes: usize,
    starved: Vec<Arc<Consumer>>,
    closed: bool,
}

/// Deliveries on their way to one session.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
    bell: Arc<Bell>,
    budget: usize,
    pool: Arc<Pool>,
}

/// What [`Outbox::drain`] took out; its vectors are reused by the next drain.
#[derive(Debug, Default)]
pub struct Drained {
    /// Items in order.
    pub items: Vec<Item>,
    /// The entries of all [`Item::Deliver`], in order.
    pub entries: Vec<Entry>,
    /// Consumers to be resumed once the drained deliveries are written.
    pub starved: Vec<Arc<Consumer>>,
}

impl Outbox {
    /// An empty outbox; `budget` is in octets of records and overhead. One delivery always fits an empty outbox.
    pub fn new(budget: usize) -> Self {
        Self::pooled(budget, Pool::new(usize::MAX))
    }

    /// The same, with a budget that all share beside its own.
    pub fn pooled(budget: usize, pool: Arc<Pool>) -> Self {
        Self { inner: Mutex::new(Rank::Leaf, Inner::default()), bell: Arc::new(Bell::new()), budget, pool }
    }

    /// The budget that all share.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Wakes the session.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Opens the outbox for a series of offers.
    #[inline]
    pub(super) fn open(&self) -> Opened<'_> {
        let inner = self.inner.lock();
        Opened { first: inner.items.is_empty(), before: inner.bytes, inner, outbox: self }
    }

    /// Tells the session that the consumer's queue is gone. Returns whether the bell must be rung.
    pub(super) fn cancelled(&self, consumer: Arc<Consumer>) -> bool {
        let mut inner = self.inner.lock();
        let first = inner.items.is_empty() && !inner.closed;
        if !inner.closed {
            inner.items.push(Item::Cancelled(consumer));
        }
        first
    }

    /// Delivers a message that no queue answers for (direct reply-to). Returns `false` if the session is gone or its
    /// budget is used up: such a message is dropped, as RabbitMQ drops it for a requester that does not read.
    pub fn reply(&self, consumer: &Arc<Consumer>, entry: Entry) -> bool {
        let mut opened = self.open();
        let accepted = opened.room(consumer);
        if accepted {
            opened.push(consumer, entry);
        }
        let first = opened.close();
        if first {
            self.bell.ring();
        }
        accepted
    }

    /// Takes everything out, exchanging vectors with `into` (which must be empty).
    pub fn drain(&self, into: &mut Drained) {
        debug_assert!(into.items.is_empty() && into.entries.is_empty() && into.starved.is_empty());
        let mut inner = self.inner.lock();
        std::mem::swap(&mut inner.items, &mut into.items);
        std::mem::swap(&mut inner.entries, &mut into.entries);
        std::mem::swap(&mut inner.starved, &mut into.starved);
        self.pool.change(std::mem::take(&mut inner.bytes), 0);
    }

    /// How many deliveries wait here that `credit` limits. `first` is called before they are counted, while nobody can
    /// add one.
    pub(super) fn count(&self, credit: &ChannelCredit, first: impl FnOnce()) -> usize {
        let inner = self.inner.lock();
        first();
        let limits = |consumer: &Consumer| {
            !consumer.no_ack && consumer.credit.as_deref().is_some_and(|its| std::ptr::eq(its, credit))
        };
        let of = |item: &Item| match item {
            Item::Deliver { consumer, count } if limits(consumer) => *count as usize,
            _ => 0,
        };
        inner.items.iter().map(of).sum()
    }

    /// Refuses every further offer; called when the session ends.
    pub fn close(&self) {
        self.inner.lock().closed = true;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.pool.change(self.inner.lock().bytes, 0);
    }
}

/// An outbox that is open for offers.
pub(super) struct Opened<'a> {
    inner: MutexGuard<'a, Inner>,
    outbox: &'a Outbox,
    /// Octets held before.
    before: usize,
    first: bool,
}

impl Opened<'_> {
    /// Whether one more delivery may be pushed; if not, the consumer is remembered as starved.
    #[inline]
    pub(super) fn room(&mut self, consumer: &Arc<Consumer>) -> bool {
        if self.inner.closed {
            return false;
        }
        let bytes = self.inner.bytes;
        if bytes >= self.outbox.budget || (bytes >= SHARE && self.outbox.pool.is_used_up()) {
            self.inner.starved.push(consumer.clone());
            return false;
        }
        true
    }

    /// Appends a delivery.
    #[inline]
    pub(super) fn push(&mut self, consumer: &Arc<Consumer>, entry: Entry) {
        let inner = &mut *self.inner;
        inner.bytes += entry.message.record().len() + OVERHEAD;
        inner.entries.push(entry);
        if let Some(Item::Deliver { consumer: last, count }) = inner.items.last_mut()
            && Arc::ptr_eq(last, consumer)
        {
            *count += 1;
            return;
        }
        inner.items.push(Item::Deliver { consumer: consumer.clone(), count: 1 });
    }

    /// Ends the series; `true` if the outbox was empty before and is not now, so that its bell must be rung.
    #[inline]
    pub(super) fn close(self) -> bool {
        self.outbox.pool.change(self.before, self.inner.bytes);
        self.first && !(self.inner.items.is_empty() && self.inner.starved.is_empty())
    }
}
