//! The end of a lease: settled, refused for good, or returned; and the return of what was never sent.
//!
//! A classic queue takes a message back to its old position. A quorum queue puts it behind those that came back before,
//! counts the return, and lets go of a message whose deliveries have failed too often.

use std::sync::Arc;

use super::{Effects, Entry, Lease, Millis, Reason, State};
use crate::queue::Cause;
use crate::store::Count;

impl State {
    /// Settles leases of this queue, emptying them: acknowledged.
    pub fn settle(&mut self, leases: &mut [Lease], now: Millis, fx: &mut Effects) {
        self.tally.ack += leases.len() as u64;
        self.active = now;
        for entry in leases.iter_mut().filter_map(Lease::take) {
            if !self.deleted {
                self.unlease(&entry);
                self.forget(&entry);
            }
        }
        self.credit(leases);
        self.pump(now, fx);
        self.report(fx);
    }

    /// Gives the consumers of these leases their prefetch back.
    fn credit(&mut self, leases: &[Lease]) {
        for run in leases.chunk_by(|a, b| Arc::ptr_eq(a.consumer(), b.consumer())) {
            if let Some(lease) = run.first() {
                self.roster.settled(lease.consumer(), run.len());
            }
        }
    }

    /// Settles a message whose dead letter has arrived.
    pub fn settle_entry(&mut self, entry: &Entry) {
        if self.deleted {
            return;
        }
        self.leave_courier(entry);
        self.forget(entry);
    }

    /// Takes back a message whose dead letter could not arrive before the broker stops.
    pub fn take_back_letter(&mut self, entry: Entry) {
        if self.deleted {
            return;
        }
        self.leave_courier(&entry);
        if self.options.is_quorum() {
            self.lanes.put_unsent(entry);
        } else {
            self.lanes.put_back(entry);
        }
    }

    fn leave_courier(&mut self, entry: &Entry) {
        self.unlease(entry);
        self.dying.0 = self.dying.0.saturating_sub(1);
        self.dying.1 = self.dying.1.saturating_sub(u64::from(entry.body_len));
    }

    /// Refuses leases of this queue for good, emptying them: to the dead letters, or nowhere.
    pub fn reject(&mut self, leases: &mut [Lease], now: Millis, fx: &mut Effects) {
        for entry in leases.iter_mut().filter_map(Lease::take) {
            if !self.deleted {
                self.unlease(&entry);
                self.discard(entry, Reason::Rejected, fx);
            }
        }
        self.credit(leases);
        self.pump(now, fx);
        self.report(fx);
    }

    /// Returns leases of this queue, emptying them. What had no time left expires, also if a consumer waits.
    pub fn requeue(&mut self, leases: &mut [Lease], cause: Cause, now: Millis, fx: &mut Effects) {
        for entry in leases.iter_mut().filter_map(Lease::take) {
            if !self.deleted
                && let Some(failed) = self.put_back(entry, cause)
            {
                self.discard(failed, Reason::DeliveryLimit, fx);
            }
        }
        self.expire(now, fx);
        self.credit(leases);
        self.settle_down(now, fx);
    }

    /// Returns messages that were pumped for a session but never written to its client.
    pub fn unsend(&mut self, entries: Vec<Entry>, now: Millis, fx: &mut Effects) {
        if !self.deleted {
            for entry in entries {
                self.unlease(&entry);
                if self.options.is_quorum() {
                    self.lanes.put_unsent(entry);
                } else {
                    self.lanes.put_back(entry);
                }
            }
        }
        self.settle_down(now, fx);
    }

    /// Returns abandoned messages, as if their consumers had died; whatever is done next pumps them.
    pub fn take_back(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if !self.deleted
                && let Some(failed) = self.put_back(entry, Cause::Ended)
            {
                self.lease(&failed);
                self.overdue.push(failed);
            }
        }
    }

    /// Lets go of what came back once too often while there was nobody to tell.
    pub(super) fn bury_overdue(&mut self, fx: &mut Effects) {
        for entry in std::mem::take(&mut self.overdue) {
            self.unlease(&entry);
            self.discard(entry, Reason::DeliveryLimit, fx);
        }
    }

    /// Makes a lease's message ready again; one that a quorum queue has had enough of is handed back.
    fn put_back(&mut self, mut entry: Entry, cause: Cause) -> Option<Entry> {
        self.unlease(&entry);
        entry.redelivered = true;
        if !self.options.is_quorum() {
            self.lanes.put_back(entry);
            return None;
        }
        entry.acquired = entry.acquired.saturating_add(1);
        if cause.is_failure(self.options.profile.failed_delivery) {
            entry.failures = entry.failures.saturating_add(1);
        }
        if self.options.most_failures().is_some_and(|most| entry.failures > most) {
            return Some(entry);
        }
        if entry.durable {
            let Entry { seq, lane, failures, acquired, .. } = entry;
            self.journal.count(Count { seq, lane, failures, acquired });
        }
        self.lanes.put_returned(entry);
        None
    }
}
