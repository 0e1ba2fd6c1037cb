//! What other people's tools ask when they run, replayed: the requests of the folder `replays`, one file a tool.
//!
//! A request stands at the beginning of a line: method, path, body. Below it, indented, stand the status and what the
//! tool reads of the answer: a JSON pointer (`/` for all of it), and the value or the kind of value it needs there (`string`, `number`,
//! `bool`, `list`, `object`). What is written was observed, on the wire or in the tool's source.

use hyper::Method;
use serde_json::Value;

use crate::api::scenario;

/// A request, and what is expected of its answer.
struct Row<'a> {
    line: usize,
    request: &'a str,
    expected: Vec<&'a str>,
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_prefix("    ") {
            Some(expected) => rows.last_mut().expect("a request comes first").expected.push(expected),
            None => rows.push(Row { line: at + 1, request: line, expected: Vec::new() }),
        }
    }
    rows
}

fn is_of_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "bool" => value.is_boolean(),
        "list" => value.is_array(),
        "object" => value.is_object(),
        literal => *value == serde_json::from_str::<Value>(literal).unwrap_or_else(|_| panic!("{literal} is no JSON")),
    }
}

fn replay(text: &str) {
    let rows = rows(text);
    assert!(!rows.is_empty());
    scenario(async |_, api| {
        for Row { line, request, expected } in rows {
            let mut parts = request.splitn(3, ' ');
            let method: Method = parts.next().unwrap_or_default().parse().expect("a method");
            let (path, body) = (parts.next().expect("a path"), parts.next().unwrap_or_default());
            let answer = api.send(method, path, &[("content-type", "application/json")], body).await;
            let (status, reads) = expected.split_first().unwrap_or_else(|| panic!("line {line}: no status"));
            assert_eq!(answer.status.to_string(), *status, "line {line}: {request}: {answer:?}");
            for read in reads {
                let (pointer, kind) = read.split_once(' ').unwrap_or_else(|| panic!("line {line}: {read}"));
                let json = answer.json();
                let found = json
                    .pointer(pointer.trim_end_matches('/'))
                    .unwrap_or_else(|| panic!("line {line}: no {pointer} in {json}"));
                assert!(is_of_kind(found, kind), "line {line}: {pointer} should be {kind}, is {found}");
            }
        }
    });
}

#[test]
fn terraforms_provider_makes_reads_and_removes_everything_it_knows() {
    replay(include_str!("replays/terraform.txt"));
}

#[test]
fn keda_reads_lengths_and_rates() {
    replay(include_str!("replays/keda.txt"));
}

#[test]
fn nservicebus_starts() {
    replay(include_str!("replays/nservicebus.txt"));
}

#[test]
fn nservicebus_is_asked_for_credentials_and_finds_the_flag_it_wants() {
    scenario(async |_, api| {
        let answer = api.nobody().get("/api/overview").await.is(401);
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"RabbitMQ Management\""));
        let flags = api.get("/api/feature-flags").await.ok();
        let enabled =
            |name: &str| flags.as_array().unwrap().iter().any(|f| f["name"] == name && f["state"] == "enabled");
        assert!(enabled("stream_queue"), "it does not start without: {flags}");
        let stable: Vec<_> = flags.as_array().unwrap().iter().filter(|f| f["stability"] == "stable").collect();
        assert_eq!(stable.len(), 1, "{stable:?}");
        assert_eq!(stable[0]["name"], "rabbitmq_4.2.0");
    });
}

#[test]
fn a_deprecated_feature_is_in_use_while_a_queue_uses_it() {
    scenario(async |_, api| {
        assert_eq!(api.get("/api/deprecated-features/used").await.ok(), serde_json::json!([]));
        api.put("/api/queues/%2F/kept", r#"{"durable":true}"#).await.is(201);
        assert_eq!(api.get("/api/deprecated-features/used").await.ok(), serde_json::json!([]));
        api.put("/api/queues/%2F/transient", r#"{"durable":false}"#).await.is(201);
        let used = api.get("/api/deprecated-features/used").await.ok();
        assert_eq!(used[0]["name"], "transient_nonexcl_queues", "{used}");
        assert_eq!(used[0]["deprecation_phase"], "permitted_by_default");
    });
}

#[test]
fn flower_shows_the_queues() {
    replay(include_str!("replays/flower.txt"));
}
