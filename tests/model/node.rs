//! A broker without sockets: its verbs, called as sessions call them, on a store that fails when told to.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leveret::broker::{Broker, Caller, QueueDeclare, Running, Start, VirtualHost};
use leveret::clock::Clock;
use leveret::config::Config;
use leveret::message::Message;
use leveret::queue::{
    Cause, ChannelCredit, Consumer, Drained, Effects, Got, Lease, Outbox, Push, Queue, Subscribed, Subscription,
};
use leveret::store::faulty::{Faults, FaultyEngine};
use leveret::store::memory::MemoryEngine;
use leveret::store::redo::Redo;
use leveret::store::{Engine, Epoch, StoreError};
use leveret::sync::Bell;
use leveret::wire::table::{Table, Value};

use crate::messages::{id, persistent};

/// A test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(30);

/// The connection whose verbs these are.
pub(crate) const CALLER: Caller<'static> = Caller::trusted(7);

/// Awaits what must happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens within half a minute")
}

/// Completes once `condition` holds.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A running broker on a shared memory engine.
pub(crate) struct Node {
    running: Running,
    pub(crate) faults: Faults,
    pub(crate) clock: Clock,
}

impl Node {
    pub(crate) fn start(memory: &MemoryEngine) -> Self {
        Self::start_with(memory, Faults::new(), Config::default())
    }

    pub(crate) fn start_with(memory: &MemoryEngine, faults: Faults, config: Config) -> Self {
        Self::start_on(Arc::new(FaultyEngine::new(memory.clone(), faults.clone())), faults, config)
    }

    /// With a redo log in a directory before the shared memory, and the faults before both, or between them.
    pub(crate) fn start_logged(memory: &MemoryEngine, log: &Path, faults: Faults, between: bool) -> Self {
        let logged = "the log can be read";
        let engine: Arc<dyn Engine> = if between {
            let behind = FaultyEngine::new(memory.clone(), faults.clone());
            Arc::new(Redo::open(behind, log, true).expect(logged))
        } else {
            Arc::new(FaultyEngine::new(Redo::open(memory.clone(), log, true).expect(logged), faults.clone()))
        };
        Self::start_on(engine, faults, Config::default())
    }

    fn start_on(engine: Arc<dyn Engine>, faults: Faults, config: Config) -> Self {
        let clock = Clock::system();
        let start = Start { config: Arc::new(config), clock: clock.clone(), engine, spill: None };
        Self { running: Running::start(start).expect("starts on what it left"), faults, clock }
    }

    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.running.broker
    }

    pub(crate) fn vhost(&self) -> Arc<VirtualHost> {
        self.broker().vhost("/").expect("the default virtual host")
    }

    /// Declares a durable queue; returns it with the epoch of the answer.
    pub(crate) fn declare(&self, name: &str, arguments: &[(&str, Value)]) -> (Arc<Queue>, Epoch) {
        let mut table = Table::default();
        for (key, value) in arguments {
            table.insert(key, value.clone());
        }
        let (name, arguments) = (name.to_owned(), table);
        let ask = QueueDeclare { name, passive: false, durable: true, exclusive: false, auto_delete: false, arguments };
        self.declare_as(ask)
    }

    pub(crate) fn declare_as(&self, ask: QueueDeclare) -> (Arc<Queue>, Epoch) {
        let mut fx = Effects::default();
        let declared = self.vhost().declare_queue(self.broker(), ask, CALLER, &mut fx).expect("it may be declared");
        self.broker().finish(&declared.queue, &mut fx);
        (declared.queue, declared.epoch)
    }

    pub(crate) fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.vhost().queue(name)
    }

    /// Publishes numbered persistent messages with confirms; returns the epoch to wait for.
    pub(crate) fn publish(&self, queue: &Arc<Queue>, ids: impl IntoIterator<Item = u64>) -> Epoch {
        self.push(queue, ids.into_iter().map(persistent).collect(), true)
    }

    pub(crate) fn push(&self, queue: &Arc<Queue>, messages: Vec<Message>, confirm: bool) -> Epoch {
        let (mut fx, mut refused) = (Effects::default(), Vec::new());
        let pushed = queue.push(messages.into_iter(), confirm, self.clock.now(), &mut refused, &mut fx);
        self.broker().finish(queue, &mut fx);
        match pushed {
            Push::Taken(epoch) => epoch,
            Push::Gone => panic!("the queue is there"),
        }
    }

    pub(crate) fn committed(&self, epoch: Epoch) -> bool {
        self.broker().watermark.get() >= epoch
    }

    /// Waits for a commit; `false` if the store fails instead.
    pub(crate) async fn durable(&self, epoch: Epoch) -> bool {
        let bell = Arc::new(Bell::new());
        while !self.broker().watermark.await_epoch(epoch, &bell) {
            let failed = soon(async {
                tokio::select! {
                    () = bell.rung() => false,
                    _ = self.broker().failed() => true,
                }
            });
            if failed.await {
                return self.committed(epoch);
            }
        }
        true
    }

    /// basic.get, waiting for messages on disk.
    pub(crate) async fn get(&self, queue: &Arc<Queue>, no_ack: bool) -> Option<(u64, bool, Option<Lease>)> {
        let bell = Arc::new(Bell::new());
        loop {
            let mut fx = Effects::default();
            queue.ring_when_loaded(&bell);
            let got = queue.get(no_ack, self.clock.now(), &mut fx);
            self.broker().finish(queue, &mut fx);
            match got {
                Got::Empty => return None,
                Got::Paged => soon(bell.rung()).await,
                Got::Message(entry, _) => {
                    let facts = (id(&entry.message), entry.redelivered);
                    let getter = Client::new(self, queue, 0, &Arc::default()).consumer;
                    return Some((facts.0, facts.1, (!no_ack).then(|| Lease::new(getter, entry))));
                }
            }
        }
    }

    /// Takes everything out, in order: number and redelivered.
    pub(crate) async fn empty(&self, queue: &Arc<Queue>) -> Vec<(u64, bool)> {
        let mut all = Vec::new();
        while let Some((id, redelivered, _)) = self.get(queue, true).await {
            all.push((id, redelivered));
        }
        all
    }

    /// Settles leases of one queue.
    pub(crate) fn settle(&self, queue: &Arc<Queue>, mut leases: Vec<Lease>, verdict: Verdict) {
        let (mut fx, now) = (Effects::default(), self.clock.now());
        match verdict {
            Verdict::Ack => queue.settle(&mut leases, now, &mut fx),
            Verdict::Reject => queue.reject(&mut leases, now, &mut fx),
            Verdict::Requeue => queue.requeue(&mut leases, Cause::Nack, now, &mut fx),
        }
        let consumer = leases.first().map(|lease| lease.consumer().clone());
        if let Some(credit) = consumer.and_then(|c| c.credit.clone()) {
            fx.resume.extend(credit.give_back(leases.len()));
        }
        self.broker().finish(queue, &mut fx);
    }

    /// An orderly stop.
    pub(crate) async fn stop(self) -> Result<(), StoreError> {
        soon(self.running.stop()).await
    }

    /// The power fails: nothing more reaches the store.
    pub(crate) async fn crash(self) {
        self.faults.fail_before(1);
        self.faults.release();
        assert!(self.stop().await.is_err(), "the last commit fails");
    }
}

