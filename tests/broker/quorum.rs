//! Quorum queues: everything is kept, returns are counted and limited, priorities are built in.

use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicQosOptions, BasicRecoverOptions, BasicRejectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use leveret::config::Compatibility;
use leveret::server::Builder;

use crate::client::{
    Client, bodies, body, closed, consume, delivered, int, next, none, persistent, plain, refusal, table, text, told,
};
use crate::server::{Broker, in_time, scenario};

const NACK: BasicNackOptions = BasicNackOptions { requeue: true, multiple: false };
const REJECT: BasicRejectOptions = BasicRejectOptions { requeue: true };

fn with<const N: usize>(more: [(&str, AMQPValue); N]) -> FieldTable {
    let mut arguments = table([("x-queue-type", text("quorum"))]);
    for (key, value) in more {
        arguments.insert(key.into(), value);
    }
    arguments
}

/// As [`scenario`], with a broker that answers as a version.
fn as_version(version: Compatibility, test: impl AsyncFnOnce(&Broker, &Client)) {
    in_time(async {
        let broker = Broker::start(Builder::in_memory().configure(|config| config.compatibility = version));
        let client = broker.client().await;
        test(&broker, &client).await;
        drop(client);
        broker.stop().await;
    });
}

/// A header that counts.
fn header(delivery: &Delivery, key: &str) -> Option<i64> {
    let headers = delivery.properties.headers().as_ref()?;
    headers.inner().get(key).map(|value| match value {
        AMQPValue::LongLongInt(n) => *n,
        other => panic!("{key} is {other:?}"),
    })
}

/// `x-delivery-count` and `x-acquired-count`.
fn counts(delivery: &Delivery) -> (Option<i64>, Option<i64>) {
    (header(delivery, "x-delivery-count"), header(delivery, "x-acquired-count"))
}

#[test]
fn a_message_is_delivered_once_more_than_the_limit_then_dies() {
    scenario(async |_, client| {
        client.queue("dead", none()).await;
        let dying = [
            ("x-delivery-limit", int(2)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("dead")),
        ];
        client.durable("q", with(dying)).await;
        client.put("q", "m").await;
        for returned in [None, Some(1), Some(2)] {
            let delivery = client.get("q").await.unwrap();
            assert_eq!((counts(&delivery), delivery.redelivered), ((returned, None), returned.is_some()));
            delivery.nack(NACK).await.unwrap();
        }
        let dead = client.arrival("dead").await;
        assert_eq!((body(&dead).as_str(), counts(&dead), client.ready("q").await), ("m", (None, None), 0));
        let headers = dead.properties.headers().as_ref().unwrap().inner();
        assert_eq!(headers.get("x-first-death-reason"), Some(&text("delivery_limit")));
        client.durable("dropping", with([("x-delivery-limit", int(0))])).await;
        client.put("dropping", "m").await;
        client.get("dropping").await.unwrap().reject(REJECT).await.unwrap();
        assert_eq!(client.ready("dropping").await, 0, "nowhere to go: it is dropped");
    });
}

#[test]
fn by_default_the_limit_is_20_and_a_negative_one_is_none() {
    scenario(async |_, client| {
        client.durable("q", with([])).await;
        client.durable("endless", with([("x-delivery-limit", int(-1))])).await;
        client.put("q", "m").await;
        client.put("endless", "m").await;
        for returned in 0..21 {
            let delivery = client.get("q").await.unwrap();
            assert_eq!(header(&delivery, "x-delivery-count").unwrap_or(0), returned);
            delivery.nack(NACK).await.unwrap();
            client.get("endless").await.unwrap().nack(NACK).await.unwrap();
        }
        assert_eq!((client.ready("q").await, client.ready("endless").await), (0, 1));
    });
}

#[test]
fn the_end_of_a_channel_counts_as_a_failure() {
    scenario(async |broker, client| {
        client.durable("q", with([("x-delivery-limit", int(1))])).await;
        client.put("q", "m").await;
        let channel = client.channel().await;
        channel.basic_get("q".into(), BasicGetOptions::default()).await.unwrap().unwrap();
        channel.close(200, "bye".into()).await.unwrap();
        client.until_ready("q", 1).await;
        let other = broker.client().await;
        let delivery = other.get("q").await.unwrap();
        assert_eq!(counts(&delivery), (Some(1), None));
        other.close().await;
        client.until_ready("q", 0).await;
        assert!(client.get("q").await.is_none(), "its second death was its last");
    });
}

