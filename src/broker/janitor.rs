//! Deadlines: message expiry at the head of a queue, the end of delays, the expiry of queues. And leases that nobody
//! returned.
//!
//! A queue reports a deadline only when it is earlier than the one it reported last; stale ones are recognised when
//! they come, because the queue is simply asked to look after itself. Holds queues weakly: a deleted queue is not kept
//! alive by its deadline.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Broker;
use crate::clock::Millis;
use crate::queue::{Effects, Queue};
use crate::sync::{Bell, Mutex, Rank};

/// Longest sleep; deadlines decades away need no timer of their own.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Queues looked after before other tasks get their turn.
const BUDGET: usize = 256;

#[derive(Debug)]
struct Due {
    at: Millis,
    queue: Weak<Queue>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// The list of deadlines.
#[derive(Debug)]
pub(super) struct Janitor {
    heap: Mutex<BinaryHeap<Reverse<Due>>>,
    bell: Bell,
}

impl Default for Janitor {
    fn default() -> Self {
        Self { heap: Mutex::new(Rank::Leaf, BinaryHeap::new()), bell: Bell::new() }
    }
}

impl Janitor {
    pub(super) fn schedule(&self, at: Millis, queue: &Arc<Queue>) {
        let earliest = {
            let mut heap = self.heap.lock();
            let earliest = heap.peek().is_none_or(|Reverse(first)| at < first.at);
            heap.push(Reverse(Due { at, queue: Arc::downgrade(queue) }));
            earliest
        };
        if earliest {
            self.bell.ring();
        }
    }

    /// The queues due by `now`, at most [`BUDGET`], and the next deadline after them.
    fn due(&self, now: Millis) -> (Vec<Weak<Queue>>, Option<Millis>) {
        let mut heap = self.heap.lock();
        let mut due = Vec::new();
        while due.len() < BUDGET && heap.peek().is_some_and(|Reverse(first)| first.at <= now) {
            due.extend(heap.pop().map(|Reverse(first)| first.queue));
        }
        (due, heap.peek().map(|Reverse(first)| first.at))
    }
}

/// Looks after deadlines for ever.
pub(super) async fn run(broker: Arc<Broker>) {
    let mut fx = Effects::default();
    loop {
        // Taken before the time is read, so that a step of the clock in between is not missed.
        let moved = broker.clock.moved();
        let now = broker.clock.now();
        let (due, next) = broker.janitor.due(now);
        let strays = broker.intake.strays.take();
        for queue in due.iter().filter_map(Weak::upgrade).chain(strays) {
            if queue.is_holder() {
                broker.courier.fetch(queue);
                continue;
            }
            queue.tick(now, &mut fx);
            broker.finish(&queue, &mut fx);
        }
        if next.is_some_and(|at| at <= now) {
            tokio::task::yield_now().await;
            continue;
        }
        let sleep = next.map_or(LONGEST_SLEEP, |at| Duration::from_millis(at - now).min(LONGEST_SLEEP));
        tokio::select! {
            () = broker.janitor.bell.rung() => {}
            () = broker.intake.strays.rung() => {}
            () = tokio::time::sleep(sleep) => {}
            () = moved => {}
        }
    }
}
