//! What a client's user may do has changed: what it holds is judged anew.
//!
//! Whatever a client asks for is judged when it asks; consumers have asked once and are served ever after. So the broker
//! says when rights may have gone, and those who may not read their queue any more are cancelled as if it were deleted.
//! Deliveries they have not been sent return to the queue; what was sent may be settled, as always.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use super::channel::Phase;
use super::context::Park;
use super::{Session, deliver};
use crate::auth::{Access, Resource};
use crate::queue::Consumer;
use crate::telemetry::printable;

impl<S> Session<S> {
    /// Looks at the rights of this client's user again.
    pub(super) fn review(&mut self) {
        let Some(context) = &mut self.context else { return };
        // Tags count as they are now; a user who has gone has lost the connection.
        if let Some(user) = self.broker.users.get(&context.user.name) {
            context.user = user;
        }
        let open = self.channels.values().filter(|channel| channel.phase == Phase::Open);
        let refused: Vec<Arc<Consumer>> = open
            .flat_map(|channel| channel.consumers.values())
            .filter(|consumer| {
                let queue = consumer.queue.as_ref();
                let may_read = |name: &str| {
                    let (user, vhost) = (&context.user, &context.vhost.name);
                    context.broker.authorize(user, Access::Read, vhost, Resource::Queue(name)).is_ok()
                };
                queue.is_some_and(|queue| !may_read(queue.name()))
            })
            .cloned()
            .collect();
        for consumer in refused {
            let Some(queue) = &consumer.queue else { continue };
            tracing::warn!(connection = context.connection.name, queue = %printable(&**queue.name()),
                "consumer cancelled: its user may not read the queue any more");
            queue.unsubscribe(&consumer, context.now, &mut context.fx);
            context.finish(queue);
            if matches!(context.park, Some(Park::Reply(..))) {
                context.parting.push(consumer);
            } else {
                deliver::cancelled(context, &mut self.channels, &consumer);
            }
        }
    }
}
