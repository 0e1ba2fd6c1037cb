//! What goes wrong, and how it is told: nobody there, the wrong node, no answer, words that are not understood.

use std::os::unix::net::UnixListener;

use leveret::config::Args;

use crate::fake::Fake;
use crate::run::{run, run_words, words};

fn at(dir: &std::path::Path, line: &str) -> crate::run::Ran {
    let args = Args { data_dir: Some(dir.to_owned()), ..Args::default() };
    let mut words = words(line);
    let program = words.remove(0);
    run_words(&program, &words, &args, "")
}

#[test]
fn a_broker_that_is_not_running_is_status_69() {
    let dir = tempfile::tempdir().unwrap();
    for line in
        ["rabbitmqctl list_queues", "rabbitmqctl status", "rabbitmq-diagnostics check_running", "rabbitmqctl stop"]
    {
        let ran = at(dir.path(), line);
        assert_eq!(ran.status, 69, "{line}: {ran:?}");
        assert!(ran.err.starts_with("Error: unable to perform an operation on node '"), "{line}: {ran:?}");
        assert!(ran.err.contains("Target node is not running"), "{line}: {ran:?}");
    }
    let ran = at(dir.path(), "rabbitmq-diagnostics -q ping");
    assert_eq!(ran.status, 69);
    assert!(ran.err.starts_with("Error:\nFailed to connect and authenticate to "), "{ran:?}");
    // What needs no broker works without one.
    for line in
        ["rabbitmqctl version", "rabbitmqctl help", "rabbitmqctl help list_queues", "rabbitmqctl hash_password x"]
    {
        assert_eq!(at(dir.path(), line).status, 0, "{line}");
    }
    for line in ["rabbitmq-plugins enable rabbitmq_management --offline", "rabbitmq-plugins -q list"] {
        assert_eq!(at(dir.path(), line).status, 0, "{line}");
    }
}

#[test]
fn a_broker_that_does_not_answer_is_status_75() {
    let dir = tempfile::tempdir().unwrap();
    let _silent = UnixListener::bind(dir.path().join(leveret::ctl::CONTROL_SOCKET)).unwrap();
    let ran = at(dir.path(), "rabbitmqctl -t 1 list_users");
    assert_eq!(ran.status, 75, "{ran:?}");
    assert!(ran.err.contains("timed out. Timeout value used: 1000"), "{ran:?}");
    assert_eq!(at(dir.path(), "rabbitmqctl -t 1 await_startup").status, 75);
}

#[test]
fn another_nodes_broker_is_left_alone() {
    let fake = Fake::new();
    fake.on("GET /api/overview", 200, r#"{"node":"hare@burrow"}"#).on("GET /api/users", 200, "[]");
    let ran = run(&fake, "rabbitmqctl -n rabbit@elsewhere list_users");
    assert_eq!(ran.status, 69, "{ran:?}");
    assert!(ran.err.contains("on node 'rabbit@elsewhere'") && ran.err.contains("is node hare@burrow"), "{ran:?}");
    assert_eq!(fake.lines(), ["GET /api/overview"]);
    for name in ["hare@burrow", "hare@burrow.example.org"] {
        assert_eq!(run(&fake, &format!("rabbitmqctl -n {name} list_users")).status, 0, "{name}");
    }
}

#[test]
fn words_that_are_not_understood_are_status_64() {
    let fake = Fake::new();
    let rows = [
        ("rabbitmqctl", "\nUsage\n\nrabbitmqctl "),
        (
            "rabbitmqctl add_user",
            "Error (argument validation): not enough arguments.\nArguments given:\n\tadd_user\n\nUsage\n\n",
        ),
        ("rabbitmqctl list_users a", "Error (argument validation): too many arguments.\n"),
        ("rabbitmqctl list_queues name size", "Error (argument validation): Info key(s) size are not supported\n"),
        (
            "rabbitmqctl list_queues --formatter xml",
            "Error (argument validation): the requested formatter is not supported",
        ),
        ("rabbitmqctl list_queue", "\nCommand 'list_queue' not found. \nDid you mean 'list_queues'? \n"),
        ("rabbitmqctl check_running", "\nCommand 'check_running' not found. \n"),
        ("rabbitmq-plugins enable", "Error (argument validation): not enough arguments."),
        (
            "rabbitmqctl -t soon list_users",
            "Error (argument validation): Invalid options for this command:\n-t : soon\n",
        ),
    ];
    for (line, err) in rows {
        let ran = run(&fake, line);
        assert_eq!(ran.status, 64, "{line}: {ran:?}");
        assert!(ran.err.starts_with(err), "{line}: {ran:?}");
        assert!(fake.lines().is_empty(), "{line}");
    }
}

#[test]
fn help_is_no_failure() {
    let fake = Fake::new();
    let out = run(&fake, "rabbitmqctl --help").fine();
    assert!(out.contains("Available commands:") && out.contains("   list_queues  "), "{out}");
    for line in ["rabbitmqctl list_queues --help", "rabbitmqctl help list_queues"] {
        let out = run(&fake, line).fine();
        assert!(
            out.contains("messages_unacknowledged") && out.contains("Shown when none are named: name, messages"),
            "{out}"
        );
    }
    let out = run(&fake, "rabbitmqctl autocomplete list_u").fine();
    let listed = [
        "list_unresponsive_queues",
        "list_user_limits",
        "list_user_permissions",
        "list_user_topic_permissions",
        "list_users",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), listed);
    assert!(fake.lines().is_empty());
}

