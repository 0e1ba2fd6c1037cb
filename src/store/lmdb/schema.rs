//! Names, keys and small rows of the LMDB store; see FORMAT.md.
//!
//! Pure functions over octets. Invariants: no octets read from disk can make these functions panic; what they cannot
//! have written themselves is [`Damage`]. Deliberately absent: transactions, index rows and blocks.

use super::super::{Generation, QueueId, Seq};

/// Version of the layout that this build writes.
pub(super) const SCHEMA: u32 = 3;

/// The oldest version that this build reads; such a store becomes one of [`SCHEMA`] when it is opened.
pub(super) const OLDEST_SCHEMA: u32 = 1;

/// Version octet of every row written by this build.
pub(super) const ROW_VERSION: u8 = 1;

/// Names of the databases within the environment.
pub(super) const META: &str = "meta";
pub(super) const DEFINITIONS: &str = "definitions";
pub(super) const INDEX: &str = "index";
pub(super) const BLOCKS: &str = "blocks";
pub(super) const MARKS: &str = "marks";
pub(super) const HOLES: &str = "holes";
pub(super) const COUNTS: &str = "counts";
pub(super) const BODIES: &str = "bodies";
pub(super) const SHARES: &str = "shares";

/// The first version of the layout that has `counts`, and the first that has `bodies` and `shares`.
pub(super) const COUNTS_SINCE: u32 = 2;
pub(super) const BODIES_SINCE: u32 = 3;

/// How many named databases there are; LMDB wants the number when the environment is opened.
pub(super) const DATABASES: u32 = 9;

/// Keys of the `meta` database.
pub(super) const META_SCHEMA: &[u8] = b"schema";
pub(super) const META_NEXT_QUEUE_ID: &[u8] = b"next_queue_id";
pub(super) const META_NEXT_BODY: &[u8] = b"next_body";
pub(super) const META_CLEAN: &[u8] = b"clean";
pub(super) const META_GENERATION: &[u8] = b"generation";

/// Why a row cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("wrong length")]
    Length,
    #[error("row version {0} is unknown")]
    Version(u8),
    #[error("checksum does not match")]
    Checksum,
    #[error("fields contradict each other")]
    Inconsistent,
}

/// Octets read from the front; `None` at the end of input.
pub(super) struct Octets<'a>(pub(super) &'a [u8]);

impl<'a> Octets<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }
}

/// Highest queue id and position that are believed, for the same reason.
pub(super) const HIGHEST: u64 = QueueId::HIGHEST.0;

/// Length of a [`Key`] in octets.
pub(super) const KEY_LEN: usize = 17;

/// Key of an index row, a block or a hole in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) queue: QueueId,
    pub(super) lane: u8,
    pub(super) first: Seq,
}

impl Key {
    pub(super) fn encode(self) -> [u8; KEY_LEN] {
        let mut out = [0; KEY_LEN];
        out[..8].copy_from_slice(&self.queue.0.to_be_bytes());
        out[8] = self.lane;
        out[9..].copy_from_slice(&self.first.to_be_bytes());
        out
    }

    /// `None` also for what exceeds [`HIGHEST`].
    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        if octets.len() != KEY_LEN {
            return None;
        }
        let mut rest = Octets(octets);
        let key = Self { queue: QueueId(rest.u64()?), lane: rest.u8()?, first: rest.u64()? };
        (key.queue.0 <= HIGHEST && key.first <= HIGHEST).then_some(key)
    }

    /// Distance of `seq` from the first position, if a row of this key could cover it.
    pub(super) fn offset(self, seq: Seq) -> Option<u16> {
        u16::try_from(seq.checked_sub(self.first)?).ok()
    }

    /// The position at this distance from the first; saturates, since a damaged key may be anything.
    pub(super) fn seq(self, offset: u16) -> Seq {
        self.first.saturating_add(u64::from(offset))
    }
}

/// Checksum of a row: its key and all of it but the checksum itself, which stands at octets 4 to 7.
pub(super) fn checksum(key: &[u8], value: &[u8]) -> u32 {
    checksum_of(key, value.get(..4).unwrap_or_default(), value.get(8..).unwrap_or_default())
}

/// The same of a row whose parts before and after the checksum are not in one piece.
pub(super) fn checksum_of(key: &[u8], front: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(front);
    hasher.update(rest);
    hasher.finalize()
}

/// Checks version and checksum of a row, and returns what follows the first eight octets together with the field at 2.
pub(super) fn open_row<'a>(key: &[u8], value: &'a [u8]) -> Result<(u16, Octets<'a>), Damage> {
    open_row_of(ROW_VERSION, key, value)
}

