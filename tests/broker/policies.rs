//! Policies: set, changed and cleared while their queues and exchanges live, and over a restart.

use lapin::ExchangeKind;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicRejectOptions,
    QueueDeclareOptions,
};
use leveret::broker::{AdminError, PolicyAsk, PolicyKind};
use leveret::config::{Compatibility, PolicyEntry};
use leveret::server::Builder;
use serde_json::{Value, json};

use crate::client::{
    Client, bodies, body, closed, consume, delivered, int, next, none, persistent, plain, refusal, table, text,
};
use crate::server::{Broker, in_time, scenario};

fn ask(pattern: &str, definition: Value) -> PolicyAsk {
    let Value::Object(definition) = definition else { panic!("an object") };
    PolicyAsk { pattern: pattern.to_owned(), definition, priority: 0, apply_to: "all".to_owned() }
}

async fn set(broker: &Broker, name: &str, pattern: &str, definition: Value) {
    broker.inside().set_policy("/", name, ask(pattern, definition)).await.expect("the policy is taken");
}

async fn set_operator(broker: &Broker, name: &str, pattern: &str, definition: Value) {
    broker.inside().set_operator_policy("/", name, ask(pattern, definition)).await.expect("the policy is taken");
}

async fn clear(broker: &Broker, name: &str) {
    broker.inside().clear_policy("/", name).await.expect("there is such a policy");
}

async fn is_refused(client: &Client, queue: &str, body: &str) -> bool {
    client.publish("", queue, body, plain()).await.is_nack()
}

#[test]
fn a_time_to_live_holds_for_later_messages() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        client.put("q", "before").await;
        set(broker, "p", "^q$", json!({"message-ttl": 10_000})).await;
        client.put_all("q", &["during 1", "during 2"]).await;
        assert_eq!(body(&client.take("q").await.unwrap()), "before");
        broker.pass(10_001);
        client.until_ready("q", 0).await;
        client.put("q", "fixed when it came").await;
        clear(broker, "p").await;
        client.put("q", "after").await;
        broker.pass(10_001);
        client.until_ready("q", 1).await;
        broker.pass(1_000_000);
        assert_eq!(client.drain("q").await, ["after"]);
    });
}

#[test]
fn a_smaller_length_drops_what_is_too_much() {
    scenario(async |broker, client| {
        client.queue("q", table([("x-max-length", int(6))])).await;
        client.put_all("q", &["1", "2", "3", "4", "5", "6"]).await;
        set(broker, "p", "q", json!({"max-length": 4})).await;
        assert_eq!(client.ready("q").await, 4, "in force when the answer comes");
        set(broker, "p", "q", json!({"max-length": 100})).await;
        client.put_all("q", &["7", "8", "9"]).await;
        assert_eq!(client.ready("q").await, 6, "the argument is the smaller");
        set(broker, "p", "q", json!({"max-length-bytes": 2})).await;
        assert_eq!(client.drain("q").await, ["8", "9"]);
    });
}

#[test]
fn a_large_surplus_is_dead_lettered_to_its_end() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        client.queue("dead", none()).await;
        let mut last = None;
        for n in 0..25_000u32 {
            let options = BasicPublishOptions::default();
            // A deadline far away must not keep the janitor from coming back for the rest.
            let how = plain().with_expiration("100000000".into());
            let sent = client.channel.basic_publish("".into(), "q".into(), options, &n.to_be_bytes(), how).await;
            last = Some(sent.expect("the publish is sent"));
        }
        assert!(last.unwrap().await.unwrap().is_ack());
        client.until_ready("q", 25_000).await;
        let definition = json!({"max-length": 1, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"});
        set(broker, "p", "^q$", definition).await;
        client.until_ready("q", 1).await;
        client.until_ready("dead", 24_999).await;
    });
}

#[test]
fn a_dead_letter_exchange_may_come_and_go() {
    scenario(async |broker, client| {
        client.queue("q", table([("x-max-length", int(1))])).await;
        client
            .queue(
                "own",
                table([
                    ("x-max-length", int(1)),
                    ("x-dead-letter-exchange", text("")),
                    ("x-dead-letter-routing-key", text("other")),
                ]),
            )
            .await;
        client.queue("dead", none()).await;
        client.queue("other", none()).await;
        client.put_all("q", &["1", "2"]).await;
        set(broker, "p", "^(q|own)$", json!({"dead-letter-exchange": "", "dead-letter-routing-key": "dead"})).await;
        client.put("q", "3").await;
        let dead = client.arrival("dead").await;
        assert_eq!((body(&dead).as_str(), dead.routing_key.as_str()), ("2", "dead"));
        client.put_all("own", &["1", "2"]).await;
        assert_eq!(body(&client.arrival("other").await), "1", "the argument counts");
        clear(broker, "p").await;
        client.put_all("q", &["4"]).await;
        assert_eq!(client.drain("q").await, ["4"]);
        assert_eq!(client.ready("dead").await, 0);
    });
}

