//! What the clients know of a message: the events they noted, and what follows from them for where it may be.

use std::time::Duration;

use tokio::time::Instant;

use crate::plan::Spot;
use crate::stamp::Stamp;

/// Events kept of one message; those in the middle go first.
const EVENTS: usize = 60;

/// How late a delayed message may have reached the broker after it was noted as sent.
const LATE: Duration = Duration::from_secs(2);

/// Something that happened to a message, as far as its clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Sent,
    Confirmed,
    /// Nacked, or published in a transaction that was rolled back.
    Refused,
    /// Told to be unroutable, which it was not.
    Returned,
    /// Delivered, with its mark as redelivered.
    Delivered(Spot, bool),
    /// About to be acknowledged, or refused where nothing comes after.
    Settled(Spot),
    /// That is proven to be committed.
    SettledForGood(Spot),
    Rejected(Spot),
    Requeued(Spot),
    /// That is proven to be committed.
    RequeuedForGood(Spot),
    /// Found by the audit, with its mark as redelivered.
    Found(Spot, bool),
    /// The audit did not find it in that branch.
    Missing(usize),
}

/// One branch of a message's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Branch {
    /// How many of it there may be.
    pub(crate) copies: usize,
    /// It must be there.
    pub(crate) owed: bool,
    /// A client has settled it, which may not be committed yet.
    pub(crate) settled: bool,
    /// It must not be there.
    pub(crate) gone: bool,
    /// Position in the chain before which it cannot be any more.
    pub(crate) from: usize,
    /// Deliveries known of.
    pub(crate) seen: usize,
    /// A bit for each position in the chain from which it was delivered: a dead letter is a new message to its queue.
    pub(crate) seen_at: u8,
    /// Returns to the first queue that are proven to be committed.
    pub(crate) returns: i64,
}

impl Branch {
    fn see(&mut self, at: usize) {
        self.seen += 1;
        self.seen_at |= 1 << at;
    }

    /// Whether a delivery from there must be marked. `letters` tells that dead letters keep their mark.
    pub(crate) fn must_be_marked(&self, at: usize, letters: bool) -> bool {
        if letters { self.seen > 0 } else { self.seen_at & (1 << at) != 0 }
    }
}

/// A message.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) branches: Vec<Branch>,
    pub(crate) confirmed: bool,
    pub(crate) persistent: bool,
    pub(crate) priority: u8,
    /// Which life of the broker it was sent to.
    pub(crate) life: u32,
    /// Until then it may wait where nobody can look.
    pub(crate) due: Option<Instant>,
    /// Life of the broker, milliseconds since the beginning, and what happened.
    pub(crate) events: Vec<(u32, u32, Event)>,
}

impl Story {
    pub(crate) fn new(stamp: Stamp, life: u32) -> Self {
        let content = stamp.content();
        let branch =
            Branch { copies: 1, owed: false, settled: false, gone: false, from: 0, seen: 0, seen_at: 0, returns: 0 };
        Self {
            branches: vec![branch; stamp.line().branches.len()],
            confirmed: false,
            persistent: content.persistent,
            priority: content.priority.unwrap_or(0),
            life,
            due: content.delay.map(|delay| Instant::now() + Duration::from_millis(delay)),
            events: Vec::with_capacity(4),
        }
    }

    /// Draws the conclusions from an event that clients noted.
    pub(crate) fn apply(&mut self, stamp: Stamp, event: Event) {
        match event {
            Event::Confirmed => {
                self.confirmed = true;
                let promised = self.is_promised(stamp);
                for branch in &mut self.branches {
                    // It may be delivered and settled before its confirm is out.
                    branch.owed = promised && !branch.settled && !branch.gone;
                }
            }
            Event::Refused => self.branches.iter_mut().for_each(|branch| branch.gone = true),
            Event::Delivered(spot, _) => self.branches[spot.branch].see(spot.at),
            Event::Settled(spot) => {
                let branch = &mut self.branches[spot.branch];
                (branch.owed, branch.settled) = (false, true);
            }
            Event::SettledForGood(spot) => {
                let branch = &mut self.branches[spot.branch];
                branch.copies = branch.copies.saturating_sub(1);
                branch.gone |= branch.copies == 0;
            }
            Event::RequeuedForGood(spot) if spot.at == 0 => self.branches[spot.branch].returns += 1,
            _ => {}
        }
    }

    /// Takes over what the audit found of a branch: positions and marks. `waiting` tells that it may still be due.
    pub(crate) fn found(&mut self, stamp: Stamp, branch: usize, found: &[(usize, bool)], waiting: bool) {
        let promised = self.is_promised(stamp);
        let branch = &mut self.branches[branch];
        match found {
            [] if waiting => return,
            [] => (branch.owed, branch.gone) = (false, true),
            [(at, _)] => branch.from = *at,
            _ => {}
        }
        if !found.is_empty() {
            (branch.owed, branch.settled, branch.copies) = (promised, false, found.len());
            for (at, _) in found {
                branch.see(*at);
            }
        }
    }

    /// Whether, once it is safe, it stays until it is settled.
    fn is_promised(&self, stamp: Stamp) -> bool {
        self.persistent && !stamp.line().lossy
    }

    pub(crate) fn note(&mut self, life: u32, millis: u32, event: Event) {
        if self.events.len() >= EVENTS {
            self.events.remove(EVENTS / 2);
        }
        self.events.push((life, millis, event));
    }

    pub(crate) fn has(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(|(_, _, event)| wanted(event))
    }

    /// It may be where nobody can look.
    pub(crate) fn is_waiting(&self) -> bool {
        self.due.is_some_and(|due| due + LATE >= Instant::now())
    }

    /// It is nowhere and must stay away.
    pub(crate) fn is_over(&self) -> bool {
        self.branches.iter().all(|branch| branch.gone)
    }
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (life, millis, event) in &self.events {
            write!(f, "\n      life {life}, {millis} ms: ")?;
            let place = |spot: &Spot| spot.place().name;
            match event {
                Event::Delivered(spot, mark) => write!(f, "delivered from {} (redelivered: {mark})", place(spot))?,
                Event::Found(spot, mark) => write!(f, "found in {} (redelivered: {mark})", place(spot))?,
                Event::Settled(spot) => write!(f, "settled in {}", place(spot))?,
                Event::SettledForGood(spot) => write!(f, "settled for good in {}", place(spot))?,
                Event::Rejected(spot) => write!(f, "rejected in {}", place(spot))?,
                Event::Requeued(spot) => write!(f, "requeued in {}", place(spot))?,
                Event::RequeuedForGood(spot) => write!(f, "requeued for good in {}", place(spot))?,
                Event::Missing(branch) => write!(f, "not found in branch {branch}")?,
                other => write!(f, "{other:?}")?,
            }
        }
        Ok(())
    }
}
