//! The brokers of the suite: Leveret, started as a process of its own for each measurement, and others that are there.
//!
//! May start processes and make directories. Invariants: a process that was started here is ended here, and its directory
//! removed; nothing of the environment changes what Leveret is measured with.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::super::PerfError;
use super::super::connection::nanos;
use crate::clock::Clock;
use crate::config::perf::Contestant;
use crate::sync::atomic::{AtomicU64, Ordering};

/// How often a start is looked at: finer than what is told apart.
const LOOK: Duration = Duration::from_micros(100);
/// The longest start and the longest stop.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the process had to say, in its directory.
const LOG: &str = "log";
/// Starts a program in a session of its own. Where it is missing, the suite goes on without.
const SETSID: &str = "setsid";

/// Who takes part.
#[derive(Clone, Debug)]
pub(super) enum Broker {
    /// This program.
    Own,
    /// Another broker, which is there.
    Peer(Contestant),
}

impl Broker {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Own => "Leveret",
            Self::Peer(peer) => &peer.name,
        }
    }
}

/// A Leveret that runs, with its data below a directory.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    address: SocketAddr,
    /// From the start of the process until it accepted a connection, and until it greeted it; milliseconds.
    pub(super) accepted: f64,
    pub(super) greeted: f64,
}

/// A directory of this user's, removed when dropped.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// A new one below `scratch`.
    pub(super) fn new(scratch: &Path) -> Result<Self, PerfError> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("leveret-perf-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = scratch.join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| PerfError::Setting(format!("{} cannot be made: {error}", path.display())))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed stays: the figures are there.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Running {
    /// Starts Leveret on `dir` and waits until it greets a client.
    pub(super) fn start(dir: &Path, clock: &Clock) -> Result<Self, PerfError> {
        Self::start_by(Command::new(std::env::current_exe()?), dir, clock)
    }

    /// The same in a session of its own, as other brokers run: Linux divides the processors among sessions first, so that
    /// in ours it would have to share with the load what others need not. Takes a little longer.
    pub(super) fn start_apart(dir: &Path, clock: &Clock) -> Result<Self, PerfError> {
        let mut command = Command::new(SETSID);
        command.arg(std::env::current_exe()?);
        match Self::start_by(command, dir, clock) {
            Err(PerfError::Io(error)) if error.kind() == ErrorKind::NotFound => Self::start(dir, clock),
            started => started,
        }
    }

    fn start_by(mut command: Command, dir: &Path, clock: &Clock) -> Result<Self, PerfError> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = File::create(dir.join(LOG))?;
        command.args(["--listen", &address.to_string(), "--data-dir"]).arg(dir.join("data"));
        command.args(["--http-listen", "none", "--metrics-listen", "none"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in
            names.filter(|name| ["LEVERET_", "RABBITMQ_"].iter().any(|begin| name.to_string_lossy().starts_with(begin)))
        {
            command.env_remove(name);
        }
        let begun = clock.nanos();
        let child = command.spawn()?;
        let mut running = Self { child, address, accepted: 0.0, greeted: 0.0 };
        let mut stream = loop {
            if let Ok(stream) = TcpStream::connect(address) {
                break stream;
            }
            running.still_there(dir, begun, clock)?;
            std::thread::park_timeout(LOOK);
        };
        running.accepted = millis(begun, clock);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        // The first octet of connection.start: somebody listens, not only the system.
        stream.read_exact(&mut [0])?;
        running.greeted = millis(begun, clock);
        Ok(running)
    }

    fn still_there(&mut self, dir: &Path, begun: u64, clock: &Clock) -> Result<(), PerfError> {
        let gone = self.child.try_wait()?;
        if gone.is_none() && clock.nanos().saturating_sub(begun) < nanos(PATIENCE) {
            return Ok(());
        }
        let said = std::fs::read_to_string(dir.join(LOG)).unwrap_or_default();
        Err(PerfError::Strange(format!("Leveret did not start: {}", said.trim())))
    }

    pub(super) fn uri(&self) -> String {
        format!("amqp://guest:guest@{}/", self.address)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it in order, so that the next start finds everything at its place.
    pub(super) fn stop(mut self) -> Result<(), PerfError> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
        }
        match self.child.wait()? {
            status if status.success() => Ok(()),
            status => Err(PerfError::Strange(format!("Leveret did not stop in order: {status}"))),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a stop it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn millis(begun: u64, clock: &Clock) -> f64 {
    clock.nanos().saturating_sub(begun) as f64 / 1e6
}
