//! What durability means here: the [`Engine`] seam and the plain data that crosses it.
//!
//! A batch is *logical*: append, settle, drop, define, in terms of queue ids and sequence numbers. Blocks, bitmaps and
//! merging belong to the engine. A commit answers [`Commit::Done`] only after everything in the batch would survive a
//! power cut. Batches are committed one after another, in epoch order, by one thread.
//!
//! This room has never heard of queues, exchanges or sessions: it knows queue *ids*, *lanes* (priority levels of a
//! queue, 0 for queues without priorities) and sequence numbers, which ascend within a queue and are never reused
//! while the queue lives. Deliberately absent: threads, locks taken by others, clocks, any AMQP meaning.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing))]

pub mod faulty;
pub mod lmdb;
pub mod memory;
pub mod redo;
mod relief;
mod sharing;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fixture;

pub use relief::{Allowance, Held};

use crate::message::Message;

/// Bookkeeping octets counted for a put beside its record.
const PUT_OVERHEAD: usize = 64;

/// Identity of a queue in the store; never reused, also not after the queue's deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

impl QueueId {
    /// The highest identity that is believed when it is read back. No broker comes near: a million a second reach it in
    /// 70,000 years. Were damage believed that says otherwise, there would be no next one to give out.
    pub const HIGHEST: Self = Self(1 << 61);
}

/// Position of a message in its queue; ascends with every push, from 1.
pub type Seq = u64;

/// Number of a commit; ascends from 1. What carries epoch 0 needs no commit.
pub type Epoch = u64;

/// Which records of a redo log are not in the store yet: those that bear the same number. Drawn at random, so that neither
/// an older log nor a message's body can pass for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(pub u64);

/// A message to be kept.
#[derive(Clone, Debug)]
pub struct Put {
    /// Its position in the queue.
    pub seq: Seq,
    /// Its priority level.
    pub lane: u8,
    /// When it expires, in milliseconds since the Unix epoch; [`crate::clock::NEVER`] if it does not.
    pub expires_at: u64,
    /// The message itself.
    pub message: Message,
}

impl Put {
    /// What it counts for while it is on its way to the disk, in octets: its record and some bookkeeping.
    pub fn weight(&self) -> usize {
        self.message.record().len().saturating_add(PUT_OVERHEAD)
    }
}

/// A kept message that is no longer needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Its position in the queue.
    pub seq: Seq,
    /// Its priority level.
    pub lane: u8,
    /// Length of its body in octets, so that the engine can keep totals without reading the body.
    pub body_len: u32,
    /// There may be a [`Count`] of it, which goes with it.
    pub counted: bool,
}

/// How often a kept message came back from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Its position in the queue.
    pub seq: Seq,
    /// Its priority level.
    pub lane: u8,
    /// How many of its deliveries failed.
    pub failures: u32,
    /// How often it was handed out.
    pub acquired: u32,
}

/// All kept messages of one lane with `from <= seq < until` are no longer needed (purge).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropRange {
    /// The lane.
    pub lane: u8,
    /// First position dropped.
    pub from: Seq,
    /// First position kept.
    pub until: Seq,
}

/// The work of one queue in one commit. Puts and settles never name the same message; drops are applied last, so that
/// a range covers what the same batch puts into it.
#[derive(Clone, Debug)]
pub struct QueueBatch {
    /// The queue.
    pub queue: QueueId,
    /// Messages to keep, ascending by `seq`.
    pub puts: Vec<Put>,
    /// Messages kept by earlier commits and settled since, in any order.
    pub settles: Vec<Settle>,
    /// Counts of messages kept by this or earlier commits and not settled in this one, each in place of an earlier
    /// count of its message; in any order, at most one a message.
    pub counts: Vec<Count>,
    /// Ranges purged, with the counts of what is in them.
    pub drops: Vec<DropRange>,
    /// At a clean shutdown: positions of kept messages that were handed to a client before, ascending.
    pub redelivered: Vec<Seq>,
}

