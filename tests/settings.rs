//! The real command and its settings: RabbitMQ's files and variables, SIGHUP, log files, `leveret config`.
//!
//! Each test has a process of its own, on free ports and with a directory of its own.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

/// Time anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command in an environment that has nothing but `variables`.
fn command(directory: &Path, variables: &[(&str, &str)]) -> Command {
    let binary = std::env::var_os("LEVERET_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_leveret").into());
    let mut command = Command::new(binary);
    command.env_clear().env("HOME", directory).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// A broker that has said that it is ready.
struct Broker {
    child: Child,
    address: String,
    log: Lines<BufReader<ChildStderr>>,
    seen: Vec<String>,
    out: Lines<BufReader<ChildStdout>>,
    ready: String,
}

impl Broker {
    async fn start(mut command: Command) -> Self {
        command.args(["--http-listen", "none", "--metrics-listen", "none"]);
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut broker = Self { child, address: String::new(), log, seen: Vec::new(), out, ready: String::new() };
        let line = broker.until("started TCP listener on ").await;
        broker.address = line.rsplit_once(" on ").unwrap().1.trim().to_owned();
        let ready = timeout(PATIENCE, broker.out.next_line()).await.unwrap().unwrap();
        broker.ready = ready.expect("the line that says it is ready");
        broker
    }

    /// The next line of the log that has this text.
    async fn until(&mut self, text: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.log.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("no {text:?} in {:#?}", self.seen)).unwrap();
            let line = line.unwrap_or_else(|| panic!("the log ends without {text:?}: {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    async fn login(&self, user: &str, vhost: &str) -> Result<Connection, lapin::Error> {
        let uri = format!("amqp://{user}@{}/{vhost}", self.address);
        timeout(PATIENCE, Connection::connect(&uri, ConnectionProperties::default())).await.unwrap()
    }

    /// What the broker says first.
    async fn greeting(&self) -> String {
        const HEAD: usize = 7;
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
        let mut head = [0; HEAD];
        timeout(PATIENCE, stream.read_exact(&mut head)).await.unwrap().unwrap();
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut payload = vec![0; usize::try_from(size).unwrap()];
        timeout(PATIENCE, stream.read_exact(&mut payload)).await.unwrap().unwrap();
        String::from_utf8_lossy(&payload).into_owned()
    }

    async fn stop(mut self) {
        self.signal(Signal::TERM);
        assert!(timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().success());
    }
}

async fn run(directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(directory, variables).args(arguments).output().await.unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test]
async fn a_rabbitmq_conf_and_its_variables_start_a_broker() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("rabbitmq.conf");
    let text = "listeners.tcp.1 = 127.0.0.1:0\ncluster_formation.peer_discovery_backend = k8s\n\
                credential_validator.min_length = 8\nauth_mechanisms.1 = PLAIN\ncluster_name = burrow\n\
                default_vhost = overruled\nloopback_users = none\n";
    std::fs::write(&conf, text).unwrap();
    let variables = [
        ("RABBITMQ_CONFIG_FILE", conf.to_str().unwrap()),
        ("RABBITMQ_DEFAULT_USER", "app"),
        ("RABBITMQ_DEFAULT_PASS", "s3cret"),
        ("RABBITMQ_DEFAULT_VHOST", "shop"),
    ];
    let broker = Broker::start(command(dir.path(), &variables)).await;
    assert_eq!(broker.ready, "Server startup complete; 0 plugins started.");
    let log = broker.seen.join("\n");
    assert!(log.contains("clusters, and Leveret is one node: cluster_formation.peer_discovery_backend"), "{log}");
    assert!(log.contains("WARN") && log.contains("does not do: credential_validator.min_length"), "{log}");
    assert!(!log.contains("s3cret"));
    let start = broker.greeting().await;
    assert!(start.contains("PLAIN") && !start.contains("AMQPLAIN") && !start.contains("ANONYMOUS"), "{start}");
    assert!(start.contains("burrow"), "{start}");
    broker.login("app:s3cret", "shop").await.unwrap();
    assert!(broker.login("app:s3cret", "%2f").await.is_err(), "the first start has created one virtual host");
    assert!(broker.login("guest:guest", "shop").await.is_err(), "the default user has another name");
    broker.stop().await;
}

