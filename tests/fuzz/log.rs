//! The redo log: octets as a broken disk could leave them, and batches that must come back.

use leveret::store::redo::probe::{decode, encode, scan};
use leveret::store::{Batch, Count, Define, DropRange, Put, QueueBatch, QueueId, Settle};

use leveret::message::{Draft, Facts, Message, address};

use crate::choices::Choices;

/// Records begin at multiples of this.
const PAGE: usize = 4096;

const GENERATION: u64 = 7;

/// The input as a log, as a payload, and as choices of batches that are written and then harmed.
pub(crate) fn replay(input: &[u8]) {
    let _ = scan(input, GENERATION);
    if let Some(batch) = decode(input) {
        let again = encode(&batch, GENERATION, 0, usize::MAX).expect("what has a form has it again");
        assert_eq!(format!("{:?}", scan(&again, GENERATION).0), format!("{:?}", [batch]));
    }
    let mut choices = Choices(input);
    let batches: Vec<Batch> = (0..=choices.octet() % 4).map(|_| batch(&mut choices)).collect();
    let mut log = Vec::new();
    for (index, batch) in (0..).zip(&batches) {
        log.extend(encode(batch, GENERATION, index, usize::MAX).expect("a batch of moderate size"));
        log.resize(log.len().next_multiple_of(PAGE), 0);
    }
    let (found, damage) = scan(&log, GENERATION);
    assert_eq!((format!("{found:?}"), damage), (format!("{batches:?}"), 0));
    for _ in 0..choices.octet() % 4 {
        let at = (choices.u64() % log.len() as u64) as usize;
        log[at] ^= choices.octet();
    }
    let (left, _) = scan(&log, GENERATION);
    let known: Vec<String> = batches.iter().map(|batch| format!("{batch:?}")).collect();
    assert!(left.iter().all(|batch| known.contains(&format!("{batch:?}"))), "a batch that nobody wrote");
}

fn message(choices: &mut Choices<'_>) -> Message {
    let address = address(b"orders", choices.short()).expect("short names");
    let body = choices.short();
    let mut draft = Draft::new(&address, &[0, 0], body.len() as u64, Facts::default());
    assert!(draft.try_extend(body));
    draft.finish().expect("a whole message")
}

fn batch(choices: &mut Choices<'_>) -> Batch {
    let mut batch = Batch { epoch: choices.u64(), ..Batch::default() };
    for _ in 0..choices.octet() % 4 {
        let key = [b"k", choices.short()].concat();
        batch.definitions.push(match choices.octet() % 4 {
            0 => Define::Put { key, value: choices.short().to_vec() },
            1 => Define::Delete { key },
            2 => Define::DropQueue { queue: QueueId(choices.u64() >> 8) },
            _ => Define::NextQueueId(choices.u64() >> 8),
        });
    }
    for _ in 0..choices.octet() % 4 {
        let mut work = QueueBatch::new(QueueId(choices.u64() >> 8));
        for seq in 1..=u64::from(choices.octet() % 4) {
            let (lane, expires_at) = (choices.octet(), choices.u64());
            work.puts.push(Put { seq, lane, expires_at, message: message(choices) });
        }
        for _ in 0..choices.octet() % 4 {
            let (seq, lane, body_len) = (choices.u64() >> 8, choices.octet(), u32::from(choices.octet()));
            work.settles.push(Settle { seq, lane, body_len, counted: lane & 1 != 0 });
            work.counts.push(Count { seq, lane, failures: body_len, acquired: body_len });
            work.drops.push(DropRange { lane, from: seq, until: choices.u64() });
        }
        batch.queues.push(work);
    }
    batch
}
