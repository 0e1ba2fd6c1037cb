//! Queues: declaring, equivalence, exclusiveness, lifetimes, purge and delete.

use lapin::options::{
    BasicCancelOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{closed, int, none, refusal, table, text};
use crate::server::scenario;

const LOCKED: &str = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be \
                      originally declared on another connection or the exclusive property value does not match that \
                      of the original declaration.";

#[test]
fn the_broker_names_queues_without_a_name() {
    scenario(async |_, client| {
        let first = client.declare("", QueueDeclareOptions::exclusive(), none()).await;
        let second = client.declare("", QueueDeclareOptions::exclusive(), none()).await;
        assert_ne!(first, second);
        for name in [&first, &second] {
            let random = name.strip_prefix("amq.gen-").unwrap();
            assert_eq!(random.len(), 22, "{name}");
            assert!(random.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{name}");
        }
    });
}

#[test]
fn an_empty_name_means_the_queue_declared_last() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.bind("", "amq.direct", "", none()).await;
        client.publish("amq.direct", "q", "1", crate::client::plain()).await;
        assert_eq!(client.drain("").await, ["1"]);
        let channel = client.channel().await;
        let purged = channel.queue_purge("".into(), QueuePurgeOptions::default()).await;
        assert_eq!(refusal(purged), closed(404, "NOT_FOUND - no previously declared queue"));
    });
}

#[test]
fn a_passive_declare_tells_counts_or_404() {
    scenario(async |_, client| {
        client.durable("q", none()).await;
        client.put_all("q", &["1", "2"]).await;
        let unacked = client.get("q").await.unwrap();
        assert_eq!(client.counts("q").await, (1, 0), "only ready messages count");
        let _consumer = client.consume("q").await;
        assert_eq!(client.counts("q").await, (0, 1));
        drop(unacked);
        let channel = client.channel().await;
        let declared = channel.queue_declare("none".into(), QueueDeclareOptions::default().passive(), none()).await;
        assert_eq!(refusal(declared), closed(404, "NOT_FOUND - no queue 'none' in vhost '/'"));
    });
}

#[test]
fn declaring_again_must_say_the_same() {
    scenario(async |_, client| {
        let limit = || table([("x-max-length", int(10))]);
        client.queue("q", limit()).await;
        client.queue("q", table([("x-max-length", AMQPValue::LongLongInt(10)), ("unknown", int(1))])).await;
        client.queue("q", table([("x-max-length", int(10)), ("x-queue-type", text("classic"))])).await;
        let transient = QueueDeclareOptions::default();
        let cases: [(QueueDeclareOptions, FieldTable, &str, &str); 5] = [
            (QueueDeclareOptions::durable(), limit(), "durable", "received 'true' but current is 'false'"),
            (transient.auto_delete(), limit(), "auto_delete", "received 'true' but current is 'false'"),
            (transient, none(), "x-max-length", "received none but current is the value '10' of type 'signedint'"),
            (transient, table([("x-max-length", int(20))]), "x-max-length", "received '20' but current is '10'"),
            (
                transient,
                table([("x-max-length", int(10)), ("x-message-ttl", int(5))]),
                "x-message-ttl",
                "received the value '5' of type 'signedint' but current is none",
            ),
        ];
        for (options, arguments, argument, difference) in cases {
            let channel = client.channel().await;
            let declared = channel.queue_declare("q".into(), options, arguments).await;
            let expected =
                format!("PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'q' in vhost '/': {difference}");
            assert_eq!(refusal(declared), closed(406, &expected));
        }
    });
}

#[test]
fn exclusive_is_compared_before_everything_else() {
    scenario(async |_, client| {
        let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let shared = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        for (first, then) in [(own, shared), (shared, QueueDeclareOptions { exclusive: true, ..shared })] {
            client.channel.queue_declare("q".into(), first, none()).await.unwrap();
            let channel = client.channel().await;
            let (code, text) = refusal(channel.queue_declare("q".into(), then, none()).await);
            assert_eq!(code, 405, "{text}");
            client.channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.unwrap();
        }
    });
}

#[test]
fn reserved_names_and_bad_arguments_are_refused() {
    scenario(async |_, client| {
        let channel = client.channel().await;
        let declared = channel.queue_declare("amq.mine".into(), QueueDeclareOptions::default(), none()).await;
        let text403 = "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'";
        assert_eq!(refusal(declared), closed(403, text403));
        let cases = [
            ("x-message-ttl", text("5"), "\"expected integer, got longstr\""),
            ("x-message-ttl", int(-1), "{value_negative,-1}"),
            ("x-expires", int(0), "{value_zero,0}"),
            ("x-max-length", int(-1), "{value_negative,-1}"),
            ("x-overflow", text("none"), "invalid_overflow"),
            ("x-max-priority", int(256), "{max_value_exceeded,256}"),
            ("x-dead-letter-routing-key", text("k"), "routing_key_but_no_dlx_defined"),
            ("x-queue-type", text("zzz"), "\"unsupported queue type 'zzz'\""),
        ];
        for (key, value, error) in cases {
            let channel = client.channel().await;
            let arguments = table([(key, value)]);
            let declared = channel.queue_declare("q".into(), QueueDeclareOptions::default(), arguments).await;
            let expected = format!("PRECONDITION_FAILED - invalid arg '{key}' for queue 'q' in vhost '/': {error}");
            assert_eq!(refusal(declared), closed(406, &expected));
        }
    });
}

