//! The log's file: made once, zeroed and synced, and then only overwritten.
//!
//! A record begins at a multiple of [`PAGE`], so that one that a power cut tears damages no other. Records are alive by
//! the generation that the store behind names; nothing is ever erased. Invariants: the file neither grows nor shrinks
//! once it has its name; an append has reached the disk when it returns. All calls go through the C library, where the
//! crash harness listens. Deliberately absent: when to append, and what becomes of what was read.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use bytes::Bytes;

use super::record::{self, Header};
use crate::store::{Batch, Generation, StoreError};

/// Name of the file in the data directory.
pub(crate) const FILE: &str = "redo";

/// What it is called until it is whole.
const UNFINISHED: &str = "redo.new";

/// Records begin at multiples of this: a page of the system's cache, so that overwriting one reads nothing.
pub(super) const PAGE: usize = 4096;

/// A longer file was not made by a leveret; no more of it is read, in octets.
const LONGEST: u64 = 64 << 20;

/// Octets looked at a time for signs of life; a multiple of [`PAGE`].
const WINDOW: usize = 64 << 10;

/// Octets written at once when the file is made.
const CHUNK: usize = 1 << 20;

/// A log that can be appended to.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    capacity: usize,
    generation: Generation,
    /// Records of this generation.
    index: u32,
    /// Where the next one goes.
    offset: usize,
    buffer: Vec<u8>,
}

/// What an append came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Append {
    /// It would survive a power cut.
    Done,
    /// The record is too long, or the log has no room for it: nothing was written.
    NoRoom,
}

impl Log {
    /// Opens the log of a directory for a new generation, making it anew unless it is there with this capacity, in
    /// octets.
    pub(super) fn open(dir: &Path, capacity: usize, generation: Generation) -> std::io::Result<Self> {
        let path = dir.join(FILE);
        let is_whole = |file: &File| {
            let found = file.metadata()?;
            Ok::<_, std::io::Error>(found.len() == capacity as u64 && found.blocks().saturating_mul(512) >= found.len())
        };
        let whole = match File::open(&path) {
            Ok(file) => is_whole(&file)?,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !whole {
            make(dir, capacity)?;
        }
        let file = OpenOptions::new().write(true).open(&path)?;
        // Also where an earlier run has made it and could not do this.
        File::open(dir)?.sync_all()?;
        Ok(Self { file, capacity, generation, index: 0, offset: 0, buffer: Vec::new() })
    }

    /// Octets that the file takes.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether it holds records that are alive.
    pub(super) fn is_empty(&self) -> bool {
        self.index == 0
    }

    /// The records there are are no longer alive: the store names another generation.
    pub(super) fn begin(&mut self, generation: Generation) {
        self.generation = generation;
        (self.index, self.offset) = (0, 0);
    }

    /// Appends a batch as a record of at most `most` octets and waits for the disk. After an error it is not known
    /// whether the record is there, and nothing may be appended any more.
    pub(super) fn append(&mut self, batch: &Batch, most: usize) -> std::io::Result<Append> {
        let most = most.min(self.capacity.saturating_sub(self.offset));
        if !record::encode(batch, self.generation, self.index, most, &mut self.buffer) {
            return Ok(Append::NoRoom);
        }
        self.buffer.resize(self.buffer.len().next_multiple_of(PAGE), 0);
        self.file.write_all_at(&self.buffer, self.offset as u64)?;
        self.file.sync_data()?;
        self.offset = self.offset.saturating_add(self.buffer.len());
        self.index = self.index.saturating_add(1);
        Ok(Append::Done)
    }
}

/// Makes a file of zeros, on the disk before it gets its name: overwriting it needs neither room nor new extents.
fn make(dir: &Path, capacity: usize) -> std::io::Result<()> {
    let (unfinished, path) = (dir.join(UNFINISHED), dir.join(FILE));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let zeros = vec![0; CHUNK.min(capacity)];
        let mut left = capacity;
        while left > 0 {
            let piece = left.min(zeros.len());
            file.write_all(zeros.get(..piece).unwrap_or_default())?;
            left = left.saturating_sub(piece);
        }
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    let made = write();
    if made.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    made
}

/// What a log holds of one generation.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The batches, in order.
    pub(crate) batches: Vec<Batch>,
    /// What is wrong, one readable line each.
    pub(crate) damage: Vec<String>,
}

/// Reads the records of a generation out of the log of a directory, which a broker may be writing to meanwhile. A record
/// that is torn at the end was never confirmed and is no damage; one that is missing before others is.
pub(crate) fn read(dir: &Path, generation: Generation) -> Result<Found, StoreError> {
    let mut file = match File::open(dir.join(FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::default()),
        file => file?,
    };
    if !is_any_alive(&mut file, generation)? {
        return Ok(Found::default());
    }
    let mut octets = Vec::new();
    let mut before: Option<Found> = None;
    loop {
        file.rewind()?;
        octets.clear();
        (&mut file).take(LONGEST).read_to_end(&mut octets)?;
        let found = scan(&Bytes::copy_from_slice(&octets), generation);
        // One that was written just behind the reader, while others went ahead of him, is there the next time.
        if found.damage.is_empty() || before.is_some_and(|before| before.damage == found.damage) {
            return Ok(found);
        }
        before = Some(found);
    }
}

/// Whether any page begins like a record of a generation; most starts find none, and need no memory for the rest.
fn is_any_alive(file: &mut File, generation: Generation) -> std::io::Result<bool> {
    let mut window = vec![0; WINDOW];
    let mut pages = file.take(LONGEST);
    loop {
        let mut have = 0usize;
        while have < window.len() {
            match pages.read(window.get_mut(have..).unwrap_or_default())? {
                0 => break,
                more => have = have.saturating_add(more),
            }
        }
        let found = window.get(..have).unwrap_or_default();
        if found.chunks(PAGE).any(|page| Header::decode(page).is_some_and(|header| header.generation == generation)) {
            return Ok(true);
        }
        if have < window.len() {
            return Ok(false);
        }
    }
}

/// The records of a generation in the octets of a log, wherever they stand.
pub(super) fn scan(octets: &Bytes, generation: Generation) -> Found {
    let mut found = Found::default();
    let (mut at, mut next) = (0usize, 0u32);
    while at < octets.len() {
        let rest = octets.slice(at..);
        let record = record_at(&rest, generation).filter(|(header, _)| header.index >= next);
        let Some((header, payload)) = record else {
            at = at.saturating_add(PAGE);
            continue;
        };
        if header.index > next {
            let lost = header.index.saturating_sub(next);
            found.damage.push(format!("redo log: {lost} batches before number {} are lost", header.index));
        }
        match record::decode(payload) {
            Some(batch) => found.batches.push(batch),
            None => found.damage.push(format!("redo log: batch number {} cannot be read", header.index)),
        }
        next = header.index.saturating_add(1);
        at = at.saturating_add(header.record_len().next_multiple_of(PAGE));
    }
    found
}

/// The whole record at the front and its payload, if there is one of this generation.
fn record_at(octets: &Bytes, generation: Generation) -> Option<(Header, Bytes)> {
    let header = Header::decode(octets).filter(|header| header.generation == generation)?;
    let record = octets.get(..header.record_len()).filter(|record| header.verify(record))?;
    Some((header, octets.slice(record::HEADER..record.len())))
}
