//! Single messages: publishing one, getting some.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, Outcome};
use super::body::Object;
use super::call::Call;
use super::route::{Access, Route, post};
use crate::auth::base64;
use crate::broker::Return;
use crate::broker::portable::json::{read, written};
use crate::queue::Entry;
use crate::wire::properties::Properties;
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::table::Table;

/// How long a publish waits until its message is on disk.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// Most messages of one answer, however many are asked for.
const COUNT_MAX: usize = 50_000;

/// Octets of bodies after which an answer gets no more messages.
const OCTETS_MAX: u64 = 64 << 20;

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/api/exchanges/{vhost}/{name}/publish", Access::Vhost, publish),
        post("/api/queues/{vhost}/{name}/get", Access::Vhost, fetch),
    ]
}

/// The error of a client's channel that was closed over what it asked for.
fn closed(refusal: &Refusal) -> ApiError {
    match refusal.code {
        ReplyCode::NotFound => ApiError::not_found(refusal.reply_text()),
        ReplyCode::AccessRefused | ReplyCode::NotAllowed => ApiError::not_authorised("Access refused."),
        code => ApiError::bad_request(format!("{} {}", code.code(), refusal.reply_text())),
    }
}

/// Message properties of a request, still to be put together.
#[derive(Debug, Default)]
struct Given {
    texts: [Option<String>; TEXTS.len()],
    headers: Option<Vec<u8>>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
    timestamp: Option<u64>,
}

/// Properties that are text, in the order of [`Given::texts`].
const TEXTS: [&str; 10] = [
    "content_type",
    "content_encoding",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
];

impl Given {
    fn read(map: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut given = Self::default();
        for (name, text) in TEXTS.into_iter().zip(&mut given.texts) {
            *text = match map.get(name) {
                None => None,
                Some(Value::String(text)) if u8::try_from(text.len()).is_ok() => Some(text.clone()),
                Some(_) => return Err(ApiError::pair("not_string", name)),
            };
        }
        let number = |name| match map.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| ApiError::pair("not_int", name)),
        };
        let octet = |name| -> Result<Option<u8>, ApiError> {
            let too_large = |_| ApiError::pair("not_int", name);
            number(name)?.map(u8::try_from).transpose().map_err(too_large)
        };
        given.delivery_mode = octet("delivery_mode")?;
        given.priority = octet("priority")?;
        given.timestamp = number("timestamp")?;
        given.headers = match map.get("headers") {
            None => None,
            Some(Value::Array(none)) if none.is_empty() => Some(Vec::new()),
            Some(Value::Object(headers)) => {
                let table = read(headers).map_err(|unreadable| ApiError::bad_request(unreadable.problem))?;
                let mut raw = Vec::new();
                table.encode_into(&mut raw);
                Some(raw)
            }
            Some(_) => return Err(ApiError::bad_request("{not_a_table,headers}")),
        };
        Ok(given)
    }

    fn properties(&self) -> Properties<'_> {
        let [
            content_type,
            content_encoding,
            correlation_id,
            reply_to,
            expiration,
            message_id,
            kind,
            user_id,
            app_id,
            cluster_id,
        ] = self.texts.each_ref().map(|text| text.as_deref().map(str::as_bytes));
        Properties {
            content_type,
            content_encoding,
            headers: self.headers.as_deref(),
            delivery_mode: self.delivery_mode,
            priority: self.priority,
            correlation_id,
            reply_to,
            expiration,
            message_id,
            timestamp: self.timestamp,
            kind,
            user_id,
            app_id,
            cluster_id,
        }
    }
}

/// The payload of a request.
fn payload(body: &Object) -> Result<Vec<u8>, ApiError> {
    let Some(Value::String(text)) = body.get("payload") else {
        return Err(ApiError::bad_request("payload_not_string"));
    };
    match body.get("payload_encoding") {
        Some(Value::String(encoding)) if encoding == "string" => Ok(text.clone().into_bytes()),
        Some(Value::String(encoding)) if encoding == "base64" => {
            base64::decode(text).ok_or_else(|| ApiError::pair("not_base64", text.as_str()))
        }
        other => Err(ApiError::pair("unsupported_encoding", other.cloned())),
    }
}

/// Nobody publishes in the name of another, unless allowed to.
fn check_user_id(call: &Call, properties: &Properties<'_>) -> Result<(), ApiError> {
    let who = &call.principal;
    let Some(claimed) = properties.user_id.filter(|claimed| *claimed != who.name.as_bytes()) else { return Ok(()) };
    if who.user().is_none() || who.tags.iter().any(|tag| &**tag == "impersonator") {
        return Ok(());
    }
    let claimed = String::from_utf8_lossy(claimed);
    let text = format!("user_id property set to '{claimed}' but authenticated user was '{}'", who.name);
    Err(closed(&Refusal::new(ReplyCode::PreconditionFailed, text)))
}

