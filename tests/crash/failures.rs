//! Calls of the operating system that fail: each of the first few hundred that touch the data directory, in turn.
//!
//! The broker may end, not starting or with a message; it may go on, where the failure heals; it may not confirm what
//! it then does not have. `LEVERET_FAULT_SITES` sets how many calls are made to fail one after the other, each in
//! every way; without it a few are chosen, each in one.

use std::time::Duration;

use crate::in_time;
use crate::process::Process;
use crate::script::{Book, work};
use crate::settings::Random;
use crate::shim::{Act, read_log, scratch, shimmed};
use crate::store::{findings, reopen};

/// Ways to fail.
const KINDS: [&str; 3] = ["eio", "enospc", "short"];

/// Calls that fail unless `LEVERET_FAULT_SITES` says otherwise: some of the start, some of the work, of the stop.
const FEW: u64 = 16;

/// Calls that the script makes at least.
const CALLS: u64 = 500;

/// Rounds of work: enough for [`CALLS`].
const ROUNDS: u64 = 170;

/// Longer than a run takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a failing call led to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The broker did not start.
    NoStart,
    /// It ended while it worked or stopped.
    Ended,
    /// It went on and stopped in order.
    Healed,
    /// There was no such call.
    NotReached,
}

/// Runs the script with one failing call, and audits what is left.
async fn run(number: u64, kind: &str, seed: u64) -> Result<(Outcome, String), String> {
    let (directory, outside) = (scratch(), scratch());
    let log = outside.path().join("log");
    let book = Book::default();
    let (mut outcome, said) = match Process::try_run(shimmed(directory.path(), &log, Some((number, kind)))).await {
        Err((status, said)) => {
            if status.success() || said.is_empty() {
                return Err(format!("it does not start, and says nothing: {status}"));
            }
            (Outcome::NoStart, said)
        }
        Ok(mut broker) => {
            // A client library may never answer again once its broker is gone.
            let mut work = tokio::spawn(work(broker.address(), book.clone(), seed, 1, ROUNDS));
            let worked = tokio::select! {
                worked = &mut work => worked.unwrap().map_err(|error| error.to_string()),
                () = broker.gone() => Err("the broker has ended".to_owned()),
            };
            work.abort();
            if worked.is_ok() {
                broker.terminate();
            }
            let (status, said) = broker.ended().await;
            if !status.success() && status.code().is_none() {
                return Err(format!("it crashed, {status}:\n{}", said.join("\n")));
            }
            if worked.is_err() && status.success() {
                return Err(format!("it left its client, and ended well: {worked:?}\n{}", said.join("\n")));
            }
            (if status.success() { Outcome::Healed } else { Outcome::Ended }, said)
        }
    };
    let failed = read_log(&log).into_iter().find_map(|event| match event.act {
        Act::Failed { call, .. } => Some(format!("{call} {}", event.path)),
        _ => None,
    });
    let Some(failed) = failed else {
        outcome = Outcome::NotReached;
        return Ok((outcome, String::new()));
    };
    let told = said.iter().any(|line| line.contains("ERROR") || line.contains("os error") || line.contains("store"));
    if outcome != Outcome::Healed && !told {
        return Err(format!("{failed}: it ended and did not say why:\n{}", said.join("\n")));
    }
    // A failed sync proves nothing of what is on the disk: nobody may go on as if it had not been.
    if failed.starts_with("fdatasync") && kind == "eio" && outcome == Outcome::Healed {
        return Err(format!("{failed}: it went on after a failed sync"));
    }
    let in_store = |what: String| format!("{failed}, {outcome:?}: {what}\n{}", said.join("\n"));
    findings(directory.path()).map_err(in_store)?;
    let found = reopen(directory.path()).map_err(in_store)?;
    let notes = book.lock().clone();
    notes.audit(u64::MAX, &found).map_err(in_store)?;
    findings(directory.path()).map_err(in_store)?;
    Ok((outcome, failed))
}

#[test]
fn a_failing_call_loses_nothing_and_is_told() {
    let long = std::env::var("LEVERET_FAULT_SITES").ok().map(|text| text.parse::<u64>().unwrap());
    let seed = getrandom::u64().unwrap() >> 1;
    let mut random = Random::new(seed);
    let sites: Vec<(u64, &str)> = match long {
        Some(sites) => (1..=sites).flat_map(|site| KINDS.map(|kind| (site, kind))).collect(),
        None => (0..FEW)
            .map(|n| (1 + n * CALLS / FEW + random.below(CALLS / FEW), KINDS[usize::try_from(n).unwrap() % 3]))
            .collect(),
    };
    println!("{} runs, seed {seed}", sites.len());
    in_time(PATIENCE * u32::try_from(sites.len()).unwrap(), async move {
        let mut outcomes: std::collections::BTreeMap<(Outcome, String), u64> = std::collections::BTreeMap::new();
        for (number, kind) in sites {
            let ended = tokio::time::timeout(PATIENCE, run(number, kind, seed)).await;
            let result = ended.unwrap_or_else(|_| Err("it hangs".to_owned()));
            match result {
                Err(what) => panic!("call {number} fails with {kind}, seed {seed}: {what}"),
                Ok((outcome, call)) => {
                    *outcomes.entry((outcome, format!("{kind} {call}"))).or_default() += 1;
                }
            }
        }
        for ((outcome, call), times) in &outcomes {
            println!("{outcome:?}: {times} times {call}");
        }
        let missed: u64 = outcomes.iter().filter(|((o, _), _)| *o == Outcome::NotReached).map(|(_, times)| times).sum();
        assert_eq!(missed, 0, "the script makes at least {CALLS} calls");
    });
}
