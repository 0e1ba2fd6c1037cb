//! Exchanges: types, exchange-to-exchange bindings, alternates, lifetimes, refusals.

use lapin::ExchangeKind;
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, ExchangeUnbindOptions, QueueBindOptions,
    QueueDeleteOptions,
};

use leveret::config::compatibility::Compatibility;
use leveret::server::Builder;

use crate::client::{Client, closed, int, none, plain, refusal, table, text};
use crate::server::{Broker, in_time, scenario};

#[test]
fn direct_routes_by_equal_keys_to_every_queue_once() {
    scenario(async |_, client| {
        client.exchange("x", ExchangeKind::Direct, none()).await;
        for queue in ["a", "b"] {
            client.queue(queue, none()).await;
            client.bind(queue, "x", "k", none()).await;
        }
        client.bind("a", "x", "k", table([("other", int(1))])).await;
        client.bind("b", "x", "l", none()).await;
        client.publish("x", "k", "1", plain()).await;
        client.publish("x", "l", "2", plain()).await;
        client.publish("x", "K", "3", plain()).await;
        assert_eq!(client.drain("a").await, ["1"]);
        assert_eq!(client.drain("b").await, ["1", "2"]);
    });
}

#[test]
fn fanout_ignores_the_key() {
    scenario(async |_, client| {
        client.exchange("x", ExchangeKind::Fanout, none()).await;
        let queues: Vec<String> = (0..200).map(|n| format!("q{n}")).collect();
        for queue in &queues {
            client.queue(queue, none()).await;
            client.bind(queue, "x", queue, none()).await;
        }
        for body in ["1", "2", "3"] {
            assert!(client.publish("x", "whatever", body, plain()).await.is_ack());
        }
        for queue in &queues {
            assert_eq!(client.drain(queue).await, ["1", "2", "3"], "{queue}");
        }
    });
}

#[test]
fn topic_matches_words() {
    scenario(async |_, client| {
        client.exchange("x", ExchangeKind::Topic, none()).await;
        let cases: [(&str, &[&str]); 8] = [
            ("a.b.c", &["a.b.c"]),
            ("a.*.c", &["a.b.c", "a..c"]),
            ("a.#", &["a", "a.b", "a.b.c", "a..c"]),
            ("#.c", &["a.b.c", "a..c", "c"]),
            ("#", &["", "a", "a.b", "a.b.c", "a..c", "b.d", "c"]),
            ("*", &["a", "c"]),
            ("*.*", &["a.b", "b.d"]),
            ("", &[""]),
        ];
        for (key, _) in cases {
            let queue = format!("q {key}");
            client.queue(&queue, none()).await;
            client.bind(&queue, "x", key, none()).await;
        }
        for key in ["", "a", "a.b", "a.b.c", "a..c", "b.d", "c"] {
            client.publish("x", key, key, plain()).await;
        }
        for (key, expected) in cases {
            assert_eq!(client.drain(&format!("q {key}")).await, expected, "bound with {key:?}");
        }
    });
}

#[test]
fn a_topic_key_with_three_hashes_is_refused() {
    as_4_3(async |client| {
        client.queue("q", none()).await;
        let channel = client.channel().await;
        let options = QueueBindOptions::default();
        let bound = channel.queue_bind("q".into(), "amq.topic".into(), "#.a.#.b.#".into(), options, none()).await;
        let text = "PRECONDITION_FAILED - Topic binding key '#.a.#.b.#' uses 3 '#' wildcards, at most 2 are allowed";
        assert_eq!(refusal(bound), closed(406, text));
    });
}

#[test]
fn more_wildcards_are_taken_where_rabbitmq_does() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.bind("q", "amq.topic", "#.a.#.b.#", none()).await;
        client.publish("amq.topic", "x.a.y.b", "m", plain()).await;
        assert_eq!(client.drain("q").await, ["m"]);
    });
}

/// A test against RabbitMQ 4.3's rules.
fn as_4_3(test: impl AsyncFnOnce(&Client)) {
    in_time(async {
        let builder = Builder::in_memory().configure(|config| config.compatibility = Compatibility::V4_3);
        let broker = Broker::start(builder);
        let client = broker.client().await;
        test(&client).await;
        drop(client);
        broker.stop().await;
    });
}

