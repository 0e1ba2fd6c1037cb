//! Definitions that come and go: queues, exchanges and bindings, purges and deletions of queues with messages in them.
//!
//! One client does one thing at a time, so it knows what must be there; only what was under way at a crash is unsure.
//! Whether a binding is there is asked by a mandatory publish, which is returned if it is not.

use std::net::SocketAddr;
use std::sync::Arc;

use lapin::options::{
    BasicPublishOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::{Confirmation, ExchangeKind};
use parking_lot::Mutex;

use crate::client::{Client, none, persistent};
use crate::ledger::Violation;
use crate::settings::Random;

const QUEUES: usize = 5;
const EXCHANGES: usize = 3;

/// What is known of a definition; `None` is unsure.
type Known = Option<bool>;

/// What is known of all of them.
#[derive(Clone, Debug)]
pub(crate) struct Definitions {
    queues: [Known; QUEUES],
    /// Messages in each queue; `None` is unsure.
    counts: [Option<u32>; QUEUES],
    exchanges: [Known; EXCHANGES],
    bindings: [[Known; QUEUES]; EXCHANGES],
    /// Answers in all.
    pub(crate) answers: u64,
    pub(crate) wrong: Vec<Violation>,
    /// The latest steps, for the report of a violation.
    steps: Vec<String>,
}

pub(crate) type Register = Arc<Mutex<Definitions>>;

fn queue(n: usize) -> String {
    format!("defined-{n}")
}

fn exchange(n: usize) -> String {
    format!("definer-{n}")
}

impl Default for Definitions {
    fn default() -> Self {
        Self {
            queues: [Some(false); QUEUES],
            counts: [Some(0); QUEUES],
            exchanges: [Some(false); EXCHANGES],
            bindings: [[Some(false); QUEUES]; EXCHANGES],
            answers: 0,
            wrong: Vec::new(),
            steps: Vec::new(),
        }
    }
}

impl Definitions {
    fn step(&mut self, what: String) {
        if self.steps.len() >= 40 {
            self.steps.remove(0);
        }
        self.steps.push(what);
    }

    fn violated(&mut self, invariant: &'static str, what: &str) {
        let what = format!("{what}; steps:\n      {}", self.steps.join("\n      "));
        self.wrong.push(Violation::new(invariant, what));
    }

    fn set_bindings_of_queue(&mut self, q: usize, known: Known) {
        for bindings in self.bindings.iter_mut().filter(|bindings| bindings[q] != Some(false)) {
            bindings[q] = known;
        }
    }

    fn set_bindings_of_exchange(&mut self, x: usize, known: Known) {
        self.bindings[x].iter_mut().filter(|binding| **binding != Some(false)).for_each(|binding| *binding = known);
    }
}

/// Defines things at random until the connection ends.
pub(crate) async fn define(address: SocketAddr, mut random: Random, known: Register) -> lapin::Result<()> {
    let client = Client::try_connect(address).await?;
    loop {
        let q = usize::try_from(random.below(QUEUES as u64)).unwrap();
        let x = usize::try_from(random.below(EXCHANGES as u64)).unwrap();
        let (is_queue, is_exchange, is_bound) = {
            let known = known.lock();
            (known.queues[q] == Some(true), known.exchanges[x] == Some(true), known.bindings[x][q] == Some(true))
        };
        match random.below(12) {
            0..2 if !is_queue => declare_queue(&client, q, &known).await?,
            0 => delete_queue(&client, q, &known).await?,
            1 => purge(&client, q, &known).await?,
            2..4 if !is_exchange => declare_exchange(&client, x, &known).await?,
            2 if random.percent(40) => delete_exchange(&client, x, &known).await?,
            4..8 if is_queue && is_exchange && !is_bound => bind(&client, x, q, &known).await?,
            4..6 if is_bound => unbind(&client, x, q, &known).await?,
            _ if is_exchange => probe(&client, x, q, &known).await?,
            _ => continue,
        }
        known.lock().answers += 1;
    }
}

async fn declare_queue(client: &Client, q: usize, known: &Register) -> lapin::Result<()> {
    {
        let mut known = known.lock();
        (known.queues[q], known.counts[q]) = (None, Some(0));
        known.step(format!("declare {}", queue(q)));
    }
    let answer = client.channel.queue_declare(queue(q).into(), QueueDeclareOptions::durable(), none()).await?;
    let mut known = known.lock();
    known.queues[q] = Some(true);
    if answer.message_count() != 0 {
        known.violated("I7", &format!("{} is new and has {} messages", queue(q), answer.message_count()));
    }
    Ok(())
}

async fn delete_queue(client: &Client, q: usize, known: &Register) -> lapin::Result<()> {
    {
        let mut known = known.lock();
        known.queues[q] = None;
        known.set_bindings_of_queue(q, None);
        known.step(format!("delete {}", queue(q)));
    }
    client.channel.queue_delete(queue(q).into(), QueueDeleteOptions::default()).await?;
    let mut known = known.lock();
    known.queues[q] = Some(false);
    known.set_bindings_of_queue(q, Some(false));
    Ok(())
}

async fn purge(client: &Client, q: usize, known: &Register) -> lapin::Result<()> {
    let before = {
        let mut known = known.lock();
        known.step(format!("purge {}", queue(q)));
        std::mem::take(&mut known.counts[q])
    };
    let purged = client.channel.queue_purge(queue(q).into(), QueuePurgeOptions::default()).await?;
    let mut known = known.lock();
    known.counts[q] = Some(0);
    if before.is_some_and(|before| before != purged) {
        known.violated("I8", &format!("{}: {purged} were purged of {before:?}", queue(q)));
    }
    Ok(())
}

async fn declare_exchange(client: &Client, x: usize, known: &Register) -> lapin::Result<()> {
    {
        let mut known = known.lock();
        known.exchanges[x] = None;
        known.step(format!("declare {}", exchange(x)));
    }
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    client.channel.exchange_declare(exchange(x).into(), ExchangeKind::Direct, options, none()).await?;
    known.lock().exchanges[x] = Some(true);
    Ok(())
}

async fn delete_exchange(client: &Client, x: usize, known: &Register) -> lapin::Result<()> {
    {
        let mut known = known.lock();
        known.exchanges[x] = None;
        known.set_bindings_of_exchange(x, None);
        known.step(format!("delete {}", exchange(x)));
    }
    client.channel.exchange_delete(exchange(x).into(), ExchangeDeleteOptions::default()).await?;
    let mut known = known.lock();
    known.exchanges[x] = Some(false);
    known.set_bindings_of_exchange(x, Some(false));
    Ok(())
}

async fn bind(client: &Client, x: usize, q: usize, known: &Register) -> lapin::Result<()> {
    {
        let mut known = known.lock();
        known.bindings[x][q] = None;
        known.step(format!("bind {} to {}", queue(q), exchange(x)));
    }
    let (from, key) = (exchange(x).into(), queue(q).into());
    client.channel.queue_bind(queue(q).into(), from, key, QueueBindOptions::default(), none()).await?;
    known.lock().bindings[x][q] = Some(true);
    Ok(())
}

async fn unbind(client: &Client, x: usize, q: usize, known: &Register) -> lapin::Result<()> {
    {
        let mut known = known.lock();
        known.bindings[x][q] = None;
        known.step(format!("unbind {} from {}", queue(q), exchange(x)));
    }
    client.channel.queue_unbind(queue(q).into(), exchange(x).into(), queue(q).into(), none()).await?;
    known.lock().bindings[x][q] = Some(false);
    Ok(())
}

/// Publishes along a binding that is there or not; the broker must know which.
async fn probe(client: &Client, x: usize, q: usize, known: &Register) -> lapin::Result<()> {
    let (count, bound) = {
        let mut known = known.lock();
        known.step(format!("publish to {} for {}", exchange(x), queue(q)));
        (std::mem::take(&mut known.counts[q]), known.bindings[x][q])
    };
    let routed = is_routed(client, x, q).await?;
    let mut known = known.lock();
    known.counts[q] = count.map(|count| count + u32::from(routed));
    match bound {
        Some(true) if !routed => known.violated("I7", "a message to a queue that is bound was returned"),
        Some(false) if routed => known.violated("I11", "a message to nobody was confirmed without being returned"),
        _ => {}
    }
    Ok(())
}

async fn is_routed(client: &Client, x: usize, q: usize) -> lapin::Result<bool> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (to, key) = (exchange(x).into(), queue(q).into());
    let sent = client.channel.basic_publish(to, key, options, b"defined", persistent()).await?;
    match sent.await? {
        // The return must have come before the confirm to be in it.
        Confirmation::Ack(returned) => Ok(returned.is_none()),
        other => panic!("{other:?}"),
    }
}

