//! Guessing passwords, and what the log tells of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use leveret::server::Builder;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::frames;
use crate::in_time;
use crate::process::{self, Process};
use crate::script::greet;

/// Another address of this machine.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Logins of one address that are refused before it is slowed.
const FREE: u64 = 5;

/// Logins tried.
const GUESSES: usize = 200;

async fn from(source: Ipv4Addr, address: SocketAddr) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    Client::over(socket.connect(address).await.unwrap())
}

/// Tries a password; whether the broker looked at it.
async fn guess(address: SocketAddr, number: usize) -> bool {
    let mut client = Client::connect(address).await;
    client.send(frames::HEADER).await;
    client.frame().await.expect("connection.start");
    let response = format!("\0guest\0guess {number}");
    client.send(&frames::start_ok("PLAIN", response.as_bytes(), &["authentication_failure_close"])).await;
    match client.frame().await {
        Some(frame) => {
            assert_eq!(frame[7..13], [0, 10, 0, 50, 1, 0x93], "{}", crate::client::show(&frame));
            true
        }
        None => false,
    }
}

#[test]
fn guesses_of_one_address_are_slowed_and_nobody_elsewhere_waits() {
    in_time(async {
        let server = Builder::in_memory()
            .configure(|config| {
                config.login_failures = Some(FREE);
                config.handshake_timeout = Duration::from_secs(2);
            })
            .start()
            .unwrap();
        let address = server.addresses()[0];
        let mut guesses = JoinSet::new();
        for number in 0..GUESSES {
            guesses.spawn(guess(address, number));
        }
        while (server.broker().connections.len()) < GUESSES / 2 {
            tokio::task::yield_now().await;
        }
        // From elsewhere one gets in, while they wait.
        let mut other = from(ELSEWHERE, address).await;
        greet(&mut other).await;
        let heard = guesses.join_all().await.into_iter().filter(|heard| *heard).count();
        println!("{heard} of {GUESSES} guesses were looked at within two seconds");
        assert!(heard >= usize::try_from(FREE).unwrap(), "{heard} guesses were looked at");
        assert!(heard <= GUESSES / 2, "{heard} guesses were looked at");
        drop(other);
        server.stop().await.unwrap();
    });
}

/// A password that no log may show.
const CANARY: &str = "canary-hunter2-yellow";

#[test]
fn the_log_shows_no_password_and_no_client_can_forge_it() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let settings = directory.path().join("leveret.toml");
        let user = format!(
            "[[users]]\nname = \"guest\"\npassword = \"guest\"\n[[users]]\nname = \"bird\"\npassword = \"{CANARY}\"\n"
        );
        std::fs::write(&settings, user).unwrap();
        let mut command = process::command(directory.path());
        command.arg("--config").arg(&settings).env("LEVERET_LOG", "trace");
        let broker = Process::run(command).await;
        let address = broker.address();
        let forged = "x\r\n2026-01-01T00:00:00Z  INFO forged line\x1b[2K\u{9b}1A\u{202e}";
        // The right password, a wrong one beside it, in both mechanisms; then names in every place that is logged.
        let plain = format!("\0bird\0{CANARY}");
        let wrong = format!("\0{forged}\0{CANARY}");
        let mut limits = b"\x05LOGINS\0\0\0\x04bird\x08PASSWORDS".to_vec();
        limits.extend_from_slice(&u32::try_from(CANARY.len()).unwrap().to_be_bytes());
        limits.extend_from_slice(CANARY.as_bytes());
        for (mechanism, response) in
            [("PLAIN", plain.as_bytes()), ("PLAIN", wrong.as_bytes()), ("AMQPLAIN", &limits), (forged, b"")]
        {
            let mut client = Client::connect(address).await;
            client.send(frames::HEADER).await;
            client.frame().await.expect("connection.start");
            let name = frames::argument("connection_name", &*format!("{forged}{}", "n".repeat(6_000)));
            client.send(&frames::start_ok_with(mechanism, response, &name)).await;
            let Some(answer) = client.frame().await else { continue };
            if answer[7..11] != [0, 10, 0, 30] {
                continue;
            }
            client.send(&[frames::tune_ok(10, 131_072, 0), frames::open("/"), frames::channel_open(1)].concat()).await;
            client.expect(&[frames::open_ok(), frames::channel_open_ok(1)].concat(), "open").await;
            client.send(&frames::queue_declare(1, forged, "", &frames::none())).await;
            client.frame().await.expect("an answer");
            client.send(&frames::queue_declare(1, &format!("{forged}missing"), "passive", &frames::none())).await;
            client.frame().await.expect("channel.close");
            client.send(&frames::connection_close()).await;
            while client.frame().await.is_some() {}
        }
        broker.terminate();
        let (status, log) = broker.ended().await;
        assert!(status.success());
        assert!(log.len() > 10, "trace says more than {} lines", log.len());
        for line in &log {
            assert!(!line.contains(CANARY), "{line}");
            assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
            assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line}");
            assert!(line.len() < 4_096, "{} octets in one line", line.len());
        }
        assert!(log.iter().any(|line| line.contains("forged line")), "the names were logged, escaped");
    });
}

