//! Direct reply-to: consumers that are addressed by a secret name and never stored for.
//!
//! Source: RabbitMQ's `amq.rabbitmq.reply-to`. The generated name is the capability: who knows it may publish to it.

use std::sync::Arc;

use dashmap::DashMap;

use crate::message::Message;
use crate::queue::{Consumer, Entry};

/// The pseudo-queue a requester consumes from, and the value of `reply-to` that is replaced by the secret name.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// What every secret name begins with.
const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Characters behind the prefix, see [`super::generated_name`].
const SECRET: usize = 22;

/// Reply consumers by secret name.
#[derive(Debug, Default)]
pub struct Replies {
    consumers: DashMap<Box<str>, Arc<Consumer>>,
}

impl Replies {
    /// Lists a reply consumer; returns its secret name.
    pub fn register(&self, consumer: Arc<Consumer>) -> Box<str> {
        let name: Box<str> = super::generated_name(PREFIX).into();
        self.consumers.insert(name.clone(), consumer);
        name
    }

    /// Ends a secret name for good.
    pub fn forget(&self, name: &str) {
        self.consumers.remove(name);
    }

    /// Whether the name could be that of a reply consumer, alive or not.
    pub fn is_reply(name: &[u8]) -> bool {
        name.starts_with(PREFIX.as_bytes())
    }

    /// Whether the name has the form of those given out.
    pub fn is_well_formed(name: &[u8]) -> bool {
        let secret = name.strip_prefix(PREFIX.as_bytes());
        secret.is_some_and(|secret| {
            secret.len() == SECRET && secret.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet))
        })
    }

    /// Whether its consumer is alive.
    pub fn alive(&self, name: &str) -> bool {
        self.consumers.contains_key(name)
    }

    /// Delivers a reply; one whose requester is gone, or does not read, is dropped.
    pub fn deliver(&self, name: &str, message: Message) {
        let consumer = self.consumers.get(name).map(|c| c.clone());
        if let Some(consumer) = consumer {
            consumer.outbox.reply(&consumer, Entry::unqueued(message));
        }
    }
}
