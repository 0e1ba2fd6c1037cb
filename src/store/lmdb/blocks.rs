//! The block: a run of messages of one lane; see FORMAT.md.
//!
//! Pure functions over octets. A record that other queues share stands among the bodies, and in the block by its name;
//! it counts with all its octets where a block is cut, so that a block holds on to no more of them than of its own.
//! Invariants: a block is written once and never changed; nothing is read from a block
//! whose checksum has not been verified. Deliberately absent: which messages are alive (the index row knows).

use std::io::{self, Seek, SeekFrom, Write};

use bytes::Bytes;

use super::super::{Put, QueueId};
use super::bodies::{Bodies, BodyId};
use super::index::{IndexRow, MAX_SPAN};
use super::schema::{Damage, Key, Octets, ROW_VERSION, open_row};
use crate::message::{Facts, Message};

/// Most messages in a block: what a consumer with a usual prefetch has out at once touches one or two index rows.
pub(super) const MAX_RECORDS: usize = 128;

/// Most octets of records in a block of several messages: a loader verifies a whole block to read one message.
pub(super) const MAX_OCTETS: usize = 256 << 10;

const HEADER: usize = 8;
const RECORD_HEADER: usize = 30;
const PERSISTENT: u8 = 1;
const DEAD_LETTERED: u8 = 2;
const REDELIVERED: u8 = 4;
const SHARED: u8 = 8;

/// A run of messages about to be written as one block.
pub(super) struct Draft<'a> {
    pub(super) key: Key,
    puts: &'a [&'a Put],
    bodies: &'a Bodies,
}

impl<'a> Draft<'a> {
    /// Cuts the next block off the front of `puts`, which ascend by (lane, position).
    pub(super) fn cut(queue: QueueId, puts: &'a [&'a Put], bodies: &'a Bodies) -> Option<(Self, &'a [&'a Put])> {
        let head = puts.first()?;
        let key = Key { queue, lane: head.lane, first: head.seq };
        let mut octets = head.message.record().len();
        let mut count = 1usize;
        for put in puts.iter().take(MAX_RECORDS).skip(1) {
            octets = octets.saturating_add(put.message.record().len());
            let near = key.offset(put.seq).is_some_and(|offset| offset < MAX_SPAN);
            if put.lane != key.lane || !near || octets > MAX_OCTETS {
                break;
            }
            count = count.saturating_add(1);
        }
        let (run, rest) = puts.split_at_checked(count)?;
        Some((Self { key, puts: run, bodies }, rest))
    }

    /// The row that calls every message of this block alive.
    pub(super) fn index_row(&self) -> IndexRow {
        let mut row = IndexRow::empty();
        for put in self.puts {
            row.add(self.key.offset(put.seq).unwrap_or(u16::MAX), put.message.body_len(), put.expires_at);
            if let Some(body) = self.bodies.of(put) {
                row.refer(body);
            }
        }
        row
    }

    /// Length of the finished block in octets.
    pub(super) fn len(&self) -> usize {
        let record = |put: &&Put| match self.bodies.of(put) {
            Some(_) => RECORD_HEADER.saturating_add(size_of::<BodyId>()),
            None => RECORD_HEADER.saturating_add(put.message.record().len()),
        };
        self.puts.iter().map(record).fold(HEADER, usize::saturating_add)
    }

    /// Writes the finished block, [`Draft::len`] octets; each record is copied once and summed while it is in cache.
    pub(super) fn write(&self, out: &mut (impl Write + Seek)) -> io::Result<()> {
        let count = u16::try_from(self.puts.len()).map_err(io::Error::other)?.to_be_bytes();
        let front = [ROW_VERSION, 0, count[0], count[1]];
        let mut sum = crc32fast::Hasher::new();
        sum.update(&self.key.encode());
        sum.update(&front);
        out.write_all(&front)?;
        out.write_all(&[0; 4])?;
        for put in self.puts {
            let body = self.bodies.of(put);
            let header = record_header(self.key, put, body.is_some())?;
            sum.update(&header);
            out.write_all(&header)?;
            let name = body.map(BodyId::to_be_bytes);
            let octets = name.as_ref().map_or(&put.message.record()[..], |name| &name[..]);
            sum.update(octets);
            out.write_all(octets)?;
        }
        out.seek(SeekFrom::Start(4))?;
        out.write_all(&sum.finalize().to_be_bytes())?;
        out.seek(SeekFrom::End(0))?;
        Ok(())
    }
}

fn flags(facts: Facts) -> u8 {
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    flag(facts.persistent, PERSISTENT) | flag(facts.dead_lettered, DEAD_LETTERED) | flag(facts.redelivered, REDELIVERED)
}

