//! A full disk: publishers are stopped, acknowledgements and deletions go on, nothing confirmed is lost, and everything
//! goes on by itself when there is room again.
//!
//! `LEVERET_DISK_MIB` sets the size of the file system, 64 MiB by default; the long form is 256.
#![allow(clippy::print_stdout)] // the figures are to be read

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_lite::StreamExt;
use lapin::ConnectionStatus;
use lapin::options::{BasicAckOptions, BasicPublishOptions, BasicQosOptions, QueueDeleteOptions};
use parking_lot::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::client::{Client, none, persistent};
use crate::in_time;
use crate::process::{Process, command};
use crate::volume::{MIB, Volume};

/// Publishers at work.
const PUBLISHERS: usize = 3;

/// Publishes a publisher has on their way.
const WINDOW: usize = 50;

/// Largest body, in octets.
const LARGEST: u64 = 12_000;

/// How long a test takes at most on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// Who has had no confirm for so long stands still.
const STILL: Duration = Duration::from_secs(5);

/// How long anything that is waited for takes at most.
const SOON: Duration = Duration::from_secs(120);

fn mebibytes() -> u64 {
    std::env::var("LEVERET_DISK_MIB").map_or(64, |text| text.parse().expect("LEVERET_DISK_MIB is a number"))
}

/// What the publishers know.
#[derive(Default)]
struct Book {
    sent: Mutex<BTreeSet<u64>>,
    confirmed: Mutex<BTreeSet<u64>>,
    next: AtomicU64,
    stop: AtomicBool,
}

impl Book {
    fn counts(&self) -> (usize, usize) {
        (self.sent.lock().len(), self.confirmed.lock().len())
    }
}

fn body(id: u64) -> String {
    let len = usize::try_from(id.wrapping_mul(7_919) % LARGEST).unwrap();
    format!("{id} {}", "x".repeat(len))
}

/// Publishes until told to stop, and then waits for every confirm that is still out.
async fn publish(client: Client, book: Arc<Book>) {
    while !book.stop.load(Ordering::Relaxed) {
        let mut confirms = Vec::with_capacity(WINDOW);
        for _ in 0..WINDOW {
            let id = book.next.fetch_add(1, Ordering::Relaxed);
            book.sent.lock().insert(id);
            let body = body(id);
            let options = BasicPublishOptions::default();
            let sent = client.channel.basic_publish("".into(), "q".into(), options, body.as_bytes(), persistent());
            let Ok(confirm) = sent.await else { return };
            confirms.push((id, confirm));
        }
        for (id, confirm) in confirms {
            let Ok(confirm) = confirm.await else { return };
            assert!(confirm.is_ack(), "{id} is refused");
            book.confirmed.lock().insert(id);
        }
    }
    client.close().await;
}

/// Publishers at work.
struct Work {
    tasks: JoinSet<()>,
    connections: Vec<ConnectionStatus>,
}

impl Work {
    async fn start(address: SocketAddr, book: &Arc<Book>) -> Self {
        book.stop.store(false, Ordering::Relaxed);
        let (mut tasks, mut connections) = (JoinSet::new(), Vec::new());
        for _ in 0..PUBLISHERS {
            let client = Client::connect(address).await;
            connections.push(client.connection.status().clone());
            tasks.spawn(publish(client, book.clone()));
        }
        Self { tasks, connections }
    }

    /// Returns once no publisher gets on: each was told that it is blocked, or waits for confirms.
    async fn blocked(&self, book: &Book) {
        let (mut confirmed, mut since) = (0, Instant::now());
        until("publishers stand still", || {
            let now = book.counts().1;
            if now != confirmed {
                (confirmed, since) = (now, Instant::now());
            }
            since.elapsed() > STILL
        })
        .await;
        let told = self.connections.iter().filter(|connection| connection.blocked()).count();
        println!("publishers stand still, {told} of {PUBLISHERS} were told so");
    }

    async fn end(self, book: &Book) {
        book.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        assert_eq!(*book.sent.lock(), *book.confirmed.lock(), "every publish is confirmed in the end");
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < SOON, "it does not happen: {what}");
    }
}

/// Consumes until told to stop; returns what came, with the flag.
fn consume(address: SocketAddr, received: &Arc<Mutex<Vec<(u64, bool)>>>) -> JoinHandle<()> {
    let received = received.clone();
    tokio::spawn(async move {
        let client = Client::connect(address).await;
        client.channel.basic_qos(200, BasicQosOptions::default()).await.unwrap();
        let mut consumer = client.consume("q").await;
        while let Some(Ok(delivery)) = consumer.next().await {
            let text = std::str::from_utf8(&delivery.data).unwrap();
            let id = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(text, body(id), "a body has changed");
            delivery.ack(BasicAckOptions::default()).await.unwrap();
            received.lock().push((id, delivery.redelivered));
        }
    })
}

/// Whether what was received is what was confirmed, each once, unless marked.
fn audit(book: &Book, received: &[(u64, bool)]) {
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = received.iter().filter(|(id, marked)| !seen.insert(*id) && !marked).collect();
    let confirmed = book.confirmed.lock();
    let sent = book.sent.lock();
    let lost: Vec<_> = confirmed.difference(&seen).take(20).collect();
    let invented: Vec<_> = seen.difference(&sent).take(20).collect();
    assert!(lost.is_empty() && twice.is_empty() && invented.is_empty(), "lost {lost:?}, {twice:?}, {invented:?}");
}

fn broker_on(volume: &Volume, settings: &[(&str, &str)]) -> tokio::process::Command {
    let mut command = command(&volume.data());
    for (name, value) in settings {
        command.env(name, value);
    }
    command
}

