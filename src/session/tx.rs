//! Class tx: a channel that gathers publishes and settlements until its client commits or rolls back.
//!
//! A publish is checked and routed when it comes, with the bindings of that moment; it is pushed, or returned as
//! unroutable, at the commit. A settled delivery leaves the channel's unacknowledged ones at once, so that its tag is
//! unknown from then on, and is settled at the commit; rolling back puts it into its place again, without delivering it
//! anew. The end of the channel rolls back. Deliveries go on as on any channel.
//!
//! RabbitMQ refuses methods that come during a commit (504); here they wait for it. Where RabbitMQ keeps what was
//! accepted of a commit that it refuses, here nothing of it happens, the returns included.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, tx};

use super::channel::{Channel, Mode};
use super::context::Context;
use super::publish;
use crate::broker::stats::{self, Event, QueueType};
use crate::broker::{PublishRefused, Route, Transaction};
use crate::message::Message;
use crate::queue::{Lease, Verdict};
use crate::wire::refusal::{Refusal, ReplyCode};

/// What a publish costs of the limit beside its record, in octets.
const OVERHEAD: usize = 128;

/// The state of a transactional channel.
#[derive(Debug, Default)]
pub(super) struct Tx {
    transaction: Transaction,
    /// Tags of the transaction's leases, in the same order.
    tags: Vec<u64>,
    /// Messages to be returned as unroutable.
    unroutable: Vec<Message>,
    /// Messages for direct reply-to consumers.
    replies: Vec<Message>,
    /// Octets counted for what is above.
    bytes: usize,
}

impl Tx {
    /// Deliveries settled and not yet committed.
    pub(super) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.transaction.leases()
    }

    /// Publishes that wait for the commit.
    pub(super) fn publishes(&self) -> u64 {
        self.transaction.publishes() as u64
    }

    /// Settlements that wait for the commit.
    pub(super) fn settlements(&self) -> u64 {
        self.tags.len() as u64
    }

    /// Ends the transaction without a commit; what it held of deliveries is the caller's.
    pub(super) fn give_up(self, context: &mut Context) -> Vec<Lease> {
        context.transacted -= self.bytes;
        self.transaction.abandon()
    }

    /// Takes a publish that passed its checks. Refused if the connection's transactions grow beyond their limit.
    pub(super) fn publish(
        &mut self,
        context: &mut Context,
        route: &Arc<Route>,
        message: Message,
        unroutable: bool,
    ) -> Result<(), Refusal> {
        let to_reply = publish::to_reply(&message);
        if route.queues.is_empty() && !unroutable && !to_reply {
            return Ok(());
        }
        let (held, limit) = (context.transacted, context.broker.config.transaction_bytes);
        let bytes = message.record().len() + OVERHEAD;
        // One message always fits, as it does without a transaction.
        if held > 0 && held + bytes > limit {
            let text = format!("transactions of this connection exceed limits.transaction_bytes ({limit})");
            return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
        }
        context.transacted += bytes;
        self.bytes += bytes;
        // A message may be returned and kept: by an exchange that delays it, say.
        if unroutable {
            self.unroutable.push(message.clone());
        }
        if to_reply {
            self.replies.push(message.clone());
        }
        if !route.queues.is_empty() {
            self.transaction.publish(route.clone(), message);
        }
        Ok(())
    }
}

/// Settles deliveries of a transactional channel; `None` if it is not one. `Some(false)` if the tag names nothing
/// outstanding.
pub(super) fn settle(channel: &mut Channel, tag: u64, multiple: bool, verdict: Verdict) -> Option<bool> {
    let Mode::Tx(tx) = &mut channel.mode else { return None };
    let mut leases = Vec::new();
    let before = tx.tags.len();
    channel.unacked.tags(tag, multiple, &mut tx.tags);
    let known = channel.unacked.take(tag, multiple, &mut leases);
    if !known {
        tx.tags.truncate(before);
    }
    debug_assert_eq!(tx.tags.len() - before, leases.len(), "a tag for each lease");
    if verdict == Verdict::Settle {
        channel.stats.traffic.add(Event::Ack, leases.len() as u64);
    }
    if !leases.is_empty() {
        tx.transaction.settle(verdict, leases);
    }
    Some(known)
}

/// Deals with a method of the class.
pub(super) fn handle(context: &mut Context, channel: &mut Channel, method: &tx::AMQPMethod) -> Result<(), Refusal> {
    let (epoch, ok) = match method {
        tx::AMQPMethod::Select(_) => {
            select(channel)?;
            (0, tx::AMQPMethod::SelectOk(tx::SelectOk {}))
        }
        tx::AMQPMethod::Commit(_) => (commit(context, channel)?, tx::AMQPMethod::CommitOk(tx::CommitOk {})),
        tx::AMQPMethod::Rollback(_) => {
            rollback(context, channel)?;
            (0, tx::AMQPMethod::RollbackOk(tx::RollbackOk {}))
        }
        _ => return Err(Refusal::new(ReplyCode::CommandInvalid, "unimplemented method")),
    };
    context.reply(epoch, false, channel.number, AMQPClass::Tx(ok));
    Ok(())
}

fn select(channel: &mut Channel) -> Result<(), Refusal> {
    match channel.mode {
        Mode::Plain => {
            channel.mode = Mode::Tx(Box::default());
            channel.stats.set_mode(stats::Mode::Transactional);
        }
        Mode::Tx(_) => {}
        Mode::Confirm(_) => {
            return Err(Refusal::new(ReplyCode::PreconditionFailed, "cannot switch from confirm to tx mode"));
        }
    }
    Ok(())
}

fn not_transactional() -> Refusal {
    Refusal::new(ReplyCode::PreconditionFailed, "channel is not transactional")
}

fn commit(context: &mut Context, channel: &mut Channel) -> Result<u64, Refusal> {
    let Mode::Tx(tx) = &mut channel.mode else { return Err(not_transactional()) };
    let acknowledged = tx.transaction.acknowledged();
    let committed = tx.transaction.commit(&context.broker, context.now);
    let epoch =
        committed.map_err(|PublishRefused| Refusal::new(ReplyCode::PreconditionFailed, "partial tx completion"))?;
    for (kind, n) in QueueType::ALL.into_iter().zip(acknowledged) {
        context.connection.stats.handed(kind).acknowledged.add(n);
    }
    let done = std::mem::take(&mut **tx);
    context.transacted -= done.bytes;
    for message in &done.unroutable {
        let octets = publish::returned(channel.number, message, context.frame_max);
        context.output.buffer().extend_from_slice(&octets);
    }
    for message in done.replies {
        publish::reply(context, &message);
    }
    Ok(epoch)
}

fn rollback(context: &mut Context, channel: &mut Channel) -> Result<(), Refusal> {
    let Mode::Tx(tx) = &mut channel.mode else { return Err(not_transactional()) };
    let mut undone = std::mem::take(&mut **tx);
    let tags = std::mem::take(&mut undone.tags);
    let leases = undone.give_up(context);
    channel.unacked.restore(tags.into_iter().zip(leases).collect(), channel.last_tag);
    Ok(())
}
