//! The publishes of one turn, gathered per queue, so that each queue is locked once.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::message::Message;
use crate::queue::Queue;

/// What the vectors kept for the next turn may hold together, in messages: one long run, or a fan-out to thousands of
/// queues, whose vectors would otherwise be allocated for each message. Given back when there is nothing to do.
const SPARE: usize = 32_768;

/// The memory of a run.
type Vectors = (Vec<Message>, Vec<(u16, u64)>);

/// Messages gathered for one queue.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) queue: Arc<Queue>,
    pub(super) messages: Vec<Message>,
    /// Channel and confirm tag of each message; tag 0 is not to be confirmed.
    pub(super) tags: Vec<(u16, u64)>,
}

impl Run {
    /// Octets of the bodies.
    pub(super) fn octets(&self) -> u64 {
        self.messages.iter().map(|message| u64::from(message.body_len())).sum()
    }
}

/// The publishes of one turn.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    runs: Vec<Run>,
    by_queue: FxHashMap<u64, usize>,
    last: usize,
    /// Channels in confirm mode that published in this turn.
    confirming: Vec<u16>,
    /// Publishes refused by a queue, to be told to their gates.
    refused: Vec<(u16, u64)>,
    /// The highest epoch among the turn's pushes.
    epoch: u64,
    /// Vectors to be used again.
    spare: Vec<Vectors>,
    /// What they may hold together, in messages.
    spare_room: usize,
}

impl Publisher {
    /// Whether nothing is gathered.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Queues gathered for.
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether somebody waits for what is gathered to be durable.
    pub(super) fn confirms(&self) -> bool {
        !self.confirming.is_empty()
    }

    /// A publish on this channel is to be confirmed.
    pub(super) fn confirm(&mut self, channel: u16) {
        if !self.confirming.contains(&channel) {
            self.confirming.push(channel);
        }
    }

    /// Where a message for `queue` is put.
    pub(super) fn run(&mut self, queue: &Arc<Queue>) -> &mut Run {
        let known = match self.runs.get(self.last) {
            Some(run) if Arc::ptr_eq(&run.queue, queue) => Some(self.last),
            _ => self.by_queue.get(&queue.id().0).copied(),
        };
        let at = known.unwrap_or_else(|| {
            let (messages, tags) = self.spare.pop().unwrap_or_default();
            self.spare_room = self.spare_room.saturating_sub(messages.capacity());
            self.runs.push(Run { queue: queue.clone(), messages, tags });
            self.by_queue.insert(queue.id().0, self.runs.len() - 1);
            self.runs.len() - 1
        });
        self.last = at;
        &mut self.runs[at]
    }

    /// Hands out everything gathered; to be given back by [`Publisher::reuse`] once pushed.
    pub(super) fn take(&mut self) -> Vec<Run> {
        self.by_queue.clear();
        std::mem::take(&mut self.runs)
    }

    /// Notes what a push led to: the epoch it waits for, and which of the run's publishes were refused.
    pub(super) fn pushed(&mut self, run: &Run, epoch: u64, refused: impl Iterator<Item = usize>) {
        self.epoch = self.epoch.max(epoch);
        self.refused.extend(refused.filter_map(|at| run.tags.get(at).copied()).filter(|(_, tag)| *tag > 0));
    }

    /// Keeps the memory of pushed runs for the next turn.
    pub(super) fn reuse(&mut self, mut runs: Vec<Run>) {
        for mut run in runs.drain(..) {
            let room = self.spare_room.saturating_add(run.messages.capacity());
            if room <= SPARE {
                self.spare_room = room;
                run.tags.clear();
                self.spare.push((run.messages, run.tags));
            }
        }
        self.runs = runs;
    }

    /// Confirms gathered since the last call: for each channel the epoch its publishes wait for, after the refusals.
    pub(super) fn take_confirms(&mut self, mut each: impl FnMut(u16, &[(u16, u64)], u64)) {
        let epoch = std::mem::take(&mut self.epoch);
        for channel in self.confirming.drain(..) {
            each(channel, &self.refused, epoch);
        }
        self.refused.clear();
    }

    /// Gives memory back.
    pub(super) fn relax(&mut self) {
        self.spare = Vec::new();
        self.spare_room = 0;
        self.runs.shrink_to(0);
        self.by_queue.shrink_to(0);
    }
}
