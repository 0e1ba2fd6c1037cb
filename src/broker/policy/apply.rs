//! Changed policies reach what lives: exchanges get another alternate exchange, queues other options.
//!
//! Queues are visited one after another without the topology's lock, in bounded pieces. A visit brings the options of
//! the policies' present version and a queue keeps what is newest, so visits may overlap with each other and with
//! declarations, which look at the policies under the topology's lock themselves.

use std::sync::Arc;

use super::Policies;
use crate::broker::{Broker, VirtualHost};
use crate::clock::Millis;
use crate::queue::{Effects, Queue};

/// Objects visited before other tasks get their turn.
const BUDGET: usize = 256;

/// Gives a queue the options its arguments and policies come to.
pub(in crate::broker) fn govern(policies: &Policies, queue: &Arc<Queue>, now: Millis, fx: &mut Effects) {
    queue.set_options(policies.options(queue.definition()), policies.version, now, fx);
}

/// Visits every exchange and every queue of a virtual host.
pub(in crate::broker) async fn reapply(broker: Arc<Broker>, vhost: Arc<VirtualHost>) {
    let exchanges: Vec<Arc<str>> = vhost.topology().exchanges.keys().cloned().collect();
    for names in exchanges.chunks(BUDGET) {
        redirect(&vhost, names);
        tokio::task::yield_now().await;
    }
    let queues: Vec<Arc<Queue>> = vhost.topology().queues.values().cloned().collect();
    let mut fx = Effects::default();
    for piece in queues.chunks(BUDGET) {
        let policies = vhost.topology().policies.clone();
        for queue in piece {
            govern(&policies, queue, broker.clock.now(), &mut fx);
            broker.finish(queue, &mut fx);
        }
        tokio::task::yield_now().await;
    }
    // Dead letters that found no way are tried again: it may be another way now.
    vhost.changed();
}

/// Looks up the alternate exchanges of these exchanges again.
pub(in crate::broker) fn redirect(vhost: &VirtualHost, names: &[Arc<str>]) {
    let mut topology = vhost.topology.write();
    let policies = topology.policies.clone();
    let mut changed = false;
    for name in names {
        let Some(exchange) = topology.exchanges.get_mut(name) else { continue };
        let alternate = policies.alternate(name, &exchange.arguments);
        if alternate != exchange.alternate {
            exchange.alternate = alternate;
            changed = true;
        }
    }
    if changed {
        // Routes remembered by publishers may have taken the other way.
        vhost.changed();
    }
}
