//! Messages to consumers: the pump, one message for basic.get, and who takes part.
//!
//! The pump serves in the roster's order until messages, credit or room run out; what an outbox or a channel's credit
//! refuses leaves the ring and is resumed from outside.

use std::sync::Arc;

use super::{Consumer, Effects, Front, Got, Millis, Reason, State, Subscribed};

impl State {
    /// Moves ready messages to consumers until one or the other runs out.
    pub fn pump(&mut self, now: Millis, fx: &mut Effects) {
        if !self.overdue.is_empty() {
            self.bury_overdue(fx);
        }
        while let Some(slot) = self.roster.turn() {
            match self.lanes.front() {
                Front::Empty => {
                    self.outrun = false;
                    self.stuck.note(false, now);
                    return;
                }
                Front::Paged(..) => {
                    self.outrun = self.roster.consumer(slot).is_some_and(|consumer| !consumer.is_limited());
                    return self.ask_load(fx);
                }
                Front::Resident(entry) if entry.expires_at < now => {
                    if let Some(entry) = self.lanes.pop() {
                        self.discard(entry, Reason::Expired, fx);
                    }
                }
                Front::Resident(_) => self.serve(slot, now, fx),
            }
        }
        if !self.roster.is_empty() {
            self.stuck.note(self.lanes.count() > 0, now);
            self.read_ahead(fx);
        }
    }

    /// Gives the consumer in `slot` its turn: one message, or as many as it can take if nobody else could.
    fn serve(&mut self, slot: usize, now: Millis, fx: &mut Effects) {
        let Some(consumer) = self.roster.consumer(slot).cloned() else { return };
        let credit = consumer.credit.as_ref().filter(|credit| credit.limited());
        let sole = self.roster.sole() && credit.is_none();
        if credit.is_some_and(|credit| !credit.take(&consumer)) {
            return self.roster.rotate(slot, false);
        }
        let mut outbox = consumer.outbox.open();
        if credit.is_none() && !consumer.no_ack && consumer.credit.as_ref().is_some_and(|credit| credit.limited()) {
            // The limit was set in between, and counted without this delivery: the turn begins again.
            return;
        }
        let (mut more, mut refused, mut served) = (true, false, 0);
        loop {
            if !outbox.room(&consumer) {
                more = false;
                refused = true;
                break;
            }
            let Some(entry) = self.lanes.pop() else { break };
            served += 1;
            self.ages.leaves(entry.seq, now);
            self.tally.redeliver += u64::from(entry.redelivered);
            if consumer.no_ack {
                self.forget(&entry);
            } else {
                self.lease(&entry);
            }
            outbox.push(&consumer, entry);
            more = self.roster.delivered(slot);
            let next_is_due = matches!(self.lanes.front(), Front::Resident(e) if e.expires_at >= now);
            if !(sole && more && next_is_due) {
                break;
            }
        }
        self.ages.end();
        self.active = now;
        *(if consumer.no_ack { &mut self.tally.deliver_no_ack } else { &mut self.tally.deliver }) += served;
        if outbox.close() {
            fx.outboxes.push(consumer.outbox.clone());
        }
        if let (true, false, Some(credit)) = (refused, consumer.no_ack, credit) {
            fx.resume.extend(credit.give_back(1));
        }
        self.outrun = refused && !consumer.is_limited();
        self.roster.rotate(slot, more);
    }

    /// Takes one message for `basic.get`.
    pub fn get(&mut self, no_ack: bool, now: Millis, fx: &mut Effects) -> Got {
        (self.last_used, self.active) = (now, now);
        self.expire(now, fx);
        let got = match self.lanes.front() {
            Front::Empty => {
                self.tally.get_empty += 1;
                Got::Empty
            }
            Front::Paged(..) => {
                self.ask_load(fx);
                Got::Paged
            }
            Front::Resident(_) => match self.lanes.pop() {
                Some(entry) => {
                    self.ages.leaves(entry.seq, now);
                    self.ages.end();
                    self.tally.redeliver += u64::from(entry.redelivered);
                    if no_ack {
                        self.tally.get_no_ack += 1;
                        self.forget(&entry);
                    } else {
                        self.tally.get += 1;
                        self.lease(&entry);
                    }
                    Got::Message(entry, self.lanes.count())
                }
                None => Got::Empty,
            },
        };
        self.report(fx);
        got
    }

    pub(super) fn settle_down(&mut self, now: Millis, fx: &mut Effects) {
        self.pump(now, fx);
        self.drop_head(fx);
        self.report(fx);
    }

    /// Adds a consumer.
    pub fn subscribe(&mut self, consumer: Arc<Consumer>, now: Millis, fx: &mut Effects) -> Subscribed {
        if self.deleted {
            return Subscribed::Gone;
        }
        let exclusive_wanted = consumer.exclusive && (!self.roster.is_empty() || self.options.single_active);
        if self.roster.exclusive() || exclusive_wanted {
            return Subscribed::InUse;
        }
        self.had_consumer = true;
        self.roster.join(consumer);
        self.expire(now, fx);
        self.pump(now, fx);
        self.report(fx);
        Subscribed::Joined
    }

    /// Removes a consumer; its leases stay with its channel.
    pub fn unsubscribe(&mut self, consumer: &Consumer, now: Millis, fx: &mut Effects) {
        if !self.roster.leave(consumer) {
            return;
        }
        self.outrun = false;
        self.last_used = now;
        fx.doomed |= self.unused_auto_delete();
        self.pump(now, fx);
        self.report(fx);
    }

    /// Lets a consumer take part again whose outbox, or whose channel, had been full.
    pub fn resume(&mut self, consumer: &Consumer, now: Millis, fx: &mut Effects) {
        self.roster.resume_consumer(consumer);
        self.pump(now, fx);
        self.report(fx);
    }
}
