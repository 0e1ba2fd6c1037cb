//! Bodies of every size, properties of every kind, and many channels on one connection.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, DecimalValue, FieldTable};

use crate::client::{bodies, consume, int, next, none, persistent, plain, table, text};
use crate::server::scenario;

/// Twenty mebibytes: some 160 frames.
const BIG: usize = 20 * 1024 * 1024;

/// Octets that differ from frame to frame.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 7 + at / 65_521) % 251).unwrap()).collect()
}

#[test]
fn bodies_of_all_sizes_arrive_as_sent() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        let mut consumer = client.consume("q").await;
        // Around the limits of one frame, of one read, and far beyond both.
        for len in [0, 1, 4095, 131_063, 131_064, 131_065, 262_128, 1_000_003, BIG] {
            let sent = pattern(len);
            let options = BasicPublishOptions::default();
            let confirm = client.channel.basic_publish("".into(), "q".into(), options, &sent, plain()).await.unwrap();
            assert!(confirm.await.unwrap().is_ack(), "{len} octets");
            let delivery = next(&mut consumer).await;
            assert!(delivery.data == sent, "{len} octets became {}", delivery.data.len());
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
    });
}

#[test]
fn a_backlog_of_large_headers_is_no_offence() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        let headers = table([("large", text(&"h".repeat(20_000)))]);
        for _ in 0..1_500 {
            let options = BasicPublishOptions::default();
            let how = plain().with_headers(headers.clone());
            client.channel.basic_publish("".into(), "q".into(), options, b"", how).await.unwrap();
        }
        client.channel.wait_for_confirms().await.unwrap();
        let mut consumer = client.consume("q").await;
        for _ in 0..1_500 {
            next(&mut consumer).await;
        }
    });
}

#[test]
fn a_slow_reader_gets_everything() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        let sent = pattern(100_000);
        for _ in 0..300 {
            let options = BasicPublishOptions::default();
            client.channel.basic_publish("".into(), "q".into(), options, &sent, plain()).await.unwrap();
        }
        client.channel.wait_for_confirms().await.unwrap();
        let mut consumer = client.consume("q").await;
        for _ in 0..300 {
            assert!(next(&mut consumer).await.data == sent);
        }
    });
}

#[test]
fn a_big_body_does_not_hold_up_other_connections() {
    scenario(async |broker, client| {
        client.queue("big", none()).await;
        client.queue("small", none()).await;
        let sent = pattern(BIG);
        let options = BasicPublishOptions::default();
        let confirm = client.channel.basic_publish("".into(), "big".into(), options, &sent, plain()).await.unwrap();
        let other = broker.client().await;
        for n in 0..100 {
            other.put("small", &n.to_string()).await;
        }
        assert!(confirm.await.unwrap().is_ack());
        assert_eq!(other.ready("small").await, 100);
        assert_eq!(client.take("big").await.unwrap().data.len(), BIG);
    });
}

#[test]
fn every_property_and_every_type_of_header_survives() {
    scenario(async |_, client| {
        client.durable("q", none()).await;
        let nested = table([("deep", AMQPValue::FieldArray(vec![int(1), text("two"), AMQPValue::Void].into()))]);
        let headers: BTreeMap<_, _> = [
            ("bool", AMQPValue::Boolean(true)),
            ("i8", AMQPValue::ShortShortInt(-8)),
            ("u8", AMQPValue::ShortShortUInt(8)),
            ("i16", AMQPValue::ShortInt(-16)),
            ("u16", AMQPValue::ShortUInt(16)),
            ("i32", AMQPValue::LongInt(-32)),
            ("u32", AMQPValue::LongUInt(32)),
            ("i64", AMQPValue::LongLongInt(-64)),
            ("f32", AMQPValue::Float(0.5)),
            ("f64", AMQPValue::Double(-0.25)),
            ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 })),
            ("text", text("text")),
            ("time", AMQPValue::Timestamp(1_700_000_000)),
            ("table", AMQPValue::FieldTable(nested)),
            ("octets", AMQPValue::ByteArray(vec![0, 255].into())),
            ("void", AMQPValue::Void),
        ]
        .into_iter()
        .map(|(key, value)| (key.into(), value))
        .collect();
        let properties = BasicProperties::default()
            .with_content_type("a/b".into())
            .with_content_encoding("gzip".into())
            .with_headers(FieldTable::from(headers))
            .with_delivery_mode(2)
            .with_priority(3)
            .with_correlation_id("c".into())
            .with_reply_to("r".into())
            .with_expiration("60000".into())
            .with_message_id("m".into())
            .with_timestamp(1_700_000_001)
            .with_type("t".into())
            .with_user_id("guest".into())
            .with_app_id("app".into())
            .with_cluster_id("cluster".into());
        client.put_as("q", "m", properties.clone()).await;
        assert_eq!(client.take("q").await.unwrap().properties, properties);
    });
}

#[test]
fn channels_of_a_connection_do_not_mix() {
    scenario(async |_, client| {
        let mut channels = Vec::new();
        for n in 0..50 {
            let queue = format!("q{n}");
            client.durable(&queue, none()).await;
            let channel = client.channel().await;
            channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
            let consumer = consume(&channel, &queue, BasicConsumeOptions::default(), none()).await;
            channels.push((queue, channel, consumer));
        }
        let mut confirms = Vec::new();
        for m in 0..20 {
            for (queue, channel, _) in &channels {
                let body = format!("{queue} {m}");
                let options = BasicPublishOptions::default();
                let sent = channel
                    .basic_publish("".into(), queue.as_str().into(), options, body.as_bytes(), persistent())
                    .await;
                confirms.push(sent.unwrap());
            }
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
        for (queue, _, consumer) in &mut channels {
            let expected: Vec<String> = (0..20).map(|m| format!("{queue} {m}")).collect();
            assert_eq!(bodies(consumer, 20).await, expected);
        }
    });
}
