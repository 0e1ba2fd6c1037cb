//! Clients that ask for the same cheap thing as fast as they can: others are served meanwhile.

use crate::bystander::harmless;
use crate::frames::{self, none};
use crate::script::connect;
use crate::{in_time, long};

/// Sends the same octets again and again, and reads the answers, whatever they are.
async fn repeat(address: std::net::SocketAddr, before: Vec<u8>, again: Vec<u8>, answers: usize) {
    let mut client = connect(address).await;
    client.send(&before).await;
    client.send(&frames::flow(3, true)).await;
    while client.frame().await.expect("the broker goes on") != frames::flow_ok(3) {}
    let times = if long() { 5_000 } else { 50 };
    for _ in 0..times {
        client.send(&again).await;
        for _ in 0..answers {
            client.frame().await.expect("an answer");
        }
    }
}

fn flood(before: &[u8], again: &[u8], answers: usize) {
    in_time(harmless(
        |_| {},
        async |address| {
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..4 {
                clients.spawn(repeat(address, before.to_vec(), again.to_vec(), answers));
            }
            clients.join_all().await;
        },
    ));
}

#[test]
fn getting_from_an_empty_queue() {
    flood(&frames::queue_declare(1, "empty", "", &none()), &frames::get(1, "empty", "").repeat(1_000), 1_000);
}

#[test]
fn consuming_and_cancelling() {
    let round = [frames::consume(1, "q", "c", "", &none()), frames::cancel(1, "c", "")].concat();
    flood(&frames::queue_declare(1, "q", "", &none()), &round.repeat(500), 1_000);
}

#[test]
fn asking_to_recover_what_is_not_there() {
    flood(&[], &frames::recover(1, true).repeat(1_000), 1_000);
}

#[test]
fn heartbeats() {
    flood(&[], &[frames::heartbeat().repeat(10_000), frames::flow(1, true)].concat(), 1);
}
