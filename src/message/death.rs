//! What a message carries of its deaths: the `x-death` headers, and the rule that breaks dead-letter cycles.
//!
//! Source: RabbitMQ's dead-lettering. One entry per (queue, reason), most recent first; a repeated death raises the
//! count and moves the entry to the front. Such headers sent by a client are passed on; at the message's first real
//! death RabbitMQ 4 discards them, and 3 goes on from them; [`Facts::dead_lettered`] tells the two apart. All other
//! headers keep their octets.

use super::{Facts, Message};
use crate::wire::properties::Properties;
use crate::wire::table::{self, RawTable, Table, Value};

/// Most distinct deaths kept on a message; a chain of more queues than this forgets its oldest.
const MAX_DEATHS: usize = 256;

/// The headers this module answers for.
const OURS: [&str; 7] = [
    "x-death",
    "x-first-death-reason",
    "x-first-death-queue",
    "x-first-death-exchange",
    "x-last-death-reason",
    "x-last-death-queue",
    "x-last-death-exchange",
];

/// How a message died and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The queue it died in.
    pub queue: &'a str,
    /// `rejected`, `expired` or `maxlen`.
    pub reason: &'a str,
    /// Seconds since the Unix epoch.
    pub time: u64,
    /// Its first delivery from the next queue says so.
    pub redelivered: bool,
    /// Deaths that a client tells of are nobody's.
    pub discards_foreign: bool,
    /// The header `CC` goes when another routing key comes.
    pub removes_cc: bool,
    /// The dead-letter exchange.
    pub to_exchange: &'a str,
    /// The dead-letter routing key, if one is set.
    pub to_routing_key: Option<&'a str>,
}

/// A message after its death, ready to be routed.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The message with its death recorded.
    pub message: Message,
    /// The keys to route it with.
    pub routing_keys: Vec<Vec<u8>>,
    /// Queue and "was it rejected" of every death, most recent first.
    deaths: Vec<(Box<[u8]>, bool)>,
}

impl Dead {
    /// Whether bringing it to `queue` would close a cycle without anybody's doing: it died there before, and every
    /// death since then was automatic.
    pub fn cycles_to(&self, queue: &str) -> bool {
        match self.deaths.iter().position(|(name, _)| **name == *queue.as_bytes()) {
            Some(at) => self.deaths.iter().take(at.saturating_add(1)).all(|(_, rejected)| !rejected),
            None => false,
        }
    }
}

fn text(bytes: &[u8]) -> Value {
    Value::LongStr(bytes.into())
}

/// Records a death. `None` if the message has become larger than a message may be.
pub fn record(message: &Message, how: &Circumstances<'_>) -> Option<Dead> {
    let mut properties = Properties::parse(message.properties()).ok()?;
    let headers = properties.headers.map(RawTable::new);
    let keys = message.visible_keys(headers);
    let believed = message.facts().dead_lettered || !how.discards_foreign;
    let known = if believed { deaths_of(headers) } else { Vec::new() };
    let first = known.is_empty();

    let deaths = with_death(known, message, &properties, how, &keys);
    let mut raw = match (properties.headers, first) {
        (Some(raw), true) => table::without(raw, &OURS),
        (Some(raw), false) => raw.to_vec(),
        (None, _) => Vec::new(),
    };
    if how.removes_cc && how.to_routing_key.is_some() {
        raw = table::without(&raw, &["CC"]);
    }
    raw = table::set_raw(&raw, "x-death", &encode_deaths(&deaths));
    let facts = [
        ("exchange", text(message.exchange())),
        ("queue", text(how.queue.as_bytes())),
        ("reason", text(how.reason.as_bytes())),
    ];
    for which in if first { &["first", "last"][..] } else { &["last"] } {
        for (fact, value) in &facts {
            raw = table::set(&raw, &format!("x-{which}-death-{fact}"), value);
        }
    }
    properties.headers = Some(&raw);
    properties.expiration = None;

    // Without a key of its own the letter goes where the message went, blind copies included.
    let all_keys = how.to_routing_key.map_or_else(|| message.routing_keys(headers), |key| vec![key.as_bytes()]);
    let envelope = envelope(message, how)?;
    let facts = Facts { expiration: u64::MAX, dead_lettered: true, redelivered: how.redelivered, ..message.facts() };
    let dead = message.rewritten(&envelope, &properties.encode(), facts)?;
    let routing_keys = all_keys.into_iter().map(<[u8]>::to_vec).collect();
    let deaths = deaths.iter().filter_map(|death| {
        let queue = death.get("queue")?.as_bytes()?;
        Some((queue.into(), death.get("reason")?.as_str() == Some("rejected")))
    });
    Some(Dead { message: dead, routing_keys, deaths: deaths.collect() })
}

/// The fields of a death in RabbitMQ's order.
const FIELDS: [&str; 7] = ["original-expiration", "count", "reason", "queue", "time", "exchange", "routing-keys"];