#[test]
fn in_4_3_only_rejections_and_ends_count() {
    as_version(Compatibility::V4_3, async |_, client| {
        client.durable("q", with([("x-delivery-limit", int(1))])).await;
        client.put("q", "m").await;
        let first = client.get("q").await.unwrap();
        assert_eq!(counts(&first), (None, None));
        first.nack(NACK).await.unwrap();
        let second = client.get("q").await.unwrap();
        assert_eq!(counts(&second), (None, Some(1)), "a nack is no failure");
        client.channel.basic_recover(BasicRecoverOptions { requeue: true }).await.unwrap();
        let third = client.get("q").await.unwrap();
        assert_eq!(counts(&third), (None, Some(2)));
        third.reject(REJECT).await.unwrap();
        let fourth = client.get("q").await.unwrap();
        assert_eq!(counts(&fourth), (Some(1), Some(3)));
        fourth.reject(REJECT).await.unwrap();
        assert_eq!(client.ready("q").await, 0);
    });
}

#[test]
fn in_3_13_every_return_counts_and_there_is_no_limit() {
    as_version(Compatibility::V3_13, async |_, client| {
        client.durable("q", with([])).await;
        client.put("q", "m").await;
        for returned in 0..25 {
            let delivery = client.get("q").await.unwrap();
            assert_eq!(counts(&delivery), (Some(returned).filter(|n| *n > 0), None));
            delivery.nack(NACK).await.unwrap();
        }
        let mut consumer = client.consume("q").await;
        assert_eq!(header(&next(&mut consumer).await, "x-delivery-count"), Some(25), "deliveries have it too");
    });
}

#[test]
fn messages_return_to_the_front_in_the_order_of_their_return() {
    scenario(async |_, client| {
        client.durable("q", with([])).await;
        client.put_all("q", &["1", "2", "3", "4"]).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(client.get("q").await.unwrap());
        }
        for at in [2, 0, 1] {
            held[at].nack(NACK).await.unwrap();
        }
        assert_eq!(client.drain("q").await, ["3", "1", "2", "4"]);
    });
}

#[test]
fn priorities_come_in_the_shape_of_the_version() {
    let published = [("a", None), ("b", Some(9)), ("c", Some(0)), ("d", Some(5)), ("e", Some(6)), ("f", Some(200))];
    for (version, expected) in [
        (Compatibility::V3_13, ["a", "b", "c", "d", "e", "f"]),
        (Compatibility::V4_2, ["b", "d", "a", "e", "f", "c"]),
        (Compatibility::V4_3, ["f", "b", "e", "d", "a", "c"]),
    ] {
        as_version(version, async |_, client| {
            client.durable("q", with([])).await;
            for (body, priority) in published {
                client.put_as("q", body, priority.map_or(plain(), |p| plain().with_priority(p))).await;
            }
            assert_eq!(client.drain("q").await, expected, "{version:?}");
        });
    }
}

#[test]
fn everything_survives_a_restart_and_so_do_the_counts() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        client.durable("q", with([])).await;
        client.put_as("q", "returned", plain()).await;
        client.put_as("q", "held", persistent()).await;
        client.put_as("q", "new", plain().with_delivery_mode(1)).await;
        for _ in 0..2 {
            client.get("q").await.unwrap().nack(NACK).await.unwrap();
        }
        assert_eq!(body(&client.get("q").await.unwrap()), "returned");
        assert_eq!(body(&client.get("q").await.unwrap()), "held");
        drop(client);
        broker.stop().await;

        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        let mut found = Vec::new();
        while let Some(delivery) = client.get("q").await {
            found.push((body(&delivery), header(&delivery, "x-delivery-count"), delivery.redelivered));
            assert_eq!(delivery.properties.delivery_mode().unwrap_or(1), if body(&delivery) == "held" { 2 } else { 1 });
        }
        let expected = [("returned", Some(3), true), ("held", Some(1), true), ("new", None, false)];
        assert_eq!(found, expected.map(|(body, count, redelivered)| (body.to_owned(), count, redelivered)));
        drop(client);
        broker.stop().await;
    });
}

