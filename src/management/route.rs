//! The table of routes, and the way of a request through it.
//!
//! In the order in which RabbitMQ checks: route (404), method (405), login (401), entitlement, virtual host, body. The
//! entitlement stands in the row of the table, so that no handler runs without one; a test reads the rows. HEAD is
//! answered as GET without the body, OPTIONS with the methods there are. Deliberately absent: CORS. A change that a web
//! page of another site asks for is refused, since browsers send the password they know along.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::http::header::{ALLOW, CACHE_CONTROL, HOST, HeaderName, ORIGIN, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response};
use axum::routing::any;

use super::answer::{Answer, ApiError, Outcome};
use super::call::{Call, Names};
use super::principal::{self, Origin, Peer, Principal};
use super::query::Query;
use super::{
    bindings, body, channels, connections, consumers, control, definitions, doors, exchanges, features, health, logins,
    messages, metrics, nodes, overview, parameters, permissions, policies, queues, quorum, users, vhosts,
};
use crate::broker::Broker;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a login.
    Open,
    /// Who has any of the four tags.
    Manager,
    /// The same; a virtual host in the path must be open to them, unless they are administrators.
    Vhost,
    /// The same; monitors see every virtual host.
    VisibleVhost,
    /// Policymakers to whom the virtual host in the path is open, and administrators.
    Policymaker,
    /// Policymakers, wherever.
    AnyPolicymaker,
    /// Monitors.
    Monitoring,
    /// Administrators.
    Administrator,
    /// Who has opened the control socket.
    Control,
}

/// A running handler.
type Answering = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One row of the table: a method of a path.
pub(super) struct Route {
    path: &'static str,
    method: Method,
    access: Access,
    handler: Box<dyn Fn(Call) -> Answering + Send + Sync>,
}

/// What a row of the table says, for tests and documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The path, with names in braces.
    pub path: &'static str,
    /// The method.
    pub method: Method,
    /// Who may call it.
    pub access: Access,
}

