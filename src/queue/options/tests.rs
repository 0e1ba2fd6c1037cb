//! Arguments by example.

use super::*;
use crate::config::Compatibility;

fn table(entries: &[(&str, Value)]) -> Table {
    let mut table = Table::default();
    for (key, value) in entries {
        table.insert(key, value.clone());
    }
    table
}

fn refused(key: &str, value: Value) -> String {
    Options::parse(&table(&[(key, value)]), Compatibility::Lenient.profile())
        .unwrap_err()
        .explain("queue 'q' in vhost '/'")
}

#[test]
fn rabbitmqs_words_for_bad_arguments() {
    let long = |s: &str| Value::from(s);
    let cases = [
        (
            "x-message-ttl",
            long("abc"),
            "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': \"expected integer, got longstr\"",
        ),
        (
            "x-message-ttl",
            Value::I32(-1),
            "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_negative,-1}",
        ),
        (
            "x-message-ttl",
            Value::I64(MAX_EXPIRY + 1),
            "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_too_large,315360000001}",
        ),
        ("x-expires", Value::I32(0), "invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}"),
        (
            "x-max-priority",
            Value::I32(256),
            "invalid arg 'x-max-priority' for queue 'q' in vhost '/': {max_value_exceeded,256}",
        ),
        ("x-overflow", long("x"), "invalid arg 'x-overflow' for queue 'q' in vhost '/': invalid_overflow"),
        (
            "x-overflow",
            Value::I32(1),
            "invalid arg 'x-overflow' for queue 'q' in vhost '/': {unacceptable_type,signedint}",
        ),
        (
            "x-single-active-consumer",
            long("1"),
            "invalid arg 'x-single-active-consumer' for queue 'q' in vhost '/': {unacceptable_type,longstr}",
        ),
        (
            "x-queue-type",
            long("zzz"),
            "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'zzz'\"",
        ),
        (
            "x-queue-version",
            Value::I32(3),
            "invalid arg 'x-queue-version' for queue 'q' in vhost '/': \"unsupported queue version '3'\"",
        ),
        (
            "x-dead-letter-routing-key",
            long("k"),
            "invalid arg 'x-dead-letter-routing-key' for queue 'q' in vhost '/': routing_key_but_no_dlx_defined",
        ),
        (
            "x-dead-letter-exchange",
            Value::I32(5),
            "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
        ),
    ];
    for (key, value, text) in cases {
        assert_eq!(refused(key, value), text);
    }
}

#[test]
fn integers_of_any_width_are_taken_and_unknown_arguments_ignored() {
    let table = table(&[
        ("x-message-ttl", Value::U8(7)),
        ("x-max-length", Value::I64(9)),
        ("x-dead-letter-exchange", Value::from("")),
        ("made-up", Value::Void),
    ]);
    let options = Options::parse(&table, Compatibility::Lenient.profile()).unwrap();
    assert_eq!((options.message_ttl, options.max_length), (Some(7), Some(9)));
    assert_eq!(options.dead_letter_exchange.as_deref(), Some(""));
}

const QUEUE: &str = "queue 'q' in vhost '/'";

/// What `compatibility` answers to these arguments, if it refuses them.
fn answer(compatibility: Compatibility, entries: &[(&str, Value)]) -> Option<String> {
    Options::parse(&table(entries), compatibility.profile()).err().map(|bad| bad.explain(QUEUE))
}

fn quorum(key: &str, value: Value) -> Option<String> {
    answer(Compatibility::V4_3, &[("x-queue-type", Value::from("quorum")), (key, value)])
}

#[test]
fn quorum_queues_judge_their_own_arguments() {
    let refused = |key, value, error: &str| {
        assert_eq!(quorum(key, value), Some(format!("invalid arg '{key}' for {QUEUE}: {error}")));
    };
    refused("x-dead-letter-strategy", Value::from("never"), "invalid_dlx_strategy");
    refused("x-dead-letter-strategy", Value::I32(1), "{unacceptable_type,signedint}");
    refused("x-quorum-initial-group-size", Value::I32(0), "{value_zero,0}");
    refused("x-quorum-initial-group-size", Value::I32(-3), "{value_negative,-3}");
    refused("x-max-in-memory-length", Value::I32(-1), "{value_negative,-1}");
    refused("x-max-in-memory-bytes", Value::from("a"), "\"expected integer, got longstr\"");
    refused("x-queue-leader-locator", Value::from("near"), "invalid_queue_locator_arg");
    refused("x-consumer-timeout", Value::I32(-1), "{value_negative,-1}");
    for (key, value) in [
        ("x-dead-letter-strategy", Value::from("at-least-once")),
        ("x-quorum-initial-group-size", Value::I32(3)),
        ("x-max-in-memory-length", Value::I32(0)),
        ("x-queue-leader-locator", Value::from("balanced")),
        ("x-delivery-limit", Value::from("not looked at")),
        ("x-delayed-retry-type", Value::from("all")),
    ] {
        assert_eq!(quorum(key, value), None, "{key}");
    }
}

