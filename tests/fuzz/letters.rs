//! Messages on the way between queues: what dying and waiting do to properties, keys and headers.

use leveret::message::death::{self, Circumstances};
use leveret::message::{Draft, Facts, Message, add_blind_key, address, delay, duplicate};
use leveret::wire::properties::Properties;
use leveret::wire::table::{RawTable, Value};

use crate::choices::Choices;

/// Most deaths a message is told to have had.
const MOST_DEATHS: usize = 256;

/// Headers that a death may change.
const OURS: [&[u8]; 8] = [
    b"x-death",
    b"x-first-death-reason",
    b"x-first-death-queue",
    b"x-first-death-exchange",
    b"x-last-death-reason",
    b"x-last-death-queue",
    b"x-last-death-exchange",
    b"CC",
];

/// A message with properties as they stand in the input, which then dies and waits as the input says.
pub(crate) fn travel(input: &[u8]) {
    let mut choices = Choices(input);
    let Some(mut message) = published(&mut choices) else { return };
    let mut first = true;
    for _ in 0..=choices.octet() % 8 {
        let choice = choices.octet();
        let _ = duplicate::of_message(&message);
        if choice & 0xC0 == 0xC0 {
            message = waited(message);
            continue;
        }
        let how = Circumstances {
            queue: choices.one_of(&["work", "wait", "", "q\u{e9}"]),
            reason: choices.one_of(&["rejected", "expired", "maxlen"]),
            time: u64::from(choice),
            redelivered: choice & 1 != 0,
            discards_foreign: choice & 2 != 0,
            removes_cc: choice & 4 != 0,
            to_exchange: choices.one_of(&["dlx", ""]),
            to_routing_key: (choice & 8 != 0).then_some("dead"),
        };
        let Some(dead) = death::record(&message, &how) else { return };
        judge(&message, &dead, &how, first && how.discards_foreign);
        message = dead.message;
        first = false;
    }
}

/// A message as a session assembles one, with keys of `BCC` behind its address.
fn published(choices: &mut Choices<'_>) -> Option<Message> {
    let mut envelope = address(b"orders", choices.short())?;
    for _ in 0..choices.octet() % 4 {
        add_blind_key(&mut envelope, choices.short());
    }
    let body = choices.short();
    let raw = properties(choices);
    Properties::parse(&raw).ok()?;
    let facts = Facts { persistent: true, ..Facts::default() };
    let mut draft = Draft::new(&envelope, &raw, body.len() as u64, facts);
    assert!(draft.try_extend(body));
    let message = draft.finish()?;
    let again = Message::from_record(message.record().clone(), envelope.len(), raw.len(), facts).expect("a record");
    assert_eq!((again.envelope(), again.properties(), again.body()), (&envelope[..], &raw[..], body));
    Some(message)
}

/// Properties as they stand in the input, or a headers table alone, which a fuzzer would rarely frame.
fn properties(choices: &mut Choices<'_>) -> Vec<u8> {
    if choices.octet() & 1 == 0 {
        let expiration = (choices.octet() & 1 == 1).then_some(&b"500"[..]);
        return Properties { headers: Some(choices.0), expiration, ..Properties::default() }.encode();
    }
    choices.0.to_vec()
}

fn headers(message: &Message) -> Vec<(Vec<u8>, u8, Vec<u8>)> {
    let properties = Properties::parse(message.properties()).expect("properties that every client can decode");
    let entries = properties.headers.map(RawTable::new).into_iter().flat_map(|headers| headers.iter());
    entries.map(|(key, value)| (key.to_vec(), value.tag, value.bytes.to_vec())).collect()
}

/// A delay turns the sign of one header and leaves the rest.
fn waited(message: Message) -> Message {
    let wait = delay::of_message(&message);
    let Some(released) = delay::released(&message, true) else { return message };
    assert!(released.facts().redelivered);
    assert_eq!((released.envelope(), released.body()), (message.envelope(), message.body()));
    assert!(wait == 0 || delay::of_message(&released) == 0, "a message is delayed once");
    let others = |message: &Message| -> Vec<_> { headers(message).into_iter().filter(|h| h.0 != b"x-delay").collect() };
    assert_eq!(others(&released), others(&message));
    released
}

fn judge(before: &Message, dead: &death::Dead, how: &Circumstances<'_>, discards: bool) {
    let after = &dead.message;
    assert_eq!((after.body(), after.exchange()), (before.body(), how.to_exchange.as_bytes()));
    assert!(after.facts().dead_lettered && after.facts().persistent && after.facts().expiration == u64::MAX);
    assert!(!dead.routing_keys.is_empty() && !dead.cycles_to("nowhere"));
    if how.reason == "rejected" {
        assert!(!dead.cycles_to(how.queue), "somebody rejected it");
    }
    match how.to_routing_key {
        Some(key) => assert_eq!((after.routing_key(), &dead.routing_keys[..]), (key.as_bytes(), &[key.into()][..])),
        None => assert_eq!(after.envelope()[after.address().len()..], before.envelope()[before.address().len()..]),
    }
    let others = |message: &Message| -> Vec<_> {
        headers(message).into_iter().filter(|(key, ..)| !OURS.contains(&&key[..])).collect()
    };
    assert_eq!(others(after), others(before), "what is not ours keeps its octets");

    let properties = Properties::parse(after.properties()).expect("checked above");
    assert!(properties.expiration.is_none());
    let table = RawTable::new(properties.headers.expect("a death is told"));
    let deaths = table.get("x-death").and_then(|value| value.to_value()).expect("a list of deaths that can be read");
    let deaths = deaths.as_array().expect("a list");
    assert!((1..=MOST_DEATHS).contains(&deaths.len()));
    assert!(!discards || before.facts().dead_lettered || deaths.len() == 1, "what a client told was believed");
    let newest = deaths[0].as_table().expect("a death");
    let field = |key| newest.get(key).and_then(Value::as_bytes);
    assert_eq!(field("queue"), Some(how.queue.as_bytes()));
    assert_eq!(field("reason"), Some(how.reason.as_bytes()));
    assert!(newest.get("count").and_then(Value::as_int).is_some());
    let last = table.get("x-last-death-queue").and_then(|value| value.as_bytes());
    assert_eq!(last, Some(how.queue.as_bytes()));
}
