//! Publishing and getting over HTTP.

use lapin::options::QueueBindOptions;
use serde_json::json;

use crate::client::{int, none, table, text};
use crate::http::{refused, scenario};

const PUBLISH: &str = "/api/exchanges/%2F/amq.default/publish";
const GET: &str = "/api/queues/%2F/q/get";

fn message(key: &str, payload: &str) -> String {
    json!({"routing_key": key, "payload": payload, "payload_encoding": "string", "properties": {}}).to_string()
}

fn ask(mode: &str, count: u32) -> String {
    json!({"ackmode": mode, "count": count, "encoding": "auto"}).to_string()
}

#[test]
fn a_message_goes_in_and_comes_out_as_it_was() {
    scenario(async |_, client, api| {
        client.queue("q", none()).await;
        let properties = json!({
            "content_type": "text/plain", "delivery_mode": 2, "priority": 3, "headers": {"n": 1, "t": "x"},
        });
        let body =
            json!({"routing_key": "q", "payload": "aGk=", "payload_encoding": "base64", "properties": properties});
        assert_eq!(api.post(PUBLISH, &body.to_string()).await.ok(), json!({"routed": true}));
        assert_eq!(api.post(PUBLISH, &message("nowhere", "x")).await.ok(), json!({"routed": false}));
        let got = api.post(GET, &ask("ack_requeue_true", 5)).await.ok();
        let expected = json!([{
            "payload_bytes": 2, "redelivered": false, "exchange": "", "routing_key": "q", "message_count": 0,
            "properties": properties, "payload": "hi", "payload_encoding": "string",
        }]);
        assert_eq!(got, expected);
        let again = api
            .post(
                GET,
                &json!({"ackmode": "ack_requeue_false", "count": 1, "encoding": "base64", "truncate": 1}).to_string(),
            )
            .await
            .ok();
        assert_eq!((&again[0]["payload"], &again[0]["redelivered"]), (&json!("aA=="), &json!(true)));
        assert_eq!((&again[0]["payload_bytes"], &again[0]["payload_encoding"]), (&json!(2), &json!("base64")));
        assert_eq!(api.post(GET, &ask("ack_requeue_false", 1)).await.ok(), json!([]));
    });
}

#[test]
fn every_way_to_settle_does_what_it_says() {
    scenario(async |_, client, api| {
        client.queue("dead", none()).await;
        let arguments = table([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("dead"))]);
        client.queue("q", arguments).await;
        client.put_all("q", &["1", "2", "3"]).await;
        for mode in ["ack_requeue_true", "reject_requeue_true"] {
            let got = api.post(GET, &ask(mode, 10)).await.ok();
            let payloads: Vec<_> = got.as_array().unwrap().iter().map(|m| m["payload"].as_str().unwrap()).collect();
            assert_eq!(payloads, ["1", "2", "3"], "{mode}: each once, however many are asked for");
        }
        assert_eq!(api.post(GET, &ask("ack_requeue_false", 1)).await.ok()[0]["message_count"], 2);
        api.post(GET, &ask("reject_requeue_false", 1)).await.ok();
        api.until("/api/queues/%2F/dead", |dead| dead["messages_ready"] == 1).await;
        assert_eq!(client.drain("q").await, ["3"]);
        assert_eq!(client.drain("dead").await, ["2"]);
    });
}

#[test]
fn what_cannot_be_published_is_refused() {
    scenario(async |_, client, api| {
        client.queue("q", table([("x-max-length", int(0)), ("x-overflow", text("reject-publish"))])).await;
        client.exchange("inner", lapin::ExchangeKind::Fanout, none()).await;
        let missing = api.post("/api/exchanges/%2F/nox/publish", &message("q", "x")).await.refusal();
        assert_eq!(missing, refused(404, "not_found", "exchange_not_found"));
        let keys = api.post(PUBLISH, r#"{"routing_key":"q","payload_encoding":"string"}"#).await.refusal();
        assert_eq!(keys, refused(400, "bad_request", "[{key_missing,properties},{key_missing,payload}]"));
        assert_eq!(api.post(PUBLISH, &message("q", "x")).await.refusal(), refused(400, "bad_request", "rejected"));
        let number = json!({"routing_key": "q", "payload": 5, "payload_encoding": "string", "properties": {}});
        let answer = api.post(PUBLISH, &number.to_string()).await.refusal();
        assert_eq!(answer, refused(400, "bad_request", "payload_not_string"));
        let expiration = json!({"routing_key": "q", "payload": "", "payload_encoding": "string",
            "properties": {"expiration": "soon"}});
        let (status, _, reason) = api.post(PUBLISH, &expiration.to_string()).await.refusal();
        assert_eq!(status, 400);
        assert_eq!(reason, "406 PRECONDITION_FAILED - invalid expiration 'soon': no_integer");
        let long = api.post(PUBLISH, &message(&"k".repeat(256), "x")).await;
        long.is(400);
    });
}

#[test]
fn what_cannot_be_got_is_refused() {
    scenario(async |_, client, api| {
        client.queue("q", none()).await;
        let missing = api.post("/api/queues/%2F/noq/get", &ask("ack_requeue_true", 1)).await.refusal();
        assert_eq!(missing, refused(404, "not_found", "queue_not_found"));
        let none = api.post(GET, "{}").await.refusal();
        let reason = "[{key_missing,ackmode},{key_missing,count},{key_missing,encoding}]";
        assert_eq!(none, refused(400, "bad_request", reason));
        let encoding = api.post(GET, r#"{"ackmode":"ack_requeue_true","count":1,"encoding":"x"}"#).await.refusal();
        assert_eq!(encoding, refused(400, "bad_request", "Unsupported encoding. Please use auto or base64."));
        api.post(GET, &ask("maybe", 1)).await.is(400);
        api.post(GET, r#"{"ackmode":"ack_requeue_true","count":"many","encoding":"auto"}"#).await.is(400);
        let text = r#"{"ackmode":"ack_requeue_true","count":"1","encoding":"auto"}"#;
        assert_eq!(api.post(GET, text).await.ok(), json!([]), "a number may be text");
    });
}

#[test]
fn what_is_published_over_http_is_counted_and_routed_by_cc() {
    scenario(async |_, client, api| {
        client.queue("q", none()).await;
        client.queue("copy", none()).await;
        let bind =
            client.channel.queue_bind("q".into(), "amq.direct".into(), "k".into(), QueueBindOptions::default(), none());
        bind.await.unwrap();
        let body = json!({"routing_key": "k", "payload": "x", "payload_encoding": "string", "properties": {}});
        api.post("/api/exchanges/%2F/amq.direct/publish", &body.to_string()).await.ok();
        let exchange = api.get("/api/exchanges/%2F/amq.direct").await.ok();
        assert_eq!(
            (&exchange["message_stats"]["publish_in"], &exchange["message_stats"]["publish_out"]),
            (&json!(1), &json!(1))
        );
        let body = json!({"routing_key": "q", "payload": "x", "payload_encoding": "string",
            "properties": {"headers": {"CC": ["copy"]}}});
        api.post(PUBLISH, &body.to_string()).await.ok();
        assert_eq!(client.drain("copy").await, ["x"]);
        let text = api.metrics("/metrics").await;
        assert!(text.contains("rabbitmq_global_messages_received_total{protocol=\"amqp091\"} 2.0\n"), "{text}");
    });
}
