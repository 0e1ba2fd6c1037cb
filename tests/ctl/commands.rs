//! What commands ask of the broker.

use serde_json::{Value, json};
use sha2::Digest;

use crate::fake::Fake;
use crate::run::{run, run_typing};

/// The one request that a command line makes, in a method, a path and a body.
fn only(fake: &Fake, line: &str) -> (String, Value) {
    let asked = {
        run(fake, line).fine();
        fake.asked()
    };
    assert_eq!(asked.len(), 1, "{line}: {asked:?}");
    (asked[0].line.clone(), asked[0].body.clone())
}

#[test]
fn changes_are_one_request_each() {
    let fake = Fake::new();
    let rows = [
        (
            "rabbitmqctl set_permissions -p /v u '^a b' .* ''",
            "PUT /api/permissions/%2Fv/u",
            json!({ "configure": "^a b", "write": ".*", "read": "" }),
        ),
        ("rabbitmqctl clear_permissions u", "DELETE /api/permissions/%2F/u", Value::Null),
        (
            "rabbitmqctl set_topic_permissions u amq.topic ^w ^r",
            "PUT /api/topic-permissions/%2F/u",
            json!({ "exchange": "amq.topic", "write": "^w", "read": "^r" }),
        ),
        (
            "rabbitmqctl clear_topic_permissions u amq.topic",
            "DELETE /api/topic-permissions/%2F/u/amq.topic",
            Value::Null,
        ),
        (
            "rabbitmqctl add_vhost v --description d --tags a,b --default-queue-type quorum",
            "PUT /api/vhosts/v",
            json!({ "description": "d", "tags": "a,b", "default_queue_type": "quorum" }),
        ),
        ("rabbitmqctl delete_vhost v", "DELETE /api/vhosts/v", Value::Null),
        ("rabbitmqctl enable_vhost_deletion_protection v", "POST /api/vhosts/v/deletion/protection", json!({})),
        (
            "rabbitmqctl set_policy -p v --priority -2 --apply-to queues p ^x '{\"max-length\": 1}'",
            "PUT /api/policies/v/p",
            json!({ "pattern": "^x", "definition": { "max-length": 1 }, "priority": -2, "apply-to": "queues" }),
        ),
        ("rabbitmqctl clear_policy p", "DELETE /api/policies/%2F/p", Value::Null),
        (
            "rabbitmqctl set_operator_policy p ^x '{\"expires\": 1}'",
            "PUT /api/operator-policies/%2F/p",
            json!({ "pattern": "^x", "definition": { "expires": 1 }, "priority": 0, "apply-to": "all" }),
        ),
        (
            "rabbitmqctl set_parameter shovel s '{\"a\": 1}'",
            "PUT /api/parameters/shovel/%2F/s",
            json!({ "component": "shovel", "vhost": "/", "name": "s", "value": { "a": 1 } }),
        ),
        ("rabbitmqctl clear_global_parameter g", "DELETE /api/global-parameters/g", Value::Null),
        ("rabbitmqctl set_cluster_name hare", "PUT /api/cluster-name", json!({ "name": "hare" })),
        ("rabbitmqctl purge_queue -p v q/1", "DELETE /api/queues/v/q%2F1/contents", Value::Null),
        ("rabbitmqctl set_log_level debug", "POST /api/leveret/log-level", json!({ "level": "debug" })),
        ("rabbitmqctl set_vm_memory_high_watermark 0.5", "POST /api/leveret/alarm-limits", json!({ "memory": "0.5" })),
        (
            "rabbitmqctl set_vm_memory_high_watermark absolute 2GiB",
            "POST /api/leveret/alarm-limits",
            json!({ "memory": "2GiB" }),
        ),
        ("rabbitmqctl set_disk_free_limit 50MB", "POST /api/leveret/alarm-limits", json!({ "disk": "50MB" })),
        (
            "rabbitmqctl set_disk_free_limit mem_relative 1.5",
            "POST /api/leveret/alarm-limits",
            json!({ "disk": "mem_relative 1.5" }),
        ),
        ("rabbitmqctl suspend_listeners", "POST /api/leveret/suspend-listeners", json!({})),
        (
            "rabbitmqctl close_all_connections -p v 'going home'",
            "POST /api/leveret/close-connections",
            json!({ "vhost": "v", "reason": "going home" }),
        ),
        (
            "rabbitmqctl close_all_user_connections u bye",
            "POST /api/leveret/close-connections",
            json!({ "user": "u", "reason": "bye" }),
        ),
        ("rabbitmq-upgrade drain", "POST /api/leveret/drain", json!({})),
        ("rabbitmq-upgrade drain -t 7", "POST /api/leveret/drain?timeout=7", json!({})),
        ("rabbitmq-upgrade revive", "POST /api/leveret/resume-listeners", json!({})),
    ];
    for (line, request, body) in rows {
        fake.on(request, 204, "");
        assert_eq!(only(&fake, line), (request.to_owned(), body), "{line}");
    }
}

