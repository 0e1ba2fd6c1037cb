//! What time brings: messages at the front expire, an idle queue ends. One deadline is told to the janitor, the earliest,
//! and only when it is earlier than the one it knows.

use super::{EXPIRE_BUDGET, Effects, Millis, NEVER, Reason, State};

impl State {
    /// Whether the queue is to be deleted because its last consumer is gone.
    pub fn unused_auto_delete(&self) -> bool {
        self.auto_delete && self.had_consumer && self.roster.is_empty() && !self.deleted
    }

    /// Whether nobody has used the queue for as long as it was declared to wait (`x-expires`).
    pub fn idle_expired(&self, now: Millis) -> bool {
        !self.deleted && self.idle_deadline() <= now
    }

    fn idle_deadline(&self) -> Millis {
        match self.options.expires {
            Some(expires) if self.roster.is_empty() => self.last_used.saturating_add(expires),
            _ => NEVER,
        }
    }

    /// The queue was declared again: it is in use.
    pub fn touch(&mut self, now: Millis, fx: &mut Effects) {
        self.last_used = now;
        self.report(fx);
    }

    /// What the janitor does when a deadline has come.
    pub fn tick(&mut self, now: Millis, fx: &mut Effects) {
        self.reported = NEVER;
        self.release(now, fx);
        self.expire(now, fx);
        fx.doomed |= self.idle_expired(now);
        self.pump(now, fx);
        self.drop_head(fx);
        self.report(fx);
    }

    pub(super) fn expire(&mut self, now: Millis, fx: &mut Effects) {
        for _ in 0..EXPIRE_BUDGET {
            match self.lanes.pop_expired(now) {
                Some(entry) => self.discard(entry, Reason::Expired, fx),
                None => break,
            }
        }
        if let Some((lane, middle)) = self.lanes.paged_due(now) {
            self.load(lane, middle, fx);
        }
    }

    /// Tells the janitor if it has to look earlier than it knows.
    pub(super) fn report(&mut self, fx: &mut Effects) {
        let deadline = self.lanes.deadline(self.loading).min(self.idle_deadline()).min(self.release_deadline());
        if deadline < self.reported && !self.deleted {
            self.reported = deadline;
            // Whoever asked to be looked at sooner still is.
            fx.deadline = fx.deadline.min(deadline);
        }
    }
}
