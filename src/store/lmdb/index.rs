//! The index row: which messages of a block are alive; see FORMAT.md.
//!
//! Pure functions over octets. Invariants: a row that [`IndexRow::decode`] accepts has a span of 1 to [`MAX_SPAN`], at
//! least one live message, no bit beyond its span, and a count equal to its bits. It names the shared bodies that its
//! block refers to, so that the block need not be read when it goes. Deliberately absent: messages, transactions.

use super::super::Seq;
use super::bodies::BodyId;
use super::schema::{Damage, HIGHEST, Key, ROW_VERSION, open_row, seal_row};

/// Most positions one row covers. Positions of cancelled puts are covered too, so it exceeds
/// [`super::blocks::MAX_RECORDS`]; a bitmap of 128 octets keeps a row small enough that 25 share a page.
pub(super) const MAX_SPAN: u16 = 1024;

const BITMAP: usize = (MAX_SPAN / 8) as usize;

/// One row of the `index` database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IndexRow {
    span: u16,
    live: u16,
    /// Octets of the live bodies.
    octets: u64,
    earliest_expiry: u64,
    bitmap: [u8; BITMAP],
    /// Bodies the block refers to, once for each record that does, whether or not its message is alive.
    bodies: Vec<BodyId>,
}

/// Octet and mask of the bit at `offset`.
fn place(offset: u16) -> (usize, u8) {
    (usize::from(offset / 8), 1 << (offset % 8))
}

impl IndexRow {
    /// A row without messages; it must be given some before it is written.
    pub(super) fn empty() -> Self {
        Self { span: 0, live: 0, octets: 0, earliest_expiry: u64::MAX, bitmap: [0; BITMAP], bodies: Vec::new() }
    }

    /// Adds a message; `offset` must be below [`MAX_SPAN`], else nothing happens.
    pub(super) fn add(&mut self, offset: u16, body_len: u32, expires_at: u64) {
        let (octet, mask) = place(offset);
        let Some(bits) = self.bitmap.get_mut(octet) else { return };
        if *bits & mask == 0 {
            *bits |= mask;
            self.live = self.live.saturating_add(1);
            self.octets = self.octets.saturating_add(u64::from(body_len));
            self.earliest_expiry = self.earliest_expiry.min(expires_at);
            self.span = self.span.max(offset.saturating_add(1));
        }
    }

    /// Notes that a record of the block stands among the shared bodies.
    pub(super) fn refer(&mut self, body: BodyId) {
        self.bodies.push(body);
    }

    /// The shared bodies that the block refers to, in the order of its records.
    pub(super) fn bodies(&self) -> &[BodyId] {
        &self.bodies
    }

    /// Removes a message. Returns `false`, changing nothing, if it is not alive.
    pub(super) fn remove(&mut self, offset: u16, body_len: u32) -> bool {
        let (octet, mask) = place(offset);
        match self.bitmap.get_mut(octet) {
            Some(bits) if *bits & mask != 0 => {
                *bits &= !mask;
                self.live = self.live.saturating_sub(1);
                self.octets = self.octets.saturating_sub(u64::from(body_len));
                true
            }
            _ => false,
        }
    }

    pub(super) fn is_live(&self, offset: u16) -> bool {
        let (octet, mask) = place(offset);
        self.bitmap.get(octet).is_some_and(|bits| bits & mask != 0)
    }

