//! Clients that do not read, many at a time: what waits for all of them together is bounded.

use crate::client::Client;
use crate::frames::{self, Properties, connection_closed, none};
use crate::in_time;
use crate::script::{connect, greet, start, stop};

const KIB: usize = 1024;

/// Deliveries that may wait for all together.
const TOGETHER: usize = 1024 * KIB;

/// Consumers that do not read.
const CROWD: usize = 60;

/// Body of each message.
const BODY: usize = 8 * KIB;

#[test]
fn a_crowd_that_does_not_read_holds_a_share_each() {
    in_time(async {
        let server = start(|config| config.delivery_bytes = TOGETHER);
        let address = server.addresses()[0];
        let mut publisher = connect(address).await;
        publisher.send(&frames::confirm_select(1)).await;
        publisher.expect(&frames::confirm_select_ok(1), "confirm").await;
        let mut crowd = Vec::new();
        for number in 0..CROWD {
            let mut client = Client::narrow(address).await;
            greet(&mut client).await;
            let name = format!("q{number}");
            client.send(&frames::queue_declare(1, &name, "", &none())).await;
            client.expect(&frames::queue_declare_ok(1, &name, 0, 0), "declare").await;
            publisher.send(&frames::queue_bind(1, &name, "amq.fanout", "", &none())).await;
            publisher.expect(&frames::queue_bind_ok(1), "bind").await;
            client.send(&frames::consume(1, &name, "c", "no-ack", &none())).await;
            client.expect(&frames::consume_ok(1, "c"), "consume").await;
            crowd.push(client);
        }
        let publish = frames::publish(1, "amq.fanout", "", "", Properties::default(), &[7; BODY]);
        // More than the sockets take, many times over.
        let count = 800;
        for number in 1..=count {
            publisher.send(&publish).await;
            publisher.expect(&frames::ack(1, number, ""), "publish").await;
            let held = server.broker().deliveries.held();
            // Each may exceed its share by one message in its outbox and one in its output, and take a batch in between.
            let bound = TOGETHER + CROWD * (2 * (leveret::queue::SHARE + 2 * BODY));
            assert!(held <= bound, "{held} octets wait, {bound} may");
        }
        let held = server.broker().deliveries.held();
        assert!(held >= TOGETHER / 2, "only {held} octets wait: nothing was tested");
        // Nobody has lost anything: who begins to read gets everything, in order.
        for client in crowd.iter_mut().take(3) {
            for tag in 1..=count {
                let answer = client.frame().await.expect("a delivery");
                assert_eq!(answer[7..11], [0, 60, 0, 60], "{}", crate::client::show(&answer));
                assert!(answer.windows(8).any(|w| w == tag.to_be_bytes()), "delivery {tag} is next");
                client.frame().await.expect("its header");
                client.frame().await.expect("its body");
            }
        }
        drop(crowd);
        publisher.send(&frames::connection_close()).await;
        publisher.expect(&frames::connection_close_ok(), "close").await;
        while !server.broker().connections.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.broker().deliveries.held(), 0, "who has gone is owed nothing");
        stop(server).await;
    });
}

#[test]
fn a_publisher_that_never_reads_its_confirms_is_cut_off() {
    in_time(async {
        let server = start(|config| {
            config.control_bytes = 64 * KIB;
            config.outbox_bytes = 64 * KIB;
        });
        let mut client = Client::narrow(server.addresses()[0]).await;
        greet(&mut client).await;
        client.send(&frames::confirm_select(1)).await;
        client.expect(&frames::confirm_select_ok(1), "confirm").await;
        // Returns make each of its confirms stand alone, with the whole message before it.
        let publish = frames::publish(1, "", "nowhere", "mandatory", Properties::default(), &[7; 100]).repeat(100);
        for _ in 0..5_000 {
            if !client.try_send(&publish).await {
                break;
            }
        }
        let mut last = Vec::new();
        let mut received = 0;
        while let Some(frame) = client.frame().await {
            received += frame.len();
            last = frame;
        }
        let refusal = connection_closed(506, "RESOURCE_ERROR - too many unread replies", (0, 0));
        assert_eq!(last, refusal, "{}", crate::client::show(&last));
        assert!(received < 16 * KIB * KIB, "{received} octets");
        stop(server).await;
    });
}

#[test]
fn a_consumer_that_never_reads_slows_its_publisher_down_but_does_not_stop_it() {
    in_time(async {
        let server = start(|config| config.outbox_bytes = 64 * KIB);
        let mut consumer = Client::narrow(server.addresses()[0]).await;
        greet(&mut consumer).await;
        consumer.send(&frames::queue_declare(1, "q", "", &none())).await;
        consumer.expect(&frames::queue_declare_ok(1, "q", 0, 0), "declare").await;
        consumer.send(&frames::consume(1, "q", "c", "no-ack", &none())).await;
        consumer.expect(&frames::consume_ok(1, "c"), "consume").await;
        let mut publisher = connect(server.addresses()[0]).await;
        let publish = frames::publish(1, "", "q", "", Properties::default(), &[7; 100]).repeat(1_000);
        let queue = server.broker().vhost("/").unwrap().queue("q").unwrap();
        // Sockets may hold megabytes of deliveries.
        for _ in 0..80 {
            publisher.send(&publish).await;
        }
        while !queue.is_outrun() || queue.inspect(leveret::queue::State::ready) < 20_000 {
            tokio::task::yield_now().await;
        }
        // Whoever is held back is let go when there is nobody left to wait for.
        drop(consumer);
        publisher.send(&frames::queue_purge(1, "q")).await;
        publisher.frame().await.expect("purge-ok");
        assert!(!queue.is_outrun());
        stop(server).await;
    });
}
