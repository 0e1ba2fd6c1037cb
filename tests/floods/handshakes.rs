//! Clients that never finish their login: they are let go in time, and cost those who do nothing.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::frames;
use crate::script::{connect, start, stop};
use crate::{in_time, long, usage};

/// Ways not to finish.
#[derive(Clone, Copy)]
enum Loris {
    /// Says nothing.
    Silent,
    /// Sends a protocol header and a login octet by octet.
    Slow,
    /// Sends half a login.
    Half,
    /// Sends a header that promises a large frame.
    Promise,
    /// Sends heartbeats.
    Heartbeats,
}

/// Goes on until the broker hangs up; how many octets it took.
async fn dawdle(mut stream: TcpStream, how: Loris) -> usize {
    let login = frames::login();
    let mut sent = 0;
    let (first, then): (Vec<u8>, Vec<u8>) = match how {
        Loris::Silent => (Vec::new(), Vec::new()),
        Loris::Slow => (Vec::new(), [frames::HEADER, &login].concat()),
        Loris::Half => ([frames::HEADER, &login[..login.len() / 2]].concat(), Vec::new()),
        Loris::Promise => ([frames::HEADER, &[1, 0, 0, 0, 0, 0x1f, 0xff, 0, 10, 0, 11]].concat(), Vec::new()),
        Loris::Heartbeats => (frames::HEADER.to_vec(), frames::heartbeat().repeat(100_000)),
    };
    let step = if matches!(how, Loris::Heartbeats) { 800 } else { 1 };
    if stream.write_all(&first).await.is_err() {
        return sent;
    }
    let mut then = then.chunks(step);
    let mut buffer = [0; 1024];
    loop {
        let pause = tokio::time::sleep(Duration::from_millis(100));
        tokio::select! {
            read = stream.read(&mut buffer) => if !matches!(read, Ok(1..)) { return sent },
            () = pause => if let Some(piece) = then.next() {
                if stream.write_all(piece).await.is_err() {
                    return sent;
                }
                sent += piece.len();
            },
        }
    }
}

#[test]
fn slow_logins_end_in_time_and_hold_nobody_up() {
    in_time(async {
        usage::raise_descriptors();
        let count = if long() { 5_000 } else { 200 };
        let server = start(|config| config.handshake_timeout = Duration::from_secs(4));
        let address = server.addresses()[0];
        let mut crowd = JoinSet::new();
        let ways = [Loris::Silent, Loris::Slow, Loris::Half, Loris::Promise, Loris::Heartbeats];
        for number in 0..count {
            let stream = TcpStream::connect(address).await.unwrap();
            crowd.spawn(dawdle(stream, ways[number % ways.len()]));
        }
        while server.broker().connections.len() < count {
            tokio::task::yield_now().await;
        }
        drop(connect(address).await);
        let sent = crowd.join_all().await;
        assert!(sent.iter().all(|sent| *sent < 100 * 1024), "nobody is listened to for ever: {:?}", sent.iter().max());
        while !server.broker().connections.is_empty() {
            tokio::task::yield_now().await;
        }
        stop(server).await;
    });
}
