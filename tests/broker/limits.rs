//! Length limits and what happens beyond them; priorities.

use lapin::options::{BasicAckOptions, BasicNackOptions};

use crate::client::{Client, body, int, next, none, plain, table, text};
use crate::server::scenario;

async fn is_refused(client: &Client, queue: &str, body: &str) -> bool {
    client.publish("", queue, body, plain()).await.is_nack()
}

#[test]
fn the_oldest_make_room() {
    scenario(async |_, client| {
        client.queue("q", table([("x-max-length", int(3))])).await;
        client.put_all("q", &["1", "2", "3", "4", "5"]).await;
        assert_eq!(client.drain("q").await, ["3", "4", "5"]);
    });
}

#[test]
fn octets_of_ready_bodies_count() {
    scenario(async |_, client| {
        client.queue("q", table([("x-max-length-bytes", int(10))])).await;
        client.put_all("q", &["1234", "12345", "123"]).await;
        assert_eq!(client.drain("q").await, ["12345", "123"]);
        client.put("q", "longer than ten").await;
        assert!(client.drain("q").await.is_empty());
    });
}

#[test]
fn unacknowledged_messages_do_not_count() {
    scenario(async |_, client| {
        client.queue("q", table([("x-max-length", int(2))])).await;
        client.put_all("q", &["1", "2"]).await;
        let held = client.get("q").await.unwrap();
        client.put("q", "3").await;
        assert_eq!(client.ready("q").await, 2);
        held.nack(BasicNackOptions { requeue: true, multiple: false }).await.unwrap();
        assert_eq!(client.drain("q").await, ["2", "3"], "the returned one is the oldest");
    });
}

#[test]
fn a_full_queue_refuses_publishes() {
    scenario(async |_, client| {
        client.queue("q", table([("x-max-length", int(2)), ("x-overflow", text("reject-publish"))])).await;
        client.put_all("q", &["1", "2"]).await;
        assert!(is_refused(client, "q", "3").await);
        let held = client.get("q").await.unwrap();
        client.put("q", "4").await;
        assert!(is_refused(client, "q", "5").await);
        held.ack(BasicAckOptions::default()).await.unwrap();
        assert_eq!(client.drain("q").await, ["2", "4"]);
    });
}

#[test]
fn one_refusal_among_several_queues_is_a_nack() {
    scenario(async |_, client| {
        client.queue("full", table([("x-max-length", int(0)), ("x-overflow", text("reject-publish"))])).await;
        client.queue("free", none()).await;
        for queue in ["full", "free"] {
            client.bind(queue, "amq.fanout", "", none()).await;
        }
        assert!(client.publish("amq.fanout", "", "m", plain()).await.is_nack());
        assert_eq!(client.drain("free").await, ["m"]);
    });
}

#[test]
fn a_length_of_0_keeps_nothing_but_serves_consumers() {
    scenario(async |_, client| {
        client.queue("drop", table([("x-max-length", int(0))])).await;
        client.put("drop", "lost").await;
        let mut consumer = client.consume("drop").await;
        client.put("drop", "taken").await;
        assert_eq!(body(&next(&mut consumer).await), "taken");
        client.queue("refuse", table([("x-max-length", int(0)), ("x-overflow", text("reject-publish"))])).await;
        let _consumer = client.consume("refuse").await;
        assert!(is_refused(client, "refuse", "m").await, "even with a consumer waiting");
    });
}

#[test]
fn what_is_refused_may_be_dead_lettered() {
    scenario(async |_, client| {
        client.queue("dead", none()).await;
        let arguments = table([
            ("x-max-length", int(1)),
            ("x-overflow", text("reject-publish-dlx")),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("dead")),
        ]);
        client.queue("q", arguments).await;
        client.put("q", "1").await;
        assert!(is_refused(client, "q", "2").await);
        assert_eq!(body(&client.arrival("dead").await), "2");
        assert_eq!(client.drain("q").await, ["1"]);
    });
}

#[test]
fn priorities_are_served_strictly_and_in_order() {
    scenario(async |_, client| {
        client.queue("q", table([("x-max-priority", int(5))])).await;
        for (body, priority) in [("a", 0), ("b", 5), ("c", 3), ("d", 9), ("e", 3)] {
            client.put_as("q", body, plain().with_priority(priority)).await;
        }
        client.put("q", "f").await;
        assert_eq!(client.drain("q").await, ["b", "d", "c", "e", "a", "f"]);
    });
}

#[test]
fn a_full_priority_queue_drops_the_highest_first() {
    scenario(async |_, client| {
        client.queue("q", table([("x-max-priority", int(5)), ("x-max-length", int(2))])).await;
        client.put_as("q", "high", plain().with_priority(5)).await;
        client.put_as("q", "low", plain()).await;
        client.put_as("q", "lower", plain()).await;
        assert_eq!(client.drain("q").await, ["low", "lower"]);
    });
}

#[test]
fn a_refused_publish_counts_in_octets_what_it_would_add() {
    scenario(async |_, client| {
        let limits = |kind: &str| {
            let refuse = ("x-overflow", text("reject-publish"));
            table([("x-max-length-bytes", int(5)), refuse, ("x-queue-type", text(kind))])
        };
        client.queue("q", limits("classic")).await;
        client.put("q", "123").await;
        assert!(is_refused(client, "q", "456").await, "it would be six");
        client.put("q", "45").await;
        assert!(is_refused(client, "q", "6").await);
        client.put("q", "").await;
        assert_eq!(client.drain("q").await, ["123", "45", ""]);
        assert!(is_refused(client, "q", "larger than the queue").await);
        // A quorum queue refuses once it is full.
        client.durable("quorum", limits("quorum")).await;
        client.put_all("quorum", &["123", "456"]).await;
        assert!(is_refused(client, "quorum", "").await);
    });
}
