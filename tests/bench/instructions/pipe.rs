//! Sessions without sockets: the real ones, on a pipe that hands over what was prepared and counts what it hears. Used
//! where instructions are counted, and where allocations are.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use amq_protocol::protocol::{AMQPClass, basic, channel, connection, queue};
use amq_protocol::types::{FieldTable, LongString};
use bytes::Bytes;
use leveret::broker::{Origin, Running, Start};
use leveret::clock::Clock;
use leveret::config::Config;
use leveret::session::{Session, Transport};
use leveret::store::memory::MemoryEngine;
use leveret::wire::encode;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Frames as large as clients usually agree to, in octets.
pub(crate) const FRAME_MAX: u32 = 131_072;

#[derive(Default)]
struct Traffic {
    said: VecDeque<Bytes>,
    /// The session, when it has dealt with all that was said.
    reader: Option<Waker>,
    rest: Option<Waker>,
    heard: usize,
    awaited: usize,
    listener: Option<Waker>,
}

/// The broker's end of a connection.
struct Pipe(Arc<Mutex<Traffic>>);

impl Transport for Pipe {}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut traffic = self.0.lock();
        let Some(piece) = traffic.said.front_mut() else {
            traffic.reader = Some(cx.waker().clone());
            if let Some(rest) = traffic.rest.take() {
                rest.wake();
            }
            return Poll::Pending;
        };
        let taken = piece.split_to(piece.len().min(buffer.remaining()));
        if piece.is_empty() {
            traffic.said.pop_front();
        }
        buffer.put_slice(&taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(octets)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut traffic = self.0.lock();
        let octets = pieces.iter().map(|piece| piece.len()).sum();
        traffic.heard += octets;
        if traffic.heard >= traffic.awaited
            && let Some(listener) = traffic.listener.take()
        {
            listener.wake();
        }
        Poll::Ready(Ok(octets))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs `work` against a broker that keeps everything in memory, on one thread.
pub(crate) fn with_broker(work: impl AsyncFnOnce(Running)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = Arc::new(MemoryEngine::new());
        let start = Start { config: Arc::new(Config::default()), clock: Clock::system(), engine, spill: None };
        work(Running::start(start).unwrap()).await;
    });
}

/// The client's end of a connection with channel 1 open.
pub(crate) struct Client(Arc<Mutex<Traffic>>);

impl Client {
    /// Logs in.
    pub(crate) fn open(running: &Running) -> Self {
        let traffic = Arc::default();
        let here = SocketAddr::from(([127, 0, 0, 1], 5672));
        tokio::spawn(Session::new(Pipe(Arc::clone(&traffic)), running.broker.clone(), Origin::plain(here, here)).run());
        let start_ok = connection::StartOk {
            client_properties: FieldTable::default(),
            mechanism: "PLAIN".into(),
            response: LongString::from("\0guest\0guest"),
            locale: "en_US".into(),
        };
        let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: 0 };
        let open = connection::Open { virtual_host: "/".into() };
        let client = Self(traffic);
        client.say(b"AMQP\x00\x00\x09\x01".to_vec());
        client.ask(0, AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)));
        client.ask(0, AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)));
        client.ask(0, AMQPClass::Connection(connection::AMQPMethod::Open(open)));
        client.ask(1, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
        client
    }

    pub(crate) fn ask(&self, channel: u16, class: AMQPClass) {
        let mut out = Vec::new();
        encode::method(&mut out, channel, class);
        self.say(out);
    }

    /// What the broker reads next; each call is a read of its own, or several if it is larger than a read.
    pub(crate) fn say(&self, octets: impl Into<Bytes>) {
        let mut traffic = self.0.lock();
        traffic.said.push_back(octets.into());
        if let Some(reader) = traffic.reader.take() {
            reader.wake();
        }
    }

    /// Declares a queue that is not durable and consumes from it, under its name, once bound if `bound` says to which
    /// exchange and by which key.
    pub(crate) async fn consume(&self, name: &str, bound: Option<(&str, &str)>, no_ack: bool) {
        let declare = queue::Declare { queue: name.into(), ..declare() };
        self.ask(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
        if let Some((exchange, key)) = bound {
            let bind = queue::Bind {
                queue: name.into(),
                exchange: exchange.into(),
                routing_key: key.into(),
                nowait: false,
                arguments: FieldTable::default(),
            };
            self.ask(1, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
        }
        let consume = basic::Consume {
            queue: name.into(),
            consumer_tag: name.into(),
            no_local: false,
            no_ack,
            exclusive: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.ask(1, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
        self.done().await;
    }

    /// Waits until everything said so far is dealt with.
    pub(crate) async fn done(&self) {
        poll_fn(|cx| {
            let mut traffic = self.0.lock();
            if traffic.said.is_empty() && traffic.reader.is_some() {
                return Poll::Ready(());
            }
            traffic.rest = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Octets heard so far.
    pub(crate) fn heard(&self) -> usize {
        self.0.lock().heard
    }

    /// Waits until so many octets have been heard since the beginning.
    pub(crate) async fn hear(&self, octets: usize) {
        poll_fn(|cx| {
            let mut traffic = self.0.lock();
            traffic.awaited = octets;
            if traffic.heard >= octets {
                return Poll::Ready(());
            }
            traffic.listener = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

fn declare() -> queue::Declare {
    queue::Declare {
        queue: "".into(),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    }
}

/// A publish as octets on the wire.
pub(crate) fn publish(exchange: &str, key: &str, body: &[u8]) -> Vec<u8> {
    let publish =
        basic::Publish { exchange: exchange.into(), routing_key: key.into(), mandatory: false, immediate: false };
    let mut out = Vec::new();
    encode::method(&mut out, 1, AMQPClass::Basic(basic::AMQPMethod::Publish(publish)));
    encode::content_header(&mut out, 1, body.len() as u64, PROPERTIES);
    encode::body(&mut out, 1, body, FRAME_MAX);
    out
}

/// Octets of the delivery of such a message to the consumer of this queue.
pub(crate) fn delivery(queue: &str, exchange: &str, key: &str, body: &[u8]) -> usize {
    let address = leveret::message::address(exchange.as_bytes(), key.as_bytes()).unwrap();
    let mut out = Vec::new();
    encode::deliver(&mut out, 1, queue.as_bytes(), 1, false, &address);
    encode::content_header(&mut out, 1, body.len() as u64, PROPERTIES);
    encode::body(&mut out, 1, body, FRAME_MAX);
    out.len()
}

/// delivery-mode 1.
const PROPERTIES: &[u8] = &[0x10, 0, 1];
