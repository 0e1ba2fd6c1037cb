//! The acknowledgement timeout: what to do with clients that keep deliveries and do not acknowledge them.
//!
//! Each consumer knows how long its deliveries may stay unacknowledged; a channel notes the time of a delivery no more
//! often than every [`GRAIN`](super::unacked::GRAIN). A session with such consumers looks through what its channels hold
//! at intervals as long as its shortest timeout, at most a minute: nothing is done for a single delivery, and nobody is
//! late by more than RabbitMQ is. Deliberately absent: the queue's view; for it, deliveries return.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic};
use tokio::time::{Instant, Sleep};

use super::channel::{Channel, Phase};
use super::context::Context;
use super::unacked::GRAIN;
use super::{Session, Stage};
use crate::clock::{Millis, NEVER};
use crate::config::compatibility::AckTimeout;
use crate::queue::{Cause, Consumer, Lease, Options};
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::short::short_string;

/// Longest interval between two looks, in milliseconds; RabbitMQ's.
const LONGEST: Millis = 60_000;

/// How long deliveries from a queue may stay unacknowledged, in milliseconds: what the consumer asked for, else what the
/// queue was declared with, else the default of the broker, where the version applies it.
pub(super) fn timeout_of(options: &Options, asked: Option<u64>, default: Duration) -> Option<Millis> {
    let quorum = options.is_quorum();
    let explicit = asked.filter(|_| options.profile.timeout_of_consumer).or(options.consumer_timeout);
    let default = Millis::try_from(default.as_millis()).unwrap_or(NEVER);
    let (by_argument, by_default) = match options.profile.ack_timeout {
        AckTimeout::CloseChannel => (true, true),
        AckTimeout::CloseChannelOfQuorum => (true, quorum),
        AckTimeout::CancelConsumer => (quorum, quorum),
    };
    let timeout = explicit.filter(|_| by_argument).or(by_default.then_some(default))?;
    (timeout > 0).then_some(timeout)
}

/// When a session looks next.
#[derive(Debug)]
pub(super) struct Watch {
    /// The shortest timeout of any consumer so far.
    shortest: Millis,
    next: Millis,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { shortest: NEVER, next: NEVER, timer: None }
    }
}

impl Watch {
    /// Whether the time to look has come.
    pub(super) fn is_due(&self, now: Millis) -> bool {
        now >= self.next
    }

    /// Takes note of a consumer whose deliveries have a timeout.
    fn note(&mut self, timeout: Millis, now: Millis) {
        if timeout < self.shortest {
            self.shortest = timeout;
            self.set(now);
        }
    }

    /// Sets the time of the next look.
    fn set(&mut self, now: Millis) {
        let interval = self.shortest.clamp(GRAIN, LONGEST);
        self.next = now.saturating_add(interval);
        let at = Instant::now() + Duration::from_millis(interval);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    /// Ready when the timer has run out, which has to be set again then.
    pub(super) fn poll(&mut self, cx: &mut Cx<'_>) -> Poll<()> {
        self.timer.as_mut().map_or(Poll::Pending, |timer| Future::poll(timer.as_mut(), cx))
    }
}

fn refusal(channel: u16, timeout: &str) -> Refusal {
    let text = format!(
        "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout} ms. This timeout value \
         can be configured, see consumers doc guide to learn more"
    );
    Refusal::new(ReplyCode::PreconditionFailed, text)
}

impl<S> Session<S> {
    /// Takes note of the timeouts of consumers that have come.
    pub(super) fn watch_timeouts(&mut self) {
        if let Some(context) = &mut self.context
            && context.shortest_timeout != NEVER
        {
            let shortest = std::mem::replace(&mut context.shortest_timeout, NEVER);
            self.watch.note(shortest, context.now);
        }
    }

