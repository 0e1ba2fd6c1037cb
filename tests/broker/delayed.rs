//! Exchange type `x-delayed-message`: when messages go on, in which shape, and what a restart leaves of them.

use lapin::options::{BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, ExchangeKind};

use crate::client::{Client, body, closed, int, none, persistent, plain, refusal, table, text};
use crate::server::{Broker, in_time, scenario};

fn kind() -> ExchangeKind {
    ExchangeKind::Custom("x-delayed-message".to_owned())
}

fn acting_as(kind: &str) -> FieldTable {
    table([("x-delayed-type", text(kind))])
}

fn delay(value: AMQPValue) -> BasicProperties {
    plain().with_headers(table([("x-delay", value)]))
}

/// A delaying exchange `x` that acts as a fanout, with the queue `q`.
async fn fanout(client: &Client) {
    client.exchange("x", kind(), acting_as("fanout")).await;
    client.queue("q", none()).await;
    client.bind("q", "x", "", none()).await;
}

#[test]
fn messages_arrive_in_the_order_in_which_they_are_due() {
    scenario(async |broker, client| {
        fanout(client).await;
        for (name, after) in [("third", 3_000), ("first", 1_000), ("second", 2_000)] {
            assert!(client.publish("x", "", name, delay(int(after))).await.is_ack());
        }
        assert!(client.publish("x", "", "now", plain()).await.is_ack());
        assert_eq!(client.drain("q").await, ["now"]);
        broker.pass(1_001);
        let first = client.arrival("q").await;
        let headers = first.properties.headers().clone().unwrap();
        assert_eq!((body(&first).as_str(), headers.inner().get("x-delay")), ("first", Some(&int(-1_000))));
        assert_eq!((first.exchange.as_str(), first.redelivered), ("x", false));
        assert_eq!(headers.inner().len(), 1, "no death is recorded");
        broker.pass(5_000);
        client.until_ready("q", 2).await;
        assert_eq!(client.drain("q").await, ["second", "third"]);
    });
}

#[test]
fn what_is_no_delay_goes_on_at_once() {
    scenario(async |_, client| {
        fanout(client).await;
        let values = [
            int(0),
            int(-5),
            text("soon"),
            text("-1"),
            AMQPValue::Boolean(true),
            AMQPValue::Void,
            AMQPValue::Double(0.9),
            AMQPValue::Timestamp(99),
        ];
        for value in values {
            client.publish("x", "", "m", delay(value)).await;
        }
        assert_eq!(client.drain("q").await.len(), 8);
    });
}

#[test]
fn every_kind_of_number_delays_also_beyond_49_days() {
    scenario(async |broker, client| {
        fanout(client).await;
        let values = [
            AMQPValue::ShortShortInt(100),
            AMQPValue::ShortShortUInt(200),
            AMQPValue::ShortInt(300),
            AMQPValue::ShortUInt(400),
            AMQPValue::LongInt(500),
            AMQPValue::LongUInt(600),
            AMQPValue::LongLongInt(700),
            text("800"),
            AMQPValue::Float(900.5),
            AMQPValue::Double(1_000.9),
        ];
        for value in values {
            client.publish("x", "", "m", delay(value)).await;
        }
        client.publish("x", "", "years", delay(AMQPValue::LongLongInt(300_000_000_000))).await;
        client.publish("x", "", "for ever", delay(AMQPValue::LongLongInt(i64::MAX))).await;
        assert_eq!(client.ready("q").await, 0);
        broker.pass(1_001);
        client.until_ready("q", 10).await;
        client.drain("q").await;
        broker.pass(299_999_900_000);
        assert_eq!(client.ready("q").await, 0);
        broker.pass(100_000);
        let years = client.arrival("q").await;
        let headers = years.properties.headers().clone().unwrap();
        assert_eq!(headers.inner().get("x-delay"), Some(&AMQPValue::LongLongInt(-300_000_000_000)));
        assert!(client.take("q").await.is_none());
    });
}

