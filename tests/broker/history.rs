//! Exchange type `x-recent-history`: what newly bound queues and exchanges are given.

use lapin::ExchangeKind;
use lapin::options::{BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{Client, bodies, body, closed, int, none, plain, refusal, table};
use crate::server::scenario;

async fn exchange(client: &Client, arguments: FieldTable) {
    client.exchange("x", ExchangeKind::Custom("x-recent-history".to_owned()), arguments).await;
}

async fn publish(client: &Client, range: std::ops::Range<usize>) {
    for n in range {
        client.publish("x", "k", &n.to_string(), plain()).await;
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn a_new_queue_gets_the_latest_and_then_everything() {
    scenario(async |_, client| {
        exchange(client, none()).await;
        publish(client, 0..30).await;
        for queue in ["a", "b"] {
            client.queue(queue, none()).await;
            client.bind(queue, "x", "", none()).await;
            client.bind(queue, "x", "", none()).await;
        }
        publish(client, 30..32).await;
        assert_eq!(client.drain("a").await, numbers(10..32));
        assert_eq!(client.drain("b").await, numbers(10..32));
    });
}

#[test]
fn length_and_no_store_are_minded() {
    scenario(async |_, client| {
        exchange(client, table([("x-recent-history-length", int(2))])).await;
        publish(client, 0..3).await;
        for (name, value) in [("hidden", AMQPValue::Boolean(true)), ("shown", AMQPValue::Boolean(false))] {
            let headers = table([("x-recent-history-no-store", value)]);
            client.publish("x", "", name, plain().with_headers(headers)).await;
        }
        client.queue("q", none()).await;
        client.bind("q", "x", "", none()).await;
        assert_eq!(client.drain("q").await, ["2", "shown"]);
        let channel = client.channel().await;
        let kind = ExchangeKind::Custom("x-recent-history".to_owned());
        let arguments = table([("x-recent-history-length", int(0))]);
        let declared = channel.exchange_declare("y".into(), kind, ExchangeDeclareOptions::default(), arguments).await;
        let text = "PRECONDITION_FAILED - Invalid argument 0, 'x-recent-history-length' must be a positive integer";
        assert_eq!(refusal(declared), closed(406, text));
    });
}

#[test]
fn an_exchange_that_is_bound_routes_the_history() {
    scenario(async |_, client| {
        exchange(client, none()).await;
        client.exchange("next", ExchangeKind::Topic, none()).await;
        client.queue("q", none()).await;
        client.bind("q", "next", "wanted.*", none()).await;
        for key in ["wanted.1", "other.2", "wanted.3"] {
            client.publish("x", key, key, plain()).await;
        }
        let options = ExchangeBindOptions::default();
        client.channel.exchange_bind("next".into(), "x".into(), "".into(), options, none()).await.unwrap();
        assert_eq!(client.drain("q").await, ["wanted.1", "wanted.3"]);
    });
}

#[test]
fn waiting_consumers_are_served_from_history() {
    scenario(async |_, client| {
        exchange(client, none()).await;
        publish(client, 0..5).await;
        client.queue("q", none()).await;
        let mut consumer = client.consume("q").await;
        client.bind("q", "x", "", none()).await;
        assert_eq!(bodies(&mut consumer, 5).await, numbers(0..5));
    });
}

#[test]
fn a_queue_bound_under_load_misses_nothing_and_gets_nothing_twice() {
    scenario(async |broker, client| {
        exchange(client, table([("x-recent-history-length", int(5_000))])).await;
        let other = broker.client().await;
        for n in 0..2_000 {
            if n % 500 == 250 {
                let queue = format!("q{n}");
                other.queue(&queue, none()).await;
                other.bind(&queue, "x", "", none()).await;
            }
            let options = BasicPublishOptions::default();
            let payload = n.to_string();
            client.channel.basic_publish("x".into(), "".into(), options, payload.as_bytes(), plain()).await.unwrap();
        }
        client.channel.wait_for_confirms().await.unwrap();
        for n in [250, 750, 1_250, 1_750] {
            let mut got: Vec<usize> =
                client.drain(&format!("q{n}")).await.iter().map(|body| body.parse().unwrap()).collect();
            got.sort_unstable();
            assert_eq!(got, (0..2_000).collect::<Vec<_>>());
        }
        client.queue("last", none()).await;
        client.bind("last", "x", "", none()).await;
        assert_eq!(body(&client.take("last").await.unwrap()), "0");
        other.close().await;
    });
}
