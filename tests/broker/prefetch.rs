//! basic.qos: limits of each consumer, and of a whole channel.

use futures_lite::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};

use crate::client::{bodies, body, consume, delivered, next, none};
use crate::server::scenario;

#[test]
fn a_consumer_holds_no_more_than_its_prefetch() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2", "3", "4", "5"]).await;
        client.channel.basic_qos(2, BasicQosOptions::default()).await.unwrap();
        let mut consumer = client.consume("q").await;
        let first = next(&mut consumer).await;
        assert_eq!(body(&next(&mut consumer).await), "2");
        assert_eq!(client.ready("q").await, 3);
        assert!(delivered(&mut consumer).await.is_empty());
        first.ack(BasicAckOptions::default()).await.unwrap();
        let third = next(&mut consumer).await;
        assert_eq!(body(&third), "3");
        client.channel.basic_ack(third.delivery_tag, BasicAckOptions { multiple: true }).await.unwrap();
        assert_eq!(bodies(&mut consumer, 2).await, ["4", "5"]);
    });
}

#[test]
fn a_limit_concerns_consumers_started_later() {
    scenario(async |_, client| {
        for queue in ["free", "limited"] {
            client.queue(queue, none()).await;
        }
        let mut free = client.consume("free").await;
        client.channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        let mut limited = client.consume("limited").await;
        for queue in ["free", "limited"] {
            client.put_all(queue, &["1", "2", "3"]).await;
        }
        assert_eq!(bodies(&mut free, 3).await, ["1", "2", "3"]);
        assert_eq!(client.ready("limited").await, 2);
        assert_eq!(delivered(&mut limited).await, ["1"]);
    });
}

#[test]
fn every_consumer_has_its_own_limit() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        let (mut first, mut second) = (client.consume("q").await, client.consume("q").await);
        client.put_all("q", &["1", "2", "3"]).await;
        assert_eq!(body(&next(&mut first).await), "1");
        let held = next(&mut second).await;
        assert_eq!(client.ready("q").await, 1);
        held.ack(BasicAckOptions::default()).await.unwrap();
        assert_eq!(body(&next(&mut second).await), "3");
    });
}

#[test]
fn a_global_limit_is_shared_by_the_channels_consumers() {
    scenario(async |_, client| {
        for queue in ["a", "b"] {
            client.queue(queue, none()).await;
        }
        client.channel.basic_qos(3, BasicQosOptions { global: true }).await.unwrap();
        let (mut a, mut b) = (client.consume("a").await, client.consume("b").await);
        client.put_all("a", &["1", "2"]).await;
        client.put_all("b", &["3", "4", "5"]).await;
        let held = next(&mut a).await;
        assert_eq!(body(&next(&mut a).await), "2");
        assert_eq!(body(&next(&mut b).await), "3");
        assert_eq!((client.ready("a").await, client.ready("b").await), (0, 2));
        held.ack(BasicAckOptions::default()).await.unwrap();
        assert_eq!(body(&next(&mut b).await), "4");
        assert_eq!(client.ready("b").await, 1);
        client.channel.basic_qos(0, BasicQosOptions { global: true }).await.unwrap();
        assert_eq!(body(&next(&mut b).await), "5");
    });
}

#[test]
fn a_global_limit_is_passed_round_the_queues() {
    scenario(async |_, client| {
        client.channel.basic_qos(1, BasicQosOptions { global: true }).await.unwrap();
        let mut consumers = Vec::new();
        for queue in ["a", "b", "c"] {
            client.queue(queue, none()).await;
            client.put_all(queue, &["1", "2", "3", "4"]).await;
            consumers.push(client.consume(queue).await);
        }
        let mut all = consumers.remove(0).or(consumers.remove(0)).or(consumers.remove(0));
        for _ in 0..6 {
            let delivery = all.next().await.unwrap().unwrap();
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
        for queue in ["a", "b", "c"] {
            let left = client.ready(queue).await;
            assert!((1..=2).contains(&left), "{left} left in {queue}");
        }
    });
}

#[test]
fn consumers_without_acknowledgements_wait_for_a_global_limit_but_do_not_use_it() {
    scenario(async |_, client| {
        for queue in ["a", "b"] {
            client.queue(queue, none()).await;
        }
        client.channel.basic_qos(1, BasicQosOptions { global: true }).await.unwrap();
        let mut careful = client.consume("a").await;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut careless = consume(&client.channel, "b", options, none()).await;
        client.put("a", "1").await;
        let held = next(&mut careful).await;
        client.put_all("b", &["2", "3"]).await;
        assert_eq!(client.ready("b").await, 2);
        held.ack(BasicAckOptions::default()).await.unwrap();
        assert_eq!(bodies(&mut careless, 2).await, ["2", "3"]);
        client.put("a", "4").await;
        assert_eq!(body(&next(&mut careful).await), "4");
    });
}

#[test]
fn a_returned_message_frees_its_slot_for_others() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        let (first, second) = (broker.client().await, broker.client().await);
        for other in [&first, &second] {
            other.channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        }
        let mut one = first.consume("q").await;
        let mut two = second.consume("q").await;
        client.put_all("q", &["1", "2", "3"]).await;
        let (held, other) = (next(&mut one).await, next(&mut two).await);
        assert_eq!((body(&held), body(&other)), ("1".into(), "2".into()));
        held.nack(BasicNackOptions { requeue: false, multiple: false }).await.unwrap();
        assert_eq!(body(&next(&mut one).await), "3");
        second.close().await;
        client.until_ready("q", 1).await;
        assert!(client.get("q").await.unwrap().redelivered);
    });
}