#[test]
fn the_default_exchange_routes_by_queue_name_and_cannot_be_bound() {
    scenario(async |_, client| {
        client.queue("q", none()).await;
        client.put("q", "1").await;
        assert_eq!(client.drain("q").await, ["1"]);
        let refused = closed(403, "ACCESS_REFUSED - operation not permitted on the default exchange");
        let channel = client.channel().await;
        let options = QueueBindOptions::default();
        assert_eq!(refusal(channel.queue_bind("q".into(), "".into(), "k".into(), options, none()).await), refused);
        let channel = client.channel().await;
        assert_eq!(refusal(channel.exchange_delete("".into(), ExchangeDeleteOptions::default()).await), refused);
        let channel = client.channel().await;
        let options = ExchangeDeclareOptions::default();
        let declared = channel.exchange_declare("".into(), ExchangeKind::Direct, options, none()).await;
        assert_eq!(refusal(declared), refused);
    });
}

#[test]
fn messages_follow_exchange_to_exchange_bindings_through_cycles() {
    scenario(async |_, client| {
        for exchange in ["a", "b", "c"] {
            client.exchange(exchange, ExchangeKind::Fanout, none()).await;
            client.queue(exchange, none()).await;
            client.bind(exchange, exchange, "", none()).await;
        }
        for (source, destination) in [("a", "b"), ("b", "c"), ("c", "a")] {
            let options = ExchangeBindOptions::default();
            let bound =
                client.channel.exchange_bind(destination.into(), source.into(), "".into(), options, none()).await;
            bound.unwrap();
        }
        client.publish("a", "", "1", plain()).await;
        let options = ExchangeUnbindOptions::default();
        client.channel.exchange_unbind("c".into(), "b".into(), "".into(), options, none()).await.unwrap();
        client.publish("a", "", "2", plain()).await;
        assert_eq!(client.drain("a").await, ["1", "2"]);
        assert_eq!(client.drain("b").await, ["1", "2"]);
        assert_eq!(client.drain("c").await, ["1"]);
    });
}

#[test]
fn an_alternate_takes_what_nothing_else_matched() {
    scenario(async |_, client| {
        client.exchange("last", ExchangeKind::Fanout, none()).await;
        client.exchange("second", ExchangeKind::Direct, table([("alternate-exchange", text("last"))])).await;
        client.exchange("first", ExchangeKind::Direct, table([("alternate-exchange", text("second"))])).await;
        for (queue, exchange) in [("q1", "first"), ("q2", "second"), ("q3", "last")] {
            client.queue(queue, none()).await;
            client.bind(queue, exchange, queue, none()).await;
        }
        for key in ["q1", "q2", "nowhere"] {
            client.publish("first", key, key, plain()).await;
        }
        assert_eq!(client.drain("q1").await, ["q1"]);
        assert_eq!(client.drain("q2").await, ["q2"]);
        assert_eq!(client.drain("q3").await, ["nowhere"]);
    });
}

