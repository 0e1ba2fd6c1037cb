//! `rabbitmqadmin` in the grammar of the script.

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::run::{run, run_typing};

#[test]
fn lists_ask_for_their_columns() {
    let fake = Fake::new();
    fake.on("GET /api/queues", 200, r#"[{"name":"q","messages":3}]"#).on("GET /api/queues/shop", 200, "[]");
    let out = run(&fake, "rabbitmqadmin list queues").fine();
    assert_eq!(
        out,
        "+------+----------+\n| name | messages |\n+------+----------+\n| q    | 3        |\n+------+----------+\n"
    );
    assert_eq!(fake.lines(), ["GET /api/queues?columns=name,messages"]);
    assert_eq!(run(&fake, "rabbitmqadmin -f tsv -q list queues name messages").fine(), "q\t3\n");
    assert_eq!(run(&fake, "rabbitmqadmin -V shop -S name -R list queues name").fine(), "No items\n");
    assert_eq!(fake.lines()[1], "GET /api/queues/shop?columns=name&sort=name&sort_reverse=true");
    assert_eq!(run(&fake, "rabbitmqadmin -f raw_json list queues").fine(), "[{\"messages\":3,\"name\":\"q\"}]\n");
    assert_eq!(fake.lines(), ["GET /api/queues"]);
    run(&fake, "rabbitmqadmin -d 3 -f long list queues").fine();
    assert_eq!(fake.lines(), ["GET /api/queues"]);
}

#[test]
fn objects_are_declared_and_deleted() {
    let fake = Fake::new();
    let rows = [
        (
            "declare queue name=q durable=true queue_type=quorum",
            "queue declared",
            "PUT /api/queues/%2F/q",
            json!({ "name": "q", "vhost": "/", "durable": "true", "auto_delete": "false", "queue_type": "quorum",
                    "arguments": { "x-queue-type": "quorum" } }),
        ),
        (
            "-V v declare exchange name=x type=topic",
            "exchange declared",
            "PUT /api/exchanges/v/x",
            json!({ "name": "x", "type": "topic", "vhost": "v", "durable": "true", "auto_delete": "false",
                    "internal": "false", "arguments": {} }),
        ),
        (
            "declare binding source=x destination=q routing_key=k",
            "binding declared",
            "POST /api/bindings/%2F/e/x/q/q",
            json!({ "source": "x", "destination": "q", "destination_type": "queue", "routing_key": "k", "vhost": "/",
                    "arguments": {} }),
        ),
        (
            "declare policy name=p pattern=^x definition={\"max-length\":1} priority=2",
            "policy declared",
            "PUT /api/policies/%2F/p",
            json!({ "name": "p", "pattern": "^x", "definition": { "max-length": 1 }, "priority": 2, "vhost": "/" }),
        ),
        (
            "declare permission vhost=/ user=u configure=.* write=.* read=.*",
            "permission declared",
            "PUT /api/permissions/%2F/u",
            json!({ "vhost": "/", "user": "u", "configure": ".*", "write": ".*", "read": ".*" }),
        ),
        ("delete queue name=q", "queue deleted", "DELETE /api/queues/%2F/q", Value::Null),
        (
            "delete binding source=x destination_type=queue destination=q properties_key=k",
            "binding deleted",
            "DELETE /api/bindings/%2F/e/x/q/q/k",
            Value::Null,
        ),
        ("purge queue name=q", "queue purged", "DELETE /api/queues/%2F/q/contents", Value::Null),
        ("close connection name=c", "connection closed", "DELETE /api/connections/c", Value::Null),
    ];
    for (line, said, request, body) in rows {
        fake.on(request, 204, "");
        assert_eq!(run(&fake, &format!("rabbitmqadmin {line}")).fine(), format!("{said}\n"));
        let asked = fake.asked();
        assert_eq!((asked[0].line.as_str(), &asked[0].body), (request, &body), "{line}");
        // guest:guest
        assert_eq!(asked[0].login, "Basic Z3Vlc3Q6Z3Vlc3Q=");
    }
    assert_eq!(run(&fake, "rabbitmqadmin -q delete queue name=q").fine(), "");
}

#[test]
fn messages_are_published_and_got() {
    let fake = Fake::new();
    fake.on("POST /api/exchanges/%2F/amq.default/publish", 200, r#"{"routed":true}"#)
        .on("POST /api/exchanges/%2F/x/publish", 200, r#"{"routed":false}"#)
        .on(
            "POST /api/queues/%2F/q/get",
            200,
            r#"[{"payload":"aGk=","payload_encoding":"base64","payload_bytes":2,"redelivered":false,"exchange":"",
                "routing_key":"q","message_count":0,"properties":[]}]"#,
        );
    assert_eq!(run(&fake, "rabbitmqadmin publish routing_key=q payload=hello").fine(), "Message published\n");
    assert_eq!(fake.asked()[0].body["payload"], "hello");
    let ran = run_typing(&fake, "rabbitmqadmin publish exchange=x routing_key=q", "hi");
    assert_eq!(ran.fine(), "Message published but NOT routed\n");
    let body = fake.asked()[0].body.clone();
    assert_eq!((&body["payload"], &body["payload_encoding"]), (&json!("aGk="), &json!("base64")));
    let out = run(&fake, "rabbitmqadmin -f tsv get queue=q count=2").fine();
    assert!(out.starts_with("routing_key\texchange\t"), "{out}");
    let asked = fake.asked()[0].body.clone();
    assert_eq!((&asked["count"], &asked["ackmode"]), (&json!("2"), &json!("ack_requeue_true")));
    let file = fake.dir().join("payload");
    run(&fake, &format!("rabbitmqadmin get queue=q payload_file={}", file.display())).fine();
    assert_eq!(std::fs::read(&file).expect("the file"), b"hi");
    assert_eq!(run(&fake, "rabbitmqadmin get queue=q count=2 payload_file=x").status, 1);
}

#[test]
fn failures_are_status_1() {
    let fake = Fake::new();
    fake.on("GET /api/users", 401, "").on(
        "PUT /api/queues/%2F/q",
        400,
        r#"{"error":"bad_request","reason":"because"}"#,
    );
    let rows = [
        ("list users", "*** Access refused: /api/users\n"),
        ("list nodes", "*** Not found: /api/nodes\n"),
        ("declare queue name=q", "*** because\n"),
        ("declare queue durable=true", "\nERROR: mandatory argument \"name\" is required\n"),
        ("declare queue name=q size=3", "\nERROR: Argument \"size\" is not recognised\n"),
        ("declare queue q", "\nERROR: Argument \"q\" not in the name=value format\n"),
        ("declare hutch name=q", "\nERROR: Type hutch not recognised\n"),
        ("declare user name=u tags=x", "\nERROR: one of mandatory arguments \"password, password_hash\" is required\n"),
        ("-f xml list users", "\nERROR: Format xml not recognised\n"),
    ];
    for (line, err) in rows {
        let ran = run(&fake, &format!("rabbitmqadmin {line}"));
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{line}: {ran:?}");
        assert!(ran.err.starts_with(err), "{line}: {ran:?}");
    }
    assert_eq!(run(&fake, "rabbitmqadmin -f table --nonsense list users").status, 2);
}

#[test]
fn definitions_are_exported_and_imported() {
    let fake = Fake::new();
    fake.on("GET /api/definitions", 200, r#"{"users":[]}"#).on("POST /api/definitions/v", 204, "");
    let file = fake.dir().join("file");
    let said = run(&fake, &format!("rabbitmqadmin export {}", file.display())).fine();
    assert_eq!(said, format!("Exported definitions for 127.0.0.1 to \"{}\"\n", file.display()));
    run(&fake, &format!("rabbitmqadmin -V v import {}", file.display())).fine();
    assert_eq!(fake.asked().pop().expect("a request").body, json!({ "users": [] }));
}
