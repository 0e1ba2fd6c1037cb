//! Transactions by a client library: what waits, what is kept, what others see.

use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions};
use lapin::{BasicProperties, Channel};

use crate::client::{Client, body, closed, consume, int, next, none, persistent, plain, refusal, table, text};
use crate::server::{Broker, in_time, scenario};

const ONE: BasicAckOptions = BasicAckOptions { multiple: false };

async fn transactional(client: &Client) -> Channel {
    let channel = client.channel().await;
    channel.tx_select().await.unwrap();
    channel
}

async fn send(channel: &Channel, queue: &str, body: &str, how: BasicProperties) {
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), how).await.unwrap();
}

#[test]
fn a_commit_hands_over_and_survives_a_restart() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        for queue in ["in", "out", "log"] {
            client.durable(queue, none()).await;
        }
        for body in ["1", "2", "3"] {
            client.put_as("in", body, persistent()).await;
        }
        let channel = transactional(&client).await;
        let mut consumer = consume(&channel, "in", BasicConsumeOptions::default(), none()).await;
        for commit in [true, false, true] {
            let delivery = next(&mut consumer).await;
            let text = body(&delivery);
            send(&channel, "out", &text, persistent()).await;
            send(&channel, "log", &text, persistent()).await;
            channel.basic_ack(delivery.delivery_tag, ONE).await.unwrap();
            if commit {
                channel.tx_commit().await.unwrap();
            } else {
                channel.tx_rollback().await.unwrap();
            }
        }
        assert_eq!((client.ready("in").await, client.ready("out").await), (0, 2));
        drop(client);
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        assert_eq!(client.drain("in").await, ["2"]);
        assert_eq!(client.drain("out").await, ["1", "3"]);
        assert_eq!(client.drain("log").await, ["1", "3"]);
        drop(client);
        broker.stop().await;
    });
}

#[test]
fn others_see_nothing_before_the_commit() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        let other = broker.client().await;
        let mut consumer = other.consume("q").await;
        let channel = transactional(client).await;
        send(&channel, "q", "in a transaction", plain()).await;
        channel.tx_select().await.unwrap();
        client.put("q", "outside").await;
        assert_eq!(body(&next(&mut consumer).await), "outside");
        channel.tx_commit().await.unwrap();
        assert_eq!(body(&next(&mut consumer).await), "in a transaction");
        other.close().await;
    });
}

#[test]
fn a_rejected_delivery_dies_at_the_commit() {
    scenario(async |_, client| {
        client.queue("dead", none()).await;
        let dead = table([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("dead"))]);
        client.queue("q", dead).await;
        client.put_all("q", &["1", "2"]).await;
        let channel = transactional(client).await;
        for _ in 0..2 {
            channel.basic_get("q".into(), BasicGetOptions::default()).await.unwrap().unwrap();
        }
        channel.basic_nack(1, BasicNackOptions { multiple: false, requeue: false }).await.unwrap();
        channel.basic_nack(2, BasicNackOptions { multiple: false, requeue: true }).await.unwrap();
        channel.tx_rollback().await.unwrap();
        assert_eq!((client.ready("q").await, client.ready("dead").await), (0, 0));
        channel.basic_nack(1, BasicNackOptions { multiple: false, requeue: false }).await.unwrap();
        channel.basic_nack(2, BasicNackOptions { multiple: false, requeue: true }).await.unwrap();
        channel.tx_commit().await.unwrap();
        let letter = client.arrival("dead").await;
        assert_eq!(body(&letter), "1");
        assert!(letter.properties.headers().as_ref().unwrap().inner().contains_key("x-death"));
        assert_eq!(client.drain("q").await, ["2"]);
    });
}

#[test]
fn a_commit_refused_by_one_queue_changes_none() {
    scenario(async |_, client| {
        client.queue("in", none()).await;
        client.queue("free", none()).await;
        client.queue("tight", table([("x-max-length", int(1)), ("x-overflow", text("reject-publish"))])).await;
        client.put("in", "1").await;
        client.put("tight", "full").await;
        let channel = transactional(client).await;
        let got = channel.basic_get("in".into(), BasicGetOptions::default()).await.unwrap().unwrap();
        send(&channel, "free", "1", plain()).await;
        send(&channel, "tight", "1", plain()).await;
        got.ack(ONE).await.unwrap();
        let expected = closed(406, "PRECONDITION_FAILED - partial tx completion");
        assert_eq!(refusal(channel.tx_commit().await), expected);
        assert_eq!((client.ready("in").await, client.ready("free").await), (1, 0));
        assert_eq!(client.drain("tight").await, ["full"]);
    });
}

#[test]
fn a_transaction_moves_a_message_back_into_its_own_queue() {
    scenario(async |_, client| {
        client.durable("q", none()).await;
        client.put_as("q", "0", persistent()).await;
        let channel = transactional(client).await;
        let mut consumer = consume(&channel, "q", BasicConsumeOptions::default(), none()).await;
        for n in 0..50 {
            let delivery = next(&mut consumer).await;
            assert_eq!(body(&delivery), n.to_string());
            send(&channel, "q", &(n + 1).to_string(), persistent()).await;
            delivery.ack(ONE).await.unwrap();
            channel.tx_commit().await.unwrap();
        }
        channel.close(200, "bye".into()).await.unwrap();
        assert_eq!(client.drain("q").await, ["50"]);
    });
}
