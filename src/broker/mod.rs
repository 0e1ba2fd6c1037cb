//! The broker: virtual hosts and what keeps them going.
//!
//! It owns the topology, the registry of connections, and the background workers: the group-commit writer, the
//! loader, the pager, the courier of dead letters, the janitor of deadlines and the watch over memory and disk. It
//! knows nothing of sockets and frames: sessions call its verbs and get back epochs to wait for, or refusals.
//!
//! [`Broker::finish`] is where every queue operation ends: it does what the operation left as effects, with no lock
//! held.

mod access;
mod administration;
mod admission;
mod alarm;
mod binding;
mod check;
mod connection;
mod courier;
mod defaults;
mod definitions;
mod exchange;
mod exchanges;
mod grants;
mod janitor;
mod listening;
mod live;
mod loader;
mod logins;
mod messages;
mod node;
mod pager;
mod parameters;
mod policies;
mod policy;
pub mod portable;
#[doc(hidden)]
pub mod probe;
mod queues;
mod recover;
mod relay;
mod replies;
mod route;
pub mod stats;
mod topology;
mod transaction;
pub mod uplinks;
mod users;
mod vhost;
mod vhosts;
mod vitals;
mod writer;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use dashmap::DashMap;

pub use access::Caller;
pub use administration::AdminError;
pub use admission::{Admitted, ChannelPlace, Place};
pub use alarm::Alarms;
pub use binding::{Binding, Destination};
pub use check::check;
pub use connection::{Connection, ConnectionId, Connections, Listed, Origin};
pub use definitions::DamagedDefinition;
pub use exchange::kinds as exchange_kinds;
pub use exchanges::ExchangeDeclare;
pub use listening::{Asked, Listeners, Order, Then};
pub use live::Live;
pub use logins::{Judgement, Verdict};
pub use messages::{Fetched, Published, Return, expiration};
pub use node::{Attempts, Certificate, Listener, Node, Protocol};
pub use pager::Spill;
pub use parameters::{
    CLUSTER_ID, OPERATOR_POLICY, Parameter, UNSUPPORTED_BINDING, UNSUPPORTED_QUEUE, VHOST_LIMITS, read_limits,
};
pub use policy::{ApplyTo, Governing, Policies, Policy, PolicyAsk, PolicyKind};
pub use queues::{Declared, QueueDeclare};
pub use recover::StartError;
pub use replies::{REPLY_TO, Replies};
pub use route::{NoRoute, Route, Routing};
pub use topology::{Exchange, Topology};
pub use transaction::{PublishRefused, Transaction};
pub use vhost::{VirtualHost, print_exchange, print_queue};
pub use vhosts::{VhostLimits, VhostSettings};
pub use vitals::Vitals;

use crate::auth::{Permissions, Throttle, Users};
use crate::clock::{Clock, NEVER};
use crate::config::Config;
use crate::queue::{CAUSES, Effects, Intake, Lease, Pool, Queue, Watermark};
use crate::store::{Engine, StoreError};
use crate::sync::Bell;
use crate::sync::Line;

