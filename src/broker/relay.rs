//! How the writer's thread tells the runtime that an epoch is durable: through a pipe that the runtime's driver watches.
//!
//! A task that is woken from outside of the runtime goes through the queue that all its threads share, and the thread that
//! takes it has another one woken to look for more. Where a client waits for each confirm that is a thread woken in vain,
//! every time. What a thread hears from the driver stays with it, unless there is work for two.
//!
//! Invariants: whoever waits for a mark that was set before [`Relay::ring`] is rung; a write never waits, since there are
//! no more octets in the pipe than times the flag went up unheard. Deliberately absent: who waits for what ([`Watermark`]).
//!
//! [`Watermark`]: crate::queue::Watermark

use std::io::{self, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::Broker;

/// The writer's end.
#[derive(Debug)]
pub(super) struct Relay {
    /// Rung, and not heard yet.
    rung: AtomicBool,
    pipe: PipeWriter,
}

impl Relay {
    /// Both ends. Must be called inside a runtime.
    pub(super) fn new() -> io::Result<(Self, Receiver)> {
        let (heard, pipe) = io::pipe()?;
        Ok((Self { rung: AtomicBool::new(false), pipe }, Receiver::from_owned_fd(OwnedFd::from(heard))?))
    }

    /// Has everybody rung whose epoch is durable.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It fails only when nobody listens any more, at the end: then nobody waits either.
            let _ = (&self.pipe).write_all(&[1]);
        }
    }

    /// What was marked before the ring that is heard by this is seen by whoever looks after it.
    fn hear(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// Rings for the writer until it is aborted.
pub(super) async fn run(broker: Arc<Broker>, mut heard: Receiver) {
    let mut octets = [0; 8];
    while let Ok(1..) = heard.read(&mut octets).await {
        broker.relay.hear();
        broker.watermark.ring_due();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Watermark;
    use crate::sync::Bell;

    /// As [`run`] does it.
    async fn listen(relay: Arc<Relay>, watermark: Arc<Watermark>, mut heard: Receiver) {
        while let Ok(1..) = heard.read(&mut [0; 8]).await {
            relay.hear();
            watermark.ring_due();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_mark_is_missed() {
        const MARKS: u64 = 20_000;
        let (relay, heard) = Relay::new().unwrap();
        let (relay, watermark) = (Arc::new(relay), Arc::new(Watermark::default()));
        let listening = tokio::spawn(listen(relay.clone(), watermark.clone(), heard));
        let writing = std::thread::spawn({
            let (relay, watermark) = (relay.clone(), watermark.clone());
            move || {
                for epoch in 1..=MARKS {
                    if watermark.mark(epoch) {
                        relay.ring();
                    }
                }
            }
        });
        let bell = Arc::new(Bell::new());
        while watermark.get() < MARKS {
            let next = MARKS.min(watermark.get() + 1);
            while !watermark.await_epoch(next, &bell) {
                bell.rung().await;
            }
        }
        writing.join().unwrap();
        // The last one is heard although nothing comes after it.
        let last = Arc::new(Bell::new());
        assert!(!watermark.await_epoch(MARKS + 1, &last));
        assert!(watermark.mark(MARKS + 1), "somebody waits");
        relay.ring();
        last.rung().await;
        listening.abort();
    }

    #[test]
    fn nobody_is_told_of_what_nobody_waits_for() {
        let watermark = Watermark::default();
        assert!(!watermark.mark(1));
        let bell = Arc::new(Bell::new());
        assert!(!watermark.await_epoch(3, &bell));
        assert!(!watermark.mark(2), "not yet");
        assert!(watermark.mark(3));
    }
}
