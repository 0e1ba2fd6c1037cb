//! The flags of `leveret perf load`.

use std::path::PathBuf;

use super::{Argument, Phase, Size, Whom};

/// What stands below the list of flags.
pub(super) const AFTER: &str = "\
Without --time and without counts the load goes on until it is interrupted (Ctrl-C), which prints the summary.
With --time the clock starts after a warm-up of one second (--warmup), whose messages count for nothing.
A run that ends by -C alone goes on until nothing has been delivered for a second.

--latency writes the moment at which a message was due into the first 8 octets of its body; shorter bodies are padded
to 8. With --rate that is the moment at which the rate wanted it sent, not at which it could be: a broker that makes
publishers wait does not hide that from the figures. Confirms (-c) are timed from the same moment.

Producers and consumers have a connection each. A queue is durable with --durable or -f persistent.
Exit status: 0 done, 1 the broker refused something or hung up (it says what), 64 the flags contradict each other.";

/// `leveret perf load`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // flags of a command line
pub struct Load {
    /// Whom to measure.
    #[command(flatten)]
    pub whom: Whom,
    /// Connections that publish
    #[arg(short = 'x', long, value_name = "N", default_value_t = 1)]
    pub producers: u16,
    /// Connections that consume
    #[arg(short = 'y', long, value_name = "N", default_value_t = 1)]
    pub consumers: u16,
    /// Octets of a body, up to 64MiB; several, by commas, take turns
    #[arg(short = 's', long, value_name = "SIZES", default_value = "16", value_delimiter = ',')]
    pub size: Vec<Size>,
    /// A size for some seconds, as 4096:30; several take turns
    #[arg(long, value_name = "SIZE:SECONDS", conflicts_with = "size")]
    pub variable_size: Vec<Phase<Size>>,
    /// Seconds to measure
    #[arg(short = 'z', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub time: Option<u64>,
    /// Seconds before --time begins; 1 unless messages are counted
    #[arg(long, value_name = "SECONDS")]
    pub warmup: Option<u64>,
    /// Messages that each producer publishes
    #[arg(short = 'C', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub pmessages: Option<u64>,
    /// Messages that each consumer takes
    #[arg(short = 'D', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub cmessages: Option<u64>,
    /// Ask for confirms, and have at most so many messages unconfirmed
    #[arg(short = 'c', long, value_name = "WINDOW", value_parser = clap::value_parser!(u32).range(1..))]
    pub confirm: Option<u32>,
    /// Take deliveries without acknowledging them
    #[arg(short = 'a', long)]
    pub autoack: bool,
    /// Acknowledge so many deliveries at a time
    #[arg(short = 'A', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub multi_ack_every: u16,
    /// Deliveries each consumer may hold unacknowledged; 0 is without limit
    #[arg(short = 'q', long, value_name = "N", default_value_t = 0)]
    pub qos: u16,
    /// How to publish; may be given several times
    #[arg(short = 'f', long, value_name = "FLAG", value_enum, value_delimiter = ',')]
    pub flag: Vec<Flag>,
    /// Messages a second that each producer publishes
    #[arg(short = 'r', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// A rate for some seconds, as 1000:30 (0 is a pause); several take turns
    #[arg(long, value_name = "RATE:SECONDS", conflicts_with = "rate")]
    pub variable_rate: Vec<Phase<u32>>,
    /// Messages a second that each consumer takes
    #[arg(short = 'R', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub consumer_rate: Option<u32>,
    /// The queue
    #[arg(short = 'u', long, value_name = "NAME", default_value = "perf-test")]
    pub queue: String,
    /// Many queues, as perf-%d, over which producers and consumers are spread
    #[arg(long, value_name = "PATTERN", conflicts_with = "queue", requires = "queue_pattern_to")]
    pub queue_pattern: Option<String>,
    /// The first number in the pattern
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub queue_pattern_from: u32,
    /// The last number in the pattern
    #[arg(long, value_name = "N")]
    pub queue_pattern_to: Option<u32>,
    /// The exchange to publish to, which is declared and bound to the queues; without one, the default exchange
    #[arg(short = 'e', long, value_name = "NAME", default_value = "")]
    pub exchange: String,
    /// The type of the exchange
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "direct")]
    pub exchange_type: ExchangeType,
    /// The routing key; the default is the name of the queue
    #[arg(short = 'k', long, value_name = "KEY")]
    pub routing_key: Option<String>,
    /// Another routing key for every message
    #[arg(long, conflicts_with = "routing_key")]
    pub random_routing_key: bool,
    /// An argument of the queues, as x-max-length=1000; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    pub queue_args: Vec<Argument>,
    /// Whether the queues go with their last consumer
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub auto_delete: bool,
    /// Durable queues
    #[arg(long)]
    pub durable: bool,
    /// Declare nothing: the queues and the exchange are there
    #[arg(long)]
    pub predeclared: bool,
    /// Measure how long messages take, and confirms
    #[arg(long)]
    pub latency: bool,
    /// Draw throughput and latency over time into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Seconds between lines, and between the points of the drawing
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub interval: u64,
}

/// How messages are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flag {
    /// Delivery mode 2, to durable queues
    Persistent,
    /// Returned when no queue takes them, and counted then
    Mandatory,
}

/// The type of an exchange, as it is declared: any name, `direct` and so on.
pub type ExchangeType = String;
