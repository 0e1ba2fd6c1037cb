//! Who asks: the login of a request, and what its tags entitle to.
//!
//! A request from the network carries Basic credentials, looked at anew each time, so that a change of a user counts at
//! once. Refused logins slow their address down, as those of AMQP do. A request on the control socket is an
//! administrator's: whoever can open the file owns the broker's data anyway. Deliberately absent: tokens.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::answer::ApiError;
use crate::auth::{Admission, Denied, Login, User, base64};
use crate::broker::{Broker, Protocol};
use crate::telemetry::printable;

/// Longest credentials that are looked at, in octets of base64.
const CREDENTIALS_MAX: usize = 4096;

/// The name that changes made on the control socket stand under in the log; RabbitMQ's tools use it.
const CONTROL: &str = "rmq-cli";

/// Where requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A TCP listener: everybody has to log in.
    Network,
    /// The control socket: who reaches it is an administrator.
    Control,
}

/// Where the client of a request is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Somebody who asks.
#[derive(Clone, Debug)]
pub(super) struct Principal {
    /// Name.
    pub(super) name: Arc<str>,
    /// Tags.
    pub(super) tags: Vec<Arc<str>>,
    /// The user; none on the control socket, where nothing is denied.
    user: Option<Arc<User>>,
}

impl Principal {
    /// Whoever has opened the control socket.
    pub(super) fn control() -> Self {
        Self { name: CONTROL.into(), tags: vec!["administrator".into()], user: None }
    }

    /// Somebody whose name does not matter.
    pub(super) fn anybody() -> Self {
        Self { name: "".into(), tags: Vec::new(), user: None }
    }

    fn of(user: Arc<User>) -> Self {
        Self { name: user.name.clone(), tags: user.tags.clone(), user: Some(user) }
    }

    fn is_one_of(&self, tags: &[&str]) -> bool {
        self.tags.iter().any(|tag| tags.contains(&&**tag))
    }

    /// May do anything.
    pub(super) fn is_administrator(&self) -> bool {
        self.is_one_of(&["administrator"])
    }

    /// May see what belongs to others.
    pub(super) fn is_monitor(&self) -> bool {
        self.is_one_of(&["administrator", "monitoring"])
    }

    /// May set policies and parameters.
    pub(super) fn is_policymaker(&self) -> bool {
        self.is_one_of(&["administrator", "policymaker"])
    }

    /// May use the API at all.
    pub(super) fn is_manager(&self) -> bool {
        self.is_one_of(&["administrator", "monitoring", "policymaker", "management"])
    }

    /// The user, unless it is the control socket's.
    pub(super) fn user(&self) -> Option<&Arc<User>> {
        self.user.as_ref()
    }

    /// Whether the virtual host is open to them.
    pub(super) fn may_enter(&self, broker: &Broker, vhost: &str) -> bool {
        self.user.as_ref().is_none_or(|user| broker.may_enter(user, vhost).is_ok())
    }

    /// Whether they may see of the virtual host that it is there, and how busy it is.
    pub(super) fn may_see(&self, broker: &Broker, vhost: &str) -> bool {
        self.is_monitor() || self.may_enter(broker, vhost)
    }
}

/// Name and password of a request.
fn credentials(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let header = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || rest.len() > CREDENTIALS_MAX {
        return None;
    }
    let decoded = base64::decode(std::str::from_utf8(rest).ok()?.trim())?;
    let colon = decoded.iter().position(|octet| *octet == b':')?;
    let (name, password) = decoded.split_at_checked(colon)?;
    Some((name.to_vec(), password.get(1..).unwrap_or_default().to_vec()))
}

/// The user whose credentials a request carries.
pub(super) async fn login(broker: &Arc<Broker>, headers: &HeaderMap, peer: IpAddr) -> Result<Principal, ApiError> {
    let Some((name, password)) = credentials(headers) else {
        tracing::debug!(%peer, "HTTP access denied: no credentials");
        return Err(ApiError::no_credentials());
    };
    authenticate(broker, &name, &password, peer).await
}

/// The user of that name, if the password opens.
pub(super) async fn authenticate(
    broker: &Arc<Broker>,
    name: &[u8],
    password: &[u8],
    peer: IpAddr,
) -> Result<Principal, ApiError> {
    let now = broker.clock.now();
    match broker.logins.admit(peer, now) {
        Admission::Now => {}
        Admission::At(at) => tokio::time::sleep(Duration::from_millis(at.saturating_sub(now))).await,
        Admission::Never => {
            tracing::warn!(%peer, "HTTP access denied: too many refused logins from this address");
            return Err(ApiError::bad_credentials());
        }
    }
    match broker.log_in_and_wait(Some(Protocol::Http), Login::password(name, password), peer).await {
        Ok(user) => Ok(Principal::of(user)),
        Err(denied) => {
            tracing::warn!(%peer, user = %printable(name), "HTTP access denied: {denied}");
            Err(if denied == Denied::NotLoopback {
                ApiError::not_authorised("User can only log in via localhost")
            } else {
                ApiError::bad_credentials()
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        let (name, password) = credentials(&headers)?;
        Some((String::from_utf8(name).unwrap(), String::from_utf8(password).unwrap()))
    }

    #[test]
    fn basic_credentials_are_read_and_nothing_else() {
        assert_eq!(read("Basic Z3Vlc3Q6Z3Vlc3Q="), Some(("guest".into(), "guest".into())));
        assert_eq!(read("basic Z3Vlc3Q6YTpi"), Some(("guest".into(), "a:b".into())));
        for bad in ["Bearer Z3Vlc3Q6Z3Vlc3Q=", "Basic", "Basic !!!!", "Basic Z3Vlc3Q=", "Z3Vlc3Q6Z3Vlc3Q="] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&format!("Basic {}", "A".repeat(5000))), None);
    }
}
