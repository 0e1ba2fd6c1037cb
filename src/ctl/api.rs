//! The management API as commands see it: JSON in, JSON out, refusals with their reason.
//!
//! Works against any broker that has RabbitMQ's API; paths below `/api/leveret` are Leveret's own and on its control
//! socket only. Invariant: every name in a path is percent-encoded, the slash included.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::failure::{DATA, Failure, TEMPORARY, UNAVAILABLE};
use super::http::{Broken, Client, Reply};

/// What is kept as it is in a path: RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApiError {
    /// There was no answer.
    Broken(Broken),
    /// The broker refused.
    Refused {
        /// Status of HTTP.
        status: u16,
        /// RabbitMQ's `reason`, or what the body holds.
        reason: String,
        /// The whole body, where it is JSON.
        body: Value,
    },
}

impl ApiError {
    /// Whether what the path names does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the broker does not know the path or the method: it has no such command.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Refused { status: 404 | 405 | 501, .. })
    }

    /// The broker's words.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Refused { reason, .. } => reason.clone(),
            Self::Broken(Broken::Unreachable(why)) => format!("Could not connect: {why}"),
            Self::Broken(Broken::TimedOut(limit)) => format!("no answer within {} seconds", limit.as_secs()),
            Self::Broken(Broken::Malformed(why)) => format!("not an answer of a broker: {why}"),
        }
    }

    /// As a command of `node` fails with it when nothing more special applies.
    pub(super) fn failure(&self, operation: &str, node: &str) -> Failure {
        match self {
            Self::Broken(Broken::TimedOut(limit)) => Failure::plain(
                TEMPORARY,
                format!(
                    "Error: operation {operation} on node {node} timed out. Timeout value used: {}",
                    limit.as_millis()
                ),
            ),
            Self::Broken(broken) => down(node, broken),
            Self::Refused { status: 404, .. } => Failure::not_found(),
            Self::Refused { status: 401 | 403, reason, .. } => Failure::error(DATA, reason),
            Self::Refused { reason, .. } => Failure::error(UNAVAILABLE, reason),
        }
    }
}

/// Nobody answers: RabbitMQ's first line, and the reasons that exist here.
fn down(node: &str, broken: &Broken) -> Failure {
    let why = match broken {
        Broken::Unreachable(why) | Broken::Malformed(why) => why,
        Broken::TimedOut(_) => "no answer in time",
    };
    Failure::plain(
        UNAVAILABLE,
        format!(
            "Error: unable to perform an operation on node '{node}'. Please see diagnostics information and \
             suggestions below.\n\n\
             Most common reasons for this are:\n\n \
             * Target node is not running\n \
             * Its data directory is another one: see --data-dir, --config and LEVERET_DATA_DIR\n \
             * Its control socket belongs to another user\n\n\
             DIAGNOSTICS\n===========\n\n{why}"
        ),
    )
}

/// The path of what these segments name, each encoded.
pub(super) fn path(segments: &[&str]) -> String {
    let mut path = String::from("/api");
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(segment, ENCODED));
    }
    path
}

/// One word of a query, encoded.
pub(super) fn query(word: &str) -> String {
    utf8_percent_encode(word, ENCODED).to_string()
}

/// The API of one broker.
#[derive(Debug)]
pub(super) struct Api {
    /// How it is reached.
    pub client: Client,
}

impl Api {
    /// What is at `path`.
    pub(super) fn get(&self, path: &str) -> Result<Value, ApiError> {
        read(self.client.request("GET", path, None, &[]))
    }

    /// What is at `path`, where that is no JSON.
    pub(super) fn text(&self, path: &str) -> Result<String, ApiError> {
        let reply = self.client.request("GET", path, None, &[]).map_err(ApiError::Broken)?;
        if reply.status == 200 {
            return Ok(String::from_utf8_lossy(&reply.body).into_owned());
        }
        read(Ok(reply)).map(|answer| answer.to_string())
    }

    /// The list at `path`; the items of a page, if it is one.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Value>, ApiError> {
        match self.get(path)? {
            Value::Array(items) => Ok(items),
            Value::Object(mut page) => match page.remove("items") {
                Some(Value::Array(items)) => Ok(items),
                _ => Ok(vec![Value::Object(page)]),
            },
            _ => Err(ApiError::Broken(Broken::Malformed("a list was expected".to_owned()))),
        }
    }

    /// Puts `body` at `path`; whether that created it.
    pub(super) fn put(&self, path: &str, body: &Value) -> Result<bool, ApiError> {
        let reply = self.client.request("PUT", path, Some(body.to_string().into_bytes()), &[]);
        let created = matches!(&reply, Ok(reply) if reply.status == 201);
        read(reply).map(|_| created)
    }

    /// Posts `body` to `path`.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.post_text(path, body.to_string().into_bytes())
    }

    /// Posts a document that is sent as it is.
    pub(super) fn post_text(&self, path: &str, body: Vec<u8>) -> Result<Value, ApiError> {
        read(self.client.request("POST", path, Some(body), &[]))
    }

    /// Deletes what is at `path`.
    pub(super) fn delete(&self, path: &str) -> Result<(), ApiError> {
        read(self.client.request("DELETE", path, None, &[])).map(drop)
    }

    /// Closes the connection of that name, telling its client why.
    pub(super) fn close(&self, path: &str, reason: &str) -> Result<(), ApiError> {
        // A header holds no line ends and, without more ado, no other letters than ASCII's.
        let reason: String = reason.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
        read(self.client.request("DELETE", path, None, &[("x-reason", &reason)])).map(drop)
    }
}

/// The answer's JSON, or the refusal.
pub(super) fn read(reply: Result<Reply, Broken>) -> Result<Value, ApiError> {
    let reply = reply.map_err(ApiError::Broken)?;
    let body: Result<Value, _> = serde_json::from_slice(&reply.body);
    if (200..300).contains(&reply.status) {
        if reply.body.is_empty() {
            return Ok(Value::Null);
        }
        return body.map_err(|error| ApiError::Broken(Broken::Malformed(error.to_string())));
    }
    let body = body.unwrap_or_default();
    let reason = match body.get("reason").or_else(|| body.get("error")) {
        Some(Value::String(reason)) => reason.clone(),
        Some(other) => other.to_string(),
        None if reply.status == 401 => "Not authorised".to_owned(),
        None => format!("the broker answered with status {}", reply.status),
    };
    Err(ApiError::Refused { status: reply.status, reason, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_in_paths() {
        assert_eq!(path(&["queues", "/", "a b/c%"]), "/api/queues/%2F/a%20b%2Fc%25");
        assert_eq!(path(&["users", "b\u{e4}r"]), "/api/users/b%C3%A4r");
        assert_eq!(path(&["exchanges", "v-1_2.3~", "x"]), "/api/exchanges/v-1_2.3~/x");
    }

    #[test]
    fn refusals_keep_their_reason() {
        let refused = |status, body: &str| read(Ok(Reply { status, body: body.as_bytes().to_vec() })).unwrap_err();
        assert_eq!(refused(400, r#"{"error":"bad_request","reason":"no"}"#).reason(), "no");
        assert_eq!(refused(401, "").reason(), "Not authorised");
        assert_eq!(refused(500, "<html>").reason(), "the broker answered with status 500");
        assert_eq!(refused(400, r#"{"reason":["a"]}"#).reason(), r#"["a"]"#);
        assert!(refused(404, "").is_not_found());
        let malformed = read(Ok(Reply { status: 200, body: b"oops".to_vec() }));
        assert!(matches!(malformed, Err(ApiError::Broken(Broken::Malformed(_)))));
    }
}
