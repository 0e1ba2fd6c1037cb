//! Hand-over by transactions, killed at random moments: what was moved is moved once, and a pair arrives as a pair.
//!
//! Tokens go round in a ring of queues, each step one transaction that publishes and acknowledges. However often the
//! broker is killed, each token is in exactly one queue. Producers publish to two queues in one transaction; afterwards
//! both hold the same.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::{StreamExt, future};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{Client, consume, next, none, persistent};
use crate::in_time;
use crate::process::Process;
use crate::settings::{Random, rounds_and_seed};

/// Queues of the ring.
const RING: usize = 4;

/// Tokens in the ring.
const TOKENS: Id = 300;

/// Most deliveries handed over by one transaction.
const BATCH: u64 = 12;

/// Commits after which a round may be killed, at least and at most.
const COMMITS: (u64, u64) = (50, 1_500);

/// Longer than a round takes on a busy machine.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// Number of a message; ascending in the order of publishing, never used again.
type Id = u64;

/// What the publisher knows.
#[derive(Debug, Default)]
struct Published {
    sent: BTreeSet<Id>,
    confirmed: BTreeSet<Id>,
}

/// Shared, since a client library may never answer again once its broker is gone.
type Book = Arc<Mutex<Published>>;

/// The number in a message's body.
fn id_of(body: &[u8]) -> Id {
    let text = std::str::from_utf8(body).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn ring(n: usize) -> String {
    format!("ring-{}", n % RING)
}

async fn publish(channel: &Channel, queue: &str, id: Id) -> lapin::Result<()> {
    let body = format!("{id} {}", "x".repeat(usize::try_from(id % 700).unwrap()));
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), persistent()).await.map(drop)
}

/// Moves tokens from a queue to the next until the connection ends.
async fn hand_over(address: SocketAddr, at: usize, mut random: Random, progress: Arc<Semaphore>) -> lapin::Result<()> {
    let client = Client::connect(address).await;
    let channel = client.channel().await;
    channel.tx_select().await?;
    channel.basic_qos(30, BasicQosOptions::default()).await?;
    let mut consumer = consume(&channel, &ring(at), lapin::options::BasicConsumeOptions::default(), none()).await;
    let requeue = BasicNackOptions { requeue: true, multiple: false };
    while let Some(first) = consumer.next().await {
        let mut batch = vec![first?];
        for _ in 0..random.below(BATCH) {
            if let Some(Some(next)) = future::poll_once(consumer.next()).await {
                batch.push(next?);
            }
        }
        // One in eight changes its mind: what it did is undone, and the deliveries return by a transaction of their own.
        let whim = random.below(8) == 0;
        for delivery in &batch {
            publish(&channel, &ring(at + 1), id_of(&delivery.data)).await?;
            delivery.ack(BasicAckOptions::default()).await?;
        }
        if whim {
            channel.tx_rollback().await?;
            for delivery in &batch {
                channel.basic_nack(delivery.delivery_tag, requeue).await?;
            }
        }
        channel.tx_commit().await?;
        progress.add_permits(1);
    }
    Ok(())
}

/// Publishes pairs until the connection ends.
async fn produce(
    address: SocketAddr,
    mut ids: std::ops::RangeFrom<Id>,
    mut random: Random,
    progress: Arc<Semaphore>,
    book: Book,
) -> lapin::Result<()> {
    let client = Client::connect(address).await;
    let channel = client.channel().await;
    channel.tx_select().await?;
    loop {
        let batch: Vec<Id> = ids.by_ref().take(1 + usize::try_from(random.below(BATCH)).unwrap()).collect();
        book.lock().sent.extend(&batch);
        for id in &batch {
            publish(&channel, "left", *id).await?;
            publish(&channel, "right", *id).await?;
        }
        channel.tx_commit().await?;
        book.lock().confirmed.extend(&batch);
        progress.add_permits(1);
    }
}

async fn prepare(client: &Client) {
    for queue in (0..RING).map(ring).chain(["left".to_owned(), "right".to_owned()]) {
        client.durable(&queue, none()).await;
    }
    for id in 0..TOKENS {
        client.put_as(&ring(usize::try_from(id).unwrap()), &id.to_string(), persistent()).await;
    }
}

/// Works until enough commits were answered, and kills the broker.
async fn round(broker: Process, first: Id, random: &mut Random) -> Published {
    let address = broker.address();
    let commits = COMMITS.0 + random.below(COMMITS.1 - COMMITS.0);
    let (progress, book) = (Arc::new(Semaphore::new(0)), Book::default());
    let mut workers = JoinSet::new();
    for at in 0..RING {
        workers.spawn(hand_over(address, at, Random::new(random.below(u64::MAX)), progress.clone()));
    }
    let own = Random::new(random.below(u64::MAX));
    workers.spawn(produce(address, first.., own, progress.clone(), book.clone()));
    let _ = progress.acquire_many(u32::try_from(commits).unwrap()).await.unwrap();
    broker.kill().await;
    workers.abort_all();
    while let Some(ended) = workers.join_next().await {
        assert!(!ended.is_err_and(|error| error.is_panic()), "a client has failed");
    }
    std::mem::take(&mut *book.lock())
}

/// Everything ready in a queue, in order. It returns to the queue when the client goes.
async fn found(broker: &Process, queue: &str) -> Vec<Id> {
    let client = broker.client().await;
    let ready = client.ready(queue).await;
    let mut consumer = client.consume(queue).await;
    let mut found = Vec::new();
    for _ in 0..ready {
        found.push(id_of(&next(&mut consumer).await.data));
    }
    client.close().await;
    found
}

#[test]
fn a_hand_over_by_transaction_happens_exactly_once_however_often_the_broker_is_killed() {
    let (rounds, seed) = rounds_and_seed();
    println!("LEVERET_CRASH_SEED={seed}, {rounds} rounds");
    in_time(ROUND_LIMIT * u32::try_from(rounds).unwrap(), async {
        let directory = tempfile::tempdir().unwrap();
        let mut random = Random::new(seed);
        let mut broker = Process::start(directory.path()).await;
        prepare(&broker.client().await).await;
        let mut books = Published::default();
        for number in 1..=rounds {
            let next = books.sent.last().map_or(0, |id| id + 1);
            let mut published = round(broker, next, &mut random).await;
            books.sent.append(&mut published.sent);
            books.confirmed.append(&mut published.confirmed);
            broker = Process::start(directory.path()).await;
            let context = format!("round {number} with seed {seed}");

            let mut tokens = Vec::new();
            for at in 0..RING {
                tokens.extend(found(&broker, &ring(at)).await);
            }
            tokens.sort_unstable();
            let once: BTreeSet<Id> = tokens.iter().copied().collect();
            let lost: Vec<Id> = (0..TOKENS).filter(|id| !once.contains(id)).collect();
            let doubled: Vec<Id> = tokens.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
            assert!(lost.is_empty() && doubled.is_empty(), "{context}: lost {lost:?}, doubled {doubled:?}");
            assert_eq!(tokens.len() as u64, TOKENS, "{context}");

            let (left, right) = (found(&broker, "left").await, found(&broker, "right").await);
            assert_eq!(left, right, "{context}: pairs");
            assert!(left.is_sorted_by(|a, b| a < b), "{context}: order, and each once");
            let left: BTreeSet<Id> = left.into_iter().collect();
            assert!(left.is_subset(&books.sent), "{context}: something nobody sent");
            assert!(books.confirmed.is_subset(&left), "{context}: a commit that was answered is lost");
            println!("{context}: {TOKENS} tokens and {} pairs as they should be", left.len());
        }
        broker.kill().await;
    });
}