/// A running broker, shared by all sessions and workers.
pub struct Broker {
    /// Settings.
    pub config: Arc<Config>,
    /// Settings that may change meanwhile.
    pub live: Live,
    /// Time.
    pub clock: Clock,
    /// Who may log in. Changed by the verbs of this broker, which store it.
    pub users: Users,
    /// Who may do what.
    permissions: Permissions,
    /// Who has to wait with a login.
    pub logins: Throttle,
    /// Where slow logins are looked at.
    desk: logins::Desk,
    /// How many have logged in.
    pub attempts: Attempts,
    /// Facts of the node as a whole.
    pub node: Node,
    /// Announced durable work.
    pub intake: Arc<Intake>,
    /// How far the store has got.
    pub watermark: Watermark,
    /// By which the writer has those rung who wait for that.
    relay: relay::Relay,
    /// Whether memory or disk run out.
    pub alarms: Alarms,
    /// Direct reply-to consumers.
    pub replies: Replies,
    /// Client connections.
    pub connections: Arc<Connections>,
    /// What it and whoever owns its sockets have to say to each other.
    pub listeners: Listeners,
    /// What all outboxes together may hold.
    pub deliveries: Arc<Pool>,
    /// What is counted.
    pub stats: stats::Stats,
    /// Where sessions wait that have more to do than fits a turn.
    pub line: Arc<Line>,
    vhosts: DashMap<Arc<str>, Arc<VirtualHost>>,
    /// Parameters of the whole broker.
    globals: parameters::Globals,
    engine: Arc<dyn Engine>,
    loader: loader::Loader,
    pager: pager::Pager,
    janitor: janitor::Janitor,
    courier: courier::Courier,
    /// Held by verbs that change virtual hosts, users and permissions.
    administration: tokio::sync::Mutex<()>,
    open_connections: admission::Occupied,
    open_channels: admission::Occupied,
    /// What each user has open.
    usage: DashMap<Arc<str>, admission::Usage>,
    next_vhost_id: AtomicU32,
    next_queue_id: AtomicU64,
    next_id: AtomicU64,
    stopping: AtomicBool,
    failure: OnceLock<String>,
    failed: tokio::sync::Notify,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}

/// A name nobody else has: `prefix` and 22 URL-safe base64 characters of 16 random octets, as RabbitMQ makes them.
pub fn generated_name(prefix: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = [0u8; 16];
    // Without entropy the name would still be unique by its counter-free zeros only once: refuse to go on.
    getrandom::fill(&mut random).expect("the operating system provides random octets");
    let bits = u128::from_be_bytes(random);
    let digit = |at: u32| ALPHABET[usize::try_from((bits >> (6 * at)) & 63).unwrap_or(0)];
    let mut name = String::with_capacity(prefix.len() + 22);
    name.push_str(prefix);
    name.extend((0..22).map(|at| char::from(digit(at))));
    name
}

