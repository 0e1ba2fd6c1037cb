//! Where other brokers were found weak (LavinMQ's review of itself, August 2026), as far as exact frames are needed. The
//! rest is in `tests/broker/weak_spots.rs`.

use std::sync::Arc;

use leveret::server::Builder;
use leveret::store::memory::MemoryEngine;

use crate::client::Cut;
use crate::frames::{
    Properties, ack, cancel, connection_close, connection_close_ok, connection_closed, consume, consume_ok, content,
    deliver, get, get_ok, get_ok_method, nack, none, publish, qos, qos_ok, queue_declare, queue_declare_ok,
    queue_delete, queue_delete_ok, recover, reject, tx_commit, tx_commit_ok, tx_select, tx_select_ok,
};
use crate::script::{Script, connect, stop};

fn durable() -> Properties {
    Properties::default().with_delivery_mode(2)
}

/// What a client says of three deliveries right before it leaves, and how many are left afterwards.
#[tokio::test]
async fn acknowledgements_sent_with_the_close_are_not_lost() {
    let rows = [
        ([ack(1, 1, ""), ack(1, 2, ""), ack(1, 3, "")].concat(), 0),
        (ack(1, 3, "multiple"), 0),
        (ack(1, 0, "multiple"), 0),
        ([reject(1, 1, ""), nack(1, 2, ""), ack(1, 3, "")].concat(), 0),
        ([ack(1, 2, ""), nack(1, 1, "requeue")].concat(), 2),
    ];
    for (words, left) in rows {
        for politely in [true, false] {
            let memory = Arc::new(MemoryEngine::new());
            let server = Builder::in_memory().engine(memory.clone()).start().unwrap();
            let mut client = connect(server.addresses()[0]).await;
            let mut script =
                Script::raw().ask(queue_declare(1, "q", "durable", &none()), queue_declare_ok(1, "q", 0, 0));
            for number in 1..=3 {
                let properties = durable();
                let got = [get_ok_method(1, number, "q", 0), content(1, &properties, b"m")].concat();
                script = script.send(publish(2, "", "q", "", properties, b"m")).quiet().ask(get(1, "q", ""), got);
            }
            script.perform(&mut client).await;
            // One segment, so that nothing of it can be dealt with alone.
            if politely {
                client.send(&[words.clone(), connection_close()].concat()).await;
                client.expect(&connection_close_ok(), "the close is agreed to").await;
                client.expect_end("then the broker closes").await;
            } else {
                client.send(&words).await;
            }
            drop(client);
            // What it sent is still on its way; a broker that stops would not look at it any more.
            while !server.broker().connections.is_empty() {
                tokio::task::yield_now().await;
            }
            stop(server).await;

            let server = Builder::in_memory().engine(memory).start().unwrap();
            let mut client = connect(server.addresses()[0]).await;
            let counted = queue_declare_ok(2, "q", left, 0);
            client.send(&queue_declare(2, "q", "passive", &none())).await;
            client.expect(&counted, &format!("politely: {politely}, {words:?}")).await;
            drop(client);
            stop(server).await;
        }
    }
}

#[tokio::test]
async fn a_cancel_arrives_before_anything_later() {
    let remove = queue_delete(2, "q", "");
    // Before a delivery of another queue, and before the end of the connection.
    Script::open()
        .with_queue("q")
        .with_queue("other")
        .ask(consume(1, "q", "c", "", &none()), consume_ok(1, "c"))
        .ask(consume(1, "other", "d", "", &none()), consume_ok(1, "d"))
        .client(1)
        .ask(&remove, queue_delete_ok(2, 0))
        .send(publish(2, "", "other", "", Properties::default(), b"later"))
        .client(0)
        .expect([cancel(1, "c", "nowait"), deliver(1, "d", 1, "", "other", b"later")].concat())
        .close()
        .replay()
        .await;
    // Before the refusal that ends a connection, which comes from elsewhere.
    let server = crate::script::start(|_| {});
    let mut client = connect(server.addresses()[0]).await;
    let before = Script::raw().with_queue("q").ask(consume(1, "q", "c", "", &none()), consume_ok(1, "c"));
    before.perform(&mut client).await;
    let mut other = connect(server.addresses()[0]).await;
    Script::raw().ask(&remove, queue_delete_ok(2, 0)).close().perform(&mut other).await;
    let stopping = tokio::spawn(stop(server));
    let closed =
        connection_closed(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", (0, 0));
    client.expect(&[cancel(1, "c", "nowait"), closed].concat(), "both, in this order").await;
    client.send(&connection_close_ok()).await;
    stopping.await.unwrap();
}

#[tokio::test]
async fn recover_without_requeue_is_answered_and_nobody_hangs() {
    let refused = connection_closed(540, "NOT_IMPLEMENTED - requeue=false", (60, 110));
    Script::open()
        .with_queue("q")
        .with_message("q", "m")
        .ask(get(1, "q", ""), get_ok(1, 1, "", "q", 0, b"m"))
        .ask(recover(1, false), refused)
        .send(connection_close_ok())
        .end()
        .client(1)
        .ask(get(2, "q", "no-ack"), get_ok(2, 1, "redelivered", "q", 0, b"m"))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn a_transaction_may_acknowledge_everything_when_there_is_nothing() {
    Script::open()
        .ask(tx_select(1), tx_select_ok(1))
        .send(ack(1, 0, "multiple"))
        .ask(tx_commit(1), tx_commit_ok(1))
        .quiet()
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn a_channel_wide_limit_that_is_lowered_resumes_where_it_should() {
    let publishes = (1..=7).map(|n: u8| publish(2, "", "q", "", Properties::default(), &[b'0' + n]));
    let delivered = |range: std::ops::RangeInclusive<u8>| {
        range.map(|n| deliver(1, "c", u64::from(n), "", "q", &[b'0' + n])).collect::<Vec<_>>().concat()
    };
    Script::open()
        .with_queue("q")
        .ask(qos(1, 0, 4, true), qos_ok(1))
        .ask(consume(1, "q", "c", "", &none()), consume_ok(1, "c"))
        .send(publishes.collect::<Vec<_>>().concat())
        .expect(delivered(1..=4))
        .ask(qos(1, 0, 1, true), qos_ok(1))
        .send(ack(1, 1, ""))
        .quiet()
        .send(ack(1, 3, "multiple"))
        .quiet()
        .send(ack(1, 4, ""))
        .expect(delivered(5..=5))
        .quiet()
        .ask(qos(1, 0, 2, true), [qos_ok(1), delivered(6..=6)].concat())
        .send(ack(1, 6, "multiple"))
        .expect(delivered(7..=7))
        .close()
        .play(Cut::Nowhere)
        .await;
}

#[tokio::test]
async fn a_cancel_is_told_before_a_close_that_comes_right_behind_the_delete() {
    // Of a durable queue, the answer to the delete waits for a commit, and the close behind it waits too.
    for words in ["", "durable"] {
        let declare = queue_declare(1, "q", words, &none());
        let script = Script::open()
            .ask(declare, queue_declare_ok(1, "q", 0, 0))
            .ask(consume(1, "q", "c", "", &none()), consume_ok(1, "c"))
            .send([queue_delete(2, "q", ""), connection_close()].concat())
            .expect([queue_delete_ok(2, 0), cancel(1, "c", "nowait"), connection_close_ok()].concat())
            .end();
        script.replay().await;
    }
}
