//! Settings: what they are, what they default to, where they come from.
//!
//! [`load`] reads flags, environment and files, in falling precedence, and reports every mistake it finds at once;
//! RabbitMQ's own files and variables are read as they are (`rabbitmq`). The
//! one table of keys (`keys`) ties together the name, the default text, the sentence of documentation, the environment
//! variable and the setter; a test holds `config/leveret.toml` to it. May touch the environment and the file system at
//! start, and knows no other room. Invariants: a [`Config`] returned by [`load`] has a data directory, at least one
//! place to listen and at least one user, and every number in it lies within the range its key documents. Deliberately absent:
//! includes and interpolation of variables in Leveret's own file.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing))]

mod args;
pub mod compatibility;
mod environment;
mod keys;
mod live;
mod load;
mod log;
mod names;
pub mod patterns;
pub mod perf;
mod places;
mod problem;
mod rabbitmq;
mod secret;
mod tables;
mod thresholds;
mod tls;
mod units;
mod users;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use args::{Args, Command, Line, Settings, Tool};
pub use compatibility::{Compatibility, Profile};
pub use environment::Environment;
pub use keys::shown;
pub use live::{Changes, LIVE, merged};
pub use load::{load, load_from, load_noted};
pub use log::{LogConsole, LogFormat, LogRotation};
pub use names::Network;
pub use problem::{Origin, Problem};
pub use rabbitmq::{Notes, Reason, log_level};
pub use secret::Secret;
pub use thresholds::{DiskFreeLimit, MemoryWatermark, Parts};
pub use tls::{LoginFrom, Tls, TlsVerify, TlsVersion};

/// The port IANA assigned to AMQP without TLS.
pub const AMQP_PORT: u16 = 5672;
/// Login mechanisms there are.
pub const MECHANISMS: [&str; 4] = ["PLAIN", "AMQPLAIN", "ANONYMOUS", "EXTERNAL"];
/// RabbitMQ's port of the management API.
pub const MANAGEMENT_PORT: u16 = 15672;
/// RabbitMQ's port for Prometheus.
pub const METRICS_PORT: u16 = 15692;

const KIB: u32 = 1024;
const MIB: usize = 1024 * 1024;

