//! LMDB's two meta pages, read without LMDB: which root is the newest, and can it be believed?
//!
//! LMDB divides by a number it finds here and maps what another one says, so both are judged before it opens the file.
//! Pure but for reading the file it is given. Invariant: a [`Meta`] that [`read`] returns has a page size that LMDB
//! can have chosen. Deliberately absent: everything behind the roots (`pages`).
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::arithmetic_side_effects)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::pages::PAGE_HEADER;
use crate::store::StoreError;

const META: u16 = 0x08;
const MAGIC: u32 = 0xBEEF_C0DE;

/// The data format of LMDB 0.9.
const DATA_VERSION: u32 = 1;

/// Octets of a meta page that matter.
const META_LEN: usize = PAGE_HEADER + 136;

/// Length of the record of a tree.
const TREE_LEN: usize = 48;

/// Page sizes LMDB can have.
const SMALLEST_PAGE: u64 = 256;
const LARGEST_PAGE: u64 = 65_536;

pub(super) fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|array| u16::from_ne_bytes(*array))
}

pub(super) fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|array| u32::from_ne_bytes(*array))
}

pub(super) fn u64_at(octets: &[u8], at: usize) -> Option<u64> {
    octets.get(at..)?.first_chunk().map(|array| u64::from_ne_bytes(*array))
}

/// The record of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) depth: u16,
    pub(super) branches: u64,
    pub(super) leaves: u64,
    pub(super) overflow: u64,
    pub(super) entries: u64,
    /// `None` if the tree is empty.
    pub(super) root: Option<u64>,
}

impl Tree {
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let octets = octets.get(..TREE_LEN)?;
        Some(Self {
            depth: u16_at(octets, 6)?,
            branches: u64_at(octets, 8)?,
            leaves: u64_at(octets, 16)?,
            overflow: u64_at(octets, 24)?,
            entries: u64_at(octets, 32)?,
            root: u64_at(octets, 40).filter(|page| *page != u64::MAX),
        })
    }
}

/// A meta page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    /// Octets of a page.
    pub(super) page_size: u64,
    /// The tree of free pages.
    pub(super) free: Tree,
    /// The tree of named databases.
    pub(super) main: Tree,
    /// The highest page that was ever used.
    pub(super) last_page: u64,
    /// The transaction that wrote it.
    pub(super) txn: u64,
}

impl Meta {
    fn decode(octets: &[u8]) -> Option<Self> {
        let kind = u16_at(octets, 10)?;
        let octets = octets.get(PAGE_HEADER..)?;
        if kind & META == 0 || u32_at(octets, 0)? != MAGIC || u32_at(octets, 4)? != DATA_VERSION {
            return None;
        }
        let page_size = u64::from(u32_at(octets, 24)?);
        let sound = page_size.is_power_of_two() && (SMALLEST_PAGE..=LARGEST_PAGE).contains(&page_size);
        let meta = Self {
            page_size,
            free: Tree::read(octets.get(24..)?)?,
            main: Tree::read(octets.get(72..)?)?,
            last_page: u64_at(octets, 120)?,
            txn: u64_at(octets, 128)?,
        };
        sound.then_some(meta)
    }
}

/// Both meta pages, the newer one first.
pub(super) fn read(file: &File) -> Result<[Meta; 2], StoreError> {
    let damaged = |what: &str| StoreError::Damaged(format!("data.mdb: {what}"));
    let len = file.metadata()?.len();
    if len == 0 {
        return Err(damaged("the file is empty; restore a backup, or remove it to begin with an empty store"));
    }
    let mut octets = [0; META_LEN];
    let mut page = |at| match file.read_exact_at(&mut octets, at) {
        Ok(()) => Ok(Meta::decode(&octets)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    };
    let first = page(0)?.ok_or_else(|| damaged("it does not begin like a store"))?;
    let second = page(first.page_size)?.filter(|meta| meta.page_size == first.page_size);
    let second = second.ok_or_else(|| damaged("its second root record is damaged"))?;
    Ok(if second.txn > first.txn { [second, first] } else { [first, second] })
}

/// Whether the numbers of two transactions can stand in one file: the records are written in turn, so that they are
/// consecutive, and the page tells which is even. A new store has 0 twice.
pub(super) fn consecutive([newer, older]: &[Meta; 2]) -> bool {
    newer.txn == 0 || older.txn.checked_add(1) == Some(newer.txn)
}
