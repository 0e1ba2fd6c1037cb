//! Exchange types that choose one destination: by consistent hash, by modulus, at random.

use std::collections::BTreeMap;

use lapin::options::{
    BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};

use leveret::config::compatibility::Compatibility;
use leveret::server::Builder;

use crate::client::{Client, closed, int, none, plain, refusal, table, text};
use crate::server::{Broker, in_time, scenario};

fn kind(name: &str) -> ExchangeKind {
    ExchangeKind::Custom(name.to_owned())
}

const HASH: &str = "x-consistent-hash";

async fn publish(client: &Client, key: &str, body: &str, how: BasicProperties) {
    let options = BasicPublishOptions::default();
    client.channel.basic_publish("x".into(), key.into(), options, body.as_bytes(), how).await.unwrap();
}

/// Which queue has which messages.
async fn places<const N: usize>(client: &Client, queues: [&str; N]) -> BTreeMap<String, String> {
    client.channel.wait_for_confirms().await.unwrap();
    let mut places = BTreeMap::new();
    for queue in queues {
        for body in client.drain(queue).await {
            assert_eq!(places.insert(body, queue.to_owned()), None, "exactly one destination");
        }
    }
    places
}

#[test]
fn keys_keep_to_their_queue_and_spread_by_weight() {
    scenario(async |_, client| {
        client.exchange("x", kind(HASH), none()).await;
        for (queue, weight) in [("one", "1"), ("three", "3")] {
            client.queue(queue, none()).await;
            client.bind(queue, "x", weight, none()).await;
        }
        client.bind("one", "x", "10000", none()).await;
        let mut runs = Vec::new();
        for _ in 0..2 {
            for n in 0..1_000 {
                publish(client, &n.to_string(), &n.to_string(), plain()).await;
            }
            runs.push(places(client, ["one", "three"]).await);
        }
        assert_eq!(runs[0], runs[1]);
        assert_eq!(runs[0].len(), 1_000);
        let light = runs[0].values().filter(|queue| *queue == "one").count();
        assert!((190..310).contains(&light), "the second binding is ignored: {light} of about 250");
    });
}

/// Arguments of an exchange, and properties for message `n`.
type Case = (FieldTable, fn(usize) -> BasicProperties);

#[test]
fn a_header_or_a_property_can_be_hashed_instead() {
    scenario(async |_, client| {
        let cases: [Case; 4] = [
            (table([("hash-header", text("h"))]), |n| {
                plain().with_headers(table([("h", int(i32::try_from(n).unwrap()))]))
            }),
            (table([("hash-property", text("message_id"))]), |n| plain().with_message_id(n.to_string().into())),
            (table([("hash-property", text("correlation_id"))]), |n| plain().with_correlation_id(n.to_string().into())),
            (table([("hash-property", text("timestamp"))]), |n| plain().with_timestamp(n as u64)),
        ];
        for queue in ["a", "b"] {
            client.queue(queue, none()).await;
        }
        for (arguments, value) in cases {
            client.exchange("x", kind(HASH), arguments).await;
            for queue in ["a", "b"] {
                client.bind(queue, "x", "10", none()).await;
            }
            for n in 0..60 {
                for copy in 0..2 {
                    publish(client, &format!("key {n} {copy}"), &format!("{n} {copy}"), value(n)).await;
                }
                publish(client, &n.to_string(), &format!("bare {n}"), plain()).await;
            }
            let places = places(client, ["a", "b"]).await;
            let spread = (0..60).filter(|n| places[&format!("{n} 0")] == "a").count();
            assert!((5..55).contains(&spread), "{spread}");
            for n in 0..60 {
                assert_eq!(places[&format!("{n} 0")], places[&format!("{n} 1")]);
                assert_eq!(places[&format!("bare {n}")], places["bare 0"], "what lacks it goes to one place");
            }
            client.channel.exchange_delete("x".into(), lapin::options::ExchangeDeleteOptions::default()).await.unwrap();
        }
    });
}

#[test]
fn exchanges_are_destinations_like_queues() {
    scenario(async |_, client| {
        client.exchange("x", kind(HASH), none()).await;
        client.exchange("behind", ExchangeKind::Fanout, none()).await;
        for queue in ["a", "b", "c"] {
            client.queue(queue, none()).await;
        }
        client.bind("a", "x", "1", none()).await;
        client.bind("b", "behind", "", none()).await;
        client.bind("c", "behind", "", none()).await;
        let options = ExchangeBindOptions::default();
        client.channel.exchange_bind("behind".into(), "x".into(), "1".into(), options, none()).await.unwrap();
        for n in 0..100 {
            publish(client, &n.to_string(), &n.to_string(), plain()).await;
        }
        client.channel.wait_for_confirms().await.unwrap();
        let (a, b, c) = (client.ready("a").await, client.ready("b").await, client.ready("c").await);
        assert_eq!((a + b, b), (100, c));
        assert!((20..80).contains(&a), "{a}");
    });
}

