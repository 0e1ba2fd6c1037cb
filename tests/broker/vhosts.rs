//! Virtual hosts: created, limited and deleted while in use; the limits of the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::{ExchangeKind, types::FieldTable};
use leveret::auth::Permission;
use leveret::broker::{AdminError, PolicyAsk, PolicyKind, VhostLimits, VhostSettings};
use leveret::config::{Config, PermissionEntry, PolicyEntry, UserEntry, VhostEntry, VhostLimitEntry};
use leveret::server::Builder;
use leveret::store::Engine;
use leveret::store::lmdb::{LmdbEngine, LmdbOptions};

use crate::client::{Client, closed, consume, int, none, persistent, plain, refusal, table, text, told};
use crate::server::{Broker, in_time, scenario};

/// Makes a virtual host that guest may use.
async fn open(broker: &Broker, name: &str, settings: VhostSettings) {
    assert_eq!(broker.inside().create_vhost(name, settings).await, Ok(true));
    assert_eq!(broker.inside().set_permission(name, "guest", Permission::all()).await, Ok(true));
}

/// A broker with the virtual host `v`, and a client in it.
async fn with_v(broker: &Broker) -> Client {
    open(broker, "v", VhostSettings::default()).await;
    Client::try_connect_to(broker.address(), "v").await.expect("it can be opened")
}

async fn limit(broker: &Broker, limits: VhostLimits) {
    broker.inside().set_vhost_limits("/", limits).await.expect("there is such a virtual host");
}

async fn refused_connection(broker: &Broker, vhost: &str) -> (u16, String) {
    let error = Client::try_connect_to(broker.address(), vhost).await.err().expect("the connection is refused");
    told(&error)
}

fn configured(change: impl FnOnce(&mut Config)) -> Broker {
    Broker::start(Builder::in_memory().configure(change))
}

#[test]
fn virtual_hosts_are_apart() {
    scenario(async |broker, client| {
        let other = with_v(broker).await;
        for (client, word) in [(client, "root"), (&other, "v")] {
            client.queue("q", none()).await;
            client.put("q", word).await;
        }
        assert_eq!((client.drain("q").await, other.drain("q").await), (vec!["root".into()], vec!["v".into()]));
        assert_eq!(broker.inside().create_vhost("v", VhostSettings::default()).await, Ok(false));
        let bad = VhostSettings { default_queue_type: Some("stream".to_owned()), ..VhostSettings::default() };
        assert!(matches!(broker.inside().create_vhost("w", bad).await, Err(AdminError::Invalid(_))));
        assert_eq!(refused_connection(broker, "w").await, closed(530, "NOT_ALLOWED - vhost w not found"));
    });
}

#[test]
fn deleting_one_tells_its_clients_and_leaves_nothing() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let bystander = broker.client().await;
        bystander.durable("stays", none()).await;
        bystander.put_as("stays", "here", persistent()).await;
        let client = with_v(&broker).await;
        client.durable("q", none()).await;
        client.bind("q", "amq.topic", "#", none()).await;
        client.put_as("q", "gone", persistent()).await;
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        client.channel.exchange_declare("x".into(), ExchangeKind::Fanout, options, none()).await.unwrap();
        let definition = serde_json::json!({"max-length": 5}).as_object().unwrap().clone();
        let ask = PolicyAsk { definition, apply_to: "all".to_owned(), ..PolicyAsk::default() };
        broker.inside().set_policy("v", "p", ask.clone()).await.unwrap();
        broker.inside().set_operator_policy("v", "p", ask).await.unwrap();
        let unacknowledged = client.get("q").await.unwrap();
        broker.inside().delete_vhost("v").await.unwrap();
        // The connection's next word is its end.
        let error = loop {
            let asked =
                client.channel.queue_declare("q".into(), QueueDeclareOptions::default().passive(), none()).await;
            match asked {
                Err(error) if !client.connection.status().connected() => break error,
                other => assert!(other.is_err(), "the queue is still there"),
            }
        };
        drop((unacknowledged, error));
        assert_eq!(refused_connection(&broker, "v").await, closed(530, "NOT_ALLOWED - vhost v not found"));
        assert_eq!(broker.inside().delete_vhost("v").await, Err(AdminError::NoVhost("v".to_owned())));
        // One of the same name is empty, at once and after a restart.
        let client = with_v(&broker).await;
        assert!(!client.queue_exists("q").await && !client.exchange_exists("x").await);
        assert!(broker.inside().policies(PolicyKind::User, Some("v")).is_empty());
        drop((client, bystander));
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        let client = Client::try_connect_to(broker.address(), "v").await.unwrap();
        assert!(!client.queue_exists("q").await && !client.exchange_exists("x").await);
        for kind in [PolicyKind::User, PolicyKind::Operator] {
            assert!(broker.inside().policies(kind, None).is_empty());
        }
        assert_eq!(broker.client().await.drain("stays").await, ["here"]);
        broker.inside().delete_vhost("v").await.unwrap();
        drop(client);
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        assert!(broker.inside().vhost("v").is_none());
        broker.stop().await;
    });
}

