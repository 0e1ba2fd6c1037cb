//! Command lines with the exit statuses and headings that a RabbitMQ 4.3.6 gave them, against the broker itself.
//!
//! `headings.txt` has a paragraph for each: `$` the command line, `=` its exit status, `>` and `!` lines that stand in what
//! it prints and complains of, in that order, `#` what lines begin with before a colon, and `{` the keys of a document.
//! `~` is the node, PORT the one clients connect to. No row of a listing stands there.

use serde_json::Value;

use crate::real::Broker;
use crate::run::Ran;

const HEADINGS: &str = include_str!("headings.txt");

/// Lines of the status that are not here, with the reason.
const ABSENT: &[(&str, &str)] = &[
    ("RabbitMQ release series support status", "this is another product"),
    ("Enabled plugin file", "what is built in is enabled without one"),
];

/// Whether these lines stand in the text, in their order, each from its beginning.
fn stand_in(lines: &[&str], text: &str) -> bool {
    let mut there = text.lines();
    lines.iter().all(|wanted| there.any(|line| line.starts_with(wanted)))
}

/// Keys of a document, or of the first in a list.
fn keys(text: &str) -> Vec<String> {
    let document: Value = serde_json::from_str(text).expect("JSON");
    let first = document.as_array().and_then(|list| list.first()).unwrap_or(&document);
    let mut keys: Vec<_> = first.as_object().expect("an object").keys().cloned().collect();
    keys.sort();
    keys
}

/// What is wrong with the answer to a command line.
fn judge(paragraph: &[&str], ran: &Ran) -> Option<String> {
    let of = |mark: char| paragraph.iter().filter_map(move |line| line.strip_prefix(mark)).map(str::trim_start);
    let status = of('=').next().expect("a status");
    if ran.status.to_string() != status {
        return Some(format!("status {} instead of {status}", ran.status));
    }
    for (mark, text) in [('>', &ran.out), ('!', &ran.err)] {
        let lines: Vec<_> = of(mark).collect();
        if !stand_in(&lines, &text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")) {
            return Some(format!("not all of {lines:?}"));
        }
    }
    let missing = |label: &&str| !ran.out.lines().any(|line| line.starts_with(&format!("{label}:")));
    if let Some(label) = of('#').filter(missing).find(|label| ABSENT.iter().all(|(absent, _)| absent != label)) {
        return Some(format!("no line {label}"));
    }
    let wanted: Vec<&str> = of('{').flat_map(|keys| keys.split(',')).collect();
    let there = if wanted.is_empty() { Vec::new() } else { keys(&ran.out) };
    let all = wanted.len() == 1 || wanted.len() == there.len();
    (!all || wanted.iter().any(|key| !there.iter().any(|there| there == key))).then(|| format!("keys {there:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transcripts_statuses_and_headings_are_those_of_the_broker() {
    let broker = Broker::start().await;
    let port = broker.port("amqp,").await;
    broker.fine("rabbitmqctl add_vhost media").await;
    broker.fine("rabbitmqctl add_vhost shop").await;
    broker.fine("rabbitmqctl set_permissions -p media guest .* .* .*").await;
    let admin = format!("rabbitmqadmin -c /dev/null -H 127.0.0.1 -P {}", broker.port("http,").await);
    broker.fine(&format!("{admin} -V media declare queue name=q1")).await;
    broker.fine("rabbitmqctl set_permissions -p shop guest .* .* .*").await;
    broker.fine("rabbitmqctl set_policy -p shop ttl ^q1 '{\"max-length\":100000}'").await;
    let properties = lapin::ConnectionProperties::default();
    let uri = format!("amqp://127.0.0.1:{port}/shop");
    let connection = lapin::Connection::connect(&uri, properties).await.expect("the broker answers");
    let channel = connection.create_channel().await.expect("a channel");
    let durable = lapin::options::QueueDeclareOptions::durable();
    channel.queue_declare("q0".into(), durable, lapin::types::FieldTable::default()).await.expect("a queue");
    let options = lapin::options::BasicConsumeOptions::default();
    let consume = channel.basic_consume("q0".into(), "worker".into(), options, lapin::types::FieldTable::default());
    let _consumer = consume.await.expect("a consumer");
    let mut wrong = Vec::new();
    let node = leveret::config::Config::default().node_name;
    let text = HEADINGS.replace('~', &node).replace("PORT", &port);
    for paragraph in text.split("\n\n") {
        let lines: Vec<_> = paragraph.lines().collect();
        let line = lines.first().and_then(|line| line.strip_prefix("$ ")).expect("a command line");
        let ran = broker.run(line).await;
        wrong.extend(judge(&lines, &ran).map(|why| format!("{line}: {why}\n  {ran:?}")));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
