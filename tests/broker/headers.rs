//! The headers exchange and its kinds of match.

use lapin::ExchangeKind;
use lapin::options::QueueBindOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{Client, closed, int, none, plain, refusal, table, text};
use crate::server::scenario;

async fn bound(client: &Client, queue: &str, arguments: FieldTable) {
    client.queue(queue, none()).await;
    client.bind(queue, "x", "", arguments).await;
}

async fn publish(client: &Client, body: &str, headers: FieldTable) {
    client.publish("x", "", body, plain().with_headers(headers)).await;
}

#[test]
fn all_and_any_with_and_without_x() {
    scenario(async |_, client| {
        client.exchange("x", ExchangeKind::Headers, none()).await;
        for how in ["all", "any", "all-with-x", "any-with-x"] {
            let arguments = table([("x-match", text(how)), ("a", int(1)), ("b", text("2")), ("x-c", int(3))]);
            bound(client, how, arguments).await;
        }
        bound(client, "implied", table([("a", int(1)), ("b", text("2"))])).await;
        publish(client, "a", table([("a", int(1))])).await;
        publish(client, "ab", table([("a", int(1)), ("b", text("2")), ("more", int(9))])).await;
        publish(client, "abc", table([("a", int(1)), ("b", text("2")), ("x-c", int(3))])).await;
        publish(client, "c", table([("x-c", int(3))])).await;
        publish(client, "wrong", table([("a", int(2)), ("b", text("1"))])).await;
        client.publish("x", "", "no headers", plain()).await;
        assert_eq!(client.drain("all").await, ["ab", "abc"]);
        assert_eq!(client.drain("implied").await, ["ab", "abc"]);
        assert_eq!(client.drain("any").await, ["a", "ab", "abc"]);
        assert_eq!(client.drain("all-with-x").await, ["abc"]);
        assert_eq!(client.drain("any-with-x").await, ["a", "ab", "abc", "c"]);
    });
}

#[test]
fn no_arguments_match_everything_or_nothing() {
    scenario(async |_, client| {
        client.exchange("x", ExchangeKind::Headers, none()).await;
        bound(client, "all", table([("x-match", text("all"))])).await;
        bound(client, "any", table([("x-match", text("any"))])).await;
        publish(client, "1", table([("a", int(1))])).await;
        client.publish("x", "", "2", plain()).await;
        assert_eq!(client.drain("all").await, ["1", "2"]);
        assert!(client.drain("any").await.is_empty());
    });
}

#[test]
fn values_compare_by_meaning() {
    scenario(async |_, client| {
        client.exchange("x", ExchangeKind::Headers, none()).await;
        bound(client, "one", table([("k", int(1))])).await;
        bound(client, "present", table([("k", AMQPValue::Void)])).await;
        publish(client, "i64", table([("k", AMQPValue::LongLongInt(1))])).await;
        publish(client, "u8", table([("k", AMQPValue::ShortShortUInt(1))])).await;
        publish(client, "float", table([("k", AMQPValue::Double(1.0))])).await;
        publish(client, "string", table([("k", text("1"))])).await;
        assert_eq!(client.drain("one").await, ["i64", "u8"]);
        assert_eq!(client.drain("present").await, ["i64", "u8", "float", "string"]);
    });
}

#[test]
fn a_timestamp_never_matches_but_is_present() {
    scenario(async |_, client| {
        client.exchange("x", ExchangeKind::Headers, none()).await;
        let time = || table([("t", AMQPValue::Timestamp(1_700_000_000))]);
        bound(client, "time", time()).await;
        bound(client, "present", table([("t", AMQPValue::Void)])).await;
        publish(client, "m", time()).await;
        assert!(client.drain("time").await.is_empty());
        assert_eq!(client.drain("present").await, ["m"]);
    });
}

#[test]
fn strings_and_flags_compare_exactly() {
    scenario(async |_, client| {
        client.exchange("x", ExchangeKind::Headers, none()).await;
        bound(client, "text", table([("k", text("Yes"))])).await;
        bound(client, "flag", table([("k", AMQPValue::Boolean(true))])).await;
        bound(client, "float", table([("k", AMQPValue::Double(0.5))])).await;
        bound(client, "void with x", table([("x-match", text("any-with-x")), ("x-k", AMQPValue::Void)])).await;
        publish(client, "Yes", table([("k", text("Yes"))])).await;
        publish(client, "yes", table([("k", text("yes"))])).await;
        publish(client, "true", table([("k", AMQPValue::Boolean(true))])).await;
        publish(client, "one", table([("k", int(1))])).await;
        publish(client, "half", table([("k", AMQPValue::Float(0.5))])).await;
        publish(client, "x", table([("x-k", int(9))])).await;
        assert_eq!(client.drain("text").await, ["Yes"]);
        assert_eq!(client.drain("flag").await, ["true"]);
        assert_eq!(client.drain("float").await, ["half"]);
        assert_eq!(client.drain("void with x").await, ["x"]);
    });
}

#[test]
fn an_unknown_kind_of_match_is_refused() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        let prefix = "PRECONDITION_FAILED - Invalid x-match field ";
        let cases = [
            (text("foo"), "value <<\"foo\">>; expected all, any, all-with-x, or any-with-x"),
            (int(5), "type signedint (value 5); expected longstr"),
        ];
        for (value, expected) in cases {
            let channel = client.channel().await;
            let arguments = table([("x-match", value)]);
            let options = QueueBindOptions::default();
            let bound = channel.queue_bind("q".into(), "amq.headers".into(), "".into(), options, arguments).await;
            assert_eq!(refusal(bound), closed(406, &format!("{prefix}{expected}")));
        }
    });
}
