//! The memory alarm and the disk alarm: while one is up, whoever publishes is not read.
//!
//! As in RabbitMQ, an alarm touches only connections that publish: a session that takes in content while an alarm is up
//! stops reading its client, tells it (connection.blocked), and goes on when the last alarm is down. Everybody else goes
//! on, acknowledgements included, which is how the broker gets out of trouble.
//!
//! The memory alarm goes by what the process holds in memory of its own; the disk alarm by the room the store has left
//! after what is on its way there, and it is up as long as something found no room. Both have a margin between going up
//! and coming down, so that they do not flutter. Deliberately absent: sockets and frames; the reserve of the store, which
//! stands behind the disk alarm ([`crate::store::Space`]).

pub(super) mod memory;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use rustc_hash::FxHashMap;

use super::Broker;
use super::connection::ConnectionId;
use crate::config::{Config, DiskFreeLimit, MemoryWatermark};
use crate::store::Space;
use crate::sync::{Bell, Mutex, Rank};
pub(super) use watch::run;

/// The process holds too much memory.
const MEMORY: u8 = 1;
/// The store has too little room.
const DISK: u8 = 2;
/// Something found no room in the store.
const HELD: u8 = 4;

/// Most room that the disk alarm insists on by itself, in octets.
const LARGEST_DISK_LIMIT: u64 = 1 << 30;

/// The part of a file system that the disk alarm insists on by itself: one in so many octets (5 %).
const DISK_PART: u64 = 20;

/// The disk limit that stands for "of its own choice".
const AUTOMATIC: u64 = u64::MAX;

/// What may be wrong, and who waits for it to be right again.
#[derive(Debug)]
pub struct Alarms {
    raised: AtomicU8,
    /// Octets of memory; above that the alarm goes up.
    memory_limit: AtomicU64,
    /// Octets of room; below that the alarm goes up.
    disk_limit: AtomicU64,
    blocked: Mutex<FxHashMap<ConnectionId, Arc<Bell>>>,
    /// Rung when the watch is to look at once.
    pub(super) look: Bell,
}

impl Alarms {
    /// No alarm, with the limits of the configuration.
    pub(super) fn new(config: &Config) -> Self {
        let alarms = Self {
            raised: AtomicU8::new(0),
            memory_limit: AtomicU64::new(u64::MAX),
            disk_limit: AtomicU64::new(AUTOMATIC),
            blocked: Mutex::new(Rank::Leaf, FxHashMap::default()),
            look: Bell::new(),
        };
        alarms.set_memory_watermark(config.memory_watermark);
        alarms.set_disk_free_limit(config.disk_free_limit);
        alarms
    }

    /// Whether any alarm is up.
    #[inline]
    pub fn raised(&self) -> bool {
        self.raised.load(Ordering::Acquire) != 0
    }

