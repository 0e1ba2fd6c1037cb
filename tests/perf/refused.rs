//! Loads that the broker refuses or ends: its words, and an exit status that scripts see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret::config::MemoryWatermark;
use leveret::perf;
use leveret::server::Builder;

use crate::{Broker, perf as run, perf_until};

#[tokio::test]
async fn a_login_and_a_virtual_host_are_refused_in_the_brokers_words() {
    let broker = Broker::start();
    let address = broker.0.addresses()[0];
    for (uri, words) in [
        (format!("amqp://guest:wrong@{address}/"), "403 ACCESS_REFUSED - Login was refused"),
        (format!("amqp://{address}/hutch"), "530 NOT_ALLOWED - vhost hutch not found"),
    ] {
        for command in ["load -z 1", "churn queues -z 1", "count queues 1"] {
            let done = run(&format!("{command} -H {uri}")).await;
            assert_eq!(done.status, perf::FAILED, "{command}");
            assert!(done.err.contains(words), "{command}: {}", done.err);
        }
    }
    broker.0.stop().await.unwrap();
}

#[tokio::test]
async fn a_closed_channel_ends_the_run() {
    let small = Builder::in_memory().configure(|config| config.max_message_size = 1 << 20);
    let broker = Broker(small.start().unwrap());
    let done = broker.perf("load --predeclared -u nobody -z 1").await;
    assert_eq!(done.status, perf::FAILED);
    assert!(done.err.contains("closed the channel: 404 NOT_FOUND - no queue 'nobody'"), "{}", done.err);
    // Refused after the run has begun, to a publisher that waits for confirms.
    let done = broker.perf("load -C 10 -c 1 -e amq.direct -y 0 -s 2MiB").await;
    assert_eq!(done.status, perf::FAILED);
    assert!(done.err.contains("closed the channel: 406 PRECONDITION_FAILED"), "{}", done.err);
    broker.0.stop().await.unwrap();
}

#[tokio::test]
async fn nobody_there() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let done = run(&format!("load -z 1 -H amqp://{address}")).await;
    assert_eq!(done.status, perf::FAILED);
    assert!(done.err.contains(&format!("cannot connect to {address}")), "{}", done.err);
}

#[tokio::test]
async fn flags_that_contradict_each_other_are_misuse() {
    for (flags, why) in [
        ("-x 0 -y 0", "neither producers"),
        ("-q 5 -A 10", "stops after the first deliveries"),
        ("--variable-rate 0:5", "is 0"),
        ("--random-routing-key", "needs an exchange"),
        ("--latency -y 0", "needs confirms"),
        ("--queue-pattern q --queue-pattern-to 3", "has %d"),
        ("--queue-pattern q-%d --queue-pattern-from 4 --queue-pattern-to 3", "in ascending order"),
        ("-H amqps://localhost", "TLS"),
        ("-H localhost", "localhost"),
    ] {
        let done = run(&format!("load {flags}")).await;
        assert_eq!(done.status, perf::MISUSED, "{flags}");
        assert!(done.err.contains(why), "{flags}: {}", done.err);
    }
}

#[tokio::test]
async fn a_broker_that_stops_ends_the_run() {
    let broker = Broker::start();
    let (lines, done) = perf_until(format!("load -H {}", broker.uri()), Arc::default());
    let first = tokio::task::spawn_blocking(move || lines.recv().map(|_| lines)).await.unwrap();
    assert!(first.is_ok(), "it has begun");
    broker.0.stop().await.unwrap();
    let (status, err) = done.await.unwrap();
    assert_eq!(status, perf::FAILED);
    assert!(err.contains("320 CONNECTION_FORCED"), "{err}");
}

#[tokio::test]
async fn a_blocked_publisher_says_so_and_an_interrupt_ends_the_run() {
    let broker = Broker::start();
    let interrupted = Arc::new(AtomicBool::new(false));
    let (lines, done) = perf_until(format!("load -r 100 -H {}", broker.uri()), interrupted.clone());
    let said = |words: &'static str, lines: std::sync::mpsc::Receiver<Vec<u8>>| {
        tokio::task::spawn_blocking(move || {
            let mut said = Vec::new();
            while !String::from_utf8_lossy(&said).contains(words) {
                said.extend(lines.recv().expect("it goes on"));
            }
            lines
        })
    };
    let lines = said("consumed", lines).await.unwrap();
    broker.0.broker().alarms.set_memory_watermark(MemoryWatermark::Absolute(0));
    let lines = said("the broker blocks publishers: low on memory", lines).await.unwrap();
    broker.0.broker().alarms.set_memory_watermark(MemoryWatermark::Absolute(u64::MAX));
    let lines = said("the broker takes messages again", lines).await.unwrap();
    interrupted.store(true, Ordering::Relaxed);
    let (status, err) = done.await.unwrap();
    assert_eq!((status, err.as_str()), (perf::FINE, ""));
    said("CPU a message", lines).await.unwrap();
    broker.0.stop().await.unwrap();
}