#[test]
fn an_exclusive_queue_belongs_to_its_connection_and_goes_with_it() {
    scenario(async |broker, client| {
        let owner = broker.client().await;
        owner.declare("q", QueueDeclareOptions::exclusive(), none()).await;
        owner.put("q", "1").await;
        assert_eq!(owner.ready("q").await, 1);

        let locked = || closed(405, LOCKED);
        let channel = client.channel().await;
        assert_eq!(
            refusal(channel.queue_declare("q".into(), QueueDeclareOptions::exclusive(), none()).await),
            locked()
        );
        let channel = client.channel().await;
        let passive = QueueDeclareOptions::default().passive();
        assert_eq!(refusal(channel.queue_declare("q".into(), passive, none()).await), locked());
        let channel = client.channel().await;
        assert_eq!(refusal(channel.basic_get("q".into(), lapin::options::BasicGetOptions::default()).await), locked());
        let channel = client.channel().await;
        assert_eq!(refusal(channel.queue_purge("q".into(), QueuePurgeOptions::default()).await), locked());
        let channel = client.channel().await;
        assert_eq!(refusal(channel.queue_delete("q".into(), QueueDeleteOptions::default()).await), locked());

        owner.close().await;
        assert!(!client.queue_exists("q").await, "it is gone before close-ok");
    });
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    scenario(async |_, client| {
        client.declare("q", QueueDeclareOptions::default().auto_delete(), none()).await;
        client.put("q", "1").await;
        assert!(client.get("q").await.is_some(), "a get is no consumer");
        let (first, second) = (client.consume("q").await, client.consume("q").await);
        client.channel.basic_cancel(first.tag(), BasicCancelOptions::default()).await.unwrap();
        assert!(client.queue_exists("q").await);
        client.channel.basic_cancel(second.tag(), BasicCancelOptions::default()).await.unwrap();
        assert!(!client.queue_exists("q").await);
    });
}

#[test]
fn an_auto_delete_queue_goes_with_its_consumers_connection() {
    scenario(async |broker, client| {
        client.declare("q", QueueDeclareOptions::default().auto_delete(), none()).await;
        let other = broker.client().await;
        let _consumer = other.consume("q").await;
        other.close().await;
        client.until_gone("q").await;
    });
}

#[test]
fn purge_and_delete_count_ready_messages() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2", "3"]).await;
        let unacked = client.get("q").await.unwrap();
        assert_eq!(client.channel.queue_purge("q".into(), QueuePurgeOptions::default()).await.unwrap(), 2);
        unacked.nack(lapin::options::BasicNackOptions { requeue: true, multiple: false }).await.unwrap();
        client.put("q", "4").await;
        assert_eq!(client.channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.unwrap(), 2);
        assert_eq!(client.channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.unwrap(), 0);
        assert!(!client.queue_exists("q").await);
        let channel = client.channel().await;
        let purged = channel.queue_purge("q".into(), QueuePurgeOptions::default()).await;
        assert_eq!(refusal(purged), closed(404, "NOT_FOUND - no queue 'q' in vhost '/'"));
    });
}

#[test]
fn deleting_on_conditions() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put("q", "1").await;
        let empty = QueueDeleteOptions { if_empty: true, ..QueueDeleteOptions::default() };
        let channel = client.channel().await;
        let deleted = channel.queue_delete("q".into(), empty).await;
        assert_eq!(refusal(deleted), closed(406, "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty"));
        let _consumer = client.consume("q").await;
        let unused = QueueDeleteOptions { if_unused: true, ..QueueDeleteOptions::default() };
        let channel = client.channel().await;
        let deleted = channel.queue_delete("q".into(), unused).await;
        assert_eq!(refusal(deleted), closed(406, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use"));
        client.channel.queue_delete("q".into(), empty).await.unwrap();
        assert!(!client.queue_exists("q").await);
    });
}

#[test]
fn binding_needs_both_ends_and_unbinding_none() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        let options = QueueBindOptions::default();
        let channel = client.channel().await;
        let bound = channel.queue_bind("none".into(), "nix".into(), "k".into(), options, none()).await;
        assert_eq!(refusal(bound), closed(404, "NOT_FOUND - no exchange 'nix' in vhost '/'"));
        let channel = client.channel().await;
        let bound = channel.queue_bind("none".into(), "amq.direct".into(), "k".into(), options, none()).await;
        assert_eq!(refusal(bound), closed(404, "NOT_FOUND - no queue 'none' in vhost '/'"));
        for (queue, exchange) in [("q", "amq.direct"), ("q", "nix"), ("none", "amq.direct")] {
            client.channel.queue_unbind(queue.into(), exchange.into(), "k".into(), none()).await.unwrap();
        }
    });
}
