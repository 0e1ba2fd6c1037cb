//! A store on disk whose rows are damaged as the input says. Whatever is damaged is set aside and named; everything
//! else is there, and the store goes on working.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use leveret::broker::{Running, Start};
use leveret::clock::{Clock, NEVER};
use leveret::config::Config;
use leveret::message::{Draft, Facts, Message, address};
use leveret::store::lmdb::probe::{Rows, TABLES, reseal};
use leveret::store::lmdb::{LmdbEngine, LmdbOptions};
use leveret::store::{
    Batch, Commit, Count, Define, DropRange, Engine, Put, QueueBatch, QueueId, Recovered, Seq, Settle,
};

use crate::choices::Choices;
use crate::conversation;

/// The queue whose rows no input touches: it must come back whole.
const BYSTANDER: QueueId = QueueId(9);

/// Its messages.
const BYSTANDERS: u64 = 150;

/// Positions of messages so large that the store keeps them once for all queues that have them: the first of queues 1 and
/// 3, the others of queue 1 and the bystander.
const SHARED: [std::ops::RangeInclusive<Seq>; 2] = [38..=40, 148..=150];

/// Ids that the bodies of the bystander's get.
const BYSTANDERS_BODIES: std::ops::RangeInclusive<u64> = 4..=6;

/// A budget that splits pages, in octets.
const BUDGET: usize = 700;

/// Numbers above this are not believed, since none could be given out after them.
const HIGHEST: u64 = 1 << 61;

struct Base {
    engine: Arc<LmdbEngine>,
    tables: Vec<Rows>,
    _dir: tempfile::TempDir,
}

thread_local! {
    /// One environment for all inputs, filled anew for each.
    static BASE: OnceCell<Base> = const { OnceCell::new() };
}

/// Damages a store, then reads, changes and sweeps it, and sometimes starts a broker on it.
pub(crate) fn damage(input: &[u8]) {
    BASE.with(|base| {
        let base = base.get_or_init(Base::new);
        let mut choices = Choices(input);
        let with_broker = choices.octet().is_multiple_of(16);
        let (tables, harm) = harmed(&base.tables, &mut choices);
        base.engine.replace(&tables).expect("rows as LMDB takes them");
        let Some(recovered) = recover(&base.engine, &harm) else { return };
        read_all(&base.engine, &recovered, &harm);
        go_on(&base.engine, &recovered, &harm);
        if with_broker {
            base.engine.replace(&tables).expect("rows as LMDB takes them");
            serve(&base.engine);
        }
    });
}

/// What was done to the rows.
#[derive(Default)]
struct Harm {
    /// Rows that are not as written carry a right checksum all the same.
    sealed: bool,
    /// Something other than messages is damaged.
    meta: bool,
}

fn body(queue: u64, seq: Seq) -> Vec<u8> {
    if SHARED.iter().any(|range| range.contains(&seq)) {
        return format!("shared:{seq}:").bytes().cycle().take(5_000).collect();
    }
    format!("{queue}:{seq}:").bytes().cycle().take(20 + usize::try_from(seq % 50).expect("small")).collect()
}

fn message(queue: u64, seq: Seq) -> Message {
    let (address, body) = (address(b"x", b"key").expect("short"), body(queue, seq));
    let mut draft = Draft::new(&address, &[0x10, 0, 2], body.len() as u64, Facts::default());
    assert!(draft.try_extend(&body));
    draft.finish().expect("a message")
}

fn put(queue: u64, lane: u8, seq: Seq) -> Put {
    let expires_at = if seq.is_multiple_of(7) { 1 << 50 } else { NEVER };
    Put { seq, lane, expires_at, message: message(queue, seq) }
}

fn settle(queue: u64, lane: u8, seq: Seq) -> Settle {
    Settle { seq, lane, body_len: u32::try_from(body(queue, seq).len()).expect("short"), counted: true }
}

impl Base {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let engine =
            LmdbEngine::open(dir.path(), LmdbOptions { map_size: 64 << 20, sync: false, ..LmdbOptions::default() })
                .expect("a new store");
        engine.recover().expect("a new store");
        for batch in history() {
            assert!(matches!(engine.commit(&batch), Commit::Done));
        }
        let tables = engine.tables().expect("readable");
        Self { engine: Arc::new(engine), tables, _dir: dir }
    }
}