async fn publish(call: Call) -> Outcome {
    let (vhost, exchange) = (call.vhost_to_change()?, call.exchange_name("name"));
    if vhost.topology().exchange(exchange).is_none() {
        return Err(ApiError::not_found("exchange_not_found"));
    }
    let body = call.object()?;
    body.require(&["routing_key", "properties", "payload", "payload_encoding"])?;
    if !matches!(body.get("payload"), Some(Value::String(_))) {
        return Err(ApiError::bad_request("payload_not_string"));
    }
    let given = match body.get("properties") {
        Some(Value::Object(map)) => Given::read(map)?,
        // Some tools write an empty object as an empty list.
        Some(Value::Array(none)) if none.is_empty() => Given::default(),
        _ => return Err(ApiError::bad_request("properties should be an object")),
    };
    let (payload, properties) = (payload(&body)?, given.properties());
    check_user_id(&call, &properties)?;
    if call.broker.alarms.raised() {
        // A client's publish would wait for the end of the alarm.
        return Err(ApiError::bad_request("confirm_timeout"));
    }
    let key = body.required_text("routing_key")?;
    let published = call.broker.publish(&vhost, exchange, key, &properties, &payload, call.caller());
    let published = published.map_err(|refusal| closed(&refusal))?;
    if published.refused {
        return Err(ApiError::bad_request("rejected"));
    }
    match tokio::time::timeout(CONFIRM_TIMEOUT, call.broker.committed(published.epoch)).await {
        Ok(committed) => committed?,
        Err(_) => return Err(ApiError::bad_request("confirm_timeout")),
    }
    Ok(Answer::json(&json!({"routed": published.routed})))
}

/// How messages that were got are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AckMode {
    /// At once.
    Ack,
    /// When all have been got.
    After(Return),
}

fn ack_mode(body: &Object) -> Result<AckMode, ApiError> {
    let mode = body.required_text("ackmode")?;
    match mode {
        "ack_requeue_false" => Ok(AckMode::Ack),
        "ack_requeue_true" => Ok(AckMode::After(Return::Nack)),
        "reject_requeue_true" => Ok(AckMode::After(Return::Reject)),
        "reject_requeue_false" => Ok(AckMode::After(Return::Discard)),
        other => Err(ApiError::bad_request(format!(
            "Invalid ackmode value: {other}. Valid values are: ack_requeue_true, ack_requeue_false, \
             reject_requeue_true, reject_requeue_false"
        ))),
    }
}

/// A number that may be written as text, as RabbitMQ takes them here.
fn number(body: &Object, key: &str) -> Result<Option<u64>, ApiError> {
    let wrong = |value: &Value| ApiError::pair("not_integer", value.clone());
    match body.get(key) {
        None => Ok(None),
        // A number below nothing is no limit.
        Some(value @ Value::String(text)) => text.parse().map_err(|_| wrong(value)).map(or_all),
        Some(value) => value.as_i64().ok_or_else(|| wrong(value)).map(or_all),
    }
}

fn or_all(number: i64) -> Option<u64> {
    u64::try_from(number).ok()
}

async fn fetch(call: Call) -> Outcome {
    let (vhost, name) = (call.vhost_to_change()?, call.name("name"));
    if vhost.queue(name).is_none() {
        return Err(ApiError::not_found("queue_not_found"));
    }
    let body = call.object()?;
    body.require(&["ackmode", "count", "encoding"])?;
    let mode = ack_mode(&body)?;
    let count = number(&body, "count")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(COUNT_MAX);
    let as_base64 = match body.text("encoding")? {
        Some("auto") => false,
        Some("base64") => true,
        _ => return Err(ApiError::bad_request("Unsupported encoding. Please use auto or base64.")),
    };
    let truncate = number(&body, "truncate")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let no_ack = mode == AckMode::Ack;
    let fetched = call.broker.fetch(&vhost, name, no_ack, count.min(COUNT_MAX), OCTETS_MAX, call.caller()).await;
    let mut fetched = fetched.map_err(|refusal| closed(&refusal))?;
    let shown: Vec<Value> =
        fetched.entries.iter().map(|(entry, left)| show(entry, *left, as_base64, truncate)).collect();
    if let AckMode::After(how) = mode {
        fetched.give_back(&call.broker, how);
    }
    Ok(Answer::json(&shown))
}

fn text(octets: &[u8]) -> Value {
    String::from_utf8_lossy(octets).into()
}

