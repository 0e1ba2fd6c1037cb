//! The matrix of permissions: every method that touches a queue or exchange, refused for want of each right it needs and
//! allowed with these and no others, as every version of RabbitMQ; to the octet.
//!
//! A method that the broker's grammar knows and that stands in no list here fails the test: whoever adds one decides what
//! it needs.

use std::collections::BTreeSet;

use leveret::auth::{Access, PasswordHash, Permission, Resource, TopicPermission, User, UserLimits};
use leveret::config::{Compatibility, Config};
use leveret::server::Server;
use leveret::wire::method;
use leveret::wire::table::{Table, Value};

use crate::client::Client;
use crate::frames::{self, Properties, argument, none};
use crate::script::{Script, greet, start, stop};

/// What a broker is started as.
pub(crate) type Start = fn(&mut Config);

/// Every version, and whether passive declarations need a right there.
const VERSIONS: [(&str, Start, bool); 3] = [
    ("3.13", |config| config.compatibility = Compatibility::V3_13, false),
    ("4.2", |config| config.compatibility = Compatibility::V4_2, true),
    ("4.3", |config| config.compatibility = Compatibility::V4_3, true),
];

/// Methods of clients that touch nothing with a name.
const FREE: [(u16, u16); 18] = [
    (20, 10),
    (20, 20),
    (20, 21),
    (20, 40),
    (20, 41),
    (30, 10),
    (60, 10),
    (60, 30),
    (60, 31),
    (60, 80),
    (60, 90),
    (60, 100),
    (60, 110),
    (60, 120),
    (85, 10),
    (90, 10),
    (90, 20),
    (90, 30),
];

/// Methods that only the broker sends.
const ANSWERS: [(u16, u16); 22] = [
    (20, 11),
    (30, 11),
    (40, 11),
    (40, 21),
    (40, 31),
    (40, 51),
    (50, 11),
    (50, 21),
    (50, 31),
    (50, 41),
    (50, 51),
    (60, 11),
    (60, 21),
    (60, 50),
    (60, 60),
    (60, 71),
    (60, 72),
    (60, 111),
    (85, 11),
    (90, 11),
    (90, 21),
    (90, 31),
];

