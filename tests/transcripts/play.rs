//! Plays a conversation and writes down what was said.
//!
//! Each line is sent, then a fence (channel.flow on the same channel) tells that it has been dealt with. What the
//! broker sends by itself is kept until the conversation awaits it, so that the transcript does not depend on timing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::time::Instant;

use crate::client::{Client, Heard, PATIENCE};
use crate::codec;
use crate::names::Names;
use crate::value::{hex, string, tokens};

/// The connection that looks whether something has happened.
const OBSERVER: char = 'z';

struct Player {
    address: SocketAddr,
    clients: BTreeMap<char, Client>,
    names: Names,
    transcript: Vec<String>,
    /// Queues and exchanges that were declared, to be deleted afterwards.
    queues: BTreeSet<String>,
    exchanges: BTreeSet<String>,
    /// The oracle did not do what the conversation waits for.
    failed: bool,
}

/// What a conversation was like.
pub(crate) struct Played {
    pub(crate) transcript: Vec<String>,
    /// Everything that was waited for came.
    pub(crate) complete: bool,
}

/// Plays the lines of a conversation against the broker at `address`.
pub(crate) fn play(address: SocketAddr, lines: &[String]) -> Played {
    let mut player = Player {
        address,
        clients: BTreeMap::new(),
        names: Names::default(),
        transcript: Vec::new(),
        queues: BTreeSet::new(),
        exchanges: BTreeSet::new(),
        failed: false,
    };
    for line in lines {
        player.transcript.push(format!("> {line}"));
        player.step(line);
    }
    player.finish();
    Played { transcript: player.transcript, complete: !player.failed }
}

/// `b2` is connection b, channel 2.
fn place(word: &str) -> Option<(char, u16)> {
    let mut chars = word.chars();
    let id = chars.next().filter(char::is_ascii_lowercase)?;
    chars.as_str().parse().ok().map(|channel| (id, channel))
}

impl Player {
    fn step(&mut self, line: &str) {
        let (line, fenced) = match line.strip_prefix("& ") {
            Some(rest) => (rest, false),
            None => (line, true),
        };
        let (line, opening) = match line.strip_prefix('!') {
            Some(rest) => (rest, false),
            None => (line, true),
        };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = tokens(rest);
        let id = |n: usize| words.get(n).and_then(|word| word.chars().next()).unwrap_or('a');
        match word {
            "connect" => {
                let client = match words.get(1).map(String::as_str) {
                    Some("raw") => Client::raw(self.address),
                    Some("greeted") => Client::greeted(self.address, false, &mut self.names),
                    Some("known") => Client::greeted(self.address, true, &mut self.names),
                    _ => Client::connect(self.address, &words, &mut self.names),
                };
                self.clients.insert(id(0), client);
                self.print(id(0), true);
            }
            "drop" => {
                if let Some(client) = self.clients.get_mut(&id(0)) {
                    client.drop_socket();
                }
            }
            "end" => self.await_end(id(0)),
            "await" => {
                let count = words.get(2).map_or(1, |count| count.parse().expect("a count"));
                self.await_method(id(0), &words[1], count);
            }
            "until" => self.until(&words),
            "gone" => self.gone(&words[0]),
            "raw" => self.send_octets(id(0), &hex(&rest[1..])),
            "header" => {
                let octets: Vec<u8> = words[1..].iter().map(|octet| octet.parse().expect("an octet")).collect();
                self.send_octets(id(0), &[b"AMQP", &octets[..]].concat());
            }
            _ => {
                let (at, rest) = match place(word) {
                    Some(at) => (at, rest),
                    None => (('a', 1), line),
                };
                self.say(at, rest, opening, fenced);
            }
        }
    }

    /// The connection, which is opened if it is not there.
    fn client(&mut self, id: char) -> &mut Client {
        if self.clients.get(&id).is_none_or(|client| client.ended) {
            let client = Client::connect(self.address, &[], &mut self.names);
            assert!(client.managed, "a connection opens");
            self.clients.insert(id, client);
        }
        self.clients.get_mut(&id).expect("it is there now")
    }

    fn send_octets(&mut self, id: char, octets: &[u8]) {
        let client = self.clients.get_mut(&id).expect("a connection to send octets on");
        client.send(octets);
        if client.managed {
            self.settle(id, 0);
        }
    }

