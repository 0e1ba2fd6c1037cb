//! One AMQP connection: handshake, methods and their answers, goodbye.
//!
//! Invariants: [`Connection::next`] gives content, confirms and answers
//! only; what the broker says about the connection itself (blocked, close, heartbeats) is dealt with here, and a close
//! comes out as an error with the broker's text. Deliberately absent: TLS, heartbeats of our own (0 is agreed on), more than one thread a connection.

use std::ops::Range;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, channel, connection};
use amq_protocol::types::{AMQPValue, FieldTable, LongString};
use rustix::event::PollFlags;

use super::PerfError;
use super::socket::{Socket, TICK, Wait};
use super::target::Target;
use crate::clock::Clock;
use crate::wire::encode;
use crate::wire::frame::{Frame, FrameKind};
use crate::wire::method::{self, Method};

/// Frames we propose, in octets: RabbitMQ's own proposal.
const FRAME_MAX: u32 = 131_072;
/// The longest to wait for an answer to a method, and for the octets of one write to be taken while stopping.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest to wait for close-ok: the figures are there by then.
const FAREWELL: Duration = Duration::from_secs(2);
/// The channel of all clients.
pub(super) const CHANNEL: u16 = 1;

const CLASS_CONNECTION: u16 = 10;
const CLASS_CHANNEL: u16 = 20;
const CLOSE: u16 = 50;
const CHANNEL_CLOSE: u16 = 40;
const BLOCKED: u16 = 60;
const UNBLOCKED: u16 = 61;

/// A connection with the broker, open from [`Connection::open`] on.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    clock: Clock,
    /// The largest frame, as agreed; 0 is without limit.
    pub(super) frame_max: u32,
    /// Name and version by which the broker introduced itself.
    pub(super) server: String,
    /// Why the broker wants nothing published, while it does not.
    pub(super) blocked: Option<String>,
}

impl Connection {
    /// Connects, logs in and opens the virtual host, but no channel.
    pub(super) fn open(target: &Target, clock: &Clock) -> Result<Self, PerfError> {
        let mut opened = Self {
            socket: Socket::connect(target)?,
            clock: clock.clone(),
            frame_max: FRAME_MAX,
            server: String::new(),
            blocked: None,
        };
        opened.log_in(target)?;
        Ok(opened)
    }

    /// The same with a channel, [`CHANNEL`].
    pub(super) fn open_with_channel(target: &Target, clock: &Clock) -> Result<Self, PerfError> {
        let mut opened = Self::open(target, clock)?;
        opened.open_channel()?;
        Ok(opened)
    }

