//! Class exchange: what is refused, in RabbitMQ's words and order, and what is not although one might think so.

use leveret::wire::table::Value;

use crate::frames::{
    argument, exchange_bind, exchange_bind_ok, exchange_declare, exchange_declare_ok, exchange_delete,
};
use crate::frames::{exchange_delete_ok, exchange_unbind, exchange_unbind_ok, none, queue_bind, queue_bind_ok};
use crate::refused::Refused;
use crate::script::Script;

const DECLARE: (u16, u16) = (40, 10);
const DELETE: (u16, u16) = (40, 20);
const BIND: (u16, u16) = (40, 30);
const UNBIND: (u16, u16) = (40, 40);
const DEFAULT: &str = "ACCESS_REFUSED - operation not permitted on the default exchange";

fn with_exchange(script: Script, name: &str, words: &str) -> Script {
    script.ask(exchange_declare(2, name, "direct", words, &none()), exchange_declare_ok(2))
}

#[tokio::test]
async fn passive_declare() {
    Refused::on(exchange_declare(1, "", "direct", "passive", &none())).channel(403, DEFAULT, DECLARE).await;
    Refused::on(exchange_declare(1, "x", "nonsense", "passive", &none()))
        .no_exchange("x")
        .channel(404, "NOT_FOUND - no exchange 'x' in vhost '/'", DECLARE)
        .await;
}

#[tokio::test]
async fn declare() {
    Refused::on(exchange_declare(1, "x", "nonsense", "", &none()))
        .no_exchange("x")
        .channel(406, "PRECONDITION_FAILED - unknown exchange type 'nonsense'", DECLARE)
        .await;
    Refused::on(exchange_declare(1, "", "nonsense", "", &none()))
        .channel(406, "PRECONDITION_FAILED - unknown exchange type 'nonsense'", DECLARE)
        .await;
    Refused::on(exchange_declare(1, "", "direct", "", &none())).channel(403, DEFAULT, DECLARE).await;
    Refused::on(exchange_declare(1, "amq.foo", "direct", "", &none()))
        .no_exchange("amq.foo")
        .channel(403, "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'", DECLARE)
        .await;
    let text =
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'x' in vhost '/'";
    Refused::on(exchange_declare(1, "x", "direct", "", &argument("alternate-exchange", Value::I32(1))))
        .no_exchange("x")
        .channel(406, text, DECLARE)
        .await;
}

#[tokio::test]
async fn inequivalent() {
    for (kind, words, arg, received, current) in [
        ("fanout", "durable auto-delete internal", "type", "fanout", "direct"),
        ("direct", "durable auto-delete internal", "durable", "true", "false"),
        ("direct", "auto-delete internal", "auto_delete", "true", "false"),
        ("direct", "internal", "internal", "true", "false"),
    ] {
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg '{arg}' for exchange 'x' in vhost '/': received '{received}' but \
             current is '{current}'"
        );
        Refused::on(exchange_declare(1, "x", kind, words, &none()))
            .after(|script| with_exchange(script, "x", ""))
            .channel(406, &text, DECLARE)
            .await;
    }
    let alternate = argument("alternate-exchange", "a");
    let text = "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received the \
                value 'a' of type 'longstr' but current is none";
    Refused::on(exchange_declare(1, "x", "direct", "", &alternate))
        .after(|script| with_exchange(script, "x", ""))
        .channel(406, text, DECLARE)
        .await;
    Refused::on(exchange_declare(1, "amq.direct", "direct", "", &none()))
        .channel(
            406,
            "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'amq.direct' in vhost '/': received 'false' \
             but current is 'true'",
            DECLARE,
        )
        .await;
}

#[tokio::test]
async fn delete() {
    Refused::on(exchange_delete(1, "", "")).channel(403, DEFAULT, DELETE).await;
    let text = "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed";
    Refused::on(exchange_delete(1, "amq.direct", "")).channel(403, text, DELETE).await;
    Refused::on(exchange_delete(1, "x", "if-unused"))
        .after(|script| {
            with_exchange(script, "x", "").with_queue("q").ask(queue_bind(1, "q", "x", "", &none()), queue_bind_ok(1))
        })
        .channel(406, "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use", DELETE)
        .await;
}

#[tokio::test]
async fn bind_and_unbind() {
    for (destination, source) in [("", "amq.direct"), ("amq.direct", ""), ("", "")] {
        Refused::on(exchange_bind(1, destination, source, "k", &none())).channel(403, DEFAULT, BIND).await;
        Refused::on(exchange_unbind(1, destination, source, "k", &none())).channel(403, DEFAULT, UNBIND).await;
    }
    for (destination, source, missing) in [("to", "from", "from"), ("to", "amq.direct", "to")] {
        Refused::on(exchange_bind(1, destination, source, "k", &none()))
            .channel(404, &format!("NOT_FOUND - no exchange '{missing}' in vhost '/'"), BIND)
            .await;
    }
}

#[tokio::test]
async fn what_is_not_refused() {
    with_exchange(Script::open(), "x", "")
        .ask(exchange_declare(1, "amq.direct", "direct", "durable", &none()), exchange_declare_ok(1))
        .ask(exchange_declare(1, "x", "direct", "", &argument("made-up", "y")), exchange_declare_ok(1))
        .ask(exchange_declare(1, "a\r\nb", "direct", "", &none()), exchange_declare_ok(1))
        .ask(exchange_declare(1, "ab", "", "passive", &none()), exchange_declare_ok(1))
        .ask(exchange_delete(1, "missing", ""), exchange_delete_ok(1))
        .ask(exchange_unbind(1, "missing", "amq.direct", "k", &none()), exchange_unbind_ok(1))
        .ask(exchange_bind(1, "x", "amq.direct", "k", &none()), exchange_bind_ok(1))
        .ask(exchange_bind(1, "x", "amq.direct", "k", &none()), exchange_bind_ok(1))
        .ask(exchange_unbind(1, "x", "amq.direct", "k", &none()), exchange_unbind_ok(1))
        .ask(exchange_unbind(1, "x", "amq.direct", "k", &none()), exchange_unbind_ok(1))
        // An answer that waits for a commit comes also when there is nothing to commit.
        .ask(exchange_bind(1, "amq.fanout", "amq.direct", "k", &none()), exchange_bind_ok(1))
        .ask(exchange_bind(1, "amq.fanout", "amq.direct", "k", &none()), exchange_bind_ok(1))
        .send(exchange_declare(1, "silent", "fanout", "nowait", &none()))
        .ask(exchange_declare(1, "silent", "", "passive", &none()), exchange_declare_ok(1))
        .ask(exchange_delete(1, "x", "if-unused"), exchange_delete_ok(1))
        .no_exchange("x")
        .close()
        .play(crate::client::Cut::Everywhere)
        .await;
}
