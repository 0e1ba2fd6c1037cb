//! Heartbeats of one second, in both directions. Events are awaited; how long they took is not looked at.

use crate::client::Client;
use crate::frames::{self, HEADER, heartbeat, login, open, open_ok, tune, tune_ok};
use crate::script::{Script, start, stop};

/// Heartbeats of the broker, two a second, after which a silent client would be long gone.
const LONG: usize = 8;

/// A client that has agreed on a heartbeat of one second.
fn agreed() -> Script {
    Script::raw()
        .send(HEADER)
        .expect_method(0, (10, 10))
        .ask(login(), tune())
        .send(tune_ok(2047, 131_072, 1))
        .ask(open("/"), open_ok())
        .ask(frames::channel_open(1), frames::channel_open_ok(1))
}

#[tokio::test]
async fn a_silent_client_hears_heartbeats_and_then_nothing() {
    let server = start(|_| {});
    let mut client = Client::connect(server.addresses()[0]).await;
    agreed().perform(&mut client).await;
    let mut heard = 0;
    while let Some(frame) = client.frame().await {
        assert_eq!(frame, heartbeat(), "no connection.close: {}", crate::client::show(&frame));
        heard += 1;
    }
    // Half a second apart until the client is given up after three: the first may have been spared by open-ok.
    assert!(heard >= 4, "{heard} heartbeats");
    stop(server).await;
}

/// Answers heartbeats of the broker with these octets, a part each time, for longer than a silent client lives.
async fn lives_on(octets: &[u8]) {
    let server = start(|_| {});
    let mut client = Client::connect(server.addresses()[0]).await;
    agreed().perform(&mut client).await;
    for part in octets.chunks(octets.len() / LONG).take(LONG) {
        client.expect(&heartbeat(), "the broker is alive").await;
        client.send(part).await;
    }
    drop(client);
    stop(server).await;
}

#[tokio::test]
async fn a_client_that_sends_heartbeats_lives() {
    lives_on(&heartbeat().repeat(LONG)).await;
}

#[tokio::test]
async fn any_octet_is_a_sign_of_life() {
    let body = b"a body that comes octet by octet";
    lives_on(&frames::publish(1, "", "nowhere", "", frames::Properties::default(), body)).await;
}

#[tokio::test]
async fn half_a_frame_keeps_no_client_alive() {
    let server = start(|_| {});
    let mut client = Client::connect(server.addresses()[0]).await;
    agreed().perform(&mut client).await;
    client.send(&frames::frame(3, 1, &[0; 100])[..50]).await;
    while let Some(frame) = client.frame().await {
        assert_eq!(frame, heartbeat(), "{}", crate::client::show(&frame));
    }
    stop(server).await;
}

#[tokio::test]
async fn answers_do_for_heartbeats() {
    agreed().ask(frames::flow(1, true), frames::flow_ok(1)).close().replay().await;
}

#[tokio::test]
async fn a_frame_that_comes_octet_by_octet_keeps_no_client_alive_for_ever() {
    let server = start(|_| {});
    let mut client = Client::connect(server.addresses()[0]).await;
    agreed().perform(&mut client).await;
    client.send(&[3, 0, 1, 0, 1, 0, 0]).await;
    let mut heard = 0;
    while let Some(frame) = client.frame().await {
        assert_eq!(frame, heartbeat(), "{}", crate::client::show(&frame));
        heard += 1;
        client.send(&[0]).await;
    }
    // Two a second, for ten intervals.
    assert!((15..30).contains(&heard), "{heard} heartbeats");
    stop(server).await;
}
