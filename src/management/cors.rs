//! Pages of other web sites that may use the API: those that the settings name (CORS).
//!
//! Without such a setting no site is told anything and none may change anything. Invariants: a site is allowed by its
//! whole name; where every site is, it is never told that a browser may send along what it remembers of this one.
//! Source: RabbitMQ's management plugin, `management.cors.allow_origins`.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ORIGIN,
};
use axum::http::{HeaderMap, HeaderValue, Response};

/// Stands for every site.
const ANY: &str = "*";

/// Headers that pages may send.
const HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type");

/// How long a browser may rely on the answer, in seconds, as with RabbitMQ.
const MAX_AGE: HeaderValue = HeaderValue::from_static("1800");

/// What a page of another site is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// The site, which is one of those that are named.
    Named(HeaderValue),
    /// That everybody may.
    Any,
}

/// Which of the allowed sites a request is from, if it is from one of them.
pub(super) fn allowed(headers: &HeaderMap, sites: &[String]) -> Option<Site> {
    let origin = headers.get(ORIGIN)?;
    let text = origin.to_str().ok()?;
    if sites.iter().any(|site| site != ANY && site.eq_ignore_ascii_case(text)) {
        return Some(Site::Named(origin.clone()));
    }
    sites.iter().any(|site| site == ANY).then_some(Site::Any)
}

/// Tells the page's browser that it may be given the answer.
pub(super) fn admit(response: &mut Response<Body>, site: Site) {
    let headers = response.headers_mut();
    match site {
        Site::Named(origin) => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        Site::Any => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static(ANY));
        }
    }
}

/// Tells it what the page may ask for.
pub(super) fn prepare(response: &mut Response<Body>, methods: &HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}
