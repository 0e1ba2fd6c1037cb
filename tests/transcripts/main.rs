//! The same conversations with RabbitMQ and with Leveret, frame by frame.
//!
//! What RabbitMQ 3.10 and 4.3 answered is recorded; see README.md for how, and for the language of the files.

mod client;
mod codec;
mod differences;
mod files;
mod grammar;
mod names;
mod play;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use files::Section;
use leveret::config::Compatibility;
use leveret::server::Builder;
use play::Played;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Versions of RabbitMQ there are recordings of.
const RECORDED: [&str; 2] = ["3.10", "4.3"];

/// Conversations played at once with Leveret.
const AT_ONCE: usize = 16;

/// A conversation, the file it stands in, and the only version it is meant for, if there is one.
#[derive(Clone, Debug)]
struct Conversation {
    file: String,
    name: String,
    only: Option<String>,
    lines: Vec<String>,
}

impl Conversation {
    fn meant_for(&self, version: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == version)
    }
}

/// `NAME [only VERSION]`.
fn split_only(heading: &str) -> (String, Option<String>) {
    match heading.strip_suffix(']').and_then(|heading| heading.split_once(" [only ")) {
        Some((name, only)) => (name.to_owned(), Some(only.to_owned())),
        None => (heading.to_owned(), None),
    }
}

/// All conversations, or those whose name contains `LEVERET_TRANSCRIPTS_ONLY`.
fn conversations() -> Vec<Conversation> {
    let part = std::env::var("LEVERET_TRANSCRIPTS_ONLY").unwrap_or_default();
    let mut found = Vec::new();
    for (file, sections) in files::read_folder("conversations") {
        for Section { name, lines } in sections {
            let (name, only) = split_only(&name);
            if name.contains(&part) {
                found.push(Conversation { file: file.clone(), name, only, lines });
            }
        }
    }
    found
}

/// What RabbitMQ answered.
fn recorded(version: &str) -> BTreeMap<String, Vec<String>> {
    let files = files::read_folder(&format!("recorded/{version}"));
    files.into_values().flatten().map(|section| (section.name, section.lines)).collect()
}

/// Plays a conversation with a Leveret of its own.
async fn with_leveret(conversation: &Conversation, compatibility: Compatibility) -> Played {
    let server = Builder::in_memory()
        .configure(|config| {
            config.compatibility = compatibility;
            config.handshake_timeout = Duration::from_secs(2);
        })
        .start()
        .expect("a broker starts");
    let address = server.addresses()[0];
    let lines = conversation.lines.clone();
    let played = tokio::task::spawn_blocking(move || play::play(address, &lines)).await;
    let played = played.unwrap_or_else(|error| panic!("{}: {error}", conversation.name));
    server.stop().await.expect("the broker stops");
    played
}

/// What Leveret answers in all these conversations.
async fn all_with_leveret(all: Vec<Conversation>, compatibility: Compatibility) -> BTreeMap<String, Vec<String>> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut playing = JoinSet::new();
    for conversation in all {
        let turns = turns.clone();
        playing.spawn(async move {
            let _turn = turns.acquire_owned().await.expect("a turn");
            let played = with_leveret(&conversation, compatibility).await;
            (conversation.name, played.transcript)
        });
    }
    playing.join_all().await.into_iter().collect()
}

/// Compares Leveret with the recordings of a version.
async fn compare(version: &str, compatibility: Compatibility, list: &str) {
    let recorded = recorded(version);
    let all: Vec<_> = conversations().into_iter().filter(|conversation| conversation.meant_for(version)).collect();
    let unrecorded: Vec<_> = all.iter().map(|c| &c.name).filter(|name| !recorded.contains_key(*name)).collect();
    assert!(unrecorded.is_empty(), "not recorded with RabbitMQ {version}: {unrecorded:?}");
    let answers = all_with_leveret(all, compatibility).await;
    let found = answers.iter().map(|(name, lines)| (name.clone(), differences::between(&recorded[name], lines)));
    settle(&found.collect(), list);
}

