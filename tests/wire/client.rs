//! A client that knows octets and nothing else.
//!
//! Names the broker makes up are replaced in what it receives by the same number of asterisks, and put back into what
//! it sends, so that scripts can be written down.

use std::net::SocketAddr;
use std::time::Duration;

use amq_protocol::protocol::parse_class;
use leveret::wire::frame::{self, FrameKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A test that waits for longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What generated names begin with; 22 characters follow.
const GENERATED: [&[u8]; 3] = [b"amq.gen-", b"amq.ctag-", b"amq.rabbitmq.reply-to."];

/// Length of the part of a generated name that differs.
const SECRET: usize = 22;

/// Where the octets sent are cut into separate writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Each step is one write.
    Nowhere,
    /// In one place, counted in octets from the beginning of the script.
    At(usize),
    /// After every octet.
    Everywhere,
}

/// One raw connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    cut: Cut,
    /// Octets sent since the cut was set.
    sent: usize,
    /// The latest name seen of each generated kind.
    names: [Option<Vec<u8>>; 3],
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("the broker listens"))
    }

    /// A client whose system holds as little unread input as it can.
    pub(crate) async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        Self::over(socket.connect(address).await.expect("the broker listens"))
    }

    /// A client on a socket that is connected.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a connected socket");
        Self { stream, input: Vec::new(), cut: Cut::Nowhere, sent: 0, names: [const { None }; 3] }
    }

    /// The connection as it is, for those who read octets.
    #[allow(dead_code, reason = "of use to the floods")]
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Cuts everything sent from here on.
    pub(crate) fn cut(&mut self, cut: Cut) {
        self.cut = cut;
        self.sent = 0;
    }

    /// Sends octets. A broken connection shows in what is received, not here.
    pub(crate) async fn send(&mut self, octets: &[u8]) {
        let octets = self.with_names(octets);
        let mut pieces = Vec::new();
        match self.cut {
            Cut::Everywhere => pieces.extend(octets.chunks(1)),
            Cut::At(at) if at > self.sent && at - self.sent < octets.len() => {
                let (before, after) = octets.split_at(at - self.sent);
                pieces.extend([before, after]);
            }
            _ => pieces.push(&octets[..]),
        }
        for piece in pieces {
            if self.stream.write_all(piece).await.is_err() {
                break;
            }
            if self.cut != Cut::Nowhere {
                // The broker runs on this thread: it reads the piece before the next one is written.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
        }
        self.sent += octets.len();
    }

    /// Sends as much as the connection takes; whether it took all.
    pub(crate) async fn try_send(&mut self, octets: &[u8]) -> bool {
        self.stream.write_all(octets).await.is_ok()
    }

    /// The next frame, or the eight octets of a protocol header; `None` once the broker has closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Vec<u8>> {
        let receive = async {
            loop {
                if let Some(frame) = self.take() {
                    return Some(frame);
                }
                match self.stream.read_buf(&mut self.input).await {
                    Ok(0) | Err(_) => {
                        assert!(self.input.is_empty(), "half a frame, then the end: {:?}", self.input);
                        return None;
                    }
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, receive).await.expect("the broker answers")
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let len = if self.input.starts_with(b"A") {
            (self.input.len() >= 8).then_some(8)?
        } else {
            frame::decode(&self.input, 0).expect("the broker sends good frames")?.1
        };
        let mut octets: Vec<u8> = self.input.drain(..len).collect();
        self.hide_names(&mut octets);
        Some(octets)
    }

    /// Receives exactly these frames.
    pub(crate) async fn expect(&mut self, expected: &[u8], context: &str) {
        for expected in split(expected) {
            let received = self.frame().await;
            let received = received.as_deref();
            if received != Some(expected) {
                let received = received.map_or_else(|| "the end of the connection".to_owned(), show);
                panic!("{context}: expected\n  {}\nreceived\n  {received}", show(expected));
            }
        }
    }

    /// Receives the end of the connection and nothing before it.
    pub(crate) async fn expect_end(&mut self, context: &str) {
        if let Some(frame) = self.frame().await {
            panic!("{context}: expected the end of the connection, received\n  {}", show(&frame));
        }
    }

    fn hide_names(&mut self, octets: &mut [u8]) {
        for (prefix, name) in GENERATED.iter().zip(&mut self.names) {
            for at in places(octets, prefix) {
                let secret = &mut octets[at..at + SECRET];
                if secret.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet)) {
                    *name = Some(secret.to_vec());
                    secret.fill(b'*');
                }
            }
        }
    }

    fn with_names(&self, octets: &[u8]) -> Vec<u8> {
        let mut octets = octets.to_vec();
        for (prefix, name) in GENERATED.iter().zip(&self.names) {
            let Some(name) = name else { continue };
            for at in places(&octets, prefix) {
                if octets[at..at + SECRET] == [b'*'; SECRET] {
                    octets[at..at + SECRET].copy_from_slice(name);
                }
            }
        }
        octets
    }
}

/// Where the secret parts behind `prefix` begin.
fn places(octets: &[u8], prefix: &[u8]) -> Vec<usize> {
    let whole = prefix.len() + SECRET;
    octets.windows(whole).enumerate().filter(|(_, w)| w.starts_with(prefix)).map(|(at, _)| at + prefix.len()).collect()
}

/// The frames, or the protocol header, that these octets are.
fn split(mut octets: &[u8]) -> Vec<&[u8]> {
    if octets.starts_with(b"AMQP") {
        return vec![octets];
    }
    let mut frames = Vec::new();
    while let Some((_, used)) = frame::decode(octets, 0).expect("a good frame is expected") {
        let (frame, rest) = octets.split_at(used);
        frames.push(frame);
        octets = rest;
    }
    assert!(octets.is_empty(), "whole frames are expected");
    frames
}

/// A frame in words, for the messages of failed tests.
pub(crate) fn show(octets: &[u8]) -> String {
    match frame::decode(octets, 0) {
        Ok(Some((frame, _))) if frame.kind == FrameKind::Method => match parse_class(frame.payload) {
            Ok((_, class)) => format!("channel {}: {class:?}", frame.channel),
            Err(_) => format!("channel {}: method {:?}", frame.channel, frame.payload),
        },
        Ok(Some((frame, _))) => {
            format!("channel {}: {:?} {:?}", frame.channel, frame.kind, String::from_utf8_lossy(frame.payload))
        }
        _ => format!("{:?}", String::from_utf8_lossy(octets)),
    }
}
