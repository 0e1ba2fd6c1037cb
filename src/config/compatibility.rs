//! Which RabbitMQ the broker answers as: one [`Profile`] for each value of the setting `compatibility`.
//!
//! Whatever differs between RabbitMQ's versions is one field of [`Profile`] and one row of [`table`], which
//! `COMPATIBILITY.md` beside this file shows to people and a test holds it to. No other module may ask for a version:
//! it asks for the field. `lenient` accepts what any version accepts; where versions merely differ it answers as 4.2.

use std::fmt::Write as _;

/// The setting `compatibility`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compatibility {
    /// RabbitMQ 3.13.
    V3_13,
    /// RabbitMQ 4.2.
    V4_2,
    /// RabbitMQ 4.3.
    V4_3,
    /// Whatever any of them accepts.
    #[default]
    Lenient,
}

/// Which returns of a message to a quorum queue count towards its delivery limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedDelivery {
    /// Every one.
    EveryReturn,
    /// basic.reject with requeue, and the end of the consumer, its channel or its connection; not basic.nack with
    /// requeue, nor basic.recover.
    RejectOrDeath,
}

/// Priorities of a quorum queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumPriorities {
    /// Ignored.
    None,
    /// Above 4 is high; two high messages are served before one normal.
    Two,
    /// 32 strict levels; higher values count as 31, none as 4.
    Levels,
}

/// What happens to an unacknowledged delivery whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckTimeout {
    /// The channel is closed with 406, whatever the queue's type.
    CloseChannel,
    /// As [`AckTimeout::CloseChannel`], but the default time holds for quorum queues only.
    CloseChannelOfQuorum,
    /// Quorum queues only: the messages return, and the consumer is cancelled if its client understands that.
    CancelConsumer,
}

/// Everything in which RabbitMQ's versions differ, as far as a client can see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // rows of a table
pub struct Profile {
    /// The version connection.start reports.
    pub version: &'static str,
    /// Mechanisms in connection.start, in this order.
    pub mechanisms: &'static str,
    /// Least frame-max a client may ask for, in octets.
    pub frame_max_min: u32,
    /// Largest payload of a frame before connection.tune-ok, in octets.
    pub initial_frame_max: u32,
    /// Largest body unless `limits.max_message_size` says otherwise, in octets.
    pub max_message_size: u64,
    /// A queue's type is stored with its arguments, which shows in the texts of refused redeclarations.
    pub stores_queue_type: bool,
    /// `x-queue-mode` must be `default` or `lazy`, and only classic queues take it.
    pub checks_queue_mode: bool,
    /// The least `x-queue-version` taken; the highest is 2.
    pub queue_version_min: i64,
    /// `x-queue-master-locator` is taken rather than refused as deprecated.
    pub takes_master_locator: bool,
    /// basic.qos with `global` sets one limit for the channel rather than one for each later consumer.
    pub channel_prefetch: bool,
    /// Consumers with a channel-wide limit are refused by quorum queues.
    pub quorum_refuses_channel_prefetch: bool,
    /// Most `#` words in a topic binding's key, if limited.
    pub topic_wildcards_max: Option<usize>,
    /// The vhost `/` has the exchange `amq.rabbitmq.log`.
    pub log_exchange: bool,
    /// The exchange type `x-local-random` exists.
    pub local_random: bool,
    /// A mandatory message to a direct reply-to name is returned, whether its requester gets it or is gone.
    pub returns_replies: bool,
    /// The user-id of a publish is looked at before its expiration and its copies rather than after.
    pub checks_user_id_first: bool,
    /// Classic queues know `x-queue-leader-locator`.
    pub leader_locator_of_classic: bool,
    /// Binding a direct reply-to name is refused with 403 rather than 404.
    pub refuses_volatile_bindings: bool,
    /// A dead letter that had been delivered arrives with the redelivered flag.
    pub redelivered_survives_death: bool,
    /// `CC` is removed from a dead letter that gets another routing key.
    pub removes_cc_at_death: bool,
    /// `x-death` and `x-first-death-*` headers a client sent are discarded at the first death rather than merged.
    pub discards_foreign_deaths: bool,
    /// A quorum queue's delivery limit if neither argument nor policy sets one.
    pub delivery_limit: Option<u32>,
    /// What counts towards it.
    pub failed_delivery: FailedDelivery,
    /// `x-acquired-count` is sent with repeated deliveries.
    pub acquired_count: bool,
    /// Priorities of quorum queues.
    pub quorum_priorities: QuorumPriorities,
    /// A consumer of higher priority takes over a quorum queue with a single active consumer.
    pub single_active_by_priority: bool,
    /// How basic.get on a quorum queue with a single active consumer is refused.
    pub get_refused_by: &'static str,
    /// What an expired acknowledgement leads to.
    pub ack_timeout: AckTimeout,
    /// `x-consumer-timeout` is an argument of consumers too.
    pub timeout_of_consumer: bool,
    /// `x-consumer-timeout` and `x-delayed-retry-*` are known as arguments of quorum queues: others refuse them.
    pub timeout_arguments_of_quorum: bool,
    /// Policies may have the keys of classic mirroring (`ha-*`, `queue-master-locator`).
    pub mirroring: bool,
    /// A policy's `delivery-limit` may be negative, which is unlimited.
    pub unlimited_deliveries_by_policy: bool,
    /// A passive declaration needs some right to what it asks for.
    pub passive_needs_permission: bool,
    /// Topic permissions are asked for the routing keys of `CC` and `BCC` too.
    pub topic_permission_of_copies: bool,
    /// Feature flags that 3.13 does not have enabled, that of the version itself last.
    pub version_flags: &'static [&'static str],
}

