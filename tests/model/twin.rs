//! The naive twin of a queue: the rules as RabbitMQ's documentation states them, on plain vectors searched from end to
//! end, one message at a time. It shares no code with the broker but the words for options and reasons.

use leveret::config::compatibility::{FailedDelivery, QuorumPriorities};
use leveret::queue::{Cause, Kind, Options, Overflow, Reason, Strategy};

/// What a delivery costs an outbox beside its body, in octets.
const DELIVERY_OVERHEAD: u64 = 128 + ADDRESS_AND_PROPERTIES;

/// Of every message of these tests: two short strings, one of a letter, and two octets of flags.
const ADDRESS_AND_PROPERTIES: u64 = 5;

/// A message; `id` also tells its place in the order of publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Msg {
    pub(crate) id: u64,
    pub(crate) lane: u8,
    pub(crate) size: u64,
    pub(crate) expires_at: u64,
    pub(crate) durable: bool,
    pub(crate) redelivered: bool,
    pub(crate) on_disk: bool,
    /// Failed deliveries and times handed out, as a quorum queue counts them.
    pub(crate) failures: u32,
    pub(crate) acquired: u32,
    /// The same as the store has to know them.
    pub(crate) counted: (u32, u32),
    /// Its place among the messages that came back to a quorum queue.
    pub(crate) came_back: Option<u64>,
}

/// A message as published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publish {
    pub(crate) id: u64,
    pub(crate) priority: u8,
    pub(crate) size: u64,
    pub(crate) persistent: bool,
    pub(crate) expiration: Option<u64>,
}

/// A consumer.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) priority: i32,
    pub(crate) prefetch: u64,
    pub(crate) outstanding: u64,
    pub(crate) channel: usize,
    pub(crate) outbox: usize,
}

/// The prefetch limit of a channel; 0 is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Channel {
    pub(crate) limit: u64,
    pub(crate) used: i64,
}

/// What waits for one session: consumer, message, redelivered.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionBox {
    pub(crate) budget: u64,
    pub(crate) bytes: u64,
    pub(crate) waiting: Vec<(u64, Msg)>,
}

/// Where messages went that are no longer here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) settled: u64,
    pub(crate) dead: u64,
    pub(crate) dropped: u64,
}

/// Answer to a get.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    Message(Msg, u64),
    Empty,
    OnDisk,
}

/// The queue.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // plain facts, independent of each other
pub(crate) struct Twin {
    pub(crate) options: Options,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) ready: Vec<Msg>,
    /// Delivered (or in an outbox) and not acknowledged.
    pub(crate) out: Vec<Msg>,
    /// On their way to the dead-letter exchange.
    pub(crate) dying: Vec<Msg>,
    /// Deaths of the present operation.
    pub(crate) deaths: Vec<(u64, Reason)>,
    pub(crate) members: Vec<Member>,
    /// Consumers that can take a message, in the order of their turns.
    pub(crate) line: Vec<u64>,
    pub(crate) active: Option<u64>,
    /// The active consumer has to give way to another of higher priority.
    pub(crate) fading: bool,
    /// Messages that have come back to a quorum queue.
    returns: u64,
    /// Messages served since the last ordinary one was preferred.
    served: u8,
    pub(crate) had_consumer: bool,
    pub(crate) channels: Vec<Channel>,
    pub(crate) boxes: Vec<SessionBox>,
    pub(crate) published: u64,
    pub(crate) gone: Gone,
    pub(crate) last_used: u64,
    pub(crate) now: u64,
    pub(crate) deleted: bool,
}

impl Twin {
    pub(crate) fn new(options: Options, durable: bool, auto_delete: bool, now: u64) -> Self {
        Self {
            options,
            durable,
            auto_delete,
            ready: Vec::new(),
            out: Vec::new(),
            dying: Vec::new(),
            deaths: Vec::new(),
            members: Vec::new(),
            line: Vec::new(),
            active: None,
            fading: false,
            returns: 0,
            served: 0,
            had_consumer: false,
            channels: Vec::new(),
            boxes: Vec::new(),
            published: 0,
            gone: Gone::default(),
            last_used: now,
            now,
            deleted: false,
        }
    }

    /// Other options from here on: what came before keeps its time to live.
    pub(crate) fn govern(&mut self, options: Options) {
        if self.deleted || options == self.options {
            return;
        }
        if options.expires != self.options.expires {
            self.last_used = self.now;
        }
        self.options = options;
        self.expire();
        self.pump();
        self.drop_head();
    }

    fn quorum(&self) -> bool {
        self.options.kind == Kind::Quorum
    }

