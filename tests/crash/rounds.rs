//! The rounds: a mixed load, a crash at a random moment, a restart, and an audit of everything against what the clients
//! know. The data directory ages from round to round; now and then everything is taken out, checked to be gone, and a
//! new directory is begun.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::audit::{leave, look};
use crate::consumer::consume;
use crate::define::{Register, compare, define};
use crate::faults::{Ended, Fault};
use crate::in_time;
use crate::invariants::{Circumstances, i12_no_errors, judge, take_over};
use crate::ledger::{Book, Ledger, Violation};
use crate::mutations::mutate;
use crate::plan::{Compatibility, LINES, Style, declare, spots};
use crate::process::{Process, command};
use crate::produce::produce;
use crate::proof::Prover;
use crate::settings::{Random, mutation, rounds_and_seed};
use crate::single::{Stage, take_turns};
use crate::store::findings;

/// Longer than a round takes on a busy machine.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// Rounds on one data directory, at least and at most.
const DIRECTORY: (u64, u64) = (10, 60);

/// Lines that are worked on in a round.
const ACTIVE: (u64, u64) = (3, 8);

/// How long clients may go on reading what the broker had sent before it was gone.
const AFTERMATH: Duration = Duration::from_millis(20);

/// A run of the harness.
pub(crate) struct Run {
    pub(crate) directory: TempDir,
    pub(crate) book: Book,
    pub(crate) register: Register,
    pub(crate) random: Random,
    /// Crashes in all.
    pub(crate) crashes: u64,
    /// Longest start.
    pub(crate) slowest: Duration,
}

impl Run {
    pub(crate) async fn new(seed: u64) -> (Self, Process) {
        let directory = tempfile::tempdir().unwrap();
        let book = Arc::new(Mutex::new(Ledger::new()));
        let random = Random::new(seed);
        let mut run =
            Self { directory, book, register: Register::default(), random, crashes: 0, slowest: Duration::ZERO };
        let process = run.prepare().await;
        (run, process)
    }

    /// The broker on the present directory.
    fn broker(&self) -> Command {
        let mut command = command(self.directory.path());
        command.env("LEVERET_COMPATIBILITY", self.book.lock().compatibility.setting());
        // Little memory for messages, so that backlogs are paged out.
        command.env("LEVERET_STORE__RESIDENT_BYTES", "1MiB").env("LEVERET_STORE__JOURNAL_BYTES", "4MiB");
        command
    }

    /// Chooses what to be compatible with, and declares everything.
    async fn prepare(&mut self) -> Process {
        self.book.lock().compatibility = match self.random.below(4) {
            0 => Compatibility::V3,
            1 => Compatibility::V4,
            _ => Compatibility::Lenient,
        };
        let process = Process::run(self.broker()).await;
        let client = process.client().await;
        Prover::declare(&client).await;
        declare(&client).await;
        leave(client).await;
        process
    }

    /// Sets the clients to work.
    fn work(&mut self, address: SocketAddr) -> (JoinSet<lapin::Result<()>>, Arc<Mutex<Stage>>) {
        let mut workers = JoinSet::new();
        let stage = Arc::new(Mutex::new(Stage::default()));
        let mut lines: Vec<usize> = (0..LINES.len()).collect();
        let active = usize::try_from(self.random.within(ACTIVE.0, ACTIVE.1)).unwrap();
        while lines.len() > active {
            lines.swap_remove(usize::try_from(self.random.below(lines.len() as u64)).unwrap());
        }
        for line in lines {
            workers.spawn(produce(address, line, self.random.fork(), self.book.clone()));
            for spot in spots().filter(|spot| spot.line == line) {
                // Some queues have nobody for a while.
                if self.random.percent(20) {
                    continue;
                }
                if LINES[line].style == Style::Single {
                    for me in 0..2 {
                        let (random, book) = (self.random.fork(), self.book.clone());
                        workers.spawn(take_turns(address, me, spot, random, book, stage.clone()));
                    }
                } else {
                    workers.spawn(consume(address, spot, self.random.fork(), self.book.clone()));
                }
            }
        }
        workers.spawn(define(address, self.random.fork(), self.register.clone()));
        (workers, stage)
    }

