//! The real command, and a client that costs next to nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use amq_protocol::protocol::{AMQPClass, basic, channel, connection, queue};
use amq_protocol::types::{FieldTable, LongString};
use leveret::wire::encode;
use leveret::wire::frame::{self, FrameKind};

/// The real command in a process of its own; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Broker {
    /// Starts on what is in `dir`.
    #[allow(dead_code, reason = "not every bench uses it")]
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    /// The same with settings from the environment.
    pub(crate) fn start_with(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .args(["--http-listen", "none", "--metrics-listen", "none", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = log.lines();
        let address = loop {
            let line = lines.next().expect("the broker says where it listens").unwrap();
            if let Some((_, address)) = line.rsplit_once("started TCP listener on ") {
                break address.parse().unwrap();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// User and system time used so far, in microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks * 10_000.0
    }

    /// A line of the process's status in MiB: `VmHWM` (peak), `RssAnon` (memory of its own).
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with(line)).unwrap();
        line.split_whitespace().nth(1).map(|kib| kib.parse::<u64>().unwrap() / 1024).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A blocking client that knows just enough.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Client {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream, buffer: vec![0; 512 * 1024], filled: 0 };
        client.stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
        client.expect(0);
        let start_ok = connection::StartOk {
            client_properties: FieldTable::default(),
            mechanism: "PLAIN".into(),
            response: LongString::from("\0guest\0guest"),
            locale: "en_US".into(),
        };
        client.say(0, AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)));
        client.expect(0);
        let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };
        client.say(0, AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)));
        let open = connection::Open { virtual_host: "/".into() };
        client.say(0, AMQPClass::Connection(connection::AMQPMethod::Open(open)));
        client.expect(0);
        client.say(1, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
        client.expect(1);
        client
    }

    pub(crate) fn say(&mut self, channel: u16, class: AMQPClass) {
        let mut out = Vec::new();
        encode::method(&mut out, channel, class);
        self.stream.write_all(&out).unwrap();
    }

    pub(crate) fn expect(&mut self, channel: u16) {
        let mut seen = false;
        while !seen {
            assert!(self.frames(|kind, on, _| seen |= kind == FrameKind::Method && on == channel), "broker hung up");
        }
    }

    /// Reads once and calls `each` for every whole frame; `false` at the end of the stream.
    pub(crate) fn frames(&mut self, mut each: impl FnMut(FrameKind, u16, &[u8])) -> bool {
        let n = match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => return false,
            Ok(n) => n,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => return true,
            Err(_) => return false,
        };
        self.filled += n;
        let mut at = 0;
        while let Ok(Some((frame, used))) = frame::decode(&self.buffer[at..self.filled], 0) {
            each(frame.kind, frame.channel, frame.payload);
            at += used;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        true
    }

    pub(crate) fn declare(&mut self, name: &str, durable: bool) {
        let declare = queue::Declare {
            queue: name.into(),
            passive: false,
            durable,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.say(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
        self.expect(1);
    }
}

/// One message to a queue as octets on the wire.
#[allow(dead_code, reason = "not every bench uses it")]
pub(crate) fn message(queue: &str, body: usize, durable: bool) -> Vec<u8> {
    let properties: &[u8] = if durable { &[0x10, 0, 2] } else { &[0, 0] };
    message_to("", queue, properties, body)
}

/// One message as octets on the wire; its properties are encoded already.
pub(crate) fn message_to(exchange: &str, key: &str, properties: &[u8], body: usize) -> Vec<u8> {
    let publish =
        basic::Publish { exchange: exchange.into(), routing_key: key.into(), mandatory: false, immediate: false };
    let mut out = Vec::new();
    encode::method(&mut out, 1, AMQPClass::Basic(basic::AMQPMethod::Publish(publish)));
    encode::content_header(&mut out, 1, body as u64, properties);
    encode::body(&mut out, 1, &vec![b'x'; body], 131_072);
    out
}
