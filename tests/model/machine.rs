//! The queue under test and its naive twin, driven side by side. Every verb is applied to both; whatever comes out of
//! the machine (deliveries, deaths, refusals, counts, journals, deadlines, loads, bells) must be what the twin says.

use std::sync::Arc;

use leveret::clock::NEVER;
use leveret::message::{Facts, Message};
use leveret::queue::{
    Cause, ChannelCredit, Chunk, Consumer, Drained, Effects, Entry, Got, Item, Lease, Load, Options, Outbox, Overflow,
    State, Subscribed, Subscription, Surplus,
};
use leveret::store::Page;

use crate::messages::{id, numbered};
use crate::shelf::Shelf;
use crate::twin::{Channel, Fetched, Member, Publish, SessionBox, Twin};

/// Both of them, and the world around them.
pub(crate) struct Pair {
    state: State,
    pub(crate) twin: Twin,
    shelf: Shelf,
    spill: Shelf,
    /// What is being given up to the disk.
    chunk: Option<Chunk>,
    /// Commits so far.
    epoch: u64,
    /// Messages given up to the disk, by whether the store keeps them.
    pub(crate) folded: [u64; 2],
    fx: Effects,
    pub(crate) consumers: Vec<Arc<Consumer>>,
    outboxes: Vec<Arc<Outbox>>,
    credits: Vec<Arc<ChannelCredit>>,
    getters: Vec<Arc<Consumer>>,
    pub(crate) held: Vec<Lease>,
    held_ids: Vec<u64>,
    pub(crate) dying: Vec<Entry>,
    pub(crate) load: Option<Load>,
    /// The earliest deadline the machine has asked for since the last tick.
    pub(crate) deadline: u64,
    next_id: u64,
    /// The version of the policies in force.
    governed: u64,
}

/// Looks of the janitor after which it should have nothing left to do at one moment.
const MOST_TICKS: usize = 20;

/// Consumers of gets have ids of their own.
const GETTER: u64 = 1 << 40;

impl Pair {
    /// A pair on an empty shelf, or on what `shelf` holds: then everything there is on disk.
    pub(crate) fn new(twin: Twin, budgets: &[u64], limits: &[u16]) -> Self {
        let options: Options = twin.options.clone();
        let state = State::new(Arc::new(options), twin.durable, twin.auto_delete, twin.now);
        let mut pair = Self {
            state,
            twin,
            shelf: Shelf::default(),
            spill: Shelf::default(),
            chunk: None,
            epoch: 0,
            folded: [0; 2],
            fx: Effects::default(),
            consumers: Vec::new(),
            outboxes: Vec::new(),
            credits: Vec::new(),
            getters: Vec::new(),
            held: Vec::new(),
            held_ids: Vec::new(),
            dying: Vec::new(),
            load: None,
            deadline: NEVER,
            next_id: 1,
            governed: 1,
        };
        for budget in budgets {
            pair.outboxes.push(Arc::new(Outbox::new(usize::try_from(*budget).expect("small"))));
            pair.twin.boxes.push(SessionBox { budget: *budget, ..SessionBox::default() });
        }
        for (at, limit) in limits.iter().enumerate() {
            let credit = Arc::new(ChannelCredit::default());
            assert!(credit.set_limit(*limit, 0, &pair.outboxes[0]).is_empty());
            let getter = Self::consumer(GETTER + at as u64, at, (false, false, 0, 0), &pair.outboxes[0], None);
            pair.getters.push(getter);
            pair.credits.push(credit);
            pair.twin.channels.push(Channel { limit: u64::from(*limit), used: 0 });
        }
        pair
    }

    fn consumer(
        id: u64,
        channel: usize,
        (no_ack, exclusive, priority, prefetch): (bool, bool, i32, u16),
        outbox: &Arc<Outbox>,
        credit: Option<&Arc<ChannelCredit>>,
    ) -> Arc<Consumer> {
        let channel = u16::try_from(channel).expect("small");
        let tag = id.to_string().into_bytes().into();
        let subscription =
            Subscription { id, tag, channel, no_ack, exclusive, priority, prefetch, ..Subscription::default() };
        subscription.connect(outbox.clone(), None, credit.cloned())
    }