fn open_row_of<'a>(wanted: u8, key: &[u8], value: &'a [u8]) -> Result<(u16, Octets<'a>), Damage> {
    let mut rest = Octets(value);
    let version = rest.u8().ok_or(Damage::Length)?;
    if version != wanted {
        return Err(Damage::Version(version));
    }
    rest.u8().ok_or(Damage::Length)?;
    let field = rest.u16().ok_or(Damage::Length)?;
    let sum = rest.u32().ok_or(Damage::Length)?;
    if sum == checksum(key, value) { Ok((field, rest)) } else { Err(Damage::Checksum) }
}

/// Writes the checksum of a complete row into its place.
pub(super) fn seal_row(key: &[u8], value: &mut [u8]) {
    let sum = checksum(key, value);
    if let Some(place) = value.get_mut(4..8) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}

/// The generation of the redo log, in `meta`. Rot in it would hide the log's records, so it has a checksum.
pub(super) fn encode_generation(generation: Generation) -> Vec<u8> {
    let mut out = vec![ROW_VERSION, 0, 0, 0, 0, 0, 0, 0];
    out.extend_from_slice(&generation.0.to_be_bytes());
    seal_row(META_GENERATION, &mut out);
    out
}

/// Reads it back.
pub(super) fn decode_generation(value: &[u8]) -> Result<Generation, Damage> {
    let (_, mut rest) = open_row(META_GENERATION, value)?;
    let generation = rest.u64().map(Generation).ok_or(Damage::Length)?;
    if rest.0.is_empty() { Ok(generation) } else { Err(Damage::Length) }
}

/// A row of `marks`.
pub(super) fn encode_marks(queue: QueueId, positions: &[Seq]) -> Vec<u8> {
    let mut out = vec![ROW_VERSION, 0, 0, 0, 0, 0, 0, 0];
    out.extend(positions.iter().flat_map(|seq| seq.to_be_bytes()));
    seal_row(&queue.0.to_be_bytes(), &mut out);
    out
}

/// Positions in a row of `marks`, with the queue they belong to.
pub(super) fn decode_marks(key: &[u8], value: &[u8]) -> Result<(QueueId, Vec<Seq>), Damage> {
    let (_, rest) = open_row(key, value)?;
    let (positions, odd) = rest.0.as_chunks::<8>();
    if !odd.is_empty() {
        return Err(Damage::Length);
    }
    Ok((decode_queue(key)?, positions.iter().map(|seq| u64::from_be_bytes(*seq)).collect()))
}

/// The key of a row that is a queue's only one in its database.
fn decode_queue(key: &[u8]) -> Result<QueueId, Damage> {
    let queue = <[u8; 8]>::try_from(key).map(u64::from_be_bytes).map_err(|_| Damage::Length)?;
    if queue <= HIGHEST { Ok(QueueId(queue)) } else { Err(Damage::Inconsistent) }
}

/// A removal that is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hole {
    /// Everything of a queue.
    Queue(QueueId),
    /// The rows of a lane that lie wholly in `key.first <= position < until`.
    Range { key: Key, until: Seq },
}

/// Version octet of the rows of `holes`. Those of version 1 had no checksum: rot could remove what nobody had dropped.
const HOLE_VERSION: u8 = 2;

/// Value of the hole of a whole queue.
pub(super) fn encode_queue_hole(queue: QueueId) -> Vec<u8> {
    let mut out = vec![HOLE_VERSION, 0, 0, 0, 0, 0, 0, 0];
    seal_row(&queue.0.to_be_bytes(), &mut out);
    out
}

/// Value of the hole of a range.
pub(super) fn encode_hole(key: Key, until: Seq) -> Vec<u8> {
    let mut out = vec![HOLE_VERSION, 0, 0, 0, 0, 0, 0, 0];
    out.extend_from_slice(&until.min(HIGHEST).to_be_bytes());
    seal_row(&key.encode(), &mut out);
    out
}

