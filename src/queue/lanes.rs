//! Ready messages, in order: one lane per priority level, each with a resident head, a middle that is only on disk, and
//! a resident tail. Here is what consumers and publishers see; `paging` moves messages between memory and the middle.
//!
//! Inside a lane every returned message precedes the head, the head precedes the middle, the middle the tail: messages
//! are leased from the front only, so whatever comes back is older than what never left. The middle is a range of
//! positions with totals: a backlog of millions costs a few words here.
//!
//! A classic queue returns a message to its old position in its lane. A quorum queue has one row for all that came back,
//! in the order in which they did, and serves it before everything else, whatever the priorities.

mod paging;

use std::collections::{BTreeMap, VecDeque};

pub use paging::{Chunk, Surplus};

use super::Entry;
use crate::clock::{Millis, NEVER};
use crate::store::Seq;

/// Messages of one lane that are not in memory: in the store, or spilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Middle {
    /// First position that may hold one.
    pub from: Seq,
    /// Position before which all of them lie.
    pub until: Seq,
    /// How many there are.
    pub count: u64,
    /// Octets of their bodies.
    pub bytes: u64,
    /// Earliest expiry among the first of them; 0 while that is not known, so that the queue looks.
    pub head_expiry: Millis,
    /// How many of them the store does not keep: they are in the spill.
    pub spilled: u64,
}

/// What is at the front of the queue.
#[derive(Debug)]
pub(super) enum Front<'a> {
    /// A message in memory.
    Resident(&'a Entry),
    /// A message that has to be loaded; the lane it is in.
    Paged(u8, Middle),
    /// Nothing.
    Empty,
}

#[derive(Debug, Default)]
struct Lane {
    returned: BTreeMap<Seq, Entry>,
    head: VecDeque<Entry>,
    /// Octets of the records of the head.
    head_octets: usize,
    middle: Option<Middle>,
    tail: VecDeque<Entry>,
}

/// Octets an entry's record takes in memory.
#[inline]
fn weight(entry: &Entry) -> usize {
    entry.message.record().len()
}

impl Lane {
    fn push(&mut self, entry: Entry) {
        if self.middle.is_some() {
            self.tail.push_back(entry);
        } else {
            self.head_octets += weight(&entry);
            self.head.push_back(entry);
        }
    }

    fn pop_head(&mut self) -> Option<Entry> {
        let entry = self.head.pop_front()?;
        self.head_octets -= weight(&entry);
        Some(entry)
    }

    fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.head.is_empty() && self.middle.is_none()
    }
}

/// Key of the first message that came back in the row of those; below it stand those that never reached a client, by
/// position.
const FIRST_RETURN: u64 = 1 << 62;

/// Messages of higher lanes served before one of the lowest, where lanes are weighted.
const WEIGHT: u8 = 2;

/// All ready messages of a queue.
#[derive(Debug)]
pub(super) struct Lanes {
    levels: Vec<Lane>,
    /// What came back to a quorum queue, in that order.
    returns: BTreeMap<u64, Entry>,
    next_return: u64,
    /// The lowest lane has its turn after [`WEIGHT`] messages, rather than when the others are empty.
    weighted: bool,
    /// Messages served since the last turn of the lowest lane.
    served: u8,
    count: u64,
    bytes: u64,
}

impl Lanes {
    /// Lanes 0 to `highest`.
    pub(super) fn new(highest: u8, weighted: bool) -> Self {
        Self {
            levels: (0..=highest).map(|_| Lane::default()).collect(),
            returns: BTreeMap::new(),
            next_return: FIRST_RETURN,
            weighted,
            served: 0,
            count: 0,
            bytes: 0,
        }
    }

    /// Whether there is more than one lane.
    #[inline]
    pub(super) fn several(&self) -> bool {
        self.levels.len() > 1
    }