impl Broker {
    /// A number that no connection or consumer of this process has had.
    pub fn unique(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The virtual host of that name.
    pub fn vhost(&self, name: &str) -> Option<Arc<VirtualHost>> {
        self.vhosts.get(name).map(|vhost| vhost.clone())
    }

    /// All virtual hosts.
    pub fn vhosts(&self) -> Vec<Arc<VirtualHost>> {
        self.vhosts.iter().map(|entry| entry.value().clone()).collect()
    }

    /// Does what an operation on `queue` left to be done, emptying `fx`. No lock may be held.
    pub fn finish(&self, queue: &Arc<Queue>, fx: &mut Effects) {
        fx.ring();
        self.stats.queue_moves(queue);
        if fx.deadline != NEVER {
            if queue.is_holder() && fx.deadline <= self.clock.now() {
                self.courier.fetch(queue.clone());
            } else {
                self.janitor.schedule(fx.deadline, queue);
            }
            fx.deadline = NEVER;
        }
        if let Some(load) = fx.load.take() {
            self.loader.request(queue.clone(), load);
        }
        if self.pager.is_pressed() {
            self.pager.request(queue);
        }
        if fx.lost != [0; CAUSES] {
            self.stats.lost(queue, std::mem::take(&mut fx.lost));
        }
        if !fx.dead.is_empty() {
            self.stats.died(queue, &fx.dead);
            self.courier.send(queue, fx.dead.drain(..));
        }
        if std::mem::take(&mut fx.doomed) {
            self.doom(queue);
        }
        // Resuming a consumer may move messages of its queue, which may return credit to others, and so on: a loop,
        // not recursion. In order, since whoever comes first gets what there is.
        while let Some(consumer) = fx.resume.pop_front() {
            if let Some(queue) = &consumer.queue {
                let mut after = Effects::default();
                queue.resume(&consumer, self.clock.now(), &mut after);
                fx.resume.append(&mut after.resume);
                self.finish(queue, &mut after);
            }
        }
    }

    /// Gives the credit of settled deliveries back to the channels they were counted for, with `fx` for what follows
    /// from it. No lock may be held.
    pub fn return_credit(&self, leases: &[Lease], fx: &mut Effects) {
        for run in leases.chunk_by(|a, b| Arc::ptr_eq(a.consumer(), b.consumer())) {
            let Some(consumer) = run.first().map(Lease::consumer) else { continue };
            if let (Some(credit), Some(queue)) = (&consumer.credit, &consumer.queue) {
                fx.resume.extend(credit.give_back(run.len()));
                self.finish(queue, fx);
            }
        }
    }

    /// Deletes a queue that has no reason to live any more, if that is still so under the locks.
    fn doom(&self, queue: &Arc<Queue>) {
        if self.stopping() {
            return;
        }
        let Some(vhost) = self.vhost(&queue.definition().vhost) else { return };
        let now = self.clock.now();
        let mut fx = Effects::default();
        let doomed = vhost.remove_queue(self, queue, &mut fx, |state| {
            if state.unused_auto_delete() || state.idle_expired(now) { Ok(()) } else { Err(()) }
        });
        if doomed.is_ok() {
            tracing::debug!(queue = %crate::telemetry::printable(&**queue.name()), "queue deleted: unused or expired");
        }
        fx.ring();
    }

    /// Asks every client to leave, and completes when all have gone. Nothing is deleted for want of use from here on.
    pub async fn close_connections(&self) {
        self.stopping.store(true, Ordering::Release);
        self.connections.close_all().await;
    }

    /// Whether the broker is shutting down.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The store can no longer keep its promise: nothing is confirmed from here on, and the process must end.
    fn fail(&self, why: String) {
        tracing::error!("the store has failed, nothing more will be confirmed: {why}");
        let _ = self.failure.set(why);
        self.failed.notify_waiters();
        self.failed.notify_one();
    }

    /// Completes if the store fails, with the reason.
    pub async fn failed(&self) -> String {
        loop {
            let notified = self.failed.notified();
            if let Some(why) = self.failure.get() {
                return why.clone();
            }
            notified.await;
        }
    }

    /// Whoever has just published waits until the pager has looked so often, if messages take much more memory than they
    /// may; `bell` rings then.
    pub fn hold_back(&self, bell: &Arc<Bell>) -> Option<u64> {
        self.pager.is_overfull().then(|| self.pager.await_look(bell))
    }

    /// How often the pager has looked.
    pub fn looks(&self) -> u64 {
        self.pager.looks()
    }

    /// The engine, for reading.
    pub(crate) fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }
}

/// Everything a broker is started with.
pub struct Start {
    /// Settings.
    pub config: Arc<Config>,
    /// Time.
    pub clock: Clock,
    /// Where messages are kept.
    pub engine: Arc<dyn Engine>,
    /// Where messages that are not kept go when memory is short; without it backlogs stay in memory.
    pub spill: Option<Arc<Spill>>,
}

