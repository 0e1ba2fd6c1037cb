//! Starts that must fail, and say why.

use std::time::Duration;

use crate::in_time;
use crate::process::{Process, command};

/// Exit status for settings that cannot be used.
const BAD_SETTINGS: i32 = 64;

#[test]
fn bad_settings_are_all_named_at_once() {
    in_time(Duration::from_secs(60), async {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("leveret.toml");
        std::fs::write(&file, "listen = [\"nowhere\"]\n[limits]\nframe_max = 1\nno_such_key = 2\n").unwrap();
        let mut command = command(directory.path());
        command.arg("--config").arg(&file).env("LEVERET_LIMITS__HEARTBEAT", "soon");
        let output = command.output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(BAD_SETTINGS), "{said}");
        for problem in ["limits.frame_max", "limits.no_such_key", "LEVERET_LIMITS__HEARTBEAT"] {
            assert!(said.contains(problem), "{problem} is missing:\n{said}");
        }
        assert!(!directory.path().join("lock").exists(), "nothing is opened");
    });
}

#[test]
fn a_second_process_on_the_directory_is_refused_and_the_first_goes_on() {
    in_time(Duration::from_secs(60), async {
        let directory = tempfile::tempdir().unwrap();
        let first = Process::start(directory.path()).await;
        let client = first.client().await;
        let output = command(directory.path()).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&directory.path().display().to_string()), "{said}");
        assert!(said.contains("(process "), "it says who holds the directory:\n{said}");
        client.durable("the first goes on", crate::client::none()).await;
        first.kill().await;
    });
}

#[test]
fn as_many_threads_serve_clients_as_the_settings_say() {
    in_time(Duration::from_secs(60), async {
        let directory = tempfile::tempdir().unwrap();
        for wanted in [1, 3] {
            let mut command = command(directory.path());
            command.env("LEVERET_SERVER__THREADS", wanted.to_string());
            let broker = Process::run(command).await;
            broker.client().await.durable(&format!("declared with {wanted}"), crate::client::none()).await;
            let log = broker.kill().await;
            let said = format!("threads that serve clients: {wanted}");
            assert!(log.iter().any(|line| line.ends_with(&said)), "{said} is missing:\n{log:#?}");
        }
    });
}
