//! Bodies that are announced and do not come.

use tokio::task::JoinSet;

use crate::frames::{self, connection_closed};
use crate::process::Process;
use crate::script::connect;
use crate::{in_time, usage};

/// Clients that announce.
const CLIENTS: u64 = 100;

/// Memory that a connection with such a body may cost, in octets: eight times what has come of it, and a connection.
const EACH: u64 = 160 * 1024;

#[test]
fn announced_bodies_cost_what_has_come_of_them() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Process::start(directory.path()).await;
        let address = broker.address();
        for size in [1 << 30, 1 << 62, 1 << 63, u64::MAX] {
            let mut client = connect(address).await;
            let text = format!("FRAME_ERROR - content body size {size} exceeds maximum allowed size 536870912");
            let publish = [frames::publish_method(1, "", "q", ""), frames::raw_header(1, 60, size, &[0, 0])].concat();
            client.send(&publish).await;
            client.expect(&connection_closed(501, &text, (60, 40)), "too large").await;
        }
        let before = usage::memory(broker.id());
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(async move {
                let mut client = connect(address).await;
                let announced = frames::raw_header(1, 60, 128 * 1024 * 1024, &[0, 0]);
                let begun = frames::frame(3, 1, &[7; 10 * 1024]);
                client.send(&[frames::publish_method(1, "", "q", ""), announced, begun].concat()).await;
                client.send(&frames::flow(2, true)).await;
                client.expect(&frames::flow_ok(2), "the octets have arrived").await;
                client
            });
        }
        let waiting = clients.join_all().await;
        let each = usage::memory(broker.id()).saturating_sub(before) / CLIENTS;
        println!("{each} octets for a body of 128 MiB of which 10 KiB have come");
        assert!(each <= EACH, "{each} octets each");
        drop(waiting);
        broker.kill().await;
    });
}