fn record_header(key: Key, put: &Put, shared: bool) -> io::Result<[u8; RECORD_HEADER]> {
    let message = &put.message;
    let facts = message.facts();
    let offset = key.offset(put.seq).ok_or_else(|| io::Error::other("position outside of the block"))?;
    let address_len = u16::try_from(message.envelope().len()).map_err(io::Error::other)?;
    let properties_len = u32::try_from(message.properties().len()).map_err(io::Error::other)?;
    let mut out = [0; RECORD_HEADER];
    out[..2].copy_from_slice(&offset.to_be_bytes());
    out[2] = flags(facts) | if shared { SHARED } else { 0 };
    out[3] = facts.priority;
    out[4..12].copy_from_slice(&facts.expiration.to_be_bytes());
    out[12..20].copy_from_slice(&put.expires_at.to_be_bytes());
    out[20..22].copy_from_slice(&address_len.to_be_bytes());
    out[22..26].copy_from_slice(&properties_len.to_be_bytes());
    out[26..].copy_from_slice(&message.body_len().to_be_bytes());
    Ok(out)
}

/// A message within a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) offset: u16,
    pub(super) expires_at: u64,
    pub(super) body_len: u32,
    facts: Facts,
    address_len: u16,
    properties_len: u32,
    /// Octets of address, properties and body together.
    pub(super) len: usize,
    pub(super) content: Content<'a>,
}

/// Where address, properties and body of a message stand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    Here(&'a [u8]),
    Shared(BodyId),
}

impl Record<'_> {
    /// The message, with its octets copied; `None` if its parts do not fit.
    pub(super) fn message(&self, octets: &[u8]) -> Option<Message> {
        if octets.len() != self.len {
            return None;
        }
        let properties_len = usize::try_from(self.properties_len).ok()?;
        let octets = Bytes::copy_from_slice(octets);
        Message::from_record(octets, usize::from(self.address_len), properties_len, self.facts)
    }

    /// Whether the message is the one this record describes, if its octets are.
    pub(super) fn is_of(&self, message: &Message) -> bool {
        message.facts() == self.facts
            && message.record().len() == self.len
            && message.envelope().len() == usize::from(self.address_len)
            && message.body_len() == self.body_len
    }

    /// Whether a message can be made of these octets; copies no body.
    pub(super) fn is_whole(&self, octets: &[u8]) -> bool {
        let body_len = usize::try_from(self.body_len).unwrap_or(usize::MAX);
        let front = self.len.checked_sub(body_len).and_then(|len| octets.get(..len));
        let message = |front| Self { len: self.len.saturating_sub(body_len), ..*self }.message(front);
        octets.len() == self.len && front.and_then(message).is_some()
    }
}

/// The records of a block whose checksum was found right.
pub(super) struct Records<'a> {
    left: u16,
    /// The lowest offset the next record may have.
    least: u32,
    rest: Octets<'a>,
}

impl<'a> Records<'a> {
    pub(super) fn open(key: Key, value: &'a [u8]) -> Result<Self, Damage> {
        let (left, rest) = open_row(&key.encode(), value)?;
        Ok(Self { left, least: 0, rest })
    }

