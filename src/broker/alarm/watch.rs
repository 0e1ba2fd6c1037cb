//! The watch: looks at memory and disk, the more often the nearer their limits are.

use std::sync::Arc;
use std::time::Duration;

use super::{Broker, memory};

/// Longest time between two looks; RabbitMQ's at memory.
const LONGEST: Duration = Duration::from_millis(2_500);

/// Shortest time between two looks; RabbitMQ's at the disk.
const SHORTEST: Duration = Duration::from_millis(100);

/// Octets that a millisecond may fill of memory or disk at the utmost: 500 MB/s.
const FILL_RATE: u64 = 500_000;

/// Watches until the broker stops, and not a moment longer: a look under way on another thread would keep the data
/// directory locked.
pub(in crate::broker) async fn run(broker: Arc<Broker>) {
    tracing::info!("the memory alarm goes up at {} MiB", broker.alarms.memory_limit() >> 20);
    while !broker.stopping() {
        let distance = look(&broker).await;
        tokio::select! {
            () = broker.alarms.look.rung() => {}
            () = tokio::time::sleep(pause(distance)) => {}
        }
    }
}

/// The time in which a limit so many octets away cannot be reached.
fn pause(distance: u64) -> Duration {
    Duration::from_millis(distance / FILL_RATE).clamp(SHORTEST, LONGEST)
}

/// Looks, and returns how far the nearest limit is, in octets.
async fn look(broker: &Arc<Broker>) -> u64 {
    let mut distance = u64::MAX;
    if let Some(used) = memory::used() {
        broker.alarms.judge_memory(used);
        distance = broker.alarms.memory_limit().abs_diff(used);
    }
    let asked = broker.clone();
    // A file system may take its time to answer.
    let disk = tokio::task::spawn_blocking(move || look_at_disk(&asked)).await;
    distance.min(disk.unwrap_or(0))
}

fn look_at_disk(broker: &Broker) -> u64 {
    let Some(space) = broker.look_at_disk() else { return u64::MAX };
    let limit = broker.alarms.disk_limit(space);
    if !broker.alarms.raised() {
        // Twice the margin above the limit, lest the ballast itself raise the alarm.
        broker.engine().restore_ballast(limit.saturating_add(limit / 2));
    }
    space.room.abs_diff(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_the_limit_the_sooner_the_next_look() {
        assert_eq!(pause(0), SHORTEST);
        assert_eq!(pause(500_000 * 1_000), Duration::from_secs(1));
        assert_eq!(pause(u64::MAX), LONGEST);
    }
}
