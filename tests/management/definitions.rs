//! Definitions: what is imported is exported again, twice makes no difference, and what is refused changes nothing.

use serde_json::{Value, json};

use crate::api::{Api, refused, scenario};
use crate::client::Client;

/// A document with every kind of thing.
pub(crate) const FIXTURE: &str = include_str!("definitions.json");

/// The keys of a document that say who wrote it.
const FACTS: [&str; 6] =
    ["rabbit_version", "rabbitmq_version", "product_name", "product_version", "explanation", "original_cluster_name"];

/// A document without the facts of its author, its lists in an order of their own.
pub(crate) fn plain(document: &Value) -> Value {
    let mut document = document.clone();
    let map = document.as_object_mut().expect("a document is an object");
    for fact in FACTS {
        assert!(map.remove(fact).is_some(), "{fact}");
    }
    for list in map.values_mut() {
        if let Value::Array(items) = list {
            items.sort_by_key(Value::to_string);
        }
    }
    document
}

fn fixture() -> Value {
    serde_json::from_str(FIXTURE).expect("the fixture is JSON")
}

async fn exported(api: &Api) -> Value {
    api.get("/api/definitions").await.ok()
}

#[test]
fn what_is_imported_is_exported_again() {
    scenario(async |broker, api| {
        api.post("/api/definitions", FIXTURE).await.is(204);
        let first = exported(api).await;
        assert_eq!(plain(&first), plain(&fixture()));
        api.post("/api/definitions", &first.to_string()).await.is(204);
        assert_eq!(exported(api).await, first, "once more makes no difference, not even in order");
        // And it is all there.
        api.user("carrot", "carrot-pass").get("/api/whoami").await.is(200);
        let client = Client::connect(broker.address()).await;
        client.put("a", "one").await;
        assert_eq!(client.ready("a").await, 1);
        assert!(client.publish("x-direct", "nobody-knows", "two", crate::client::plain()).await.is_ack());
        client.until_ready("gone-soon", 1).await;
        drop(client);
    });
}

#[test]
fn it_moves_to_another_broker() {
    scenario(async |_, api| {
        api.post("/api/definitions", FIXTURE).await.is(204);
        let document = exported(api).await;
        scenario_beside(document).await;
    });
}

async fn scenario_beside(document: Value) {
    let broker = crate::server::Broker::start(crate::api::builder());
    let api = Api::new(&broker);
    api.post("/api/definitions", &document.to_string()).await.is(204);
    assert_eq!(exported(&api).await, document);
    broker.stop().await;
}

#[test]
fn streams_are_kept_aside_and_not_declared() {
    scenario(async |broker, api| {
        api.post("/api/definitions", FIXTURE).await.is(204);
        let kept = api.get("/api/parameters/unsupported-queue/field?columns=name").await.ok();
        assert_eq!(kept, json!([{"name": "history"}]));
        let vhost = broker.inside().vhost("field").unwrap();
        assert!(vhost.queue("history").is_none() && vhost.queue("carrots").is_some());
        api.delete("/api/parameters/unsupported-queue/field/history").await.is(204);
        let queues = exported(api).await["queues"].as_array().unwrap().len();
        assert_eq!(queues, fixture()["queues"].as_array().unwrap().len() - 1);
    });
}

#[test]
fn what_is_there_already_stays_or_is_replaced() {
    scenario(async |_, api| {
        api.post("/api/definitions", FIXTURE).await.is(204);
        let mut changed = fixture();
        changed["queues"][0]["arguments"]["x-message-ttl"] = 1.into();
        changed["policies"][0]["priority"] = 9.into();
        changed["users"][1]["tags"] = json!([]);
        api.post("/api/definitions", &changed.to_string()).await.is(204);
        let now = plain(&exported(api).await);
        let mut expected = fixture();
        expected["policies"][0]["priority"] = 9.into();
        expected["users"][1]["tags"] = json!([]);
        assert_eq!(now, plain(&expected), "queues stay, policies and users are replaced");
    });
}