/// Everything that can be set about a broker, checked and ready to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of the store. Empty only in [`Config::default`]; [`load`] always fills it in.
    pub data_dir: PathBuf,
    /// Addresses to accept AMQP connections on.
    pub listen: Vec<SocketAddr>,
    /// Path of a Unix socket to accept AMQP connections on as well.
    pub unix_socket: Option<PathBuf>,
    /// Whose PROXY headers are believed.
    pub proxy_protocol: Vec<Network>,
    /// Addresses of the management API; none switches it off.
    pub management_listen: Vec<SocketAddr>,
    /// Addresses that metrics are read from; none switches that off.
    pub metrics_listen: Vec<SocketAddr>,
    /// TLS.
    pub tls: Tls,
    /// Name of the node, `NAME@HOST`.
    pub node_name: String,
    /// Name shown to clients; the node's if nobody has chosen another.
    pub cluster_name: String,
    /// Definitions to import at the start: a file, or a directory of files.
    pub load_definitions: Option<PathBuf>,
    /// Which RabbitMQ to answer as.
    pub compatibility: Compatibility,
    /// Users that exist from the first start on.
    pub users: Vec<UserEntry>,
    /// Virtual hosts that exist from each start on.
    pub vhosts: Vec<VhostEntry>,
    /// Policies that are in force from each start on.
    pub policies: Vec<PolicyEntry>,
    /// Operators' policies that are in force from each start on.
    pub operator_policies: Vec<PolicyEntry>,
    /// Limits that new virtual hosts begin with.
    pub vhost_limits: Vec<VhostLimitEntry>,
    /// What users may do in new virtual hosts.
    pub permissions: Vec<PermissionEntry>,
    /// Users, besides those of `users`, that may log in from this machine only, whenever they are created.
    pub loopback_users: Vec<String>,
    /// Login mechanisms that are offered, out of [`MECHANISMS`]; empty offers what the compatibility does.
    pub mechanisms: Vec<String>,
    /// Virtual host that the first start creates.
    pub default_vhost: String,
    /// Type of queues declared without one, `classic` or `quorum`, where the virtual host has no default of its own.
    pub default_queue_type: String,
    /// Shape of a log line.
    pub log_format: LogFormat,
    /// Least severe level that is logged, or a filter such as `info,leveret::session=debug`.
    pub log_level: String,
    /// Where log lines go besides the file.
    pub log_console: LogConsole,
    /// File for log lines.
    pub log_file: Option<PathBuf>,
    /// As `log_level`, for the file; `None` is the same.
    pub log_file_level: Option<String>,
    /// When the file is set aside.
    pub log_rotation: LogRotation,
    /// Files set aside that are kept.
    pub log_rotation_count: usize,
    /// Time a client has from connecting to the end of connection.open.
    pub handshake_timeout: Duration,
    /// Heartbeat interval suggested in connection.tune, in seconds; 0 suggests none.
    pub heartbeat: u16,
    /// Largest frame offered in connection.tune, in octets including the frame's 8 octets of overhead.
    pub frame_max: u32,
    /// Highest channel number offered in connection.tune.
    pub channel_max: u16,
    /// Largest message body accepted, in octets; 0 takes the profile's, see [`Config::largest_body`].
    pub max_message_size: u64,
    /// Open client connections at a time; `None` is any number, as for the limits below.
    pub connection_max: Option<u64>,
    /// Open channels of all connections together.
    pub channel_max_per_node: Option<u64>,
    /// Octets a client may send before its connection is open.
    pub handshake_bytes: usize,
    /// Refused logins of one address within ten seconds after which its further logins are slowed down.
    pub login_failures: Option<u64>,
    /// Unacknowledged deliveries of one channel; its consumers pause at that.
    pub unacked_max_per_channel: Option<u64>,
    /// Bindings of one virtual host.
    pub binding_max_per_vhost: Option<u64>,
    /// Consumers of one channel.
    pub consumer_max_per_channel: Option<u64>,
    /// Virtual hosts.
    pub vhost_max: Option<u64>,
    /// Queues of all virtual hosts together.
    pub cluster_queue_limit: Option<u64>,
    /// Exchanges of all virtual hosts together, those that every virtual host has included.
    pub cluster_exchange_limit: Option<u64>,
    /// Octets of deliveries that may wait for one connection before its consumers are passed over.
    pub outbox_bytes: usize,
    /// Octets of deliveries that may wait for all connections together; above that, each has a small share.
    pub delivery_bytes: usize,
    /// Messages a second below which no publisher is slowed down for consumers that are behind; 0 never slows one down.
    pub publisher_floor: u32,
    /// Octets of replies a client may leave unread before its connection is closed with `RESOURCE_ERROR`.
    pub control_bytes: usize,
    /// Octets of messages that the uncommitted transactions of one connection may hold. One message always fits.
    pub transaction_bytes: usize,
    /// How much memory the process may hold before publishers are blocked.
    pub memory_watermark: MemoryWatermark,
    /// How much room the store must have for publishers not to be blocked.
    pub disk_free_limit: DiskFreeLimit,
    /// How long a delivery may stay unacknowledged, where the compatibility has a default for that; zero is no limit.
    pub consumer_timeout: Duration,
    /// Upper bound of the store's file, in octets; 0 lets the store choose.
    pub map_size: u64,
    /// Whether the store is compacted at the start.
    pub compact_at_start: bool,
    /// Whether small commits go to a redo log first.
    pub redo_log: bool,
    /// Octets of messages in memory above which those that need not be there are given up to the disk.
    pub resident_bytes: usize,
    /// Octets of messages waiting to be committed above which publishers are made to wait.
    pub journal_bytes: usize,
    /// Longest time an acknowledgement waits for other work to be committed with.
    pub ack_flush: Duration,
    /// Time clients have to answer connection.close when the broker stops.
    pub shutdown_grace: Duration,
    /// Pause in accepting connections after the process ran out of file descriptors.
    pub accept_pause: Duration,
    /// Threads that serve clients; 0 is one for each processor the process may use.
    pub threads: usize,
}

/// One entry of `[[users]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEntry {
    /// Name the client logs in with.
    pub name: String,
    /// Password in the clear; only its salted hash is stored.
    pub password: Secret,
    /// Tags such as `administrator` or `monitoring`.
    pub tags: Vec<String>,
    /// Whether the user may log in from this machine only (RabbitMQ's `loopback_users`).
    pub loopback_only: bool,
}

/// One entry of `[[vhosts]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostEntry {
    /// Name.
    pub name: String,
    /// Client connections at a time; negative is any number.
    pub max_connections: Option<i64>,
    /// Queues; negative is any number.
    pub max_queues: Option<i64>,
    /// Type of queues declared without one.
    pub default_queue_type: Option<String>,
}

/// One entry of `[[vhost_limits]]` (RabbitMQ's `default_limits.vhosts`): the first one that fits a new virtual host counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostLimitEntry {
    /// Name of the entry.
    pub name: String,
    /// Regular expression that the names of virtual hosts are matched with.
    pub vhosts: String,
    /// Client connections at a time.
    pub max_connections: Option<i64>,
    /// Queues.
    pub max_queues: Option<i64>,
}

