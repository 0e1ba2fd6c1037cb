//! The group commit: one thread that makes everybody's durable work durable.
//!
//! It closes an epoch, takes the journals of the queues that were dirty in it, commits them together with the topology
//! changes, and moves the watermark, which releases confirms and answers. The next epoch is whatever arrived
//! meanwhile: batches emerge from load, nothing is delayed to make one. Only work that nobody waits for (acks, publishes
//! without confirms) is left lying for [`Config::ack_flush`](crate::config::Config) at most.
//!
//! An epoch is one commit, whole or not at all, if a transaction belongs to it: transactions rely on it. While there is
//! no room, epochs are held back and come out in smaller pieces, first what gives room; see [`Held`]. New messages must
//! leave a reserve to acknowledgements and deletions, and are held back before they touch it. What is held stays on the
//! gauge that makes publishers wait, and keeps the disk alarm up.

use std::sync::Arc;
use std::time::Duration;

use super::Broker;
use crate::clock::Clock;
use crate::queue::{Closed, Pressure};
use crate::store::{Allowance, Batch, Commit, Define, Epoch, Held, QueueBatch, StoreError};

/// Time between two attempts to write what found no room: acknowledgements that come meanwhile go together.
const PACE: Duration = Duration::from_millis(50);

/// Attempts that an orderly stop makes to write what found no room.
const LAST_ATTEMPTS: u32 = 20;

/// Octets written, at most, before the room is looked at again: far less than a disk alarm leaves.
const LOOK_AFTER: u64 = 16 << 20;

/// What a commit is taken to write besides its messages, in octets.
const OVERHEAD: u64 = 64 << 10;

/// Without work for so long, what the redo log holds is brought into the store, where a check or a copy finds it.
const QUIET: Duration = Duration::from_secs(1);

