//! End to end over loopback: the real binary, a publisher and a consumer that cost next to nothing.
//!
//! `cargo bench --bench loopback [-- SECONDS]` prints, for each workload, published and consumed messages a second and
//! the broker's own CPU time a message (user and system, from the process accounting of Linux). Read them as ratios.

#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, queue};
use amq_protocol::types::{FieldTable, LongString};
use leveret::wire::encode;
use leveret::wire::frame::{self, FrameKind};
use leveret::wire::method;

/// What one run does.
#[derive(Clone, Copy)]
struct Workload {
    name: &'static str,
    body: usize,
    durable: bool,
    /// Publishes that may be unconfirmed at a time; 0 is without confirms.
    window: u64,
    /// Deliveries acknowledged at a time; 0 is without acknowledgements.
    ack_every: u64,
    prefetch: u16,
    consumers: usize,
    /// Pairs of publisher and queue.
    pairs: usize,
}

const TRANSIENT: Workload = Workload {
    name: "16 B transient, auto-ack, 1 to 1",
    body: 16,
    durable: false,
    window: 0,
    ack_every: 0,
    prefetch: 0,
    consumers: 1,
    pairs: 1,
};
const DURABLE: Workload = Workload {
    name: "1 KiB durable, confirms in 1,000s, acks in 100s, prefetch 1,000",
    body: 1024,
    durable: true,
    window: 1_000,
    ack_every: 100,
    prefetch: 1_000,
    ..TRANSIENT
};

const WORKLOADS: [Workload; 8] = [
    TRANSIENT,
    Workload { name: "1 KiB transient, auto-ack, 1 to 1", body: 1024, ..TRANSIENT },
    Workload { name: "16 B transient, 4 queues, 4 to 4", pairs: 4, ..TRANSIENT },
    DURABLE,
    Workload { name: "16 B durable, same", body: 16, ..DURABLE },
    Workload { name: "1 KiB durable, publish only, confirms in 1,000s", consumers: 0, ..DURABLE },
    Workload { name: "1 KiB durable, one confirm at a time", window: 1, ack_every: 1, prefetch: 100, ..DURABLE },
    Workload {
        name: "128 B transient, 1 to 10, prefetch 10, ack each",
        body: 128,
        ack_every: 1,
        prefetch: 10,
        consumers: 10,
        ..TRANSIENT
    },
];

struct Broker {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Broker {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = log.lines();
        let address = loop {
            let line = lines.next().expect("the broker says where it listens").unwrap();
            if let Some((_, address)) = line.rsplit_once("listening for AMQP 0-9-1 on ") {
                break address.parse().unwrap();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, _dir: dir }
    }

    /// User and system time used so far, in microseconds.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks * 10_000.0
    }