/// A row of `holes`.
pub(super) fn decode_hole(key: &[u8], value: &[u8]) -> Result<Hole, Damage> {
    let mut rest = match value.split_first() {
        Some((&ROW_VERSION, rest)) => Octets(rest),
        _ => open_row_of(HOLE_VERSION, key, value)?.1,
    };
    let hole = if key.len() == size_of::<u64>() {
        Hole::Queue(decode_queue(key)?)
    } else {
        let key = Key::decode(key).ok_or(Damage::Length)?;
        Hole::Range { key, until: rest.u64().filter(|until| *until <= HIGHEST).ok_or(Damage::Inconsistent)? }
    };
    if rest.0.is_empty() { Ok(hole) } else { Err(Damage::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_queue_then_lane_then_position() {
        let key = |queue, lane, first| Key { queue: QueueId(queue), lane, first };
        let ascending = [key(1, 0, 1), key(1, 0, 256), key(1, 1, 0), key(1, 255, 7), key(2, 0, 0), key(1 << 40, 0, 0)];
        for pair in ascending.windows(2) {
            assert!(pair[0].encode() < pair[1].encode(), "{pair:?}");
        }
        for key in ascending {
            assert_eq!(Key::decode(&key.encode()), Some(key));
        }
        assert_eq!(Key::decode(&[0; 16]), None);
        assert_eq!(Key::decode(&[0; 18]), None);
        assert!(Key::decode(&key(HIGHEST, 0, HIGHEST).encode()).is_some());
        assert_eq!(Key::decode(&key(HIGHEST + 1, 0, 1).encode()), None);
        assert_eq!(Key::decode(&key(1, 0, HIGHEST + 1).encode()), None);
    }

    #[test]
    fn marks_come_back_and_damage_shows() {
        let key = 9u64.to_be_bytes();
        let row = encode_marks(QueueId(9), &[1, 5, u64::MAX]);
        assert_eq!(decode_marks(&key, &row), Ok((QueueId(9), vec![1, 5, u64::MAX])));
        for at in 0..row.len() {
            let mut damaged = row.clone();
            damaged[at] ^= 0x10;
            assert!(decode_marks(&key, &damaged).is_err(), "octet {at}");
        }
        assert!(decode_marks(&10u64.to_be_bytes(), &row).is_err(), "a row under another key");
        assert!(decode_marks(&key, &row[..row.len() - 1]).is_err());
        assert_eq!(decode_marks(&key, &[]), Err(Damage::Length));
    }

    #[test]
    fn a_generation_comes_back_and_damage_shows() {
        let row = encode_generation(Generation(77));
        assert_eq!(decode_generation(&row), Ok(Generation(77)));
        for at in 0..row.len() {
            let mut damaged = row.clone();
            damaged[at] ^= 0x10;
            assert!(decode_generation(&damaged).is_err() && decode_generation(&row[..at]).is_err(), "octet {at}");
        }
    }

    #[test]
    fn holes_come_back() {
        let key = Key { queue: QueueId(3), lane: 255, first: 10 };
        let (at, queue) = (key.encode(), 3u64.to_be_bytes());
        for (key, row, hole) in [
            (&at[..], encode_hole(key, 99), Hole::Range { key, until: 99 }),
            (&at, encode_hole(key, u64::MAX), Hole::Range { key, until: HIGHEST }),
            (&queue, encode_queue_hole(QueueId(3)), Hole::Queue(QueueId(3))),
        ] {
            assert_eq!(decode_hole(key, &row), Ok(hole));
            for octet in 0..row.len() {
                let mut damaged = row.clone();
                damaged[octet] ^= 4;
                assert!(decode_hole(key, &damaged).is_err(), "octet {octet}");
                assert!(decode_hole(key, &row[..octet]).is_err(), "length {octet}");
            }
            let elsewhere: Vec<u8> = key.iter().map(|octet| octet ^ 1).collect();
            assert!(decode_hole(&elsewhere, &row).is_err(), "a row under another key");
        }
        assert_eq!(decode_hole(&at, &encode_queue_hole(QueueId(3))), Err(Damage::Checksum));
        assert_eq!(decode_hole(&[1, 2], &[1; 9]), Err(Damage::Length));
        assert_eq!(decode_hole(&at, &[3; 16]), Err(Damage::Version(3)));
    }

    #[test]
    fn holes_of_version_1_are_read() {
        let key = Key { queue: QueueId(3), lane: 255, first: 10 };
        let row = [&[1][..], &99u64.to_be_bytes()].concat();
        assert_eq!(decode_hole(&key.encode(), &row), Ok(Hole::Range { key, until: 99 }));
        assert_eq!(decode_hole(&3u64.to_be_bytes(), &[1]), Ok(Hole::Queue(QueueId(3))));
        assert_eq!(decode_hole(&key.encode(), &[1]), Err(Damage::Inconsistent));
        assert_eq!(decode_hole(&key.encode(), &[&row[..], &[0]].concat()), Err(Damage::Length));
        let beyond = [&[1][..], &u64::MAX.to_be_bytes()].concat();
        assert_eq!(decode_hole(&key.encode(), &beyond), Err(Damage::Inconsistent));
        assert_eq!(decode_hole(&[0xFF; 8], &[1]), Err(Damage::Inconsistent));
    }
}
