//! A script: what a client sends and what it must receive, step by step.
//!
//! The same script is played with its input whole, cut in two at every place, and octet by octet; the answers must be
//! the same octets each time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;

use leveret::config::Config;
use leveret::server::{Builder, Server};
use tokio::task::JoinSet;

use crate::client::{Client, Cut};
use crate::frames::{self, Properties};

/// Scripts played at once.
const AT_ONCE: usize = 16;

/// One step.
enum Step {
    Send(Vec<u8>),
    Expect(Vec<u8>),
    /// Any method with these ids on this channel.
    ExpectMethod(u16, (u16, u16)),
    End,
    /// Goes on as another client; a client not seen before connects first.
    Client(usize),
}

/// A list of steps and the broker's settings.
pub(crate) struct Script {
    configure: fn(&mut Config),
    /// What every client does first, never cut.
    prelude: Vec<Step>,
    steps: Vec<Step>,
}

/// A broker in this process.
pub(crate) fn start(configure: fn(&mut Config)) -> Server {
    Builder::in_memory().configure(configure).start().expect("a broker in memory starts")
}

/// Ends a broker in order.
pub(crate) async fn stop(server: Server) {
    server.stop().await.expect("the broker stops");
}

/// A client with an open connection and channels 1 to 3.
pub(crate) async fn connect(address: SocketAddr) -> Client {
    let mut client = Client::connect(address).await;
    greet(&mut client).await;
    client
}

/// Opens the connection and channels 1 to 3 of a client that has connected its socket.
pub(crate) async fn greet(client: &mut Client) {
    for step in &Script::open().prelude {
        perform(step, client, "prelude").await;
    }
}

impl Script {
    /// A client that has only connected its socket.
    pub(crate) fn raw() -> Self {
        Self { configure: |_| {}, prelude: Vec::new(), steps: Vec::new() }
    }

    /// A client with an open connection and channels 1 to 3. Channel 3 is for looking what exists.
    pub(crate) fn open() -> Self {
        let mut script = Self::raw()
            .send(frames::HEADER)
            .expect_method(0, (10, 10))
            .send(frames::login())
            .expect(frames::tune())
            .send([frames::tune_ok(2047, 131_072, 0), frames::open("/")].concat())
            .expect(frames::open_ok())
            .send([1, 2, 3].map(frames::channel_open).concat())
            .expect([1, 2, 3].map(frames::channel_open_ok).concat());
        script.prelude = std::mem::take(&mut script.steps);
        script
    }

    /// Changes the broker's settings.
    pub(crate) fn configure(mut self, configure: fn(&mut Config)) -> Self {
        self.configure = configure;
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The client sends these octets.
    pub(crate) fn send(self, octets: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(octets.as_ref().to_vec()))
    }

    /// The client receives exactly these frames.
    pub(crate) fn expect(self, frames: impl AsRef<[u8]>) -> Self {
        self.step(Step::Expect(frames.as_ref().to_vec()))
    }

    /// The client receives a method with these ids.
    pub(crate) fn expect_method(self, channel: u16, ids: (u16, u16)) -> Self {
        self.step(Step::ExpectMethod(channel, ids))
    }

    /// The broker closes the connection, and sends nothing before that.
    pub(crate) fn end(self) -> Self {
        self.step(Step::End)
    }

    /// Goes on as the client with this number; the first is 0.
    pub(crate) fn client(self, number: usize) -> Self {
        self.step(Step::Client(number))
    }

    /// Asks and receives an answer.
    pub(crate) fn ask(self, question: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) -> Self {
        self.send(question).expect(answer)
    }

    /// Nothing more comes on any channel: an answer that was asked for last arrives next.
    pub(crate) fn quiet(self) -> Self {
        self.ask(frames::flow(2, true), frames::flow_ok(2))
    }

    /// Declares a queue for this script.
    pub(crate) fn with_queue(self, name: &str) -> Self {
        let declare = frames::queue_declare(1, name, "", &frames::none());
        self.ask(declare, frames::queue_declare_ok(1, name, 0, 0))
    }

    /// Puts a message into a queue and waits until it is there.
    pub(crate) fn with_message(self, queue: &str, body: &str) -> Self {
        self.send(frames::publish(2, "", queue, "", Properties::default(), body.as_bytes())).quiet()
    }

    /// How many messages are ready in a queue and how many consumers it has.
    pub(crate) fn holds(self, queue: &str, messages: u32, consumers: u32) -> Self {
        let ask = frames::queue_declare(2, queue, "passive", &frames::none());
        self.ask(ask, frames::queue_declare_ok(2, queue, messages, consumers))
    }

