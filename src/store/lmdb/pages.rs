//! LMDB's pages, read without LMDB: is the tree in the file whole?
//!
//! LMDB believes every page it maps. A mangled tree page makes it read outside of the map, and the process dies; a
//! mangled list of free pages makes it overwrite what is alive. So the tree is walked here first, with bounds, through
//! ordinary reads of the file. Touches nothing but the file it is given. Invariants: no content makes this panic,
//! recurse or take more memory than the file's own size warrants; a page is read at most once. Deliberately absent:
//! what the values mean, and repair.
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::arithmetic_side_effects)]

use std::cmp::Ordering;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::meta::{Meta, Tree, u16_at, u32_at, u64_at};
use crate::store::StoreError;

/// Length of a page's header in octets.
pub(super) const PAGE_HEADER: usize = 16;

/// Length of a node's header in octets.
const NODE_HEADER: usize = 8;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const OVERFLOW: u16 = 0x04;

/// Flag of a node whose value lies in pages of its own.
const BIG: u16 = 0x01;
/// Flag of a node whose value is the record of a named database.
const SUB: u16 = 0x02;

/// Levels of a tree; LMDB's cursors have no room for more.
const DEEPEST: u16 = 32;

/// LMDB's longest key, in octets.
const LONGEST_KEY: usize = 511;

/// Most findings that are told one by one.
const MOST_FINDINGS: usize = 1000;

/// Leaf pages up to which a big tree is read at a start: 64 MiB, which a slow disk reads in half a second.
const LEAVES_AT_START: u64 = 16_384;

/// Values of a tree up to which the headers of large ones are read at a start, each from a place of its own.
const HEADERS_AT_START: u64 = 4_096;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// What a start can afford: everything but the leaves of very large trees and the headers of large values.
    Start,
    /// Everything but the contents of large values.
    Everything,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// What would make LMDB fail, or the process with it.
    pub(super) broken: Vec<String>,
    /// What is not as it should be, but harms nobody.
    pub(super) odd: Vec<String>,
    /// Octets of a page.
    pub(super) page_size: u64,
    /// Pages that the newest root counts, whether they are in the file yet or not.
    pub(super) pages: u64,
    /// Pages in use, those of roots and free lists included.
    pub(super) used: u64,
    /// Pages in lists of free pages.
    pub(super) free: u64,
}

impl Survey {
    /// Fails with the first of what is broken.
    pub(super) fn usable(&self) -> Result<(), StoreError> {
        match self.broken.as_slice() {
            [] => Ok(()),
            [first] => Err(StoreError::Damaged(format!("data.mdb: {first}"))),
            [first, others @ ..] => {
                Err(StoreError::Damaged(format!("data.mdb: {first} (and {} more findings)", others.len())))
            }
        }
    }
}

/// Walks everything that a root reaches.
pub(super) fn survey(file: &File, meta: &Meta, depth: Depth) -> Result<Survey, StoreError> {
    let len = file.metadata()?.len();
    let in_file = len.checked_div(meta.page_size).unwrap_or(0);
    let pages = meta.last_page.saturating_add(1);
    let mut walk = Walk {
        file,
        depth,
        page_size: meta.page_size,
        pages,
        in_file,
        seen: Seen::new(in_file.min(pages)),
        found: Survey { page_size: meta.page_size, pages, used: 2, ..Survey::default() },
    };
    walk.seen.mark(0, 2);
    let complete = walk.tree(&meta.main, Kind::Main)?;
    let lists = walk.tree(&meta.free, Kind::Free)?;
    let Walk { mut found, .. } = walk;
    if depth == Depth::Everything && complete && lists && found.broken.is_empty() {
        let known = found.used.saturating_add(found.free);
        match found.pages.cmp(&known) {
            Ordering::Greater => {
                let lost = found.pages.saturating_sub(known);
                found.odd.push(format!("{lost} pages are neither used nor free; compacting gives them back"));
            }
            Ordering::Less => found.broken.push(format!("{known} pages are used or free, of {}", found.pages)),
            Ordering::Equal => {}
        }
    }
    Ok(found)
}

