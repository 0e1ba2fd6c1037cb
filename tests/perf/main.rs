//! `leveret perf` against a broker in this process, and the suite with brokers of its own.
//!
//! Counts, answers and files are tested here; figures are not, since they are this machine's.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod load;
mod others;
mod refused;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};

use clap::Parser;
use leveret::config::{Args, Command};
use leveret::perf;
use leveret::server::{Builder, Server};

/// What a command answered.
struct Done {
    status: u8,
    out: String,
    err: String,
}

impl Done {
    /// That it went well; what it printed.
    fn fine(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (perf::FINE, ""), "{}", self.out);
        self.out
    }
}

/// A broker in this process.
struct Broker(Server);

impl Broker {
    /// One that keeps nothing. Must be called inside a tokio runtime.
    fn start() -> Self {
        Self(Builder::in_memory().start().expect("the broker starts"))
    }

    fn uri(&self) -> String {
        format!("amqp://guest:guest@{}/", self.0.addresses()[0])
    }

    /// Runs `leveret perf` with this broker as its target.
    async fn perf(&self, line: &str) -> Done {
        perf(&format!("{line} -H {}", self.uri())).await
    }
}

/// Runs `leveret perf` with these words.
async fn perf(line: &str) -> Done {
    let (out, lines) = channel();
    let done = tokio::task::spawn_blocking({
        let line = line.to_owned();
        move || run(&line, &mut Lines(out), &AtomicBool::new(false))
    });
    let (status, err) = done.await.unwrap();
    let out: Vec<u8> = lines.into_iter().flatten().collect();
    Done { status, out: String::from_utf8(out).unwrap(), err }
}

/// Runs it in the background: what it prints, as it does, and its end.
fn perf_until(
    line: String,
    interrupted: Arc<AtomicBool>,
) -> (Receiver<Vec<u8>>, tokio::task::JoinHandle<(u8, String)>) {
    let (out, lines) = channel();
    (lines, tokio::task::spawn_blocking(move || run(&line, &mut Lines(out), &interrupted)))
}

fn run(line: &str, out: &mut dyn Write, interrupted: &AtomicBool) -> (u8, String) {
    let args = Args::try_parse_from(["leveret", "perf"].into_iter().chain(line.split_whitespace()));
    let Some(Command::Perf(command)) = args.unwrap_or_else(|error| panic!("{error}")).command else {
        panic!("{line} is not perf");
    };
    let mut err = Vec::new();
    let status = perf::run(&command, interrupted, out, &mut err);
    (status, String::from_utf8(err).unwrap())
}

/// Passes on what is printed.
struct Lines(Sender<Vec<u8>>);

impl Write for Lines {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        // Where nobody reads it any more, the test is over.
        let _ = self.0.send(octets.to_vec());
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A JSON file.
fn json(path: &std::path::Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