    /// The queue does not exist.
    pub(crate) fn no_queue(self, name: &str) -> Self {
        let text = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
        self.absent(frames::queue_declare(3, name, "passive", &frames::none()), &text, (50, 10))
    }

    /// The exchange does not exist.
    pub(crate) fn no_exchange(self, name: &str) -> Self {
        let text = format!("NOT_FOUND - no exchange '{name}' in vhost '/'");
        self.absent(frames::exchange_declare(3, name, "direct", "passive", &frames::none()), &text, (40, 10))
    }

    fn absent(self, ask: Vec<u8>, text: &str, at: (u16, u16)) -> Self {
        self.ask(ask, frames::channel_close(3, 404, text, at)).reopen(3)
    }

    /// Agrees to the broker's close of a channel and opens it again.
    pub(crate) fn reopen(self, channel: u16) -> Self {
        let again = [frames::channel_close_ok(channel), frames::channel_open(channel)].concat();
        self.ask(again, frames::channel_open_ok(channel))
    }

    /// Closes the connection as a client should.
    pub(crate) fn close(self) -> Self {
        self.ask(frames::connection_close(), frames::connection_close_ok()).end()
    }

    /// Octets that client 0 sends after the prelude.
    fn length(&self) -> usize {
        let mut here = true;
        let mut length = 0;
        for step in &self.steps {
            match step {
                Step::Client(number) => here = *number == 0,
                Step::Send(octets) if here => length += octets.len(),
                _ => {}
            }
        }
        length
    }

    async fn play_at(&self, address: SocketAddr, cut: Cut) {
        let mut clients = HashMap::new();
        let mut at = 0;
        let first = [Step::Client(0)];
        for (number, step) in first.iter().chain(&self.steps).enumerate() {
            let context = format!("cut {cut:?}, step {number}");
            if let Step::Client(number) = step {
                at = *number;
                if let Entry::Vacant(new) = clients.entry(at) {
                    let client = new.insert(Client::connect(address).await);
                    for step in &self.prelude {
                        perform(step, client, "prelude").await;
                    }
                    client.cut(if at == 0 { cut } else { Cut::Nowhere });
                }
            } else if let Some(client) = clients.get_mut(&at) {
                perform(step, client, &context).await;
            }
        }
    }

    /// Plays the script with a client that is connected already.
    pub(crate) async fn perform(&self, client: &mut Client) {
        for (number, step) in self.steps.iter().enumerate() {
            perform(step, client, &format!("step {number}")).await;
        }
    }

    /// Plays the script once.
    pub(crate) async fn play(&self, cut: Cut) {
        let server = start(self.configure);
        self.play_at(server.addresses()[0], cut).await;
        stop(server).await;
    }

    fn cuts(&self) -> impl Iterator<Item = Cut> + use<> {
        [Cut::Nowhere, Cut::Everywhere].into_iter().chain((1..self.length()).map(Cut::At))
    }

    /// Plays the script with its input whole, octet by octet, and cut at every place, each time with a new broker.
    pub(crate) async fn replay(self) {
        let script = Arc::new(self);
        let mut playing = JoinSet::new();
        for cut in script.cuts() {
            if playing.len() == AT_ONCE {
                finished(playing.join_next().await);
            }
            let script = script.clone();
            playing.spawn(async move { script.play(cut).await });
        }
        while !playing.is_empty() {
            finished(playing.join_next().await);
        }
    }

    /// As [`Script::replay`], all at once with one broker: for scripts that wait for something and leave nothing.
    pub(crate) async fn replay_together(self) {
        let server = start(self.configure);
        let address = server.addresses()[0];
        let script = Arc::new(self);
        let mut playing = JoinSet::new();
        for cut in script.cuts() {
            let script = script.clone();
            playing.spawn(async move { script.play_at(address, cut).await });
        }
        while !playing.is_empty() {
            finished(playing.join_next().await);
        }
        stop(server).await;
    }
}

async fn perform(step: &Step, client: &mut Client, context: &str) {
    match step {
        Step::Send(octets) => client.send(octets).await,
        Step::Expect(frames) => client.expect(frames, context).await,
        Step::ExpectMethod(channel, ids) => {
            let frame = client.frame().await.unwrap_or_default();
            let expected = [&channel.to_be_bytes()[..], &ids.0.to_be_bytes(), &ids.1.to_be_bytes()].concat();
            let found = [frame.get(1..3).unwrap_or(&[]), frame.get(7..11).unwrap_or(&[])].concat();
            assert_eq!(found, expected, "{context}: received {}", crate::client::show(&frame));
        }
        Step::End => client.expect_end(context).await,
        Step::Client(_) => {}
    }
}

/// Passes the failure of a played script on.
fn finished(result: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}