/// One bit a page.
struct Seen(Vec<u64>);

impl Seen {
    fn new(pages: u64) -> Self {
        Self(vec![0; usize::try_from(pages.div_ceil(64)).unwrap_or(0)])
    }

    /// Marks `count` pages from `first` on; `false` if one of them was marked before.
    fn mark(&mut self, first: u64, count: u64) -> bool {
        let mut fresh = true;
        for page in first..first.saturating_add(count) {
            let Some(word) = usize::try_from(page / 64).ok().and_then(|at| self.0.get_mut(at)) else { break };
            let bit = 1u64 << (page % 64);
            fresh &= *word & bit == 0;
            *word |= bit;
        }
        fresh
    }
}

/// What a tree's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Records of named databases.
    Main,
    /// Lists of free pages, under native integers.
    Free,
    /// Anything.
    Named,
}

/// A page still to be read: its number, its level, and the bounds of its keys.
struct Todo {
    page: u64,
    level: u16,
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
}

/// Totals of a tree, to be compared with its record.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    branches: u64,
    leaves: u64,
    overflow: u64,
    entries: u64,
}

/// A node of a page.
struct Node<'a> {
    low: u32,
    flags: u16,
    key: &'a [u8],
    /// What follows the key, to the end of the page.
    rest: &'a [u8],
}

struct Walk<'a> {
    file: &'a File,
    depth: Depth,
    page_size: u64,
    pages: u64,
    in_file: u64,
    seen: Seen,
    found: Survey,
}

