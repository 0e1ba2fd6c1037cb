//! The control socket: an administrator's, by the permissions of its file.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use hyper::Method;
use leveret::management::control;
use serde_json::json;
use tokio::net::UnixStream;

use crate::api::{Answer, builder, exchange};
use crate::server::{Broker, in_time};

async fn ask(path: &Path, method: Method, place: &str) -> Answer {
    let stream = UnixStream::connect(path).await.expect("the socket listens");
    exchange(stream, method, place, &[], "").await
}

#[test]
fn the_limits_of_alarms_are_changed_while_it_runs() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::start(builder().data_dir(directory.path()));
        let path = control::path(directory.path());
        let limit = async |body: &str| {
            let stream = UnixStream::connect(&path).await.expect("the socket listens");
            exchange(stream, Method::POST, "/api/leveret/alarm-limits", &[], body).await
        };
        for wrong in [r#"{"memory":"much"}"#, r#"{"memory":"0","disk":"-1"}"#, r#"{"disk":7}"#] {
            limit(wrong).await.is(400);
        }
        assert!(!broker.inside().alarms.raised(), "nothing of what was refused is in force");
        for (body, raised) in [(r#"{"memory":"0","disk":"1"}"#, true), (r#"{"memory":"64GiB"}"#, false)] {
            limit(body).await.is(204);
            while broker.inside().alarms.raised() != raised {
                tokio::task::yield_now().await;
            }
        }
        broker.stop().await;
    });
}

#[test]
fn who_opens_it_is_an_administrator() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        // Off for the network, it is there all the same.
        let off = builder().configure(|config| config.management_listen.clear()).data_dir(directory.path());
        let broker = Broker::start(off);
        let path = control::path(directory.path());
        let file = std::fs::metadata(&path).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        let who = ask(&path, Method::GET, "/api/whoami").await.ok();
        assert_eq!(who["tags"], json!(["administrator"]));
        ask(&path, Method::PUT, "/api/vhosts/v").await.is(201);
        let status = ask(&path, Method::GET, "/api/leveret/status").await.ok();
        assert_eq!(
            (&status["product_name"], &status["os_pid"]),
            (&json!("Leveret"), &json!(std::process::id().to_string()))
        );
        let client = broker.client().await;
        let stream = UnixStream::connect(&path).await.unwrap();
        let place = "/api/leveret/close-connections";
        let closed = exchange(stream, Method::POST, place, &[], r#"{"user":"guest","reason":"tidying"}"#).await.ok();
        assert_eq!(closed, json!({"closed": 1}));
        while client.connection.status().connected() {
            tokio::task::yield_now().await;
        }
        for (password, status) in [("guest", 204), ("wrong", 401)] {
            let stream = UnixStream::connect(&path).await.unwrap();
            let body = format!(r#"{{"username":"guest","password":"{password}"}}"#);
            exchange(stream, Method::POST, "/api/leveret/authenticate", &[], &body).await.is(status);
        }
        let stream = UnixStream::connect(&path).await.unwrap();
        exchange(stream, Method::POST, "/api/leveret/log-level", &[], r#"{"level":"a=b=c"}"#).await.is(400);
        let settings = ask(&path, Method::GET, "/api/leveret/environment").await.is(200);
        let settings = String::from_utf8(settings.body.to_vec()).unwrap();
        assert!(settings.contains("node_name = \"rabbit@localhost\"") && !settings.contains("password = \"guest\""));
        ask(&path, Method::POST, "/api/leveret/stop").await.is(204);
        broker.inside().node.stop_requested().await;
        broker.stop().await;
        assert!(!path.exists(), "nobody finds it after the end");
    });
}

#[test]
fn one_that_a_crash_left_behind_is_replaced() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let path = control::path(directory.path());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        std::fs::write(path.with_extension("new"), b"half made").unwrap();
        let broker = Broker::start(builder().data_dir(directory.path()));
        ask(&path, Method::GET, "/api/overview").await.is(200);
        broker.stop().await;
    });
}

#[test]
fn a_directory_that_takes_no_socket_is_no_reason_not_to_start() {
    in_time(async {
        let root = tempfile::tempdir().unwrap();
        // Longer than the address of a socket may be.
        let directory = root.path().join("d".repeat(120));
        let broker = Broker::start(builder().data_dir(&directory));
        assert!(!control::path(&directory).exists());
        broker.stop().await;
    });
}