#[test]
fn an_exclusive_consumer_is_one_like_others() {
    scenario(async |_, client| {
        client.durable("q", with([])).await;
        let exclusive = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        let mut first = consume(&client.channel, "q", exclusive, none()).await;
        let mut second = consume(&client.channel, "q", exclusive, none()).await;
        client.put_all("q", &["1", "2"]).await;
        assert_eq!((body(&next(&mut first).await), body(&next(&mut second).await)), ("1".into(), "2".into()));
    });
}

#[test]
fn a_limit_of_the_channel_is_refused_by_version() {
    let text = "NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos";
    for (version, refused) in [(Compatibility::V4_2, true), (Compatibility::Lenient, false)] {
        as_version(version, async |broker, client| {
            client.durable("q", with([])).await;
            let other = broker.client().await;
            other.channel.basic_qos(1, BasicQosOptions { global: true }).await.unwrap();
            let asked =
                other.channel.basic_consume("q".into(), "".into(), BasicConsumeOptions::default(), none()).await;
            if refused {
                assert_eq!(refusal(asked), closed(540, text));
            } else {
                let mut consumer = asked.unwrap();
                client.put_all("q", &["1", "2"]).await;
                assert_eq!(bodies(&mut consumer, 1).await, ["1"]);
            }
        });
    }
}

#[test]
fn with_a_single_active_consumer_there_is_no_get() {
    scenario(async |_, client| {
        client.durable("q", with([("x-single-active-consumer", AMQPValue::Boolean(true))])).await;
        let got = client.channel().await.basic_get("q".into(), BasicGetOptions::default()).await;
        let text = "RESOURCE_LOCKED - cannot obtain access to locked queue 'q' in vhost '/'. basic.get operations are \
                    not supported by quorum queues with single active consumer";
        assert_eq!(refusal(got), closed(405, text));
    });
}

#[test]
fn a_higher_priority_takes_over_once_the_active_consumers_deliveries_are_settled() {
    for quorum in [true, false] {
        scenario(async |broker, client| {
            let mut arguments = if quorum { with([]) } else { none() };
            arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
            client.durable("q", arguments).await;
            let (first, second) = (broker.client().await, broker.client().await);
            let mut active = first.consume("q").await;
            client.put("q", "1").await;
            let held = next(&mut active).await;
            let preferred = table([("x-priority", int(1))]);
            let mut newcomer = consume(&second.channel, "q", BasicConsumeOptions::default(), preferred).await;
            client.put("q", "2").await;
            if quorum {
                second.ready("q").await;
                assert!(delivered(&mut newcomer).await.is_empty(), "something is unsettled");
                held.ack(lapin::options::BasicAckOptions::default()).await.unwrap();
                assert_eq!(body(&next(&mut newcomer).await), "2");
                client.put("q", "3").await;
                assert_eq!(body(&next(&mut newcomer).await), "3");
            } else {
                assert_eq!(body(&next(&mut active).await), "2", "a classic queue keeps its consumer");
            }
        });
    }
}

/// Arguments of a queue whose dead letters are to arrive at least once.
fn sure<const N: usize>(exchange: &str, more: [(&str, AMQPValue); N]) -> FieldTable {
    let mut arguments = with(more);
    for (key, value) in [
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
        ("x-dead-letter-exchange", exchange),
        ("x-dead-letter-routing-key", "dead"),
    ] {
        arguments.insert(key.into(), text(value));
    }
    arguments
}

async fn reject_one(client: &Client, queue: &str) {
    let away = BasicRejectOptions { requeue: false };
    client.get(queue).await.unwrap().reject(away).await.unwrap();
}

#[test]
fn a_letter_without_a_queue_waits_for_one_and_counts_meanwhile() {
    scenario(async |_, client| {
        client.durable("q", sure("", [("x-max-length", int(1))])).await;
        client.put("q", "m").await;
        reject_one(client, "q").await;
        client.until_ready("q", 0).await;
        assert!(client.publish("", "q", "more", plain()).await.is_nack(), "it still takes the only place");
        client.queue("dead", none()).await;
        assert_eq!(body(&client.arrival("dead").await), "m");
        while !client.publish("", "q", "more", plain()).await.is_ack() {}
    });
}

