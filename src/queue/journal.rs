//! A queue's work for the next commit.
//!
//! Why it lives in the queue: a put must reach the store before its settle. Both are appended under the queue's lock,
//! so they are in order, and a message settled while its put is still here is cancelled without touching the disk.

use std::collections::{BTreeMap, VecDeque};

use crate::store::{Count, DropRange, Epoch, Put, QueueBatch, QueueId, Seq, Settle};

/// Pending durable work of one queue.
#[derive(Debug, Default)]
pub struct Journal {
    /// Puts not yet taken by the writer, ascending by seq; `None` marks a cancelled one.
    puts: VecDeque<(Seq, Option<Put>)>,
    settles: Vec<Settle>,
    /// The latest count of each message that came back; never of one that is settled.
    counts: BTreeMap<Seq, Count>,
    drops: Vec<DropRange>,
    /// The epoch this work belongs to, while the queue is registered with the intake.
    epoch: Option<Epoch>,
    urgent: bool,
    /// Octets added, less octets cancelled, since the handle last collected them for the gauge.
    grown: isize,
    /// Octets of records held here.
    bytes: usize,
}

/// What a put weighs on the gauge, in octets.
fn charge(put: &Put) -> isize {
    isize::try_from(put.weight()).unwrap_or(isize::MAX)
}

/// The writer's share of a journal.
#[derive(Debug, Default)]
pub struct Taken {
    puts: VecDeque<(Seq, Option<Put>)>,
    settles: Vec<Settle>,
    counts: BTreeMap<Seq, Count>,
    drops: Vec<DropRange>,
    /// Octets to take off the gauge once committed.
    pub bytes: usize,
}

impl Taken {
    /// The same work as the engine wants it; `None` if everything was cancelled.
    pub fn into_batch(self, queue: QueueId) -> Option<QueueBatch> {
        let puts: Vec<Put> = self.puts.into_iter().filter_map(|(_, put)| put).collect();
        if puts.is_empty() && self.settles.is_empty() && self.counts.is_empty() && self.drops.is_empty() {
            return None;
        }
        let counts = self.counts.into_values().collect();
        Some(QueueBatch { queue, puts, settles: self.settles, counts, drops: self.drops, redelivered: Vec::new() })
    }
}

impl Journal {
    /// Appends a message to be kept.
    pub fn put(&mut self, put: Put) {
        let bytes = charge(&put);
        self.bytes += bytes.unsigned_abs();
        self.grown += bytes;
        self.puts.push_back((put.seq, Some(put)));
    }

    /// Notes how often a kept message came back.
    pub fn count(&mut self, count: Count) {
        self.counts.insert(count.seq, count);
    }

    /// Notes that a kept message is no longer needed: cancels its put if the writer has not taken it yet.
    pub fn settle(&mut self, settle: Settle) {
        if settle.counted {
            self.counts.remove(&settle.seq);
        }
        let pending = match self.puts.front() {
            Some((first, _)) if *first == settle.seq => {
                if let Some((_, put)) = self.puts.pop_front() {
                    self.cancelled(put);
                }
                return;
            }
            Some((first, _)) if *first < settle.seq => {
                self.puts.binary_search_by_key(&settle.seq, |(seq, _)| *seq).ok()
            }
            _ => None,
        };
        match pending {
            Some(at) => {
                let put = self.puts[at].1.take();
                self.cancelled(put);
            }
            None => self.settles.push(settle),
        }
    }

    fn cancelled(&mut self, put: Option<Put>) {
        if let Some(put) = put {
            let bytes = charge(&put);
            self.bytes -= bytes.unsigned_abs();
            self.grown -= bytes;
        }
    }

    /// Notes that a range of kept messages is no longer needed; none of them may be in this journal.
    pub fn drop_range(&mut self, range: DropRange) {
        self.drops.push(range);
    }