#[test]
fn alternates_in_a_circle_are_asked_once_each() {
    scenario(async |_, client| {
        for (name, alternate) in [("a", "b"), ("b", "c"), ("c", "a"), ("d", "nowhere")] {
            client.exchange(name, ExchangeKind::Direct, table([("alternate-exchange", text(alternate))])).await;
        }
        let options = lapin::options::BasicPublishOptions { mandatory: true, ..Default::default() };
        for exchange in ["a", "d"] {
            let sent = client.channel.basic_publish(exchange.into(), "k".into(), options, b"m", plain()).await;
            assert!(sent.unwrap().await.unwrap().take_message().is_some(), "nobody wanted it: it is returned");
        }
        client.queue("q", none()).await;
        client.bind("q", "c", "k", none()).await;
        let sent = client.channel.basic_publish("a".into(), "k".into(), options, b"m", plain()).await;
        assert!(sent.unwrap().await.unwrap().take_message().is_none(), "what an alternate routes is routed");
        assert_eq!(client.drain("q").await, ["m"]);
    });
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding() {
    scenario(async |_, client| {
        let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
        client.channel.exchange_declare("x".into(), ExchangeKind::Direct, options, none()).await.unwrap();
        client.queue("q", none()).await;
        client.queue("r", none()).await;
        assert!(client.exchange_exists("x").await, "it has had no binding yet");
        client.bind("q", "x", "k", none()).await;
        client.bind("r", "x", "k", none()).await;
        client.channel.queue_unbind("q".into(), "x".into(), "k".into(), none()).await.unwrap();
        assert!(client.exchange_exists("x").await);
        client.channel.queue_delete("r".into(), QueueDeleteOptions::default()).await.unwrap();
        assert!(!client.exchange_exists("x").await);
    });
}

#[test]
fn an_internal_exchange_takes_messages_from_exchanges_only() {
    scenario(async |_, client| {
        let options = ExchangeDeclareOptions { internal: true, ..ExchangeDeclareOptions::default() };
        client.channel.exchange_declare("inner".into(), ExchangeKind::Fanout, options, none()).await.unwrap();
        client.exchange("outer", ExchangeKind::Fanout, none()).await;
        client.queue("q", none()).await;
        client.bind("q", "inner", "", none()).await;
        let options = ExchangeBindOptions::default();
        client.channel.exchange_bind("inner".into(), "outer".into(), "".into(), options, none()).await.unwrap();
        client.publish("outer", "", "1", plain()).await;
        assert_eq!(client.drain("q").await, ["1"]);
        let options = lapin::options::BasicPublishOptions::default();
        let sent = client.channel.basic_publish("inner".into(), "".into(), options, b"2", plain()).await.unwrap();
        let text = "ACCESS_REFUSED - cannot publish to internal exchange 'inner' in vhost '/'";
        assert_eq!(refusal(sent.await), closed(403, text));
    });
}

#[test]
fn declaring_again_must_say_the_same() {
    scenario(async |_, client| {
        client.exchange("x", ExchangeKind::Direct, none()).await;
        client.exchange("x", ExchangeKind::Direct, table([("ignored", int(1))])).await;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        client.channel.exchange_declare("amq.direct".into(), ExchangeKind::Direct, durable, none()).await.unwrap();

        let plain = ExchangeDeclareOptions::default();
        let alternate = table([("alternate-exchange", text("a"))]);
        let prefix = "PRECONDITION_FAILED - inequivalent arg ";
        let cases = [
            (
                ExchangeKind::Fanout,
                plain,
                none(),
                "'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'",
            ),
            (
                ExchangeKind::Direct,
                durable,
                none(),
                "'durable' for exchange 'x' in vhost '/': received 'true' but current is 'false'",
            ),
            (
                ExchangeKind::Direct,
                plain,
                alternate,
                "'alternate-exchange' for exchange 'x' in vhost '/': received the value 'a' of type 'longstr' but \
                 current is none",
            ),
        ];
        for (kind, options, arguments, text) in cases {
            let channel = client.channel().await;
            let declared = channel.exchange_declare("x".into(), kind, options, arguments).await;
            assert_eq!(refusal(declared), closed(406, &format!("{prefix}{text}")));
        }
    });
}

#[test]
fn names_of_the_system_are_out_of_reach() {
    scenario(async |_, client| {
        let channel = client.channel().await;
        let options = ExchangeDeclareOptions::default();
        let declared = channel.exchange_declare("amq.mine".into(), ExchangeKind::Direct, options, none()).await;
        let text = "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'";
        assert_eq!(refusal(declared), closed(403, text));
        let channel = client.channel().await;
        let deleted = channel.exchange_delete("amq.topic".into(), ExchangeDeleteOptions::default()).await;
        let text = "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed";
        assert_eq!(refusal(deleted), closed(403, text));
    });
}

#[test]
fn an_unknown_type_is_refused() {
    scenario(async |_, client| {
        let channel = client.channel().await;
        let kind = ExchangeKind::Custom("x-none".to_owned());
        let declared = channel.exchange_declare("x".into(), kind, ExchangeDeclareOptions::default(), none()).await;
        assert_eq!(refusal(declared), closed(406, "PRECONDITION_FAILED - unknown exchange type 'x-none'"));
    });
}

#[test]
fn deleting_if_unused_minds_bindings_and_a_missing_one_is_no_error() {
    scenario(async |_, client| {
        client.exchange("x", ExchangeKind::Direct, none()).await;
        client.queue("q", none()).await;
        client.bind("q", "x", "k", none()).await;
        let unused = ExchangeDeleteOptions { if_unused: true, ..ExchangeDeleteOptions::default() };
        let channel = client.channel().await;
        let deleted = channel.exchange_delete("x".into(), unused).await;
        assert_eq!(refusal(deleted), closed(406, "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use"));
        client.channel.queue_unbind("q".into(), "x".into(), "k".into(), none()).await.unwrap();
        client.channel.exchange_delete("x".into(), unused).await.unwrap();
        client.channel.exchange_delete("x".into(), unused).await.unwrap();
        assert!(!client.exchange_exists("x").await);
    });
}
