//! Request bodies: how much is read, and how JSON is taken.
//!
//! As in RabbitMQ a body is JSON whatever its content type says, nothing and `null` are an empty object, and other
//! kinds of values are refused. Keys that nobody asks for are ignored.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use serde_json::{Map, Value};

use super::answer::ApiError;

/// Longest body, in octets: RabbitMQ's `management.http.max_body_size`.
pub(super) const BODY_MAX: usize = 10_000_000;

/// Time a client has for its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);

/// Octets of a body that are read and thrown away, so that its client listens to the refusal.
const SKIP_MAX: usize = 1_000_000;

/// Columns of a line of Erlang's printer.
const LINE: usize = 80;

/// Time for that.
const SKIP_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body whole.
pub(super) async fn read(mut body: Body) -> Result<Bytes, ApiError> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, collect(&mut body)).await;
    whole.unwrap_or_else(|_| Err(ApiError::bad_request("The request body takes too long")))
}

async fn collect(body: &mut Body) -> Result<Bytes, ApiError> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::bad_request("The request body cannot be read"))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len().saturating_add(data.len()) > BODY_MAX {
            skip(body).await;
            return Err(ApiError::bad_request("Exceeded HTTP request body size limit"));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// Throws away what is left of a body, if that is not too much: a client that is still sending when the connection ends
/// may never see why.
pub(super) async fn skip(body: &mut Body) {
    let skipping = async {
        let mut skipped = 0_usize;
        while let Some(Ok(frame)) = body.frame().await {
            skipped = skipped.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if skipped > SKIP_MAX {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(SKIP_TIMEOUT, skipping).await;
}

/// A JSON object.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Object(pub(super) Map<String, Value>);

impl Object {
    /// Reads a body as an object. Nesting deeper than 128 levels is no JSON.
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        if matches!(body, b"" | b"null" | b"undefined") {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(Value::String(_)) => Err(ApiError::bad_request(
                "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?",
            )),
            _ => Err(ApiError::bad_request("not_json")),
        }
    }

    /// Refuses the object unless it has all these keys, in RabbitMQ's words.
    pub(super) fn require(&self, keys: &[&str]) -> Result<(), ApiError> {
        let missing = keys.iter().filter(|key| !self.0.contains_key(**key));
        let missing: Vec<_> = missing.map(|key| format!("{{key_missing,{key}}}")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        // Erlang's printer begins a new line for each where one line is too short for all.
        let line = format!("[{}]", missing.join(","));
        let text = if line.len() <= LINE { line } else { format!("[{}]", missing.join(",\n ")) };
        Err(ApiError::bad_request(text))
    }

    /// The value under `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The text under `key`, which has to be one if it is there.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, ApiError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::bad_request(format!("{key} should be a string"))),
        }
    }

    /// The text under a key that has to be there.
    pub(super) fn required_text(&self, key: &str) -> Result<&str, ApiError> {
        self.require(&[key])?;
        Ok(self.text(key)?.unwrap_or_default())
    }

    /// The truth under `key`, which may be written as text.
    pub(super) fn truth(&self, key: &str) -> Result<Option<bool>, ApiError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(*truth)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(other) => Err(ApiError::pair("not_boolean", other.clone())),
        }
    }

    /// The whole number under `key`.
    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, ApiError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| {
                let text = format!("Validation failed\n\n{key} should be a number, actually was {}\n", erlang(value));
                ApiError::bad_request(text)
            }),
        }
    }
}

/// A value as RabbitMQ prints it in its texts.
pub(super) fn erlang(value: &Value) -> String {
    match value {
        Value::String(text) => format!("<<\"{text}\">>"),
        Value::Array(values) => format!("[{}]", values.iter().map(erlang).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("{{<<\"{key}\">>,{}}}", erlang(value)));
            format!("[{}]", entries.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> ApiError {
        Object::parse(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn nothing_is_an_empty_object_and_other_values_are_none() {
        for body in ["", "null", "undefined", "{}"] {
            assert_eq!(Object::parse(body.as_bytes()).unwrap(), Object::default(), "{body}");
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for body in ["[]", "1", "{", "{\"a\":}", "\u{feff}{}", &deep] {
            assert_eq!(refused(body), ApiError::bad_request("not_json"), "{body}");
        }
        assert_ne!(refused("\"{}\""), ApiError::bad_request("not_json"));
    }

    #[test]
    fn missing_keys_are_named_in_order() {
        let body = Object::parse(b"{\"b\":1}").unwrap();
        assert_eq!(body.require(&["b"]), Ok(()));
        assert_eq!(body.require(&["a"]), Err(ApiError::bad_request("[{key_missing,a}]")));
        let both = ApiError::bad_request("[{key_missing,a},{key_missing,c}]");
        assert_eq!(body.require(&["a", "b", "c"]), Err(both));
        let long = ["routing_key", "properties", "payload", "payload_encoding"];
        let lines = "[{key_missing,routing_key},\n {key_missing,properties},\n {key_missing,payload},\n \
                     {key_missing,payload_encoding}]";
        assert_eq!(body.require(&long), Err(ApiError::bad_request(lines)));
    }

    #[test]
    fn truth_may_be_text_and_types_are_checked() {
        let body = Object::parse(br#"{"a":"true","b":false,"c":1,"d":"x"}"#).unwrap();
        assert_eq!((body.truth("a"), body.truth("b"), body.truth("z")), (Ok(Some(true)), Ok(Some(false)), Ok(None)));
        assert!(body.truth("c").is_err() && body.truth("d").is_err());
        assert!(body.text("c").is_err() && body.integer("d").is_err());
        assert_eq!((body.text("d"), body.integer("c")), (Ok(Some("x")), Ok(Some(1))));
    }
}
