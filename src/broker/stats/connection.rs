//! What a session counts of its connection, and what its client has said of itself.

use std::sync::Arc;

use super::channel::{ChannelStats, EVENTS};
use super::sums::Sums;
use crate::clock::Millis;
use crate::queue::Queue;
use crate::stats::{Counter, Histogram, History, Times};
use crate::sync::{Mutex, Rank};
use crate::wire::table::Table;

/// Upper bounds of message sizes, in octets; RabbitMQ's.
pub const SIZES: [u64; 8] = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

/// Of what type a queue is, as far as counts tell types apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueType {
    /// A classic queue.
    Classic,
    /// A quorum queue.
    Quorum,
    /// No queue: direct reply-to.
    Volatile,
}

impl QueueType {
    /// All of them, in the order of their places.
    pub const ALL: [Self; 3] = [Self::Classic, Self::Quorum, Self::Volatile];

    /// The type of a queue, or of what stands in for one.
    #[inline]
    pub fn of(queue: Option<&Queue>) -> Self {
        match queue {
            None => Self::Volatile,
            Some(queue) if queue.definition().options.is_quorum() => Self::Quorum,
            Some(_) => Self::Classic,
        }
    }

    /// The word of metrics for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
            Self::Volatile => "rabbit_volatile_queue",
        }
    }
}

/// What is handed out of queues of one type, and comes back.
#[derive(Debug, Default)]
pub struct Handed {
    /// Delivered without acknowledgement.
    pub auto_ack: Counter,
    /// Delivered, to be acknowledged.
    pub manual_ack: Counter,
    /// Taken by basic.get without acknowledgement.
    pub get_auto_ack: Counter,
    /// Taken by basic.get, to be acknowledged.
    pub get_manual_ack: Counter,
    /// Asked for by basic.get in vain.
    pub get_empty: Counter,
    /// Handed out not for the first time.
    pub redelivered: Counter,
    /// Acknowledged.
    pub acknowledged: Counter,
}

/// Counts that [`Handed`] has.
pub const HANDED: usize = 7;

impl Handed {
    /// All counts, in the order of the fields.
    pub fn values(&self) -> [u64; HANDED] {
        [
            &self.auto_ack,
            &self.manual_ack,
            &self.get_auto_ack,
            &self.get_manual_ack,
            &self.get_empty,
            &self.redelivered,
            &self.acknowledged,
        ]
        .map(Counter::get)
    }
}

/// Whether a connection is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// It is.
    Running = 0,
    /// It is not, since an alarm is up and it has published.
    Blocked = 1,
    /// It is not for a moment: the disk, memory or consumers are behind.
    Flow = 2,
}

impl ConnectionState {
    /// RabbitMQ's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Flow => "flow",
        }
    }
}

/// What a client has said of itself, and what was agreed with it.
#[derive(Clone, Debug)]
pub struct Client {
    /// Who it is.
    pub user: Arc<str>,
    /// What it said in connection.start-ok, as a field table on the wire: read seldom, and smaller so.
    pub properties: Box<[u8]>,
    /// By what it has logged in.
    pub mechanism: &'static str,
    /// Most channels at a time.
    pub channel_max: u16,
    /// Largest frame, in octets; 0 is no limit.
    pub frame_max: u32,
    /// Heartbeat interval in seconds; 0 is none.
    pub heartbeat: u16,
    /// When the connection was opened.
    pub connected_at: Millis,
}

impl Client {
    /// What it said in connection.start-ok.
    pub fn said(&self) -> Table {
        Table::parse(&self.properties).unwrap_or_default()
    }
}

/// The channels of a connection.
#[derive(Debug)]
struct Channels {
    live: Vec<Arc<ChannelStats>>,
    /// Of those that are closed, if there are any.
    closed: Option<Box<Closed>>,
}

/// What happened on channels that are closed.
#[derive(Clone, Debug, Default)]
struct Closed {
    events: [u64; EVENTS.len()],
    /// Of the publishes, those that were to be confirmed.
    to_confirm: u64,
}

impl Closed {
    fn add(&mut self, channel: &ChannelStats) {
        self.to_confirm += channel.to_confirm();
        for (sum, n) in self.events.iter_mut().zip(channel.traffic.values()) {
            *sum += n;
        }
    }
}