    fn log_in(&mut self, target: &Target) -> Result<(), PerfError> {
        self.write_all(b"AMQP\x00\x00\x09\x01")?;
        let start = self.answer(0, "connection.start")?;
        let AMQPClass::Connection(connection::AMQPMethod::Start(start)) = start else {
            return Err(PerfError::unexpected("connection.start", &start));
        };
        self.server = introduction(&start.server_properties);
        let response = format!("\0{}\0{}", target.user, target.password);
        let start_ok = connection::StartOk {
            client_properties: client_properties(),
            mechanism: "PLAIN".into(),
            response: LongString::from(response),
            locale: "en_US".into(),
        };
        self.say(0, AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)))?;
        let tune = self.answer(0, "connection.tune")?;
        let AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) = tune else {
            return Err(PerfError::unexpected("connection.tune", &tune));
        };
        self.frame_max = if tune.frame_max == 0 { FRAME_MAX } else { tune.frame_max.min(FRAME_MAX) };
        let tune_ok = connection::TuneOk { channel_max: tune.channel_max, frame_max: self.frame_max, heartbeat: 0 };
        self.say(0, AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)))?;
        let open = connection::Open { virtual_host: target.vhost.as_str().into() };
        let opened = self.call(0, AMQPClass::Connection(connection::AMQPMethod::Open(open)))?;
        match opened {
            AMQPClass::Connection(connection::AMQPMethod::OpenOk(_)) => Ok(()),
            other => Err(PerfError::unexpected("connection.open-ok", &other)),
        }
    }

    /// Opens [`CHANNEL`].
    pub(super) fn open_channel(&mut self) -> Result<(), PerfError> {
        match self.call(CHANNEL, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})))? {
            AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)) => Ok(()),
            other => Err(PerfError::unexpected("channel.open-ok", &other)),
        }
    }

    /// Closes [`CHANNEL`].
    pub(super) fn close_channel(&mut self) -> Result<(), PerfError> {
        let close = channel::Close { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
        match self.call(CHANNEL, AMQPClass::Channel(channel::AMQPMethod::Close(close)))? {
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => Ok(()),
            other => Err(PerfError::unexpected("channel.close-ok", &other)),
        }
    }

    /// Sends a method; an answer, if it has one, has to be waited for.
    pub(super) fn say(&mut self, channel: u16, class: AMQPClass) -> Result<(), PerfError> {
        let mut out = Vec::new();
        encode::method(&mut out, channel, class);
        self.write_all(&out)
    }

    /// Sends a method and waits for the next method on its channel.
    pub(super) fn call(&mut self, channel: u16, class: AMQPClass) -> Result<AMQPClass, PerfError> {
        let name = class.get_amqp_class_id();
        let what = format!("method {}.{}", name, class.get_amqp_method_id());
        self.say(channel, class)?;
        self.answer(channel, &what)
    }

    fn answer(&mut self, channel: u16, what: &str) -> Result<AMQPClass, PerfError> {
        let begun = self.clock.nanos();
        loop {
            while let Some(frame) = self.next()? {
                if frame.kind == FrameKind::Method
                    && frame.channel == channel
                    && let Method::Other(class) = method::decode(frame.payload)?
                {
                    return Ok(class);
                }
            }
            self.fill(Wait::Tick)?;
            if self.clock.nanos().saturating_sub(begun) > nanos(PATIENCE) {
                return Err(PerfError::Silent(what.to_owned()));
            }
        }
    }

    /// The next frame that has been received whole, of those the caller has to do with.
    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, PerfError> {
        let (kind, channel, payload) = loop {
            let Some((kind, channel, payload)) = self.socket.next()? else { return Ok(None) };
            let own = match kind {
                FrameKind::Heartbeat => true,
                FrameKind::Method => about_itself(method::ids(self.socket.octets(payload.clone()))),
                FrameKind::Header | FrameKind::Body => false,
            };
            if !own {
                break (kind, channel, payload);
            }
            self.heed(channel, payload)?;
        };
        Ok(Some(Frame { kind, channel, payload: self.socket.octets(payload) }))
    }

    /// Does what a frame about the connection asks for.
    fn heed(&mut self, channel: u16, payload: Range<usize>) -> Result<(), PerfError> {
        if payload.is_empty() {
            return Ok(());
        }
        let Method::Other(class) = method::decode(self.socket.octets(payload))? else { return Ok(()) };
        match class {
            AMQPClass::Connection(connection::AMQPMethod::Blocked(blocked)) => {
                self.blocked = Some(blocked.reason.to_string());
                Ok(())
            }
            AMQPClass::Connection(connection::AMQPMethod::Unblocked(_)) => {
                self.blocked = None;
                Ok(())
            }
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
                let ok = connection::CloseOk {};
                // It has hung up in any case; what it said is what matters.
                let _ = self.say(0, AMQPClass::Connection(connection::AMQPMethod::CloseOk(ok)));
                Err(PerfError::closed("connection", close.reply_code, close.reply_text.as_str()))
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                let _ = self.say(channel, AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})));
                Err(PerfError::closed("channel", close.reply_code, close.reply_text.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// Reads once; whether anything came.
    pub(super) fn fill(&mut self, wait: Wait) -> Result<bool, PerfError> {
        self.socket.fill(wait)
    }

    /// Writes what the socket takes without waiting; how many octets that is.
    pub(super) fn write_some(&mut self, octets: &[u8]) -> Result<usize, PerfError> {
        match self.socket.write(octets) {
            Err(PerfError::HungUp) => Err(self.last_words()),
            written => written,
        }
    }

    /// Waits until there is something to read, or also until there is room to write.
    pub(super) fn until_moved(&self, room_too: bool, at_most: Duration) -> Result<(), PerfError> {
        self.socket.until(if room_too { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }, at_most)
    }

    /// Why the broker hung up, if it has said so.
    fn last_words(&mut self) -> PerfError {
        loop {
            loop {
                match self.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => return error,
                }
            }
            match self.fill(Wait::No) {
                Ok(true) => {}
                Ok(false) => return PerfError::HungUp,
                Err(error) => return error,
            }
        }
    }

    /// Writes everything, waiting as long as it takes up to a minute. Not for large bodies: it does not read meanwhile.
    pub(super) fn write_all(&mut self, octets: &[u8]) -> Result<(), PerfError> {
        let begun = self.clock.nanos();
        let mut written = 0;
        while written < octets.len() {
            written += self.write_some(&octets[written..])?;
            if written < octets.len() {
                self.socket.until(PollFlags::OUT, TICK)?;
                if self.clock.nanos().saturating_sub(begun) > nanos(PATIENCE) {
                    return Err(PerfError::Silent("what was written".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Closes the connection and waits for close-ok.
    pub(super) fn end(mut self) -> Result<(), PerfError> {
        let close = connection::Close { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
        match self.call(0, AMQPClass::Connection(connection::AMQPMethod::Close(close)))? {
            AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) => Ok(()),
            other => Err(PerfError::unexpected("connection.close-ok", &other)),
        }
    }

    /// Says goodbye and waits a moment for the answer. The run is over, so nothing that goes wrong here matters.
    pub(super) fn close(mut self) {
        let begun = self.clock.nanos();
        let close = connection::Close { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
        let mut out = Vec::new();
        encode::method(&mut out, 0, AMQPClass::Connection(connection::AMQPMethod::Close(close)));
        // A broker that takes nothing does not keep us; a piece of a frame would only confuse it.
        if self.write_some(&out).ok() != Some(out.len()) {
            return;
        }
        while self.clock.nanos().saturating_sub(begun) < nanos(FAREWELL) {
            loop {
                match self.next() {
                    Ok(Some(frame)) => {
                        if frame.kind == FrameKind::Method && method::ids(frame.payload) == (CLASS_CONNECTION, 51) {
                            return;
                        }
                    }
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
            if self.fill(Wait::Tick).is_err() {
                return;
            }
        }
    }
}

/// A duration in nanoseconds.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn about_itself(ids: (u16, u16)) -> bool {
    matches!(ids, (CLASS_CONNECTION, CLOSE | BLOCKED | UNBLOCKED) | (CLASS_CHANNEL, CHANNEL_CLOSE))
}

/// What we can do; without `authentication_failure_close` a refused login is answered by silence.
fn client_properties() -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "publisher_confirms",
    ] {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("product".into(), AMQPValue::LongString("leveret perf".into()));
    properties.insert("version".into(), AMQPValue::LongString(env!("CARGO_PKG_VERSION").into()));
    properties.insert("connection_name".into(), AMQPValue::LongString("leveret perf".into()));
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

/// Product and version from server-properties.
fn introduction(properties: &FieldTable) -> String {
    let text = |key: &str| match properties.inner().get(key) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    let words = [text("product"), text("version")];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