#[test]
fn deletion_under_traffic_ends_and_the_broker_starts_again() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let address = broker.address();
        let over = Arc::new(AtomicBool::new(false));
        open(&broker, "v", VhostSettings::default()).await;
        // Clients that declare, bind, publish and consume, and come back whenever they are told to leave.
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let over = over.clone();
                tokio::spawn(async move {
                    let mut lives = 0;
                    while !over.load(Ordering::Acquire) {
                        let Ok(client) = Client::try_connect_to(address, "v").await else {
                            tokio::task::yield_now().await;
                            continue;
                        };
                        lives += 1;
                        work(&client, worker).await;
                    }
                    lives
                })
            })
            .collect();
        for _ in 0..15 {
            let seen = broker.inside().vhost("v").expect("it is there");
            while seen.queue_count() < 3 {
                tokio::task::yield_now().await;
            }
            broker.inside().delete_vhost("v").await.unwrap();
            assert_eq!((seen.queue_count(), seen.exchange_count()), (0, 0));
            open(&broker, "v", VhostSettings::default()).await;
        }
        over.store(true, Ordering::Release);
        broker.inside().delete_vhost("v").await.unwrap();
        for worker in workers {
            assert!(worker.await.unwrap() >= 1);
        }
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        let names: Vec<_> = broker.inside().vhosts().iter().map(|vhost| vhost.name.to_string()).collect();
        assert_eq!(names, ["/"]);
        broker.stop().await;
    });
}

/// Uses a virtual host until it is told to leave.
async fn work(client: &Client, worker: u32) {
    let channel = &client.channel;
    for n in 0.. {
        let name = format!("{worker}.{}", n % 5);
        let declared = channel.queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), none()).await;
        if declared.is_err() {
            return;
        }
        let options = lapin::options::QueueBindOptions::default();
        let key = name.as_str().into();
        if channel.queue_bind(name.as_str().into(), "amq.topic".into(), key, options, none()).await.is_err() {
            return;
        }
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("amq.topic".into(), name.as_str().into(), options, b"x", persistent()).await;
        let Ok(confirmed) = sent else { return };
        if confirmed.await.is_err() {
            return;
        }
        if n % 7 == 0 {
            let consumed = channel
                .basic_consume(name.as_str().into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
                .await;
            if consumed.is_err() {
                return;
            }
        }
    }
}

#[test]
fn max_connections_counts_open_connections() {
    scenario(async |broker, client| {
        limit(broker, VhostLimits { max_connections: Some(2), max_queues: None }).await;
        let second = broker.client().await;
        let text = "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (2) is reached";
        assert_eq!(refused_connection(broker, "%2f").await, closed(530, text));
        second.close().await;
        broker.client().await.close().await;
        limit(broker, VhostLimits { max_connections: Some(0), max_queues: None }).await;
        let text = "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (0) is reached";
        assert_eq!(refused_connection(broker, "%2f").await, closed(530, text));
        assert!(client.connection.status().connected(), "who is in stays");
        limit(broker, VhostLimits { max_connections: Some(-1), max_queues: None }).await;
        broker.client().await.close().await;
        assert_eq!(broker.inside().vhost("/").unwrap().connection_count(), 1);
    });
}

