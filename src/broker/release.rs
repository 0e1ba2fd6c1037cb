//! The end of delays: messages leave the holder of their exchange and go on through that exchange.
//!
//! The courier carries them by the rules of its letters: the source is settled after the watermark has reached the
//! targets' epochs, so a crash in between repeats a message (marked as redelivered) and loses none. Nobody but the
//! courier asks a holder for what is due, so messages go on in the order of their times.

use std::sync::Arc;

use super::Broker;
use crate::message::delay;
use crate::queue::{Effects, Entry, Push, Queue};
use crate::store::Epoch;
use crate::telemetry::printable;

/// Takes what is due out of holders. At the end of the broker it stays where it is.
pub(super) fn look_after(broker: &Broker, holders: &[Arc<Queue>]) {
    for holder in holders.iter().filter(|_| !broker.stopping()) {
        let mut fx = Effects::default();
        holder.tick(broker.clock.now(), &mut fx);
        broker.finish(holder, &mut fx);
    }
}

/// Routes a message through the exchange that held it, whose name its holder has. Returns the epoch after which the
/// holder may settle it.
pub(super) fn carry(broker: &Broker, holder: &Queue, entry: &Entry) -> Epoch {
    let Some(vhost) = broker.vhost(&holder.definition().vhost) else { return 0 };
    let Some(message) = delay::released(&entry.message, entry.redelivered) else {
        let exchange = printable(&**holder.name());
        tracing::warn!(%exchange, "a delayed message's headers do not fit a message any more; it was dropped");
        return 0;
    };
    let now = broker.clock.now();
    let (mut fx, mut refused, mut epoch) = (Effects::default(), Vec::new(), 0);
    let targets = vhost.topology().route_again(holder.name(), &message, now);
    for target in targets {
        let message = std::iter::once(message.clone());
        if let Push::Taken(taken) = target.push(message, false, now, &mut refused, &mut fx) {
            epoch = epoch.max(taken);
        }
        broker.finish(&target, &mut fx);
    }
    epoch
}
