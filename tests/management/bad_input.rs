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

/// Sends octets and reads what comes until the broker closes or says enough.
async fn raw(address: std::net::SocketAddr, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the API listens");
    // It may be refused before all of it is sent.
    let _ = stream.write_all(octets).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn bodies_that_lie_about_their_length_change_nothing() {
    scenario(async |_, api| {
        let head = "PUT /api/global-parameters/lie HTTP/1.1\r\nhost: a\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";
        let body = r#"{"value":1}"#;
        let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
        for (why, rest, statuses) in [
            ("shorter than it says", format!("content-length: 100\r\n\r\n{body}"), &["400"][..]),
            ("no number", format!("content-length: many\r\n\r\n{body}"), &["400"]),
            ("negative", format!("content-length: -1\r\n\r\n{body}"), &["400"]),
            ("two lengths", format!("content-length: 11\r\ncontent-length: 12\r\n\r\n{body}"), &["400"]),
            ("beyond all numbers", format!("content-length: 99999999999999999999\r\n\r\n{body}"), &["400"]),
            ("announced too long", "content-length: 18446744073709551615\r\n\r\n".to_owned(), &["400", "413", "431"]),
            ("chunked, too long", format!("transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(30)), &["400"]),
            ("chunked, cut off", format!("transfer-encoding: chunked\r\n\r\nb\r\n{body}"), &["400"]),
            ("chunked, no size", format!("transfer-encoding: chunked\r\n\r\nzz\r\n{body}\r\n0\r\n\r\n"), &["400"]),
        ] {
            let answer = raw(api.address(), format!("{head}{rest}").as_bytes()).await;
            let status = answer.strip_prefix("HTTP/1.1 ").map(|rest| &rest[..3]);
            assert!(status.is_none_or(|status| statuses.contains(&status)), "{why}: {answer:.200}");
            api.get("/api/global-parameters/lie").await.is(404);
        }
        // Both a length and chunks: whoever stands between might have read another request.
        let both = format!("{head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
        assert!(!raw(api.address(), both.as_bytes()).await.starts_with("HTTP/1.1 2"));
        api.get("/api/global-parameters/lie").await.is(404);
    });
}

#[test]
fn paths_lead_nowhere_else() {
    scenario(async |_, api| {
        api.put("/api/vhosts/v", "").await.is(201);
        for path in [
            "/api/queues/%2F/../../vhosts/v",
            "/api/../api/vhosts/v",
            "/api/vhosts/x/%2E%2E/v",
            "/api//vhosts/v",
            "/api/vhosts/v%00",
            "/api/vhosts/v%2F",
            "/api%2Fvhosts%2Fv",
            "/api/vhosts/%76%2F..%2Fv",
            "//api/vhosts/v",
            "/api/vhosts/v/.",
        ] {
            let status = api.delete(path).await.status;
            assert!(matches!(status, 404 | 405), "{path}: {status}");
            api.get("/api/vhosts/v").await.is(200);
        }
        for path in ["/api/vhosts/%", "/api/vhosts/%2", "/api/vhosts/%zz", "/api/queues/%2F/%c0%af"] {
            let status = api.get(path).await.status;
            assert!(matches!(status, 400 | 404), "{path}: {status}");
        }
    });
}

#[test]
fn every_answer_says_what_it_is_and_that_it_is_nothing_else() {
    scenario(async |_, api| {
        let name = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E";
        api.put(&format!("/api/queues/%2F/{name}"), "{}").await.is(201);
        api.put(&format!("/api/exchanges/%2F/{name}"), r#"{"type":"fanout"}"#).await.is(201);
        let policy = r#"{"pattern":"<script>","definition":{"max-length":1},"apply-to":"queues"}"#;
        api.put(&format!("/api/policies/%2F/{name}"), policy).await.is(201);
        api.put(&format!("/api/users/{name}"), r#"{"password":"x","tags":"<b>"}"#).await.is(201);
        for path in [
            format!("/api/queues/%2F/{name}"),
            format!("/api/exchanges/%2F/{name}"),
            format!("/api/policies/%2F/{name}"),
            format!("/api/users/{name}"),
            format!("/api/queues/%2F/{name}?columns={name}"),
            format!("/api/queues?page=x&name={name}"),
            format!("/api/queues/{name}/{name}"),
            format!("/api/{name}"),
            format!("/{name}"),
            "/api/definitions".to_owned(),
        ] {
            let answer = api.get(&path).await;
            assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(
                answer.header("content-security-policy"),
                Some("default-src 'none'; frame-ancestors 'none'"),
                "{path}"
            );
            assert!(answer.header("access-control-allow-origin").is_none(), "{path}");
            assert!(answer.header("set-cookie").is_none(), "{path}");
        }
        let metrics = api.get("/metrics/per-object").await.is(200);
        assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
        assert_eq!(metrics.header("x-content-type-options"), Some("nosniff"));
        // Not even a refused body comes back as it went in.
        let answer = api.put("/api/queues/%2F/q", r#"{"arguments":{"x-max-length":"<script>"}}"#).await.is(400);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    });
}
