//! Message deduplication, by exchanges of type `x-message-deduplication` and by queues.

use lapin::options::{BasicAckOptions, BasicNackOptions, ExchangeDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ExchangeKind};

use crate::client::{Client, body, closed, int, none, persistent, plain, refusal, table, text};
use crate::server::{Broker, in_time, scenario};

fn kind() -> ExchangeKind {
    ExchangeKind::Custom("x-message-deduplication".to_owned())
}

fn unique(value: AMQPValue) -> BasicProperties {
    plain().with_headers(table([("x-deduplication-header", value)]))
}

fn minding() -> FieldTable {
    table([("x-message-deduplication", AMQPValue::Boolean(true))])
}

async fn exchange(client: &Client, arguments: FieldTable) {
    client.exchange("x", kind(), arguments).await;
    client.queue("q", none()).await;
    client.bind("q", "x", "any", none()).await;
}

#[test]
fn an_exchange_passes_each_value_once_and_confirms_the_others() {
    scenario(async |_, client| {
        exchange(client, table([("x-cache-size", int(10))])).await;
        for (body, value) in [("1", int(7)), ("2", AMQPValue::LongLongInt(7)), ("3", text("7")), ("4", text("7"))] {
            assert!(client.publish("x", "k", body, unique(value)).await.is_ack(), "a duplicate is confirmed");
        }
        for body in ["5", "6"] {
            client.publish("x", "k", body, plain()).await;
        }
        assert_eq!(client.drain("q").await, ["1", "3", "5", "6"]);
        client.publish("x", "k", "still", unique(int(7))).await;
        assert_eq!(client.ready("q").await, 0, "it is remembered although it was consumed");
    });
}

#[test]
fn a_full_cache_forgets_the_oldest() {
    scenario(async |_, client| {
        exchange(client, table([("x-cache-size", text("2"))])).await;
        for value in [1, 2, 1, 3, 1, 3] {
            client.publish("x", "", &value.to_string(), unique(int(value))).await;
        }
        assert_eq!(client.drain("q").await, ["1", "2", "3", "1"]);
    });
}

#[test]
fn values_live_as_long_as_the_exchange_or_the_message_says() {
    scenario(async |broker, client| {
        exchange(client, table([("x-cache-size", int(10)), ("x-cache-ttl", int(1_000))])).await;
        let own = plain().with_headers(table([("x-deduplication-header", int(2)), ("x-cache-ttl", int(5_000))]));
        client.publish("x", "", "1", unique(int(1))).await;
        client.publish("x", "", "2", own).await;
        broker.pass(1_001);
        client.publish("x", "", "1 again", unique(int(1))).await;
        client.publish("x", "", "no", unique(int(2))).await;
        broker.pass(4_000);
        client.publish("x", "", "2 again", unique(int(2))).await;
        assert_eq!(client.drain("q").await, ["1", "2", "1 again", "2 again"]);
    });
}

#[test]
fn a_refused_message_is_not_remembered() {
    scenario(async |_, client| {
        exchange(client, table([("x-cache-size", int(10))])).await;
        let other = client.channel().await;
        let options = lapin::options::BasicPublishOptions::default();
        let bad = unique(int(1)).with_user_id("somebody".into());
        other.basic_publish("x".into(), "".into(), options, b"bad", bad).await.unwrap();
        while other.status().connected() {
            tokio::task::yield_now().await;
        }
        client.publish("x", "", "good", unique(int(1))).await;
        assert_eq!(client.drain("q").await, ["good"]);
    });
}

#[test]
fn arguments_are_checked_in_the_plugins_words() {
    scenario(async |_, client| {
        let size = "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0";
        let ttl = "Invalid argument, 'x-cache-ttl' must be an integer greater than 0";
        let persistence = "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'";
        let with = |key: &str, value: AMQPValue| {
            let mut arguments = table([("x-cache-size", int(1))]);
            arguments.insert(key.into(), value);
            arguments
        };
        let cases = [
            (none(), size),
            (table([("x-cache-size", int(0))]), size),
            (table([("x-cache-size", text("many"))]), size),
            (with("x-cache-ttl", int(-1)), ttl),
            (with("x-cache-persistence", text("tape")), persistence),
        ];
        for (arguments, expected) in cases {
            let channel = client.channel().await;
            let declared =
                channel.exchange_declare("bad".into(), kind(), ExchangeDeclareOptions::default(), arguments).await;
            assert_eq!(refusal(declared), closed(406, &format!("PRECONDITION_FAILED - {expected}")));
        }
        client.exchange("disk", kind(), with("x-cache-persistence", text("disk"))).await;
    });
}

#[test]
fn a_queue_takes_a_value_again_once_the_message_has_left() {
    scenario(async |broker, client| {
        client.queue("dead", none()).await;
        let mut arguments = minding();
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text("dead"));
        client.queue("q", arguments).await;
        let put = async |body: &str| client.put_as("q", body, unique(int(1))).await;

        put("1").await;
        put("twice").await;
        client.put_as("q", "other", unique(int(2))).await;
        let first = client.get("q").await.unwrap();
        put("while leased").await;
        first.nack(BasicNackOptions { requeue: true, multiple: false }).await.unwrap();
        put("while back").await;
        let first = client.get("q").await.unwrap();
        first.ack(BasicAckOptions::default()).await.unwrap();
        put("2").await;
        assert_eq!(client.drain("q").await, ["other", "2"]);
        put("3").await;
        client.channel.queue_purge("q".into(), QueuePurgeOptions::default()).await.unwrap();
        put("4").await;
        client.get("q").await.unwrap().nack(BasicNackOptions { requeue: false, multiple: false }).await.unwrap();
        assert_eq!(body(&client.arrival("dead").await), "4");
        client.put_as("q", "5", unique(int(1)).with_expiration("1000".into())).await;
        broker.pass(1_001);
        assert_eq!(body(&client.arrival("dead").await), "5");
        put("6").await;
        for _ in 0..2 {
            client.put_as("q", "unmarked", plain()).await;
        }
        assert_eq!(client.drain("q").await, ["6", "unmarked", "unmarked"]);
    });
}

#[test]
fn a_queue_knows_its_messages_after_a_restart() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        client.durable("q", minding()).await;
        let value = |n: i32| persistent().with_headers(table([("x-deduplication-header", int(n))]));
        for n in 0..500 {
            client.put_as("q", &n.to_string(), value(n)).await;
        }
        assert_eq!(body(&client.take("q").await.unwrap()), "0");
        drop(client);
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        for n in 0..500 {
            client.put_as("q", "again", value(n)).await;
        }
        let bodies = client.drain("q").await;
        assert_eq!((bodies.len(), bodies[498].as_str(), bodies[499].as_str()), (500, "499", "again"));
        client.put_as("q", "free", value(7)).await;
        assert_eq!(client.drain("q").await, ["free"]);
        drop(client);
        broker.stop().await;
    });
}
