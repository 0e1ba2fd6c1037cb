//! Time to live of messages and of queues.

use futures_lite::StreamExt;
use lapin::options::{BasicCancelOptions, BasicNackOptions};

use crate::client::{body, delivered, int, next, none, plain, table};
use crate::server::scenario;

#[test]
fn a_queues_messages_expire_at_the_head() {
    scenario(async |broker, client| {
        client.queue("q", table([("x-message-ttl", int(60_000))])).await;
        client.put("q", "1").await;
        broker.pass(59_000);
        client.put("q", "2").await;
        broker.pass(1_001);
        assert_eq!(client.drain("q").await, ["2"]);
        client.put("q", "3").await;
        broker.pass(60_001);
        client.until_ready("q", 0).await;
    });
}

#[test]
fn the_shorter_time_to_live_counts() {
    scenario(async |broker, client| {
        client.queue("q", table([("x-message-ttl", int(60_000))])).await;
        client.put_as("q", "short", plain().with_expiration("10000".into())).await;
        client.put_as("q", "long", plain().with_expiration("1000000".into())).await;
        broker.pass(10_001);
        client.until_ready("q", 1).await;
        broker.pass(50_001);
        client.until_ready("q", 0).await;
    });
}

#[test]
fn only_the_head_expires() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        client.put_as("q", "long", plain().with_expiration("100000".into())).await;
        client.put_as("q", "short", plain().with_expiration("10000".into())).await;
        broker.pass(20_000);
        assert_eq!(client.ready("q").await, 2, "the head shields what is behind it");
        let head = client.take("q").await.unwrap();
        assert_eq!(body(&head), "long");
        assert_eq!(head.properties.expiration().as_ref().unwrap().as_str(), "100000");
        assert!(client.take("q").await.is_none(), "nothing expired is delivered");
    });
}

#[test]
fn a_time_to_live_of_0_is_now_or_never() {
    scenario(async |_, client| {
        client.queue("q", table([("x-message-ttl", int(0))])).await;
        client.put("q", "never").await;
        assert_eq!(client.ready("q").await, 0);
        let mut consumer = client.consume("q").await;
        client.put("q", "now").await;
        assert_eq!(body(&next(&mut consumer).await), "now");
        client.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.unwrap();
        client.queue("p", none()).await;
        client.put_as("p", "never", plain().with_expiration("0".into())).await;
        assert!(client.take("p").await.is_none());
    });
}

#[test]
fn an_unacknowledged_message_expires_when_it_returns() {
    scenario(async |broker, client| {
        client.queue("q", table([("x-message-ttl", int(10_000))])).await;
        client.put("q", "1").await;
        let held = client.get("q").await.unwrap();
        broker.pass(10_001);
        held.nack(BasicNackOptions { requeue: true, multiple: false }).await.unwrap();
        client.until_ready("q", 0).await;
        assert!(client.take("q").await.is_none());
    });
}

#[test]
fn expired_messages_are_not_delivered_to_a_new_consumer() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        for _ in 0..2_500 {
            let options = lapin::options::BasicPublishOptions::default();
            let how = plain().with_expiration("5000".into());
            let sent = client.channel.basic_publish("".into(), "q".into(), options, b"old", how);
            sent.await.unwrap();
        }
        client.put("q", "fresh").await;
        broker.pass(5_001);
        let mut consumer = client.consume("q").await;
        assert_eq!(body(&next(&mut consumer).await), "fresh");
        assert_eq!(client.ready("q").await, 0);
        assert!(delivered(&mut consumer).await.is_empty());
    });
}

#[test]
fn an_unused_queue_expires() {
    scenario(async |broker, client| {
        client.queue("q", table([("x-expires", int(10_000))])).await;
        for _ in 0..3 {
            broker.pass(9_000);
            client.queue("q", table([("x-expires", int(10_000))])).await;
        }
        broker.pass(9_000);
        assert!(client.take("q").await.is_none(), "a get is a use");
        broker.pass(9_000);
        assert!(client.queue_exists("q").await);
        let consumer = client.consume("q").await;
        broker.pass(100_000);
        assert!(client.queue_exists("q").await, "it has a consumer");
        client.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.unwrap();
        broker.pass(9_000);
        client.put("q", "still there").await;
        broker.pass(1_001);
        client.until_gone("q").await;
    });
}

#[test]
fn publishing_does_not_keep_a_queue_alive() {
    scenario(async |broker, client| {
        client.queue("q", table([("x-expires", int(10_000))])).await;
        broker.pass(9_000);
        client.put("q", "1").await;
        broker.pass(1_001);
        client.until_gone("q").await;
        client.queue("q", none()).await;
        let mut consumer = client.consume("q").await;
        assert!(futures_lite::future::poll_once(consumer.next()).await.is_none());
    });
}
