//! Frames that cannot be read, and good frames at the wrong moment.

use crate::frames::{Properties, ack, channel_open, frame, header, heartbeat, none, publish_method, queue_declare};
use crate::frames::{raw_header, raw_method};
use crate::refused::Refused;

const PUBLISH: (u16, u16) = (60, 40);
const NO_CONTENT_DUE: &str = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
const HEADER_DUE: &str =
    "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead";
const BODY_DUE: &str = "UNEXPECTED_FRAME - expected content body, got non content body frame instead";

/// The method under whose content something goes wrong.
fn publish() -> Vec<u8> {
    publish_method(1, "", "q", "")
}

/// A publish whose body of five octets is due.
fn headed() -> Vec<u8> {
    [publish(), header(1, 5, &Properties::default())].concat()
}

#[tokio::test]
async fn frames_that_cannot_be_read() {
    let too_large = [&[3, 0, 1][..], &131_073_u32.to_be_bytes()].concat();
    Refused::on(too_large)
        .stream(501, "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}")
        .await;
    let mut no_end = channel_open(9);
    *no_end.last_mut().unwrap() = 0;
    Refused::on(no_end)
        .stream(501, "FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,0}")
        .await;
    Refused::on(frame(9, 1, b"abc")).stream(501, "FRAME_ERROR - type 9, all octets = <<\"abc\">>: unknown_frame").await;
    let mut neither = frame(9, 1, b"abc");
    *neither.last_mut().unwrap() = 7;
    Refused::on(neither)
        .stream(501, "FRAME_ERROR - type 9, all octets = <<\"abc\">>: {invalid_frame_end_marker,7}")
        .await;
    let octets: Vec<u8> = (1..=20).collect();
    let text = "FRAME_ERROR - type 4, first 16 octets = <<1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16>>: unknown_frame";
    Refused::on(frame(4, 1, &octets)).stream(501, text).await;
}

#[tokio::test]
async fn frames_on_the_wrong_channel() {
    for channel in [1, 9] {
        Refused::on(frame(8, channel, b""))
            .connection(505, "UNEXPECTED_FRAME - type 8, all octets = <<>>", (0, 0))
            .await;
    }
    let text = "UNEXPECTED_FRAME - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,1,0,0>>";
    Refused::on(raw_header(0, 60, 1, &[0, 0])).connection(505, text, (0, 0)).await;
    Refused::on(frame(3, 0, b"abc"))
        .connection(505, "UNEXPECTED_FRAME - type 3, all octets = <<\"abc\">>", (0, 0))
        .await;
}

#[tokio::test]
async fn content_without_a_publish() {
    for channel in [1, 9] {
        Refused::on(header(channel, 1, &Properties::default())).connection(505, NO_CONTENT_DUE, (0, 0)).await;
        Refused::on(frame(3, channel, b"body")).connection(505, NO_CONTENT_DUE, (0, 0)).await;
    }
}

#[tokio::test]
async fn content_out_of_order() {
    for wrong in [publish(), frame(3, 1, b"body"), queue_declare(1, "q", "", &none()), ack(1, 1, "")] {
        Refused::on([publish(), wrong].concat()).no_queue("q").connection(505, HEADER_DUE, PUBLISH).await;
    }
    for wrong in [publish(), header(1, 5, &Properties::default()), queue_declare(1, "q", "", &none())] {
        Refused::on([headed(), wrong].concat()).no_queue("q").connection(505, BODY_DUE, PUBLISH).await;
    }
    let text = "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead";
    Refused::on([publish(), raw_header(1, 50, 0, &[0, 0])].concat()).connection(505, text, PUBLISH).await;
}

#[tokio::test]
async fn bodies_longer_than_announced() {
    let text = "FRAME_ERROR - content body frame exceeds remaining content size";
    Refused::on([headed(), frame(3, 1, b"sixsix")].concat()).connection(501, text, PUBLISH).await;
    Refused::on([headed(), frame(3, 1, b"four"), frame(3, 1, b"more")].concat()).connection(501, text, PUBLISH).await;
    // Also of a body that is too large to be kept.
    Refused::on([headed(), frame(3, 1, b"sixsix")].concat())
        .after(|script| script.configure(|config| config.max_message_size = 4))
        .connection(501, text, PUBLISH)
        .await;
    // Nothing is due after an empty body, nor after a whole one.
    Refused::on([publish(), header(1, 0, &Properties::default()), frame(3, 1, b"")].concat())
        .connection(505, NO_CONTENT_DUE, (0, 0))
        .await;
    Refused::on([headed(), frame(3, 1, b"fives"), frame(3, 1, b"")].concat())
        .connection(505, NO_CONTENT_DUE, (0, 0))
        .await;
}

#[tokio::test]
async fn methods_that_cannot_be_decoded() {
    Refused::on(raw_method(1, (50, 10), &[0, 0, 1, 120]))
        .connection(501, "FRAME_ERROR - cannot decode <<0,0,1,120>>", (50, 10))
        .await;
    Refused::on(raw_method(1, (20, 20), &[1, 1]))
        .connection(501, "FRAME_ERROR - cannot decode <<1,1>>", (20, 20))
        .await;
    Refused::on(raw_method(0, (10, 51), &[9])).connection(501, "FRAME_ERROR - cannot decode <<9>>", (10, 51)).await;
    let unknown_tag = b"\0\0\x01q\0\0\0\0\x03\x01k?";
    Refused::on(raw_method(1, (50, 10), unknown_tag))
        .no_queue("q")
        .connection(501, "FRAME_ERROR - cannot decode <<0,0,1,113,0,0,0,0,3,1,107,63>>", (50, 10))
        .await;
    Refused::on(raw_method(1, (50, 10), b"\0\0\x01\xff\0\0\0\0\0"))
        .connection(501, "FRAME_ERROR - Malformed UTF-8 in shortstr", (0, 0))
        .await;
}

#[tokio::test]
async fn unknown_methods() {
    for ids in [(60, 200), (50, 12), (99, 10), (90, 99)] {
        let text = format!("COMMAND_INVALID - unknown method class {} method {}", ids.0, ids.1);
        Refused::on(raw_method(1, ids, &[])).connection(503, &text, ids).await;
    }
}

#[tokio::test]
async fn heartbeats_may_come_at_any_time_on_channel_0() {
    crate::script::Script::open()
        .with_queue("q")
        .send([publish(), heartbeat(), header(1, 5, &Properties::default()), heartbeat()].concat())
        .send([frame(3, 1, b"fives"), heartbeat()].concat())
        .ask(crate::frames::get(1, "q", "no-ack"), crate::frames::get_ok(1, 1, "", "q", 0, b"fives"))
        .close()
        .replay()
        .await;
}
