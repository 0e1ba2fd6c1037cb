//! What a stop and a start keep, on a data directory.

use std::path::Path;

use lapin::ExchangeKind;
use lapin::options::{
    BasicAckOptions, BasicNackOptions, BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use leveret::server::Builder;

use crate::client::{Client, body, closed, int, none, persistent, plain, refusal, table, text};
use crate::server::{Broker, in_time};

const DURABLE: ExchangeDeclareOptions =
    ExchangeDeclareOptions { durable: true, passive: false, auto_delete: false, internal: false, nowait: false };

/// Runs one life of a broker on a directory, up to an orderly stop.
async fn life(directory: &Path, part: impl AsyncFnOnce(&Broker, &Client)) {
    let broker = Broker::in_directory(directory);
    let client = broker.client().await;
    part(&broker, &client).await;
    drop(client);
    broker.stop().await;
}

#[test]
fn durable_definitions_survive_and_transient_ones_vanish() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        life(directory.path(), async |_, client| {
            let channel = &client.channel;
            channel.exchange_declare("kept".into(), ExchangeKind::Topic, DURABLE, none()).await.unwrap();
            let internal = ExchangeDeclareOptions { internal: true, ..DURABLE };
            let alternate = table([("alternate-exchange", text("kept"))]);
            channel.exchange_declare("inner".into(), ExchangeKind::Headers, internal, alternate).await.unwrap();
            client.exchange("lost", ExchangeKind::Fanout, none()).await;
            client.durable("kept", table([("x-max-length", int(5))])).await;
            client.durable("deleted", none()).await;
            client.queue("lost", none()).await;
            client
                .declare("mine", QueueDeclareOptions { durable: true, ..QueueDeclareOptions::exclusive() }, none())
                .await;
            client.bind("kept", "kept", "a.*", none()).await;
            client.bind("kept", "kept", "gone.*", none()).await;
            client.bind("kept", "inner", "", table([("x-match", text("any")), ("h", int(1))])).await;
            client.bind("kept", "lost", "", none()).await;
            client.bind("lost", "kept", "a.*", none()).await;
            let options = ExchangeBindOptions::default();
            channel.exchange_bind("inner".into(), "kept".into(), "e.#".into(), options, none()).await.unwrap();
            channel.queue_unbind("kept".into(), "kept".into(), "gone.*".into(), none()).await.unwrap();
            channel.queue_delete("deleted".into(), QueueDeleteOptions::default()).await.unwrap();
        })
        .await;
        life(directory.path(), async |_, client| {
            for queue in ["lost", "mine", "deleted"] {
                assert!(!client.queue_exists(queue).await, "{queue}");
            }
            assert!(!client.exchange_exists("lost").await);
            client.durable("kept", table([("x-max-length", int(5))])).await;
            let channel = client.channel().await;
            let other = channel.queue_declare("kept".into(), QueueDeclareOptions::durable(), none()).await;
            let expected = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'kept' in vhost '/': \
                            received none but current is the value '5' of type 'signedint'";
            assert_eq!(refusal(other), closed(406, expected));
            let channel = client.channel().await;
            let other = channel.exchange_declare("inner".into(), ExchangeKind::Headers, DURABLE, none()).await;
            let expected = "PRECONDITION_FAILED - inequivalent arg 'internal' for exchange 'inner' in vhost '/': \
                            received 'false' but current is 'true'";
            assert_eq!(refusal(other), closed(406, expected));
            client.publish("kept", "a.b", "by topic", plain()).await;
            client.publish("kept", "gone.b", "unbound", plain()).await;
            let headers = table([("h", int(1))]);
            client.publish("kept", "e.x", "by headers", plain().with_headers(headers)).await;
            client.publish("kept", "e.x", "round and round", plain()).await;
            assert_eq!(client.drain("kept").await, ["by topic", "by headers"]);
        })
        .await;
    });
}

#[test]
fn persistent_messages_survive_in_order_with_their_flags() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let properties = || persistent().with_message_id("id".into()).with_headers(table([("h", int(1))]));
        life(directory.path(), async |_, client| {
            client.durable("q", none()).await;
            client.queue("transient", none()).await;
            for n in 0..10 {
                client.put_as("q", &n.to_string(), properties()).await;
                client.put("q", "transient").await;
            }
            // 0 is acknowledged, 1 returned, 2 held at the stop, the rest never seen.
            for (expected, settle) in [("0", true), ("transient", true), ("1", false)] {
                let delivery = client.get("q").await.unwrap();
                assert_eq!(body(&delivery), expected);
                if settle {
                    delivery.ack(BasicAckOptions::default()).await.unwrap();
                } else {
                    delivery.nack(BasicNackOptions { requeue: true, multiple: false }).await.unwrap();
                }
            }
            client.take("q").await.unwrap();
            client.put_as("q", "10", properties()).await;
            client.take("q").await.unwrap();
            assert_eq!(body(&client.get("q").await.unwrap()), "2");
            client.ready("q").await;
        })
        .await;
        life(directory.path(), async |_, client| {
            assert_eq!(client.ready("q").await, 9);
            for n in 2..=10 {
                let delivery = client.get("q").await.unwrap();
                assert_eq!((body(&delivery), delivery.redelivered), (n.to_string(), n == 2));
                assert_eq!(delivery.properties, properties());
            }
            assert!(client.get("q").await.is_none());
        })
        .await;
    });
}

