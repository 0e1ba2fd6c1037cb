//! The group commit: one thread that makes everybody's durable work durable.
//!
//! It closes an epoch, takes the journals of the queues that were dirty in it, commits them together with the topology
//! changes, and moves the watermark, which releases confirms and answers. The next epoch is whatever arrived
//! meanwhile: batches emerge from load, nothing is delayed to make one. Only work that nobody waits for (acks, publishes
//! without confirms) is left lying for [`Config::ack_flush`](crate::config::Config) at most.
//!
//! An epoch is one commit, whole or not at all, also when it is tried again for want of room: transactions rely on it.

use std::sync::Arc;
use std::time::Duration;

use super::Broker;
use crate::queue::{Closed, Pressure};
use crate::store::{Batch, Commit, Define, QueueBatch, StoreError};

/// How long to wait before a batch that found no room is tried again.
const RETRY_FULL: Duration = Duration::from_millis(200);

/// Starts the thread.
pub(super) fn spawn(broker: Arc<Broker>) -> Result<std::thread::JoinHandle<Result<(), StoreError>>, StoreError> {
    let run = move || {
        broker.intake.attach(std::thread::current());
        let result = Writer { broker: &broker, sweeping: true }.run();
        if let Err(error) = &result {
            broker.fail(error.to_string());
        }
        result
    };
    Ok(std::thread::Builder::new().name("leveret-writer".to_owned()).spawn(run)?)
}

struct Writer<'a> {
    broker: &'a Broker,
    /// There may be dropped queues and ranges left to remove.
    sweeping: bool,
}

impl Writer<'_> {
    fn run(mut self) -> Result<(), StoreError> {
        loop {
            // Read before the pressure: what was announced before the stop is committed before the end.
            let stopping = self.broker.intake.stopping();
            match self.broker.intake.pressure() {
                Pressure::Urgent => self.commit(false)?,
                Pressure::Idle if stopping => return self.commit(true),
                Pressure::Lazy if stopping => self.commit(false)?,
                Pressure::Idle if self.sweeping => self.sweeping = self.broker.engine().sweep()?,
                Pressure::Idle => std::thread::park(),
                Pressure::Lazy => self.linger()?,
            }
        }
    }

    /// Nobody waits for the work there is: gives it time to grow, or to cancel itself out.
    fn linger(&mut self) -> Result<(), StoreError> {
        let deadline = self.broker.clock.now() + u64::try_from(self.broker.config.ack_flush.as_millis()).unwrap_or(50);
        loop {
            let left = deadline.saturating_sub(self.broker.clock.now());
            if left == 0 {
                return self.commit(false);
            }
            std::thread::park_timeout(Duration::from_millis(left));
            if self.broker.intake.pressure() != Pressure::Lazy || self.broker.intake.stopping() {
                return Ok(());
            }
        }
    }

    fn commit(&mut self, last: bool) -> Result<(), StoreError> {
        let Closed { epoch, queues, bytes, definitions } = self.broker.intake.close();
        self.sweeping |= definitions.iter().any(|d| matches!(d, Define::DropQueue { .. }));
        let mut batch = Batch { epoch, definitions, queues, clean_shutdown: false };
        self.sweeping |= batch.queues.iter().any(|q| !q.drops.is_empty());
        if last {
            self.mark_redelivered(&mut batch);
        }
        if last || !batch.queues.is_empty() || !batch.definitions.is_empty() {
            self.commit_batch(&batch)?;
        }
        self.broker.intake.discharge(bytes);
        self.broker.watermark.advance(epoch);
        Ok(())
    }

    fn commit_batch(&self, batch: &Batch) -> Result<(), StoreError> {
        loop {
            match self.broker.engine().commit(batch) {
                Commit::Done => return Ok(()),
                Commit::Full(error) if self.broker.intake.stopping() => return Err(error),
                Commit::Full(error) => {
                    tracing::error!("no room for a commit, trying again: {error}");
                    std::thread::park_timeout(RETRY_FULL);
                }
                Commit::Fenced => return Err(StoreError::Engine("another node has taken over".to_owned())),
                Commit::Unknown(error) => return Err(error),
            }
        }
    }

    /// The last batch of an orderly stop says which kept messages clients have seen. If that is not known of every
    /// queue, the stop does not count as orderly, and all messages will be marked at the next start.
    fn mark_redelivered(&self, batch: &mut Batch) {
        batch.clean_shutdown = true;
        let mut marks = Vec::new();
        for vhost in self.broker.vhosts() {
            let queues: Vec<_> = vhost.topology().queues.values().filter(|q| q.definition().durable).cloned().collect();
            for queue in queues {
                match queue.redelivered() {
                    None => batch.clean_shutdown = false,
                    Some(seqs) if seqs.is_empty() => {}
                    Some(seqs) => marks.push((queue.id(), seqs)),
                }
            }
        }
        for (id, seqs) in marks {
            let at = batch.queues.iter().position(|q| q.queue == id).unwrap_or_else(|| {
                batch.queues.push(QueueBatch::new(id));
                batch.queues.len() - 1
            });
            batch.queues[at].redelivered = seqs;
        }
    }
}
