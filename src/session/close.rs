//! The ends of a connection: by the client, by a refusal, by silence, by a broken socket.

use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, connection};

use super::{Session, Stage, deliver};
use crate::telemetry::printable;
use crate::wire::encode;
use crate::wire::frame::{Frame, FrameKind};
use crate::wire::method;
use crate::wire::refusal::{Refusal, ReplyCode};

/// How long a socket stays open after a silent failure, or after the last word to a client.
const MOMENT: Duration = Duration::from_secs(3);

/// How long a client may take to agree to a close.
const AGREE: Duration = Duration::from_secs(30);

impl<S> Session<S> {
    /// Gives everything back: channels end, exclusive queues go. Once.
    pub(super) fn release(&mut self) {
        if std::mem::replace(&mut self.released, true) {
            return;
        }
        self.outbox.close();
        if self.blocked {
            self.broker.alarms.forget(self.connection.id);
        }
        let Some(context) = &mut self.context else { return };
        self.broker.stats.churn.connections_closed.add_shared(1);
        context.park = None;
        context.flush();
        for channel in self.channels.values_mut() {
            channel.release(context);
        }
        deliver::abandon(context, &mut self.drained);
        let exclusive = std::mem::take(&mut context.exclusive);
        context.vhost.delete_exclusive(&context.broker, exclusive);
        context.admitted = None;
        context.passed.tell(&self.broker.stats);
        self.channels.clear();
        self.gated.clear();
    }

    fn part_last(&mut self) {
        if let Some(context) = &mut self.context {
            deliver::part_last(context, &mut self.channels, &mut self.drained);
        }
    }

    fn end_by(&mut self, timeout: Duration) {
        self.timer.as_mut().reset(tokio::time::Instant::now() + timeout);
    }

    /// connection.close from the client.
    pub(super) fn close_by_client(&mut self) {
        if let Some(context) = &mut self.context {
            context.flush();
        }
        self.confirm();
        self.part_last();
        self.release();
        let ok = AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}));
        if let Some(context) = &mut self.context {
            context.send(0, ok);
        }
        tracing::info!(connection = self.name(), "connection closed by client");
        self.end_after_output();
    }

    /// Closes the connection with a reason the client is told.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        if matches!(self.stage, Stage::Closing | Stage::Silent | Stage::Leaving { .. } | Stage::Ended) {
            return;
        }
        if self.context.is_none() && self.broker.stopping() {
            return self.end();
        }
        let why = refusal.to_string();
        tracing::warn!(connection = self.name(), "connection closed: {}", printable(&why));
        if let Some(context) = &mut self.context {
            context.flush();
        }
        self.confirm();
        self.part_last();
        self.release();
        let output = self.context.as_mut().map_or(&mut self.early, |context| &mut context.output);
        encode::close_connection(output.buffer(), refusal);
        self.stage = Stage::Closing;
        let framing = matches!(refusal.code, ReplyCode::FrameError | ReplyCode::AccessRefused);
        let patience = if self.broker.stopping() {
            self.broker.config.shutdown_grace
        } else if framing {
            MOMENT
        } else {
            AGREE
        };
        self.end_by(patience);
    }

    /// A frame that cannot be read: nothing after it can be.
    pub(super) fn on_bad_frame(&mut self, refusal: &Refusal) {
        match self.stage {
            Stage::Open | Stage::OpenDue { .. } => self.refuse(refusal),
            Stage::Closing => {}
            _ => self.fall_silent(&refusal.to_string()),
        }
        // The stream is out of step: only its end is of interest.
        if matches!(self.stage, Stage::Closing) {
            self.end_after_output();
        }
    }

    /// After a refusal only the client's agreement counts.
    pub(super) fn on_closing_frame(&mut self, frame: Frame<'_>) {
        if frame.channel != 0 || frame.kind != FrameKind::Method {
            return;
        }
        match method::ids(frame.payload) {
            (10, 51) => self.end_after_output(),
            (10, 50) => {
                let output = self.context.as_mut().map_or(&mut self.early, |context| &mut context.output);
                // A client that does not read is not answered for ever.
                if output.pending() <= self.broker.config.control_bytes {
                    let ok = AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}));
                    encode::method(output.buffer(), 0, ok);
                }
            }
            _ => {}
        }
    }

    /// Says nothing more and closes after a moment, as RabbitMQ does when the handshake fails.
    pub(super) fn fall_silent(&mut self, why: &str) {
        tracing::warn!(connection = self.name(), "handshake failed: {}", printable(why));
        self.stage = Stage::Silent;
        self.end_by(MOMENT);
    }

    /// Writes what is left, says that nothing follows, and waits a moment for the client to close.
    pub(super) fn end_after_output(&mut self) {
        self.stage = Stage::Leaving { shut: false };
        self.end_by(MOMENT);
    }

    pub(super) fn on_eof(&mut self) {
        if self.is_open() {
            tracing::warn!(connection = self.name(), "client closed the socket without closing the connection");
        }
        self.end();
    }

    pub(super) fn on_io_error(&mut self, error: &std::io::Error) {
        tracing::debug!(connection = self.name(), "socket: {error}");
        self.end();
    }

    pub(super) fn end(&mut self) {
        self.release();
        self.stage = Stage::Ended;
    }

    /// A client that asks and never reads the answers is cut off.
    pub(super) fn check_output(&mut self) {
        let backlog = self.context.as_ref().map_or(0, |context| context.output.backlog());
        if backlog > self.broker.config.control_bytes + self.broker.config.outbox_bytes
            && matches!(self.stage, Stage::Open)
        {
            self.refuse(&Refusal::new(ReplyCode::ResourceError, "too many unread replies"));
            // It does not read: it will not read this either.
            self.end_by(MOMENT);
        }
    }
}
