//! kill -9 while delayed messages wait and go on.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::ExchangeKind;
use lapin::options::{BasicAckOptions, BasicPublishOptions, ExchangeDeclareOptions};

use crate::client::{Client, int, next, none, persistent, table, text};
use crate::in_time;
use crate::process::Process;

const MESSAGES: usize = 4_000;

/// Delays are spread over this time, in milliseconds.
const SPREAD: usize = 3_000;

async fn prepare(client: &Client) {
    let kind = ExchangeKind::Custom("x-delayed-message".to_owned());
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let arguments = table([("x-delayed-type", text("fanout"))]);
    client.channel.exchange_declare("x".into(), kind, durable, arguments).await.unwrap();
    client.durable("q", none()).await;
    client.bind("q", "x", "", none()).await;
}

#[test]
fn confirmed_delayed_messages_survive_kill_9_and_repeats_are_marked() {
    in_time(Duration::from_secs(120), async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        prepare(&client).await;
        let mut confirms = Vec::with_capacity(MESSAGES);
        for n in 0..MESSAGES {
            let delay = i32::try_from(1 + (n * 7_919) % SPREAD).unwrap();
            let how = persistent().with_headers(table([("x-delay", int(delay))]));
            let body = format!("{n} {}", "x".repeat(n % 500));
            let options = BasicPublishOptions::default();
            let sent = client.channel.basic_publish("x".into(), "".into(), options, body.as_bytes(), how).await;
            confirms.push(sent.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
        while client.ready("q").await < 500 {}
        broker.kill().await;

        // Once more in the midst of the recovery.
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        while client.ready("q").await < 1_000 {}
        broker.kill().await;

        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        let mut consumer = client.consume("q").await;
        let mut copies: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
        while copies.len() < MESSAGES {
            let delivery = next(&mut consumer).await;
            let text = std::str::from_utf8(&delivery.data).unwrap();
            let n = text.split(' ').next().unwrap().parse().unwrap();
            copies.entry(n).or_default().push(delivery.redelivered);
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
        let repeated = copies.values().filter(|marks| marks.len() > 1).count();
        println!("{repeated} of {MESSAGES} messages came more than once");
        for (n, marks) in copies {
            let unmarked = marks.iter().filter(|marked| !**marked).count();
            assert!(unmarked <= 1, "{n} came {} times, {unmarked} times unmarked", marks.len());
        }
        broker.kill().await;
    });
}
