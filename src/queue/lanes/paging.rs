//! Between memory and the middle of a lane: pages loaded from disk, and surplus that is given up to it.
//!
//! What is folded into a middle is a run without gaps: behind the head, before the tail, or from the end of the head.
//! A message the store keeps may be folded once its commit is done; one the store does not keep must have been spilled
//! first. Since messages leave a lane at its front only, every kept or spilled message between the ends of a middle
//! belongs to it, and what a middle does not cover is never read back.

use std::collections::VecDeque;

use super::{Entry, Lane, Lanes, Middle, weight};
use crate::clock::{Millis, NEVER};
use crate::store::{Put, Seq};

/// Most messages folded at once: the queue is locked meanwhile.
const CHUNK: usize = 2_048;

/// Most octets of records spilled at once.
const CHUNK_OCTETS: usize = 2 << 20;

/// Entries for which a row may keep room without holding them.
const SPARE: usize = 64;

/// Gives back the room of what has been folded: ten thousand queues would keep it ten thousand times.
fn relax(row: &mut VecDeque<Entry>) {
    if row.capacity() > SPARE && row.capacity() / 4 > row.len() {
        row.shrink_to(row.len().saturating_mul(2));
    }
}

/// Answer to a look for messages that need not be in memory.
#[derive(Debug)]
pub enum Surplus {
    /// The queue holds no more than it may.
    None,
    /// What it holds has not been committed yet.
    Uncommitted,
    /// These may be folded, once the copies in them are spilled.
    Some(Chunk),
}

/// A run of ready messages of one lane.
#[derive(Debug)]
pub struct Chunk {
    /// The lane.
    pub lane: u8,
    /// Position of the first.
    pub first: Seq,
    /// Position of the last.
    pub last: Seq,
    /// Those that the store does not keep.
    pub copies: Vec<Put>,
}

impl Chunk {
    fn of<'a>(lane: u8, entries: impl Iterator<Item = &'a Entry>) -> Option<Self> {
        let mut chunk: Option<Self> = None;
        let mut octets = 0;
        for entry in entries.take(CHUNK) {
            let Entry { seq, lane: _, expires_at, ref message, durable, .. } = *entry;
            let chunk = chunk.get_or_insert(Self { lane, first: seq, last: seq, copies: Vec::new() });
            chunk.last = seq;
            if !durable {
                octets += weight(entry);
                chunk.copies.push(Put { seq, lane, expires_at, message: message.clone() });
            }
            if octets > CHUNK_OCTETS {
                break;
            }
        }
        chunk
    }
}

impl Lane {
    /// How many messages at the front of the head weigh no more than `keep`; at least one.
    fn kept(&self, keep: usize) -> usize {
        let mut octets = 0;
        let within = self.head.iter().take_while(|entry| {
            octets += weight(entry);
            octets <= keep
        });
        within.count().max(1)
    }

    /// What may be folded next: the tail if there is a middle before it, or else the end of the head.
    fn surplus(&self, at: u8, keep: usize, committed: Seq, loading: bool) -> Surplus {
        let ready = |entry: &&Entry| !entry.durable || entry.seq < committed;
        let found = |chunk: Option<Chunk>| chunk.map_or(Surplus::Uncommitted, Surplus::Some);
        if self.middle.is_none() {
            let kept = if self.head_octets > keep { self.kept(keep) } else { self.head.len() };
            if self.head.len() <= kept {
                return Surplus::None;
            }
            return found(Chunk::of(at, self.head.range(kept..).take_while(ready)));
        }
        if !self.tail.is_empty() {
            return found(Chunk::of(at, self.tail.iter().take_while(ready)));
        }
        // Twice as much, so that what was just loaded is not given up again. Only what the store keeps: a copy of what had
        // been spilled before would meet the rest of the block it was in.
        let kept = if self.head_octets / 2 > keep && !loading { self.kept(keep) } else { self.head.len() };
        let run =
            self.head.range(kept.min(self.head.len())..).rev().take(CHUNK).take_while(|entry| entry.durable).count();
        Chunk::of(at, self.head.range(self.head.len() - run..)).map_or(Surplus::None, Surplus::Some)
    }

    fn fold(&mut self, first: Seq, last: Seq) -> Vec<Entry> {
        let folded: Vec<Entry> = match self.middle {
            None => {
                let from = self.head.partition_point(|entry| entry.seq < first);
                let to = self.head.partition_point(|entry| entry.seq <= last);
                if from == to {
                    return Vec::new();
                }
                self.tail = self.head.split_off(to);
                self.head_octets -= self.tail.iter().map(weight).sum::<usize>();
                self.head.split_off(from).into()
            }
            Some(middle) if middle.until <= first => {
                let to = self.tail.partition_point(|entry| entry.seq <= last);
                self.tail.drain(..to).collect()
            }
            Some(middle) if last < middle.from && self.head.back().is_none_or(|entry| entry.seq <= last) => {
                let from = self.head.partition_point(|entry| entry.seq < first);
                self.head.split_off(from).into()
            }
            // What was read or purged in the meantime stays in memory.
            Some(_) => return Vec::new(),
        };
        relax(&mut self.head);
        relax(&mut self.tail);
        let (Some(front), Some(back)) = (folded.first(), folded.last()) else { return folded };
        let at_head = self.middle.is_none_or(|middle| back.seq < middle.from);
        if at_head {
            self.head_octets -= folded.iter().map(weight).sum::<usize>();
        }
        let old = self.middle.unwrap_or(Middle {
            from: front.seq,
            until: back.seq + 1,
            count: 0,
            bytes: 0,
            head_expiry: NEVER,
            spilled: 0,
        });
        let expiry = folded.iter().map(|entry| entry.expires_at).min().unwrap_or(NEVER);
        self.middle = Some(Middle {
            from: old.from.min(front.seq),
            until: old.until.max(back.seq + 1),
            count: old.count + folded.len() as u64,
            bytes: old.bytes + folded.iter().map(|entry| u64::from(entry.body_len)).sum::<u64>(),
            head_expiry: if at_head { expiry } else { old.head_expiry },
            spilled: old.spilled + folded.iter().filter(|entry| !entry.durable).count() as u64,
        });
        folded
    }

