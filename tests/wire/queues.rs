//! Class queue: what is refused, in RabbitMQ's words and order, and what is not although one might think so.

use leveret::wire::table::{Table, Value};

use crate::client::Cut;
use crate::frames::{argument, consume, consume_ok, none, queue_bind, queue_bind_ok, queue_declare, queue_declare_ok};
use crate::frames::{queue_delete, queue_delete_ok, queue_purge, queue_purge_ok, queue_unbind, queue_unbind_ok};
use crate::refused::Refused;
use crate::script::Script;

const DECLARE: (u16, u16) = (50, 10);
const BIND: (u16, u16) = (50, 20);
const PURGE: (u16, u16) = (50, 30);
const DELETE: (u16, u16) = (50, 40);
const UNBIND: (u16, u16) = (50, 50);
const DEFAULT: &str = "ACCESS_REFUSED - operation not permitted on the default exchange";
const MISSING: &str = "NOT_FOUND - no queue 'q' in vhost '/'";
const LOCKED: &str = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be \
                      originally declared on another connection or the exclusive property value does not match that of \
                      the original declaration.";

/// Another client declares this queue for itself.
fn owned_by_other(script: Script) -> Script {
    script.client(1).ask(queue_declare(1, "q", "exclusive", &none()), queue_declare_ok(1, "q", 0, 0)).client(0)
}

#[tokio::test]
async fn declare() {
    Refused::on(queue_declare(1, "q", "passive", &none())).channel(404, MISSING, DECLARE).await;
    Refused::on(queue_declare(1, "q", "passive nowait", &none())).channel(404, MISSING, DECLARE).await;
    Refused::on(queue_declare(1, "amq.foo", "", &none()))
        .no_queue("amq.foo")
        .channel(403, "ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'", DECLARE)
        .await;
    Refused::on(queue_declare(1, "", "durable", &argument("x-queue-type", "quorum")))
        .channel(406, "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue", DECLARE)
        .await;
    for words in ["", "passive", "exclusive"] {
        Refused::on(queue_declare(1, "q", words, &none())).after(owned_by_other).channel(405, LOCKED, DECLARE).await;
    }
}

#[tokio::test]
async fn arguments_of_declare() {
    for (key, value, error) in [
        ("x-message-ttl", Value::from("abc"), "\"expected integer, got longstr\""),
        ("x-message-ttl", Value::I32(-1), "{value_negative,-1}"),
        ("x-expires", Value::I32(0), "{value_zero,0}"),
        ("x-max-length", Value::I32(-5), "{value_negative,-5}"),
        ("x-max-priority", Value::I32(256), "{max_value_exceeded,256}"),
        ("x-overflow", Value::from("nonsense"), "invalid_overflow"),
        ("x-queue-type", Value::from("zzz"), "\"unsupported queue type 'zzz'\""),
        ("x-single-active-consumer", Value::from("yes"), "{unacceptable_type,longstr}"),
        ("x-dead-letter-routing-key", Value::from("k"), "routing_key_but_no_dlx_defined"),
    ] {
        let text = format!("PRECONDITION_FAILED - invalid arg '{key}' for queue 'q' in vhost '/': {error}");
        Refused::on(queue_declare(1, "q", "", &argument(key, value))).no_queue("q").channel(406, &text, DECLARE).await;
    }
    let text =
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'";
    Refused::on(queue_declare(1, "q", "", &argument("x-dead-letter-exchange", Value::I32(5))))
        .no_queue("q")
        .channel(406, text, DECLARE)
        .await;
}

async fn inequivalent(first: (&str, Table), second: (&str, Table), text: &str) {
    let text = format!("PRECONDITION_FAILED - inequivalent arg {text}");
    Refused::on(queue_declare(1, "q", second.0, &second.1))
        .after(|script| script.ask(queue_declare(1, "q", first.0, &first.1), queue_declare_ok(1, "q", 0, 0)))
        .channel_then(406, &text, DECLARE, |script| script.holds("q", 0, 0))
        .await;
}

