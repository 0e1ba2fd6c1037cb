//! Messages that wait for their time, in the order in which it comes.
//!
//! A waiting message is a due time and a position, 16 octets, whatever its size: bodies stay in memory only up to
//! [`RESIDENT`] octets, those due first, and are read back when they are due. What a restart finds is not even read: it
//! is kept as ranges of positions, each with the earliest due time in it, and looked into when that has come. Nothing
//! here ever walks over all that waits.
//!
//! A body may leave memory only when the store has it. The writer takes a journal only after its last commit, so at the
//! second visit everything that the first one took is kept: [`Delay::journal_taken`].
//!
//! Invariants: every body in `bodies` is of a message in `waiting`; positions below `kept_below` are in the store.
//! Deliberately absent: the clock, leases and the journal (see [`super::state`]), the exchange.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Millis;
use crate::message::Message;
use crate::store::{Page, Seq, Stretch};

/// Octets of records kept in memory of one exchange's delayed messages, once they are on disk.
const RESIDENT: usize = 16 * 1024 * 1024;

/// Due messages looked at when deciding what to read back at once.
const WINDOW: usize = 1_024;

/// Positions that may be passed over in one read for the sake of the next message wanted.
const GAP: Seq = 64;

/// A range of positions on disk that has not been looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    until: Seq,
    count: u64,
}

/// What is due next.
#[derive(Debug)]
pub(super) enum Next {
    /// A message, taken out.
    Message(Millis, Seq, Message),
    /// Something on disk: these positions are to be read.
    Fetch(Seq, Seq),
    /// Nothing yet.
    Nothing,
}

/// Everything that waits.
#[derive(Debug)]
pub(super) struct Delay {
    waiting: BTreeSet<(Millis, Seq)>,
    bodies: BTreeMap<(Millis, Seq), Message>,
    /// By earliest due time and first position.
    ranges: BTreeMap<(Millis, Seq), Range>,
    /// Messages in `ranges`.
    in_ranges: u64,
    /// Octets of the records in `bodies`.
    resident: usize,
    /// How many of them may be there for convenience.
    budget: usize,
    /// Positions below are in the store.
    kept_below: Seq,
    /// Positions below have been taken by the writer.
    taken_below: Seq,
    /// Due messages among those being fetched.
    fetching: Vec<(Millis, Seq)>,
    /// When this run of the broker took them over.
    since: Millis,
}

impl Default for Delay {
    fn default() -> Self {
        Self {
            waiting: BTreeSet::new(),
            bodies: BTreeMap::new(),
            ranges: BTreeMap::new(),
            in_ranges: 0,
            resident: 0,
            budget: RESIDENT,
            kept_below: 0,
            taken_below: 0,
            fetching: Vec::new(),
            since: 0,
        }
    }
}

impl Delay {
    /// Nothing yet, at `now`.
    pub(super) fn new(now: Millis) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// Whether a message that an earlier run left may have gone on in that run: not if it was not due yet.
    pub(super) fn was_due(&self, due: Millis) -> bool {
        due <= self.since
    }

    /// How many wait.
    pub(super) fn len(&self) -> u64 {
        self.waiting.len() as u64 + self.in_ranges
    }

    /// Adds a message.
    pub(super) fn insert(&mut self, due: Millis, seq: Seq, message: Message) {
        self.waiting.insert((due, seq));
        self.keep(due, seq, message);
    }

    fn keep(&mut self, due: Millis, seq: Seq, message: Message) {
        self.resident += message.record().len();
        if let Some(old) = self.bodies.insert((due, seq), message) {
            self.resident -= old.record().len();
        }
    }

    /// Takes over what the store kept.
    pub(super) fn recover(&mut self, kept: &Stretch) {
        let range = Range { until: kept.last + 1, count: kept.count };
        self.ranges.insert((kept.earliest_expiry, kept.first), range);
        self.in_ranges += kept.count;
        self.kept_below = self.kept_below.max(range.until);
        self.taken_below = self.kept_below;
    }

    /// The moment at which something is due; `None` if nothing waits.
    pub(super) fn deadline(&self) -> Option<Millis> {
        let range = self.ranges.first_key_value().map(|((due, _), _)| *due);
        let message = self.waiting.first().map(|(due, _)| *due);
        range.into_iter().chain(message).min()
    }

    /// What is to be done at `now`.
    pub(super) fn next(&mut self, now: Millis) -> Next {
        let Some(deadline) = self.deadline().filter(|deadline| *deadline <= now) else { return Next::Nothing };
        if let Some(((due, from), range)) = self.ranges.first_key_value()
            && *due <= deadline
        {
            return Next::Fetch(*from, range.until);
        }
        match self.waiting.first().copied() {
            None => Next::Nothing,
            Some((due, seq)) => match self.bodies.remove(&(due, seq)) {
                Some(message) => {
                    self.waiting.remove(&(due, seq));
                    self.resident -= message.record().len();
                    Next::Message(due, seq, message)
                }
                None => self.fetch(now, seq),
            },
        }
    }