    /// Number of ready messages.
    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Octets of their bodies.
    #[inline]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a new message behind all others of its lane.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        self.count += 1;
        self.bytes += u64::from(entry.body_len);
        let lane = usize::from(entry.lane);
        self.levels[lane].push(entry);
    }

    /// Returns a message that had been taken to its original position.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.count += 1;
        self.bytes += u64::from(entry.body_len);
        let lane = usize::from(entry.lane);
        self.levels[lane].returned.insert(entry.seq, entry);
    }

    /// Takes a message that a client returned to a quorum queue: behind those returned before.
    pub(super) fn put_returned(&mut self, entry: Entry) {
        self.keep_returned(self.next_return, entry);
        self.next_return += 1;
    }

    /// Takes back a message of a quorum queue that never reached its client: to the front.
    pub(super) fn put_unsent(&mut self, entry: Entry) {
        self.keep_returned(entry.seq, entry);
    }

    fn keep_returned(&mut self, key: u64, entry: Entry) {
        self.count += 1;
        self.bytes += u64::from(entry.body_len);
        self.returns.insert(key, entry);
    }

    /// The lane whose turn it is: the highest that is not empty, unless the lowest has waited long enough.
    #[inline]
    fn turn(&self) -> Option<usize> {
        if self.weighted && self.served == WEIGHT && self.levels.first().is_some_and(|lane| !lane.is_empty()) {
            return Some(0);
        }
        self.levels.iter().rposition(|lane| !lane.is_empty())
    }

    /// The next message to go out: of those that came back or of the lane whose turn it is, the first.
    #[inline]
    pub(super) fn front(&self) -> Front<'_> {
        if let Some(entry) = self.returns.values().next() {
            return Front::Resident(entry);
        }
        let Some(at) = self.turn() else { return Front::Empty };
        let lane = &self.levels[at];
        let resident = lane.returned.values().next().or_else(|| lane.head.front());
        match (resident, lane.middle) {
            (Some(entry), _) => Front::Resident(entry),
            (None, Some(middle)) => Front::Paged(u8::try_from(at).unwrap_or(u8::MAX), middle),
            (None, None) => Front::Empty,
        }
    }

    /// Takes the front message, if it is resident.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = match self.returns.pop_first() {
            Some((_, entry)) => entry,
            None => self.pop_lane()?,
        };
        self.count -= 1;
        self.bytes -= u64::from(entry.body_len);
        Some(entry)
    }

    #[inline]
    fn pop_lane(&mut self) -> Option<Entry> {
        let at = self.turn()?;
        let lane = &mut self.levels[at];
        let entry = match lane.returned.pop_first() {
            Some((_, entry)) => entry,
            None => lane.pop_head()?,
        };
        if self.weighted {
            self.served = if self.served == WEIGHT { 0 } else { self.served + 1 };
        }
        Some(entry)
    }

    /// The earliest moment at which a lane's front message expires (only fronts do). While a load is under way
    /// (`loading`), fronts on disk have none: nothing can be done about them before it has come.
    pub(super) fn deadline(&self, loading: bool) -> Millis {
        let of = |lane: &Lane| {
            let resident = lane.returned.values().next().or_else(|| lane.head.front()).map(|e| e.expires_at);
            resident.or(lane.middle.filter(|_| !loading).map(|m| m.head_expiry)).unwrap_or(NEVER)
        };
        let returned = self.returns.values().next().map_or(NEVER, |entry| entry.expires_at);
        self.levels.iter().map(of).min().unwrap_or(NEVER).min(returned)
    }

    /// Takes one message that has expired by `now` from the front of any lane, or of what came back.
    pub(super) fn pop_expired(&mut self, now: Millis) -> Option<Entry> {
        let due = |e: &Entry| e.expires_at <= now;
        if self.returns.values().next().is_some_and(due) {
            let (_, entry) = self.returns.pop_first()?;
            self.count -= 1;
            self.bytes -= u64::from(entry.body_len);
            return Some(entry);
        }
        for lane in &mut self.levels {
            let entry = if let Some(first) = lane.returned.first_entry() {
                due(first.get()).then(|| first.remove())
            } else if lane.head.front().is_some_and(due) {
                lane.pop_head()
            } else {
                None
            };
            if let Some(entry) = entry {
                self.count -= 1;
                self.bytes -= u64::from(entry.body_len);
                return Some(entry);
            }
        }
        None
    }

    /// Takes everything out: the resident messages, and the ranges on disk by lane.
    pub(super) fn clear(&mut self) -> (Vec<Entry>, Vec<(u8, Middle)>) {
        let (mut entries, mut middles) = (Vec::new(), Vec::new());
        entries.extend(std::mem::take(&mut self.returns).into_values());
        for (at, lane) in self.levels.iter_mut().enumerate() {
            let lane = std::mem::take(lane);
            entries.extend(lane.returned.into_values());
            entries.extend(lane.head);
            entries.extend(lane.tail);
            middles.extend(lane.middle.map(|m| (u8::try_from(at).unwrap_or(u8::MAX), m)));
        }
        self.count = 0;
        self.bytes = 0;
        (entries, middles)
    }

    /// Messages in the one row of what came back.
    pub(super) fn came_back(&self) -> u64 {
        self.returns.len() as u64
    }

    /// The lowest position of a ready message; of messages on disk, the first that may be one.
    pub(super) fn oldest(&self) -> Option<Seq> {
        let of = |lane: &Lane| {
            let resident = lane.returned.keys().next().copied().or_else(|| lane.head.front().map(|entry| entry.seq));
            resident.or(lane.middle.map(|middle| middle.from))
        };
        let returned = self.returns.values().next().map(|entry| entry.seq);
        self.levels.iter().filter_map(of).chain(returned).min()
    }

    /// Every resident message that was handed to a client before.
    pub(super) fn redelivered(&self) -> impl Iterator<Item = &Entry> {
        self.levels
            .iter()
            .flat_map(|lane| lane.returned.values().chain(&lane.head).chain(&lane.tail))
            .chain(self.returns.values())
            .filter(|entry| entry.redelivered)
    }
}
