//! Stores that earlier versions wrote, in `fixtures`: they open, and everything is found.
//!
//! How the next one is written stands in `fixtures/README.md`. What [`fill`] does and what [`find`] expects may only
//! grow by new names; what a kept file holds does not change.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use lapin::options::{
    BasicAckOptions, BasicNackOptions, BasicRejectOptions, ExchangeBindOptions, ExchangeDeclareOptions,
    QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ExchangeKind};
use leveret::broker::{PolicyAsk, PolicyKind, VhostSettings};
use leveret::clock::NEVER;
use leveret::store::Engine as _;
use leveret::store::lmdb::probe::TABLES;
use leveret::store::lmdb::{LmdbEngine, LmdbOptions, compact, examine};

use crate::client::{Client, body, int, none, persistent, plain, table, text};
use crate::server::{Broker, in_time};

/// Messages of the long queue: three blocks and a bit.
const MANY: u32 = 300;

/// Milliseconds of a hundred years: longer than any fixture is kept.
const CENTURY: i64 = 100 * 365 * 86_400_000;

/// The exchanges of every version, and those that came with the second schema.
const OLD_KINDS: [&str; 4] = ["direct", "fanout", "topic", "headers"];
const NEW_KINDS: [&str; 6] = [
    "x-consistent-hash",
    "x-modulus-hash",
    "x-random",
    "x-local-random",
    "x-recent-history",
    "x-message-deduplication",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker/fixtures").join(name)
}

/// A data directory with this store in it.
fn unpacked(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let packed = File::open(fixture(name)).unwrap();
    let mut store = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut store).unwrap();
    std::fs::write(directory.path().join("data.mdb"), store).unwrap();
    directory
}

fn pack(directory: &Path, name: &str) {
    let store = std::fs::read(directory.join("data.mdb")).unwrap();
    let packed = File::create(fixture(name)).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(packed, flate2::Compression::best());
    gzip.write_all(&store).unwrap();
    gzip.finish().unwrap();
}

async fn exchange(client: &Client, name: &str, kind: &str, arguments: FieldTable) {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let kind = ExchangeKind::Custom(kind.to_owned());
    client.channel.exchange_declare(name.into(), kind, options, arguments).await.expect("the exchange is declared");
}

fn prioritised(priority: u8) -> BasicProperties {
    persistent().with_priority(priority)
}

/// What every version could keep.
async fn fill(client: &Client) {
    for kind in OLD_KINDS {
        exchange(client, kind, kind, none()).await;
    }
    exchange(client, "letters", "fanout", table([("alternate-exchange", text("fanout"))])).await;
    let channel = &client.channel;
    let (bound, options) = (table([("k", int(1))]), ExchangeBindOptions::default());
    channel.exchange_bind("fanout".into(), "topic".into(), "a.#".into(), options, bound).await.unwrap();

    client.durable("long", none()).await;
    client.bind("long", "topic", "*.b", none()).await;
    for n in 0..MANY {
        client.put_as("long", &format!("long {n}"), persistent()).await;
    }
    // Acknowledged here and there, one returned.
    for n in 0..20 {
        let delivery = client.get("long").await.unwrap();
        if n % 2 == 0 {
            channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).await.unwrap();
        }
    }
    channel.basic_recover(lapin::options::BasicRecoverOptions { requeue: true }).await.unwrap();

    client.durable("priorities", table([("x-max-priority", int(5))])).await;
    for (name, priority) in [("low", 0), ("high", 5), ("middle", 3), ("low too", 0)] {
        client.put_as("priorities", name, prioritised(priority)).await;
    }

    client.durable("dead", none()).await;
    client.bind("dead", "letters", "", none()).await;
    client.durable("mortal", table([("x-dead-letter-exchange", text("letters"))])).await;
    client.put_as("mortal", "rejected", persistent()).await;
    let delivery = client.get("mortal").await.unwrap();
    channel.basic_reject(delivery.delivery_tag, BasicRejectOptions { requeue: false }).await.unwrap();
    client.until_ready("dead", 1).await;
    client.put_as("mortal", "expires", persistent().with_expiration("60000".into())).await;

    client.durable("purged", none()).await;
    client.put_as("purged", "before", persistent()).await;
    channel.queue_purge("purged".into(), QueuePurgeOptions::default()).await.unwrap();
    client.put_as("purged", "after", persistent()).await;

    let copies = table([("BCC", AMQPValue::FieldArray(vec![text("purged")].into()))]);
    client.put_as("priorities", "copied", persistent().with_headers(copies)).await;
}

