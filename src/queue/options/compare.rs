//! The arguments that a redeclaration must repeat exactly; others may differ.

use super::{Kind, Options};

/// Not known to the classic queues of every version.
const LOCATOR: &str = "x-queue-leader-locator";

/// Not known to the quorum queues of every version.
const LATELY: [&str; 5] = [
    "x-consumer-disconnected-timeout",
    "x-consumer-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
];

const CLASSIC: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
];

const QUORUM: &[&str] = &[
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
    "x-consumer-disconnected-timeout",
    "x-consumer-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
];

/// The arguments in which a redeclaration of a queue with these options must agree, in the order in which they are
/// compared.
pub fn compared(options: &Options) -> impl Iterator<Item = &'static str> {
    let profile = options.profile;
    let known = move |key: &&str| match options.kind {
        Kind::Classic => profile.leader_locator_of_classic || *key != LOCATOR,
        Kind::Quorum => profile.timeout_arguments_of_quorum || !LATELY.contains(key),
    };
    let all = match options.kind {
        Kind::Classic => CLASSIC,
        Kind::Quorum => QUORUM,
    };
    all.iter().copied().filter(known)
}