/// Returns once everything that was confirmed so far has been received.
async fn drained(book: &Book, received: &Mutex<Vec<(u64, bool)>>) {
    until("the queue is drained", || received.lock().len() >= book.confirmed.lock().len()).await;
}

/// Fills the file system by publishing, gives some room back from outside, then all of it by consuming.
fn fill_by_publishing(settings: &'static [(&'static str, &'static str)]) {
    let Some(volume) = Volume::new(mebibytes()) else { return };
    in_time(PATIENCE, async {
        let filler = volume.occupy(mebibytes() * MIB / 4);
        let broker = Process::run(broker_on(&volume, settings)).await;
        broker.client().await.durable("q", none()).await;
        let book = Arc::new(Book::default());
        let begun = Instant::now();
        let work = Work::start(broker.address(), &book).await;
        work.blocked(&book).await;
        let first = book.counts();
        println!("full after {:?}: {first:?} sent and confirmed, {} octets free", begun.elapsed(), volume.free());
        // Others go on: declarations, acknowledgements.
        let witness = broker.client().await;
        assert!(witness.queue_exists("q").await);

        drop(filler);
        until("publishers go on", || book.counts().1 > first.0 + 200).await;
        work.blocked(&book).await;
        let second = book.counts();
        println!("full again: {second:?} sent and confirmed, {} octets free", volume.free());

        let received = Arc::new(Mutex::new(Vec::new()));
        let consumer = consume(broker.address(), &received);
        until("publishers go on", || book.counts().1 > second.0 + 500).await;
        work.end(&book).await;
        drained(&book, &received).await;
        audit(&book, &received.lock());
        println!("{} messages as they should be, {} octets free", received.lock().len(), volume.free());

        // Full once more, and killed in the middle of it.
        consumer.abort();
        let _ = consumer.await;
        let work = Work::start(broker.address(), &book).await;
        work.blocked(&book).await;
        broker.kill().await;
        drop(work);
        let begun = Instant::now();
        let broker = Process::run(broker_on(&volume, settings)).await;
        println!("started on the full disk in {:?}", begun.elapsed());
        let consumer = consume(broker.address(), &received);
        until("the queue is drained", || {
            let seen: BTreeSet<u64> = received.lock().iter().map(|(id, _)| *id).collect();
            book.confirmed.lock().is_subset(&seen)
        })
        .await;
        audit(&book, &received.lock());
        if tokio::net::TcpStream::connect(broker.address()).await.is_err() {
            let (status, log) = broker.ended().await;
            panic!("it has ended, {status}:\n{}", log.join("\n"));
        }
        let client = broker.client().await;
        client.put_as("q", &body(0), persistent()).await;
        consumer.abort();
        let _ = consumer.await;
        broker.terminate();
        let (status, log) = broker.ended().await;
        assert!(status.success(), "{}", log.join("\n"));
    });
}

#[test]
fn a_disk_filled_by_publishers_loses_nothing_and_heals() {
    fill_by_publishing(&[]);
}

#[test]
fn without_a_disk_limit_the_reserve_and_the_ballast_are_enough() {
    fill_by_publishing(&[("LEVERET_LIMITS__DISK_FREE_LIMIT", "0")]);
}

#[test]
fn a_disk_filled_from_outside_stops_publishers_only() {
    let Some(volume) = Volume::new(mebibytes()) else { return };
    in_time(PATIENCE, async {
        let broker = Process::run(broker_on(&volume, &[])).await;
        let client = broker.client().await;
        client.durable("q", none()).await;
        client.durable("doomed", none()).await;
        for n in 0..200 {
            client.put_as("doomed", &body(n), persistent()).await;
        }
        let book = Arc::new(Book::default());
        let work = Work::start(broker.address(), &book).await;
        let enough = usize::try_from(mebibytes() * 20).unwrap();
        until("a backlog", || book.counts().1 > enough).await;
        let flood = volume.fill();
        println!("filled from outside with {} octets, {} left", flood.octets(), volume.free());
        work.blocked(&book).await;
        let blocked = book.counts();
        println!("blocked: {blocked:?} sent and confirmed");
        // No room comes from outside: whatever goes on now does so by itself.
        client.channel.queue_delete("doomed".into(), QueueDeleteOptions::default()).await.unwrap();
        assert!(!client.queue_exists("doomed").await);
        book.stop.store(true, Ordering::Relaxed);
        let received = Arc::new(Mutex::new(Vec::new()));
        let consumer = consume(broker.address(), &received);
        work.end(&book).await;
        drained(&book, &received).await;
        assert_eq!(client.ready("q").await, 0);
        audit(&book, &received.lock());
        println!(
            "drained to empty on the full disk: {} messages, {} octets free",
            received.lock().len(),
            volume.free()
        );

        // The file has room of its own now.
        let work = Work::start(broker.address(), &book).await;
        until("publishers go on", || book.counts().1 > blocked.0 + 200).await;
        drop(flood);
        let so_far = book.counts().1;
        until("publishers go on", || book.counts().1 > so_far + 500).await;
        work.end(&book).await;
        drained(&book, &received).await;
        audit(&book, &received.lock());
        broker.kill().await;
        consumer.abort();
        let _ = consumer.await;
        let broker = Process::run(broker_on(&volume, &[])).await;
        let left = broker.client().await.ready("q").await;
        // The last acknowledgements may have been under way.
        println!("{} messages as they should be, {left} still there after kill -9", received.lock().len());
        assert!(left <= 1_000);
        broker.kill().await;
    });
}
