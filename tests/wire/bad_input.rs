//! Input from hostile or broken clients: they get RabbitMQ's answer or a closed socket, and nobody else notices.

use std::net::SocketAddr;

use proptest::prelude::*;

use crate::bystander::harmless;
use crate::client::Client;
use crate::frames::{self, HEADER, Properties, none, raw_method};
use crate::script::connect;

/// Octets without a pattern, the same every time.
fn noise(len: usize, mut state: u64) -> Vec<u8> {
    let mut octets = Vec::with_capacity(len);
    while octets.len() < len {
        // xorshift: all that is asked of it is variety.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend(state.to_be_bytes());
    }
    octets
}

/// Sends octets and reads whatever comes until the broker closes the connection.
async fn until_the_end(mut client: Client, octets: &[u8]) {
    client.try_send(octets).await;
    while client.frame().await.is_some() {}
}

#[tokio::test]
async fn garbage_instead_of_a_header() {
    harmless(
        |_| {},
        async |address| {
            for seed in 1..=20 {
                let mut octets = noise(100_000, seed);
                octets[0] |= 0x80;
                until_the_end(Client::connect(address).await, &octets).await;
            }
        },
    )
    .await;
}

#[tokio::test]
async fn garbage_in_an_open_connection() {
    harmless(
        |_| {},
        async |address| {
            for seed in 1..=20 {
                // Not a type of frame, so that it does not wait for a frame's end.
                let octets = [frames::frame(77, 1, &noise(100, seed)), noise(100_000, seed)].concat();
                until_the_end(connect(address).await, &octets).await;
            }
        },
    )
    .await;
}

#[tokio::test]
async fn garbage_as_methods() {
    harmless(
        |_| {},
        async |address| {
            for class in [10, 20, 30, 40, 50, 60, 85, 90] {
                for method in (10..=120).step_by(10) {
                    for seed in 1..=3 {
                        let mut client = connect(address).await;
                        client.try_send(&raw_method(1, (class, method), &noise(40, seed))).await;
                        client.try_send(&raw_method(0, (class, method), &noise(40, seed))).await;
                        client.try_send(&frames::connection_close()).await;
                        client.try_send(&frames::connection_close_ok()).await;
                        while client.frame().await.is_some() {}
                    }
                }
            }
        },
    )
    .await;
}

/// All that a client sends to get an open channel.
fn greeting() -> Vec<u8> {
    let login = frames::login();
    [HEADER, &login, &frames::tune_ok(2047, 131_072, 0), &frames::open("/"), &frames::channel_open(1)].concat()
}

