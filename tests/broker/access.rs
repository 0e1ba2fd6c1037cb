//! Users and their rights beyond one connection: restarts, stores of before there were rights, deletions, bad input.

use std::path::Path;

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::{Connection, ConnectionProperties};
use leveret::auth::{Login, PasswordHash, Permission, Secret, TopicPermission, User, UserLimits};
use leveret::broker::{AdminError, VhostSettings};
use leveret::config::{Config, UserEntry, VhostEntry};
use leveret::server::Builder;
use leveret::store::lmdb::{LmdbEngine, LmdbOptions, examine};
use leveret::store::{Batch, Commit, Define, Engine as _};

use crate::client::{closed, none, plain, refusal, told};
use crate::server::{Broker, in_time, scenario};

fn user(name: &str) -> User {
    let password_hash = Some(PasswordHash::of(b"secret").unwrap());
    User { name: name.into(), tags: Vec::new(), password_hash, loopback_only: false, limits: UserLimits::default() }
}

fn permission(configure: &str, write: &str, read: &str) -> Permission {
    let [configure, write, read] = [configure, write, read].map(str::to_owned);
    Permission { configure, write, read }
}

fn topic(exchange: &str, write: &str, read: &str) -> TopicPermission {
    let [exchange, write, read] = [exchange, write, read].map(str::to_owned);
    TopicPermission { exchange, write, read }
}

async fn connect(broker: &Broker, user: &str, vhost: &str) -> Result<Connection, lapin::Error> {
    let uri = format!("amqp://{user}:secret@{}/{vhost}", broker.address());
    Connection::connect(&uri, ConnectionProperties::default()).await
}

async fn refused(broker: &Broker, user: &str, vhost: &str) -> (u16, String) {
    told(&connect(broker, user, vhost).await.expect_err("the connection is refused"))
}

/// Virtual hosts and users that have a permission, as `vhost user configure`.
fn granted(broker: &Broker) -> Vec<String> {
    let all = broker.inside().permissions();
    all.iter().map(|(vhost, user, permission)| format!("{vhost} {user} {}", permission.configure)).collect()
}

fn entry(name: &str) -> UserEntry {
    UserEntry { name: name.to_owned(), password: Secret::new("secret"), tags: Vec::new(), loopback_only: false }
}

#[test]
fn everything_survives_a_restart_deletions_included() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        assert_eq!(granted(&broker), ["/ guest .*"], "who is configured may do everything from the first start on");
        let inside = broker.inside();
        inside.create_vhost("v", VhostSettings::default()).await.unwrap();
        assert_eq!(granted(&broker), ["/ guest .*"], "into a new virtual host nobody is let by itself");
        let limits = UserLimits { max_connections: Some(7), max_channels: None };
        let tagged = User { tags: vec!["monitoring".into(), "x".into()], limits, ..user("app") };
        for user in [tagged.clone(), user("gone"), User { password_hash: None, ..user("certified") }] {
            assert_eq!(inside.put_user(user).await, Ok(true));
        }
        for name in ["app", "gone", "certified"] {
            assert_eq!(inside.set_permission("v", name, permission("^c", "^w", "")).await, Ok(true));
            assert_eq!(inside.set_topic_permission("v", name, topic("amq.topic", "^{username}", "")).await, Ok(true));
        }
        assert_eq!(inside.set_permission("/", "app", Permission::all()).await, Ok(true));
        assert_eq!(inside.set_permission("/", "app", permission("a", "b", "c")).await, Ok(false));
        assert_eq!(inside.delete_user("gone").await, Ok(true));
        assert_eq!(inside.clear_permission("v", "certified").await, Ok(true));
        assert_eq!(inside.clear_topic_permission("v", "certified", "amq.topic").await, Ok(true));
        broker.stop().await;
        for _ in 0..2 {
            is_kept(directory.path(), &tagged).await;
        }
    });
}

/// What a broker finds in the store of the test above.
async fn is_kept(directory: &Path, app: &User) {
    assert_eq!(examine(directory).unwrap().findings, [""; 0]);
    let broker = Broker::in_directory(directory);
    assert_eq!(granted(&broker), ["/ app a", "/ guest .*", "v app ^c"]);
    let topics = broker.inside().topic_permissions();
    let topics: Vec<_> = topics.iter().map(|(vhost, user, topic)| (&**vhost, &**user, topic.clone())).collect();
    assert_eq!(topics, [("v", "app", topic("amq.topic", "^{username}", ""))]);
    let users = broker.inside().list_users();
    assert_eq!(users.iter().map(|user| user.name.to_string()).collect::<Vec<_>>(), ["app", "certified", "guest"]);
    assert_eq!((*users[0]).clone(), *app);
    assert_eq!(users[1].password_hash, None);
    let connection = connect(&broker, "app", "v").await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.queue_declare("c".into(), QueueDeclareOptions::default(), none()).await.unwrap();
    let declared = channel.queue_declare("q".into(), QueueDeclareOptions::default(), none()).await;
    let text = "ACCESS_REFUSED - configure access to queue 'q' in vhost 'v' refused for user 'app'";
    assert_eq!(refusal(declared), closed(403, text));
    drop((channel, connection));
    broker.stop().await;
}

