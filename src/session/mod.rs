//! One client connection: a task that owns its socket, its channels and everything they hold.
//!
//! The session is a future written by hand: each time it is polled it answers its bell, reads once, deals with what it
//! read, does the gathered work, and writes, all without blocking and without another task. Reading never waits for
//! writing or the reverse, so a client that publishes without reading its confirms freezes neither itself nor others.
//!
//! Invariants: nobody else touches a session but through its [`Outbox`] and its
//! [`Connection`]; what a session holds returns to its queues when it ends, also by panic.
//! An idle session owns no read buffer (the thread lends one) and next to no write buffer.
//! Deliberately absent: locks held across a wait, topology internals, queue state.

mod assembly;
mod basic;
mod blocking;
mod channel;
mod close;
mod context;
mod counts;
mod deliver;
mod dispatch;
mod exchange;
mod figures;
mod gate;
mod handshake;
mod heartbeat;
mod login;
mod memo;
mod names;
mod notes;
mod pacing;
mod properties;
mod publish;
mod queue;
mod review;
mod runs;
mod timeouts;
mod transport;
mod turn;
mod tx;
mod unacked;
mod write;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};

use rustc_hash::FxHashMap;
use tokio::io::ReadBuf;
use tokio::time::Sleep;

use crate::auth::User;
use crate::broker::stats::Event;
use crate::broker::{Broker, Connection, Listed, Origin};
use crate::queue::{Drained, Outbox};
use crate::sync::InLine;
use crate::wire::frame;
use channel::Channel;
use context::{Capabilities, Context, Flow, Park};
use handshake::Tuned;
pub use transport::{Guarded, Transport};
use write::Output;

/// Octets read from a socket at once.
const READ: usize = 128 * 1024;

/// Reads shorter than this may be a client's that waits for a sign before it sends more: less than a TCP segment.
const SMALL_READ: usize = 1_024;

/// Passes of the loop before other tasks get their turn.
const PASSES: usize = 16;

