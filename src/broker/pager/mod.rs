//! Keeps backlogs out of memory: what queues need not hold is given up to the disk.
//!
//! While the records of all messages take no more than `resident_bytes`, nothing happens here. Above that, whoever works
//! with a queue asks for it to be looked at, and now and then all queues are. Each may keep its *share* of half the mark;
//! what lies behind is folded into a range of positions. Kept messages are on disk already, once committed; the others are
//! written to the *spill* first: an engine of its own, which is never synced and is wiped at start. Reading back is the
//! loader's work.
//!
//! Publishers that fill memory faster than it is given up are held back: after a turn in which they pushed something they
//! wait until everything asked of the pager so far is done. Nobody waits longer: what cannot be given up holds nobody up.
//!
//! Only this thread writes to the spill; `copies` says what is there.

mod copies;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Broker;
use crate::clock::Millis;
use crate::message::ledger;
use crate::queue::{Queue, State, Surplus, Watermark};
use crate::store::{Engine, StoreError};
use crate::sync::Bell;
use copies::Copies;

/// Least octets of records that a queue may keep in memory, however many there are.
const LEAST_SHARE: usize = 1 << 10;

/// How soon a queue is looked at again whose messages were not committed yet, in milliseconds; however many others ask.
const AGAIN: Millis = 20;

/// How often all queues are looked at while memory is short, in milliseconds, and copies removed from the spill.
const ROUND: Millis = 1_000;

/// Opens the spill when it is first needed.
pub type Spill = dyn Fn() -> Result<Arc<dyn Engine>, StoreError> + Send + Sync;

enum Request {
    Look(Arc<Queue>),
    /// Somebody waits.
    Tell,
    Stop,
}

/// Where queues are announced that may hold too much.
pub(super) struct Pager {
    requests: Sender<Request>,
    /// Octets of records above which messages are given up.
    mark: usize,
    /// Octets of records that each queue may keep.
    share: AtomicUsize,
    /// Looks so far, and who waits for the next.
    looks: Watermark,
    open: Option<Arc<Spill>>,
    spill: OnceLock<Arc<dyn Engine>>,
}

/// The queues announced.
pub(super) struct Announced(Receiver<Request>);

impl Pager {
    pub(super) fn new(mark: usize, open: Option<Arc<Spill>>) -> (Self, Announced) {
        let (requests, receiver) = channel();
        // A store in memory has nowhere to give messages up to.
        let mark = if open.is_some() { mark } else { usize::MAX };
        let share = AtomicUsize::new(mark / 2);
        (Self { requests, mark, share, looks: Watermark::default(), open, spill: OnceLock::new() }, Announced(receiver))
    }

    /// Whether messages take more memory than they may.
    #[inline]
    pub(super) fn is_pressed(&self) -> bool {
        ledger::resident() > self.mark
    }

    /// Whether publishers fill memory faster than it is given up.
    pub(super) fn is_overfull(&self) -> bool {
        ledger::resident() > self.mark.saturating_add(self.mark / 2)
    }

    /// The look that has to be over before whoever has filled memory goes on; `bell` rings then.
    pub(super) fn await_look(&self, bell: &Arc<Bell>) -> u64 {
        let look = self.looks.get() + 1;
        if self.looks.await_epoch(look, bell) || self.requests.send(Request::Tell).is_err() {
            return 0;
        }
        look
    }

    /// Looks so far.
    pub(super) fn looks(&self) -> u64 {
        self.looks.get()
    }

    /// Octets of records that each queue may keep in memory while it is short.
    pub(super) fn share(&self) -> usize {
        self.share.load(Ordering::Relaxed)
    }

    /// The spill, if it was ever needed.
    pub(super) fn spill(&self) -> Option<&Arc<dyn Engine>> {
        self.spill.get()
    }

    /// Asks for a look at a queue.
    pub(super) fn request(&self, queue: &Arc<Queue>) {
        if !queue.is_holder() && queue.ask_pager() {
            // After the stop nothing is given up any more.
            let _ = self.requests.send(Request::Look(queue.clone()));
        }
    }

    pub(super) fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
    }

    /// The spill, opened if it is not yet.
    fn opened(&self) -> Result<&Arc<dyn Engine>, StoreError> {
        if self.spill.get().is_none()
            && let Some(open) = &self.open
        {
            // Only one thread comes here.
            let _ = self.spill.set(open()?);
        }
        self.spill.get().ok_or_else(|| StoreError::Engine("there is no spill".to_owned()))
    }
}

pub(super) fn spawn(broker: Arc<Broker>, announced: Announced) -> Result<std::thread::JoinHandle<()>, StoreError> {
    let run = move || {
        let now = broker.clock.now();
        Paging { broker: &broker, later: Vec::new(), again: now, copies: Copies::default(), round: now }
            .run(&announced.0);
    };
    Ok(std::thread::Builder::new().name("leveret-pager".to_owned()).spawn(run)?)
}

struct Paging<'a> {
    broker: &'a Broker,
    /// Queues to be looked at again when more is committed.
    later: Vec<Arc<Queue>>,
    /// When those were looked at last.
    again: Millis,
    /// What is in the spill.
    copies: Copies,
    /// When all queues were looked at last.
    round: Millis,
}

impl Paging<'_> {
    fn run(mut self, announced: &Receiver<Request>) {
        loop {
            let received = if !self.later.is_empty() {
                announced.recv_timeout(Duration::from_millis(AGAIN))
            } else if self.copies.is_empty() && !self.broker.pager.is_pressed() {
                announced.recv().map_err(RecvTimeoutError::from)
            } else {
                announced.recv_timeout(Duration::from_millis(ROUND))
            };
            match received {
                Ok(Request::Look(queue)) => self.look_at(queue),
                Ok(Request::Tell) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = self.broker.clock.now();
            if now.saturating_sub(self.again) >= AGAIN {
                self.again = now;
                for queue in std::mem::take(&mut self.later) {
                    self.look_at(queue);
                }
            }
            let pager = &self.broker.pager;
            pager.looks.advance(pager.looks.get() + 1);
            if now.saturating_sub(self.round) >= ROUND {
                self.round = now;
                self.look_round();
                if let Some(spill) = self.broker.pager.spill() {
                    self.copies.tidy(&**spill);
                }
            }
        }
    }

    /// Gives up what the queue need not hold.
    fn look_at(&mut self, queue: Arc<Queue>) {
        queue.pager_looks();
        let pager = &self.broker.pager;
        while pager.is_pressed() {
            match queue.surplus(pager.share(), self.broker.watermark.get()) {
                Surplus::None => return,
                Surplus::Uncommitted => {
                    if queue.ask_pager() {
                        self.later.push(queue);
                    }
                    return;
                }
                Surplus::Some(chunk) => {
                    let copied = chunk.copies.is_empty() || self.copies.add(pager.opened(), &queue, &chunk);
                    if !copied {
                        return;
                    }
                    queue.fold(&chunk);
                }
            }
        }
    }

    /// Divides the memory among the queues that have messages, and looks at them while it is short.
    fn look_round(&mut self) {
        let pager = &self.broker.pager;
        if !pager.is_pressed() {
            return;
        }
        let mut queues = Vec::new();
        for vhost in self.broker.vhosts() {
            queues.extend(vhost.topology().queues.values().cloned());
        }
        queues.retain(|queue| queue.inspect(|state| state.ready() > 0));
        let share = (pager.mark / 2 / queues.len().max(1)).max(LEAST_SHARE);
        pager.share.store(share, Ordering::Relaxed);
        for queue in queues {
            self.look_at(queue);
        }
    }
}
