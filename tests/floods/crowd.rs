//! Ten thousand clients that have a channel and a consumer and nothing to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::client::Client;
use crate::frames::{self, Properties, none};
use crate::process::Process;
use crate::script::connect;
use crate::{in_time, long, usage};

/// What an idle connection with a channel and a consumer may cost, in octets.
const EACH: u64 = 10 * 1024;

/// Consumers of one queue.
const SHARE: usize = 100;

/// Connections opened at a time.
const AT_ONCE: usize = 50;

/// The first of the crowd, which are not counted: for them the allocator makes the pages of every size of object on every
/// thread, which the others then share.
const FIRST: usize = 500;

/// Lets idle connections come until there are `size`.
async fn grow(crowd: &mut Vec<Client>, address: SocketAddr, size: usize) {
    while crowd.len() < size {
        let mut opening = JoinSet::new();
        for number in crowd.len()..(crowd.len() + AT_ONCE).min(size) {
            opening.spawn(idle(address, number));
        }
        crowd.extend(opening.join_all().await);
    }
}

/// A connection with one channel and one consumer, which says nothing more.
async fn idle(address: SocketAddr, number: usize) -> Client {
    let mut client = Client::connect(address).await;
    client.send(frames::HEADER).await;
    client.frame().await.expect("connection.start");
    client.send(&frames::login()).await;
    client.expect(&frames::tune(), "tune").await;
    client.send(&[frames::tune_ok(2047, 131_072, 60), frames::open("/"), frames::channel_open(1)].concat()).await;
    client.expect(&[frames::open_ok(), frames::channel_open_ok(1)].concat(), "open").await;
    let (queue, tag) = (format!("crowd-{}", number / SHARE), format!("consumer-{number}"));
    let declare = frames::queue_declare(1, &queue, "", &none());
    client.send(&declare).await;
    client.frame().await.expect("declare-ok");
    client.send(&frames::consume(1, &queue, &tag, "", &none())).await;
    client.expect(&frames::consume_ok(1, &tag), "consume").await;
    client
}

/// A publisher and a consumer that go as fast as they can for a while; messages a second.
async fn pair(address: SocketAddr, time: Duration) -> f64 {
    let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut consumer = connect(address).await;
    consumer.send(&frames::queue_declare(1, "pair", "", &none())).await;
    consumer.frame().await.expect("declare-ok");
    consumer.send(&frames::consume(1, "pair", "c", "no-ack", &none())).await;
    consumer.expect(&frames::consume_ok(1, "c"), "consume").await;
    let one = frames::deliver(1, "c", 1, "", "pair", &[7; 128]).len() as u64;
    let mut publisher = connect(address).await;
    let mut tasks = JoinSet::new();
    let counting = count.clone();
    tasks.spawn(async move {
        use tokio::io::AsyncReadExt;
        let mut stream = consumer.into_stream();
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            counting.fetch_add(n as u64, Ordering::Relaxed);
        }
    });
    let stopping = over.clone();
    tasks.spawn(async move {
        let batch = frames::publish(1, "", "pair", "", Properties::default(), &[7; 128]).repeat(100);
        while !stopping.load(Ordering::Relaxed) && publisher.try_send(&batch).await {}
    });
    tokio::time::sleep(time / 4).await;
    let before = count.load(Ordering::Relaxed);
    tokio::time::sleep(time).await;
    let octets = count.load(Ordering::Relaxed) - before;
    over.store(true, Ordering::Relaxed);
    drop(tasks);
    octets as f64 / one as f64 / time.as_secs_f64()
}

#[test]
fn an_idle_crowd_costs_little_memory_and_nobody_time() {
    in_time(async {
        let allowed = usize::try_from(usage::raise_descriptors()).unwrap_or(usize::MAX);
        let (wanted, rounds, time) =
            if long() { (10_000, 5, Duration::from_secs(2)) } else { (1_500, 1, Duration::from_millis(200)) };
        let size = wanted.min(allowed.saturating_sub(100));
        assert!(size > 2 * FIRST, "this process may open {allowed} files only");
        if size < wanted {
            println!("only {size} connections: this process may open {allowed} files");
        }
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let broker = Process::start(directories[0].path()).await;
        let quiet = Process::start(directories[1].path()).await;
        let address = broker.address();
        pair(address, time).await;
        let descriptors = usage::descriptors(broker.id());
        let mut crowd = Vec::new();
        grow(&mut crowd, address, FIRST).await;
        let before = usage::memory(broker.id());
        grow(&mut crowd, address, size).await;
        let each = usage::memory(broker.id()).saturating_sub(before) / (size - FIRST) as u64;
        // By turns, since others may use this machine at the same time.
        let (mut disturbed, mut alone) = (0.0, 0.0);
        for _ in 0..rounds {
            disturbed += pair(address, time).await / f64::from(rounds);
            alone += pair(quiet.address(), time).await / f64::from(rounds);
        }
        println!(
            "{size} idle connections: {:.1} KiB each; a pair moves {disturbed:.0} messages a second beside them, \
             {alone:.0} without them: {:.0} %",
            each as f64 / 1024.0,
            100.0 * disturbed / alone
        );
        // Of a small crowd each bears more of what the allocator keeps for all.
        let bound = if long() { EACH } else { EACH + EACH / 2 };
        assert!(each <= bound, "{each} octets for an idle connection");
        drop(crowd);
        // Nothing of them stays.
        while usage::descriptors(broker.id()) > descriptors {
            tokio::task::yield_now().await;
        }
        broker.kill().await;
        quiet.kill().await;
    });
}