fn show(entry: &Entry, left: u64, as_base64: bool, truncate: usize) -> Value {
    let message = &entry.message;
    let body = message.body();
    let part = body.get(..truncate).unwrap_or(body);
    let (payload, encoding) = match std::str::from_utf8(part) {
        Ok(text) if !as_base64 => (text.to_owned(), "string"),
        _ => (base64::encode(part), "base64"),
    };
    json!({
        "payload_bytes": body.len(),
        "redelivered": entry.redelivered,
        "exchange": text(message.exchange()),
        "routing_key": text(message.routing_key()),
        "message_count": left,
        "properties": shown_properties(message.properties()),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

/// Properties as JSON; none at all are an empty list, as RabbitMQ shows them.
fn shown_properties(raw: &[u8]) -> Value {
    let Ok(properties) = Properties::parse(raw) else { return json!([]) };
    let mut map = Map::new();
    let texts = [
        properties.content_type,
        properties.content_encoding,
        properties.correlation_id,
        properties.reply_to,
        properties.expiration,
        properties.message_id,
        properties.kind,
        properties.user_id,
        properties.app_id,
        properties.cluster_id,
    ];
    for (name, octets) in TEXTS.into_iter().zip(texts) {
        map.extend(octets.map(|octets| (name.to_owned(), text(octets))));
    }
    map.extend(properties.delivery_mode.map(|n| ("delivery_mode".to_owned(), n.into())));
    map.extend(properties.priority.map(|n| ("priority".to_owned(), n.into())));
    map.extend(properties.timestamp.map(|n| ("timestamp".to_owned(), n.into())));
    if let Some(table) = properties.headers.and_then(|raw| Table::parse(raw).ok()) {
        map.insert("headers".to_owned(), Value::Object(written(&table)));
    }
    if map.is_empty() { json!([]) } else { Value::Object(map) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        match value {
            Value::Object(map) => Object(map),
            _ => Object::default(),
        }
    }

    fn given(value: Value) -> Result<Given, ApiError> {
        Given::read(&object(value).0)
    }

    #[test]
    fn properties_go_both_ways() {
        let all = json!({
            "content_type": "text/plain", "content_encoding": "utf8", "headers": {"n": 1, "t": "x", "l": [true]},
            "delivery_mode": 2, "priority": 5, "correlation_id": "c", "reply_to": "r", "expiration": "60000",
            "message_id": "m", "timestamp": 1_700_000_000, "type": "k", "user_id": "guest", "app_id": "a",
            "cluster_id": "z",
        });
        let given = given(all.clone()).unwrap();
        assert_eq!(shown_properties(&given.properties().encode()), all);
        assert_eq!(shown_properties(&Properties::default().encode()), json!([]));
    }

    #[test]
    fn properties_of_wrong_types_are_refused_in_rabbitmqs_words() {
        for (value, reason) in [
            (json!({"priority": "5"}), ApiError::pair("not_int", "priority")),
            (json!({"delivery_mode": 2.5}), ApiError::pair("not_int", "delivery_mode")),
            (json!({"delivery_mode": 300}), ApiError::pair("not_int", "delivery_mode")),
            (json!({"timestamp": -1}), ApiError::pair("not_int", "timestamp")),
            (json!({"app_id": 7}), ApiError::pair("not_string", "app_id")),
            (json!({"app_id": "a".repeat(256)}), ApiError::pair("not_string", "app_id")),
            (json!({"headers": {"a": null}}), ApiError::bad_request("null_not_allowed")),
        ] {
            assert_eq!(given(value).unwrap_err(), reason);
        }
    }

    #[test]
    fn payloads_are_text_or_base64() {
        let of = |value| payload(&object(value));
        assert_eq!(of(json!({"payload": "hi", "payload_encoding": "string"})), Ok(b"hi".to_vec()));
        assert_eq!(of(json!({"payload": "aGk=", "payload_encoding": "base64"})), Ok(b"hi".to_vec()));
        assert_eq!(
            of(json!({"payload": 1, "payload_encoding": "string"})),
            Err(ApiError::bad_request("payload_not_string"))
        );
        assert!(of(json!({"payload": "!", "payload_encoding": "base64"})).is_err());
        let rot13 = of(json!({"payload": "x", "payload_encoding": "rot13"}));
        assert_eq!(rot13, Err(ApiError::pair("unsupported_encoding", "rot13")));
    }

    #[test]
    fn modes_and_numbers_are_read() {
        let mode = |text: &str| ack_mode(&object(json!({"ackmode": text})));
        assert_eq!(mode("ack_requeue_false"), Ok(AckMode::Ack));
        assert_eq!(mode("reject_requeue_true"), Ok(AckMode::After(Return::Reject)));
        assert!(mode("maybe").is_err());
        let body = object(json!({"a": 5, "b": "5", "c": "x", "d": -1}));
        assert_eq!((number(&body, "a"), number(&body, "b"), number(&body, "z")), (Ok(Some(5)), Ok(Some(5)), Ok(None)));
        assert!(number(&body, "c").is_err());
        assert_eq!(number(&body, "d"), Ok(None), "below nothing there is no limit");
    }
}