impl QueueBatch {
    /// An empty batch of one queue.
    pub fn new(queue: QueueId) -> Self {
        Self {
            queue,
            puts: Vec::new(),
            settles: Vec::new(),
            counts: Vec::new(),
            drops: Vec::new(),
            redelivered: Vec::new(),
        }
    }
}

/// Key of a definition: opaque to the engine, at most [`MAX_KEY`] octets, never empty.
pub type DefinitionKey = Vec<u8>;

/// Longest definition key in octets (LMDB's limit).
pub const MAX_KEY: usize = 511;

/// A change of the durable topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Define {
    /// Creates or replaces a definition.
    Put {
        /// Its key.
        key: DefinitionKey,
        /// Its value, JSON.
        value: Vec<u8>,
    },
    /// Removes a definition.
    Delete {
        /// Its key.
        key: DefinitionKey,
    },
    /// A queue is gone with everything in it; the engine may remove the messages later, in pieces. Work for the queue
    /// in the same batch is ignored; later batches must not name it.
    DropQueue {
        /// The queue.
        queue: QueueId,
    },
    /// No queue id below this one will be handed out again.
    NextQueueId(u64),
}

/// Everything that becomes durable together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Its number.
    pub epoch: Epoch,
    /// Topology changes, in the order they were made; applied before the queues' work.
    pub definitions: Vec<Define>,
    /// Work of the queues, at most one entry a queue.
    pub queues: Vec<QueueBatch>,
    /// This is the last batch of an orderly shutdown.
    pub clean_shutdown: bool,
    /// With this batch everything of a redo log's earlier records is in the store; those of this generation come after it.
    pub generation: Option<Generation>,
}

/// The answer to a commit.
#[derive(Debug)]
#[must_use]
pub enum Commit {
    /// Everything in the batch is durable.
    Done,
    /// Another node has taken over; nothing of the batch is durable and nothing more may be confirmed.
    Fenced,
    /// No room for the batch (disk or map full): nothing of it is durable, it may be tried again.
    Full(StoreError),
    /// It is not known what is durable; nothing more may be confirmed and the process must end.
    Unknown(StoreError),
}

/// How much an engine can still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Octets that can still be written: what is free on the file system and, already, within the store's file, but not
    /// beyond the upper bound of that file.
    pub room: u64,
    /// Octets that the file system or the file may hold in all, whichever is less.
    pub total: u64,
    /// Octets of the room that new messages must leave to acknowledgements and deletions, which need some in order to
    /// make some.
    pub reserve: u64,
}

/// A kept message, as read back.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its position in the queue.
    pub seq: Seq,
    /// When it expires; [`crate::clock::NEVER`] if it does not.
    pub expires_at: u64,
    /// The message itself.
    pub message: Message,
}

/// Answer to [`Engine::read`].
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Kept messages in ascending order.
    pub messages: Vec<Stored>,
    /// Where to go on reading; `None` at the end of the range.
    pub next: Option<Seq>,
    /// How many kept messages of the pages read were damaged and are set aside.
    pub damaged: u64,
}

/// What a lane held at recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredLane {
    /// The lane.
    pub lane: u8,
    /// Kept messages.
    pub count: u64,
    /// Octets of their bodies.
    pub bytes: u64,
    /// Position of the first.
    pub first: Seq,
    /// Position of the last.
    pub last: Seq,
    /// Earliest expiry in the block that holds the first message; [`crate::clock::NEVER`] if nothing there expires.
    pub head_expiry: u64,
}

/// What a queue held at recovery.
#[derive(Clone, Debug, Default)]
pub struct RecoveredQueue {
    /// Lanes that hold messages, ascending.
    pub lanes: Vec<RecoveredLane>,
    /// Lowest position that may be given to the next push.
    pub next_seq: Seq,
    /// After a clean shutdown: positions handed to a client before, ascending.
    pub redelivered: Vec<Seq>,
    /// Counts of kept messages, in any order.
    pub counts: Vec<Count>,
}

