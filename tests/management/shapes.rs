//! Answers have the fields and types of RabbitMQ's.
//!
//! `shapes/requests.txt` lists requests that a RabbitMQ 4.3.6 was asked, `shapes/NAME.json` the shape of its answer: an
//! object is an object of shapes, a list holds the shape of its items, everything else is the name of its type. A field
//! with a question mark is not always there. No value of an answer stands there.

use hyper::Method;
use lapin::Consumer;
use lapin::options::{BasicAckOptions, BasicQosOptions, BasicRejectOptions};
use serde_json::Value;

use crate::api::{Api, scenario};
use crate::client::{Client, next, persistent};
use crate::server::Broker;

const REQUESTS: &str = include_str!("shapes/requests.txt");

/// Fields of RabbitMQ's answers that are not here, with the reason.
const ABSENT: &[(&str, &str)] = &[
    ("message_stats", "nothing has happened in the queue or exchange that is asked for"),
    ("messages_active_priorities", "a queue does not count its messages by priority"),
    ("messages_by_priority", "a queue does not count its messages by priority"),
    ("publishers", "a queue does not know who publishes to it"),
    ("contexts[].ssl_opts", "the HTTP listeners have no TLS of their own"),
    ("[].contexts[].protocol", "of cowboy"),
    ("[].cluster_links", "one node has none; the list is empty in both"),
    ("[].consumer_timeout", "there is none unless it is set"),
    ("consumer_details[].consumer_timeout", "there is none unless it is set"),
];

/// Fields that RabbitMQ's answers do not have.
const MORE: &[(&str, &str)] = &[
    ("messages_paged_out", "versions before 4 have it"),
    ("message_bytes_paged_out", "versions before 4 have it"),
    ("[].global_prefetch_count", "versions before 4.3 have it"),
    ("missing", "the same key under another status"),
    ("[].contexts[].node", "there in the overview; the nodes' list leaves it out"),
];

/// Fields whose type is another one here, with the reason.
const OTHER: &[(&str, &str)] = &[
    ("items[].policy", "null where no policy governs, as in single queues there"),
    ("[].disk_free", "null where nothing limits the store, as in memory"),
    ("listeners[].socket_opts", "an empty list for some listeners there"),
];

/// Fields that only Erlang has, wherever they are.
const OF_ERLANG: &[&str] = &["garbage_collection", "reductions", "reductions_details", "cached_segments"];

fn is_of_erlang(path: &str) -> bool {
    OF_ERLANG.contains(&path.rsplit('.').next().unwrap_or_default())
}

