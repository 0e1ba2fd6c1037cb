//! The command line of `leveret perf`: what to load, churn, count or compare.
//!
//! Flags are named as RabbitMQ's PerfTest names them, where it has one. What clap parses and what `--help` says, and
//! nothing else: `perf` gives it its meaning.

mod load;
mod text;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use load::{ExchangeType, Flag, Load};
pub use text::{Argument, Phase, Size};

/// The broker on this machine, with the user that RabbitMQ has from the start.
pub const LOCAL: &str = "amqp://guest:guest@127.0.0.1:5672/";

/// What `leveret perf` can measure.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Perf {
    /// Publish and consume, as fast as the broker can or at a fixed rate
    #[command(after_help = load::AFTER)]
    Load(Box<Load>),
    /// Open and close, declare and delete, bind or subscribe, each waiting for its answer
    Churn(Churn),
    /// Open idle connections or declare queues, and tell what one of them takes of the broker's memory
    Count(Count),
    /// Run the table of benchmarks against Leveret and any broker named
    #[command(after_help = "\
Leveret itself always takes part: this very program is started on a free port, in a data directory of its own, fresh
for each measurement. Other brokers are named by address and process id, and must be on this machine. Each round runs
every row against every broker in turn; figures are medians, with the least and the greatest in brackets.")]
    Suite(Suite),
}

/// Whom to measure; flags that every measurement of one broker has.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Whom {
    /// The broker
    #[arg(short = 'H', long, value_name = "URI", default_value = LOCAL)]
    pub uri: String,
    /// The broker's process on this machine: tells its CPU time a message and its memory
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Print the summary only
    #[arg(long)]
    pub quiet: bool,
}

/// `leveret perf churn`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Churn {
    /// What to come and go; bindings come only
    #[arg(value_enum)]
    pub what: Churned,
    /// Durable queues, or bindings of a durable queue
    #[arg(long)]
    pub durable: bool,
    /// Clients at work at the same time
    #[arg(short = 'x', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub clients: u16,
    /// Seconds to measure
    #[arg(short = 'z', long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub time: u64,
    /// Whom to measure.
    #[command(flatten)]
    pub whom: Whom,
}

/// What can come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Churned {
    /// Open a connection and a channel, close both
    Connections,
    /// Open and close a channel
    Channels,
    /// Declare and delete a queue
    Queues,
    /// Bind a queue to amq.direct, each time by another key
    Bindings,
    /// Subscribe to a queue and cancel
    Consumers,
}

/// `leveret perf count`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Count {
    /// What to have many of
    #[arg(value_enum)]
    pub what: Counted,
    /// How many
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub number: u32,
    /// Durable queues
    #[arg(long)]
    pub durable: bool,
    /// Whom to measure.
    #[command(flatten)]
    pub whom: Whom,
}

/// What there can be many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Counted {
    /// Idle connections, each with a channel and a consumer
    Connections,
    /// Empty queues
    Queues,
}

/// `leveret perf suite`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Suite {
    /// How often to measure each row
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Seconds to measure, of rows that take time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// Only rows whose name this regular expression finds
    #[arg(long, value_name = "REGEX")]
    pub only: Option<String>,
    /// Another broker to measure: NAME=URI,pid=N; may be given several times
    #[arg(long, value_name = "NAME=URI,pid=N", value_parser = text::contestant)]
    pub broker: Vec<Contestant>,
    /// Where to write the table as Markdown and as JSON
    #[arg(long, value_name = "DIR", default_value = "tests/bench/results")]
    pub results: PathBuf,
    /// Where Leveret's data directories are made; the default is the system's for temporary files
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// The commit that is measured; the default is what git says
    #[arg(long, value_name = "COMMIT", env = "LEVERET_PERF_COMMIT")]
    pub commit: Option<String>,
    /// Messages in the store for the row about starting with many
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub stored: u64,
    /// Connections for the row about idle ones
    #[arg(long, value_name = "N", default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub idle: u32,
    /// Print the table only
    #[arg(long)]
    pub quiet: bool,
}

/// Another broker in the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contestant {
    /// The name of its column.
    pub name: String,
    /// Where it listens.
    pub uri: String,
    /// Its process on this machine.
    pub pid: Option<u32>,
}