#[test]
fn max_queues_counts_every_queue_and_leaves_no_half_made_one() {
    scenario(async |broker, client| {
        limit(broker, VhostLimits { max_connections: None, max_queues: Some(2) }).await;
        client.queue("1", none()).await;
        client.declare("2", QueueDeclareOptions::exclusive(), none()).await;
        client.queue("1", none()).await;
        let expected = "PRECONDITION_FAILED - cannot declare queue '3': queue limit in vhost '/' (2) is reached";
        for options in [QueueDeclareOptions::default(), QueueDeclareOptions::durable()] {
            let channel = client.channel().await;
            assert_eq!(refusal(channel.queue_declare("3".into(), options, none()).await), closed(406, expected));
            assert!(!client.queue_exists("3").await);
        }
        // Bad values are told first, an unknown type and what a type lacks last.
        let declare = async |key: &str, value, options| {
            let channel = client.channel().await;
            refusal(channel.queue_declare("3".into(), options, table([(key, value)])).await).1
        };
        let told = declare("x-overflow", text("zz"), QueueDeclareOptions::default()).await;
        assert!(told.ends_with("invalid_overflow"), "{told}");
        let told = declare("x-queue-type", text("zzz"), QueueDeclareOptions::default()).await;
        assert_eq!(told, expected);
        let told = declare("x-queue-type", text("quorum"), QueueDeclareOptions::default()).await;
        assert_eq!(told, expected);
        let deletion = client.channel.queue_delete("1".into(), lapin::options::QueueDeleteOptions::default()).await;
        deletion.unwrap();
        client.queue("3", none()).await;
        limit(broker, VhostLimits { max_connections: None, max_queues: Some(0) }).await;
        let channel = client.channel().await;
        let none_allowed = channel.queue_declare("4".into(), QueueDeclareOptions::default(), none()).await;
        let expected = "PRECONDITION_FAILED - cannot declare queue '4': queue limit in vhost '/' (0) is reached";
        assert_eq!(refusal(none_allowed), closed(406, expected));
        limit(broker, VhostLimits::default()).await;
        client.queue("4", none()).await;
    });
}

#[test]
fn the_default_queue_type_is_the_virtual_hosts_or_the_nodes() {
    in_time(async {
        let broker = configured(|config| config.default_queue_type = "quorum".to_owned());
        let client = broker.client().await;
        client.durable("q", none()).await;
        client.durable("q", table([("x-queue-type", text("quorum"))])).await;
        client.queue("transient", none()).await;
        client.queue("transient", table([("x-queue-type", text("classic"))])).await;
        client.durable("c", table([("x-queue-type", text("classic"))])).await;
        let classic = VhostSettings { default_queue_type: Some("classic".to_owned()), ..VhostSettings::default() };
        open(&broker, "v", classic).await;
        let other = Client::try_connect_to(broker.address(), "v").await.unwrap();
        other.durable("q", none()).await;
        other.durable("q", table([("x-queue-type", text("classic"))])).await;
        drop((client, other));
        broker.stop().await;
    });
}

