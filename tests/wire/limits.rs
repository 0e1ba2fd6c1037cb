//! What clients are told at a limit, and when their virtual host goes; to the octet.

use leveret::broker::VhostLimits;
use leveret::config::VhostEntry;

use crate::client::{Client, Cut};
use crate::frames::{self, channel_close, channel_open, connection_close_ok, connection_closed, none};
use crate::script::{Script, greet, start, stop};

/// A client that has agreed on everything and is about to open a virtual host.
async fn at_the_door(server: &leveret::server::Server) -> Client {
    let mut client = Client::connect(server.addresses()[0]).await;
    let script = Script::raw()
        .send(frames::HEADER)
        .expect_method(0, (10, 10))
        .send(frames::login())
        .expect(frames::tune())
        .send(frames::tune_ok(2047, 131_072, 0));
    script.perform(&mut client).await;
    client
}

#[tokio::test]
async fn a_deleted_virtual_hosts_clients_are_told() {
    let server = start(|config| config.vhosts = vec![VhostEntry { name: "v".to_owned(), ..VhostEntry::default() }]);
    let mut client = at_the_door(&server).await;
    let opened = Script::raw()
        .ask(frames::open("v"), frames::open_ok())
        .ask([1, 2, 3].map(channel_open).concat(), [1, 2, 3].map(frames::channel_open_ok).concat())
        .with_queue("q")
        .with_message("q", "lost");
    opened.perform(&mut client).await;
    let mut bystander = Client::connect(server.addresses()[0]).await;
    greet(&mut bystander).await;
    let deleted = server.broker().delete_vhost("v");
    let told = Script::raw()
        .expect(connection_closed(320, "CONNECTION_FORCED - vhost 'v' is deleted", (0, 0)))
        .send(connection_close_ok())
        .end();
    let (deleted, ()) = tokio::join!(deleted, told.perform(&mut client));
    deleted.expect("it was there");
    Script::raw().no_queue("q").perform(&mut bystander).await;
    drop(bystander);
    stop(server).await;
}

#[tokio::test]
async fn connections_are_refused_in_rabbitmqs_order() {
    let server = start(|config| {
        config.connection_max = Some(1);
        config.vhosts = vec![VhostEntry { name: "none".to_owned(), max_connections: Some(0), ..VhostEntry::default() }];
    });
    for (vhost, text) in [
        ("missing", "NOT_ALLOWED - vhost missing not found"),
        ("none", "NOT_ALLOWED - access to vhost 'none' refused for user 'guest': connection limit (0) is reached"),
    ] {
        let mut client = at_the_door(&server).await;
        let refused = Script::raw()
            .ask(frames::open(vhost), connection_closed(530, text, (10, 40)))
            .send(connection_close_ok())
            .end();
        refused.perform(&mut client).await;
    }
    let mut first = Client::connect(server.addresses()[0]).await;
    greet(&mut first).await;
    for vhost in ["missing", "none", "/"] {
        let mut client = at_the_door(&server).await;
        let text = "NOT_ALLOWED - connection refused: node connection limit (1) is reached";
        let refused = Script::raw()
            .ask(frames::open(vhost), connection_closed(530, text, (10, 40)))
            .send(connection_close_ok())
            .end();
        refused.perform(&mut client).await;
    }
    // A place is free again before its owner hears that the connection is closed.
    let goodbye = Script::raw().ask(frames::connection_close(), connection_close_ok());
    for _ in 0..20 {
        goodbye.perform(&mut first).await;
        first = Client::connect(server.addresses()[0]).await;
        greet(&mut first).await;
    }
    drop(first);
    stop(server).await;
}

#[tokio::test]
async fn channels_beyond_the_nodes_limit() {
    let text = "NOT_ALLOWED - number of channels opened on node 'leveret@localhost' has reached the maximum allowed \
                limit of 4";
    Script::open()
        .configure(|config| {
            config.channel_max_per_node = Some(4);
            config.node_name = "leveret@localhost".to_owned();
        })
        .ask(channel_open(9), frames::channel_open_ok(9))
        .ask(frames::channel_goodbye(9), frames::channel_close_ok(9))
        // A channel that the broker has closed has left its place.
        .no_queue("missing")
        .ask(channel_open(10), frames::channel_open_ok(10))
        .ask(channel_open(11), connection_closed(530, text, (0, 0)))
        .send(connection_close_ok())
        .end()
        .play(Cut::Everywhere)
        .await;
}