/// Fails unless exactly the listed differences were found.
fn settle(found: &BTreeMap<String, Vec<String>>, list: &str) {
    let mut listed = differences::listed(list);
    if std::env::var_os("LEVERET_TRANSCRIPTS_ONLY").is_some() {
        listed.retain(|name, _| found.contains_key(name));
    }
    let complaints = differences::judge(found, &listed);
    assert!(complaints.is_empty(), "{} of {} conversations:\n{}", complaints.len(), found.len(), complaints.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_as_rabbitmq_4_3_does() {
    compare("4.3", Compatibility::V4_3, "4.3").await;
}

/// 3.13 is not 3.10: what differs between them is listed too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_as_rabbitmq_3_13_where_3_10_does_as_well() {
    compare("3.10", Compatibility::V3_13, "3.13").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lenient_differs_only_by_rows_of_the_compatibility_table() {
    let all: Vec<_> = conversations().into_iter().filter(|conversation| conversation.meant_for("4.3")).collect();
    let strict = all_with_leveret(all.clone(), Compatibility::V4_3).await;
    let lenient = all_with_leveret(all, Compatibility::Lenient).await;
    let found = strict.iter().map(|(name, lines)| (name.clone(), differences::between(lines, &lenient[name])));
    settle(&found.collect(), "lenient");
    let table = leveret::config::compatibility::table();
    for (name, entry) in differences::listed("lenient") {
        let row = entry.reason.strip_prefix("row: ").unwrap_or_default();
        assert!(table.contains(&format!("| {row} |")), "{name} refers to no row of the table: {}", entry.reason);
    }
}

#[test]
fn every_name_is_used_once() {
    let mut seen = BTreeSet::new();
    for conversation in conversations() {
        assert!(seen.insert(conversation.name.clone()), "{} is there twice", conversation.name);
        assert!(conversation.only.is_none_or(|only| RECORDED.contains(&only.as_str())), "{}", conversation.name);
    }
}

#[test]
fn every_recording_is_of_a_conversation() {
    let all: BTreeMap<_, _> = conversations().into_iter().map(|c| (c.name.clone(), c)).collect();
    if std::env::var_os("LEVERET_TRANSCRIPTS_ONLY").is_some() {
        return;
    }
    for version in RECORDED {
        for (name, lines) in recorded(version) {
            let conversation = all.get(&name).unwrap_or_else(|| panic!("{version}: no conversation {name}"));
            let said: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("> ")).collect();
            let said: Vec<_> = said.into_iter().filter(|line| *line != "finally").collect();
            assert_eq!(said, conversation.lines, "{version}: {name} has changed since it was recorded");
        }
    }
}

/// Plays a conversation twice; it must answer alike.
fn record_one(address: SocketAddr, conversation: &Conversation) -> Result<Section, String> {
    let [first, second] = [(); 2].map(|()| play::play(address, &conversation.lines));
    let name = &conversation.name;
    if first.transcript != second.transcript {
        let differences = differences::between(&first.transcript, &second.transcript);
        return Err(format!("== {name}\nanswers differ from time to time:\n{}", differences.join("\n")));
    }
    if !first.complete {
        return Err(format!("== {name}\nsomething awaited did not come:\n{}", first.transcript.join("\n")));
    }
    Ok(Section { name: name.clone(), lines: first.transcript })
}

#[test]
#[ignore = "needs a RabbitMQ: LEVERET_TRANSCRIPTS_RECORD is its version, AMQP_ADDRESS where it listens"]
fn record() {
    let version = std::env::var("LEVERET_TRANSCRIPTS_RECORD").expect("a version in LEVERET_TRANSCRIPTS_RECORD");
    assert!(RECORDED.contains(&version.as_str()), "recordings are of {RECORDED:?}");
    let address = std::env::var("AMQP_ADDRESS").expect("an address in AMQP_ADDRESS").parse().expect("address:port");
    let missing = std::env::var_os("LEVERET_TRANSCRIPTS_MISSING").is_some();
    let old = recorded(&version);
    let mut order: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, sections) in files::read_folder("conversations") {
        let names = sections.into_iter().map(|section| split_only(&section.name).0);
        order.insert(file, names.collect());
    }
    let mut failures = Vec::new();
    for conversation in conversations().iter().filter(|conversation| conversation.meant_for(&version)) {
        let said = |lines: &Vec<String>| -> Vec<String> {
            let said = lines.iter().filter_map(|line| line.strip_prefix("> ")).filter(|line| *line != "finally");
            said.map(str::to_owned).collect()
        };
        if missing && old.get(&conversation.name).is_some_and(|lines| said(lines) == conversation.lines) {
            continue;
        }
        let path = files::folder(&format!("recorded/{version}")).join(format!("{}.txt", conversation.file));
        match std::panic::catch_unwind(|| record_one(address, conversation)) {
            Ok(Ok(section)) => files::update(&path, &order[&conversation.file], vec![section]),
            Ok(Err(failure)) => failures.push(failure),
            Err(_) => failures.push(format!("== {}\nfailed", conversation.name)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
