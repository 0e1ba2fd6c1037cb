//! A queue as others hold it: its name and definition, its state under a lock, its journal tied to the intake.
//!
//! Each verb takes the lock once, applies one operation, registers new durable work with the intake while still holding
//! the lock, and leaves the rest in [`Effects`]. Nothing here re-enters: two queues are never locked together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::journal::Taken;
use super::{
    Cause, Chunk, Consumer, Effects, Entry, Got, Intake, Lease, Load, Options, Room, State, Subscribed, Surplus,
    Verdict,
};
use crate::clock::Millis;
use crate::message::Message;
use crate::message::duplicate::Fingerprint;
use crate::stats::History;
use crate::store::{Epoch, Page, QueueId, RecoveredQueue, Seq, Stretch};
use crate::sync::{Bell, Mutex, Rank};
use crate::wire::table::Table;

/// What a queue was declared as.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Identity in the store.
    pub id: QueueId,
    /// Name, at most 255 octets.
    pub name: Arc<str>,
    /// Virtual host.
    pub vhost: Arc<str>,
    /// Survives a restart.
    pub durable: bool,
    /// Deleted when its last consumer is gone.
    pub auto_delete: bool,
    /// The connection it belongs to and dies with.
    pub exclusive_to: Option<u64>,
    /// Arguments as declared.
    pub arguments: Table,
    /// The arguments' meaning, which never changes; what is in force, policies included, is [`Queue::options`].
    pub options: Arc<Options>,
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    definition: Definition,
    holder: bool,
    state: Mutex<State>,
    intake: Arc<Intake>,
    /// The epoch that makes the declaration durable.
    created: AtomicU64,
    /// Messages whose leases were dropped without being settled.
    abandoned: Mutex<Vec<Entry>>,
    has_abandoned: AtomicBool,
    /// Sessions that wait for a load.
    waiting: Mutex<Vec<Arc<Bell>>>,
    /// The pager has been asked to look at it, and has not yet.
    paging: AtomicBool,
    /// See [`State::outrun`]; changed under the lock.
    outrun: AtomicBool,
    /// Publishers that wait until it is not.
    held_back: Mutex<Vec<Arc<Bell>>>,
    history: History,
}

/// Answer to [`Queue::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Taken; durable once this epoch is committed (0: nothing to wait for).
    Taken(Epoch),
    /// The queue is deleted: as if it had not been routed to.
    Gone,
}

impl Queue {
    /// A new, empty queue, or one with what the store kept (`recovered`, and whether the last run ended in order).
    pub fn new(
        definition: Definition,
        intake: Arc<Intake>,
        now: Millis,
        recovered: Option<(&RecoveredQueue, bool)>,
    ) -> Arc<Self> {
        let state = State::new(definition.options.clone(), definition.durable, definition.auto_delete, now);
        Self::with_state(definition, false, state, intake, recovered)
    }

    /// The same for the holder of an exchange that delays messages; `kept` is where the recovered ones lie.
    pub fn new_holder(
        definition: Definition,
        intake: Arc<Intake>,
        now: Millis,
        recovered: Option<(&RecoveredQueue, bool)>,
        kept: &[Stretch],
    ) -> Arc<Self> {
        let mut state = State::new_holder(definition.durable, now);
        state.recover_delayed(kept);
        Self::with_state(definition, true, state, intake, recovered)
    }

    fn with_state(
        definition: Definition,
        holder: bool,
        mut state: State,
        intake: Arc<Intake>,
        recovered: Option<(&RecoveredQueue, bool)>,
    ) -> Arc<Self> {
        if let Some((kept, clean)) = recovered {
            state.recover(kept, clean);
        }
        Arc::new(Self {
            definition,
            holder,
            state: Mutex::new(Rank::Queue, state),
            intake,
            created: AtomicU64::new(0),
            abandoned: Mutex::new(Rank::Leaf, Vec::new()),
            has_abandoned: AtomicBool::new(false),
            waiting: Mutex::new(Rank::Leaf, Vec::new()),
            paging: AtomicBool::new(false),
            outrun: AtomicBool::new(false),
            held_back: Mutex::new(Rank::Leaf, Vec::new()),
            history: History::default(),
        })
    }

