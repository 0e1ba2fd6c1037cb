//! Publisher confirms.

use leveret::wire::table::{Table, Value};

use crate::client::Cut;
use crate::frames::{Properties, ack, argument, channel_close, channel_close_ok, channel_open, channel_open_ok};
use crate::frames::{
    confirm_select, confirm_select_ok, nack, none, publish, queue_declare, queue_declare_ok, returned,
};
use crate::script::Script;

fn plain() -> Properties {
    Properties::default()
}

/// A queue that takes nothing.
fn full() -> Table {
    let mut full = argument("x-max-length", Value::I32(0));
    full.insert("x-overflow", "reject-publish");
    full
}

#[tokio::test]
async fn every_publish_is_confirmed_once() {
    let durable = plain().with_delivery_mode(2);
    Script::open()
        .ask(queue_declare(1, "q", "durable", &none()), queue_declare_ok(1, "q", 0, 0))
        .ask(queue_declare(1, "full", "", &full()), queue_declare_ok(1, "full", 0, 0))
        .send(publish(1, "", "q", "", plain(), b"not counted"))
        .ask(confirm_select(1), confirm_select_ok(1))
        .ask(publish(1, "", "q", "", durable.clone(), b"durable"), ack(1, 1, ""))
        .ask(publish(1, "", "q", "", plain(), b"transient"), ack(1, 2, ""))
        .ask(publish(1, "", "nowhere", "", plain(), b"dropped"), ack(1, 3, ""))
        .ask(
            publish(1, "", "nowhere", "mandatory", plain(), b"back"),
            [returned(1, "", "nowhere", &plain(), b"back"), ack(1, 4, "")].concat(),
        )
        .ask(publish(1, "", "full", "", plain(), b"refused"), nack(1, 5, ""))
        .ask(confirm_select(1), confirm_select_ok(1))
        .ask(publish(1, "", "q", "", durable, b""), ack(1, 6, ""))
        .holds("q", 4, 0)
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn a_failed_publish_is_not_confirmed_and_a_new_channel_counts_anew() {
    let missing = channel_close(1, 404, "NOT_FOUND - no exchange 'x' in vhost '/'", (60, 40));
    Script::open()
        .ask(queue_declare(1, "full", "", &full()), queue_declare_ok(1, "full", 0, 0))
        .ask(confirm_select(1), confirm_select_ok(1))
        // All of it at once: what the old channel was refused must not be told to the new one.
        .send(
            [
                publish(1, "", "full", "", plain(), b"refused"),
                publish(1, "x", "", "", plain(), b"failed"),
                channel_close_ok(1),
                channel_open(1),
                confirm_select(1),
                publish(1, "", "nowhere", "", plain(), b"dropped"),
            ]
            .concat(),
        )
        .expect([nack(1, 1, ""), missing, channel_open_ok(1), confirm_select_ok(1), ack(1, 1, "")].concat())
        .close()
        .play(Cut::Nowhere)
        .await;
}

#[tokio::test]
async fn a_refusal_is_told_to_the_channel_it_is_for() {
    let to_full = |channel| publish(channel, "", "full", "", plain(), b"x");
    Script::open()
        .ask(queue_declare(1, "full", "", &full()), queue_declare_ok(1, "full", 0, 0))
        .ask(confirm_select(1), confirm_select_ok(1))
        // Channel 2 is not in confirm mode; all come in one read.
        .ask([to_full(2), to_full(1)].concat(), nack(1, 1, ""))
        .ask([to_full(2), to_full(2), to_full(1), to_full(2)].concat(), nack(1, 2, ""))
        .close()
        .play(Cut::Nowhere)
        .await;
}
