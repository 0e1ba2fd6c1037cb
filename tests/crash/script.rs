//! A client that works by itself and notes when it asked for what, and when it was answered.
//!
//! Times are those of the shim's log, so that it is known of every moment in it what had been promised by then.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::FieldTable;
use parking_lot::Mutex;

use crate::client::{Client, int, none, persistent, table};
use crate::disk::index;
use crate::settings::Random;
use crate::shim::now;

/// Number of a message, and first word of its body.
pub(crate) type Id = u64;

/// A message in one of the queues it was sent to.
pub(crate) type Copy = (Id, String);

/// A message of its client's.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// When the confirm or commit-ok arrived.
    pub(crate) promised: Option<u64>,
    /// When its removal was asked for.
    pub(crate) removed: Option<u64>,
    /// Messages of one transaction have the same number here.
    pub(crate) transaction: Option<u64>,
}

/// A queue of its client's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    /// When declare-ok arrived.
    pub(crate) declared: Option<u64>,
    /// When its deletion was asked for, and answered.
    pub(crate) doomed: Option<u64>,
    pub(crate) deleted: Option<u64>,
}

/// What a client knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub(crate) messages: BTreeMap<Copy, Sent>,
    pub(crate) queues: BTreeMap<String, Life>,
    transactions: u64,
}

/// Shared with the task that works, since a client library may never answer again once its broker is gone.
pub(crate) type Book = Arc<Mutex<Notes>>;

/// What is in a broker or its store: queues, and the ids and number of copies of the messages in each.
pub(crate) type Found = BTreeMap<String, BTreeMap<Id, usize>>;

/// The body of a message, by which it can be recognised.
pub(crate) fn body(id: Id) -> Vec<u8> {
    // Most are small; some lie in pages of their own, a few in many.
    let len = match id % 50 {
        7 => 5_000,
        23 => 60_000,
        n => n * 11,
    };
    let mut random = Random::new(id);
    let mut out = format!("{id} ").into_bytes();
    out.extend((0..len).map(|_| b'a' + u8::try_from(random.below(26)).unwrap()));
    out
}

/// The id of a body; an error if it is not as it was sent.
pub(crate) fn recognise(found: &[u8]) -> Result<Id, String> {
    let word = found.split(|octet| *octet == b' ').next().unwrap_or_default();
    let id = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
    let id = id.ok_or_else(|| "a message that nobody sent".to_owned())?;
    if body(id) == found { Ok(id) } else { Err(format!("message {id} is not as it was sent")) }
}

impl Notes {
    /// Compares what a crash at `cut` left with what had been promised by then; `Err` says what is wrong.
    pub(crate) fn audit(&self, cut: u64, found: &Found) -> Result<(), String> {
        self.audit_between(cut, cut, found)
    }

    /// The same for contents of some moment between `since` and `until`.
    pub(crate) fn audit_between(&self, since: u64, until: u64, found: &Found) -> Result<(), String> {
        let before = |time: Option<u64>| time.is_some_and(|time| time < since);
        let maybe_before = |time: Option<u64>| time.is_some_and(|time| time < until);
        let mut wrong = Vec::new();
        for (name, life) in &self.queues {
            let exists = found.contains_key(name);
            if before(life.declared) && !maybe_before(life.doomed) && !exists {
                wrong.push(format!("queue {name} was declared and is missing"));
            }
            if before(life.deleted) && exists {
                wrong.push(format!("queue {name} was deleted and is there"));
            }
        }
        wrong.extend(found.keys().filter(|name| !self.queues.contains_key(*name)).map(|name| format!("queue {name}?")));
        let mut transactions: BTreeMap<u64, Vec<bool>> = BTreeMap::new();
        for ((id, name), sent) in &self.messages {
            let copies = found.get(name).and_then(|queue| queue.get(id)).copied().unwrap_or(0);
            if copies > 1 {
                wrong.push(format!("message {id} is in {name} {copies} times"));
            }
            if maybe_before(sent.removed) {
                continue;
            }
            if before(sent.promised) && copies == 0 {
                wrong.push(format!("message {id} in {name} was confirmed and is missing"));
            }
            if let Some(transaction) = sent.transaction {
                transactions.entry(transaction).or_default().push(copies > 0);
            }
        }
        let torn = transactions.iter().filter(|(_, there)| there.contains(&true) && there.contains(&false));
        wrong.extend(torn.map(|(number, _)| format!("transaction {number} is there in part")));
        for (name, queue) in found {
            let strangers = queue.keys().filter(|id| !self.messages.contains_key(&(**id, name.clone())));
            wrong.extend(strangers.map(|id| format!("message {id} in {name} was not sent to it")));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }
}

/// Octets of a body that the store keeps once for all queues it goes to.
const LARGE: usize = 4096;

const QUEUES: [&str; 3] = ["one", "two", "ranked"];

struct Script {
    client: Client,
    transactional: lapin::Channel,
    book: Book,
    random: Random,
    next: Id,
}

/// Works for some rounds; ends early, with the error, when the broker does. Ids start at `first`.
pub(crate) async fn work(
    address: SocketAddr,
    book: Book,
    seed: u64,
    first: Id,
    rounds: u64,
) -> Result<(), lapin::Error> {
    let client = Client::try_connect(address).await?;
    let transactional = client.connection.create_channel().await?;
    transactional.tx_select().await?;
    let mut script = Script { client, transactional, book, random: Random::new(seed), next: first };
    for queue in QUEUES {
        let arguments = if queue == "ranked" { table([("x-max-priority", int(3))]) } else { none() };
        script.declare(queue, arguments).await?;
        let (exchange, options) = ("amq.fanout".into(), QueueBindOptions::default());
        script.client.channel.queue_bind(queue.into(), exchange, "".into(), options, none()).await?;
    }
    for round in 0..rounds {
        match script.random.below(13) {
            0..6 => script.publish().await?,
            6..9 => script.take().await?,
            9 => script.commit().await?,
            10 => script.come_and_go(round).await?,
            11 => script.fan_out().await?,
            _ if round % 4 == 3 => script.purge().await?,
            _ => script.publish().await?,
        }
    }
    Ok(())
}

impl Script {
    fn send(&mut self, queues: &[&str], transaction: Option<u64>) -> Id {
        let id = self.next;
        self.next += 1;
        let mut book = self.book.lock();
        for queue in queues {
            let sent = Sent { promised: None, removed: None, transaction };
            book.messages.insert((id, (*queue).to_owned()), sent);
        }
        id
    }

