//! Consumers: tags, exclusiveness, automatic acknowledgement, priorities, fairness, single active consumer.

use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::AMQPValue;

use crate::client::{Client, bodies, body, closed, consume, delivered, int, next, none, refusal, table, text};
use crate::server::scenario;

fn exclusive() -> BasicConsumeOptions {
    BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() }
}

#[test]
fn tags_are_the_clients_or_the_brokers() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        let options = BasicConsumeOptions::default();
        let named = client.channel.basic_consume("q".into(), "mine".into(), options, none()).await.unwrap();
        assert_eq!(named.tag().as_str(), "mine");
        let unnamed = client.consume("q").await;
        assert_eq!(unnamed.tag().as_str().strip_prefix("amq.ctag-").map(str::len), Some(22));
        let other = broker.client().await;
        // Held: lapin cancels a consumer that is dropped.
        let _held = other.channel.basic_consume("q".into(), "mine".into(), options, none()).await.unwrap();
        let again = other.channel.basic_consume("q".into(), "mine".into(), options, none()).await;
        assert_eq!(refusal(again), closed(530, "NOT_ALLOWED - attempt to reuse consumer tag 'mine'"));
    });
}

#[test]
fn what_waits_is_delivered_in_order_then_what_comes() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2", "3"]).await;
        let mut consumer = client.consume("q").await;
        client.put_all("q", &["4", "5"]).await;
        for (n, tag) in (1..=5).enumerate() {
            let delivery = next(&mut consumer).await;
            assert_eq!(body(&delivery), (n + 1).to_string());
            assert_eq!((delivery.delivery_tag, delivery.redelivered), (tag, false));
            assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("", "q"));
        }
    });
}

#[test]
fn an_exclusive_consumer_is_alone() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        let refused = closed(403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use");
        let shared = client.consume("q").await;
        let channel = client.channel().await;
        assert_eq!(refusal(channel.basic_consume("q".into(), "".into(), exclusive(), none()).await), refused);
        client.channel.basic_cancel(shared.tag(), BasicCancelOptions::default()).await.unwrap();
        let alone = consume(&client.channel, "q", exclusive(), none()).await;
        for options in [exclusive(), BasicConsumeOptions::default()] {
            let channel = client.channel().await;
            assert_eq!(refusal(channel.basic_consume("q".into(), "".into(), options, none()).await), refused);
        }
        client.channel.basic_cancel(alone.tag(), BasicCancelOptions::default()).await.unwrap();
        let _again = client.consume("q").await;
    });
}

#[test]
fn without_acknowledgements_messages_are_gone_when_sent() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        let other = broker.client().await;
        other.channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut consumer = consume(&other.channel, "q", options, none()).await;
        client.put_all("q", &["1", "2", "3"]).await;
        assert_eq!(bodies(&mut consumer, 3).await, ["1", "2", "3"], "prefetch does not count");
        other.close().await;
        assert_eq!(client.counts("q").await, (0, 0));
    });
}

#[test]
fn equals_take_turns() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        let mut others = Vec::new();
        for _ in 0..3 {
            let other = broker.client().await;
            let consumer = other.consume("q").await;
            others.push((other, consumer));
        }
        for n in 0..30 {
            client.put("q", &n.to_string()).await;
        }
        for (at, (_, consumer)) in others.iter_mut().enumerate() {
            let expected: Vec<String> = (at..30).step_by(3).map(|n| n.to_string()).collect();
            assert_eq!(bodies(consumer, 10).await, expected);
        }
    });
}

async fn with_priority(client: &Client, queue: &str, priority: i32) -> lapin::Consumer {
    consume(&client.channel, queue, BasicConsumeOptions::default(), table([("x-priority", int(priority))])).await
}

#[test]
fn higher_priorities_are_served_first_while_they_have_credit() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        let (low, high) = (broker.client().await, broker.client().await);
        low.channel.basic_qos(2, BasicQosOptions::default()).await.unwrap();
        high.channel.basic_qos(2, BasicQosOptions::default()).await.unwrap();
        let mut low_consumer = with_priority(&low, "q", -1).await;
        let mut high_consumer = with_priority(&high, "q", 10).await;
        client.put_all("q", &["1", "2", "3"]).await;
        let first = next(&mut high_consumer).await;
        assert_eq!((body(&first), body(&next(&mut high_consumer).await)), ("1".into(), "2".into()));
        assert_eq!(body(&next(&mut low_consumer).await), "3");
        first.ack(BasicAckOptions::default()).await.unwrap();
        high.ready("q").await;
        client.put("q", "4").await;
        assert_eq!(body(&next(&mut high_consumer).await), "4");
        low.ready("q").await;
        assert!(delivered(&mut low_consumer).await.is_empty());
    });
}

#[test]
fn refusals() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        let options = BasicConsumeOptions::default();
        let channel = client.channel().await;
        let refused = refusal(channel.basic_consume("none".into(), "".into(), options, none()).await);
        assert_eq!(refused, closed(404, "NOT_FOUND - no queue 'none' in vhost '/'"));
        let channel = client.channel().await;
        let arguments = table([("x-priority", text("high"))]);
        let refused = refusal(channel.basic_consume("q".into(), "".into(), options, arguments).await);
        let expected = "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \
                        \"expected integer, got longstr\"";
        assert_eq!(refused, closed(406, expected));
    });
}

#[test]
fn a_single_active_consumer_is_followed_by_the_next() {
    scenario(async |broker, client| {
        client.queue("q", table([("x-single-active-consumer", AMQPValue::Boolean(true))])).await;
        let (first, second) = (broker.client().await, broker.client().await);
        let mut active = first.consume("q").await;
        let mut waiting = second.consume("q").await;
        client.put_all("q", &["1", "2"]).await;
        let held = next(&mut active).await;
        assert_eq!(body(&next(&mut active).await), "2");
        second.ready("q").await;
        assert!(delivered(&mut waiting).await.is_empty());
        first.channel.basic_cancel(active.tag(), BasicCancelOptions::default()).await.unwrap();
        client.put("q", "3").await;
        assert_eq!(body(&next(&mut waiting).await), "3", "the unacknowledged ones stay where they are");
        held.ack(BasicAckOptions::default()).await.unwrap();
        first.close().await;
        let returned = next(&mut waiting).await;
        assert_eq!((body(&returned).as_str(), returned.redelivered), ("2", true));
    });
}
