//! Queues that got a lease back from nobody: it was dropped instead of settled, because its session broke.
//!
//! Such a lease may be dropped while its queue is locked, so it can only be laid down; the queue takes it up with its
//! next operation. This list tells the janitor to do one soon, since otherwise nobody might.

use std::sync::{Arc, Weak};

use super::Queue;
use crate::sync::{Bell, Mutex, Rank};

/// Queues with abandoned leases.
#[derive(Debug)]
pub struct Strays {
    queues: Mutex<Vec<Weak<Queue>>>,
    bell: Bell,
}

impl Default for Strays {
    fn default() -> Self {
        Self { queues: Mutex::new(Rank::Leaf, Vec::new()), bell: Bell::new() }
    }
}

impl Strays {
    pub(super) fn add(&self, queue: &Arc<Queue>) {
        self.queues.lock().push(Arc::downgrade(queue));
        self.bell.ring();
    }

    /// Takes the queues to be looked after.
    pub fn take(&self) -> Vec<Arc<Queue>> {
        let queues = std::mem::take(&mut *self.queues.lock());
        queues.iter().filter_map(Weak::upgrade).collect()
    }

    /// Completes when there are any; for one task.
    pub async fn rung(&self) {
        self.bell.rung().await;
    }
}
