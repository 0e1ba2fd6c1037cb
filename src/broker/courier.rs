//! Dead letters on their way: from the queue they died in, through the dead-letter exchange, to other queues.
//!
//! A queue never publishes; it hands dead messages over as leases. For each, the courier records the death, routes,
//! pushes, and only then settles the source. A durable source is settled after the watermark has reached the epochs of
//! the targets' puts: a crash in between duplicates, never loses. Letters that die again join the end of the list, so a
//! cycle is a loop here, not recursion.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Broker, VirtualHost};
use crate::message::{Message, death};
use crate::queue::{DeadLetter, Effects, Entry, Push, Queue, Reason};
use crate::store::Epoch;
use crate::sync::{Bell, Mutex, Rank};

/// Letters carried before other tasks get their turn.
const BUDGET: usize = 256;

type Letter = (Arc<Queue>, DeadLetter);

/// The list of letters.
#[derive(Debug)]
pub(super) struct Courier {
    inbox: Mutex<VecDeque<Letter>>,
    bell: Arc<Bell>,
    /// No more letters are to be waited for.
    ending: AtomicBool,
}

impl Default for Courier {
    fn default() -> Self {
        let inbox = Mutex::new(Rank::Leaf, VecDeque::new());
        Self { inbox, bell: Arc::new(Bell::new()), ending: AtomicBool::new(false) }
    }
}

impl Courier {
    pub(super) fn send(&self, from: &Arc<Queue>, letters: impl Iterator<Item = DeadLetter>) {
        self.inbox.lock().extend(letters.map(|letter| (from.clone(), letter)));
        self.bell.ring();
    }

    /// Asks the courier to end once every letter there is has arrived and is settled.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// Sources that wait for their targets' commit, in the order of the epochs.
type Waiting = VecDeque<(Epoch, Arc<Queue>, Entry)>;

/// Carries letters until asked to end.
pub(super) async fn run(broker: Arc<Broker>) {
    let mut waiting = Waiting::new();
    loop {
        let ending = broker.courier.ending.load(Ordering::Acquire);
        let letters: Vec<Letter> = {
            let mut inbox = broker.courier.inbox.lock();
            let n = inbox.len().min(BUDGET);
            inbox.drain(..n).collect()
        };
        let idle = letters.is_empty();
        for (queue, letter) in letters {
            let epoch = carry(&broker, &queue, &letter);
            waiting.push_back((epoch, queue, letter.entry));
        }
        settle_committed(&broker, &mut waiting);
        if !idle {
            tokio::task::yield_now().await;
            continue;
        }
        if ending && waiting.is_empty() {
            return;
        }
        if let Some((epoch, ..)) = waiting.front()
            && broker.watermark.await_epoch(*epoch, &broker.courier.bell)
        {
            continue;
        }
        broker.courier.bell.rung().await;
    }
}

fn settle_committed(broker: &Broker, waiting: &mut Waiting) {
    let mark = broker.watermark.get();
    while waiting.front().is_some_and(|(epoch, ..)| *epoch <= mark) {
        if let Some((_, queue, entry)) = waiting.pop_front() {
            queue.settle_entry(&entry);
        }
    }
}

/// Publishes a letter to the dead-letter exchange. Returns the epoch after which its source may be settled.
fn carry(broker: &Broker, queue: &Arc<Queue>, letter: &DeadLetter) -> Epoch {
    let definition = queue.definition();
    let options = &definition.options;
    let (Some(exchange), Some(vhost)) = (&options.dead_letter_exchange, broker.vhost(&definition.vhost)) else {
        return 0;
    };
    let circumstances = death::Circumstances {
        queue: &definition.name,
        reason: letter.reason.as_str(),
        time: broker.clock.now() / 1000,
        redelivered: options.profile.redelivered_survives_death
            && (letter.entry.redelivered || letter.reason == Reason::Rejected),
        discards_foreign: options.profile.discards_foreign_deaths,
        removes_cc: options.profile.removes_cc_at_death,
        to_exchange: exchange,
        to_routing_key: options.dead_letter_routing_key.as_deref(),
    };
    let Some(dead) = death::record(&letter.entry.message, &circumstances) else {
        let queue = crate::telemetry::printable(&*definition.name);
        tracing::warn!(%queue, "a dead letter's headers do not fit a message any more; it was dropped");
        return 0;
    };
    publish(broker, &vhost, &dead)
}

fn publish(broker: &Broker, vhost: &VirtualHost, dead: &death::Dead) -> Epoch {
    let exchange = std::str::from_utf8(dead.message.exchange()).unwrap_or_default();
    let properties = crate::wire::properties::Properties::parse(dead.message.properties()).unwrap_or_default();
    let headers = properties.headers.map(crate::wire::table::RawTable::new);
    let keys: Vec<&[u8]> = dead.routing_keys.iter().map(|key| &**key).collect();
    let Ok(route) = vhost.topology().route(exchange, &keys, headers, false) else { return 0 };
    let now = broker.clock.now();
    let (mut fx, mut refused) = (Effects::default(), Vec::new());
    let mut epoch = 0;
    for target in route.queues {
        if dead.cycles_to(target.name()) {
            continue;
        }
        let message: Message = dead.message.clone();
        if let Push::Taken(taken) = target.push(std::iter::once(message), false, now, &mut refused, &mut fx) {
            epoch = epoch.max(taken);
        }
        broker.finish(&target, &mut fx);
    }
    epoch
}