    /// The level of a message; these tests publish none with a priority property of 0.
    pub(crate) fn lane(&self, priority: u8) -> u8 {
        match (self.quorum(), self.options.profile.quorum_priorities) {
            (false, _) => priority.min(self.options.max_priority),
            (true, QuorumPriorities::None) => 0,
            (true, QuorumPriorities::Two) => u8::from(priority > 4),
            (true, QuorumPriorities::Levels) if priority == 0 => 4,
            (true, QuorumPriorities::Levels) => priority.min(31),
        }
    }

    /// Failed deliveries a message survives.
    fn limit(&self) -> Option<u32> {
        let set = self.options.delivery_limit.map(|limit| u32::try_from(limit).ok());
        if self.quorum() { set.unwrap_or(self.options.profile.delivery_limit) } else { None }
    }

    fn refuses(&self) -> bool {
        self.options.overflow != Overflow::DropHead
    }

    /// Octets of ready bodies.
    pub(crate) fn ready_bytes(&self) -> u64 {
        self.ready.iter().map(|m| m.size).sum()
    }

    fn exceeds(&self, count: u64, bytes: u64) -> bool {
        self.options.max_length.is_some_and(|max| count > max)
            || self.options.max_length_bytes.is_some_and(|max| bytes > max)
    }

    fn over(&self) -> bool {
        self.exceeds(self.ready.len() as u64, self.ready_bytes())
    }

    /// A refusing queue is full if the next message would exceed a limit; of the octets of that message a quorum queue
    /// takes no notice.
    fn full(&self, size: u64) -> bool {
        let size = if self.quorum() { 1 } else { size };
        // A quorum queue that waits for its dead letters to arrive counts them.
        let waits = self.quorum()
            && self.options.dead_letter_strategy == Strategy::AtLeastOnce
            && self.options.dead_letter_exchange.is_some()
            && self.options.overflow == Overflow::RejectPublish;
        let letters = if waits { &self.dying[..] } else { &[] };
        let bytes: u64 = letters.iter().map(|m| m.size).sum();
        self.exceeds((self.ready.len() + letters.len()) as u64 + 1, self.ready_bytes() + bytes + size)
    }

    /// Place of the next message to leave: what came back, in that order; then the highest priority, the oldest.
    pub(crate) fn front(&self) -> Option<usize> {
        let places = || 0..self.ready.len();
        let returned =
            places().filter(|at| self.ready[*at].came_back.is_some()).min_by_key(|at| self.ready[*at].came_back);
        let weighs = self.quorum() && self.options.profile.quorum_priorities == QuorumPriorities::Two;
        let ordinary = || {
            let lowest = places().filter(|at| self.ready[*at].lane == 0 && weighs && self.served == 2);
            lowest.min_by_key(|at| self.ready[*at].id)
        };
        let highest = || places().min_by_key(|at| (u8::MAX - self.ready[*at].lane, self.ready[*at].id));
        returned.or_else(ordinary).or_else(highest)
    }

    /// Takes the next message to leave.
    fn pop(&mut self, at: usize) -> Msg {
        let msg = self.ready.remove(at);
        if msg.came_back.is_none() {
            self.served = if self.served == 2 { 0 } else { self.served + 1 };
        }
        Msg { came_back: None, ..msg }
    }

    /// Places of the first of those that came back and the oldest of each priority, lowest priority first.
    fn fronts(&self) -> Vec<usize> {
        let oldest = |lane: u8| {
            let of_lane = (0..self.ready.len()).filter(|at| self.ready[*at].lane == lane);
            of_lane.filter(|at| self.ready[*at].came_back.is_none()).min_by_key(|at| self.ready[*at].id)
        };
        let returned = self.front().filter(|at| self.ready[*at].came_back.is_some());
        returned.into_iter().chain((0..=u8::MAX).filter_map(oldest)).collect()
    }

    /// The earliest moment at which something has to be done unasked.
    pub(crate) fn deadline(&self) -> u64 {
        let heads = self.fronts().into_iter().map(|at| self.ready[at].expires_at).min().unwrap_or(u64::MAX);
        heads.min(self.idle_deadline())
    }

    fn idle_deadline(&self) -> u64 {
        match self.options.expires {
            Some(expires) if self.members.is_empty() => self.last_used + expires,
            _ => u64::MAX,
        }
    }

    fn die(&mut self, msg: Msg, reason: Reason) {
        if self.options.dead_letter_exchange.is_some() {
            self.deaths.push((msg.id, reason));
            self.dying.push(msg);
        } else {
            self.gone.dropped += 1;
        }
    }

