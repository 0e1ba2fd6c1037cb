//! Where other brokers were found weak (LavinMQ's review of itself, August 2026), seen by a client. What needs exact
//! frames is in `tests/wire/weak_spots.rs`.

use lapin::ExchangeKind;
use lapin::options::{
    BasicAckOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{Client, int, none, plain, refusal, table, text};
use crate::server::scenario;

/// Queues one client declares while another works.
const TRANSIENT: usize = 3_000;

/// How often the other must at least get its turn meanwhile; it does hundreds of times.
const TURNS: usize = 10;

/// Whether a publish reaches a queue.
async fn routed(client: &Client, exchange: &str, key: &str) -> bool {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = client.channel.basic_publish(exchange.into(), key.into(), options, b"probe", plain()).await;
    sent.unwrap().await.unwrap().take_message().is_none()
}

#[test]
fn a_refused_declare_leaves_no_queue() {
    let wrong: [(&str, AMQPValue); 14] = [
        ("x-message-ttl", int(-1)),
        ("x-message-ttl", text("abc")),
        ("x-expires", int(0)),
        ("x-max-length", int(-1)),
        ("x-max-length-bytes", text("1")),
        ("x-max-priority", int(256)),
        ("x-overflow", text("overflow")),
        ("x-overflow", int(1)),
        ("x-queue-type", text("heap")),
        ("x-queue-version", int(9)),
        ("x-single-active-consumer", text("yes")),
        ("x-dead-letter-exchange", int(1)),
        ("x-dead-letter-routing-key", text("without an exchange")),
        ("x-expires", AMQPValue::LongLongInt(i64::MAX)),
    ];
    scenario(async |_, client| {
        for (key, value) in wrong {
            for options in [QueueDeclareOptions::default(), QueueDeclareOptions::durable()] {
                let channel = client.channel().await;
                let declared = channel.queue_declare("q".into(), options, table([(key, value.clone())])).await;
                assert_eq!(refusal(declared).0, 406, "{key}: {value:?}");
                assert!(!client.queue_exists("q").await, "{key}: {value:?}");
            }
        }
        for (name, code) in [("amq.mine", 403), ("missing", 404)] {
            let passive =
                if code == 404 { QueueDeclareOptions::default().passive() } else { QueueDeclareOptions::default() };
            let declared = client.channel().await.queue_declare(name.into(), passive, none()).await;
            assert_eq!(refusal(declared).0, code);
            assert!(!client.queue_exists(name).await);
        }
        let quorum = table([("x-queue-type", text("quorum"))]);
        let declared = client.channel().await.queue_declare("q".into(), QueueDeclareOptions::default(), quorum).await;
        assert_eq!(refusal(declared).0, 406, "a quorum queue is durable");
        assert!(!client.queue_exists("q").await);
    });
}

#[test]
fn a_refused_exchange_is_not_there() {
    scenario(async |_, client| {
        let kinds = [ExchangeKind::Custom("x-unheard-of".to_owned()), ExchangeKind::Direct];
        for (kind, arguments) in kinds.into_iter().zip([none(), table([("alternate-exchange", int(1))])]) {
            let options = ExchangeDeclareOptions::default();
            let declared = client.channel().await.exchange_declare("x".into(), kind.clone(), options, arguments).await;
            assert!(declared.is_err(), "{kind:?}");
            assert!(!client.connection.status().connected() || !client.exchange_exists("x").await, "{kind:?}");
            if !client.connection.status().connected() {
                return;
            }
        }
    });
}

#[test]
fn a_refused_bind_leaves_no_binding() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        let wrong: [(&str, &str, FieldTable, u16); 4] = [
            ("amq.headers", "", table([("x-match", text("some"))]), 406),
            ("amq.headers", "", table([("x-match", int(1))]), 406),
            ("missing", "k", none(), 404),
            ("", "k", none(), 403),
        ];
        for (exchange, key, arguments, code) in wrong {
            let options = QueueBindOptions::default();
            let channel = client.channel().await;
            let bound = channel.queue_bind("q".into(), exchange.into(), key.into(), options, arguments).await;
            assert_eq!(refusal(bound).0, code, "{exchange} {key}");
        }
        assert!(!routed(client, "amq.headers", "").await);
        assert!(!routed(client, "", "k").await);
        let bound = client.channel().await;
        let missing =
            bound.queue_bind("gone".into(), "amq.fanout".into(), "".into(), QueueBindOptions::default(), none());
        assert_eq!(refusal(missing.await).0, 404);
        client.queue("gone", none()).await;
        assert!(!routed(client, "amq.fanout", "").await, "a queue declared later is not bound by it");
    });
}

#[test]
fn many_transient_queues_do_not_stall_others() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        let busy = broker.client().await;
        let declaring = tokio::spawn(async move {
            for n in 0..TRANSIENT {
                busy.queue(&format!("transient-{n}"), none()).await;
            }
            busy
        });
        let mut turns = 0;
        while !declaring.is_finished() {
            client.put("q", "m").await;
            let delivery = client.get("q").await.unwrap();
            delivery.ack(BasicAckOptions::default()).await.unwrap();
            turns += 1;
        }
        assert!(turns >= TURNS, "{turns} turns beside {TRANSIENT} declarations");
        declaring.await.unwrap().close().await;
    });
}
