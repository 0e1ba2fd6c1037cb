//! ack, nack and reject: one and many, requeue to the original position, unknown tags.

use futures_lite::StreamExt;
use lapin::Channel;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
    QueueDeclareOptions,
};

use crate::client::{Client, bodies, body, closed, consume, next, none, told};
use crate::server::scenario;

const ALL: BasicAckOptions = BasicAckOptions { multiple: true };
const ONE: BasicAckOptions = BasicAckOptions { multiple: false };
const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };
const REQUEUE_ALL: BasicNackOptions = BasicNackOptions { multiple: true, requeue: true };

async fn get_all(client: &Client, n: usize) {
    for _ in 0..n {
        client.get("q").await.unwrap();
    }
}

#[test]
fn multiple_acknowledges_up_to_the_tag() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2", "3", "4", "5"]).await;
        get_all(client, 5).await;
        client.channel.basic_ack(2, ONE).await.unwrap();
        client.channel.basic_ack(3, ALL).await.unwrap();
        client.channel.basic_nack(0, REQUEUE_ALL).await.unwrap();
        assert_eq!(client.drain("q").await, ["4", "5"]);
        client.channel.basic_ack(0, ALL).await.unwrap();
        assert_eq!(client.ready("q").await, 0, "nothing outstanding is no error");
    });
}

#[test]
fn a_requeued_message_takes_its_old_place() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2", "3", "4", "5"]).await;
        get_all(client, 4).await;
        client.channel.basic_nack(4, REQUEUE).await.unwrap();
        client.channel.basic_reject(2, BasicRejectOptions { requeue: true }).await.unwrap();
        let expected = [("2", true), ("4", true), ("5", false)];
        for (text, redelivered) in expected {
            let delivery = client.get("q").await.unwrap();
            assert_eq!((body(&delivery).as_str(), delivery.redelivered), (text, redelivered));
        }
        client.channel.basic_nack(0, REQUEUE_ALL).await.unwrap();
        assert_eq!(client.drain("q").await, ["1", "2", "3", "4", "5"]);
    });
}

#[test]
fn a_nacked_message_comes_right_back_to_the_consumer() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2", "3"]).await;
        client.channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        let mut consumer = client.consume("q").await;
        let first = next(&mut consumer).await;
        first.nack(REQUEUE).await.unwrap();
        let again = next(&mut consumer).await;
        assert_eq!((body(&again).as_str(), again.redelivered, again.delivery_tag), ("1", true, 2));
        again.ack(ONE).await.unwrap();
        assert_eq!(body(&next(&mut consumer).await), "2");
    });
}

#[test]
fn without_requeue_messages_are_gone() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2", "3", "4"]).await;
        get_all(client, 3).await;
        client.channel.basic_reject(3, BasicRejectOptions { requeue: false }).await.unwrap();
        client.channel.basic_nack(2, BasicNackOptions { multiple: true, requeue: false }).await.unwrap();
        assert_eq!(client.drain("q").await, ["4"]);
    });
}

#[test]
fn what_a_channel_held_returns_in_place_for_others() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2", "3", "4"]).await;
        let other = broker.client().await;
        other.channel.basic_qos(3, BasicQosOptions::default()).await.unwrap();
        let mut consumer = other.consume("q").await;
        assert_eq!(bodies(&mut consumer, 3).await, ["1", "2", "3"]);
        other.channel.basic_ack(2, ONE).await.unwrap();
        assert_eq!(body(&next(&mut consumer).await), "4");
        other.close().await;
        client.until_ready("q", 3).await;
        assert_eq!(client.drain("q").await, ["1", "3", "4"]);
    });
}

/// A channel that has been delivered one message, and the consumer that will hear of its end.
async fn with_one_delivery(client: &Client, no_ack: bool) -> (Channel, lapin::Consumer) {
    let channel = client.channel().await;
    let queue = channel.queue_declare("".into(), QueueDeclareOptions::exclusive(), none()).await.unwrap();
    let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
    let mut consumer = consume(&channel, queue.name().as_str(), options, none()).await;
    client.put(queue.name().as_str(), "m").await;
    next(&mut consumer).await;
    (channel, consumer)
}

async fn end(mut consumer: lapin::Consumer) -> (u16, String) {
    told(&consumer.next().await.unwrap().unwrap_err())
}

#[test]
fn unknown_tags_close_the_channel() {
    scenario(async |_, client| {
        let unknown = |tag: u64| closed(406, &format!("PRECONDITION_FAILED - unknown delivery tag {tag}"));
        let (channel, consumer) = with_one_delivery(client, false).await;
        channel.basic_ack(2, ONE).await.unwrap();
        assert_eq!(end(consumer).await, unknown(2));

        let (channel, consumer) = with_one_delivery(client, false).await;
        channel.basic_ack(1, ONE).await.unwrap();
        channel.basic_ack(1, ONE).await.unwrap();
        assert_eq!(end(consumer).await, unknown(1));

        let (channel, consumer) = with_one_delivery(client, false).await;
        channel.basic_nack(0, REQUEUE).await.unwrap();
        assert_eq!(end(consumer).await, unknown(0));

        let (channel, consumer) = with_one_delivery(client, false).await;
        channel.basic_ack(9, ALL).await.unwrap();
        assert_eq!(end(consumer).await, unknown(9));

        let (channel, consumer) = with_one_delivery(client, true).await;
        channel.basic_ack(1, ONE).await.unwrap();
        assert_eq!(end(consumer).await, unknown(1));
    });
}

#[test]
fn tags_belong_to_their_channel() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put("q", "1").await;
        let (channel, consumer) = with_one_delivery(client, false).await;
        let other = client.channel().await;
        let got = other.basic_get("q".into(), BasicGetOptions::default()).await.unwrap().unwrap();
        assert_eq!(got.delivery.delivery_tag, 1);
        channel.basic_ack(1, ONE).await.unwrap();
        channel.basic_ack(1, ONE).await.unwrap();
        assert_eq!(end(consumer).await.0, 406);
        got.delivery.ack(ONE).await.unwrap();
        other.close(200, "done".into()).await.unwrap();
        assert_eq!(client.ready("q").await, 0);
    });
}