#[test]
fn a_store_of_before_there_were_permissions_is_open_to_its_users_once() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        broker.inside().create_vhost("v", VhostSettings::default()).await.unwrap();
        assert_eq!(broker.inside().put_user(user("app")).await, Ok(true));
        broker.stop().await;
        // What such a store lacks: every row about permissions.
        {
            let options = LmdbOptions { map_size: 1 << 30, sync: false, ..LmdbOptions::default() };
            let engine = LmdbEngine::open(directory.path(), options).unwrap();
            let definitions = engine.recover().unwrap().definitions;
            let rows = definitions.iter().filter(|(key, _)| matches!(key[0], 8 | 11));
            let definitions: Vec<_> = rows.map(|(key, _)| Define::Delete { key: key.clone() }).collect();
            assert_eq!(definitions.len(), 2, "the mark, and guest's");
            let batch = Batch { definitions, ..Batch::default() };
            assert!(matches!(engine.commit(&batch), Commit::Done));
        }
        let broker = Broker::in_directory(directory.path());
        assert_eq!(granted(&broker), ["/ app .*", "/ guest .*", "v app .*", "v guest .*"]);
        let client = connect(&broker, "app", "v").await.unwrap();
        for (vhost, user) in [("/", "app"), ("v", "app"), ("v", "guest"), ("/", "guest")] {
            assert_eq!(broker.inside().clear_permission(vhost, user).await, Ok(true));
        }
        drop(client);
        broker.stop().await;
        let broker = Broker::in_directory(directory.path());
        assert!(granted(&broker).is_empty(), "it has known permissions since");
        let text = "NOT_ALLOWED - access to vhost 'v' refused for user 'app'";
        assert_eq!(refused(&broker, "app", "v").await, closed(530, text));
        broker.stop().await;
    });
}

#[test]
fn who_is_configured_may_do_everything_where_the_configuration_is_new() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let start = |users: &'static [&str], vhosts: &'static [&str]| {
            let configure = move |config: &mut Config| {
                config.users = users.iter().map(|name| entry(name)).collect();
                let entries =
                    vhosts.iter().map(|name| VhostEntry { name: (*name).to_owned(), ..VhostEntry::default() });
                config.vhosts = entries.collect();
            };
            Broker::start(Builder::in_memory().data_dir(directory.path()).configure(configure))
        };
        let broker = start(&["a", "b"], &["v"]);
        assert_eq!(granted(&broker), ["/ a .*", "/ b .*", "v a .*", "v b .*"]);
        assert_eq!(broker.inside().delete_user("b").await, Ok(true));
        assert_eq!(broker.inside().set_permission("v", "a", permission("", "", "")).await, Ok(false));
        broker.stop().await;
        // Later starts bring back nobody and give nobody more than was left, but what they create is not locked.
        let broker = start(&["a", "b", "c"], &["v", "w"]);
        assert_eq!(granted(&broker), ["/ a .*", "v a ", "w a .*"]);
        assert_eq!(broker.inside().list_users().len(), 1);
        broker.stop().await;
    });
}