#[test]
fn each_type_refuses_what_only_another_knows() {
    let of_type = |key: &str, kind: &str| format!("invalid arg '{key}' for {QUEUE} of queue type rabbit_{kind}_queue");
    for key in ["x-max-priority", "x-queue-version", "x-max-age", "x-initial-cluster-size"] {
        assert_eq!(quorum(key, Value::I32(5)), Some(of_type(key, "quorum")));
    }
    for key in ["x-delivery-limit", "x-quorum-initial-group-size", "x-max-in-memory-bytes", "x-max-age"] {
        for (_, version) in Compatibility::ALL {
            assert_eq!(answer(version, &[(key, Value::I32(5))]), Some(of_type(key, "classic")), "{key} {version:?}");
        }
    }
    let late = |version| answer(version, &[("x-consumer-timeout", Value::I32(5))]);
    assert_eq!(late(Compatibility::V4_3), Some(of_type("x-consumer-timeout", "classic")));
    assert_eq!((late(Compatibility::V3_13), late(Compatibility::Lenient)), (None, None), "unknown, thus taken");
    let both = [("x-delivery-limit", Value::I32(5)), ("x-max-length", Value::I32(-1))];
    let first = format!("invalid arg 'x-max-length' for {QUEUE}: {{value_negative,-1}}");
    assert_eq!(answer(Compatibility::V4_2, &both), Some(first), "values are judged first");
}

#[test]
fn arguments_of_the_past_are_taken_or_refused_by_version() {
    let mode = |version| answer(version, &[("x-queue-mode", Value::from("foo"))]);
    let text = format!("invalid arg 'x-queue-mode' for {QUEUE}: \"unsupported queue mode 'foo'\"");
    assert_eq!((mode(Compatibility::V3_13), mode(Compatibility::V4_2)), (Some(text), None));
    let version = |version| answer(version, &[("x-queue-version", Value::I32(1))]);
    let text = format!("invalid arg 'x-queue-version' for {QUEUE}: \"unsupported queue version '1'\"");
    assert_eq!((version(Compatibility::V4_2), version(Compatibility::V4_3)), (None, Some(text)));
    let master = |version| answer(version, &[("x-queue-master-locator", Value::from("client-local"))]);
    assert_eq!((master(Compatibility::V4_2), master(Compatibility::Lenient)), (None, None));
    assert!(master(Compatibility::V4_3).is_some_and(|text| text.starts_with("Feature `queue_master_locator` is")));
}

#[test]
fn what_was_accepted_once_is_read_whatever_it_says() {
    let kept = table(&[
        ("x-delivery-limit", Value::I32(3)),
        ("x-max-length", Value::I32(-5)),
        ("x-max-priority", Value::I32(1_000)),
        ("x-overflow", Value::from("sideways")),
    ]);
    let options = Options::read(&kept, Compatibility::V4_3.profile());
    assert_eq!((options.delivery_limit, options.max_length, options.max_priority), (None, None, 255));
    assert_eq!(options.overflow, Overflow::DropHead);
}

#[test]
fn what_settings_amount_to_together() {
    let quorum =
        |version: Compatibility| Options { kind: Kind::Quorum, profile: version.profile(), ..Options::default() };
    let (old, two, levels) = (quorum(Compatibility::V3_13), quorum(Compatibility::V4_2), quorum(Compatibility::V4_3));
    assert_eq!((old.most_failures(), two.most_failures()), (None, Some(20)));
    assert_eq!(Options { delivery_limit: Some(-1), ..two.clone() }.most_failures(), None);
    assert_eq!(Options { delivery_limit: Some(2), ..old.clone() }.most_failures(), Some(2));
    assert_eq!(Options::default().most_failures(), None);
    assert_eq!([None, Some(0), Some(4), Some(5), Some(255)].map(|p| two.lane(p)), [0, 0, 0, 1, 1]);
    assert_eq!([None, Some(0), Some(31), Some(255)].map(|p| levels.lane(p)), [4, 0, 31, 31]);
    assert_eq!((old.lane(Some(9)), Options::default().lane(Some(9))), (0, 0));
    let sure = Options {
        dead_letter_strategy: Strategy::AtLeastOnce,
        dead_letter_exchange: Some("x".into()),
        overflow: Overflow::RejectPublish,
        ..two
    };
    assert!(sure.at_least_once());
    assert!(!Options { overflow: Overflow::DropHead, ..sure.clone() }.at_least_once());
    assert!(!Options { dead_letter_exchange: None, ..sure.clone() }.at_least_once());
    assert!(!Options { kind: Kind::Classic, ..sure }.at_least_once());
}
