//! Ends of consumers: by the client, and by the broker when the queue goes.

use futures_lite::StreamExt;
use lapin::options::{BasicAckOptions, BasicCancelOptions, QueueDeleteOptions};

use crate::client::{body, delivered, next, none, table};
use crate::server::scenario;

#[test]
fn a_cancel_keeps_what_was_delivered_and_stops_the_rest() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2"]).await;
        let mut consumer = client.consume("q").await;
        let first = next(&mut consumer).await;
        let second = next(&mut consumer).await;
        client.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.unwrap();
        client.put("q", "3").await;
        assert_eq!(client.counts("q").await, (1, 0), "the cancelled consumer's messages are not requeued");
        first.ack(BasicAckOptions::default()).await.unwrap();
        second.ack(BasicAckOptions::default()).await.unwrap();
        assert!(delivered(&mut consumer).await.is_empty());
        assert_eq!(client.drain("q").await, ["3"]);
    });
}

#[test]
fn an_unknown_tag_is_cancelled_without_complaint() {
    scenario(async |_, client| {
        client.channel.basic_cancel("nobody".into(), BasicCancelOptions::default()).await.unwrap();
        client.queue("still open", none()).await;
    });
}

#[test]
fn consumers_are_told_when_their_queue_is_deleted() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        let other = broker.client().await;
        let mut consumers = [other.consume("q").await, other.consume("q").await];
        client.channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.unwrap();
        for consumer in &mut consumers {
            assert!(consumer.next().await.is_none(), "cancelled, without an error");
        }
        other.queue("the channel goes on", none()).await;
    });
}

#[test]
fn an_acknowledgement_after_the_queue_is_gone_is_harmless() {
    scenario(async |_, client| {
        client.queue("q", table([])).await;
        client.put("q", "1").await;
        let mut consumer = client.consume("q").await;
        let delivery = next(&mut consumer).await;
        assert_eq!(body(&delivery), "1");
        client.channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.unwrap();
        delivery.ack(BasicAckOptions::default()).await.unwrap();
        client.queue("q", none()).await;
        assert_eq!(client.counts("q").await, (0, 0));
    });
}
