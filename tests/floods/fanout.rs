//! Many unthrottled publishers into an exchange with many queues: each publish is a thousand pushes, and yet whoever
//! comes meanwhile is let in and served, and what the flood makes the broker hold is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::client::Client;
use crate::frames::{self, Properties, none};
use crate::process::Process;
use crate::script::{connect, greet};
use crate::{in_time, long, usage};

/// Consumers of one connection.
const CONSUMERS: usize = 100;

struct Flood {
    publishers: usize,
    queues: usize,
    /// How long others are looked at.
    visits: usize,
}

/// Reads deliveries and forgets them.
async fn swallow(client: Client, count: Arc<AtomicU64>) {
    let mut stream = client.into_stream();
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(n) = stream.read(&mut buffer).await {
        if n == 0 {
            return;
        }
        count.fetch_add(n as u64, Ordering::Relaxed);
    }
}

#[test]
fn a_flood_into_a_wide_fanout_leaves_room_for_others() {
    in_time(async {
        let flood = if long() {
            Flood { publishers: 100, queues: 1_500, visits: 20 }
        } else {
            Flood { publishers: 20, queues: 500, visits: 20 }
        };
        let directory = tempfile::tempdir().unwrap();
        let broker = Process::start(directory.path()).await;
        let address = broker.address();
        let mut owner = connect(address).await;
        let received = Arc::new(AtomicU64::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        let mut consumer = connect(address).await;
        for number in 0..flood.queues {
            let name = format!("flood-{number}");
            let bind = frames::queue_bind(1, &name, "amq.fanout", "", &none());
            owner.send(&[frames::queue_declare(1, &name, "", &none()), bind].concat()).await;
            owner.expect(&frames::queue_declare_ok(1, &name, 0, 0), "declare").await;
            owner.expect(&frames::queue_bind_ok(1), "bind").await;
            consumer.send(&frames::consume(1, &name, &name, "no-ack", &none())).await;
            consumer.expect(&frames::consume_ok(1, &name), "consume").await;
            if number % CONSUMERS == CONSUMERS - 1 {
                let full = std::mem::replace(&mut consumer, connect(address).await);
                tasks.spawn(swallow(full, received.clone()));
            }
        }
        tasks.spawn(swallow(consumer, received.clone()));
        let over = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let batch = frames::publish(1, "amq.fanout", "", "", Properties::default(), b"drop in the flood").repeat(100);
        let batch = Arc::new(batch);
        for _ in 0..flood.publishers {
            let mut client = connect(address).await;
            let (over, sent, batch) = (over.clone(), sent.clone(), batch.clone());
            tasks.spawn(async move {
                while !over.load(Ordering::Relaxed) && client.try_send(&batch).await {
                    sent.fetch_add(100, Ordering::Relaxed);
                }
            });
        }
        let (mut worst, mut most) = (Duration::ZERO, 0);
        let begun = Instant::now();
        for number in 0..flood.visits {
            let came = Instant::now();
            let mut visitor = Client::connect(address).await;
            greet(&mut visitor).await;
            let name = format!("visitor-{number}");
            visitor.send(&frames::queue_declare(1, &name, "exclusive", &none())).await;
            visitor.expect(&frames::queue_declare_ok(1, &name, 0, 0), "declare").await;
            visitor.send(&frames::confirm_select(1)).await;
            visitor.expect(&frames::confirm_select_ok(1), "confirm").await;
            visitor.send(&frames::publish(1, "", &name, "", Properties::default(), b"calm")).await;
            visitor.expect(&frames::ack(1, 1, ""), "publish").await;
            visitor.send(&frames::get(1, &name, "no-ack")).await;
            visitor.expect(&frames::get_ok(1, 1, "", &name, 0, b"calm"), "get").await;
            visitor.send(&frames::connection_close()).await;
            visitor.expect(&frames::connection_close_ok(), "close").await;
            worst = worst.max(came.elapsed());
            most = most.max(usage::memory(broker.id()));
        }
        let elapsed = begun.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        println!(
            "{} publishers into {} queues: {} visits, the longest took {worst:?}; {:.0} publishes and {:.0} MB of \
             deliveries a second; {} MiB at most",
            flood.publishers,
            flood.queues,
            flood.visits,
            sent.load(Ordering::Relaxed) as f64 / elapsed,
            received.load(Ordering::Relaxed) as f64 / elapsed / 1e6,
            most / 1024 / 1024
        );
        drop(tasks);
        broker.kill().await;
    });
}
