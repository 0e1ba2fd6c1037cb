//! What clients know of their messages, and the audit of a restarted broker against it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// How long an acknowledgement may take to become durable: the documented 50 ms, and 950 ms for a busy machine.
const ACK_WINDOW: Duration = Duration::from_secs(1);

/// Number of a message; ascending in the order of publishing, never used again.
pub(crate) type Id = u64;

/// What has become of a message, as far as its clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Sent, not confirmed: it may be there or not.
    Unsure,
    /// Confirmed or found: it must be there.
    Kept,
    /// Acknowledged at that time: it must stay away, unless that was just before the end.
    Acked(Instant),
    /// Rejected: it must be a dead letter, or in its queue still.
    Rejected,
    /// Found dead: it must stay so.
    Dead,
    /// Not there any more.
    Gone,
}

/// The messages of one queue.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    fates: BTreeMap<Id, Fate>,
}

/// What a publisher knows at the end of a round.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) sent: BTreeSet<Id>,
    pub(crate) confirmed: BTreeSet<Id>,
}

/// What a consumer knows at the end of a round; noted before the settlement was sent.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) acked: BTreeMap<Id, Instant>,
    pub(crate) rejected: BTreeSet<Id>,
}

impl Ledger {
    /// Takes up what a round's clients know.
    pub(crate) fn note(&mut self, published: &Published, settled: &Settled) {
        for id in &published.sent {
            let fate = if published.confirmed.contains(id) { Fate::Kept } else { Fate::Unsure };
            self.fates.insert(*id, fate);
        }
        for id in &settled.rejected {
            // One that was never confirmed may be lost together with its dead letter.
            if self.fates[id] == Fate::Kept {
                self.fates.insert(*id, Fate::Rejected);
            }
        }
        for (id, at) in &settled.acked {
            self.fates.insert(*id, Fate::Acked(*at));
        }
    }

    /// Compares with what a broker holds that started after the last one was killed; returns what is wrong.
    pub(crate) fn audit(&mut self, killed: Instant, alive: &[(Id, bool)], dead: &BTreeSet<Id>) -> Vec<String> {
        let mut wrong = Vec::new();
        if !alive.is_sorted_by(|(a, _), (b, _)| a < b) {
            wrong.push("out of order, or twice in the queue".to_owned());
        }
        let known = |id: &Id| self.fates.contains_key(id);
        wrong.extend(
            alive.iter().map(|(id, _)| id).chain(dead).filter(|id| !known(id)).map(|id| format!("{id}: never sent")),
        );
        let alive: BTreeMap<Id, bool> = alive.iter().copied().collect();
        for (id, fate) in &mut self.fates {
            let (is_alive, is_dead) = (alive.contains_key(id), dead.contains(id));
            let allowed = match *fate {
                Fate::Unsure => true,
                Fate::Kept => is_alive && !is_dead,
                Fate::Acked(at) => !is_alive || killed.duration_since(at) < ACK_WINDOW,
                Fate::Rejected => is_alive || is_dead,
                // A letter that was alive as well after a crash may have been acknowledged since, or died again.
                Fate::Dead => is_dead,
                Fate::Gone => !is_alive && !is_dead,
            };
            if !allowed {
                wrong.push(format!("{id}: {fate:?}, but alive: {is_alive}, dead: {is_dead}"));
            }
            if alive.get(id) == Some(&false) && *fate != Fate::Unsure {
                wrong.push(format!("{id}: not marked as redelivered"));
            }
            *fate = match (is_dead, is_alive) {
                (true, _) => Fate::Dead,
                (false, true) => Fate::Kept,
                (false, false) => Fate::Gone,
            };
        }
        wrong
    }

    /// How many messages the clients are sure to find.
    pub(crate) fn kept(&self) -> usize {
        self.fates.values().filter(|fate| matches!(fate, Fate::Kept | Fate::Dead)).count()
    }
}
