//! From a frame to the channel and the class handler it belongs to, with the checks that come before any handler:
//! channel state, the order of content frames, methods that make no sense here.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, access, basic, channel as channel_class, confirm, connection};

use super::assembly::{no_content_due, out_of_order};
use super::channel::{Channel, Mode, Phase};
use super::context::{Context, Flow};
use super::gate::Gate;
use super::{Session, Stage, basic as basic_handlers, exchange, publish, queue, turn, tx as tx_handlers};
use crate::broker::stats::{self, ChannelStats};
use crate::queue::Cause;
use crate::wire::frame::{Frame, FrameKind, unexpected};
use crate::wire::method::{self, Method};
use crate::wire::refusal::{Radius, Refusal, ReplyCode};

impl<S> Session<S> {
    /// Deals with one frame of an open connection. A refusal closes the connection.
    pub(super) fn dispatch(&mut self, frame: Frame<'_>) -> Result<Flow, Refusal> {
        if frame.channel == 0 {
            if let Some(context) = &mut self.context {
                context.turn.spend(1);
            }
            return self.on_connection(frame).map(|()| Flow::Done);
        }
        let Some(context) = &mut self.context else { return Ok(Flow::Done) };
        context.turn.spend(1);
        let Some(channel) = self.channels.get_mut(&frame.channel) else {
            return self.open_channel(frame).map(|()| Flow::Done);
        };
        if channel.phase == Phase::Closing {
            self.on_closing(frame);
            return Ok(Flow::Done);
        }
        let ids = if frame.kind == FrameKind::Method { method::ids(frame.payload) } else { (0, 0) };
        let result = on_channel(context, channel, frame);
        match result {
            Err(refusal) => {
                let refusal =
                    if refusal.class_id == 0 && !is_framing(&refusal) { refusal.at(ids.0, ids.1) } else { refusal };
                match refusal.radius() {
                    Radius::Connection => Err(refusal),
                    Radius::Channel => {
                        self.refuse_channel(frame.channel, &refusal);
                        Ok(Flow::Done)
                    }
                }
            }
            Ok(Outcome::Flow(flow)) => Ok(flow),
            Ok(Outcome::CloseChannel) => {
                self.drop_channel(frame.channel);
                Ok(Flow::Done)
            }
        }
    }

    fn open_channel(&mut self, frame: Frame<'_>) -> Result<(), Refusal> {
        match frame.kind {
            FrameKind::Heartbeat => return Err(unexpected(frame)),
            FrameKind::Header | FrameKind::Body => return Err(no_content_due()),
            FrameKind::Method => {}
        }
        let ids = method::ids(frame.payload);
        let method = method::decode(frame.payload)?;
        if !matches!(method, Method::Other(AMQPClass::Channel(channel_class::AMQPMethod::Open(_)))) {
            return Err(Refusal::new(ReplyCode::ChannelError, "expected 'channel.open'").at(ids.0, ids.1));
        }
        let open = self.channels.len();
        if self.tuned.channel_max > 0 && open >= usize::from(self.tuned.channel_max) {
            let max = self.tuned.channel_max;
            let text = format!("number of channels opened ({open}) has reached the negotiated channel_max ({max})");
            return Err(Refusal::new(ReplyCode::NotAllowed, text));
        }
        let Some(context) = &mut self.context else { return Ok(()) };
        let place = self.broker.admit_channel(&context.user)?;
        let stats = Arc::new(ChannelStats::new(self.broker.unique(), frame.channel, context.now));
        self.connection.stats.add_channel(&stats);
        self.broker.stats.churn.channels_opened.add_shared(1);
        self.channels.insert(frame.channel, Box::new(Channel::new(frame.channel, place, stats)));
        let ok = AMQPClass::Channel(channel_class::AMQPMethod::OpenOk(channel_class::OpenOk {}));
        context.send(frame.channel, ok);
        Ok(())
    }

    /// A channel the broker has closed: everything is discarded until the client agrees.
    fn on_closing(&mut self, frame: Frame<'_>) {
        if frame.kind != FrameKind::Method {
            return;
        }
        match method::ids(frame.payload) {
            (20, 40) => {
                let ok = AMQPClass::Channel(channel_class::AMQPMethod::CloseOk(channel_class::CloseOk {}));
                if let Some(context) = &mut self.context {
                    context.send(frame.channel, ok);
                }
            }
            (20, 41) => {
                self.channels.remove(&frame.channel);
            }
            _ => {}
        }
    }

    pub(super) fn refuse_channel(&mut self, number: u16, refusal: &Refusal) {
        if let Some(context) = &mut self.context {
            context.flush();
        }
        // What was published before is confirmed before: a later channel of this number counts anew.
        self.confirm();
        let (Some(context), Some(channel)) = (&mut self.context, self.channels.get_mut(&number)) else { return };
        let why = refusal.to_string();
        tracing::warn!(
            connection = context.connection.name,
            channel = number,
            "channel closed: {}",
            crate::telemetry::printable(&why)
        );
        channel.release(context);
        channel.phase = Phase::Closing;
        crate::wire::encode::close_channel(context.output.buffer(), number, refusal);
    }

    /// The client closes a channel: everything before is done, then it ends, then the client is told.
    fn drop_channel(&mut self, number: u16) {
        let (Some(context), Some(mut channel)) = (&mut self.context, self.channels.remove(&number)) else { return };
        context.flush();
        self.confirm();
        if let Some(context) = &mut self.context {
            channel.release(context);
            context.send(number, AMQPClass::Channel(channel_class::AMQPMethod::CloseOk(channel_class::CloseOk {})));
        }
    }