/// Compares with what a restarted broker has, and knows everything again.
pub(crate) async fn compare(client: &Client, known: &Register) -> Vec<Violation> {
    let mut now = known.lock().clone();
    now.step("compare".to_owned());
    for q in 0..QUEUES {
        let exists = client.queue_exists(&queue(q)).await;
        if now.queues[q].is_some_and(|known| known != exists) {
            now.violated("I7", &format!("{}: {:?}, and exists: {exists}", queue(q), now.queues[q]));
        }
        now.queues[q] = Some(exists);
        let count = if exists { client.ready(&queue(q)).await } else { 0 };
        if exists && now.counts[q].is_some_and(|known| known != count) {
            now.violated("I8", &format!("{}: {:?} messages, and has {count}", queue(q), now.counts[q]));
        }
        now.counts[q] = Some(count);
    }
    for x in 0..EXCHANGES {
        let exists = client.exchange_exists(&exchange(x)).await;
        if now.exchanges[x].is_some_and(|known| known != exists) {
            now.violated("I7", &format!("{}: {:?}, and exists: {exists}", exchange(x), now.exchanges[x]));
        }
        now.exchanges[x] = Some(exists);
        for q in 0..QUEUES {
            let routed = exists && is_routed(client, x, q).await.unwrap();
            if now.bindings[x][q].is_some_and(|known| known != routed) {
                let was = now.bindings[x][q];
                now.violated("I7", &format!("{} to {}: {was:?}, and bound: {routed}", queue(q), exchange(x)));
            }
            now.bindings[x][q] = Some(routed);
            now.counts[q] = now.counts[q].map(|count| count + u32::from(routed));
        }
    }
    let wrong = std::mem::take(&mut now.wrong);
    *known.lock() = now;
    wrong
}