/// A broker with its workers.
#[derive(Debug)]
pub struct Running {
    /// The broker.
    pub broker: Arc<Broker>,
    writer: std::thread::JoinHandle<Result<(), StoreError>>,
    loader: std::thread::JoinHandle<()>,
    pager: std::thread::JoinHandle<()>,
    janitor: tokio::task::JoinHandle<()>,
    courier: tokio::task::JoinHandle<()>,
    watch: tokio::task::JoinHandle<()>,
    sampler: tokio::task::JoinHandle<()>,
    relay: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Recovers what the store kept and starts the workers. Must be called inside a tokio runtime.
    pub fn start(start: Start) -> Result<Self, StartError> {
        let recovered = start.engine.recover()?;
        let (loader, requests) = loader::Loader::new();
        let (relay, heard) = relay::Relay::new().map_err(StoreError::from)?;
        let (pager, surplus) = pager::Pager::new(start.config.resident_bytes, start.spill);
        let broker = Arc::new(Broker {
            users: Users::seeded(&start.config.users)
                .map_err(StartError::Random)?
                .with_anonymous(&start.config.anonymous_user, &start.config.anonymous_password),
            live: Live::new(&start.config),
            permissions: Permissions::default(),
            logins: Throttle::new(start.config.login_failures),
            desk: logins::Desk::new(),
            attempts: Attempts::default(),
            node: Node::new(&start.clock),
            deliveries: Pool::new(start.config.delivery_bytes),
            stats: stats::Stats::new(start.clock.now()),
            clock: start.clock,
            intake: Arc::new(Intake::default()),
            watermark: Watermark::default(),
            relay,
            alarms: Alarms::new(&start.config),
            replies: Replies::default(),
            vhosts: DashMap::new(),
            globals: parameters::Globals::default(),
            connections: Arc::default(),
            listeners: Listeners::default(),
            line: Line::new(tokio::runtime::Handle::current().metrics().num_workers()),
            engine: start.engine,
            loader,
            pager,
            janitor: janitor::Janitor::default(),
            courier: courier::Courier::default(),
            administration: tokio::sync::Mutex::default(),
            open_connections: admission::Occupied::default(),
            open_channels: admission::Occupied::default(),
            usage: DashMap::new(),
            next_vhost_id: AtomicU32::new(1),
            next_queue_id: AtomicU64::new(recovered.next_queue_id.max(1)),
            next_id: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            failure: OnceLock::new(),
            failed: tokio::sync::Notify::new(),
            config: start.config,
        });
        broker.users.hold_to_loopback(&broker.config.loopback_users);
        recover::recover(&broker, &recovered)?;
        let janitor = tokio::spawn(janitor::run(broker.clone()));
        let courier = tokio::spawn(courier::run(broker.clone()));
        let watch = tokio::spawn(alarm::run(broker.clone()));
        let sampler = tokio::spawn(stats::run(broker.clone()));
        let relay = tokio::spawn(relay::run(broker.clone(), heard));
        let writer = writer::spawn(broker.clone())?;
        let loader = loader::spawn(broker.clone(), requests)?;
        let pager = pager::spawn(broker.clone(), surplus)?;
        Ok(Self { broker, writer, loader, pager, janitor, courier, watch, sampler, relay })
    }

    /// Ends the workers and makes everything durable. Sessions must have ended.
    pub async fn stop(mut self) -> Result<(), StoreError> {
        self.broker.stopping.store(true, Ordering::Release);
        self.broker.alarms.look.ring();
        // Its looks are short, and end before the store does.
        let _ = (&mut self.watch).await;
        self.janitor.abort();
        self.sampler.abort();
        let _ = self.sampler.await;
        // Cancelled, which is no news; afterwards it holds nothing any more.
        let _ = self.janitor.await;
        // The dead letters there are arrive, so that an orderly stop neither repeats nor revives a message.
        self.broker.courier.end();
        tokio::select! {
            _ = &mut self.courier => {}
            _ = self.broker.failed() => {
                self.courier.abort();
                let _ = self.courier.await;
            }
        }
        self.broker.loader.stop();
        self.broker.pager.stop();
        self.broker.intake.stop();
        let (loader, pager, writer) = (self.loader, self.pager, self.writer);
        // The last commit may take as long as the disk does.
        let joined = tokio::task::spawn_blocking(move || (loader.join(), pager.join(), writer.join())).await;
        self.relay.abort();
        let _ = self.relay.await;
        match joined {
            Ok((Ok(()), Ok(()), Ok(result))) => result,
            _ => Err(StoreError::Engine("a thread of the store has panicked".to_owned())),
        }
    }
}
