//! Clients that are too many, too fast, too slow or malicious: the broker stays up, bounded, and useful to others.
//!
//! Everything goes over loopback to a broker that the test starts and stops. By default each test is small;
//! `LEVERET_FLOODS=long` makes them as large as the machine's limits allow, and their figures worth printing.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails
#![allow(clippy::cast_precision_loss)] // figures for people

#[path = "../wire/bystander.rs"]
mod bystander;
#[allow(dead_code, reason = "shared with the tests of the wire")]
#[path = "../wire/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with the tests of the wire")]
#[path = "../wire/frames/mod.rs"]
mod frames;
#[allow(dead_code, reason = "shared with the crash tests")]
#[path = "../support/process.rs"]
mod process;
#[allow(dead_code, reason = "shared with the tests of the wire")]
#[path = "../wire/script.rs"]
mod script;

mod bodies;
mod churn;
mod crowd;
mod fanout;
mod handshakes;
mod logins;
mod loops;
mod unread;
mod usage;

use std::time::Duration;

/// Whether the tests are to be as large as they can.
fn long() -> bool {
    std::env::var("LEVERET_FLOODS").is_ok_and(|form| form == "long")
}

/// Runs a test that must end in time.
fn in_time(test: impl Future<Output = ()>) {
    let limit = Duration::from_secs(if long() { 600 } else { 100 });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(limit, test).await });
    assert!(ended.is_ok(), "the test does not end");
}
