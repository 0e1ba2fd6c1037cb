//! Where dead letters go: reasons, keys, cycles, missing exchanges, restarts.

use lapin::ExchangeKind;
use lapin::options::{
    BasicNackOptions, ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{Client, body, int, none, persistent, plain, table, text};
use crate::server::{Broker, in_time, scenario};

const REJECT: BasicNackOptions = BasicNackOptions { requeue: false, multiple: false };

/// Arguments of a queue whose dead letters go to queue `to`.
fn dying_to(to: &str) -> FieldTable {
    table([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(to))])
}

fn with(mut arguments: FieldTable, key: &str, value: AMQPValue) -> FieldTable {
    arguments.insert(key.into(), value);
    arguments
}

async fn reject_one(client: &Client, queue: &str) {
    client.get(queue).await.unwrap().nack(REJECT).await.unwrap();
}

#[test]
fn rejected_expired_and_dropped_messages_arrive() {
    scenario(async |broker, client| {
        client.queue("dead", none()).await;
        client.queue("rejecting", dying_to("dead")).await;
        client.queue("expiring", with(dying_to("dead"), "x-message-ttl", int(5_000))).await;
        client.queue("full", with(dying_to("dead"), "x-max-length", int(1))).await;
        for queue in ["rejecting", "expiring", "full"] {
            client.put(queue, queue).await;
        }
        reject_one(client, "rejecting").await;
        let dead = client.arrival("dead").await;
        assert_eq!(
            (body(&dead).as_str(), dead.exchange.as_str(), dead.routing_key.as_str()),
            ("rejecting", "", "dead")
        );
        assert!(!dead.redelivered, "by this queue it has never been delivered");
        client.put("full", "more").await;
        let dead = client.arrival("dead").await;
        assert_eq!((body(&dead).as_str(), dead.redelivered), ("full", false));
        broker.pass(5_001);
        assert_eq!(body(&client.arrival("dead").await), "expiring");
    });
}

#[test]
fn a_missing_exchange_or_queue_swallows_letters() {
    scenario(async |_, client| {
        client.queue("q", table([("x-dead-letter-exchange", text("nix"))])).await;
        client.queue("r", dying_to("nowhere")).await;
        for queue in ["q", "r"] {
            client.put(queue, "m").await;
            reject_one(client, queue).await;
            assert_eq!(client.ready(queue).await, 0);
        }
        client.exchange("nix", ExchangeKind::Fanout, none()).await;
        client.queue("late", none()).await;
        client.bind("late", "nix", "", none()).await;
        client.put("q", "second").await;
        reject_one(client, "q").await;
        assert_eq!(body(&client.arrival("late").await), "second");
        assert!(client.take("late").await.is_none());
    });
}

#[test]
fn a_cycle_of_automatic_deaths_is_broken() {
    scenario(async |broker, client| {
        client.queue("a", with(dying_to("b"), "x-message-ttl", int(1_000))).await;
        client.queue("b", with(dying_to("a"), "x-message-ttl", int(1_000))).await;
        client.put("a", "m").await;
        broker.pass(1_001);
        client.until_ready("b", 1).await;
        broker.pass(1_001);
        client.until_ready("b", 0).await;
        client.put("a", "behind").await;
        broker.pass(1_001);
        assert_eq!(body(&client.arrival("b").await), "behind", "the courier has dealt with what came before");
        assert_eq!(client.ready("a").await, 0);
    });
}

#[test]
fn a_rejection_lets_a_message_go_round() {
    scenario(async |broker, client| {
        client.queue("work", dying_to("wait")).await;
        client.queue("wait", with(dying_to("work"), "x-message-ttl", int(1_000))).await;
        client.put("work", "m").await;
        for _ in 0..3 {
            client.until_ready("work", 1).await;
            reject_one(client, "work").await;
            client.until_ready("wait", 1).await;
            broker.pass(1_001);
        }
        assert_eq!(body(&client.arrival("work").await), "m");
    });
}

#[test]
fn purge_delete_and_expiry_of_the_queue_are_no_deaths() {
    scenario(async |broker, client| {
        client.queue("dead", none()).await;
        for queue in ["purged", "deleted"] {
            client.queue(queue, dying_to("dead")).await;
            client.put(queue, queue).await;
        }
        client.queue("expired", with(dying_to("dead"), "x-expires", int(1_000))).await;
        client.put("expired", "expired").await;
        client.channel.queue_purge("purged".into(), QueuePurgeOptions::default()).await.unwrap();
        client.channel.queue_delete("deleted".into(), QueueDeleteOptions::default()).await.unwrap();
        broker.pass(1_001);
        client.until_gone("expired").await;
        client.put("purged", "real").await;
        reject_one(client, "purged").await;
        assert_eq!(body(&client.arrival("dead").await), "real");
        assert!(client.take("dead").await.is_none());
    });
}

#[test]
fn thousands_die_in_order() {
    scenario(async |broker, client| {
        client.queue("dead", none()).await;
        client.queue("q", with(dying_to("dead"), "x-message-ttl", int(1_000))).await;
        let expected: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
        for body in &expected {
            let options = lapin::options::BasicPublishOptions::default();
            client.channel.basic_publish("".into(), "q".into(), options, body.as_bytes(), plain()).await.unwrap();
        }
        client.channel.wait_for_confirms().await.unwrap();
        broker.pass(1_001);
        client.until_ready("dead", 5_000).await;
        assert_eq!(client.drain("dead").await, expected);
    });
}

#[test]
fn letters_are_carried_after_a_restart() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        client.channel.exchange_declare("dlx".into(), ExchangeKind::Fanout, durable, none()).await.unwrap();
        client.durable("dead", none()).await;
        client.bind("dead", "dlx", "", none()).await;
        let arguments = || table([("x-dead-letter-exchange", text("dlx")), ("x-message-ttl", int(60_000))]);
        client.declare("q", QueueDeclareOptions::durable(), arguments()).await;
        client.put_as("q", "rejected", persistent()).await;
        client.put_as("q", "waiting", persistent()).await;
        reject_one(&client, "q").await;
        client.until_ready("dead", 1).await;
        drop(client);
        broker.stop().await;

        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        let first = client.arrival("dead").await;
        assert_eq!((body(&first).as_str(), first.redelivered), ("rejected", false));
        assert!(first.properties.headers().as_ref().unwrap().contains_key("x-death"));
        assert_eq!(client.ready("q").await, 1);
        broker.pass(60_001);
        assert_eq!(body(&client.arrival("dead").await), "waiting");
        assert_eq!(client.ready("q").await, 0);
        drop(client);
        broker.stop().await;
    });
}