#[test]
fn it_routes_as_its_type_when_the_time_has_come() {
    scenario(async |broker, client| {
        client.exchange("x", kind(), acting_as("topic")).await;
        client.exchange("unmatched", ExchangeKind::Fanout, none()).await;
        let arguments = table([("x-delayed-type", text("direct")), ("alternate-exchange", text("unmatched"))]);
        client.exchange("y", kind(), arguments).await;
        for queue in ["early", "late", "rest"] {
            client.queue(queue, none()).await;
        }
        client.bind("early", "x", "a.*", none()).await;
        client.bind("rest", "unmatched", "", none()).await;
        client.publish("x", "a.b", "1", delay(int(1_000))).await;
        client.publish("x", "b.a", "2", delay(int(1_000))).await;
        client.publish("y", "k", "3", delay(int(1_000))).await;
        client.channel.queue_unbind("early".into(), "x".into(), "a.*".into(), none()).await.unwrap();
        client.bind("late", "x", "#", none()).await;
        assert_eq!(client.ready("rest").await, 0, "the alternate has its turn when the time has come");
        broker.pass(1_001);
        client.until_ready("late", 2).await;
        assert_eq!(client.drain("late").await, ["1", "2"]);
        assert_eq!(body(&client.arrival("rest").await), "3");
        assert_eq!(client.ready("early").await, 0);
    });
}

#[test]
fn copies_are_delayed_with_all_their_keys() {
    scenario(async |broker, client| {
        client.exchange("x", kind(), acting_as("direct")).await;
        for queue in ["a", "b", "c"] {
            client.queue(queue, none()).await;
            client.bind(queue, "x", queue, none()).await;
        }
        let keys = |key: &str| AMQPValue::FieldArray(vec![text(key)].into());
        let headers = table([("x-delay", int(1_000)), ("CC", keys("b")), ("BCC", keys("c"))]);
        client.publish("x", "a", "m", plain().with_headers(headers)).await;
        broker.pass(1_001);
        for queue in ["a", "b", "c"] {
            let delivery = client.arrival(queue).await;
            assert!(!delivery.properties.headers().as_ref().unwrap().contains_key("BCC"));
            assert_eq!(delivery.routing_key.as_str(), "a");
        }
    });
}

#[test]
fn through_another_exchange_and_as_a_dead_letter_exchange() {
    scenario(async |broker, client| {
        fanout(client).await;
        client.exchange("front", ExchangeKind::Fanout, none()).await;
        client.queue("side", none()).await;
        client.bind("side", "front", "", none()).await;
        let options = ExchangeBindOptions::default();
        client.channel.exchange_bind("x".into(), "front".into(), "".into(), options, none()).await.unwrap();
        client.publish("front", "", "m", delay(int(1_000))).await;
        assert_eq!((client.ready("side").await, client.ready("q").await), (1, 0));
        broker.pass(1_001);
        let delivery = client.arrival("q").await;
        assert_eq!((body(&delivery).as_str(), delivery.exchange.as_str()), ("m", "front"));

        // A queue of the exchange's own name, whose messages expire into it.
        client.queue("x", table([("x-dead-letter-exchange", text("x")), ("x-message-ttl", int(500))])).await;
        client.put_as("x", "dies", delay(int(2_000))).await;
        broker.pass(501);
        client.until_ready("x", 0).await;
        broker.pass(1_000);
        assert_eq!(client.ready("q").await, 0);
        broker.pass(1_001);
        assert_eq!(body(&client.arrival("q").await), "dies");
    });
}

#[test]
fn a_mandatory_message_returns_when_it_is_delayed() {
    scenario(async |broker, client| {
        fanout(client).await;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent = client.channel.basic_publish("x".into(), "".into(), options, b"m", delay(int(1_000))).await;
        let Confirmation::Ack(Some(returned)) = sent.unwrap().await.unwrap() else { panic!("returned and confirmed") };
        assert_eq!(returned.reply_code, 312);
        broker.pass(1_001);
        assert_eq!(body(&client.arrival("q").await), "m", "it is delayed all the same");
    });
}

#[test]
fn time_to_live_begins_after_the_delay() {
    scenario(async |broker, client| {
        fanout(client).await;
        client.publish("x", "", "m", delay(int(5_000)).with_expiration("1000".into())).await;
        broker.pass(5_001);
        client.until_ready("q", 1).await;
        broker.pass(1_001);
        client.until_ready("q", 0).await;
    });
}

#[test]
fn deleting_the_exchange_drops_what_it_holds() {
    scenario(async |broker, client| {
        fanout(client).await;
        client.publish("x", "", "lost", delay(int(1_000))).await;
        client.channel.exchange_delete("x".into(), ExchangeDeleteOptions::default()).await.unwrap();
        client.exchange("x", kind(), acting_as("fanout")).await;
        client.bind("q", "x", "", none()).await;
        client.publish("x", "", "kept", delay(int(1_000))).await;
        broker.pass(2_000);
        assert_eq!(body(&client.arrival("q").await), "kept");
        assert!(client.take("q").await.is_none());
    });
}

