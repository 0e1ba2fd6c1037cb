//! Commits per second of the LMDB engine, waiting for the disk and not (what the engine itself costs).
//!
//! `cargo bench --bench store -- [directory]`: measures in a new directory below the given one (default: the system's
//! temporary directory). Each shape runs with puts alone and with as many in-order settlements;
//! each line gives messages per second and microseconds per commit.
// It reads the clock, prints what it measured and rounds for that.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::cast_precision_loss)]

use std::path::Path;
use std::time::{Duration, Instant};

use leveret::clock::NEVER;
use leveret::message::{Draft, Facts, Message, address};
use leveret::store::lmdb::{LmdbEngine, LmdbOptions};
use leveret::store::{Batch, Commit, Engine, Put, QueueBatch, QueueId, Seq, Settle};

const BODY: u32 = 1024;

/// How long each shape runs.
const RUN: Duration = Duration::from_secs(1);

/// Commits a message stays before it is settled.
const LAG: u64 = 4;

struct Shape {
    per_commit: u64,
    queues: u64,
    settles: bool,
}

fn message() -> Message {
    let body = vec![b'x'; BODY as usize];
    let address = address(b"", b"some.queue").expect("short names");
    let mut draft = Draft::new(&address, &[0x10, 0, 2], u64::from(BODY), Facts::default());
    assert!(draft.try_extend(&body));
    draft.finish().expect("a whole message")
}

/// The work of commit `n`: the next messages of each queue, and the settlement of those of an earlier commit.
fn batch(shape: &Shape, n: u64, messages: &[Message]) -> Batch {
    let each = shape.per_commit.div_ceil(shape.queues);
    let positions = |n: u64| n * each + 1..=(n + 1) * each;
    let queue = |queue: u64| {
        let put = |(seq, message): (Seq, &Message)| Put { seq, lane: 0, expires_at: NEVER, message: message.clone() };
        let mut work = QueueBatch::new(QueueId(queue));
        work.puts = positions(n).zip(messages.iter().cycle()).map(put).collect();
        if shape.settles && n >= LAG {
            work.settles =
                positions(n - LAG).map(|seq| Settle { seq, lane: 0, body_len: BODY, counted: false }).collect();
        }
        work
    };
    Batch { epoch: n + 1, queues: (1..=shape.queues).map(queue).collect(), ..Batch::default() }
}

fn measure(parent: &Path, shape: &Shape, sync: bool) {
    let dir = tempfile::TempDir::new_in(parent).expect("a directory to measure in");
    let engine = LmdbEngine::open(dir.path(), LmdbOptions { sync, ..LmdbOptions::default() }).expect("a new store");
    let messages: Vec<Message> = (0..4096).map(|_| message()).collect();
    let (mut commits, mut busy) = (0u64, Duration::ZERO);
    while busy < RUN {
        let batch = batch(shape, commits, &messages);
        let start = Instant::now();
        let answer = engine.commit(&batch);
        busy += start.elapsed();
        assert!(matches!(answer, Commit::Done), "{answer:?}");
        commits += 1;
    }
    let stored = (commits * shape.per_commit.div_ceil(shape.queues) * shape.queues) as f64;
    let size = dir.path().join("data.mdb").metadata().map_or(0, |file| file.len() >> 20);
    println!(
        "{:>5} x {BODY} B, {:>4} queues, {:<15} {:<9} {:>9.0} msg/s {:>8.0} us/commit {size:>6} MiB",
        shape.per_commit,
        shape.queues,
        if shape.settles { "puts + settles:" } else { "puts:" },
        if sync { "synced" } else { "unsynced" },
        stored / busy.as_secs_f64(),
        busy.as_secs_f64() * 1e6 / commits as f64,
    );
}

fn main() {
    let named = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let parent = named.map_or_else(std::env::temp_dir, Into::into);
    for (per_commit, queues) in [(1, 1), (256, 1), (1000, 1), (2048, 20), (1000, 1000)] {
        for (settles, sync) in [(false, true), (true, true), (false, false), (true, false)] {
            measure(&parent, &Shape { per_commit, queues, settles }, sync);
        }
    }
}
