//! Ready messages, in order: one lane per priority level, each with a resident head, a middle that is only on disk, and
//! a resident tail.
//!
//! Inside a lane every returned message precedes the head, the head precedes the middle, the middle the tail: messages
//! are leased from the front only, so whatever comes back is older than what never left. The middle is a range of
//! positions with totals: a backlog of millions costs a few words here.

use std::collections::{BTreeMap, VecDeque};

use super::Entry;
use crate::clock::{Millis, NEVER};
use crate::store::Seq;

/// Kept messages of one lane that are not in memory.
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
    middle: Option<Middle>,
    tail: VecDeque<Entry>,
}

impl Lane {
    fn push(&mut self, entry: Entry) {
        if self.middle.is_some() {
            self.tail.push_back(entry);
        } else {
            self.head.push_back(entry);
        }
    }

    fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.head.is_empty() && self.middle.is_none()
    }
}

/// All ready messages of a queue.
#[derive(Debug)]
pub(super) struct Lanes {
    levels: Vec<Lane>,
    count: u64,
    bytes: u64,
}

impl Lanes {
    /// Lanes for priorities 0 to `max_priority`.
    pub(super) fn new(max_priority: u8) -> Self {
        Self { levels: (0..=max_priority).map(|_| Lane::default()).collect(), count: 0, bytes: 0 }
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

    /// The lane for a message of this priority.
    #[inline]
    pub(super) fn lane_of(&self, priority: u8) -> u8 {
        if self.levels.len() == 1 { 0 } else { priority.min(u8::try_from(self.levels.len() - 1).unwrap_or(u8::MAX)) }
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

    /// The next message to go out: of the highest non-empty lane, the oldest.
    #[inline]
    pub(super) fn front(&self) -> Front<'_> {
        for (at, lane) in self.levels.iter().enumerate().rev() {
            if lane.is_empty() {
                continue;
            }
            let resident = lane.returned.values().next().or_else(|| lane.head.front());
            return match (resident, lane.middle) {
                (Some(entry), _) => Front::Resident(entry),
                (None, Some(middle)) => Front::Paged(u8::try_from(at).unwrap_or(u8::MAX), middle),
                (None, None) => Front::Empty,
            };
        }
        Front::Empty
    }

    /// Takes the front message, if it is resident.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let lane = self.levels.iter_mut().rev().find(|lane| !lane.is_empty())?;
        let entry = match lane.returned.pop_first() {
            Some((_, entry)) => entry,
            None => lane.head.pop_front()?,
        };
        self.count -= 1;
        self.bytes -= u64::from(entry.body_len);
        Some(entry)
    }

    /// The earliest moment at which a lane's front message expires (only fronts do). While a load is under way
    /// (`loading`), fronts on disk have none: nothing can be done about them before it has come.
    pub(super) fn deadline(&self, loading: bool) -> Millis {
        let of = |lane: &Lane| {
            let resident = lane.returned.values().next().or_else(|| lane.head.front()).map(|e| e.expires_at);
            resident.or(lane.middle.filter(|_| !loading).map(|m| m.head_expiry)).unwrap_or(NEVER)
        };
        self.levels.iter().map(of).min().unwrap_or(NEVER)
    }

    /// Takes one message that has expired by `now` from the front of any lane.
    pub(super) fn pop_expired(&mut self, now: Millis) -> Option<Entry> {
        for lane in &mut self.levels {
            let due = |e: &Entry| e.expires_at <= now;
            let entry = if let Some(first) = lane.returned.first_entry() {
                due(first.get()).then(|| first.remove())
            } else if lane.head.front().is_some_and(due) {
                lane.head.pop_front()
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

    /// A lane whose front is on disk and may have expired by `now`.
    pub(super) fn paged_due(&self, now: Millis) -> Option<(u8, Middle)> {
        self.levels.iter().enumerate().find_map(|(at, lane)| {
            let middle = lane.middle?;
            let bare = lane.returned.is_empty() && lane.head.is_empty();
            (bare && middle.head_expiry <= now).then(|| (u8::try_from(at).unwrap_or(u8::MAX), middle))
        })
    }

    /// At recovery: everything in this lane is on disk.
    pub(super) fn recover(&mut self, lane: u8, middle: Middle) {
        // A queue whose priorities were fewer at its last declaration still holds what it held.
        while self.levels.len() <= usize::from(lane) {
            self.levels.push(Lane::default());
        }
        self.count += middle.count;
        self.bytes += middle.bytes;
        self.levels[usize::from(lane)].middle = Some(middle);
    }

    /// The range still on disk in this lane.
    pub(super) fn middle(&self, lane: u8) -> Option<Middle> {
        self.levels.get(usize::from(lane)).and_then(|l| l.middle)
    }

    /// All ranges still on disk.
    pub(super) fn middles(&self) -> impl Iterator<Item = Middle> {
        self.levels.iter().filter_map(|lane| lane.middle)
    }

    /// Brings loaded messages in behind the head; `next` is where the rest of the middle starts, if there is a rest.
    /// Totals are corrected by what turned out to be missing.
    pub(super) fn load(&mut self, lane: u8, entries: Vec<Entry>, next: Option<Seq>) {
        let Some(slot) = self.levels.get_mut(usize::from(lane)) else { return };
        let Some(mut middle) = slot.middle.take() else { return };
        let loaded = entries.len() as u64;
        let bytes: u64 = entries.iter().map(|e| u64::from(e.body_len)).sum();
        slot.head.extend(entries);
        middle.count = middle.count.saturating_sub(loaded);
        middle.bytes = middle.bytes.saturating_sub(bytes);
        if let Some(from) = next {
            slot.middle = Some(Middle { from, head_expiry: 0, ..middle });
        } else {
            self.count = self.count.saturating_sub(middle.count);
            self.bytes = self.bytes.saturating_sub(middle.bytes);
            let mut tail = std::mem::take(&mut slot.tail);
            slot.head.append(&mut tail);
        }
    }

    /// Takes everything out: the resident messages, and the ranges on disk by lane.
    pub(super) fn clear(&mut self) -> (Vec<Entry>, Vec<(u8, Middle)>) {
        let (mut entries, mut middles) = (Vec::new(), Vec::new());
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

    /// Every resident message that was handed to a client before.
    pub(super) fn redelivered(&self) -> impl Iterator<Item = &Entry> {
        self.levels
            .iter()
            .flat_map(|lane| lane.returned.values().chain(&lane.head).chain(&lane.tail))
            .filter(|entry| entry.redelivered)
    }
}
