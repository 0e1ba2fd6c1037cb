//! What a restarted broker holds: every message of every queue, looked at and put back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_lite::{StreamExt, future};
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use tokio::time::Instant;

use crate::client::{Client, int, plain, table};
use crate::ledger::{Book, Violation};
use crate::plan::{LINES, Spot, spots};
use crate::process::Process;
use crate::proof::Prover;
use crate::stamp::Stamp;
use crate::story::{Event, Story};

/// Time for a connection to be closed in order.
const CLOSE_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// The marker's id among delayed messages.
const MARKER: &str = "marker";

/// How long delayed messages may take to go on after they were due.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sights {
    /// Messages of each queue in its order, with their marks.
    pub(crate) queues: BTreeMap<Spot, Vec<(Stamp, bool)>>,
    /// What each queue said it had, before anybody looked.
    pub(crate) counts: BTreeMap<Spot, u32>,
    /// What was wrong with single messages.
    pub(crate) wrong: Vec<Violation>,
}

impl Sights {
    /// Where each message was found: by branch, positions in the chain and marks.
    pub(crate) fn by_stamp(&self) -> BTreeMap<(Stamp, usize), Vec<(usize, bool)>> {
        let mut found: BTreeMap<(Stamp, usize), Vec<(usize, bool)>> = BTreeMap::new();
        for (spot, messages) in &self.queues {
            for (stamp, mark) in messages {
                found.entry((*stamp, spot.branch)).or_default().push((spot.at, *mark));
            }
        }
        found
    }

    fn take(&mut self, spot: Spot, delivery: &Delivery) {
        let name = spot.place().name;
        let Some(stamp) = Stamp::of(&delivery.properties) else {
            self.wrong.push(Violation::new("I4", format!("{name}: a message that nobody sent")));
            return;
        };
        if stamp.line != spot.line || !stamp.is_intact(delivery) {
            self.wrong.push(Violation::new("I4", format!("{stamp} in {name} is not what was sent")));
        }
        self.queues.entry(spot).or_default().push((stamp, delivery.redelivered));
    }
}

/// Whether it is a marker, which belongs to no line.
pub(crate) fn is_marker(delivery: &Delivery) -> bool {
    delivery.properties.message_id().as_ref().is_some_and(|id| id.as_str() == MARKER)
}

/// Sends a message that goes on through the delaying exchanges after all that is due now.
async fn mark(client: &Client) -> usize {
    let delaying = LINES.iter().filter(|line| line.delay > 0);
    for line in delaying.clone() {
        let how = plain().with_message_id(MARKER.into()).with_headers(table([("x-delay", int(1))]));
        client.publish(line.name, "", "", how).await;
    }
    delaying.count()
}

/// Delayed messages that must have gone on and were not found.
fn overdue(sights: &Sights, book: &Book) -> usize {
    let (book, now) = (book.lock(), Instant::now());
    let mut overdue = 0;
    for line in (0..LINES.len()).filter(|line| LINES[*line].delay > 0) {
        let seen: BTreeSet<u32> = sights
            .queues
            .iter()
            .filter(|(spot, _)| spot.line == line)
            .flat_map(|(_, found)| found)
            .map(|f| f.0.seq)
            .collect();
        let stories = &book.lines[line].stories;
        let owed =
            |story: &Story| story.branches.iter().any(|branch| branch.owed) && story.due.is_none_or(|due| due < now);
        overdue += stories.iter().filter(|(seq, story)| owed(story) && !seen.contains(seq)).count();
    }
    overdue
}

/// Looks at everything, and comes to rest: no message is on its way any more, and all that was is committed.
pub(crate) async fn look(broker: &Process, book: &Book) -> Sights {
    let (client, other) = (broker.client().await, broker.client().await);
    let mut prover = Prover::new(&other, true).await.unwrap();
    let (mut sights, deadline) = (Sights::default(), Instant::now() + PATIENCE);
    for spot in spots() {
        let mut count = client.ready(spot.place().name).await;
        // What was on its way to the dead letters at a crash is back for a moment.
        while count > spot.place().limit && Instant::now() < deadline {
            count = client.ready(spot.place().name).await;
        }
        sights.counts.insert(spot, count);
    }
    let mut consumers = Vec::new();
    for spot in spots() {
        consumers.push((spot, client.consume(spot.place().name).await));
    }
    let mut markers = mark(&client).await;
    loop {
        prover.letter().await.unwrap();
        let mut ready = 0;
        for spot in spots() {
            ready += client.ready(spot.place().name).await;
        }
        let mut at_rest = ready == 0 && markers == 0 && overdue(&sights, book) == 0;
        for (spot, consumer) in &mut consumers {
            while let Some(Some(delivery)) = future::poll_once(consumer.next()).await {
                at_rest = false;
                let delivery = delivery.unwrap();
                if is_marker(&delivery) {
                    markers = markers.saturating_sub(1);
                    delivery.ack(BasicAckOptions::default()).await.unwrap();
                } else {
                    sights.take(*spot, &delivery);
                }
            }
        }
        if at_rest || Instant::now() > deadline {
            break;
        }
    }
    prover.everything(&client.channel, 0).await.unwrap();
    leave(client).await;
    leave(other).await;
    sights
}

/// Whether something may still wait for its time.
fn is_delayed(book: &Book) -> bool {
    book.lock()
        .lines
        .iter()
        .flat_map(|messages| messages.stories.values())
        .any(|story| story.is_waiting() && !story.is_over())
}

/// Ends a connection. lapin may find a channel or a consumer that is closing in the way of the close, or never hear that
/// it was answered; what counts is that the connection ends.
pub(crate) async fn leave(client: Client) {
    let _ = tokio::time::timeout(CLOSE_WITHIN, client.connection.close(200, "bye".into())).await;
}

/// Takes everything out for good, and proves it.
pub(crate) async fn empty(client: &Client, book: &Book) {
    let mut prover = Prover::new(client, true).await.unwrap();
    let mut consumers = Vec::new();
    for spot in spots() {
        consumers.push((spot, client.consume(spot.place().name).await));
    }
    let (mut markers, mut settled, mut quiet) = (mark(client).await, Vec::new(), 0);
    // Delays end by themselves, so there is something to wait for.
    while quiet < 2 || markers > 0 || is_delayed(book) {
        prover.letter().await.unwrap();
        prover.everything(&client.channel, 0).await.unwrap();
        for (stamp, spot) in settled.drain(..) {
            book.lock().note(stamp, Event::SettledForGood(spot));
        }
        quiet += 1;
        for (spot, consumer) in &mut consumers {
            while let Some(Some(delivery)) = future::poll_once(consumer.next()).await {
                let delivery = delivery.unwrap();
                quiet = 0;
                if is_marker(&delivery) {
                    markers = markers.saturating_sub(1);
                } else if let Some(stamp) = Stamp::of(&delivery.properties) {
                    book.lock().note(stamp, Event::Settled(*spot));
                    settled.push((stamp, *spot));
                }
                delivery.ack(BasicAckOptions::default()).await.unwrap();
            }
        }
    }
}
