//! Consuming, getting, acknowledging: what is refused, and what is answered.

use leveret::config::Compatibility;
use leveret::wire::table::Value;

use crate::client::Cut;
use crate::frames::{
    Properties, channel_close_ok, channel_goodbye, channel_open, channel_open_ok, publish, queue_delete,
    queue_delete_ok,
};
use crate::frames::{
    ack, argument, cancel, cancel_ok, consume, consume_ok, deliver, get, get_empty, get_ok, nack, none,
};
use crate::frames::{
    flow, flow_ok, qos, qos_ok, queue_declare, queue_declare_ok, raw_method, recover, recover_ok, reject,
};
use crate::refused::Refused;
use crate::script::Script;

const QOS: (u16, u16) = (60, 10);
const CONSUME: (u16, u16) = (60, 20);
const GET: (u16, u16) = (60, 70);
const ACK: (u16, u16) = (60, 80);
const REJECT: (u16, u16) = (60, 90);
const RECOVER: (u16, u16) = (60, 110);
const NACK: (u16, u16) = (60, 120);
const MISSING: &str = "NOT_FOUND - no queue 'q' in vhost '/'";
const UNDECLARED: &str = "NOT_FOUND - no previously declared queue";
const LOCKED: &str = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be \
                      originally declared on another connection or the exclusive property value does not match that of \
                      the original declaration.";

fn owned_by_other(script: Script) -> Script {
    script.client(1).ask(queue_declare(1, "q", "exclusive", &none()), queue_declare_ok(1, "q", 0, 0)).client(0)
}

/// A queue whose message is delivered on channel 1 and not acknowledged.
fn unacknowledged(script: Script) -> Script {
    script.with_queue("q").with_message("q", "m").ask(get(1, "q", ""), get_ok(1, 1, "", "q", 0, b"m"))
}

#[tokio::test]
async fn prefetch() {
    Refused::on(qos(1, 5, 1, false)).connection(540, "NOT_IMPLEMENTED - prefetch_size!=0 (5)", QOS).await;
    Script::open().ask(qos(1, 0, 1, false), qos_ok(1)).ask(qos(1, 0, 1, true), qos_ok(1)).close().replay().await;
}

#[tokio::test]
async fn consuming() {
    Refused::on(consume(1, "q", "c", "", &none())).channel(404, MISSING, CONSUME).await;
    Refused::on(consume(1, "", "c", "", &none())).channel(404, UNDECLARED, CONSUME).await;
    Refused::on(consume(1, "q", "c", "", &none())).after(owned_by_other).channel(405, LOCKED, CONSUME).await;
    Refused::on(consume(1, "q", "c", "", &none()))
        .after(|script| script.with_queue("q").ask(consume(1, "q", "c", "", &none()), consume_ok(1, "c")))
        .connection(530, "NOT_ALLOWED - attempt to reuse consumer tag 'c'", CONSUME)
        .await;
    let in_use = "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use";
    for (first, second) in [("", "exclusive"), ("exclusive", ""), ("exclusive", "exclusive")] {
        Refused::on(consume(1, "q", "c", second, &none()))
            .after(|script| {
                script.with_queue("q").ask(consume(2, "q", "first", first, &none()), consume_ok(2, "first"))
            })
            .channel_then(403, in_use, CONSUME, |script| script.holds("q", 0, 1))
            .await;
    }
}