/// The list of deaths as a value: each death's own fields first, whatever else a client may have put in behind them.
fn encode_deaths(deaths: &[Table]) -> Vec<u8> {
    let mut entries = Vec::new();
    for death in deaths {
        let known = FIELDS.iter().filter_map(|field| Some((*field, death.get(field)?)));
        let others = death.iter().filter(|(key, _)| !FIELDS.contains(key));
        let raw = known.chain(others).fold(Vec::new(), |raw, (key, value)| table::set(&raw, key, value));
        entries.push(b'F');
        table::put_length(&mut entries, raw.len());
        entries.extend_from_slice(&raw);
    }
    let mut value = vec![b'A'];
    table::put_length(&mut value, entries.len());
    value.extend_from_slice(&entries);
    value
}

fn envelope(message: &Message, how: &Circumstances<'_>) -> Option<Vec<u8>> {
    let to_exchange = how.to_exchange.as_bytes();
    if let Some(key) = how.to_routing_key {
        return super::address(to_exchange, key.as_bytes());
    }
    let mut envelope = super::address(to_exchange, message.routing_key())?;
    envelope.extend_from_slice(message.blind());
    Some(envelope)
}

fn deaths_of(headers: Option<RawTable<'_>>) -> Vec<Table> {
    let entries = headers.and_then(|h| h.get("x-death")).and_then(|value| value.to_value());
    let tables = entries.as_ref().and_then(Value::as_array).unwrap_or_default();
    tables.iter().filter_map(|entry| entry.as_table().cloned()).collect()
}