    fn load(&mut self, entries: Vec<Entry>, next: Option<Seq>) -> Option<Middle> {
        let mut middle = self.middle.take()?;
        middle.count = middle.count.saturating_sub(entries.len() as u64);
        middle.bytes = middle.bytes.saturating_sub(entries.iter().map(|e| u64::from(e.body_len)).sum());
        middle.spilled = middle.spilled.saturating_sub(entries.iter().filter(|e| !e.durable).count() as u64);
        self.head_octets += entries.iter().map(weight).sum::<usize>();
        self.head.extend(entries);
        if let Some(from) = next.filter(|from| *from < middle.until) {
            self.middle = Some(Middle { from, head_expiry: 0, ..middle });
            return None;
        }
        let mut tail = std::mem::take(&mut self.tail);
        self.head_octets += tail.iter().map(weight).sum::<usize>();
        self.head.append(&mut tail);
        Some(middle)
    }
}

impl Lanes {
    /// At recovery: everything in this lane is on disk.
    pub(in crate::queue) fn recover(&mut self, lane: u8, middle: Middle) {
        // A queue whose priorities were fewer at its last declaration still holds what it held.
        while self.levels.len() <= usize::from(lane) {
            self.levels.push(Lane::default());
        }
        self.count += middle.count;
        self.bytes += middle.bytes;
        self.levels[usize::from(lane)].middle = Some(middle);
    }

    /// The range still on disk in this lane.
    pub(in crate::queue) fn middle(&self, lane: u8) -> Option<Middle> {
        self.levels.get(usize::from(lane)).and_then(|l| l.middle)
    }

    /// All ranges still on disk, by lane.
    pub(in crate::queue) fn middles(&self) -> impl Iterator<Item = (u8, Middle)> {
        self.numbered().filter_map(|(at, lane)| Some((at, lane.middle?)))
    }

    fn numbered(&self) -> impl Iterator<Item = (u8, &Lane)> {
        (0..=u8::MAX).zip(&self.levels)
    }

    /// A lane whose front is on disk and may have expired by `now`.
    pub(in crate::queue) fn paged_due(&self, now: Millis) -> Option<(u8, Middle)> {
        self.numbered().find_map(|(at, lane)| {
            let middle = lane.middle?;
            let bare = lane.returned.is_empty() && lane.head.is_empty();
            (bare && middle.head_expiry <= now).then_some((at, middle))
        })
    }

    /// The lane that is being served, if its head will soon be used up and what follows is on disk.
    pub(in crate::queue) fn runs_low(&self, low: usize) -> Option<(u8, Middle)> {
        let at = self.turn()?;
        let lane = &self.levels[at];
        let middle = lane.middle.filter(|_| lane.head_octets < low)?;
        Some((u8::try_from(at).unwrap_or(u8::MAX), middle))
    }

    /// Brings loaded messages in behind the head; `next` is where the rest of the middle starts, if there is a rest.
    /// Totals are corrected by what turned out to be missing.
    pub(in crate::queue) fn load(&mut self, lane: u8, entries: Vec<Entry>, next: Option<Seq>) {
        if let Some(missing) = self.levels.get_mut(usize::from(lane)).and_then(|lane| lane.load(entries, next)) {
            self.count = self.count.saturating_sub(missing.count);
            self.bytes = self.bytes.saturating_sub(missing.bytes);
        }
    }

    /// Ready messages that need not be in memory if the queue may keep about `keep` octets there. Those before
    /// `committed` are on disk if they ever will be. While a load is under way its place is not moved.
    pub(in crate::queue) fn surplus(&self, keep: usize, committed: Seq, loading: bool) -> Surplus {
        let mut answer = Surplus::None;
        for (at, lane) in self.numbered() {
            match lane.surplus(at, keep / self.levels.len().max(1), committed, loading) {
                Surplus::None => {}
                Surplus::Uncommitted => answer = Surplus::Uncommitted,
                found @ Surplus::Some(_) => return found,
            }
        }
        answer
    }

    /// Folds what is still there of a run into its lane's middle, but not before its start while a load reads from there.
    /// The entries are handed back so that their memory is
    /// freed where nobody waits for it.
    pub(in crate::queue) fn fold(&mut self, lane: u8, first: Seq, last: Seq, loading: bool) -> Vec<Entry> {
        let Some(lane) = self.levels.get_mut(usize::from(lane)) else { return Vec::new() };
        if loading && lane.middle.is_some_and(|middle| last < middle.from) {
            return Vec::new();
        }
        lane.fold(first, last)
    }
}
