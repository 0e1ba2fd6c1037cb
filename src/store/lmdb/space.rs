//! How much room the store has, and making some: a larger map, the ballast.
//!
//! Room is what is free on the file system plus what is free within `data.mdb`, which never shrinks by itself: a store
//! that was full and has been drained has room although its disk shows none. Invariant: the map is resized only under
//! the exclusive side of the gate, on the thread that commits, while no transaction is open. Deliberately absent: the
//! decision who may still write.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use super::{LmdbEngine, address_space, ballast, resize};
use crate::store::Space;

/// The list of free pages takes about one octet in as many of what is free: 8 for a page of 4 KiB.
const FREE_LIST: u64 = 512;

/// A map that may grow does so when this share of it is in use, in percent.
const CROWDED: u64 = 80;

/// The file system's view.
pub(super) struct Disk {
    pub(super) free: u64,
    pub(super) total: u64,
}

/// What is in the store's file, in octets.
pub(super) struct Usage {
    /// The file as it lies on the disk.
    pub(super) file: u64,
    /// Pages that hold something.
    pub(super) used: u64,
    /// The map.
    pub(super) map: u64,
}

impl LmdbEngine {
    pub(super) fn disk(&self) -> Option<Disk> {
        let found = rustix::fs::statvfs(&self.dir).ok()?;
        let octets = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Disk { free: octets(found.f_bavail), total: octets(found.f_blocks) })
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        let _shared = self.gate.read();
        let found = std::fs::metadata(self.dir.join(super::DATA_FILE)).ok()?;
        let txn = self.env.read_txn().ok()?;
        let used = self.tables.octets(&txn).ok()?;
        let file = found.len().min(found.blocks().saturating_mul(512));
        let free_list = file.saturating_sub(used) / FREE_LIST;
        Some(Usage { file, used: used.saturating_add(free_list), map: self.env.info().map_size as u64 })
    }

    pub(super) fn measure(&self) -> Option<Space> {
        let (disk, usage) = (self.disk()?, self.usage()?);
        let bound = self.bound.load(Ordering::Relaxed).max(usage.map);
        let reusable = usage.file.saturating_sub(usage.used);
        let total = disk.total.min(bound);
        Some(Space {
            room: disk.free.saturating_add(reusable).min(bound.saturating_sub(usage.used)),
            total,
            reserve: ballast::size(total) / 2,
        })
    }

    /// Makes the map larger before it is full, if it may be.
    pub(super) fn grow_in_time(&self) {
        let info = self.env.info();
        let (map, bound) = (info.map_size as u64, self.bound.load(Ordering::Relaxed));
        if map >= bound {
            return;
        }
        let page = u64::from(self.env.stat().page_size);
        if (info.last_page_number as u64).saturating_mul(page) > (map / 100).saturating_mul(CROWDED) {
            self.grow();
        }
    }

    /// Doubles the map. `false` if it is as large as it may be, or the system grants no more; then that is its bound.
    pub(super) fn grow(&self) -> bool {
        let (map, bound) = (self.env.info().map_size as u64, self.bound.load(Ordering::Relaxed));
        if map >= bound {
            return false;
        }
        let wanted = map.saturating_mul(2).min(bound);
        // A map that is gone because no other could be had in its place would be the end: ask for the room first.
        let grown = address_space(wanted) && {
            let _exclusive = self.gate.write();
            resize(&self.env, wanted)
        };
        if grown {
            tracing::info!("the store's map has grown to {} MiB", wanted >> 20);
        } else {
            tracing::warn!("the system grants no larger map than {} MiB, which bounds the store", map >> 20);
            self.bound.store(map, Ordering::Relaxed);
        }
        grown
    }

    /// Gives the ballast up; `false` if there was none.
    pub(super) fn drop_ballast(&self) -> bool {
        match self.ballast.give_up() {
            Ok(false) => false,
            Ok(true) => {
                tracing::warn!("the disk is full: the ballast was given up");
                true
            }
            Err(error) => {
                tracing::error!("the ballast cannot be given up: {error}");
                false
            }
        }
    }

    /// Makes the ballast, if it is not there, out of what is free beyond `spare` octets.
    pub(super) fn remake_ballast(&self, spare: u64) {
        let Some(disk) = self.disk() else { return };
        let size = ballast::size(disk.total);
        if self.ballast.occupied() >= size || disk.free < size.saturating_add(spare) {
            return;
        }
        match self.ballast.make(size) {
            Ok(()) => tracing::info!("{} MiB are reserved as ballast for a full disk", size >> 20),
            Err(error) => tracing::warn!("no ballast can be reserved for a full disk: {error}"),
        }
    }
}
