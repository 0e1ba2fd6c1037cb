//! `rabbitmqadmin` in the grammar of the program.

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::run::run;

#[test]
fn objects_are_declared_and_deleted() {
    let fake = Fake::new();
    let rows = [
        (
            "declare queue --name q --type quorum",
            "PUT /api/queues/%2F/q",
            json!({ "durable": true, "auto_delete": false, "arguments": { "x-queue-type": "quorum" } }),
        ),
        (
            "--vhost v exchanges declare --name x --type fanout --durable false",
            "PUT /api/exchanges/v/x",
            json!({ "type": "fanout", "durable": false, "auto_delete": false, "arguments": {} }),
        ),
        (
            "bindings declare --source x --destination-type queue --destination q --routing-key k",
            "POST /api/bindings/%2F/e/x/q/q",
            json!({ "routing_key": "k", "arguments": {} }),
        ),
        (
            "users declare --name u --password p --tags a,b",
            "PUT /api/users/u",
            json!({ "password": "p", "tags": "a,b" }),
        ),
        (
            "declare permissions --username u --configure a --read b --write c",
            "PUT /api/permissions/%2F/u",
            json!({ "configure": "a", "write": "c", "read": "b" }),
        ),
        (
            "policies declare --name p --pattern ^x --apply-to queues --priority -3 --definition {\"max-length\":1}",
            "PUT /api/policies/%2F/p",
            json!({ "pattern": "^x", "apply-to": "queues", "priority": -3, "definition": { "max-length": 1 } }),
        ),
        (
            "vhost_limits declare --name max-queues --value -1",
            "PUT /api/vhost-limits/%2F/max-queues",
            json!({ "value": -1 }),
        ),
        ("delete queue --name q", "DELETE /api/queues/%2F/q", Value::Null),
        ("queues purge --name q", "DELETE /api/queues/%2F/q/contents", Value::Null),
        ("close connection --name c", "DELETE /api/connections/c", Value::Null),
    ];
    for (line, request, body) in rows {
        fake.on(request, 204, "");
        assert_eq!(run(&fake, &format!("rabbitmqadmin {line}")).fine(), "", "{line}");
        let asked = fake.asked();
        assert_eq!((asked[0].line.as_str(), &asked[0].body), (request, &body), "{line}");
    }
}

#[test]
fn scripts_get_rows_without_headings() {
    let fake = Fake::new();
    fake.on(
        "GET /api/queues/%2F",
        200,
        r#"[{"name":"q","vhost":"/","type":"classic","messages":3,"arguments":{"a":1,"b":2}}]"#,
    );
    let out = run(&fake, "rabbitmqadmin --non-interactive queues list --columns name,message_count,arguments").fine();
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["q", "3", "a:", "1,b:", "2"]);
    let out = run(&fake, "rabbitmqadmin queues list --columns name --table-style ascii").fine();
    assert_eq!(out, "+------+\n| name |\n+------+\n| q    |\n+------+\n");
    fake.asked();
    fake.on("GET /api/queues/%2F?page=2&page_size=5", 200, r#"{"items":[{"name":"paged"}],"page":2}"#);
    let out = run(&fake, "rabbitmqadmin --non-interactive list queues --page 2 --page-size 5").fine();
    assert!(out.starts_with("paged"), "{out}");
}

#[test]
fn deletions_may_be_idempotent() {
    let fake = Fake::new();
    let ran = run(&fake, "rabbitmqadmin queues delete --name q");
    assert_eq!((ran.status, ran.err.as_str()), (65, "API responded with a 404 Not Found\n"));
    assert_eq!(run(&fake, "rabbitmqadmin queues delete --name q --idempotently").status, 0);
}

