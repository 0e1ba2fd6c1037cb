//! The clients of the mixed workload. Each works until its connection ends or it is stopped, and notes what it knows in
//! a book that others read afterwards: a client library may never answer again once its broker is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::client::{Client, none, persistent};
use crate::ledger::{Id, Published, Settled};

/// Publishes sent before their confirms are awaited.
const BATCH: usize = 50;

/// Messages a consumer may hold.
const PREFETCH: u16 = 40;

/// What a client knows.
pub(crate) type Book<T> = Arc<Mutex<T>>;

/// Numbers that look random and repeat with their seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

/// Publishes to `queue` in batches; counts confirms in `progress`.
pub(crate) async fn publish(
    address: SocketAddr,
    queue: String,
    ids: Arc<AtomicU64>,
    progress: Arc<Semaphore>,
    book: Book<Published>,
) {
    let client = Client::connect(address).await;
    loop {
        let mut confirms = Vec::with_capacity(BATCH);
        for _ in 0..BATCH {
            let id = ids.fetch_add(1, Ordering::Relaxed);
            book.lock().sent.insert(id);
            // Bodies of many sizes, so that blocks are filled unevenly.
            let body = format!("{id} {}", "x".repeat(usize::try_from(id % 1_500).unwrap()));
            let options = BasicPublishOptions::default();
            let to = queue.as_str().into();
            match client.channel.basic_publish("".into(), to, options, body.as_bytes(), persistent()).await {
                Ok(confirm) => confirms.push((id, confirm)),
                Err(_) => return,
            }
        }
        for (id, confirm) in confirms {
            match confirm.await {
                Ok(confirmation) => {
                    assert!(confirmation.is_ack());
                    book.lock().confirmed.insert(id);
                    progress.add_permits(1);
                }
                Err(_) => return,
            }
        }
    }
}

/// The number in a message's body.
pub(crate) fn id_of(body: &[u8]) -> Id {
    let text = std::str::from_utf8(body).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Consumes from `queue`: most messages are acknowledged, some rejected, returned, or held.
pub(crate) async fn consume(address: SocketAddr, queue: String, mut random: Random, book: Book<Settled>) {
    let client = Client::connect(address).await;
    client.channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.unwrap();
    let mut consumer = client.consume(&queue).await;
    let mut held = 0;
    while let Some(Ok(delivery)) = consumer.next().await {
        let id = id_of(&delivery.data);
        let sent = match random.below(100) {
            0..60 => {
                book.lock().acked.insert(id, Instant::now());
                delivery.ack(BasicAckOptions::default()).await
            }
            60..75 => {
                book.lock().rejected.insert(id);
                delivery.nack(BasicNackOptions { requeue: false, multiple: false }).await
            }
            75..95 => delivery.nack(BasicNackOptions { requeue: true, multiple: false }).await,
            _ if held < PREFETCH / 2 => {
                held += 1;
                Ok(true)
            }
            _ => delivery.nack(BasicNackOptions { requeue: true, multiple: false }).await,
        };
        if sent.is_err() {
            break;
        }
    }
}

/// What is known of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defined {
    /// Answered: it must be there.
    Yes,
    /// Its deletion was answered: it must not be there.
    No,
    /// Asked, not answered.
    Unsure,
}

/// Declares, binds and deletes durable queues named `PREFIX-n`; counts answers in `progress`.
pub(crate) async fn define(
    address: SocketAddr,
    prefix: String,
    mut random: Random,
    progress: Arc<Semaphore>,
    known: Book<BTreeMap<String, Defined>>,
) {
    let client = Client::connect(address).await;
    let mut present = BTreeSet::new();
    for n in 0.. {
        let name = format!("{prefix}-{n}");
        known.lock().insert(name.clone(), Defined::Unsure);
        let options = QueueDeclareOptions::durable();
        if client.channel.queue_declare(name.as_str().into(), options, none()).await.is_err() {
            break;
        }
        known.lock().insert(name.clone(), Defined::Yes);
        let options = QueueBindOptions::default();
        let key = name.as_str().into();
        if client.channel.queue_bind(name.as_str().into(), "amq.topic".into(), key, options, none()).await.is_err() {
            break;
        }
        progress.add_permits(1);
        present.insert(name);
        if random.below(3) > 0
            && let Some(name) = present.pop_first()
        {
            known.lock().insert(name.clone(), Defined::Unsure);
            if client.channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.is_err() {
                break;
            }
            known.lock().insert(name, Defined::No);
        }
    }
}
