//! From the protocol header to connection.open: what is accepted, what is told, and what is met with silence.
//!
//! RabbitMQ answers most failures before connection.open with nothing but a closed socket, three seconds later.

use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, connection, parse_class};
use leveret::config::{Compatibility, Secret, UserEntry};
use leveret::wire::table::{Table, Value};

use crate::client::{Client, Cut};
use crate::frames::{self, HEADER, argument, channel_open, channel_open_ok, connection_close_ok, connection_closed};
use crate::frames::{heartbeat, login, none, open, open_ok, raw_method, start_ok, start_ok_with, tune, tune_ok};
use crate::script::{Script, start, stop};

const START: (u16, u16) = (10, 10);
const LIMITS: &[u8] = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest";

/// The broker has said who it is.
fn started() -> Script {
    Script::raw().send(HEADER).expect_method(0, START)
}

/// The client has said who it is.
fn logged_in() -> Script {
    started().ask(login(), tune())
}

/// Limits are agreed on.
fn tuned() -> Script {
    logged_in().send(tune_ok(2047, 131_072, 60))
}

/// The broker closes the socket without a word, after its moment.
async fn silence(script: Script) {
    script.end().replay_together().await;
}

#[tokio::test]
async fn plain() {
    tuned().ask(open("/"), open_ok()).ask(channel_open(1), channel_open_ok(1)).close().replay().await;
}

