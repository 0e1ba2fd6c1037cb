//! What every engine must do, run against each of them.
//!
//! A case gets an empty store and may reopen it. Deliberately absent: what only one engine can show (damage, locks,
//! injected failures), which stands with that engine's tests.

mod cases;
mod faults;
mod random;

use tempfile::TempDir;

use super::Engine;
use super::faulty::{Faults, FaultyEngine};
use super::fixture::open;
use super::lmdb::{LmdbEngine, LmdbOptions};
use super::memory::MemoryEngine;
use super::redo::Redo;

/// A store under test.
trait Subject {
    fn engine(&self) -> &dyn Engine;

    /// Ends the engine as a process would end, and starts another one on what it left.
    fn reopen(&mut self);

    /// Rules of its own that what it keeps breaks.
    fn findings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether a page that is not the last names the very next message, not merely a position before it.
    fn is_exact(&self) -> bool {
        true
    }
}

#[derive(Default)]
struct Memory(MemoryEngine);

impl Subject for Memory {
    fn engine(&self) -> &dyn Engine {
        &self.0
    }

    fn reopen(&mut self) {
        self.0 = self.0.clone();
    }
}

struct Faulty {
    inner: MemoryEngine,
    engine: FaultyEngine<MemoryEngine>,
}

impl Default for Faulty {
    fn default() -> Self {
        let inner = MemoryEngine::new();
        Self { engine: FaultyEngine::new(inner.clone(), Faults::new()), inner }
    }
}

impl Subject for Faulty {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn reopen(&mut self) {
        self.engine = FaultyEngine::new(self.inner.clone(), Faults::new());
    }
}

struct Lmdb {
    engine: Option<LmdbEngine>,
    removals: Option<usize>,
    dir: TempDir,
}

impl Lmdb {
    /// A store that defers removals of more than this many blocks.
    fn new(removals: Option<usize>) -> Self {
        let mut subject = Self { engine: None, removals, dir: TempDir::new().unwrap() };
        subject.reopen();
        subject
    }
}

impl Subject for Lmdb {
    fn engine(&self) -> &dyn Engine {
        self.engine.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.engine = None;
        let engine = open(self.dir.path());
        self.engine = Some(match self.removals {
            Some(removals) => engine.with_removals(removals),
            None => engine,
        });
    }

    fn findings(&self) -> Vec<String> {
        self.engine.as_ref().unwrap().findings()
    }
}

/// A redo log before a store; ended as by a crash.
struct Logged {
    engine: Option<Redo<LmdbEngine>>,
    capacity: usize,
    dir: TempDir,
}

impl Logged {
    fn new(capacity: usize) -> Self {
        let mut subject = Self { engine: None, capacity, dir: TempDir::new().unwrap() };
        subject.reopen();
        subject
    }
}

impl Subject for Logged {
    fn engine(&self) -> &dyn Engine {
        self.engine.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.engine = None;
        let engine = Redo::open(open(self.dir.path()), self.dir.path(), true).unwrap();
        self.engine = Some(engine.with_capacity(self.capacity));
    }

    fn is_exact(&self) -> bool {
        false
    }
}

/// Octets of logs that are full after a few commits, and never.
const CAPACITIES: [usize; 2] = [12 << 10, 1 << 20];

#[test]
fn memory_conforms() {
    cases::run(|| Box::new(Memory::default()));
}

#[test]
fn faulty_without_faults_conforms() {
    cases::run(|| Box::new(Faulty::default()));
}

#[test]
fn lmdb_conforms() {
    cases::run(|| Box::new(Lmdb::new(None)));
}

#[test]
fn lmdb_that_defers_removals_conforms() {
    cases::run(|| Box::new(Lmdb::new(Some(1))));
}

#[test]
fn a_redo_log_conforms() {
    for capacity in CAPACITIES {
        cases::run(|| Box::new(Logged::new(capacity)));
    }
}

#[test]
fn a_synced_store_keeps_what_it_answered() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("data");
    let first = LmdbEngine::open(&path, LmdbOptions::default()).unwrap();
    super::fixture::done(&first, &super::fixture::work([super::fixture::puts(1, 1..=3, 10)]));
    drop(first);
    let second = LmdbEngine::open(&path, LmdbOptions::default()).unwrap();
    assert_eq!(super::fixture::positions(&second, 1), [1, 2, 3]);
}