async fn find(broker: &Broker, client: &Client) {
    for kind in OLD_KINDS.iter().chain(&["letters"]) {
        assert!(client.exchange_exists(kind).await, "{kind}");
    }
    let long: Vec<u32> = (0..MANY).filter(|n| *n >= 20 || n % 2 == 1).collect();
    let long: Vec<String> = long.iter().map(|n| format!("long {n}")).collect();
    assert_eq!(client.drain("long").await, long);
    assert!(client.publish("topic", "a.b", "routed", plain()).await.is_ack());
    assert_eq!(client.drain("long").await, ["routed"]);

    assert_eq!(client.drain("priorities").await, ["high", "middle", "low", "low too", "copied"]);
    assert_eq!(client.drain("purged").await, ["after", "copied"]);

    let dead = client.take("dead").await.unwrap();
    assert_eq!(body(&dead), "rejected");
    assert!(dead.properties.headers().as_ref().unwrap().inner().contains_key("x-death"));
    broker.pass(86_400_000);
    assert_eq!(body(&client.arrival("dead").await), "expires");
}

/// The queues of a message that is large enough to be kept once for all of them.
const SHARERS: [&str; 3] = ["sharer 1", "sharer 2", "sharer 3"];

/// What came with the third schema.
async fn fill_shared(client: &Client) {
    exchange(client, "copies", "fanout", none()).await;
    for queue in SHARERS {
        client.durable(queue, none()).await;
        client.bind(queue, "copies", "", none()).await;
    }
    assert!(client.publish("copies", "", &"a".repeat(10_000), persistent()).await.is_ack());
    assert_eq!(body(&client.take(SHARERS[0]).await.unwrap()), "a".repeat(10_000));
    // Its commit is not before that of what was taken.
    assert!(client.publish("copies", "", &"b".repeat(10_000), persistent()).await.is_ack());
}

async fn find_shared(client: &Client) {
    assert_eq!(client.drain(SHARERS[0]).await, ["b".repeat(10_000)]);
    for queue in &SHARERS[1..] {
        assert_eq!(client.drain(queue).await, ["a".repeat(10_000), "b".repeat(10_000)]);
    }
}

fn limit() -> PolicyAsk {
    let serde_json::Value::Object(definition) = serde_json::json!({"max-length": 2}) else { panic!("an object") };
    PolicyAsk { pattern: "^governed".into(), definition, priority: 7, apply_to: "queues".into() }
}

/// What came with the second schema.
async fn fill_more(broker: &Broker, client: &Client) {
    for kind in NEW_KINDS {
        exchange(client, kind, kind, table([("x-cache-size", int(10))])).await;
    }
    client.durable("quorum", table([("x-queue-type", text("quorum"))])).await;
    client.put_as("quorum", "returned", plain()).await;
    for _ in 0..2 {
        let delivery = client.get("quorum").await.unwrap();
        let options = BasicNackOptions { requeue: true, multiple: false };
        client.channel.basic_nack(delivery.delivery_tag, options).await.unwrap();
        client.until_ready("quorum", 1).await;
    }

    exchange(client, "later", "x-delayed-message", table([("x-delayed-type", text("fanout"))])).await;
    client.durable("due", none()).await;
    client.bind("due", "later", "", none()).await;
    let delayed = persistent().with_headers(table([("x-delay", AMQPValue::LongLongInt(CENTURY))]));
    assert!(client.publish("later", "", "in a century", delayed).await.is_ack());

    broker.inside().set_policy("/", "limit", limit()).await.unwrap();
    broker.inside().set_operator_policy("/", "limit", limit()).await.unwrap();
    client.durable("governed", none()).await;
    for name in ["one", "two", "three"] {
        client.put_as("governed", name, persistent()).await;
    }
    broker.inside().create_vhost("other", VhostSettings::default()).await.unwrap();
}

async fn find_more(broker: &Broker, client: &Client) {
    for kind in NEW_KINDS {
        assert!(client.exchange_exists(kind).await, "{kind}");
    }
    let returned = client.take("quorum").await.unwrap();
    let headers = returned.properties.headers().clone().unwrap();
    let count = headers.inner().get("x-delivery-count").and_then(AMQPValue::as_long_long_int);
    assert_eq!((body(&returned).as_str(), count, returned.redelivered), ("returned", Some(2), true));

    for kind in [PolicyKind::User, PolicyKind::Operator] {
        let policies = broker.inside().policies(kind, Some("/"));
        assert_eq!(policies.iter().map(|policy| policy.ask()).collect::<Vec<_>>(), [limit()]);
    }
    assert_eq!(client.drain("governed").await, ["two", "three"]);
    assert!(broker.inside().vhost("other").is_some());

    assert_eq!(client.ready("due").await, 0);
    broker.pass(u64::try_from(CENTURY).unwrap());
    assert_eq!(body(&client.arrival("due").await), "in a century");
}

