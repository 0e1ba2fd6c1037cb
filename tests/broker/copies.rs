//! Sender-selected distribution: the keys of `CC` and `BCC`, and what becomes of them.

use lapin::ExchangeKind;
use lapin::options::{BasicNackOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{Client, body, int, none, persistent, plain, table, text};
use crate::server::{Broker, in_time, scenario};

const REJECT: BasicNackOptions = BasicNackOptions { requeue: false, multiple: false };

fn keys<const N: usize>(keys: [&str; N]) -> AMQPValue {
    AMQPValue::FieldArray(keys.map(text).to_vec().into())
}

fn copies() -> FieldTable {
    table([("CC", keys(["copy", "gone"])), ("BCC", keys(["blind", ""]))])
}

/// Queue `work`, whose dead letters go to the direct exchange `dlx` under the keys they were published with, and there
/// to a queue for each key.
async fn graveyard(client: &Client, declare: QueueDeclareOptions) {
    client.declare("work", declare, table([("x-dead-letter-exchange", text("dlx"))])).await;
    client.exchange("dlx", ExchangeKind::Direct, none()).await;
    for key in ["work", "copy", "blind", ""] {
        let queue = format!("dead {key}");
        client.queue(&queue, none()).await;
        client.bind(&queue, "dlx", key, none()).await;
    }
}

#[test]
fn every_key_gets_a_copy_and_no_consumer_sees_bcc() {
    scenario(async |_, client| {
        for queue in ["own", "copy", "blind"] {
            client.queue(queue, none()).await;
        }
        client.put_as("own", "m", plain().with_headers(copies())).await;
        for queue in ["own", "copy", "blind"] {
            let delivery = client.take(queue).await.unwrap();
            let headers = delivery.properties.headers().clone().unwrap();
            assert_eq!(headers.inner().get("CC"), copies().inner().get("CC"));
            assert!(!headers.contains_key("BCC"));
            assert_eq!(delivery.routing_key.as_str(), "own");
        }
    });
}

#[test]
fn a_dead_letter_goes_to_every_key_it_was_published_with() {
    scenario(async |_, client| {
        graveyard(client, QueueDeclareOptions::default()).await;
        client.put_as("work", "m", plain().with_headers(copies())).await;
        client.get("work").await.unwrap().nack(REJECT).await.unwrap();
        for key in ["work", "copy", "blind", ""] {
            let dead = client.arrival(&format!("dead {key}")).await;
            let headers = dead.properties.headers().clone().unwrap();
            assert!(!headers.contains_key("BCC"));
            let AMQPValue::FieldArray(deaths) = &headers.inner()["x-death"] else { panic!("a list of deaths") };
            let AMQPValue::FieldTable(death) = &deaths.as_slice()[0] else { panic!("a table") };
            let shown = &death.inner()["routing-keys"];
            assert_eq!(shown, &keys(["work", "copy", "gone"]), "blind copies stay blind");
            assert_eq!(dead.routing_key.as_str(), "work");
        }
    });
}

#[test]
fn blind_keys_survive_two_deaths_and_end_with_a_new_key() {
    scenario(async |broker, client| {
        for (queue, to) in [("first", "second"), ("second", "third")] {
            let arguments = table([("x-dead-letter-exchange", text(to)), ("x-message-ttl", int(1_000))]);
            client.queue(queue, arguments).await;
            client.exchange(to, ExchangeKind::Direct, none()).await;
        }
        client.bind("second", "second", "first", none()).await;
        client.queue("third", none()).await;
        client.bind("third", "third", "blind", none()).await;
        client.put_as("first", "m", plain().with_headers(table([("BCC", keys(["blind"]))]))).await;
        broker.pass(1_001);
        client.until_ready("second", 1).await;
        broker.pass(1_001);
        assert_eq!(body(&client.arrival("third").await), "m");

        let renamed = [("x-dead-letter-exchange", text("third")), ("x-dead-letter-routing-key", text("new"))];
        client.queue("renaming", table(renamed)).await;
        client.queue("fourth", none()).await;
        client.bind("fourth", "third", "new", none()).await;
        client.put_as("renaming", "m", plain().with_headers(table([("BCC", keys(["blind"]))]))).await;
        client.get("renaming").await.unwrap().nack(REJECT).await.unwrap();
        assert_eq!(body(&client.arrival("fourth").await), "m");
        assert_eq!(client.ready("third").await, 0);
    });
}

#[test]
fn blind_keys_survive_a_restart() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        client.declare("work", QueueDeclareOptions::durable(), table([("x-dead-letter-exchange", text("dlx"))])).await;
        client.put_as("work", "m", persistent().with_headers(copies())).await;
        drop(client);
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        graveyard(&client, QueueDeclareOptions::durable()).await;
        let delivery = client.get("work").await.unwrap();
        assert!(!delivery.properties.headers().as_ref().unwrap().contains_key("BCC"));
        delivery.nack(REJECT).await.unwrap();
        for key in ["work", "copy", "blind", ""] {
            assert_eq!(body(&client.arrival(&format!("dead {key}")).await), "m");
        }
        drop(client);
        broker.stop().await;
    });
}