    /// Works for a while, until the broker is gone. Returns how it went.
    pub(crate) async fn round(&mut self, process: Process) -> Ended {
        let (mut workers, stage) = self.work(process.address());
        let fault = Fault::choose(&mut self.random);
        let ended = fault.strike(process).await;
        tokio::time::sleep(AFTERMATH).await;
        workers.abort_all();
        while let Some(ended) = workers.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        let crossed = stage.lock().violations(matches!(fault, Fault::Stop(_) | Fault::Shutdown(..)));
        self.book.lock().wrong.extend(crossed);
        self.book.lock().life += 1;
        self.crashes += u64::from(!matches!(fault, Fault::Stop(_)));
        ended
    }

    /// Checks the store and starts the broker again, after some starts that are killed.
    pub(crate) async fn restart(&mut self, mut ended: Ended) -> (Process, Ended) {
        while self.random.percent(20) {
            let after = Duration::from_millis(self.random.below(80));
            let log = Process::start_and_kill(self.broker(), after).await;
            ended.wrong.extend(i12_no_errors(&log));
            self.book.lock().life += 1;
            self.crashes += 1;
        }
        // Nothing is repaired at a start that this has not seen.
        if let Err(findings) = findings(self.directory.path()) {
            ended.wrong.push(Violation::new("I10", findings));
        }
        let process = Process::run(self.broker()).await;
        self.slowest = self.slowest.max(process.start_time);
        (process, ended)
    }

    /// Looks at everything and compares it with what is known.
    pub(crate) async fn audit(&mut self, process: &Process, ended: Ended) -> Vec<Violation> {
        let mut wrong = ended.wrong;
        let client = process.client().await;
        wrong.extend(compare(&client, &self.register).await);
        leave(client).await;
        let mut sights = look(process, &self.book).await;
        let mut book = self.book.lock();
        if let Some(what) = mutation() {
            mutate(&what, &mut book, &mut sights, &mut wrong);
        }
        wrong.append(&mut book.wrong);
        wrong.extend(judge(&book, &sights, ended.how));
        take_over(&mut book, &sights);
        book.forget();
        wrong
    }

    /// Takes everything out, crashes once more, and finds nothing. Then begins a new directory.
    pub(crate) async fn renew(&mut self, process: Process) -> (Process, Vec<Violation>) {
        let client = process.client().await;
        crate::audit::empty(&client, &self.book).await;
        let mut wrong = i12_no_errors(&process.kill().await);
        self.book.lock().life += 1;
        let process = Process::run(self.broker()).await;
        let how = Circumstances { marked: true };
        wrong.extend(self.audit(&process, Ended { how, wrong: Vec::new(), what: String::new() }).await);
        process.kill().await;
        self.directory = tempfile::tempdir().unwrap();
        self.register = Register::default();
        self.book.lock().life += 1;
        (self.prepare().await, wrong)
    }
}

fn must_be_right(wrong: &[Violation], context: &str) {
    let listed: Vec<String> = wrong.iter().take(20).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{context}: {} violations\n{}", wrong.len(), listed.join("\n"));
}

#[test]
fn nothing_confirmed_is_lost_however_often_the_broker_is_killed() {
    let (rounds, seed) = rounds_and_seed();
    println!("LEVERET_CRASH_SEED={seed} LEVERET_CRASH_ROUNDS={rounds}");
    in_time(ROUND_LIMIT * u32::try_from(rounds + 1).unwrap(), async {
        let began = Instant::now();
        let (mut run, mut process) = Run::new(seed).await;
        let mut left = run.random.within(DIRECTORY.0, DIRECTORY.1);
        for number in 1..=rounds {
            let context = format!("round {number} with seed {seed}");
            let ended = run.round(process).await;
            let what = ended.what.clone();
            let (restarted, ended) = run.restart(ended).await;
            let started = restarted.start_time;
            process = restarted;
            let wrong = run.audit(&process, ended).await;
            must_be_right(&wrong, &context);
            let waiting: usize = (0..LINES.len()).map(|line| run.book.lock().waiting(line)).sum();
            println!("round {number}: {what}, started in {started:?}, {waiting} messages in place");
            left -= 1;
            if left == 0 || number == rounds {
                let (renewed, wrong) = run.renew(process).await;
                process = renewed;
                must_be_right(&wrong, &format!("after {context}, all taken out"));
                left = run.random.within(DIRECTORY.0, DIRECTORY.1);
            }
        }
        process.kill().await;
        let book = run.book.lock();
        println!(
            "{rounds} rounds in {:?}: {} crashes, {} messages confirmed, {} settled for good, slowest start {:?}",
            began.elapsed(),
            run.crashes,
            book.confirmed,
            book.settled,
            run.slowest,
        );
    });
}
