//! The table: what is measured, by which load, and what Leveret must reach.
//!
//! Pure. Figures and loads are those of the project's own goals; the loads are written as the flags of `leveret perf
//! load`, so that everybody can repeat a row.

use clap::Parser;

use crate::config::perf::{Churned, Load};

/// What a row must reach, and with that, which direction is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Must {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
    /// More is better: a share of the synced commits that LMDB makes a second on the same disk.
    OfSynced(f64),
    /// Milliseconds beyond the time of one synced commit; less is better.
    AboveSync(f64),
    /// This share of what the best other broker does; less is better.
    OfBestPeer(f64),
}

/// How a row is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Measure {
    /// The broker's CPU time a message, in this load.
    Cpu(&'static str),
    /// The consumed share of what is published.
    Share(&'static str),
    /// Messages consumed a second.
    Consumed(&'static str),
    /// The 99th percentile of the time from when a message was due to its arrival.
    Latency(&'static str),
    /// The same, while another load goes on.
    LatencyBeside(&'static str, &'static str),
    /// Acts a second, of one client; durable or not.
    Churn(Churned, bool),
    /// Memory of an idle connection.
    Idle,
    /// Memory of a broker that does nothing.
    Memory,
    /// From the start of the process until a client is greeted; with messages in the store or without.
    Start {
        /// Whether there are messages.
        full: bool,
    },
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) must: Must,
    pub(super) measure: Measure,
}

/// The queue of all rows, deleted before and after each.
pub(super) const QUEUE: &str = "leveret-perf-suite";
/// With it, rows of several queues.
pub(super) const QUEUES: u32 = 4;

/// All rows, in the order of the table.
pub(super) const ROWS: [Row; 21] = [
    Row {
        name: "16 B transient, auto-ack, 1 to 1",
        unit: "us",
        must: Must::AtMost(0.5),
        measure: Measure::Cpu("-x 1 -y 1 -s 16 -a"),
    },
    Row {
        name: "1 KiB transient, auto-ack, 1 to 1",
        unit: "us",
        must: Must::AtMost(1.8),
        measure: Measure::Cpu("-x 1 -y 1 -s 1024 -a"),
    },
    Row {
        name: "16 B transient, auto-ack, 4 queues, 4 to 4",
        unit: "us",
        must: Must::AtMost(0.5),
        measure: Measure::Cpu(
            "-x 4 -y 4 -s 16 -a --queue-pattern leveret-perf-suite-%d --queue-pattern-from 1 --queue-pattern-to 4",
        ),
    },
    Row {
        name: "1 KiB durable, confirms in 1,000s, acks in 100s, prefetch 1,000",
        unit: "us",
        must: Must::AtMost(2.4),
        measure: Measure::Cpu("-x 1 -y 1 -s 1024 -f persistent -c 1000 -A 100 -q 1000"),
    },
    Row {
        name: "16 B durable, confirms in 1,000s, acks in 100s, prefetch 1,000",
        unit: "us",
        must: Must::AtMost(1.2),
        measure: Measure::Cpu("-x 1 -y 1 -s 16 -f persistent -c 1000 -A 100 -q 1000"),
    },
    Row {
        name: "1 KiB durable, publish only, confirms in 1,000s",
        unit: "us",
        must: Must::AtMost(1.5),
        measure: Measure::Cpu("-x 1 -y 0 -s 1024 -f persistent -c 1000"),
    },
    // What lavinmqperf's `-y 0` does: it leaves it to its consumers to declare the queue.
    Row {
        name: "1 KiB persistent to a queue that is not there, confirms in 1,000s",
        unit: "us",
        must: Must::AtMost(1.5),
        measure: Measure::Cpu("-x 1 -y 0 -s 1024 -f persistent -c 1000 -k leveret-perf-suite-nowhere"),
    },
    Row {
        name: "1 KiB durable, one confirm at a time, ack each, prefetch 100",
        unit: "us",
        must: Must::AtMost(110.0),
        measure: Measure::Cpu("-x 1 -y 1 -s 1024 -f persistent -c 1 -A 1 -q 100"),
    },
    Row {
        name: "10 publishers, 1 consumer, 16 B: consumed share of published",
        unit: "%",
        must: Must::AtLeast(90.0),
        measure: Measure::Share("-x 10 -y 1 -s 16 -a"),
    },
    Row {
        name: "1 publisher, 10 consumers, 128 B, prefetch 10, ack each: consumed",
        unit: "/s",
        must: Must::AtLeast(150_000.0),
        measure: Measure::Consumed("-x 1 -y 10 -s 128 -A 1 -q 10"),
    },
    Row {
        name: "p99 from due to delivered, 10,000 a second, 1 KiB durable, confirmed",
        unit: "ms",
        must: Must::AboveSync(3.0),
        measure: Measure::Latency("-x 1 -y 1 -s 1024 -f persistent -c 1000 -A 100 -q 1000 -r 10000 --latency"),
    },
    Row {
        name: "p99 from due to delivered, 1,000 a second, beside four pairs flat out",
        unit: "ms",
        must: Must::OfBestPeer(0.5),
        measure: Measure::LatencyBeside(
            "-x 1 -y 1 -s 16 -a -r 1000 --latency",
            "-x 4 -y 4 -s 16 -a --queue-pattern leveret-perf-suite-%d --queue-pattern-from 1 --queue-pattern-to 4",
        ),
    },
    Row {
        name: "idle connection with channel and consumer",
        unit: "KiB",
        must: Must::AtMost(10.0),
        measure: Measure::Idle,
    },
    Row {
        name: "start until a client is greeted, empty",
        unit: "ms",
        must: Must::AtMost(8.0),
        measure: Measure::Start { full: false },
    },
    Row {
        name: "start until a client is greeted, with durable 1 KiB messages",
        unit: "ms",
        must: Must::AtMost(20.0),
        measure: Measure::Start { full: true },
    },
    Row { name: "resident memory, idle", unit: "MB", must: Must::AtMost(8.0), measure: Measure::Memory },
    Row {
        name: "bindings of a transient queue",
        unit: "/s",
        must: Must::AtLeast(40_000.0),
        measure: Measure::Churn(Churned::Bindings, false),
    },
    Row {
        name: "bindings of a durable queue",
        unit: "/s",
        must: Must::OfSynced(0.9),
        measure: Measure::Churn(Churned::Bindings, true),
    },
    Row {
        name: "queue create and delete, transient",
        unit: "/s",
        must: Must::AtLeast(10_000.0),
        measure: Measure::Churn(Churned::Queues, false),
    },
    Row {
        name: "queue create and delete, durable",
        unit: "/s",
        must: Must::OfSynced(0.4),
        measure: Measure::Churn(Churned::Queues, true),
    },
    Row {
        name: "connections opened and closed",
        unit: "/s",
        must: Must::AtLeast(6_000.0),
        measure: Measure::Churn(Churned::Connections, false),
    },
];

impl Must {
    /// Whether less is better.
    pub(super) fn is_less_better(self) -> bool {
        matches!(self, Self::AtMost(_) | Self::AboveSync(_) | Self::OfBestPeer(_))
    }

    /// Whether it depends on what the disk can do.
    pub(super) fn needs_synced(self) -> bool {
        matches!(self, Self::OfSynced(_) | Self::AboveSync(_))
    }

    /// The figure itself; `None` without what it depends on: synced commits a second, the best other broker's figure.
    pub(super) fn figure(self, synced: Option<f64>, best_peer: Option<f64>) -> Option<f64> {
        match self {
            Self::AtMost(figure) | Self::AtLeast(figure) => Some(figure),
            Self::OfSynced(share) => synced.map(|synced| synced * share),
            Self::AboveSync(millis) => synced.map(|synced| 1_000.0 / synced + millis),
            Self::OfBestPeer(share) => best_peer.map(|best| best * share),
        }
    }
}

impl Row {
    /// The flags of its load, if it is one.
    pub(super) fn flags(&self) -> Option<&'static str> {
        match self.measure {
            Measure::Cpu(flags)
            | Measure::Share(flags)
            | Measure::Consumed(flags)
            | Measure::Latency(flags)
            | Measure::LatencyBeside(flags, _) => Some(flags),
            _ => None,
        }
    }

    /// Whether it can only be measured on a broker that is started for it.
    pub(super) fn needs_start(&self) -> bool {
        matches!(self.measure, Measure::Start { .. })
    }
}

/// A command line of a load alone.
#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    load: Load,
}