impl Walk<'_> {
    fn broken(&mut self, line: impl FnOnce() -> String) {
        if self.found.broken.len() < MOST_FINDINGS {
            self.found.broken.push(line());
        }
    }

    /// Marks pages as used; `false`, with a finding, if they cannot be.
    fn take(&mut self, first: u64, count: u64, what: &str) -> bool {
        let end = first.saturating_add(count);
        if first < 2 || end > self.pages {
            let pages = self.pages;
            self.broken(|| format!("{what} leads to page {first}, but there are {pages}"));
            return false;
        }
        if end > self.in_file {
            let in_file = self.in_file;
            self.broken(|| {
                format!("{what} leads to page {first}, but the file ends after {in_file}: it was cut short")
            });
            return false;
        }
        if !self.seen.mark(first, count) {
            self.broken(|| format!("{what} leads to page {first}, which is in use already"));
            return false;
        }
        self.found.used = self.found.used.saturating_add(count);
        true
    }

    fn read(&self, page: u64, count: u64) -> Result<Vec<u8>, StoreError> {
        let len = usize::try_from(self.page_size.saturating_mul(count)).unwrap_or(0);
        let mut out = vec![0; len];
        self.file.read_exact_at(&mut out, page.saturating_mul(self.page_size))?;
        Ok(out)
    }

    /// Walks one tree; `true` if all of it was read.
    fn tree(&mut self, tree: &Tree, kind: Kind) -> Result<bool, StoreError> {
        let Some(root) = tree.root else {
            if tree.entries > 0 {
                self.broken(|| format!("a tree of {} entries has no root", tree.entries));
            }
            return Ok(true);
        };
        if tree.depth == 0 || tree.depth > DEEPEST {
            self.broken(|| format!("a tree has {} levels", tree.depth));
            return Ok(false);
        }
        let large = tree.leaves > LEAVES_AT_START;
        let look = self.depth == Depth::Everything || kind == Kind::Free || tree.entries <= HEADERS_AT_START;
        let skip_leaves = self.depth == Depth::Start && large && kind == Kind::Named;
        let mut totals = Totals::default();
        let mut todo = vec![Todo { page: root, level: 1, low: None, high: None }];
        let mut whole = true;
        while let Some(next) = todo.pop() {
            if !self.take(next.page, 1, "a tree") {
                whole = false;
            } else if next.level == tree.depth && skip_leaves {
                totals.leaves = totals.leaves.saturating_add(1);
            } else {
                let page = self.read(next.page, 1)?;
                let is_leaf = next.level == tree.depth;
                match nodes(&page, next.page, is_leaf) {
                    Err(what) => {
                        whole = false;
                        self.broken(|| format!("page {}: {what}", next.page));
                    }
                    Ok(nodes) => {
                        whole &= self.in_order(&nodes, &next, kind, is_leaf);
                        if is_leaf {
                            totals.leaves = totals.leaves.saturating_add(1);
                            whole &= self.leaf(&nodes, next.page, kind, look, &mut totals)?;
                        } else {
                            totals.branches = totals.branches.saturating_add(1);
                            descend(&nodes, next, &mut todo);
                        }
                    }
                }
            }
        }
        if skip_leaves {
            // What was not read is taken from the record.
            self.found.used = self.found.used.saturating_add(tree.overflow);
            return Ok(false);
        }
        let Tree { branches, leaves, overflow, entries, .. } = *tree;
        if whole && totals != (Totals { branches, leaves, overflow, entries }) && self.found.odd.len() < MOST_FINDINGS {
            self.found.odd.push(format!("a tree's record counts otherwise: {tree:?}, found {totals:?}"));
        }
        Ok(whole)
    }

    /// Whether keys ascend within the page and lie between the separators above it.
    fn in_order(&mut self, nodes: &[Node<'_>], place: &Todo, kind: Kind, is_leaf: bool) -> bool {
        let compare = |a: &[u8], b: &[u8]| match kind {
            Kind::Free => u64_at(a, 0).cmp(&u64_at(b, 0)),
            Kind::Main | Kind::Named => a.cmp(b),
        };
        // The first key of a branch page is never compared.
        let keys = || nodes.iter().skip(usize::from(!is_leaf)).map(|node| node.key);
        let ascending = keys().zip(keys().skip(1)).all(|(a, b)| compare(a, b) == Ordering::Less);
        let low =
            place.low.as_deref().zip(keys().next()).is_none_or(|(low, key)| compare(low, key) != Ordering::Greater);
        let high = place
            .high
            .as_deref()
            .zip(keys().next_back())
            .is_none_or(|(high, key)| compare(key, high) == Ordering::Less);
        if !(ascending && low && high) {
            self.broken(|| format!("page {}: keys are out of order", place.page));
        }
        ascending && low && high
    }

    /// The values of a leaf page; `look`: the headers of large ones are read.
    fn leaf(
        &mut self,
        nodes: &[Node<'_>],
        page: u64,
        kind: Kind,
        look: bool,
        totals: &mut Totals,
    ) -> Result<bool, StoreError> {
        let mut whole = true;
        for node in nodes {
            totals.entries = totals.entries.saturating_add(1);
            let sub = kind == Kind::Main && node.flags == SUB;
            if node.flags & !BIG != 0 && !sub {
                self.broken(|| format!("page {page}: unknown kind of value {:#x}", node.flags));
                whole = false;
                continue;
            }
            if node.flags == BIG {
                let Some((first, count)) = self.large(node, page, look)? else {
                    whole = false;
                    continue;
                };
                totals.overflow = totals.overflow.saturating_add(count);
                if kind == Kind::Free {
                    let octets = self.read(first, count)?;
                    let value = octets.get(PAGE_HEADER..).unwrap_or_default();
                    whole &= self.list(value.get(..usize_of(node.low)).unwrap_or_default(), page);
                }
                continue;
            }
            let Some(value) = node.rest.get(..usize_of(node.low)) else {
                self.broken(|| format!("page {page}: a value reaches beyond the page"));
                whole = false;
                continue;
            };
            match kind {
                Kind::Free => whole &= self.list(value, page),
                Kind::Main if sub => {
                    let Some(tree) = Tree::read(value) else {
                        self.broken(|| format!("page {page}: the record of a database is too short"));
                        whole = false;
                        continue;
                    };
                    whole &= self.tree(&tree, Kind::Named)?;
                }
                Kind::Main | Kind::Named => {}
            }
        }
        Ok(whole)
    }

    /// First page and number of pages of a large value.
    fn large(&mut self, node: &Node<'_>, page: u64, look: bool) -> Result<Option<(u64, u64)>, StoreError> {
        let Some(first) = u64_at(node.rest, 0) else {
            self.broken(|| format!("page {page}: a large value has no page"));
            return Ok(None);
        };
        let octets = u64::from(node.low).saturating_add(PAGE_HEADER as u64);
        let count = octets.div_ceil(self.page_size);
        if !self.take(first, count, "a large value") {
            return Ok(None);
        }
        if look {
            let mut header = [0; PAGE_HEADER];
            self.file.read_exact_at(&mut header, first.saturating_mul(self.page_size))?;
            let says = u32_at(&header, 12).map(u64::from);
            if u16_at(&header, 10) != Some(OVERFLOW) || u64_at(&header, 0) != Some(first) || says != Some(count) {
                self.broken(|| format!("page {first}: is not the first of a large value of {count} pages"));
                return Ok(None);
            }
        }
        Ok(Some((first, count)))
    }

    /// A list of free pages: how many, then their numbers in descending order.
    fn list(&mut self, value: &[u8], page: u64) -> bool {
        let (ids, _) = value.as_chunks::<8>();
        let mut ids = ids.iter().map(|id| u64::from_ne_bytes(*id));
        let count = ids.next();
        let Some(count) = count.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= ids.len()) else {
            self.broken(|| format!("page {page}: a list of free pages is cut short"));
            return false;
        };
        let mut before = u64::MAX;
        for id in ids.take(count) {
            if id < 2 || id >= self.pages || id >= before || !self.seen.mark(id, 1) {
                self.broken(|| format!("page {page}: page {id} is called free, but cannot be"));
                return false;
            }
            before = id;
            self.found.free = self.found.free.saturating_add(1);
        }
        true
    }
}

