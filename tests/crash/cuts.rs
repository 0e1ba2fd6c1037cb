//! What other young brokers got wrong around crashes, from their lists of changes: one test each.

use std::time::Duration;

use lapin::ExchangeKind;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicNackOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{Client, int, none, persistent, table, text};
use crate::in_time;
use crate::process::Process;
use crate::raw::{Raw, publish};
use crate::store::findings;

/// Longer than any of these takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a first life of a broker, kills it, checks its store, and runs a second.
fn two_lives(first: impl AsyncFnOnce(&Process, &Client), second: impl AsyncFnOnce(&Process, &Client)) {
    in_time(LIMIT, async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        first(&broker, &client).await;
        broker.kill().await;
        assert_eq!(findings(directory.path()), Ok(()));
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        second(&broker, &client).await;
        broker.kill().await;
    });
}

async fn exchange(client: &Client, name: &str, kind: ExchangeKind) {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    client.channel.exchange_declare(name.into(), kind, durable, none()).await.unwrap();
}

/// A body of that size that is like no other.
fn filled(seed: u8, size: usize) -> Vec<u8> {
    (0..size).map(|at| seed.wrapping_mul(31).wrapping_add(u8::try_from(at % 251).unwrap())).collect()
}

async fn put(client: &Client, exchange: &str, key: &str, body: &[u8]) {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = client.channel.basic_publish(exchange.into(), key.into(), options, body, persistent()).await.unwrap();
    assert!(matches!(sent.await.unwrap(), lapin::Confirmation::Ack(None)));
}

#[test]
fn a_message_of_many_frames_in_several_queues_is_whole_in_each_after_a_crash() {
    // Below, at and above the size of a frame's payload, and of many frames.
    const SIZES: [usize; 5] = [131_063, 131_064, 131_065, 400_000, 1 << 20];
    const QUEUES: [&str; 3] = ["a", "b", "c"];
    two_lives(
        async |_, client| {
            exchange(client, "x", ExchangeKind::Fanout).await;
            for queue in QUEUES {
                let quorum = table([("x-queue-type", text("quorum"))]);
                client.durable(queue, if queue == "b" { quorum } else { none() }).await;
                client.bind(queue, "x", "", none()).await;
            }
            for (n, size) in SIZES.iter().enumerate() {
                put(client, "x", "", &filled(u8::try_from(n).unwrap(), *size)).await;
            }
            // One copy goes; the others are not its business.
            client.get("a").await.unwrap().ack(BasicAckOptions::default()).await.unwrap();
            put(client, "", "a", b"its confirm is the ack's").await;
        },
        async |_, client| {
            for queue in QUEUES {
                for (n, size) in SIZES.iter().enumerate().skip(usize::from(queue == "a")) {
                    let delivery = client.take(queue).await.unwrap();
                    assert!(delivery.data == filled(u8::try_from(n).unwrap(), *size), "{n} in {queue}");
                }
            }
            assert_eq!(client.drain("a").await, ["its confirm is the ack's"]);
            assert_eq!((client.ready("b").await, client.ready("c").await), (0, 0));
        },
    );
}

#[test]
fn a_publisher_that_goes_in_the_midst_of_a_body_leaves_nothing_and_harms_nobody() {
    two_lives(
        async |broker, client| {
            client.durable("q", none()).await;
            put(client, "", "q", b"before").await;
            for have in [0, 1, 3_999, 4_000, 500_000] {
                let mut raw = Raw::connect(broker.address()).await;
                raw.send(&publish("", "q", 2, 11, b"whole, and ")).await;
                assert_eq!(raw.confirm().await, (1, false));
                raw.send(&publish("", "q", 2, 1 << 20, &filled(7, have))).await;
                drop(raw);
                put(client, "", "q", have.to_string().as_bytes()).await;
            }
        },
        async |_, client| {
            let mut expected = vec!["before".to_owned()];
            for have in [0, 1, 3_999, 4_000, 500_000] {
                expected.extend(["whole, and ".to_owned(), have.to_string()]);
            }
            assert_eq!(client.drain("q").await, expected);
        },
    );
}

#[test]
fn a_deleted_queue_does_not_reappear_nor_its_messages() {
    two_lives(
        async |_, client| {
            exchange(client, "x", ExchangeKind::Direct).await;
            for queue in ["gone", "again", "kept"] {
                client.durable(queue, none()).await;
                client.bind(queue, "x", queue, none()).await;
                for n in 0..40 {
                    put(client, "x", queue, &filled(n, 2_000)).await;
                }
            }
            for queue in ["gone", "again"] {
                client.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
            }
            client.durable("again", none()).await;
            put(client, "", "again", b"the only one").await;
        },
        async |_, client| {
            assert!(!client.queue_exists("gone").await);
            assert_eq!(client.ready("kept").await, 40);
            assert_eq!(client.drain("again").await, ["the only one"]);
            // Nor do the bindings.
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            for key in ["gone", "again"] {
                let sent = client.channel.basic_publish("x".into(), key.into(), options, b"", persistent()).await;
                assert!(sent.unwrap().await.unwrap().take_message().is_some(), "{key} is bound");
            }
            client.durable("gone", none()).await;
            assert_eq!(client.ready("gone").await, 0);
        },
    );
}

