//! The arguments that a redeclaration must repeat exactly; others may differ.

use super::Kind;
use crate::config::Profile;

/// Not known to the classic queues of every version.
const LOCATOR: &str = "x-queue-leader-locator";

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

/// The arguments in which a redeclaration of a queue of this type must agree, in the order in which they are compared.
pub fn compared(kind: Kind, profile: &Profile) -> Vec<&'static str> {
    let known = |key: &&str| kind == Kind::Quorum || profile.leader_locator_of_classic || *key != LOCATOR;
    let all = match kind {
        Kind::Classic => CLASSIC,
        Kind::Quorum => QUORUM,
    };
    all.iter().copied().filter(known).collect()
}
