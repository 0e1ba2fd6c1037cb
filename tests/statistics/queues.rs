//! Queues over HTTP: declaring, listing, purging, deleting, and what is counted of them.

use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicRejectOptions};
use serde_json::json;

use crate::client::{int, next, none, persistent, table, text};
use crate::http::{refused, scenario};

const Q: &str = "/api/queues/%2F/q";

#[test]
fn a_queue_is_declared_shown_and_deleted() {
    scenario(async |_, _, api| {
        let body = r#"{"durable":true,"arguments":{"x-max-length":10,"x-queue-type":"classic"}}"#;
        api.put(Q, body).await.is(201);
        api.put(Q, body).await.is(204);
        let queue = api.get(Q).await.ok();
        for (key, value) in [
            ("name", json!("q")),
            ("vhost", json!("/")),
            ("type", json!("classic")),
            ("durable", json!(true)),
            ("auto_delete", json!(false)),
            ("exclusive", json!(false)),
            ("state", json!("running")),
            ("messages", json!(0)),
            ("messages_details", json!({"rate": 0.0})),
            ("policy", json!(null)),
            ("effective_policy_definition", json!({})),
            ("consumer_details", json!([])),
            ("arguments", json!({"x-max-length": 10, "x-queue-type": "classic"})),
        ] {
            assert_eq!(queue[key], value, "{key}");
        }
        assert!(queue.get("message_stats").is_none(), "nothing has happened");
        let reason = "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'";
        assert_eq!(api.put(Q, "{}").await.refusal(), refused(400, "bad_request", reason));
        api.delete(Q).await.is(204);
        assert_eq!(api.get(Q).await.refusal(), refused(404, "Object Not Found", "Not Found"));
        assert_eq!(api.delete(Q).await.refusal(), refused(404, "Object Not Found", "Not Found"));
        let nowhere = api.put("/api/queues/nowhere/q", "{}").await.refusal();
        assert_eq!(nowhere, refused(404, "not_found", "vhost_not_found"));
    });
}

