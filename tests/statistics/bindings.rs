//! Exchanges and bindings over HTTP.

use serde_json::json;

use crate::client::none;
use crate::http::{refused, scenario};

const X: &str = "/api/exchanges/%2F/x";

#[test]
fn an_exchange_is_declared_shown_and_deleted() {
    scenario(async |_, _, api| {
        let body = r#"{"type":"topic","durable":true,"arguments":{"alternate-exchange":"amq.fanout"}}"#;
        api.put(X, body).await.is(201);
        api.put(X, body).await.is(204);
        let exchange = api.get(X).await.ok();
        let expected = json!({
            "name": "x", "vhost": "/", "type": "topic", "durable": true, "auto_delete": false, "internal": false,
            "arguments": {"alternate-exchange": "amq.fanout"}, "user_who_performed_action": "rmq-internal",
            "incoming": [], "outgoing": [],
        });
        assert_eq!(exchange, expected);
        let refusal = api.put(X, r#"{"type":"fanout","durable":true}"#).await.refusal();
        let reason = "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'";
        assert_eq!(refusal, refused(400, "bad_request", reason));
        assert_eq!(api.get("/api/exchanges/%2F/amq.default").await.ok()["name"], "");
        let page = api.get("/api/exchanges/%2F?page=1&page_size=2&columns=name,type").await.ok();
        assert_eq!(page["items"], json!([{"name": "", "type": "direct"}, {"name": "amq.direct", "type": "direct"}]));
        let system = api.delete("/api/exchanges/%2F/amq.topic").await.refusal();
        assert_eq!(system, refused(401, "not_authorised", "Access refused."));
        api.delete(X).await.is(204);
        api.delete(X).await.is(404);
        api.put(X, r#"{"type":"nonsense"}"#).await.is(400);
    });
}

#[test]
fn a_binding_is_made_listed_found_by_its_key_and_removed() {
    scenario(async |_, client, api| {
        const ENDS: &str = "/api/bindings/%2F/e/amq.topic/q/q";
        client.queue("q", none()).await;
        let made = api.post(ENDS, r#"{"routing_key":"a.#"}"#).await;
        assert_eq!((made.status, made.header("location")), (201, Some("q/a.%2523")));
        let with_arguments = api.post(ENDS, r#"{"routing_key":"a.#","arguments":{"k":"v"}}"#).await;
        let location = with_arguments.is(201).header("location").unwrap().to_owned();
        api.post(ENDS, "{}").await.is(201);
        // Python's pyrabbit2 sends null where there is no key.
        let null = api.post(ENDS, r#"{"routing_key":null,"arguments":[]}"#).await;
        assert_eq!((null.status, null.header("location")), (201, Some("q/~")));
        let listed = api.get(ENDS).await.ok();
        let keys: Vec<_> = listed.as_array().unwrap().iter().map(|b| b["properties_key"].as_str().unwrap()).collect();
        assert_eq!((keys.len(), keys[1]), (3, "a.%23"), "{keys:?}");
        assert!(keys.contains(&"~"));
        let one = json!({
            "source": "amq.topic", "vhost": "/", "destination": "q", "destination_type": "queue",
            "routing_key": "a.#", "arguments": {}, "properties_key": "a.%23",
        });
        assert_eq!(api.get(&format!("{ENDS}/a.%2523")).await.ok(), one);
        let found = api.get(&format!("/api/bindings/%2F/e/amq.topic/q/{location}")).await.ok();
        assert_eq!(found["arguments"], json!({"k": "v"}));
        let of_queue = api.get("/api/queues/%2F/q/bindings").await.ok();
        assert_eq!((of_queue.as_array().unwrap().len(), &of_queue[0]["source"]), (4, &json!("")));
        assert_eq!(api.get("/api/exchanges/%2F/amq.topic/bindings/source").await.ok().as_array().unwrap().len(), 3);
        api.delete(&format!("{ENDS}/a.%23")).await.is(204);
        api.delete(&format!("{ENDS}/a.%23")).await.is(404);
        api.delete(&format!("/api/bindings/%2F/e/amq.topic/q/{location}")).await.is(204);
        api.delete(&format!("{ENDS}/~")).await.is(204);
        assert_eq!(api.get("/api/bindings").await.ok().as_array().unwrap().len(), 1, "the default one");
    });
}

#[test]
fn exchanges_are_bound_to_exchanges_and_what_is_missing_is_named() {
    scenario(async |_, client, api| {
        const ENDS: &str = "/api/bindings/%2F/e/amq.fanout/e/amq.topic";
        client.queue("q", none()).await;
        api.post(ENDS, r#"{"routing_key":"k"}"#).await.is(201);
        assert_eq!(api.get(ENDS).await.ok()[0]["destination_type"], "exchange");
        assert_eq!(
            api.get("/api/exchanges/%2F/amq.topic/bindings/destination").await.ok().as_array().unwrap().len(),
            1
        );
        api.delete(&format!("{ENDS}/k")).await.is(204);
        let refusal = api.post("/api/bindings/%2F/e/nox/q/q", "{}").await.refusal();
        assert_eq!(refusal, refused(404, "not_found", "no exchange 'nox' in vhost '/'"));
        let refusal = api.post("/api/bindings/%2F/e/amq.topic/q/noq", "{}").await.refusal();
        assert_eq!(refusal, refused(404, "not_found", "no queue 'noq' in vhost '/'"));
        for nothing in ["bindings/%2F/e/nox/q/q", "queues/%2F/noq/bindings", "exchanges/%2F/nox/bindings/source"] {
            assert_eq!(api.get(&format!("/api/{nothing}")).await.ok(), serde_json::json!([]), "{nothing}");
        }
        api.delete("/api/bindings/%2F/e/nox/q/q/~").await.is(404);
    });
}