/// What a letter tells of its deaths: reason, queue and count of each, most recent first.
fn deaths(delivery: &Delivery) -> Vec<(String, String, i64)> {
    let headers = delivery.properties.headers().clone().unwrap();
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death").cloned() else { panic!("no x-death") };
    let read = |death: &AMQPValue| {
        let AMQPValue::FieldTable(death) = death else { panic!("{death:?} is no table") };
        let word = |key: &str| death.inner().get(key).and_then(|value| Some(value.as_long_string()?.to_string()));
        let count = death.inner().get("count").and_then(AMQPValue::as_long_long_int);
        (word("reason").unwrap(), word("queue").unwrap(), count.unwrap())
    };
    deaths.as_slice().iter().map(read).collect()
}

#[test]
fn the_headers_of_dead_letters_survive_and_go_on_counting() {
    let dead = |to: &str| table([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(to))]);
    let own = || table([("own", text("header")), ("n", int(7))]);
    let reject = BasicNackOptions { requeue: false, multiple: false };
    let told = |reason: &str, queue: &str, count| (reason.to_owned(), queue.to_owned(), count);
    let kept = |delivery: &Delivery| {
        let headers: FieldTable = delivery.properties.headers().clone().unwrap();
        assert_eq!(headers.inner().get("own"), own().inner().get("own"));
        assert_eq!(headers.inner().get("n"), own().inner().get("n"));
        assert_eq!(headers.inner().get("x-first-death-queue"), Some(&text("q")));
    };
    two_lives(
        async |_, client| {
            client.durable("q", dead("dead")).await;
            client.durable("dead", dead("q")).await;
            client.put_as("q", "letter", persistent().with_headers(own())).await;
            client.get("q").await.unwrap().nack(reject).await.unwrap();
            client.until_ready("dead", 1).await;
            put(client, "", "dead", b"its confirm is the letter's").await;
        },
        async |_, client| {
            let letter = client.get("dead").await.unwrap();
            kept(&letter);
            assert_eq!(deaths(&letter), [told("rejected", "q", 1)]);
            letter.nack(reject).await.unwrap();
            client.until_ready("q", 1).await;
            let letter = client.get("q").await.unwrap();
            kept(&letter);
            assert_eq!(deaths(&letter), [told("rejected", "dead", 1), told("rejected", "q", 1)]);
            letter.nack(reject).await.unwrap();
            client.until_ready("dead", 2).await;
            client.take("dead").await.unwrap();
            assert_eq!(
                deaths(&client.take("dead").await.unwrap()),
                [told("rejected", "q", 2), told("rejected", "dead", 1)]
            );
        },
    );
}

#[test]
fn names_and_keys_of_255_octets_survive() {
    let name = |letter: &str| letter.repeat(255);
    two_lives(
        async |_, client| {
            exchange(client, &name("x"), ExchangeKind::Direct).await;
            client.declare(&name("q"), QueueDeclareOptions::durable(), table([(&name("a"), int(1))])).await;
            client.bind(&name("q"), &name("x"), &name("k"), none()).await;
            let headers = table([(&name("h"), text(&name("v")))]);
            let how = persistent().with_headers(headers).with_message_id(name("m").into());
            assert!(client.publish(&name("x"), &name("k"), "1", how).await.is_ack());
        },
        async |_, client| {
            put(client, &name("x"), &name("k"), b"2").await;
            let delivery = client.get(&name("q")).await.unwrap();
            assert_eq!(delivery.data, b"1");
            assert_eq!((delivery.exchange.to_string(), delivery.routing_key.to_string()), (name("x"), name("k")));
            assert_eq!(delivery.properties.message_id().as_ref().unwrap().to_string(), name("m"));
            let headers = delivery.properties.headers().clone().unwrap();
            assert_eq!(headers.inner().get(name("h").as_str()), Some(&text(&name("v"))));
            assert_eq!(client.drain(&name("q")).await, ["2"]);
        },
    );
}

#[test]
fn confirms_come_in_order_whatever_they_wait_for() {
    const MESSAGES: u64 = 600;
    two_lives(
        async |broker, client| {
            client.durable("durable", none()).await;
            client.queue("light", none()).await;
            let mut raw = Raw::connect(broker.address()).await;
            let mut octets = Vec::new();
            for n in 0..MESSAGES {
                // Some wait for the disk, some for nothing, some go nowhere.
                let (queue, mode) = [("durable", 2), ("light", 1), ("durable", 1), ("nowhere", 2), ("light", 2)]
                    [usize::try_from(n % 5).unwrap()];
                octets.extend(publish("", queue, mode, 3, b"abc"));
            }
            raw.send(&octets).await;
            let mut last = 0;
            while last < MESSAGES {
                let (tag, multiple) = raw.confirm().await;
                assert!(if multiple { tag > last } else { tag == last + 1 }, "{tag} follows {last}");
                last = tag;
            }
        },
        async |_, client| {
            // The persistent ones, exactly.
            assert_eq!(u64::from(client.ready("durable").await), MESSAGES / 5);
        },
    );
}
