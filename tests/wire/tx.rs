//! Class tx: the modes of a channel, what waits for the commit, what a rollback undoes, and every refusal.

use leveret::wire::table::{Table, Value};

use crate::client::Cut;
use crate::frames::{
    Properties, ack, argument, cancel, cancel_ok, channel_close_ok, channel_goodbye, channel_open, channel_open_ok,
    confirm_select, confirm_select_ok, consume, consume_ok, deliver, get, get_empty, get_ok, nack, none, publish, qos,
    qos_ok, queue_bind, queue_bind_ok, queue_declare, queue_declare_ok, queue_delete, queue_delete_ok, queue_unbind,
    queue_unbind_ok, recover, recover_ok, reject, returned, tx_commit, tx_commit_ok, tx_rollback, tx_rollback_ok,
    tx_select, tx_select_ok,
};
use crate::refused::Refused;
use crate::script::Script;

const SELECT: (u16, u16) = (90, 10);
const COMMIT: (u16, u16) = (90, 20);
const ROLLBACK: (u16, u16) = (90, 30);
const CONFIRM: (u16, u16) = (85, 10);
const PUBLISH: (u16, u16) = (60, 40);
const ACK: (u16, u16) = (60, 80);

fn plain() -> Properties {
    Properties::default()
}

fn durable() -> Properties {
    plain().with_delivery_mode(2)
}

/// A queue that refuses what is beyond `length`.
fn limited(length: i32) -> Table {
    let mut limited = argument("x-max-length", Value::I32(length));
    limited.insert("x-overflow", "reject-publish");
    limited
}

fn selected(script: Script) -> Script {
    script.ask(tx_select(1), tx_select_ok(1))
}

/// Gets the messages `bodies` on channel 1 under the tags 1 and on.
fn holding(mut script: Script, queue: &str, bodies: &[&str]) -> Script {
    for body in bodies {
        script = script.with_message(queue, body);
    }
    let mut left = u32::try_from(bodies.len()).expect("few");
    for (number, body) in (1..).zip(bodies) {
        left -= 1;
        script = script.ask(get(1, queue, ""), get_ok(1, number, "", queue, left, body.as_bytes()));
    }
    script
}

