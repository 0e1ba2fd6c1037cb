//! What a call comes to: an answer, or an error in RabbitMQ's shape.
//!
//! Every error is a status and `{"error": KIND, "reason": TEXT}`. Source: RabbitMQ's management plugin. Deliberately
//! absent: which error fits which situation of a resource (its own file knows).

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderName, LOCATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::broker::AdminError;
use crate::wire::refusal::{Refusal, ReplyCode};

/// The realm that browsers and clients are asked to log in to.
const REALM: HeaderValue = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer to a call that went well, or that failed in a way that is an answer, such as a health check.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
}

/// How a call ends.
pub(super) type Outcome = Result<Answer, ApiError>;

impl Answer {
    pub(super) fn of(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// 200 with a JSON body.
    pub(super) fn json(value: &impl Serialize) -> Self {
        // Plain data with string keys: serialisation to memory cannot fail.
        Self::raw_json(serde_json::to_vec(value).unwrap_or_default())
    }

    /// 200 with a body that is JSON already.
    pub(super) fn raw_json(body: Vec<u8>) -> Self {
        Self { body, ..Self::of(StatusCode::OK) }.with(CONTENT_TYPE, JSON)
    }

    /// 200 with a body of another type.
    pub(super) fn text(body: impl Into<Vec<u8>>, content_type: &'static str) -> Self {
        let answer = Self { body: body.into(), ..Self::of(StatusCode::OK) };
        answer.with(CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// 204: done, and nothing to say.
    pub(super) fn done() -> Self {
        Self::of(StatusCode::NO_CONTENT)
    }

    /// 201 for what is new, 204 for what was there.
    pub(super) fn put(created: bool) -> Self {
        if created { Self::of(StatusCode::CREATED) } else { Self::done() }
    }

    /// 201 with the place of what was made, relative to the request's.
    #[allow(dead_code, reason = "for queues, exchanges and bindings")]
    pub(super) fn created_at(location: &str) -> Self {
        let answer = Self::of(StatusCode::CREATED);
        match HeaderValue::from_str(location) {
            Ok(value) => answer.with(LOCATION, value),
            Err(_) => answer,
        }
    }

    /// 503: a check that failed, with its reason and what else there is to know.
    pub(super) fn failed(reason: &str, more: Map<String, Value>) -> Self {
        let mut body = Map::new();
        body.insert("status".to_owned(), "failed".into());
        body.insert("reason".to_owned(), reason.into());
        body.extend(more);
        Self { status: StatusCode::SERVICE_UNAVAILABLE, ..Self::json(&body) }
    }

    /// The same with one more header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
    }
}

/// A call that is refused or fails.
#[derive(Debug, PartialEq)]
pub(super) struct ApiError(Box<Refused>);

#[derive(Debug, PartialEq)]
struct Refused {
    status: StatusCode,
    /// Kind and reason; without them the body is empty.
    body: Option<(Cow<'static, str>, Value)>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl ApiError {
    fn new(status: StatusCode, error: impl Into<Cow<'static, str>>, reason: impl Into<Value>) -> Self {
        Self(Box::new(Refused { status, body: Some((error.into(), reason.into())), header: None }))
    }

    fn without_body(status: StatusCode, header: Option<(HeaderName, HeaderValue)>) -> Self {
        Self(Box::new(Refused { status, body: None, header }))
    }

    /// 400.
    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::bad("bad_request", reason)
    }

    /// 400 of another kind.
    pub(super) fn bad(error: &'static str, reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, reason.into())
    }

    /// 400 with a pair of Erlang's for a reason, which RabbitMQ shows as a list.
    pub(super) fn pair(kind: &'static str, value: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", Value::from(vec![kind.into(), value.into()]))
    }

    /// 404: no such route or object.
    pub(super) fn no_object() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// 404 with a reason of its own.
    pub(super) fn not_found(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason.into())
    }

    /// 404: the virtual host in the path of a change does not exist.
    pub(super) fn no_vhost() -> Self {
        Self::not_found("vhost_not_found")
    }

    /// 401 without credentials: the client is asked for them.
    pub(super) fn no_credentials() -> Self {
        Self::without_body(StatusCode::UNAUTHORIZED, Some((WWW_AUTHENTICATE, REALM)))
    }

    /// 401 with credentials that do not open.
    pub(super) fn bad_credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorized", "Not_Authorized")
    }

    /// 401: known, but not entitled.
    pub(super) fn not_authorised(reason: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// 403: a web page of somebody else asks in its visitor's name.
    pub(super) fn foreign_origin() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Requests of other web sites are not taken")
    }

    /// 405, with the methods there are.
    pub(super) fn method_not_allowed(allowed: &str) -> Self {
        let header = HeaderValue::from_str(allowed).ok().map(|value| (ALLOW, value));
        Self::without_body(StatusCode::METHOD_NOT_ALLOWED, header)
    }

    /// 412.
    pub(super) fn precondition_failed(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", reason.into())
    }

    /// 415.
    pub(super) fn unsupported_media_type() -> Self {
        Self::without_body(StatusCode::UNSUPPORTED_MEDIA_TYPE, None)
    }

    /// 503: it cannot be done here.
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason.into())
    }

    /// 500.
    pub(super) fn internal(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", reason.into())
    }

    /// For the log.
    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let Refused { status, body, header } = *self.0;
        let mut response = match body {
            None => Response::new(Body::empty()),
            Some((error, reason)) => Answer::json(&json!({"error": error, "reason": reason})).into_response(),
        };
        *response.status_mut() = status;
        response.headers_mut().extend(header);
        response
    }
}

impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NoVhost(_) => Self::no_vhost(),
            AdminError::NoUser(_) => Self::not_found("user_not_found"),
            AdminError::NoPolicy | AdminError::NoParameter => Self::no_object(),
            AdminError::Protected(_) => Self::precondition_failed(error.to_string()),
            AdminError::Store(_) => Self::internal(error.to_string()),
            AdminError::Invalid(_) | AdminError::VhostLimit { .. } | AdminError::Pattern(_) => {
                Self::bad_request(error.to_string())
            }
        }
    }
}

/// What an AMQP method would have been refused with.
impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal.code {
            ReplyCode::NotFound => Self::not_found(refusal.explanation),
            ReplyCode::AccessRefused | ReplyCode::NotAllowed => Self::not_authorised("Access refused."),
            _ => Self::bad_request(refusal.explanation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_become_the_errors_rabbitmq_gives() {
        let of = |code| ApiError::from(Refusal::new(code, "why")).status().as_u16();
        assert_eq!(of(ReplyCode::NotFound), 404);
        assert_eq!(of(ReplyCode::PreconditionFailed), 400);
        assert_eq!((of(ReplyCode::AccessRefused), of(ReplyCode::NotAllowed)), (401, 401));
    }

    #[test]
    fn without_credentials_there_is_no_body_and_a_challenge() {
        let response = ApiError::no_credentials().into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Basic realm=\"RabbitMQ Management\"");
        assert!(!response.headers().contains_key(CONTENT_TYPE));
    }
}