    /// Whether every record was read and nothing follows the last.
    pub(super) fn is_at_end(&self) -> bool {
        self.left == 0 && self.rest.0.is_empty()
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let rest = &mut self.rest;
        let offset = rest.u16()?;
        let flags = rest.u8()?;
        let facts = Facts {
            persistent: flags & PERSISTENT != 0,
            priority: rest.u8()?,
            expiration: rest.u64()?,
            dead_lettered: flags & DEAD_LETTERED != 0,
            redelivered: flags & REDELIVERED != 0,
        };
        let expires_at = rest.u64()?;
        let (address_len, properties_len, body_len) = (rest.u16()?, rest.u32()?, rest.u32()?);
        let len = u64::from(address_len).checked_add(properties_len.into())?.checked_add(body_len.into())?;
        let len = usize::try_from(len).ok()?;
        let content = if flags & SHARED == 0 { Content::Here(rest.slice(len)?) } else { Content::Shared(rest.u64()?) };
        Some(Record { offset, expires_at, body_len, facts, address_len, properties_len, len, content })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    /// The next record; ends early where octets are missing or positions do not ascend, so that a caller misses messages
    /// it knows of.
    fn next(&mut self) -> Option<Record<'a>> {
        self.left = self.left.checked_sub(1)?;
        let record = self.record().filter(|record| u32::from(record.offset) >= self.least);
        match &record {
            Some(record) => self.least = u32::from(record.offset).saturating_add(1),
            None => self.left = 0,
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::clock::NEVER;
    use crate::store::fixture::{message, put};

    fn blocks(puts: &[Put]) -> Vec<(Key, IndexRow, Vec<u8>)> {
        let refs: Vec<&Put> = puts.iter().collect();
        let mut rest = refs.as_slice();
        let (mut out, bodies) = (Vec::new(), Bodies::default());
        while let Some((draft, after)) = Draft::cut(QueueId(1), rest, &bodies) {
            let mut value = Cursor::new(Vec::new());
            draft.write(&mut value).unwrap();
            assert_eq!(value.get_ref().len(), draft.len());
            assert_eq!(value.position(), draft.len() as u64);
            out.push((draft.key, draft.index_row(), value.into_inner()));
            rest = after;
        }
        out
    }

    fn here(record: &Record<'_>) -> Option<Message> {
        match record.content {
            Content::Here(octets) => record.message(octets),
            Content::Shared(_) => None,
        }
    }

    #[test]
    fn records_come_back() {
        let mut with_facts = put(9, 3, b"second");
        with_facts.expires_at = 77;
        let facts =
            Facts { persistent: true, priority: 3, expiration: 60_000, dead_lettered: true, ..Facts::default() };
        with_facts.message = with_facts.message.readdressed(b"ex", b"key", &[0, 0], facts).unwrap();
        let written = blocks(&[put(5, 3, b""), with_facts]);
        let [(key, row, value)] = &written[..] else { panic!("one block") };
        assert_eq!((row.live(), row.octets(), row.earliest_expiry()), (2, 6, 77));
        let records: Vec<Record<'_>> = Records::open(*key, value).unwrap().collect();
        assert_eq!(records.iter().map(|r| key.seq(r.offset)).collect::<Vec<_>>(), [5, 9]);
        assert_eq!((records[0].expires_at, records[1].expires_at), (NEVER, 77));
        let second = here(&records[1]).unwrap();
        assert_eq!((second.exchange(), second.routing_key(), second.body()), (&b"ex"[..], &b"key"[..], &b"second"[..]));
        assert_eq!((second.facts(), second.properties()), (facts, &[0, 0][..]));
    }

    #[test]
    fn blocks_are_cut_at_count_size_span_and_lane() {
        let firsts = |puts: &[Put]| blocks(puts).iter().map(|b| (b.0.lane, b.0.first)).collect::<Vec<_>>();
        let many: Vec<Put> = (1..=300).map(|seq| put(seq, 0, b"x")).collect();
        assert_eq!(firsts(&many), [(0, 1), (0, 129), (0, 257)]);
        let fat: Vec<Put> = (1..=5).map(|seq| put(seq, 0, &vec![0; 100 << 10])).collect();
        assert_eq!(firsts(&fat), [(0, 1), (0, 3), (0, 5)]);
        let huge = [put(1, 0, b"a"), put(2, 0, &vec![0; MAX_OCTETS * 2]), put(3, 0, b"b")];
        assert_eq!(firsts(&huge), [(0, 1), (0, 2), (0, 3)]);
        let sparse = [put(1, 0, b"a"), put(1024, 0, b"b"), put(1025, 0, b"c"), put(u64::MAX / 2, 0, b"d")];
        assert_eq!(firsts(&sparse), [(0, 1), (0, 1025), (0, u64::MAX / 2)]);
        let lanes = [put(2, 0, b"a"), put(4, 0, b"b"), put(1, 9, b"c"), put(3, 9, b"d")];
        assert_eq!(firsts(&lanes), [(0, 2), (9, 1)]);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (key, _, value) = blocks(&[put(1, 0, b"body"), put(2, 0, b"other")]).remove(0);
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 0x40;
            assert!(Records::open(key, &damaged).is_err(), "octet {at}");
            assert!(Records::open(key, &value[..at]).is_err(), "length {at}");
        }
        assert!(Records::open(Key { lane: 1, ..key }, &value).is_err(), "a block under another key");
    }

    #[test]
    fn sealed_nonsense_ends_the_records_without_a_panic() {
        let (key, _, value) = blocks(&[put(1, 0, b"body")]).remove(0);
        for at in HEADER..value.len() {
            for octet in [0, 0x7F, 0xFF] {
                let mut odd = value.clone();
                odd[at] = octet;
                super::super::schema::seal_row(&key.encode(), &mut odd);
                for record in Records::open(key, &odd).unwrap() {
                    let _ = here(&record);
                }
            }
        }
        assert_eq!(message(b"body").body(), b"body");
    }
}