#[test]
fn new_virtual_hosts_begin_with_what_is_configured_for_their_kind() {
    in_time(async {
        let broker = configured(|config| {
            config.default_vhost = "shop".to_owned();
            let pattern = || "^(shop|v)".to_owned();
            let limits = VhostLimitEntry {
                name: "l".to_owned(),
                vhosts: pattern(),
                max_queues: Some(1),
                ..VhostLimitEntry::default()
            };
            config.vhost_limits = vec![limits];
            let definition = serde_json::json!({"max-length": 1}).as_object().cloned().unwrap_or_default();
            let nothing = String::new;
            config.permissions = vec![PermissionEntry {
                user: "guest".to_owned(),
                vhosts: pattern(),
                configure: "^q".to_owned(),
                write: ".*".to_owned(),
                read: "^q".to_owned(),
            }];
            config.users.push(UserEntry { name: "other".to_owned(), ..config.users[0].clone() });
            config.permissions.push(PermissionEntry {
                user: "other".to_owned(),
                vhosts: "^x".to_owned(),
                configure: nothing(),
                write: nothing(),
                read: nothing(),
            });
            config.operator_policies = vec![PolicyEntry {
                name: "p".to_owned(),
                vhosts: Some(pattern()),
                apply_to: "queues".to_owned(),
                definition,
                ..PolicyEntry::default()
            }];
        });
        let inside = broker.inside();
        for name in ["v", "w"] {
            assert_eq!(inside.create_vhost(name, VhostSettings::default()).await, Ok(true));
        }
        let known: Vec<String> = inside.vhosts().iter().map(|vhost| vhost.name.to_string()).collect();
        assert!(known.iter().any(|name| name == "shop") && known.iter().all(|name| name != "/"), "{known:?}");
        for (name, has) in [("shop", true), ("v", true), ("w", false)] {
            let limits = inside.vhost(name).expect("it is there").settings().limits;
            assert_eq!(limits.max_queues, has.then_some(1), "{name}");
            assert_eq!(inside.policies(PolicyKind::Operator, Some(name)).len(), usize::from(has), "{name}");
        }
        let granted = inside.permissions();
        let mut granted: Vec<_> =
            granted.iter().map(|(vhost, user, may)| (&**vhost, &**user, &*may.configure)).collect();
        granted.sort_unstable();
        assert_eq!(granted, [("shop", "guest", "^q"), ("v", "guest", "^q")], "and nothing where nothing is said");
        let client = Client::try_connect_to(broker.address(), "v").await.expect("it can be opened");
        client.queue("q", none()).await;
        client.put_all("q", &["one", "two"]).await;
        assert_eq!(client.drain("q").await, ["two"], "the policy is in force");
        drop(client);
        broker.stop().await;
    });
}

#[test]
fn a_reload_changes_limits_for_what_comes() {
    in_time(async {
        let broker = configured(|config| config.cluster_queue_limit = Some(1));
        let client = broker.client().await;
        client.queue("q", none()).await;
        let refused = client.channel().await;
        let declared = refused.queue_declare("r".into(), QueueDeclareOptions::default(), none()).await;
        let expected = "PRECONDITION_FAILED - cannot declare queue 'r': queue limit in cluster (1) is reached";
        assert_eq!(refusal(declared), closed(406, expected));
        broker.inside().apply(&Config { connection_max: Some(1), ..Config::default() });
        client.queue("r", none()).await;
        let expected = "NOT_ALLOWED - connection refused: node connection limit (1) is reached";
        assert_eq!(refused_connection(&broker, "%2f").await, closed(530, expected));
        assert!(client.queue_exists("q").await, "who is there stays");
        drop(client);
        broker.stop().await;
    });
}

#[test]
fn limits_of_the_node() {
    in_time(async {
        let broker = configured(|config| {
            config.connection_max = Some(2);
            config.channel_max_per_node = Some(3);
            config.node_name = "leveret@localhost".to_owned();
            config.consumer_max_per_channel = Some(2);
            config.vhost_max = Some(2);
            config.cluster_queue_limit = Some(2);
            config.cluster_exchange_limit = Some(15);
        });
        let client = broker.client().await;
        let other = with_v(&broker).await;
        let expected = "NOT_ALLOWED - connection refused: node connection limit (2) is reached";
        assert_eq!(refused_connection(&broker, "nowhere").await, closed(530, expected));
        let full = broker.inside().create_vhost("w", VhostSettings::default()).await.unwrap_err();
        assert_eq!(full.to_string(), "cannot create vhost 'w': vhost limit of 2 is reached");

        client.queue("q", none()).await;
        other.queue("q", none()).await;
        let third = client.channel().await;
        let expected = "PRECONDITION_FAILED - cannot declare queue 'r': queue limit in cluster (2) is reached";
        let declared = third.queue_declare("r".into(), QueueDeclareOptions::default(), none()).await;
        assert_eq!(refusal(declared), closed(406, expected));
        // Each virtual host has seven from its beginning.
        client.exchange("x", ExchangeKind::Fanout, none()).await;
        let third = client.channel().await;
        let options = ExchangeDeclareOptions::default();
        let declared = third.exchange_declare("y".into(), ExchangeKind::Fanout, options, none()).await;
        let expected =
            "PRECONDITION_FAILED - cannot declare exchange 'y' in vhost '/': exchange limit of 15 is reached";
        assert_eq!(refusal(declared), closed(406, expected));

        let third = client.channel().await;
        let _kept = [
            consume(&third, "q", BasicConsumeOptions::default(), none()).await,
            consume(&third, "q", BasicConsumeOptions::default(), none()).await,
        ];
        let fourth = other.connection.create_channel().await;
        let expected = "NOT_ALLOWED - number of channels opened on node 'leveret@localhost' has reached the maximum \
                        allowed limit of 3";
        assert_eq!(refusal(fourth), closed(530, expected));
        let more = third.basic_consume("q".into(), "".into(), BasicConsumeOptions::default(), none()).await;
        assert_eq!(refusal(more), closed(530, "NOT_ALLOWED - reached maximum (2) of consumers per channel"));
        drop((client, other));
        broker.stop().await;
    });
}

