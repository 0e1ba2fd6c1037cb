//! A load on the real broker, kept steady: publishers stay a window ahead of consumers, so that what is published is
//! consumed, a backlog stays as long as it was made, and the broker's time can be divided by messages.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use amq_protocol::protocol::{AMQPClass, basic, queue};
use amq_protocol::types::FieldTable;
use leveret::wire::encode;
use leveret::wire::frame::FrameKind;

use crate::support::{Broker, Client};

/// A pause of a publisher that is far enough ahead.
const PAUSE: Duration = Duration::from_micros(100);

/// Time before measuring begins.
const WARM: Duration = Duration::from_millis(500);

/// Octets gathered before they are written, while a row is prepared.
const GATHERED: usize = 256 * 1024;

/// Publishes in one write.
pub(crate) struct Burst {
    pub(crate) octets: Vec<u8>,
    pub(crate) messages: u64,
}

/// Publishers and a consumer.
pub(crate) struct Flow {
    /// What is published, in turn.
    pub(crate) bursts: Vec<Burst>,
    /// Connections that publish, in turn.
    pub(crate) publishers: usize,
    /// Queues that are consumed from, all on one connection.
    pub(crate) queues: Vec<String>,
    /// Deliveries of each message.
    pub(crate) copies: u64,
    /// Deliveries that may be under way.
    pub(crate) window: u64,
}

/// One row of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) flows: Vec<Flow>,
    /// Methods said by the one who declares, after the queues.
    pub(crate) setup: Vec<u8>,
    /// Queues that nobody uses.
    pub(crate) idle_queues: usize,
    /// Connections that do nothing, each with a consumer of the first idle queue.
    pub(crate) idle_connections: usize,
    /// Messages of the first flow that lie in its queue all the while.
    pub(crate) backlog: u64,
    /// Threads of the broker that serve clients; 0 is as many as there are processors.
    pub(crate) threads: usize,
    /// Octets of a body.
    pub(crate) body: usize,
}

/// What came out.
pub(crate) struct Figures {
    pub(crate) deliveries_a_second: f64,
    /// The broker's own time for a delivery, in microseconds.
    pub(crate) cpu: f64,
    /// The most memory it held, in MiB.
    pub(crate) memory: u64,
}

#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    stop: AtomicBool,
}

fn nowait(out: &mut Vec<u8>, class: AMQPClass) {
    encode::method(out, 1, class);
}

fn declare(out: &mut Vec<u8>, name: &str) {
    let declare = queue::Declare {
        queue: name.into(),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: true,
        arguments: FieldTable::default(),
    };
    nowait(out, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
}

fn consume(out: &mut Vec<u8>, name: &str) {
    let consume = basic::Consume {
        queue: name.into(),
        consumer_tag: "".into(),
        no_local: false,
        no_ack: true,
        exclusive: false,
        nowait: true,
        arguments: FieldTable::default(),
    };
    nowait(out, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
}

/// A binding, without an answer.
pub(crate) fn bind(out: &mut Vec<u8>, queue: &str, exchange: &str, key: &str, arguments: FieldTable) {
    let bind = queue::Bind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: key.into(),
        nowait: true,
        arguments,
    };
    nowait(out, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
}

/// Queues are declared, bindings made, the backlog published; all of it is there when this returns.
fn prepare(row: &Row, address: SocketAddr) {
    let mut owner = Client::open(address);
    let mut said = Vec::new();
    let idle: Vec<String> = (0..row.idle_queues).map(|n| format!("idle-{n}")).collect();
    for name in row.flows.iter().flat_map(|flow| &flow.queues).chain(&idle) {
        declare(&mut said, name);
        if said.len() > GATHERED {
            owner.stream.write_all(&said).unwrap();
            said.clear();
        }
    }
    said.extend_from_slice(&row.setup);
    owner.stream.write_all(&said).unwrap();
    // Its answer comes after everything before it.
    owner.declare("last", false);
    let mut published = 0;
    for burst in row.flows[0].bursts.iter().cycle() {
        if published >= row.backlog {
            break;
        }
        owner.stream.write_all(&burst.octets).unwrap();
        published += burst.messages;
    }
    owner.declare("last", false);
}

/// Reads deliveries until the broker is gone.
fn swallow(address: SocketAddr, queues: &[String], counts: &Counts) {
    let mut client = Client::open(address);
    let mut said = Vec::new();
    for name in queues {
        consume(&mut said, name);
    }
    client.stream.write_all(&said).unwrap();
    let mut received = 0;
    while client.frames(|kind, _, _| received += u64::from(kind == FrameKind::Header)) {
        counts.delivered.store(received, Ordering::Release);
    }
}

fn publish(address: SocketAddr, flow: &Flow, backlog: u64, counts: &Counts) {
    let mut clients: Vec<Client> = (0..flow.publishers).map(|_| Client::open(address)).collect();
    let mut published = backlog;
    let mut bursts = flow.bursts.iter().cycle();
    loop {
        for client in &mut clients {
            while published * flow.copies > counts.delivered.load(Ordering::Acquire) + backlog + flow.window {
                if counts.stop.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::park_timeout(PAUSE);
            }
            let Some(burst) = bursts.next() else { return };
            if counts.stop.load(Ordering::Relaxed) || client.stream.write_all(&burst.octets).is_err() {
                return;
            }
            published += burst.messages;
        }
    }
}

/// Connections that do nothing, each with a consumer.
fn idle(row: &Row, address: SocketAddr) -> Vec<Client> {
    let open = |_| {
        let mut client = Client::open(address);
        let mut said = Vec::new();
        consume(&mut said, "idle-0");
        client.stream.write_all(&said).unwrap();
        client
    };
    (0..row.idle_connections).map(open).collect()
}

/// Runs a row for so long.
pub(crate) fn run(row: Row, time: Duration) -> Figures {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start_with(directory.path(), &[("LEVERET_SERVER__THREADS", &row.threads.to_string())]);
    let address = broker.address;
    prepare(&row, address);
    let idle = idle(&row, address);
    let mut backlog = row.backlog;
    let (mut threads, mut all) = (Vec::new(), Vec::new());
    for flow in row.flows {
        let (flow, counts) = (Arc::new(flow), Arc::new(Counts::default()));
        all.push(counts.clone());
        let (its, counting) = (flow.clone(), counts.clone());
        threads.push(std::thread::spawn(move || swallow(address, &its.queues, &counting)));
        let behind = std::mem::take(&mut backlog);
        threads.push(std::thread::spawn(move || publish(address, &flow, behind, &counts)));
    }
    let delivered = || all.iter().map(|counts| counts.delivered.load(Ordering::Acquire)).sum::<u64>();
    // Large crowds of publishers take a while to log in.
    while delivered() == 0 {
        std::thread::park_timeout(PAUSE);
    }
    std::thread::park_timeout(WARM);
    let (before, cpu, begun) = (delivered(), broker.cpu(), Instant::now());
    while begun.elapsed() < time {
        std::thread::park_timeout(time);
    }
    let (moved, cpu, elapsed) = (delivered() - before, broker.cpu() - cpu, begun.elapsed());
    for counts in &all {
        counts.stop.store(true, Ordering::Relaxed);
    }
    let memory = broker.memory("VmHWM");
    drop(broker);
    drop(idle);
    for thread in threads {
        let _ = thread.join();
    }
    let moved = moved as f64;
    Figures { deliveries_a_second: moved / elapsed.as_secs_f64(), cpu: cpu / moved.max(1.0), memory }
}