/// One entry of `[[permissions]]`: granted in each virtual host that fits, when that is created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermissionEntry {
    /// Name of the user.
    pub user: String,
    /// Regular expression that the names of virtual hosts are matched with.
    pub vhosts: String,
    /// Regular expression of what the user may configure; the empty one is nothing.
    pub configure: String,
    /// Regular expression of what the user may write to.
    pub write: String,
    /// Regular expression of what the user may read from.
    pub read: String,
}

/// One entry of `[[policies]]` or `[[operator_policies]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyEntry {
    /// Virtual host; unused with `vhosts`.
    pub vhost: String,
    /// Regular expression of virtual hosts, each of which gets the policy when it is created (RabbitMQ's
    /// `default_policies.operator`).
    pub vhosts: Option<String>,
    /// Name.
    pub name: String,
    /// Regular expression that the names of queues and exchanges are matched with.
    pub pattern: String,
    /// Settings by key, as in RabbitMQ.
    pub definition: serde_json::Map<String, serde_json::Value>,
    /// The highest counts.
    pub priority: i64,
    /// `all`, `exchanges`, `queues`, `classic_queues`, `quorum_queues` or `streams`.
    pub apply_to: String,
}

/// A port that is reached from this machine only, by either family of addresses.
fn on_this_machine(port: u16) -> Vec<SocketAddr> {
    let families = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    families.into_iter().map(|address| SocketAddr::new(address, port)).collect()
}

impl Default for Config {
    /// The defaults that `config/leveret.toml` shows, with the data directory still to be chosen.
    fn default() -> Self {
        let node_name = names::default_node_name();
        Self {
            data_dir: PathBuf::new(),
            listen: on_this_machine(AMQP_PORT),
            unix_socket: None,
            proxy_protocol: Vec::new(),
            management_listen: on_this_machine(MANAGEMENT_PORT),
            metrics_listen: on_this_machine(METRICS_PORT),
            tls: Tls::default(),
            cluster_name: node_name.clone(),
            node_name,
            load_definitions: None,
            compatibility: Compatibility::default(),
            users: vec![UserEntry {
                name: users::GUEST.to_owned(),
                password: Secret::new(users::GUEST),
                tags: vec!["administrator".to_owned()],
                loopback_only: true,
            }],
            vhosts: Vec::new(),
            policies: Vec::new(),
            operator_policies: Vec::new(),
            vhost_limits: Vec::new(),
            permissions: Vec::new(),
            loopback_users: Vec::new(),
            mechanisms: Vec::new(),
            default_vhost: "/".to_owned(),
            default_queue_type: "classic".to_owned(),
            log_format: LogFormat::Human,
            log_level: "info".to_owned(),
            log_console: LogConsole::Stderr,
            log_file: None,
            log_file_level: None,
            log_rotation: LogRotation::None,
            log_rotation_count: 10,
            handshake_timeout: Duration::from_secs(10),
            heartbeat: 60,
            frame_max: 128 * KIB,
            channel_max: 2047,
            max_message_size: 0,
            connection_max: None,
            channel_max_per_node: None,
            handshake_bytes: 16_384,
            login_failures: Some(100),
            unacked_max_per_channel: Some(1_000_000),
            binding_max_per_vhost: None,
            consumer_max_per_channel: None,
            vhost_max: None,
            cluster_queue_limit: None,
            cluster_exchange_limit: None,
            outbox_bytes: MIB,
            delivery_bytes: 256 * MIB,
            publisher_floor: 20_000,
            control_bytes: 16 * MIB,
            transaction_bytes: 256 * MIB,
            memory_watermark: MemoryWatermark::default(),
            disk_free_limit: DiskFreeLimit::Automatic,
            consumer_timeout: Duration::from_secs(1_800),
            map_size: 0,
            compact_at_start: false,
            redo_log: true,
            resident_bytes: 64 * MIB,
            journal_bytes: 64 * MIB,
            ack_flush: Duration::from_millis(50),
            shutdown_grace: Duration::from_secs(3),
            accept_pause: Duration::from_millis(100),
            threads: 0,
        }
    }
}

impl Config {
    /// What the chosen compatibility stands for.
    #[inline]
    pub fn profile(&self) -> &'static Profile {
        self.compatibility.profile()
    }

    /// The name of the user there is by default, if nobody has configured any.
    pub fn only_guest(&self) -> Option<&'static str> {
        let [user] = &*self.users else { return None };
        (user.name == users::GUEST && user.password.expose() == users::GUEST).then_some(users::GUEST)
    }

    /// Largest message body accepted, in octets.
    #[inline]
    pub fn largest_body(&self) -> u64 {
        if self.max_message_size > 0 { self.max_message_size } else { self.profile().max_message_size }
    }
}
