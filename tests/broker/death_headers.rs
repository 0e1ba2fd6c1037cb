//! What a dead letter tells about its deaths.

use lapin::message::Delivery;
use lapin::options::BasicNackOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{Client, int, none, plain, table, text};
use crate::server::scenario;

fn headers(delivery: &Delivery) -> FieldTable {
    delivery.properties.headers().clone().expect("a dead letter has headers")
}

fn deaths(delivery: &Delivery) -> Vec<FieldTable> {
    let Some(AMQPValue::FieldArray(deaths)) = headers(delivery).inner().get("x-death").cloned() else {
        panic!("x-death is an array")
    };
    let as_table = |death: &AMQPValue| match death {
        AMQPValue::FieldTable(table) => table.clone(),
        other => panic!("{other:?} is no table"),
    };
    deaths.as_slice().iter().map(as_table).collect()
}

/// A death without its time, which must be there and be a timestamp.
fn timeless(mut death: FieldTable) -> (FieldTable, u64) {
    let mut fields = death.inner().clone();
    let Some(AMQPValue::Timestamp(time)) = fields.remove("time") else { panic!("time is a timestamp") };
    death = fields.into();
    (death, time)
}

fn keys(keys: &[&str]) -> AMQPValue {
    AMQPValue::FieldArray(keys.iter().map(|key| text(key)).collect::<Vec<_>>().into())
}

fn death(count: i64, reason: &str, queue: &str, exchange: &str, routing_keys: &[&str]) -> FieldTable {
    table([
        ("count", AMQPValue::LongLongInt(count)),
        ("reason", text(reason)),
        ("queue", text(queue)),
        ("exchange", text(exchange)),
        ("routing-keys", keys(routing_keys)),
    ])
}

async fn reject(client: &Client, queue: &str) {
    let options = BasicNackOptions { requeue: false, multiple: false };
    client.get(queue).await.unwrap().nack(options).await.unwrap();
}

fn arguments(to: &str) -> FieldTable {
    table([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(to))])
}

#[test]
fn the_first_death() {
    scenario(async |_, client| {
        client.queue("dead", none()).await;
        client.queue("q", arguments("dead")).await;
        client.bind("q", "amq.direct", "k", none()).await;
        let how = plain().with_headers(table([("mine", int(1))])).with_delivery_mode(2).with_priority(4);
        client.publish("amq.direct", "k", "m", how).await;
        reject(client, "q").await;
        let dead = client.arrival("dead").await;
        let mut expected = table([
            ("mine", int(1)),
            ("x-first-death-exchange", text("amq.direct")),
            ("x-first-death-queue", text("q")),
            ("x-first-death-reason", text("rejected")),
            ("x-last-death-exchange", text("amq.direct")),
            ("x-last-death-queue", text("q")),
            ("x-last-death-reason", text("rejected")),
        ]);
        expected.insert("x-death".into(), headers(&dead).inner()["x-death"].clone());
        assert_eq!(headers(&dead), expected);
        assert_eq!((*dead.properties.delivery_mode(), *dead.properties.priority()), (Some(2), Some(4)));
        let [only] = deaths(&dead).try_into().unwrap();
        assert_eq!(timeless(only).0, death(1, "rejected", "q", "amq.direct", &["k"]));
    });
}

#[test]
fn an_expiration_is_remembered_and_removed() {
    scenario(async |broker, client| {
        client.queue("dead", none()).await;
        client.queue("q", arguments("dead")).await;
        client.put_as("q", "m", plain().with_expiration("2000".into())).await;
        broker.pass(2_001);
        let dead = client.arrival("dead").await;
        assert_eq!(*dead.properties.expiration(), None);
        let [only] = deaths(&dead).try_into().unwrap();
        let mut expected = death(1, "expired", "q", "", &["q"]);
        expected.insert("original-expiration".into(), text("2000"));
        assert_eq!(timeless(only).0, expected);
    });
}

#[test]
fn repeated_deaths_are_counted_most_recent_first() {
    scenario(async |broker, client| {
        client.queue("work", arguments("wait")).await;
        let mut waiting = arguments("work");
        waiting.insert("x-message-ttl".into(), int(10_000));
        client.queue("wait", waiting).await;
        client.put("work", "m").await;
        for _ in 0..2 {
            client.until_ready("work", 1).await;
            reject(client, "work").await;
            client.until_ready("wait", 1).await;
            broker.pass(10_001);
        }
        client.until_ready("work", 1).await;
        let dead = client.take("work").await.unwrap();
        let [latest, earlier] = deaths(&dead).try_into().unwrap();
        let ((latest, latest_time), (earlier, earlier_time)) = (timeless(latest), timeless(earlier));
        assert_eq!(latest, death(2, "expired", "wait", "", &["wait"]));
        assert_eq!(earlier, death(2, "rejected", "work", "", &["work"]));
        assert!(latest_time >= earlier_time + 10, "the times are those of the first deaths");
        let headers = headers(&dead);
        assert_eq!(headers.inner()["x-first-death-queue"], text("work"));
        assert_eq!(headers.inner()["x-first-death-reason"], text("rejected"));
        assert_eq!(headers.inner()["x-last-death-queue"], text("wait"));
        assert_eq!(headers.inner()["x-last-death-reason"], text("expired"));
    });
}

#[test]
fn a_client_cannot_invent_deaths() {
    scenario(async |_, client| {
        client.queue("dead", none()).await;
        client.queue("q", arguments("dead")).await;
        let invented =
            AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death(9, "expired", "dead", "", &["x"]))].into());
        let headers = table([("x-death", invented), ("x-first-death-queue", text("none"))]);
        client.put_as("q", "m", plain().with_headers(headers.clone())).await;
        client.put_as("q", "n", plain().with_headers(headers.clone())).await;
        assert_eq!(*client.get("q").await.unwrap().properties.headers(), Some(headers), "untouched while it lives");
        reject(client, "q").await;
        let dead = client.arrival("dead").await;
        let [only] = deaths(&dead).try_into().unwrap();
        assert_eq!(timeless(only).0, death(1, "rejected", "q", "", &["q"]));
        assert_eq!(self::headers(&dead).inner()["x-first-death-queue"], text("q"));
    });
}

#[test]
fn the_reason_of_an_overflow_is_maxlen() {
    scenario(async |_, client| {
        client.queue("dead", none()).await;
        let mut limited = arguments("dead");
        limited.insert("x-max-length".into(), int(1));
        client.queue("q", limited).await;
        client.put_all("q", &["1", "2"]).await;
        let dead = client.arrival("dead").await;
        let [only] = deaths(&dead).try_into().unwrap();
        assert_eq!(timeless(only).0, death(1, "maxlen", "q", "", &["q"]));
    });
}
