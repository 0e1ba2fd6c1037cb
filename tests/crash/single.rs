//! Two clients on a queue with a single active consumer: one is served, the other waits until it goes.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_lite::StreamExt;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use parking_lot::Mutex;

use crate::client::{Client, none};
use crate::consumer::Hand;
use crate::ledger::{Book, Violation};
use crate::plan::Spot;
use crate::proof::Prover;
use crate::settings::Random;

/// Who is being served, and how many are about to go.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    active: Option<usize>,
    leaving: usize,
    /// Deliveries to one while another was being served.
    crossed: Vec<String>,
}

impl Stage {
    /// A delivery for `me`; `false` if another is being served.
    fn enter(&mut self, me: usize) -> bool {
        let allowed = self.leaving > 0 || self.active.is_none_or(|active| active == me);
        if allowed {
            self.active = Some(me);
        }
        allowed
    }

    /// What is wrong with that. A broker that stops in order closes its connections one after another, so that whoever is
    /// closed last may be served last: then nothing is.
    pub(crate) fn violations(&mut self, in_order: bool) -> Vec<Violation> {
        let crossed = std::mem::take(&mut self.crossed).into_iter().filter(|_| !in_order);
        crossed.map(|what| Violation::new("I9", what)).collect()
    }

    fn leave(&mut self, me: usize) {
        self.leaving -= 1;
        if self.active == Some(me) {
            self.active = None;
        }
    }
}

/// Consumes, cancels after a while, and comes back at the end of the line.
pub(crate) async fn take_turns(
    address: SocketAddr,
    me: usize,
    spot: Spot,
    mut random: Random,
    book: Book,
    stage: Arc<Mutex<Stage>>,
) -> lapin::Result<()> {
    let client = Client::try_connect(address).await?;
    let prover = Prover::new(&client, false).await?;
    loop {
        let channel = client.connection.create_channel().await?;
        channel.basic_qos(spot.place().manner.prefetch, BasicQosOptions::default()).await?;
        let (queue, options) = (spot.place().name.into(), BasicConsumeOptions::default());
        let mut consumer = channel.basic_consume(queue, "".into(), options, none()).await?;
        let mut hand = Hand::new(spot, channel.clone(), book.clone(), random.fork());
        for _ in 0..random.within(10, 200) {
            let Some(delivery) = consumer.next().await else { return Ok(()) };
            let delivery = delivery?;
            if !stage.lock().enter(me) {
                stage.lock().crossed.push(format!("{} serves two at a time", spot.place().name));
            }
            hand.take(&delivery).await?;
            if hand.is_due() {
                hand.prove(&prover).await?;
            }
        }
        stage.lock().leaving += 1;
        channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
        while let Some(delivery) = consumer.next().await {
            hand.take(&delivery?).await?;
        }
        hand.prove(&prover).await?;
        channel.close(200, "next".into()).await?;
        stage.lock().leave(me);
    }
}
