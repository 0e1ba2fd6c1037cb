//! The queue as a state machine. Here are what it is made of, how messages enter, and how they leave unread; in the files
//! below: `serve` (to consumers), `settle` (acknowledged, refused, returned), `time` (expiry and deadlines), `pages` (what
//! is on disk), `govern` (options that change), `transact` (room for transactions), `holding` (delayed messages).
//!
//! Every operation leaves the queue pumped: no consumer with credit and room stands beside a ready message. Time is an
//! argument; what reaches beyond the queue is left in [`Effects`].

mod govern;
mod holding;
mod pages;
mod report;
mod serve;
mod settle;
mod time;
mod transact;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use report::{Figures, Listed};
pub use transact::{Room, Verdict};

use super::delay::Delay;
use super::lanes::{Front, Lanes, Middle};
use super::options::{Options, Overflow};
use super::roster::Roster;
use super::tally::{Stuck, Tally};
use super::unique::Unique;
use super::{Consumer, DeadLetter, Effects, Entry, Journal, Lease, Load, Reason};
use crate::clock::{Millis, NEVER};
use crate::message::Message;
use crate::message::duplicate::{self, Fingerprint};
use crate::stats::Ages;
use crate::store::{DropRange, Page, Put, RecoveredQueue, Seq};

/// Messages expired in one look at the queue; a longer row is continued at once by the next look.
const EXPIRE_BUDGET: usize = 1_000;

/// Messages dead-lettered by one overflow; the same rule.
const OVERFLOW_BUDGET: usize = 10_000;

/// Ready messages from which on publishers are said to outrun consumers: about as many as an outbox holds of small ones.
const AHEAD: u64 = 8_192;

/// Octets of their bodies that mean the same.
const AHEAD_BYTES: u64 = 8 << 20;

/// To this part of either a backlog has to fall before publishers are said to be outrun no more.
const RELIEF: u64 = 4;

/// Answer to [`State::get`].
#[derive(Debug)]
pub enum Got {
    /// A message, and how many ready ones remain.
    Message(Entry, u64),
    /// There is none.
    Empty,
    /// The next one is on disk; a load was asked for, to be tried again after it.
    Paged,
}

/// Answer to [`State::subscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// The consumer takes part.
    Joined,
    /// An exclusive consumer has the queue, or an exclusive one came while others have it.
    InUse,
    /// The queue is deleted.
    Gone,
}

/// Which recovered messages count as handed out before.
#[derive(Debug)]
enum Redelivered {
    /// After a crash: all of them, since it is not known which were.
    Below(Seq),
    /// After an orderly stop: exactly these.
    These(BTreeSet<Seq>),
}

impl Redelivered {
    fn covers(&self, seq: Seq) -> bool {
        match self {
            Self::Below(until) => seq < *until,
            Self::These(seqs) => seqs.contains(&seq),
        }
    }
}

/// What a queue is made of, apart from its name.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts, not a state machine in disguise
pub struct State {
    /// What arguments and policies together ask of the queue.
    options: Arc<Options>,
    /// The version of the policies behind `options`.
    governed: u64,
    durable: bool,
    auto_delete: bool,
    lanes: Lanes,
    roster: Roster,
    /// Work for the next commit.
    pub journal: Journal,
    next_seq: Seq,
    /// Messages leased to channels or to the courier.
    leased: u64,
    /// Octets of their bodies.
    leased_bytes: u64,
    /// Of what is ready or leased, what the store keeps, with the octets of the bodies.
    persistent: (u64, u64),
    /// What has happened so far.
    tally: Tally,
    /// When messages came, and how long they were ready.
    ages: Ages,
    /// Whether ready messages wait although there are consumers.
    stuck: Stuck,
    /// When something was last done with its messages.
    active: Millis,
    /// Of those, the ones on their way to the dead-letter exchange, with the octets of their bodies.
    dying: (u64, u64),
    /// Messages that came back once too often while nobody could be told: they die at the next pump.
    overdue: Vec<Entry>,
    /// Failures and returns of messages that are still on disk.
    counts: BTreeMap<Seq, (u32, u32)>,
    /// Room kept free for transactions that are about to be applied.
    reserved: Room,
    loading: bool,
    /// Octets of the records of the page loaded last.
    page: usize,
    /// A consumer that would take more has to wait: for its outbox to be written, or for a load.
    outrun: bool,
    kept: pages::Kept,
    redelivered: Redelivered,
    /// The earliest deadline the janitor knows of.
    reported: Millis,
    last_used: Millis,
    had_consumer: bool,
    deleted: bool,
    /// What waits for its time, if this is the holder of an exchange that delays: then nothing is ever ready.
    delay: Option<Box<Delay>>,
    /// What may not come twice, if the queue minds.
    unique: Option<Unique>,
}