    /// Why clients are blocked, in RabbitMQ's words.
    pub fn reason(&self) -> &'static str {
        let raised = self.raised.load(Ordering::Acquire);
        match (raised & MEMORY != 0, raised & (DISK | HELD) != 0) {
            (true, true) => "low on disk & memory",
            (true, false) => "low on memory",
            (false, _) => "low on disk",
        }
    }

    /// Rings `bell` once no alarm is up; `true`, without ringing, if none is.
    #[must_use]
    pub fn await_end(&self, connection: ConnectionId, bell: &Arc<Bell>) -> bool {
        let mut blocked = self.blocked.lock();
        // The flag goes down before the list is taken: either it is seen here, or the bell is seen there.
        if !self.raised() {
            return true;
        }
        blocked.insert(connection, bell.clone());
        false
    }

    /// A connection waits no more.
    pub fn forget(&self, connection: ConnectionId) {
        self.blocked.lock().remove(&connection);
    }

    /// Connections that are blocked now.
    pub fn blocked(&self) -> usize {
        self.blocked.lock().len()
    }

    /// Sets how much memory the process may hold before publishers are blocked; takes effect at once.
    pub fn set_memory_watermark(&self, watermark: MemoryWatermark) {
        let limit = match watermark {
            MemoryWatermark::Relative(parts) => memory::available().map_or(u64::MAX, |total| parts.of(total)),
            MemoryWatermark::Absolute(octets) => octets,
        };
        self.memory_limit.store(limit, Ordering::Relaxed);
        self.look.ring();
    }

    /// Sets how much room the store must have for publishers not to be blocked; takes effect at once.
    pub fn set_disk_free_limit(&self, limit: DiskFreeLimit) {
        let limit = match limit {
            DiskFreeLimit::Automatic => AUTOMATIC,
            DiskFreeLimit::Absolute(octets) => octets,
            DiskFreeLimit::OfMemory(parts) => memory::available().map_or(AUTOMATIC, |total| parts.of(total)),
        };
        self.disk_limit.store(limit, Ordering::Relaxed);
        self.look.ring();
    }

    /// The writer has found no room for something, or has written it after all.
    pub(super) fn holding(&self, held: bool) {
        self.set(HELD, held);
    }

    /// Whether the memory alarm is up.
    pub fn short_of_memory(&self) -> bool {
        self.raised.load(Ordering::Acquire) & MEMORY != 0
    }

    /// Whether the disk alarm is up.
    pub fn short_of_room(&self) -> bool {
        self.raised.load(Ordering::Acquire) & (DISK | HELD) != 0
    }

    pub(super) fn memory_limit(&self) -> u64 {
        self.memory_limit.load(Ordering::Relaxed)
    }

    /// The room the store must have: if nobody says otherwise, twice the reserve of the store at least, so that publishers
    /// are stopped before their messages would touch it.
    pub(super) fn disk_limit(&self, space: Space) -> u64 {
        match self.disk_limit.load(Ordering::Relaxed) {
            AUTOMATIC => (space.total / DISK_PART).min(LARGEST_DISK_LIMIT).max(space.reserve.saturating_mul(2)),
            limit => limit,
        }
    }

    /// Judges the memory in use.
    fn judge_memory(&self, used: u64) {
        let limit = self.memory_limit();
        let up = self.raised.load(Ordering::Acquire) & MEMORY != 0;
        // Down at 5 % below the limit.
        let wrong = used > if up { limit - limit / 20 } else { limit };
        if self.set(MEMORY, wrong) && wrong {
            tracing::warn!("memory alarm: {used} octets in use, the limit is {limit}; publishers are blocked");
        } else if up && !wrong {
            tracing::warn!("memory alarm is over: {used} octets in use");
        }
    }

    /// Judges the room in the store when `pending` octets are on their way there.
    fn judge_disk(&self, space: Space, pending: u64) {
        let limit = self.disk_limit(space);
        let room = space.room.saturating_sub(pending);
        let up = self.raised.load(Ordering::Acquire) & DISK != 0;
        // Down at a quarter above the limit.
        let wrong = room < if up { limit.saturating_add(limit / 4) } else { limit };
        if self.set(DISK, wrong) && wrong {
            tracing::warn!("disk alarm: room for {room} octets, the limit is {limit}; publishers are blocked");
        } else if up && !wrong {
            tracing::warn!("disk alarm is over: room for {room} octets");
        }
    }

    /// Puts an alarm up or down; `true` if it was not so before. With the last one down, everybody goes on.
    fn set(&self, alarm: u8, up: bool) -> bool {
        let before = if up {
            self.raised.fetch_or(alarm, Ordering::AcqRel)
        } else {
            self.raised.fetch_and(!alarm, Ordering::AcqRel)
        };
        if !up && before == alarm {
            let blocked = std::mem::take(&mut *self.blocked.lock());
            for bell in blocked.values() {
                bell.ring();
            }
        }
        (before & alarm != 0) != up
    }
}

impl Broker {
    /// Looks at the room in the store, with what it means for the alarm; `None` if there is no limit.
    pub(super) fn look_at_disk(&self) -> Option<Space> {
        let space = self.engine().space()?;
        self.alarms.judge_disk(space, self.intake.bytes() as u64);
        Some(space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarms() -> Alarms {
        let config = Config {
            memory_watermark: MemoryWatermark::Absolute(1_000),
            disk_free_limit: DiskFreeLimit::Absolute(1_000),
            ..Config::default()
        };
        Alarms::new(&config)
    }

    fn space(room: u64) -> Space {
        Space { room, total: 1 << 40, reserve: 0 }
    }

    #[test]
    fn an_alarm_has_a_margin_between_going_up_and_coming_down() {
        let alarms = alarms();
        for (used, raised) in [(1_000, false), (1_001, true), (960, true), (950, false), (1_000, false)] {
            alarms.judge_memory(used);
            assert_eq!(alarms.raised(), raised, "{used}");
        }
        for (room, raised) in [(1_000, false), (999, true), (1_249, true), (1_250, false), (1_000, false)] {
            alarms.judge_disk(space(room), 0);
            assert_eq!(alarms.raised(), raised, "{room}");
        }
        alarms.judge_disk(space(2_000), 1_001);
        assert!(alarms.raised(), "what is on its way counts");
    }

    #[test]
    fn the_reason_names_every_alarm_and_only_the_end_of_the_last_counts() {
        let alarms = alarms();
        let bell = Arc::new(Bell::new());
        assert!(alarms.await_end(1, &bell), "no alarm, no waiting");
        alarms.holding(true);
        assert_eq!(alarms.reason(), "low on disk");
        alarms.judge_memory(2_000);
        assert_eq!(alarms.reason(), "low on disk & memory");
        assert!(!alarms.await_end(1, &bell));
        alarms.holding(false);
        assert_eq!((alarms.reason(), alarms.blocked()), ("low on memory", 1));
        alarms.judge_memory(0);
        assert_eq!((alarms.raised(), alarms.blocked()), (false, 0));
        assert!(
            std::pin::pin!(bell.rung()).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
        );
    }

    #[test]
    fn the_automatic_disk_limit_follows_the_size_of_the_disk() {
        let alarms = alarms();
        alarms.set_disk_free_limit(DiskFreeLimit::Automatic);
        let of = |total, reserve| alarms.disk_limit(Space { room: 0, total, reserve });
        assert_eq!(of(1 << 40, 32 << 20), 1 << 30);
        assert_eq!(of(256 << 20, 2 << 20), (256 << 20) / 20);
        assert_eq!(of(16 << 20, 1 << 20), 2 << 20, "above the reserve");
    }
}