#[test]
fn a_letter_that_is_refused_is_tried_again_where_it_was() {
    scenario(async |broker, client| {
        client.exchange("dlx", lapin::ExchangeKind::Fanout, none()).await;
        let full = table([("x-max-length", int(1)), ("x-overflow", text("reject-publish"))]);
        client.queue("full", full).await;
        client.queue("free", none()).await;
        client.bind("full", "dlx", "", none()).await;
        client.bind("free", "dlx", "", none()).await;
        client.put("full", "first").await;
        client.durable("q", sure("dlx", [])).await;
        client.put("q", "m").await;
        reject_one(client, "q").await;
        client.until_ready("free", 1).await;
        assert_eq!(client.drain("full").await, ["first"]);
        broker.pass(180_000);
        assert_eq!(body(&client.arrival("full").await), "m");
        client.queue("changed", none()).await;
        assert_eq!(client.drain("free").await, ["m"], "no second copy where it had arrived");
    });
}

#[test]
fn letters_that_wait_are_back_after_an_orderly_stop() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        client.durable("q", sure("", [])).await;
        client.durable("other", none()).await;
        client.put_as("other", "seen by nobody", persistent()).await;
        client.put("q", "m").await;
        reject_one(&client, "q").await;
        client.until_ready("q", 0).await;
        drop(client);
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        assert_eq!(body(&client.get("q").await.unwrap()), "m");
        assert!(!client.get("other").await.unwrap().redelivered, "the stop counted as orderly");
        drop(client);
        broker.stop().await;
    });
}

/// The end of a channel whose delivery was not acknowledged in time.
async fn late(client: &Client, broker: &Broker, channel: &lapin::Channel) -> (u16, String) {
    // The session looks when something happens, or by itself after a while.
    broker.pass(3_600_000);
    loop {
        let options = QueueDeclareOptions::default().passive();
        if let Err(error) = channel.queue_declare("q".into(), options, none()).await {
            return told(&error);
        }
        client.ready("q").await;
    }
}

fn timed_out(timeout: &str) -> String {
    format!(
        "PRECONDITION_FAILED - delivery acknowledgement on channel 2 timed out. Timeout value used: {timeout} ms. This \
         timeout value can be configured, see consumers doc guide to learn more"
    )
}

#[test]
fn a_channel_that_does_not_acknowledge_is_closed() {
    scenario(async |broker, client| {
        client.durable("q", with([])).await;
        client.put("q", "m").await;
        let channel = client.channel().await;
        let mut consumer = consume(&channel, "q", BasicConsumeOptions::default(), none()).await;
        next(&mut consumer).await;
        broker.pass(1_700_000);
        client.ready("q").await;
        assert!(channel.queue_declare("q".into(), QueueDeclareOptions::default().passive(), none()).await.is_ok());
        assert_eq!(late(client, broker, &channel).await, closed(406, &timed_out("1800000")));
        let again = client.get("q").await.unwrap();
        assert_eq!(header(&again, "x-delivery-count"), Some(1));
    });
}

#[test]
fn a_consumer_may_ask_for_a_timeout_on_any_queue() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        client.queue("r", none()).await;
        client.put_all("q", &["1", "2"]).await;
        client.put("r", "3").await;
        let mut patient = client.consume("r").await;
        assert_eq!(body(&next(&mut patient).await), "3");
        let channel = client.channel().await;
        let soon = table([("x-consumer-timeout", int(5_000))]);
        let mut consumer = consume(&channel, "q", BasicConsumeOptions::default(), soon).await;
        assert_eq!(bodies(&mut consumer, 2).await, ["1", "2"]);
        assert_eq!(late(client, broker, &channel).await, closed(406, &timed_out("5000")));
        assert_eq!(client.drain("q").await, ["1", "2"]);
        assert_eq!(client.ready("r").await, 0, "classic queues have no default");
    });
}

#[test]
fn in_4_3_the_messages_return_and_the_consumer_is_cancelled() {
    as_version(Compatibility::V4_3, async |broker, client| {
        client.durable("q", with([("x-delivery-limit", int(0))])).await;
        client.put("q", "m").await;
        let soon = table([("x-consumer-timeout", int(5_000))]);
        let mut consumer = consume(&client.channel, "q", BasicConsumeOptions::default(), soon).await;
        next(&mut consumer).await;
        broker.pass(10_000);
        client.until_ready("q", 1).await;
        assert_eq!(client.counts("q").await, (1, 0), "the channel goes on");
        let again = client.get("q").await.unwrap();
        assert_eq!(counts(&again), (None, Some(1)), "a timeout is no failure");
    });
}