#[tokio::test]
async fn a_hangup_applies_what_may_change_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let toml = dir.path().join("leveret.toml");
    let say = |text: &str| std::fs::write(&toml, format!("listen = ['127.0.0.1:0']\n{text}")).unwrap();
    say("");
    let mut start = command(dir.path(), &[]);
    start.arg("--config").arg(&toml);
    let mut broker = Broker::start(start).await;
    broker.login("guest:guest", "%2f").await.unwrap();

    say("[limits]\nconnection_max = 0\nframe_max = '8KiB'\nvm_memory_high_watermark = '1GiB'\n");
    broker.signal(Signal::HUP);
    broker.until("applied: limits.connection_max, limits.vm_memory_high_watermark").await;
    broker.until("in force after a restart only: limits.frame_max").await;
    assert!(broker.login("guest:guest", "%2f").await.is_err(), "there is no place any more");

    say("[limits]\nconnection_max = 10\nheartbeat = 'soon'\n[log]\nlevel = 'debug'\n");
    broker.signal(Signal::HUP);
    broker.until("leveret.toml:4: limits.heartbeat: \"soon\" is not").await;
    broker.until("the settings stay as they were").await;
    assert!(broker.login("guest:guest", "%2f").await.is_err(), "nothing of a wrong file is applied");

    say("[limits]\nconnection_max = 10\n[log]\nlevel = 'debug'\n");
    broker.signal(Signal::HUP);
    broker.until("applied: log.level, limits.connection_max").await;
    broker.login("guest:guest", "%2f").await.unwrap();
    broker.stop().await;
}

#[tokio::test]
async fn the_log_goes_to_a_file_which_a_hangup_opens_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (file, aside) = (dir.path().join("logs/broker.log"), dir.path().join("logs/aside.log"));
    let toml = dir.path().join("leveret.toml");
    let text = format!("listen = ['127.0.0.1:0']\n[log]\nfile = {file:?}\nfile_level = 'warn,leveret=info'\n");
    std::fs::write(&toml, text).unwrap();
    let mut start = command(dir.path(), &[]);
    start.arg("--config").arg(&toml);
    let mut broker = Broker::start(start).await;
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("started TCP listener on ") && !written.contains('\u{1b}'), "{written}");
    std::fs::rename(&file, &aside).unwrap();
    broker.signal(Signal::HUP);
    broker.until("applied: nothing has changed").await;
    broker.stop().await;
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("stopped, everything confirmed is on disk"), "{written}");
    assert!(std::fs::read_to_string(&aside).unwrap().contains("started TCP listener on "));
}

#[tokio::test]
async fn settings_are_checked_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (good, bad) = (path("good.conf"), path("bad.conf"));
    std::fs::write(&good, "heartbeat = 30\ndefault_pass = hunter2\nmqtt.allow_anonymous = true\n").unwrap();
    std::fs::write(&bad, "hartbeat = 30\nframe_max = much\ndefault_pass = 'hunter2\n").unwrap();
    let (status, out, err) = run(dir.path(), &[], &["config", "check", &good]).await;
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains(&format!("read {good}")) && out.contains("limits.heartbeat = \"30s\""), "{out}");
    assert!(out.contains("not part of Leveret: mqtt.allow_anonymous") && !out.contains("hunter2"), "{out}");

    let (status, out, err) = run(dir.path(), &[], &["config", "check", &good, &bad]).await;
    assert_eq!((status, out.as_str(), err.lines().count()), (78, "", 3), "{err}");
    assert!(err.contains(&format!("{bad}:1: hartbeat: unknown key (accepted: heartbeat)")), "{err}");
    assert!(err.contains(":2: frame_max: ") && err.contains(":3: default_pass: ") && !err.contains("hunter2"), "{err}");

    let (status, out, _) = run(dir.path(), &[("LEVERET_LOG", "debug")], &["config", "show", &good]).await;
    assert_eq!(status, 0);
    assert!(
        out.contains("heartbeat = \"30s\"") && out.contains("level = \"debug\"") && !out.contains("hunter2"),
        "{out}"
    );
    let (status, _, err) = run(dir.path(), &[], &["--config", &bad]).await;
    assert_eq!((status, err.lines().count()), (64, 3), "{err}");
}
