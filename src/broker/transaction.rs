//! A transaction (class tx): publishes to any number of queues and settlements of any number of deliveries, done
//! together or not at all.
//!
//! A commit first reserves room in every queue that could refuse; if one has none, nothing has happened. Then everything
//! is applied under one hold of the open epoch, so that the group commit writes it in one storage transaction: after a
//! crash all of it is there or nothing. Queues are locked one after another, so others may see the work half done, as
//! they may see a row of publishes half done. What the queues leave as effects is done after the hold, since it may need
//! the topology.
//!
//! A rejected delivery on its way to a dead-letter exchange keeps the courier's promise, not this one: its letter is never
//! lost, but a crash may find the message in its source although the transaction is there.
//!
//! Deliberately absent: routing (done when a message is published), delivery tags, reply texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stats::QueueType;
use super::{Broker, Route};
use crate::clock::Millis;
use crate::message::Message;
use crate::queue::{Effects, Lease, Queue, Room, Verdict};
use crate::store::{Epoch, QueueId};

/// A queue would refuse one of the transaction's publishes: nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishRefused;

/// What has been asked for and not yet committed.
#[derive(Debug, Default)]
pub struct Transaction {
    publishes: Vec<(Arc<Route>, Message)>,
    settlements: Vec<(Verdict, Vec<Lease>)>,
}

/// The messages for one queue.
struct Run {
    queue: Arc<Queue>,
    messages: Vec<Message>,
    room: Room,
}

impl Transaction {
    /// Adds a publish that was routed already.
    pub fn publish(&mut self, route: Arc<Route>, message: Message) {
        self.publishes.push((route, message));
    }

    /// Adds a settlement of deliveries.
    pub fn settle(&mut self, verdict: Verdict, leases: Vec<Lease>) {
        self.settlements.push((verdict, leases));
    }

    /// Deliveries it holds.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.settlements.iter().flat_map(|(_, leases)| leases)
    }

    /// Publishes it holds.
    pub fn publishes(&self) -> usize {
        self.publishes.len()
    }

    /// Deliveries it acknowledges, by type of queue.
    pub fn acknowledged(&self) -> [u64; QueueType::ALL.len()] {
        let mut counts = [0; QueueType::ALL.len()];
        for (_, leases) in self.settlements.iter().filter(|(verdict, _)| *verdict == Verdict::Settle) {
            for lease in leases {
                counts[QueueType::of(lease.consumer().queue.as_deref()) as usize] += 1;
            }
        }
        counts
    }

    /// Gives up: the publishes are forgotten, the leases handed back in the order they came.
    pub fn abandon(self) -> Vec<Lease> {
        self.settlements.into_iter().flat_map(|(_, leases)| leases).collect()
    }

    /// Does everything: publishes first, then settlements in order, as RabbitMQ. Returns the epoch that makes it durable
    /// (0: nothing to wait for). If a queue refuses, the transaction stays as it was.
    pub fn commit(&mut self, broker: &Broker, now: Millis) -> Result<Epoch, PublishRefused> {
        let runs = reserve(self.runs())?;
        self.publishes.clear();
        let mut settlements = std::mem::take(&mut self.settlements);
        let mut left: Vec<(Arc<Queue>, Effects)> = Vec::with_capacity(runs.len() + settlements.len());
        let mut epoch = 0;
        {
            let _hold = broker.intake.hold();
            for Run { queue, messages, room } in runs {
                let mut fx = Effects::default();
                epoch = epoch.max(queue.push_reserved(room, messages.into_iter(), now, &mut fx));
                left.push((queue, fx));
            }
            for (verdict, leases) in &mut settlements {
                // Stable: what was delivered first stays first.
                leases.sort_by_key(queue_of);
                for leases in leases.chunk_by_mut(|a, b| queue_of(a) == queue_of(b)) {
                    let Some(queue) = leases.first().and_then(|lease| lease.consumer().queue.clone()) else { continue };
                    let mut fx = Effects::default();
                    epoch = epoch.max(queue.conclude(*verdict, leases, now, &mut fx));
                    left.push((queue, fx));
                }
            }
        }
        for (queue, mut fx) in left {
            broker.finish(&queue, &mut fx);
        }
        let mut fx = Effects::default();
        for (_, leases) in &settlements {
            broker.return_credit(leases, &mut fx);
        }
        Ok(epoch)
    }

    /// The publishes by queue, in the order of queues, so that two transactions do not reserve crosswise.
    fn runs(&self) -> BTreeMap<QueueId, Run> {
        let mut runs = BTreeMap::new();
        for (route, message) in &self.publishes {
            for queue in &route.queues {
                let empty = || Run { queue: queue.clone(), messages: Vec::new(), room: Room::default() };
                runs.entry(queue.id()).or_insert_with(empty).messages.push(message.clone());
            }
        }
        runs
    }
}

fn queue_of(lease: &Lease) -> Option<QueueId> {
    lease.consumer().queue.as_ref().map(|queue| queue.id())
}

/// Reserves room in every queue, or in none.
fn reserve(wanted: BTreeMap<QueueId, Run>) -> Result<Vec<Run>, PublishRefused> {
    let mut reserved: Vec<Run> = Vec::with_capacity(wanted.len());
    for mut run in wanted.into_values() {
        let Some(room) = run.queue.reserve(&run.messages) else {
            for run in reserved {
                run.queue.unreserve(run.room);
            }
            return Err(PublishRefused);
        };
        run.room = room;
        reserved.push(run);
    }
    Ok(reserved)
}