#[test]
fn a_queue_may_begin_and_cease_to_refuse() {
    scenario(async |broker, client| {
        client.queue("q", table([("x-max-length", int(2))])).await;
        client.queue("own", table([("x-max-length", int(1)), ("x-overflow", text("drop-head"))])).await;
        client.put_all("q", &["1", "2"]).await;
        set(broker, "p", "", json!({"overflow": "reject-publish"})).await;
        assert!(is_refused(client, "q", "3").await);
        client.put_all("own", &["1", "2"]).await;
        assert_eq!(client.drain("own").await, ["2"], "of a classic queue the argument counts");
        clear(broker, "p").await;
        client.put("q", "4").await;
        assert_eq!(client.drain("q").await, ["2", "4"]);
        let quorum =
            table([("x-queue-type", text("quorum")), ("x-max-length", int(1)), ("x-overflow", text("drop-head"))]);
        client.durable("quorum", quorum).await;
        set(broker, "p", "", json!({"overflow": "reject-publish"})).await;
        client.put("quorum", "1").await;
        let mut refused = false;
        for n in 2..20 {
            refused |= is_refused(client, "quorum", &n.to_string()).await;
        }
        assert!(refused, "of a quorum queue the policy counts");
    });
}

#[test]
fn a_refusal_reaches_the_channel_that_published() {
    // Two channels of one connection in one read, of which only one is in confirm mode.
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        let plain_channel = client.channel().await;
        set(broker, "p", "^q$", json!({"max-length": 1, "overflow": "reject-publish"})).await;
        client.put("q", "1").await;
        for _ in 0..50 {
            let options = BasicPublishOptions::default();
            let silent = plain_channel.basic_publish("".into(), "q".into(), options, b"x", plain()).await.unwrap();
            let sent = client.channel.basic_publish("".into(), "q".into(), options, b"x", plain()).await.unwrap();
            assert!(sent.await.unwrap().is_nack());
            drop(silent);
        }
        assert_eq!(client.drain("q").await, ["1"]);
    });
}

#[test]
fn an_idle_time_begins_with_the_policy() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        client.queue("consumed", none()).await;
        let consumer = client.consume("consumed").await;
        broker.pass(100_000);
        set(broker, "p", "", json!({"expires": 10_000})).await;
        broker.pass(9_000);
        assert!(broker.inside().vhost("/").unwrap().queue("q").is_some(), "the time starts anew");
        broker.pass(1_001);
        client.until_gone("q").await;
        assert!(client.queue_exists("consumed").await, "it is in use");
        clear(broker, "p").await;
        client.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.unwrap();
        broker.pass(100_000);
        assert!(client.queue_exists("consumed").await);
    });
}

#[test]
fn a_policy_governs_what_is_declared_later() {
    scenario(async |broker, client| {
        set(broker, "p", "^limited", json!({"max-length": 1})).await;
        client.queue("limited", none()).await;
        let unlimited = client.declare("", QueueDeclareOptions::default(), none()).await;
        for queue in ["limited", &unlimited] {
            client.put_all(queue, &["1", "2"]).await;
        }
        assert_eq!((client.drain("limited").await.len(), client.drain(&unlimited).await.len()), (1, 2));
        set(broker, "named", "^amq\\.gen-", json!({"max-length": 1})).await;
        client.put_all(&unlimited, &["1", "2"]).await;
        assert_eq!(client.drain(&unlimited).await, ["2"], "a queue the server named is governed too");
        let governing = broker.inside().vhost("/").unwrap();
        let queue = governing.queue("limited").unwrap();
        assert_eq!(governing.policies_of(&queue).policy.unwrap().name.as_ref(), "p");
    });
}