impl Default for &'static Profile {
    fn default() -> Self {
        Compatibility::default().profile()
    }
}

const MIB: u64 = 1024 * 1024;

static V3_13: Profile = Profile {
    version: "3.13.7",
    mechanisms: "AMQPLAIN PLAIN",
    frame_max_min: 4_096,
    initial_frame_max: 4_096,
    max_message_size: 128 * MIB,
    stores_queue_type: false,
    checks_queue_mode: true,
    queue_version_min: 1,
    takes_master_locator: true,
    channel_prefetch: true,
    quorum_refuses_channel_prefetch: true,
    topic_wildcards_max: None,
    log_exchange: false,
    local_random: false,
    returns_replies: true,
    checks_user_id_first: true,
    leader_locator_of_classic: false,
    refuses_volatile_bindings: false,
    redelivered_survives_death: false,
    removes_cc_at_death: true,
    discards_foreign_deaths: false,
    delivery_limit: None,
    failed_delivery: FailedDelivery::EveryReturn,
    acquired_count: false,
    quorum_priorities: QuorumPriorities::None,
    single_active_by_priority: false,
    get_refused_by: "by quorum queues",
    ack_timeout: AckTimeout::CloseChannel,
    timeout_of_consumer: false,
    timeout_arguments_of_quorum: false,
    mirroring: true,
    unlimited_deliveries_by_policy: false,
    passive_needs_permission: false,
    topic_permission_of_copies: false,
    version_flags: &[],
};

static V4_2: Profile = Profile {
    version: "4.2.0",
    mechanisms: "AMQPLAIN PLAIN ANONYMOUS",
    frame_max_min: 8_192,
    initial_frame_max: 8_192,
    max_message_size: 16 * MIB,
    stores_queue_type: true,
    checks_queue_mode: false,
    returns_replies: false,
    checks_user_id_first: false,
    leader_locator_of_classic: true,
    refuses_volatile_bindings: true,
    local_random: true,
    removes_cc_at_death: false,
    discards_foreign_deaths: true,
    delivery_limit: Some(20),
    quorum_priorities: QuorumPriorities::Two,
    single_active_by_priority: true,
    mirroring: false,
    unlimited_deliveries_by_policy: true,
    passive_needs_permission: true,
    topic_permission_of_copies: true,
    version_flags: &["khepri_db", "rabbitmq_4.0.0", "rabbitmq_4.1.0", "rabbitmq_4.2.0"],
    ..V3_13
};