    fn say(&mut self, (id, channel): (char, u16), line: &str, opening: bool, fenced: bool) {
        let line = self.names.reveal(line);
        let words = tokens(&line);
        self.remember(&words);
        let octets = match words[0].as_str() {
            // frame TYPE PAYLOAD [size=N] [end=N]: any frame at all.
            "frame" => odd_frame(channel, &words),
            "header" => {
                let [class, size] = [1, 2].map(|n| words[n].parse::<u64>().expect("a number"));
                let class = u16::try_from(class).expect("a class");
                codec::frame(2, channel, &codec::content_header(class, size, &words[3..]))
            }
            "body" => codec::frame(3, channel, &string(&words[1])),
            "method" => codec::frame(1, channel, &hex(&words[1..].concat())),
            _ => codec::encode(channel, &line),
        };
        let client = self.client(id);
        let opens = words[0] == "channel.open";
        if client.managed && opening && !opens && channel != 0 && !client.open.contains(&channel) {
            client.open_channel(channel);
        }
        if opens {
            client.open.insert(channel);
        }
        if words[0] == "channel.flow" {
            *client.owed.entry(channel).or_default() += 1;
        }
        client.send(&octets);
        if !client.managed || !fenced {
            return;
        }
        match words[0].as_str() {
            "channel.close" => self.await_method(id, "channel.close-ok", 1),
            "connection.close" => self.await_method(id, "connection.close-ok", 1),
            // Queues answer these themselves, or nothing else may be said meanwhile.
            name @ ("basic.consume" | "basic.cancel" | "tx.commit") if !words.iter().any(|word| word == "nowait") => {
                let answer = format!("{name}-ok");
                self.hear_until(id, channel, &answer);
                self.settle(id, channel);
            }
            _ => self.settle(id, channel),
        }
    }

