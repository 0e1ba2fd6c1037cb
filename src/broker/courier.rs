//! Dead letters on their way: from the queue they died in, through the dead-letter exchange, to other queues.
//!
//! A queue never publishes; it hands dead messages over as leases. For each, the courier records the death, routes,
//! pushes, and only then settles the source. A durable source is settled after the watermark has reached the epochs of
//! the targets' puts: a crash in between duplicates, never loses. Letters that die again join the end of the list, so a
//! cycle is a loop here, not recursion.
//!
//! Delayed messages whose time has come ([`Reason::Due`]) are carried by the same rules, through the exchange that held
//! them and without a death. As they arrive, their holder is asked for the next. Nobody else asks a holder for what is
//! due, so that messages go on in the order of their times.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Broker, Routing, VirtualHost};
use crate::message::{Message, death, delay};
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
    /// Holders in which something is due.
    due: Mutex<Vec<Arc<Queue>>>,
    bell: Arc<Bell>,
    /// No more letters are to be waited for.
    ending: AtomicBool,
}

impl Default for Courier {
    fn default() -> Self {
        let inbox = Mutex::new(Rank::Leaf, VecDeque::new());
        let due = Mutex::new(Rank::Leaf, Vec::new());
        Self { inbox, due, bell: Arc::new(Bell::new()), ending: AtomicBool::new(false) }
    }
}

impl Courier {
    pub(super) fn send(&self, from: &Arc<Queue>, letters: impl Iterator<Item = DeadLetter>) {
        self.inbox.lock().extend(letters.map(|letter| (from.clone(), letter)));
        self.bell.ring();
    }

    /// Something is due in a holder.
    pub(super) fn fetch(&self, holder: Arc<Queue>) {
        self.due.lock().push(holder);
        self.bell.ring();
    }

    /// Drops letters from these queues, which are deleted.
    pub(super) fn forget(&self, from: impl Fn(&Queue) -> bool) {
        self.inbox.lock().retain(|(queue, _)| !from(queue));
    }

    /// Asks the courier to end once every letter there is has arrived and is settled.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// Sources that wait for their targets' commit, in the order of the epochs.
type Waiting = VecDeque<(Epoch, Arc<Queue>, DeadLetter)>;

/// Carries letters until asked to end.
pub(super) async fn run(broker: Arc<Broker>) {
    let mut waiting = Waiting::new();
    loop {
        let ending = broker.courier.ending.load(Ordering::Acquire);
        let due = std::mem::take(&mut *broker.courier.due.lock());
        look_after(&broker, &due);
        let letters: Vec<Letter> = {
            let mut inbox = broker.courier.inbox.lock();
            let n = inbox.len().min(BUDGET);
            inbox.drain(..n).collect()
        };
        let idle = letters.is_empty();
        for (queue, letter) in letters {
            let epoch = carry(&broker, &queue, &letter);
            waiting.push_back((epoch, queue, letter));
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
    let mut holders: Vec<Arc<Queue>> = Vec::new();
    while waiting.front().is_some_and(|(epoch, ..)| *epoch <= mark) {
        if let Some((_, queue, letter)) = waiting.pop_front() {
            queue.settle_entry(&letter.entry);
            if letter.reason == Reason::Due && !holders.iter().any(|known| Arc::ptr_eq(known, &queue)) {
                holders.push(queue);
            }
        }
    }
    look_after(broker, &holders);
}

/// Takes what is due out of holders. At the end of the broker it stays where it is.
fn look_after(broker: &Broker, holders: &[Arc<Queue>]) {
    for holder in holders.iter().filter(|_| !broker.stopping()) {
        let mut fx = Effects::default();
        holder.tick(broker.clock.now(), &mut fx);
        broker.finish(holder, &mut fx);
    }
}

/// Brings a letter to where it goes. Returns the epoch after which its source may be settled.
fn carry(broker: &Broker, queue: &Arc<Queue>, letter: &DeadLetter) -> Epoch {
    if letter.reason == Reason::Due { release(broker, queue, &letter.entry) } else { bury(broker, queue, letter) }
}

/// Routes a delayed message through the exchange that held it, whose name its holder has.
fn release(broker: &Broker, holder: &Queue, entry: &Entry) -> Epoch {
    let Some(vhost) = broker.vhost(&holder.definition().vhost) else { return 0 };
    let Some(message) = delay::released(&entry.message, entry.redelivered) else {
        let exchange = crate::telemetry::printable(&**holder.name());
        tracing::warn!(%exchange, "a delayed message's headers do not fit a message any more; it was dropped");
        return 0;
    };
    let now = broker.clock.now();
    let targets = vhost.topology().route_again(holder.name(), &message, now);
    push(broker, targets, &message)
}

/// Publishes a letter to the dead-letter exchange.
fn bury(broker: &Broker, queue: &Queue, letter: &DeadLetter) -> Epoch {
    let definition = queue.definition();
    let options = queue.options();
    let (Some(exchange), Some(vhost)) = (&options.dead_letter_exchange, broker.vhost(&definition.vhost)) else {
        return 0;
    };
    let circumstances = death::Circumstances {
        queue: &definition.name,
        reason: letter.reason.as_str(),
        time: broker.clock.now() / 1000,
        redelivered: letter.entry.redelivered || letter.reason == Reason::Rejected,
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
    let keys: Vec<&[u8]> = dead.routing_keys.iter().map(|key| &**key).collect();
    let now = broker.clock.now();
    let routing = Routing { message: &dead.message, keys: &keys, properties: &properties, now };
    let Ok(mut route) = vhost.topology().route(exchange, &routing, false) else { return 0 };
    // A holder is not one of the queues it died in, whatever its name.
    route.queues.retain(|target| target.is_holder() || !dead.cycles_to(target.name()));
    push(broker, route.queues, &dead.message)
}

fn push(broker: &Broker, targets: Vec<Arc<Queue>>, message: &Message) -> Epoch {
    let now = broker.clock.now();
    let (mut fx, mut refused) = (Effects::default(), Vec::new());
    let mut epoch = 0;
    for target in targets {
        let message = std::iter::once(message.clone());
        if let Push::Taken(taken) = target.push(message, false, now, &mut refused, &mut fx) {
            epoch = epoch.max(taken);
        }
        broker.finish(&target, &mut fx);
    }
    epoch
}
