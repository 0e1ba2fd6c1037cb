//! The part of the backlog that is on disk: asking for the next page, taking it in, giving up what need not be in
//! memory, and which messages of a page were handed out before.

use super::{Effects, Entry, Front, Load, Middle, Millis, Page, Redelivered, Seq, State};
use crate::queue::lanes::{Chunk, Surplus};
use crate::store::{Epoch, Stored};

/// How far the store has got with this queue's puts.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Every put before this position is committed, or was never needed.
    until: Seq,
    /// Commits under way, in order, and the position before which they hold every put. The last one stands for all
    /// since.
    taken: [Option<(Epoch, Seq)>; 2],
}

impl Kept {
    /// At recovery: all there is.
    pub(super) fn all_before(until: Seq) -> Self {
        Self { until, taken: [None; 2] }
    }

    fn taken(&mut self, epoch: Epoch, until: Seq) {
        let free = usize::from(self.taken[0].is_some());
        self.taken[free] = Some((epoch, until));
    }

    fn learn(&mut self, committed: Epoch) -> Seq {
        while let [Some((epoch, until)), next] = self.taken
            && epoch <= committed
        {
            self.until = until;
            self.taken = [next, None];
        }
        self.until
    }
}

/// The pages of both places in order, with whether the store keeps a message; and where to read on.
fn merge(kept: Page, spilled: Page) -> (impl Iterator<Item = (Stored, bool)>, Option<Seq>) {
    let next = kept.next.into_iter().chain(spilled.next).min();
    let kept = kept.messages.into_iter().map(|stored| (stored, true));
    let spilled = spilled.messages.into_iter().map(|stored| (stored, false));
    let mut all: Vec<_> = kept.chain(spilled).collect();
    all.sort_by_key(|(stored, _)| stored.seq);
    (all.into_iter().take_while(move |(stored, _)| next.is_none_or(|next| stored.seq < next)), next)
}

impl State {
    pub(super) fn ask_load(&mut self, fx: &mut Effects) {
        if let Front::Paged(lane, middle) = self.lanes.front() {
            self.load(lane, middle, fx);
        }
    }

    /// Asks for the next page before it is needed: when less than half of one is left. Pages are smaller where many queues
    /// share the memory.
    pub(super) fn read_ahead(&mut self, fx: &mut Effects) {
        if !self.loading
            && let Some((lane, middle)) = self.lanes.runs_low(self.page / 2)
        {
            self.load(lane, middle, fx);
        }
    }

    pub(super) fn load(&mut self, lane: u8, middle: Middle, fx: &mut Effects) {
        if !std::mem::replace(&mut self.loading, true) {
            let Middle { from, until, spilled, .. } = middle;
            fx.load = Some(Load { lane, from, until, spilled: spilled > 0 });
        }
    }

    /// Takes in what was loaded for `asked`: what the store keeps, and what was spilled. Returns how many messages
    /// turned out to be damaged or missing.
    pub fn loaded(&mut self, asked: Load, page: Page, spilled: Page, now: Millis, fx: &mut Effects) -> u64 {
        self.loading = false;
        if self.delay.is_some() {
            return self.fetched(asked, page, now, fx);
        }
        // A purge or delete may have come first; then the page is of no interest. More may have been folded behind it.
        let stands = self.lanes.middle(asked.lane).filter(|m| m.from == asked.from && m.until >= asked.until);
        let before = self.lanes.count();
        if let Some(middle) = stands {
            let (messages, next) = merge(page, spilled);
            let entries: Vec<Entry> = messages.map(|(stored, kept)| self.entry_of(stored, kept, asked.lane)).collect();
            self.page = entries.iter().map(|entry| entry.message.record().len()).sum();
            self.tally.disk_reads += entries.len() as u64;
            let next = next.or((middle.until > asked.until).then_some(asked.until));
            self.lanes.load(asked.lane, entries, next);
        }
        let missing = before - self.lanes.count();
        self.expire(now, fx);
        self.settle_down(now, fx);
        missing
    }

    fn entry_of(&mut self, stored: Stored, kept: bool, lane: u8) -> Entry {
        let (failures, acquired) = self.counts.remove(&stored.seq).unwrap_or_default();
        let seen = self.redelivered.covers(stored.seq);
        Entry {
            seq: stored.seq,
            expires_at: stored.expires_at,
            body_len: stored.message.body_len(),
            lane,
            durable: kept,
            redelivered: acquired > 0 || stored.message.facts().redelivered || (kept && seen),
            failures,
            acquired,
            message: stored.message,
        }
    }

    /// The writer takes the journal for the commit of `epoch`.
    pub fn journal_taken(&mut self, epoch: Epoch) {
        self.kept.taken(epoch, self.next_seq);
        if let Some(waiting) = &mut self.delay {
            waiting.journal_taken(self.next_seq);
        }
    }

    /// What need not be in memory if the queue may keep about `keep` octets of records there, now that epochs up to
    /// `committed` are durable.
    pub fn surplus(&mut self, keep: usize, committed: Epoch) -> Surplus {
        let until = self.kept.learn(committed);
        self.lanes.surplus(keep, until, self.loading)
    }

    /// Gives up what is still there of a chunk, whose copies have been spilled. To be dropped with the queue unlocked.
    pub fn fold(&mut self, chunk: &Chunk) -> Vec<Entry> {
        let folded = self.lanes.fold(chunk.lane, chunk.first, chunk.last, self.loading);
        let counted = folded.iter().filter(|entry| entry.acquired > 0);
        self.counts.extend(counted.map(|entry| (entry.seq, (entry.failures, entry.acquired))));
        folded
    }

    /// Ready messages that are on disk alone.
    pub fn paged(&self) -> u64 {
        self.lanes.middles().map(|(_, middle)| middle.count).sum()
    }

    /// By lane, the first and the last position that may have a copy in the spill; of no lane that has none.
    pub fn spilled(&self) -> Vec<(u8, Seq, Seq)> {
        let ranges = self.lanes.middles().filter(|(_, middle)| middle.spilled > 0);
        ranges.map(|(lane, middle)| (lane, middle.from, middle.until)).collect()
    }

    /// Positions of kept ready messages that were handed to a client before, ascending; `None` if that is not known
    /// one by one (messages from before a crash are still on disk, or some are leased: to the courier, say).
    pub fn redelivered(&self) -> Option<Vec<Seq>> {
        if self.leased > 0 {
            return None;
        }
        let mut seqs: Vec<Seq> = self.lanes.redelivered().filter(|e| e.durable).map(|e| e.seq).collect();
        let paged = |seq: Seq| self.lanes.middles().any(|(_, m)| (m.from..m.until).contains(&seq));
        match &self.redelivered {
            Redelivered::These(marked) => seqs.extend(marked.iter().copied().filter(|seq| paged(*seq))),
            Redelivered::Below(until) if self.lanes.middles().any(|(_, m)| m.from < *until) => return None,
            Redelivered::Below(_) => {}
        }
        seqs.sort_unstable();
        seqs.dedup();
        Some(seqs)
    }
}