#[tokio::test]
async fn amqplain() {
    started()
        .ask(start_ok("AMQPLAIN", LIMITS, &[]), tune())
        .send(tune_ok(1, 4096, 0))
        .ask(open("/"), open_ok())
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn pipelined() {
    Script::raw()
        .send([HEADER, &login(), &tune_ok(2047, 131_072, 0), &open("/"), &channel_open(1)].concat())
        .expect_method(0, START)
        .expect([tune(), open_ok(), channel_open_ok(1)].concat())
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn the_older_header_is_answered_alike() {
    Script::raw()
        .send(b"AMQP\x01\x01\x00\x09")
        .expect_method(0, START)
        .ask(login(), tune())
        .send(tune_ok(2047, 131_072, 0))
        .ask(open("/"), open_ok())
        .close()
        .play(Cut::Everywhere)
        .await;
}

#[tokio::test]
async fn connection_start_says_what_clients_look_for() {
    let server = start(|_| {});
    let mut client = Client::connect(server.addresses()[0]).await;
    client.send(HEADER).await;
    let frame = client.frame().await.expect("connection.start");
    let Ok((_, AMQPClass::Connection(connection::AMQPMethod::Start(start)))) = parse_class(&frame[7..frame.len() - 1])
    else {
        panic!("connection.start is due");
    };
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    let mechanisms = String::from_utf8_lossy(start.mechanisms.as_bytes()).into_owned();
    let mechanisms: Vec<_> = mechanisms.split(' ').collect();
    assert!(mechanisms.contains(&"PLAIN") && mechanisms.contains(&"AMQPLAIN"), "{mechanisms:?}");
    assert_eq!(start.locales.as_bytes(), b"en_US");
    let properties = Table::from(&start.server_properties);
    assert_eq!(properties.get("product").and_then(Value::as_str), Some("RabbitMQ"));
    let version = properties.get("version").and_then(Value::as_str).expect("clients parse the version");
    assert!(version.split('.').count() == 3 && version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}");
    for key in ["cluster_name", "copyright", "information", "platform"] {
        assert!(properties.get(key).and_then(Value::as_str).is_some(), "{key}");
    }
    let capabilities = properties.get("capabilities").and_then(Value::as_table).expect("capabilities");
    let capable: Vec<_> = capabilities.iter().filter(|(_, value)| value.as_bool() == Some(true)).collect();
    assert_eq!((capable.len(), capabilities.len()), (9, 9));
    for name in ["publisher_confirms", "basic.nack", "consumer_cancel_notify", "authentication_failure_close"] {
        assert!(capabilities.get(name).is_some(), "{name}");
    }
    drop(client);
    stop(server).await;
}

#[tokio::test]
async fn other_protocols_are_told_which_one_is_spoken() {
    for other in [
        &b"AMQP\x00\x00\x09\x02"[..],
        b"AMQP\x00\x00\x0a\x00",
        b"AMQP\x03\x01\x00\x00",
        b"AMQP\x00\x01\x00\x00",
        b"AMQP\x01\x01\x08\x00",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\0\0\0\0",
    ] {
        Script::raw().ask(other, HEADER).end().replay_together().await;
    }
}

#[tokio::test]
async fn a_refused_login_is_told_to_who_wants_to_know() {
    let refused = |mechanism: &str| {
        let text = format!(
            "ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. For details see the broker \
             logfile."
        );
        connection_closed(403, &text, (0, 0))
    };
    let tell = &["authentication_failure_close"];
    for response in [&b"\0guest\0wrong"[..], b"\0guest\0", b"\0nobody\0guest", b"\0\0"] {
        started()
            .ask(start_ok("PLAIN", response, tell), refused("PLAIN"))
            .send(connection_close_ok())
            .end()
            .replay_together()
            .await;
    }
    let wrong = LIMITS.iter().map(|octet| if *octet == b't' { b'T' } else { *octet }).collect::<Vec<_>>();
    started()
        .ask(start_ok("AMQPLAIN", &wrong, tell), refused("AMQPLAIN"))
        .send(connection_close_ok())
        .end()
        .replay_together()
        .await;
    // A client that does not agree is not waited for.
    started().ask(start_ok("PLAIN", b"\0guest\0wrong", tell), refused("PLAIN")).end().play(Cut::Nowhere).await;
    silence(started().send(start_ok("PLAIN", b"\0guest\0wrong", &["basic.nack"]))).await;
}

#[tokio::test]
async fn users_may_be_restricted_to_this_machine() {
    // The tests come from this machine: both kinds of user may log in.
    for response in [b"\0here\0secret", b"\0afar\0secret"] {
        started()
            .configure(|config| {
                config.users = [("here", true), ("afar", false)]
                    .map(|(name, loopback_only)| UserEntry {
                        name: name.to_owned(),
                        password: Secret::new("secret"),
                        tags: Vec::new(),
                        loopback_only,
                    })
                    .to_vec();
            })
            .ask(start_ok("PLAIN", response, &[]), tune())
            .send(tune_ok(2047, 131_072, 0))
            .ask(open("/"), open_ok())
            .close()
            .play(Cut::Nowhere)
            .await;
    }
}

#[tokio::test]
async fn logins_that_cannot_be_read_are_met_with_silence() {
    let tell = &["authentication_failure_close"];
    let scripts = [
        ("PLAIN", &b"guest"[..]),
        ("PLAIN", b""),
        ("PLAIN", b"admin\0guest\0guest"),
        ("AMQPLAIN", &LIMITS[1..]),
        ("AMQPLAIN", b""),
        ("EXTERNAL", b""),
        ("", b"\0guest\0guest"),
    ]
    .map(|(mechanism, response)| started().send(start_ok(mechanism, response, tell)).end());
    together(scripts).await;
}

#[tokio::test]
async fn who_does_not_say_who_he_is_is_guest_if_the_version_knows_such_clients() {
    let begin = || started().send(start_ok("ANONYMOUS", b"whoever", &[]));
    let opened = begin().expect(tune()).send([tune_ok(2047, 131_072, 0), open("/")].concat()).expect(open_ok());
    opened.play(Cut::Nowhere).await;
    begin().configure(|config| config.compatibility = Compatibility::V3_13).end().play(Cut::Nowhere).await;
    let told = start_ok("ANONYMOUS", b"", &["authentication_failure_close"]);
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism ANONYMOUS. For details see the broker \
                logfile.";
    let refused = started().send(told).expect(connection_closed(403, text, (0, 0))).send(connection_close_ok()).end();
    refused.configure(|config| config.users[0].password = Secret::new("changed")).play(Cut::Nowhere).await;
}

/// Plays scripts that end with the broker's moment of silence, at the same time.
async fn together<const N: usize>(scripts: [Script; N]) {
    let mut playing = tokio::task::JoinSet::new();
    for script in scripts {
        playing.spawn(async move { script.play(Cut::Nowhere).await });
    }
    while let Some(played) = playing.join_next().await {
        played.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
}

#[tokio::test]
async fn anything_else_at_the_wrong_moment_is_met_with_silence() {
    let garbage = frames::frame(9, 0, b"abc");
    together([
        started().send(tune_ok(2047, 131_072, 60)).end(),
        started().send(open("/")).end(),
        started().send(channel_open(1)).end(),
        started().send(frames::connection_close()).end(),
        started().send(raw_method(0, (10, 11), b"\0\0\0\x01")).end(),
        started().send(raw_method(0, (99, 99), b"")).end(),
        started().send(frames::frame(2, 1, b"header")).end(),
        started().send(&garbage).end(),
        logged_in().send(login()).end(),
        logged_in().send(open("/")).end(),
        logged_in().send(channel_open(1)).end(),
        logged_in().send(&garbage).end(),
    ])
    .await;
    silence(logged_in().send(open("/"))).await;
}

#[tokio::test]
async fn heartbeats_are_no_offence() {
    started()
        .send(heartbeat())
        .ask(login(), tune())
        .send([heartbeat(), tune_ok(2047, 131_072, 0), heartbeat()].concat())
        .ask(open("/"), open_ok())
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn limits_are_the_brokers_or_lower() {
    for (channel_max, frame_max) in [(1, 4096), (2047, 131_072), (2046, 131_071)] {
        logged_in()
            .send(tune_ok(channel_max, frame_max, 0))
            .ask(open("/"), open_ok())
            .close()
            .play(Cut::Everywhere)
            .await;
    }
    for (channel_max, frame_max, text) in [
        (2047, 4095, "frame_max = 4095 is lower than the minimum allowed value (4096)"),
        (2047, 0, "frame_max = 0 is higher than the maximum allowed value (131072)"),
        (2047, 131_073, "frame_max = 131073 is higher than the maximum allowed value (131072)"),
        (0, 131_072, "channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"),
        (2048, 131_072, "channel_max = 2048 is higher than the maximum allowed value (2047)"),
        (0, 0, "frame_max = 0 is higher than the maximum allowed value (131072)"),
    ] {
        let text = format!("NOT_ALLOWED - negotiated {text}");
        logged_in()
            .ask(tune_ok(channel_max, frame_max, 0), connection_closed(530, &text, (10, 30)))
            .send(connection_close_ok())
            .end()
            .play(Cut::Everywhere)
            .await;
    }
}

#[tokio::test]
async fn between_tune_and_open_the_client_is_told() {
    let refused = |offence: Vec<u8>, code: u16, text: &str, at: (u16, u16)| {
        tuned().ask(offence, connection_closed(code, text, at)).send(connection_close_ok()).end()
    };
    let unexpected = "CHANNEL_ERROR - unexpected method in connection state opening";
    for script in [
        refused(open("nowhere"), 530, "NOT_ALLOWED - vhost nowhere not found", (10, 40)),
        refused(open(""), 530, "NOT_ALLOWED - vhost  not found", (10, 40)),
        refused(login(), 504, unexpected, (10, 11)),
        refused(tune_ok(1, 4096, 0), 504, unexpected, (10, 31)),
        refused(channel_open(0), 504, unexpected, (20, 10)),
        refused(frames::connection_close(), 504, unexpected, (10, 50)),
        refused(channel_open(1), 505, "UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>", (0, 0)),
        refused(frames::frame(3, 0, b"abc"), 505, "UNEXPECTED_FRAME - type 3, all octets = <<\"abc\">>", (0, 0)),
        refused(raw_method(0, (10, 40), &[9]), 501, "FRAME_ERROR - cannot decode <<9>>", (10, 40)),
    ] {
        script.play(Cut::Nowhere).await;
        script.play(Cut::Everywhere).await;
    }
    tuned()
        .ask(
            frames::frame(9, 0, b"abc"),
            connection_closed(501, "FRAME_ERROR - type 9, all octets = <<\"abc\">>: unknown_frame", (0, 0)),
        )
        .end()
        .play(Cut::Everywhere)
        .await;
}

/// A table whose start-ok payload has exactly this many octets.
fn properties_of(payload: usize) -> Table {
    let empty = start_ok_with("PLAIN", b"\0guest\0guest", &argument("pad", "")).len() - 8;
    argument("pad", "x".repeat(payload - empty).as_str())
}

#[tokio::test]
async fn before_tune_frames_are_small() {
    let large = start_ok_with("PLAIN", b"\0guest\0guest", &properties_of(8192));
    started()
        .ask(large, tune())
        .send(tune_ok(2047, 131_072, 0))
        .ask(open("/"), open_ok())
        .close()
        .play(Cut::Nowhere)
        .await;
    let larger = start_ok_with("PLAIN", b"\0guest\0guest", &properties_of(8193));
    together([
        started().send(larger).end(),
        // Refused before it is there.
        started().send([1, 0, 0, 0xff, 0xff, 0xff, 0xff]).end(),
        logged_in().send([1, 0, 0, 0, 0, 0x20, 0x01]).end(),
    ])
    .await;
}

/// A start-ok whose client properties hold arrays in arrays, so many deep.
fn bomb(levels: usize) -> Vec<u8> {
    let mut value = b"V".to_vec();
    for _ in 0..levels {
        value = [b"A", &u32::try_from(value.len()).expect("small").to_be_bytes()[..], &value].concat();
    }
    let table = [b"\x01k", &value[..]].concat();
    let rest = b"\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US";
    raw_method(0, (10, 11), &[&u32::try_from(table.len()).expect("small").to_be_bytes()[..], &table, rest].concat())
}

#[tokio::test]
async fn nested_client_properties() {
    started()
        .ask(bomb(20), tune())
        .send(tune_ok(2047, 131_072, 0))
        .ask(open("/"), open_ok())
        .close()
        .play(Cut::Nowhere)
        .await;
    together([started().send(bomb(70)).end(), started().send(bomb(1600)).end()]).await;
}

#[tokio::test]
async fn properties_of_any_kind_are_taken() {
    let mut properties = none();
    properties.insert("connection_name", Value::I32(7));
    properties.insert("capabilities", "none");
    properties.insert("", Value::Void);
    let mut named = none();
    named.insert("connection_name", "a\nname\u{7}");
    for properties in [properties, named, none()] {
        started()
            .ask(start_ok_with("PLAIN", b"\0guest\0guest", &properties), tune())
            .send(tune_ok(2047, 131_072, 0))
            .ask(open("/"), open_ok())
            .close()
            .play(Cut::Everywhere)
            .await;
    }
}

#[tokio::test]
async fn the_handshake_has_its_time() {
    let hasty = |script: Script| script.configure(|config| config.handshake_timeout = Duration::from_millis(300)).end();
    together([
        hasty(Script::raw()),
        hasty(Script::raw().send(&HEADER[..4])),
        hasty(started()),
        hasty(started().send(&login()[..20])),
        hasty(logged_in()),
        hasty(tuned()),
    ])
    .await;
}
