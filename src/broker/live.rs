//! Settings that may change while the broker runs.
//!
//! Everything else is read from [`Broker::config`](super::Broker), which stays as it was at the start. What is here is
//! read anew at each use: a new limit holds for what comes, and what is there already stays. Invariant: the names are
//! those of [`config::LIVE`](crate::config::LIVE), which is what people are told.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use super::Broker;
use crate::config::Config;

/// Stands for no limit.
const UNLIMITED: u64 = u64::MAX;

/// A limit that may change.
#[derive(Debug)]
struct Limit(AtomicU64);

impl Limit {
    fn new(limit: Option<u64>) -> Self {
        Self(AtomicU64::new(limit.unwrap_or(UNLIMITED)))
    }

    fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|limit| *limit != UNLIMITED)
    }

    fn set(&self, limit: Option<u64>) {
        self.0.store(limit.unwrap_or(UNLIMITED), Ordering::Relaxed);
    }
}

/// The present value of each setting that may change.
#[derive(Debug)]
pub struct Live {
    connection_max: Limit,
    channel_max_per_node: Limit,
    consumer_max_per_channel: Limit,
    vhost_max: Limit,
    cluster_queue_limit: Limit,
    cluster_exchange_limit: Limit,
    binding_max_per_vhost: Limit,
    heartbeat: AtomicU16,
    /// In milliseconds.
    consumer_timeout: AtomicU64,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Live {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            connection_max: Limit::new(config.connection_max),
            channel_max_per_node: Limit::new(config.channel_max_per_node),
            consumer_max_per_channel: Limit::new(config.consumer_max_per_channel),
            vhost_max: Limit::new(config.vhost_max),
            cluster_queue_limit: Limit::new(config.cluster_queue_limit),
            cluster_exchange_limit: Limit::new(config.cluster_exchange_limit),
            binding_max_per_vhost: Limit::new(config.binding_max_per_vhost),
            heartbeat: AtomicU16::new(config.heartbeat),
            consumer_timeout: AtomicU64::new(millis(config.consumer_timeout)),
        }
    }

    fn set(&self, config: &Config) {
        self.connection_max.set(config.connection_max);
        self.channel_max_per_node.set(config.channel_max_per_node);
        self.consumer_max_per_channel.set(config.consumer_max_per_channel);
        self.vhost_max.set(config.vhost_max);
        self.cluster_queue_limit.set(config.cluster_queue_limit);
        self.cluster_exchange_limit.set(config.cluster_exchange_limit);
        self.binding_max_per_vhost.set(config.binding_max_per_vhost);
        self.heartbeat.store(config.heartbeat, Ordering::Relaxed);
        self.consumer_timeout.store(millis(config.consumer_timeout), Ordering::Relaxed);
    }

    /// Open client connections at a time.
    pub fn connection_max(&self) -> Option<u64> {
        self.connection_max.get()
    }

    /// Open channels at a time, of all connections together.
    pub fn channel_max_per_node(&self) -> Option<u64> {
        self.channel_max_per_node.get()
    }

    /// Consumers of one channel.
    pub fn consumer_max_per_channel(&self) -> Option<u64> {
        self.consumer_max_per_channel.get()
    }

    /// Virtual hosts.
    pub fn vhost_max(&self) -> Option<u64> {
        self.vhost_max.get()
    }

    /// Queues of all virtual hosts together.
    pub fn cluster_queue_limit(&self) -> Option<u64> {
        self.cluster_queue_limit.get()
    }

    /// Exchanges of all virtual hosts together.
    pub fn cluster_exchange_limit(&self) -> Option<u64> {
        self.cluster_exchange_limit.get()
    }

    /// Bindings of one virtual host.
    pub fn binding_max_per_vhost(&self) -> Option<u64> {
        self.binding_max_per_vhost.get()
    }

    /// Heartbeat interval suggested in connection.tune, in seconds.
    pub fn heartbeat(&self) -> u16 {
        self.heartbeat.load(Ordering::Relaxed)
    }

    /// How long a delivery to a new consumer may stay unacknowledged; zero is no limit.
    pub fn consumer_timeout(&self) -> Duration {
        Duration::from_millis(self.consumer_timeout.load(Ordering::Relaxed))
    }
}

impl Broker {
    /// Takes over what may change from newly read settings, at once; the rest of them counts for nothing.
    pub fn apply(&self, config: &Config) {
        self.live.set(config);
        self.users.hold_to_loopback(&config.loopback_users);
        self.alarms.set_memory_watermark(config.memory_watermark);
        self.alarms.set_disk_free_limit(config.disk_free_limit);
    }
}
