//! Which messages of a batch are one record in several queues.
//!
//! A message that was routed to many queues is one allocation with many holders, and stays that up to the commit. So
//! within a batch, which holds on to all of its messages, the same address is the same record. Pure functions.
//! Deliberately absent: what an engine makes of it.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Put, QueueBatch};

/// Octets of a body from which on it is worth a place of its own when it goes to several queues. A body in a place of
/// its own takes whole pages and two small rows more. 4 KiB to two queues cost the same time either way (37 KB written a
/// commit instead of 33), to ten half of it (37 KB instead of 98); below, it is the places that cost. A threshold of 16 KiB
/// would leave a factor of 2.6 to 4.5 to ten queues. Measured with `cargo bench --bench store -- fanout`.
pub(super) const SHARED_BODY: u32 = 4 << 10;

/// Identity of a record within its batch; `None` if it is too small to be shared.
pub(super) fn identity(put: &Put) -> Option<usize> {
    (put.message.body_len() >= SHARED_BODY).then(|| put.message.record().as_ptr().addr())
}

/// The records that stand more than once in this work, with how often.
pub(super) fn counts<'a>(work: impl IntoIterator<Item = &'a QueueBatch>) -> FxHashMap<usize, u64> {
    let mut counts = FxHashMap::default();
    for record in work.into_iter().flat_map(|work| &work.puts).filter_map(identity) {
        let count: &mut u64 = counts.entry(record).or_default();
        *count = count.saturating_add(1);
    }
    counts.retain(|_, count| *count > 1);
    counts
}

/// The records met so far.
#[derive(Debug, Default)]
pub(super) struct Met(FxHashSet<usize>);

impl Met {
    /// Notes a message. `true` if its record was met before, so that it need not be written again.
    pub(super) fn again(&mut self, put: &Put) -> bool {
        identity(put).is_some_and(|record| !self.0.insert(record))
    }
}