#[tokio::test]
async fn arguments_of_consume() {
    let text = "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \"expected integer, got \
                longstr\"";
    Refused::on(consume(1, "q", "c", "", &argument("x-priority", "high")))
        .after(|script| script.with_queue("q"))
        .channel_then(406, text, CONSUME, |script| script.holds("q", 0, 0))
        .await;
    for key in ["x-stream-offset", "x-stream-filter", "x-stream-match-unfiltered"] {
        let text = format!(
            "PRECONDITION_FAILED - invalid arg '{key}' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"
        );
        Refused::on(consume(1, "q", "c", "", &argument(key, Value::I32(1))))
            .after(|script| script.with_queue("q"))
            .channel_then(406, &text, CONSUME, |script| script.holds("q", 0, 0))
            .await;
    }
    let quorum = queue_declare(1, "q", "durable", &argument("x-queue-type", "quorum"));
    let as_4_3 = |script: Script| script.configure(|config| config.compatibility = Compatibility::V4_3);
    for (value, error) in
        [(Value::I32(-1), "{value_negative,-1}"), (Value::from("x"), "\"expected integer, got longstr\"")]
    {
        let text =
            format!("PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/': {error}");
        Refused::on(consume(1, "q", "c", "", &argument("x-consumer-timeout", value)))
            .after(|script| as_4_3(script).ask(&quorum, queue_declare_ok(1, "q", 0, 0)))
            .channel_then(406, &text, CONSUME, |script| script.holds("q", 0, 0))
            .await;
    }
    let text = "PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/' of queue type \
                rabbit_classic_queue";
    Refused::on(consume(1, "q", "c", "", &argument("x-consumer-timeout", Value::I32(1))))
        .after(|script| as_4_3(script).with_queue("q"))
        .channel_then(406, text, CONSUME, |script| script.holds("q", 0, 0))
        .await;
    let text = "PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 'q' in vhost '/' of queue type \
                rabbit_quorum_queue";
    Refused::on(consume(1, "q", "c", "", &argument("x-stream-offset", "first")))
        .after(|script| script.ask(quorum, queue_declare_ok(1, "q", 0, 0)))
        .channel_then(406, text, CONSUME, |script| script.holds("q", 0, 0))
        .await;
}

#[tokio::test]
async fn getting() {
    Refused::on(get(1, "q", "")).channel(404, MISSING, GET).await;
    Refused::on(get(1, "", "")).channel(404, UNDECLARED, GET).await;
    Refused::on(get(1, "q", "")).after(owned_by_other).channel(405, LOCKED, GET).await;
}

#[tokio::test]
async fn unknown_delivery_tags() {
    for (offence, at) in [
        (ack(1, 7, ""), ACK),
        (ack(1, 7, "multiple"), ACK),
        (nack(1, 7, "requeue"), NACK),
        (nack(1, 7, "multiple"), NACK),
        (reject(1, 7, "requeue"), REJECT),
    ] {
        Refused::on(offence)
            .after(unacknowledged)
            // What was unacknowledged is back once the channel is closed.
            .channel_then(406, "PRECONDITION_FAILED - unknown delivery tag 7", at, |script| script.holds("q", 1, 0))
            .await;
    }
    for (offence, at) in [(ack(1, 0, ""), ACK), (nack(1, 0, ""), NACK), (reject(1, 0, ""), REJECT)] {
        Refused::on(offence)
            .after(unacknowledged)
            .channel(406, "PRECONDITION_FAILED - unknown delivery tag 0", at)
            .await;
    }
    // Settled before, of another channel, and without acknowledgement.
    let unknown = "PRECONDITION_FAILED - unknown delivery tag 1";
    Refused::on(ack(1, 1, ""))
        .after(|script| unacknowledged(script).send(ack(1, 1, "")))
        .channel_then(406, unknown, ACK, |script| script.holds("q", 0, 0))
        .await;
    Refused::on(ack(1, 1, ""))
        .after(|script| {
            script.with_queue("q").with_message("q", "m").ask(get(2, "q", ""), get_ok(2, 1, "", "q", 0, b"m"))
        })
        .channel(406, unknown, ACK)
        .await;
    Refused::on(ack(1, 1, ""))
        .after(|script| {
            script.with_queue("q").with_message("q", "m").ask(get(1, "q", "no-ack"), get_ok(1, 1, "", "q", 0, b"m"))
        })
        .channel(406, unknown, ACK)
        .await;
}

