//! What programs written with lapin expect of a broker. `AMQP_URL` says where it is.

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind};
use std::time::Duration;

async fn connect() -> Connection {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".to_owned());
    Connection::connect(&url, ConnectionProperties::default()).await.expect("a broker answers at AMQP_URL")
}

/// A test's own queue on its own connection; both go when the connection is dropped.
async fn own_queue(connection: &Connection) -> (Channel, String) {
    let channel = connection.create_channel().await.expect("a channel opens");
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.expect("a queue is declared");
    let name = queue.name().to_string();
    assert!(name.starts_with("amq.gen-"), "{name}");
    (channel, name)
}

async fn publish(channel: &Channel, queue: &str, body: &[u8], properties: BasicProperties) -> Confirmation {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm = channel.basic_publish("".into(), queue.into(), options, body, properties).await;
    confirm.expect("the publish is sent").await.expect("the publish is answered")
}

async fn consume(channel: &Channel, queue: &str) -> Consumer {
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.expect("a consumer starts")
}

/// Messages of a queue that nobody holds.
async fn ready(channel: &Channel, queue: &str) -> u32 {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
    queue.expect("the queue is there").message_count()
}

/// Runs a scenario that must not take longer than half a minute.
async fn in_time(scenario: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(30), scenario).await.expect("the scenario ends in time");
}

#[tokio::test]
async fn publish_confirm_consume_ack() {
    in_time(async {
        let connection = connect().await;
        let (channel, queue) = own_queue(&connection).await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let mut headers = FieldTable::default();
        headers.insert("attempt".into(), AMQPValue::LongInt(1));
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("text/plain".into())
            .with_message_id("m".into())
            .with_headers(headers);
        for n in 0..50 {
            let confirmation = publish(&channel, &queue, format!("{n}").as_bytes(), properties.clone()).await;
            assert!(matches!(confirmation, Confirmation::Ack(None)), "{confirmation:?}");
        }
        assert_eq!(ready(&channel, &queue).await, 50);
        let mut consumer = consume(&channel, &queue).await;
        for n in 0..50 {
            let delivery = consumer.next().await.unwrap().unwrap();
            assert_eq!(delivery.data, format!("{n}").into_bytes());
            assert_eq!((delivery.delivery_tag, delivery.redelivered), (n + 1, false));
            assert_eq!(delivery.properties, properties);
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
        assert_eq!(ready(&channel, &queue).await, 0);
        connection.close(200, "bye".into()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_mandatory_message_without_a_queue_comes_back() {
    in_time(async {
        let connection = connect().await;
        let (channel, _) = own_queue(&connection).await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let confirmation = publish(&channel, "no such queue", b"lost", BasicProperties::default()).await;
        let returned = confirmation.take_message().expect("the message comes back");
        assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
        assert_eq!(returned.delivery.data, b"lost");
    })
    .await;
}

#[tokio::test]
async fn prefetch_nack_and_cancel() {
    in_time(async {
        let connection = connect().await;
        let (channel, queue) = own_queue(&connection).await;
        for body in [b"a", b"b", b"c"] {
            publish(&channel, &queue, body, BasicProperties::default()).await;
        }
        channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        let mut consumer = consume(&channel, &queue).await;
        let first = consumer.next().await.unwrap().unwrap();
        assert_eq!(ready(&channel, &queue).await, 2);
        first.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await.unwrap();
        let again = consumer.next().await.unwrap().unwrap();
        assert_eq!((again.data.as_slice(), again.redelivered), (&b"a"[..], true));
        channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.unwrap();
        again.ack(BasicAckOptions::default()).await.unwrap();
        assert_eq!(ready(&channel, &queue).await, 2);
        assert_eq!(channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn get_takes_one_or_none() {
    in_time(async {
        let connection = connect().await;
        let (channel, queue) = own_queue(&connection).await;
        publish(&channel, &queue, b"one", BasicProperties::default()).await;
        publish(&channel, &queue, b"two", BasicProperties::default()).await;
        let options = BasicGetOptions { no_ack: true };
        let one = channel.basic_get(queue.as_str().into(), options).await.unwrap().unwrap();
        assert_eq!((one.delivery.data.as_slice(), one.message_count), (&b"one"[..], 1));
        let two = channel.basic_get(queue.as_str().into(), options).await.unwrap().unwrap();
        assert_eq!((two.delivery.data.as_slice(), two.message_count), (&b"two"[..], 0));
        assert!(channel.basic_get(queue.as_str().into(), options).await.unwrap().is_none());
        assert_eq!(channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_fanout_copies_and_a_large_body_is_whole() {
    in_time(async {
        let connection = connect().await;
        let (channel, first) = own_queue(&connection).await;
        let (_other, second) = own_queue(&connection).await;
        let exchange = format!("compat.fanout.{}", std::process::id());
        let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
        let declared =
            channel.exchange_declare(exchange.as_str().into(), ExchangeKind::Fanout, options, FieldTable::default());
        declared.await.unwrap();
        for queue in [&first, &second] {
            let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
            let options = QueueBindOptions::default();
            channel.queue_bind(queue, exchange, "".into(), options, FieldTable::default()).await.unwrap();
        }
        let body: Vec<u8> = (0..=255).cycle().take(3_000_001).collect();
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        let sent = channel.basic_publish(exchange.as_str().into(), "".into(), options, &body, properties).await;
        sent.unwrap().await.unwrap();
        for queue in [&first, &second] {
            let delivery = consume(&channel, queue).await.next().await.unwrap().unwrap();
            assert!(delivery.data == body, "{} of {} octets, or others", delivery.data.len(), body.len());
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_missing_queue_closes_the_channel_alone() {
    in_time(async {
        let connection = connect().await;
        let channel = connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let missing = channel.queue_declare("compat.missing".into(), options, FieldTable::default()).await;
        let error = missing.expect_err("there is no such queue").to_string();
        assert!(error.contains("NOT_FOUND - no queue 'compat.missing' in vhost '/'"), "{error}");
        own_queue(&connection).await;
    })
    .await;
}
