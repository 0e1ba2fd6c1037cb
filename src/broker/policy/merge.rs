//! What counts where several have a say: an operator's policy, a user's policy, a queue's own arguments.
//!
//! First the two policies come to one value a key, by the rule in the key's row; then that value and the argument come
//! to what the queue does. Source: RabbitMQ's merge strategies, and the look-ups its queue types make.

use std::sync::Arc;

use serde_json::Value;

use super::Governing;
use super::setting::{self, Merge, number};
use crate::queue::options::Strategy;
use crate::queue::{Options, Overflow};
use crate::wire::table::Table;

/// Of two that may be absent, the smaller that is there.
fn smaller<N: Ord>(a: Option<N>, b: Option<N>) -> Option<N> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The smaller limit; a negative one is none, which an argument or a user's policy asks for against a default.
fn limit(a: i64, b: i64) -> i64 {
    if a < 0 || b < 0 { a.max(b) } else { a.min(b) }
}

impl Governing {
    /// The value of a key, of the policies alone.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        let of_user = self.policy.as_ref().and_then(|policy| policy.definition.get(key));
        let of_operator = self.operator_policy.as_ref().and_then(|policy| policy.definition.get(key));
        let (Some(user), Some(operator)) = (of_user, of_operator) else { return of_user.or(of_operator) };
        let (Some(a), Some(b)) = (number(user), number(operator)) else { return Some(operator) };
        let user_counts = match setting::find(key).map_or(Merge::Operator, setting::Setting::merge) {
            Merge::Smaller => a < b,
            Merge::Larger => a > b,
            Merge::Limit => limit(a, b) == a,
            Merge::Operator => false,
        };
        Some(if user_counts { user } else { operator })
    }

    fn amount(&self, key: &str) -> Option<u64> {
        self.value(key).and_then(number).and_then(|n| u64::try_from(n).ok())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.value(key).and_then(Value::as_str)
    }

    /// The options of a queue with these `arguments`, which alone come to `declared`.
    pub(super) fn options(&self, declared: &Options, arguments: &Table) -> Options {
        let mut options = declared.clone();
        options.message_ttl = smaller(declared.message_ttl, self.amount("message-ttl"));
        options.expires = smaller(declared.expires, self.amount("expires").filter(|expires| *expires > 0));
        options.max_length = smaller(declared.max_length, self.amount("max-length"));
        options.max_length_bytes = smaller(declared.max_length_bytes, self.amount("max-length-bytes"));
        options.consumer_timeout = smaller(declared.consumer_timeout, self.amount("consumer-timeout"));
        if options.dead_letter_exchange.is_none() {
            options.dead_letter_exchange = self.text("dead-letter-exchange").map(Arc::from);
        }
        if options.dead_letter_routing_key.is_none() {
            options.dead_letter_routing_key = self.text("dead-letter-routing-key").map(Arc::from);
        }
        if let Some(overflow) = self.text("overflow").and_then(Overflow::named) {
            if declared.is_quorum() {
                // It takes a refusal with dead letters for drop-head.
                let dlx = overflow == Overflow::RejectPublishDlx;
                options.overflow = if dlx { Overflow::DropHead } else { overflow };
            } else if arguments.get("x-overflow").is_none() {
                options.overflow = overflow;
            }
        }
        if declared.is_quorum() {
            if arguments.get("x-dead-letter-strategy").is_none() {
                let strategy = self.text("dead-letter-strategy").and_then(Strategy::named);
                options.dead_letter_strategy = strategy.unwrap_or(declared.dead_letter_strategy);
            }
            options.delivery_limit = match (declared.delivery_limit, self.value("delivery-limit").and_then(number)) {
                (Some(a), Some(b)) => Some(limit(a, b)),
                (a, b) => a.or(b),
            };
        }
        options
    }
}
