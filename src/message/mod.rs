//! A message: one immutable record, the same bytes in memory, in a store block and (in parts) on the wire.
//!
//! ```text
//! record = address ++ properties ++ body
//! address    = exchange name (short string) ++ routing key (short string), as in the publish method,
//!              ++ the keys of the header BCC (short strings), which no client gets to see
//! properties = property flags and values exactly as received (the content header after its body size)
//! body       = the payload
//! ```
//!
//! Invariants: a record never changes once built; a clone is a reference count. Deliberately absent: queues, time,
//! anything about where the message is.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing))]

pub mod death;
pub mod delay;
pub mod duplicate;
pub mod ledger;

use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::wire::table::RawTable;

/// What the broker must know of a message's properties without reading them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Delivery mode 2: kept on disk when routed to a durable queue.
    pub persistent: bool,
    /// The priority property; 0 when absent.
    pub priority: u8,
    /// The expiration property in milliseconds, `u64::MAX` when absent.
    pub expiration: u64,
    /// Its `x-death` headers are the broker's own, not a client's.
    pub dead_lettered: bool,
    /// It was handed to a client before it was dead-lettered.
    pub redelivered: bool,
}

impl Default for Facts {
    fn default() -> Self {
        Self { persistent: false, priority: 0, expiration: u64::MAX, dead_lettered: false, redelivered: false }
    }
}

/// The bit of the first octet of property flags that tells that there is a priority.
const PRIORITY_FLAG: u8 = 1 << 3;

/// A published message; cheap to clone.
#[derive(Clone, Debug)]
pub struct Message(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    record: Bytes,
    /// Where the keys of BCC begin.
    blind_at: u16,
    properties_at: u16,
    body_at: u32,
    facts: Facts,
    _charge: ledger::Charge,
}

impl Message {
    /// Wraps a complete record, as [`Draft::finish`] or a store block yields it.
    ///
    /// `address_len` and `properties_len` are in octets. Returns `None` when they do not fit the record or the address
    /// is not a row of two or more short strings: the record is damaged.
    pub fn from_record(record: Bytes, address_len: usize, properties_len: usize, facts: Facts) -> Option<Self> {
        let body_at = address_len.checked_add(properties_len)?;
        let address = record.get(..address_len)?;
        let (_, rest) = split_short(address)?;
        let (_, mut rest) = split_short(rest)?;
        let blind_at = u16::try_from(address_len.saturating_sub(rest.len())).ok()?;
        while !rest.is_empty() {
            (_, rest) = split_short(rest)?;
        }
        if body_at > record.len() {
            return None;
        }
        let (properties_at, body_at) = (u16::try_from(address_len).ok()?, u32::try_from(body_at).ok()?);
        u32::try_from(record.len()).ok()?;
        let charge = ledger::Charge::of(record.len());
        Some(Self(Arc::new(Inner { record, blind_at, properties_at, body_at, facts, _charge: charge })))
    }

    /// The same message, without holding it.
    pub fn downgrade(&self) -> WeakMessage {
        WeakMessage(Arc::downgrade(&self.0))
    }

    /// The whole record.
    pub fn record(&self) -> &Bytes {
        &self.0.record
    }

    /// A part of the record; never empty for want of octets, since `from_record` has seen to it that all parts are there.
    #[inline]
    fn part(&self, part: impl std::slice::SliceIndex<[u8], Output = [u8]>) -> &[u8] {
        self.0.record.get(part).unwrap_or_default()
    }

    /// Exchange name and routing key as two short strings, length octets included.
    #[inline]
    pub fn address(&self) -> &[u8] {
        self.part(..usize::from(self.0.blind_at))
    }

    /// The address followed by the keys of BCC: everything before the properties.
    pub fn envelope(&self) -> &[u8] {
        self.part(..usize::from(self.0.properties_at))
    }

    /// The keys of the header BCC it was published with, as short strings.
    fn blind(&self) -> &[u8] {
        self.part(usize::from(self.0.blind_at)..usize::from(self.0.properties_at))
    }

    /// The exchange the message was published to.
    pub fn exchange(&self) -> &[u8] {
        split_short(self.address()).map_or(&[], |(exchange, _)| exchange)
    }

    /// The routing key the message was published with.
    pub fn routing_key(&self) -> &[u8] {
        let key = split_short(self.address()).and_then(|(_, rest)| split_short(rest));
        key.map_or(&[], |(key, _)| key)
    }

    /// Property flags and values as received.
    #[inline]
    pub fn properties(&self) -> &[u8] {
        self.part(usize::from(self.0.properties_at)..self.0.body_at as usize)
    }