/// What a client says of its deliveries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    Ack,
    Reject,
    Requeue,
}

/// A consumer and its session's end of the outbox.
pub(crate) struct Client {
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) outbox: Arc<Outbox>,
}

impl Client {
    fn new(node: &Node, queue: &Arc<Queue>, prefetch: u16, credit: &Arc<ChannelCredit>) -> Self {
        let outbox = Arc::new(Outbox::new(1 << 20));
        let (id, tag) = (node.broker().unique(), Box::from(&b"c"[..]));
        let subscription = Subscription { id, tag, channel: 1, prefetch, ..Subscription::default() };
        let consumer = subscription.connect(outbox.clone(), Some(queue.clone()), Some(credit.clone()));
        Self { consumer, outbox }
    }

    pub(crate) fn subscribe(node: &Node, queue: &Arc<Queue>, prefetch: u16) -> Self {
        Self::subscribe_on(node, queue, prefetch, &Arc::default())
    }

    pub(crate) fn subscribe_on(node: &Node, queue: &Arc<Queue>, prefetch: u16, credit: &Arc<ChannelCredit>) -> Self {
        let client = Self::new(node, queue, prefetch, credit);
        let mut fx = Effects::default();
        assert_eq!(queue.subscribe(client.consumer.clone(), node.clock.now(), &mut fx), Subscribed::Joined);
        node.broker().finish(queue, &mut fx);
        client
    }

    pub(crate) fn cancel(&self, node: &Node, queue: &Arc<Queue>) {
        let mut fx = Effects::default();
        queue.unsubscribe(&self.consumer, node.clock.now(), &mut fx);
        node.broker().finish(queue, &mut fx);
    }

    /// What has been delivered by now.
    pub(crate) fn take(&self) -> Vec<(u64, bool, Lease)> {
        let mut drained = Drained::default();
        self.outbox.drain(&mut drained);
        let lease = |entry| Lease::new(self.consumer.clone(), entry);
        drained.entries.into_iter().map(|e| (id(&e.message), e.redelivered, lease(e))).collect()
    }

    /// Waits for `n` deliveries.
    pub(crate) async fn receive(&self, n: usize) -> Vec<(u64, bool, Lease)> {
        let mut received = self.take();
        while received.len() < n {
            soon(self.outbox.bell().rung()).await;
            received.extend(self.take());
        }
        received
    }
}

/// Leases without the facts about them.
pub(crate) fn leases(deliveries: Vec<(u64, bool, Lease)>) -> Vec<Lease> {
    deliveries.into_iter().map(|(_, _, lease)| lease).collect()
}

/// How many messages a store holds that no broker runs on.
pub(crate) fn kept(memory: &MemoryEngine) -> u64 {
    let recovered = memory.recover().expect("memory does not fail");
    recovered.queues.values().flat_map(|queue| &queue.lanes).map(|lane| lane.count).sum()
}
