//! The real command in a process of its own, on a free port: started, killed, stopped.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::Client;

/// What the command prints once clients can connect.
const READY: &str = "Server startup complete";

/// What the log says of the port.
const LISTENING: &str = "started TCP listener on ";

/// What the log says of the port of the management API.
const MANAGING: &str = "HTTP (non-TLS) listener started on port ";

/// A broker in its own process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
    management_port: Option<u16>,
    /// From the start of the process until its first answer to a client.
    pub(crate) start_time: Duration,
    // Kept open, so that the broker may go on writing.
    _stdout: Lines<BufReader<ChildStdout>>,
    log: JoinHandle<Vec<String>>,
}

/// The command with its defaults, whatever the environment of the tests says; only `LEVERET_BIN` may name another one.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = plain();
    command.arg("--data-dir").arg(directory).args(["--listen", "127.0.0.1:0"]);
    // Their ports are fixed unless somebody says otherwise, and other brokers run beside this one.
    command.args(["--http-listen", "none", "--metrics-listen", "none"]);
    command
}

/// The command without arguments.
pub(crate) fn plain() -> Command {
    let binary = std::env::var_os("LEVERET_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_leveret").into());
    let mut command = Command::new(binary);
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("LEVERET_") || key.starts_with("RABBITMQ_")) {
        command.env_remove(key);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Process {
    /// Starts the broker and returns once it says that it is ready and has answered a client.
    pub(crate) async fn start(directory: &Path) -> Self {
        Self::run(command(directory)).await
    }

    /// The same, with no more than `files` open files allowed.
    pub(crate) async fn start_with_files(directory: &Path, files: u32) -> Self {
        let plain = command(directory);
        let mut limited = Command::new("sh");
        limited.arg("-c").arg(format!("ulimit -n {files} && exec \"$@\"")).arg("sh");
        limited.arg(plain.as_std().get_program()).args(plain.as_std().get_args());
        limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Self::run(limited).await
    }

    /// Starts the broker and kills it after that time, ready or not; returns its log.
    pub(crate) async fn start_and_kill(mut command: Command, after: Duration) -> Vec<String> {
        let mut child = command.spawn().expect("the command runs");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        tokio::time::sleep(after).await;
        child.kill().await.expect("the process can be killed");
        collect(stderr, Vec::new()).await
    }

    /// Runs a command made by [`command`].
    pub(crate) async fn run(command: Command) -> Self {
        match Self::try_run(command).await {
            Ok(process) => process,
            Err((_, log)) => panic!("the broker does not start: {}", log.join("\n")),
        }
    }

    /// The same; a broker that ends instead of getting ready leaves its exit status and its log.
    pub(crate) async fn try_run(mut command: Command) -> Result<Self, (ExitStatus, Vec<String>)> {
        let started = Instant::now();
        let mut child = command.spawn().expect("the command runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let (mut seen, mut management_port) = (Vec::new(), None);
        let address = loop {
            let Some(line) = stderr.next_line().await.expect("the log is text") else {
                return Err((child.wait().await.expect("the process ends"), seen));
            };
            if let Some((_, rest)) = line.split_once(MANAGING) {
                management_port = rest.split(' ').next().and_then(|port| port.parse().ok());
            }
            let address = line.split_once(LISTENING).map(|(_, address)| address.trim().to_owned());
            seen.push(line);
            if let Some(address) = address {
                break address.parse().expect("an address with a port");
            }
        };
        loop {
            let Some(line) = stdout.next_line().await.expect("the output is text") else {
                let seen = collect(stderr, seen).await;
                return Err((child.wait().await.expect("the process ends"), seen));
            };
            if line.contains(READY) {
                break;
            }
        }
        if tokio::net::TcpStream::connect(address).await.is_err() {
            let seen = collect(stderr, seen).await;
            return Err((child.wait().await.expect("the process ends"), seen));
        }
        let start_time = started.elapsed();
        Ok(Self {
            child,
            address,
            management_port,
            start_time,
            _stdout: stdout,
            log: tokio::spawn(collect(stderr, seen)),
        })
    }

    /// A new connection.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// The number the system knows it by.
    #[allow(dead_code, reason = "of use to the floods")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the management API is on this machine, if it is on.
    #[allow(dead_code, reason = "of use to the floods")]
    pub(crate) fn management_port(&self) -> Option<u16> {
        self.management_port
    }

    /// Ends the process at once, as a crash would; returns its log.
    pub(crate) async fn kill(mut self) -> Vec<String> {
        self.child.kill().await.expect("the process can be killed");
        self.log.await.expect("the log is read")
    }

    /// Asks the process to stop.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops the process in the middle of whatever it does, until it is resumed.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused process go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(id.expect("the process runs"), signal).expect("the process can be told");
    }

    /// Returns once the process has ended.
    pub(crate) async fn gone(&mut self) {
        self.child.wait().await.expect("the process ends");
    }

    /// Waits for the end of the process; returns its log too.
    pub(crate) async fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().await.expect("the process ends");
        (status, self.log.await.expect("the log is read"))
    }
}

async fn collect<R: AsyncRead + Unpin>(mut lines: Lines<BufReader<R>>, mut seen: Vec<String>) -> Vec<String> {
    while let Ok(Some(line)) = lines.next_line().await {
        seen.push(line);
    }
    seen
}