    /// The payload.
    #[inline]
    pub fn body(&self) -> &[u8] {
        self.part(self.0.body_at as usize..)
    }

    /// The payload, sharing the record's memory.
    pub fn body_bytes(&self) -> Bytes {
        self.0.record.slice(self.0.body_at as usize..)
    }

    /// Length of the payload in octets.
    #[inline]
    pub fn body_len(&self) -> u32 {
        // `from_record` refuses records of 4 GiB and more.
        u32::try_from(self.body().len()).unwrap_or(u32::MAX)
    }

    /// The priority property, if there is one.
    #[inline]
    pub fn priority(&self) -> Option<u8> {
        let priority = self.0.facts.priority;
        let present = priority > 0 || self.properties().first().is_some_and(|flags| flags & PRIORITY_FLAG != 0);
        present.then_some(priority)
    }

    /// What was learned of the properties at publish time.
    #[inline]
    pub fn facts(&self) -> Facts {
        self.0.facts
    }

    /// Every key it is routed with: its own, those of `CC` (in `headers`, its header table) and those of `BCC`.
    pub fn routing_keys<'a>(&'a self, headers: Option<RawTable<'a>>) -> Vec<&'a [u8]> {
        let mut keys = self.visible_keys(headers);
        let mut rest = self.blind();
        while let Some((key, after)) = split_short(rest) {
            keys.push(key);
            rest = after;
        }
        keys
    }

    /// The keys a consumer may know of: its own and those of `CC`.
    fn visible_keys<'a>(&'a self, headers: Option<RawTable<'a>>) -> Vec<&'a [u8]> {
        let mut keys = vec![self.routing_key()];
        if let Some(copies) = headers.and_then(|h| h.get("CC")).and_then(|cc| cc.as_array()) {
            keys.extend(copies.iter().filter_map(|key| key.as_bytes()));
        }
        keys
    }

    /// A copy of this message under another address and with other properties (dead-lettering).
    pub fn readdressed(&self, exchange: &[u8], routing_key: &[u8], properties: &[u8], facts: Facts) -> Option<Self> {
        self.rewritten(&address(exchange, routing_key)?, properties, facts)
    }

    /// A copy of this message with another envelope (see [`Message::envelope`]) and other properties.
    pub fn rewritten(&self, envelope: &[u8], properties: &[u8], facts: Facts) -> Option<Self> {
        let mut draft = Draft::new(envelope, properties, u64::from(self.body_len()), facts);
        draft.extend(self.body());
        draft.finish()
    }
}

/// A message for as long as somebody else holds it.
#[derive(Clone, Debug)]
pub struct WeakMessage(Weak<Inner>);

impl WeakMessage {
    /// The message, if anybody still holds it.
    pub fn upgrade(&self) -> Option<Message> {
        self.0.upgrade().map(Message)
    }
}