/// Puts the children of a branch page on the list, last first, so that they are read in order.
fn descend(nodes: &[Node<'_>], place: Todo, todo: &mut Vec<Todo>) {
    let mut high = place.high;
    for (at, node) in nodes.iter().enumerate().rev() {
        let low = if at == 0 { place.low.clone() } else { Some(node.key.to_vec()) };
        let page = u64::from(node.low) | u64::from(node.flags) << 32;
        todo.push(Todo { page, level: place.level.saturating_add(1), low: low.clone(), high });
        high = low;
    }
}

fn usize_of(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// The nodes of a tree page, or why it is not one.
fn nodes(page: &[u8], number: u64, is_leaf: bool) -> Result<Vec<Node<'_>>, &'static str> {
    let wanted = if is_leaf { LEAF } else { BRANCH };
    if u64_at(page, 0) != Some(number) {
        return Err("bears another number");
    }
    if u16_at(page, 10) != Some(wanted) {
        return Err("is of another kind than its place in the tree");
    }
    let bounds = u16_at(page, 12).zip(u16_at(page, 14));
    let (lower, upper) = bounds.map(|(lower, upper)| (usize::from(lower), usize::from(upper))).unwrap_or_default();
    if lower < PAGE_HEADER || lower % 2 != 0 || lower > upper || upper > page.len() {
        return Err("its free space cannot be");
    }
    let places = page.get(PAGE_HEADER..lower).unwrap_or_default().as_chunks::<2>().0;
    if places.is_empty() {
        return Err("is empty");
    }
    let mut out = Vec::with_capacity(places.len());
    for place in places {
        let at = usize::from(u16::from_ne_bytes(*place));
        let node = if at >= upper && at % 2 == 0 { page.get(at..) } else { None };
        let node = node.and_then(|octets| node_at(octets, is_leaf)).ok_or("a node lies outside of its place")?;
        out.push(node);
    }
    Ok(out)
}

fn node_at(octets: &[u8], is_leaf: bool) -> Option<Node<'_>> {
    // LMDB stores the halves of this word in the machine's order, so that it reads as one.
    let (low, flags) = (u32_at(octets, 0)?, u16_at(octets, 4)?);
    let key_len = usize::from(u16_at(octets, 6)?);
    let (key, rest) = octets.get(NODE_HEADER..)?.split_at_checked(key_len)?;
    (key_len <= LONGEST_KEY && (key_len > 0 || !is_leaf)).then_some(Node { low, flags, key, rest })
}