#[test]
fn one_policy_counts_and_the_operators_limits_it() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        set(broker, "low", "", json!({"max-length": 1})).await;
        let high = PolicyAsk { priority: 1, ..ask("^q$", json!({"max-length": 5})) };
        broker.inside().set_policy("/", "high", high).await.unwrap();
        client.put_all("q", &["1", "2", "3", "4", "5", "6"]).await;
        assert_eq!(client.ready("q").await, 5);
        set_operator(broker, "limit", "", json!({"max-length": 3})).await;
        assert_eq!(client.ready("q").await, 3);
        clear(broker, "high").await;
        assert_eq!(client.ready("q").await, 1);
        broker.inside().clear_operator_policy("/", "limit").await.unwrap();
        clear(broker, "low").await;
        client.put_all("q", &["7", "8", "9", "10"]).await;
        assert_eq!(client.drain("q").await, ["6", "7", "8", "9", "10"]);
        let names = |kind| broker.inside().policies(kind, None).len();
        assert_eq!((names(PolicyKind::User), names(PolicyKind::Operator)), (0, 0));
    });
}

#[test]
fn an_alternate_exchange_may_come_and_go() {
    scenario(async |broker, client| {
        client.exchange("x", ExchangeKind::Direct, none()).await;
        client.exchange("own", ExchangeKind::Direct, table([("alternate-exchange", text("amq.direct"))])).await;
        client.queue("lost", none()).await;
        client.bind("lost", "amq.fanout", "", none()).await;
        client.publish("x", "k", "before", plain()).await;
        set(broker, "p", "^(x|own|later)$", json!({"alternate-exchange": "amq.fanout"})).await;
        client.publish("x", "k", "during", plain()).await;
        client.publish("own", "k", "its own", plain()).await;
        client.exchange("later", ExchangeKind::Fanout, none()).await;
        client.publish("later", "k", "later", plain()).await;
        clear(broker, "p").await;
        client.publish("x", "k", "after", plain()).await;
        assert_eq!(client.drain("lost").await, ["during", "later"]);
    });
}

#[test]
fn a_consumer_goes_on_while_its_queue_changes() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        let mut consumer = client.consume("q").await;
        for n in 0..20 {
            set(broker, "p", "", json!({"max-length": n, "message-ttl": 1_000_000 + n, "expires": 1_000 + n})).await;
            client.put("q", &n.to_string()).await;
            assert_eq!(body(&next(&mut consumer).await), n.to_string());
        }
        assert!(delivered(&mut consumer).await.is_empty());
    });
}

#[test]
fn what_is_not_valid_is_refused_with_rabbitmqs_words() {
    scenario(async |broker, _| {
        let inside = broker.inside();
        let bad = inside.set_policy("/", "p", ask("", json!({"max-length": "x"}))).await;
        let text = "Validation failed\n\n<<\"x\">> is not a valid maximum length\n";
        assert_eq!(bad, Err(AdminError::Invalid(text.to_owned())));
        let nowhere = inside.set_policy("none", "p", ask("", json!({"max-length": 1}))).await;
        assert_eq!(nowhere, Err(AdminError::NoVhost("none".to_owned())));
        let missing = inside.clear_policy("/", "p").await.unwrap_err();
        assert_eq!(missing.to_string(), "Parameter does not exist");
        assert!(inside.policies(PolicyKind::User, Some("/")).is_empty());
    });
}

#[test]
fn policies_survive_a_restart_and_govern_from_its_beginning() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        client.durable("q", none()).await;
        client.durable("expiring", none()).await;
        for n in ["1", "2", "3"] {
            client.put_as("q", n, persistent()).await;
        }
        set(&broker, "p", "^q$", json!({"max-length": 3, "overflow": "reject-publish"})).await;
        set(&broker, "gone", "^nothing$", json!({"max-length": 1})).await;
        clear(&broker, "gone").await;
        set(&broker, "e", "^expiring$", json!({"expires": 10_000})).await;
        set_operator(&broker, "o", "^q$", json!({"max-length": 5})).await;
        let before = broker.inside().policies(PolicyKind::User, Some("/"));
        drop(client);
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        let client = broker.client().await;
        assert_eq!(client.ready("q").await, 3);
        assert!(is_refused(&client, "q", "4").await);
        let after = broker.inside().policies(PolicyKind::User, Some("/"));
        let words = |list: &[std::sync::Arc<leveret::broker::Policy>]| -> Vec<_> {
            list.iter().map(|policy| (policy.name.clone(), policy.ask())).collect()
        };
        assert_eq!((words(&after), words(&after).len()), (words(&before), 2));
        assert_eq!(broker.inside().policies(PolicyKind::Operator, None).len(), 1);
        clear(&broker, "p").await;
        set_operator(&broker, "o", "^q$", json!({"max-length": 2})).await;
        assert_eq!(client.drain("q").await, ["2", "3"], "a backlog on disk is shortened like any other");
        broker.pass(10_001);
        client.until_gone("expiring").await;
        drop(client);
        broker.stop().await;
    });
}

