//! Classes basic, confirm and tx.

use amq_protocol::protocol::{AMQPClass, basic, confirm, tx};
use leveret::wire::table::Table;

use super::{flags, frame, method, raw_method};

/// Properties of a message.
pub(crate) type Properties = amq_protocol::protocol::BasicProperties;

fn on_basic(channel: u16, class: basic::AMQPMethod) -> Vec<u8> {
    method(channel, AMQPClass::Basic(class))
}

/// basic.publish without content.
pub(crate) fn publish_method(channel: u16, exchange: &str, key: &str, words: &str) -> Vec<u8> {
    let [mandatory, immediate] = flags(words, ["mandatory", "immediate"]);
    let (exchange, routing_key) = (exchange.into(), key.into());
    on_basic(channel, basic::AMQPMethod::Publish(basic::Publish { exchange, routing_key, mandatory, immediate }))
}

/// A content header of any class and property octets.
pub(crate) fn raw_header(channel: u16, class: u16, body_size: u64, properties: &[u8]) -> Vec<u8> {
    frame(2, channel, &[&class.to_be_bytes()[..], &[0, 0], &body_size.to_be_bytes(), properties].concat())
}

/// A content header.
pub(crate) fn header(channel: u16, body_size: usize, properties: &Properties) -> Vec<u8> {
    let octets = amq_protocol::protocol::basic::gen_properties(properties)(Vec::new().into());
    let octets = octets.expect("written to memory").into_inner().0;
    raw_header(channel, 60, body_size as u64, &octets)
}

/// A content header and a body in one frame, or none if it is empty.
pub(crate) fn content(channel: u16, properties: &Properties, body: &[u8]) -> Vec<u8> {
    let mut octets = header(channel, body.len(), properties);
    if !body.is_empty() {
        octets.extend(frame(3, channel, body));
    }
    octets
}

/// basic.publish with its content.
#[allow(clippy::needless_pass_by_value)] // callers build the properties in place
pub(crate) fn publish(
    channel: u16,
    exchange: &str,
    key: &str,
    words: &str,
    properties: Properties,
    body: &[u8],
) -> Vec<u8> {
    [publish_method(channel, exchange, key, words), content(channel, &properties, body)].concat()
}

/// basic.return of an unroutable message, with its content.
pub(crate) fn returned(channel: u16, exchange: &str, key: &str, properties: &Properties, body: &[u8]) -> Vec<u8> {
    let returned = basic::Return {
        reply_code: 312,
        reply_text: "NO_ROUTE".into(),
        exchange: exchange.into(),
        routing_key: key.into(),
    };
    [on_basic(channel, basic::AMQPMethod::Return(returned)), content(channel, properties, body)].concat()
}

pub(crate) fn consume(channel: u16, queue: &str, tag: &str, words: &str, arguments: &Table) -> Vec<u8> {
    let [no_local, no_ack, exclusive, nowait] = flags(words, ["no-local", "no-ack", "exclusive", "nowait"]);
    on_basic(
        channel,
        basic::AMQPMethod::Consume(basic::Consume {
            queue: queue.into(),
            consumer_tag: tag.into(),
            no_local,
            no_ack,
            exclusive,
            nowait,
            arguments: arguments.into(),
        }),
    )
}

pub(crate) fn consume_ok(channel: u16, tag: &str) -> Vec<u8> {
    on_basic(channel, basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag: tag.into() }))
}

/// basic.deliver from the default exchange, with its content.
pub(crate) fn deliver(channel: u16, tag: &str, number: u64, words: &str, key: &str, body: &[u8]) -> Vec<u8> {
    let [redelivered] = flags(words, ["redelivered"]);
    let deliver = basic::Deliver {
        consumer_tag: tag.into(),
        delivery_tag: number,
        redelivered,
        exchange: "".into(),
        routing_key: key.into(),
    };
    let deliver = on_basic(channel, basic::AMQPMethod::Deliver(deliver));
    [deliver, content(channel, &Properties::default(), body)].concat()
}

/// basic.cancel, by either side.
pub(crate) fn cancel(channel: u16, tag: &str, words: &str) -> Vec<u8> {
    let [nowait] = flags(words, ["nowait"]);
    on_basic(channel, basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag: tag.into(), nowait }))
}

pub(crate) fn cancel_ok(channel: u16, tag: &str) -> Vec<u8> {
    on_basic(channel, basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag: tag.into() }))
}

