//! A consumer as its queue sees it, and the prefetch limit that a whole channel can share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{Outbox, Queue};
use crate::clock::Millis;
use crate::sync::{Mutex, Rank};
use crate::wire::table::Table;

/// A subscription of one channel to one queue.
#[derive(Debug)]
pub struct Consumer {
    /// Unique in this process; tells a consumer from a later one with the same channel and tag.
    pub id: u64,
    /// The consumer tag.
    pub tag: Box<[u8]>,
    /// The channel it belongs to.
    pub channel: u16,
    /// Deliveries are settled when handed over.
    pub no_ack: bool,
    /// No other consumer may join the queue.
    pub exclusive: bool,
    /// Higher ones are served first (`x-priority`).
    pub priority: i32,
    /// Most unacknowledged deliveries at a time; 0 is no limit. Ignored with `no_ack`.
    pub prefetch: u16,
    /// How long a delivery may stay unacknowledged, in milliseconds; kept for the session.
    pub timeout: Option<Millis>,
    /// The connection it belongs to; 0 for none.
    pub connection: u64,
    /// Arguments as given.
    pub arguments: Table,
    /// Where its deliveries go.
    pub outbox: Arc<Outbox>,
    /// Where they come from; `None` for a direct reply-to consumer.
    pub queue: Option<Arc<Queue>>,
    /// The channel's shared prefetch limit; none for a direct reply-to consumer and for `basic.get`.
    pub credit: Option<Arc<ChannelCredit>>,
    /// Place in the queue's roster, known only to the queue.
    pub(super) slot: AtomicU32,
}

/// What a consumer is made of.
#[derive(Debug, Default)]
pub struct Subscription {
    /// See [`Consumer::id`].
    pub id: u64,
    /// See [`Consumer::tag`].
    pub tag: Box<[u8]>,
    /// See [`Consumer::channel`].
    pub channel: u16,
    /// See [`Consumer::no_ack`].
    pub no_ack: bool,
    /// See [`Consumer::exclusive`].
    pub exclusive: bool,
    /// See [`Consumer::priority`].
    pub priority: i32,
    /// See [`Consumer::prefetch`].
    pub prefetch: u16,
    /// See [`Consumer::timeout`].
    pub timeout: Option<Millis>,
    /// See [`Consumer::connection`].
    pub connection: u64,
    /// See [`Consumer::arguments`].
    pub arguments: Table,
}

impl Subscription {
    /// Ties the subscription to its ends.
    pub fn connect(
        self,
        outbox: Arc<Outbox>,
        queue: Option<Arc<Queue>>,
        credit: Option<Arc<ChannelCredit>>,
    ) -> Arc<Consumer> {
        Arc::new(Consumer {
            id: self.id,
            tag: self.tag,
            channel: self.channel,
            no_ack: self.no_ack,
            exclusive: self.exclusive,
            priority: self.priority,
            prefetch: self.prefetch,
            timeout: self.timeout,
            connection: self.connection,
            arguments: self.arguments,
            outbox,
            queue,
            credit,
            slot: AtomicU32::new(u32::MAX),
        })
    }
}

impl Consumer {
    /// Whether a prefetch limit, its own or its channel's, bounds what it may have unacknowledged.
    pub fn is_limited(&self) -> bool {
        let own = self.prefetch > 0 && !self.no_ack;
        own || self.credit.as_ref().is_some_and(|credit| credit.limited())
    }

    pub(super) fn slot(&self) -> usize {
        self.slot.load(Ordering::Relaxed) as usize
    }
}

/// The prefetch limit of a whole channel (`basic.qos` with global=1).
///
/// Limit, use and the list of consumers that found it used up stand under one lock: an atomic beside a list would lose
/// a wake-up. Use is signed, since the limit may be lowered while messages are out. `basic.get` does not count.
/// Without a limit, which is the rule, nothing is counted and the lock is not taken.
#[derive(Debug)]
pub struct ChannelCredit {
    limited: AtomicBool,
    credit: Mutex<Credit>,
}

#[derive(Debug)]
struct Credit {
    limit: i64,
    used: i64,
    starved: Vec<Arc<Consumer>>,
    /// Id of the consumer that got the last delivery: the others are resumed before it.
    served: u64,
}

impl Default for ChannelCredit {
    fn default() -> Self {
        let credit = Credit { limit: 0, used: 0, starved: Vec::new(), served: 0 };
        Self { limited: AtomicBool::new(false), credit: Mutex::new(Rank::Leaf, credit) }
    }
}

impl ChannelCredit {
    /// Whether there is a limit.
    #[inline]
    pub fn limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// Takes one delivery's worth, or remembers the consumer as starved. A consumer without acknowledgements waits like
    /// the others, but uses nothing up.
    pub(super) fn take(&self, consumer: &Arc<Consumer>) -> bool {
        let mut credit = self.credit.lock();
        if credit.exhausted() {
            if !credit.starved.iter().any(|c| c.id == consumer.id) {
                credit.starved.push(consumer.clone());
            }
            return false;
        }
        credit.used += i64::from(!consumer.no_ack);
        credit.served = consumer.id;
        true
    }

    /// How many deliveries the limit leaves, up to `most`.
    pub(super) fn left(&self, most: u64) -> u64 {
        if !self.limited() {
            return most;
        }
        let credit = self.credit.lock();
        u64::try_from(credit.limit - credit.used).unwrap_or(0).min(most)
    }

    /// Returns `n` deliveries' worth; the consumers returned may be resumed.
    pub fn give_back(&self, n: usize) -> Vec<Arc<Consumer>> {
        if !self.limited() {
            return Vec::new();
        }
        let mut credit = self.credit.lock();
        credit.used -= i64::try_from(n).unwrap_or(0);
        credit.resumable()
    }

    /// Sets the limit (0 is none) of a channel that holds `held` deliveries and whose session has this outbox; the
    /// consumers returned may be resumed.
    pub fn set_limit(&self, limit: u16, held: usize, outbox: &Outbox) -> Vec<Arc<Consumer>> {
        self.limit_to(limit.into(), held, outbox)
    }

    /// The same with a limit of the broker's, which may be larger than a client's.
    pub fn limit_to(&self, limit: u32, held: usize, outbox: &Outbox) -> Vec<Arc<Consumer>> {
        if limit > 0 && !self.limited() {
            // Nobody is served until what is on its way to the client has been counted.
            self.credit.lock().block(limit);
            let on_the_way = outbox.count(self, || self.limited.store(true, Ordering::Relaxed));
            self.credit.lock().used = i64::try_from(held + on_the_way).unwrap_or(i64::MAX);
        }
        self.limited.store(limit > 0, Ordering::Relaxed);
        let mut credit = self.credit.lock();
        credit.limit = i64::from(limit);
        credit.resumable()
    }
}

impl Credit {
    fn block(&mut self, limit: u32) {
        self.limit = i64::from(limit);
        self.used = i64::MAX;
    }

    fn exhausted(&self) -> bool {
        self.limit > 0 && self.used >= self.limit
    }

    fn resumable(&mut self) -> Vec<Arc<Consumer>> {
        if self.exhausted() {
            return Vec::new();
        }
        if let Some(last) = self.starved.iter().position(|consumer| consumer.id == self.served) {
            self.starved.rotate_left(last + 1);
        }
        std::mem::take(&mut self.starved)
    }
}
