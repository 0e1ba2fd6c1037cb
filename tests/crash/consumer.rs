//! The consumers of the mixed load: they acknowledge, refuse, return and hold, and prove now and then that it is
//! committed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_lite::StreamExt;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};

use crate::audit::is_marker;
use crate::client::{Client, none};
use crate::ledger::Book;
use crate::plan::{LINES, Spot, Style};
use crate::proof::{Prover, returns};
use crate::settings::Random;
use crate::stamp::Stamp;
use crate::story::Event;

/// Settlements after which they are proven.
const PROVE_AFTER: usize = 40;

/// Without a delivery for so long, what is open is proven.
const IDLE: Duration = Duration::from_millis(20);

/// What a consumer has done and not proven.
pub(crate) struct Hand {
    pub(crate) spot: Spot,
    pub(crate) channel: Channel,
    book: Book,
    random: Random,
    /// Tags that are not settled yet.
    open: BTreeSet<u64>,
    /// Acknowledgements put off, to be sent together.
    acks: Vec<u64>,
    held: u16,
    /// What is to be noted once it is proven.
    unproven: Vec<(Stamp, Event)>,
}

impl Hand {
    pub(crate) fn new(spot: Spot, channel: Channel, book: Book, random: Random) -> Self {
        let (open, acks, unproven) = (BTreeSet::new(), Vec::new(), Vec::new());
        Self { spot, channel, book, random, open, acks, held: 0, unproven }
    }

    /// Notes a delivery and does something about it.
    pub(crate) async fn take(&mut self, delivery: &Delivery) -> lapin::Result<()> {
        let tag = delivery.delivery_tag;
        let Some(stamp) = Stamp::of(&delivery.properties) else {
            assert!(is_marker(delivery), "{} delivers what nobody sent", self.spot.place().name);
            return self.channel.basic_ack(tag, BasicAckOptions::default()).await;
        };
        let intact = stamp.is_intact(delivery);
        self.book.lock().deliver(stamp, self.spot, delivery.redelivered, intact, returns(delivery));
        self.open.insert(tag);
        let manner = self.spot.place().manner;
        let choice = self.random.below(100);
        if choice < manner.ack {
            self.note(stamp, Event::Settled(self.spot), Event::SettledForGood(self.spot));
            self.acks.push(tag);
            if self.acks.len() >= 8 || self.random.percent(50) {
                self.send_acks().await?;
            }
            return Ok(());
        }
        if choice < manner.ack + manner.reject {
            if self.spot.is_last() {
                self.note(stamp, Event::Settled(self.spot), Event::SettledForGood(self.spot));
            } else {
                self.book.lock().note(stamp, Event::Rejected(self.spot));
            }
            return self.give_back(tag, false).await;
        }
        if choice >= manner.ack + manner.reject + manner.requeue && self.held < manner.prefetch / 2 {
            self.held += 1;
            return Ok(());
        }
        self.note(stamp, Event::Requeued(self.spot), Event::RequeuedForGood(self.spot));
        self.give_back(tag, true).await
    }

    fn note(&mut self, stamp: Stamp, now: Event, once_proven: Event) {
        self.book.lock().note(stamp, now);
        self.unproven.push((stamp, once_proven));
    }

    async fn give_back(&mut self, tag: u64, requeue: bool) -> lapin::Result<()> {
        self.open.remove(&tag);
        self.channel.basic_nack(tag, BasicNackOptions { requeue, multiple: false }).await
    }

    /// Sends the acknowledgements put off: by one frame, if nothing else is open up to the last.
    async fn send_acks(&mut self) -> lapin::Result<()> {
        let acks = std::mem::take(&mut self.acks);
        let Some(last) = acks.last().copied() else { return Ok(()) };
        if self.open.range(..=last).eq(acks.iter()) {
            self.channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
        } else {
            for tag in &acks {
                self.channel.basic_ack(*tag, BasicAckOptions::default()).await?;
            }
        }
        for tag in acks {
            self.open.remove(&tag);
        }
        Ok(())
    }

    /// Whether it is time to prove something.
    pub(crate) fn is_due(&self) -> bool {
        self.unproven.len() >= PROVE_AFTER
    }

    /// Proves all that was done.
    pub(crate) async fn prove(&mut self, prover: &Prover) -> lapin::Result<()> {
        self.send_acks().await?;
        if self.unproven.is_empty() {
            return Ok(());
        }
        prover.everything(&self.channel, self.spot.place().manner.prefetch).await?;
        self.proven();
        Ok(())
    }

    fn proven(&mut self) {
        let mut book = self.book.lock();
        for (stamp, event) in self.unproven.drain(..) {
            book.note(stamp, event);
        }
    }

    /// The same in a transaction, some of which are done again.
    async fn commit(&mut self) -> lapin::Result<()> {
        self.send_acks().await?;
        if self.unproven.is_empty() {
            return Ok(());
        }
        self.channel.tx_commit().await?;
        self.proven();
        Ok(())
    }
}

/// Consumes at a spot until the connection ends.
pub(crate) async fn consume(address: SocketAddr, spot: Spot, random: Random, book: Book) -> lapin::Result<()> {
    let client = Client::try_connect(address).await?;
    let line = &LINES[spot.line];
    let transactions = line.style == Style::Transactions;
    let channel = client.connection.create_channel().await?;
    if transactions {
        channel.tx_select().await?;
    }
    channel.basic_qos(spot.place().manner.prefetch, BasicQosOptions::default()).await?;
    let (queue, options) = (spot.place().name.into(), BasicConsumeOptions::default());
    let mut consumer = channel.basic_consume(queue, "".into(), options, none()).await?;
    let prover = Prover::new(&client, false).await?;
    let mut hand = Hand::new(spot, channel, book, random);
    loop {
        match tokio::time::timeout(IDLE, consumer.next()).await {
            Ok(Some(delivery)) => hand.take(&delivery?).await?,
            Ok(None) => return Ok(()),
            Err(_) if transactions => hand.commit().await?,
            Err(_) => hand.prove(&prover).await?,
        }
        if hand.is_due() && transactions {
            hand.commit().await?;
        } else if hand.is_due() {
            hand.prove(&prover).await?;
        }
    }
}
