//! Rights, limits and users that change under open connections; to the octet.

use leveret::auth::{Access, PasswordHash, Permission, Resource, TopicPermission, User, UserLimits};
use leveret::server::Server;

use crate::client::Client;
use crate::frames::{self, Properties, none};
use crate::permissions::{connected, logged_in, permit, user, with_app};
use crate::script::{Script, greet, stop};

const Q: Resource<'static> = Resource::Queue("q");
const DEFAULT: Resource<'static> = Resource::Exchange("");

/// A broker whose user `app` may publish to `q` and consume from it, and a client of that user.
async fn start() -> (Server, Client) {
    let server = with_app(|_| {}).await;
    permit(&server, &[(Access::Write, DEFAULT), (Access::Read, Q)]).await;
    let client = connected(&server, "app").await;
    (server, client)
}

fn publish(body: &[u8]) -> Vec<u8> {
    frames::publish(1, "", "q", "", Properties::default(), body)
}

fn told(code: u16, text: &str) -> Script {
    Script::raw().expect(frames::connection_closed(code, text, (0, 0))).send(frames::connection_close_ok()).end()
}

#[tokio::test]
async fn a_deleted_users_connections_are_closed_and_it_cannot_come_back() {
    let (server, mut client) = start().await;
    let mut at_the_door = logged_in(&server, "app").await;
    assert_eq!(server.broker().delete_user("app").await, Ok(true));
    told(320, "CONNECTION_FORCED - user 'app' is deleted").perform(&mut client).await;
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'app'";
    Script::raw()
        .ask(frames::open("/"), frames::connection_closed(530, text, (10, 40)))
        .perform(&mut at_the_door)
        .await;
    let mut again = Client::connect(server.addresses()[0]).await;
    let text =
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";
    Script::raw()
        .send(frames::HEADER)
        .expect_method(0, (10, 10))
        .ask(
            frames::start_ok("PLAIN", b"\0app\0secret", &["authentication_failure_close"]),
            frames::connection_closed(403, text, (0, 0)),
        )
        .perform(&mut again)
        .await;
    // One of the same name has none of its rights.
    assert_eq!(server.broker().put_user(user("app")).await, Ok(true));
    assert!(server.broker().permissions().iter().all(|(_, user, _)| **user == *"guest"));
    assert_eq!(server.broker().delete_user("nobody").await, Ok(false));
    stop(server).await;
}

#[tokio::test]
async fn who_may_not_be_in_a_virtual_host_any_more_is_told_to_leave() {
    let (server, mut client) = start().await;
    let mut bystander = Client::connect(server.addresses()[0]).await;
    greet(&mut bystander).await;
    assert_eq!(server.broker().clear_permission("/", "app").await, Ok(true));
    told(530, "NOT_ALLOWED - access to vhost '/' refused for user 'app'").perform(&mut client).await;
    assert_eq!(server.broker().clear_permission("/", "app").await, Ok(false));
    Script::raw().quiet().perform(&mut bystander).await;
    drop(bystander);
    stop(server).await;
}

#[tokio::test]
async fn a_publisher_is_refused_with_the_next_message_and_let_on_with_the_next_but_one() {
    let (server, mut client) = start().await;
    let refused = || {
        let text = "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'app'";
        Script::raw().ask(publish(b"x"), frames::channel_close(1, 403, text, (60, 40))).reopen(1)
    };
    for _ in 0..3 {
        Script::raw().send(publish(b"x")).quiet().perform(&mut client).await;
        permit(&server, &[(Access::Read, Q)]).await;
        refused().perform(&mut client).await;
        permit(&server, &[(Access::Write, DEFAULT), (Access::Read, Q)]).await;
    }
    // The same within a transaction: what was published before stands.
    Script::raw().ask(frames::tx_select(1), frames::tx_select_ok(1)).perform(&mut client).await;
    Script::raw().send(publish(b"x")).quiet().perform(&mut client).await;
    permit(&server, &[]).await;
    Script::raw().ask(frames::tx_commit(1), frames::tx_commit_ok(1)).perform(&mut client).await;
    refused().perform(&mut client).await;
    let queue = server.broker().vhost("/").and_then(|vhost| vhost.queue("q")).expect("it is there");
    assert_eq!(queue.inspect(leveret::queue::State::ready), 4);
    drop(client);
    stop(server).await;
}

#[tokio::test]
async fn topics_of_an_open_connection() {
    let (server, mut client) = start().await;
    server.broker().set_permission("/", "app", Permission::all()).await.expect("it can be set");
    let publish = || frames::publish(1, "x", "k", "", Properties::default(), b"x");
    Script::raw().send(publish()).quiet().perform(&mut client).await;
    let none = TopicPermission { exchange: "x".to_owned(), write: String::new(), read: String::new() };
    assert_eq!(server.broker().set_topic_permission("/", "app", none.clone()).await, Ok(true));
    assert_eq!(server.broker().set_topic_permission("/", "app", none).await, Ok(false));
    let text = "ACCESS_REFUSED - write access to topic 'k' in exchange 'x' in vhost '/' refused for user 'app'";
    Script::raw().ask(publish(), frames::channel_close(1, 403, text, (60, 40))).reopen(1).perform(&mut client).await;
    assert_eq!(server.broker().clear_topic_permission("/", "app", "x").await, Ok(true));
    assert_eq!(server.broker().clear_topic_permission("/", "app", "x").await, Ok(false));
    Script::raw().send(publish()).quiet().perform(&mut client).await;
    drop(client);
    stop(server).await;
}

