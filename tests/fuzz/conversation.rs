//! A whole session on arbitrary octets, against a broker in memory.
//!
//! Octets alone would hardly ever pass the handshake, so the first ones of the input choose how much of a good beginning
//! is said for them and whether the rest is sent as it is or read as a list of mostly good methods. Shared by the fuzz
//! target and a test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leveret::broker::{Origin, Running, Start};
use leveret::clock::Clock;
use leveret::config::Config;
use leveret::session::Session;
use leveret::store::memory::MemoryEngine;
use leveret::wire::encode::FRAME_END;
use leveret::wire::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// No input of a few thousand octets may cause more output than this, in octets.
const MOST: u64 = 64 * 1024 * 1024;

/// A session that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lets one client say what the input makes of it. Panics if the session does, hangs, says too much or what is no
/// frame, or if the broker does not end in order afterwards.
pub(crate) fn converse(input: &[u8]) {
    let mut choices = Choices(input);
    let buffer = 1 + usize::from(choices.octet()) * 16;
    let said = sayings(&mut choices);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let engine = Arc::new(MemoryEngine::new());
        let start = Start { config: Arc::new(Config::default()), clock: Clock::system(), engine, spill: None };
        let running = Running::start(start).expect("a broker in memory starts");
        hear(&running, said, buffer).await;
        running.stop().await.expect("the broker stops in order");
    });
}

/// What a client hears that says this and then no more, over a pipe of `buffer` octets. Panics as [`converse`] does.
pub(crate) async fn hear(running: &Running, said: Vec<u8>, buffer: usize) -> Vec<u8> {
    let (client, server) = tokio::io::duplex(buffer);
    let here = SocketAddr::from(([127, 0, 0, 1], 5672));
    let session = Session::new(server, running.broker.clone(), Origin::plain(here, here)).run();
    let (ears, mut mouth) = tokio::io::split(client);
    let say = async move {
        // The session may end before it has heard everything.
        let _ = mouth.write_all(&said).await;
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        let _ = mouth.shutdown().await;
    };
    let listen = async move {
        let mut heard = Vec::new();
        ears.take(MOST + 1).read_to_end(&mut heard).await.expect("a pipe in memory");
        heard
    };
    let all = async { tokio::join!(session, say, listen).2 };
    let heard = tokio::time::timeout(PATIENCE, all).await.expect("the session ends");
    assert!(running.broker.connections.is_empty(), "a session that has ended is forgotten");
    assert!(heard.len() as u64 <= MOST, "{} octets of output", heard.len());
    let mut rest = heard.strip_prefix(b"AMQP\x00\x00\x09\x01").unwrap_or(&heard);
    // The last frame may have been cut off by the end.
    while let Some((_, used)) = frame::decode(rest, 0).expect("what is said are frames") {
        rest = &rest[used..];
    }
    heard
}

/// A client that logs in, publishes, consumes, gets, acknowledges and purges on queues `q` and `r`.
pub(crate) fn errand() -> Vec<u8> {
    let ticket = &[0, 0][..];
    let mut said = beginning()[..6].concat();
    for queue in [b"q", b"r"] {
        let name = short(queue);
        said.extend(method(1, 60, 40, &[ticket, &short(b""), &name, &[0]]));
        said.extend(frame_of(2, 1, &[&[0, 60, 0, 0][..], &2_u64.to_be_bytes(), &[0x10, 0, 2]].concat()));
        said.extend(frame_of(3, 1, b"hi"));
        said.extend(method(1, 60, 70, &[ticket, &name, &[1]]));
        said.extend(method(1, 60, 70, &[ticket, &name, &[0]]));
        said.extend(method(1, 60, 20, &[ticket, &name, &short(queue), &[0], &[0; 4]]));
        said.extend(method(1, 60, 30, &[&short(queue), &[0]]));
        said.extend(method(1, 60, 120, &[&0_u64.to_be_bytes(), &[3]]));
        said.extend(method(1, 50, 30, &[ticket, &name, &[0]]));
    }
    said
}

