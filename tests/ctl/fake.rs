//! A broker of answers: which request gets which, and which requests came.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;

/// A request as it came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    /// Method and path, with the query.
    pub(crate) line: String,
    /// The body, as JSON where it is.
    pub(crate) body: Value,
    /// What `authorization` says.
    pub(crate) login: String,
    /// What `x-reason` says.
    pub(crate) reason: String,
}

#[derive(Default)]
struct Shelf {
    answers: BTreeMap<String, (u16, String)>,
    asked: Vec<Asked>,
}

/// A broker that answers from a shelf.
pub(crate) struct Fake {
    shelf: Arc<Mutex<Shelf>>,
    dir: TempDir,
    port: u16,
}

impl Fake {
    /// A broker with a control socket and a port.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let socket = UnixListener::bind(dir.path().join(leveret::ctl::CONTROL_SOCKET)).expect("a socket");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (ready, started) = mpsc::channel();
        {
            let (shelf, ready) = (shelf.clone(), ready.clone());
            thread::spawn(move || {
                let _ = ready.send(());
                socket.incoming().flatten().for_each(|stream| {
                    let reading = stream.try_clone().expect("a second handle");
                    answer(reading, stream, &shelf);
                });
            });
        }
        let kept = shelf.clone();
        thread::spawn(move || {
            let _ = ready.send(());
            listener.incoming().flatten().for_each(|stream| {
                let reading = stream.try_clone().expect("a second handle");
                answer(reading, stream, &kept);
            });
        });
        let _ = (started.recv(), started.recv());
        Self { shelf, dir, port }
    }

    /// Answers this request so from now on; a path without a query stands for every query.
    pub(crate) fn on(&self, line: &str, status: u16, body: &str) -> &Self {
        self.shelf.lock().answers.insert(line.to_owned(), (status, body.to_owned()));
        self
    }

    /// The data directory with the control socket.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The port of the same API.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The requests since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shelf.lock().asked)
    }

    /// Their lines alone.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

fn answer(reading: impl Read, mut writing: impl Write, shelf: &Mutex<Shelf>) {
    let mut reader = BufReader::new(reading);
    let mut first = String::new();
    if reader.read_line(&mut first).is_err() || first.is_empty() {
        return;
    }
    let (mut length, mut login, mut reason) = (0, String::new(), String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').expect("a header");
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().expect("a length"),
            "authorization" => value.trim().clone_into(&mut login),
            "x-reason" => value.trim().clone_into(&mut reason),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    let line = first.rsplit_once(' ').map_or("", |(line, _)| line).to_owned();
    let (status, text) = {
        let mut shelf = shelf.lock();
        let bare = line.split('?').next().unwrap_or_default();
        let found = shelf.answers.get(&line).or_else(|| shelf.answers.get(bare)).cloned();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        shelf.asked.push(Asked { line, body, login, reason });
        found.unwrap_or((404, r#"{"error":"Object Not Found","reason":"Not Found"}"#.to_owned()))
    };
    let _ = write!(writing, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len());
}
