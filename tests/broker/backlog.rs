//! Backlogs that do not fit memory: what is given up to the disk comes back as it was.

use std::path::Path;

use lapin::BasicProperties;
use lapin::options::{
    BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use leveret::server::Builder;

use crate::client::{Client, bodies, body, consume, int, none, persistent, plain, table};
use crate::server::{Broker, in_time};

/// A broker that gives up what it can.
fn forgetful(directory: &Path) -> Broker {
    Broker::start(Builder::in_memory().data_dir(directory).configure(|config| config.resident_bytes = 1))
}

/// A body of 200 octets that begins with `number`.
fn numbered(number: usize) -> String {
    format!("{number:0>8}{}", ".".repeat(192))
}

fn number(body: &str) -> usize {
    body[..8].parse().unwrap()
}

/// Takes everything there is, which must be these numbers in this order.
async fn expect(client: &Client, queue: &str, numbers: impl Iterator<Item = usize>) {
    let drained: Vec<usize> = client.drain(queue).await.iter().map(|body| number(body)).collect();
    let expected: Vec<usize> = numbers.collect();
    let differs = drained.iter().zip(&expected).position(|(one, other)| one != other);
    assert_eq!((drained.len(), differs), (expected.len(), None), "number of messages, and where they differ");
}

/// Publishes `count` messages, each as `how` says of its number, and waits for their confirms.
async fn fill(client: &Client, queue: &str, count: usize, how: impl Fn(usize) -> BasicProperties) {
    let mut confirms = Vec::new();
    for at in 0..count {
        let (options, body) = (BasicPublishOptions::default(), numbered(at));
        let sent = client.channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), how(at)).await;
        confirms.push(sent.unwrap());
    }
    for confirm in confirms {
        assert!(confirm.await.unwrap().is_ack());
    }
}

/// Waits until at least `count` messages of the queue are on disk alone.
async fn until_paged(broker: &Broker, queue: &str, count: u64) {
    let vhost = broker.inside().vhost("/").unwrap();
    let queue = vhost.queue(queue).unwrap();
    while queue.inspect(leveret::queue::State::paged) < count {
        tokio::task::yield_now().await;
    }
}

fn mixed(at: usize) -> BasicProperties {
    if at.is_multiple_of(3) { plain() } else { persistent() }
}

/// Runs a test on a broker that gives up what it can.
fn scenario(test: impl AsyncFnOnce(&Broker, &Client)) {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = forgetful(directory.path());
        let client = broker.client().await;
        test(&broker, &client).await;
        drop(client);
        broker.stop().await;
    });
}

#[test]
fn kept_and_transient_messages_come_back_in_order_and_as_they_were() {
    scenario(async |broker, client| {
        client.durable("q", none()).await;
        fill(client, "q", 3_000, |at| mixed(at).with_message_id(at.to_string().into())).await;
        until_paged(broker, "q", 2_500).await;
        assert_eq!(client.counts("q").await, (3_000, 0));
        let mut consumer = client.consume("q").await;
        for at in 0..3_000 {
            let delivery = crate::client::next(&mut consumer).await;
            assert_eq!((number(&body(&delivery)), delivery.redelivered), (at, false));
            let properties = &delivery.properties;
            assert_eq!(properties.message_id().as_ref().unwrap().as_str(), at.to_string());
            assert_eq!(properties.delivery_mode(), mixed(at).delivery_mode());
        }
    });
}

#[test]
fn publishing_goes_on_while_a_backlog_is_drained() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        fill(client, "q", 2_000, |_| plain()).await;
        until_paged(broker, "q", 1_500).await;
        let mut consumer = client.consume("q").await;
        let ((), seen) = tokio::join!(fill(client, "q", 2_000, |_| plain()), bodies(&mut consumer, 4_000));
        let seen: Vec<usize> = seen.iter().map(|body| number(body)).collect();
        let expected: Vec<usize> = (0..2_000).chain(0..2_000).collect();
        assert_eq!(seen, expected);
    });
}

#[test]
fn what_was_read_back_and_returned_keeps_its_place() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        fill(client, "q", 1_000, |_| plain()).await;
        until_paged(broker, "q", 800).await;
        let channel = client.channel().await;
        channel.basic_qos(500, BasicQosOptions::default()).await.unwrap();
        let mut consumer = consume(&channel, "q", BasicConsumeOptions::default(), FieldTable::default()).await;
        let first = crate::client::next(&mut consumer).await;
        for at in 1..500 {
            let delivery = crate::client::next(&mut consumer).await;
            assert_eq!(number(&body(&delivery)), at);
        }
        channel.basic_cancel(consumer.tag(), lapin::options::BasicCancelOptions::default()).await.unwrap();
        let all = BasicNackOptions { multiple: true, requeue: true };
        channel.basic_nack(first.delivery_tag + 499, all).await.unwrap();
        client.until_ready("q", 1_000).await;
        expect(client, "q", 0..1_000).await;
    });
}

#[test]
fn priorities_and_limits_hold_for_what_is_on_disk() {
    scenario(async |broker, client| {
        client.queue("q", table([("x-max-priority", int(2))])).await;
        fill(client, "q", 1_500, |at| plain().with_priority(u8::try_from(at % 3).unwrap())).await;
        until_paged(broker, "q", 1_000).await;
        expect(client, "q", (0..3).rev().flat_map(|priority| (priority..1_500).step_by(3))).await;
        client.durable("limited", table([("x-max-length", int(400))])).await;
        fill(client, "limited", 1_000, mixed).await;
        client.until_ready("limited", 400).await;
        expect(client, "limited", 600..1_000).await;
    });
}

#[test]
fn what_is_on_disk_expires() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        fill(client, "q", 1_000, |at| if at < 900 { plain().with_expiration("60000".into()) } else { plain() }).await;
        until_paged(broker, "q", 700).await;
        broker.pass(60_001);
        client.until_ready("q", 100).await;
        expect(client, "q", 900..1_000).await;
    });
}

#[test]
fn a_purge_and_a_deletion_take_what_is_on_disk_with_them() {
    scenario(async |broker, client| {
        for round in 0..3 {
            client.durable("q", none()).await;
            fill(client, "q", 1_000, mixed).await;
            until_paged(broker, "q", 700).await;
            let purged = client.channel.queue_purge("q".into(), QueuePurgeOptions::default()).await.unwrap();
            assert_eq!(purged, 1_000, "round {round}");
            fill(client, "q", 600, mixed).await;
            until_paged(broker, "q", 300).await;
            let deleted = client.channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.unwrap();
            assert_eq!(deleted, 600);
        }
        client.durable("q", none()).await;
        fill(client, "q", 700, mixed).await;
        until_paged(broker, "q", 400).await;
        expect(client, "q", 0..700).await;
    });
}

#[test]
fn after_a_restart_the_kept_messages_are_there_and_the_spill_is_not() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = forgetful(directory.path());
        let client = broker.client().await;
        client.durable("q", none()).await;
        fill(&client, "q", 1_500, mixed).await;
        until_paged(&broker, "q", 1_000).await;
        assert!(directory.path().join("spill").exists(), "transient messages were spilled");
        drop(client);
        broker.stop().await;
        let broker = forgetful(directory.path());
        assert!(!directory.path().join("spill").exists(), "wiped at start");
        let client = broker.client().await;
        expect(&client, "q", (0..1_500).filter(|at| at % 3 != 0)).await;
        drop(client);
        broker.stop().await;
    });
}