type Need = (Access, Resource<'static>);

/// A method with what it names.
struct Row {
    method: (u16, u16),
    sends: Vec<u8>,
    /// What it needs, in the order in which it is looked at.
    needs: Vec<Need>,
    /// What is answered if nothing is amiss; nothing, if nothing is.
    answer: Vec<u8>,
}

fn row(method: (u16, u16), sends: Vec<u8>, needs: &[Need], answer: Vec<u8>) -> Row {
    Row { method, sends, needs: needs.to_vec(), answer }
}

fn configure(resource: Resource<'static>) -> Need {
    (Access::Configure, resource)
}

fn write(resource: Resource<'static>) -> Need {
    (Access::Write, resource)
}

fn read(resource: Resource<'static>) -> Need {
    (Access::Read, resource)
}

/// A name the broker makes up, as the client here shows it.
const GENERATED: &str = "amq.gen-**********************";

/// Everything that needs something, against a broker that has the queue `q`, bound to the topic exchange `x` by `k`, and
/// the exchange `y`.
fn rows() -> Vec<Row> {
    let (q, x, y) = (Resource::Queue("q"), Resource::Exchange("x"), Resource::Exchange("y"));
    let (new_queue, new_exchange) = (Resource::Queue("new"), Resource::Exchange("new"));
    let default = Resource::Exchange("");
    let dead_letters = |to: &str| argument("x-dead-letter-exchange", Value::from(to));
    let alternate = argument("alternate-exchange", Value::from("y"));
    let publish = |exchange: &str| frames::publish(1, exchange, "k", "", Properties::default(), b"x");
    let declared = || frames::exchange_declare_ok(1);
    let queue_declared = |name: &str| frames::queue_declare_ok(1, name, 0, 0);
    vec![
        row(
            (40, 10),
            frames::exchange_declare(1, "new", "fanout", "", &none()),
            &[configure(new_exchange)],
            declared(),
        ),
        row((40, 10), frames::exchange_declare(1, "x", "topic", "", &none()), &[configure(x)], declared()),
        row(
            (40, 10),
            frames::exchange_declare(1, "new", "fanout", "", &alternate),
            &[configure(new_exchange), read(new_exchange), write(y)],
            declared(),
        ),
        row((40, 20), frames::exchange_delete(1, "x", ""), &[configure(x)], frames::exchange_delete_ok(1)),
        row((40, 20), frames::exchange_delete(1, "new", ""), &[configure(new_exchange)], frames::exchange_delete_ok(1)),
        row(
            (40, 30),
            frames::exchange_bind(1, "y", "x", "k", &none()),
            &[write(y), read(x)],
            frames::exchange_bind_ok(1),
        ),
        row(
            (40, 40),
            frames::exchange_unbind(1, "y", "x", "k", &none()),
            &[write(y), read(x)],
            frames::exchange_unbind_ok(1),
        ),
        row((50, 10), frames::queue_declare(1, "new", "", &none()), &[configure(new_queue)], queue_declared("new")),
        row((50, 10), frames::queue_declare(1, "q", "", &none()), &[configure(q)], queue_declared("q")),
        row(
            (50, 10),
            frames::queue_declare(1, "", "exclusive", &none()),
            &[configure(Resource::Queue(GENERATED))],
            queue_declared(GENERATED),
        ),
        row(
            (50, 10),
            frames::queue_declare(1, "new", "", &dead_letters("y")),
            &[configure(new_queue), read(new_queue), write(y)],
            queue_declared("new"),
        ),
        row(
            (50, 10),
            frames::queue_declare(1, "new", "", &dead_letters("")),
            &[configure(new_queue), read(new_queue), write(default)],
            queue_declared("new"),
        ),
        row((50, 20), frames::queue_bind(1, "q", "x", "l", &none()), &[write(q), read(x)], frames::queue_bind_ok(1)),
        row(
            (50, 50),
            frames::queue_unbind(1, "q", "x", "k", &none()),
            &[write(q), read(x)],
            frames::queue_unbind_ok(1),
        ),
        row((50, 30), frames::queue_purge(1, "q"), &[read(q)], frames::queue_purge_ok(1, 0)),
        row((50, 40), frames::queue_delete(1, "q", ""), &[configure(q)], frames::queue_delete_ok(1, 0)),
        row((50, 40), frames::queue_delete(1, "new", ""), &[configure(new_queue)], frames::queue_delete_ok(1, 0)),
        row((60, 20), frames::consume(1, "q", "t", "", &none()), &[read(q)], frames::consume_ok(1, "t")),
        row((60, 40), publish("x"), &[write(x)], Vec::new()),
        row((60, 40), publish(""), &[write(default)], Vec::new()),
        row((60, 70), frames::get(1, "q", ""), &[read(q)], frames::get_empty(1)),
    ]
}

/// A user without a permission anywhere.
pub(crate) fn user(name: &str) -> User {
    let password_hash = Some(PasswordHash::of(b"secret").expect("a hash"));
    User { name: name.into(), tags: Vec::new(), password_hash, loopback_only: false, limits: UserLimits::default() }
}

/// A client that has agreed on everything but which virtual host.
pub(crate) async fn logged_in(server: &Server, name: &str) -> Client {
    let mut client = Client::connect(server.addresses()[0]).await;
    let response = format!("\0{name}\0secret");
    Script::raw()
        .send(frames::HEADER)
        .expect_method(0, (10, 10))
        .send(frames::start_ok("PLAIN", response.as_bytes(), &["consumer_cancel_notify"]))
        .expect(frames::tune())
        .send(frames::tune_ok(2047, 131_072, 0))
        .perform(&mut client)
        .await;
    client
}

/// A client in the virtual host `/` with channels 1 and 2.
pub(crate) async fn connected(server: &Server, name: &str) -> Client {
    let mut client = logged_in(server, name).await;
    Script::raw()
        .ask(frames::open("/"), frames::open_ok())
        .ask([1, 2].map(frames::channel_open).concat(), [1, 2].map(frames::channel_open_ok).concat())
        .perform(&mut client)
        .await;
    client
}

/// A broker with `q`, `x` and `y`, and with the user `app`, who may come in and nothing else.
pub(crate) async fn with_app(configure: Start) -> Server {
    let server = start(configure);
    let mut guest = Client::connect(server.addresses()[0]).await;
    greet(&mut guest).await;
    Script::raw()
        .with_queue("q")
        .ask(frames::exchange_declare(1, "x", "topic", "", &none()), frames::exchange_declare_ok(1))
        .ask(frames::exchange_declare(1, "y", "fanout", "", &none()), frames::exchange_declare_ok(1))
        .ask(frames::queue_bind(1, "q", "x", "k", &none()), frames::queue_bind_ok(1))
        .perform(&mut guest)
        .await;
    assert_eq!(server.broker().put_user(user("app")).await, Ok(true));
    permit(&server, &[]).await;
    server
}

/// The permission that allows exactly this.
pub(crate) fn permission(needs: &[Need]) -> Permission {
    let pattern = |wanted: Access| {
        let needs = needs.iter().filter(|(access, _)| *access == wanted);
        let names: Vec<String> =
            needs.map(|(_, resource)| resource.name().replace('.', "\\.").replace('*', ".")).collect();
        if names.is_empty() { String::new() } else { format!("^(?:{})$", names.join("|")) }
    };
    Permission { configure: pattern(Access::Configure), write: pattern(Access::Write), read: pattern(Access::Read) }
}

pub(crate) async fn permit(server: &Server, needs: &[Need]) {
    server.broker().set_permission("/", "app", permission(needs)).await.expect("it can be set");
}

/// RabbitMQ's words.
fn refusal((access, resource): Need) -> String {
    let name = resource.name();
    let what = if matches!(resource, Resource::Queue(_)) { "queue" } else { "exchange" };
    format!("ACCESS_REFUSED - {access} access to {what} '{name}' in vhost '/' refused for user 'app'")
}

fn refused(row: &Row, need: Need) -> Script {
    let close = frames::channel_close(1, 403, &refusal(need), row.method);
    Script::raw().ask(&row.sends, close).reopen(1)
}

fn allowed(sends: &[u8], answer: &[u8]) -> Script {
    Script::raw().ask(sends, answer).quiet()
}

/// Refuses and allows one row.
async fn judge(version: &str, configure: Start, row: &Row) {
    let server = with_app(configure).await;
    let mut client = connected(&server, "app").await;
    let vhost = server.broker().vhost("/").expect("it is always there");
    let count = || (vhost.queue_count(), vhost.exchange_count());
    let before = count();
    eprintln!("{version}: method {:?} with {:?}", row.method, row.needs);
    refused(row, row.needs[0]).perform(&mut client).await;
    for missing in &row.needs {
        let others: Vec<Need> = row.needs.iter().filter(|need| *need != missing).copied().collect();
        permit(&server, &others).await;
        refused(row, *missing).perform(&mut client).await;
    }
    assert_eq!(count(), before, "what was refused has not half happened");
    permit(&server, &row.needs).await;
    allowed(&row.sends, &row.answer).perform(&mut client).await;
    // Rights that are gone are gone for the very next method, whatever was remembered.
    permit(&server, &[]).await;
    let answer = frames::channel_close(1, 403, &refusal(row.needs[0]), row.method);
    let mut expected = Vec::new();
    if row.method == (60, 20) {
        expected.extend(frames::cancel(1, "t", "nowait"));
    }
    expected.extend(answer);
    Script::raw().ask(&row.sends, expected).perform(&mut client).await;
    drop(client);
    stop(server).await;
}

#[tokio::test]
async fn every_method_needs_exactly_what_rabbitmq_asks_for() {
    for (version, configure, _) in VERSIONS {
        for row in rows() {
            judge(version, configure, &row).await;
        }
    }
}

#[test]
fn no_method_is_without_a_row() {
    let unknown = |class: u16, id: u16| {
        let payload = [class.to_be_bytes(), id.to_be_bytes()].concat();
        method::decode(&payload).is_err_and(|refusal| refusal.explanation.starts_with("unknown method"))
    };
    // Class connection touches nothing but by connection.open, which is below.
    let methods = (11..=u8::MAX).flat_map(|class| (0..=u8::MAX).map(move |id| (class.into(), id.into())));
    let known: BTreeSet<(u16, u16)> = methods.filter(|(class, id)| !unknown(*class, *id)).collect();
    let listed: Vec<(u16, u16)> = rows().iter().map(|row| row.method).collect();
    let listed: BTreeSet<(u16, u16)> = listed.into_iter().chain(FREE).chain(ANSWERS).collect();
    assert_eq!(known, listed, "a method of the grammar has no row, or a row has no method");
}

#[tokio::test]
async fn what_touches_nothing_needs_nothing() {
    for (_, configure, _) in VERSIONS {
        let server = with_app(configure).await;
        let mut client = connected(&server, "app").await;
        Script::raw()
            .ask(frames::qos(1, 0, 5, false), frames::qos_ok(1))
            .ask(frames::cancel(1, "nobody", ""), frames::cancel_ok(1, "nobody"))
            .ask(frames::recover(1, true), frames::recover_ok(1))
            .ask(frames::confirm_select(1), frames::confirm_select_ok(1))
            .ask(frames::tx_select(2), frames::tx_select_ok(2))
            .ask(frames::tx_commit(2), frames::tx_commit_ok(2))
            .ask(frames::tx_rollback(2), frames::tx_rollback_ok(2))
            // Whoever asks and waits for a direct reply has no queue.
            .ask(frames::consume(1, "amq.rabbitmq.reply-to", "t", "no-ack", &none()), frames::consume_ok(1, "t"))
            .perform(&mut client)
            .await;
        drop(client);
        stop(server).await;
    }
}

#[tokio::test]
async fn passive_declarations_need_any_right_or_none() {
    let (q, x) = (Resource::Queue("q"), Resource::Exchange("x"));
    let rows = || {
        [
            (
                q,
                row(
                    (50, 10),
                    frames::queue_declare(1, "q", "passive", &none()),
                    &[],
                    frames::queue_declare_ok(1, "q", 0, 0),
                ),
            ),
            (
                x,
                row(
                    (40, 10),
                    frames::exchange_declare(1, "x", "", "passive", &none()),
                    &[],
                    frames::exchange_declare_ok(1),
                ),
            ),
        ]
    };
    for (version, configure, needs_some) in VERSIONS {
        let server = with_app(configure).await;
        let mut client = connected(&server, "app").await;
        for (resource, row) in rows() {
            eprintln!("{version}: passive {:?}", row.method);
            permit(&server, &[]).await;
            if needs_some {
                refused(&row, (Access::Configure, resource)).perform(&mut client).await;
            } else {
                allowed(&row.sends, &row.answer).perform(&mut client).await;
            }
            for access in [Access::Configure, Access::Write, Access::Read] {
                permit(&server, &[(access, resource)]).await;
                allowed(&row.sends, &row.answer).perform(&mut client).await;
            }
        }
        drop(client);
        stop(server).await;
    }
}

#[tokio::test]
async fn entering_needs_a_permission_there() {
    for (_, configure, _) in VERSIONS {
        let server = with_app(configure).await;
        server.broker().clear_permission("/", "app").await.expect("it was there");
        let mut client = logged_in(&server, "app").await;
        let text = "NOT_ALLOWED - access to vhost '/' refused for user 'app'";
        Script::raw()
            .ask(frames::open("/"), frames::connection_closed(530, text, (10, 40)))
            .send(frames::connection_close_ok())
            .end()
            .perform(&mut client)
            .await;
        stop(server).await;
    }
}

/// Copies of a message under another routing key.
fn copied(header: &str, key: &str) -> Properties {
    let keys = Value::Array(vec![Value::from(key)]);
    let headers: Table = argument(header, keys);
    Properties::default().with_headers((&headers).into())
}

#[tokio::test]
async fn topic_permissions_look_at_routing_keys() {
    for (version, configure, modern) in VERSIONS {
        eprintln!("{version}");
        let server = with_app(configure).await;
        let everything = Permission::all();
        server.broker().set_permission("/", "app", everything).await.expect("it can be set");
        let topics = |exchange: &str| TopicPermission {
            exchange: exchange.to_owned(),
            write: "^{username}\\.".to_owned(),
            read: "^(?!secret)".to_owned(),
        };
        // Of another type of exchange nothing is asked.
        for exchange in ["x", "y"] {
            assert_eq!(server.broker().set_topic_permission("/", "app", topics(exchange)).await, Ok(true));
        }
        let mut client = connected(&server, "app").await;
        let publish =
            |exchange: &str, key: &str, properties: Properties| frames::publish(1, exchange, key, "", properties, b"x");
        let plain = Properties::default;
        let refused = |sends: Vec<u8>, access: &str, key: &str, method: (u16, u16)| {
            let text = format!(
                "ACCESS_REFUSED - {access} access to topic '{key}' in exchange 'x' in vhost '/' refused for user 'app'"
            );
            Script::raw().ask(sends, frames::channel_close(1, 403, &text, method)).reopen(1)
        };
        for key in ["app.a", "app."] {
            allowed(&publish("x", key, plain()), &[]).perform(&mut client).await;
        }
        allowed(&publish("y", "other.a", plain()), &[]).perform(&mut client).await;
        for key in ["other.a", "", "my.app.a", "app"] {
            refused(publish("x", key, plain()), "write", key, (60, 40)).perform(&mut client).await;
        }
        // Keys of copies count where they go the same way.
        for header in ["CC", "BCC"] {
            let sends = publish("x", "app.a", copied(header, "other.b"));
            if modern {
                refused(sends, "write", "other.b", (60, 40)).perform(&mut client).await;
            } else {
                allowed(&sends, &[]).perform(&mut client).await;
            }
            allowed(&publish("x", "app.a", copied(header, "app.b")), &[]).perform(&mut client).await;
        }
        // The user-id comes after the routing key.
        let borrowed = || plain().with_user_id("guest".into());
        refused(publish("x", "other.a", borrowed()), "write", "other.a", (60, 40)).perform(&mut client).await;
        let text = "PRECONDITION_FAILED - user_id property set to 'guest' but authenticated user was 'app'";
        Script::raw()
            .ask(publish("x", "app.a", borrowed()), frames::channel_close(1, 406, text, (60, 40)))
            .reopen(1)
            .perform(&mut client)
            .await;
        for (sends, method) in [
            (frames::queue_bind(1, "q", "x", "secret.a", &none()), (50, 20)),
            (frames::queue_unbind(1, "q", "x", "secret.a", &none()), (50, 50)),
            (frames::exchange_bind(1, "y", "x", "secret.a", &none()), (40, 30)),
            (frames::exchange_unbind(1, "y", "x", "secret.a", &none()), (40, 40)),
        ] {
            refused(sends, "read", "secret.a", method).perform(&mut client).await;
        }
        allowed(&frames::queue_bind(1, "q", "x", "open.secret", &none()), &frames::queue_bind_ok(1))
            .perform(&mut client)
            .await;
        // What was set is gone.
        assert_eq!(server.broker().clear_topic_permission("/", "app", "x").await, Ok(true));
        allowed(&publish("x", "other.a", plain()), &[]).perform(&mut client).await;
        drop(client);
        stop(server).await;
    }
}

#[tokio::test]
async fn permissions_are_looked_at_before_existence_and_names_before_permissions() {
    let server = with_app(|_| {}).await;
    let mut client = connected(&server, "app").await;
    let hidden = row((60, 70), frames::get(1, "missing", ""), &[read(Resource::Queue("missing"))], Vec::new());
    refused(&hidden, hidden.needs[0]).perform(&mut client).await;
    let close = |code, text, method| frames::channel_close(1, code, text, method);
    for (sends, answer) in [
        (
            frames::queue_declare(1, "amq.mine", "", &none()),
            close(403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'", (50, 10)),
        ),
        (
            frames::exchange_declare(1, "", "fanout", "", &none()),
            close(403, "ACCESS_REFUSED - operation not permitted on the default exchange", (40, 10)),
        ),
        (
            frames::exchange_delete(1, "amq.topic", ""),
            close(403, "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed", (40, 20)),
        ),
        // The destination is judged before the default exchange is found out.
        (
            frames::queue_bind(1, "q", "", "k", &none()),
            close(403, "ACCESS_REFUSED - write access to queue 'q' in vhost '/' refused for user 'app'", (50, 20)),
        ),
        (
            frames::exchange_bind(1, "", "x", "k", &none()),
            close(
                403,
                "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'app'",
                (40, 30),
            ),
        ),
    ] {
        Script::raw().ask(sends, answer).reopen(1).perform(&mut client).await;
    }
    // Of an exchange's name the prefix comes after the right.
    let reserved = frames::exchange_declare(1, "amq.mine", "fanout", "", &none());
    let needed = row((40, 10), reserved, &[configure(Resource::Exchange("amq.mine"))], Vec::new());
    refused(&needed, needed.needs[0]).perform(&mut client).await;
    // What may be published to and is not there, or internal, is told so.
    permit(&server, &[write(Resource::Exchange("none")), write(Resource::Exchange("amq.rabbitmq.trace"))]).await;
    for (exchange, code, text) in [
        ("none", 404, "NOT_FOUND - no exchange 'none' in vhost '/'"),
        (
            "amq.rabbitmq.trace",
            403,
            "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'",
        ),
    ] {
        let sends = frames::publish(1, exchange, "k", "", Properties::default(), b"x");
        Script::raw().ask(sends, close(code, text, (60, 40))).reopen(1).perform(&mut client).await;
    }
    drop(client);
    stop(server).await;
}