/// Starts the thread.
pub(super) fn spawn(broker: Arc<Broker>) -> Result<std::thread::JoinHandle<Result<(), StoreError>>, StoreError> {
    let run = move || {
        broker.intake.attach(std::thread::current());
        let result = Writer::new(&broker).run();
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
    /// What found no room.
    held: Held,
    /// What might be written when the room was last looked at.
    allowance: Allowance,
    /// Octets written since.
    written: u64,
}

/// What became of a batch.
enum Fate {
    Durable,
    NoRoom(StoreError),
}

impl<'a> Writer<'a> {
    fn new(broker: &'a Broker) -> Self {
        let allowance = Allowance { messages: 0, definitions: 0 };
        Self { broker, sweeping: true, held: Held::default(), allowance, written: 0 }
    }

    fn run(mut self) -> Result<(), StoreError> {
        let mut attempts = LAST_ATTEMPTS;
        loop {
            // Read before the pressure: what was announced before the stop is committed before the end.
            let stopping = self.broker.intake.stopping();
            if !self.held.is_empty() {
                let left = self.relieve()?;
                if let Some(error) = left.filter(|_| stopping) {
                    attempts -= 1;
                    if attempts == 0 {
                        return Err(error);
                    }
                }
                continue;
            }
            match self.broker.intake.pressure() {
                Pressure::Urgent => self.commit()?,
                Pressure::Idle if stopping => return self.commit_last(),
                Pressure::Lazy if stopping => self.commit()?,
                Pressure::Idle if self.sweeping => self.sweeping = self.broker.engine().sweep()?,
                Pressure::Idle if self.broker.engine().is_behind() => self.catch_up()?,
                Pressure::Idle => std::thread::park(),
                Pressure::Lazy => self.linger()?,
            }
        }
    }

    /// Waits for a while without work, and lets the store use it. Who has announced work that is committed by now may ring
    /// once more: only the time tells that there was none.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let quiet = u64::try_from(QUIET.as_millis()).unwrap_or(1_000);
        let deadline = self.broker.clock.now() + quiet;
        loop {
            let left = deadline.saturating_sub(self.broker.clock.now());
            if left == 0 {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(left));
            if self.broker.intake.pressure() != Pressure::Idle || self.broker.intake.stopping() {
                return Ok(());
            }
        }
        self.broker.engine().catch_up()?;
        self.sweeping = true;
        Ok(())
    }

    /// Nobody waits for the work there is: gives it time to grow, or to cancel itself out.
    fn linger(&mut self) -> Result<(), StoreError> {
        let deadline = self.broker.clock.now() + u64::try_from(self.broker.config.ack_flush.as_millis()).unwrap_or(50);
        loop {
            let left = deadline.saturating_sub(self.broker.clock.now());
            if left == 0 {
                return self.commit();
            }
            std::thread::park_timeout(Duration::from_millis(left));
            if self.broker.intake.pressure() != Pressure::Lazy || self.broker.intake.stopping() {
                return Ok(());
            }
        }
    }

    /// Closes the open epoch: its batch, its octets on the gauge, and whether a transaction belongs to it.
    fn close(&mut self) -> (Batch, usize, bool) {
        let Closed { epoch, mut queues, bytes, definitions, atomic } = self.broker.intake.close();
        let skew = self.broker.clock.skew();
        if skew != 0 {
            for put in queues.iter_mut().flat_map(|queue| &mut queue.puts) {
                put.expires_at = Clock::to_wall(put.expires_at, skew);
            }
        }
        let batch = Batch { epoch, definitions, queues, ..Batch::default() };
        self.sweeping |= batch.definitions.iter().any(|d| matches!(d, Define::DropQueue { .. }))
            || batch.queues.iter().any(|q| !q.drops.is_empty());
        (batch, bytes, atomic)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let (batch, bytes, atomic) = self.close();
        self.look_at_room(bytes);
        if !batch.queues.is_empty() || !batch.definitions.is_empty() {
            let fate = if self.allowance.covers(&batch) {
                self.try_commit(&batch)?
            } else {
                Fate::NoRoom(StoreError::Engine("what is left is kept for acknowledgements".to_owned()))
            };
            if let Fate::NoRoom(error) = fate {
                tracing::error!("no room for a commit, publishers have to wait: {error}");
                self.broker.alarms.holding(true);
                self.hold(batch, atomic);
                return Ok(());
            }
        }
        self.durable(batch.epoch, bytes);
        Ok(())
    }

    fn try_commit(&mut self, batch: &Batch) -> Result<Fate, StoreError> {
        let begun = self.broker.clock.nanos();
        match self.broker.engine().commit(batch) {
            Commit::Done => {
                let took = self.broker.clock.nanos().saturating_sub(begun) / 1_000;
                self.broker.stats.commits.times.observe(took, 1);
                Ok(Fate::Durable)
            }
            Commit::Full(error) => Ok(Fate::NoRoom(error)),
            Commit::Fenced => Err(StoreError::Engine("another node has taken over".to_owned())),
            Commit::Unknown(error) => Err(error),
        }
    }

    /// Everything up to the epoch is durable, and so are messages of so many octets.
    fn durable(&mut self, epoch: Epoch, bytes: usize) {
        self.broker.intake.discharge(bytes);
        if bytes > 0 {
            self.broker.stats.commits.sizes.observe(bytes as u64, 1);
        }
        self.written = self.written.saturating_add(bytes as u64).saturating_add(OVERHEAD);
        if epoch > self.broker.watermark.get() {
            if self.broker.watermark.mark(epoch) {
                self.broker.relay.ring();
            }
        }
    }

    fn hold(&mut self, batch: Batch, atomic: bool) {
        let cancelled = self.held.take_in(batch, atomic);
        self.broker.intake.discharge(cancelled);
        let reached = self.held.reached();
        self.durable(reached, 0);
    }

    /// Looks how much may be written, if enough has been written since the last time, or `bytes` might be too much, or an
    /// alarm is up.
    fn look_at_room(&mut self, bytes: usize) {
        let due = self.written.saturating_add(bytes as u64) >= LOOK_AFTER.min(self.allowance.messages / 8);
        if !due && !self.broker.alarms.raised() {
            return;
        }
        self.written = 0;
        let space = self.broker.look_at_disk();
        self.allowance = space.map_or(Allowance::ANY, |space| Allowance {
            messages: space.room.saturating_sub(space.reserve),
            definitions: space.room.saturating_sub(space.reserve / 2),
        });
    }

    /// Writes as much as goes of what is held, and waits a moment if something is left; then returns why.
    fn relieve(&mut self) -> Result<Option<StoreError>, StoreError> {
        let (batch, _, atomic) = self.close();
        self.hold(batch, atomic);
        let mut why = self.round()?;
        if !self.held.is_empty() && self.broker.engine().give_up_ballast() {
            why = self.round()?;
        }
        self.sweeping = self.broker.engine().sweep()?;
        if self.held.is_empty() {
            tracing::info!("there is room again, everything is on disk");
            self.broker.alarms.holding(false);
            return Ok(None);
        }
        self.wait();
        Ok(Some(why))
    }

    /// Waits until it is time for another attempt. New work rings all the while and is no reason to hurry.
    fn wait(&self) {
        let pace = u64::try_from(PACE.as_millis()).unwrap_or(50);
        let deadline = self.broker.clock.now() + pace;
        loop {
            let left = deadline.saturating_sub(self.broker.clock.now());
            if left == 0 {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(left.min(pace)));
        }
    }

    fn round(&mut self) -> Result<StoreError, StoreError> {
        let mut why = StoreError::Engine("what is left is kept for acknowledgements".to_owned());
        self.held.begin();
        loop {
            self.written = LOOK_AFTER;
            self.look_at_room(0);
            let Some(batch) = self.held.next(self.allowance) else { return Ok(why) };
            match self.try_commit(&batch)? {
                Fate::Durable => {
                    let bytes = self.held.committed();
                    let reached = self.held.reached();
                    self.durable(reached, bytes);
                }
                Fate::NoRoom(error) => {
                    self.held.refused();
                    why = error;
                }
            }
        }
    }

    /// The last batch of an orderly stop says which kept messages clients have seen. If that is not known of every
    /// queue, or there is no room for it, the stop does not count as orderly, and all messages will be marked at the
    /// next start.
    fn commit_last(&mut self) -> Result<(), StoreError> {
        let (mut batch, bytes, atomic) = self.close();
        let plain = batch.clone();
        self.mark_redelivered(&mut batch);
        match self.try_commit(&batch)? {
            Fate::Durable => {
                self.durable(batch.epoch, bytes);
                return self.broker.engine().catch_up();
            }
            Fate::NoRoom(error) => tracing::warn!("no room to say what was delivered: {error}"),
        }
        self.hold(plain, atomic);
        for _ in 0..LAST_ATTEMPTS {
            if self.held.is_empty() {
                return Ok(());
            }
            self.relieve()?;
        }
        Err(StoreError::Engine("no room for what came last".to_owned()))
    }

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
