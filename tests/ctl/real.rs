//! The tools against the broker itself, in a process of its own: what is done shows, and what is shown is there.

use std::path::Path;
use std::process::Stdio;

use leveret::config::Args;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::run::{Ran, run_words, words};

/// The broker, killed when dropped.
pub(crate) struct Broker {
    dir: tempfile::TempDir,
    child: Child,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("LEVERET_") || key.starts_with("RABBITMQ_"))
        {
            command.env_remove(key);
        }
        command.arg("--data-dir").arg(dir.path()).args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
        command.args(["--metrics-listen", "none"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("the broker starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        while let Some(line) = lines.next_line().await.expect("a line") {
            if line.contains("Server startup complete") {
                return Self { dir, child };
            }
        }
        panic!("the broker did not start");
    }

    /// Runs a tool on a thread where it may block.
    pub(crate) async fn run(&self, line: &str) -> Ran {
        self.run_typing(line, "").await
    }

    async fn run_typing(&self, line: &str, typed: &str) -> Ran {
        let (dir, line, typed) = (self.dir.path().to_owned(), line.to_owned(), typed.to_owned());
        tokio::task::spawn_blocking(move || run_at(&dir, &line, &typed)).await.expect("the tool ends")
    }

    /// Runs a tool that has to succeed.
    pub(crate) async fn fine(&self, line: &str) -> String {
        let ran = self.run(line).await;
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{line}: {ran:?}");
        ran.out
    }

    /// The port of the listener for this protocol.
    pub(crate) async fn port(&self, protocol: &str) -> String {
        let listeners = self.fine("rabbitmq-diagnostics -q listeners").await;
        let protocol = format!("protocol: {protocol}");
        let listener = listeners.lines().find(|line| line.contains(&protocol)).expect("a listener");
        listener.split("port: ").nth(1).and_then(|rest| rest.split(',').next()).expect("a port").to_owned()
    }
}