impl State {
    /// An empty queue, used last at `now`.
    pub fn new(options: Arc<Options>, durable: bool, auto_delete: bool, now: Millis) -> Self {
        Self {
            lanes: Lanes::new(options.highest_lane(), options.weighs_lanes()),
            roster: Roster::new(
                options.single_active,
                options.is_quorum() && options.profile.single_active_by_priority,
            ),
            unique: options.deduplicate.then(Unique::default),
            options,
            governed: 0,
            durable,
            auto_delete,
            journal: Journal::default(),
            next_seq: 1,
            leased: 0,
            leased_bytes: 0,
            persistent: (0, 0),
            tally: Tally::default(),
            ages: Ages::new(now),
            stuck: Stuck::default(),
            active: now,
            dying: (0, 0),
            overdue: Vec::new(),
            counts: BTreeMap::new(),
            reserved: Room::default(),
            loading: false,
            page: 0,
            outrun: false,
            kept: pages::Kept::default(),
            redelivered: Redelivered::These(BTreeSet::new()),
            reported: NEVER,
            last_used: now,
            had_consumer: false,
            deleted: false,
            delay: None,
        }
    }

    /// Takes up what the store kept. `clean` tells whether the last run ended in order.
    pub fn recover(&mut self, kept: &RecoveredQueue, clean: bool) {
        for lane in kept.lanes.iter().filter(|_| self.delay.is_none()) {
            let middle = Middle {
                from: lane.first,
                until: lane.last + 1,
                count: lane.count,
                bytes: lane.bytes,
                head_expiry: lane.head_expiry,
                spilled: 0,
            };
            self.persistent.0 += lane.count;
            self.persistent.1 += lane.bytes;
            self.lanes.recover(lane.lane, middle);
        }
        self.counts = kept.counts.iter().map(|count| (count.seq, (count.failures, count.acquired))).collect();
        self.next_seq = kept.next_seq.max(1);
        self.kept = pages::Kept::all_before(self.next_seq);
        self.redelivered = if clean {
            Redelivered::These(kept.redelivered.iter().copied().collect())
        } else {
            Redelivered::Below(self.next_seq)
        };
    }

    /// Ready messages.
    pub fn ready(&self) -> u64 {
        self.lanes.count()
    }

    /// Whether messages come faster than consumers, who would take them, are served. Never so for consumers with a
    /// prefetch limit: they say by their acknowledgements how much they want, and what comes meanwhile is a spike. `already` tells whether the answer was yes before: then it stays so for longer.
    #[inline]
    pub fn outrun(&self, already: bool) -> bool {
        let part = if already { RELIEF } else { 1 };
        self.outrun && (self.lanes.count() >= AHEAD / part || self.lanes.bytes() >= AHEAD_BYTES / part)
    }

    /// Octets of the bodies of ready messages.
    pub fn ready_bytes(&self) -> u64 {
        self.lanes.bytes()
    }

    /// Messages leased out.
    pub fn leased(&self) -> u64 {
        self.leased
    }

    /// Consumers.
    pub fn consumers(&self) -> usize {
        self.roster.len()
    }