fn is_known(list: &[(&str, &str)], path: &str) -> bool {
    list.iter().any(|(known, _)| *known == path)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Compares an answer with a shape; notes every difference.
fn compare(path: &str, answer: &Value, shape: &Value, found: &mut Vec<String>) {
    match (answer, shape) {
        (Value::Object(answer), Value::Object(shape)) => {
            for (key, shape) in shape {
                let name = key.trim_end_matches('?');
                let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                match answer.get(name) {
                    Some(answer) => compare(&below, answer, shape, found),
                    None if key.ends_with('?') || is_known(ABSENT, &below) || is_of_erlang(&below) => {}
                    None => found.push(format!("{below} is missing")),
                }
            }
            for key in answer.keys() {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if !shape.contains_key(key) && !shape.contains_key(&format!("{key}?")) && !is_known(MORE, &below) {
                    found.push(format!("{below} is not RabbitMQ's"));
                }
            }
        }
        (Value::Array(answer), Value::Array(shape)) => {
            for item in answer {
                match shape.first() {
                    Some(shape) => compare(&format!("{path}[]"), item, shape, found),
                    // Nothing is known of the items of a list that was empty.
                    None => break,
                }
            }
        }
        (answer, Value::String(types)) => {
            let is = kind(answer);
            if !types.split('|').any(|known| known == is || known == "null") && !is_known(OTHER, path) {
                found.push(format!("{path} is of type {is}, not {types}"));
            }
        }
        _ if is_known(OTHER, path) => {}
        (answer, shape) => found.push(format!("{path} is of type {}, not {}", kind(answer), kind(shape))),
    }
}

/// Objects by the names that the requests ask for.
async fn prepare(api: &Api) {
    for (vhost, kind) in [("shop", "classic"), ("media", "quorum")] {
        let body = format!(r#"{{"description":"{vhost}","tags":"production","default_queue_type":"{kind}"}}"#);
        api.put(&format!("/api/vhosts/{vhost}"), &body).await.is(201);
    }
    let document = r#"{
        "exchanges": [{"vhost": "shop", "name": "events", "type": "topic"},
            {"vhost": "media", "name": "x0", "type": "direct"}],
        "queues": [{"vhost": "shop", "name": "q0"}, {"vhost": "media", "name": "q1"},
            {"vhost": "shop", "name": "q1"}, {"vhost": "shop", "name": "q10"}, {"vhost": "shop", "name": "q11"},
            {"vhost": "shop", "name": "q4", "arguments": {"x-queue-type": "quorum", "x-delivery-limit": 5}}],
        "bindings": [{"vhost": "shop", "source": "events", "destination": "q0", "destination_type": "queue",
            "routing_key": "orders.*.q0"}, {"vhost": "media", "source": "x0", "destination": "q1",
            "destination_type": "queue", "routing_key": "k1"}],
        "policies": [{"vhost": "shop", "name": "ttl", "pattern": "^q1", "apply-to": "queues", "priority": 5,
            "definition": {"message-ttl": 3600000}}],
        "parameters": [{"vhost": "shop", "component": "operator_policy", "name": "cap", "value": {"pattern": ".*",
            "definition": {"max-length-bytes": 1073741824}, "apply-to": "queues", "priority": 1}},
            {"vhost": "media", "component": "vhost-limits", "name": "limits", "value": {"max-queues": 500}}],
        "users": [{"name": "svc-01", "password": "x", "tags": ["monitoring"], "limits": {"max-connections": 10}}],
        "permissions": [{"user": "svc-01", "vhost": "/", "configure": "", "write": "", "read": ".*"}],
        "topic_permissions": [{"user": "svc-01", "vhost": "shop", "exchange": "events", "write": "a", "read": "b"}],
        "global_parameters": [{"name": "cluster_label", "value": {"team": "payments"}}]
    }"#;
    api.post("/api/definitions", document).await.is(204);
}

/// A confirmed publisher and a consumer that acknowledges, requeues and rejects, as there were when the samples were
/// taken; they stay, and what they did is told when this returns.
async fn traffic(broker: &Broker, api: &Api) -> (Client, Consumer) {
    let client = Client::try_connect_to(broker.address(), "shop").await.expect("the broker answers");
    for key in ["orders.1.q0", "orders.2.q0", "nobody"] {
        assert!(client.publish("events", key, "x", persistent()).await.is_ack());
    }
    client.channel.basic_qos(10, BasicQosOptions::default()).await.expect("a limit");
    let mut consumer = client.consume("q0").await;
    let (first, second) = (next(&mut consumer).await, next(&mut consumer).await);
    first.ack(BasicAckOptions::default()).await.expect("sent");
    second.reject(BasicRejectOptions { requeue: true }).await.expect("sent");
    let again = next(&mut consumer).await;
    assert!(again.redelivered);
    again.reject(BasicRejectOptions { requeue: false }).await.expect("sent");
    for path in ["queues/shop/q0", "exchanges/shop/events", "vhosts/shop", "overview"] {
        loop {
            let told = api.get(&format!("/api/{path}")).await.ok();
            let stats = &told["message_stats"];
            let count = |name: &str| stats[name].as_u64().unwrap_or_default();
            if count("publish_in") == 3 || (count("publish") >= 2 && count("ack") >= 1 && count("redeliver") == 1) {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    (client, consumer)
}

/// The body of a request that has one.
fn body(name: &str) -> &'static str {
    match name {
        "queue-get" => r#"{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#,
        "publish" => r#"{"properties":{},"routing_key":"nobody","payload":"x","payload_encoding":"string"}"#,
        _ => "",
    }
}

#[test]
fn every_sample_has_its_like_here() {
    scenario(async |broker, api| {
        prepare(api).await;
        let (client, consumer) = traffic(broker, api).await;
        let mut wrong = Vec::new();
        for line in REQUESTS.lines() {
            let mut words = line.split(' ');
            let (name, method, path, status) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            let path = path.replace("port-listener/5673", &format!("port-listener/{}", broker.address().port()));
            let path = path.replace('^', "%5E").replace('[', "%5B").replace(']', "%5D");
            if let Some((_, why)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
                println!("not compared: {name}, {why}");
                continue;
            }
            let method: Method = method.parse().unwrap();
            let json = [("content-type", "application/json")];
            let answer = api.send(method, &path, &json, body(name)).await;
            if answer.status.to_string() != status {
                wrong.push(format!("{name}: status {} instead of {status}", answer.status));
                continue;
            }
            let file = format!("{}/tests/management/shapes/{name}.json", env!("CARGO_MANIFEST_DIR"));
            let shape: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
            let mut found = Vec::new();
            for (name, value) in HEADERS {
                if answer.header(name) != Some(value) {
                    found.push(format!("{name} is {:?}", answer.header(name)));
                }
            }
            if BUSY.contains(&name) && is_idle(&answer.json()) {
                found.push("nothing has happened".to_owned());
            }
            compare("", &answer.json(), &shape, &mut found);
            found.dedup();
            wrong.extend(found.into_iter().map(|difference| format!("{name}: {difference}")));
        }
        assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
        drop(consumer);
        client.close().await;
    });
}

/// Headers of every sample. What RabbitMQ tells besides is about its browser interface, which is not here.
const HEADERS: [(&str, &str); 2] = [("content-type", "application/json"), ("vary", "accept, accept-encoding, origin")];

/// Answers that tell of the traffic.
const BUSY: [&str; 9] = [
    "overview",
    "vhost",
    "exchange",
    "queue",
    "queue-with-rates",
    "connections",
    "channels",
    "consumers",
    "consumers-vhost",
];

/// Whether a list is empty, or something has no statistics that should.
fn is_idle(answer: &Value) -> bool {
    match answer {
        Value::Array(list) => list.is_empty(),
        other => other.get("message_stats").is_none(),
    }
}

/// Requests whose answers are compared another way, or not yet.
const ELSEWHERE: &[(&str, &str)] = &[
    ("auth", "RabbitMQ 4.3 took the path away; tools of other versions ask for it"),
    ("queue-stream", "streams are not here"),
];

#[test]
fn the_comparison_finds_what_differs() {
    let shape = serde_json::json!({"a": "number", "b?": "string", "c": [{"d": "bool|null"}], "e": "null"});
    let differences = |answer: Value| {
        let mut found = Vec::new();
        compare("", &answer, &shape, &mut found);
        found
    };
    assert_eq!(differences(serde_json::json!({"a": 1, "c": [], "e": 5})), Vec::<String>::new());
    assert_eq!(differences(serde_json::json!({"a": "1", "c": [], "e": 1})), ["a is of type string, not number"]);
    let found = differences(serde_json::json!({"b": 1, "c": [{"d": 1, "f": 2}], "e": {}}));
    let expected = ["a is missing", "b is of type number, not string", "c[].f is not RabbitMQ's"];
    for difference in expected {
        assert!(found.iter().any(|known| known == difference), "{difference}: {found:?}");
    }
}