#[tokio::test]
async fn consumers_beyond_a_channels_limit() {
    let consume = |tag: &str| frames::consume(1, "q", tag, "", &none());
    Script::open()
        .configure(|config| config.consumer_max_per_channel = Some(1))
        .with_queue("q")
        .ask(consume("a"), frames::consume_ok(1, "a"))
        .ask(frames::cancel(1, "a", ""), frames::cancel_ok(1, "a"))
        .ask(consume("b"), frames::consume_ok(1, "b"))
        .ask(frames::consume(2, "q", "other channel", "", &none()), frames::consume_ok(2, "other channel"))
        .ask(
            frames::consume(1, "missing", "c", "", &none()),
            connection_closed(530, "NOT_ALLOWED - reached maximum (1) of consumers per channel", (60, 20)),
        )
        .send(connection_close_ok())
        .end()
        .play(Cut::Nowhere)
        .await;
}

#[tokio::test]
async fn queues_beyond_the_virtual_hosts_limit_do_not_exist() {
    let server = start(|_| {});
    let limits = VhostLimits { max_queues: Some(1), max_connections: None };
    server.broker().set_vhost_limits("/", limits).await.expect("it is there");
    let mut client = Client::connect(server.addresses()[0]).await;
    greet(&mut client).await;
    let text = |name: &str| {
        format!("PRECONDITION_FAILED - cannot declare queue '{name}': queue limit in vhost '/' (1) is reached")
    };
    let declare = |name: &str, flags: &str| frames::queue_declare(1, name, flags, &none());
    Script::raw()
        .with_queue("a")
        .ask(declare("b", "durable"), channel_close(1, 406, &text("b"), (50, 10)))
        .reopen(1)
        .no_queue("b")
        .ask(declare("a", ""), frames::queue_declare_ok(1, "a", 0, 0))
        .perform(&mut client)
        .await;
    drop(client);
    stop(server).await;
}

#[tokio::test]
async fn bindings_beyond_the_virtual_hosts_limit_are_refused() {
    let bind = |key: &str| frames::queue_bind(1, "q", "amq.direct", key, &none());
    let text = "PRECONDITION_FAILED - cannot bind: binding limit in vhost '/' (2) is reached";
    Script::open()
        .configure(|config| config.binding_max_per_vhost = Some(2))
        .with_queue("q")
        .ask([bind("a"), bind("b"), bind("a")].concat(), frames::queue_bind_ok(1).repeat(3))
        .ask(bind("c"), channel_close(1, 406, text, (50, 20)))
        .reopen(1)
        .ask(frames::queue_unbind(1, "q", "amq.direct", "a", &none()), frames::queue_unbind_ok(1))
        .ask(bind("c"), frames::queue_bind_ok(1))
        .close()
        .play(Cut::Everywhere)
        .await;
}

#[tokio::test]
async fn a_channel_that_holds_too_much_pauses() {
    let deliver = |number: u64| frames::deliver(1, "c", number, "", "q", b"m");
    let text = "PRECONDITION_FAILED - channel 1 holds 3 unacknowledged deliveries";
    let publish = frames::publish(2, "", "q", "", frames::Properties::default(), b"m");
    let script = Script::open()
        .configure(|config| config.unacked_max_per_channel = Some(3))
        .with_queue("q")
        .ask(frames::consume(1, "q", "c", "", &none()), frames::consume_ok(1, "c"));
    let script = (1..=3).fold(script, |script, number| script.ask(&publish, deliver(number)));
    script
        .send(publish.repeat(3))
        .holds("q", 3, 1)
        .ask(frames::get(1, "q", ""), channel_close(1, 406, text, (60, 70)))
        .reopen(1)
        .holds("q", 6, 0)
        .close()
        .play(Cut::Nowhere)
        .await;
}

#[tokio::test]
async fn a_paused_channel_goes_on_with_what_is_acknowledged() {
    let deliver = |number: u64| frames::deliver(1, "c", number, "", "q", b"m");
    let publish = frames::publish(2, "", "q", "", frames::Properties::default(), b"m");
    let script = Script::open()
        .configure(|config| config.unacked_max_per_channel = Some(3))
        .with_queue("q")
        .ask(frames::consume(1, "q", "c", "", &none()), frames::consume_ok(1, "c"));
    let script = (1..=3).fold(script, |script, number| script.ask(&publish, deliver(number)));
    script
        .send(publish.repeat(3))
        .holds("q", 3, 1)
        .ask(frames::ack(1, 1, ""), deliver(4))
        .quiet()
        .ask(frames::ack(1, 3, "multiple"), [deliver(5), deliver(6)].concat())
        .close()
        .play(Cut::Everywhere)
        .await;
}
