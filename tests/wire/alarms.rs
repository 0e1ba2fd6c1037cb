//! Alarms: who publishes is blocked, told so if it wants to know, and goes on when the last alarm is over.

use leveret::broker::Broker;
use leveret::config::{DiskFreeLimit, MemoryWatermark};
use leveret::server::{Builder, Server};

use crate::client::Client;
use crate::frames::{self, HEADER, Properties, heartbeat, none, open, open_ok, tune, tune_ok};
use crate::script::{Script, connect, stop};

/// A limit that is never kept.
const TIGHT: MemoryWatermark = MemoryWatermark::Absolute(0);
/// A limit that is always kept.
const WIDE: MemoryWatermark = MemoryWatermark::Absolute(u64::MAX);

fn start() -> Server {
    Builder::in_memory().configure(|config| config.memory_watermark = WIDE).start().expect("a broker starts")
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

async fn raise(broker: &Broker) {
    broker.alarms.set_memory_watermark(TIGHT);
    until(|| broker.alarms.raised()).await;
}

async fn clear(broker: &Broker) {
    broker.alarms.set_memory_watermark(WIDE);
    until(|| !broker.alarms.raised()).await;
}

/// A client that understands connection.blocked, with channel 1 open.
async fn capable(server: &Server, beat: u16) -> Client {
    let mut client = Client::connect(server.addresses()[0]).await;
    Script::raw()
        .send(HEADER)
        .expect_method(0, (10, 10))
        .ask(frames::start_ok("PLAIN", b"\0guest\0guest", &["connection.blocked"]), tune())
        .send(tune_ok(2047, 131_072, beat))
        .ask(open("/"), open_ok())
        .ask(frames::channel_open(1), frames::channel_open_ok(1))
        .perform(&mut client)
        .await;
    client
}

fn publish(body: &[u8]) -> Vec<u8> {
    frames::publish(1, "", "q", "", Properties::default(), body)
}

/// Ready messages in `q` by a passive declaration on channel 2.
async fn ready(witness: &mut Client, expected: u32) {
    witness.send(&frames::queue_declare(2, "q", "passive", &none())).await;
    witness.expect(&frames::queue_declare_ok(2, "q", expected, 0), "count").await;
}

#[tokio::test]
async fn only_who_publishes_is_blocked_and_everything_else_waits_behind_it() {
    let server = start();
    let broker = server.broker().clone();
    let mut witness = connect(server.addresses()[0]).await;
    witness.send(&frames::queue_declare(1, "q", "", &none())).await;
    witness.expect(&frames::queue_declare_ok(1, "q", 0, 0), "declare").await;
    let mut client = capable(&server, 0).await;
    raise(&broker).await;

    // Until it publishes it is served; an empty body is complete with its header.
    client.send(&frames::flow(1, true)).await;
    client.expect(&frames::flow_ok(1), "not blocked yet").await;
    client.send(&publish(b"")).await;
    client.expect(&frames::blocked("low on memory"), "blocked").await;
    ready(&mut witness, 1).await;
    assert_eq!(broker.alarms.blocked(), 1);
    client.send(&[frames::flow(1, true), publish(b"behind")].concat()).await;
    ready(&mut witness, 1).await;

    clear(&broker).await;
    client.expect(&[frames::unblocked(), frames::flow_ok(1)].concat(), "goes on").await;
    client.send(&frames::flow(1, true)).await;
    client.expect(&frames::flow_ok(1), "all is taken").await;
    ready(&mut witness, 2).await;
    drop((client, witness));
    stop(server).await;
}

#[tokio::test]
async fn a_body_waits_behind_the_header_that_blocked() {
    let server = start();
    let broker = server.broker().clone();
    let mut client = capable(&server, 0).await;
    client.send(&frames::queue_declare(1, "q", "", &none())).await;
    client.expect(&frames::queue_declare_ok(1, "q", 0, 0), "declare").await;
    client.send(&frames::confirm_select(1)).await;
    client.expect(&frames::confirm_select_ok(1), "confirm").await;
    raise(&broker).await;
    client.send(&publish(b"a body")).await;
    client.expect(&frames::blocked("low on memory"), "blocked, and not confirmed").await;
    clear(&broker).await;
    client.expect(&[frames::unblocked(), frames::ack(1, 1, "")].concat(), "the body is read now").await;
    // A second alarm blocks anew.
    raise(&broker).await;
    client.send(&publish(b"")).await;
    client.expect(&[frames::blocked("low on memory"), frames::ack(1, 2, "")].concat(), "blocked").await;
    clear(&broker).await;
    client.expect(&frames::unblocked(), "unblocked").await;
    drop(client);
    stop(server).await;
}

#[tokio::test]
async fn who_does_not_understand_is_blocked_in_silence() {
    let server = start();
    let broker = server.broker().clone();
    let mut client = connect(server.addresses()[0]).await;
    raise(&broker).await;
    client.send(&[publish(b""), frames::flow(2, true)].concat()).await;
    until(|| broker.alarms.blocked() == 1).await;
    clear(&broker).await;
    client.expect(&frames::flow_ok(2), "nothing comes before it").await;
    drop(client);
    stop(server).await;
}

#[tokio::test]
async fn a_blocked_client_hears_deliveries_and_heartbeats_and_its_silence_is_forgiven() {
    let server = start();
    let broker = server.broker().clone();
    let mut witness = connect(server.addresses()[0]).await;
    let mut client = capable(&server, 1).await;
    client.send(&frames::queue_declare(1, "q", "", &none())).await;
    client.expect(&frames::queue_declare_ok(1, "q", 0, 0), "declare").await;
    client.send(&frames::consume(1, "q", "c", "no-ack", &none())).await;
    client.expect(&frames::consume_ok(1, "c"), "consume").await;
    raise(&broker).await;
    client.send(&frames::publish(1, "", "nowhere", "", Properties::default(), b"")).await;
    client.expect(&frames::blocked("low on memory"), "blocked").await;
    witness.send(&publish(b"")).await;
    client.expect(&frames::deliver(1, "c", 1, "", "q", b""), "delivered").await;
    // For longer than a silent client lives.
    for _ in 0..8 {
        client.expect(&heartbeat(), "heartbeat").await;
    }
    clear(&broker).await;
    client.expect(&frames::unblocked(), "still there").await;
    drop((client, witness));
    stop(server).await;
}

#[tokio::test]
async fn low_disk_space_is_an_alarm_of_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let builder = Builder::in_memory().data_dir(directory.path());
    let server = builder.configure(|config| config.memory_watermark = WIDE).start().expect("a broker starts");
    let broker = server.broker().clone();
    let mut client = capable(&server, 0).await;
    broker.alarms.set_disk_free_limit(DiskFreeLimit::Absolute(u64::MAX / 2));
    until(|| broker.alarms.raised()).await;
    client.send(&publish(b"")).await;
    client.expect(&frames::blocked("low on disk"), "blocked").await;
    // The end of one of two alarms is no end.
    broker.alarms.set_memory_watermark(TIGHT);
    until(|| broker.alarms.reason() == "low on disk & memory").await;
    broker.alarms.set_disk_free_limit(DiskFreeLimit::Absolute(0));
    until(|| broker.alarms.reason() == "low on memory").await;
    let mut second = capable(&server, 0).await;
    second.send(&publish(b"")).await;
    second.expect(&frames::blocked("low on memory"), "blocked for what is left").await;
    assert_eq!(broker.alarms.blocked(), 2);
    clear(&broker).await;
    client.expect(&frames::unblocked(), "unblocked").await;
    second.expect(&frames::unblocked(), "unblocked").await;
    drop((client, second));
    stop(server).await;
}

#[tokio::test]
async fn a_blocked_client_can_leave_and_be_told_to() {
    let server = start();
    let broker = server.broker().clone();
    raise(&broker).await;
    let mut gone = capable(&server, 0).await;
    gone.send(&publish(b"")).await;
    gone.expect(&frames::blocked("low on memory"), "blocked").await;
    let mut told = capable(&server, 0).await;
    told.send(&publish(b"")).await;
    told.expect(&frames::blocked("low on memory"), "blocked").await;
    let refusal = leveret::wire::refusal::Refusal::new(leveret::wire::refusal::ReplyCode::ConnectionForced, "go");
    broker.connections.in_vhost(&broker.vhost("/").expect("it exists")).iter().for_each(|c| c.kick(refusal.clone()));
    for client in [&mut gone, &mut told] {
        client.expect(&frames::connection_closed(320, "CONNECTION_FORCED - go", (0, 0)), "told").await;
        client.send(&frames::connection_close_ok()).await;
        client.expect_end("closed").await;
    }
    until(|| broker.alarms.blocked() == 0).await;
    stop(server).await;
}
