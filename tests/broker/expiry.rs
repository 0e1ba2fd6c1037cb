//! Time to live of messages and of queues.

use futures_lite::StreamExt;
use lapin::ExchangeKind;
use lapin::options::{BasicCancelOptions, BasicNackOptions};
use leveret::server::Builder;

use crate::client::{body, delivered, int, next, none, persistent, plain, table, text};
use crate::server::{Broker, in_time, scenario};

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

/// Milliseconds of an hour.
const HOUR: i64 = 3_600_000;

#[test]
fn a_wall_clock_that_jumps_neither_expires_nor_preserves() {
    scenario(async |broker, client| {
        let kind = ExchangeKind::Custom("x-delayed-message".to_owned());
        client.exchange("x", kind, table([("x-delayed-type", text("fanout"))])).await;
        client.queue("arrived", none()).await;
        client.bind("arrived", "x", "", none()).await;
        client.queue("q", table([("x-message-ttl", int(60_000))])).await;
        client.put("q", "lives for a minute").await;
        let delayed = plain().with_headers(table([("x-delay", int(60_000))]));
        assert!(client.publish("x", "", "a minute late", delayed).await.is_ack());
        for jump in [5 * HOUR, -10 * HOUR] {
            broker.clock().set_wall(jump);
            broker.pass(1_000);
            assert_eq!((client.ready("q").await, client.ready("arrived").await), (1, 0), "the wall clock was set");
        }
        broker.pass(58_001);
        client.until_ready("q", 0).await;
        assert_eq!(body(&client.arrival("arrived").await), "a minute late");
    });
}

#[test]
fn what_is_kept_expires_by_the_wall_clock_of_its_day() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        // The machine came up with a clock that was wrong, and was told so after the broker had started.
        broker.clock().set_wall(2 * HOUR);
        client.durable("q", none()).await;
        client.put_as("q", "an hour", persistent().with_expiration("3600000".into())).await;
        drop(client);
        let clock = broker.clock().clone();
        broker.stop().await;
        let broker = Broker::start_at(Builder::in_memory().data_dir(directory.path()), clock.restarted());
        let client = broker.client().await;
        broker.pass(3_000_000);
        assert_eq!(client.ready("q").await, 1, "fifty minutes later");
        broker.pass(700_000);
        client.until_ready("q", 0).await;
        drop(client);
        broker.stop().await;
    });
}
