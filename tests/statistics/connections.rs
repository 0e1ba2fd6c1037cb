//! Connections, channels and consumers over HTTP.

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::AMQPValue;
use serde_json::{Value, json};

use crate::client::{int, none, plain, table};
use crate::http::scenario;

/// A name in a path.
fn quoted(name: &str) -> String {
    name.replace('>', "%3E").replace(' ', "%20")
}

fn only(list: &Value) -> &Value {
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    &list[0]
}

#[test]
fn a_connection_shows_who_its_client_is() {
    scenario(async |_, _, api| {
        let list = api.get("/api/connections").await.ok();
        let connection = only(&list);
        for (key, value) in [
            ("user", json!("guest")),
            ("vhost", json!("/")),
            ("protocol", json!("AMQP 0-9-1")),
            ("auth_mechanism", json!("PLAIN")),
            ("peer_host", json!("127.0.0.1")),
            ("ssl", json!(false)),
            ("peer_cert_subject", json!(null)),
            ("state", json!("running")),
            ("channels", json!(1)),
            ("type", json!("network")),
        ] {
            assert_eq!(connection[key], value, "{key}");
        }
        // Whether there has been a sample yet is a matter of time.
        assert!(connection["recv_oct_details"]["rate"].is_number());
        assert_eq!(connection["client_properties"]["capabilities"]["consumer_cancel_notify"], true);
        assert!(connection["recv_oct"].as_u64().unwrap() > 100 && connection["send_cnt"].as_u64().unwrap() >= 3);
        assert!(connection["connected_at"].as_u64().unwrap() > 1_700_000_000_000);
        let name = connection["name"].as_str().unwrap();
        assert_eq!(api.get(&format!("/api/connections/{}", quoted(name))).await.ok()["name"], name);
        assert_eq!(only(&api.get("/api/vhosts/%2F/connections").await.ok())["name"], name);
        assert_eq!(only(&api.get("/api/connections/username/guest").await.ok())["name"], name);
        assert_eq!(api.get("/api/connections/username/nobody").await.ok(), json!([]));
        api.get("/api/connections/nothing").await.is(404);
    });
}

#[test]
fn a_connection_closed_over_http_is_told_why() {
    scenario(async |broker, _, api| {
        for (header, text) in [("x-reason: maintenance\r\n", "maintenance"), ("", "Closed via management plugin")] {
            let victim = broker.client().await;
            let list = api.get("/api/connections?sort=connected_at").await.ok();
            let name = list.as_array().unwrap().last().unwrap()["name"].as_str().unwrap().to_owned();
            let path = format!("/api/connections/{}", quoted(&name));
            api.send("DELETE", &path, header, "").await.is(204);
            // Whatever is asked for next is answered with the reason, or was too late to be asked.
            loop {
                let asked = victim.channel.basic_qos(1, BasicQosOptions::default()).await;
                if let Err(error) = asked {
                    let error = error.to_string();
                    let told = error.contains("CONNECTION_FORCED") && error.contains(text);
                    assert!(told || error.contains("invalid channel state"), "{error}");
                    break;
                }
            }
            loop {
                if api.get(&path).await.status == 404 {
                    break;
                }
                tokio::task::yield_now().await;
            }
            api.delete(&path).await.is(404);
        }
    });
}

#[test]
fn a_channel_shows_what_it_holds_and_has_done() {
    scenario(async |_, client, api| {
        client.queue("q", none()).await;
        client.channel.basic_qos(2, BasicQosOptions::default()).await.unwrap();
        client.put_all("q", &["1", "2", "3"]).await;
        let options = lapin::options::BasicPublishOptions::default();
        client.channel.basic_publish("".into(), "nowhere".into(), options, b"x", plain()).await.unwrap().await.unwrap();
        let arguments = table([("x-priority", int(3))]);
        let consume = client.channel.basic_consume("q".into(), "tag".into(), BasicConsumeOptions::default(), arguments);
        let _consumer = consume.await.unwrap();
        let path = "/api/channels";
        let list = api.until(path, |list| list[0]["messages_unacknowledged"] == 2).await;
        let channel = only(&list);
        for (key, value) in [
            ("confirm", json!(true)),
            ("transactional", json!(false)),
            ("prefetch_count", json!(2)),
            ("consumer_count", json!(1)),
            ("messages_unconfirmed", json!(0)),
            ("number", json!(1)),
            ("vhost", json!("/")),
            ("state", json!("running")),
        ] {
            assert_eq!(channel[key], value, "{key}");
        }
        let stats = &channel["message_stats"];
        let names = ["publish", "confirm", "drop_unroutable", "return_unroutable", "deliver", "deliver_get", "ack"];
        assert_eq!(names.map(|name| stats[name].as_u64().unwrap()), [4, 4, 1, 0, 2, 2, 0]);
        let name = channel["name"].as_str().unwrap();
        let one = api.get(&format!("/api/channels/{}", quoted(name).replace('(', "%28"))).await.ok();
        assert_eq!(one["consumer_details"][0]["consumer_tag"], "tag");
        let connection = channel["connection_details"]["name"].as_str().unwrap();
        assert_eq!(
            only(&api.get(&format!("/api/connections/{}/channels", quoted(connection))).await.ok())["name"],
            name
        );
        api.get("/api/channels/nothing").await.is(404);
        api.get("/api/channels/nothing%20(1)").await.is(404);
        let consumers = api.get("/api/consumers").await.ok();
        let consumer = only(&consumers);
        assert_eq!((&consumer["arguments"], &consumer["prefetch_count"]), (&json!({"x-priority": 3}), &json!(2)));
        assert_eq!(
            (&consumer["channel_details"]["user"], &consumer["activity_status"]),
            (&json!("guest"), &json!("up"))
        );
    });
}

#[test]
fn transactions_are_shown_until_they_are_committed() {
    scenario(async |_, client, api| {
        client.queue("q", none()).await;
        let channel = client.connection.create_channel().await.unwrap();
        channel.tx_select().await.unwrap();
        let options = lapin::options::BasicPublishOptions::default();
        drop(channel.basic_publish("".into(), "q".into(), options, b"x", plain()).await.unwrap());
        let path = "/api/channels?sort=number";
        let shown = api.until(path, |list| list[1]["messages_uncommitted"] == 1).await;
        assert_eq!(shown[1]["transactional"], true);
        channel.tx_commit().await.unwrap();
        api.until(path, |list| list[1]["messages_uncommitted"] == 0).await;
    });
}

#[test]
fn hostile_names_are_shown_as_they_are() {
    scenario(async |_, client, api| {
        let name = "<script>alert(\"x\")</script>\u{e9}";
        client.queue(name, table([("note", AMQPValue::LongString("<b>\"".into()))])).await;
        let list = api.get("/api/queues").await.ok();
        assert_eq!((&list[0]["name"], &list[0]["arguments"]["note"]), (&json!(name), &json!("<b>\"")));
    });
}
