//! A channel: its consumers, its unacknowledged deliveries, its publish under assembly.

use std::collections::HashMap;
use std::sync::Arc;

use super::assembly::Assembly;
use super::context::Context;
use super::gate::Gate;
use super::tx::Tx;
use super::unacked::Unacked;
use crate::broker::ChannelPlace;
use crate::broker::stats::ChannelStats;
use crate::queue::{Cause, ChannelCredit, Consumer, Lease};

/// What state a channel number is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In use.
    Open,
    /// The broker has closed it and discards everything until the client agrees.
    Closing,
}

/// How publishes are answered.
#[derive(Debug, Default)]
pub(super) enum Mode {
    /// Not at all.
    #[default]
    Plain,
    /// Each by a confirm.
    Confirm(Gate),
    /// All of them together, with the settlements, by a commit.
    Tx(Box<Tx>),
}

impl Mode {
    /// The gate of a channel in confirm mode.
    pub(super) fn gate(&self) -> Option<&Gate> {
        if let Self::Confirm(gate) = self { Some(gate) } else { None }
    }

    /// The gate of a channel in confirm mode.
    pub(super) fn gate_mut(&mut self) -> Option<&mut Gate> {
        if let Self::Confirm(gate) = self { Some(gate) } else { None }
    }
}

/// One channel of a session.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) number: u16,
    pub(super) phase: Phase,
    /// Its places within limits, while it is open.
    place: Option<ChannelPlace>,
    /// What is counted of it.
    pub(super) stats: Arc<ChannelStats>,
    pub(super) assembly: Option<Assembly>,
    /// Memory for the address of the next publish.
    pub(super) address: Vec<u8>,
    pub(super) mode: Mode,
    pub(super) unacked: Unacked,
    pub(super) last_tag: u64,
    pub(super) consumers: HashMap<Box<[u8]>, Arc<Consumer>>,
    /// Prefetch of consumers to come.
    pub(super) prefetch: u16,
    /// The prefetch of the whole channel.
    pub(super) credit: Option<Arc<ChannelCredit>>,
    /// The queue declared last, meant by an empty name.
    pub(super) last_queue: Option<Arc<str>>,
    /// The direct reply-to consumer: its secret name and itself.
    pub(super) reply: Option<(Box<str>, Arc<Consumer>)>,
}

impl Channel {
    pub(super) fn new(number: u16, place: ChannelPlace, stats: Arc<ChannelStats>) -> Self {
        Self {
            number,
            phase: Phase::Open,
            place: Some(place),
            stats,
            assembly: None,
            address: Vec::new(),
            mode: Mode::default(),
            unacked: Unacked::default(),
            last_tag: 0,
            consumers: HashMap::new(),
            prefetch: 0,
            credit: None,
            last_queue: None,
            reply: None,
        }
    }

    /// The tag of the next delivery.
    #[inline]
    pub(super) fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// Deliveries to consumers that are not settled, or not yet for good: what a limit of the channel counts.
    pub(super) fn outstanding(&self) -> usize {
        let counts = |lease: &&Lease| lease.consumer().credit.is_some();
        let settled = if let Mode::Tx(tx) = &self.mode { tx.leases().filter(counts).count() } else { 0 };
        self.unacked.leases().filter(counts).count() + settled
    }

    /// Whether this very consumer still exists here (not only its tag).
    #[inline]
    pub(super) fn has(&self, consumer: &Consumer) -> bool {
        let is = |known: Option<&Arc<Consumer>>| known.is_some_and(|known| known.id == consumer.id);
        is(self.consumers.get(&consumer.tag)) || is(self.reply.as_ref().map(|(_, reply)| reply))
    }

    /// Ends everything the channel has: consumers first, then its deliveries return to their queues.
    pub(super) fn release(&mut self, context: &mut Context) {
        if self.place.take().is_some() {
            context.connection.stats.remove_channel(&self.stats);
            context.broker.stats.churn.channels_closed.add_shared(1);
        }
        self.assembly = None;
        if let Some((name, _)) = self.reply.take() {
            context.broker.replies.forget(&name);
        }
        for consumer in std::mem::take(&mut self.consumers).into_values() {
            if let Some(queue) = &consumer.queue {
                queue.unsubscribe(&consumer, context.now, &mut context.fx);
                context.finish(queue);
            }
        }
        let mut leases = match std::mem::take(&mut self.mode) {
            Mode::Tx(tx) => tx.give_up(context),
            Mode::Plain | Mode::Confirm(_) => Vec::new(),
        };
        self.unacked.take_all(&mut leases);
        context.requeue(&mut leases, Cause::Ended);
    }
}
