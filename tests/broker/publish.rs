//! Publishing: confirms, returns and their order, refusals, user-id.

use futures_lite::StreamExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions};
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Confirmation};

use crate::client::{Client, body, closed, none, plain, refusal, table, text};
use crate::server::scenario;

const MANDATORY: BasicPublishOptions = BasicPublishOptions { mandatory: true, immediate: false };

#[test]
fn confirms_arrive_for_routed_and_unroutable_alike() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        let mut pending = Vec::new();
        for n in 0..500 {
            let key = if n % 3 == 0 { "nowhere" } else { "q" };
            let options = BasicPublishOptions::default();
            let sent = client.channel.basic_publish("".into(), key.into(), options, b"m", plain()).await;
            pending.push(sent.unwrap());
        }
        for confirm in pending {
            assert_eq!(confirm.await.unwrap(), Confirmation::Ack(None));
        }
        assert_eq!(client.ready("q").await, 333);
    });
}

#[test]
fn a_mandatory_message_without_a_queue_returns_before_its_confirm() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        let properties = plain().with_message_id("id".into());
        let channel = &client.channel;
        let lost = channel.basic_publish("amq.topic".into(), "a.b".into(), MANDATORY, b"x", properties).await.unwrap();
        let routed = channel.basic_publish("".into(), "q".into(), MANDATORY, b"y", plain()).await.unwrap();
        let Confirmation::Ack(Some(returned)) = lost.await.unwrap() else { panic!("acknowledged, and returned first") };
        assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
        assert_eq!((returned.delivery.exchange.as_str(), returned.delivery.routing_key.as_str()), ("amq.topic", "a.b"));
        assert_eq!(returned.delivery.data, b"x");
        assert_eq!(returned.delivery.properties.message_id().as_ref().unwrap().as_str(), "id");
        assert_eq!(routed.await.unwrap(), Confirmation::Ack(None));
    });
}

#[test]
fn selecting_confirms_again_goes_on_counting() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put("q", "1").await;
        client.channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        client.put("q", "2").await;
        assert_eq!(client.drain("q").await, ["1", "2"]);
    });
}

#[test]
fn a_queue_deleted_meanwhile_confirms() {
    scenario(async |broker, client| {
        client.queue("q", none()).await;
        let other = broker.client().await;
        let mut pending = Vec::new();
        for n in 0..200 {
            if n == 100 {
                other.channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.unwrap();
            }
            let options = BasicPublishOptions::default();
            let sent = client.channel.basic_publish("".into(), "q".into(), options, b"m", plain()).await;
            pending.push(sent.unwrap());
        }
        for confirm in pending {
            assert!(confirm.await.unwrap().is_ack());
        }
    });
}

async fn publish_refused(client: &Client, exchange: &str, how: BasicProperties) -> (u16, String) {
    let channel = client.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange.into(), "k".into(), options, b"m", how).await.unwrap();
    refusal(sent.await)
}

#[test]
fn refusals() {
    scenario(async |_, client| {
        let refused = publish_refused(client, "nix", plain()).await;
        assert_eq!(refused, closed(404, "NOT_FOUND - no exchange 'nix' in vhost '/'"));
        let cases = [
            ("abc", "'abc': no_integer"),
            ("", "'': no_integer"),
            ("10x", "'10x': {leftover_string,\"x\"}"),
            ("-1", "'-1': {value_negative,-1}"),
            ("315360000001", "'315360000001': {value_too_large,315360000001}"),
        ];
        for (expiration, expected) in cases {
            let refused = publish_refused(client, "", plain().with_expiration(expiration.into())).await;
            assert_eq!(refused, closed(406, &format!("PRECONDITION_FAILED - invalid expiration {expected}")));
        }
        let refused = publish_refused(client, "", plain().with_user_id("bob".into())).await;
        let expected = "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'";
        assert_eq!(refused, closed(406, expected));
        let refused = publish_refused(client, "", plain().with_headers(table([("CC", text("q"))]))).await;
        let expected = "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}";
        assert_eq!(refused, closed(406, expected));
        assert!(client.publish("", "k", "m", plain().with_user_id("guest".into())).await.is_ack());
    });
}

#[test]
fn immediate_ends_the_connection() {
    scenario(async |broker, _| {
        let other = broker.client().await;
        let mut events = Box::pin(other.connection.events_listener());
        let options = BasicPublishOptions { immediate: true, mandatory: false };
        let sent = other.channel.basic_publish("".into(), "q".into(), options, b"m", plain()).await.unwrap();
        assert_eq!(refusal(sent.await), closed(540, "NOT_IMPLEMENTED - immediate=true"));
        while events.next().await.is_some_and(|event| !matches!(event, lapin::Event::Error(_))) {}
        assert!(!other.connection.status().connected());
    });
}

#[test]
fn carbon_copies_reach_more_queues_and_blind_ones_stay_unseen() {
    scenario(async |_, client| {
        for queue in ["to", "cc", "bcc"] {
            client.queue(queue, none()).await;
        }
        let list = |key: &str| AMQPValue::FieldArray(vec![text(key), text("to")].into());
        let headers = table([("CC", list("cc")), ("BCC", list("bcc"))]);
        client.publish("", "to", "m", plain().with_headers(headers)).await;
        for queue in ["to", "cc", "bcc"] {
            let delivery = client.take(queue).await.unwrap();
            assert_eq!((body(&delivery).as_str(), delivery.routing_key.as_str()), ("m", "to"));
            let headers = delivery.properties.headers().clone().unwrap();
            assert!(headers.contains_key("CC") && !headers.contains_key("BCC"), "{headers:?}");
            assert!(client.take(queue).await.is_none(), "one copy only");
        }
    });
}