#[tokio::test]
async fn a_socket_that_closes_during_the_handshake() {
    harmless(
        |_| {},
        async |address| {
            let greeting = greeting();
            for len in 0..=greeting.len() {
                let mut client = Client::connect(address).await;
                client.try_send(&greeting[..len]).await;
                if len % 2 == 0 {
                    // Half of them close after the broker has read, the others whenever.
                    tokio::task::yield_now().await;
                    tokio::task::yield_now().await;
                }
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_publisher_that_dies_within_its_message() {
    harmless(
        |_| {},
        async |address| {
            let mut witness = connect(address).await;
            witness.send(&frames::queue_declare(1, "q", "", &none())).await;
            witness.expect(&frames::queue_declare_ok(1, "q", 0, 0), "declare").await;
            let message = [
                frames::publish_method(1, "", "q", ""),
                frames::header(1, 6, &Properties::default()),
                frames::frame(3, 1, b"two"),
                frames::frame(3, 1, b"men"),
            ]
            .concat();
            for len in 1..message.len() {
                let mut client = connect(address).await;
                client.try_send(&message[..len]).await;
            }
            let mut client = connect(address).await;
            client.send(&[&message[..], &frames::flow(1, true)].concat()).await;
            client.expect(&frames::flow_ok(1), "published").await;
            witness.send(&frames::get(1, "q", "no-ack")).await;
            witness.expect(&frames::get_ok(1, 1, "", "q", 0, b"twomen"), "only whole messages count").await;
        },
    )
    .await;
}

#[tokio::test]
async fn sizes_that_are_only_announced() {
    harmless(
        |_| {},
        async |address| {
            let mut waiting = Vec::new();
            for _ in 0..50 {
                // Neither a body of half a gigabyte nor a frame of the agreed size is waited for in memory.
                let mut client = connect(address).await;
                let body = [frames::publish_method(1, "", "q", ""), frames::raw_header(1, 60, 134_217_728, &[0, 0])];
                client.try_send(&body.concat()).await;
                client.try_send(&[3, 0, 1, 0, 2, 0, 0]).await;
                waiting.push(client);
                until_the_end(connect(address).await, &[1, 0, 1, 0xff, 0xff, 0xff, 0xff]).await;
            }
        },
    )
    .await;
}

/// A table that holds arrays in arrays, so many deep, with its length.
fn nested(levels: usize) -> Vec<u8> {
    let mut value = b"V".to_vec();
    for _ in 0..levels {
        value = [b"A", &u32::try_from(value.len()).expect("small").to_be_bytes()[..], &value].concat();
    }
    let table = [b"\x01k", &value[..]].concat();
    [&u32::try_from(table.len()).expect("small").to_be_bytes()[..], &table].concat()
}

async fn refused(address: SocketAddr, octets: &[u8]) {
    let mut client = connect(address).await;
    client.send(octets).await;
    let answer = client.frame().await.expect("connection.close");
    assert_eq!(answer[..3], [1, 0, 0]);
    assert_eq!(answer[7..13], [0, 10, 0, 50, 1, 0xf5], "{}", crate::client::show(&answer));
    client.send(&frames::connection_close_ok()).await;
    client.expect_end("refused").await;
}

#[tokio::test]
async fn tables_thousands_deep() {
    harmless(
        |_| {},
        async |address| {
            for levels in [64, 1000, 20_000] {
                let table = nested(levels);
                let declare = [&b"\0\0\x01q\0"[..], &table].concat();
                refused(address, &raw_method(1, (50, 10), &declare)).await;
                let bind = [&b"\0\0\x01q\x0aamq.direct\x01k\0"[..], &table].concat();
                refused(address, &raw_method(1, (50, 20), &bind)).await;
                let header = frames::raw_header(1, 60, 0, &[&[0x20, 0][..], &table].concat());
                refused(address, &[frames::publish_method(1, "", "q", ""), header].concat()).await;
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_with_everything_open() {
    harmless(
        |_| {},
        async |address| {
            let mut witness = connect(address).await;
            for round in 0..20 {
                let mut client = connect(address).await;
                let exclusive = frames::queue_declare(1, "mine", "exclusive", &none());
                client.send(&exclusive).await;
                client.expect(&frames::queue_declare_ok(1, "mine", 0, 0), &format!("round {round}")).await;
                client.send(&frames::consume(1, "mine", "c", "", &none())).await;
                client.expect(&frames::consume_ok(1, "c"), "consume").await;
                client.send(&frames::publish(2, "", "mine", "", Properties::default(), b"body")).await;
                client.expect(&frames::deliver(1, "c", 1, "", "mine", b"body"), "deliver").await;
                drop(client);
                // Until the broker has noticed, the queue is locked; then it is gone.
                loop {
                    witness.send(&frames::queue_declare(1, "mine", "passive", &none())).await;
                    let answer = witness.frame().await.expect("an answer");
                    witness.send(&[frames::channel_close_ok(1), frames::channel_open(1)].concat()).await;
                    witness.expect(&frames::channel_open_ok(1), "again").await;
                    if answer[11..13] == 404_u16.to_be_bytes() {
                        break;
                    }
                    assert_eq!(answer[11..13], 405_u16.to_be_bytes(), "{}", crate::client::show(&answer));
                }
            }
        },
    )
    .await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_octets_are_a_conversation(mut input in proptest::collection::vec(any::<u8>(), 0..600), deep: bool) {
        // Half of them begin with an open channel and go on with mostly good methods.
        if let (true, Some(choice)) = (deep, input.get_mut(1)) {
            *choice = 7;
        }
        crate::conversation::converse(&input);
    }
}