    fn promised(&self, ids: &[Id]) {
        let at = now();
        for ((id, _), sent) in &mut self.book.lock().messages {
            if ids.contains(id) {
                sent.promised = Some(at);
            }
        }
    }

    /// Before the removal of everything that may match is asked for.
    fn removing(&self, is_meant: impl Fn(Id, &str) -> bool) {
        let at = now();
        for ((id, queue), sent) in &mut self.book.lock().messages {
            if sent.removed.is_none() && is_meant(*id, queue) {
                sent.removed = Some(at);
            }
        }
    }

    async fn declare(&self, queue: &str, arguments: FieldTable) -> Result<(), lapin::Error> {
        self.book.lock().queues.entry(queue.to_owned()).or_default();
        let options = QueueDeclareOptions::durable();
        self.client.channel.queue_declare(queue.into(), options, arguments).await?;
        self.book.lock().queues.get_mut(queue).unwrap().declared.get_or_insert(now());
        Ok(())
    }

    /// Some messages to one queue, confirmed.
    async fn publish(&mut self) -> Result<(), lapin::Error> {
        let queue = QUEUES[index(&mut self.random, QUEUES.len())];
        let mut confirms = Vec::new();
        for _ in 0..=self.random.below(12) {
            let id = self.send(&[queue], None);
            let priority = u8::try_from(self.random.below(4)).unwrap();
            let how = persistent().with_priority(priority);
            let options = BasicPublishOptions::default();
            let sent = self.client.channel.basic_publish("".into(), queue.into(), options, &body(id), how).await?;
            confirms.push((id, sent));
        }
        for (id, confirm) in confirms {
            if confirm.await?.is_ack() {
                self.promised(&[id]);
            }
        }
        Ok(())
    }

    /// A large message to every queue, confirmed.
    async fn fan_out(&mut self) -> Result<(), lapin::Error> {
        while body(self.next).len() < LARGE {
            self.next += 1;
        }
        let id = self.send(&QUEUES, None);
        let (options, body) = (BasicPublishOptions::default(), body(id));
        let sent = self.client.channel.basic_publish("amq.fanout".into(), "".into(), options, &body, persistent());
        if sent.await?.await?.is_ack() {
            self.promised(&[id]);
        }
        Ok(())
    }

    /// Gets some messages and acknowledges them.
    async fn take(&mut self) -> Result<(), lapin::Error> {
        let queue = QUEUES[index(&mut self.random, QUEUES.len())];
        for _ in 0..=self.random.below(10) {
            let options = BasicGetOptions::default();
            let Some(got) = self.client.channel.basic_get(queue.into(), options).await? else { break };
            let id = recognise(&got.delivery.data).expect("a message as it was sent");
            self.removing(|other, of| other == id && of == queue);
            got.delivery.ack(BasicAckOptions::default()).await?;
        }
        Ok(())
    }

    /// Messages to two queues in one transaction.
    async fn commit(&mut self) -> Result<(), lapin::Error> {
        let transaction = {
            let mut book = self.book.lock();
            book.transactions += 1;
            book.transactions
        };
        let mut ids = Vec::new();
        for queue in ["one", "two", "one"] {
            let id = self.send(&[queue], Some(transaction));
            let options = BasicPublishOptions::default();
            let body = body(id);
            self.transactional.basic_publish("".into(), queue.into(), options, &body, persistent()).await?;
            ids.push(id);
        }
        self.transactional.tx_commit().await?;
        self.promised(&ids);
        Ok(())
    }

    async fn purge(&mut self) -> Result<(), lapin::Error> {
        self.removing(|_, queue| queue == "two");
        self.client.channel.queue_purge("two".into(), QueuePurgeOptions::default()).await?;
        Ok(())
    }

    /// A queue is declared, bound, filled, and sometimes deleted.
    async fn come_and_go(&mut self, round: u64) -> Result<(), lapin::Error> {
        let name = format!("guest-{}-{round}", self.next);
        self.declare(&name, none()).await?;
        let (queue, options) = (name.as_str(), QueueBindOptions::default());
        self.client.channel.queue_bind(queue.into(), "amq.topic".into(), queue.into(), options, none()).await?;
        let id = self.send(&[queue], None);
        let (options, body) = (BasicPublishOptions::default(), body(id));
        let sent = self.client.channel.basic_publish("amq.topic".into(), queue.into(), options, &body, persistent());
        if sent.await?.await?.is_ack() {
            self.promised(&[id]);
        }
        if self.random.below(3) > 0 {
            self.removing(|_, queue| queue == name);
            self.book.lock().queues.get_mut(&name).unwrap().doomed = Some(now());
            self.client.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
            self.book.lock().queues.get_mut(&name).unwrap().deleted = Some(now());
        }
        Ok(())
    }
}