static V4_3: Profile = Profile {
    version: "4.3.6",
    queue_version_min: 2,
    takes_master_locator: false,
    channel_prefetch: false,
    quorum_refuses_channel_prefetch: false,
    topic_wildcards_max: Some(2),
    log_exchange: true,
    redelivered_survives_death: true,
    failed_delivery: FailedDelivery::RejectOrDeath,
    acquired_count: true,
    quorum_priorities: QuorumPriorities::Levels,
    get_refused_by: "by <<\"quorum\">> queues",
    ack_timeout: AckTimeout::CancelConsumer,
    timeout_of_consumer: true,
    timeout_arguments_of_quorum: true,
    version_flags: &["khepri_db", "rabbitmq_4.0.0", "rabbitmq_4.1.0", "rabbitmq_4.2.0", "rabbitmq_4.3.0"],
    ..V4_2
};

static LENIENT: Profile = Profile {
    frame_max_min: 4_096,
    max_message_size: 128 * MIB,
    quorum_refuses_channel_prefetch: false,
    ack_timeout: AckTimeout::CloseChannelOfQuorum,
    timeout_of_consumer: true,
    mirroring: true,
    ..V4_2
};

impl Compatibility {
    /// Every value, with the text that selects it, in the order of the table's columns.
    pub const ALL: [(&'static str, Self); 4] =
        [("3.13", Self::V3_13), ("4.2", Self::V4_2), ("4.3", Self::V4_3), ("lenient", Self::Lenient)];

    /// The text that selects it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }

    /// What it stands for.
    pub fn profile(self) -> &'static Profile {
        match self {
            Self::V3_13 => &V3_13,
            Self::V4_2 => &V4_2,
            Self::V4_3 => &V4_3,
            Self::Lenient => &LENIENT,
        }
    }
}

fn yes(on: bool) -> String {
    if on { "yes" } else { "no" }.to_owned()
}

/// A row of the table: what it is about, and how to read it from a profile.
type Row = (&'static str, fn(&Profile) -> String);

const ROWS: &[Row] = &[
    ("Version reported in connection.start", |p| p.version.to_owned()),
    ("Login mechanisms, in order", |p| p.mechanisms.to_owned()),
    ("Least frame-max, in octets", |p| p.frame_max_min.to_string()),
    ("Largest frame before tune-ok, in octets", |p| p.initial_frame_max.to_string()),
    ("Largest body, in MiB, unless configured", |p| (p.max_message_size / MIB).to_string()),
    ("A queue's type is stored: absent equals `classic` in texts", |p| yes(p.stores_queue_type)),
    ("`x-queue-mode` other than `default` and `lazy` is refused", |p| yes(p.checks_queue_mode)),
    ("`x-queue-version` taken", |p| if p.queue_version_min == 2 { "2" } else { "1, 2" }.to_owned()),
    ("`x-queue-master-locator` is taken", |p| yes(p.takes_master_locator)),
    ("basic.qos global is one limit for the channel", |p| yes(p.channel_prefetch)),
    ("Quorum queues refuse consumers under such a limit", |p| yes(p.quorum_refuses_channel_prefetch)),
    ("Most `#` in a topic binding's key", |p| p.topic_wildcards_max.map_or("any".to_owned(), |max| max.to_string())),
    ("`amq.rabbitmq.log` exists in `/`", |p| yes(p.log_exchange)),
    ("Exchange type `x-local-random`", |p| yes(p.local_random)),
    ("A mandatory direct reply is returned, even if it arrived", |p| yes(p.returns_replies)),
    ("A publish's user-id is checked before its expiration and `CC`", |p| yes(p.checks_user_id_first)),
    ("Classic queues know `x-queue-leader-locator`", |p| yes(p.leader_locator_of_classic)),
    ("Binding a direct reply-to name is refused with", |p| {
        if p.refuses_volatile_bindings { "403" } else { "404" }.to_owned()
    }),
    ("The redelivered flag survives dead-lettering", |p| yes(p.redelivered_survives_death)),
    ("`CC` is removed from a dead letter with a new routing key", |p| yes(p.removes_cc_at_death)),
    ("`x-death` headers sent by a client are discarded at the first death", |p| yes(p.discards_foreign_deaths)),
    ("Delivery limit of quorum queues by default", |p| p.delivery_limit.map_or("none".to_owned(), |n| n.to_string())),
    ("Returns that count towards it", |p| {
        match p.failed_delivery {
            FailedDelivery::EveryReturn => "all",
            FailedDelivery::RejectOrDeath => "reject, end of consumer",
        }
        .to_owned()
    }),
    ("`x-acquired-count` is sent with repeated deliveries", |p| yes(p.acquired_count)),
    ("Priorities of quorum queues", |p| {
        match p.quorum_priorities {
            QuorumPriorities::None => "none",
            QuorumPriorities::Two => "2, served 2:1",
            QuorumPriorities::Levels => "32, strict",
        }
        .to_owned()
    }),
    ("A single active consumer of a quorum queue gives way to a higher priority", |p| yes(p.single_active_by_priority)),
    ("basic.get from a quorum queue with a single active consumer is not supported", |p| p.get_refused_by.to_owned()),
    ("Acknowledgement timeout by default: after 30 minutes", |p| {
        match p.ack_timeout {
            AckTimeout::CloseChannel => "the channel is closed",
            AckTimeout::CloseChannelOfQuorum => "quorum queues: the channel is closed",
            AckTimeout::CancelConsumer => "quorum queues: the messages return, the consumer is cancelled",
        }
        .to_owned()
    }),
    ("`x-consumer-timeout` is an argument of consumers", |p| yes(p.timeout_of_consumer)),
    ("Queues other than quorum refuse `x-consumer-timeout`, `x-delayed-retry-*`", |p| {
        yes(p.timeout_arguments_of_quorum)
    }),
    ("Policies may have `ha-*` and `queue-master-locator`", |p| yes(p.mirroring)),
    ("A policy's `delivery-limit` may be negative: unlimited", |p| yes(p.unlimited_deliveries_by_policy)),
    ("Passive declarations need a permission, whichever", |p| yes(p.passive_needs_permission)),
    ("Topic permissions are asked for `CC` and `BCC` too", |p| yes(p.topic_permission_of_copies)),
    ("Newest feature flag of a version", |p| p.version_flags.last().copied().unwrap_or("none").to_owned()),
];

/// The table of every row in every profile, as Markdown.
pub fn table() -> String {
    let mut text = String::from("| Behaviour |");
    for (name, _) in Compatibility::ALL {
        let _ = write!(text, " {name} |");
    }
    text.push_str("\n|---|---|---|---|---|\n");
    for (what, cell) in ROWS {
        let _ = write!(text, "| {what} |");
        for (_, value) in Compatibility::ALL {
            let _ = write!(text, " {} |", cell(value.profile()));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = include_str!("COMPATIBILITY.md");

    #[test]
    fn the_committed_table_says_what_the_profiles_say() {
        let start = SHOWN.find("| Behaviour |").expect("the table");
        let end = SHOWN[start..].find("\n\n").map_or(SHOWN.len(), |end| start + end + 1);
        assert_eq!(&SHOWN[start..end], table(), "src/config/COMPATIBILITY.md is to show this table:\n{}", table());
    }

    #[test]
    fn no_row_is_without_a_difference() {
        for (what, cell) in ROWS {
            let cells: Vec<_> = Compatibility::ALL.iter().map(|(_, value)| cell(value.profile())).collect();
            assert!(cells.iter().any(|text| *text != cells[0]), "{what}: {cells:?}");
        }
    }
}
