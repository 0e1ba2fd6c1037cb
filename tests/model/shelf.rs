//! A naive store: what the journals said, message by message, with the promises checked that the engines rely on.

use std::collections::BTreeMap;

use leveret::queue::{Journal, Load};
use leveret::store::{Count, Page, Put, QueueId, RecoveredLane, RecoveredQueue, Stored};

use crate::messages;

/// Kept messages by position, and the counts of some of them.
#[derive(Debug, Default)]
pub(crate) struct Shelf(BTreeMap<u64, Put>, BTreeMap<u64, Count>);

impl Shelf {
    /// Keeps a message.
    pub(crate) fn put(&mut self, put: Put) {
        assert!(self.0.insert(put.seq, put).is_none(), "a position is given once");
    }

    /// Keeps a count.
    pub(crate) fn count(&mut self, count: Count) {
        let put = self.0.get(&count.seq).expect("only what is kept is counted");
        assert_eq!(put.lane, count.lane);
        self.1.insert(count.seq, count);
    }

    /// Applies and empties a journal.
    pub(crate) fn apply(&mut self, journal: &mut Journal) {
        let Some(batch) = journal.take().into_batch(QueueId(1)) else { return };
        assert!(batch.puts.is_sorted_by(|a, b| a.seq < b.seq), "puts ascend");
        // Before the puts: a batch never puts and settles the same message.
        for settle in batch.settles {
            let put = self.0.remove(&settle.seq).expect("only what an earlier batch put is settled, and once");
            assert_eq!((put.lane, put.message.body_len()), (settle.lane, settle.body_len));
            assert!(self.1.remove(&settle.seq).is_none() || settle.counted, "the engine looks for counts when told to");
        }
        for put in batch.puts {
            self.put(put);
        }
        for count in batch.counts {
            self.count(count);
        }
        for range in batch.drops {
            self.0.retain(|seq, put| put.lane != range.lane || !(range.from..range.until).contains(seq));
            self.1.retain(|seq, _| self.0.contains_key(seq));
        }
    }

    /// Ids of the messages kept, ascending.
    pub(crate) fn ids(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.0.values().map(|put| messages::id(&put.message)).collect();
        ids.sort_unstable();
        ids
    }

    /// Ids and counts of the messages that have some, ascending.
    pub(crate) fn counted(&self) -> Vec<(u64, (u32, u32))> {
        let counts = self.1.values().map(|c| (messages::id(&self.0[&c.seq].message), (c.failures, c.acquired)));
        let mut counted: Vec<_> = counts.collect();
        counted.sort_unstable();
        counted
    }

    /// Forgets what no range covers.
    pub(crate) fn keep_only(&mut self, ranges: &[(u8, u64, u64)]) {
        let covers =
            |put: &Put| ranges.iter().any(|(at, from, until)| put.lane == *at && (*from..*until).contains(&put.seq));
        self.0.retain(|_, put| covers(put));
    }

    /// Answers a load with at most `most` messages.
    pub(crate) fn read(&self, load: Load, most: usize) -> Page {
        let mut range = self.0.range(load.from..load.until).map(|(_, put)| put).filter(|put| put.lane == load.lane);
        let messages = range
            .by_ref()
            .take(most)
            .map(|put| Stored { seq: put.seq, expires_at: put.expires_at, message: put.message.clone() })
            .collect();
        Page { messages, next: range.next().map(|put| put.seq), damaged: 0 }
    }

    /// What a queue is told at recovery.
    pub(crate) fn recover(&self, next_seq: u64, redelivered: Vec<u64>) -> RecoveredQueue {
        let mut lanes: Vec<RecoveredLane> = Vec::new();
        for put in self.0.values() {
            let bytes = u64::from(put.message.body_len());
            match lanes.iter_mut().find(|lane| lane.lane == put.lane) {
                Some(lane) => {
                    lane.count += 1;
                    lane.bytes += bytes;
                    lane.last = put.seq;
                }
                None => lanes.push(RecoveredLane {
                    lane: put.lane,
                    count: 1,
                    bytes,
                    first: put.seq,
                    last: put.seq,
                    head_expiry: put.expires_at,
                }),
            }
        }
        lanes.sort_by_key(|lane| lane.lane);
        RecoveredQueue { lanes, next_seq, redelivered, counts: self.1.values().copied().collect() }
    }
}
