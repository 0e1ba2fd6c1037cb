//! The part of the backlog that is on disk: asking for the next page, taking it in, and which of its messages were handed
//! out before.

use super::{Effects, Entry, Front, Load, Middle, Millis, Page, Redelivered, Seq, State};

impl State {
    pub(super) fn ask_load(&mut self, fx: &mut Effects) {
        if let Front::Paged(lane, middle) = self.lanes.front() {
            self.load(lane, middle, fx);
        }
    }

    pub(super) fn load(&mut self, lane: u8, middle: Middle, fx: &mut Effects) {
        if !std::mem::replace(&mut self.loading, true) {
            fx.load = Some(Load { lane, from: middle.from, until: middle.until });
        }
    }

    /// Takes in what was loaded for `asked`. Returns how many messages turned out to be damaged or missing.
    pub fn loaded(&mut self, asked: Load, page: Page, now: Millis, fx: &mut Effects) -> u64 {
        self.loading = false;
        if self.delay.is_some() {
            return self.fetched(asked, page, now, fx);
        }
        // A purge or delete may have come first; then the page is of no interest.
        let stands = self.lanes.middle(asked.lane).is_some_and(|m| m.from == asked.from && m.until == asked.until);
        let before = self.lanes.count();
        if stands {
            let entries = page.messages.into_iter().map(|stored| {
                let (failures, acquired) = self.counts.remove(&stored.seq).unwrap_or_default();
                Entry {
                    seq: stored.seq,
                    expires_at: stored.expires_at,
                    body_len: stored.message.body_len(),
                    lane: asked.lane,
                    durable: true,
                    redelivered: acquired > 0
                        || stored.message.facts().redelivered
                        || match &self.redelivered {
                            Redelivered::Below(seq) => stored.seq < *seq,
                            Redelivered::These(seqs) => seqs.contains(&stored.seq),
                        },
                    failures,
                    acquired,
                    message: stored.message,
                }
            });
            let entries = entries.collect();
            self.lanes.load(asked.lane, entries, page.next);
        }
        let missing = before - self.lanes.count();
        self.expire(now, fx);
        self.settle_down(now, fx);
        missing
    }

    /// Positions of kept ready messages that were handed to a client before, ascending; `None` if that is not known
    /// one by one (messages from before a crash are still on disk, or some are leased: to the courier, say).
    pub fn redelivered(&self) -> Option<Vec<Seq>> {
        if self.leased > 0 {
            return None;
        }
        let mut seqs: Vec<Seq> = self.lanes.redelivered().filter(|e| e.durable).map(|e| e.seq).collect();
        let paged = |seq: Seq| self.lanes.middles().any(|m| (m.from..m.until).contains(&seq));
        match &self.redelivered {
            Redelivered::These(marked) => seqs.extend(marked.iter().copied().filter(|seq| paged(*seq))),
            Redelivered::Below(until) if self.lanes.middles().any(|m| m.from < *until) => return None,
            Redelivered::Below(_) => {}
        }
        seqs.sort_unstable();
        seqs.dedup();
        Some(seqs)
    }
}
