//! Reads kept and spilled messages back into queues, on a thread of its own: a cold read blocks, and must not block a
//! session.
//!
//! The channel has no bound of its own because its senders have one: a queue asks for one load at a time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::Broker;
use crate::clock::Clock;
use crate::queue::{Effects, Load, Queue};
use crate::store::{Engine, Page, StoreError};

/// Octets of records read at a time, unless memory is short.
const READ_BUDGET: usize = 512 * 1024;

/// The same where memory is short: a quarter of what a queue may keep, but not less than this.
const LEAST_BUDGET: usize = 16 * 1024;

enum Request {
    Load(Arc<Queue>, Load),
    Stop,
}

/// Where loads are asked for.
pub(super) struct Loader {
    requests: Sender<Request>,
}

/// The loads asked for.
pub(super) struct Requests(Receiver<Request>);

impl Loader {
    pub(super) fn new() -> (Self, Requests) {
        let (requests, receiver) = channel();
        (Self { requests }, Requests(receiver))
    }

    pub(super) fn request(&self, queue: Arc<Queue>, load: Load) {
        // After the stop nobody waits for a load any more.
        let _ = self.requests.send(Request::Load(queue, load));
    }

    pub(super) fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
    }
}

pub(super) fn spawn(broker: Arc<Broker>, requests: Requests) -> Result<std::thread::JoinHandle<()>, StoreError> {
    let run = move || {
        let mut fx = Effects::default();
        while let Ok(Request::Load(queue, load)) = requests.0.recv() {
            serve(&broker, &queue, load, &mut fx);
        }
    };
    Ok(std::thread::Builder::new().name("leveret-loader".to_owned()).spawn(run)?)
}

fn serve(broker: &Broker, queue: &Arc<Queue>, load: Load, fx: &mut Effects) {
    match read(broker, queue, load) {
        Ok((page, spilled)) => {
            let missing = queue.loaded(load, page, spilled, broker.clock.now(), fx);
            if missing > 0 {
                let queue = crate::telemetry::printable(&**queue.name());
                tracing::error!(%queue, missing, "kept messages are damaged and were set aside; the queue goes on");
            }
            broker.finish(queue, fx);
        }
        Err(error) => broker.fail(format!("reading messages back: {error}")),
    }
}

fn read(broker: &Broker, queue: &Queue, load: Load) -> Result<(Page, Page), StoreError> {
    let budget = (broker.pager.share() / 4).clamp(LEAST_BUDGET, READ_BUDGET);
    let page = |engine: &dyn Engine| engine.read(queue.id(), load.lane, load.from, load.until, budget);
    let mut kept = if queue.definition().durable { page(&**broker.engine())? } else { Page::default() };
    let skew = broker.clock.skew();
    if skew != 0 {
        for stored in &mut kept.messages {
            stored.expires_at = Clock::from_wall(stored.expires_at, skew);
        }
    }
    let spill = broker.pager.spill().filter(|_| load.spilled);
    let spilled = spill.map(|spill| page(&**spill)).transpose()?.unwrap_or_default();
    Ok((kept, spilled))
}
