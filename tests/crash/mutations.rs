//! Tests of the test: what the audit sees is falsified on purpose, one way for each invariant, and it must notice.

use crate::audit::Sights;
use crate::faults::Ended;
use crate::in_time;
use crate::invariants::{Circumstances, i12_no_errors, judge};
use crate::ledger::{Ledger, Violation};
use crate::plan::{LINES, Spot, Style, spots};
use crate::rounds::Run;
use crate::stamp::Stamp;
use crate::story::Event;

/// The invariants that can be broken by falsifying what the audit compares.
const MUTATIONS: [&str; 8] = ["I1", "I2", "I3", "I4", "I5", "I6", "I8", "I9"];

/// The only queue of a line without branches.
fn spot_of(line: &str) -> Spot {
    spots().find(|spot| LINES[spot.line].name == line).unwrap()
}

/// A confirmed message that lies in that queue.
fn put(ledger: &mut Ledger, sights: &mut Sights, spot: Spot) -> Stamp {
    let stamp = ledger.send(spot.line);
    ledger.note(stamp, Event::Confirmed);
    sights.queues.entry(spot).or_default().push((stamp, true));
    *sights.counts.entry(spot).or_default() += 1;
    stamp
}

/// Falsifies what is compared, so that the invariant of that name is broken.
pub(crate) fn mutate(what: &str, ledger: &mut Ledger, sights: &mut Sights, wrong: &mut Vec<Violation>) {
    let plain = spot_of("plain");
    match what {
        "I1" => {
            let stamp = ledger.send(plain.line);
            ledger.note(stamp, Event::Confirmed);
        }
        "I2" => {
            let stamp = put(ledger, sights, plain);
            ledger.note(stamp, Event::Settled(plain));
            ledger.note(stamp, Event::SettledForGood(plain));
        }
        "I3" => {
            put(ledger, sights, plain);
            sights.queues.entry(plain).or_default().last_mut().unwrap().1 = false;
        }
        "I4" => {
            let stamp = put(ledger, sights, plain);
            ledger.lines[plain.line].stories.remove(&stamp.seq);
            ledger.lines[plain.line].next -= 1;
        }
        "I5" => {
            put(ledger, sights, plain);
            put(ledger, sights, plain);
            let found = sights.queues.entry(plain).or_default();
            let last = found.len() - 1;
            found.swap(last, last - 1);
        }
        "I6" => {
            let line = LINES.iter().position(|line| line.style == Style::Transactions).unwrap();
            let stamp = ledger.send(line);
            sights.queues.entry(Spot { line, branch: 1, at: 0 }).or_default().push((stamp, true));
        }
        "I8" => *sights.counts.entry(plain).or_default() += 1,
        "I9" => {
            let stamp = put(ledger, sights, plain);
            sights.queues.entry(plain).or_default().push((stamp, true));
            *sights.counts.entry(plain).or_default() += 1;
        }
        "I12" => wrong.extend(i12_no_errors(&["2026-01-01T00:00:00Z ERROR leveret: made up".to_owned()])),
        other => panic!("LEVERET_CRASH_MUTATE={other} is not one of {MUTATIONS:?} and I12"),
    }
}

#[test]
fn the_audit_notices_whatever_is_falsified() {
    in_time(std::time::Duration::from_secs(120), async {
        let (mut run, process) = Run::new(1).await;
        let ended: Ended = run.round(process).await;
        let (process, ended) = run.restart(ended).await;
        let sights = crate::audit::look(&process, &run.book).await;
        process.kill().await;
        let ledger = run.book.lock().clone();
        let honest = judge(&ledger, &sights, ended.how);
        assert!(honest.is_empty(), "{honest:?}");
        for what in MUTATIONS {
            let (mut ledger, mut sights, mut wrong) = (ledger.clone(), sights.clone(), Vec::new());
            mutate(what, &mut ledger, &mut sights, &mut wrong);
            wrong.extend(judge(&ledger, &sights, Circumstances { marked: true }));
            assert!(wrong.iter().any(|violation| violation.invariant == what), "{what} goes unnoticed: {wrong:?}");
        }
        assert_eq!(i12_no_errors(&["a line about ERROR".to_owned(), "and one about nothing".to_owned()]).len(), 1);
    });
}