#[tokio::test]
async fn modes_exclude_each_other() {
    Refused::on(tx_select(1))
        .after(|script| script.ask(confirm_select(1), confirm_select_ok(1)))
        .channel(406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode", SELECT)
        .await;
    Refused::on(confirm_select(1))
        .after(selected)
        .channel(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", CONFIRM)
        .await;
    for (offence, at) in [(tx_commit(1), COMMIT), (tx_rollback(1), ROLLBACK)] {
        for confirming in [false, true] {
            let before = |script: Script| {
                if confirming { script.ask(confirm_select(1), confirm_select_ok(1)) } else { script }
            };
            Refused::on(&offence)
                .after(before)
                .channel(406, "PRECONDITION_FAILED - channel is not transactional", at)
                .await;
        }
    }
    // Selecting twice changes nothing, least of all what has been gathered; other channels have modes of their own.
    Script::open()
        .with_queue("q")
        .ask(tx_select(1), tx_select_ok(1))
        .send(publish(1, "", "q", "", plain(), b"1"))
        .ask(tx_select(1), tx_select_ok(1))
        .ask(confirm_select(3), confirm_select_ok(3))
        .ask(tx_commit(1), tx_commit_ok(1))
        .holds("q", 1, 0)
        .ask(tx_commit(1), tx_commit_ok(1))
        .ask(tx_rollback(1), tx_rollback_ok(1))
        .holds("q", 1, 0)
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn publishes_wait_for_the_commit_and_returns_come_before_its_answer() {
    Script::open()
        .ask(queue_declare(1, "q", "durable", &none()), queue_declare_ok(1, "q", 0, 0))
        .send(publish(1, "", "q", "", plain(), b"before"))
        .ask(tx_select(1), tx_select_ok(1))
        .holds("q", 1, 0)
        .send(publish(1, "", "q", "", durable(), b"1"))
        .send(publish(1, "", "nowhere", "mandatory", plain(), b"back"))
        .send(publish(1, "", "nowhere", "", plain(), b"dropped"))
        .send(publish(1, "", "q", "", plain(), b""))
        .quiet()
        .holds("q", 1, 0)
        .ask(tx_commit(1), [returned(1, "", "nowhere", &plain(), b"back"), tx_commit_ok(1)].concat())
        .holds("q", 3, 0)
        .send(publish(1, "", "nowhere", "mandatory", plain(), b"back"))
        .send(publish(1, "", "q", "", plain(), b"2"))
        .ask(tx_rollback(1), tx_rollback_ok(1))
        .ask(tx_commit(1), tx_commit_ok(1))
        .holds("q", 3, 0)
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn a_publish_is_checked_and_routed_when_it_comes() {
    Refused::on(publish(1, "x", "", "", plain(), b"body"))
        .after(|script| selected(script.with_queue("q")).send(publish(1, "", "q", "", plain(), b"with it")))
        .channel_then(404, "NOT_FOUND - no exchange 'x' in vhost '/'", PUBLISH, |script| script.holds("q", 0, 0))
        .await;
    Script::open()
        .with_queue("q")
        .with_queue("gone")
        .ask(queue_bind(1, "q", "amq.direct", "k", &none()), queue_bind_ok(1))
        .ask(tx_select(1), tx_select_ok(1))
        .send(publish(1, "amq.direct", "k", "mandatory", plain(), b"routed"))
        .send(publish(1, "", "gone", "mandatory", plain(), b"routed"))
        .ask(queue_unbind(1, "q", "amq.direct", "k", &none()), queue_unbind_ok(1))
        .ask(queue_delete(1, "gone", ""), queue_delete_ok(1, 0))
        .send(publish(1, "amq.direct", "k", "mandatory", plain(), b"back"))
        .ask(queue_bind(1, "q", "amq.direct", "k", &none()), queue_bind_ok(1))
        .ask(tx_commit(1), [returned(1, "amq.direct", "k", &plain(), b"back"), tx_commit_ok(1)].concat())
        .holds("q", 1, 0)
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn settled_deliveries_are_unknown_at_once_and_gone_at_the_commit() {
    for again in [ack(1, 1, ""), nack(1, 1, ""), reject(1, 1, "requeue"), ack(1, 1, "multiple")] {
        let at = (60, u16::from(again[10]));
        Refused::on(&again)
            .after(|script| selected(holding(script.with_queue("q"), "q", &["1"])).send(ack(1, 1, "")).holds("q", 0, 0))
            .channel_then(406, "PRECONDITION_FAILED - unknown delivery tag 1", at, |script| script.holds("q", 1, 0))
            .await;
    }
    Refused::on(ack(1, 9, ""))
        .after(|script| selected(holding(script.with_queue("q"), "q", &["1"])).send(ack(1, 1, "")))
        .channel_then(406, "PRECONDITION_FAILED - unknown delivery tag 9", ACK, |script| script.holds("q", 1, 0))
        .await;
    let script = selected(holding(Script::open().with_queue("q"), "q", &["1", "2", "3", "4", "5"]));
    script
        .send(nack(1, 3, "requeue"))
        .send(reject(1, 2, ""))
        .send(ack(1, 4, "multiple"))
        .holds("q", 0, 0)
        .ask(tx_commit(1), tx_commit_ok(1))
        .holds("q", 1, 0)
        .ask(get(2, "q", "no-ack"), get_ok(2, 1, "redelivered", "q", 0, b"3"))
        .ask(channel_goodbye(1), channel_close_ok(1))
        .ask(get(2, "q", "no-ack"), get_ok(2, 2, "redelivered", "q", 0, b"5"))
        .ask(get(2, "q", "no-ack"), get_empty(2))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn a_rollback_makes_deliveries_settleable_again_and_delivers_nothing() {
    let script = selected(holding(Script::open().with_queue("q"), "q", &["1", "2", "3", "4"]));
    script
        .send(reject(1, 2, ""))
        .send(ack(1, 1, ""))
        .send(nack(1, 4, "requeue"))
        .ask(tx_rollback(1), tx_rollback_ok(1))
        .holds("q", 0, 0)
        // Each of them is known again, also to one that means several.
        .send(nack(1, 2, "multiple requeue"))
        .send(ack(1, 3, ""))
        .send(ack(1, 4, ""))
        .ask(tx_rollback(1), tx_rollback_ok(1))
        .send(ack(1, 0, "multiple"))
        .ask(tx_rollback(1), tx_rollback_ok(1))
        .with_message("q", "5")
        .ask(get(1, "q", ""), get_ok(1, 5, "", "q", 0, b"5"))
        .send(ack(1, 3, "multiple"))
        .send(ack(1, 5, ""))
        .ask(tx_commit(1), tx_commit_ok(1))
        // What is left is number 4, which recover returns; what a transaction holds it leaves alone.
        .ask(recover(1, true), recover_ok(1))
        .ask(get(1, "q", ""), get_ok(1, 6, "redelivered", "q", 0, b"4"))
        .send(ack(1, 6, ""))
        .ask(recover(1, true), recover_ok(1))
        .ask(get(2, "q", ""), get_empty(2))
        .ask(tx_commit(1), tx_commit_ok(1))
        .ask(channel_goodbye(1), channel_close_ok(1))
        .ask(get(2, "q", ""), get_empty(2))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn everything_there_is_may_be_acknowledged_when_there_is_nothing() {
    selected(Script::open())
        .send(ack(1, 0, "multiple"))
        .send(nack(1, 0, "multiple requeue"))
        .ask(tx_commit(1), tx_commit_ok(1))
        .send(ack(1, 0, "multiple"))
        .ask(tx_rollback(1), tx_rollback_ok(1))
        .quiet()
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn the_end_of_a_channel_or_connection_rolls_back() {
    let script = selected(holding(Script::open().with_queue("q"), "q", &["1", "2"]));
    script
        .send(ack(1, 1, ""))
        .send(publish(1, "", "q", "", plain(), b"never"))
        .ask(channel_goodbye(1), channel_close_ok(1))
        .ask(get(2, "q", "no-ack"), get_ok(2, 1, "redelivered", "q", 1, b"1"))
        .ask(get(2, "q", "no-ack"), get_ok(2, 2, "redelivered", "q", 0, b"2"))
        .ask(get(2, "q", "no-ack"), get_empty(2))
        // The number's next channel begins anew.
        .ask(channel_open(1), channel_open_ok(1))
        .ask(confirm_select(1), confirm_select_ok(1))
        .close()
        .replay()
        .await;
    let script = selected(holding(Script::open().with_queue("q"), "q", &["1"]));
    script
        .send(ack(1, 1, ""))
        .send(publish(1, "", "q", "", plain(), b"never"))
        .close()
        .client(1)
        .ask(get(2, "q", "no-ack"), get_ok(2, 1, "redelivered", "q", 0, b"1"))
        .ask(get(2, "q", "no-ack"), get_empty(2))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn a_refused_publish_undoes_the_whole_transaction() {
    let text = "PRECONDITION_FAILED - partial tx completion";
    let declare = queue_declare(1, "tight", "", &limited(2));
    Refused::on(tx_commit(1))
        .after(|script| {
            selected(holding(script.with_queue("a").with_queue("b"), "a", &["1"]))
                .ask(declare, queue_declare_ok(1, "tight", 0, 0))
                .send(publish(1, "", "b", "", plain(), b"1"))
                .send([b"1", b"2", b"3"].map(|body| publish(1, "", "tight", "", plain(), body)).concat())
                .send(publish(1, "", "nowhere", "mandatory", plain(), b"not even returned"))
                .send(ack(1, 1, ""))
        })
        .channel_then(406, text, COMMIT, |script| script.holds("a", 1, 0).holds("b", 0, 0).holds("tight", 0, 0))
        .await;
    // Exactly as many as there is room for; the room is free again after a refusal, and used after a commit.
    let publishes = |n: usize| vec![publish(1, "", "tight", "", plain(), b"m"); n].concat();
    let refused = crate::frames::channel_close(1, 406, text, COMMIT);
    Script::open()
        .ask(queue_declare(1, "tight", "", &limited(2)), queue_declare_ok(1, "tight", 0, 0))
        .ask(tx_select(1), tx_select_ok(1))
        .send(publishes(3))
        .ask(tx_commit(1), &refused)
        .reopen(1)
        .ask(tx_select(1), tx_select_ok(1))
        .send(publishes(2))
        .ask(tx_commit(1), tx_commit_ok(1))
        .holds("tight", 2, 0)
        .send(publishes(1))
        .ask(tx_commit(1), &refused)
        .reopen(1)
        .holds("tight", 2, 0)
        // Waiting consumers make room, as they do for a row of publishes.
        .ask(qos(1, 0, 3, false), qos_ok(1))
        .ask(
            consume(1, "tight", "c", "", &none()),
            [consume_ok(1, "c"), deliver(1, "c", 1, "", "tight", b"m"), deliver(1, "c", 2, "", "tight", b"m")].concat(),
        )
        .ask(tx_select(1), tx_select_ok(1))
        .send(publishes(3))
        .ask(tx_commit(1), [tx_commit_ok(1), deliver(1, "c", 3, "", "tight", b"m")].concat())
        .holds("tight", 2, 1)
        .ask(cancel(1, "c", ""), cancel_ok(1, "c"))
        .close()
        .replay()
        .await;
}

#[tokio::test]
async fn a_transaction_beyond_its_limit_is_refused_by_name() {
    let body = vec![b'x'; 40_000];
    let text = "PRECONDITION_FAILED - transactions of this connection exceed limits.transaction_bytes (65536)";
    let small = |script: Script| {
        script.configure(|config| config.transaction_bytes = 65_536).with_queue("q").ask(tx_select(3), tx_select_ok(3))
    };
    for other in [1, 3] {
        Refused::on(publish(1, "", "q", "", plain(), &body))
            .after(|script| selected(small(script)).send(publish(other, "", "q", "", plain(), &body)))
            .channel_then(406, text, PUBLISH, |script| script.holds("q", 0, 0))
            .await;
    }
    // One message always fits; a commit, a rollback and the end of a channel make room; a drop needs none.
    let large = vec![b'x'; 100_000];
    selected(small(Script::open()))
        .send(publish(1, "", "q", "", plain(), &large))
        .ask(tx_commit(1), tx_commit_ok(1))
        .send(publish(1, "", "q", "", plain(), &body))
        .send(publish(1, "", "nowhere", "", plain(), &body))
        .ask(tx_rollback(1), tx_rollback_ok(1))
        .send(publish(3, "", "q", "", plain(), &body))
        .ask(channel_goodbye(3), channel_close_ok(3))
        .send(publish(1, "", "q", "", plain(), &body))
        .ask(tx_commit(1), tx_commit_ok(1))
        .holds("q", 2, 0)
        .close()
        .play(Cut::Nowhere)
        .await;
}

#[tokio::test]
async fn deliveries_and_gets_go_on_and_credit_returns_with_the_commit() {
    Script::open()
        .with_queue("q")
        .ask(qos(1, 0, 1, false), qos_ok(1))
        .ask(tx_select(1), tx_select_ok(1))
        .ask(consume(1, "q", "c", "", &none()), consume_ok(1, "c"))
        .send([b"1", b"2", b"3"].map(|body| publish(2, "", "q", "", plain(), body)).concat())
        .expect(deliver(1, "c", 1, "", "q", b"1"))
        .send(ack(1, 1, ""))
        .quiet()
        .ask(get(1, "q", ""), get_ok(1, 2, "", "q", 1, b"2"))
        .ask(tx_commit(1), [tx_commit_ok(1), deliver(1, "c", 3, "", "q", b"3")].concat())
        .close()
        .replay()
        .await;
}