/// What is counted of a connection; written by its session alone.
#[derive(Debug)]
pub struct ConnectionStats {
    /// Octets read.
    pub received_octets: Counter,
    /// Reads.
    pub received: Counter,
    /// Octets written.
    pub sent_octets: Counter,
    /// Writes.
    pub sent: Counter,
    /// Octets that wait to be written.
    pub pending: Counter,
    state: Counter,
    handed: [Handed; QueueType::ALL.len()],
    /// Sizes of published messages, in octets.
    pub sizes: Histogram<8>,
    /// Milliseconds between delivery and acknowledgement.
    pub times_to_ack: Times,
    channels: Mutex<Channels>,
    /// What is kept of its past figures.
    pub history: History,
}

impl Default for ConnectionStats {
    fn default() -> Self {
        let channels = Channels { live: Vec::new(), closed: None };
        Self {
            received_octets: Counter::default(),
            received: Counter::default(),
            sent_octets: Counter::default(),
            sent: Counter::default(),
            pending: Counter::default(),
            state: Counter::default(),
            handed: Default::default(),
            sizes: Histogram::new(&SIZES),
            times_to_ack: Times::default(),
            channels: Mutex::new(Rank::Leaf, channels),
            history: History::default(),
        }
    }
}

impl ConnectionStats {
    /// What is handed out of queues of a type.
    #[inline]
    pub fn handed(&self, kind: QueueType) -> &Handed {
        &self.handed[kind as usize]
    }

    /// Notes whether it is read.
    #[inline]
    pub fn set_state(&self, state: ConnectionState) {
        self.state.set(state as u64);
    }

    /// Whether it is read.
    pub fn state(&self) -> ConnectionState {
        match self.state.get() {
            1 => ConnectionState::Blocked,
            2 => ConnectionState::Flow,
            _ => ConnectionState::Running,
        }
    }

    /// A channel was opened.
    pub fn add_channel(&self, channel: &Arc<ChannelStats>) {
        self.channels.lock().live.push(channel.clone());
    }

    /// A channel is closed; its counts stay.
    pub fn remove_channel(&self, channel: &ChannelStats) {
        let mut channels = self.channels.lock();
        let Some(at) = channels.live.iter().position(|live| live.id == channel.id) else { return };
        let channel = channels.live.swap_remove(at);
        channels.closed.get_or_insert_default().add(&channel);
    }

    /// Its channels, by number.
    pub fn channels(&self) -> Vec<Arc<ChannelStats>> {
        let mut channels = self.channels.lock().live.clone();
        channels.sort_by_key(|channel| channel.number);
        channels
    }

    /// How many channels it has.
    pub fn channel_count(&self) -> usize {
        self.channels.lock().live.len()
    }

    /// Everything that was counted here, added up.
    pub fn sums(&self) -> Sums {
        let (live, closed) = {
            let channels = self.channels.lock();
            (channels.live.clone(), channels.closed.clone())
        };
        let mut all = closed.map_or_else(Closed::default, |closed| *closed);
        for channel in live {
            all.add(&channel);
        }
        Sums {
            events: all.events,
            to_confirm: all.to_confirm,
            handed: std::array::from_fn(|at| self.handed[at].values()),
            sizes: self.sizes.spread(),
            times_to_ack: self.times_to_ack.spread(),
            octets: [self.received_octets.get(), self.sent_octets.get()],
            packets: [self.received.get(), self.sent.get()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::{Event, Mode};
    use super::*;

    #[test]
    fn a_closed_channel_leaves_its_counts() {
        let connection = ConnectionStats::default();
        let channel = Arc::new(ChannelStats::new(7, 3, 0));
        connection.add_channel(&channel);
        channel.set_mode(Mode::Confirm);
        channel.traffic.add(Event::Publish, 4);
        let before = connection.sums();
        assert_eq!((before.events[0], before.to_confirm, connection.channel_count()), (4, 4, 1));
        connection.remove_channel(&channel);
        connection.remove_channel(&channel);
        assert_eq!(connection.sums(), before, "once, and for good");
        assert_eq!(connection.channel_count(), 0);
    }

    #[test]
    fn states_have_rabbitmqs_names() {
        let connection = ConnectionStats::default();
        for (state, name) in [
            (ConnectionState::Flow, "flow"),
            (ConnectionState::Blocked, "blocked"),
            (ConnectionState::Running, "running"),
        ] {
            connection.set_state(state);
            assert_eq!(connection.state().as_str(), name);
        }
    }
}
