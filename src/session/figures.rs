//! What a session tells of itself to whoever reports: once a turn, by plain stores that nobody waits for.
//!
//! What passes is counted where it passes, in [`ChannelStats`](crate::broker::stats::ChannelStats) and
//! [`ConnectionStats`](crate::broker::stats::ConnectionStats); here is what is known only at the end of a turn.

use super::channel::{Channel, Mode};
use super::{Session, Stage};
use crate::broker::stats::ConnectionState;
use crate::clock::Millis;

impl<S> Session<S> {
    /// Tells what is so at the end of a poll.
    pub(super) fn tell_figures(&mut self) {
        let stats = &self.connection.stats;
        stats.pending.set(self.owed as u64);
        stats.set_state(self.state());
        if let Some(context) = &mut self.context {
            for number in context.touched.drain(..) {
                if let Some(channel) = self.channels.get(&number) {
                    channel.tell(context.now);
                }
            }
            self.broker.stats.connection_moves(&self.connection);
        }
    }

    fn state(&self) -> ConnectionState {
        let behind = self.throttled > self.broker.watermark.get() || self.held_back > self.broker.looks();
        if self.blocked {
            ConnectionState::Blocked
        } else if matches!(self.stage, Stage::Open) && (behind || self.pacing.waits()) {
            ConnectionState::Flow
        } else {
            ConnectionState::Running
        }
    }

    /// Adds what was published in this turn to the counts of the exchanges.
    pub(super) fn tell_exchanges(&mut self) {
        if let Some(context) = &mut self.context {
            context.passed.tell(&self.broker.stats);
        }
    }
}

impl Channel {
    /// Tells what the channel holds at `now`.
    fn tell(&self, now: Millis) {
        let stats = &self.stats;
        stats.active.set(now);
        stats.unacked.set(self.unacked.len() as u64);
        stats.consumers.set(self.consumers.len() as u64);
        stats.prefetch.set(self.prefetch.into());
        let (since, queue) = self.unacked.oldest().unwrap_or((0, 0));
        stats.oldest_unacked.set(since);
        stats.oldest_from.set(queue);
        if let Mode::Tx(tx) = &self.mode {
            stats.uncommitted.set(tx.publishes());
            stats.acks_uncommitted.set(tx.settlements());
        }
    }
}