/// The input, octet by octet; zeros when it is used up.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A name out of few, so that methods meet.
    fn name(&mut self) -> Vec<u8> {
        match self.octet() % 16 {
            0 => short(b""),
            1..=6 => short(b"q"),
            7 | 8 => short(b"r"),
            9 | 10 => short(b"x"),
            11 => short(b"amq.direct"),
            12 => short(b"amq.topic"),
            13 => short(b"a.*.#"),
            14 => short(b"amq.rabbitmq.reply-to"),
            _ => {
                let count = usize::from(self.octet() % 32);
                short(self.take(count))
            }
        }
    }

    /// A table with its length.
    fn table(&mut self) -> Vec<u8> {
        let content = match self.octet() % 16 {
            0..=7 => Vec::new(),
            8 => b"\x0cx-max-lengthb\x01".to_vec(),
            9 => b"\x0dx-message-ttlb\x00".to_vec(),
            10 => b"\x0cx-max-lengthb\x00\x0ax-overflowS\0\0\0\x0ereject-publish".to_vec(),
            11 => b"\x16x-dead-letter-exchangeS\0\0\0\0\x19x-dead-letter-routing-keyS\0\0\0\x01r".to_vec(),
            12 => b"\x0ex-max-priorityb\x03".to_vec(),
            13 => b"\x0ax-priorityb\xff".to_vec(),
            14 => b"\x18x-single-active-consumert\x01".to_vec(),
            _ => {
                let count = usize::from(self.octet());
                self.take(count).to_vec()
            }
        };
        [&u32::try_from(content.len()).unwrap_or(0).to_be_bytes()[..], &content].concat()
    }

    /// A small delivery tag.
    fn tag(&mut self) -> Vec<u8> {
        u64::from(self.octet() % 8).to_be_bytes().to_vec()
    }
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap_or(0)], text].concat()
}

fn frame_of(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap_or(0);
    [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, &[FRAME_END]].concat()
}

fn method(channel: u16, class: u8, id: u8, arguments: &[&[u8]]) -> Vec<u8> {
    frame_of(1, channel, &[&[0, class, 0, id], &arguments.concat()[..]].concat())
}

/// A good beginning, step by step.
fn beginning() -> [Vec<u8>; 7] {
    let login = b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US";
    [
        b"AMQP\x00\x00\x09\x01".to_vec(),
        method(0, 10, 11, &[login]),
        method(0, 10, 31, &[&2047_u16.to_be_bytes(), &8192_u32.to_be_bytes(), &[0, 0]]),
        method(0, 10, 40, &[b"\x01/\0\0"]),
        method(1, 20, 10, &[&[0]]),
        method(2, 20, 10, &[&[0]]),
        [
            method(1, 50, 10, &[&[0, 0], &short(b"q"), &[0], &[0; 4]]),
            method(1, 85, 10, &[&[0]]),
            method(2, 60, 20, &[&[0, 0], &short(b"q"), &short(b"x"), &[0], &[0; 4]]),
        ]
        .concat(),
    ]
}

/// Everything the client says.
fn sayings(choices: &mut Choices<'_>) -> Vec<u8> {
    let beginning = beginning();
    let choice = choices.octet();
    let mut said = beginning[..usize::from(choice & 7)].concat();
    if choice & 8 != 0 {
        said.extend_from_slice(choices.0);
        return said;
    }
    while !choices.0.is_empty() {
        said.extend(saying(choices));
    }
    said
}