#[test]
fn a_deleted_virtual_host_takes_its_permissions_along() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        for _ in 0..2 {
            assert_eq!(broker.inside().create_vhost("v", VhostSettings::default()).await, Ok(true));
            assert_eq!(broker.inside().set_permission("v", "guest", Permission::all()).await, Ok(true));
            assert_eq!(broker.inside().set_topic_permission("v", "guest", topic("x", "", "")).await, Ok(true));
            broker.inside().delete_vhost("v").await.unwrap();
            assert_eq!((granted(&broker).len(), broker.inside().topic_permissions().len()), (1, 0));
        }
        let gone = AdminError::NoVhost("v".to_owned());
        assert_eq!(broker.inside().set_permission("v", "guest", Permission::all()).await, Err(gone.clone()));
        assert_eq!(broker.inside().clear_permission("v", "guest").await, Err(gone));
        broker.stop().await;
        assert_eq!(examine(directory.path()).unwrap().findings, [""; 0]);
        let broker = Broker::in_directory(directory.path());
        assert_eq!(granted(&broker), ["/ guest .*"]);
        broker.stop().await;
    });
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    scenario(async |broker, _| {
        let inside = broker.inside();
        let before = (granted(broker), inside.list_users());
        for bad in ["(", "[a", "*", "(?<=a+)b\\", &"a".repeat(100_000)] {
            for index in 0..3 {
                let mut texts = [".*"; 3];
                texts[index] = bad;
                let refused = inside.set_permission("/", "guest", permission(texts[0], texts[1], texts[2])).await;
                assert!(matches!(&refused, Err(AdminError::Pattern(wrong)) if wrong.pattern == bad), "{refused:?}");
                let refused = inside.set_topic_permission("/", "guest", topic("x", texts[0], bad)).await;
                assert!(matches!(refused, Err(AdminError::Pattern(_))), "{refused:?}");
            }
        }
        let missing = || AdminError::NoUser("nobody".to_owned());
        assert_eq!(inside.set_permission("/", "nobody", Permission::all()).await, Err(missing()));
        assert_eq!(inside.clear_permission("/", "nobody").await, Err(missing()));
        assert_eq!(inside.set_topic_permission("/", "nobody", topic("x", "", "")).await, Err(missing()));
        assert_eq!(inside.clear_topic_permission("/", "nobody", "x").await, Err(missing()));
        assert_eq!(inside.set_user_limits("nobody", UserLimits::default()).await, Err(missing()));
        let missing = AdminError::NoVhost("nowhere".to_owned());
        assert_eq!(inside.set_permission("nowhere", "guest", Permission::all()).await, Err(missing));
        let long = "x".repeat(256);
        for user in [
            user(""),
            user(&long),
            User { tags: vec!["t".into(); 33], ..user("a") },
            User { tags: vec!["".into()], ..user("a") },
            User { tags: vec![long.as_str().into()], ..user("a") },
        ] {
            let refused = inside.put_user(user).await;
            assert!(matches!(refused, Err(AdminError::Invalid(_))), "{refused:?}");
        }
        let refused = inside.set_topic_permission("/", "guest", topic(&long, "", "")).await;
        assert!(matches!(refused, Err(AdminError::Invalid(_))), "{refused:?}");
        assert_eq!((granted(broker), inside.list_users()), before);
        assert!(inside.topic_permissions().is_empty());
    });
}

#[test]
fn names_may_be_anything() {
    scenario(async |broker, _| {
        for name in ["<script>alert(1)</script>", "a b/c?d#e%f", "n\u{e4}me", "\r\n\u{1b}[31m", "..", &"x".repeat(255)]
        {
            assert_eq!(broker.inside().put_user(user(name)).await, Ok(true));
            let own = topic("amq.topic", "^{username}$", "^$");
            assert_eq!(broker.inside().set_permission("/", name, Permission::all()).await, Ok(true));
            assert_eq!(broker.inside().set_topic_permission("/", name, own).await, Ok(true));
            let peer = broker.address().ip();
            let logged_in = {
                let login = Login::password(name.as_bytes(), b"secret");
                broker.inside().users.authenticate(&login, peer).unwrap()
            };
            let may = |key: &str| {
                let access = leveret::auth::Access::Write;
                broker.inside().authorize_topic(&logged_in, access, "/", "amq.topic", key).is_ok()
            };
            assert!(may(name) && !may("other"), "{name:?}");
            assert_eq!(broker.inside().delete_user(name).await, Ok(true));
        }
        assert_eq!(granted(broker), ["/ guest .*"]);
    });
}

#[test]
fn a_pattern_that_blows_up_refuses_and_holds_nobody_up() {
    scenario(async |broker, client| {
        broker.inside().put_user(user("app")).await.unwrap();
        let hostile = permission("^(?:(a*)\\1)+b$", "", "^(?!amq\\.).*");
        broker.inside().set_permission("/", "app", hostile).await.unwrap();
        let connection = connect(broker, "app", "%2f").await.unwrap();
        let name = "a".repeat(200);
        let channel = connection.create_channel().await.unwrap();
        let declared = channel.queue_declare(name.as_str().into(), QueueDeclareOptions::default(), none()).await;
        assert_eq!(refusal(declared).0, 403);
        // Look-around in its common form works.
        client.queue("q", none()).await;
        let channel = connection.create_channel().await.unwrap();
        assert!(channel.basic_get("q".into(), lapin::options::BasicGetOptions::default()).await.unwrap().is_none());
        let got = channel.basic_get("amq.gen-x".into(), lapin::options::BasicGetOptions::default()).await;
        assert_eq!(refusal(got).0, 403);
        drop((channel, connection));
    });
}

