//! A queue that is a journal and nothing else; beside it the very sources of the intake and of the journal.

#[path = "../../src/queue/intake.rs"]
pub mod intake;
#[path = "../../src/queue/journal.rs"]
mod journal;

use std::sync::Arc;

use leveret::message::{Draft, Facts, address};

use crate::store::{Epoch, Put, QueueId, Settle};
use crate::sync::{Mutex, Rank};
use intake::Intake;
use journal::{Journal, Taken};

/// Of no concern here.
#[derive(Debug, Default)]
pub struct Strays(());

/// Length of every message's body, in octets.
const LEN: u32 = 4;

#[derive(Debug)]
pub struct Queue {
    id: QueueId,
    intake: Arc<Intake>,
    journal: Mutex<Journal>,
}

impl Queue {
    pub fn new(id: u64, intake: Arc<Intake>) -> Arc<Self> {
        let journal = Mutex::new(Rank::Queue, Journal::default());
        Arc::new(Self { id: QueueId(id), intake, journal })
    }

    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Publishes a message; the epoch that makes it durable.
    pub fn push(self: &Arc<Self>, seq: u64, urgent: bool) -> Epoch {
        let address = address(b"", b"q").expect("short");
        let mut draft = Draft::new(&address, &[0, 0], LEN.into(), Facts::default());
        assert!(draft.try_extend(b"body"));
        let message = draft.finish().expect("complete");
        self.with(urgent, |journal| journal.put(Put { seq, lane: 0, expires_at: u64::MAX, message }))
    }

    /// Acknowledges a message; nobody waits for that.
    pub fn settle(self: &Arc<Self>, seq: u64) -> Epoch {
        self.with(false, |journal| journal.settle(Settle { seq, lane: 0, body_len: LEN, counted: false }))
    }

    /// Waits for what is there already.
    pub fn await_all(self: &Arc<Self>) -> Epoch {
        self.with(true, |_| ())
    }

    fn with(self: &Arc<Self>, urgent: bool, append: impl FnOnce(&mut Journal)) -> Epoch {
        let mut journal = self.journal.lock();
        append(&mut journal);
        self.intake.announce(self, &mut journal, urgent)
    }

    pub(crate) fn take_journal(&self) -> Taken {
        self.journal.lock().take()
    }
}