    /// Chooses the positions to be read for the message at `wanted`: with it come other due ones that lie near.
    fn fetch(&mut self, now: Millis, wanted: Seq) -> Next {
        let due = self.waiting.iter().take(WINDOW).take_while(|(due, _)| *due <= now);
        let mut missing: Vec<Seq> = due.filter(|at| !self.bodies.contains_key(at)).map(|(_, seq)| *seq).collect();
        missing.sort_unstable();
        let (below, above) = missing.split_at(missing.partition_point(|seq| *seq < wanted));
        let (mut from, mut last) = (wanted, wanted);
        for seq in below.iter().rev() {
            if from - *seq > GAP {
                break;
            }
            from = *seq;
        }
        for seq in above {
            if *seq - last > GAP {
                break;
            }
            last = *seq;
        }
        let due = self.waiting.iter().take(WINDOW).copied();
        self.fetching = due.filter(|at| (from..=last).contains(&at.1) && !self.bodies.contains_key(at)).collect();
        Next::Fetch(from, last + 1)
    }

    /// Takes in what was read of `from..until`. Returns how many waiting messages turned out not to be there any more.
    pub(super) fn fetched(&mut self, from: Seq, until: Seq, page: Page, now: Millis) -> u64 {
        let (read, next) = (page.messages.len() as u64, page.next);
        let at = self.ranges.first_key_value().filter(|((_, first), range)| *first == from && range.until == until);
        let range = at.map(|(key, range)| (*key, *range));
        let mut wanted: BTreeSet<(Millis, Seq)> = std::mem::take(&mut self.fetching).into_iter().collect();
        for stored in page.messages {
            let at = (stored.expires_at, stored.seq);
            if range.is_some() {
                self.waiting.insert(at);
            }
            wanted.remove(&at);
            let soon = stored.expires_at <= now || self.resident < self.budget;
            if soon && self.waiting.contains(&at) {
                self.keep(stored.expires_at, stored.seq, stored.message);
            }
        }
        if let Some((key, range)) = range {
            self.ranges.remove(&key);
            self.in_ranges -= range.count;
            let rest = range.count.saturating_sub(read);
            let Some(next) = next.filter(|next| *next < until) else { return rest };
            self.ranges.insert((key.0, next), Range { until, count: rest });
            self.in_ranges += rest;
            return 0;
        }
        let looked_at = next.unwrap_or(until);
        let gone: Vec<_> = wanted.into_iter().filter(|(_, seq)| *seq < looked_at).collect();
        gone.iter().filter(|at| self.waiting.remove(at)).count() as u64
    }

