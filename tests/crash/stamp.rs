//! A message's stamp: which line it belongs to and its number there. Everything else about the message (body, size,
//! properties) follows from its stamp, so whoever receives it can tell whether it is what was sent.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::AMQPValue;

use crate::client::{int, persistent, plain, table};
use crate::plan::{LINES, Line};
use crate::settings::Random;

/// Largest body.
const LARGEST: u64 = 1 << 20;

/// Which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    /// Index into [`LINES`].
    pub(crate) line: usize,
    /// Number in the line, ascending in the order of publishing, never used again.
    pub(crate) seq: u32,
}

/// What follows from a stamp.
pub(crate) struct Content {
    pub(crate) body: Vec<u8>,
    pub(crate) persistent: bool,
    pub(crate) priority: Option<u8>,
    /// Time to live in milliseconds.
    pub(crate) expiration: Option<u64>,
    /// Milliseconds it waits in its exchange.
    pub(crate) delay: Option<u64>,
}

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.line().name, self.seq)
    }
}

impl Stamp {
    pub(crate) fn line(self) -> &'static Line {
        &LINES[self.line]
    }

    /// The stamp of a message, from its id; `None` if it is not one of ours.
    pub(crate) fn of(properties: &BasicProperties) -> Option<Self> {
        let id = properties.message_id().as_ref()?.as_str();
        let (line, seq) = id.split_once('/')?;
        Some(Self { line: LINES.iter().position(|known| known.name == line)?, seq: seq.parse().ok()? })
    }

    fn random(self) -> Random {
        Random::new(u64::from(self.seq) << 8 | self.line as u64)
    }

    pub(crate) fn content(self) -> Content {
        let (line, mut random) = (self.line(), self.random());
        let size = match random.below(1_000) {
            0..100 => 0,
            100..998 if !line.large => random.below(1_200),
            998.. if line.large => random.within(LARGEST / 2, LARGEST + 1),
            950.. if line.large => random.below(64 << 10),
            _ => random.below(300),
        };
        let mut body = Vec::with_capacity(usize::try_from(size).unwrap() + 8);
        while (body.len() as u64) < size {
            body.extend(random.next().to_le_bytes());
        }
        body.truncate(usize::try_from(size).unwrap());
        Content {
            body,
            persistent: !random.percent(line.transient),
            priority: (line.priorities > 0).then(|| u8::try_from(random.below(line.priorities)).unwrap()),
            expiration: (line.expiration > 0 && random.percent(70)).then(|| random.within(1, line.expiration)),
            delay: (line.delay > 0).then(|| random.within(1, line.delay)),
        }
    }

    /// The properties it is published with.
    pub(crate) fn properties(self, content: &Content) -> BasicProperties {
        let mut headers = table([("n", AMQPValue::LongLongInt(self.seq.into()))]);
        if let Some(delay) = content.delay {
            headers.insert("x-delay".into(), int(i32::try_from(delay).unwrap()));
        }
        let mut properties = if content.persistent { persistent() } else { plain() }
            .with_message_id(self.to_string().into())
            .with_content_type("application/x-stamp".into())
            .with_timestamp(self.seq.into())
            .with_headers(headers);
        if let Some(priority) = content.priority {
            properties = properties.with_priority(priority);
        }
        if let Some(expiration) = content.expiration {
            properties = properties.with_expiration(expiration.to_string().into());
        }
        properties
    }

    /// Whether a delivery is, octet for octet, what was published under its stamp.
    pub(crate) fn is_intact(self, delivery: &Delivery) -> bool {
        let (content, got) = (self.content(), &delivery.properties);
        let sent = self.properties(&content);
        let number = |properties: &BasicProperties| {
            properties.headers().as_ref().and_then(|headers| headers.inner().get("n").cloned())
        };
        delivery.data == content.body
            && got.content_type() == sent.content_type()
            && got.timestamp() == sent.timestamp()
            && got.priority() == sent.priority()
            && got.delivery_mode() == sent.delivery_mode()
            && number(got) == number(&sent)
    }
}