pub(crate) fn get(channel: u16, queue: &str, words: &str) -> Vec<u8> {
    let [no_ack] = flags(words, ["no-ack"]);
    on_basic(channel, basic::AMQPMethod::Get(basic::Get { queue: queue.into(), no_ack }))
}

/// basic.get-ok from the default exchange, without content.
fn got(channel: u16, number: u64, redelivered: bool, key: &str, message_count: u32) -> Vec<u8> {
    let ok =
        basic::GetOk { delivery_tag: number, redelivered, exchange: "".into(), routing_key: key.into(), message_count };
    on_basic(channel, basic::AMQPMethod::GetOk(ok))
}

/// basic.get-ok of a message not delivered before, without content.
pub(crate) fn get_ok_method(channel: u16, number: u64, key: &str, message_count: u32) -> Vec<u8> {
    got(channel, number, false, key, message_count)
}

/// basic.get-ok from the default exchange, with its content.
pub(crate) fn get_ok(channel: u16, number: u64, words: &str, key: &str, message_count: u32, body: &[u8]) -> Vec<u8> {
    let [redelivered] = flags(words, ["redelivered"]);
    [got(channel, number, redelivered, key, message_count), content(channel, &Properties::default(), body)].concat()
}

pub(crate) fn get_empty(channel: u16) -> Vec<u8> {
    on_basic(channel, basic::AMQPMethod::GetEmpty(basic::GetEmpty {}))
}

/// basic.qos with all its arguments; `amq-protocol` has no prefetch size.
pub(crate) fn qos(channel: u16, size: u32, count: u16, global: bool) -> Vec<u8> {
    raw_method(channel, (60, 10), &[&size.to_be_bytes()[..], &count.to_be_bytes(), &[u8::from(global)]].concat())
}

pub(crate) fn qos_ok(channel: u16) -> Vec<u8> {
    on_basic(channel, basic::AMQPMethod::QosOk(basic::QosOk {}))
}

/// basic.ack, by either side.
pub(crate) fn ack(channel: u16, delivery_tag: u64, words: &str) -> Vec<u8> {
    let [multiple] = flags(words, ["multiple"]);
    on_basic(channel, basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }))
}

/// basic.nack, by either side.
pub(crate) fn nack(channel: u16, delivery_tag: u64, words: &str) -> Vec<u8> {
    let [multiple, requeue] = flags(words, ["multiple", "requeue"]);
    on_basic(channel, basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue }))
}

pub(crate) fn reject(channel: u16, delivery_tag: u64, words: &str) -> Vec<u8> {
    let [requeue] = flags(words, ["requeue"]);
    on_basic(channel, basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue }))
}

pub(crate) fn recover(channel: u16, requeue: bool) -> Vec<u8> {
    on_basic(channel, basic::AMQPMethod::Recover(basic::Recover { requeue }))
}

pub(crate) fn recover_ok(channel: u16) -> Vec<u8> {
    on_basic(channel, basic::AMQPMethod::RecoverOk(basic::RecoverOk {}))
}

pub(crate) fn confirm_select(channel: u16) -> Vec<u8> {
    method(channel, AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })))
}

pub(crate) fn confirm_select_ok(channel: u16) -> Vec<u8> {
    method(channel, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})))
}

fn on_tx(channel: u16, class: tx::AMQPMethod) -> Vec<u8> {
    method(channel, AMQPClass::Tx(class))
}

pub(crate) fn tx_select(channel: u16) -> Vec<u8> {
    on_tx(channel, tx::AMQPMethod::Select(tx::Select {}))
}

pub(crate) fn tx_select_ok(channel: u16) -> Vec<u8> {
    on_tx(channel, tx::AMQPMethod::SelectOk(tx::SelectOk {}))
}

pub(crate) fn tx_commit(channel: u16) -> Vec<u8> {
    on_tx(channel, tx::AMQPMethod::Commit(tx::Commit {}))
}

pub(crate) fn tx_commit_ok(channel: u16) -> Vec<u8> {
    on_tx(channel, tx::AMQPMethod::CommitOk(tx::CommitOk {}))
}

pub(crate) fn tx_rollback(channel: u16) -> Vec<u8> {
    on_tx(channel, tx::AMQPMethod::Rollback(tx::Rollback {}))
}

pub(crate) fn tx_rollback_ok(channel: u16) -> Vec<u8> {
    on_tx(channel, tx::AMQPMethod::RollbackOk(tx::RollbackOk {}))
}