    /// The machine starts on a store; the twin gets the same messages as on disk. `seen`: which count as redelivered
    /// (`None`: the last run did not end in order).
    /// The third of a message's facts is how often it failed and was handed out.
    pub(crate) fn recover(&mut self, messages: Vec<(u64, Publish, (u32, u32))>, seen: Option<&[u64]>) {
        let (mut next_seq, mut redelivered) = (1, Vec::new());
        for (seq, publish, counted) in messages {
            let facts = Facts { persistent: true, priority: publish.priority, ..Facts::default() };
            let message = numbered(publish.id, publish.size, facts);
            let expires_at = publish.expiration.map_or(NEVER, |ttl| self.twin.now + ttl);
            self.shelf.put(leveret::store::Put { seq, lane: publish.priority, expires_at, message });
            let was_seen = seen.is_none_or(|ids| ids.contains(&publish.id));
            redelivered.extend(was_seen.then_some(seq));
            let (failures, acquired) = counted;
            if acquired > 0 {
                self.shelf.count(leveret::store::Count { seq, lane: publish.priority, failures, acquired });
            }
            self.twin.published += 1;
            self.twin.ready.push(crate::twin::Msg {
                id: publish.id,
                lane: publish.priority,
                size: publish.size,
                expires_at,
                durable: true,
                redelivered: was_seen || acquired > 0,
                on_disk: true,
                failures,
                acquired,
                counted,
                came_back: None,
            });
            next_seq = seq + 1;
            self.next_id = self.next_id.max(publish.id + 1);
        }
        let kept = self.shelf.recover(next_seq, if seen.is_some() { redelivered } else { Vec::new() });
        self.state.recover(&kept, seen.is_some());
    }