/// The list of deaths with the new one in front.
fn with_death(
    mut deaths: Vec<Table>,
    message: &Message,
    properties: &Properties<'_>,
    how: &Circumstances<'_>,
    keys: &[&[u8]],
) -> Vec<Table> {
    let same = |death: &Table| {
        let is = |key: &str, wanted: &str| death.get(key).and_then(Value::as_bytes) == Some(wanted.as_bytes());
        is("queue", how.queue) && is("reason", how.reason)
    };
    let newest = if let Some(at) = deaths.iter().position(same) {
        let mut death = deaths.remove(at);
        let count = death.get("count").and_then(Value::as_int).unwrap_or(0);
        death.insert("count", count.saturating_add(1));
        death
    } else {
        let mut death = Table::new();
        death.insert("count", 1i64);
        death.insert("reason", text(how.reason.as_bytes()));
        death.insert("queue", text(how.queue.as_bytes()));
        death.insert("time", Value::Timestamp(how.time));
        death.insert("exchange", text(message.exchange()));
        death.insert("routing-keys", keys.iter().map(|key| text(key)).collect::<Vec<_>>());
        if let Some(expiration) = properties.expiration {
            death.insert("original-expiration", text(expiration));
        }
        death
    };
    deaths.insert(0, newest);
    deaths.truncate(MAX_DEATHS);
    deaths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Draft, address};

    fn message(properties: Properties<'_>) -> Message {
        let address = address(b"orders", b"new").unwrap();
        Draft::new(&address, &properties.encode(), 0, Facts::default()).finish().unwrap()
    }

    fn how<'a>(queue: &'a str, reason: &'a str) -> Circumstances<'a> {
        Circumstances {
            queue,
            reason,
            time: 1_000,
            redelivered: false,
            discards_foreign: true,
            removes_cc: false,
            to_exchange: "dlx",
            to_routing_key: None,
        }
    }

    fn deaths(message: &Message) -> Vec<Table> {
        deaths_of(Properties::parse(message.properties()).unwrap().headers.map(RawTable::new))
    }

    fn header(message: &Message, key: &str) -> Option<Value> {
        let raw = Properties::parse(message.properties()).unwrap().headers?;
        RawTable::new(raw).get(key)?.to_value()
    }

    #[test]
    fn the_first_death_is_recorded_in_full() {
        let original = message(Properties { expiration: Some(b"500"), ..Properties::default() });
        let dead = record(&original, &how("work", "expired")).unwrap();
        let death = &deaths(&dead.message)[0];
        assert_eq!(death.get("count"), Some(&Value::I64(1)));
        assert_eq!(death.get("reason").and_then(Value::as_str), Some("expired"));
        assert_eq!(death.get("queue").and_then(Value::as_str), Some("work"));
        assert_eq!(death.get("time"), Some(&Value::Timestamp(1_000)));
        assert_eq!(death.get("exchange").and_then(Value::as_str), Some("orders"));
        assert_eq!(death.get("routing-keys").and_then(Value::as_array), Some(&[Value::from("new")][..]));
        assert_eq!(death.get("original-expiration").and_then(Value::as_str), Some("500"));
        for fact in ["x-first-death-", "x-last-death-"] {
            let is = |what: &str| header(&dead.message, &format!("{fact}{what}"));
            assert_eq!((is("reason"), is("queue")), (Some(Value::from("expired")), Some(Value::from("work"))));
        }
        assert!(Properties::parse(dead.message.properties()).unwrap().expiration.is_none());
        assert_eq!((dead.message.exchange(), dead.message.routing_key()), (&b"dlx"[..], &b"new"[..]));
    }

    #[test]
    fn a_repeated_death_counts_up_and_moves_to_the_front() {
        let first = record(&message(Properties::default()), &how("work", "rejected")).unwrap();
        let second = record(&first.message, &how("wait", "expired")).unwrap();
        let third = record(&second.message, &Circumstances { time: 2_000, ..how("work", "rejected") }).unwrap();
        let deaths = deaths(&third.message);
        let counts: Vec<_> =
            deaths.iter().map(|d| (d.get("queue").unwrap().as_str().unwrap(), d.get("count").unwrap())).collect();
        assert_eq!(counts, [("work", &Value::I64(2)), ("wait", &Value::I64(1))]);
        assert_eq!(deaths[0].get("time"), Some(&Value::Timestamp(1_000)), "the time of the first such death stays");
        assert_eq!(header(&third.message, "x-first-death-reason"), Some(Value::from("rejected")));
        assert_eq!(header(&third.message, "x-last-death-queue"), Some(Value::from("work")));
    }

    #[test]
    fn only_a_fully_automatic_cycle_is_broken() {
        let first = record(&message(Properties::default()), &how("a", "expired")).unwrap();
        assert!(first.cycles_to("a") && !first.cycles_to("b"));
        let second = record(&first.message, &how("b", "rejected")).unwrap();
        assert!(!second.cycles_to("a"), "somebody rejected it on the way");
        let third = record(&second.message, &how("c", "maxlen")).unwrap();
        assert!(third.cycles_to("c") && !third.cycles_to("b") && !third.cycles_to("a"));
    }

    #[test]
    fn what_a_client_sent_is_discarded_at_the_first_real_death_and_nothing_else() {
        let mut forged = Table::new();
        forged.insert("x-death", vec![Value::from("nonsense")]);
        forged.insert("x-first-death-queue", Value::from("nowhere"));
        forged.insert("mine", Value::U16(7));
        let mut raw = Vec::new();
        forged.encode_into(&mut raw);
        let original = message(Properties { headers: Some(&raw), ..Properties::default() });
        let dead = record(&original, &how("work", "maxlen")).unwrap();
        assert_eq!(deaths(&dead.message).len(), 1);
        assert_eq!(header(&dead.message, "x-first-death-queue"), Some(Value::from("work")));
        assert_eq!(header(&dead.message, "mine"), Some(Value::U16(7)));
    }

    #[test]
    fn version_3_goes_on_from_what_a_client_sent() {
        let told = record(&message(Properties::default()), &how("work", "rejected")).unwrap().message;
        // The same headers, but in a message that no queue here has let die.
        let address = address(b"orders", b"new").unwrap();
        let forged = Draft::new(&address, told.properties(), 0, Facts::default()).finish().unwrap();
        let again = record(&forged, &Circumstances { discards_foreign: false, ..how("work", "rejected") }).unwrap();
        assert_eq!(deaths(&again.message)[0].get("count"), Some(&Value::I64(2)));
        let discarded = record(&forged, &how("work", "rejected")).unwrap();
        assert_eq!(deaths(&discarded.message)[0].get("count"), Some(&Value::I64(1)));
    }

    #[test]
    fn the_fields_of_a_death_stand_in_the_order_of_rabbitmq() {
        let original = message(Properties { expiration: Some(b"500"), ..Properties::default() });
        let dead = record(&original, &how("work", "expired")).unwrap().message;
        let raw = Properties::parse(dead.properties()).unwrap().headers.unwrap();
        let at = |word: &str| raw.windows(word.len()).position(|octets| octets == word.as_bytes()).unwrap();
        assert!(FIELDS.windows(2).all(|pair| at(pair[0]) < at(pair[1])));
    }

    #[test]
    fn the_dead_letter_routing_key_replaces_all_keys() {
        let mut cc = Table::new();
        cc.insert("CC", vec![Value::from("copy")]);
        let mut raw = Vec::new();
        cc.encode_into(&mut raw);
        let original = message(Properties { headers: Some(&raw), ..Properties::default() });
        let kept = record(&original, &how("work", "maxlen")).unwrap();
        assert_eq!(kept.routing_keys, [b"new".to_vec(), b"copy".to_vec()]);
        let replaced = Circumstances { to_routing_key: Some("dead"), ..how("work", "maxlen") };
        let replaced = record(&original, &replaced).unwrap();
        assert_eq!(replaced.routing_keys, [b"dead".to_vec()]);
        assert_eq!(replaced.message.routing_key(), b"dead");
        assert!(header(&replaced.message, "CC").is_some());
        let removed = Circumstances { to_routing_key: Some("dead"), removes_cc: true, ..how("work", "maxlen") };
        assert!(header(&record(&original, &removed).unwrap().message, "CC").is_none());
        let stays = Circumstances { removes_cc: true, ..how("work", "maxlen") };
        assert!(header(&record(&original, &stays).unwrap().message, "CC").is_some(), "its own keys are used again");
    }
}