    /// Whether the queue has been deleted; everything done to it since is without effect.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Appends messages in order and pumps. Positions (in `messages`) of those refused for lack of room are added to
    /// `refused`. Returns `false`, consuming nothing, if the queue is deleted.
    pub fn push(
        &mut self,
        messages: impl Iterator<Item = Message>,
        now: Millis,
        refused: &mut Vec<usize>,
        fx: &mut Effects,
    ) -> bool {
        if self.deleted {
            return false;
        }
        if self.delay.is_some() {
            self.hold(messages, now, fx);
            return true;
        }
        self.note_arrival(now);
        for (at, message) in messages.enumerate() {
            let fingerprint = self.fingerprint(&message);
            if self.is_duplicate(fingerprint) {
                continue;
            }
            if self.options.overflow != Overflow::DropHead && self.full(message.body_len()) {
                refused.push(at);
                if self.options.overflow == Overflow::RejectPublishDlx {
                    self.refuse_to_dead_letters(message, now, fx);
                }
                continue;
            }
            self.take_in(message, fingerprint, now, fx);
        }
        self.settle_down(now, fx);
        true
    }

    /// Appends a message that is not refused.
    fn take_in(&mut self, message: Message, fingerprint: Option<Fingerprint>, now: Millis, fx: &mut Effects) {
        let entry = self.admit(message, now);
        if let (Some(unique), Some(fingerprint)) = (&mut self.unique, fingerprint) {
            unique.insert(fingerprint, entry.seq);
        }
        // A run of messages gives the same result at once as one by one, with three exceptions. With a refusing
        // limit each must have had its chance to leave before the next is judged. One with a time to live of 0 is
        // taken now or never, after those before it. Among priorities, a higher one behind a lower must not be
        // preferred by a consumer that was free for the first, nor be dropped in its stead.
        let now_or_never = entry.expires_at <= now;
        let refusing = self.options.overflow != Overflow::DropHead;
        if now_or_never {
            self.pump(now, fx);
            self.drop_head(fx);
        }
        self.lanes.push(entry);
        if now_or_never || refusing || self.lanes.several() {
            self.pump(now, fx);
            if now_or_never || refusing {
                self.expire(now, fx);
            }
            self.drop_head(fx);
        }
    }

    /// What the queue knows a message's likes by, if it minds them.
    fn fingerprint(&self, message: &Message) -> Option<Fingerprint> {
        self.unique.as_ref().and_then(|_| duplicate::of_message(message))
    }

    fn is_duplicate(&self, fingerprint: Option<Fingerprint>) -> bool {
        matches!((&self.unique, fingerprint), (Some(unique), Some(fingerprint)) if unique.holds(fingerprint))
    }

    /// At recovery: a kept message is at `seq` whose like may not come again.
    pub fn recall(&mut self, fingerprint: Fingerprint, seq: Seq) {
        if let Some(unique) = &mut self.unique {
            unique.insert(fingerprint, seq);
        }
    }

    fn admit(&mut self, message: Message, now: Millis) -> Entry {
        let entry = self.stamp(message, now, self.durable);
        self.tally.publish += 1;
        if entry.durable {
            self.persistent.0 += 1;
            self.persistent.1 += u64::from(entry.body_len);
            self.tally.disk_writes += 1;
            let message = entry.message.clone();
            self.journal.put(Put { seq: entry.seq, lane: entry.lane, expires_at: entry.expires_at, message });
        }
        entry
    }

    fn stamp(&mut self, message: Message, now: Millis, durable: bool) -> Entry {
        let facts = message.facts();
        let ttl = self.options.message_ttl.unwrap_or(u64::MAX).min(facts.expiration);
        let entry = Entry {
            seq: self.next_seq,
            expires_at: now.saturating_add(ttl),
            body_len: message.body_len(),
            lane: self.options.lane(message.priority()),
            durable: durable && (facts.persistent || self.options.is_quorum()),
            redelivered: facts.redelivered,
            failures: 0,
            acquired: 0,
            message,
        };
        self.next_seq += 1;
        entry
    }

    /// Whether a queue that refuses has no room for a body of this length. A classic queue of RabbitMQ counts it in, a
    /// quorum queue refuses from the limit on.
    fn full(&self, body_len: u32) -> bool {
        let (mut count, mut bytes) =
            (self.lanes.count() + self.reserved.messages, self.lanes.bytes() + self.reserved.bytes);
        if self.options.at_least_once() {
            count += self.dying.0;
            bytes += self.dying.1;
        }
        self.options.max_length.is_some_and(|max| count >= max)
            || self.options.max_length_bytes.is_some_and(|max| {
                if self.options.is_quorum() { bytes >= max } else { bytes.saturating_add(u64::from(body_len)) > max }
            })
    }