#[tokio::test]
async fn tag_zero_with_multiple_is_everything_also_nothing() {
    unacknowledged(Script::open())
        .send(ack(1, 0, "multiple"))
        .send(ack(1, 0, "multiple"))
        .send(nack(1, 0, "multiple requeue"))
        .ask(get(1, "q", ""), get_empty(1))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn recovering() {
    Refused::on(recover(1, false)).connection(540, "NOT_IMPLEMENTED - requeue=false", RECOVER).await;
    unacknowledged(Script::open())
        .ask(recover(1, true), recover_ok(1))
        .ask(get(1, "q", ""), get_ok(1, 2, "redelivered", "q", 0, b"m"))
        .send(raw_method(1, (60, 100), &[1]))
        .ask(get(1, "q", ""), get_ok(1, 3, "redelivered", "q", 0, b"m"))
        .send(reject(1, 3, "requeue"))
        .ask(get(1, "q", ""), get_ok(1, 4, "redelivered", "q", 0, b"m"))
        .send(nack(1, 4, "requeue"))
        .ask(get(1, "q", ""), get_ok(1, 5, "redelivered", "q", 0, b"m"))
        .send(nack(1, 5, ""))
        .ask(get(1, "q", ""), get_empty(1))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn a_consumer_lives_from_consume_ok_to_cancel_ok() {
    let tag = format!("amq.ctag-{}", "*".repeat(22));
    Script::open()
        .with_queue("q")
        .with_message("q", "waiting")
        .ask(consume(1, "", "", "", &none()), [consume_ok(1, &tag), deliver(1, &tag, 1, "", "q", b"waiting")].concat())
        .ask(publish(2, "", "q", "", Properties::default(), b""), deliver(1, &tag, 2, "", "q", b""))
        .send(ack(1, 2, "multiple"))
        .ask(cancel(1, &tag, ""), cancel_ok(1, &tag))
        .with_message("q", "stays")
        .holds("q", 1, 0)
        .ask(cancel(1, "unknown", ""), cancel_ok(1, "unknown"))
        .send(cancel(1, "unknown", "nowait"))
        .ask(flow(1, true), flow_ok(1))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn the_end_of_a_queue_cancels_its_consumers() {
    Script::open()
        .with_queue("q")
        .ask(consume(1, "q", "c", "", &none()), consume_ok(1, "c"))
        .client(1)
        .ask(queue_delete(1, "q", ""), queue_delete_ok(1, 0))
        .client(0)
        .expect(cancel(1, "c", "nowait"))
        .send(cancel_ok(1, "c"))
        .ask(flow(1, true), flow_ok(1))
        .with_queue("q")
        .ask(consume(1, "q", "c", "", &none()), consume_ok(1, "c"))
        .close()
        .play(Cut::Everywhere)
        .await;
}

#[tokio::test]
async fn a_delete_is_answered_before_its_own_consumer_is_cancelled() {
    // Of a durable queue, so that the answer waits for its commit.
    let declare = queue_declare(1, "q", "durable", &none());
    Script::open()
        .ask(declare, queue_declare_ok(1, "q", 0, 0))
        .ask(consume(1, "q", "c", "", &none()), consume_ok(1, "c"))
        .ask(queue_delete(1, "q", ""), [queue_delete_ok(1, 0), cancel(1, "c", "nowait")].concat())
        .ask(flow(1, true), flow_ok(1))
        .close()
        .play(Cut::Everywhere)
        .await;
}

#[tokio::test]
async fn what_a_closed_channel_held_is_redelivered() {
    Script::open()
        .with_queue("q")
        .with_message("q", "m")
        .ask(consume(1, "q", "c", "", &none()), [consume_ok(1, "c"), deliver(1, "c", 1, "", "q", b"m")].concat())
        .ask(channel_goodbye(1), channel_close_ok(1))
        .ask(channel_open(1), channel_open_ok(1))
        .ask(get(1, "q", "no-ack"), get_ok(1, 1, "redelivered", "q", 0, b"m"))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn a_channel_wide_limit_counts_what_is_on_its_way() {
    let publish = |body: &[u8]| publish(2, "", "q", "", Properties::default(), body);
    Script::open()
        .with_queue("q")
        .ask(consume(1, "q", "c", "", &none()), consume_ok(1, "c"))
        // All in one: the broker has pumped three when the limit comes, and written none.
        .send([publish(b"1"), publish(b"2"), publish(b"3"), qos(1, 0, 2, true), publish(b"4")].concat())
        .expect(qos_ok(1))
        .expect(
            [b"1", b"2", b"3"]
                .iter()
                .zip(1..)
                .map(|(body, n)| deliver(1, "c", n, "", "q", *body))
                .collect::<Vec<_>>()
                .concat(),
        )
        .quiet()
        .holds("q", 1, 1)
        .send(ack(1, 1, ""))
        .quiet()
        .send(ack(1, 2, ""))
        .expect(deliver(1, "c", 4, "", "q", b"4"))
        .close()
        .play(Cut::Nowhere)
        .await;
}