#[test]
fn settings_survive_a_restart_and_the_configuration_adds_to_them() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let settings = VhostSettings {
            description: "ours".to_owned(),
            tags: vec!["a".to_owned()],
            default_queue_type: Some("quorum".to_owned()),
            limits: VhostLimits { max_connections: Some(5), max_queues: Some(-1) },
            ..VhostSettings::default()
        };
        broker.inside().create_vhost("v", settings.clone()).await.unwrap();
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        assert_eq!(*broker.inside().vhost("v").unwrap().settings(), settings);
        broker.stop().await;
        let entry = |name: &str| VhostEntry { name: name.to_owned(), max_queues: Some(1), ..VhostEntry::default() };
        let broker = Broker::start(
            Builder::in_memory()
                .data_dir(directory.path())
                .configure(|config| config.vhosts = vec![entry("v"), entry("new")]),
        );
        let limits = VhostLimits { max_connections: None, max_queues: Some(1) };
        let v = broker.inside().vhost("v").unwrap().settings();
        assert_eq!(*v, VhostSettings { limits, ..settings });
        let client = Client::try_connect_to(broker.address(), "new").await.unwrap();
        client.queue("q", none()).await;
        client.put_as("q", "x", plain()).await;
        let channel = client.channel().await;
        let declared = channel.queue_declare("r".into(), QueueDeclareOptions::default(), none()).await;
        assert_eq!(refusal(declared).0, 406);
        drop(client);
        broker.stop().await;
    });
}

#[test]
fn what_exchanges_hold_goes_with_the_virtual_host_and_obeys_no_policy() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        let client = with_v(&broker).await;
        let kind = ExchangeKind::Custom("x-delayed-message".to_owned());
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let acting_as = table([("x-delayed-type", text("fanout"))]);
        client.channel.exchange_declare("x".into(), kind, durable, acting_as).await.unwrap();
        client.durable("q", none()).await;
        client.bind("q", "x", "", none()).await;
        let delayed = || persistent().with_headers(table([("x-delay", int(1_000_000))]));
        for name in ["1", "2"] {
            assert!(client.publish("x", "", name, delayed()).await.is_ack());
        }
        let definition = serde_json::json!({"max-length": 0, "message-ttl": 0}).as_object().unwrap().clone();
        let ask =
            PolicyAsk { pattern: "^x$".to_owned(), definition, apply_to: "all".to_owned(), ..PolicyAsk::default() };
        broker.inside().set_policy("v", "p", ask).await.unwrap();
        drop(client);
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        let client = Client::try_connect_to(broker.address(), "v").await.unwrap();
        assert!(client.publish("x", "", "3", delayed()).await.is_ack());
        broker.pass(1_000_001);
        client.until_ready("q", 3).await;
        assert!(client.publish("x", "", "never", delayed()).await.is_ack());
        broker.inside().delete_vhost("v").await.unwrap();
        drop(client);
        broker.stop().await;
        let engine = LmdbEngine::open(directory.path(), LmdbOptions::default()).unwrap();
        let kept = engine.recover().unwrap();
        assert!(kept.queues.values().all(|queue| queue.lanes.is_empty()), "{:?}", kept.queues);
        let what = "the virtual host /, its user, what that one may do there, and the id of the broker";
        assert_eq!(kept.definitions.len(), 5, "{what}: {:?}", kept.definitions);
    });
}
