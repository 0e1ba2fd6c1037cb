//! Clients that never read: what they can make the broker hold is bounded, and others are served meanwhile.

use crate::bystander::harmless;
use crate::client::Client;
use crate::frames::{self, Properties, connection_closed, none};
use crate::script::{connect, greet};

const KIB: usize = 1024;

/// More than the sockets' buffers of both sides ever hold, in octets.
const SOCKETS: usize = 12 * KIB * KIB;

#[tokio::test]
async fn deliveries_wait_in_their_queue() {
    let configure = |config: &mut leveret::config::Config| config.outbox_bytes = 64 * KIB;
    harmless(configure, async |address| {
        let body = vec![7; 100 * KIB];
        let count = 2 * SOCKETS / body.len();
        let mut reader = Client::narrow(address).await;
        greet(&mut reader).await;
        let mut witness = connect(address).await;
        witness.send(&frames::queue_declare(1, "q", "", &none())).await;
        witness.expect(&frames::queue_declare_ok(1, "q", 0, 0), "declare").await;
        reader.send(&frames::consume(1, "q", "c", "no-ack", &none())).await;
        reader.expect(&frames::consume_ok(1, "c"), "consume").await;
        witness.send(&frames::confirm_select(1)).await;
        witness.expect(&frames::confirm_select_ok(1), "confirm").await;
        for number in 1..=count {
            witness.send(&frames::publish(1, "", "q", "", Properties::default(), &body)).await;
            witness.expect(&frames::ack(1, number as u64, ""), "publish").await;
        }
        let ready = ready(&mut witness).await;
        assert!(ready * body.len() > SOCKETS / 2, "only {ready} of {count} messages are still in the queue");
        // The consumer has lost nothing: once it reads, everything comes, in order.
        for number in 1..=count {
            reader.expect(&frames::deliver(1, "c", number as u64, "", "q", &body), "deliver").await;
        }
    })
    .await;
}

/// Messages ready in queue `q`.
async fn ready(client: &mut Client) -> usize {
    client.send(&frames::queue_declare(2, "q", "passive", &none())).await;
    let answer = client.frame().await.expect("an answer");
    let count = answer[13..17].try_into().expect("four octets");
    assert_eq!(answer, frames::queue_declare_ok(2, "q", u32::from_be_bytes(count), 1));
    u32::from_be_bytes(count) as usize
}

#[tokio::test]
async fn replies_are_cut_off() {
    let configure = |config: &mut leveret::config::Config| {
        config.control_bytes = 64 * KIB;
        config.outbox_bytes = 64 * KIB;
    };
    harmless(configure, async |address| {
        let name = "q".repeat(250);
        let mut client = Client::narrow(address).await;
        greet(&mut client).await;
        client.send(&frames::queue_declare(1, &name, "", &none())).await;
        client.expect(&frames::queue_declare_ok(1, &name, 0, 0), "declare").await;
        let ask = frames::queue_declare(1, &name, "passive", &none()).repeat(64);
        for _ in 0..2 * SOCKETS / ask.len() {
            client.send(&ask).await;
        }
        let mut received = 0;
        let mut last = Vec::new();
        while let Some(frame) = client.frame().await {
            received += frame.len();
            last = frame;
        }
        let refusal = connection_closed(506, "RESOURCE_ERROR - too many unread replies", (0, 0));
        assert_eq!(last, refusal, "{}", crate::client::show(&last));
        assert!(received < SOCKETS, "{received} octets");
    })
    .await;
}

#[tokio::test]
async fn a_closed_connection_answers_no_flood() {
    let configure = |config: &mut leveret::config::Config| config.control_bytes = 64 * KIB;
    harmless(configure, async |address| {
        let mut client = Client::narrow(address).await;
        greet(&mut client).await;
        client.send(&frames::flow(1, false)).await;
        // Each of these would be answered while both sides close.
        let close = raw_close().repeat(4096);
        for _ in 0..4 * SOCKETS / close.len() {
            client.send(&close).await;
        }
        client.send(&frames::connection_close_ok()).await;
        let mut received = 0;
        while let Some(frame) = client.frame().await {
            received += frame.len();
        }
        assert!(received > 0 && received < SOCKETS, "{received} octets");
    })
    .await;
}

/// The shortest connection.close.
fn raw_close() -> Vec<u8> {
    connection_closed(0, "", (0, 0))
}
