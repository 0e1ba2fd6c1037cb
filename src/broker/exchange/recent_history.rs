//! Exchange type `x-recent-history`: a fanout that keeps its latest messages and gives them to whatever is newly bound.
//!
//! As in the plugin the history is kept in memory and gone after a restart, and `x-recent-history-no-store` (a true
//! boolean header) keeps a message out of it. Unlike there it is bounded in octets as well as in number.

use std::collections::VecDeque;

use super::fanout::Fanout;
use crate::message::Message;
use crate::sync::{Mutex, Rank};
use crate::wire::table::{RawTable, Table, Value};

/// Messages kept unless `x-recent-history-length` says otherwise (the plugin's default).
const LENGTH: usize = 20;

/// Most octets of messages kept by one exchange; the latest message is kept whatever its size.
const MAX_OCTETS: usize = 64 * 1024 * 1024;

#[derive(Debug)]
pub(in crate::broker) struct RecentHistory {
    pub(super) bindings: Fanout,
    length: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    messages: VecDeque<Message>,
    octets: usize,
}

/// The length asked for, or what RabbitMQ says of it.
fn length(arguments: &Table) -> Result<usize, String> {
    let Some(value) = arguments.get("x-recent-history-length") else { return Ok(LENGTH) };
    let signed = matches!(value, Value::I8(_) | Value::I16(_) | Value::I32(_) | Value::I64(_));
    let length = value.as_int().filter(|n| signed && *n > 0).and_then(|n| usize::try_from(n).ok());
    length.ok_or_else(|| {
        let shown = match (value.as_str(), value.as_int(), value.as_bool()) {
            (Some(text), ..) => format!("<<\"{text}\">>"),
            (_, Some(n), _) => n.to_string(),
            (.., Some(truth)) => truth.to_string(),
            _ => value.type_name().to_owned(),
        };
        format!("Invalid argument {shown}, 'x-recent-history-length' must be a positive integer")
    })
}

/// Refuses what RabbitMQ refuses of the exchange's arguments.
pub(super) fn check_arguments(arguments: &Table) -> Result<(), String> {
    length(arguments).map(|_| ())
}

impl RecentHistory {
    pub(super) fn new(arguments: &Table) -> Self {
        let length = length(arguments).unwrap_or(LENGTH);
        Self { bindings: Fanout::default(), length, kept: Mutex::new(Rank::Leaf, Kept::default()) }
    }

    /// Keeps a message, unless it asks not to be kept.
    pub(super) fn record(&self, message: &Message, headers: Option<RawTable<'_>>) {
        if headers.and_then(|h| h.get("x-recent-history-no-store")).and_then(|v| v.as_bool()) == Some(true) {
            return;
        }
        let mut forgotten = Vec::new();
        let mut kept = self.kept.lock();
        kept.octets += message.record().len();
        kept.messages.push_back(message.clone());
        while kept.messages.len() > self.length || (kept.octets > MAX_OCTETS && kept.messages.len() > 1) {
            let Some(oldest) = kept.messages.pop_front() else { break };
            kept.octets -= oldest.record().len();
            forgotten.push(oldest);
        }
        drop(kept);
    }

    /// What is kept, oldest first.
    pub(super) fn messages(&self) -> Vec<Message> {
        self.kept.lock().messages.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Draft, Facts, address};

    fn message(octets: usize) -> Message {
        let mut draft = Draft::new(&address(b"x", b"").unwrap(), &[0, 0], octets as u64, Facts::default());
        assert!(draft.try_extend(&vec![0; octets]));
        draft.finish().unwrap()
    }

    #[test]
    fn number_and_octets_are_bounded() {
        let history = RecentHistory::new(&Table::default());
        for octets in 0..50 {
            history.record(&message(octets), None);
        }
        let lengths: Vec<u32> = history.messages().iter().map(Message::body_len).collect();
        assert_eq!(lengths, (30..50).collect::<Vec<_>>());
        for _ in 0..3 {
            history.record(&message(MAX_OCTETS / 2), None);
        }
        assert_eq!(history.messages().len(), 1, "two halves and their envelopes are more than the whole");
        history.record(&message(MAX_OCTETS + 1), None);
        assert_eq!(history.messages().len(), 1, "the latest is kept in any case");
        history.record(&message(1), None);
        assert_eq!(history.messages().iter().map(Message::body_len).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn lengths_are_checked_in_rabbitmqs_words() {
        let check = |value: Value| {
            let mut arguments = Table::new();
            arguments.insert("x-recent-history-length", value);
            check_arguments(&arguments)
        };
        let refused = |shown: &str| {
            Err(format!("Invalid argument {shown}, 'x-recent-history-length' must be a positive integer"))
        };
        assert_eq!(check(Value::I64(3)), Ok(()));
        assert_eq!(check(Value::I32(0)), refused("0"));
        assert_eq!(check(Value::I32(-1)), refused("-1"));
        assert_eq!(check(Value::from("ten")), refused("<<\"ten\">>"));
    }
}
