//! Quorum queues and single active consumers: what is refused, in RabbitMQ's words.

use leveret::config::Compatibility;
use leveret::wire::table::{Table, Value};

use crate::frames::{argument, consume, consume_ok, get, queue_declare, queue_declare_ok, queue_delete};
use crate::refused::Refused;
use crate::script::Script;

const DECLARE: (u16, u16) = (50, 10);
const DELETE: (u16, u16) = (50, 40);
const CONSUME: (u16, u16) = (60, 20);
const GET: (u16, u16) = (60, 70);

fn quorum<const N: usize>(more: [(&str, Value); N]) -> Table {
    let mut arguments = argument("x-queue-type", "quorum");
    for (key, value) in more {
        arguments.insert(key, value);
    }
    arguments
}

fn as_4_3(script: Script) -> Script {
    script.configure(|config| config.compatibility = Compatibility::V4_3)
}

fn as_3_13(script: Script) -> Script {
    script.configure(|config| config.compatibility = Compatibility::V3_13)
}

async fn refused(arguments: &Table, error: &str) {
    let text = format!("PRECONDITION_FAILED - invalid arg {error}");
    Refused::on(queue_declare(1, "q", "durable", arguments)).no_queue("q").channel(406, &text, DECLARE).await;
}

#[tokio::test]
async fn arguments_of_quorum_queues() {
    for (key, value, error) in [
        ("x-dead-letter-strategy", Value::from("zz"), "invalid_dlx_strategy"),
        ("x-quorum-initial-group-size", Value::I32(0), "{value_zero,0}"),
        ("x-max-in-memory-length", Value::I32(-1), "{value_negative,-1}"),
        ("x-queue-leader-locator", Value::from("zz"), "invalid_queue_locator_arg"),
        ("x-overflow", Value::from("zz"), "invalid_overflow"),
    ] {
        refused(&quorum([(key, value)]), &format!("'{key}' for queue 'q' in vhost '/': {error}")).await;
    }
    for key in ["x-max-priority", "x-max-age", "x-queue-version"] {
        let text = format!("'{key}' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue");
        refused(&quorum([(key, Value::I32(5))]), &text).await;
    }
    for key in ["x-delivery-limit", "x-dead-letter-strategy", "x-quorum-initial-group-size", "x-initial-cluster-size"] {
        let text = format!("'{key}' for queue 'q' in vhost '/' of queue type rabbit_classic_queue");
        refused(&argument(key, Value::I32(5)), &text).await;
    }
    let stream = argument("x-queue-type", "stream");
    refused(&stream, "'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'stream'\"").await;
}

#[tokio::test]
async fn arguments_that_a_version_does_not_take() {
    let text = "PRECONDITION_FAILED - invalid arg 'x-queue-mode' for queue 'q' in vhost '/': \"unsupported queue mode \
                'zz'\"";
    Refused::on(queue_declare(1, "q", "", &argument("x-queue-mode", "zz")))
        .after(as_3_13)
        .no_queue("q")
        .channel(406, text, DECLARE)
        .await;
    let text = "PRECONDITION_FAILED - invalid arg 'x-queue-version' for queue 'q' in vhost '/': \"unsupported queue \
                version '1'\"";
    Refused::on(queue_declare(1, "q", "durable", &argument("x-queue-version", Value::I32(1))))
        .after(as_4_3)
        .no_queue("q")
        .channel(406, text, DECLARE)
        .await;
    let text = "PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/' of queue type \
                rabbit_classic_queue";
    Refused::on(queue_declare(1, "q", "durable", &argument("x-consumer-timeout", Value::I32(1))))
        .after(as_4_3)
        .no_queue("q")
        .channel(406, text, DECLARE)
        .await;
}

#[tokio::test]
async fn declaring_again() {
    let differ = async |first: &Table, second: &Table, text: &str| {
        let text = format!("PRECONDITION_FAILED - inequivalent arg {text}");
        Refused::on(queue_declare(1, "q", "durable", second))
            .after(|script| script.ask(queue_declare(1, "q", "durable", first), queue_declare_ok(1, "q", 0, 0)))
            .channel(406, &text, DECLARE)
            .await;
    };
    let limit = |n| quorum([("x-delivery-limit", Value::I32(n))]);
    let text = "'x-delivery-limit' for queue 'q' in vhost '/': received '3' but current is '2'";
    differ(&limit(2), &limit(3), text).await;
    let text = "'x-queue-type' for queue 'q' in vhost '/': received 'classic' but current is 'quorum'";
    differ(&limit(2), &Table::default(), text).await;
    let text = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received the value \
                'quorum' of type 'longstr' but current is none";
    Refused::on(queue_declare(1, "q", "durable", &quorum([])))
        .after(|script| {
            let first = queue_declare(1, "q", "durable", &Table::default());
            as_3_13(script).ask(first, queue_declare_ok(1, "q", 0, 0))
        })
        .channel(406, text, DECLARE)
        .await;
}

#[tokio::test]
async fn what_quorum_queues_do_not_do() {
    let declared = |script: Script, arguments: &Table| {
        script.ask(queue_declare(1, "q", "durable", arguments), queue_declare_ok(1, "q", 0, 0))
    };
    for flag in ["if-unused", "if-empty"] {
        let text = format!(
            "NOT_IMPLEMENTED - cannot delete queue 'q' in vhost '/'. queue.delete operations with {flag} flag set are \
             not supported by quorum queues"
        );
        Refused::on(queue_delete(1, "q", flag))
            .after(|script| declared(script, &quorum([])))
            .connection(540, &text, DELETE)
            .await;
    }
    let single = quorum([("x-single-active-consumer", Value::Bool(true))]);
    let text = |by| {
        format!(
            "RESOURCE_LOCKED - cannot obtain access to locked queue 'q' in vhost '/'. basic.get operations are not \
             supported {by} queues with single active consumer"
        )
    };
    Refused::on(get(1, "q", "")).after(|script| declared(script, &single)).channel(405, &text("by quorum"), GET).await;
    Refused::on(get(1, "q", ""))
        .after(|script| declared(as_4_3(script), &single))
        .channel(405, &text("by <<\"quorum\">>"), GET)
        .await;
}

#[tokio::test]
async fn a_single_active_consumer_is_not_exclusive() {
    let single = argument("x-single-active-consumer", Value::Bool(true));
    let text = "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use";
    Refused::on(consume(1, "q", "c", "exclusive", &Table::default()))
        .after(|script| script.ask(queue_declare(1, "q", "", &single), queue_declare_ok(1, "q", 0, 0)))
        .channel_then(403, text, CONSUME, |script| {
            script.ask(consume(2, "q", "first", "", &Table::default()), consume_ok(2, "first"))
        })
        .await;
}