#[test]
fn publishing_under_changing_rights_loses_nothing_that_was_confirmed() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        broker.inside().put_user(user("app")).await.unwrap();
        let allowed = permission("", "^amq\\.default$", "");
        broker.inside().set_permission("/", "app", allowed.clone()).await.unwrap();
        let connection = connect(broker, "app", "%2f").await.unwrap();
        let mut confirmed = 0;
        for round in 0..20 {
            let channel = connection.create_channel().await.unwrap();
            channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await.unwrap();
            let publish =
                || channel.basic_publish("".into(), "q".into(), BasicPublishOptions::default(), b"x", plain());
            for _ in 0..5 {
                assert!(publish().await.unwrap().await.unwrap().is_ack());
                confirmed += 1;
            }
            broker.inside().set_permission("/", "app", permission("", &format!("none{round}"), "")).await.unwrap();
            let refused = async { publish().await?.await }.await;
            assert_eq!(refusal(refused).0, 403);
            broker.inside().set_permission("/", "app", allowed.clone()).await.unwrap();
        }
        assert_eq!(client.drain("q").await.len(), confirmed);
        drop(connection);
    });
}

#[test]
fn who_has_no_password_cannot_log_in_by_one() {
    scenario(async |broker, _| {
        let certified = User { password_hash: None, ..user("certified") };
        broker.inside().put_user(certified).await.unwrap();
        broker.inside().set_permission("/", "certified", Permission::all()).await.unwrap();
        let peer = broker.address().ip();
        for password in [&b""[..], b"secret", b"nobody"] {
            let login = Login::password(b"certified", password);
            assert!(broker.inside().users.authenticate(&login, peer).is_err());
        }
        for algorithm in [PasswordHash::of_sha512(b"secret").unwrap(), PasswordHash::of(b"secret").unwrap()] {
            let known = User { password_hash: Some(algorithm), ..user("certified") };
            broker.inside().put_user(known).await.unwrap();
            assert!(connect(broker, "certified", "%2f").await.is_ok());
        }
    });
}

/// Changes the definitions of a store that nobody uses.
fn define(directory: &Path, definitions: Vec<Define>) {
    let options = LmdbOptions { map_size: 1 << 30, sync: false, ..LmdbOptions::default() };
    let engine = LmdbEngine::open(directory, options).unwrap();
    let batch = Batch { definitions, ..Batch::default() };
    assert!(matches!(engine.commit(&batch), Commit::Done));
}

fn row(vhost: u8, user: &str, read: &str) -> Define {
    let value = format!(r#"{{"user":"{user}","configure":".*","write":".*","read":"{read}"}}"#);
    Define::Put { key: [&[8, 0, 0, 0, vhost], user.as_bytes()].concat(), value: value.into() }
}

#[test]
fn rows_that_make_no_sense_let_nobody_in() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::in_directory(directory.path());
        assert_eq!(broker.inside().put_user(user("app")).await, Ok(true));
        broker.stop().await;
        // A user who does not exist, and a pattern that is none.
        define(directory.path(), vec![row(1, "ghost", ".*"), row(1, "app", "(")]);
        let mut report = examine(directory.path()).unwrap();
        leveret::broker::check(&mut report, Config::default().profile());
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
        assert!(report.findings[0].contains("permission of app"), "{:?}", report.findings);
        assert!(report.notes.iter().any(|note| note.contains("permission of ghost")), "{:?}", report.notes);
        let broker = Broker::in_directory(directory.path());
        assert_eq!(granted(&broker), ["/ app .*", "/ guest .*"]);
        assert_eq!(broker.inside().put_user(user("ghost")).await, Ok(true));
        let text = "NOT_ALLOWED - access to vhost '/' refused for user 'ghost'";
        assert_eq!(refused(&broker, "ghost", "%2f").await, closed(530, text));
        let connection = connect(&broker, "app", "%2f").await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.queue_declare("(".into(), QueueDeclareOptions::default(), none()).await.unwrap();
        let got = channel.basic_get("(".into(), lapin::options::BasicGetOptions::default()).await;
        assert_eq!(refusal(got).0, 403);
        drop((channel, connection));
        broker.stop().await;
        // A virtual host that does not exist could be anybody's.
        define(directory.path(), vec![row(7, "app", ".*")]);
        let refused = Builder::in_memory().data_dir(directory.path()).start();
        let refused = refused.map(|_| ()).expect_err("the store is damaged").to_string();
        assert!(refused.contains("no virtual host 7"), "{refused}");
    });
}