    /// Publishes in order; returns which were refused.
    pub(crate) fn push(&mut self, messages: &[Publish]) -> Vec<usize> {
        let mut refused = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            if self.refuses() && self.full(message.size) {
                refused.push(at);
                if self.options.overflow == Overflow::RejectPublishDlx {
                    self.published += 1;
                    let msg = Msg { durable: false, ..self.stamped(message) };
                    self.die(msg, Reason::MaxLen);
                }
                continue;
            }
            self.take_in(message);
        }
        refused
    }

    /// Publishes in order what room was found for.
    pub(crate) fn push_all(&mut self, messages: &[Publish]) {
        for message in messages {
            self.take_in(message);
        }
    }

    /// Whether a transaction's publishes fit, judged by publishing them to another such queue. Two things are only
    /// estimated: what waiting consumers will take, and what leaves at once because its time has come.
    pub(crate) fn judge_room(&self, messages: &[Publish], found: bool) {
        if self.deleted || !self.refuses() {
            return assert!(found, "this queue refuses nothing");
        }
        let mut other = self.clone();
        let fits = other.push(messages).is_empty();
        let fleeting = self.options.message_ttl == Some(0) || messages.iter().any(|m| m.expiration == Some(0));
        let fleeting = fleeting || self.ready.iter().any(|m| m.expires_at <= self.now);
        let hungry = self.ready.is_empty() && !self.line.is_empty();
        assert!(found || !fits || fleeting, "there is room for {messages:?} in {self:?}");
        assert!(!found || fits || hungry || fleeting, "there is no room for {messages:?} in {self:?}");
    }

    fn stamped(&self, message: &Publish) -> Msg {
        let ttl = [self.options.message_ttl, message.expiration].into_iter().flatten().min();
        Msg {
            id: message.id,
            lane: self.lane(message.priority),
            size: message.size,
            expires_at: ttl.map_or(u64::MAX, |ttl| self.now + ttl),
            durable: self.durable && (message.persistent || self.quorum()),
            redelivered: false,
            on_disk: false,
            failures: 0,
            acquired: 0,
            counted: (0, 0),
            came_back: None,
        }
    }

    fn take_in(&mut self, message: &Publish) {
        let msg = self.stamped(message);
        self.published += 1;
        let now_or_never = msg.expires_at <= self.now;
        self.ready.push(msg);
        self.pump();
        if now_or_never || self.refuses() {
            self.expire();
        }
        self.drop_head();
    }

    fn drop_head(&mut self) {
        while !self.refuses() && self.over() {
            match self.front() {
                Some(at) if !self.ready[at].on_disk => {
                    let msg = self.pop(at);
                    self.die(msg, Reason::MaxLen);
                }
                _ => return,
            }
        }
    }

    /// Removes what has expired at the front of each priority.
    pub(crate) fn expire(&mut self) {
        let due = |twin: &Self| {
            let fronts = twin.fronts();
            fronts.into_iter().find(|at| !twin.ready[*at].on_disk && twin.ready[*at].expires_at <= twin.now)
        };
        while let Some(at) = due(self) {
            let msg = Msg { came_back: None, ..self.ready.remove(at) };
            self.die(msg, Reason::Expired);
        }
    }

    pub(crate) fn member(&self, id: u64) -> Option<&Member> {
        self.members.iter().find(|m| m.id == id)
    }

    fn has_credit(member: &Member) -> bool {
        member.no_ack || member.prefetch == 0 || member.outstanding < member.prefetch
    }

    fn channel_has_credit(&self, member: &Member) -> bool {
        let channel = &self.channels[member.channel];
        channel.limit == 0 || channel.used < i64::try_from(channel.limit).expect("small")
    }

    fn has_room(&self, member: &Member) -> bool {
        self.boxes[member.outbox].bytes < self.boxes[member.outbox].budget
    }

    /// Consumers that could take a message now, from first principles.
    pub(crate) fn able(&self) -> Vec<u64> {
        let able = self.members.iter().filter(|m| {
            (!self.options.single_active || (self.active == Some(m.id) && !self.fading))
                && Self::has_credit(m)
                && self.channel_has_credit(m)
                && self.has_room(m)
        });
        able.map(|m| m.id).collect()
    }

    /// Puts a consumer at the end of the line, if it has a place there.
    fn line_up(&mut self, id: u64) {
        let inactive = self.options.single_active && (self.active != Some(id) || self.fading);
        if !inactive && !self.line.contains(&id) && self.member(id).is_some_and(Self::has_credit) {
            self.line.push(id);
        }
    }

    /// The consumer whose turn it is.
    fn turn(&self) -> Option<Member> {
        let in_line: Vec<&Member> = self.line.iter().filter_map(|id| self.member(*id)).collect();
        let highest = in_line.iter().map(|m| m.priority).max()?;
        in_line.into_iter().find(|m| m.priority == highest).cloned()
    }

    /// Gives ready messages to consumers.
    pub(crate) fn pump(&mut self) {
        while let (Some(member), Some(at)) = (self.turn(), self.front()) {
            if self.ready[at].on_disk {
                return;
            }
            if self.ready[at].expires_at < self.now {
                let msg = self.pop(at);
                self.die(msg, Reason::Expired);
                continue;
            }
            self.line.retain(|id| *id != member.id);
            if !self.channel_has_credit(&member) || !self.has_room(&member) {
                continue;
            }
            let msg = self.pop(at);
            let outbox = &mut self.boxes[member.outbox];
            outbox.bytes += msg.size + DELIVERY_OVERHEAD;
            outbox.waiting.push((member.id, msg.clone()));
            if member.no_ack {
                self.gone.settled += 1;
            } else {
                self.out.push(msg);
                if self.channels[member.channel].limit > 0 {
                    self.channels[member.channel].used += 1;
                }
                let counted = self.members.iter_mut().find(|m| m.id == member.id);
                counted.expect("it is a member").outstanding += 1;
            }
            self.line_up(member.id);
        }
    }

    pub(crate) fn get(&mut self, no_ack: bool) -> Fetched {
        self.last_used = self.now;
        self.expire();
        let Some(at) = self.front() else { return Fetched::Empty };
        if self.ready[at].on_disk {
            return Fetched::OnDisk;
        }
        let msg = self.pop(at);
        if no_ack {
            self.gone.settled += 1;
        } else {
            self.out.push(msg.clone());
        }
        Fetched::Message(msg, self.ready.len() as u64)
    }

    fn take_out(&mut self, id: u64) -> Msg {
        let at = self.out.iter().position(|m| m.id == id).expect("it is out");
        self.out.remove(at)
    }

    /// Gives consumers their prefetch back, one delivery each.
    fn give_back(&mut self, consumers: &[u64]) {
        for id in consumers {
            if let Some(member) = self.members.iter_mut().find(|m| m.id == *id) {
                member.outstanding -= 1;
                self.line_up(*id);
            }
        }
        self.give_way();
    }

    /// A single active consumer that has to give way does so once it holds nothing.
    fn give_way(&mut self) {
        let active = self.active.and_then(|id| self.member(id));
        if self.fading && active.is_none_or(|m| m.outstanding == 0) {
            self.activate();
        }
    }

    fn activate(&mut self) {
        self.fading = false;
        let highest = self.members.iter().map(|m| m.priority).max();
        self.active = self.members.iter().find(|m| Some(m.priority) == highest).map(|m| m.id);
        if let Some(next) = self.active {
            self.line_up(next);
        }
    }

    /// Acknowledges messages `(consumer, message)`.
    pub(crate) fn ack(&mut self, which: &[(u64, u64)]) {
        for (_, id) in which {
            if !self.deleted {
                self.take_out(*id);
                self.gone.settled += 1;
            }
        }
        self.after_settling(which);
    }

    pub(crate) fn reject(&mut self, which: &[(u64, u64)]) {
        for (_, id) in which {
            if !self.deleted {
                let msg = self.take_out(*id);
                self.die(msg, Reason::Rejected);
            }
        }
        self.after_settling(which);
    }

    fn after_settling(&mut self, which: &[(u64, u64)]) {
        let consumers: Vec<u64> = which.iter().map(|(consumer, _)| *consumer).collect();
        self.give_back(&consumers);
        self.pump();
    }

    pub(crate) fn requeue(&mut self, which: &[(u64, u64)], cause: Cause) {
        for (_, id) in which {
            if !self.deleted {
                let msg = self.take_out(*id);
                self.come_back(Msg { redelivered: true, ..msg }, cause);
            }
        }
        self.expire();
        self.after_settling(which);
        self.drop_head();
    }

    fn come_back(&mut self, mut msg: Msg, cause: Cause) {
        if !self.quorum() {
            return self.ready.push(msg);
        }
        let all = self.options.profile.failed_delivery == FailedDelivery::EveryReturn;
        msg.acquired += 1;
        msg.failures += u32::from(all || cause == Cause::Reject || cause == Cause::Ended);
        if self.limit().is_some_and(|limit| msg.failures > limit) {
            return self.die(msg, Reason::DeliveryLimit);
        }
        if msg.durable {
            msg.counted = (msg.failures, msg.acquired);
        }
        self.returns += 1;
        msg.came_back = Some((1 << 50) + self.returns);
        self.ready.push(msg);
    }

    /// Takes back what was never written to its client.
    pub(crate) fn unsend(&mut self, ids: &[u64]) {
        for id in ids {
            if !self.deleted {
                let msg = self.take_out(*id);
                // Before all that clients have seen, oldest first.
                let came_back = self.quorum().then_some(msg.id);
                self.ready.push(Msg { came_back, ..msg });
            }
        }
        self.pump();
        self.drop_head();
    }

    /// `false`: refused, since somebody has the queue for himself or wants it so.
    pub(crate) fn subscribe(&mut self, member: Member) -> bool {
        let taken = self.members.iter().any(|m| m.exclusive);
        if taken || (member.exclusive && (!self.members.is_empty() || self.options.single_active)) {
            return false;
        }
        self.had_consumer = true;
        let (id, priority) = (member.id, member.priority);
        self.members.push(member);
        match self.active {
            None => self.active = self.options.single_active.then_some(id),
            Some(active) if self.quorum() && self.options.profile.single_active_by_priority && !self.fading => {
                if self.member(active).is_some_and(|m| m.priority < priority) {
                    self.fading = true;
                    self.line.retain(|other| *other != active);
                    self.give_way();
                }
            }
            Some(_) => {}
        }
        self.line_up(id);
        self.expire();
        self.pump();
        true
    }

    pub(crate) fn unsubscribe(&mut self, id: u64) {
        if self.member(id).is_none() {
            return;
        }
        self.members.retain(|m| m.id != id);
        self.line.retain(|other| *other != id);
        self.last_used = self.now;
        if self.active == Some(id) {
            self.activate();
        }
        self.pump();
    }

    /// Whether the queue has a reason to be deleted.
    pub(crate) fn unused(&self) -> bool {
        self.auto_delete && self.had_consumer && self.members.is_empty() && !self.deleted
    }

    pub(crate) fn idle_expired(&self) -> bool {
        !self.deleted && self.idle_deadline() <= self.now
    }

    pub(crate) fn resume(&mut self, id: u64) {
        self.line_up(id);
        self.pump();
    }

    pub(crate) fn tick(&mut self) {
        self.expire();
        self.pump();
    }

    /// Messages have been read from disk.
    pub(crate) fn loaded(&mut self, ids: &[u64]) {
        for msg in self.ready.iter_mut().filter(|m| ids.contains(&m.id)) {
            msg.on_disk = false;
        }
        self.expire();
        self.pump();
        self.drop_head();
    }

    /// A message was given up to the disk.
    pub(crate) fn folded(&mut self, id: u64) {
        let msg = self.ready.iter_mut().find(|m| m.id == id).expect("only ready messages are folded");
        assert!(!msg.on_disk && msg.came_back.is_none(), "what has been out stays in memory");
        msg.on_disk = true;
    }

    /// The dead letter of a message has arrived.
    pub(crate) fn buried(&mut self, id: u64) {
        if !self.deleted {
            let before = self.dying.len();
            self.dying.retain(|m| m.id != id);
            assert_eq!(self.dying.len() + 1, before, "it was on its way");
            self.gone.dead += 1;
        }
    }

    pub(crate) fn purge(&mut self) -> u64 {
        let count = self.ready.len() as u64;
        self.ready.clear();
        self.gone.dropped += count;
        count
    }

    pub(crate) fn delete(&mut self) -> u64 {
        let count = self.purge();
        self.gone.dropped += (self.out.len() + self.dying.len()) as u64;
        self.out.clear();
        self.dying.clear();
        self.members.clear();
        self.line.clear();
        self.active = None;
        self.fading = false;
        self.deleted = true;
        count
    }

    /// Ids of everything the store has to hold.
    pub(crate) fn kept(&self) -> Vec<u64> {
        let everywhere = self.ready.iter().chain(&self.out).chain(&self.dying);
        let mut ids: Vec<u64> = everywhere.filter(|m| m.durable).map(|m| m.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Ids and counts of everything the store has to have counts of.
    pub(crate) fn counted(&self) -> Vec<(u64, (u32, u32))> {
        let everywhere = self.ready.iter().chain(&self.out).chain(&self.dying);
        let mut counted: Vec<_> = everywhere.filter(|m| m.counted.1 > 0).map(|m| (m.id, m.counted)).collect();
        counted.sort_unstable();
        counted
    }
}