thread_local! {
    /// The read buffer of whichever session this thread is polling.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How far a connection has come.
#[derive(Debug)]
enum Stage {
    /// The protocol header is due.
    Header,
    /// connection.start-ok is due.
    StartOk,
    /// connection.tune-ok is due.
    TuneOk { user: Arc<User>, capabilities: Capabilities },
    /// connection.open is due.
    OpenDue { user: Arc<User>, capabilities: Capabilities },
    /// In use.
    Open,
    /// The broker has closed the connection and waits for the client to agree.
    Closing,
    /// Nothing is said any more; the socket is closed after a moment.
    Silent,
    /// What is left is written, then the socket is closed.
    Leaving { shut: bool },
    /// Over.
    Ended,
}

/// By number, each found three times a message. A client that chose its numbers so that they collide would slow down
/// nobody but itself: a hash that resists that costs a tenth of a small message's instructions.
type Channels = FxHashMap<u16, Box<Channel>>;

/// A client connection.
#[allow(clippy::struct_excessive_bools)] // independent facts, each with a word of its own
pub struct Session<S> {
    stream: S,
    broker: Arc<Broker>,
    connection: Arc<Connection>,
    outbox: Arc<Outbox>,
    peer: SocketAddr,
    stage: Stage,
    login: login::Login,
    /// Octets of frames before the connection is open.
    greeting: usize,
    tuned: Tuned,
    given_name: Option<String>,
    /// What the client has said of itself, and the mechanism it has logged in by.
    introduction: (Box<[u8]>, &'static str),
    /// Output before the connection is open.
    early: Output,
    context: Option<Context>,
    channels: Channels,
    drained: Drained,
    /// Channels whose confirms wait for a commit.
    gated: Vec<u16>,
    /// The outbox may hold something.
    deliverable: bool,
    /// Input that waits to be dealt with: the beginning of a frame, or frames behind one that waits.
    rest: Vec<u8>,
    /// There may be whole frames in `rest`, left for the next turn.
    behind: bool,
    /// Its place among those who are behind.
    in_line: Option<InLine>,
    timer: Pin<Box<Sleep>>,
    beats: heartbeat::Beats,
    watch: timeouts::Watch,
    /// The epoch the bell has been hung up for.
    awaiting: u64,
    /// No input is read until this epoch is committed: the disk is behind.
    throttled: u64,
    /// No input is read until the pager has looked so often: memory is short.
    held_back: u64,
    /// No input is read while it waits: its consumers are behind.
    pacing: pacing::Pacing,
    /// Published while an alarm is up: no input is read until it is over.
    blocked: bool,
    /// Octets of output counted for this session.
    owed: usize,
    released: bool,
    /// Last: it tells that everything above has been let go of.
    _listed: Listed,
}

impl<S: Transport> Session<S> {
    /// A session on an accepted socket.
    pub fn new(stream: S, broker: Arc<Broker>, origin: Origin) -> Self {
        let outbox = Arc::new(Outbox::pooled(broker.config.outbox_bytes, broker.deliveries.clone()));
        let peer = origin.peer;
        let connection = Arc::new(Connection::new(broker.unique(), origin, outbox.bell().clone()));
        let listed = broker.connections.list(&connection);
        let timer = Box::pin(tokio::time::sleep(broker.config.handshake_timeout));
        Self {
            stream,
            connection,
            outbox,
            peer,
            stage: Stage::Header,
            login: login::Login::default(),
            greeting: 0,
            tuned: Tuned { frame_max: broker.config.profile().initial_frame_max, channel_max: 0, heartbeat: 0 },
            given_name: None,
            introduction: (Box::default(), ""),
            early: Output::default(),
            context: None,
            channels: Channels::default(),
            drained: Drained::default(),
            gated: Vec::new(),
            deliverable: false,
            rest: Vec::new(),
            behind: false,
            in_line: None,
            timer,
            beats: heartbeat::Beats::default(),
            watch: timeouts::Watch::default(),
            awaiting: 0,
            throttled: 0,
            held_back: 0,
            pacing: pacing::Pacing::default(),
            blocked: false,
            owed: 0,
            released: false,
            _listed: listed,
            broker,
        }
    }

    /// Serves the client until the connection is over.
    pub async fn run(mut self) {
        let poll = |cx: &mut Cx<'_>| {
            let polled = self.poll(cx);
            self.tell_figures();
            polled
        };
        std::future::poll_fn(poll).await;
        tracing::debug!(connection = self.name(), "connection over");
    }

    fn poll(&mut self, cx: &mut Cx<'_>) -> Poll<()> {
        if let Some(context) = &mut self.context {
            context.turn.begin();
        }
        for _ in 0..PASSES {
            let (mut progress, mut small, mut wrote) = (false, false, false);
            self.look_at_clock();
            if self.outbox.bell().poll(cx).is_ready() {
                progress = true;
                self.on_bell();
            }
            while std::future::Future::poll(self.timer.as_mut(), cx).is_ready() {
                progress = true;
                self.on_timer();
            }
            progress |= self.pacing.poll(cx).is_ready();
            let due = self.watch.poll(cx).is_ready();
            if due || self.context.as_ref().is_some_and(|context| self.watch.is_due(context.now)) {
                progress = true;
                self.look_for_timeouts();
            }
            if self.wants_input() && self.behind {
                progress = true;
                self.catch_up();
            } else if self.wants_input() {
                match self.poll_input(cx) {
                    Poll::Ready(Ok(0)) => self.on_eof(),
                    Poll::Ready(Ok(n)) => {
                        progress = true;
                        small = n < SMALL_READ;
                    }
                    Poll::Ready(Err(error)) => self.on_io_error(&error),
                    Poll::Pending => {}
                }
            }
            self.finish_turn();
            match self.poll_output(cx) {
                Poll::Ready(Ok(some)) => {
                    wrote = some;
                    progress |= wrote && self.deliverable;
                }
                Poll::Ready(Err(error)) => self.on_io_error(&error),
                Poll::Pending => {}
            }
            self.count_output();
            if small && !wrote {
                self.stream.acknowledge();
            }
            if matches!(self.stage, Stage::Ended) {
                return Poll::Ready(());
            }
            if !progress {
                self.get_in_line();
                return Poll::Pending;
            }
            if self.turn_is_over() {
                break;
            }
        }
        self.get_in_line();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, into the thread's buffer, and deals with what came.
    fn poll_input(&mut self, cx: &mut Cx<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let begun = self.rest.len();
            let room = begun + READ;
            if scratch.len() < room {
                scratch.resize(room, 0);
            }
            let (old, fresh) = scratch.split_at_mut(begun);
            let mut buffer = ReadBuf::new(&mut fresh[..READ]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let n = buffer.filled().len();
            if n > 0 {
                self.connection.stats.received_octets.add(n as u64);
                self.connection.stats.received.add(1);
                old.copy_from_slice(&self.rest);
                self.beats.heard();
                let input = &scratch[..begun + n];
                let used = self.take_input(input);
                self.rest.clear();
                self.rest.extend_from_slice(&input[used..]);
            }
            Poll::Ready(Ok(n))
        })
    }

    /// Writes what there is. Ready with whether anything was written once nothing is left.
    fn poll_output(&mut self, cx: &mut Cx<'_>) -> Poll<io::Result<bool>> {
        let output = match &mut self.context {
            Some(context) => &mut context.output,
            None => &mut self.early,
        };
        let mut wrote = false;
        while output.pending() > 0 {
            let stream = Pin::new(&mut self.stream);
            let written = if let Some(octets) = output.plain() {
                stream.poll_write(cx, octets)
            } else {
                let mut pieces = Vec::new();
                output.pieces(&mut pieces);
                stream.poll_write_vectored(cx, &pieces)
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    output.advance(n);
                    self.connection.stats.sent_octets.add(n as u64);
                    self.connection.stats.sent.add(1);
                    self.beats.said();
                    wrote = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if wrote => return Poll::Ready(Ok(true)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if S::BUFFERS && Pin::new(&mut self.stream).poll_flush(cx)?.is_pending() {
            return Poll::Ready(Ok(wrote));
        }
        if let Stage::Leaving { shut } = &mut self.stage
            && !*shut
        {
            // An error here means that the peer is gone, which the next read will tell.
            *shut = Pin::new(&mut self.stream).poll_shutdown(cx).is_ready();
        }
        Poll::Ready(Ok(wrote))
    }
}

impl<S> Session<S> {
    fn name(&self) -> &str {
        &self.connection.name
    }

    fn look_at_clock(&mut self) {
        if let Some(context) = &mut self.context {
            context.now = self.broker.clock.now();
        }
    }

    fn wants_input(&self) -> bool {
        self.may_go_on() && self.in_line.as_ref().is_none_or(InLine::is_called)
    }

    /// Whether nothing but the turns of others keeps this session from its input.
    fn may_go_on(&self) -> bool {
        let behind = self.throttled > self.broker.watermark.get() || self.held_back > self.broker.looks();
        !behind && !self.pacing.waits() && !self.halted() && !self.login_waits() && !matches!(self.stage, Stage::Ended)
    }

    /// Whether frames have to wait.
    fn halted(&self) -> bool {
        self.parked() || (self.blocked && self.is_open())
    }

    /// At the end of a turn: waits behind others if there is more to do, and makes room for them if not.
    fn get_in_line(&mut self) {
        if !(self.behind && self.may_go_on()) {
            self.in_line = None;
            return;
        }
        match &self.in_line {
            Some(place) if self.turn_is_over() => place.again(),
            // It has not had its turn yet, though it may have been called this moment.
            Some(_) => {}
            None => self.in_line = Some(self.broker.line.enter(self.outbox.bell())),
        }
    }

    fn parked(&self) -> bool {
        self.context.as_ref().is_some_and(|context| context.park.is_some())
    }

    /// Deals with as much input as can be dealt with now; returns how many octets.
    fn take_input(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        self.behind = false;
        while at < input.len() && !self.halted() {
            if self.turn_is_over() {
                self.behind = true;
                break;
            }
            let pending = &input[at..];
            match self.stage {
                Stage::Silent | Stage::Leaving { .. } | Stage::Ended => return input.len(),
                Stage::Header => match self.on_header(pending) {
                    0 => break,
                    used => at += used,
                },
                _ => match frame::decode(pending, self.tuned.frame_max) {
                    Ok(None) => break,
                    Ok(Some((frame, used))) => match self.on_frame(frame) {
                        Flow::Done => {
                            at += used;
                            self.beats.completed();
                        }
                        Flow::Again => break,
                    },
                    Err(refusal) => {
                        self.on_bad_frame(&refusal);
                        return input.len();
                    }
                },
            }
        }
        at
    }

    fn on_frame(&mut self, frame: frame::Frame<'_>) -> Flow {
        match self.stage {
            Stage::Open => {
                let content = matches!(frame.kind, frame::FrameKind::Header | frame::FrameKind::Body);
                match self.dispatch(frame) {
                    Ok(flow) => {
                        self.finish_cancels();
                        if content {
                            self.note_publish();
                        }
                        flow
                    }
                    Err(refusal) => {
                        self.refuse(&refusal);
                        Flow::Done
                    }
                }
            }
            Stage::Closing => {
                self.on_closing_frame(frame);
                Flow::Done
            }
            _ => self.on_early_frame(frame),
        }
    }

    fn on_bell(&mut self) {
        self.deliverable = true;
        self.look_for_end_of_alarm();
        if self.connection.to_be_reviewed() {
            self.review();
        }
        if let Some(refusal) = self.connection.kicked() {
            self.refuse(&refusal);
            // A connection that is over already has no reason to wait for its client.
            if matches!(self.stage, Stage::Silent | Stage::Leaving { .. }) {
                self.end();
            }
        }
        let committed = self.broker.watermark.get();
        if let Some(context) = &mut self.context {
            match context.park.take() {
                Some(Park::Reply(epoch, octets)) if epoch <= committed => {
                    context.output.buffer().extend_from_slice(&octets);
                    deliver::part(context, &mut self.channels);
                }
                Some(Park::Load) | None => {}
                park => context.park = park,
            }
        } else {
            self.hear_verdict();
        }
        // Frames that waited behind the answer.
        if self.wants_input() && !self.rest.is_empty() {
            self.catch_up();
        }
    }

    /// Deals with input that waited.
    fn catch_up(&mut self) {
        let input = std::mem::take(&mut self.rest);
        let used = self.take_input(&input);
        self.rest = input;
        self.rest.drain(..used);
    }

    fn turn_is_over(&self) -> bool {
        self.context.as_ref().is_some_and(|context| context.turn.is_over())
    }

    /// Does what the frames of this turn have gathered.
    fn finish_turn(&mut self) {
        let Some(context) = &mut self.context else { return };
        context.flush();
        if context.pressing > 0 && self.broker.intake.bytes() > self.broker.config.journal_bytes {
            self.throttled = context.pressing;
        }
        context.pressing = 0;
        if std::mem::take(&mut context.pushed)
            && let Some(look) = self.broker.hold_back(self.outbox.bell())
        {
            self.held_back = look;
        }
        self.pacing.end_turn(&mut context.ahead, u64::from(self.broker.config.publisher_floor), self.outbox.bell());
        self.confirm();
        self.watch_timeouts();
        self.tell_exchanges();
        if self.deliverable && matches!(self.stage, Stage::Open) {
            self.deliver();
        }
        self.await_commit();
        self.check_output();
    }

    /// Counts what is to be written to this client among what all clients are owed.
    fn count_output(&mut self) {
        let owed = self.context.as_ref().map_or(0, |context| context.output.pending());
        let before = std::mem::replace(&mut self.owed, owed);
        self.broker.deliveries.change(before, owed);
    }

    fn deliver(&mut self) {
        if let Some(context) = &mut self.context {
            self.deliverable = deliver::drain(context, &mut self.channels, &mut self.drained);
        }
    }

    /// Releases the confirms that commits have made due.
    fn confirm(&mut self) {
        let Some(context) = &mut self.context else { return };
        let (channels, gated) = (&mut self.channels, &mut self.gated);
        context.publisher.take_confirms(|number, refused, epoch| {
            if let Some(gate) = channels.get_mut(&number).and_then(|channel| channel.mode.gate_mut()) {
                refused.iter().filter(|(channel, _)| *channel == number).for_each(|(_, tag)| gate.refuse(*tag));
                gate.seal(epoch);
                if !gated.contains(&number) {
                    gated.push(number);
                }
            }
        });
        let committed = self.broker.watermark.get();
        gated.retain(|number| {
            let Some(channel) = channels.get_mut(number) else { return false };
            let Some(gate) = channel.mode.gate_mut() else { return false };
            let confirmed = gate.release(committed, *number, context.output.buffer());
            channel.stats.traffic.add(Event::Confirm, confirmed);
            channel.stats.unconfirmed.set(gate.unconfirmed());
            gate.next().is_some()
        });
    }

    /// Hangs the bell up for the next commit that something here waits for.
    fn await_commit(&mut self) {
        let gates = self.gated.iter().filter_map(|number| self.channels.get(number)?.mode.gate()?.next());
        let parked = match self.context.as_ref().and_then(|context| context.park.as_ref()) {
            Some(Park::Reply(epoch, _)) => Some(*epoch),
            _ => None,
        };
        let throttled = Some(self.throttled).filter(|epoch| *epoch > self.broker.watermark.get());
        let Some(epoch) = gates.chain(parked).chain(throttled).min() else { return };
        if epoch != self.awaiting {
            self.awaiting = epoch;
            if self.broker.watermark.await_epoch(epoch, self.outbox.bell()) {
                self.awaiting = 0;
                self.outbox.bell().ring();
            }
        }
    }

    /// Answers cancels: what was pumped before is delivered first, nothing comes after.
    fn finish_cancels(&mut self) {
        let Some(context) = &mut self.context else { return };
        if context.cancelled.is_empty() {
            return;
        }
        let cancelled = std::mem::take(&mut context.cancelled);
        self.deliver();
        let Some(context) = &mut self.context else { return };
        for cancel in cancelled {
            if let Some(channel) = self.channels.get_mut(&cancel.channel) {
                channel.consumers.remove(cancel.tag.as_str().as_bytes());
            }
            basic::answer_cancel(context, cancel);
        }
    }
}

impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        self.release();
        self.broker.deliveries.change(self.owed, 0);
    }
}
