//! RabbitMQ's words for what is refused; selection and merging against a naive reading of its rules.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::config::Compatibility;
use crate::queue::Overflow;
use crate::queue::options::Strategy as DeadLetterStrategy;
use crate::wire::table::Value as Argument;

const V4: Compatibility = Compatibility::V4_2;

fn ask(pattern: &str, definition: Value) -> PolicyAsk {
    let Value::Object(definition) = definition else { panic!("an object") };
    PolicyAsk { pattern: pattern.to_owned(), definition, priority: 0, apply_to: "all".to_owned() }
}

fn parse(kind: PolicyKind, ask: PolicyAsk, version: Compatibility) -> Result<Policy, String> {
    Policy::parse(kind, &"/".into(), "p", ask, version.profile())
}

fn refusal(kind: PolicyKind, definition: Value, version: Compatibility) -> String {
    let text = parse(kind, ask("^a", definition), version).expect_err("it is refused");
    let detail = text.strip_prefix("Validation failed\n\n").and_then(|text| text.strip_suffix('\n'));
    detail.expect("RabbitMQ's frame of words").to_owned()
}

#[test]
fn rabbitmqs_words_for_what_a_definition_must_not_be() {
    let cases = [
        (json!({"foo": 1}), "[{<<\"foo\">>,1}] are not recognised policy settings"),
        (json!({"foo": "bar", "max-length": 1}), "[{<<\"foo\">>,<<\"bar\">>}] are not recognised policy settings"),
        (json!({"foo": 1, "max-length": "x"}), "<<\"x\">> is not a valid maximum length"),
        (json!({}), "no policy provided"),
        (json!({"max-length": -1}), "-1 is not a valid maximum length"),
        (json!({"max-length": 1.5}), "1.5 is not a valid maximum length"),
        (json!({"max-length-bytes": null}), "null is not a valid maximum length in bytes"),
        (json!({"message-ttl": true}), "true is not a valid message TTL"),
        (json!({"expires": 0}), "0 is not a valid queue expiry"),
        (json!({"overflow": "zz"}), "<<\"zz\">> is not a valid overflow value"),
        (json!({"dead-letter-exchange": 5}), "5 is not a valid dead letter exchange name"),
        (json!({"dead-letter-routing-key": [1000]}), "[1000] is not a valid dead letter routing key"),
        (json!({"dead-letter-strategy": "zz"}), "<<\"zz\">> is not a valid dead letter strategy"),
        (json!({"alternate-exchange": 1}), "1 is not a valid alternate exchange name"),
        (json!({"queue-mode": "zz"}), "<<\"zz\">> is not a valid queue-mode value"),
        (json!({"queue-version": 3}), "3 is not a valid queue-version value"),
        (json!({"queue-leader-locator": "zz"}), "<<\"zz\">> is not a valid queue leader locator value"),
        (json!({"delivery-limit": "x"}), "<<\"x\">> is not a valid delivery limit"),
        (json!({"max-age": "10"}), "<<\"10\">> is not a valid max age"),
        (json!({"ha-mode": "all"}), "[{<<\"ha-mode\">>,<<\"all\">>}] are not recognised policy settings"),
    ];
    for (definition, text) in cases {
        assert_eq!(refusal(PolicyKind::User, definition, V4), text);
    }
    let of_operator = refusal(PolicyKind::Operator, json!({"dead-letter-exchange": "x"}), V4);
    assert_eq!(of_operator, "[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings");
    let old = refusal(PolicyKind::User, json!({"delivery-limit": -1}), Compatibility::V3_13);
    assert_eq!(old, "-1 is not a valid delivery limit");
}

#[test]
fn everything_wrong_is_told_at_once() {
    let mut bad = ask("(", json!({"max-length": "x"}));
    bad.apply_to = "zz".to_owned();
    let text = parse(PolicyKind::User, bad, V4).unwrap_err();
    assert_eq!(
        text,
        "Validation failed\n\npattern should be regular expression but is invalid: {\"unclosed group\",0}\napply-to 'zz' \
         unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or \
         'all'\n<<\"x\">> is not a valid maximum length\n"
    );
    let huge = parse(PolicyKind::User, ask("(a{1000}){1000}", json!({"max-length": 1})), V4).unwrap_err();
    assert!(huge.contains("the pattern is too large"), "{huge}");
    assert!(parse(PolicyKind::User, ask("^(?!amq\\.).*", json!({"max-length": 1})), V4).is_ok());
    assert!(Policy::parse(PolicyKind::User, &"/".into(), "", ask("", json!({"max-length": 1})), V4.profile()).is_err());
}