    /// Whether it holds an exchange's delayed messages; it then has the exchange's name.
    pub fn is_holder(&self) -> bool {
        self.holder
    }

    /// What it was declared as.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The options in force: those of the arguments, merged with those of policies. Takes the queue's lock.
    pub fn options(&self) -> Arc<Options> {
        self.state.lock().options().clone()
    }

    /// Takes over what arguments and policies of version `governed` ask for; see [`State::set_options`].
    pub fn set_options(self: &Arc<Self>, options: Arc<Options>, governed: u64, now: Millis, fx: &mut Effects) {
        self.with(false, |state| state.set_options(options, governed, now, fx));
    }

    /// What is kept of its past figures.
    #[inline]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Identity in the store.
    #[inline]
    pub fn id(&self) -> QueueId {
        self.definition.id
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.definition.name
    }

    /// The epoch that makes the declaration durable; 0 if it needs none.
    pub fn created(&self) -> Epoch {
        self.created.load(Ordering::Relaxed)
    }

    /// Notes the epoch of the declaration.
    pub fn set_created(&self, epoch: Epoch) {
        self.created.store(epoch, Ordering::Relaxed);
    }

    /// At recovery: what the kept messages forbid to come again; see [`State::recall`].
    pub fn recall(&self, kept: impl Iterator<Item = (Fingerprint, Seq)>) {
        let mut state = self.state.lock();
        kept.for_each(|(fingerprint, seq)| state.recall(fingerprint, seq));
    }

    /// Locks, takes back abandoned leases, applies `f`, and registers the durable work that resulted.
    fn with<R>(self: &Arc<Self>, urgent: bool, f: impl FnOnce(&mut State) -> R) -> (R, Epoch) {
        let mut state = self.state.lock();
        // Under the lock, so that no other operation runs while they are in nobody's hands.
        if self.has_abandoned.load(Ordering::Relaxed) {
            state.take_back(self.take_abandoned());
        }
        let result = f(&mut state);
        let epoch = self.intake.announce(self, &mut state.journal, urgent);
        let outrun = self.outrun.load(Ordering::Relaxed);
        if state.outrun(outrun) != outrun {
            self.outrun.store(!outrun, Ordering::Relaxed);
            drop(state);
            if outrun {
                self.let_publishers_go();
            }
        }
        (result, epoch)
    }

    /// Whether messages come faster than consumers are served; see [`State::outrun`].
    #[inline]
    pub fn is_outrun(&self) -> bool {
        self.outrun.load(Ordering::Relaxed)
    }

    /// Rings once consumers have caught up, for a publisher that waits for them.
    pub fn ring_when_caught_up(&self, bell: &Arc<Bell>) {
        let mut held_back = self.held_back.lock();
        // Not those whose sessions are gone, nor one twice: who has waited long enough asks again while this goes on.
        held_back.retain(|known| Arc::strong_count(known) > 1 && !Arc::ptr_eq(known, bell));
        held_back.push(bell.clone());
        drop(held_back);
        // They may have in between, with nobody to ring for.
        if !self.is_outrun() {
            self.let_publishers_go();
        }
    }

    /// Publishers that are remembered to be waiting.
    #[cfg(test)]
    pub(super) fn held_back(&self) -> usize {
        self.held_back.lock().len()
    }

    fn let_publishers_go(&self) {
        for bell in std::mem::take(&mut *self.held_back.lock()) {
            bell.ring();
        }
    }

    /// Appends messages in order. `confirm` tells whether somebody waits for them to be durable. Positions of those
    /// refused for lack of room are added to `refused`.
    pub fn push(
        self: &Arc<Self>,
        messages: impl Iterator<Item = Message>,
        confirm: bool,
        now: Millis,
        refused: &mut Vec<usize>,
        fx: &mut Effects,
    ) -> Push {
        match self.with(confirm, |state| state.push(messages, now, refused, fx)) {
            (true, epoch) => Push::Taken(epoch),
            (false, _) => Push::Gone,
        }
    }