    /// Looks for deliveries that should have been acknowledged by now.
    pub(super) fn look_for_timeouts(&mut self) {
        let Some(context) = &mut self.context else { return };
        self.watch.set(context.now);
        // While an answer waits, nothing may come before it: the next look will do.
        if !matches!(self.stage, Stage::Open) || context.park.is_some() {
            return;
        }
        let now = context.now;
        let mut late: Vec<(u16, Millis)> = Vec::new();
        for channel in self.channels.values().filter(|channel| channel.phase == Phase::Open) {
            late.extend(channel.unacked.overdue(now).map(|timeout| (channel.number, timeout)));
        }
        if late.is_empty() {
            return;
        }
        // What was acknowledged is so before anything is taken away.
        context.flush();
        let cancels = self.broker.config.profile().ack_timeout == AckTimeout::CancelConsumer;
        for (number, timeout) in late {
            if !cancels {
                self.refuse_channel(number, &refusal(number, &timeout.to_string()));
                continue;
            }
            let Some(context) = &mut self.context else { return };
            let told = context.capabilities.consumer_cancel_notify;
            if let Some(channel) = self.channels.get_mut(&number) {
                give_back(context, channel, now);
            }
            if !told {
                self.refuse_channel(number, &refusal(number, "-1"));
            }
        }
    }
}

/// Returns the overdue deliveries of a channel and cancels their consumers.
fn give_back(context: &mut Context, channel: &mut Channel, now: Millis) {
    let mut leases: Vec<Lease> = Vec::new();
    channel.unacked.take_overdue(now, &mut leases);
    let mut consumers: Vec<Arc<Consumer>> = leases.iter().map(|lease| lease.consumer().clone()).collect();
    consumers.dedup_by_key(|consumer| consumer.id);
    for consumer in consumers {
        // One may be behind several rows of deliveries, or gone already.
        if channel.has(&consumer) {
            cancel(context, channel, &consumer);
        }
    }
    context.requeue(&mut leases, Cause::TimedOut);
}

fn cancel(context: &mut Context, channel: &mut Channel, consumer: &Consumer) {
    channel.consumers.remove(&consumer.tag);
    if let Some(queue) = &consumer.queue {
        queue.unsubscribe(consumer, context.now, &mut context.fx);
        context.finish(queue);
    }
    let tag = String::from_utf8_lossy(&consumer.tag);
    tracing::warn!(
        connection = context.connection.name,
        channel = channel.number,
        consumer = %crate::telemetry::printable(&*tag),
        "consumer cancelled: it did not acknowledge in time"
    );
    if context.capabilities.consumer_cancel_notify {
        let cancel = basic::Cancel { consumer_tag: short_string(&tag), nowait: true };
        context.send(channel.number, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Compatibility;
    use crate::queue::Kind;

    #[test]
    fn the_consumers_word_counts_most_and_the_default_where_the_version_has_it() {
        let minute = Duration::from_secs(60);
        let timeout = |version: Compatibility, kind, queue, asked| {
            let options = Options { profile: version.profile(), kind, consumer_timeout: queue, ..Options::default() };
            timeout_of(&options, asked, minute)
        };
        let all = |kind, queue, asked| Compatibility::ALL.map(|(_, version)| timeout(version, kind, queue, asked));
        let default = Some(60_000);
        assert_eq!(all(Kind::Classic, None, None), [default, default, None, None]);
        assert_eq!(all(Kind::Quorum, None, None), [default; 4]);
        assert_eq!(all(Kind::Classic, Some(5), None), [Some(5), Some(5), None, Some(5)]);
        assert_eq!(all(Kind::Quorum, Some(5), Some(9)), [Some(5), Some(5), Some(9), Some(9)]);
        assert_eq!(all(Kind::Classic, None, Some(9)), [default, default, None, Some(9)]);
        assert_eq!(all(Kind::Quorum, Some(0), None), [None; 4], "0 is none");
        assert_eq!(timeout_of(&Options { kind: Kind::Quorum, ..Options::default() }, None, Duration::ZERO), None);
    }
}