/// Starts a broker on a kept store and looks for everything in it that a store of this schema can hold.
fn opens(name: &str, schema: u32) {
    in_time(async {
        let directory = unpacked(name);
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        find(&broker, &client).await;
        if schema >= 2 {
            find_more(&broker, &client).await;
        }
        if schema >= 3 {
            find_shared(&client).await;
        }
        drop(client);
        broker.stop().await;
    });
}

#[test]
fn a_store_of_schema_1_is_found_whole() {
    opens("schema-1-killed.mdb.gz", 1);
}

#[test]
fn a_store_of_schema_2_is_found_whole() {
    opens("schema-2-stopped.mdb.gz", 2);
}

#[test]
fn a_store_of_schema_2_whose_broker_was_killed_is_found_whole() {
    opens("schema-2-killed.mdb.gz", 2);
}

#[test]
fn a_store_of_schema_3_is_found_whole() {
    opens("schema-3-stopped.mdb.gz", 3);
}

#[test]
fn a_store_of_schema_3_whose_broker_was_killed_is_found_whole() {
    opens("schema-3-killed.mdb.gz", 3);
}

/// Backups of earlier versions can be restored, and what a start compacts first may be of an earlier version.
#[test]
fn kept_stores_can_be_checked_copied_and_compacted_before_they_are_opened() {
    for name in ["schema-1-killed", "schema-2-killed", "schema-2-stopped", "schema-3-killed", "schema-3-stopped"] {
        let (directory, copy) = (unpacked(&format!("{name}.mdb.gz")), tempfile::tempdir().unwrap());
        let before = examine(directory.path()).unwrap();
        assert_eq!(before.findings, [""; 0], "{name}");
        leveret::store::lmdb::copy(directory.path(), copy.path()).unwrap();
        compact(directory.path()).unwrap();
        for place in [directory.path(), copy.path()] {
            let after = examine(place).unwrap();
            assert_eq!((after.findings.len(), after.total()), (0, before.total()), "{name}");
        }
    }
}

/// The files hold what they are kept for.
#[test]
fn bodies_of_kept_stores_are_shared() {
    let directory = unpacked("schema-3-killed.mdb.gz");
    let options = LmdbOptions { map_size: 1 << 30, sync: false, ..LmdbOptions::default() };
    let tables = LmdbEngine::open(directory.path(), options).unwrap().tables().unwrap();
    let bodies = TABLES.iter().position(|name| *name == "bodies").unwrap();
    assert_eq!(tables[bodies].len(), 2);
}

/// What was handed out before an orderly stop, and what a crash leaves open.
#[test]
fn marks_of_kept_stores_are_read() {
    let marks = |name: &str| {
        let directory = unpacked(name);
        let options = LmdbOptions { map_size: 1 << 30, sync: false, ..LmdbOptions::default() };
        let recovered = LmdbEngine::open(directory.path(), options).unwrap().recover().unwrap();
        assert_eq!(recovered.damage, [""; 0]);
        let heads: Vec<u64> = recovered.queues.values().flat_map(|queue| &queue.lanes).map(|l| l.head_expiry).collect();
        assert!(heads.iter().any(|expiry| *expiry < NEVER), "one message expires");
        let marked: usize = recovered.queues.values().map(|queue| queue.redelivered.len()).sum();
        (recovered.clean, marked)
    };
    assert_eq!(marks("schema-2-stopped.mdb.gz"), (true, 11), "ten of the long queue, and one that died");
    assert_eq!(marks("schema-2-killed.mdb.gz"), (false, 0));
    assert_eq!(marks("schema-1-killed.mdb.gz"), (false, 0));
}

/// With `LEVERET_FIXTURE_ADDRESS`, fills the broker that runs there, of another version; else writes the fixtures of
/// this one.
#[test]
#[ignore = "writes tests/broker/fixtures anew; see the README there"]
fn write_the_fixtures() {
    in_time(async {
        if let Ok(address) = std::env::var("LEVERET_FIXTURE_ADDRESS") {
            let client = Client::connect(address.parse().expect("an address with a port")).await;
            return fill(&client).await;
        }
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        fill(&client).await;
        fill_more(&broker, &client).await;
        fill_shared(&client).await;
        // Everything was confirmed, so what is on disk now is what a crash would leave.
        pack(directory.path(), "schema-3-killed.mdb.gz");
        drop(client);
        broker.stop().await;
        pack(directory.path(), "schema-3-stopped.mdb.gz");
    });
}