    /// Reserves room for the messages of a transaction; `None` if the queue would refuse one of them.
    pub fn reserve(&self, messages: &[Message]) -> Option<Room> {
        self.state.lock().reserve(messages)
    }

    /// Gives reserved room back.
    pub fn unreserve(&self, room: Room) {
        self.state.lock().unreserve(room);
    }

    /// Appends messages for which room was reserved, and which are therefore taken. Somebody waits for them.
    pub fn push_reserved(
        self: &Arc<Self>,
        room: Room,
        messages: impl Iterator<Item = Message>,
        now: Millis,
        fx: &mut Effects,
    ) -> Epoch {
        self.with(true, |state| state.push_reserved(room, messages, now, fx)).1
    }

    /// Does with leases of this queue, emptying them, what a transaction says. Returns the epoch that makes it durable
    /// (0: nothing to wait for).
    pub fn conclude(self: &Arc<Self>, verdict: Verdict, leases: &mut [Lease], now: Millis, fx: &mut Effects) -> Epoch {
        let conclude = |state: &mut State| match verdict {
            Verdict::Settle => state.settle(leases, now, fx),
            Verdict::Reject => state.reject(leases, now, fx),
            Verdict::Requeue(cause) => state.requeue(leases, cause, now, fx),
        };
        self.with(true, conclude).1
    }

    /// Takes one message for `basic.get`.
    pub fn get(self: &Arc<Self>, no_ack: bool, now: Millis, fx: &mut Effects) -> Got {
        self.with(false, |state| state.get(no_ack, now, fx)).0
    }

    /// Settles leases of this queue, emptying them.
    pub fn settle(self: &Arc<Self>, leases: &mut [Lease], now: Millis, fx: &mut Effects) {
        self.with(false, |state| state.settle(leases, now, fx));
    }

    /// Settles a message whose dead letter has arrived. Returns the epoch that makes it durable.
    pub fn settle_entry(self: &Arc<Self>, entry: &Entry) -> Epoch {
        self.with(false, |state| state.settle_entry(entry)).1
    }

    /// Takes back a message whose dead letter could not arrive before the broker stops.
    pub fn take_back_letter(self: &Arc<Self>, entry: Entry) {
        self.with(false, |state| state.take_back_letter(entry));
    }

    /// Refuses leases of this queue for good, emptying them.
    pub fn reject(self: &Arc<Self>, leases: &mut [Lease], now: Millis, fx: &mut Effects) {
        self.with(false, |state| state.reject(leases, now, fx));
    }

    /// Returns leases of this queue, emptying them.
    pub fn requeue(self: &Arc<Self>, leases: &mut [Lease], cause: Cause, now: Millis, fx: &mut Effects) {
        self.with(false, |state| state.requeue(leases, cause, now, fx));
    }

    /// Returns messages that were pumped for a session but never written to its client.
    pub fn unsend(self: &Arc<Self>, entries: Vec<Entry>, now: Millis, fx: &mut Effects) {
        self.with(false, |state| state.unsend(entries, now, fx));
    }

    /// Adds a consumer.
    pub fn subscribe(self: &Arc<Self>, consumer: Arc<Consumer>, now: Millis, fx: &mut Effects) -> Subscribed {
        self.with(false, |state| state.subscribe(consumer, now, fx)).0
    }

    /// Removes a consumer; its leases stay with its channel.
    pub fn unsubscribe(self: &Arc<Self>, consumer: &Consumer, now: Millis, fx: &mut Effects) {
        self.with(false, |state| state.unsubscribe(consumer, now, fx));
    }

    /// Lets a consumer take part again.
    pub fn resume(self: &Arc<Self>, consumer: &Consumer, now: Millis, fx: &mut Effects) {
        self.with(false, |state| state.resume(consumer, now, fx));
    }

