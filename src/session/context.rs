//! What the handlers of a session share: the broker, who the client is, the output, and the work gathered in this turn.
//!
//! Publishes and acknowledgements of one turn are gathered per queue and done under one lock each; whatever else a
//! client asks for is done after what it asked before ([`Context::flush`]). An answer that must not come before a commit
//! parks the session: nothing further is read from this client until the answer is out, so the order of its answers
//! needs no other care.

use std::sync::Arc;

use amq_protocol::protocol::AMQPClass;
use amq_protocol::types::ShortString;

use super::channel::Channel;
use super::memo::Memo;
use super::notes::Notes;
use super::pacing::Ahead;
use super::runs::Publisher;
use super::turn::Turn;
use super::write::Output;
use crate::auth::User;
use crate::broker::stats::{Passed, QueueType};
use crate::broker::{Admitted, Broker, Caller, Connection, VirtualHost};
use crate::clock::Millis;
use crate::queue::{Cause, Consumer, Effects, Lease, Outbox, Queue};
use crate::store::Epoch;
use crate::wire::encode;

/// What the client said it understands, of what changes the broker's behaviour.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Capabilities {
    pub(super) consumer_cancel_notify: bool,
    pub(super) authentication_failure_close: bool,
    pub(super) connection_blocked: bool,
}

/// What a frame leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It is dealt with.
    Done,
    /// It cannot be dealt with yet: to be looked at again.
    Again,
}

/// An answer that waits.
#[derive(Debug)]
pub(super) enum Park {
    /// These octets are written once the epoch is committed.
    Reply(Epoch, Vec<u8>),
    /// The frame is looked at again after the next bell: a message is being loaded.
    Load,
}

/// A consumer that its client has cancelled, until the answer is out.
#[derive(Debug)]
pub(super) struct Cancelled {
    pub(super) channel: u16,
    pub(super) tag: ShortString,
    pub(super) nowait: bool,
}

/// A session without its socket and channels.
pub(super) struct Context {
    pub(super) broker: Arc<Broker>,
    pub(super) connection: Arc<Connection>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) vhost: Arc<VirtualHost>,
    /// The places of this connection within limits; given up before the client hears that it is closed.
    pub(super) admitted: Option<Admitted>,
    pub(super) user: Arc<User>,
    pub(super) capabilities: Capabilities,
    pub(super) frame_max: u32,
    pub(super) output: Output,
    pub(super) memo: Memo,
    pub(super) publisher: Publisher,
    pub(super) park: Option<Park>,
    pub(super) fx: Effects,
    pub(super) cancelled: Vec<Cancelled>,
    /// Consumers whose queue has gone while an answer waits: RabbitMQ answers a delete before it tells them.
    pub(super) parting: Vec<Arc<Consumer>>,
    /// Exclusive queues declared here.
    pub(super) exclusive: Vec<Arc<Queue>>,
    /// Acknowledged leases, settled at the next flush.
    pub(super) settled: Vec<Lease>,
    /// What was said in the log about what the client uses.
    pub(super) notes: Notes,
    /// The time of this turn.
    pub(super) now: Millis,
    /// The highest epoch any publish waits for without a confirm (for slowing publishers down).
    pub(super) pressing: Epoch,
    /// Something was pushed to a queue in this turn.
    pub(super) pushed: bool,
    /// What was pushed to a queue whose consumers are behind.
    pub(super) ahead: Ahead,
    /// The shortest timeout of consumers that have come in this turn.
    pub(super) shortest_timeout: Millis,
    /// Octets held by the transactions of all channels.
    pub(super) transacted: usize,
    /// What this turn has cost.
    pub(super) turn: Turn,
    /// What was published in this turn, by exchange.
    pub(super) passed: Passed,
    /// Channels that have something new to tell.
    pub(super) touched: Vec<u16>,
}

impl Context {
    /// The number that owns this connection's exclusive queues.
    pub(super) fn id(&self) -> u64 {
        self.connection.id
    }

