//! A client for tests: lapin in few words, with confirms always on.
//!
//! A publish of [`Client`] has been confirmed when it returns, so what follows finds the message in its queue. Waiting
//! for something that happens by itself is asking again until it has happened, under the test's time limit.

use std::net::SocketAddr;

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind, ExchangeKind,
};

/// A connection and a channel in confirm mode.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) channel: Channel,
}

/// An argument or header table.
pub(crate) fn table<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in pairs {
        table.insert(key.into(), value);
    }
    table
}

/// No arguments.
pub(crate) fn none() -> FieldTable {
    FieldTable::default()
}

/// An integer value.
pub(crate) fn int(value: i32) -> AMQPValue {
    AMQPValue::LongInt(value)
}

/// A string value.
pub(crate) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Properties of a message without any.
pub(crate) fn plain() -> BasicProperties {
    BasicProperties::default()
}

/// Properties of a persistent message.
pub(crate) fn persistent() -> BasicProperties {
    plain().with_delivery_mode(2)
}

/// Code and text of the close that answered a call.
pub(crate) fn refusal<T>(result: Result<T, lapin::Error>) -> (u16, String) {
    match result {
        Ok(_) => panic!("accepted"),
        Err(error) => told(&error),
    }
}

/// Code and text of a close.
pub(crate) fn told(error: &lapin::Error) -> (u16, String) {
    match error.kind() {
        ErrorKind::ProtocolError(error) => (error.get_id(), error.get_message().to_string()),
        other => panic!("not a refusal: {other:?}"),
    }
}

/// What a refusal is compared with.
pub(crate) fn closed(code: u16, text: &str) -> (u16, String) {
    (code, text.to_owned())
}

/// A delivery's body as text.
pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.data).into_owned()
}

/// The next delivery.
pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    consumer.next().await.expect("the consumer goes on").expect("no refusal")
}

/// The bodies of the next `n` deliveries.
pub(crate) async fn bodies(consumer: &mut Consumer, n: usize) -> Vec<String> {
    let mut bodies = Vec::with_capacity(n);
    for _ in 0..n {
        bodies.push(body(&next(consumer).await));
    }
    bodies
}