#[test]
fn keys_that_mean_nothing_here_are_taken_and_old_ones_where_they_were_known() {
    let definition = json!({
        "max-in-memory-length": 1, "queue-version": 2, "federation-upstream-set": "all", "target-group-size": 3,
        "max-age": "7D", "delivery-limit": -1, "consumer-timeout": 1, "message-ttl": u64::MAX,
    });
    assert!(parse(PolicyKind::User, ask(".*", definition), V4).is_ok());
    let mirroring = json!({"ha-mode": "exactly", "ha-params": 2, "queue-master-locator": "min-masters"});
    for version in [Compatibility::Lenient, Compatibility::V3_13] {
        let policy = parse(PolicyKind::User, ask(".*", mirroring.clone()), version).unwrap();
        assert_eq!(policy.outdated(), ["ha-mode", "ha-params", "queue-master-locator"]);
    }
}

#[test]
fn a_policy_survives_being_written_and_read() {
    let policy = parse(PolicyKind::User, ask("^a.*z$", json!({"max-length": 5})), V4).unwrap();
    let text = serde_json::to_string(&policy.ask()).unwrap();
    assert_eq!(text, r#"{"pattern":"^a.*z$","definition":{"max-length":5},"priority":0,"apply-to":"all"}"#);
    let again = Policy::read(&"/".into(), "p", serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(again.ask(), policy.ask());
    let bare: PolicyAsk = serde_json::from_str(r#"{"pattern":"x","definition":{}}"#).unwrap();
    assert_eq!((bare.priority, bare.apply_to.as_str()), (0, "all"));
}

#[test]
fn the_alternate_exchange_of_the_argument_counts_before_the_policys() {
    let mut policies = Policies::default();
    let policy = parse(PolicyKind::User, ask("", json!({"alternate-exchange": "of policy"})), V4).unwrap();
    policies.insert(PolicyKind::User, Arc::new(policy));
    let mut arguments = Table::new();
    assert_eq!(policies.alternate("x", &arguments).as_deref(), Some("of policy"));
    assert_eq!(policies.alternate("", &arguments), None, "the default exchange has none");
    arguments.insert("alternate-exchange", "of argument");
    assert_eq!(policies.alternate("x", &arguments).as_deref(), Some("of argument"));
}

/// Keys by the types of queue that have them, as RabbitMQ's documentation lists them.
const OF_BOTH: [&str; 7] = [
    "expires",
    "message-ttl",
    "max-length",
    "max-length-bytes",
    "overflow",
    "dead-letter-exchange",
    "alternate-exchange",
];
const OF_CLASSIC: [&str; 1] = ["queue-mode"];
const OF_QUORUM: [&str; 4] = ["delivery-limit", "dead-letter-strategy", "max-in-memory-length", "target-group-size"];
const OF_STREAMS: [&str; 1] = ["max-age"];

fn value_of(key: &str, n: i64) -> Value {
    let pick = |names: &[&str]| Value::from(names[usize::try_from(n.unsigned_abs()).unwrap() % names.len()]);
    match key {
        "overflow" => pick(&["drop-head", "reject-publish", "reject-publish-dlx"]),
        "dead-letter-strategy" => pick(&["at-most-once", "at-least-once"]),
        "queue-mode" => pick(&["lazy", "default"]),
        "max-age" => Value::from("1D"),
        "dead-letter-exchange" | "alternate-exchange" => pick(&["a", "b", ""]),
        "expires" | "target-group-size" => Value::from(n.abs() + 1),
        "delivery-limit" => Value::from(n),
        _ => Value::from(n.abs()),
    }
}

prop_compose! {
    fn a_definition(operator: bool)(picked in prop::collection::btree_map(0usize..13, -5i64..20, 1..4)) -> Map<String, Value> {
        let every: Vec<&str> = [&OF_BOTH[..], &OF_CLASSIC, &OF_QUORUM, &OF_STREAMS].concat();
        let for_operators = ["expires", "message-ttl", "max-length", "max-length-bytes", "overflow", "delivery-limit"];
        let name = |at: usize| if operator { for_operators[at % for_operators.len()] } else { every[at] };
        picked.into_iter().map(|(at, n)| (name(at).to_owned(), value_of(name(at), n))).collect()
    }
}

fn a_policy(operator: bool) -> impl Strategy<Value = PolicyAsk> {
    let pattern = prop::sample::select(vec!["", "a", "^a", "b$", "^ab$", "a|b", "[^b]", "^$"]);
    let apply_to =
        prop::sample::select(vec!["all", "all", "queues", "exchanges", "classic_queues", "quorum_queues", "streams"]);
    (pattern, apply_to, -2i64..3, a_definition(operator)).prop_map(|(pattern, apply_to, priority, definition)| {
        PolicyAsk { pattern: pattern.to_owned(), apply_to: apply_to.to_owned(), priority, definition }
    })
}

/// What a pattern of [`a_policy`] matches, written out.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern {
        "" => true,
        "a" => name.contains('a'),
        "^a" => name.starts_with('a'),
        "b$" => name.ends_with('b'),
        "^ab$" => name == "ab",
        "a|b" => name.contains(['a', 'b']),
        "[^b]" => name.chars().any(|c| c != 'b'),
        "^$" => name.is_empty(),
        other => panic!("unknown pattern {other}"),
    }
}

/// The policy that governs, found by looking at every one of them.
fn chosen<'a>(list: &'a [(String, PolicyAsk)], target: Target, name: &str) -> Option<&'a (String, PolicyAsk)> {
    let suits = |(_, ask): &&(String, PolicyAsk)| {
        let (words, foreign): (&[&str], Vec<&str>) = match target {
            Target::Exchange => (&["all", "exchanges"], vec![]),
            Target::Queue(Kind::Classic) => {
                (&["all", "queues", "classic_queues"], [&OF_QUORUM[..], &OF_STREAMS].concat())
            }
            Target::Queue(Kind::Quorum) => {
                (&["all", "queues", "quorum_queues"], [&OF_CLASSIC[..], &OF_STREAMS].concat())
            }
        };
        words.contains(&ask.apply_to.as_str())
            && matches(&ask.pattern, name)
            && !ask.definition.keys().any(|key| foreign.contains(&key.as_str()))
    };
    let mut fitting: Vec<_> = list.iter().filter(suits).collect();
    fitting.sort_by(|a, b| (b.1.priority, &a.0).cmp(&(a.1.priority, &b.0)));
    fitting.first().copied()
}