    /// Reads until this answer has come, or none will.
    fn hear_until(&mut self, id: char, channel: u16, answer: &str) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        while client.open.contains(&channel)
            && !client.held.iter().any(|line| line.channel == channel && line.name == answer)
            && client.hear(&mut self.names) == Heard::Something
        {}
    }

    /// Waits until what was sent has been dealt with, and prints the answers.
    fn settle(&mut self, id: char, channel: u16) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let at = client.open.contains(&channel).then_some(channel).or_else(|| client.open.first().copied());
        let mut heard = match at {
            Some(at) => client.fence(at, &mut self.names),
            None => Heard::Something,
        };
        // A connection that the broker closes is seen to its end.
        while heard == Heard::Something && client.held.iter().any(|line| line.name == "connection.close") {
            heard = client.hear(&mut self.names);
        }
        self.tell(id, heard);
        self.print(id, false);
        if heard == Heard::End {
            self.transcript.push(format!("< {id} end"));
        }
    }

    fn tell(&mut self, id: char, heard: Heard) {
        if heard == Heard::Silence {
            self.transcript.push(format!("< {id} silence"));
            self.failed = true;
            if let Some(client) = self.clients.get_mut(&id) {
                client.drop_socket();
            }
        }
    }

    /// Writes the lines of a connection down, by channel; those that came by themselves only if `all`.
    fn print(&mut self, id: char, all: bool) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let over = client.ended;
        let (mut now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut client.held).into_iter().partition(|line| all || over || !line.unasked());
        client.held = later;
        now.sort_by_key(|line| line.channel);
        self.transcript.extend(now.iter().map(|line| format!("< {id}{} {}", line.channel, line.text)));
    }

    fn await_method(&mut self, id: char, name: &str, count: usize) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let mut heard = Heard::Something;
        while heard == Heard::Something && client.held.iter().filter(|line| line.name == name).count() < count {
            heard = client.hear(&mut self.names);
        }
        self.tell(id, heard);
        self.print(id, true);
        if heard == Heard::End {
            self.transcript.push(format!("< {id} end"));
        }
    }

    fn await_end(&mut self, id: char) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let mut heard = Heard::Something;
        while heard == Heard::Something {
            heard = client.hear(&mut self.names);
        }
        self.tell(id, heard);
        self.print(id, true);
        if heard == Heard::End {
            self.transcript.push(format!("< {id} end"));
        }
    }

    /// Asks the observer; the answers are no part of the transcript.
    fn ask(&mut self, line: &str) -> Vec<String> {
        let mut names = std::mem::take(&mut self.names);
        let client = self.client(OBSERVER);
        if !client.open.contains(&1) {
            client.open_channel(1);
        }
        client.send(&codec::encode(1, line));
        client.fence(1, &mut names);
        let answers = std::mem::take(&mut client.held).into_iter().map(|line| line.text).collect();
        self.names = names;
        answers
    }

    /// Asks until the answer satisfies.
    fn repeat(&mut self, question: &str, satisfied: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answers = self.ask(question);
            if satisfied(&answers) {
                return;
            }
            if Instant::now() > deadline {
                self.transcript.push(format!("< never, but {answers:?}"));
                self.failed = true;
                return;
            }
        }
    }

    /// `until QUEUE MESSAGES CONSUMERS`.
    fn until(&mut self, words: &[String]) {
        let wanted = format!("message-count={} consumer-count={}", words[1], words[2]);
        let question = self.names.reveal(&format!("queue.declare {} passive", words[0]));
        self.repeat(&question, |answers| answers.iter().any(|answer| answer.ends_with(&wanted)));
    }

    /// Until the queue is gone; asked by publishing, which is no use of the queue.
    fn gone(&mut self, queue: &str) {
        let question = self.names.reveal(&format!("basic.publish \"\" {queue} mandatory | \"probe\""));
        self.repeat(&question, |answers| answers.iter().any(|answer| answer.starts_with("basic.return")));
    }

    fn remember(&mut self, words: &[String]) {
        let name = words.get(1).map(|name| name.strip_prefix("queue=").unwrap_or(name).to_owned());
        let Some(name) = name.filter(|name| !name.starts_with("amq.") && !name.starts_with('"')) else { return };
        match words[0].as_str() {
            "queue.declare" => self.queues.insert(name),
            "exchange.declare" => self.exchanges.insert(name),
            _ => false,
        };
    }

    /// Writes down what is left to be heard, closes everything and deletes what was declared.
    fn finish(&mut self) {
        let ids: Vec<char> = self.clients.keys().copied().filter(|id| *id != OBSERVER).collect();
        self.transcript.push("> finally".to_owned());
        for id in &ids {
            let Some(client) = self.clients.get_mut(id) else { continue };
            if client.ended || !client.managed {
                continue;
            }
            let channels: Vec<u16> = client.open.iter().copied().collect();
            let mut heard = Heard::Something;
            for channel in channels {
                if client.open.contains(&channel) && heard == Heard::Something {
                    heard = client.fence(channel, &mut self.names);
                }
            }
            self.tell(*id, heard);
            self.print(*id, true);
        }
        if self.transcript.last().is_some_and(|line| line == "> finally") {
            self.transcript.pop();
        }
        for id in ids {
            self.close(id);
        }
        for queue in std::mem::take(&mut self.queues) {
            self.ask(&format!("queue.delete {queue}"));
        }
        for exchange in std::mem::take(&mut self.exchanges) {
            self.ask(&format!("exchange.delete {exchange}"));
        }
        self.close(OBSERVER);
    }

    fn close(&mut self, id: char) {
        if let Some(mut client) = self.clients.remove(&id).filter(|client| client.managed && !client.ended) {
            client.send(&codec::encode(0, "connection.close 200 bye 0 0"));
            while client.hear(&mut self.names) == Heard::Something {}
        }
    }
}

fn odd_frame(channel: u16, words: &[String]) -> Vec<u8> {
    let kind = words[1].parse().expect("a frame type");
    let mut payload = Vec::new();
    let (mut size, mut end) = (None, 0xCE);
    for word in &words[2..] {
        if let Some(value) = word.strip_prefix("size=") {
            size = value.parse::<u32>().ok();
        } else if let Some(value) = word.strip_prefix("end=") {
            end = value.parse().expect("an octet");
        } else if let Some(digits) = word.strip_prefix("hex=") {
            payload = hex(digits);
        } else {
            payload = string(word);
        }
    }
    let mut frame = codec::frame(kind, channel, &payload);
    if let Some(size) = size {
        frame.splice(3..7, size.to_be_bytes());
    }
    if let Some(last) = frame.last_mut() {
        *last = end;
    }
    frame
}