    /// Ready messages and consumers, and a sign of use, for a declaration of an existing queue.
    pub fn declared_again(self: &Arc<Self>, now: Millis, fx: &mut Effects) -> (u64, usize) {
        self.with(false, |state| {
            state.touch(now, fx);
            (state.ready(), state.consumers())
        })
        .0
    }

    /// Looks after deadlines.
    pub fn tick(self: &Arc<Self>, now: Millis, fx: &mut Effects) {
        self.with(false, |state| state.tick(now, fx));
    }

    /// Takes in pages that were loaded, from the store and from the spill. Returns how many messages turned out to be
    /// damaged or missing.
    pub fn loaded(self: &Arc<Self>, asked: Load, page: Page, spilled: Page, now: Millis, fx: &mut Effects) -> u64 {
        let missing = self.with(false, |state| state.loaded(asked, page, spilled, now, fx)).0;
        for bell in std::mem::take(&mut *self.waiting.lock()) {
            bell.ring();
        }
        missing
    }

    /// Rings when the next load has arrived. To be asked for before the queue is found to need one.
    pub fn ring_when_loaded(&self, bell: &Arc<Bell>) {
        self.waiting.lock().push(bell.clone());
    }

    /// Removes all ready messages. Returns their number and the epoch that makes it so for good.
    pub fn purge(self: &Arc<Self>, fx: &mut Effects) -> (u64, Epoch) {
        self.with(true, |state| state.purge(fx))
    }

    /// Ends the queue if `doom` agrees under the lock. Returns the ready messages dropped.
    pub fn delete_if<E>(
        self: &Arc<Self>,
        fx: &mut Effects,
        doom: impl FnOnce(&State) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut state = self.state.lock();
        doom(&state)?;
        let dropped = state.delete(fx);
        self.intake.charge(state.journal.growth());
        Ok(dropped)
    }

    /// Notes that the pager is asked to look at it; `false` if that is so already.
    pub fn ask_pager(&self) -> bool {
        !self.paging.load(Ordering::Relaxed) && !self.paging.swap(true, Ordering::Relaxed)
    }

    /// The pager looks, and may be asked again.
    pub fn pager_looks(&self) {
        self.paging.store(false, Ordering::Relaxed);
    }

    /// See [`State::surplus`].
    pub fn surplus(&self, keep: usize, committed: Epoch) -> Surplus {
        self.state.lock().surplus(keep, committed)
    }

    /// Gives up what is still there of a chunk, whose copies have been spilled; `false` if nothing is.
    pub fn fold(&self, chunk: &Chunk) -> bool {
        let folded = self.state.lock().fold(chunk);
        !folded.is_empty()
    }

    /// Looks at the state, for reports and checks.
    pub fn inspect<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.lock())
    }

    /// Hands the journal to the writer.
    pub(super) fn take_journal(&self) -> Taken {
        let mut state = self.state.lock();
        if let Some(epoch) = state.journal.epoch() {
            state.journal_taken(epoch);
        }
        state.journal.take()
    }

    /// Positions to be marked as redelivered by a clean shutdown, once abandoned leases are back; see
    /// [`State::redelivered`].
    pub fn redelivered(self: &Arc<Self>) -> Option<Vec<Seq>> {
        self.with(false, |state| state.redelivered()).0
    }

    /// Keeps a message whose lease was dropped by accident until the next operation returns it, and asks the janitor for
    /// one. Never locks the queue: the lease may be dropped while the queue is locked.
    pub(super) fn abandon(self: &Arc<Self>, entry: Entry) {
        self.abandoned.lock().push(entry);
        if !self.has_abandoned.swap(true, Ordering::AcqRel) {
            self.intake.strays.add(self);
        }
    }

    fn take_abandoned(&self) -> Vec<Entry> {
        // Before they are taken: one that comes in between is taken now or announced anew.
        self.has_abandoned.store(false, Ordering::Release);
        std::mem::take(&mut *self.abandoned.lock())
    }
}
