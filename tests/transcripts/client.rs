//! One connection of a conversation: sends octets, receives lines.
//!
//! It agrees to what the broker closes, drops heartbeats, splits confirms of several messages into single ones, and
//! joins a message's frames.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::codec;
use crate::names::Names;
use crate::value::{pair, show, string};

/// How long an answer is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);

/// What comes from the broker by itself, at a moment that differs from run to run.
const UNASKED: [&str; 4] = ["basic.deliver", "basic.ack", "basic.nack", "basic.cancel"];

/// What clients say they can do.
const CAPABILITIES: &str = "{capabilities={authentication_failure_close=true, basic.nack=true, \
                            connection.blocked=true, consumer_cancel_notify=true, publisher_confirms=true}}";

/// One line received.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) channel: u16,
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Line {
    /// Whether it came by itself.
    pub(crate) fn unasked(&self) -> bool {
        UNASKED.contains(&self.name.as_str())
    }
}

/// A message whose frames have not all come.
struct Partial {
    line: Line,
    size: usize,
    properties: String,
    body: Vec<u8>,
    frames: usize,
}

/// How reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// There are new lines.
    Something,
    /// The connection is over.
    End,
    /// Nothing came in time.
    Silence,
}

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// Channels that are open as far as this side knows.
    pub(crate) open: BTreeSet<u16>,
    /// The handshake has been done for the conversation; answers can be fenced.
    pub(crate) managed: bool,
    pub(crate) ended: bool,
    /// Agrees to closed channels by itself.
    pub(crate) agrees: bool,
    partial: BTreeMap<u16, Partial>,
    confirmed: BTreeMap<u16, BTreeSet<u64>>,
    /// Lines not yet written into the transcript.
    pub(crate) held: Vec<Line>,
    /// Fences and openings that were sent but are no part of the conversation.
    hidden: Vec<(u16, &'static str)>,
    /// Answers to channel.flow that the conversation itself asked for.
    pub(crate) owed: BTreeMap<u16, u32>,
}

impl Client {
    /// A connected socket.
    pub(crate) fn raw(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self {
            stream,
            input: Vec::new(),
            open: BTreeSet::new(),
            managed: false,
            ended: false,
            agrees: true,
            partial: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            held: Vec::new(),
            hidden: Vec::new(),
            owed: BTreeMap::new(),
        }
    }

    /// A connection whose handshake the conversation goes on with: behind connection.start, and behind
    /// connection.tune as well if `known`.
    pub(crate) fn greeted(address: SocketAddr, known: bool, names: &mut Names) -> Self {
        let mut client = Self::raw(address);
        client.send(codec::HEADER);
        assert!(client.hear_hidden("connection.start", names), "the broker greets");
        if known {
            client.send(&codec::encode(0, r#"connection.start-ok PLAIN "\0guest\0guest" en_US"#));
            assert!(client.hear_hidden("connection.tune", names), "the broker lets guest in");
        }
        client
    }

    /// An open connection, if the broker lets it; `options` are `user=guest` and the like.
    pub(crate) fn connect(address: SocketAddr, options: &[String], names: &mut Names) -> Self {
        let option = |name: &str, default: &str| {
            let found = options.iter().find_map(|token| pair(token).filter(|(key, _)| *key == name));
            found.map_or_else(|| default.to_owned(), |(_, value)| value.to_owned())
        };
        let mut client = Self::raw(address);
        client.agrees = !options.iter().any(|token| token == "disagreeing");
        client.send(codec::HEADER);
        if !client.hear_hidden("connection.start", names) {
            return client;
        }
        let [user, password] = ["user", "password"].map(|name| string(&option(name, "guest")));
        let escaped = |text: Vec<u8>| String::from_utf8(text).expect("a plain name");
        let response = format!("\"\\0{}\\0{}\"", escaped(user), escaped(password));
        let properties = option("properties", CAPABILITIES);
        client.send(&codec::encode(0, &format!("connection.start-ok {properties} PLAIN {response} en_US")));
        if !client.hear_hidden("connection.tune", names) {
            return client;
        }
        let [channel_max, frame_max, heartbeat] =
            [("channel-max", "2047"), ("frame-max", "131072"), ("heartbeat", "0")].map(|(k, v)| option(k, v));
        client.send(&codec::encode(0, &format!("connection.tune-ok {channel_max} {frame_max} {heartbeat}")));
        client.send(&codec::encode(0, &format!("connection.open {}", option("vhost", "/"))));
        client.managed = client.hear_hidden("connection.open-ok", names);
        client
    }

    fn hear_hidden(&mut self, name: &'static str, names: &mut Names) -> bool {
        self.hidden.push((0, name));
        while self.hidden.contains(&(0, name)) {
            if self.hear(names) != Heard::Something {
                return false;
            }
        }
        true
    }

    /// Sends octets. A broken connection shows in what is received.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets);
    }

    /// Opens a channel without a trace in the transcript.
    pub(crate) fn open_channel(&mut self, channel: u16) {
        self.send(&codec::encode(channel, "channel.open"));
        self.hidden.push((channel, "channel.open-ok"));
        self.open.insert(channel);
    }

    /// Reads until everything sent before on this channel has been dealt with.
    pub(crate) fn fence(&mut self, channel: u16, names: &mut Names) -> Heard {
        self.send(&codec::encode(channel, "channel.flow active"));
        self.hidden.push((channel, "channel.flow-ok"));
        while self.hidden.contains(&(channel, "channel.flow-ok")) {
            if !self.open.contains(&channel) {
                break;
            }
            match self.hear(names) {
                Heard::Something => {}
                other => return other,
            }
        }
        Heard::Something
    }

    /// Ends the connection without a word.
    pub(crate) fn drop_socket(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.ended = true;
        self.open.clear();
    }

    /// Reads one frame.
    pub(crate) fn hear(&mut self, names: &mut Names) -> Heard {
        if self.ended {
            return Heard::End;
        }
        loop {
            if let Some(length) = self.complete() {
                let frame: Vec<u8> = self.input.drain(..length).collect();
                self.on_frame(&frame, names);
                return Heard::Something;
            }
            let mut piece = [0; 16_384];
            match self.stream.read(&mut piece) {
                Ok(n) if n > 0 => self.input.extend(&piece[..n]),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    return Heard::Silence;
                }
                _ => {
                    self.ended = true;
                    self.open.clear();
                    return Heard::End;
                }
            }
        }
    }