#[test]
fn keys_keep_to_their_queue_over_a_restart() {
    const QUEUES: [&str; 5] = ["e", "b", "d", "a", "c"];
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let mut runs: Vec<BTreeMap<String, String>> = Vec::new();
        for run in 0..4 {
            let broker = Broker::in_directory(directory.path());
            let client = broker.client().await;
            if run == 0 {
                client.channel.exchange_declare("x".into(), kind(HASH), durable, none()).await.unwrap();
                for (queue, weight) in QUEUES[..4].iter().zip(["3", "1", "4", "2"]) {
                    client.durable(queue, none()).await;
                    client.bind(queue, "x", weight, none()).await;
                }
            }
            if run == 2 {
                client.durable(QUEUES[4], none()).await;
                client.bind(QUEUES[4], "x", "5", none()).await;
            }
            for n in 0..400 {
                publish(&client, &n.to_string(), &n.to_string(), plain()).await;
            }
            let queues = if run < 2 { ["e", "b", "d", "a", "a"] } else { QUEUES };
            runs.push(places(&client, queues).await);
            drop(client);
            broker.stop().await;
        }
        assert_eq!(runs[0], runs[1]);
        assert_eq!(runs[2], runs[3]);
        let moved: Vec<_> = runs[1].iter().filter(|(key, queue)| runs[2][*key] != **queue).collect();
        assert!(
            moved.iter().all(|(key, _)| runs[2][*key] == "c"),
            "the new queue takes its share and nothing else moves"
        );
        assert!((80..190).contains(&moved.len()), "{} of about 133", moved.len());
    });
}

#[test]
fn a_modulus_spreads_over_sorted_queues() {
    scenario(async |_, client| {
        client.exchange("x", kind("x-modulus-hash"), none()).await;
        for queue in ["c", "a", "b"] {
            client.queue(queue, none()).await;
            client.bind(queue, "x", queue, none()).await;
            client.bind(queue, "x", "again", none()).await;
        }
        for n in 0..600 {
            publish(client, &n.to_string(), &n.to_string(), plain()).await;
        }
        let before = places(client, ["a", "b", "c"]).await;
        assert_eq!(before.len(), 600);
        for queue in ["a", "b", "c"] {
            let count = before.values().filter(|place| *place == queue).count();
            assert!((150..250).contains(&count), "{count} of about 200");
        }
    });
}

#[test]
fn chance_gives_each_message_to_one_queue() {
    scenario(async |_, client| {
        for name in ["x-random", "x-local-random"] {
            client.exchange("x", kind(name), none()).await;
            for queue in ["a", "b", "c"] {
                client.queue(queue, none()).await;
                client.bind(queue, "x", "", none()).await;
            }
            for n in 0..900 {
                publish(client, "same", &n.to_string(), plain()).await;
            }
            let places = places(client, ["a", "b", "c"]).await;
            assert_eq!(places.len(), 900);
            for queue in ["a", "b", "c"] {
                let count = places.values().filter(|place| *place == queue).count();
                assert!((200..400).contains(&count), "{count} of about 300");
            }
            client.channel.exchange_delete("x".into(), lapin::options::ExchangeDeleteOptions::default()).await.unwrap();
        }
    });
}

#[test]
fn bindings_and_arguments_are_refused_in_rabbitmqs_words() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.declare("quorum", QueueDeclareOptions::durable(), table([("x-queue-type", text("quorum"))])).await;
        client.exchange("hash", kind(HASH), none()).await;
        client.exchange("local", kind("x-local-random"), none()).await;
        for (queue, exchange, key, expected) in [
            ("q", "hash", "foo", "The binding key must be an integer: <<\"foo\">>"),
            ("q", "hash", "0", "The binding key must be greater than 0"),
            ("q", "hash", "10001", "The binding key must not exceed 10000"),
            ("q", "local", "k", "Non empty binding 'k' key not permitted"),
            ("quorum", "local", "", "Queue type rabbit_quorum_queue not valid for this exchange type"),
        ] {
            let channel = client.channel().await;
            let options = QueueBindOptions::default();
            let bound = channel.queue_bind(queue.into(), exchange.into(), key.into(), options, none()).await;
            assert_eq!(refusal(bound), closed(406, &format!("PRECONDITION_FAILED - {expected}")));
        }
        let channel = client.channel().await;
        let options = ExchangeBindOptions::default();
        let bound = channel.exchange_bind("hash".into(), "local".into(), "".into(), options, none()).await;
        assert_eq!(refusal(bound), closed(406, "PRECONDITION_FAILED - Destination not found"));
        for (arguments, expected) in [
            (table([("hash-property", text("app_id"))]), "Unsupported property: app_id"),
            (
                table([("hash-property", text("message_id")), ("hash-header", text("h"))]),
                "hash-header and hash-property are mutually exclusive",
            ),
        ] {
            let channel = client.channel().await;
            let options = ExchangeDeclareOptions::default();
            let declared = channel.exchange_declare("bad".into(), kind(HASH), options, arguments).await;
            assert_eq!(refusal(declared), closed(406, &format!("PRECONDITION_FAILED - {expected}")));
        }
    });
}

#[test]
fn a_local_random_exchange_exists_where_rabbitmq_has_it() {
    in_time(async {
        let builder = Builder::in_memory().configure(|config| config.compatibility = Compatibility::V3_13);
        let broker = Broker::start(builder);
        let client = broker.client().await;
        client.exchange("x", kind("x-random"), none()).await;
        let channel = client.channel().await;
        let options = ExchangeDeclareOptions::default();
        let declared = channel.exchange_declare("y".into(), kind("x-local-random"), options, none()).await;
        assert_eq!(refusal(declared), closed(406, "PRECONDITION_FAILED - unknown exchange type 'x-local-random'"));
        drop(client);
        broker.stop().await;
    });
}