#[test]
fn bindings_are_deleted_by_what_they_are() {
    let fake = Fake::new();
    let place = "/api/bindings/%2F/e/x/q/q";
    let two = r#"[{"routing_key":"k","arguments":{},"properties_key":"k"},
                  {"routing_key":"k","arguments":{"a":1},"properties_key":"k~h"},
                  {"routing_key":"l","arguments":{},"properties_key":"l"}]"#;
    fake.on(&format!("GET {place}"), 200, two).on(&format!("DELETE {place}/l"), 204, "").on(
        &format!("DELETE {place}/k~h"),
        204,
        "",
    );
    let line = "rabbitmqadmin bindings delete --source x --destination-type queue --destination q --routing-key";
    run(&fake, &format!("{line} l")).fine();
    run(&fake, &format!("{line} k --arguments {{\"a\":1}}")).fine();
    assert_eq!(run(&fake, &format!("{line} k")).status, 64);
    assert_eq!(run(&fake, &format!("{line} none")).status, 65);
    assert_eq!(run(&fake, &format!("{line} none --idempotently")).status, 0);
}

#[test]
fn health_checks_are_exit_statuses() {
    let fake = Fake::new();
    fake.on("GET /api/health/checks/alarms", 200, r#"{"status":"ok"}"#).on(
        "GET /api/health/checks/port-listener/9",
        503,
        r#"{"status":"failed","reason":"No active listener","missing":9,"ports":[5672]}"#,
    );
    assert_eq!(run(&fake, "rabbitmqadmin health_check cluster_wide_alarms").fine(), "health check passed\n");
    assert_eq!(run(&fake, "rabbitmqadmin --quiet health_check cluster_wide_alarms").fine(), "");
    let ran = run(&fake, "rabbitmqadmin --non-interactive health_check port_listener --port 9");
    assert_eq!(ran.status, 69, "{ran:?}");
    assert!(ran.out.contains("No active listener"), "{ran:?}");
}

#[test]
fn messages_and_definitions() {
    let fake = Fake::new();
    fake.on("POST /api/exchanges/%2F/amq.default/publish", 200, r#"{"routed":true}"#)
        .on("POST /api/queues/%2F/q/get", 200, r#"[{"payload":"hi","routing_key":"q"}]"#)
        .on("GET /api/definitions", 200, r#"{"users":[]}"#)
        .on("POST /api/definitions", 204, "");
    let out = run(&fake, "rabbitmqadmin --non-interactive publish message -k q -m hello -p {\"priority\":1}").fine();
    assert_eq!(out, "Message published and routed successfully\n");
    assert_eq!(fake.asked()[0].body["properties"], json!({ "priority": 1 }));
    run(&fake, "rabbitmqadmin get messages --queue q --count 2 --ack-mode ack_requeue_true").fine();
    assert_eq!(fake.asked()[0].body, json!({ "count": 2, "ackmode": "ack_requeue_true", "encoding": "auto" }));
    let file = fake.dir().join("file");
    run(&fake, &format!("rabbitmqadmin definitions export --file {}", file.display())).fine();
    run(&fake, &format!("rabbitmqadmin definitions import --file {}", file.display())).fine();
    assert_eq!(fake.asked().pop().expect("a request").body, json!({ "users": [] }));
    assert!(run(&fake, "rabbitmqadmin definitions export --stdout").fine().contains("\"users\""));
    assert_eq!(run(&fake, "rabbitmqadmin definitions export").status, 64);
}

#[test]
fn command_lines_it_does_not_know_are_status_2() {
    let fake = Fake::new();
    for line in ["queues", "queues list --nonsense", "declare queue --type quorum", "nonsense do"] {
        let ran = run(&fake, &format!("rabbitmqadmin --table-style ascii {line}"));
        assert_eq!(ran.status, 2, "{line}: {ran:?}");
        assert!(fake.lines().is_empty());
    }
    let ran = run(&fake, "rabbitmqadmin --non-interactive declare user --name u --password a --password-hash b");
    assert_eq!(ran.status, 64, "{ran:?}");
    let help = run(&fake, "rabbitmqadmin --non-interactive --help").fine();
    assert!(help.contains("health_check") && help.contains("--base-uri"), "{help}");
}
