//! Names and arguments as clients send them.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use amq_protocol::types::ShortString;

use super::channel::Channel;
use crate::wire::refusal::{Refusal, ReplyCode};

/// A queue or exchange name without carriage returns and line feeds, which RabbitMQ removes.
pub(super) fn clean(name: &ShortString) -> String {
    name.as_str().chars().filter(|c| !matches!(c, '\r' | '\n')).collect()
}

/// The queue meant: an empty name is the one declared last on this channel.
pub(super) fn queue_meant(channel: &Channel, name: &ShortString) -> Result<String, Refusal> {
    let name = clean(name);
    if !name.is_empty() {
        return Ok(name);
    }
    match &channel.last_queue {
        Some(last) => Ok(last.to_string()),
        None => Err(Refusal::new(ReplyCode::NotFound, "no previously declared queue")),
    }
}
