//! The group commit's protocol under many schedules: the sources of the intake, the watermark, the bell, the journal and
//! the line are compiled once more, on locks and atomics whose every step a scheduler chooses (shuttle).
//!
//! Checked: the order of locks; no confirm before its commit; a transaction in one commit; no wake is lost (a thread
//! that waits for ever is a deadlock, which the scheduler reports); what was announced before a stop is committed.
//!
//! `LEVERET_SCHEDULES` sets how many schedules each scenario gets. A failure prints the schedule that shows it.

// Sources are compiled here of which only a part is called.
#![allow(dead_code, missing_docs, unreachable_pub, unused_imports)]

mod clock {
    pub use leveret::clock::NEVER;
}
mod message {
    pub use leveret::message::{Draft, Facts, address};
}
mod queue;
mod store {
    pub use leveret::store::{Count, Define, DropRange, Epoch, Put, QueueBatch, QueueId, Seq, Settle};
}
mod sync;

use std::collections::BTreeSet;
use std::sync::Arc;

use queue::Queue;
use queue::intake::{Intake, Pressure, Watermark};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use store::{Define, Epoch};
use sync::atomic::{AtomicUsize, Ordering};
use sync::{Bell, Line};

/// Schedules of each scenario and scheduler, unless `LEVERET_SCHEDULES` says otherwise.
const SCHEDULES: usize = 2_000;

/// Changes of priority in a schedule of the second scheduler: most mistakes need few.
const DEPTH: usize = 3;

type Disk = shuttle::sync::Mutex<Vec<BTreeSet<(u64, u64)>>>;

/// Everything of a broker that takes part.
struct Node {
    intake: Arc<Intake>,
    watermark: Watermark,
    /// Commits, in order: queue and position of each message put.
    disk: Disk,
    queues: Vec<Arc<Queue>>,
}

impl Node {
    fn new() -> Arc<Self> {
        let intake = Arc::new(Intake::default());
        let queues = (0..2).map(|id| Queue::new(id, intake.clone())).collect();
        Arc::new(Self { intake, watermark: Watermark::default(), disk: Disk::default(), queues })
    }

    /// The writer's loop, without what it does when there is no room.
    fn write(&self) {
        self.intake.attach(shuttle::thread::current());
        loop {
            let stopping = self.intake.stopping();
            match self.intake.pressure() {
                Pressure::Urgent => self.commit(),
                Pressure::Lazy if stopping => self.commit(),
                Pressure::Idle if stopping => return,
                // As long as nobody waits, lazy work may lie here for any time.
                Pressure::Idle | Pressure::Lazy => shuttle::thread::park(),
            }
        }
    }

    fn commit(&self) {
        let closed = self.intake.close();
        let puts = closed.queues.iter().flat_map(|work| work.puts.iter().map(|put| (work.queue.0, put.seq)));
        let puts: BTreeSet<(u64, u64)> = puts.collect();
        self.disk.lock().expect("nobody panics").push(puts);
        self.intake.discharge(closed.bytes);
        self.watermark.advance(closed.epoch);
    }

    /// Waits as a session does.
    fn wait(&self, epoch: Epoch) {
        let bell = Arc::new(Bell::new());
        while !self.watermark.await_epoch(epoch, &bell) {
            shuttle::future::block_on(bell.rung());
        }
    }

    fn holds(&self, queue: usize, seq: u64) -> bool {
        self.disk.lock().expect("nobody panics").iter().any(|puts| puts.contains(&(queue as u64, seq)))
    }
}

/// Runs threads beside a writer, then stops it in order.
fn scenario(threads: Vec<fn(&Node)>, after: fn(&Node)) {
    let node = Node::new();
    let writer = shuttle::thread::spawn({
        let node = node.clone();
        move || node.write()
    });
    let run = |thread: fn(&Node)| {
        let node = node.clone();
        shuttle::thread::spawn(move || thread(&node))
    };
    let threads: Vec<_> = threads.into_iter().map(run).collect();
    for thread in threads {
        thread.join().expect("a thread ends");
    }
    node.intake.stop();
    writer.join().expect("the writer ends");
    assert_eq!(node.intake.bytes(), 0, "the gauge is back at nothing");
    after(&node);
}

fn publishes_and_waits(node: &Node, queue: usize, seqs: [u64; 2]) {
    for seq in seqs {
        let epoch = node.queues[queue].push(seq, true);
        node.wait(epoch);
        assert!(node.holds(queue, seq), "confirmed before its commit");
    }
}

