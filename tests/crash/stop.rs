//! SIGTERM: an orderly stop.

use std::time::Duration;

use futures_lite::StreamExt;
use lapin::options::{BasicAckOptions, BasicNackOptions};

use crate::client::{body, none, persistent, told};
use crate::in_time;
use crate::process::Process;

#[test]
fn sigterm_tells_clients_and_keeps_everything_with_exact_flags() {
    in_time(Duration::from_secs(60), async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        client.durable("q", none()).await;
        for n in 0..1_000 {
            client.put_as("q", &n.to_string(), persistent()).await;
        }
        // 0 is acknowledged, 1 returned, 2 held; the rest is never delivered.
        client.get("q").await.unwrap().ack(BasicAckOptions::default()).await.unwrap();
        client.get("q").await.unwrap().nack(BasicNackOptions { requeue: true, multiple: false }).await.unwrap();
        client.get("q").await.unwrap();
        client.get("q").await.unwrap();
        client.durable("idle", none()).await;
        let mut idle = client.consume("idle").await;
        broker.terminate();
        let (code, text) = told(&idle.next().await.unwrap().unwrap_err());
        assert_eq!(code, 320);
        assert_eq!(text, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'");
        let (status, log) = broker.ended().await;
        assert_eq!(status.code(), Some(0), "{log:#?}");

        let broker = Process::start(directory.path()).await;
        println!("started after an orderly stop in {:?}", broker.start_time);
        let client = broker.client().await;
        assert_eq!(client.ready("q").await, 999);
        for n in 1..1_000 {
            let delivery = client.get("q").await.unwrap();
            assert_eq!((body(&delivery), delivery.redelivered), (n.to_string(), n <= 2));
        }
        broker.kill().await;
    });
}

#[test]
fn an_idle_broker_stops_at_once() {
    in_time(Duration::from_secs(60), async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Process::start(directory.path()).await;
        broker.terminate();
        assert_eq!(broker.ended().await.0.code(), Some(0));
    });
}
