//! Alarms, seen by a client library: publishers are blocked, everybody else goes on; a full store drains itself.

use lapin::options::{BasicAckOptions, BasicPublishOptions};
use leveret::config::MemoryWatermark;
use leveret::server::Builder;

use crate::client::{body, next, none, persistent};
use crate::server::{Broker, in_time};

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn an_alarm_blocks_publishers_and_nobody_else() {
    in_time(async {
        let broker = Broker::start(Builder::in_memory().configure(|config| {
            config.memory_watermark = MemoryWatermark::Absolute(u64::MAX);
        }));
        let (publisher, consumer) = (broker.client().await, broker.client().await);
        publisher.durable("q", none()).await;
        publisher.put_all("q", &["1", "2"]).await;
        broker.inside().alarms.set_memory_watermark(MemoryWatermark::Absolute(0));
        until(|| broker.inside().alarms.raised()).await;
        let options = BasicPublishOptions::default();
        let sent = publisher.channel.basic_publish("".into(), "q".into(), options, b"3", persistent()).await.unwrap();
        until(|| publisher.connection.status().blocked()).await;

        let mut deliveries = consumer.consume("q").await;
        for expected in ["1", "2"] {
            let delivery = next(&mut deliveries).await;
            assert_eq!(body(&delivery), expected);
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
        consumer.durable("another", none()).await;
        assert_eq!(consumer.ready("q").await, 0, "the third waits");

        broker.inside().alarms.set_memory_watermark(MemoryWatermark::Absolute(u64::MAX));
        assert!(sent.await.unwrap().is_ack());
        assert!(!publisher.connection.status().blocked());
        assert_eq!(body(&next(&mut deliveries).await), "3");
        drop((publisher, consumer, deliveries));
        broker.stop().await;
    });
}

#[test]
fn a_full_store_blocks_publishers_until_it_is_drained() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let builder = Builder::in_memory().data_dir(directory.path());
        let broker = Broker::start(builder.configure(|config| config.map_size = 16 << 20));
        let (publisher, consumer) = (broker.client().await, broker.client().await);
        publisher.durable("q", none()).await;
        let message = "m".repeat(20_000);
        let (mut sent, mut all) = (Vec::new(), 0);
        while !broker.inside().alarms.raised() {
            let options = BasicPublishOptions::default();
            let octets = message.as_bytes();
            sent.push(
                publisher.channel.basic_publish("".into(), "q".into(), options, octets, persistent()).await.unwrap(),
            );
            all += 1;
        }
        assert_eq!(broker.inside().alarms.reason(), "low on disk");
        let mut deliveries = consumer.consume("q").await;
        assert!(all > 400, "{all}");
        for _ in 0..all {
            next(&mut deliveries).await.ack(BasicAckOptions::default()).await.unwrap();
        }
        for confirm in sent {
            assert!(confirm.await.unwrap().is_ack());
        }
        until(|| !broker.inside().alarms.raised()).await;
        publisher.put_as("q", "after", persistent()).await;
        assert_eq!(body(&next(&mut deliveries).await), "after");
        drop((publisher, consumer, deliveries));
        broker.stop().await;
    });
}
