//! A client that does nothing wrong while others do: it publishes, consumes and counts, and messages were stored before.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret::config::Config;
use leveret::server::Server;

use crate::client::Client;
use crate::frames::{self, Properties, none};
use crate::script::{connect, start, stop};

/// Messages stored before anything bad happens.
const STORED: u32 = 5;

/// The queue they are in.
const KEPT: &str = "kept";

fn durable() -> Properties {
    Properties::default().with_delivery_mode(2)
}

fn stored(number: u32) -> String {
    format!("stored before, number {number}")
}

/// Does `bad` to a broker and checks that nobody else notices: a bystander publishes and consumes all the time, what
/// was stored is still there, no connection is left over, and the broker stops in order.
pub(crate) async fn harmless<F: Future<Output = ()>>(configure: fn(&mut Config), bad: impl FnOnce(SocketAddr) -> F) {
    let server = start(configure);
    let address = server.addresses()[0];
    let mut owner = connect(address).await;
    store(&mut owner).await;
    let done = Arc::new(AtomicBool::new(false));
    let bystander = tokio::spawn(stand_by(address, done.clone()));
    bad(address).await;
    done.store(true, Ordering::Relaxed);
    let beats = bystander.await.expect("the bystander was served");
    assert!(beats > 0);
    only_one_left(&server).await;
    fetch(&mut owner).await;
    // Else the broker, when it stops, would wait for this client to agree.
    drop(owner);
    stop(server).await;
}

async fn store(owner: &mut Client) {
    let declare = frames::queue_declare(1, KEPT, "durable", &none());
    owner.send(&declare).await;
    owner.expect(&frames::queue_declare_ok(1, KEPT, 0, 0), "store").await;
    owner.send(&frames::confirm_select(1)).await;
    owner.expect(&frames::confirm_select_ok(1), "store").await;
    for number in 1..=STORED {
        owner.send(&frames::publish(1, "", KEPT, "", durable(), stored(number).as_bytes())).await;
        owner.expect(&frames::ack(1, number.into(), ""), "store").await;
    }
}

async fn fetch(owner: &mut Client) {
    for number in 1..=STORED {
        owner.send(&frames::get(1, KEPT, "no-ack")).await;
        let plain = frames::get_ok(1, number.into(), "", KEPT, STORED - number, b"");
        let head = &plain[..plain.len() - frames::content(1, &Properties::default(), b"").len()];
        let content = frames::content(1, &durable(), stored(number).as_bytes());
        owner.expect(&[head, &content].concat(), "fetch").await;
    }
}

/// Completes when the broker has noticed that all connections but one are gone.
async fn only_one_left(server: &Server) {
    let patience = std::time::Duration::from_secs(20);
    let gone = async {
        while server.broker().connections.len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(patience, gone).await.expect("connections that ended are forgotten");
}

/// Publishes, waits for the confirm and the delivery, acknowledges, until it is done; how often.
async fn stand_by(address: SocketAddr, done: Arc<AtomicBool>) -> u64 {
    let mut client = connect(address).await;
    client.send(&frames::queue_declare(2, "shared", "durable", &none())).await;
    client.expect(&frames::queue_declare_ok(2, "shared", 0, 0), "bystander").await;
    client.send(&frames::consume(2, "shared", "c", "", &none())).await;
    client.expect(&frames::consume_ok(2, "c"), "bystander").await;
    client.send(&frames::confirm_select(1)).await;
    client.expect(&frames::confirm_select_ok(1), "bystander").await;
    let mut beats = 0;
    while !done.load(Ordering::Relaxed) || beats == 0 {
        beats += 1;
        let body = format!("beat {beats}");
        client.send(&frames::publish(1, "", "shared", "", durable(), body.as_bytes())).await;
        // The confirm and the delivery come in either order.
        let mut received = Vec::new();
        for _ in 0..4 {
            received.push(client.frame().await.expect("the bystander is not disconnected"));
        }
        let confirm = frames::ack(1, beats, "");
        assert!(received.contains(&confirm), "the publish is confirmed");
        received.retain(|frame| *frame != confirm);
        let plain = frames::deliver(2, "c", beats, "", "shared", b"");
        let head = &plain[..plain.len() - frames::content(2, &Properties::default(), b"").len()];
        assert_eq!(received.concat(), [head, &frames::content(2, &durable(), body.as_bytes())].concat());
        client.send(&frames::ack(2, beats, "")).await;
    }
    client.send(&frames::connection_close()).await;
    client.expect(&frames::connection_close_ok(), "bystander").await;
    beats
}