#[test]
fn a_bad_item_is_named_and_nothing_is_applied() {
    scenario(async |_, api| {
        let before = exported(api).await;
        let with = |place: &str, value: Value| {
            let mut document = fixture();
            *document.pointer_mut(place).unwrap() = value;
            document.to_string()
        };
        for (document, reason) in [
            (with("/queues/0/arguments/x-message-ttl", json!("soon")), "queues[0].arguments.x-message-ttl: "),
            (with("/queues/1/arguments/x-expires", json!(0)), "queues[1].arguments.x-expires: "),
            (with("/queues/2/durable", json!(false)), "queues[2]: invalid property 'non-durable'"),
            (with("/queues/0/vhost", json!("nowhere")), "queues[0].vhost: Please create virtual host \"nowhere\""),
            (with("/exchanges/0/type", json!("magic")), "exchanges[0].type: unknown exchange type 'magic'"),
            (
                with("/bindings/0/destination", json!("nobody")),
                "bindings[0].destination: no queue 'nobody' in vhost '/'",
            ),
            (with("/bindings/0/source", json!("nobody")), "bindings[0].source: no exchange 'nobody' in vhost '/'"),
            (with("/bindings/5/routing_key", json!("heavy")), "bindings[5]: "),
            (with("/permissions/1/user", json!("nobody")), "permissions[1].user: "),
            (with("/permissions/1/write", json!("[")), "permissions[1]: "),
            (with("/topic_permissions/0/read", json!("(")), "topic_permissions[0]: "),
            (with("/policies/1/definition", json!({"foo": 1})), "policies[1]: Validation failed"),
            (with("/policies/1/pattern", json!("(")), "policies[1]: Validation failed"),
            (with("/parameters/0/value/definition", json!({"foo": 1})), "parameters[0]: Validation failed"),
            (with("/parameters/1/value", json!({"max-queues": "all"})), "parameters[1]: Validation failed"),
            (with("/parameters/2/component", json!("magic")), "parameters[2]: Validation failed"),
            (with("/users/1/password_hash", json!("short")), "users[1].password_hash: "),
            (with("/users/1/tags", json!(vec!["t"; 33])), "users[1]: "),
            (with("/users/1/name", json!("n".repeat(256))), "users[1].name: "),
            (with("/vhosts/1/metadata/default_queue_type", json!("stack")), "vhosts[1]: "),
            (
                with("/parameters/1/value", json!({"max-queues": 1})),
                "queues: Adding 2 queue(s) to virtual host \"field\"",
            ),
            ("[]".to_owned(), "failed_to_parse_json"),
            ("{".to_owned(), "failed_to_parse_json"),
        ] {
            let answer = api.post("/api/definitions", &document).await;
            assert_eq!(answer.status, 400, "{reason}: {answer:?}");
            assert!(answer.reason().starts_with(reason), "{reason}: {}", answer.reason());
            assert_eq!(exported(api).await, before, "{reason}");
        }
    });
}

#[test]
fn one_virtual_host_can_be_exported_and_imported_into_another() {
    scenario(async |_, api| {
        api.post("/api/definitions", FIXTURE).await.is(204);
        let document = api.get("/api/definitions/field").await.ok();
        assert_eq!(document["rabbitmq_definition_format"], "single_virtual_host");
        assert_eq!(document["original_vhost_name"], "field");
        assert_eq!(document["limits"], json!({"max-queues": 500}));
        assert!(document.get("users").is_none() && document["queues"][0].get("vhost").is_none());
        let reason = api.post("/api/definitions", &document.to_string()).await.is(400).reason();
        assert!(reason.contains(".vhost: is missing"), "{reason}");
        api.put(
            "/api/vhosts/copy",
            r#"{"default_queue_type":"quorum","description":"where they grow","tags":"production,fenced"}"#,
        )
        .await
        .is(201);
        api.post("/api/definitions/copy", &document.to_string()).await.is(204);
        let mut copy = api.get("/api/definitions/copy").await.ok();
        for key in ["explanation", "original_vhost_name"] {
            copy[key] = document[key].clone();
        }
        assert_eq!(copy, document);
        let expected = refused(404, "not_found", "vhost_not_found");
        assert_eq!(api.post("/api/definitions/nowhere", "{}").await.refusal(), expected);
        let expected = refused(400, "bad_request", "vhost_not_found");
        assert_eq!(api.get("/api/definitions/nowhere").await.refusal(), expected);
    });
}

#[test]
fn a_form_with_a_file_is_a_document_too() {
    scenario(async |_, api| {
        let form = format!(
            "--b\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; \
             name=\"file\"; filename=\"d.json\"\r\nContent-Type: application/json\r\n\r\n{FIXTURE}\r\n--b--\r\n"
        );
        let headers = [("content-type", "multipart/form-data; boundary=b")];
        api.send(hyper::Method::POST, "/api/definitions", &headers, &form).await.is(204);
        api.get("/api/vhosts/field").await.is(200);
        api.send(hyper::Method::POST, "/api/definitions", &headers, "--b--\r\n").await.is(400);
        let headers = [("content-type", "multipart/form-data")];
        api.send(hyper::Method::POST, "/api/definitions", &headers, &form).await.is(400);
    });
}

#[test]
fn an_export_can_be_stored_under_a_name() {
    scenario(async |_, api| {
        let answer = api.get("/api/definitions?download=my-broker.json").await.is(200);
        assert_eq!(answer.header("content-disposition"), Some("attachment; filename=my-broker.json"));
        api.get("/api/definitions?download=a%0d%0ab").await.is(400);
        api.get("/api/definitions?download=..%2Fetc").await.is(400);
        api.get("/api/all-configuration").await.is(200);
    });
}

#[test]
fn everything_survives_a_restart() {
    crate::server::in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let start = || crate::server::Broker::start(crate::api::builder().data_dir(directory.path()));
        let broker = start();
        let api = Api::new(&broker);
        api.post("/api/definitions", FIXTURE).await.is(204);
        let before = exported(&api).await;
        let id = api.get("/api/global-parameters/internal_cluster_id").await.ok();
        broker.stop().await;
        let broker = start();
        let api = Api::new(&broker);
        assert_eq!(exported(&api).await, before);
        assert_eq!(api.get("/api/global-parameters/internal_cluster_id").await.ok(), id);
        broker.stop().await;
    });
}