#[test]
fn the_configuration_may_set_policies() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let entry = |definition: Value| PolicyEntry {
            vhost: "/".to_owned(),
            name: "p".to_owned(),
            pattern: "^q$".to_owned(),
            definition: definition.as_object().unwrap().clone(),
            priority: 0,
            apply_to: "queues".to_owned(),
            vhosts: None,
        };
        let start = |policies: Vec<PolicyEntry>| {
            let builder = Builder::in_memory().data_dir(directory.path());
            Broker::start(builder.configure(|config| config.policies = policies))
        };
        for (policies, expected) in [
            (vec![entry(json!({"max-length": 2}))], 2),
            (vec![entry(json!({"max-length": 2}))], 2),
            (vec![entry(json!({"max-length": 1}))], 1),
            (vec![], 1),
        ] {
            let broker = start(policies);
            let client = broker.client().await;
            client.queue("q", none()).await;
            client.put_all("q", &["1", "2", "3"]).await;
            assert_eq!(client.drain("q").await.len(), expected);
            drop(client);
            broker.stop().await;
        }
        let bad = Builder::in_memory().configure(|config| config.policies = vec![entry(json!({"max-length": -1}))]);
        let error = bad.start().expect_err("the policy is not valid").to_string();
        assert!(error.contains("policy \"p\"") && error.contains("-1 is not a valid maximum length"), "{error}");
    });
}

#[test]
fn mirroring_is_taken_where_rabbitmq_took_it() {
    in_time(async {
        for (version, taken) in [(Compatibility::Lenient, true), (Compatibility::V4_3, false)] {
            let broker = Broker::start(Builder::in_memory().configure(|config| config.compatibility = version));
            let answer = broker.inside().set_policy("/", "ha", ask("", json!({"ha-mode": "all"}))).await;
            assert_eq!(answer.is_ok(), taken, "{answer:?}");
            broker.stop().await;
        }
    });
}

#[test]
fn redeclaring_compares_arguments_not_policies() {
    scenario(async |broker, client| {
        client.queue("q", table([("x-max-length", int(5))])).await;
        set(broker, "p", "", json!({"max-length": 1})).await;
        client.queue("q", table([("x-max-length", int(5))])).await;
        let channel = client.channel().await;
        let other =
            channel.queue_declare("q".into(), QueueDeclareOptions::default(), table([("x-max-length", int(1))])).await;
        let expected = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': \
                        received '1' but current is '5'";
        assert_eq!(refusal(other), closed(406, expected));
        client.put_all("q", &["1", "2"]).await;
        let mut consumer = client.consume("q").await;
        assert_eq!(bodies(&mut consumer, 1).await, ["2"]);
    });
}

#[test]
fn quorum_queues_learn_patience_and_where_their_dead_go() {
    scenario(async |broker, client| {
        client.durable("q", table([("x-queue-type", text("quorum"))])).await;
        client.queue("dead", none()).await;
        set(broker, "p", "^q$", json!({"consumer-timeout": 5_000, "delivery-limit": 1})).await;
        client.put("q", "late").await;
        let channel = client.channel().await;
        let mut consumer = consume(&channel, "q", BasicConsumeOptions::default(), none()).await;
        assert_eq!(body(&next(&mut consumer).await), "late");
        broker.pass(70_000);
        client.until_ready("q", 1).await;
        client.get("q").await.unwrap().nack(BasicNackOptions { requeue: true, multiple: false }).await.unwrap();
        client.until_ready("q", 0).await;
        // Two failures were too many. What must arrive waits for a policy that lets it.
        let certain = |exchange: &str| {
            json!({
                "dead-letter-strategy": "at-least-once", "overflow": "reject-publish",
                "dead-letter-exchange": exchange, "dead-letter-routing-key": "dead",
            })
        };
        set(broker, "p", "^q$", certain("missing")).await;
        client.put("q", "rejected").await;
        client.get("q").await.unwrap().reject(BasicRejectOptions { requeue: false }).await.unwrap();
        client.until_ready("q", 0).await;
        assert_eq!(client.ready("dead").await, 0);
        set(broker, "p", "^q$", certain("")).await;
        assert_eq!(body(&client.arrival("dead").await), "rejected");
    });
}
