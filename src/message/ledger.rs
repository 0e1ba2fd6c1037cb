//! How much memory the records of messages take, all over the process.
//!
//! A record is charged when it is made and discharged when its last holder lets go of it: queues, leases, outboxes,
//! journals and writers need no bookkeeping of their own, and none can forget any. Each thread gathers its changes and
//! tells the sum now and then, so that the figure is off by at most [`GRAIN`] a thread.

use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

/// Octets a thread may keep to itself.
const GRAIN: isize = 64 << 10;

/// Octets counted for a message beside its record: the two allocations' headers, its entry in a queue.
const OVERHEAD: usize = 128;

static RESIDENT: AtomicIsize = AtomicIsize::new(0);

/// What a thread has not told yet; told at the latest when it ends.
struct Drift(Cell<isize>);

impl Drop for Drift {
    fn drop(&mut self) {
        RESIDENT.fetch_add(self.0.get(), Ordering::Relaxed);
    }
}

thread_local! {
    static DRIFT: Drift = const { Drift(Cell::new(0)) };
}

/// Octets of message records in memory, with what they cost beside.
pub fn resident() -> usize {
    usize::try_from(RESIDENT.load(Ordering::Relaxed)).unwrap_or(0)
}

#[inline]
fn add(octets: isize) {
    let told = DRIFT.try_with(|drift| {
        let sum = drift.0.get().saturating_add(octets);
        if sum.abs() < GRAIN {
            drift.0.set(sum);
        } else {
            drift.0.set(0);
            RESIDENT.fetch_add(sum, Ordering::Relaxed);
        }
    });
    if told.is_err() {
        // The thread is ending and has told its sum.
        RESIDENT.fetch_add(octets, Ordering::Relaxed);
    }
}

/// What one record weighs, as long as this lives.
#[derive(Debug)]
pub(super) struct Charge(isize);

impl Charge {
    /// Charges a record of `len` octets.
    #[inline]
    pub(super) fn of(len: usize) -> Self {
        let octets = isize::try_from(len.saturating_add(OVERHEAD)).unwrap_or(isize::MAX);
        add(octets);
        Self(octets)
    }
}

impl Drop for Charge {
    #[inline]
    fn drop(&mut self) {
        add(self.0.saturating_neg());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_lasts_as_long_as_its_record() {
        // Other tests of this process charge too, but nothing as large as this.
        const HUGE: usize = 1 << 40;
        let charge = Charge::of(HUGE);
        assert!(resident() >= HUGE);
        std::thread::spawn(move || drop(charge)).join().unwrap();
        assert!(resident() < HUGE, "discharged by another thread, which has ended");
    }
}
