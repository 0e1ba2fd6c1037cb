//! kill -9 right after the last confirm.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, BasicRejectOptions};
use lapin::types::AMQPValue;

use crate::client::{bodies, body, int, next, none, persistent, table, text};
use crate::in_time;
use crate::process::Process;

const MESSAGES: usize = 10_000;

#[test]
fn confirmed_messages_survive_kill_9_in_order() {
    in_time(Duration::from_secs(120), async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Process::start(directory.path()).await;
        println!("started on an empty directory in {:?}", broker.start_time);
        let client = broker.client().await;
        client.durable("q", none()).await;
        let mut confirms = Vec::with_capacity(MESSAGES);
        for n in 0..MESSAGES {
            let options = BasicPublishOptions::default();
            let body = n.to_string();
            let sent =
                client.channel.basic_publish("".into(), "q".into(), options, body.as_bytes(), persistent()).await;
            confirms.push(sent.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
        broker.kill().await;

        let broker = Process::start(directory.path()).await;
        println!("started with {MESSAGES} messages after kill -9 in {:?}", broker.start_time);
        let client = broker.client().await;
        assert_eq!(client.ready("q").await, u32::try_from(MESSAGES).unwrap());
        let mut consumer = client.consume("q").await;
        for n in 0..MESSAGES {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.data, n.to_string().as_bytes());
            assert!(delivery.redelivered, "nobody knows whether {n} had been delivered");
        }
        broker.kill().await;
    });
}

#[test]
fn what_was_delivered_and_not_acknowledged_returns() {
    in_time(Duration::from_secs(60), async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        client.durable("q", none()).await;
        for body in ["1", "2", "3"] {
            client.put_as("q", body, persistent()).await;
        }
        let mut consumer = client.consume("q").await;
        assert_eq!(bodies(&mut consumer, 3).await, ["1", "2", "3"]);
        broker.kill().await;
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        let mut consumer = client.consume("q").await;
        assert_eq!(bodies(&mut consumer, 3).await, ["1", "2", "3"]);
        broker.kill().await;
    });
}

#[test]
fn delivery_counts_survive_kill_9() {
    in_time(Duration::from_secs(60), async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        client.durable("q", table([("x-queue-type", text("quorum")), ("x-delivery-limit", int(3))])).await;
        client.put("q", "counted").await;
        client.put("q", "new").await;
        for _ in 0..3 {
            client.get("q").await.unwrap().reject(BasicRejectOptions { requeue: true }).await.unwrap();
        }
        // Its confirm is that of everything before it in the queue.
        client.put("q", "last").await;
        broker.kill().await;
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        let mut counts = Vec::new();
        for _ in 0..3 {
            let delivery = client.get("q").await.unwrap();
            let headers = delivery.properties.headers().clone().unwrap_or_default();
            counts.push((body(&delivery), headers.inner().get("x-delivery-count").cloned()));
            if counts.len() == 1 {
                delivery.reject(BasicRejectOptions { requeue: true }).await.unwrap();
            }
        }
        let three = Some(AMQPValue::LongLongInt(3));
        assert_eq!(counts, [("counted".into(), three), ("new".into(), None), ("last".into(), None)]);
        assert!(client.get("q").await.is_none(), "the first had failed often enough");
        broker.kill().await;
    });
}
