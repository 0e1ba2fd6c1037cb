//! Dead letters on their way: from the queue they died in, through the dead-letter exchange, to other queues.
//!
//! A queue never publishes; it hands dead messages over as leases. For each, the courier records the death, routes,
//! pushes, and settles the source, the latter two under one hold of the open epoch: one commit takes the letter to its
//! targets and away from its source, so that a crash finds it in one place, and neither loses nor repeats it. Letters that
//! die again join the end of the list, so a cycle is a loop here, not recursion.
//!
//! Letters wait for the disk as publishers do: while more than `journal_bytes` are on their way there, a batch of letters
//! waits for the commit of the one before.
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

/// Carries letters until asked to end.
pub(super) async fn run(broker: Arc<Broker>) {
    let mut parked = Vec::new();
    // The epoch of the latest letter.
    let mut latest = 0;
    let mut look_at = 0;
    loop {
        let crowded = broker.intake.bytes() > broker.config.journal_bytes;
        if crowded && !broker.watermark.await_epoch(latest, &broker.courier.bell) {
            broker.intake.urge();
            broker.courier.bell.rung().await;
            continue;
        }
        let ending = broker.courier.ending.load(Ordering::Acquire);
        let due = std::mem::take(&mut *broker.courier.due.lock());
        look_after(&broker, &due);
        let mut holders: Vec<Arc<Queue>> = Vec::new();
        let letters: Vec<Letter> = {
            let mut inbox = broker.courier.inbox.lock();
            let n = inbox.len().min(BUDGET);
            inbox.drain(..n).collect()
        };
        let idle = letters.is_empty();
        for (queue, letter) in letters {
            if letter.reason == Reason::Due && !holders.iter().any(|known| Arc::ptr_eq(known, &queue)) {
                holders.push(queue.clone());
            }
            latest = latest.max(send_on(&broker, queue, letter, Trip::default(), &mut parked));
        }
        look_after(&broker, &holders);
        if ending {
            for Parked { queue, letter, .. } in parked.drain(..) {
                queue.take_back_letter(letter.entry);
            }
        }
        // Looking costs something for each of them, so it is done now and then.
        let now = broker.clock.now();
        let mut more = false;
        if now >= look_at && !parked.is_empty() {
            more = try_again(&broker, &mut parked);
            look_at = if more { now } else { now.saturating_add(LOOK_MILLIS) };
        }
        if !idle || more {
            tokio::task::yield_now().await;
        } else if ending {
            return;
        } else if parked.is_empty() {
            broker.courier.bell.rung().await;
        } else {
            let _ = tokio::time::timeout(Duration::from_millis(LOOK_MILLIS), broker.courier.bell.rung()).await;
        }
    }
}

/// Carries a letter and settles its source, or parks it. Returns the epoch that makes it durable.
fn send_on(broker: &Broker, queue: Arc<Queue>, letter: DeadLetter, trip: Trip, parked: &mut Vec<Parked>) -> Epoch {
    // Read before the route is: a change in between is not missed.
    let version = version(broker, &queue);
    let (way, at_least_once) = (way(broker, &queue, &letter), queue.options().at_least_once());
    let mut left = Vec::with_capacity(way.targets.len());
    let (trip, epoch) = {
        let _hold = broker.intake.hold();
        let trip = push(broker, way, trip, &mut left);
        let settled = trip.complete || !at_least_once;
        let epoch = if settled { queue.settle_entry(&letter.entry) } else { trip.epoch };
        (trip, epoch)
    };
    for (target, mut fx) in left {
        broker.finish(&target, &mut fx);
    }
    if trip.complete && at_least_once {
        broker.stats.letters_confirmed.add_shared(1);
    }
    if !trip.complete && at_least_once {
        let retry_at = broker.clock.now().saturating_add(RETRY);
        parked.push(Parked { queue, letter, trip, version, retry_at });
    }
    epoch
}

fn version(broker: &Broker, queue: &Queue) -> u64 {
    broker.vhost(&queue.definition().vhost).map_or(0, |vhost| vhost.version())
}

/// Carries parked letters whose time has come, a few at a time; `true` if there may be more. Those of a queue that is
/// deleted go with it.
fn try_again(broker: &Broker, parked: &mut Vec<Parked>) -> bool {
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
            send_on(broker, queue, letter, trip, parked);
        }
    }
    more
}

/// Takes what is due out of holders. At the end of the broker it stays where it is.
fn look_after(broker: &Broker, holders: &[Arc<Queue>]) {
    for holder in holders.iter().filter(|_| !broker.stopping()) {
        let mut fx = Effects::default();
        holder.tick(broker.clock.now(), &mut fx);
        broker.finish(holder, &mut fx);
    }
}