    /// On whose behalf verbs are called.
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller::client(&self.user, self.id())
    }

    /// Writes a method to the client.
    pub(super) fn send(&mut self, channel: u16, method: AMQPClass) {
        encode::method(self.output.buffer(), channel, method);
    }

    /// Answers a method, unless the client does not want to know, once `epoch` is committed.
    pub(super) fn reply(&mut self, epoch: Epoch, nowait: bool, channel: u16, method: AMQPClass) {
        if nowait {
            return;
        }
        if epoch <= self.broker.watermark.get() {
            return self.send(channel, method);
        }
        let mut octets = Vec::new();
        encode::method(&mut octets, channel, method);
        self.park = Some(Park::Reply(epoch, octets));
    }

    /// Does everything gathered so far: publishes first, then acknowledgements.
    pub(super) fn flush(&mut self) {
        if !self.publisher.is_empty() {
            self.flush_publishes();
        }
        if !self.settled.is_empty() {
            let mut leases = std::mem::take(&mut self.settled);
            self.apply(&mut leases, true, Queue::settle);
            leases.clear();
            self.settled = leases;
        }
    }

    /// Applies `f` to the leases of each queue, one lock a queue, and gives channel credit back.
    pub(super) fn for_each_queue(
        &mut self,
        leases: &mut [Lease],
        f: impl Fn(&Arc<Queue>, &mut [Lease], Millis, &mut Effects),
    ) {
        self.apply(leases, false, f);
    }

    /// Notes that a channel has something new to tell.
    #[inline]
    pub(super) fn touch(&mut self, channel: u16) {
        if self.touched.last() != Some(&channel) {
            self.touched.push(channel);
        }
    }

    fn apply(
        &mut self,
        leases: &mut [Lease],
        acknowledged: bool,
        f: impl Fn(&Arc<Queue>, &mut [Lease], Millis, &mut Effects),
    ) {
        let queue_of = |lease: &Lease| lease.consumer().queue.as_ref().map(|q| q.id());
        if !leases.is_sorted_by_key(queue_of) {
            // Stable: what was delivered first stays first.
            leases.sort_by_key(queue_of);
        }
        for run in leases.chunk_by_mut(|a, b| queue_of(a) == queue_of(b)) {
            let Some(queue) = run.first().and_then(|lease| lease.consumer().queue.clone()) else { continue };
            if acknowledged {
                self.connection.stats.handed(QueueType::of(Some(&queue))).acknowledged.add(run.len() as u64);
            }
            f(&queue, run, self.now, &mut self.fx);
            self.broker.finish(&queue, &mut self.fx);
        }
        self.broker.return_credit(leases, &mut self.fx);
    }

    /// Returns leases to their queues, emptying them.
    pub(super) fn requeue(&mut self, leases: &mut [Lease], cause: Cause) {
        self.for_each_queue(leases, |queue, leases, now, fx| queue.requeue(leases, cause, now, fx));
    }

    /// Notes the time of deliveries on `channel` that are to be acknowledged in time, the first of them under `tag`.
    #[inline]
    pub(super) fn expect_within(&mut self, channel: &mut Channel, timeout: Option<Millis>, tag: u64) {
        if let Some(timeout) = timeout {
            self.shortest_timeout = self.shortest_timeout.min(timeout);
            channel.unacked.stamp(tag, self.now);
        }
    }

    /// Whether a channel holds as many unacknowledged deliveries as it may.
    #[inline]
    pub(super) fn is_crowded(&self, channel: &Channel) -> bool {
        self.broker.config.unacked_max_per_channel.is_some_and(|max| channel.unacked.len() as u64 >= max)
    }

    /// Ends an operation on `queue` that left effects in this context.
    pub(super) fn finish(&mut self, queue: &Arc<Queue>) {
        self.broker.finish(queue, &mut self.fx);
    }
}