#[test]
fn the_brokers_refusals_are_passed_on() {
    let fake = Fake::new();
    fake.on("PUT /api/policies/%2F/p", 400, r#"{"error":"bad_request","reason":"Validation failed\n\nno\n"}"#)
        .on("PUT /api/permissions/%2F/u", 400, r#"{"error":"bad_request","reason":"vhost_or_user_not_found"}"#)
        .on("GET /api/vhosts/%2F", 200, "{}");
    let ran = run(&fake, "rabbitmqctl set_policy p x '{\"foo\":1}'");
    assert_eq!((ran.status, ran.err.as_str()), (69, "Error:\nValidation failed\n\nno\n\n"));
    let ran = run(&fake, "rabbitmqctl set_permissions u a b c");
    assert_eq!((ran.status, ran.err.as_str()), (67, "Error:\nUser u does not exist\n"));
    fake.on("GET /api/users/u", 200, "{}").on("GET /api/vhosts/%2F", 404, "");
    let ran = run(&fake, "rabbitmqctl set_permissions u a b c");
    assert_eq!((ran.status, ran.err.as_str()), (69, "Error:\nVirtual host / does not exist\n"));
    assert_eq!(run(&fake, "rabbitmqctl delete_vhost nope").err, "Virtual host 'nope' does not exist\n");
    assert_eq!(run(&fake, "rabbitmqctl set_policy p x nonsense").status, 69);
    assert_eq!(run(&fake, "rabbitmqctl -q clear_permissions nobody").status, 0);
    assert_eq!(run(&fake, "rabbitmqctl -q list_user_permissions nobody").status, 69);
    fake.on("GET /api/users", 200, "<html>");
    let ran = run(&fake, "rabbitmqctl -q list_users");
    assert_eq!(ran.status, 69, "{ran:?}");
}

#[test]
fn failed_checks_are_status_69() {
    let fake = Fake::new();
    let alarms = r#"{"status":"failed","reason":"x","alarms":[{"node":"n","resource":"memory"},{"node":"n","resource":"disk"}]}"#;
    fake.on("GET /api/health/checks/alarms", 503, alarms);
    let ran = run(&fake, "rabbitmq-diagnostics -q check_alarms");
    assert_eq!((ran.status, ran.out.as_str()), (69, ""));
    assert_eq!(ran.err, "Memory alarm on node n\nFree disk space alarm on node n\n");
    let ran = run(&fake, "rabbitmq-diagnostics -s check_alarms");
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (69, "", ""));
    let ran = run(&fake, "rabbitmq-diagnostics -q alarms");
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    let ran = run(&fake, "rabbitmq-plugins -q is_enabled rabbitmq_shovel --offline");
    assert_eq!(ran.status, 69);
    assert!(ran.err.starts_with("Error:\nPlugin rabbitmq_shovel is not enabled"), "{ran:?}");
    assert_eq!(run(&fake, "rabbitmq-plugins enable no_such_plugin").status, 70);
}

#[test]
fn what_means_nothing_here_says_why() {
    let fake = Fake::new();
    for (line, word) in [
        ("rabbitmqctl join_cluster rabbit@other", "cluster"),
        ("rabbitmq-diagnostics observer", "Erlang"),
        ("rabbitmq-queues grow rabbit@n all", "cluster"),
        ("rabbitmqctl stop_app", "stop"),
    ] {
        let ran = run(&fake, line);
        assert_eq!(ran.status, 69, "{line}: {ran:?}");
        assert!(ran.err.contains("is not supported by Leveret. ") && ran.err.contains(word), "{line}: {ran:?}");
    }
    assert!(fake.lines().is_empty());
}
