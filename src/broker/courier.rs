//! Dead letters on their way: from the queue they died in, through the dead-letter exchange, to other queues.
//!
//! A queue never publishes; it hands dead messages over as leases. For each, the courier records the death, routes,
//! pushes, and only then settles the source. A durable source is settled after the watermark has reached the epochs of
//! the targets' puts: a crash in between duplicates, never loses. Letters that die again join the end of the list, so a
//! cycle is a loop here, not recursion.
//!
//! Where a queue's strategy is at-least-once, a letter that finds no queue, or is refused by one, is parked: it is tried
//! again when the topology has changed, and after a while in any case, with those of its targets that have not taken it.
//! An orderly stop returns it to its queue.
//!
//! Delayed messages whose time has come ([`Reason::Due`]) are carried by the same rules, through the exchange that held
//! them and without a death. As they arrive, their holder is asked for the next. Nobody else asks a holder for what is
//! due, so that messages go on in the order of their times.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Broker, Routing, VirtualHost};
use crate::clock::Millis;
use crate::message::{Message, death, delay};
use crate::queue::{DeadLetter, Effects, Entry, Push, Queue, Reason, State};
use crate::store::{Epoch, QueueId};
use crate::sync::{Bell, Mutex, Rank};

/// Letters carried before other tasks get their turn.
const BUDGET: usize = 256;

/// How long a parked letter waits, if nothing changes, before it is tried again; RabbitMQ's interval.
const RETRY: Millis = 180_000;

/// How often the topology is looked at while letters are parked.
const LOOK_MILLIS: Millis = 1_000;

type Letter = (Arc<Queue>, DeadLetter);

/// A letter that has not reached all of its targets.
#[derive(Debug)]
struct Parked {
    queue: Arc<Queue>,
    letter: DeadLetter,
    trip: Trip,
    /// Version of the topology under which it was tried.
    version: u64,
    retry_at: Millis,
}

/// How far a letter has come.
#[derive(Debug, Default)]
struct Trip {
    /// Targets that have taken it.
    arrived: Vec<QueueId>,
    /// The epoch that makes that durable.
    epoch: Epoch,
    /// Nothing is left to be tried.
    complete: bool,
}

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

    /// Drops letters from these queues, which are deleted.
    pub(super) fn forget(&self, from: impl Fn(&Queue) -> bool) {
        self.inbox.lock().retain(|(queue, _)| !from(queue));
    }

    /// Something is due in a holder.
    pub(super) fn fetch(&self, holder: Arc<Queue>) {
        self.due.lock().push(holder);
        self.bell.ring();
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
    let (mut waiting, mut parked) = (Waiting::new(), Vec::new());
    let mut look_at = 0;
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
            send_on(&broker, queue, letter, Trip::default(), &mut waiting, &mut parked);
        }
        if ending {
            for Parked { queue, letter, .. } in parked.drain(..) {
                queue.take_back_letter(letter.entry);
            }
        }
        // Looking costs something for each of them, so it is done now and then.
        let now = broker.clock.now();
        let mut more = false;
        if now >= look_at && !parked.is_empty() {
            more = try_again(&broker, &mut waiting, &mut parked);
            look_at = if more { now } else { now.saturating_add(LOOK_MILLIS) };
        }
        settle_committed(&broker, &mut waiting);
        if !idle || more {
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
        if parked.is_empty() {
            broker.courier.bell.rung().await;
        } else {
            let _ = tokio::time::timeout(Duration::from_millis(LOOK_MILLIS), broker.courier.bell.rung()).await;
        }
    }
}

/// Carries a letter, then lets its source wait for the commit, or parks it.
fn send_on(
    broker: &Broker,
    queue: Arc<Queue>,
    letter: DeadLetter,
    trip: Trip,
    waiting: &mut Waiting,
    parked: &mut Vec<Parked>,
) {
    // Read before the route is: a change in between is not missed.
    let version = version(broker, &queue);
    let trip = carry(broker, &queue, &letter, trip);
    if trip.complete || !queue.options().at_least_once() {
        waiting.push_back((trip.epoch, queue, letter));
    } else {
        let retry_at = broker.clock.now().saturating_add(RETRY);
        parked.push(Parked { queue, letter, trip, version, retry_at });
    }
}