fn least(values: [Option<i64>; 3]) -> Option<u64> {
    values.into_iter().flatten().min().map(|n| u64::try_from(n).unwrap())
}

fn least_limit(values: [Option<i64>; 3]) -> Option<i64> {
    let given: Vec<i64> = values.into_iter().flatten().collect();
    // One after another, as RabbitMQ merges the policies first and the argument then.
    given.into_iter().reduce(|a, b| if a < 0 || b < 0 { a.max(b) } else { a.min(b) })
}

proptest! {
    #[test]
    fn the_policies_that_govern_are_those_a_search_finds(
        users in prop::collection::vec(a_policy(false), 0..6),
        operators in prop::collection::vec(a_policy(true), 0..4),
        replaced in prop::collection::vec(0usize..6, 0..4),
        name in "[abc]{0,3}",
        target in prop::sample::select(vec![
            Target::Exchange, Target::Queue(Kind::Classic), Target::Queue(Kind::Quorum),
        ]),
    ) {
        let mut policies = Policies::default();
        let mut lists = [Vec::new(), Vec::new()];
        for (kind, list, asks) in [(PolicyKind::User, 0, users), (PolicyKind::Operator, 1, operators)] {
            for (at, ask) in asks.into_iter().enumerate() {
                let name = format!("p{}", replaced.get(at).copied().unwrap_or(at));
                let policy = Policy::parse(kind, &"/".into(), &name, ask.clone(), V4.profile()).unwrap();
                policies.insert(kind, Arc::new(policy));
                lists[list].retain(|(known, _)| *known != name);
                lists[list].push((name, ask));
            }
            // Every second one goes again.
            let gone: Vec<String> = lists[list].iter().skip(3).step_by(2).map(|(name, _)| name.clone()).collect();
            for name in gone {
                prop_assert!(policies.remove(kind, &name));
                prop_assert!(!policies.remove(kind, &name));
                lists[list].retain(|(known, _)| *known != name);
            }
        }
        let governing = policies.governing(target, &name);
        for (found, list) in [(&governing.policy, &lists[0]), (&governing.operator_policy, &lists[1])] {
            let expected = chosen(list, target, &name).map(|(name, ask)| (name.clone(), ask.clone()));
            prop_assert_eq!(found.as_ref().map(|policy| (policy.name.to_string(), policy.ask())), expected);
        }
    }

    #[test]
    fn what_a_queue_does_is_what_the_rules_say(
        user in prop::option::of(a_definition(false)),
        operator in prop::option::of(a_definition(true)),
        given in prop::collection::btree_map(0usize..13, -5i64..20, 0..5),
        quorum in any::<bool>(),
    ) {
        // The queue's own arguments: as the policy's keys, with an x in front.
        let every: Vec<&str> = [&OF_BOTH[..], &OF_CLASSIC, &OF_QUORUM, &OF_STREAMS].concat();
        let mut arguments = Table::new();
        let own: Map<String, Value> = given.iter().map(|(at, n)| (every[*at].to_owned(), value_of(every[*at], *n))).collect();
        for (key, value) in &own {
            let value = value.as_i64().map_or_else(|| Argument::from(value.as_str().unwrap()), Argument::I64);
            arguments.insert(&format!("x-{key}"), value);
        }
        if quorum {
            arguments.insert("x-queue-type", "quorum");
        }
        let declared = Options::read(&arguments, V4.profile());
        let policy = |kind, definition: &Option<Map<String, Value>>| {
            let ask = |definition: &Map<_, _>| PolicyAsk { definition: definition.clone(), apply_to: all(), ..PolicyAsk::default() };
            definition.as_ref().map(|d| Arc::new(Policy::parse(kind, &"/".into(), "p", ask(d), V4.profile()).unwrap()))
        };
        let governing = Governing { policy: policy(PolicyKind::User, &user), operator_policy: policy(PolicyKind::Operator, &operator) };
        let options = governing.options(&declared, &arguments);

        let by_all = |key: &str| [user.as_ref(), operator.as_ref(), Some(&own)].map(|map| map.and_then(|map| map.get(key)));
        let numbers = |key: &str| by_all(key).map(|value| value.and_then(Value::as_i64));
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        prop_assert_eq!(options.message_ttl, least(numbers("message-ttl")));
        prop_assert_eq!(options.expires, least(numbers("expires")));
        prop_assert_eq!(options.max_length, least(numbers("max-length")));
        prop_assert_eq!(options.max_length_bytes, least(numbers("max-length-bytes")));
        let [of_user, of_operator, of_queue] = by_all("dead-letter-exchange");
        prop_assert_eq!(options.dead_letter_exchange.as_deref().map(str::to_owned), text(of_queue.or(of_operator).or(of_user)));
        let [of_user, of_operator, of_queue] = by_all("overflow");
        let of_policy = of_operator.or(of_user);
        let counts = if quorum { of_policy.or(of_queue) } else { of_queue.or(of_policy) };
        let expected = counts.and_then(Value::as_str).and_then(Overflow::named).unwrap_or_default();
        let expected = if quorum && expected == Overflow::RejectPublishDlx { Overflow::DropHead } else { expected };
        prop_assert_eq!(options.overflow, expected);
        if quorum {
            prop_assert_eq!(options.delivery_limit, least_limit(numbers("delivery-limit")));
            let [of_user, _, of_queue] = by_all("dead-letter-strategy");
            let expected = text(of_queue.or(of_user)).and_then(|name| DeadLetterStrategy::named(&name)).unwrap_or_default();
            prop_assert_eq!(options.dead_letter_strategy, expected);
        }
        // What no policy can change.
        prop_assert_eq!((options.kind, options.max_priority, options.single_active), (declared.kind, declared.max_priority, declared.single_active));
        let keys: std::collections::BTreeSet<_> = user.iter().chain(&operator).flat_map(|map| map.keys().cloned()).collect();
        prop_assert_eq!(governing.definition().keys().cloned().collect::<std::collections::BTreeSet<_>>(), keys);
    }
}