/// Where a letter goes, and as what.
#[derive(Default)]
struct Way {
    /// `None` if there is nothing to bring.
    message: Option<Message>,
    targets: Vec<Arc<Queue>>,
    /// There is nowhere to go, and never will be.
    ends: bool,
}

impl Way {
    fn end() -> Self {
        Self { ends: true, ..Self::default() }
    }
}

/// Records what has happened to a message, and routes it.
fn way(broker: &Broker, queue: &Queue, letter: &DeadLetter) -> Way {
    if letter.reason == Reason::Due { release(broker, queue, &letter.entry) } else { bury(broker, queue, letter) }
}

/// Routes a delayed message through the exchange that held it, whose name its holder has.
fn release(broker: &Broker, holder: &Queue, entry: &Entry) -> Way {
    let Some(vhost) = broker.vhost(&holder.definition().vhost) else { return Way::end() };
    let Some(message) = delay::released(&entry.message, entry.redelivered) else {
        let exchange = crate::telemetry::printable(&**holder.name());
        tracing::warn!(%exchange, "a delayed message's headers do not fit a message any more; it was dropped");
        return Way::end();
    };
    let targets = vhost.topology().route_again(holder.name(), &message, broker.clock.now());
    // What nobody is bound for is dropped, as when it is published.
    Way { message: Some(message), targets, ends: true }
}

/// Publishes a letter to the dead-letter exchange.
fn bury(broker: &Broker, queue: &Queue, letter: &DeadLetter) -> Way {
    let definition = queue.definition();
    let options = queue.options();
    let (Some(exchange), Some(vhost)) = (&options.dead_letter_exchange, broker.vhost(&definition.vhost)) else {
        return Way::end();
    };
    let circumstances = death::Circumstances {
        queue: &definition.name,
        reason: letter.reason.as_str(),
        time: broker.clock.wall() / 1000,
        // A crash may have undone a death whose letter was delivered; that a message comes again must not be hidden,
        // however many queues it passes through.
        redelivered: letter.recovered
            || letter.entry.message.facts().redelivered
            || options.profile.redelivered_survives_death
                && (letter.entry.redelivered || letter.reason == Reason::Rejected),
        discards_foreign: options.profile.discards_foreign_deaths,
        removes_cc: options.profile.removes_cc_at_death,
        to_exchange: exchange,
        to_routing_key: options.dead_letter_routing_key.as_deref(),
    };
    let Some(dead) = death::record(&letter.entry.message, &circumstances) else {
        let queue = crate::telemetry::printable(&*definition.name);
        tracing::warn!(%queue, "a dead letter's headers do not fit a message any more; it was dropped");
        return Way::end();
    };
    route(broker, &vhost, dead)
}

/// Routes a letter through the dead-letter exchange.
fn route(broker: &Broker, vhost: &VirtualHost, dead: death::Dead) -> Way {
    let exchange = std::str::from_utf8(dead.message.exchange()).unwrap_or_default();
    let properties = crate::wire::properties::Properties::parse(dead.message.properties()).unwrap_or_default();
    let keys: Vec<&[u8]> = dead.routing_keys.iter().map(|key| &**key).collect();
    let now = broker.clock.now();
    let routing = Routing { message: &dead.message, keys: &keys, properties: &properties, now };
    let Ok(mut route) = vhost.topology().route(exchange, &routing, false) else { return Way::default() };
    // A holder is not one of the queues it died in, whatever its name.
    route.queues.retain(|target| target.is_holder() || !dead.cycles_to(target.name()));
    Way { message: Some(dead.message), targets: route.queues, ends: false }
}

/// Pushes a letter to the targets that do not have it yet; what that leaves to be done is added to `left`.
fn push(broker: &Broker, way: Way, mut trip: Trip, left: &mut Vec<(Arc<Queue>, Effects)>) -> Trip {
    let now = broker.clock.now();
    let mut missed = way.targets.is_empty();
    if missed && !way.ends {
        broker.stats.letters_unroutable.add_shared(1);
    }
    let mut refused = Vec::new();
    for target in way.targets {
        let Some(message) = way.message.as_ref().filter(|_| !trip.arrived.contains(&target.id())) else { continue };
        let mut fx = Effects::default();
        match target.push(std::iter::once(message.clone()), false, now, &mut refused, &mut fx) {
            Push::Taken(epoch) if refused.is_empty() => {
                trip.epoch = trip.epoch.max(epoch);
                trip.arrived.push(target.id());
            }
            Push::Taken(_) | Push::Gone => missed = true,
        }
        refused.clear();
        left.push((target, fx));
    }
    trip.complete = way.ends || !missed;
    trip
}
