//! Publisher confirms.

use leveret::wire::table::{Table, Value};

use crate::frames::{Properties, ack, argument};
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