#[tokio::test]
async fn inequivalent_declarations() {
    let ten = || argument("x-max-length", Value::I32(10));
    inequivalent(
        ("durable", none()),
        ("", none()),
        "'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
    )
    .await;
    inequivalent(
        ("", none()),
        ("auto-delete", none()),
        "'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'",
    )
    .await;
    inequivalent(
        ("", none()),
        ("", ten()),
        "'x-max-length' for queue 'q' in vhost '/': received the value '10' of type 'signedint' but current is none",
    )
    .await;
    inequivalent(
        ("", ten()),
        ("", none()),
        "'x-max-length' for queue 'q' in vhost '/': received none but current is the value '10' of type 'signedint'",
    )
    .await;
    inequivalent(
        ("", ten()),
        ("", argument("x-max-length", Value::I64(20))),
        "'x-max-length' for queue 'q' in vhost '/': received '20' but current is '10'",
    )
    .await;
    inequivalent(
        ("durable", none()),
        ("durable", argument("x-queue-type", "quorum")),
        "'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'classic'",
    )
    .await;
}

#[tokio::test]
async fn bind() {
    Refused::on(queue_bind(1, "q", "", "k", &none()))
        .after(|script| script.with_queue("q"))
        .channel(403, DEFAULT, BIND)
        .await;
    Refused::on(queue_bind(1, "q", "x", "k", &none()))
        .channel(404, "NOT_FOUND - no exchange 'x' in vhost '/'", BIND)
        .await;
    Refused::on(queue_bind(1, "q", "amq.direct", "k", &none())).channel(404, MISSING, BIND).await;
    Refused::on(queue_bind(1, "", "amq.direct", "k", &none()))
        .channel(404, "NOT_FOUND - no previously declared queue", BIND)
        .await;
    Refused::on(queue_bind(1, "q", "amq.direct", "k", &none())).after(owned_by_other).channel(405, LOCKED, BIND).await;
    let reply = "amq.rabbitmq.reply-to.0123456789";
    let text = "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue";
    Refused::on(queue_bind(1, reply, "amq.direct", "k", &none())).channel(403, text, BIND).await;
    Refused::on(queue_unbind(1, reply, "amq.direct", "k", &none())).channel(403, text, UNBIND).await;
}

#[tokio::test]
async fn unbind() {
    Refused::on(queue_unbind(1, "q", "", "k", &none()))
        .after(|script| script.with_queue("q"))
        .channel(403, DEFAULT, UNBIND)
        .await;
    Refused::on(queue_unbind(1, "", "amq.direct", "k", &none()))
        .channel(404, "NOT_FOUND - no previously declared queue", UNBIND)
        .await;
    Refused::on(queue_unbind(1, "q", "amq.direct", "k", &none()))
        .after(|script| {
            owned_by_other(script)
                .client(1)
                .ask(queue_bind(1, "q", "amq.direct", "k", &none()), queue_bind_ok(1))
                .client(0)
        })
        .channel(405, LOCKED, UNBIND)
        .await;
}

#[tokio::test]
async fn purge() {
    Refused::on(queue_purge(1, "q")).channel(404, MISSING, PURGE).await;
    Refused::on(queue_purge(1, "")).channel(404, "NOT_FOUND - no previously declared queue", PURGE).await;
    Refused::on(queue_purge(1, "q")).after(owned_by_other).channel(405, LOCKED, PURGE).await;
}

#[tokio::test]
async fn delete() {
    Refused::on(queue_delete(1, "", "")).channel(404, "NOT_FOUND - no previously declared queue", DELETE).await;
    Refused::on(queue_delete(1, "q", "")).after(owned_by_other).channel(405, LOCKED, DELETE).await;
    Refused::on(queue_delete(1, "q", "if-unused"))
        .after(|script| script.with_queue("q").ask(consume(2, "q", "c", "", &none()), consume_ok(2, "c")))
        .channel_then(406, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use", DELETE, |script| {
            script.holds("q", 0, 1)
        })
        .await;
    Refused::on(queue_delete(1, "q", "if-empty"))
        .after(|script| script.with_queue("q").with_message("q", "kept"))
        .channel_then(406, "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty", DELETE, |script| {
            script.holds("q", 1, 0)
        })
        .await;
}

