//! Requests good and bad, in a row, with the answers that a RabbitMQ 4.3.6 gave to the very same.
//!
//! `answers.txt` has for each the request (a user other than guest before it: `-` is nobody, u1 and u2 have the password
//! p), below it status, kind and reason of the answer here, and below that, behind `#`, the beginning of RabbitMQ's where
//! it is another: it fell over its own types (500), has no plugin for it, or takes what is refused here with the path of
//! the bad item. Answers that show something are compared by their shape, elsewhere.

use hyper::Method;
use leveret::config::Compatibility;
use serde_json::Value;

use crate::api::{Answer, Api, builder};
use crate::server::{Broker, in_time};

const ANSWERS: &str = include_str!("answers.txt");

/// The answer as the file has it.
fn written(answer: &Answer) -> String {
    let status = answer.status.to_string();
    if answer.status < 300 || answer.body.is_empty() {
        return status;
    }
    let body = answer.json();
    match (&body["error"], &body["reason"]) {
        (Value::String(kind), reason) => format!("{status} {kind} {reason}"),
        _ => status,
    }
}

async fn ask(api: &Api, line: &str) -> Answer {
    let (who, request) = match line.split_once(' ').expect("a request") {
        (word, rest) if word.chars().any(|letter| letter.is_lowercase() || letter == '-') => (word, rest),
        _ => ("guest", line),
    };
    let api = match who.split_once(':') {
        _ if who == "-" => api.nobody(),
        Some((name, password)) => api.user(name, password),
        None if who == "guest" => api.clone(),
        None => api.user(who, "p"),
    };
    let mut words = request.splitn(3, ' ');
    let method: Method = words.next().expect("a method").parse().expect("a method");
    let path = words.next().expect("a path").replace('(', "%28").replace('^', "%5E");
    let body = words.next().unwrap_or_default();
    let kind = match body.chars().next() {
        Some('{' | '[') => "application/json",
        Some('u') => "application/x-www-form-urlencoded",
        _ => "text/plain",
    };
    api.send(method, &path, &[("content-type", kind)], body).await
}

#[test]
fn every_request_is_answered_as_rabbitmq_does_or_as_is_said() {
    in_time(async {
        let broker = Broker::start(builder().configure(|config| config.compatibility = Compatibility::V4_3));
        let api = Api::new(&broker);
        let (mut wrong, mut line) = (Vec::new(), "");
        for next in ANSWERS.lines() {
            match next.strip_prefix("  ") {
                None => line = next,
                Some(note) if note.starts_with('#') => {}
                Some(expected) => {
                    let answer = written(&ask(&api, line).await);
                    if answer != expected {
                        wrong.push(format!("{line}\n  {answer}\n  instead of {expected}"));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
        broker.stop().await;
    });
}