    fn over(&self) -> bool {
        self.options.max_length.is_some_and(|max| self.lanes.count() > max)
            || self.options.max_length_bytes.is_some_and(|max| self.lanes.bytes() > max)
    }

    /// The refused message never was in the queue: it dies as a transient lease, so that nothing is settled in the
    /// store for it.
    fn refuse_to_dead_letters(&mut self, message: Message, now: Millis, fx: &mut Effects) {
        let entry = self.stamp(message, now, false);
        self.discard(entry, Reason::MaxLen, fx);
    }

    fn drop_head(&mut self, fx: &mut Effects) {
        for _ in 0..OVERFLOW_BUDGET {
            if self.options.overflow != Overflow::DropHead || !self.over() {
                return;
            }
            match self.lanes.pop() {
                Some(entry) => self.discard(entry, Reason::MaxLen, fx),
                None => return self.ask_load(fx),
            }
        }
        // The rest of a long row: the janitor comes back for it.
        fx.deadline = 0;
    }

    /// Lets go of a message that nobody will get: to the courier if there is a dead-letter exchange.
    fn discard(&mut self, entry: Entry, reason: Reason, fx: &mut Effects) {
        self.tally.dead[reason.place()] += 1;
        if self.options.dead_letter_exchange.is_some() {
            self.lease(&entry);
            self.dying.0 += 1;
            self.dying.1 += u64::from(entry.body_len);
            let recovered = entry.durable && self.redelivered.covers(entry.seq);
            fx.dead.push(DeadLetter { recovered, entry, reason });
        } else {
            fx.lost[reason.place()] += 1;
            self.forget(&entry);
        }
    }

    /// Counts a message that somebody takes responsibility for.
    #[inline]
    fn lease(&mut self, entry: &Entry) {
        self.leased += 1;
        self.leased_bytes += u64::from(entry.body_len);
    }

    /// Counts a message that is back, or settled.
    #[inline]
    fn unlease(&mut self, entry: &Entry) {
        self.leased = self.leased.saturating_sub(1);
        self.leased_bytes = self.leased_bytes.saturating_sub(u64::from(entry.body_len));
    }

    fn forget(&mut self, entry: &Entry) {
        if let Some(unique) = &mut self.unique {
            unique.left(entry);
        }
        if entry.durable {
            self.persistent.0 = self.persistent.0.saturating_sub(1);
            self.persistent.1 = self.persistent.1.saturating_sub(u64::from(entry.body_len));
            self.journal.settle(entry.settle());
        }
    }

    /// Removes all ready messages; they are not dead-lettered. Returns how many there were.
    pub fn purge(&mut self, fx: &mut Effects) -> u64 {
        let count = self.lanes.count();
        let (entries, middles) = self.lanes.clear();
        self.counts.clear();
        for entry in &entries {
            self.forget(entry);
        }
        for (lane, middle) in middles.into_iter().filter(|(_, middle)| middle.spilled < middle.count) {
            self.forget_persistent(middle);
            self.journal.drop_range(DropRange { lane, from: middle.from, until: middle.until });
        }
        if let Some(unique) = &mut self.unique {
            unique.clear();
        }
        self.report(fx);
        count
    }

    /// Ends the queue: everything ready is dropped, leases become inert, consumers are told. Returns how many ready
    /// messages there were.
    pub fn delete(&mut self, fx: &mut Effects) -> u64 {
        let count = self.lanes.count();
        self.deleted = true;
        self.lanes.clear();
        self.delay = None;
        self.journal.clear();
        (self.leased, self.leased_bytes, self.persistent) = (0, 0, (0, 0));
        self.dying = (0, 0);
        self.overdue.clear();
        self.counts.clear();
        for consumer in self.roster.clear() {
            let outbox = consumer.outbox.clone();
            if outbox.cancelled(consumer) {
                fx.outboxes.push(outbox);
            }
        }
        count
    }
}