#[test]
fn declarations_are_checked_in_the_plugins_words() {
    scenario(async |_, client| {
        let must = "Invalid argument, 'x-delayed-type' must be an existing exchange type";
        let itself = "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'";
        let both = table([
            ("x-delayed-type", text("x-consistent-hash")),
            ("hash-header", text("a")),
            ("hash-property", text("message_id")),
        ]);
        let cases = [
            (none(), must),
            (table([("x-delayed-type", int(1))]), must),
            (acting_as("x-delayed-message"), itself),
            (acting_as("nothing"), "unknown exchange type 'nothing'"),
            (both, "hash-header and hash-property are mutually exclusive"),
        ];
        for (arguments, expected) in cases {
            let channel = client.channel().await;
            let declared =
                channel.exchange_declare("bad".into(), kind(), ExchangeDeclareOptions::default(), arguments).await;
            assert_eq!(refusal(declared), closed(406, &format!("PRECONDITION_FAILED - {expected}")));
        }
        client.exchange("x", kind(), acting_as("topic")).await;
        client.exchange("x", kind(), acting_as("topic")).await;
    });
}

async fn durable_fanout(client: &Client) {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    client.channel.exchange_declare("x".into(), kind(), durable, acting_as("fanout")).await.unwrap();
    client.durable("q", none()).await;
    client.bind("q", "x", "", none()).await;
}

#[test]
fn a_restart_continues_the_wait() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        durable_fanout(&client).await;
        let headers = |millis| table([("x-delay", int(millis))]);
        for n in (0..300).rev() {
            let how = if n % 2 == 0 { persistent() } else { plain() };
            client.publish("x", "", &n.to_string(), how.with_headers(headers(1_000_000 + n * 1_000))).await;
        }
        client.publish("x", "", "later", persistent().with_headers(headers(9_000_000))).await;
        broker.pass(1_100_500);
        client.until_ready("q", 101).await;
        assert_eq!(client.drain("q").await.len(), 101);
        drop(client);
        broker.stop().await;

        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        assert_eq!(client.ready("q").await, 0, "the clock was turned back, so nothing is due");
        broker.pass(1_350_000);
        client.until_ready("q", 199).await;
        let delivery = client.arrival("q").await;
        assert_eq!((body(&delivery).as_str(), delivery.redelivered), ("101", false), "it was a stop in good order");
        let expected: Vec<String> = (102..300).map(|n| n.to_string()).collect();
        assert_eq!(client.drain("q").await, expected);
        client.publish("x", "", "new", persistent().with_headers(headers(1_000))).await;
        broker.pass(1_001);
        assert_eq!(body(&client.arrival("q").await), "new");
        broker.pass(9_000_000);
        assert_eq!(body(&client.arrival("q").await), "later");
        client.channel.exchange_delete("x".into(), ExchangeDeleteOptions::default()).await.unwrap();
        drop(client);
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        assert!(!client.exchange_exists("x").await);
        drop(client);
        broker.stop().await;
    });
}

#[test]
fn far_more_than_may_be_on_its_way_arrives_once() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        durable_fanout(&client).await;
        let payload = "x".repeat(8_192);
        for n in 0..5_000 {
            let how = persistent().with_headers(table([("x-delay", int(60_000 * ((n * 7_919) % 5_000 + 1)))]));
            let body = format!("{n:05}{payload}");
            let options = BasicPublishOptions::default();
            client.channel.basic_publish("x".into(), "".into(), options, body.as_bytes(), how).await.unwrap();
        }
        client.channel.wait_for_confirms().await.unwrap();
        broker.pass(60_000 * 5_001);
        client.until_ready("q", 5_000).await;
        let mut numbers: Vec<usize> = client.drain("q").await.iter().map(|body| body[..5].parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|two| (two[0] * 7_919) % 5_000 <= (two[1] * 7_919) % 5_000));
        numbers.sort_unstable();
        assert_eq!(numbers, (0..5_000).collect::<Vec<_>>());
        drop(client);
        broker.stop().await;
    });
}

#[test]
fn a_transaction_delays_what_it_publishes_at_its_commit() {
    scenario(async |broker, client| {
        fanout(client).await;
        let channel = client.channel().await;
        channel.tx_select().await.unwrap();
        let options = BasicPublishOptions::default();
        for (body, commits) in [(b"kept", true), (b"lost", false)] {
            channel.basic_publish("x".into(), "".into(), options, body, delay(int(1_000))).await.unwrap();
            if commits { channel.tx_commit().await.unwrap() } else { channel.tx_rollback().await.unwrap() }
        }
        assert_eq!(client.ready("q").await, 0);
        broker.pass(1_001);
        assert_eq!(body(&client.arrival("q").await), "kept");
        assert!(client.take("q").await.is_none());
    });
}