    fn memory(&self) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).map(|kib| format!("{} MiB", kib.parse::<u64>().unwrap() / 1024)).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A blocking client that knows just enough.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Client {
    fn open(address: SocketAddr) -> Self {
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

    fn say(&mut self, channel: u16, class: AMQPClass) {
        let mut out = Vec::new();
        encode::method(&mut out, channel, class);
        self.stream.write_all(&out).unwrap();
    }

    fn expect(&mut self, channel: u16) {
        let mut seen = false;
        while !seen {
            assert!(self.frames(|kind, on, _| seen |= kind == FrameKind::Method && on == channel), "broker hung up");
        }
    }

    /// Reads once and calls `each` for every whole frame; `false` at the end of the stream.
    fn frames(&mut self, mut each: impl FnMut(FrameKind, u16, &[u8])) -> bool {
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

    fn declare(&mut self, name: &str, durable: bool) {
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

/// One message as octets on the wire.
fn message(queue: &str, body: usize, durable: bool) -> Vec<u8> {
    let publish = basic::Publish { exchange: "".into(), routing_key: queue.into(), mandatory: false, immediate: false };
    let mut out = Vec::new();
    encode::method(&mut out, 1, AMQPClass::Basic(basic::AMQPMethod::Publish(publish)));
    let properties: &[u8] = if durable { &[0x10, 0, 2] } else { &[0, 0] };
    encode::content_header(&mut out, 1, body as u64, properties);
    encode::body(&mut out, 1, &vec![b'x'; body], 131_072);
    out
}

struct Counters {
    published: AtomicU64,
    consumed: AtomicU64,
    stop: AtomicBool,
}

fn publish(address: SocketAddr, queue: &str, work: Workload, counters: &Counters) {
    let mut client = Client::open(address);
    let one = message(queue, work.body, work.durable);
    let per_write = if work.window == 0 { (32 * 1024 / one.len()).clamp(1, 256) as u64 } else { work.window.min(64) };
    let batch = one.repeat(usize::try_from(per_write).unwrap());
    if work.window > 0 {
        client.say(1, AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })));
        client.expect(1);
    }
    let (mut sent, mut confirmed) = (0u64, 0u64);
    while !counters.stop.load(Ordering::Relaxed) {
        while work.window > 0 && sent + per_write > confirmed + work.window {
            let alive = client.frames(|_, _, payload| {
                if let Ok(method::Method::Ack { delivery_tag, .. }) = method::decode(payload) {
                    confirmed = confirmed.max(delivery_tag);
                }
            });
            if !alive {
                return;
            }
        }
        // The broker is killed at the end of a run.
        if client.stream.write_all(&batch).is_err() {
            return;
        }
        sent += per_write;
        counters.published.fetch_add(per_write, Ordering::Relaxed);
    }
}

fn consume(address: SocketAddr, queue: &str, work: Workload, counters: &Counters) {
    let mut client = Client::open(address);
    if work.prefetch > 0 {
        let qos = basic::Qos { prefetch_count: work.prefetch, global: false };
        client.say(1, AMQPClass::Basic(basic::AMQPMethod::Qos(qos)));
        client.expect(1);
    }
    let consume = basic::Consume {
        queue: queue.into(),
        consumer_tag: "".into(),
        no_local: false,
        no_ack: work.ack_every == 0,
        exclusive: false,
        nowait: true,
        arguments: FieldTable::default(),
    };
    client.say(1, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
    client.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (mut received, mut acked) = (0u64, 0u64);
    let mut acks = Vec::new();
    while !counters.stop.load(Ordering::Relaxed) {
        let before = received;
        let alive = client.frames(|kind, _, _| received += u64::from(kind == FrameKind::Header));
        counters.consumed.fetch_add(received - before, Ordering::Relaxed);
        acks.clear();
        while work.ack_every > 0 && received - acked >= work.ack_every {
            acked += work.ack_every;
            encode::ack(&mut acks, 1, acked, true);
        }
        if !alive || client.stream.write_all(&acks).is_err() {
            return;
        }
    }
}

fn run(work: Workload, seconds: u64) {
    let broker = Broker::start();
    let counters =
        Arc::new(Counters { published: AtomicU64::new(0), consumed: AtomicU64::new(0), stop: AtomicBool::new(false) });
    let mut threads = Vec::new();
    for pair in 0..work.pairs {
        let queue = format!("bench-{pair}");
        Client::open(broker.address).declare(&queue, work.durable);
        for _ in 0..work.consumers {
            let (queue, counters, address) = (queue.clone(), counters.clone(), broker.address);
            threads.push(std::thread::spawn(move || consume(address, &queue, work, &counters)));
        }
        let (counters, address) = (counters.clone(), broker.address);
        threads.push(std::thread::spawn(move || publish(address, &queue, work, &counters)));
    }
    std::thread::sleep(Duration::from_millis(500));
    let read = || (counters.published.load(Ordering::Relaxed), counters.consumed.load(Ordering::Relaxed), broker.cpu());
    let (published, consumed, cpu) = read();
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let (published, consumed, cpu) = {
        let now = read();
        (now.0 - published, now.1 - consumed, now.2 - cpu)
    };
    let elapsed = begun.elapsed().as_secs_f64();
    counters.stop.store(true, Ordering::Relaxed);
    let memory = broker.memory();
    drop(broker);
    for thread in threads {
        let _ = thread.join();
    }
    #[allow(clippy::cast_precision_loss)]
    let (published, consumed) = (published as f64, consumed as f64);
    let moved = if work.consumers == 0 { published } else { f64::midpoint(published, consumed) };
    println!(
        "{:<64} {:>9.0} pub/s {:>9.0} con/s {:>8.3} us broker CPU/msg  peak {memory}",
        work.name,
        published / elapsed,
        consumed / elapsed,
        cpu / moved
    );
}

fn main() {
    let seconds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(4);
    for work in WORKLOADS {
        run(work, seconds);
    }
}
