//! From the protocol header to connection.open: who the client is, and what both sides agree on.
//!
//! Until the client is known it may send small frames and nothing else, and has the handshake timeout for all of it. Failures before tune are silent, as with RabbitMQ, except a refused login told to a client that asked to be
//! told. Source: classes connection and SASL PLAIN/AMQPLAIN/EXTERNAL; RabbitMQ's order of checks.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, connection};

use super::context::{Capabilities, Context};
use super::pacing::Ahead;
use super::{Session, Stage};
use crate::auth::{Login, User, sasl};
use crate::broker::stats::{Client, Passed};
use crate::queue::Effects;
use crate::telemetry::printable;
use crate::wire::encode;
use crate::wire::frame::{self, Frame, FrameKind};
use crate::wire::method::{self, Method};
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::table::{self, Table, Value};

/// What clients are told the broker is. They look at `product` and `version` to decide what it can do.
const PRODUCT: &str = "RabbitMQ";
/// What RabbitMQ offers, in its order.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// The mechanism by which a client does not say who it is; the last of those offered, if it is offered.
const ANONYMOUS: &str = "ANONYMOUS";

/// The mechanism by which a client's certificate says who it is.
const EXTERNAL: &str = "EXTERNAL";

/// How a TLS client begins: a record of a handshake, of whichever version.
const CLIENT_HELLO: &[u8] = b"\x16\x03";

/// The header of AMQP 0-9-1, and of the older 0-9, which is answered alike.
const HEADERS: [&[u8; 8]; 2] = [b"AMQP\x00\x00\x09\x01", b"AMQP\x01\x01\x00\x09"];

/// Why a handshake ends without an open connection.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing is said; the socket is closed after a moment.
    Silent(String),
    /// It has not ended yet: the login is to be looked at again after this time.
    Later(Duration),
    /// It has not ended yet: the login is being looked at.
    Asked,
    /// The client is told.
    Refused(Refusal),
}

/// Limits both sides agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuned {
    pub(super) frame_max: u32,
    pub(super) channel_max: u16,
    /// Seconds; 0 is none.
    pub(super) heartbeat: u16,
}

/// The server-properties as a raw table; the capabilities in RabbitMQ's order, all else by key.
fn server_properties(version: &str, cluster_name: &str) -> Vec<u8> {
    let offered = CAPABILITIES.iter().fold(Vec::new(), |raw, name| table::set(&raw, name, &Value::Bool(true)));
    let mut capabilities = vec![b'F'];
    table::put_length(&mut capabilities, offered.len());
    capabilities.extend_from_slice(&offered);
    let raw = table::set_raw(&[], "capabilities", &capabilities);
    let texts = [
        ("cluster_name", cluster_name),
        ("copyright", "The Leveret authors"),
        ("information", "Leveret, an AMQP 0-9-1 broker"),
        ("platform", concat!("Leveret ", env!("CARGO_PKG_VERSION"))),
        ("product", PRODUCT),
        ("version", version),
    ];
    texts.iter().fold(raw, |raw, (key, text)| table::set(&raw, key, &Value::from(*text)))
}

impl<S> Session<S> {
    /// Looks at the protocol header. Returns the octets it took, 0 if it is not complete.
    pub(super) fn on_header(&mut self, input: &[u8]) -> usize {
        let Some(header) = input.get(..8) else {
            // A wrong beginning is not waited for: it may be a client of another protocol that waits for us.
            let begins_well = HEADERS.iter().any(|known| known.starts_with(input));
            if !begins_well && !input.iter().zip(b"AMQP").all(|(octet, expected)| octet == expected) {
                self.wrong_header(input);
            }
            return 0;
        };
        if !HEADERS.iter().any(|known| known[..] == *header) {
            self.wrong_header(header);
            return 8;
        }
        let profile = self.broker.config.profile();
        let properties = server_properties(profile.version, &self.broker.cluster_name());
        let mechanisms = self.chosen(&self.mechanisms());
        encode::start(self.early.buffer(), &properties, &mechanisms, "en_US");
        self.stage = Stage::StartOk;
        8
    }

    /// Those of `offered` that the settings let through, if they choose.
    fn chosen(&self, offered: &str) -> String {
        let chosen = offered.split(' ').filter(|mechanism| self.lets_through(mechanism));
        chosen.collect::<Vec<_>>().join(" ")
    }

    fn lets_through(&self, mechanism: &str) -> bool {
        let chosen = &self.broker.config.mechanisms;
        chosen.is_empty() || chosen.iter().any(|known| known == mechanism)
    }

