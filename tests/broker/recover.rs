//! basic.recover and basic.recover-async.

use lapin::options::{BasicRecoverAsyncOptions, BasicRecoverOptions};

use crate::client::{bodies, body, closed, next, none, refusal};
use crate::server::scenario;

#[test]
fn everything_unacknowledged_returns_in_order() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2", "3"]).await;
        client.get("q").await.unwrap();
        client.get("q").await.unwrap();
        client.channel.basic_recover(BasicRecoverOptions { requeue: true }).await.unwrap();
        for (text, redelivered) in [("1", true), ("2", true), ("3", false)] {
            let delivery = client.get("q").await.unwrap();
            assert_eq!((body(&delivery).as_str(), delivery.redelivered), (text, redelivered));
        }
    });
}

#[test]
fn a_consumer_is_delivered_them_again() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2"]).await;
        let mut consumer = client.consume("q").await;
        assert_eq!(bodies(&mut consumer, 2).await, ["1", "2"]);
        client.channel.basic_recover_async(BasicRecoverAsyncOptions { requeue: true }).await.unwrap();
        let again = next(&mut consumer).await;
        assert_eq!((body(&again).as_str(), again.redelivered, again.delivery_tag), ("1", true, 3));
    });
}

#[test]
fn without_requeue_it_ends_the_connection() {
    scenario(async |broker, _| {
        let other = broker.client().await;
        let recovered = other.channel.basic_recover(BasicRecoverOptions { requeue: false }).await;
        assert_eq!(refusal(recovered), closed(540, "NOT_IMPLEMENTED - requeue=false"));
    });
}