/// The short string at the front, and what follows it.
#[inline]
fn split_short(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

/// Most octets kept of the keys of `BCC`, so that they fit a record's envelope beside exchange and routing key.
const MAX_BLIND: usize = 32 * 1024;

/// Appends a key of `BCC` to an envelope. One longer than a short string, or too many of them, are left out: the
/// message is still published to it, but will not find it again after its death.
pub fn add_blind_key(envelope: &mut Vec<u8>, key: &[u8]) {
    if let Ok(len) = u8::try_from(key.len())
        && envelope.len().saturating_add(key.len()) < MAX_BLIND
    {
        envelope.push(len);
        envelope.extend_from_slice(key);
    }
}

/// Two short strings, exchange and routing key, as they stand in a record; `None` if one exceeds 255 octets.
pub fn address(exchange: &[u8], routing_key: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(exchange.len().saturating_add(routing_key.len()).saturating_add(2));
    out.push(u8::try_from(exchange.len()).ok()?);
    out.extend_from_slice(exchange);
    out.push(u8::try_from(routing_key.len()).ok()?);
    out.extend_from_slice(routing_key);
    Some(out)
}

/// Octets of a body reserved on the word of its header alone. A header costs its sender sixty octets, on each of
/// thousands of channels.
const TRUSTED_BODY: u64 = 16 * 1024;

/// How many times what has come of a record may be reserved for the rest.
const TRUST: usize = 8;

/// A message under assembly.
#[derive(Debug)]
pub struct Draft {
    record: Vec<u8>,
    address_len: usize,
    properties_len: usize,
    remaining: u64,
    facts: Facts,
}

impl Draft {
    /// Starts a record; `body_size` is what the content header announced, in octets. `address` may go on with the keys
    /// of `BCC` (see [`add_blind_key`]).
    pub fn new(address: &[u8], properties: &[u8], body_size: u64, facts: Facts) -> Self {
        let trusted = usize::try_from(body_size.min(TRUSTED_BODY)).unwrap_or(0);
        let mut record = Vec::with_capacity(address.len().saturating_add(properties.len()).saturating_add(trusted));
        record.extend_from_slice(address);
        record.extend_from_slice(properties);
        Self { record, address_len: address.len(), properties_len: properties.len(), remaining: body_size, facts }
    }

    /// Octets of the body still to come.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Appends a piece of the body. Returns `false`, appending nothing, if it is longer than what remains.
    #[must_use]
    pub fn try_extend(&mut self, chunk: &[u8]) -> bool {
        match self.remaining.checked_sub(chunk.len() as u64) {
            Some(remaining) => {
                self.remaining = remaining;
                if self.record.capacity().saturating_sub(self.record.len()) < chunk.len() {
                    let come = self.record.len().saturating_add(chunk.len());
                    let rest = usize::try_from(remaining).unwrap_or(usize::MAX).min(come.saturating_mul(TRUST - 1));
                    self.record.reserve_exact(chunk.len().saturating_add(rest));
                }
                self.record.extend_from_slice(chunk);
                true
            }
            None => false,
        }
    }

    fn extend(&mut self, chunk: &[u8]) {
        let fits = self.try_extend(chunk);
        debug_assert!(fits, "a draft is sized for its body");
    }

    /// The finished message; `None` if octets are missing or the record exceeds its size limits.
    pub fn finish(self) -> Option<Message> {
        if self.remaining > 0 {
            return None;
        }
        let mut record = self.record;
        record.shrink_to_fit();
        Message::from_record(Bytes::from(record), self.address_len, self.properties_len, self.facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Message {
        let mut draft = Draft::new(&address(b"ex", b"a.key").unwrap(), &[0x10, 0, 2], 5, Facts::default());
        assert!(draft.try_extend(b"he"));
        assert!(!draft.try_extend(b"llo!"), "more than announced is refused");
        assert!(draft.try_extend(b"llo"));
        draft.finish().unwrap()
    }

    #[test]
    fn a_record_keeps_its_parts_apart() {
        let m = sample();
        assert_eq!(m.exchange(), b"ex");
        assert_eq!(m.routing_key(), b"a.key");
        assert_eq!(m.properties(), &[0x10, 0, 2]);
        assert_eq!(m.body(), b"hello");
        assert_eq!(m.record().len(), m.address().len() + 3 + 5);
    }

    #[test]
    fn a_damaged_record_is_refused() {
        let record = sample().record().clone();
        assert!(Message::from_record(record.clone(), 9, 3, Facts::default()).is_some());
        for address_len in [0, 1, 8, 10, 400] {
            assert!(Message::from_record(record.clone(), address_len, 3, Facts::default()).is_none());
        }
        assert!(Message::from_record(record, 9, 500, Facts::default()).is_none());
    }

    #[test]
    fn keys_of_bcc_are_kept_apart_from_the_address() {
        let mut envelope = address(b"ex", b"key").unwrap();
        add_blind_key(&mut envelope, b"one");
        add_blind_key(&mut envelope, &[b'l'; 256]);
        add_blind_key(&mut envelope, b"");
        let m = Draft::new(&envelope, &[0, 0], 0, Facts::default()).finish().unwrap();
        assert_eq!((m.exchange(), m.routing_key(), m.address().len()), (&b"ex"[..], &b"key"[..], 7));
        assert_eq!(m.envelope(), envelope);
        assert_eq!(m.routing_keys(None), [&b"key"[..], b"one", b""]);
        let again = Message::from_record(m.record().clone(), envelope.len(), 2, Facts::default()).unwrap();
        assert_eq!(again.routing_keys(None), m.routing_keys(None));
        assert!(Message::from_record(m.record().clone(), envelope.len() - 2, 4, Facts::default()).is_none());
        for _ in 0..1_000 {
            add_blind_key(&mut envelope, &[b'k'; 200]);
        }
        assert!(envelope.len() <= MAX_BLIND);
    }

    #[test]
    fn readdressing_keeps_the_body() {
        let m = sample().readdressed(b"", b"dead", &[0, 0], Facts::default()).unwrap();
        assert_eq!((m.exchange(), m.routing_key(), m.body()), (&b""[..], &b"dead"[..], &b"hello"[..]));
    }
}