    /// The writer is about to take the journal, which holds everything below `next_seq`; what it took before is in the
    /// store by now. Lets go of bodies that can be read back, those due last first.
    pub(super) fn journal_taken(&mut self, next_seq: Seq) {
        self.kept_below = self.taken_below;
        self.taken_below = next_seq;
        if self.resident <= self.budget {
            return;
        }
        let mut over = self.resident - self.budget;
        let mut evicted = Vec::new();
        for (at, message) in self.bodies.iter().rev().filter(|((_, seq), _)| *seq < self.kept_below) {
            evicted.push(*at);
            let octets = message.record().len();
            self.resident -= octets;
            over = over.saturating_sub(octets);
            if over == 0 {
                break;
            }
        }
        for at in evicted {
            self.bodies.remove(&at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Draft, Facts, address};
    use crate::store::Stored;
    use proptest::prelude::*;

    fn message(octets: usize) -> Message {
        let mut draft = Draft::new(&address(b"x", b"").unwrap(), &[0, 0], octets as u64, Facts::default());
        assert!(draft.try_extend(&vec![0; octets]));
        draft.finish().unwrap()
    }

    /// A store that has what was committed, and a delay in front of it.
    struct Rig {
        delay: Delay,
        journal: Vec<(Millis, Seq, Message)>,
        taken: Vec<(Millis, Seq, Message)>,
        store: BTreeMap<Seq, (Millis, Message)>,
        next_seq: Seq,
        fetches: usize,
    }

    impl Rig {
        fn new(budget: usize) -> Self {
            let delay = Delay { budget, ..Delay::default() };
            Self { delay, journal: Vec::new(), taken: Vec::new(), store: BTreeMap::new(), next_seq: 1, fetches: 0 }
        }

        fn push(&mut self, due: Millis, octets: usize) {
            let message = message(octets);
            self.journal.push((due, self.next_seq, message.clone()));
            self.delay.insert(due, self.next_seq, message);
            self.next_seq += 1;
        }

        /// The writer has committed what it took, and takes what there is.
        fn commit(&mut self) {
            self.store.extend(self.taken.drain(..).map(|(due, seq, message)| (seq, (due, message))));
            self.delay.journal_taken(self.next_seq);
            self.taken.append(&mut self.journal);
        }

        fn read(&self, from: Seq, until: Seq, most: usize) -> Page {
            let mut rows = self.store.range(from..until);
            let messages: Vec<Stored> = rows
                .by_ref()
                .take(most)
                .map(|(seq, (due, message))| Stored { seq: *seq, expires_at: *due, message: message.clone() })
                .collect();
            Page { messages, next: rows.next().map(|(seq, _)| *seq), damaged: 0 }
        }

        /// Everything due at `now`, in the order in which it goes on, and what turned out to be gone.
        fn release(&mut self, now: Millis, page: usize) -> (Vec<(Millis, Seq)>, u64) {
            let (mut released, mut gone) = (Vec::new(), 0);
            loop {
                match self.delay.next(now) {
                    Next::Nothing => return (released, gone),
                    Next::Message(due, seq, _) => {
                        self.store.remove(&seq);
                        self.journal.retain(|(_, pending, _)| *pending != seq);
                        self.taken.retain(|(_, pending, _)| *pending != seq);
                        released.push((due, seq));
                    }
                    Next::Fetch(from, until) => {
                        self.fetches += 1;
                        let page = self.read(from, until, page);
                        gone += self.delay.fetched(from, until, page, now);
                    }
                }
            }
        }
    }

    #[test]
    fn bodies_leave_memory_only_when_they_are_on_disk() {
        let mut rig = Rig::new(1_000);
        for n in 0..100 {
            rig.push(1_000 - n, 100);
        }
        rig.commit();
        assert_eq!(rig.delay.bodies.len(), 100, "taken, not committed");
        rig.commit();
        assert!(rig.delay.resident <= 1_000 && rig.delay.bodies.len() >= 8);
        assert_eq!(rig.delay.bodies.first_key_value().map(|((due, _), _)| *due), Some(901), "the first due stay");
        let (released, gone) = rig.release(2_000, 1_000);
        assert_eq!((released.len(), gone, rig.delay.resident, rig.delay.len()), (100, 0, 0, 0));
        assert!(released.is_sorted());
        assert!(rig.fetches < 5, "neighbours are read together: {} reads", rig.fetches);
    }

    #[test]
    fn what_a_restart_found_is_looked_at_page_by_page() {
        let mut rig = Rig::new(0);
        for n in 0..1_000 {
            rig.push(if n < 600 { 500 + (n * 389) % 300 } else { 800 + (n * 389) % 700 }, 10);
        }
        rig.commit();
        rig.commit();
        rig.delay = Delay { budget: 0, ..Delay::default() };
        rig.delay.recover(&Stretch { first: 1, last: 600, count: 600, earliest_expiry: 50 });
        rig.delay.recover(&Stretch { first: 601, last: 1_000, count: 400, earliest_expiry: 800 });
        assert_eq!((rig.delay.len(), rig.delay.deadline()), (1_000, Some(50)));
        assert_eq!(rig.release(49, 64), (Vec::new(), 0));
        assert_eq!(rig.fetches, 0);
        let (released, _) = rig.release(100, 64);
        assert!(released.is_empty());
        assert_eq!((rig.delay.len(), rig.delay.deadline(), rig.delay.resident), (1_000, Some(500), 0));
        assert_eq!(rig.delay.waiting.len(), 600, "the second stretch has not been touched");
        let (released, gone) = rig.release(799, 64);
        assert_eq!((released.len(), gone), (600, 0));
        assert!(released.is_sorted());
        rig.store.retain(|seq, _| seq % 2 == 0);
        let (released, gone) = rig.release(9_999, 64);
        assert_eq!((released.len() as u64 + gone, rig.delay.len()), (400, 0), "what is gone is not waited for");
        assert_eq!(gone, 200);
    }

    proptest! {
        #[test]
        fn everything_goes_on_once_and_in_order(
            budget in prop::sample::select(vec![0usize, 300, 10_000]),
            page in 1usize..20,
            steps in prop::collection::vec((0u8..4, 1u64..3_000, 0usize..200), 1..150),
        ) {
            let mut rig = Rig::new(budget);
            let mut expected: BTreeSet<(Millis, Seq)> = BTreeSet::new();
            let mut now = 0;
            for (what, number, octets) in steps {
                match what {
                    0 | 1 => {
                        expected.insert((now + number, rig.next_seq));
                        rig.push(now + number, octets);
                    }
                    2 => rig.commit(),
                    _ => {
                        now += number / 4;
                        let (released, gone) = rig.release(now, page);
                        let later = expected.split_off(&(now + 1, 0));
                        prop_assert_eq!(released, expected.into_iter().collect::<Vec<_>>());
                        prop_assert_eq!(gone, 0);
                        expected = later;
                    }
                }
                prop_assert_eq!(rig.delay.len(), expected.len() as u64);
                let resident: usize = rig.delay.bodies.values().map(|message| message.record().len()).sum();
                prop_assert_eq!(rig.delay.resident, resident);
            }
        }
    }
}
