//! A store looked at without a broker: is it whole, and what is in it?

use std::path::Path;

use leveret::broker;
use leveret::config::Config;
use leveret::store::lmdb::{LmdbEngine, LmdbOptions, examine};
use leveret::store::redo::Redo;
use leveret::store::{Batch, Commit, Define, Engine, QueueId, Recovered, StoreError};

use crate::script::{Found, recognise};

/// First octet of the keys of queues' definitions.
const QUEUE: u8 = 3;

/// Octets read at a time.
const BUDGET: usize = 1 << 20;

/// What `leveret check` finds; no store at all is fine.
pub(crate) fn findings(directory: &Path) -> Result<(), String> {
    let mut report = match examine(directory) {
        Err(StoreError::Missing(_)) => return Ok(()),
        report => report.map_err(|error| format!("cannot be checked: {error}"))?,
    };
    broker::check(&mut report, Config::default().profile());
    if report.findings.is_empty() { Ok(()) } else { Err(report.findings.join("\n")) }
}

/// Opens a store as a broker would, without waiting for the disk.
fn open(directory: &Path) -> Result<Redo<LmdbEngine>, String> {
    let options = LmdbOptions { sync: false, ..LmdbOptions::default() };
    loop {
        match LmdbEngine::open(directory, options).and_then(|engine| Redo::open(engine, directory, true)) {
            // A process that another test is starting has this one's files, and so its locks, until it has begun.
            Err(StoreError::Locked(_)) => std::thread::yield_now(),
            opened => return opened.map_err(|error| format!("does not open: {error}")),
        }
    }
}

/// All queues of a store and their messages.
fn contents(engine: &dyn Engine, recovered: &Recovered) -> Result<Found, String> {
    let mut found = Found::new();
    for (key, value) in recovered.definitions.iter().filter(|(key, _)| key.first() == Some(&QUEUE)) {
        let record: serde_json::Value = serde_json::from_slice(value).map_err(|e| format!("{key:02x?}: {e}"))?;
        let (name, id) = (record["name"].as_str().unwrap(), record["id"].as_u64().unwrap());
        let messages = found.entry(name.to_owned()).or_default();
        for lane in recovered.queues.get(&QueueId(id)).map_or(&[][..], |queue| &queue.lanes) {
            let mut from = Some(0);
            while let Some(first) = from {
                let page = engine.read(QueueId(id), lane.lane, first, u64::MAX, BUDGET);
                let page = page.map_err(|error| format!("cannot be read: {error}"))?;
                if page.damaged > 0 {
                    return Err(format!("{} messages of {name} are damaged", page.damaged));
                }
                for stored in &page.messages {
                    *messages.entry(recognise(stored.message.body())?).or_default() += 1;
                }
                from = page.next;
            }
        }
    }
    Ok(found)
}

/// Opens a store, reads everything, and writes to it as the next run of a broker would.
pub(crate) fn reopen(directory: &Path) -> Result<Found, String> {
    let engine = open(directory)?;
    let recovered = engine.recover().map_err(|error| format!("cannot be recovered: {error}"))?;
    if !recovered.damage.is_empty() {
        return Err(recovered.damage.join("\n"));
    }
    let found = contents(&engine, &recovered)?;
    while engine.sweep().map_err(|error| format!("cannot be swept: {error}"))? {}
    let definitions = vec![Define::NextQueueId(recovered.next_queue_id + 1)];
    match engine.commit(&Batch { epoch: 1, definitions, ..Batch::default() }) {
        Commit::Done => Ok(found),
        other => Err(format!("cannot be written to: {other:?}")),
    }
}
