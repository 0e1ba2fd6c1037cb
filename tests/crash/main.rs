//! What survives when the process does not: the real command, killed, stopped and started again.
//!
//! `LEVERET_CRASH_ROUNDS` sets how often the workloads are killed, `LEVERET_CRASH_SEED` repeats a run's choices.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails
#![allow(clippy::print_stdout)] // figures of the long forms

#[allow(dead_code, reason = "shared with the behaviour tests")]
#[path = "../support/client.rs"]
mod client;
#[path = "../support/process.rs"]
mod process;

mod audit;
mod backup;
mod consumer;
mod cuts;
mod damage;
mod define;
mod delayed;
mod disk;
mod failures;
mod faults;
mod files;
mod full_disk;
mod invariants;
mod kill;
mod ledger;
mod mutations;
mod plan;
mod power;
mod produce;
mod proof;
mod raw;
mod rounds;
mod script;
mod settings;
mod shim;
mod single;
mod stamp;
mod start;
mod stop;
mod store;
mod story;
mod transactions;
mod volume;

use std::time::Duration;

/// Runs a test that must end in time.
fn in_time(limit: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(limit, test).await });
    assert!(ended.is_ok(), "the test does not end");
}