    /// Whether there is anything to commit.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.settles.is_empty() && self.counts.is_empty() && self.drops.is_empty()
    }

    /// The epoch that will make the present work durable; `None` while not registered.
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Somebody waits for this work.
    pub(super) fn urge(&mut self) -> bool {
        !std::mem::replace(&mut self.urgent, true)
    }

    pub(super) fn registered(&mut self, epoch: Epoch) {
        self.epoch = Some(epoch);
    }

    /// Octets added, less octets cancelled, since the last call.
    pub(super) fn growth(&mut self) -> isize {
        std::mem::take(&mut self.grown)
    }

    /// Hands everything to the writer; what comes later belongs to a later epoch.
    pub fn take(&mut self) -> Taken {
        self.epoch = None;
        self.urgent = false;
        Taken {
            puts: std::mem::take(&mut self.puts),
            settles: std::mem::take(&mut self.settles),
            counts: std::mem::take(&mut self.counts),
            drops: std::mem::take(&mut self.drops),
            bytes: std::mem::take(&mut self.bytes),
        }
    }

    /// Forgets all pending work (the queue is deleted; dropping it is a definition).
    pub fn clear(&mut self) {
        for (_, put) in std::mem::take(&mut self.puts) {
            self.cancelled(put);
        }
        self.settles.clear();
        self.counts.clear();
        self.drops.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::NEVER;
    use crate::message::{Draft, Facts, address};

    fn put(seq: Seq) -> Put {
        let message = Draft::new(&address(b"", b"q").unwrap(), &[0, 0], 0, Facts::default()).finish().unwrap();
        Put { seq, lane: 0, expires_at: NEVER, message }
    }

    fn settle(seq: Seq) -> Settle {
        Settle { seq, lane: 0, body_len: 0, counted: false }
    }

    #[test]
    fn a_message_settled_before_the_writer_came_never_reaches_the_store() {
        let mut journal = Journal::default();
        for seq in [1, 2, 5, 9] {
            journal.put(put(seq));
        }
        journal.settle(settle(1));
        journal.settle(settle(5));
        let batch = journal.take().into_batch(QueueId(1)).unwrap();
        assert_eq!(batch.puts.iter().map(|p| p.seq).collect::<Vec<_>>(), [2, 9]);
        assert!(batch.settles.is_empty());
    }

    #[test]
    fn a_message_settled_while_in_flight_is_settled_by_the_next_commit() {
        let mut journal = Journal::default();
        journal.put(put(1));
        journal.put(put(2));
        assert!(journal.take().into_batch(QueueId(1)).is_some());
        journal.put(put(3));
        journal.settle(settle(2));
        let batch = journal.take().into_batch(QueueId(1)).unwrap();
        assert_eq!((batch.puts.len(), batch.settles), (1, vec![settle(2)]));
    }

    #[test]
    fn the_latest_count_is_kept_and_a_settled_message_has_none() {
        let count = |seq, failures| Count { seq, lane: 0, failures, acquired: failures };
        let mut journal = Journal::default();
        journal.put(put(1));
        for change in [count(1, 1), count(2, 1), count(3, 1), count(3, 2)] {
            journal.count(change);
        }
        journal.settle(Settle { counted: true, ..settle(1) });
        journal.settle(Settle { counted: true, ..settle(2) });
        let batch = journal.take().into_batch(QueueId(1)).unwrap();
        assert_eq!((batch.puts.len(), batch.counts), (0, vec![count(3, 2)]));
        assert_eq!(batch.settles, [Settle { counted: true, ..settle(2) }], "the first never reached the store");
        assert!(journal.is_empty());
    }

    #[test]
    fn work_that_cancels_out_is_no_batch() {
        let mut journal = Journal::default();
        journal.put(put(1));
        journal.put(put(2));
        journal.settle(settle(2));
        journal.settle(settle(1));
        let taken = journal.take();
        assert_eq!(taken.bytes, 0, "what was cancelled weighs nothing");
        assert_eq!(journal.growth(), 0);
        assert!(taken.into_batch(QueueId(1)).is_none());
    }
}
