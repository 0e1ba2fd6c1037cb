//! Class channel and the states of a channel number; methods of class connection while it is open.

use crate::client::Cut;
use crate::frames::{
    self, Properties, channel_close, channel_close_ok, channel_goodbye, channel_open, channel_open_ok,
};
use crate::frames::{connection_close, connection_close_ok, connection_closed, flow, flow_ok, none, raw_method};
use crate::refused::Refused;
use crate::script::Script;

const OPEN: (u16, u16) = (20, 10);

#[tokio::test]
async fn opening_flowing_closing() {
    Script::open()
        .ask(flow(1, true), flow_ok(1))
        .ask(channel_open(65_535), channel_open_ok(65_535))
        .ask(flow(65_535, true), flow_ok(65_535))
        .ask(channel_goodbye(65_535), channel_close_ok(65_535))
        .ask(channel_open(65_535), channel_open_ok(65_535))
        .ask([channel_goodbye(1), channel_open(1)].concat(), [channel_close_ok(1), channel_open_ok(1)].concat())
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn access_is_granted() {
    Script::open()
        .ask(raw_method(1, (30, 10), b"\x05/data\x1c"), raw_method(1, (30, 11), &[0, 1]))
        .close()
        .play(Cut::Everywhere)
        .await;
}

#[tokio::test]
async fn refusals() {
    Refused::on(channel_open(1)).connection(504, "CHANNEL_ERROR - second 'channel.open' seen", OPEN).await;
    Refused::on(flow(1, false)).connection(540, "NOT_IMPLEMENTED - active=false", (20, 20)).await;
    Refused::on(flow(9, true)).connection(504, "CHANNEL_ERROR - expected 'channel.open'", (20, 20)).await;
    Refused::on(frames::queue_declare(9, "q", "", &none()))
        .no_queue("q")
        .connection(504, "CHANNEL_ERROR - expected 'channel.open'", (50, 10))
        .await;
}

#[tokio::test]
async fn methods_that_only_a_server_sends() {
    for (offence, at) in [
        (frames::queue_declare_ok(1, "q", 0, 0), (50, 11)),
        (frames::exchange_declare_ok(1), (40, 11)),
        (frames::consume_ok(1, "c"), (60, 21)),
        (frames::get_empty(1), (60, 72)),
        (channel_open_ok(1), (20, 11)),
        (frames::confirm_select_ok(1), (85, 11)),
    ] {
        Refused::on(offence).connection(503, "COMMAND_INVALID - unimplemented method", at).await;
    }
}

#[tokio::test]
async fn methods_of_the_connection_at_the_wrong_time() {
    let text = "CHANNEL_ERROR - unexpected method in connection state running";
    for (offence, at) in [
        (frames::login(), (10, 11)),
        (frames::tune_ok(0, 0, 0), (10, 31)),
        (frames::open("/"), (10, 40)),
        (connection_close_ok(), (10, 51)),
        (channel_open(0), (20, 10)),
        (frames::queue_declare(0, "q", "", &none()), (50, 10)),
        (frames::ack(0, 1, ""), (60, 80)),
    ] {
        Refused::on(offence).connection(504, text, at).await;
    }
}

#[tokio::test]
async fn a_new_secret_is_accepted() {
    Script::open()
        .ask(raw_method(0, (10, 70), b"\0\0\0\x03new\0"), raw_method(0, (10, 71), &[]))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn only_so_many_channels() {
    let text = "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)";
    Script::raw()
        .send(frames::HEADER)
        .expect_method(0, (10, 10))
        .ask(frames::login(), frames::tune())
        .send(frames::tune_ok(2, 131_072, 0))
        .ask(frames::open("/"), frames::open_ok())
        .ask(channel_open(1), channel_open_ok(1))
        .ask(channel_open(500), channel_open_ok(500))
        .ask(channel_goodbye(1), channel_close_ok(1))
        .ask(channel_open(7), channel_open_ok(7))
        .ask(channel_open(8), connection_closed(530, text, (0, 0)))
        .send(connection_close_ok())
        .end()
        .play(Cut::Everywhere)
        .await;
}

#[tokio::test]
async fn a_closed_channel_discards_until_both_sides_agree() {
    let missing = channel_close(1, 404, "NOT_FOUND - no queue 'q' in vhost '/'", (60, 70));
    let discarded = [
        frames::queue_declare(1, "ghost", "", &none()),
        frames::publish(1, "", "ghost", "", Properties::default(), b"body"),
        // Orphans of a publish that began before the close.
        frames::header(1, 4, &Properties::default()),
        frames::frame(3, 1, b"body"),
        channel_open(1),
    ];
    Script::open()
        .ask(frames::get(1, "q", ""), &missing)
        .send(discarded.concat())
        .quiet()
        .reopen(1)
        .no_queue("ghost")
        // Both sides close at once: the client is answered, and agrees.
        .ask([frames::get(1, "q", ""), channel_goodbye(1)].concat(), [missing, channel_close_ok(1)].concat())
        .send(frames::queue_declare(1, "ghost", "", &none()))
        .quiet()
        .reopen(1)
        .no_queue("ghost")
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn closes_of_the_connection_may_cross() {
    let refused = connection_closed(540, "NOT_IMPLEMENTED - active=false", (20, 20));
    Script::open()
        .ask([flow(1, false), connection_close()].concat(), [refused, connection_close_ok()].concat())
        .send(connection_close_ok())
        .end()
        .replay()
        .await;
}

#[tokio::test]
async fn nothing_is_done_for_a_connection_that_is_closed() {
    let refused = connection_closed(540, "NOT_IMPLEMENTED - active=false", (20, 20));
    Script::open()
        .ask(flow(1, false), refused)
        .send(frames::queue_declare(1, "ghost", "", &none()))
        .send(channel_goodbye(2))
        .send(frames::heartbeat())
        .send(connection_close_ok())
        .end()
        .client(1)
        .no_queue("ghost")
        .close()
        .replay()
        .await;
}