/// One request of its own connection; the whole answer.
async fn http(port: u16, method: &str, path: &str, login: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let login = leveret::auth::base64::encode(login.as_bytes());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {login}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("the API listens");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

#[test]
fn no_password_that_settings_definitions_or_requests_hold_is_shown_anywhere() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let definitions = format!(
            r#"{{"users":[{{"name":"egg","password":"{CANARY}","tags":"administrator"}}],"vhosts":[{{"name":"/"}}],
            "permissions":[{{"user":"egg","vhost":"/","configure":"","write":"","read":""}}],"parameters":[{{
            "component":"shovel","vhost":"/","name":"s","value":{{"src-uri":"amqp://egg:{CANARY}@h","dest-uri":"amqp://",
            "src-queue":"a","dest-queue":"b"}}}}]}}"#
        );
        std::fs::write(at("definitions.json"), definitions).unwrap();
        let settings = format!(
            "default_user = bird\ndefault_pass = {CANARY}\nssl_options.password = {CANARY}\n\
             management.ssl.password = {CANARY}\nanonymous_login_pass = {CANARY}\nauth_ldap.dn_lookup_bind.password = {CANARY}\n\
             management.load_definitions = {}\n",
            at("definitions.json").display()
        );
        std::fs::write(at("rabbitmq.conf"), settings).unwrap();
        let mut command = process::plain();
        command.arg("--config").arg(at("rabbitmq.conf")).env("LEVERET_LOG", "trace");
        command.arg("--data-dir").arg(directory.path()).args(["--listen", "127.0.0.1:0"]);
        command.args(["--http-listen", "127.0.0.1:0", "--metrics-listen", "none"]);
        let broker = Process::run(command).await;
        let port = broker.management_port().expect("the API is on");
        let right = format!("egg:{CANARY}");
        assert!(http(port, "GET", "/api/whoami", &right, "").await.starts_with("HTTP/1.1 200"));
        let mut said = Vec::new();
        for (method, path, login, body) in [
            ("GET", "/api/overview", format!("egg:{CANARY}x"), String::new()),
            ("GET", "/api/overview", CANARY.to_owned(), String::new()),
            ("PUT", "/api/users/new", right.clone(), format!(r#"{{"password":"{CANARY}","tags":""}}"#)),
            ("PUT", "/api/users/new", right.clone(), format!(r#"{{"password":"{CANARY}","tags":7}}"#)),
            ("PUT", "/api/users/new", right.clone(), format!(r#"{{"password":"{CANARY}""#)),
            (
                "POST",
                "/api/definitions",
                right.clone(),
                format!(r#"{{"users":[{{"name":"u","password":"{CANARY}","x":"#),
            ),
            ("POST", "/api/definitions", right.clone(), format!(r#"{{"users":[{{"password":"{CANARY}"}}]}}"#)),
            (
                "POST",
                "/api/definitions",
                right.clone(),
                format!(r#"{{"users":[{{"name":"u","password_hash":"{CANARY}"}}]}}"#),
            ),
            ("GET", "/api/users", right.clone(), String::new()),
            ("GET", "/api/config/effective", right.clone(), String::new()),
            ("GET", "/api/nodes", right.clone(), String::new()),
        ] {
            said.push(http(port, method, path, &login, &body).await);
        }
        broker.terminate();
        let (status, log) = broker.ended().await;
        assert!(status.success());
        assert!(log.len() > 10, "trace says more than {} lines", log.len());
        for line in log.iter().chain(&said) {
            assert!(!line.contains(CANARY), "{line}");
        }
        let encoded = leveret::auth::base64::encode(right.as_bytes());
        assert!(log.iter().all(|line| !line.contains(&encoded)), "not even encoded");
    });
}