/// What the store held before the damage: lanes, gaps, counts, marks, and removals under way.
fn history() -> Vec<Batch> {
    let record = |kind: u8, rest: &[u8], value: &str| Define::Put {
        key: [&[kind, 0, 0, 0, 1], rest].concat(),
        value: value.as_bytes().to_vec(),
    };
    let queue = |id: u64, name: &str, arguments: &str| {
        let value = format!(r#"{{"id":{id},"name":"{name}","arguments":{{{arguments}}}}}"#);
        record(3, &id.to_be_bytes(), &value)
    };
    let definitions = vec![
        record(1, &[], r#"{"id":1,"name":"/"}"#),
        queue(1, "q", ""),
        queue(2, "r", r#""x-max-priority":{"I":9}"#),
        queue(9, "bystander", ""),
        Define::NextQueueId(100),
    ];
    let work = |queue: u64| QueueBatch::new(QueueId(queue));
    let kept = |queue: u64, lane: u8, positions: std::ops::RangeInclusive<u64>| QueueBatch {
        puts: positions.map(|seq| put(queue, lane, seq)).collect(),
        ..work(queue)
    };
    let counts = [3u64, 64, 70].map(|seq| Count { seq, lane: 0, failures: 1, acquired: 2 }).to_vec();
    let lanes = [(0u8, 1u64), (3, 2), (9, 3), (0, 4), (255, 5), (0, 6)];
    let of_lanes = QueueBatch { puts: lanes.map(|(lane, seq)| put(2, lane, seq)).to_vec(), ..work(2) };
    let mut first = [kept(1, 0, 1..=200), of_lanes, kept(3, 0, 1..=40), kept(9, 0, 1..=BYSTANDERS)];
    let one = first[0].puts.clone();
    for (with, positions) in [2, 3].into_iter().zip(SHARED) {
        for put in first[with].puts.iter_mut().filter(|put| positions.contains(&put.seq)) {
            put.message = one[usize::try_from(put.seq).expect("small") - 1].message.clone();
        }
    }
    let settles = [1u64, 2, 90, 150].map(|seq| settle(1, 0, seq)).to_vec();
    let drops = vec![DropRange { lane: 0, from: 10, until: 30 }];
    let second = [QueueBatch { settles, counts, ..work(1) }, QueueBatch { drops, ..work(3) }];
    let marks = [QueueBatch { redelivered: vec![5, 6], ..work(1) }, QueueBatch { redelivered: vec![7], ..work(9) }];
    let batch = |queues: Vec<QueueBatch>| Batch { queues, ..Batch::default() };
    vec![
        Batch { definitions, ..batch(first.to_vec()) },
        batch(second.to_vec()),
        Batch { clean_shutdown: true, ..batch(marks.to_vec()) },
    ]
}

fn is_bystander(table: &str, key: &[u8]) -> bool {
    let of_its_bodies = table == "bodies" && BYSTANDERS_BODIES.map(u64::to_be_bytes).any(|id| key == id);
    let of_a_queue = matches!(table, "index" | "blocks" | "marks" | "holes" | "counts");
    of_its_bodies || of_a_queue && key.starts_with(&BYSTANDER.0.to_be_bytes())
}

/// Changes, removes and adds rows.
fn harmed(tables: &[Rows], choices: &mut Choices<'_>) -> (Vec<Rows>, Harm) {
    let (mut tables, mut harm) = (tables.to_vec(), Harm::default());
    for _ in 0..=choices.octet() % 6 {
        // Most of the harm is done where most is to be found.
        let at = [2, 2, 2, 3, 3, 3, 4, 5, 5, 6, 6, 0, 1][choices.number() % 13];
        harm_row(at, &mut tables[at], choices, &mut harm);
    }
    // And of what is shared, as long as the input goes on.
    for _ in 0..choices.octet() % 4 {
        let at = [7, 8, 8][choices.number() % 3];
        harm_row(at, &mut tables[at], choices, &mut harm);
    }
    (tables, harm)
}

/// Changes, removes or adds a row of the table at `at`.
fn harm_row(at: usize, rows: &mut Rows, choices: &mut Choices<'_>, harm: &mut Harm) {
    let name = TABLES[at];
    harm.meta |= name == "meta" || name == "definitions";
    let place = choices.number();
    let choice = choices.octet();
    if choice.is_multiple_of(8) || rows.is_empty() {
        return add(name, rows, choices);
    }
    let place = place % rows.len();
    let (key, value) = &mut rows[place];
    if is_bystander(name, key) {
        return;
    }
    match choice % 8 {
        1 => drop(rows.remove(place)),
        2 => {
            splice(key, choices);
            if is_bystander(name, key) {
                drop(rows.remove(place));
            }
        }
        how => {
            splice(value, choices);
            if how < 5 {
                reseal(key, value);
                harm.sealed = true;
            }
        }
    }
}

/// Replaces, inserts or removes a few octets.
fn splice(octets: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let at = choices.number() % (octets.len() + 1);
    let upto = (at + choices.number() % 9).min(octets.len());
    let count = choices.number() % 9;
    octets.splice(at..upto, choices.take(count).iter().copied());
}

/// A row of the input's own, with a key that looks like one of the table's.
fn add(name: &str, rows: &mut Rows, choices: &mut Choices<'_>) {
    let queue = u64::from(choices.octet() % 12);
    let mut key = queue.to_be_bytes().to_vec();
    if !choices.octet().is_multiple_of(4) {
        key.push(choices.octet());
        key.extend_from_slice(&(choices.u64() >> (choices.octet() % 64)).to_be_bytes());
    }
    let mut value = choices.short().to_vec();
    if name == "holes" && choices.octet().is_multiple_of(2) {
        value.insert(0, 1);
    } else {
        reseal(&key, &mut value);
    }
    if !is_bystander(name, &key) {
        rows.push((key, value));
    }
}

/// Opens the store as a start does.
fn recover(engine: &LmdbEngine, harm: &Harm) -> Option<Recovered> {
    let recovered = match engine.recover() {
        Ok(recovered) => recovered,
        Err(problem) => {
            assert!(harm.meta, "only what stands for the whole store stops a start: {problem}");
            return None;
        }
    };
    assert!((1..=HIGHEST + 1).contains(&recovered.next_queue_id));
    for (id, queue) in &recovered.queues {
        assert!(id.0 < recovered.next_queue_id, "an id would be given out again");
        assert!((1..=HIGHEST + 1024).contains(&queue.next_seq), "no position is left");
        for lane in &queue.lanes {
            assert!(lane.count > 0 && lane.first <= lane.last && lane.last < queue.next_seq);
        }
    }
    let whole = &recovered.queues[&BYSTANDER];
    let [lane] = &whole.lanes[..] else { panic!("the bystander has one lane") };
    assert_eq!((lane.count, lane.first, lane.last), (BYSTANDERS, 1, BYSTANDERS));
    assert_eq!(whole.next_seq, BYSTANDERS + 1);
    Some(recovered)
}

/// What a lane holds, page by page.
fn pages(engine: &LmdbEngine, queue: QueueId, lane: u8, harm: &Harm) -> (Vec<(Seq, Message)>, u64) {
    let (mut found, mut damaged, mut from) = (Vec::new(), 0, Some(0));
    while let Some(start) = from {
        let page = engine.read(queue, lane, start, Seq::MAX, BUDGET).expect("a page");
        damaged += page.damaged;
        from = page.next;
        assert!(from.is_none_or(|next| next > start && !page.messages.is_empty()), "reading goes on");
        found.extend(page.messages.into_iter().map(|stored| (stored.seq, stored.message)));
    }
    let in_order = found.windows(2).all(|pair| pair[0].0 < pair[1].0);
    assert!(in_order || (harm.sealed && queue != BYSTANDER), "in order, each once");
    (found, damaged)
}

/// Everything recovered is there as it was written, or counted as damaged.
fn read_all(engine: &LmdbEngine, recovered: &Recovered, harm: &Harm) {
    for (id, queue) in &recovered.queues {
        for lane in &queue.lanes {
            let stretches = engine.stretches(*id, lane.lane).expect("stretches");
            let (found, damaged) = pages(engine, *id, lane.lane, harm);
            assert_eq!(stretches.iter().map(|stretch| stretch.count).sum::<u64>(), lane.count);
            // A forged row may claim positions of others.
            let honest = !harm.sealed || *id == BYSTANDER;
            let all = found.len() as u64 + damaged;
            assert!(!honest || all == lane.count, "queue {}, lane {}: {all}, not {}", id.0, lane.lane, lane.count);
            for (seq, message) in found {
                if honest {
                    assert!((lane.first..=lane.last).contains(&seq));
                    let as_sent = (message.body(), message.routing_key()) == (&body(id.0, seq)[..], b"key");
                    assert!(as_sent, "message {seq} of queue {}: {message:.300?}", id.0);
                }
            }
        }
    }
}

/// Work goes on upon what was found: messages come and go, ranges are purged, a queue is dropped.
fn go_on(engine: &LmdbEngine, recovered: &Recovered, harm: &Harm) {
    let mut new: BTreeMap<QueueId, Seq> = BTreeMap::new();
    let fanned = message(0, *SHARED[0].start());
    let mut queues = Vec::new();
    for (id, queue) in &recovered.queues {
        let mut work = QueueBatch::new(*id);
        let one_for_all = Put { message: fanned.clone(), ..put(id.0, 0, queue.next_seq.saturating_add(1)) };
        work.puts = vec![put(id.0, 0, queue.next_seq), one_for_all];
        work.counts = vec![Count { seq: queue.next_seq, lane: 0, failures: 1, acquired: 1 }];
        new.insert(*id, queue.next_seq);
        if let Some(lane) = queue.lanes.first().filter(|_| *id != BYSTANDER) {
            work.settles = vec![settle(id.0, lane.lane, lane.first), settle(id.0, lane.lane, lane.last)];
            work.drops =
                vec![DropRange { lane: lane.lane, from: lane.first / 2, until: lane.first.saturating_add(70) }];
            if work.drops[0].until > queue.next_seq {
                work.drops[0].until = queue.next_seq;
            }
        }
        queues.push(work);
    }
    let dropped = Define::DropQueue { queue: QueueId(2) };
    let batch = Batch { epoch: 1, definitions: vec![dropped], queues, ..Batch::default() };
    let answer = engine.commit(&batch);
    assert!(matches!(answer, Commit::Done), "{answer:?}");
    let mut sweeps = 0;
    while engine.sweep().expect("a sweep") {
        sweeps += 1;
        assert!(sweeps < 1_000, "sweeping comes to its end");
    }
    let Some(again) = recover_again(engine, harm) else { return };
    let dropped = again.queues.get(&QueueId(2));
    assert!(dropped.is_none_or(|queue| queue.lanes.is_empty()), "a dropped queue is gone");
    for (id, seq) in new.into_iter().filter(|(id, _)| *id != QueueId(2)) {
        let (found, _) = pages(engine, id, 0, harm);
        let is_there = found.iter().any(|(at, message)| *at == seq && message.body() == body(id.0, seq));
        assert!(is_there, "message {seq} of queue {} was committed", id.0);
        let is_there = found.iter().any(|(at, message)| *at == seq + 1 && message.body() == fanned.body());
        assert!(is_there, "what went to all queues was committed, in queue {} too", id.0);
    }
    alone(engine, recovered, harm);
}

/// When all others are gone, the bystander still has everything, also what it shared with them.
fn alone(engine: &LmdbEngine, recovered: &Recovered, harm: &Harm) {
    let others = recovered.queues.keys().filter(|id| **id != BYSTANDER);
    let definitions = others.map(|queue| Define::DropQueue { queue: *queue }).collect();
    let answer = engine.commit(&Batch { epoch: 2, definitions, ..Batch::default() });
    assert!(matches!(answer, Commit::Done), "{answer:?}");
    while engine.sweep().expect("a sweep") {}
    let (found, damaged) = pages(engine, BYSTANDER, 0, harm);
    assert_eq!((found.len() as u64, damaged), (BYSTANDERS + 2, 0));
}

fn recover_again(engine: &LmdbEngine, harm: &Harm) -> Option<Recovered> {
    match engine.recover() {
        Ok(recovered) => Some(recovered),
        Err(problem) => {
            assert!(harm.meta, "{problem}");
            None
        }
    }
}

/// A broker starts on it, serves a client and stops in order, or says what it cannot read.
fn serve(engine: &Arc<LmdbEngine>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let start =
            Start { config: Arc::new(Config::default()), clock: Clock::system(), engine: engine.clone(), spill: None };
        let running = match Running::start(start) {
            Ok(running) => running,
            Err(problem) => return assert!(!problem.to_string().is_empty()),
        };
        let heard = conversation::hear(&running, conversation::errand(), 4096).await;
        assert!(!heard.is_empty());
        running.stop().await.expect("the broker stops in order");
    });
}
