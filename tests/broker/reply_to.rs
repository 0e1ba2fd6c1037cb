//! Direct reply-to.

use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::{BasicProperties, Consumer};

use crate::client::{Client, body, closed, consume, next, none, plain, refusal};
use crate::server::scenario;

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

fn no_ack() -> BasicConsumeOptions {
    BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() }
}

fn asking() -> BasicProperties {
    plain().with_reply_to(REPLY_TO.into()).with_correlation_id("7".into())
}

/// Sends a request; returns the replies' consumer and the secret name the responder sees.
async fn request(requester: &Client, responder: &Client) -> (Consumer, String) {
    responder.queue("requests", none()).await;
    let replies = consume(&requester.channel, REPLY_TO, no_ack(), none()).await;
    requester.put_as("requests", "question", asking()).await;
    let request = responder.take("requests").await.unwrap();
    let name = request.properties.reply_to().as_ref().unwrap().to_string();
    assert!(name.starts_with("amq.rabbitmq.reply-to."), "{name}");
    (replies, name)
}

#[test]
fn a_reply_reaches_its_requester_without_a_queue() {
    scenario(async |broker, responder| {
        let requester = broker.client().await;
        let (mut replies, name) = request(&requester, responder).await;
        assert_eq!(responder.declare(&name, QueueDeclareOptions::default().passive(), none()).await, name);
        for answer in ["1", "2"] {
            assert!(responder.publish("", &name, answer, plain().with_correlation_id("7".into())).await.is_ack());
            let reply = next(&mut replies).await;
            assert_eq!((body(&reply).as_str(), reply.redelivered), (answer, false));
            assert_eq!((reply.exchange.as_str(), reply.routing_key.as_str()), ("", name.as_str()));
            assert_eq!(reply.properties.correlation_id().as_ref().unwrap().as_str(), "7");
        }
    });
}

#[test]
fn the_name_dies_with_the_channel() {
    scenario(async |broker, responder| {
        let requester = broker.client().await;
        let (_, name) = request(&requester, responder).await;
        requester.close().await;
        let channel = responder.channel().await;
        let probed = channel.queue_declare(name.as_str().into(), QueueDeclareOptions::default().passive(), none());
        assert_eq!(refusal(probed.await).0, 404);
        assert!(responder.publish("", &name, "too late", plain()).await.is_ack());
    });
}

#[test]
fn refusals() {
    scenario(async |_, client| {
        let channel = client.channel().await;
        let refused =
            refusal(channel.basic_consume(REPLY_TO.into(), "".into(), BasicConsumeOptions::default(), none()).await);
        assert_eq!(refused, closed(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"));
        let channel = client.channel().await;
        let _held = consume(&channel, REPLY_TO, no_ack(), none()).await;
        let refused = refusal(channel.basic_consume(REPLY_TO.into(), "".into(), no_ack(), none()).await);
        assert_eq!(refused, closed(406, "PRECONDITION_FAILED - reply consumer already set"));
        let channel = client.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), "q".into(), options, b"m", asking()).await.unwrap();
        assert_eq!(refusal(sent.await), closed(406, "PRECONDITION_FAILED - fast reply consumer does not exist"));
    });
}
