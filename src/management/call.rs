//! A call: one request that has passed the checks of its route, as its handler sees it.
//!
//! Deliberately absent: who may call what (see [`super::route`]).

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

use super::answer::ApiError;
use super::body::Object;
use super::principal::Principal;
use super::query::Query;
use crate::broker::{Broker, Caller, VirtualHost};

/// The name by which paths call the exchange without a name.
#[allow(dead_code, reason = "for queues, exchanges and bindings")]
const DEFAULT_EXCHANGE: &str = "amq.default";

/// The number of a connection that nobody has.
const NOBODY: u64 = 0;

/// The header that stands for a virtual host in the path.
const VHOST_HEADER: &str = "x-vhost";

/// Names in a path, decoded, by what the route calls them.
pub(super) type Names = Vec<(String, String)>;

/// A request as its handler sees it.
#[derive(Debug)]
pub(super) struct Call {
    /// The broker.
    pub(super) broker: Arc<Broker>,
    /// Who asks.
    pub(super) principal: Principal,
    /// Where the client is, if it came by the network.
    pub(super) peer: Option<IpAddr>,
    /// The query string.
    pub(super) query: Query,
    pub(super) names: Names,
    pub(super) headers: HeaderMap,
    /// The body, of a request that has one.
    pub(super) body: Bytes,
}

impl Call {
    /// The name that the route calls `key`; empty if it has none such.
    pub(super) fn name(&self, key: &str) -> &str {
        self.optional_name(key).unwrap_or_default()
    }

    /// The name that the route calls `key`, if it has one.
    pub(super) fn optional_name(&self, key: &str) -> Option<&str> {
        self.names.iter().find(|(known, _)| known == key).map(|(_, name)| name.as_str())
    }

    /// The exchange that the route calls `key`: `amq.default` is the one without a name.
    #[allow(dead_code, reason = "for queues, exchanges and bindings")]
    pub(super) fn exchange_name(&self, key: &str) -> &str {
        match self.name(key) {
            DEFAULT_EXCHANGE => "",
            name => name,
        }
    }

    /// The name of the virtual host of the path, or else of the header that stands for it.
    pub(super) fn vhost_name(&self) -> Option<&str> {
        self.optional_name("vhost").or_else(|| self.header(VHOST_HEADER).filter(|name| !name.is_empty()))
    }

    /// The virtual host of the path, for an answer about something in it.
    pub(super) fn vhost(&self) -> Result<Arc<VirtualHost>, ApiError> {
        self.broker.vhost(self.name("vhost")).ok_or_else(ApiError::no_object)
    }

    /// The virtual host of the path, for a change of something in it.
    pub(super) fn vhost_to_change(&self) -> Result<Arc<VirtualHost>, ApiError> {
        self.broker.vhost(self.name("vhost")).ok_or_else(ApiError::no_vhost)
    }

    /// The virtual hosts that a list is about: that of the path, or all that the principal may enter, by name.
    pub(super) fn vhosts(&self) -> Result<Vec<Arc<VirtualHost>>, ApiError> {
        if self.optional_name("vhost").is_some() {
            return Ok(vec![self.vhost()?]);
        }
        let mut vhosts = match self.vhost_name() {
            Some(name) => vec![self.broker.vhost(name).ok_or_else(ApiError::no_object)?],
            None => self.broker.vhosts(),
        };
        vhosts.retain(|vhost| self.principal.is_administrator() || self.principal.may_enter(&self.broker, &vhost.name));
        vhosts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(vhosts)
    }

    /// On whose behalf verbs are called. Nobody's connection is the principal's: what is exclusive to one is out of reach.
    pub(super) fn caller(&self) -> Caller<'_> {
        self.principal.user().map_or(Caller::trusted(NOBODY), |user| Caller::user(user))
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the body says of itself that it is of this type.
    pub(super) fn is_of_type(&self, media_type: &str) -> bool {
        let named = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        named.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
    }

    /// The body as a JSON object.
    pub(super) fn object(&self) -> Result<Object, ApiError> {
        Object::parse(&self.body)
    }

    /// Whether the client wants facts without statistics.
    #[allow(dead_code, reason = "for queues, exchanges and bindings")]
    pub(super) fn without_statistics(&self) -> bool {
        self.query.is_true("disable_stats")
    }
}