fn version(broker: &Broker, queue: &Queue) -> u64 {
    broker.vhost(&queue.definition().vhost).map_or(0, |vhost| vhost.version())
}

/// Carries parked letters whose time has come, a few at a time; `true` if there may be more. Those of a queue that is
/// deleted go with it.
fn try_again(broker: &Broker, waiting: &mut Waiting, parked: &mut Vec<Parked>) -> bool {
    let now = broker.clock.now();
    let due = |letter: &mut Parked| {
        letter.retry_at <= now
            || letter.version != version(broker, &letter.queue)
            || letter.queue.inspect(State::is_deleted)
    };
    let due: Vec<Parked> = parked.extract_if(.., due).take(BUDGET).collect();
    let more = due.len() == BUDGET;
    for Parked { queue, letter, trip, .. } in due {
        if !queue.inspect(State::is_deleted) {
            send_on(broker, queue, letter, trip, waiting, parked);
        }
    }
    more
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

/// Brings a letter to where it goes, but for targets where it is already.
fn carry(broker: &Broker, queue: &Arc<Queue>, letter: &DeadLetter, trip: Trip) -> Trip {
    if letter.reason == Reason::Due { release(broker, queue, &letter.entry) } else { bury(broker, queue, letter, trip) }
}

/// Routes a delayed message through the exchange that held it, whose name its holder has.
fn release(broker: &Broker, holder: &Queue, entry: &Entry) -> Trip {
    let gone = Trip { complete: true, ..Trip::default() };
    let Some(vhost) = broker.vhost(&holder.definition().vhost) else { return gone };
    let Some(message) = delay::released(&entry.message, entry.redelivered) else {
        let exchange = crate::telemetry::printable(&**holder.name());
        tracing::warn!(%exchange, "a delayed message's headers do not fit a message any more; it was dropped");
        return gone;
    };
    let now = broker.clock.now();
    let targets = vhost.topology().route_again(holder.name(), &message, now);
    Trip { complete: true, ..push(broker, targets, &message, Trip::default()) }
}

/// Publishes a letter to the dead-letter exchange.
fn bury(broker: &Broker, queue: &Queue, letter: &DeadLetter, trip: Trip) -> Trip {
    let definition = queue.definition();
    let options = queue.options();
    let (Some(exchange), Some(vhost)) = (&options.dead_letter_exchange, broker.vhost(&definition.vhost)) else {
        return Trip { complete: true, ..trip };
    };
    let circumstances = death::Circumstances {
        queue: &definition.name,
        reason: letter.reason.as_str(),
        time: broker.clock.wall() / 1000,
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
        return Trip { complete: true, ..trip };
    };
    publish(broker, &vhost, &dead, trip)
}

fn publish(broker: &Broker, vhost: &VirtualHost, dead: &death::Dead, trip: Trip) -> Trip {
    let exchange = std::str::from_utf8(dead.message.exchange()).unwrap_or_default();
    let properties = crate::wire::properties::Properties::parse(dead.message.properties()).unwrap_or_default();
    let keys: Vec<&[u8]> = dead.routing_keys.iter().map(|key| &**key).collect();
    let now = broker.clock.now();
    let routing = Routing { message: &dead.message, keys: &keys, properties: &properties, now };
    let Ok(mut route) = vhost.topology().route(exchange, &routing, false) else { return trip };
    // A holder is not one of the queues it died in, whatever its name.
    route.queues.retain(|target| target.is_holder() || !dead.cycles_to(target.name()));
    push(broker, route.queues, &dead.message, trip)
}

/// Pushes a letter to the targets that do not have it yet.
fn push(broker: &Broker, targets: Vec<Arc<Queue>>, message: &Message, mut trip: Trip) -> Trip {
    let now = broker.clock.now();
    let (mut fx, mut refused) = (Effects::default(), Vec::new());
    let mut missed = targets.is_empty();
    for target in targets {
        if trip.arrived.contains(&target.id()) {
            continue;
        }
        match target.push(std::iter::once(message.clone()), false, now, &mut refused, &mut fx) {
            Push::Taken(epoch) if refused.is_empty() => {
                trip.epoch = trip.epoch.max(epoch);
                trip.arrived.push(target.id());
            }
            Push::Taken(_) | Push::Gone => missed = true,
        }
        refused.clear();
        broker.finish(&target, &mut fx);
    }
    trip.complete = !missed;
    trip
}