    fn on_connection(&mut self, frame: Frame<'_>) -> Result<(), Refusal> {
        match frame.kind {
            FrameKind::Heartbeat => return Ok(()),
            FrameKind::Method => {}
            FrameKind::Header | FrameKind::Body => return Err(unexpected(frame)),
        }
        let ids = method::ids(frame.payload);
        let Method::Other(AMQPClass::Connection(class)) = method::decode(frame.payload)? else {
            return Err(unexpected_here(ids));
        };
        match class {
            connection::AMQPMethod::Close(close) => {
                tracing::debug!(code = close.reply_code, "client closes the connection");
                self.close_by_client();
                Ok(())
            }
            connection::AMQPMethod::UpdateSecret(_) => {
                // Passwords are checked at login only: with them, a new secret changes nothing.
                let ok = connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {});
                if let Some(context) = &mut self.context {
                    context.send(0, AMQPClass::Connection(ok));
                }
                Ok(())
            }
            _ => Err(unexpected_here(ids)),
        }
    }

    /// Whether frames are to be dealt with as those of an open connection.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }
}

fn unexpected_here((class, method): (u16, u16)) -> Refusal {
    Refusal::new(ReplyCode::ChannelError, "unexpected method in connection state running").at(class, method)
}

/// Refusals about frames rather than methods carry the ids they were made with.
fn is_framing(refusal: &Refusal) -> bool {
    matches!(refusal.code, ReplyCode::UnexpectedFrame | ReplyCode::FrameError | ReplyCode::InternalError)
}

enum Outcome {
    Flow(Flow),
    CloseChannel,
}

fn on_channel(context: &mut Context, channel: &mut Channel, frame: Frame<'_>) -> Result<Outcome, Refusal> {
    let done = || Outcome::Flow(Flow::Done);
    match frame.kind {
        FrameKind::Heartbeat => return Err(unexpected(frame)),
        FrameKind::Body => return publish::body(context, channel, frame.payload).map(|()| done()),
        FrameKind::Header => {
            if channel.assembly.is_none() {
                return Err(no_content_due());
            }
            let header = method::decode_header(frame.payload)?;
            return publish::header(context, channel, header).map(|()| done());
        }
        FrameKind::Method => {}
    }
    context.touch(channel.number);
    if let Some(assembly) = &channel.assembly {
        return Err(out_of_order(assembly));
    }
    if method::ids(frame.payload) == (60, 10) {
        basic_handlers::check_prefetch_size(frame.payload)?;
    }
    match method::decode(frame.payload)? {
        Method::Publish(publish) => {
            publish::begin(channel, publish);
            Ok(done())
        }
        Method::Ack { delivery_tag, multiple } => {
            basic_handlers::ack(context, channel, delivery_tag, multiple).map(|()| done())
        }
        Method::Nack { delivery_tag, multiple, requeue } => {
            let requeue = requeue.then_some(Cause::Nack);
            basic_handlers::nack(context, channel, delivery_tag, multiple, requeue).map(|()| done())
        }
        Method::Reject { delivery_tag, requeue } => {
            let requeue = requeue.then_some(Cause::Reject);
            basic_handlers::nack(context, channel, delivery_tag, false, requeue).map(|()| done())
        }
        Method::Other(class) => on_class(context, channel, class),
    }
}

fn on_class(context: &mut Context, channel: &mut Channel, class: AMQPClass) -> Result<Outcome, Refusal> {
    // Everything asked for before comes first.
    context.flush();
    context.turn.spend(turn::METHOD);
    let done = Ok(Outcome::Flow(Flow::Done));
    match class {
        AMQPClass::Basic(basic::AMQPMethod::Get(get)) => {
            return basic_handlers::get(context, channel, &get).map(Outcome::Flow);
        }
        AMQPClass::Basic(method) => basic_handlers::handle(context, channel, method)?,
        AMQPClass::Queue(method) => queue::handle(context, channel, method)?,
        AMQPClass::Exchange(method) => exchange::handle(context, channel, method)?,
        AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => {
            match channel.mode {
                Mode::Plain => {
                    channel.mode = Mode::Confirm(Gate::default());
                    channel.stats.set_mode(stats::Mode::Confirm);
                }
                Mode::Confirm(_) => {}
                Mode::Tx(_) => {
                    let text = "cannot switch from tx to confirm mode";
                    return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
                }
            }
            let ok = AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}));
            context.reply(0, select.nowait, channel.number, ok);
        }
        AMQPClass::Channel(channel_class::AMQPMethod::Close(_)) => return Ok(Outcome::CloseChannel),
        AMQPClass::Channel(channel_class::AMQPMethod::Open(_)) => {
            return Err(Refusal::new(ReplyCode::ChannelError, "second 'channel.open' seen"));
        }
        AMQPClass::Channel(channel_class::AMQPMethod::Flow(flow)) => {
            if !flow.active {
                return Err(Refusal::new(ReplyCode::NotImplemented, "active=false"));
            }
            let ok = channel_class::AMQPMethod::FlowOk(channel_class::FlowOk { active: true });
            context.send(channel.number, AMQPClass::Channel(ok));
        }
        AMQPClass::Access(access::AMQPMethod::Request(_)) => {
            let ok = AMQPClass::Access(access::AMQPMethod::RequestOk(access::RequestOk {}));
            context.send(channel.number, ok);
        }
        AMQPClass::Tx(method) => tx_handlers::handle(context, channel, &method)?,
        _ => return Err(Refusal::new(ReplyCode::CommandInvalid, "unimplemented method")),
    }
    done
}
