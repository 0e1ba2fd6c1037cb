//! Proof that what a client did is committed, without looking at a clock.
//!
//! A commit takes the work of all queues, but visits them one after the other. A publish that was sent after the broker had
//! answered the client may still catch the commit under way, which had visited the client's queue before. A second one,
//! sent when the first is confirmed, is committed with or after all that the client did. What became dead letters meanwhile has
//! arrived once a letter has that was sent later, since they are carried in order.

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::{Channel, Consumer};

use crate::client::{Client, int, persistent, plain, table, text};

/// Where publishes go that only want their confirm.
pub(crate) const PROBES: &str = "probes";

pub(crate) struct Prover {
    /// In confirm mode.
    probes: Channel,
    /// A queue whose messages die at once, and where their letters arrive.
    letters: Option<(String, Consumer)>,
}

impl Prover {
    /// Declares what provers share.
    pub(crate) async fn declare(client: &Client) {
        client.durable(PROBES, table([("x-max-length", int(1))])).await;
    }

    /// `letters` tells whether [`Prover::letter`] will be asked for.
    pub(crate) async fn new(client: &Client, letters: bool) -> lapin::Result<Self> {
        let probes = client.channel.clone();
        if !letters {
            return Ok(Self { probes, letters: None });
        }
        let channel = client.connection.create_channel().await?;
        let exclusive = QueueDeclareOptions::exclusive();
        let out = channel.queue_declare("".into(), exclusive, crate::client::none()).await?;
        let arguments = table([
            ("x-max-length", int(0)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(out.name().as_str())),
        ]);
        let dying = channel.queue_declare("".into(), exclusive, arguments).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let arrivals = channel.basic_consume(out.name().clone(), "".into(), options, crate::client::none()).await?;
        Ok(Self { probes, letters: Some((dying.name().to_string(), arrivals)) })
    }

    /// Returns once everything is committed that the broker knew of when it was called.
    pub(crate) async fn commit(&self) -> lapin::Result<()> {
        let options = BasicPublishOptions::default();
        let sent = self.probes.basic_publish("".into(), PROBES.into(), options, b"probe", persistent()).await?;
        assert!(sent.await?.is_ack(), "a probe is refused");
        Ok(())
    }

    /// Returns once a letter has arrived that was sent when it was called.
    pub(crate) async fn letter(&mut self) -> lapin::Result<()> {
        let Some((dying, arrivals)) = &mut self.letters else { return Ok(()) };
        let options = BasicPublishOptions::default();
        self.probes.basic_publish("".into(), dying.as_str().into(), options, b"letter", plain()).await?.await?;
        let lost = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        arrivals.next().await.ok_or_else(lost)?.map(drop)
    }

    /// Returns once everything is committed that the client has done on `channel`.
    pub(crate) async fn everything(&self, channel: &Channel, prefetch: u16) -> lapin::Result<()> {
        // Its answer tells that all before it was taken in.
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        self.commit().await?;
        self.commit().await
    }
}

/// The header that counts failed deliveries.
pub(crate) fn returns(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get("x-delivery-count")) {
        Some(count) => count.as_long_long_int().unwrap_or(0),
        None => 0,
    }
}
