//! Messages and batches for the tests of the store.

use super::lmdb::{LmdbEngine, LmdbOptions};
use super::{Batch, Commit, Define, DropRange, Engine, Put, QueueBatch, QueueId, Seq, Settle};
use crate::clock::NEVER;
use crate::message::{Draft, Facts, Message, address};

/// A message with this body.
pub(super) fn message(body: &[u8]) -> Message {
    let address = address(b"ex", b"key").unwrap();
    let mut draft = Draft::new(&address, &[0x10, 0, 2], body.len() as u64, Facts::default());
    for chunk in body.chunks(1 << 20) {
        assert!(draft.try_extend(chunk));
    }
    draft.finish().unwrap()
}

/// A message to be kept that never expires.
pub(super) fn put(seq: Seq, lane: u8, body: &[u8]) -> Put {
    Put { seq, lane, expires_at: NEVER, message: message(body) }
}

/// Keeps one message of `len` octets at each of these positions of lane 0.
pub(super) fn puts(queue: u64, positions: impl IntoIterator<Item = Seq>, len: usize) -> QueueBatch {
    let puts = positions.into_iter().map(|seq| put(seq, 0, &vec![b'm'; len])).collect();
    QueueBatch { puts, ..QueueBatch::new(QueueId(queue)) }
}

/// Keeps one message of `len` octets at each of these positions of lane 0 of all of these queues.
pub(super) fn fanned(
    queues: impl IntoIterator<Item = u64>,
    positions: impl IntoIterator<Item = Seq>,
    len: usize,
) -> Vec<QueueBatch> {
    let one = puts(0, positions, len);
    queues.into_iter().map(|queue| QueueBatch { queue: QueueId(queue), ..one.clone() }).collect()
}

/// Settles messages of lane 0 with bodies of `len` octets.
pub(super) fn settles(queue: u64, positions: impl IntoIterator<Item = Seq>, len: u32) -> QueueBatch {
    let settles = positions.into_iter().map(|seq| Settle { seq, lane: 0, body_len: len, counted: false }).collect();
    QueueBatch { settles, ..QueueBatch::new(QueueId(queue)) }
}

/// Drops a range of lane 0.
pub(super) fn drops(queue: u64, from: Seq, until: Seq) -> QueueBatch {
    QueueBatch { drops: vec![DropRange { lane: 0, from, until }], ..QueueBatch::new(QueueId(queue)) }
}

/// A batch of work for queues.
pub(super) fn work(queues: impl IntoIterator<Item = QueueBatch>) -> Batch {
    Batch { queues: queues.into_iter().collect(), ..Batch::default() }
}

/// A batch of definitions.
pub(super) fn define(definitions: impl IntoIterator<Item = Define>) -> Batch {
    Batch { definitions: definitions.into_iter().collect(), ..Batch::default() }
}

/// Commits, and expects that to succeed.
pub(super) fn done(engine: &dyn Engine, batch: &Batch) {
    let answer = engine.commit(batch);
    assert!(matches!(answer, Commit::Done), "{answer:?}");
}

/// Positions and bodies of everything in a lane, read page by page.
pub(super) fn all(engine: &dyn Engine, queue: u64, lane: u8, budget: usize) -> Vec<(Seq, Vec<u8>)> {
    let mut out = Vec::new();
    let mut from = Some(0);
    while let Some(start) = from {
        let page = engine.read(QueueId(queue), lane, start, Seq::MAX, budget).unwrap();
        assert_eq!(page.damaged, 0);
        assert!(page.next.is_none() || !page.messages.is_empty(), "a page that has a next one holds a message");
        out.extend(page.messages.iter().map(|stored| (stored.seq, stored.message.body().to_vec())));
        from = page.next;
    }
    out
}

/// Positions of everything in lane 0.
pub(super) fn positions(engine: &dyn Engine, queue: u64) -> Vec<Seq> {
    all(engine, queue, 0, 1 << 20).into_iter().map(|(seq, _)| seq).collect()
}

/// Opens a store that does not wait for the disk.
pub(super) fn open(dir: &std::path::Path) -> LmdbEngine {
    LmdbEngine::open(dir, LmdbOptions { map_size: 1 << 30, sync: false, ..LmdbOptions::default() }).unwrap()
}
