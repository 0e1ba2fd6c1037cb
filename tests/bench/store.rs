//! Commits per second of the LMDB engine, waiting for the disk and not (what the engine itself costs), and with a redo
//! log in front of it.
//!
//! `cargo bench --bench store -- [directory] [log]`: measures in a new directory below the given one (default: the
//! system's temporary directory). Each shape runs with puts alone and with as many in-order settlements;
//! each line gives messages per second, and microseconds and CPU microseconds per commit. Then one
//! message goes to many queues in each commit, and all of them settle it in the next; those lines tell the octets that were
//! written, too. `log` measures the log and what it replaces alone, `fanout` the last.
// It reads the clock, prints what it measured and rounds for that.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::cast_precision_loss)]

use std::path::Path;
use std::time::{Duration, Instant};

use leveret::clock::NEVER;
use leveret::message::{Draft, Facts, Message, address};
use leveret::store::lmdb::{LmdbEngine, LmdbOptions};
use leveret::store::redo::Redo;
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

fn message(len: u32) -> Message {
    let body = vec![b'x'; len as usize];
    let address = address(b"", b"some.queue").expect("short names");
    let mut draft = Draft::new(&address, &[0x10, 0, 2], u64::from(len), Facts::default());
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

/// What stands between a commit and the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Synced,
    Unsynced,
    Logged,
}

/// CPU time of this process.
fn cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or_default())
}

fn open(dir: &Path, way: Way) -> Box<dyn Engine> {
    let options = LmdbOptions { sync: way != Way::Unsynced, ..LmdbOptions::default() };
    let engine = LmdbEngine::open(dir, options).expect("a new store");
    match way {
        Way::Logged => Box::new(Redo::open(engine, dir, true).expect("a new log")),
        Way::Synced | Way::Unsynced => Box::new(engine),
    }
}

fn measure(parent: &Path, shape: &Shape, way: Way) {
    let dir = tempfile::TempDir::new_in(parent).expect("a directory to measure in");
    let engine = open(dir.path(), way);
    let messages: Vec<Message> = (0..4096).map(|_| message(BODY)).collect();
    let (mut commits, mut busy, mut cost) = (0u64, Duration::ZERO, Duration::ZERO);
    while busy < RUN {
        let batch = batch(shape, commits, &messages);
        let (start, used) = (Instant::now(), cpu());
        let answer = engine.commit(&batch);
        busy += start.elapsed();
        cost += cpu().saturating_sub(used);
        assert!(matches!(answer, Commit::Done), "{answer:?}");
        commits += 1;
    }
    let stored = (commits * shape.per_commit.div_ceil(shape.queues) * shape.queues) as f64;
    let size = dir.path().join("data.mdb").metadata().map_or(0, |file| file.len() >> 20);
    println!(
        "{:>5} x {BODY} B, {:>4} queues, {:<15} {:<9} {:>9.0} msg/s {:>8.0} us/commit {:>8.0} us CPU {size:>6} MiB",
        shape.per_commit,
        shape.queues,
        if shape.settles { "puts + settles:" } else { "puts:" },
        format!("{way:?}").to_lowercase(),
        stored / busy.as_secs_f64(),
        busy.as_secs_f64() * 1e6 / commits as f64,
        cost.as_secs_f64() * 1e6 / commits as f64,
    );
}

/// Octets this process has handed to the system for writing.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("Linux tells");
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("a line");
    line.parse().expect("a number")
}

/// One message of `len` octets to so many queues a commit, settled in the next.
fn measure_fanout(parent: &Path, queues: u64, len: u32, sync: bool) {
    let dir = tempfile::TempDir::new_in(parent).expect("a directory to measure in");
    let engine = LmdbEngine::open(dir.path(), LmdbOptions { sync, ..LmdbOptions::default() }).expect("a new store");
    let (mut commits, mut busy, before) = (0u64, Duration::ZERO, written());
    while busy < RUN {
        let message = message(len);
        let queue = |queue| {
            let mut work = QueueBatch::new(QueueId(queue));
            work.puts = vec![Put { seq: commits + 1, lane: 0, expires_at: NEVER, message: message.clone() }];
            work.settles = vec![Settle { seq: commits, lane: 0, body_len: len, counted: false }];
            work
        };
        let batch = Batch { epoch: commits + 1, queues: (1..=queues).map(queue).collect(), ..Batch::default() };
        let start = Instant::now();
        let answer = engine.commit(&batch);
        busy += start.elapsed();
        assert!(matches!(answer, Commit::Done), "{answer:?}");
        commits += 1;
    }
    println!(
        "{len:>6} B to {queues:>4} queues {:<9} {:>8.0} us/commit, {:>9.0} octets written for each",
        if sync { "synced" } else { "unsynced" },
        busy.as_secs_f64() * 1e6 / commits as f64,
        (written() - before) as f64 / commits as f64,
    );
}

fn main() {
    let named = |argument: &String| !argument.starts_with('-') && argument != "log" && argument != "fanout";
    let parent = std::env::args().skip(1).find(named).map_or_else(std::env::temp_dir, Into::into);
    let is_asked = |what: &str| std::env::args().any(|argument| argument == what);
    let (log_alone, fanout_alone) = (is_asked("log"), is_asked("fanout"));
    for per_commit in [1, 10, 30, 60, 100, 1000].into_iter().filter(|_| !fanout_alone) {
        for (settles, way) in [(false, Way::Synced), (false, Way::Logged), (true, Way::Synced), (true, Way::Logged)] {
            measure(&parent, &Shape { per_commit, queues: 1, settles }, way);
        }
    }
    if log_alone {
        return;
    }
    let shapes = [(1, 1), (256, 1), (1000, 1), (2048, 20), (1000, 1000)];
    for (per_commit, queues) in shapes.into_iter().filter(|_| !fanout_alone) {
        for (settles, way) in [(false, Way::Synced), (true, Way::Synced), (false, Way::Unsynced), (true, Way::Unsynced)]
        {
            measure(&parent, &Shape { per_commit, queues, settles }, way);
        }
    }
    for (queues, len) in [(2, 4096), (2, 16384), (10, 4096), (10, 16384), (100, 65536), (1000, 16384)] {
        for sync in [true, false] {
            measure_fanout(&parent, queues, len, sync);
        }
    }
}
