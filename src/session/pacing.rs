//! Producer credit: a publisher whose messages come faster than willing consumers are served waits for them a moment.
//!
//! Without it producers and consumers get the same share of the processors, however much more the ones want to say than
//! the others can take, and what is published goes to the backlog instead of to its consumers. After a turn in which it
//! pushed to a queue that is outrun, the session reads nothing more until the queue says that its consumers have caught
//! up, but no longer than publishing the same at the floor would have taken: a slow consumer costs its publishers no more
//! than that. Consumers with a prefetch limit hold nobody back: a spike is what a queue is for.
//!
//! Deliberately absent: memory and disk, which hold publishers back by rules of their own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::queue::Queue;
use crate::sync::Bell;

/// Octets of messages that count as one message in the floor.
const PIECE: u64 = 4 << 10;

/// Longest wait after one turn.
const LONGEST: Duration = Duration::from_millis(100);

/// What was pushed to outrun queues since the last wait.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    queue: Option<Arc<Queue>>,
    pieces: u64,
}

impl Ahead {
    /// Notes a push of so many messages with so many octets of bodies.
    pub(super) fn note(&mut self, queue: &Arc<Queue>, messages: usize, octets: u64) {
        self.pieces = self.pieces.saturating_add(messages as u64).saturating_add(octets / PIECE);
        self.queue = Some(queue.clone());
    }
}

/// Whether a session waits for the consumers of a queue.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    queue: Option<Arc<Queue>>,
    /// Made when it is needed first; most sessions never do.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pacing {
    /// Whether it waits.
    pub(super) fn waits(&self) -> bool {
        self.queue.is_some()
    }

    /// Ends a turn: the session waits if it is far enough ahead. `floor` is in messages a second, 0 lets nobody wait.
    pub(super) fn end_turn(&mut self, ahead: &mut Ahead, floor: u64, bell: &Arc<Bell>) {
        // What is not worth a wait yet adds up: some clients send message by message.
        let Some(longest) = longest(ahead.pieces, floor) else { return };
        let Some(queue) = std::mem::take(ahead).queue else { return };
        queue.ring_when_caught_up(bell);
        if !queue.is_outrun() {
            return;
        }
        let until = Instant::now() + longest;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(until),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(until))),
        }
        self.queue = Some(queue);
    }

    /// Ready once when a wait is over.
    pub(super) fn poll(&mut self, cx: &mut Cx<'_>) -> Poll<()> {
        let Some(queue) = &self.queue else { return Poll::Pending };
        let late = self.timer.as_mut().is_none_or(|timer| std::future::Future::poll(timer.as_mut(), cx).is_ready());
        if queue.is_outrun() && !late {
            return Poll::Pending;
        }
        self.queue = None;
        Poll::Ready(())
    }
}

/// How long so many messages take at the floor; `None` if that is not worth a wait.
fn longest(pieces: u64, floor: u64) -> Option<Duration> {
    let millis = pieces.saturating_mul(1_000).checked_div(floor)?;
    (millis > 0).then(|| Duration::from_millis(millis).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_as_long_as_the_floor_takes_and_bounded() {
        let millis = |pieces, floor| longest(pieces, floor).map(|longest| longest.as_millis());
        assert_eq!(millis(1_600, 20_000), Some(80));
        assert_eq!(millis(120, 20_000), Some(6));
        assert_eq!(millis(19, 20_000), None, "less than a clock tells");
        assert_eq!(millis(u64::MAX, 20_000), Some(100));
        assert_eq!(millis(1_600, 0), None, "switched off");
    }
}
