//! The queue as a holder: where an exchange of type `x-delayed-message` keeps messages until their time has come.
//!
//! A holder is a queue that nobody knows by name. Whatever is pushed to it waits for the milliseconds its header
//! `x-delay` says, is then leased to the courier as [`Reason::Due`], and settled when it has arrived: the same rule as
//! for dead letters, so a crash in between neither repeats a message nor loses it. After a crash those that were due before the
//! start are marked as redelivered; what was not due cannot have gone on. In a durable holder everything is kept on
//! disk, transient messages too, since the plugin does so; the due time is the store's expiry.
//!
//! Deliberately absent: consumers, limits, time to live (a message's own begins when it goes on).

use super::{Redelivered, State};
use crate::clock::{Millis, NEVER};
use crate::message::{Message, delay};
use crate::queue::delay::{Delay, Next};
use crate::queue::{DeadLetter, Effects, Entry, Load, Reason};
use crate::store::{Page, Put, Stretch};

/// Messages on their way from one holder at a time, by number; the next ones follow as these arrive.
const IN_FLIGHT: u64 = 1_024;

impl State {
    /// A holder without messages.
    pub fn new_holder(durable: bool, now: Millis) -> Self {
        Self { delay: Some(Box::new(Delay::new(now))), ..Self::new(std::sync::Arc::default(), durable, false, now) }
    }

    /// Takes up what the store kept in a holder, beside [`State::recover`].
    pub fn recover_delayed(&mut self, kept: &[Stretch]) {
        if let Some(waiting) = &mut self.delay {
            for stretch in kept {
                waiting.recover(stretch);
            }
        }
    }

    /// Messages that wait in a holder for their time.
    pub fn delayed(&self) -> u64 {
        self.delay.as_ref().map_or(0, |delay| delay.len())
    }

    /// When the next of them is due; [`NEVER`] if nothing waits.
    pub fn next_due(&self) -> Millis {
        self.delay.as_ref().and_then(|waiting| waiting.deadline()).unwrap_or(NEVER)
    }

    pub(super) fn hold(&mut self, messages: impl Iterator<Item = Message>, now: Millis, fx: &mut Effects) {
        let Some(waiting) = &mut self.delay else { return };
        for message in messages {
            let due = now.saturating_add(delay::of_message(&message)).min(NEVER - 1);
            let seq = self.next_seq;
            self.next_seq += 1;
            if self.durable {
                self.journal.put(Put { seq, lane: 0, expires_at: due, message: message.clone() });
            }
            waiting.insert(due, seq, message);
        }
        self.report(fx);
    }

    /// Sends on what is due, as much as may be on its way.
    pub(super) fn release(&mut self, now: Millis, fx: &mut Effects) {
        let Some(waiting) = &mut self.delay else { return };
        while self.leased < IN_FLIGHT && !self.loading {
            match waiting.next(now) {
                Next::Message(due, seq, message) => {
                    self.leased += 1;
                    self.leased_bytes += u64::from(message.body_len());
                    let redelivered = self.durable
                        && match &self.redelivered {
                            Redelivered::Below(until) => seq < *until && waiting.was_due(due),
                            Redelivered::These(seqs) => seqs.contains(&seq),
                        };
                    let entry = Entry {
                        seq,
                        expires_at: due,
                        body_len: message.body_len(),
                        lane: 0,
                        durable: self.durable,
                        redelivered,
                        failures: 0,
                        acquired: 0,
                        message,
                    };
                    fx.dead.push(DeadLetter { recovered: redelivered, entry, reason: Reason::Due });
                }
                Next::Fetch(from, until) => {
                    self.loading = true;
                    fx.load = Some(Load { lane: 0, from, until, spilled: false });
                }
                Next::Nothing => return,
            }
        }
    }

    /// When the janitor is to come: not while a read, or the arrival of others, will bring the holder back anyway.
    pub(super) fn release_deadline(&self) -> Millis {
        match &self.delay {
            Some(waiting) if !self.loading && self.leased < IN_FLIGHT => waiting.deadline().unwrap_or(NEVER),
            _ => NEVER,
        }
    }

    /// Takes in what was read back, which is then due at once. Returns how many messages turned out to be damaged or
    /// missing.
    pub(super) fn fetched(&mut self, asked: Load, page: Page, now: Millis, fx: &mut Effects) -> u64 {
        let Some(waiting) = &mut self.delay else { return 0 };
        let missing = waiting.fetched(asked.from, asked.until, page, now);
        self.report(fx);
        missing
    }
}