/// A load from its flags.
pub(super) fn load(flags: &str) -> Result<Load, clap::Error> {
    let line = std::iter::once("load").chain(flags.split_whitespace());
    Line::try_parse_from(line).map(|line| line.load)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::plan;

    #[test]
    fn every_row_can_be_run_and_has_a_name_of_its_own() {
        let mut names = Vec::new();
        for row in ROWS {
            names.push(row.name);
            let beside = if let Measure::LatencyBeside(_, beside) = row.measure { Some(beside) } else { None };
            for flags in row.flags().into_iter().chain(beside) {
                let load = load(flags).unwrap_or_else(|error| panic!("{}: {error}", row.name));
                plan::check(&load).unwrap();
            }
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }

    #[test]
    fn shares_need_a_rate_to_be_shares_of() {
        assert_eq!(Must::OfSynced(0.5).figure(Some(100.0), None), Some(50.0));
        assert_eq!(Must::OfSynced(0.5).figure(None, None), None);
        assert_eq!(Must::AboveSync(3.0).figure(Some(100.0), None), Some(13.0));
        assert_eq!(Must::OfBestPeer(0.5).figure(None, Some(4.0)), Some(2.0));
        assert_eq!(Must::AtLeast(3.0).figure(None, None), Some(3.0));
        assert!(Must::AtMost(1.0).is_less_better() && !Must::OfSynced(0.5).is_less_better());
    }
}