impl Route {
    fn new<F, A>(method: Method, path: &'static str, access: Access, handler: F) -> Self
    where
        F: Fn(Call) -> A + Send + Sync + 'static,
        A: Future<Output = Outcome> + Send + 'static,
    {
        Self { path, method, access, handler: Box::new(move |call| Box::pin(handler(call))) }
    }
}

/// A row for GET.
pub(super) fn get<F, A>(path: &'static str, access: Access, handler: F) -> Route
where
    F: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Outcome> + Send + 'static,
{
    Route::new(Method::GET, path, access, handler)
}

/// A row for PUT.
pub(super) fn put<F, A>(path: &'static str, access: Access, handler: F) -> Route
where
    F: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Outcome> + Send + 'static,
{
    Route::new(Method::PUT, path, access, handler)
}

/// A row for POST.
pub(super) fn post<F, A>(path: &'static str, access: Access, handler: F) -> Route
where
    F: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Outcome> + Send + 'static,
{
    Route::new(Method::POST, path, access, handler)
}

/// A row for DELETE.
pub(super) fn delete<F, A>(path: &'static str, access: Access, handler: F) -> Route
where
    F: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Outcome> + Send + 'static,
{
    Route::new(Method::DELETE, path, access, handler)
}

/// Every route there is.
fn table() -> Vec<Route> {
    let kinds = [
        overview::routes(),
        nodes::routes(),
        vhosts::routes(),
        users::routes(),
        permissions::routes(),
        policies::routes(),
        parameters::routes(),
        definitions::routes(),
        queues::routes(),
        quorum::routes(),
        exchanges::routes(),
        bindings::routes(),
        connections::routes(),
        channels::routes(),
        consumers::routes(),
        messages::routes(),
        metrics::routes(),
        health::routes(),
        features::routes(),
        logins::routes(),
        control::routes(),
        doors::routes(),
    ];
    kinds.into_iter().flatten().collect()
}

/// What the table says.
pub fn rows() -> Vec<Row> {
    table().into_iter().map(|Route { path, method, access, .. }| Row { path, method, access }).collect()
}

/// A path with its methods.
struct Place {
    broker: Arc<Broker>,
    origin: Origin,
    routes: Vec<Route>,
    /// The methods there are, for OPTIONS and 405.
    allow: String,
}

/// The service of a broker.
pub(super) fn router(broker: Arc<Broker>, origin: Origin) -> Router {
    let mut paths: BTreeMap<&'static str, Vec<Route>> = BTreeMap::new();
    for route in table() {
        // What only the control socket has is not even there for others.
        if route.access != Access::Control || origin == Origin::Control {
            paths.entry(route.path).or_default().push(route);
        }
    }
    let mut router = Router::new();
    for (path, routes) in paths {
        let place = Arc::new(Place { broker: broker.clone(), origin, allow: allow(&routes), routes });
        let answer = any(move |names: Result<RawPathParams, RawPathParamsRejection>, request: Request| {
            let place = place.clone();
            async move { place.answer(names, request).await }
        });
        // A slash at the end means nothing.
        router = router.route(&format!("{path}/"), answer.clone()).route(path, answer);
    }
    router.fallback(|| async { dress(ApiError::no_object().into_response()) })
}

/// The methods of a path as a header.
fn allow(routes: &[Route]) -> String {
    let mut methods: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.insert(0, "HEAD");
    }
    methods.push("OPTIONS");
    methods.join(", ")
}

/// Headers of every answer: none is kept, none is shown inside a page of another site or taken for another type.
fn dress(mut response: Response<Body>) -> Response<Body> {
    const ALWAYS: [(HeaderName, &str); 5] = [
        (CACHE_CONTROL, "no-cache"),
        (VARY, "accept, accept-encoding, origin"),
        (HeaderName::from_static("content-security-policy"), "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
    ];
    for (name, value) in ALWAYS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Whether a browser sends this for a page of another site.
fn is_foreign(parts: &Parts) -> bool {
    let text = |name: &HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or("null"));
    let Some(origin) = text(&ORIGIN) else {
        let site = parts.headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
        return site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    };
    let own = text(&HOST).unwrap_or_default();
    let theirs = origin.split_once("://").map(|(_, authority)| authority);
    theirs.is_none_or(|theirs| !theirs.eq_ignore_ascii_case(own))
}

impl Place {
    async fn answer(
        self: Arc<Self>,
        names: Result<RawPathParams, RawPathParamsRejection>,
        request: Request,
    ) -> Response<Body> {
        if request.method() == Method::OPTIONS {
            let allow = HeaderValue::from_str(&self.allow).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"));
            return dress(Answer::text("", "application/json").with(ALLOW, allow).into_response());
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let outcome = match names {
            Ok(names) => {
                let names = names.iter().map(|(key, name)| (key.to_owned(), name.to_owned())).collect();
                self.handle(names, request).await
            }
            // The path is not text once it is decoded.
            Err(_) => Err(ApiError::no_object()),
        };
        let mut response = match outcome {
            Ok(answer) => answer.into_response(),
            Err(error) => {
                if error.status().is_server_error() {
                    tracing::error!(%method, path, ?error, "a request to the management API failed");
                }
                error.into_response()
            }
        };
        // As RabbitMQ tells them with every answer.
        if let Ok(allow) = HeaderValue::from_str(&self.allow) {
            response.headers_mut().entry(ALLOW).or_insert(allow);
        }
        dress(response)
    }

    async fn handle(&self, names: Names, request: Request) -> Outcome {
        let (parts, mut body) = request.into_parts();
        match self.admit(names, parts).await {
            Ok((route, mut call)) => {
                call.body = body::read(body).await?;
                (route.handler)(call).await
            }
            Err(error) => {
                body::skip(&mut body).await;
                Err(error)
            }
        }
    }

    /// The route of a request and its call, without the body, if the client may make it.
    async fn admit(&self, names: Names, parts: Parts) -> Result<(&Route, Call), ApiError> {
        let method = if parts.method == Method::HEAD { Method::GET } else { parts.method.clone() };
        let Some(route) = self.routes.iter().find(|route| route.method == method) else {
            return Err(ApiError::method_not_allowed(&self.allow));
        };
        let principal = self.principal(route.access, &parts).await?;
        if method != Method::GET && is_foreign(&parts) {
            return Err(ApiError::foreign_origin());
        }
        let call = Call {
            broker: self.broker.clone(),
            principal,
            peer: parts.extensions.get::<Peer>().map(|peer| peer.0).filter(|_| self.origin == Origin::Network),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            names,
            headers: parts.headers,
            body: axum::body::Bytes::new(),
        };
        entitled(route.access, &call)?;
        Ok((route, call))
    }

    async fn principal(&self, access: Access, parts: &Parts) -> Result<Principal, ApiError> {
        match (self.origin, access) {
            (Origin::Control, _) => Ok(Principal::control()),
            (Origin::Network, Access::Open) => Ok(Principal::anybody()),
            (Origin::Network, _) => {
                // The listener notes it; a request without one cannot come from anywhere.
                let peer = parts.extensions.get::<Peer>().ok_or_else(ApiError::no_credentials)?;
                principal::login(&self.broker, &parts.headers, peer.0).await
            }
        }
    }
}

/// Whether the principal of a call may make it, as RabbitMQ judges: what others' virtual hosts hold is not even there.
fn entitled(access: Access, call: &Call) -> Result<(), ApiError> {
    let who = &call.principal;
    let refused = |reason| Err(ApiError::not_authorised(reason));
    if access == Access::Open {
        return Ok(());
    }
    if !who.is_manager() {
        return refused("Not management user");
    }
    if who.is_administrator() {
        return Ok(());
    }
    // A virtual host that does not exist is for the handler to report.
    let vhost = call.vhost_name().filter(|name| call.broker.vhost(name).is_some());
    let enters = || vhost.is_none_or(|vhost| who.may_enter(&call.broker, vhost));
    let hidden = || Err(ApiError::not_found("Not Found"));
    match access {
        Access::VisibleVhost if !who.is_monitor() && !enters() => hidden(),
        Access::Policymaker | Access::AnyPolicymaker if !who.is_policymaker() => {
            refused("User not authorised to access object")
        }
        Access::Vhost | Access::Policymaker if !enters() => hidden(),
        Access::Monitoring if !who.is_monitor() => refused("Not monitor user"),
        Access::Open
        | Access::Manager
        | Access::Vhost
        | Access::VisibleVhost
        | Access::Policymaker
        | Access::AnyPolicymaker
        | Access::Monitoring => Ok(()),
        Access::Administrator | Access::Control => refused("Not administrator user"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(headers: &[(&str, &str)]) -> bool {
        let mut request = axum::http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        is_foreign(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn pages_of_other_sites_are_told_from_tools_and_the_own_site() {
        assert!(!foreign(&[("host", "broker:15672")]), "tools send no origin");
        assert!(!foreign(&[("host", "broker:15672"), ("origin", "http://broker:15672")]));
        assert!(!foreign(&[("host", "broker:15672"), ("sec-fetch-site", "same-origin")]));
        assert!(foreign(&[("host", "broker:15672"), ("origin", "http://evil.example")]));
        assert!(foreign(&[("host", "broker:15672"), ("origin", "http://broker:15671")]));
        assert!(foreign(&[("host", "broker:15672"), ("origin", "null")]));
        assert!(foreign(&[("host", "broker:15672"), ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn every_route_stands_in_the_table_once() {
        let rows = rows();
        for (at, row) in rows.iter().enumerate() {
            assert!(row.path.starts_with('/') && !row.path.ends_with('/'), "{}", row.path);
            let again = rows.iter().skip(at + 1).find(|other| (other.path, &other.method) == (row.path, &row.method));
            assert_eq!(again, None);
        }
    }
}