    /// A number no message had.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub(crate) fn touch(&mut self) {
        self.twin.last_used = self.twin.now;
        self.state.touch(self.twin.now, &mut self.fx);
        self.check("touch");
    }

    /// A policy changes what it can change of `options`.
    pub(crate) fn govern(&mut self, options: Options) {
        let Options { profile, kind, max_priority, single_active, .. } = self.twin.options;
        let mut options = Options { profile, kind, max_priority, single_active, ..options };
        if options.is_quorum() && options.overflow == Overflow::RejectPublishDlx {
            options.overflow = Overflow::DropHead;
        }
        self.governed += 1;
        let (now, fx) = (self.twin.now, &mut self.fx);
        self.state.set_options(Arc::new(options.clone()), self.governed, now, fx);
        // What an older version asks for comes too late.
        self.state.set_options(Arc::new(Options::default()), self.governed - 1, now, fx);
        self.twin.govern(options);
        self.check("govern");
    }

    pub(crate) fn push(&mut self, messages: &[Publish]) {
        let built = messages.iter().map(built);
        let mut refused = Vec::new();
        let taken = self.state.push(built, self.twin.now, &mut refused, &mut self.fx);
        assert_eq!(taken, !self.twin.deleted);
        if taken {
            assert_eq!(refused, self.twin.push(messages), "refusals");
        }
        self.check("push");
    }

    /// A transaction publishes: all of it or nothing. Sometimes it gives up what it has reserved.
    pub(crate) fn transact(&mut self, messages: &[Publish], commits: bool) {
        let built: Vec<Message> = messages.iter().map(built).collect();
        let room = self.state.reserve(&built);
        self.twin.judge_room(messages, room.is_some());
        let Some(room) = room else { return self.check("refused") };
        if !commits {
            self.state.unreserve(room);
            return self.check("unreserve");
        }
        self.state.push_reserved(room, built.into_iter(), self.twin.now, &mut self.fx);
        if !self.twin.deleted {
            self.twin.push_all(messages);
        }
        self.check("transact");
    }

    pub(crate) fn subscribe(&mut self, member: Member) {
        let how = (member.no_ack, member.exclusive, member.priority, u16::try_from(member.prefetch).expect("small"));
        let (outbox, credit) = (&self.outboxes[member.outbox], &self.credits[member.channel]);
        let consumer = Self::consumer(member.id, member.channel, how, outbox, Some(credit));
        let answer = self.state.subscribe(consumer.clone(), self.twin.now, &mut self.fx);
        let expected = if self.twin.deleted {
            Subscribed::Gone
        } else if self.twin.subscribe(member) {
            self.consumers.push(consumer);
            Subscribed::Joined
        } else {
            Subscribed::InUse
        };
        assert_eq!(answer, expected);
        self.check("subscribe");
    }

    pub(crate) fn unsubscribe(&mut self, at: usize) {
        let consumer = self.consumers.swap_remove(at);
        self.state.unsubscribe(&consumer, self.twin.now, &mut self.fx);
        self.twin.unsubscribe(consumer.id);
        assert_eq!(self.fx.doomed, self.twin.unused(), "auto-delete");
        self.check("unsubscribe");
    }

    /// The session of outbox `at` writes what waits for it.
    pub(crate) fn drain(&mut self, at: usize) {
        let mut drained = Drained::default();
        self.outboxes[at].drain(&mut drained);
        let waiting = std::mem::take(&mut self.twin.boxes[at].waiting);
        self.twin.boxes[at].bytes = 0;
        let mut expected = waiting.into_iter();
        let mut entries = drained.entries.into_iter();
        for item in drained.items {
            let (consumer, count) = match item {
                Item::Deliver { consumer, count } => (consumer, count),
                Item::Cancelled(consumer) => {
                    assert!(self.twin.deleted, "consumers are cancelled by the deletion of the queue only");
                    self.consumers.retain(|c| c.id != consumer.id);
                    continue;
                }
            };
            let mut unsent = Vec::new();
            for entry in entries.by_ref().take(count as usize) {
                let (to, msg) = expected.next().expect("nothing beyond what the twin delivered");
                let got = (consumer.id, id(&entry.message), entry.redelivered, entry.expires_at, entry.lane);
                assert_eq!(got, (to, msg.id, msg.redelivered, msg.expires_at, msg.lane), "order of deliveries");
                assert_eq!((entry.failures, entry.acquired), (msg.failures, msg.acquired), "counts");
                if consumer.no_ack {
                    continue;
                }
                if self.consumers.iter().any(|c| c.id == consumer.id) {
                    self.held_ids.push(msg.id);
                    self.held.push(Lease::new(consumer.clone(), entry));
                } else {
                    unsent.push(entry);
                }
            }
            if !unsent.is_empty() {
                let ids: Vec<u64> = unsent.iter().map(|e| id(&e.message)).collect();
                self.state.unsend(unsent, self.twin.now, &mut self.fx);
                self.twin.unsend(&ids);
                self.return_credit(usize::from(consumer.channel), ids.len());
                self.observe("unsend");
            }
        }
        assert_eq!(expected.next(), None, "everything the twin delivered arrived");
        for consumer in drained.starved {
            self.resume(&consumer);
        }
        self.check("drain");
    }

    fn resume(&mut self, consumer: &Consumer) {
        self.state.resume(consumer, self.twin.now, &mut self.fx);
        self.twin.resume(consumer.id);
    }

    /// Settled deliveries give their channel its prefetch back; whoever starved of it is resumed.
    fn return_credit(&mut self, channel: usize, n: usize) {
        if self.twin.channels[channel].limit > 0 {
            self.twin.channels[channel].used -= i64::try_from(n).expect("small");
        }
        for consumer in self.credits[channel].give_back(n) {
            self.resume(&consumer);
        }
    }

    pub(crate) fn set_limit(&mut self, channel: usize, limit: u16) {
        self.twin.channels[channel].limit = u64::from(limit);
        let used = usize::try_from(self.twin.channels[channel].used).unwrap_or(0);
        for consumer in self.credits[channel].set_limit(limit, used, &self.outboxes[0]) {
            self.resume(&consumer);
        }
        self.check("qos");
    }

    /// Settles the leases at these places of `held`, in this order.
    pub(crate) fn settle(&mut self, places: &[usize], how: How) {
        let mut chosen: Vec<(usize, Option<Lease>)> = Vec::new();
        let mut which = Vec::new();
        for at in places {
            which.push((self.held[*at].consumer().id, self.held_ids[*at]));
            chosen.push((*at, None));
        }
        // Out from the back, so that places stay valid; then in the order asked for.
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_unstable_by_key(|i| std::cmp::Reverse(places[*i]));
        for i in order {
            chosen[i].1 = Some(self.held.remove(places[i]));
            self.held_ids.remove(places[i]);
        }
        let mut leases: Vec<Lease> = chosen.into_iter().filter_map(|(_, lease)| lease).collect();
        let channels: Vec<u16> =
            leases.iter().map(Lease::consumer).filter(|c| c.credit.is_some()).map(|c| c.channel).collect();
        let now = self.twin.now;
        match how {
            How::Ack => {
                self.state.settle(&mut leases, now, &mut self.fx);
                self.twin.ack(&which);
            }
            How::Reject => {
                self.state.reject(&mut leases, now, &mut self.fx);
                self.twin.reject(&which);
            }
            How::Requeue(cause) => {
                self.state.requeue(&mut leases, cause, now, &mut self.fx);
                self.twin.requeue(&which, cause);
            }
        }
        for channel in 0..self.credits.len() {
            let n = channels.iter().filter(|c| usize::from(**c) == channel).count();
            if n > 0 {
                self.return_credit(channel, n);
            }
        }
        self.check("settle");
    }

    pub(crate) fn get(&mut self, channel: usize, no_ack: bool) {
        let got = self.state.get(no_ack, self.twin.now, &mut self.fx);
        match (got, self.twin.get(no_ack)) {
            (Got::Empty, Fetched::Empty) => {}
            (Got::Paged, Fetched::OnDisk) => {
                assert!(self.load.is_some() || self.fx.load.is_some(), "a load is asked for");
            }
            (Got::Message(entry, left), Fetched::Message(msg, expected)) => {
                assert_eq!((id(&entry.message), entry.redelivered, left), (msg.id, msg.redelivered, expected));
                assert_eq!((entry.failures, entry.acquired), (msg.failures, msg.acquired), "counts");
                if !no_ack {
                    self.held_ids.push(msg.id);
                    self.held.push(Lease::new(self.getters[channel].clone(), entry));
                }
            }
            (got, expected) => panic!("got {got:?}, expected {expected:?}"),
        }
        self.check("get");
    }

    /// Lets time pass; the janitor looks when it was asked to.
    pub(crate) fn advance(&mut self, by: u64) {
        self.twin.now += by;
        for _ in 0..MOST_TICKS {
            // A queue that is due for deletion says so at every look.
            if self.deadline > self.twin.now || self.twin.idle_expired() {
                return;
            }
            self.tick();
        }
        panic!("the janitor is kept busy");
    }

    pub(crate) fn tick(&mut self) {
        self.deadline = NEVER;
        self.state.tick(self.twin.now, &mut self.fx);
        self.twin.tick();
        assert_eq!(self.fx.doomed, self.twin.idle_expired(), "x-expires");
        self.check("tick");
    }

    /// The loader answers with at most `most` messages.
    pub(crate) fn serve_load(&mut self, most: usize) {
        let Some(load) = self.load.take() else { return };
        let page = self.shelf.read(load, most);
        let spilled = if load.spilled { self.spill.read(load, most) } else { Page::default() };
        let until = page.next.into_iter().chain(spilled.next).min().unwrap_or(load.until);
        let both = page.messages.iter().chain(&spilled.messages).filter(|stored| stored.seq < until);
        let ids: Vec<u64> = both.map(|stored| id(&stored.message)).collect();
        let missing = self.state.loaded(load, page, spilled, self.twin.now, &mut self.fx);
        assert_eq!(missing, 0, "nothing is missing");
        self.twin.loaded(&ids);
        self.check("load");
    }

    /// The pager looks for what need not be in memory, and spills what the store does not keep. The last `behind`
    /// commits are not known to be done.
    pub(crate) fn spill(&mut self, keep: usize, behind: u64) {
        if let Surplus::Some(chunk) = self.state.surplus(keep, self.epoch.saturating_sub(behind)) {
            self.spill.keep_only(&self.state.spilled());
            chunk.copies.iter().for_each(|put| self.spill.put(put.clone()));
            self.chunk = Some(chunk);
        }
    }

    /// The pager gives up what it has spilled, as far as it is still there.
    pub(crate) fn fold(&mut self) {
        let Some(chunk) = self.chunk.take() else { return };
        for entry in self.state.fold(&chunk) {
            assert!((chunk.first..=chunk.last).contains(&entry.seq) && entry.lane == chunk.lane);
            self.twin.folded(id(&entry.message));
            self.folded[usize::from(entry.durable)] += 1;
        }
        self.check("fold");
    }

    pub(crate) fn purge(&mut self) {
        assert_eq!(self.state.purge(&mut self.fx), self.twin.purge());
        self.check("purge");
    }

    pub(crate) fn delete(&mut self) {
        assert_eq!(self.state.delete(&mut self.fx), self.twin.delete());
        // The engine drops the queue as a whole.
        self.state.journal.take();
        self.shelf = Shelf::default();
        self.check("delete");
    }

    /// A dead letter has arrived where it was sent.
    pub(crate) fn bury(&mut self, at: usize) {
        let entry = self.dying.swap_remove(at);
        self.state.settle_entry(&entry);
        self.twin.buried(id(&entry.message));
        self.check("bury");
    }

    /// The writer visits.
    pub(crate) fn commit(&mut self) {
        self.epoch += 1;
        self.state.journal_taken(self.epoch);
        self.shelf.apply(&mut self.state.journal);
        if !self.twin.deleted {
            assert_eq!(self.shelf.ids(), self.twin.kept(), "the store holds what is ready, leased or dying");
            assert_eq!(self.shelf.counted(), self.twin.counted(), "and how often it came back");
        }
    }

    /// Positions a clean stop would mark.
    pub(crate) fn marks(&self) -> Option<usize> {
        self.state.redelivered().map(|seqs| seqs.len())
    }

    /// What must hold after every operation.
    fn check(&mut self, after: &str) {
        self.observe(after);
        let twin = &self.twin;
        let front = twin.front().map(|at| &twin.ready[at]);
        let due = front.is_some_and(|m| m.expires_at < twin.now);
        let wanted = !twin.able().is_empty() && front.is_some();
        match front {
            Some(front) if wanted && front.on_disk => assert!(self.load.is_some(), "consumers wait, a load is wanted"),
            _ => assert!(!wanted || due, "a consumer with credit and room beside a ready message after {after}"),
        }
    }

    /// Compares what came out; a session in the middle of its work has not resumed its starved consumers yet.
    fn observe(&mut self, after: &str) {
        let (state, twin) = (&self.state, &mut self.twin);
        let deaths: Vec<_> = self.fx.dead.iter().map(|d| (id(&d.entry.message), d.reason)).collect();
        assert_eq!(deaths, std::mem::take(&mut twin.deaths), "deaths after {after}");
        self.dying.extend(self.fx.dead.drain(..).map(|dead| dead.entry));
        let counts = (state.ready(), state.ready_bytes(), state.leased(), state.consumers());
        let out = (twin.out.len() + twin.dying.len()) as u64;
        let expected = (twin.ready.len() as u64, twin.ready_bytes(), out, twin.members.len());
        assert_eq!(counts, expected, "ready, octets, leased, consumers after {after}");
        let elsewhere = twin.gone.settled + twin.gone.dead + twin.gone.dropped;
        assert_eq!(twin.published, state.ready() + state.leased() + elsewhere, "no message is lost or doubled");
        for member in twin.members.iter().filter(|m| m.prefetch > 0 && !m.no_ack) {
            assert!(member.outstanding <= member.prefetch, "prefetch is never exceeded");
        }
        if let Some(load) = self.fx.load.take() {
            assert!(self.load.replace(load).is_none(), "one load at a time");
        }
        self.deadline = self.deadline.min(std::mem::replace(&mut self.fx.deadline, NEVER));
        // Settling gives channel credit back in a second step, resuming in a third: judged when all is done.
        let mut resume = std::mem::take(&mut self.fx.resume);
        while let Some(consumer) = resume.pop_front() {
            self.resume(&consumer);
            resume.append(&mut self.fx.resume);
        }
        let twin = &self.twin;
        if !twin.deleted && self.load.is_none() {
            let (known, needed) = (self.deadline, twin.deadline());
            assert!(known <= needed, "the janitor knows of {known}, not of {needed}, after {after}");
        }
        for (outbox, theirs) in self.outboxes.iter().zip(&twin.boxes) {
            let rung = self.fx.outboxes.iter().any(|o| Arc::ptr_eq(o, outbox));
            assert!(!rung || !theirs.waiting.is_empty() || twin.deleted, "a bell rings for a reason");
        }
        self.fx.outboxes.clear();
        self.fx.doomed = false;
    }
}

fn built(publish: &Publish) -> Message {
    let facts = Facts {
        persistent: publish.persistent,
        priority: publish.priority,
        expiration: publish.expiration.unwrap_or(u64::MAX),
        ..Facts::default()
    };
    numbered(publish.id, publish.size, facts)
}

/// What a client does with a delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Ack,
    Reject,
    Requeue(Cause),
}
