//! basic.publish: the checks in RabbitMQ's order, and what happens to messages without a queue.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::client::Cut;
use crate::frames::{self, Properties, get, get_ok, none, publish, publish_method, raw_header, returned};
use crate::refused::Refused;
use crate::script::Script;

const PUBLISH: (u16, u16) = (60, 40);

fn plain() -> Properties {
    Properties::default()
}

fn headers(key: &str, value: AMQPValue) -> Properties {
    let mut table = FieldTable::default();
    table.insert(key.into(), value);
    plain().with_headers(table)
}

#[tokio::test]
async fn where_to() {
    Refused::on(publish(1, "", "q", "immediate", plain(), b"body"))
        .connection(540, "NOT_IMPLEMENTED - immediate=true", PUBLISH)
        .await;
    Refused::on(publish(1, "x", "q", "", plain(), b"body"))
        .channel(404, "NOT_FOUND - no exchange 'x' in vhost '/'", PUBLISH)
        .await;
    let declare = frames::exchange_declare(1, "inner", "fanout", "internal", &none());
    Refused::on(publish(1, "inner", "q", "", plain(), b"body"))
        .after(|script| script.ask(declare, frames::exchange_declare_ok(1)))
        .channel(403, "ACCESS_REFUSED - cannot publish to internal exchange 'inner' in vhost '/'", PUBLISH)
        .await;
}

#[tokio::test]
async fn properties() {
    let wrong = |properties: Properties| {
        Refused::on(publish(1, "", "q", "mandatory", properties, b"body")).after(|script| script.with_queue("q"))
    };
    for (expiration, error) in [
        ("abc", "no_integer"),
        ("", "no_integer"),
        ("10x", "{leftover_string,\"x\"}"),
        ("-1", "{value_negative,-1}"),
        ("315360000001", "{value_too_large,315360000001}"),
    ] {
        let text = format!("PRECONDITION_FAILED - invalid expiration '{expiration}': {error}");
        wrong(plain().with_expiration(expiration.into()))
            .channel_then(406, &text, PUBLISH, |script| script.holds("q", 0, 0))
            .await;
    }
    for key in ["CC", "BCC"] {
        let text = format!("PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,\"{key}\",longstr}}");
        wrong(headers(key, AMQPValue::LongString("other".into())))
            .channel_then(406, &text, PUBLISH, |script| script.holds("q", 0, 0))
            .await;
    }
    let text = "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'";
    wrong(plain().with_user_id("bob".into())).channel_then(406, text, PUBLISH, |script| script.holds("q", 0, 0)).await;
    wrong(plain().with_reply_to("amq.rabbitmq.reply-to".into()))
        .channel_then(406, "PRECONDITION_FAILED - fast reply consumer does not exist", PUBLISH, |script| {
            script.holds("q", 0, 0)
        })
        .await;
}

#[tokio::test]
async fn the_first_check_that_fails_answers() {
    let all_wrong = plain().with_expiration("abc".into()).with_user_id("bob".into());
    Refused::on(publish(1, "x", "q", "", all_wrong.clone(), b"body"))
        .channel(404, "NOT_FOUND - no exchange 'x' in vhost '/'", PUBLISH)
        .await;
    Refused::on(publish(1, "", "q", "immediate", all_wrong.clone(), b"body"))
        .connection(540, "NOT_IMPLEMENTED - immediate=true", PUBLISH)
        .await;
    Refused::on(publish(1, "", "q", "", all_wrong, b"body"))
        .channel(406, "PRECONDITION_FAILED - invalid expiration 'abc': no_integer", PUBLISH)
        .await;
}

#[tokio::test]
async fn size() {
    Refused::on(publish(1, "x", "q", "", plain(), b"eleven octets"))
        .after(|script| script.configure(|config| config.max_message_size = 12))
        .channel(406, "PRECONDITION_FAILED - message size 13 is larger than configured max size 12", PUBLISH)
        .await;
    let announced = [publish_method(1, "", "q", ""), raw_header(1, 60, 536_870_913, &[0, 0])].concat();
    Refused::on(announced)
        .connection(501, "FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912", PUBLISH)
        .await;
}

#[tokio::test]
async fn undecodable_properties_are_an_internal_error() {
    for properties in [&[0x80, 0][..], &[0, 1], &[0, 2], &[0x10, 0, 2, 9], &[0x20, 0, 0, 0, 0, 3, 1, b'k', b'?']] {
        let offence = [publish_method(1, "", "q", ""), raw_header(1, 60, 0, properties)].concat();
        Refused::on(offence).connection(541, "INTERNAL_ERROR", (0, 0)).await;
    }
}

#[tokio::test]
async fn without_a_queue() {
    let typed = || plain().with_type("order".into()).with_delivery_mode(2);
    Script::open()
        .ask(publish(1, "", "nowhere", "mandatory", typed(), b"back"), returned(1, "", "nowhere", &typed(), b"back"))
        .ask(publish(1, "amq.topic", "a.b", "mandatory", plain(), b""), returned(1, "amq.topic", "a.b", &plain(), b""))
        .send(publish(1, "", "nowhere", "", plain(), b"dropped"))
        .ask(frames::flow(1, true), frames::flow_ok(1))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn contents_interleave_across_channels() {
    let (body, other) = (b"one body", b"another");
    Script::open()
        .with_queue("q")
        .send(publish_method(1, "", "q", ""))
        .send(publish_method(2, "", "q", ""))
        .send(frames::header(2, other.len(), &plain()))
        .send(frames::header(1, body.len(), &plain()))
        .send(frames::frame(3, 1, &body[..3]))
        .send(frames::frame(3, 2, &other[..1]))
        .send(frames::heartbeat())
        .send(frames::frame(3, 1, b""))
        .send(frames::frame(3, 1, &body[3..]))
        .send(frames::frame(3, 2, &other[1..]))
        .quiet()
        .ask(get(1, "q", "no-ack"), get_ok(1, 1, "", "q", 1, body))
        .ask(get(1, "q", "no-ack"), get_ok(1, 2, "", "q", 0, other))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn bodies_of_many_frames_arrive_whole() {
    let body: Vec<u8> = (0..20_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let pieces = |size: usize| body.chunks(size).map(|piece| frames::frame(3, 1, piece)).collect::<Vec<_>>().concat();
    let sent = [publish_method(1, "", "q", ""), frames::header(1, body.len(), &plain()), pieces(4096)].concat();
    let received = get_ok(1, 1, "", "q", 0, &body);
    Script::raw()
        .send(frames::HEADER)
        .expect_method(0, (10, 10))
        .ask(frames::login(), frames::tune())
        .send(frames::tune_ok(2047, 8192, 0))
        .ask(frames::open("/"), frames::open_ok())
        .ask(frames::channel_open(1), frames::channel_open_ok(1))
        .with_queue("q")
        .send(sent)
        // The broker cuts bodies below the agreed frame size, overhead included.
        .ask(get(1, "q", "no-ack"), {
            let whole = frames::frame(3, 1, &body);
            [&received[..received.len() - whole.len()], &pieces(8184)].concat()
        })
        .close()
        .play(Cut::Everywhere)
        .await;
}
