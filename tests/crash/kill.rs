//! kill -9 right after the last confirm.

use std::time::Duration;

use lapin::options::BasicPublishOptions;

use crate::client::{bodies, next, none, persistent};
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