#[test]
fn passwords_come_from_standard_input_where_none_is_given() {
    let fake = Fake::new();
    fake.on("PUT /api/users/bob", 201, "");
    let ran = run_typing(&fake, "rabbitmqctl -q add_user bob", "s3cret word\nmore\n");
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    assert_eq!(fake.asked()[1].body, json!({ "password": "s3cret word", "tags": "" }));
    let ran = run_typing(&fake, "rabbitmqctl add_user bob", "");
    assert_eq!((ran.status, ran.err.as_str()), (65, "Error:\nPassword is not provided via argument or stdin\n"));
}

#[test]
fn a_password_stands_in_nothing_that_is_printed() {
    let fake = Fake::new();
    fake.on("GET /api/users/u", 200, r#"{"name":"u","tags":[]}"#).on("PUT /api/users/u", 400, r#"{"reason":"no"}"#);
    for line in [
        "rabbitmqctl add_user u Pa55word --nonsense",
        "rabbitmqctl add_user u Pa55word third",
        "rabbitmqctl change_password u Pa55word",
        "rabbitmqctl authenticate_user u Pa55word",
        "rabbitmqctl hash_password Pa55word",
        "rabbitmqctl hash_password Pa55word --hashing-algorithm md5",
        "rabbitmqctl --url http://u:Pa55word@127.0.0.1:1 list_users",
        "rabbitmqadmin -p Pa55word list users",
        "rabbitmqadmin declare user name=u password=Pa55word tags=x nonsense=1",
        "rabbitmqadmin --non-interactive declare user --name u --password Pa55word --password-hash x",
    ] {
        let ran = run(&fake, line);
        assert!(!ran.out.contains("Pa55word") && !ran.err.contains("Pa55word"), "{line}: {ran:?}");
        assert!(!fake.lines().iter().any(|asked| asked.contains("Pa55word")), "{line}");
    }
}

#[test]
fn users_keep_what_is_not_changed() {
    let fake = Fake::new();
    fake.on(
        "GET /api/users/u",
        200,
        r#"{"name":"u","tags":["a","b"],"password_hash":"aGFzaA==","hashing_algorithm":"h"}"#,
    )
    .on("PUT /api/users/u", 204, "");
    let put = |line: &str| {
        run(&fake, line).fine();
        fake.asked().pop().expect("a request").body
    };
    let tagged = put("rabbitmqctl set_user_tags u c d");
    assert_eq!(tagged, json!({ "tags": "c,d", "password_hash": "aGFzaA==", "hashing_algorithm": "h" }));
    assert_eq!(put("rabbitmqctl set_user_tags u")["tags"], "");
    assert_eq!(put("rabbitmqctl change_password u new"), json!({ "tags": "a,b", "password": "new" }));
    assert_eq!(put("rabbitmqctl clear_password u"), json!({ "tags": "a,b", "password_hash": "" }));
    let ran = run(&fake, "rabbitmqctl set_user_tags nobody x");
    assert_eq!((ran.status, ran.err.as_str()), (67, "Error:\nUser \"nobody\" does not exist\n"));
}

#[test]
fn a_hashed_password_is_one_the_broker_takes() {
    let fake = Fake::new();
    let out = run(&fake, "rabbitmqctl -q hash_password secret").fine();
    let octets = leveret::auth::base64::decode(out.trim()).expect("base64");
    let (salt, digest) = octets.split_at(4);
    assert_eq!(digest, sha2::Sha256::new().chain_update(salt).chain_update("secret").finalize().as_slice());
    fake.on("PUT /api/users/u", 201, "");
    run(&fake, &format!("rabbitmqctl -q add_user u {} --pre-hashed-password", out.trim())).fine();
    assert_eq!(fake.asked().pop().expect("a request").body, json!({ "password_hash": out.trim(), "tags": "" }));
    assert_eq!(run(&fake, "rabbitmqctl add_user u not*base64 --pre-hashed-password").status, 65);
    let out = run(&fake, "rabbitmqctl -q hash_password secret --hashing-algorithm SHA512").fine();
    assert_eq!(leveret::auth::base64::decode(out.trim()).expect("base64").len(), 4 + 64);
}

#[test]
fn limits_are_set_one_by_one() {
    let fake = Fake::new();
    fake.on("GET /api/vhosts/v", 200, r#"{"name":"v"}"#)
        .on("PUT /api/vhost-limits/v/max-queues", 204, "")
        .on("PUT /api/vhost-limits/v/max-connections", 204, "")
        .on("GET /api/vhost-limits/v", 200, r#"[{"vhost":"v","value":{"max-queues":5}}]"#)
        .on("GET /api/vhost-limits", 200, r#"[{"vhost":"v","value":{"max-queues":5}}]"#);
    run(&fake, "rabbitmqctl set_vhost_limits -p v '{\"max-queues\":5,\"max-connections\":-1}'").fine();
    let lines = fake.lines();
    assert_eq!(lines[1..], ["PUT /api/vhost-limits/v/max-connections", "PUT /api/vhost-limits/v/max-queues"]);
    assert_eq!(run(&fake, "rabbitmqctl -q list_vhost_limits -p v").fine(), "{\"max-queues\":5}\n");
    let all = run(&fake, "rabbitmqctl -q list_vhost_limits --global").fine();
    assert_eq!(all, "vhost\tlimits\nv\t{\"max-queues\":5}\n");
    fake.asked();
    assert_eq!(run(&fake, "rabbitmqctl set_vhost_limits -p v '{\"max-queues\":\"many\"}'").status, 65);
    assert_eq!(run(&fake, "rabbitmqctl set_vhost_limits -p v '[1'").status, 69);
    assert!(fake.lines().iter().all(|line| line.starts_with("GET")), "nothing is half set");
}

#[test]
fn a_connection_is_closed_by_the_pid_it_is_listed_with() {
    let fake = Fake::new();
    let name = "127.0.0.1:5 -> 127.0.0.1:5672";
    fake.on("GET /api/connections", 200, &format!(r#"[{{"name":"{name}"}},{{"name":"other"}}]"#));
    let closing = "DELETE /api/connections/127.0.0.1%3A5%20-%3E%20127.0.0.1%3A5672";
    fake.on(closing, 204, "");
    let listed = run(&fake, "rabbitmqctl -q list_connections --no-table-headers pid name").fine();
    let pid = listed.lines().next().and_then(|line| line.split('\t').next()).expect("a pid").to_owned();
    assert!(pid.starts_with('<') && pid.ends_with('>') && !pid.contains(' '), "{pid}");
    fake.asked();
    run(&fake, &format!("rabbitmqctl close_connection {pid} 'time to go'")).fine();
    let asked = fake.asked().pop().expect("a request");
    assert_eq!((asked.line.as_str(), asked.reason.as_str()), (closing, "time to go"));
    run(&fake, "rabbitmqctl close_connection <no.such.pid> x").fine();
    assert_eq!(fake.lines(), ["GET /api/connections"], "nothing is closed for a pid that nobody has");
}

#[test]
fn a_broker_without_leverets_own_paths_is_asked_for_each_connection() {
    let fake = Fake::new();
    fake.on("GET /api/vhosts/%2F/connections", 200, r#"[{"name":"a"},{"name":"b"}]"#)
        .on("DELETE /api/connections/a", 204, "")
        .on("DELETE /api/connections/b", 204, "");
    let out = run(&fake, "rabbitmqctl close_all_connections bye").fine();
    assert!(out.ends_with("Closed 2 connections\n"), "{out}");
    fake.asked();
    let out = run(&fake, "rabbitmqctl close_all_connections bye --limit 1").fine();
    assert!(out.ends_with("Closed 1 connections\n"), "{out}");
    let ran = run(&fake, "rabbitmqctl set_log_level debug");
    assert_eq!(ran.status, 69);
    assert!(ran.err.contains("does not offer it"), "{ran:?}");
}

#[test]
fn limits_that_are_none_are_not_sent() {
    let fake = Fake::new();
    for words in
        ["set_vm_memory_high_watermark 1.5", "set_vm_memory_high_watermark -1", "set_vm_memory_high_watermark much"]
            .into_iter()
            .chain([
                "set_vm_memory_high_watermark absolute",
                "set_disk_free_limit mem_relative",
                "set_disk_free_limit 1 2",
            ])
    {
        let ran = run(&fake, &format!("rabbitmqctl {words}"));
        assert_eq!(ran.status, 65, "{words}: {ran:?}");
        assert!(ran.err.starts_with("Error (argument validation): "), "{words}: {ran:?}");
    }
    assert!(fake.asked().is_empty());
}

#[test]
fn queues_are_deleted_on_condition() {
    let fake = Fake::new();
    let line = "DELETE /api/queues/%2F/q?if-empty=true&if-unused=true";
    fake.on("GET /api/queues/%2F/q", 200, r#"{"messages_ready":7}"#).on(line, 204, "");
    let out = run(&fake, "rabbitmqctl delete_queue q -e --if-unused").fine();
    let expected = "Deleting queue 'q' on vhost '/' if queue is empty and if queue is unused ...\n\
                    Queue was successfully deleted with 7 ready messages\n";
    assert_eq!(out, expected);
    fake.on(line, 400, r#"{"error":"bad_request","reason":"queue 'q' in vhost '/' not empty"}"#);
    let ran = run(&fake, "rabbitmqctl delete_queue q -e -u");
    assert_eq!((ran.status, ran.err.as_str()), (64, "Error:\nThe queue is not empty\n"));
    let ran = run(&fake, "rabbitmqctl delete_queue missing");
    assert_eq!((ran.status, ran.err.as_str()), (64, "Error:\nNo such queue was found\n"));
}

#[test]
fn definitions_go_out_and_come_in() {
    let fake = Fake::new();
    fake.on("GET /api/definitions", 200, r#"{"users":[],"vhosts":[]}"#).on("POST /api/definitions", 204, "");
    let file = fake.dir().join("definitions.json");
    let name = file.to_str().expect("a name");
    assert_eq!(run(&fake, "rabbitmqctl -q export_definitions -").fine(), "{\"users\":[],\"vhosts\":[]}\n");
    run(&fake, &format!("rabbitmqctl export_definitions {name}")).fine();
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), r#"{"users":[],"vhosts":[]}"#);
    fake.asked();
    run(&fake, &format!("rabbitmqctl import_definitions {name}")).fine();
    assert_eq!(fake.asked().pop().expect("a request").body, json!({ "users": [], "vhosts": [] }));
    let ran = run_typing(&fake, "rabbitmqctl import_definitions", r#"{"users":[]}"#);
    assert_eq!(ran.status, 0, "{ran:?}");
    std::fs::write(&file, "{").expect("written");
    assert_eq!(run(&fake, &format!("rabbitmqctl import_definitions {name}")).status, 65);
    std::fs::write(&file, "").expect("written");
    assert_eq!(run(&fake, &format!("rabbitmqctl import_definitions {name}")).status, 65);
    assert_eq!(run(&fake, "rabbitmqctl import_definitions /nowhere/x").status, 65);
    fake.on("POST /api/definitions", 400, r#"{"error":"bad_request","reason":"queues[3] is wrong"}"#);
    let ran = run_typing(&fake, "rabbitmqctl import_definitions", r#"{"users":[]}"#);
    assert_eq!((ran.status, ran.err.as_str()), (69, "Error:\nqueues[3] is wrong\n"));
}

#[test]
fn a_stop_is_waited_for() {
    let fake = Fake::new();
    // No process is named: the end of the answers is the end.
    fake.on("POST /api/leveret/stop", 204, "").on("GET /api/nodes", 200, r#"[{"name":"n"}]"#);
    run(&fake, "rabbitmqctl stop").fine();
    assert!(fake.lines().contains(&"POST /api/leveret/stop".to_owned()));
    let ran = run(&fake, "rabbitmqctl stop --idempotent");
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.ends_with("is no longer running\n"), "{ran:?}");
}

#[test]
fn a_process_that_serves_is_waited_for() {
    let fake = Fake::new();
    fake.on("GET /api/overview", 200, "{}");
    let file = fake.dir().join("pid");
    std::fs::write(&file, std::process::id().to_string()).expect("written");
    let out = run(&fake, &format!("rabbitmqctl wait {}", file.display())).fine();
    assert!(out.contains(&format!("pid is {}", std::process::id())), "{out}");
    // The largest number a process can have, and none has.
    let ran = run(&fake, "rabbitmqctl -q wait --pid 2147483646");
    assert_eq!((ran.status, ran.err.as_str()), (69, "Error: process is not running.\n"));
}