#[tokio::test]
async fn what_is_not_refused() {
    let long = Value::I64(10);
    Script::open()
        .ask(queue_delete(1, "missing", ""), queue_delete_ok(1, 0))
        .ask(queue_declare(1, "q", "", &argument("x-max-length", Value::I32(10))), queue_declare_ok(1, "q", 0, 0))
        .ask(queue_declare(1, "q", "", &argument("x-max-length", long)), queue_declare_ok(1, "q", 0, 0))
        .ask(queue_bind(1, "", "amq.direct", "", &none()), queue_bind_ok(1))
        .ask(queue_bind(1, "q", "amq.direct", "q", &none()), queue_bind_ok(1))
        .ask(queue_unbind(1, "q", "amq.direct", "q", &none()), queue_unbind_ok(1))
        .ask(queue_unbind(1, "q", "amq.direct", "q", &none()), queue_unbind_ok(1))
        .ask(queue_unbind(1, "q", "missing", "q", &none()), queue_unbind_ok(1))
        .ask(queue_unbind(1, "missing", "amq.direct", "q", &none()), queue_unbind_ok(1))
        .with_message("q", "one")
        .ask(queue_purge(1, ""), queue_purge_ok(1, 1))
        .with_message("q", "two")
        .ask(queue_delete(1, "", ""), queue_delete_ok(1, 1))
        .no_queue("q")
        .ask(queue_declare(1, "a\r\nb", "durable", &none()), queue_declare_ok(1, "ab", 0, 0))
        // An answer that waits for a commit comes also when there is nothing to commit.
        .ask(queue_bind(1, "ab", "amq.direct", "k", &none()), queue_bind_ok(1))
        .ask(queue_bind(1, "ab", "amq.direct", "k", &none()), queue_bind_ok(1))
        .send(queue_declare(1, "silent", "nowait", &none()))
        .ask(queue_declare(1, "silent", "passive", &none()), queue_declare_ok(1, "silent", 0, 0))
        .close()
        .play(Cut::Everywhere)
        .await;
}

#[tokio::test]
async fn long_texts_are_cut_at_255_octets() {
    let name = "q".repeat(255);
    let text = format!("NOT_FOUND - no queue '{name}");
    let text = format!("{}...", &text[..252]);
    Refused::on(queue_declare(1, &name, "passive", &none())).channel(404, &text, DECLARE).await;
}

#[tokio::test]
async fn names_of_the_servers_choice() {
    let name = format!("amq.gen-{}", "*".repeat(22));
    Script::open()
        .ask(queue_declare(1, "", "exclusive", &none()), queue_declare_ok(1, &name, 0, 0))
        .ask(queue_declare(1, &name, "passive", &none()), queue_declare_ok(1, &name, 0, 0))
        .ask(queue_delete(1, "", ""), queue_delete_ok(1, 0))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn an_exclusive_queue_is_gone_before_close_ok() {
    let declare = queue_declare(1, "q", "exclusive", &none());
    Script::open()
        .ask(&declare, queue_declare_ok(1, "q", 0, 0))
        .with_message("q", "dies with the queue")
        .client(1)
        .ask(queue_declare(2, "q", "exclusive", &none()), crate::frames::channel_close(2, 405, LOCKED, DECLARE))
        .client(0)
        .ask(crate::frames::connection_close(), crate::frames::connection_close_ok())
        .client(1)
        .ask(&declare, queue_declare_ok(1, "q", 0, 0))
        .client(0)
        .end()
        .play(Cut::Nowhere)
        .await;
}
