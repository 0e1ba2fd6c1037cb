//! A client of a few frames, for what a client library does not do: to stop in the middle of a message, and to see every
//! confirm as it was sent.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A logged-in connection with channel 1 in confirm mode.
pub(crate) struct Raw {
    stream: TcpStream,
}

/// Types of frames.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// The octet that ends a frame.
const FRAME_END: u8 = 0xCE;

/// basic.ack
const ACK: [u8; 4] = [0, 60, 0, 80];

fn short(text: &str) -> Vec<u8> {
    let mut octets = vec![u8::try_from(text.len()).unwrap()];
    octets.extend(text.as_bytes());
    octets
}

fn long(octets: &[u8]) -> Vec<u8> {
    let mut all = u32::try_from(octets.len()).unwrap().to_be_bytes().to_vec();
    all.extend(octets);
    all
}

fn frame(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![kind, 0, channel];
    octets.extend(long(payload));
    octets.push(FRAME_END);
    octets
}

fn method(channel: u8, class: u8, number: u8, arguments: &[&[u8]]) -> Vec<u8> {
    let mut payload = vec![0, class, 0, number];
    for part in arguments {
        payload.extend(*part);
    }
    frame(METHOD, channel, &payload)
}

/// A publish announcing a body of that size, and what there is of it.
pub(crate) fn publish(exchange: &str, key: &str, mode: u8, announced: u64, body: &[u8]) -> Vec<u8> {
    let mut octets = method(1, 60, 40, &[&[0, 0], &short(exchange), &short(key), &[0]]);
    let mut header = vec![0, 60, 0, 0];
    header.extend(announced.to_be_bytes());
    // Of the properties, only the delivery mode.
    header.extend([0x10, 0, mode]);
    octets.extend(frame(HEADER, 1, &header));
    for piece in body.chunks(4_000) {
        octets.extend(frame(BODY, 1, piece));
    }
    octets
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut raw = Self { stream: TcpStream::connect(address).await.unwrap() };
        raw.send(b"AMQP\0\0\x09\x01").await;
        raw.frame().await;
        let response = long(b"\0guest\0guest");
        raw.send(&method(0, 10, 11, &[&long(&[]), &short("PLAIN"), &response, &short("en_US")])).await;
        raw.frame().await;
        raw.send(&method(0, 10, 31, &[&[7, 255], &8192u32.to_be_bytes(), &[0, 0]])).await;
        raw.send(&method(0, 10, 40, &[&short("/"), &short(""), &[0]])).await;
        raw.frame().await;
        raw.send(&method(1, 20, 10, &[&short("")])).await;
        raw.frame().await;
        raw.send(&method(1, 85, 10, &[&[0]])).await;
        raw.frame().await;
        raw
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    /// The payload of the next frame.
    async fn frame(&mut self) -> Vec<u8> {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).await.unwrap();
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut payload = vec![0; usize::try_from(size).unwrap() + 1];
        self.stream.read_exact(&mut payload).await.unwrap();
        assert_eq!(payload.pop(), Some(FRAME_END));
        payload
    }

    /// The next confirm: its tag, and whether it stands for those before it too.
    pub(crate) async fn confirm(&mut self) -> (u64, bool) {
        let payload = self.frame().await;
        let tag = payload.strip_prefix(&ACK).unwrap_or_else(|| panic!("{payload:02x?} is no ack"));
        (u64::from_be_bytes(tag[..8].try_into().unwrap()), tag[8] == 1)
    }
}
