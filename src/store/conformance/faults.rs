//! Injected failures: what the faulty engine does, and that every failure leaves a legal state.

use std::sync::Arc;
use std::thread;

use tempfile::TempDir;

use crate::store::faulty::{Calls, Faults, FaultyEngine};
use crate::store::fixture::{define, done, drops, open, positions, puts, settles, work};
use crate::store::memory::MemoryEngine;
use crate::store::{Batch, Commit, Define, Engine, QueueId, Seq, StoreError};

/// Commits of a little life, each with the positions of queue 1 that are there once it is durable.
fn scenario() -> Vec<(Batch, Vec<Seq>)> {
    vec![
        (define([Define::Put { key: b"q1".to_vec(), value: b"{}".to_vec() }]), vec![]),
        (work([puts(1, 1..=200, 10)]), (1..=200).collect()),
        (work([settles(1, 1..=150, 10), puts(2, [1], 10)]), (151..=200).collect()),
        (work([puts(1, 201..=210, 10)]), (151..=210).collect()),
        (work([drops(1, 160, 205)]), (151..160).chain(205..=210).collect()),
        (work([settles(1, 151..160, 10)]), (205..=210).collect()),
        (define([Define::DropQueue { queue: QueueId(1) }, Define::Delete { key: b"q1".to_vec() }]), vec![]),
    ]
}

/// Runs the scenario up to the first answer that is not `Done`; how many commits were answered with `Done`.
fn run(engine: &dyn Engine) -> usize {
    let answers = scenario().into_iter().map(|(batch, _)| engine.commit(&batch));
    answers.take_while(|answer| matches!(answer, Commit::Done)).count()
}

/// What must be found after the first `n` commits.
fn expect(engine: &dyn Engine, n: usize) {
    let recovered = engine.recover().unwrap();
    let expected = n.checked_sub(1).map(|last| scenario().swap_remove(last).1).unwrap_or_default();
    assert_eq!(positions(engine, 1), expected, "after {n} commits");
    assert_eq!(recovered.definitions.len(), usize::from((1..7).contains(&n)));
    let counted = recovered.queues.get(&QueueId(1)).map_or(0, |queue| queue.lanes.iter().map(|lane| lane.count).sum());
    assert_eq!(counted, expected.len() as u64);
}

#[test]
fn failing_before_any_commit_leaves_the_commits_before_it() {
    for n in 1..=7 {
        let (memory, dir) = (MemoryEngine::new(), TempDir::new().unwrap());
        let faults = Faults::new();
        faults.fail_before(n);
        assert_eq!(run(&FaultyEngine::new(memory.clone(), faults.clone())) as u64, n - 1);
        expect(&memory, usize::try_from(n).unwrap() - 1);
        let faults = Faults::new();
        faults.fail_before(n);
        assert_eq!(run(&FaultyEngine::new(open(dir.path()), faults)) as u64, n - 1);
        expect(&open(dir.path()), usize::try_from(n).unwrap() - 1);
    }
}

#[test]
fn failing_after_any_commit_leaves_it_done_but_not_answered() {
    for n in 1..=7 {
        let (memory, dir) = (MemoryEngine::new(), TempDir::new().unwrap());
        for on_disk in [false, true] {
            let faults = Faults::new();
            faults.fail_after(n);
            let answered = if on_disk {
                run(&FaultyEngine::new(open(dir.path()), faults))
            } else {
                run(&FaultyEngine::new(memory.clone(), faults))
            };
            assert_eq!(answered as u64, n - 1);
        }
        expect(&memory, usize::try_from(n).unwrap());
        expect(&open(dir.path()), usize::try_from(n).unwrap());
    }
}

#[test]
fn nothing_works_after_a_crash_until_the_restart() {
    let memory = MemoryEngine::new();
    let faults = Faults::new();
    let engine = FaultyEngine::new(memory.clone(), faults.clone());
    faults.fail_after(2);
    done(&engine, &work([puts(1, [1], 1)]));
    for seq in 2..5 {
        let answer = engine.commit(&work([puts(1, [seq], 1)]));
        assert!(matches!(answer, Commit::Unknown(StoreError::Injected(2))), "{answer:?}");
    }
    assert!(engine.read(QueueId(1), 0, 0, 9, 9).is_err());
    assert!(engine.recover().is_err() && engine.sweep().is_err());
    assert_eq!(faults.calls(), Calls { commits: 4, applied: 2, reads: 1, sweeps: 1, recoveries: 1 });
    assert_eq!(positions(&FaultyEngine::new(memory, Faults::new()), 1), [1, 2]);
}

#[test]
fn a_full_engine_takes_the_batch_later() {
    let faults = Faults::new();
    let engine = FaultyEngine::new(MemoryEngine::new(), faults.clone());
    faults.answer_full(2);
    let batch = work([puts(1, [1], 1)]);
    assert!(matches!(engine.commit(&batch), Commit::Full(_)));
    assert!(matches!(engine.commit(&batch), Commit::Full(_)));
    assert_eq!(positions(&engine, 1), [0; 0]);
    done(&engine, &batch);
    assert_eq!(positions(&engine, 1), [1]);
}

#[test]
fn a_fenced_engine_stays_fenced() {
    let faults = Faults::new();
    let engine = FaultyEngine::new(MemoryEngine::new(), faults.clone());
    faults.fence_from(2);
    done(&engine, &work([puts(1, [1], 1)]));
    assert!(matches!(engine.commit(&work([puts(1, [2], 1)])), Commit::Fenced));
    assert!(matches!(engine.commit(&work([puts(1, [2], 1)])), Commit::Fenced));
    assert_eq!(positions(&engine, 1), [1]);
}

#[test]
fn a_held_commit_waits_for_its_release() {
    let faults = Faults::new();
    let engine = Arc::new(FaultyEngine::new(MemoryEngine::new(), faults.clone()));
    faults.hold_from(2);
    let committing = Arc::clone(&engine);
    let thread = thread::spawn(move || {
        for seq in 1..=3 {
            done(&*committing, &work([puts(1, [seq], 1)]));
        }
    });
    assert!(faults.wait_entered(2));
    assert_eq!(positions(&*engine, 1), [1], "entered, not applied");
    faults.release_through(2);
    assert!(faults.wait_entered(3));
    assert_eq!(positions(&*engine, 1), [1, 2]);
    faults.release();
    thread.join().unwrap();
    assert_eq!(positions(&*engine, 1), [1, 2, 3]);
}