    fn complete(&self) -> Option<usize> {
        if self.input.starts_with(b"A") {
            return (self.input.len() >= 8).then_some(8);
        }
        let size = u32::from_be_bytes(self.input.get(3..7)?.try_into().ok()?);
        let length = 8 + usize::try_from(size).ok()?;
        (self.input.len() >= length).then_some(length)
    }

    fn on_frame(&mut self, frame: &[u8], names: &mut Names) {
        if let Some(version) = frame.strip_prefix(b"AMQP") {
            let text = format!("header {version:?}");
            self.held.push(Line { channel: 0, name: "header".to_owned(), text });
            return;
        }
        let channel = u16::from_be_bytes([frame[1], frame[2]]);
        let payload = &frame[7..frame.len() - 1];
        match frame[0] {
            1 => {
                let (method, text) = codec::decode(payload).expect("a method that the grammar knows");
                let line = Line { channel, name: method.name.to_owned(), text };
                if method.has_content() {
                    let partial = Partial { line, size: 0, properties: String::new(), body: Vec::new(), frames: 0 };
                    assert!(self.partial.insert(channel, partial).is_none(), "a method within a message");
                } else {
                    self.on_method(line, names);
                }
            }
            2 => {
                let partial = self.partial.get_mut(&channel).expect("a header that is due");
                (partial.size, partial.properties) = codec::decode_header(payload).expect("a good header");
                self.finish_content(channel, names);
            }
            3 => {
                let partial = self.partial.get_mut(&channel).expect("a body that is due");
                partial.body.extend(payload);
                partial.frames += 1;
                self.finish_content(channel, names);
            }
            8 => {}
            other => panic!("a frame of type {other}"),
        }
    }

    fn finish_content(&mut self, channel: u16, names: &mut Names) {
        let complete = self.partial.get(&channel).is_some_and(|partial| partial.body.len() >= partial.size);
        if complete && let Some(mut partial) = self.partial.remove(&channel) {
            let body = codec::show_body(&partial.body, partial.frames);
            partial.line.text.extend([" | ", &body, &partial.properties]);
            self.hold(partial.line, names);
        }
    }

    fn hold(&mut self, mut line: Line, names: &mut Names) {
        line.text = names.hide(&line.text);
        self.held.push(line);
    }

    fn on_method(&mut self, line: Line, names: &mut Names) {
        let channel = line.channel;
        match line.name.as_str() {
            "basic.ack" | "basic.nack" => return self.on_confirm(&line),
            "channel.close" => {
                self.open.remove(&channel);
                self.hidden.retain(|(hidden, _)| *hidden != channel);
                self.partial.remove(&channel);
                if self.agrees {
                    self.send(&codec::encode(channel, "channel.close-ok"));
                }
            }
            "channel.close-ok" => {
                self.open.remove(&channel);
                self.confirmed.remove(&channel);
            }
            "connection.close" => self.send(&codec::encode(0, "connection.close-ok")),
            "connection.close-ok" => self.drop_socket(),
            name => {
                // The last one expected is the hidden one: what a conversation sent itself was sent before it.
                let wanted = self.hidden.iter().position(|(at, hidden)| (*at, *hidden) == (channel, name));
                let owed = self.owed.get(&channel).copied().unwrap_or(0);
                if name == "channel.flow-ok" && owed > 0 {
                    self.owed.insert(channel, owed - 1);
                } else if let Some(at) = wanted {
                    self.hidden.remove(at);
                    return;
                }
            }
        }
        self.hold(line, names);
    }

    /// Writes a confirm of several messages as single ones.
    fn on_confirm(&mut self, line: &Line) {
        let tag = line.text.split("delivery-tag=").nth(1).and_then(|rest| rest.split(' ').next());
        let tag: u64 = tag.and_then(|tag| tag.parse().ok()).expect("a delivery tag");
        let confirmed = self.confirmed.entry(line.channel).or_default();
        let first = if line.text.contains(" multiple") { 1 } else { tag };
        for tag in first..=tag {
            if confirmed.insert(tag) {
                let text = format!("{} delivery-tag={}", line.name, show(tag.to_string().as_bytes()));
                self.held.push(Line { channel: line.channel, name: line.name.clone(), text });
            }
        }
    }
}
