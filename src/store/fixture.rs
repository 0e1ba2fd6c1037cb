//! Messages for the tests of the store.

use super::{Put, Seq};
use crate::clock::NEVER;
use crate::message::{Draft, Facts, Message, address};

/// A message with this body.
pub(super) fn message(body: &[u8]) -> Message {
    let address = address(b"ex", b"key").unwrap();
    let mut draft = Draft::new(&address, &[0x10, 0, 2], body.len() as u64, Facts::default());
    assert!(draft.try_extend(body));
    draft.finish().unwrap()
}

/// A message to be kept that never expires.
pub(super) fn put(seq: Seq, lane: u8, body: &[u8]) -> Put {
    Put { seq, lane, expires_at: NEVER, message: message(body) }
}
