//! Many of one thing, and what one of them takes of the broker's memory.
//!
//! Invariant: memory is read after the broker has had a moment to settle, before and after.

use std::io::Write;
use std::time::Duration;

use super::PerfError;
use super::churn::declare;
use super::connection::{Connection, nanos};
use super::consumer::subscribe;
use super::plan::delete;
use super::process::{Memory, Process};
use super::summary::{mebibytes, whole};
use super::target::Target;
use crate::clock::Clock;
use crate::config::perf::{Count, Counted};
use crate::sync::atomic::{AtomicBool, Ordering};

/// How long brokers get to finish what they do after the last answer.
const SETTLE: Duration = Duration::from_secs(1);

/// What a count came to.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Outcome {
    pub(super) broker: String,
    /// How many there are.
    pub(super) number: u32,
    /// Made a second, one after the other.
    pub(super) rate: f64,
    pub(super) before: Option<Memory>,
    pub(super) after: Option<Memory>,
    /// Octets one takes: resident, and of it of no file. Negative where the broker gave memory back meanwhile.
    pub(super) each_resident: Option<f64>,
    pub(super) each_anonymous: Option<f64>,
}

/// `leveret perf count`: makes them, prints what they take, and removes them.
pub(super) fn command(count: &Count, interrupted: &AtomicBool, out: &mut dyn Write) -> Result<(), PerfError> {
    let outcome = run(count, interrupted)?;
    let unit = match count.what {
        Counted::Connections => "idle connections, each with a channel and a consumer",
        Counted::Queues => "queues",
    };
    let number = whole(outcome.number.into());
    writeln!(out, "{}: {number} {unit}, made {}/s", outcome.broker, whole(outcome.rate))?;
    for (when, memory) in [("before", outcome.before), ("after", outcome.after)] {
        if let Some(Memory { resident, anonymous }) = memory {
            let (resident, anonymous) = (mebibytes(resident), mebibytes(anonymous));
            writeln!(out, "{when:<7} {resident} resident, {anonymous} of it of no file")?;
        }
    }
    match outcome.each_resident.zip(outcome.each_anonymous) {
        Some((resident, anonymous)) => {
            let (resident, anonymous) = (resident / 1024.0, anonymous / 1024.0);
            writeln!(out, "each    {resident:.2} KiB resident, {anonymous:.2} KiB of it of no file")?;
        }
        None => writeln!(out, "--pid tells what they take of the broker's memory")?,
    }
    super::write_json(count.whom.json.as_deref(), &outcome)
}

/// Makes them, reads the memory, and removes them.
pub(super) fn run(count: &Count, interrupted: &AtomicBool) -> Result<Outcome, PerfError> {
    let target = Target::parse(&count.whom.uri)?;
    let clock = Clock::system();
    let process = count.whom.pid.map(Process);
    let mut first = Connection::open_with_channel(&target, &clock)?;
    let name = |number: u32| format!("perf-count-{}-{number}", std::process::id());
    // A queue that all consumers share, not exclusive: they have connections of their own.
    if count.what == Counted::Connections {
        declare(&mut first, &name(0), true)?;
    }
    settle(&clock);
    let before = process.map(Process::memory).transpose()?;
    let begun = clock.nanos();
    let (mut connections, mut number) = (Vec::new(), 0);
    while number < count.number && !interrupted.load(Ordering::Relaxed) {
        number += 1;
        match count.what {
            Counted::Connections => {
                let mut connection = Connection::open_with_channel(&target, &clock)?;
                subscribe(&mut connection, &name(0), false, 0)?;
                connections.push(connection);
            }
            Counted::Queues => drop(declare(&mut first, &name(number), count.durable)?),
        }
    }
    let seconds = clock.nanos().saturating_sub(begun).max(1) as f64 / 1e9;
    settle(&clock);
    let after = process.map(Process::memory).transpose()?;
    let broker = first.server.clone();
    drop(connections);
    match count.what {
        Counted::Connections => delete(&mut first, &name(0))?,
        Counted::Queues => (1..=number).try_for_each(|number| delete(&mut first, &name(number)))?,
    }
    first.close();
    let each = |octets: fn(Memory) -> u64| {
        let (before, after) = before.zip(after)?;
        Some((octets(after) as f64 - octets(before) as f64) / f64::from(number.max(1)))
    };
    Ok(Outcome {
        broker,
        number,
        rate: f64::from(number) / seconds,
        before,
        after,
        each_resident: each(|memory| memory.resident),
        each_anonymous: each(|memory| memory.anonymous),
    })
}

fn settle(clock: &Clock) {
    let until = clock.nanos() + nanos(SETTLE);
    while clock.nanos() < until {
        std::thread::park_timeout(Duration::from_nanos(until.saturating_sub(clock.nanos())));
    }
}