/// Publishers of two queues, one of which they share.
fn confirms_come_after_commits() {
    let threads: Vec<fn(&Node)> =
        vec![|node| publishes_and_waits(node, 0, [1, 3]), |node| publishes_and_waits(node, 1, [1, 2]), |node| {
            node.wait(node.intake.define([Define::NextQueueId(7)]));
        }];
    scenario(threads, |_| ());
}

/// Work that nobody waits for, until somebody does.
fn lazy_work_is_urged() {
    let threads: Vec<fn(&Node)> = vec![
        |node| {
            node.queues[0].push(1, false);
            node.wait(node.queues[0].await_all());
            assert!(node.holds(0, 1));
        },
        |node| {
            node.queues[0].push(2, false);
            node.queues[1].push(1, false);
        },
    ];
    scenario(threads, |node| {
        assert!(node.holds(0, 2) && node.holds(1, 1), "what was announced before the stop is committed");
    });
}

/// A message may be settled before the writer comes: then it never reaches the disk, and nobody waits for ever.
fn what_is_settled_early_is_cancelled() {
    let threads: Vec<fn(&Node)> = vec![
        |node| {
            let epoch = node.queues[0].push(1, true);
            node.queues[0].settle(1);
            node.wait(epoch);
        },
        |node| publishes_and_waits(node, 0, [2, 3]),
    ];
    scenario(threads, |_| ());
}

/// All of a transaction is in one commit, whoever else publishes.
fn transactions_are_in_one_commit() {
    fn transaction(node: &Node, seq: u64) {
        let epoch = {
            let _hold = node.intake.hold();
            let first = node.queues[0].push(seq, true);
            first.max(node.queues[1].push(seq, true))
        };
        node.wait(epoch);
        let disk = node.disk.lock().expect("nobody panics");
        let with = disk.iter().find(|puts| puts.contains(&(0, seq))).expect("committed");
        assert!(with.contains(&(1, seq)), "a transaction was torn");
    }
    let threads: Vec<fn(&Node)> =
        vec![|node| transaction(node, 10), |node| transaction(node, 20), |node| publishes_and_waits(node, 1, [30, 40])];
    scenario(threads, |_| ());
}

/// A bell that rings before, while or after its task looks.
fn no_ring_is_lost() {
    let bell = Arc::new(Bell::new());
    let rung = Arc::new(AtomicUsize::new(0));
    let ringer = shuttle::thread::spawn({
        let (bell, rung) = (bell.clone(), rung.clone());
        move || {
            for _ in 0..3 {
                rung.fetch_add(1, Ordering::SeqCst);
                bell.ring();
            }
        }
    });
    while rung.load(Ordering::SeqCst) < 3 {
        shuttle::future::block_on(bell.rung());
    }
    ringer.join().expect("the ringer ends");
}

/// Three in a line for one slot, one of whom leaves without having waited.
fn a_line_serves_everybody_one_at_a_time() {
    let line = Line::new(1);
    let busy = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = [2, 2, 0]
        .into_iter()
        .map(|turns| {
            let (line, busy) = (line.clone(), busy.clone());
            shuttle::thread::spawn(move || {
                let bell = Arc::new(Bell::new());
                let place = line.enter(&bell);
                for _ in 0..turns {
                    while !place.is_called() {
                        shuttle::future::block_on(bell.rung());
                    }
                    assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0, "one slot");
                    busy.fetch_sub(1, Ordering::SeqCst);
                    place.again();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a thread ends");
    }
    assert!(line.enter(&Arc::new(Bell::new())).is_called(), "the slot is free at the end");
}

fn check(name: &str, schedules: usize, scenario: fn()) {
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        shuttle::Runner::new(scheduler, shuttle::Config::default()).run(scenario);
    };
    run(Box::new(RandomScheduler::new(schedules)));
    run(Box::new(PctScheduler::new(DEPTH, schedules)));
    eprintln!("schedules: {name} ok, {schedules} random ones and as many by priorities");
}

fn main() {
    let schedules = std::env::var("LEVERET_SCHEDULES").ok().map(|text| text.parse().expect("a number"));
    let schedules = schedules.unwrap_or(SCHEDULES);
    let scenarios: [(&str, fn()); 6] = [
        ("confirms_come_after_commits", confirms_come_after_commits),
        ("lazy_work_is_urged", lazy_work_is_urged),
        ("what_is_settled_early_is_cancelled", what_is_settled_early_is_cancelled),
        ("transactions_are_in_one_commit", transactions_are_in_one_commit),
        ("no_ring_is_lost", no_ring_is_lost),
        ("a_line_serves_everybody_one_at_a_time", a_line_serves_everybody_one_at_a_time),
    ];
    for (name, scenario) in scenarios {
        check(name, schedules, scenario);
    }
}