/// Everything an engine knew when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// All definitions, ascending by key.
    pub definitions: Vec<(DefinitionKey, Vec<u8>)>,
    /// Queues that hold messages, also such whose definition is gone: it is the caller's to drop them. A queue without
    /// lanes is reported where positions are taken by what is damaged or still to be removed.
    pub queues: std::collections::BTreeMap<QueueId, RecoveredQueue>,
    /// Lowest queue id that may be handed out.
    pub next_queue_id: u64,
    /// The last run ended with an orderly shutdown (true for a new store).
    pub clean: bool,
    /// What was found damaged and set aside, one readable line each.
    pub damage: Vec<String>,
}

/// Kept messages of one lane that lie together in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Position of the first.
    pub first: Seq,
    /// Position of the last.
    pub last: Seq,
    /// How many there are.
    pub count: u64,
    /// No message here expires before; [`crate::clock::NEVER`] if none does.
    pub earliest_expiry: u64,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An operating-system error on a file of the store.
    #[error("store i/o: {0}")]
    Io(#[from] std::io::Error),
    /// An error reported by LMDB.
    #[error("store: {0}")]
    Engine(String),
    /// The directory is in use by another process.
    #[error("data directory {0} is in use by another leveret process")]
    Locked(String),
    /// There is no store in the directory.
    #[error("there is no store in {}", .0.display())]
    Missing(std::path::PathBuf),
    /// The store was written by a version with another layout.
    #[error("the store has schema version {found}, this leveret reads version {expected}")]
    Schema {
        /// Version found.
        found: u32,
        /// Version this build reads and writes.
        expected: u32,
    },
    /// Bytes that cannot have been written by a leveret.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A test asked for this failure.
    #[error("injected failure at call {0}")]
    Injected(u64),
}

/// A place where batches become durable.
///
/// `commit` is called by one thread, in epoch order. `read` is called by loader threads beside it and sees at least
/// every batch whose commit has answered [`Commit::Done`] before the call.
pub trait Engine: Send + Sync + 'static {
    /// Reads definitions and totals; called once, before anything else. Never reads message bodies.
    fn recover(&self) -> Result<Recovered, StoreError>;

    /// Makes a batch durable.
    fn commit(&self, batch: &Batch) -> Commit;

    /// Reads kept messages of one lane with `from <= seq < until`, ascending, until about `budget` octets of records
    /// are collected (at least one message if there is any).
    fn read(&self, queue: QueueId, lane: u8, from: Seq, until: Seq, budget: usize) -> Result<Page, StoreError>;

    /// All kept messages of one lane as stretches, ascending, without reading any message: for a queue that goes by
    /// expiry rather than position.
    fn stretches(&self, queue: QueueId, lane: u8) -> Result<Vec<Stretch>, StoreError>;

    /// Does a bounded piece of deferred work (removing dropped queues and ranges); `true` if some is left.
    /// Called by the committing thread when it has nothing to commit.
    fn sweep(&self) -> Result<bool, StoreError>;

    /// How much room there is; `None` if nothing but memory limits it. Cheap enough to be asked before a commit.
    fn space(&self) -> Option<Space> {
        None
    }

    /// Gives up what was reserved for the time when nothing else is left; `true` if there was something.
    fn give_up_ballast(&self) -> bool {
        false
    }

    /// Reserves it again, if it is not there and more than `spare` octets of the disk stay free.
    fn restore_ballast(&self, _spare: u64) {}

    /// What the last batch with a generation said; `None` if there was none. Fails with [`StoreError::Damaged`] where that
    /// cannot be read.
    fn generation(&self) -> Result<Option<Generation>, StoreError> {
        Ok(None)
    }

    /// Whether [`Engine::catch_up`] would do something useful.
    fn is_behind(&self) -> bool {
        false
    }

    /// Brings durable work to where other processes find it; called by the committing thread after a while without
    /// anything to commit, and at the end. There may be something to sweep then. A lack of room is no error: nothing is
    /// lost.
    fn catch_up(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