#[tokio::test]
async fn a_consumer_that_may_not_read_any_more_is_cancelled_and_gets_nothing() {
    let (server, mut client) = start().await;
    let mut guest = Client::connect(server.addresses()[0]).await;
    greet(&mut guest).await;
    Script::raw()
        .ask(frames::qos(1, 0, 1, false), frames::qos_ok(1))
        .ask(frames::consume(1, "q", "t", "", &none()), frames::consume_ok(1, "t"))
        .perform(&mut client)
        .await;
    Script::raw().with_message("q", "one").with_message("q", "two").perform(&mut guest).await;
    Script::raw().expect(frames::deliver(1, "t", 1, "", "q", b"one")).perform(&mut client).await;
    permit(&server, &[(Access::Write, DEFAULT)]).await;
    let text = "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'app'";
    Script::raw()
        .expect(frames::cancel(1, "t", "nowait"))
        // What it holds it may settle; what is left is for others.
        .send(frames::ack(1, 1, ""))
        .quiet()
        .ask(frames::consume(1, "q", "t", "", &none()), frames::channel_close(1, 403, text, (60, 20)))
        .perform(&mut client)
        .await;
    Script::raw()
        .holds("q", 1, 0)
        .ask(frames::get(1, "q", "no-ack"), frames::get_ok(1, 1, "", "q", 0, b"two"))
        .perform(&mut guest)
        .await;
    drop((client, guest));
    stop(server).await;
}

#[tokio::test]
async fn a_change_that_takes_nothing_away_is_not_felt() {
    let (server, mut client) = start().await;
    Script::raw().ask(frames::consume(1, "q", "t", "", &none()), frames::consume_ok(1, "t")).perform(&mut client).await;
    server.broker().set_permission("/", "app", Permission::all()).await.expect("it can be set");
    let present = server.broker().users.get("app").expect("it is there");
    let password_hash = Some(PasswordHash::of_sha512(b"changed").expect("a hash"));
    let changed = User { password_hash, ..(*present).clone() };
    assert_eq!(server.broker().put_user(changed).await, Ok(false));
    Script::raw()
        .send(frames::publish(2, "", "q", "", Properties::default(), b"x"))
        .expect(frames::deliver(1, "t", 1, "", "q", b"x"))
        .perform(&mut client)
        .await;
    drop(client);
    stop(server).await;
}

#[tokio::test]
async fn a_tag_counts_from_when_it_is_given_until_it_is_taken() {
    let (server, mut client) = start().await;
    let borrowed = || {
        let properties = Properties::default().with_user_id("guest".into());
        frames::publish(1, "", "q", "", properties, b"x")
    };
    let text = "PRECONDITION_FAILED - user_id property set to 'guest' but authenticated user was 'app'";
    let refused = || Script::raw().ask(borrowed(), frames::channel_close(1, 406, text, (60, 40))).reopen(1);
    refused().perform(&mut client).await;
    let present = server.broker().users.get("app").expect("it is there");
    let tagged = User { tags: vec!["impersonator".into()], ..(*present).clone() };
    assert_eq!(server.broker().put_user(tagged).await, Ok(false));
    Script::raw().send(borrowed()).quiet().perform(&mut client).await;
    assert_eq!(server.broker().put_user((*present).clone()).await, Ok(false));
    refused().perform(&mut client).await;
    drop(client);
    stop(server).await;
}

#[tokio::test]
async fn limits_of_a_user() {
    let (server, mut client) = start().await;
    let limit = async |max_connections, max_channels| {
        let limits = UserLimits { max_connections, max_channels };
        server.broker().set_user_limits("app", limits).await.expect("there is such a user");
    };
    limit(Some(1), Some(3)).await;
    let mut second = logged_in(&server, "app").await;
    let text = "NOT_ALLOWED - connection refused for user 'app': user connection limit (1) is reached";
    Script::raw()
        .ask(frames::open("/"), frames::connection_closed(530, text, (10, 40)))
        .send(frames::connection_close_ok())
        .end()
        .perform(&mut second)
        .await;
    limit(Some(-1), Some(3)).await;
    let mut second = connected_without_channels(&server).await;
    Script::raw().ask(frames::channel_open(7), frames::channel_open_ok(7)).perform(&mut second).await;
    let text = "NOT_ALLOWED - number of channels opened for user 'app' has reached the maximum allowed user limit of 3";
    Script::raw()
        .ask(frames::channel_open(8), frames::connection_closed(530, text, (0, 0)))
        .send(frames::connection_close_ok())
        .end()
        .perform(&mut second)
        .await;
    // Its place is free before it hears of it.
    Script::raw().ask(frames::channel_open(3), frames::channel_open_ok(3)).perform(&mut client).await;
    // What is there stays when a limit comes.
    limit(Some(0), Some(0)).await;
    Script::raw().quiet().perform(&mut client).await;
    // Others have limits of their own.
    let mut guest = Client::connect(server.addresses()[0]).await;
    greet(&mut guest).await;
    drop((client, guest));
    stop(server).await;
}

async fn connected_without_channels(server: &Server) -> Client {
    let mut client = logged_in(server, "app").await;
    Script::raw().ask(frames::open("/"), frames::open_ok()).perform(&mut client).await;
    client
}