/// The bodies of what has been delivered by now; a call on the consumer's channel has made sure of it.
pub(crate) async fn delivered(consumer: &mut Consumer) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(Some(delivery)) = futures_lite::future::poll_once(consumer.next()).await {
        bodies.push(body(&delivery.expect("no refusal")));
    }
    bodies
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("the broker answers")
    }

    pub(crate) async fn try_connect(address: SocketAddr) -> Result<Self, lapin::Error> {
        Self::try_connect_to(address, "%2f").await
    }

    /// Connects to a virtual host, whose name is percent-encoded.
    pub(crate) async fn try_connect_to(address: SocketAddr, vhost: &str) -> Result<Self, lapin::Error> {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&format!("amqp://{address}/{vhost}"), properties).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, channel })
    }

    /// Another channel, without confirms: for refusals, which close it.
    pub(crate) async fn channel(&self) -> Channel {
        loop {
            match self.connection.create_channel().await {
                Ok(channel) => return channel,
                // lapin may hand out a number whose last channel it has not quite closed yet, with that one's error.
                Err(error) => assert!(self.connection.status().connected(), "no channel opens: {error}"),
            }
        }
    }

    pub(crate) async fn close(self) {
        self.connection.close(200, "bye".into()).await.expect("the broker agrees");
    }

    pub(crate) async fn declare(&self, name: &str, options: QueueDeclareOptions, arguments: FieldTable) -> String {
        let queue = self.channel.queue_declare(name.into(), options, arguments).await;
        queue.expect("the queue is declared").name().to_string()
    }

    /// A queue that is neither durable nor exclusive.
    pub(crate) async fn queue(&self, name: &str, arguments: FieldTable) {
        self.declare(name, QueueDeclareOptions::default(), arguments).await;
    }

    pub(crate) async fn durable(&self, name: &str, arguments: FieldTable) {
        self.declare(name, QueueDeclareOptions::durable(), arguments).await;
    }

    /// An exchange that is not durable.
    pub(crate) async fn exchange(&self, name: &str, kind: ExchangeKind, arguments: FieldTable) {
        let options = ExchangeDeclareOptions::default();
        self.channel.exchange_declare(name.into(), kind, options, arguments).await.expect("the exchange is declared");
    }

    pub(crate) async fn bind(&self, queue: &str, exchange: &str, key: &str, arguments: FieldTable) {
        let options = QueueBindOptions::default();
        let bound = self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments).await;
        bound.expect("the queue is bound");
    }

    /// Publishes and waits for the confirm.
    pub(crate) async fn publish(&self, exchange: &str, key: &str, body: &str, how: BasicProperties) -> Confirmation {
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), how).await;
        sent.expect("the publish is sent").await.expect("the publish is answered")
    }

    /// Publishes to a queue; it is taken.
    pub(crate) async fn put(&self, queue: &str, body: &str) {
        self.put_as(queue, body, plain()).await;
    }

    /// Publishes to a queue with properties; it is taken.
    pub(crate) async fn put_as(&self, queue: &str, body: &str, how: BasicProperties) {
        assert!(self.publish("", queue, body, how).await.is_ack(), "{body} is refused");
    }

    /// Publishes several; they are taken.
    pub(crate) async fn put_all(&self, queue: &str, bodies: &[&str]) {
        for body in bodies {
            self.put(queue, body).await;
        }
    }

    /// Gets a message, which stays unacknowledged.
    pub(crate) async fn get(&self, queue: &str) -> Option<Delivery> {
        let got = self.channel.basic_get(queue.into(), BasicGetOptions::default()).await;
        got.expect("get is answered").map(|message| message.delivery)
    }

    /// Gets a message for good.
    pub(crate) async fn take(&self, queue: &str) -> Option<Delivery> {
        let got = self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await;
        got.expect("get is answered").map(|message| message.delivery)
    }

    /// The bodies of all ready messages, in order; the queue is empty afterwards.
    pub(crate) async fn drain(&self, queue: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        while let Some(delivery) = self.take(queue).await {
            bodies.push(body(&delivery));
        }
        bodies
    }

    /// Gets a message for good that is on its way.
    pub(crate) async fn arrival(&self, queue: &str) -> Delivery {
        loop {
            if let Some(delivery) = self.take(queue).await {
                return delivery;
            }
        }
    }

    /// Ready messages and consumers.
    pub(crate) async fn counts(&self, queue: &str) -> (u32, u32) {
        let options = QueueDeclareOptions::default().passive();
        let queue = self.channel.queue_declare(queue.into(), options, none()).await.expect("the queue is there");
        (queue.message_count(), queue.consumer_count())
    }

    /// Ready messages.
    pub(crate) async fn ready(&self, queue: &str) -> u32 {
        self.counts(queue).await.0
    }

    /// Returns once the queue holds `n` ready messages.
    pub(crate) async fn until_ready(&self, queue: &str, n: u32) {
        while self.ready(queue).await != n {}
    }

    /// Returns once the queue is gone; asks by publishing, which does not count as a use of the queue.
    pub(crate) async fn until_gone(&self, queue: &str) {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        loop {
            let sent = self.channel.basic_publish("".into(), queue.into(), options, b"probe", plain()).await;
            let confirmation = sent.expect("the publish is sent").await.expect("the publish is answered");
            if confirmation.take_message().is_some() {
                return;
            }
        }
    }

    pub(crate) async fn queue_exists(&self, queue: &str) -> bool {
        let options = QueueDeclareOptions::default().passive();
        let channel = self.channel().await;
        match channel.queue_declare(queue.into(), options, none()).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(told(&error).0, 404, "{error}");
                false
            }
        }
    }

    pub(crate) async fn exchange_exists(&self, exchange: &str) -> bool {
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let channel = self.channel().await;
        match channel.exchange_declare(exchange.into(), ExchangeKind::Direct, options, none()).await {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(told(&error).0, 404, "{error}");
                false
            }
        }
    }

    /// Consumes with acknowledgements.
    pub(crate) async fn consume(&self, queue: &str) -> Consumer {
        consume(&self.channel, queue, BasicConsumeOptions::default(), none()).await
    }
}

/// Consumes on a channel under a tag the broker chooses. lapin cancels a consumer that is dropped.
#[must_use]
pub(crate) async fn consume(
    channel: &Channel,
    queue: &str,
    options: BasicConsumeOptions,
    arguments: FieldTable,
) -> Consumer {
    channel.basic_consume(queue.into(), "".into(), options, arguments).await.expect("a consumer starts")
}