/// One frame, or a few that belong together.
fn saying(choices: &mut Choices<'_>) -> Vec<u8> {
    let choice = choices.octet();
    let channel = match choice >> 5 {
        0..=4 => 1,
        5 | 6 => 2,
        _ => u16::from(choices.octet()),
    };
    let ticket = &[0, 0];
    match choice & 31 {
        0 => method(channel, 20, 10, &[&[0]]),
        1 => method(channel, 20, 40, &[&[0, 200, 0, 0, 0, 0, 0]]),
        2 => [method(channel, 20, 41, &[]), method(channel, 20, 10, &[&[0]])].concat(),
        3 => method(
            channel,
            50,
            20,
            &[ticket, &choices.name(), &choices.name(), &choices.name(), &[0], &choices.table()],
        ),
        4 => method(channel, 50, 50, &[ticket, &choices.name(), &choices.name(), &choices.name(), &choices.table()]),
        5 => method(channel, 50, 30, &[ticket, &choices.name(), &[0]]),
        6 => method(channel, 50, 40, &[ticket, &choices.name(), &[choices.octet()]]),
        7 => {
            let kind = [&b"direct"[..], b"fanout", b"topic", b"headers"][usize::from(choices.octet() % 4)];
            method(channel, 40, 10, &[ticket, &choices.name(), &short(kind), &[choices.octet()], &choices.table()])
        }
        8 => method(channel, 40, 20, &[ticket, &choices.name(), &[choices.octet()]]),
        9 | 10 => {
            let id = [30, 40][usize::from(choice & 1)];
            let (to, from, key) = (choices.name(), choices.name(), choices.name());
            method(channel, 40, id, &[ticket, &to, &from, &key, &[0], &choices.table()])
        }
        11 => method(channel, 60, 10, &[&[0, 0, 0, 0, 0, choices.octet() % 4, choices.octet() & 1]]),
        12..=14 => {
            let (queue, tag) = (choices.name(), choices.name());
            method(channel, 60, 20, &[ticket, &queue, &tag, &[choices.octet()], &choices.table()])
        }
        15 => method(channel, 60, 30, &[&choices.name(), &[0]]),
        16 => method(channel, 60, 70, &[ticket, &choices.name(), &[choices.octet()]]),
        17 => method(channel, 60, 80, &[&choices.tag(), &[choices.octet()]]),
        18 => method(channel, 60, 120, &[&choices.tag(), &[choices.octet()]]),
        19 => method(channel, 60, 90, &[&choices.tag(), &[choices.octet()]]),
        20 => method(channel, 60, 110, &[&[1]]),
        21 => method(channel, 85, 10, &[&[0]]),
        22..=24 => publish(channel, choices),
        25 => frame_of(2, channel, choices.take(14)),
        26 => {
            let count = usize::from(choices.octet());
            frame_of(3, channel, choices.take(count))
        }
        27 => frame_of(8, 0, &[]),
        28 => {
            let (class, id) = (choices.octet() % 100, choices.octet() % 125);
            let count = usize::from(choices.octet());
            method(channel, class, id, &[choices.take(count)])
        }
        29 => choices.take(7).to_vec(),
        _ => method(channel, 50, 10, &[ticket, &choices.name(), &[choices.octet()], &choices.table()]),
    }
}

/// basic.publish with its content.
fn publish(channel: u16, choices: &mut Choices<'_>) -> Vec<u8> {
    let publish = method(channel, 60, 40, &[&[0, 0], &choices.name(), &choices.name(), &[choices.octet() & 1]]);
    let properties = match choices.octet() % 8 {
        0..=2 => vec![0, 0],
        3 | 4 => vec![0x10, 0, 2],
        5 => b"\x01\x00\x010".to_vec(),
        6 => [&b"\x02\x00"[..], &short(b"amq.rabbitmq.reply-to")].concat(),
        _ => {
            let count = usize::from(choices.octet() % 64);
            choices.take(count).to_vec()
        }
    };
    let count = usize::from(choices.octet());
    let body = choices.take(count);
    let header = [&[0, 60, 0, 0][..], &(body.len() as u64).to_be_bytes(), &properties].concat();
    let mut said = [publish, frame_of(2, channel, &header)].concat();
    if !body.is_empty() {
        said.extend(frame_of(3, channel, body));
    }
    said
}
