//! What a session counts of one of its channels.

use crate::stats::{Counter, History};

/// What can happen to a message on a channel, in the order of the names of RabbitMQ's `message_stats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Published.
    Publish,
    /// Confirmed to its publisher.
    Confirm,
    /// Mandatory, routed nowhere, returned.
    ReturnUnroutable,
    /// Routed nowhere and dropped.
    DropUnroutable,
    /// Taken by basic.get, to be acknowledged.
    Get,
    /// Taken by basic.get without acknowledgement.
    GetNoAck,
    /// Asked for by basic.get in vain.
    GetEmpty,
    /// Delivered, to be acknowledged.
    Deliver,
    /// Delivered without acknowledgement.
    DeliverNoAck,
    /// Handed out not for the first time.
    Redeliver,
    /// Acknowledged.
    Ack,
}

/// All events, by their names.
pub const EVENTS: [(&str, Event); 11] = [
    ("publish", Event::Publish),
    ("confirm", Event::Confirm),
    ("return_unroutable", Event::ReturnUnroutable),
    ("drop_unroutable", Event::DropUnroutable),
    ("get", Event::Get),
    ("get_no_ack", Event::GetNoAck),
    ("get_empty", Event::GetEmpty),
    ("deliver", Event::Deliver),
    ("deliver_no_ack", Event::DeliverNoAck),
    ("redeliver", Event::Redeliver),
    ("ack", Event::Ack),
];

/// Counts by event.
#[derive(Debug, Default)]
pub struct Traffic([Counter; EVENTS.len()]);

impl Traffic {
    /// Counts `n` events.
    #[inline]
    pub fn add(&self, event: Event, n: u64) {
        self.0[event as usize].add(n);
    }

    /// Counts `n` events where several tasks count.
    pub fn add_shared(&self, event: Event, n: u64) {
        self.0[event as usize].add_shared(n);
    }

    /// How many there were.
    #[inline]
    pub fn get(&self, event: Event) -> u64 {
        self.0[event as usize].get()
    }

    /// All counts, by event.
    pub fn values(&self) -> [u64; EVENTS.len()] {
        std::array::from_fn(|at| self.0[at].get())
    }
}

/// How a channel's publishes are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Not at all.
    Plain = 0,
    /// By confirms.
    Confirm = 1,
    /// By commits.
    Transactional = 2,
}

/// What is known of a channel; written by its session alone.
#[derive(Debug)]
pub struct ChannelStats {
    /// Unique in this process.
    pub id: u64,
    /// The channel number.
    pub number: u16,
    /// What has happened.
    pub traffic: Traffic,
    /// Deliveries that are not acknowledged.
    pub unacked: Counter,
    /// Publishes that are not confirmed.
    pub unconfirmed: Counter,
    /// Publishes of the open transaction.
    pub uncommitted: Counter,
    /// Acknowledgements of the open transaction.
    pub acks_uncommitted: Counter,
    /// Consumers.
    pub consumers: Counter,
    /// Prefetch of consumers to come.
    pub prefetch: Counter,
    /// Prefetch of the whole channel.
    pub global_prefetch: Counter,
    /// When something was last done here; milliseconds.
    pub active: Counter,
    /// When the oldest unacknowledged delivery was made; 0 if there is none.
    pub oldest_unacked: Counter,
    /// The id of the queue it is from; 0 if there is none.
    pub oldest_from: Counter,
    mode: Counter,
    /// Publishes before confirms were asked for.
    plain: Counter,
    /// What is kept of its past figures.
    pub history: History,
}

impl ChannelStats {
    /// A new channel.
    pub fn new(id: u64, number: u16, now: u64) -> Self {
        let active = Counter::default();
        active.set(now);
        Self {
            id,
            number,
            traffic: Traffic::default(),
            unacked: Counter::default(),
            unconfirmed: Counter::default(),
            uncommitted: Counter::default(),
            acks_uncommitted: Counter::default(),
            consumers: Counter::default(),
            prefetch: Counter::default(),
            global_prefetch: Counter::default(),
            active,
            oldest_unacked: Counter::default(),
            oldest_from: Counter::default(),
            mode: Counter::default(),
            plain: Counter::default(),
            history: History::default(),
        }
    }

    /// Notes a change of the mode.
    pub fn set_mode(&self, mode: Mode) {
        self.plain.set(self.traffic.get(Event::Publish));
        self.mode.set(mode as u64);
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        match self.mode.get() {
            1 => Mode::Confirm,
            2 => Mode::Transactional,
            _ => Mode::Plain,
        }
    }

    /// Publishes that are, or were, to be confirmed.
    pub fn to_confirm(&self) -> u64 {
        let publishes = self.traffic.get(Event::Publish);
        if self.mode() == Mode::Confirm { publishes.saturating_sub(self.plain.get()) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_stand_at_their_own_places() {
        for (at, (name, event)) in EVENTS.into_iter().enumerate() {
            assert_eq!(event as usize, at, "{name}");
        }
    }

    #[test]
    fn only_what_was_published_after_the_question_is_confirmed() {
        let channel = ChannelStats::new(1, 1, 0);
        channel.traffic.add(Event::Publish, 3);
        assert_eq!((channel.mode(), channel.to_confirm()), (Mode::Plain, 0));
        channel.set_mode(Mode::Confirm);
        channel.traffic.add(Event::Publish, 2);
        assert_eq!((channel.mode(), channel.to_confirm()), (Mode::Confirm, 2));
    }
}
