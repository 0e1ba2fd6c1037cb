//! Message properties: the raw flags and values of a content header.
//!
//! The broker forwards properties as the octets it received; this view reads them once. Invariant: what
//! [`Properties::parse`] accepts can be decoded by every client. Deliberately absent: the meaning of any property, and
//! UTF-8 checks, which RabbitMQ does not make here.

use super::reader::Reader;
use super::short;
use super::table::{self, Malformed};

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const KIND: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;
/// The continuation bit and its unused neighbour; RabbitMQ decodes neither.
const UNSUPPORTED: u16 = 0b11;

/// The fourteen properties of class basic, borrowed from a raw block.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Properties<'a> {
    /// MIME type of the body.
    pub content_type: Option<&'a [u8]>,
    /// MIME encoding of the body.
    pub content_encoding: Option<&'a [u8]>,
    /// Content of the headers table without its four octets of length.
    pub headers: Option<&'a [u8]>,
    /// 2 is persistent, everything else transient.
    pub delivery_mode: Option<u8>,
    /// Priority, 0 lowest.
    pub priority: Option<u8>,
    /// The application's correlation id.
    pub correlation_id: Option<&'a [u8]>,
    /// The queue to reply to.
    pub reply_to: Option<&'a [u8]>,
    /// Milliseconds to live, as decimal digits.
    pub expiration: Option<&'a [u8]>,
    /// The application's message id.
    pub message_id: Option<&'a [u8]>,
    /// Seconds since the Unix epoch, by the publisher.
    pub timestamp: Option<u64>,
    /// The property `type`: the application's name for the kind of message.
    pub kind: Option<&'a [u8]>,
    /// The publishing user; checked against the connection's.
    pub user_id: Option<&'a [u8]>,
    /// The publishing application.
    pub app_id: Option<&'a [u8]>,
    /// Deprecated; carried along.
    pub cluster_id: Option<&'a [u8]>,
}

impl<'a> Properties<'a> {
    /// Reads a raw block, walking the headers table once.
    ///
    /// Refuses unknown flags, values that end early, octets left over, and headers that [`table::validate`] refuses.
    #[inline]
    pub fn parse(raw: &'a [u8]) -> Result<Self, Malformed> {
        match *raw {
            // What most publishers send: nothing, or a delivery mode alone.
            [0, 0] => Ok(Self::default()),
            [0x10, 0, mode] => Ok(Self { delivery_mode: Some(mode), ..Self::default() }),
            _ => {
                let properties = Self::walk(raw).ok_or(Malformed::Undecodable)?;
                properties.headers.map_or(Ok(()), table::validate)?;
                Ok(properties)
            }
        }
    }

    fn walk(raw: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(raw);
        let flags = u16::from_be_bytes(reader.array()?);
        if flags & UNSUPPORTED != 0 {
            return None;
        }
        let mut properties = Self::default();
        for (flag, value) in
            [(CONTENT_TYPE, &mut properties.content_type), (CONTENT_ENCODING, &mut properties.content_encoding)]
        {
            if flags & flag != 0 {
                *value = Some(reader.short()?);
            }
        }
        if flags & HEADERS != 0 {
            properties.headers = Some(reader.long()?);
        }
        if flags & DELIVERY_MODE != 0 {
            properties.delivery_mode = Some(reader.octet()?);
        }
        if flags & PRIORITY != 0 {
            properties.priority = Some(reader.octet()?);
        }
        for (flag, value) in [
            (CORRELATION_ID, &mut properties.correlation_id),
            (REPLY_TO, &mut properties.reply_to),
            (EXPIRATION, &mut properties.expiration),
            (MESSAGE_ID, &mut properties.message_id),
        ] {
            if flags & flag != 0 {
                *value = Some(reader.short()?);
            }
        }
        if flags & TIMESTAMP != 0 {
            properties.timestamp = Some(reader.u64()?);
        }
        for (flag, value) in [
            (KIND, &mut properties.kind),
            (USER_ID, &mut properties.user_id),
            (APP_ID, &mut properties.app_id),
            (CLUSTER_ID, &mut properties.cluster_id),
        ] {
            if flags & flag != 0 {
                *value = Some(reader.short()?);
            }
        }
        reader.is_empty().then_some(properties)
    }

