//! Running out of file descriptors: new clients wait, those who are connected go on, nobody dies.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::client::none;
use crate::in_time;
use crate::process::Process;

/// Descriptors the broker may have; it needs about fifteen for itself.
const FILES: u32 = 40;

#[test]
fn without_descriptors_accepting_pauses_and_goes_on() {
    in_time(Duration::from_secs(60), async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Process::start_with_files(directory.path(), FILES).await;
        let client = broker.client().await;
        let mut crowd = Vec::new();
        for _ in 0..FILES {
            // The kernel takes them in; the broker cannot.
            crowd.push(TcpStream::connect(broker.address()).await.unwrap());
        }
        client.durable("the connected go on", none()).await;
        drop(crowd);
        let late = broker.client().await;
        late.durable("and later ones get in", none()).await;
        broker.terminate();
        let (status, log) = broker.ended().await;
        assert!(status.success(), "{}", log.join("\n"));
        assert!(log.iter().any(|line| line.contains("cannot accept connections")), "{}", log.join("\n"));
    });
}
