//! Rates and samples: the sampler comes every five seconds of the broker's clock.

use serde_json::{Value, json};

use crate::client::none;
use crate::http::{Api, scenario};
use crate::server::Broker;

const Q: &str = "/api/queues/%2F/q";

/// Lets the sampler come once more, and waits until it has.
async fn sample(broker: &Broker) {
    let before = broker.inside().stats.tick();
    broker.pass(5_000);
    while broker.inside().stats.tick() <= before {
        tokio::task::yield_now().await;
    }
}

fn rate(value: &Value) -> f64 {
    value["rate"].as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// Publishes, and has it sampled between two ticks.
async fn publish(broker: &Broker, client: &crate::client::Client, api: &Api) {
    sample(broker).await;
    client.put_all("q", &["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"]).await;
    api.until("/api/channels", |list| list[0]["message_stats"]["confirm"].as_u64() >= Some(10)).await;
    sample(broker).await;
}

#[test]
fn rates_are_those_of_the_last_five_seconds() {
    scenario(async |broker, client, api| {
        client.queue("q", none()).await;
        publish(broker, client, api).await;
        let queue = api.get(Q).await.ok();
        let of_queue = rate(&queue["message_stats"]["publish_details"]);
        assert!(of_queue > 0.0 && of_queue <= 2.0, "{of_queue}");
        assert!(rate(&queue["messages_details"]) > 0.0);
        let channel = &api.get("/api/channels").await.ok()[0];
        assert!(rate(&channel["message_stats"]["publish_details"]) > 0.0, "{channel}");
        assert!(rate(&channel["message_stats"]["confirm_details"]) > 0.0);
        let connection = &api.get("/api/connections").await.ok()[0];
        assert!(rate(&connection["recv_oct_details"]) > 0.0, "{connection}");
        let exchange = api.get("/api/exchanges/%2F/amq.default").await.ok();
        assert!(rate(&exchange["message_stats"]["publish_in_details"]) > 0.0, "{exchange}");
        sample(broker).await;
        sample(broker).await;
        let queue = api.get(Q).await.ok();
        assert_eq!(queue["message_stats"]["publish_details"], json!({"rate": 0.0}), "nothing moves any more");
        assert_eq!((&queue["messages"], &queue["messages_details"]), (&json!(10), &json!({"rate": 0.0})));
    });
}

#[test]
fn ranges_show_samples_with_their_averages() {
    scenario(async |broker, client, api| {
        client.queue("q", none()).await;
        publish(broker, client, api).await;
        sample(broker).await;
        let ranges = "msg_rates_age=60&msg_rates_incr=5&lengths_age=60&lengths_incr=5";
        let queue = api.get(&format!("{Q}?{ranges}")).await.ok();
        let details = &queue["message_stats"]["publish_details"];
        let samples = details["samples"].as_array().unwrap();
        assert_eq!((samples.len(), &samples[0]["sample"]), (13, &json!(10)));
        assert_eq!(samples[12]["sample"], 0);
        let step = samples[0]["timestamp"].as_u64().unwrap() - samples[1]["timestamp"].as_u64().unwrap();
        assert_eq!(step, 5_000);
        assert_eq!(samples[0]["timestamp"].as_u64().unwrap() % 5_000, 0);
        assert!(details["avg_rate"].as_f64().unwrap() > 0.1 && details["avg"].as_f64().unwrap() > 0.5);
        assert_eq!(queue["messages_details"]["samples"].as_array().unwrap().len(), 13);
        let plain = api.get(Q).await.ok();
        assert!(plain["messages_details"].get("samples").is_none());
    });
}

#[test]
fn what_does_not_move_is_not_sampled() {
    scenario(async |broker, client, api| {
        client.queue("q", none()).await;
        client.queue("idle", none()).await;
        publish(broker, client, api).await;
        let samples = |name: &str| {
            let queue = broker.inside().vhost("/").unwrap().queue(name).unwrap();
            queue.history().trend(broker.inside().stats.tick(), true).len()
        };
        let (moved, idle) = (samples("q"), samples("idle"));
        for _ in 0..4 {
            sample(broker).await;
        }
        assert_eq!((samples("q"), samples("idle")), (moved, idle), "four rounds later");
    });
}