    /// The raw block of these properties; strings above 255 octets are cut there.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Block { flags: 0, values: vec![0, 0] };
        block.short(CONTENT_TYPE, self.content_type);
        block.short(CONTENT_ENCODING, self.content_encoding);
        if let Some(headers) = self.headers {
            let len = u32::try_from(headers.len()).unwrap_or(u32::MAX);
            block.value(HEADERS, &len.to_be_bytes());
            block.value(HEADERS, headers);
        }
        if let Some(mode) = self.delivery_mode {
            block.value(DELIVERY_MODE, &[mode]);
        }
        if let Some(priority) = self.priority {
            block.value(PRIORITY, &[priority]);
        }
        block.short(CORRELATION_ID, self.correlation_id);
        block.short(REPLY_TO, self.reply_to);
        block.short(EXPIRATION, self.expiration);
        block.short(MESSAGE_ID, self.message_id);
        if let Some(seconds) = self.timestamp {
            block.value(TIMESTAMP, &seconds.to_be_bytes());
        }
        block.short(KIND, self.kind);
        block.short(USER_ID, self.user_id);
        block.short(APP_ID, self.app_id);
        block.short(CLUSTER_ID, self.cluster_id);
        block.finish()
    }
}

/// A raw block under construction: two octets kept free for the flags, then the values.
struct Block {
    flags: u16,
    values: Vec<u8>,
}

impl Block {
    fn value(&mut self, flag: u16, octets: &[u8]) {
        self.flags |= flag;
        self.values.extend_from_slice(octets);
    }

    fn short(&mut self, flag: u16, text: Option<&[u8]>) {
        if let Some(text) = text {
            self.flags |= flag;
            short::put(&mut self.values, text);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        for (octet, flag) in self.values.iter_mut().zip(self.flags.to_be_bytes()) {
            *octet = flag;
        }
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Properties<'static> {
        Properties {
            content_type: Some(b"text/plain"),
            content_encoding: Some(b"gzip"),
            headers: Some(b"\x01kt\x01"),
            delivery_mode: Some(2),
            priority: Some(9),
            correlation_id: Some(b"c"),
            reply_to: Some(b"amq.rabbitmq.reply-to"),
            expiration: Some(b"60000"),
            message_id: Some(b"m"),
            timestamp: Some(u64::MAX),
            kind: Some(b"order"),
            user_id: Some(b"guest"),
            app_id: Some(&[0xff]),
            cluster_id: Some(b""),
        }
    }

    #[test]
    fn every_property_survives_a_round_trip() {
        for properties in [full(), Properties::default(), Properties { delivery_mode: Some(1), ..Default::default() }] {
            assert_eq!(Properties::parse(&properties.encode()), Ok(properties));
        }
        assert_eq!(Properties::default().encode(), [0, 0]);
        assert_eq!(full().encode()[..2], [0xff, 0xfc]);
    }

    #[test]
    fn a_block_cut_or_extended_anywhere_is_refused() {
        let raw = full().encode();
        for len in 0..raw.len() {
            assert_eq!(Properties::parse(&raw[..len]), Err(Malformed::Undecodable), "cut at {len}");
        }
        assert_eq!(Properties::parse(&[&raw[..], &[0]].concat()), Err(Malformed::Undecodable));
        assert_eq!(Properties::parse(&[0, 0, 0]), Err(Malformed::Undecodable));
    }

    #[test]
    fn flags_rabbitmq_cannot_decode_are_refused() {
        assert_eq!(Properties::parse(&[0, 1]), Err(Malformed::Undecodable), "continuation");
        assert_eq!(Properties::parse(&[0, 2]), Err(Malformed::Undecodable));
    }

    #[test]
    fn headers_are_validated() {
        let with = |headers| Properties { headers: Some(headers), ..Default::default() }.encode();
        assert_eq!(Properties::parse(&with(b"\x01k?")), Err(Malformed::Undecodable));
        assert!(Properties::parse(&with(b"")).is_ok(), "an empty table");
        let mut deep = Vec::new();
        for _ in 0..table::MAX_TABLE_DEPTH {
            let mut outer = vec![0, b'F'];
            outer.extend_from_slice(&(deep.len() as u32).to_be_bytes());
            outer.extend_from_slice(&deep);
            deep = outer;
        }
        assert_eq!(Properties::parse(&with(&deep)), Err(Malformed::TooDeep));
        assert!(Properties::parse(&with(&deep[6..])).is_ok(), "64 levels are allowed");
    }

    #[test]
    fn over_long_strings_are_cut_when_written() {
        let long = [b'x'; 300];
        let raw = Properties { user_id: Some(&long), ..Default::default() }.encode();
        assert_eq!(Properties::parse(&raw).unwrap().user_id, Some(&long[..255]));
    }
}