#[test]
fn flags_survive_several_stops() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        life(directory.path(), async |_, client| {
            client.durable("q", none()).await;
            for n in 0..3 {
                client.put_as("q", &n.to_string(), persistent()).await;
            }
            client.get("q").await.unwrap();
        })
        .await;
        life(directory.path(), async |_, client| assert_eq!(client.ready("q").await, 3)).await;
        life(directory.path(), async |_, client| {
            for n in 0..3 {
                assert_eq!(client.get("q").await.unwrap().redelivered, n == 0, "{n}");
            }
        })
        .await;
    });
}

#[test]
fn what_was_purged_expired_or_dropped_stays_away() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        life(directory.path(), async |broker, client| {
            client.durable("purged", none()).await;
            client.durable("expired", table([("x-message-ttl", int(1_000))])).await;
            client.durable("full", table([("x-max-length", int(1))])).await;
            for queue in ["purged", "expired", "full"] {
                client.put_as(queue, "1", persistent()).await;
                client.put_as(queue, "2", persistent()).await;
            }
            client.channel.queue_purge("purged".into(), QueuePurgeOptions::default()).await.unwrap();
            client.put_as("purged", "3", persistent()).await;
            broker.pass(1_001);
            client.until_ready("expired", 0).await;
        })
        .await;
        life(directory.path(), async |_, client| {
            assert_eq!(client.drain("purged").await, ["3"]);
            assert!(client.drain("expired").await.is_empty());
            assert_eq!(client.drain("full").await, ["2"]);
        })
        .await;
    });
}

#[test]
fn priorities_and_deadlines_survive() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        life(directory.path(), async |_, client| {
            client.durable("priorities", table([("x-max-priority", int(9))])).await;
            for (body, priority) in [("a", 1), ("b", 9), ("c", 5), ("d", 9)] {
                client.put_as("priorities", body, persistent().with_priority(priority)).await;
            }
            client.durable("deadlines", none()).await;
            client.put_as("deadlines", "1", persistent().with_expiration("60000".into())).await;
            client.put_as("deadlines", "2", persistent()).await;
        })
        .await;
        life(directory.path(), async |broker, client| {
            assert_eq!(client.drain("priorities").await, ["b", "d", "c", "a"]);
            assert_eq!(client.ready("deadlines").await, 2);
            broker.pass(60_001);
            client.until_ready("deadlines", 1).await;
            assert_eq!(client.drain("deadlines").await, ["2"]);
        })
        .await;
    });
}

#[test]
fn a_recreated_queue_does_not_inherit() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            life(directory.path(), async |_, client| {
                client.durable("q", none()).await;
                client.put_as("q", "old", persistent()).await;
                client.channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.unwrap();
                client.durable("q", none()).await;
                client.put_as("q", "new", persistent()).await;
            })
            .await;
            life(directory.path(), async |_, client| assert_eq!(client.drain("q").await, ["new"])).await;
        }
    });
}

#[test]
fn more_than_fits_in_memory_survives() {
    const MESSAGES: usize = 400;
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let body = |n: usize| vec![u8::try_from(n % 251).unwrap(); 100_000 + n];
        life(directory.path(), async |_, client| {
            client.durable("q", none()).await;
            for n in 0..MESSAGES {
                let options = BasicPublishOptions::default();
                client.channel.basic_publish("".into(), "q".into(), options, &body(n), persistent()).await.unwrap();
            }
            client.channel.wait_for_confirms().await.unwrap();
        })
        .await;
        life(directory.path(), async |_, client| {
            assert_eq!(client.ready("q").await, u32::try_from(MESSAGES).unwrap());
            for n in 0..MESSAGES {
                let delivery = client.take("q").await.unwrap();
                assert!(delivery.data == body(n), "message {n}");
                assert!(!delivery.redelivered, "message {n}");
            }
        })
        .await;
        life(directory.path(), async |_, client| assert_eq!(client.ready("q").await, 0)).await;
    });
}

#[test]
fn a_second_broker_on_the_directory_is_refused() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        life(directory.path(), async |_, client| {
            let second = Builder::in_memory().data_dir(directory.path()).start();
            let error = second.expect_err("the directory is taken").to_string();
            assert!(error.contains(&directory.path().display().to_string()), "{error}");
            client.durable("the first goes on", none()).await;
        })
        .await;
        life(directory.path(), async |_, client| assert!(client.queue_exists("the first goes on").await)).await;
    });
}