#[test]
fn bad_declarations_are_refused_and_change_nothing() {
    scenario(async |_, _, api| {
        for (body, reason) in [
            ("{", "not_json"),
            ("[]", "not_json"),
            (
                r#"{"arguments":{"x-max-length":-1}}"#,
                "invalid arg 'x-max-length' for queue 'q' in vhost '/': {value_negative,-1}",
            ),
            (r#"{"arguments":{"a":null}}"#, "null_not_allowed"),
            (r#"{"durable":1}"#, r#"["not_boolean",1]"#),
        ] {
            assert_eq!(api.put(Q, body).await.refusal(), refused(400, "bad_request", reason), "{body}");
        }
        assert!(api.put(Q, r#"{"arguments":7}"#).await.status == 400);
        let reserved = api.put("/api/queues/%2F/amq.x", "{}").await.refusal();
        assert_eq!(reserved, refused(401, "not_authorised", "Access refused."));
        api.put(&format!("/api/queues/%2F/{}", "n".repeat(256)), "{}").await.is(400);
        assert_eq!(api.get("/api/queues").await.ok(), json!([]));
    });
}

#[test]
fn deleting_may_be_on_condition_and_purging_empties() {
    scenario(async |_, client, api| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2"]).await;
        let answer = api.delete(&format!("{Q}?if-empty=true")).await.refusal();
        assert_eq!(answer, refused(400, "bad_request", "queue 'q' in vhost '/' not empty"));
        api.delete(&format!("{Q}/contents")).await.is(204);
        assert_eq!(api.get(Q).await.ok()["messages"], 0);
        let consumer = client.consume("q").await;
        let answer = api.delete(&format!("{Q}?if-unused=true")).await.refusal();
        assert_eq!(answer, refused(400, "bad_request", "queue 'q' in vhost '/' in use"));
        drop(consumer);
        api.delete(Q).await.is(204);
        api.delete(&format!("{Q}/contents")).await.is(404);
        let action = api.post(&format!("{Q}/actions"), r#"{"action":"sync"}"#).await;
        action.is(404);
    });
}

#[test]
fn what_happens_to_messages_is_counted() {
    scenario(async |_, client, api| {
        client.durable("q", none()).await;
        for body in ["1", "22", "333", "4444"] {
            client.put_as("q", body, persistent()).await;
        }
        let queue = api.get(Q).await.ok();
        assert_eq!((&queue["messages"], &queue["messages_ready"]), (&json!(4), &json!(4)));
        assert_eq!((&queue["message_bytes"], &queue["message_bytes_ready"]), (&json!(10), &json!(10)));
        assert_eq!((&queue["messages_persistent"], &queue["message_bytes_persistent"]), (&json!(4), &json!(10)));
        let mut consumer = client.consume("q").await;
        let first = next(&mut consumer).await;
        let queue = api.until(Q, |queue| queue["messages_unacknowledged"] == 4).await;
        assert_eq!((&queue["messages_ready"], &queue["message_bytes_unacknowledged"]), (&json!(0), &json!(10)));
        first.ack(BasicAckOptions::default()).await.unwrap();
        next(&mut consumer).await.nack(BasicNackOptions { requeue: true, ..Default::default() }).await.unwrap();
        next(&mut consumer).await.reject(BasicRejectOptions { requeue: false }).await.unwrap();
        let queue = api.until(Q, |queue| queue["messages"] == 2 && queue["message_stats"]["redeliver"] == 1).await;
        let stats = &queue["message_stats"];
        let counted = ["publish", "deliver", "deliver_get", "redeliver", "ack", "get", "get_empty", "deliver_no_ack"];
        let counted = counted.map(|name| stats[name].as_u64().unwrap());
        assert_eq!(counted, [4, 5, 5, 1, 1, 0, 0, 0]);
        assert_eq!(stats["publish_details"]["rate"], json!(0.0));
        assert_eq!((&queue["messages_persistent"], &queue["consumers"]), (&json!(2), &json!(1)));
        assert_eq!((&queue["consumer_capacity"], &queue["consumer_utilisation"]), (&json!(1.0), &json!(1.0)));
        let details = &queue["consumer_details"][0];
        assert_eq!((&details["ack_required"], &details["active"]), (&json!(true), &json!(true)));
        assert_eq!(details["queue"], json!({"name": "q", "vhost": "/"}));
    });
}

#[test]
fn getting_is_counted_too() {
    scenario(async |_, client, api| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2"]).await;
        client.channel.basic_get("q".into(), BasicGetOptions { no_ack: true }).await.unwrap();
        client.get("q").await.unwrap();
        assert!(client.get("q").await.is_none());
        let stats = &api.get(Q).await.ok()["message_stats"];
        let counted = ["get", "get_no_ack", "get_empty", "deliver_get"].map(|name| stats[name].as_u64().unwrap());
        assert_eq!(counted, [1, 1, 1, 2]);
    });
}

#[test]
fn lists_are_paged_sorted_cut_to_columns_and_cheap_without_statistics() {
    scenario(async |_, client, api| {
        for name in ["b", "a", "c1", "c2"] {
            client.queue(name, none()).await;
        }
        client.put_all("b", &["1", "2"]).await;
        let page = api
            .get("/api/queues/%2F?page=1&page_size=2&sort=messages&sort_reverse=true&columns=name,messages")
            .await
            .ok();
        assert_eq!(page["items"][0], json!({"name": "b", "messages": 2}));
        assert_eq!((&page["total_count"], &page["page_count"]), (&json!(4), &json!(2)));
        let found = api.get("/api/queues?page=1&name=^c\\d$&use_regex=true&columns=name").await.ok();
        assert_eq!(found["items"], json!([{"name": "c1"}, {"name": "c2"}]));
        let plain = api.get("/api/queues?disable_stats=true").await.ok();
        assert!(plain[0].get("messages").is_none() && plain[0].get("memory").is_none(), "{plain}");
        assert_eq!(plain[0]["name"], "a");
        let totals = api.get("/api/queues?disable_stats=true&enable_queue_totals=true").await.ok();
        assert_eq!((&totals[1]["messages"], totals[1].get("memory")), (&json!(2), None));
        let rates = "columns=message_stats.publish_details.rate";
        assert_eq!(
            api.get(&format!("/api/queues/%2F/b?{rates}")).await.ok(),
            json!({"message_stats": {"publish_details": {"rate": 0.0}}})
        );
        let bad = api.get("/api/queues?msg_rates_age=60&msg_rates_incr=0").await.refusal();
        assert_eq!(bad, refused(400, "bad_request", "Invalid range parameters: age 60, incr 0"));
        api.get("/api/queues/nowhere").await.is(404);
    });
}

#[test]
fn quorum_and_exclusive_queues_have_their_own_fields() {
    scenario(async |_, client, api| {
        client.durable("q", table([("x-queue-type", text("quorum")), ("x-delivery-limit", int(5))])).await;
        let queue = api.get(Q).await.ok();
        assert_eq!((&queue["type"], &queue["delivery_limit"]), (&json!("quorum"), &json!(5)));
        assert_eq!(queue["leader"], queue["node"]);
        assert_eq!(queue["members"], json!([queue["node"]]));
        assert!(queue.get("exclusive_consumer_tag").is_none() && queue.get("messages_dlx").is_some());
        let options = lapin::options::QueueDeclareOptions { exclusive: true, ..Default::default() };
        client.channel.queue_declare("own".into(), options, none()).await.unwrap();
        let own = api.get("/api/queues/%2F/own").await.ok();
        assert_eq!(own["exclusive"], true);
        assert_eq!(own["owner_pid_details"]["peer_host"], "127.0.0.1");
        let owned = api.get("/api/users/guest/queues").await.ok();
        assert_eq!((&owned[0]["name"], owned.as_array().unwrap().len()), (&json!("own"), 1));
        assert_eq!(api.get("/api/users/nobody/queues").await.ok(), json!([]));
        let refusal = api.delete("/api/queues/%2F/own").await.refusal();
        assert_eq!((refusal.0, refusal.1.as_str()), (400, "bad_request"));
        assert!(refusal.2.starts_with("cannot obtain exclusive access to locked queue 'own'"), "{}", refusal.2);
    });
}

#[test]
fn a_single_active_consumer_is_named_and_the_others_wait() {
    scenario(async |_, client, api| {
        client.queue("q", table([("x-single-active-consumer", lapin::types::AMQPValue::Boolean(true))])).await;
        let mut consumers = Vec::new();
        for tag in ["one", "two"] {
            let consume = client.channel.basic_consume("q".into(), tag.into(), BasicConsumeOptions::default(), none());
            consumers.push(consume.await.unwrap());
        }
        assert_eq!(api.get(Q).await.ok()["single_active_consumer_tag"], "one");
        let consumers = api.get("/api/consumers/%2F").await.ok();
        let shown = |at: usize| (consumers[at]["consumer_tag"].clone(), consumers[at]["activity_status"].clone());
        assert_eq!((shown(0), shown(1)), ((json!("one"), json!("single_active")), (json!("two"), json!("waiting"))));
    });
}
