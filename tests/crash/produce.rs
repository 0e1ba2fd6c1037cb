//! The publishers of the mixed load. Each works until its connection ends or it is stopped; what it is about to do is
//! noted before it is done, and what it has done once it is answered.

use std::net::SocketAddr;

use lapin::Confirmation;
use lapin::options::BasicPublishOptions;

use crate::client::Client;
use crate::ledger::Book;
use crate::plan::{LINES, Style};
use crate::settings::Random;
use crate::stamp::Stamp;
use crate::story::Event;

/// Most publishes sent before their confirms are awaited.
const BATCH: u64 = 60;

/// Publishes messages of a line.
pub(crate) async fn produce(address: SocketAddr, line: usize, mut random: Random, book: Book) -> lapin::Result<()> {
    let client = Client::try_connect(address).await?;
    match LINES[line].style {
        Style::Transactions => transact(&client, line, &mut random, &book).await,
        Style::Confirms | Style::Single => confirm(&client, line, &mut random, &book).await,
    }
}

async fn publish(channel: &lapin::Channel, stamp: Stamp) -> lapin::Result<lapin::PublisherConfirm> {
    let (exchange, key) = stamp.line().target();
    let content = stamp.content();
    // Nothing is ever unroutable: had it been returned, a queue or a binding would be missing. Only of a delayed message
    // nobody can say yet that it will be routed, so it always is returned.
    let options = BasicPublishOptions { mandatory: content.delay.is_none(), ..BasicPublishOptions::default() };
    let how = stamp.properties(&content);
    channel.basic_publish(exchange.into(), key.into(), options, &content.body, how).await
}

async fn confirm(client: &Client, line: usize, random: &mut Random, book: &Book) -> lapin::Result<()> {
    while book.lock().waiting(line) < LINES[line].cap {
        let mut confirms = Vec::new();
        for _ in 0..=random.below(BATCH) {
            let stamp = book.lock().send(line);
            confirms.push((stamp, publish(&client.channel, stamp).await?));
        }
        for (stamp, confirm) in confirms {
            let event = match confirm.await? {
                Confirmation::Ack(None) => Event::Confirmed,
                Confirmation::Ack(Some(_)) => Event::Returned,
                _ => Event::Refused,
            };
            book.lock().note(stamp, event);
        }
    }
    Ok(())
}

async fn transact(client: &Client, line: usize, random: &mut Random, book: &Book) -> lapin::Result<()> {
    let channel = client.connection.create_channel().await?;
    channel.tx_select().await?;
    while book.lock().waiting(line) < LINES[line].cap {
        let given_up = random.percent(10);
        let mut stamps = Vec::new();
        for _ in 0..=random.below(BATCH / 4) {
            let stamp = book.lock().send(line);
            if given_up {
                book.lock().note(stamp, Event::Refused);
            }
            publish(&channel, stamp).await?;
            stamps.push(stamp);
        }
        if given_up {
            channel.tx_rollback().await?;
            continue;
        }
        channel.tx_commit().await?;
        for stamp in stamps {
            book.lock().note(stamp, Event::Confirmed);
        }
    }
    Ok(())
}
