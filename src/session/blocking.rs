//! Alarms, as a client sees them: it is blocked when it publishes, and told so if it wants to know.
//!
//! As in RabbitMQ, content that arrives while an alarm is up is still taken in, the frame that is; after it nothing more is
//! read from this client, whatever it is, until the last alarm is over. Deliveries, confirms and heartbeats go on. A
//! client's silence is not held against it meanwhile. Source: connection.blocked and connection.unblocked, an extension
//! of RabbitMQ's that clients ask for by their capability.

use amq_protocol::protocol::{AMQPClass, connection};

use super::Session;
use crate::wire::short::short_string;

impl<S> Session<S> {
    /// Content has arrived: blocks the client if an alarm is up.
    pub(super) fn note_publish(&mut self) {
        let alarms = &self.broker.alarms;
        if !alarms.raised() || self.blocked || !self.is_open() {
            return;
        }
        if alarms.await_end(self.connection.id, self.outbox.bell()) {
            return;
        }
        self.blocked = true;
        let reason = alarms.reason();
        tracing::info!(connection = self.name(), "publisher blocked: {reason}");
        self.tell(connection::AMQPMethod::Blocked(connection::Blocked { reason: short_string(reason) }));
    }

    /// Unblocks the client if no alarm is up any more.
    pub(super) fn look_for_end_of_alarm(&mut self) {
        if !self.blocked || !self.broker.alarms.await_end(self.connection.id, self.outbox.bell()) {
            return;
        }
        self.blocked = false;
        self.tell(connection::AMQPMethod::Unblocked(connection::Unblocked {}));
    }

    fn tell(&mut self, method: connection::AMQPMethod) {
        let open = self.is_open();
        if let Some(context) = self.context.as_mut().filter(|context| open && context.capabilities.connection_blocked) {
            context.send(0, AMQPClass::Connection(method));
        }
    }
}
