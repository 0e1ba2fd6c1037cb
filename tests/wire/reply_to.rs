//! Direct reply-to.

use crate::client::Cut;
use crate::frames::{
    Properties, cancel, cancel_ok, channel_close, channel_close_ok, channel_goodbye, channel_open, channel_open_ok,
    consume, consume_ok, content, deliver, get, none, publish, queue_declare, queue_declare_ok, queue_delete,
    queue_delete_ok, queue_purge,
};
use crate::refused::Refused;
use crate::script::Script;

const REPLY_TO: &str = "amq.rabbitmq.reply-to";
const CONSUME: (u16, u16) = (60, 20);

fn name() -> String {
    format!("{REPLY_TO}.{}", "*".repeat(22))
}

fn plain() -> Properties {
    Properties::default()
}

/// A requester on channel 1 who has sent a request to queue `q` and received it on channel 2.
fn requested() -> Script {
    let request = plain().with_reply_to(REPLY_TO.into());
    let received = plain().with_reply_to(name().into());
    let delivered = deliver(2, "s", 1, "", "q", b"");
    let head = &delivered[..delivered.len() - content(2, &plain(), b"").len()];
    Script::open()
        .with_queue("q")
        .ask(consume(2, "q", "s", "no-ack", &none()), consume_ok(2, "s"))
        .ask(consume(1, REPLY_TO, "r", "no-ack", &none()), consume_ok(1, "r"))
        .ask(publish(1, "", "q", "", request, b"request"), [head, &content(2, &received, b"request")].concat())
}

#[tokio::test]
async fn a_request_is_answered() {
    requested()
        .ask(publish(2, "", &name(), "", plain(), b"reply"), deliver(1, "r", 1, "", &name(), b"reply"))
        .ask(queue_declare(2, &name(), "passive", &none()), queue_declare_ok(2, &name(), 0, 1))
        .ask(cancel(1, "r", ""), cancel_ok(1, "r"))
        .send(publish(2, "", &name(), "mandatory", plain(), b"too late"))
        .quiet()
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn the_name_ends_with_the_channel() {
    let gone = format!("NOT_FOUND - no queue '{}' in vhost '/'", name());
    requested()
        .ask(channel_goodbye(1), channel_close_ok(1))
        .ask(channel_open(1), channel_open_ok(1))
        .ask(queue_declare(2, &name(), "passive", &none()), channel_close(2, 404, &gone, (50, 10)))
        .close()
        .play(Cut::Everywhere)
        .await;
}

#[tokio::test]
async fn refusals() {
    Refused::on(consume(1, REPLY_TO, "r", "", &none()))
        .channel(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge", CONSUME)
        .await;
    Refused::on(consume(1, REPLY_TO, "second", "no-ack", &none()))
        .after(|script| script.ask(consume(1, REPLY_TO, "r", "no-ack", &none()), consume_ok(1, "r")))
        .channel(406, "PRECONDITION_FAILED - reply consumer already set", CONSUME)
        .await;
    // A consumer of another channel does not serve.
    let request = plain().with_reply_to(REPLY_TO.into());
    Refused::on(publish(1, "", "q", "", request, b"request"))
        .after(|script| script.ask(consume(2, REPLY_TO, "r", "no-ack", &none()), consume_ok(2, "r")))
        .channel(406, "PRECONDITION_FAILED - fast reply consumer does not exist", (60, 40))
        .await;
}

#[tokio::test]
async fn the_pseudo_queue_is_there_to_be_asked_for() {
    for words in ["passive", ""] {
        Script::open()
            .ask(queue_declare(1, REPLY_TO, words, &none()), queue_declare_ok(1, REPLY_TO, 0, 1))
            .close()
            .play(Cut::Nowhere)
            .await;
    }
}

#[tokio::test]
async fn the_name_is_no_queue() {
    let missing =
        |at: (u16, u16)| channel_close(2, 404, &format!("NOT_FOUND - no queue '{}' in vhost '/'", name()), at);
    requested()
        .ask(get(2, &name(), ""), missing((60, 70)))
        .reopen(2)
        .ask(queue_purge(2, &name()), missing((50, 30)))
        .reopen(2)
        .ask(queue_delete(2, &name(), ""), queue_delete_ok(2, 0))
        // None of which has harmed it.
        .ask(publish(2, "", &name(), "", plain(), b"reply"), deliver(1, "r", 1, "", &name(), b"reply"))
        .close()
        .play(Cut::Everywhere)
        .await;
}
