//! What clients should not send, and what becomes of it.

use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api::{refused, scenario};

#[test]
fn a_body_that_is_too_long_is_not_read_to_its_end() {
    scenario(async |_, api| {
        let body = format!(r#"{{"value":"{}"}}"#, "x".repeat(10_000_000));
        let expected = refused(400, "bad_request", "Exceeded HTTP request body size limit");
        assert_eq!(api.put("/api/global-parameters/large", &body).await.refusal(), expected);
        api.get("/api/global-parameters/large").await.is(404);
        // Who does not get in is told so, after some of what he sends.
        let some = "x".repeat(900_000);
        let answer = api.user("guest", "wrong").put("/api/global-parameters/large", &some).await;
        assert_eq!(answer.status, 401);
    });
}

#[test]
fn bodies_that_are_no_objects_are_refused() {
    scenario(async |_, api| {
        let deep = format!("{{\"value\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
        for body in ["[]", "1", "true", "{", "\u{0}", "{\"value\":1,}", &deep] {
            let expected = refused(400, "bad_request", "not_json");
            assert_eq!(api.put("/api/global-parameters/p", body).await.refusal(), expected, "{body:.20}");
        }
        let doubly = api.put("/api/global-parameters/p", r#""{\"value\":1}""#).await.is(400).reason();
        assert!(doubly.contains("doubly-JSON-encoded"), "{doubly}");
        api.get("/api/global-parameters/p").await.is(404);
    });
}

#[test]
fn names_are_any_text_and_come_back_as_they_are() {
    scenario(async |_, api| {
        for (path, name) in [
            ("%3Cscript%3Ealert(1)%3C%2Fscript%3E", "<script>alert(1)</script>"),
            ("a%2Fb%2F%2E%2E", "a/b/.."),
            ("%F0%9F%90%87", "\u{1f407}"),
            ("%22%5C%0A", "\"\\\n"),
            ("with%20blank+plus", "with blank+plus"),
            ("%25percent", "%percent"),
        ] {
            api.put(&format!("/api/vhosts/{path}"), r#"{"description":"<b>"}"#).await.is(201);
            let answer = api.get(&format!("/api/vhosts/{path}")).await.is(200);
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.json()["name"], name);
            api.put(&format!("/api/users/{path}"), r#"{"tags":"<i>"}"#).await.is(201);
            assert_eq!(api.get(&format!("/api/users/{path}")).await.ok()["name"], name);
            api.delete(&format!("/api/users/{path}")).await.is(204);
            api.delete(&format!("/api/vhosts/{path}")).await.is(204);
        }
        // Not text at all once it is decoded.
        api.get("/api/vhosts/%FF%FE").await.is(404);
        api.put("/api/users/%FF", r#"{"tags":""}"#).await.is(404);
    });
}

#[test]
fn credentials_that_are_none_are_asked_for() {
    scenario(async |_, api| {
        for value in ["Basic", "Basic %%%", "Bearer abc", "Digest x", "Basic Z3Vlc3Q="] {
            let answer = api.nobody().send(Method::GET, "/api/overview", &[("authorization", value)], "").await;
            assert_eq!((answer.status, answer.body.len()), (401, 0), "{value}");
        }
        let long = format!("Basic {}", "A".repeat(8_000));
        let answer = api.nobody().send(Method::GET, "/api/overview", &[("authorization", &long)], "").await;
        assert_eq!(answer.status, 401);
    });
}

#[test]
fn queries_and_heads_are_bounded() {
    scenario(async |_, api| {
        let columns = vec!["a.b.c"; 2_000].join(",");
        api.get(&format!("/api/vhosts?columns={columns}")).await.is(200);
        let mut stream = TcpStream::connect(api.address()).await.unwrap();
        let head = format!("GET /api/overview HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(200_000));
        // It may be refused before all of it is sent.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer:.100}");
        api.get("/api/whoami").await.is(200);
    });
}

#[test]
fn what_is_no_http_is_closed() {
    scenario(async |_, api| {
        for octets in [&b"AMQP\x00\x00\x09\x01"[..], b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n"] {
            let mut stream = TcpStream::connect(api.address()).await.unwrap();
            stream.write_all(octets).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
        }
        assert_eq!(api.get("/api/cluster-name").await.ok(), json!({"name": "rabbit@localhost"}));
    });
}

#[test]
fn filters_that_blow_up_elsewhere_take_no_time() {
    scenario(async |_, api| {
        api.put(&format!("/api/vhosts/{}", "a".repeat(200)), "").await.is(201);
        let before = std::time::Duration::from_secs(5);
        let asked = api.get("/api/vhosts?page=1&use_regex=true&name=^(a%2B)%2B(?=x)$");
        let answer = tokio::time::timeout(before, asked).await.expect("an answer").ok();
        assert_eq!(answer["filtered_count"], 0);
        let long = format!("/api/vhosts?page=1&use_regex=true&name={}", "a".repeat(1_025));
        let expected = refused(400, "invalid_pagination_parameters", "name filter regex is too long");
        assert_eq!(api.get(&long).await.refusal(), expected);
    });
}