    /// Offsets of the live messages, ascending.
    pub(super) fn live_offsets(&self) -> impl DoubleEndedIterator<Item = u16> + '_ {
        (0..self.span).filter(|offset| self.is_live(*offset))
    }

    /// Messages alive.
    pub(super) fn live(&self) -> u16 {
        self.live
    }

    /// Octets of the bodies alive.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    pub(super) fn earliest_expiry(&self) -> u64 {
        self.earliest_expiry
    }

    /// The last position covered, alive or not.
    pub(super) fn last_covered(&self, key: Key) -> Seq {
        key.seq(self.span.saturating_sub(1))
    }

    pub(super) fn encode(&self, key: Key) -> Vec<u8> {
        let mut out = Vec::with_capacity(26usize.saturating_add(BITMAP));
        // A block has fewer records than an octet can count.
        out.extend_from_slice(&[ROW_VERSION, u8::try_from(self.bodies.len()).unwrap_or(u8::MAX)]);
        out.extend_from_slice(&self.span.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.octets.to_be_bytes());
        out.extend_from_slice(&self.earliest_expiry.to_be_bytes());
        out.extend_from_slice(&self.live.to_be_bytes());
        out.extend(self.bitmap.iter().take(usize::from(self.span.div_ceil(8))));
        out.extend(self.bodies.iter().flat_map(|id| id.to_be_bytes()));
        seal_row(&key.encode(), &mut out);
        out
    }

    pub(super) fn decode(key: Key, value: &[u8]) -> Result<Self, Damage> {
        let (span, mut rest) = open_row(&key.encode(), value)?;
        if span == 0 || span > MAX_SPAN {
            return Err(Damage::Inconsistent);
        }
        let octets = rest.u64().ok_or(Damage::Length)?;
        let earliest_expiry = rest.u64().ok_or(Damage::Length)?;
        let live = rest.u16().ok_or(Damage::Length)?;
        let bits = rest.slice(usize::from(span.div_ceil(8))).ok_or(Damage::Length)?;
        let (bodies, odd) = rest.0.as_chunks::<8>();
        if !odd.is_empty() || value.get(1).map(|count| usize::from(*count)) != Some(bodies.len()) {
            return Err(Damage::Length);
        }
        let bodies: Vec<BodyId> = bodies.iter().map(|id| u64::from_be_bytes(*id)).collect();
        let mut bitmap = [0; BITMAP];
        bitmap.iter_mut().zip(bits).for_each(|(to, from)| *to = *from);
        let believed = bodies.iter().all(|id| *id <= HIGHEST);
        let row = Self { span, live, octets, earliest_expiry, bitmap, bodies };
        let ones: u32 = bits.iter().map(|octet| octet.count_ones()).sum();
        let beyond = match span % 8 {
            0 => 0,
            used => bits.last().map_or(0, |octet| octet >> used),
        };
        let consistent = believed && live > 0 && u32::from(live) == ones && beyond == 0;
        if consistent && key.first.checked_add(u64::from(span)).is_some() { Ok(row) } else { Err(Damage::Inconsistent) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::QueueId;
    use super::*;

    const KEY: Key = Key { queue: QueueId(7), lane: 2, first: 1000 };

    fn sample() -> IndexRow {
        let mut row = IndexRow::empty();
        row.add(0, 10, u64::MAX);
        row.add(9, 20, 500);
        row.add(1023, 30, 400);
        row
    }

    #[test]
    fn a_row_comes_back() {
        let row = sample();
        assert_eq!(row.encode(KEY).len(), 26 + 128);
        assert_eq!(IndexRow::decode(KEY, &row.encode(KEY)), Ok(row.clone()));
        assert_eq!((row.live(), row.octets(), row.earliest_expiry()), (3, 60, 400));
        assert_eq!(row.live_offsets().collect::<Vec<_>>(), [0, 9, 1023]);
        assert_eq!(row.last_covered(KEY), 2023);
        let mut small = IndexRow::empty();
        small.add(0, 1, u64::MAX);
        assert_eq!(small.encode(KEY).len(), 27);
        assert_eq!(IndexRow::decode(KEY, &small.encode(KEY)), Ok(small));
    }

    #[test]
    fn removing_twice_counts_once() {
        let mut row = sample();
        assert!(row.remove(9, 20));
        assert!(!row.remove(9, 20));
        assert!(!row.remove(10, 20));
        assert!(!row.remove(u16::MAX, 20));
        assert_eq!((row.live(), row.octets()), (2, 40));
        assert!(!row.is_live(9) && row.is_live(1023));
        row.add(1024, 1, 1);
        assert_eq!(row.live(), 2, "beyond the span nothing is added");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let row = sample().encode(KEY);
        for at in 0..row.len() {
            for bit in 0..8 {
                let mut damaged = row.clone();
                damaged[at] ^= 1 << bit;
                assert!(IndexRow::decode(KEY, &damaged).is_err(), "octet {at} bit {bit}");
            }
        }
        for len in 0..row.len() {
            assert!(IndexRow::decode(KEY, &row[..len]).is_err(), "length {len}");
        }
        assert!(IndexRow::decode(Key { first: 1001, ..KEY }, &row).is_err(), "a row under another key");
    }

    #[test]
    fn a_sealed_row_that_contradicts_itself_is_damaged() {
        let reseal = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut row = sample().encode(KEY);
            change(&mut row);
            seal_row(&KEY.encode(), &mut row);
            IndexRow::decode(KEY, &row)
        };
        assert!(reseal(&|_| ()).is_ok());
        assert_eq!(reseal(&|row| row[25] = 4), Err(Damage::Inconsistent), "count");
        assert_eq!(reseal(&|row| row[2..4].copy_from_slice(&[0, 0])), Err(Damage::Inconsistent), "span 0");
        assert_eq!(reseal(&|row| row[2..4].copy_from_slice(&[0xFF, 0xFF])), Err(Damage::Inconsistent), "span");
        assert_eq!(reseal(&|row| row[2..4].copy_from_slice(&[3, 0xFF])), Err(Damage::Inconsistent), "bit beyond span");
        assert_eq!(reseal(&|row| row.push(0)), Err(Damage::Length), "trailing octet");
    }
}
