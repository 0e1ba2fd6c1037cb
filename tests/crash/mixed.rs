//! A mixed workload, killed at random moments, and audited after each restart.
//!
//! Messages stay from round to round, so a broker is also killed while it works on what it recovered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, next, table, text};
use crate::in_time;
use crate::ledger::{Id, Ledger, Published, Settled};
use crate::process::Process;
use crate::worker::{Book, Defined, Random, consume, define, id_of, publish};

/// Queues with a publisher and a consumer each.
const QUEUES: usize = 3;

/// Rounds unless `LEVERET_CRASH_ROUNDS` says otherwise.
const ROUNDS: u64 = 5;

/// Answers to clients after which a round may be killed, at least and at most.
const ANSWERS: (u64, u64) = (200, 12_000);

/// Longer than a round takes on a busy machine.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// A number from the environment.
pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// How many rounds, and the seed of their choices; to be printed.
pub(crate) fn rounds_and_seed() -> (u64, u64) {
    let rounds = setting("LEVERET_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = setting("LEVERET_CRASH_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    (rounds, seed)
}

fn work(n: usize) -> String {
    format!("work-{n}")
}

fn dead(n: usize) -> String {
    format!("dead-{n}")
}

/// What all clients know together.
#[derive(Default)]
struct Books {
    ledgers: [Ledger; QUEUES],
    definitions: BTreeMap<String, Defined>,
}

async fn prepare(client: &Client) {
    for n in 0..QUEUES {
        client.durable(&dead(n), crate::client::none()).await;
        let arguments = table([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(&dead(n)))]);
        client.durable(&work(n), arguments).await;
    }
}

/// Works until `answers` have come, and kills the broker. Returns when that was.
async fn round(broker: Process, books: &mut Books, ids: &Arc<AtomicU64>, name: &str, random: &mut Random) -> Instant {
    let address = broker.address();
    let answers = ANSWERS.0 + random.below(ANSWERS.1 - ANSWERS.0);
    let progress = Arc::new(Semaphore::new(0));
    let mut workers = JoinSet::new();
    let mut notes: Vec<(Book<Published>, Book<Settled>)> = Vec::new();
    for n in 0..QUEUES {
        let (published, settled) = (Book::default(), Book::default());
        workers.spawn(publish(address, work(n), ids.clone(), progress.clone(), published.clone()));
        workers.spawn(consume(address, work(n), Random::new(random.below(u64::MAX)), settled.clone()));
        notes.push((published, settled));
    }
    let random = Random::new(random.below(u64::MAX));
    let defined = Book::default();
    workers.spawn(define(address, name.to_owned(), random, progress.clone(), defined.clone()));
    let _ = progress.acquire_many(u32::try_from(answers).unwrap()).await.unwrap();
    let killed = Instant::now();
    broker.kill().await;
    workers.abort_all();
    while let Some(ended) = workers.join_next().await {
        assert!(!ended.is_err_and(|error| error.is_panic()), "a client has failed");
    }
    for (ledger, (published, settled)) in books.ledgers.iter_mut().zip(notes) {
        ledger.note(&published.lock(), &settled.lock());
    }
    books.definitions.append(&mut defined.lock());
    killed
}

/// Everything ready in a queue, in order, with the flag. It returns to the queue when the client goes.
pub(crate) async fn look(broker: &Process, queue: &str) -> Vec<(Id, bool)> {
    let client = broker.client().await;
    let ready = client.ready(queue).await;
    let mut consumer = client.consume(queue).await;
    let mut found = Vec::new();
    for _ in 0..ready {
        let delivery = next(&mut consumer).await;
        found.push((id_of(&delivery.data), delivery.redelivered));
    }
    client.close().await;
    found
}

async fn audit(broker: &Process, books: &mut Books, killed: Instant) -> Vec<String> {
    let mut wrong = Vec::new();
    for (n, ledger) in books.ledgers.iter_mut().enumerate() {
        let alive = look(broker, &work(n)).await;
        let dead: BTreeSet<Id> = look(broker, &dead(n)).await.into_iter().map(|(id, _)| id).collect();
        wrong.extend(ledger.audit(killed, &alive, &dead).into_iter().map(|what| format!("queue {n}: {what}")));
    }
    let client = broker.client().await;
    for (name, defined) in &mut books.definitions {
        let exists = client.queue_exists(name).await;
        if (*defined == Defined::Yes && !exists) || (*defined == Defined::No && exists) {
            wrong.push(format!("{name}: {defined:?}, but exists: {exists}"));
        }
        *defined = if exists { Defined::Yes } else { Defined::No };
    }
    wrong
}

#[test]
fn nothing_confirmed_is_lost_however_often_the_broker_is_killed() {
    let (rounds, seed) = rounds_and_seed();
    println!("LEVERET_CRASH_SEED={seed}, {rounds} rounds");
    in_time(ROUND_LIMIT * u32::try_from(rounds).unwrap(), async {
        let directory = tempfile::tempdir().unwrap();
        let mut random = Random::new(seed);
        let ids = Arc::new(AtomicU64::new(1));
        let mut books = Books::default();
        let mut broker = Process::start(directory.path()).await;
        prepare(&broker.client().await).await;
        for number in 1..=rounds {
            let killed = round(broker, &mut books, &ids, &format!("defined-{number}"), &mut random).await;
            broker = Process::start(directory.path()).await;
            let started = broker.start_time;
            let wrong = audit(&broker, &mut books, killed).await;
            assert!(wrong.is_empty(), "round {number} with seed {seed}:\n{}", wrong.join("\n"));
            let kept: usize = books.ledgers.iter().map(Ledger::kept).sum();
            println!("round {number}: started in {started:?}, {kept} messages as they should be");
        }
        broker.kill().await;
    });
}