    /// What the client may log in by. What cannot succeed is not offered: some clients take the first they know.
    fn mechanisms(&self) -> Cow<'static, str> {
        let offered = self.broker.config.profile().mechanisms;
        let offered = match offered.strip_suffix(ANONYMOUS) {
            Some(others) if !self.broker.admits_anonymous(self.peer.ip()) => others.trim_end(),
            _ => offered,
        };
        // Last, so that a client that shows a certificate and logs in by password is not led astray.
        if self.certified_name().is_some() { format!("{offered} {EXTERNAL}").into() } else { offered.into() }
    }

    /// The user that the client's verified certificate stands for.
    fn certified_name(&self) -> Option<&str> {
        self.connection.tls.as_ref()?.peer.as_ref()?.login.as_deref()
    }

    fn wrong_header(&mut self, input: &[u8]) {
        if input.starts_with(CLIENT_HELLO) && self.connection.tls.is_none() {
            tracing::warn!(connection = self.name(), "closed: a TLS client on a port without TLS");
        } else {
            tracing::warn!(connection = self.name(), "closed: not AMQP 0-9-1 but {}", printable(input));
        }
        self.early.buffer().extend_from_slice(HEADERS[0]);
        self.end_after_output();
    }

    /// Deals with a frame before the connection is open.
    pub(super) fn on_handshake(&mut self, frame: Frame<'_>) -> Result<(), Failure> {
        if matches!(frame.kind, FrameKind::Heartbeat) && frame.channel == 0 {
            return Ok(());
        }
        if frame.kind != FrameKind::Method || frame.channel != 0 {
            return Err(self.failure(frame::unexpected(frame)));
        }
        let decoded = method::decode(frame.payload).map_err(|refusal| self.failure(refusal))?;
        let (class, id) = method::ids(frame.payload);
        let Method::Other(AMQPClass::Connection(method)) = decoded else {
            return Err(self.failure(unexpected().at(class, id)));
        };
        match (&self.stage, method) {
            (Stage::StartOk, connection::AMQPMethod::StartOk(ok)) => self.start_ok(&ok),
            (Stage::TuneOk { .. }, connection::AMQPMethod::TuneOk(ok)) => self.tune_ok(&ok),
            (Stage::OpenDue { .. }, connection::AMQPMethod::Open(open)) => {
                self.open(open.virtual_host.as_str()).map_err(|refusal| Failure::Refused(refusal.at(10, 40)))
            }
            _ => Err(self.failure(unexpected().at(class, id))),
        }
    }

    /// Before the client is known, failures are silent; between tune-ok and open it is told.
    fn failure(&self, refusal: Refusal) -> Failure {
        match self.stage {
            Stage::OpenDue { .. } => Failure::Refused(refusal),
            _ => Failure::Silent(refusal.to_string()),
        }
    }

    fn start_ok(&mut self, ok: &connection::StartOk) -> Result<(), Failure> {
        self.admit_login()?;
        let properties = Table::from(&ok.client_properties);
        let capable = |name: &str| {
            let table = properties.get("capabilities").and_then(Value::as_table);
            table.and_then(|table| table.get(name)).and_then(Value::as_bool).unwrap_or(false)
        };
        let capabilities = Capabilities {
            consumer_cancel_notify: capable("consumer_cancel_notify"),
            authentication_failure_close: capable("authentication_failure_close"),
            connection_blocked: capable("connection.blocked"),
        };
        let mechanism = ok.mechanism.as_str();
        let response = ok.response.as_bytes();
        let certified = self.certified_name();
        let credentials = match mechanism {
            _ if !self.lets_through(mechanism) => {
                return Err(Failure::Silent(format!("the settings do not let '{}' through", printable(mechanism))));
            }
            "PLAIN" => sasl::parse_plain(response).map(Some),
            "AMQPLAIN" => sasl::parse_amqplain(response).map(Some),
            ANONYMOUS if self.broker.config.profile().mechanisms.ends_with(ANONYMOUS) => Some(None),
            // What the client says of itself there does not count.
            EXTERNAL if certified.is_some() => Some(None),
            _ => return Err(Failure::Silent(format!("unknown authentication mechanism '{}'", printable(mechanism)))),
        };
        let Some(credentials) = credentials else {
            return Err(Failure::Silent("the login cannot be read".to_owned()));
        };
        let login = match (credentials, certified) {
            (Some((name, password)), _) => Login::password(name, password),
            (None, Some(name)) if mechanism == EXTERNAL => Login::Certificate(name.to_owned()),
            (None, _) => Login::Anonymous,
        };
        let name = printable(login.name()).to_string();
        let user = match self.judge(login)? {
            Ok(user) => user,
            Err(denied) => {
                tracing::warn!(connection = self.name(), user = %name, "login refused: {denied}");
                let text = format!(
                    "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
                );
                let refusal = Refusal::new(ReplyCode::AccessRefused, text);
                return Err(if capabilities.authentication_failure_close {
                    Failure::Refused(refusal)
                } else {
                    Failure::Silent("login refused".to_owned())
                });
            }
        };
        if let Some(name) = properties.get("connection_name").and_then(Value::as_str) {
            self.given_name = Some(name.to_owned());
        }
        let mut said = Vec::new();
        properties.encode_into(&mut said);
        self.introduction = (said.into(), known_mechanism(mechanism));
        let config = &self.broker.config;
        let tune = connection::Tune {
            channel_max: config.channel_max,
            frame_max: config.frame_max,
            heartbeat: self.broker.live.heartbeat(),
        };
        encode::method(self.early.buffer(), 0, AMQPClass::Connection(connection::AMQPMethod::Tune(tune)));
        self.stage = Stage::TuneOk { user, capabilities };
        Ok(())
    }

    fn tune_ok(&mut self, ok: &connection::TuneOk) -> Result<(), Failure> {
        let config = &self.broker.config;
        let judge = |what: &str, client: u32, server: u32, least: u32, no_limit: &str| {
            let bound = if client != 0 && client < least {
                Some(format!("{client} is lower than the minimum allowed value ({least})"))
            } else if server != 0 && client == 0 {
                Some(format!("0{no_limit} is higher than the maximum allowed value ({server})"))
            } else if server != 0 && client > server {
                Some(format!("{client} is higher than the maximum allowed value ({server})"))
            } else {
                None
            };
            match bound {
                // RabbitMQ says this to its log only; telling the client harms nobody.
                Some(text) => Err(Failure::Refused(
                    Refusal::new(ReplyCode::NotAllowed, format!("negotiated {what} = {text}")).at(10, 30),
                )),
                None => Ok(()),
            }
        };
        judge("frame_max", ok.frame_max, config.frame_max, config.profile().frame_max_min, "")?;
        judge("channel_max", ok.channel_max.into(), config.channel_max.into(), 1, " (no limit)")?;
        self.tuned = Tuned { frame_max: ok.frame_max, channel_max: ok.channel_max, heartbeat: ok.heartbeat };
        let Stage::TuneOk { user, capabilities } = std::mem::replace(&mut self.stage, Stage::StartOk) else {
            return Ok(());
        };
        self.stage = Stage::OpenDue { user, capabilities };
        Ok(())
    }

    fn open(&mut self, name: &str) -> Result<(), Refusal> {
        let Stage::OpenDue { user, capabilities } = &self.stage else { return Ok(()) };
        let (user, capabilities): (Arc<User>, Capabilities) = (user.clone(), *capabilities);
        let (vhost, admitted) = self.broker.admit(&self.connection, &user, name)?;
        let mut context = Context {
            broker: self.broker.clone(),
            connection: self.connection.clone(),
            outbox: self.outbox.clone(),
            vhost,
            admitted: Some(admitted),
            user,
            capabilities,
            frame_max: self.tuned.frame_max,
            output: std::mem::take(&mut self.early),
            memo: super::memo::Memo::default(),
            publisher: super::runs::Publisher::default(),
            park: None,
            fx: Effects::default(),
            cancelled: Vec::new(),
            parting: Vec::new(),
            exclusive: Vec::new(),
            settled: Vec::new(),
            notes: super::notes::Notes::new(self.given_name.as_deref().unwrap_or_default()),
            now: self.broker.clock.now(),
            pressing: 0,
            pushed: false,
            ahead: Ahead::default(),
            shortest_timeout: crate::clock::NEVER,
            transacted: 0,
            turn: super::turn::Turn::default(),
            passed: Passed::default(),
            touched: Vec::new(),
        };
        let open_ok = connection::AMQPMethod::OpenOk(connection::OpenOk {});
        context.send(0, AMQPClass::Connection(open_ok));
        let given = self.given_name.as_deref().unwrap_or("");
        tracing::info!(connection = self.name(), user = %printable(&*context.user.name), vhost = %printable(name),
            client = %printable(given), "connection open");
        let (properties, mechanism) = std::mem::take(&mut self.introduction);
        self.connection.introduce(Client {
            user: context.user.name.clone(),
            properties,
            mechanism,
            channel_max: self.tuned.channel_max,
            frame_max: self.tuned.frame_max,
            heartbeat: self.tuned.heartbeat,
            connected_at: context.now,
        });
        self.broker.stats.churn.connections_opened.add_shared(1);
        self.context = Some(context);
        self.stage = Stage::Open;
        self.start_heartbeats();
        Ok(())
    }
}

/// The name of a mechanism that was logged in by.
fn known_mechanism(name: &str) -> &'static str {
    ["PLAIN", "AMQPLAIN", "EXTERNAL"].into_iter().find(|known| *known == name).unwrap_or(ANONYMOUS)
}

fn unexpected() -> Refusal {
    Refusal::new(ReplyCode::ChannelError, "unexpected method in connection state opening")
}
