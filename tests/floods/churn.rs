//! Connections, channels and names that come and go: nothing of them stays.

use crate::client::Client;
use crate::frames::{self, none};
use crate::process::Process;
use crate::script::{connect, greet, start, stop};
use crate::{in_time, long, usage};

/// Memory that may stay behind in caches and allocators, in octets.
const SLACK: u64 = 24 * 1024 * 1024;

#[test]
fn connections_that_come_and_go_leave_no_task() {
    in_time(async {
        let rounds = if long() { 10_000 } else { 300 };
        let server = start(|_| {});
        let address = server.addresses()[0];
        let metrics = tokio::runtime::Handle::current().metrics();
        drop(connect(address).await);
        while !server.broker().connections.is_empty() {
            tokio::task::yield_now().await;
        }
        let tasks = metrics.num_alive_tasks();
        for number in 0..rounds {
            let mut client = Client::connect(address).await;
            match number % 4 {
                // Gone before the first octet, in the middle of the login, politely, and with a reset.
                0 => {}
                1 => client.send(&[frames::HEADER, &frames::login()].concat()).await,
                2 => {
                    greet(&mut client).await;
                    client.send(&frames::connection_close()).await;
                    client.expect(&frames::connection_close_ok(), "close").await;
                }
                _ => {
                    greet(&mut client).await;
                    client.into_stream().set_zero_linger().unwrap();
                }
            }
        }
        while !server.broker().connections.is_empty() {
            tokio::task::yield_now().await;
        }
        // A task is counted a moment longer than its connection is listed.
        while metrics.num_alive_tasks() > tasks {
            tokio::task::yield_now().await;
        }
        assert!(server.broker().connections.is_empty());
        stop(server).await;
    });
}

#[test]
fn channels_and_names_that_come_and_go_leave_no_memory() {
    in_time(async {
        let rounds = if long() { 200 } else { 20 };
        let directory = tempfile::tempdir().unwrap();
        let broker = Process::start(directory.path()).await;
        let mut client = connect(broker.address()).await;
        let mut after_first = 0;
        for round in 0..rounds {
            // Channels opened and closed, all in one write.
            let open_and_close = [frames::channel_open(7), frames::channel_goodbye(7)].concat().repeat(500);
            client.send(&open_and_close).await;
            let answers = [frames::channel_open_ok(7), frames::channel_close_ok(7)].concat().repeat(500);
            client.expect(&answers, "channels").await;
            // Names that nobody has used before: of queues, keys and consumers.
            let name = |number: usize| format!("{round}-{number}-{}", "n".repeat(230));
            client.send(&frames::queue_declare(1, "stays", "", &none())).await;
            client.frame().await.expect("declare-ok");
            for number in 0..100 {
                let name = name(number);
                client
                    .send(
                        &[
                            frames::queue_declare(1, &name, "", &none()),
                            frames::queue_bind(1, &name, "amq.topic", &name, &none()),
                            frames::consume(1, &name, &name, "", &none()),
                            frames::cancel(1, &name, ""),
                            frames::queue_delete(1, &name, ""),
                        ]
                        .concat(),
                    )
                    .await;
                client.expect(&frames::queue_declare_ok(1, &name, 0, 0), "declare").await;
                client.expect(&frames::queue_bind_ok(1), "bind").await;
                client.expect(&frames::consume_ok(1, &name), "consume").await;
                client.expect(&frames::cancel_ok(1, &name), "cancel").await;
                client.expect(&frames::queue_delete_ok(1, 0), "delete").await;
            }
            if round == 0 {
                after_first = usage::memory(broker.id());
            }
        }
        let at_last = usage::memory(broker.id());
        println!("{} KiB after the first round, {} KiB after {rounds}", after_first / 1024, at_last / 1024);
        assert!(at_last <= after_first + SLACK, "{at_last} octets after {rounds} rounds, {after_first} after one");
        broker.kill().await;
    });
}
