//! basic.get.

use lapin::options::{BasicAckOptions, BasicGetOptions, BasicQosOptions};

use crate::client::{body, closed, next, none, refusal};
use crate::server::scenario;

#[test]
fn a_get_tells_what_is_left_and_leaves_the_message_unacknowledged() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        assert!(client.get("q").await.is_none());
        client.put_all("q", &["1", "2", "3"]).await;
        let got = client.channel.basic_get("q".into(), BasicGetOptions::default()).await.unwrap().unwrap();
        assert_eq!((body(&got.delivery).as_str(), got.message_count), ("1", 2));
        assert_eq!((got.delivery.delivery_tag, got.delivery.redelivered), (1, false));
        let second = client.channel.basic_get("q".into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
        assert_eq!((second.delivery.delivery_tag, second.message_count), (2, 1));
        got.delivery.ack(BasicAckOptions::default()).await.unwrap();
        assert_eq!(client.drain("q").await, ["3"]);
    });
}

#[test]
fn prefetch_does_not_limit_gets() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.channel.basic_qos(1, BasicQosOptions { global: true }).await.unwrap();
        client.put_all("q", &["1", "2", "3"]).await;
        for expected in ["1", "2", "3"] {
            assert_eq!(body(&client.get("q").await.unwrap()), expected);
        }
    });
}

#[test]
fn gets_do_not_use_up_prefetch() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2", "3"]).await;
        let early = client.get("q").await.unwrap();
        client.channel.basic_qos(1, BasicQosOptions { global: true }).await.unwrap();
        let late = client.get("q").await.unwrap();
        let mut consumer = client.consume("q").await;
        assert_eq!(body(&next(&mut consumer).await), "3");
        client.put("q", "4").await;
        early.ack(BasicAckOptions::default()).await.unwrap();
        late.ack(BasicAckOptions::default()).await.unwrap();
        assert_eq!(client.ready("q").await, 1, "nor do their acknowledgements give back");
    });
}

#[test]
fn unacknowledged_gets_return_when_the_channel_ends() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put_all("q", &["1", "2"]).await;
        let channel = client.channel().await;
        channel.basic_get("q".into(), BasicGetOptions::default()).await.unwrap().unwrap();
        channel.close(200, "done".into()).await.unwrap();
        client.until_ready("q", 2).await;
        let first = client.get("q").await.unwrap();
        assert_eq!((body(&first).as_str(), first.redelivered), ("1", true));
        let second = client.get("q").await.unwrap();
        assert_eq!((body(&second).as_str(), second.redelivered), ("2", false));
    });
}

#[test]
fn a_missing_queue_is_refused() {
    scenario(async |_, client| {
        let channel = client.channel().await;
        let got = channel.basic_get("none".into(), BasicGetOptions::default()).await;
        assert_eq!(refusal(got), closed(404, "NOT_FOUND - no queue 'none' in vhost '/'"));
    });
}