fn run_at(dir: &Path, line: &str, typed: &str) -> Ran {
    let args = Args { data_dir: Some(dir.to_owned()), ..Args::default() };
    let mut words = words(line);
    let program = words.remove(0);
    run_words(&program, &words, &args, typed)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_listed() {
    let broker = Broker::start().await;
    assert_eq!(broker.fine("rabbitmq-diagnostics -q ping").await, "Ping succeeded\n");
    let added = broker.run_typing("rabbitmqctl -q add_user bob", "secret\n").await;
    assert_eq!(added.status, 0, "{added:?}");
    assert_eq!(broker.run("rabbitmqctl add_user bob other").await.status, 70);
    broker.fine("rabbitmqctl set_user_tags bob monitoring").await;
    assert_eq!(
        broker.fine("rabbitmqctl -q list_users").await,
        "user\ttags\nbob\t[monitoring]\nguest\t[administrator]\n"
    );
    assert_eq!(broker.fine("rabbitmqctl -q authenticate_user bob secret").await, "Success\n");
    assert_eq!(broker.run("rabbitmqctl authenticate_user bob wrong").await.status, 65);
    broker.fine("rabbitmqctl change_password bob changed").await;
    assert_eq!(broker.fine("rabbitmqctl -q authenticate_user bob changed").await, "Success\n");
    broker.fine("rabbitmqctl add_vhost shop --description 'a shop'").await;
    broker.fine("rabbitmqctl set_permissions -p shop bob ^a .* ''").await;
    let listed = broker.fine("rabbitmqctl -q list_permissions -p shop --no-table-headers").await;
    assert!(listed.contains("bob\t^a\t.*\t\n"), "{listed}");
    assert_eq!(broker.run("rabbitmqctl set_permissions -p shop nobody a b c").await.status, 67);
    assert_eq!(broker.run("rabbitmqctl list_permissions -p nope").await.status, 65);
    broker.fine("rabbitmqctl set_policy -p shop --priority 2 --apply-to queues long ^q '{\"max-length\":9}'").await;
    let listed = broker.fine("rabbitmqctl -q list_policies -p shop --formatter json").await;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!((&listed[0]["name"], &listed[0]["priority"]), (&"long".into(), &2.into()));
    assert_eq!(broker.run("rabbitmqctl set_policy wrong ^q '{\"nonsense\":9}'").await.status, 69);
    broker.fine("rabbitmqctl set_vhost_limits -p shop '{\"max-queues\":7}'").await;
    assert_eq!(broker.fine("rabbitmqctl -q list_vhost_limits -p shop").await, "{\"max-queues\":7}\n");
    broker.fine("rabbitmqctl delete_vhost shop").await;
    assert_eq!(broker.run("rabbitmqctl delete_vhost shop").await.status, 65);
    broker.fine("rabbitmqctl delete_user bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_declared_listed_and_gone() {
    let broker = Broker::start().await;
    let port = broker.port("http,").await;
    let admin = format!("rabbitmqadmin -c /dev/null -H 127.0.0.1 -P {port}");
    broker.fine(&format!("{admin} declare queue name=q queue_type=quorum")).await;
    broker.fine(&format!("{admin} declare exchange name=x type=topic")).await;
    broker.fine(&format!("{admin} declare binding source=x destination=q routing_key=a.*")).await;
    assert_eq!(
        broker.fine(&format!("{admin} publish exchange=x routing_key=a.b payload=hello")).await,
        "Message published\n"
    );
    let got =
        broker.fine(&format!("{admin} --non-interactive get messages --queue q --ack-mode ack_requeue_true")).await;
    assert!(got.contains("hello"), "{got}");
    let listed = broker.fine("rabbitmqctl -q list_queues name type messages").await;
    assert_eq!(listed, "name\ttype\tmessages\nq\tquorum\t1\n");
    let listed = broker.fine("rabbitmqctl -q list_bindings source_name destination_name routing_key").await;
    assert!(listed.contains("x\tq\ta.*\n"), "{listed}");
    let listed = broker.fine("rabbitmqctl -q list_exchanges").await;
    assert!(listed.contains("x\ttopic\n") && listed.contains("amq.direct\tdirect\n"), "{listed}");
    broker.fine("rabbitmqctl purge_queue q").await;
    // RabbitMQ refuses the condition for quorum queues.
    assert_eq!(broker.run("rabbitmqctl delete_queue q --if-empty").await.status, 69);
    let deleted = broker.fine("rabbitmqctl -q delete_queue q").await;
    assert_eq!(deleted, "Queue was successfully deleted with 0 ready messages\n");
    assert_eq!(broker.run("rabbitmqctl purge_queue q").await.status, 65);
    assert_eq!(broker.run(&format!("{admin} delete queue name=q")).await.status, 1);
    let file = broker.dir.path().join("definitions.json");
    broker.fine(&format!("rabbitmqctl export_definitions {}", file.display())).await;
    broker.fine(&format!("{admin} delete exchange name=x")).await;
    broker.fine(&format!("rabbitmqctl -q import_definitions {}", file.display())).await;
    assert!(broker.fine("rabbitmqctl -q list_exchanges").await.contains("x\ttopic\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_passes_and_the_broker_stops_when_told() {
    let mut broker = Broker::start().await;
    for line in [
        "rabbitmq-diagnostics check_running",
        "rabbitmq-diagnostics check_local_alarms",
        "rabbitmq-diagnostics check_alarms",
        "rabbitmq-diagnostics check_port_connectivity",
        "rabbitmq-diagnostics check_protocol_listener amqp",
        "rabbitmq-diagnostics check_virtual_hosts",
        "rabbitmq-diagnostics memory_breakdown",
        "rabbitmq-diagnostics status",
        "rabbitmq-queues check_if_node_is_quorum_critical",
        "rabbitmqctl cluster_status",
        "rabbitmqctl report",
        "rabbitmqctl list_connections",
        "rabbitmqctl list_channels",
        "rabbitmqctl list_consumers",
        "rabbitmqctl list_feature_flags",
        "rabbitmqctl await_startup",
        "rabbitmqctl environment",
        "rabbitmqctl set_log_level warning",
        "rabbitmqctl set_log_level none",
        "rabbitmqctl set_vm_memory_high_watermark 0.5",
        "rabbitmqctl set_disk_free_limit mem_relative 0.01",
        "rabbitmqctl list_node_auth_attempt_stats",
        "rabbitmq-upgrade drain -t 1",
        "rabbitmq-upgrade revive",
    ] {
        broker.fine(line).await;
    }
    broker.fine("rabbitmqctl stop").await;
    let status = broker.child.wait().await.expect("its status");
    assert!(status.success(), "{status}");
    assert_eq!(broker.run("rabbitmq-diagnostics -q ping").await.status, 69);
}
