//! Messages that carry a number, so that they are recognised wherever they turn up.

use leveret::message::{Draft, Facts, Message, address};

/// Octets of a body that carry the number.
pub(crate) const ID_LEN: usize = 8;

/// A message with this number; `size` is the length of its body in octets, at least [`ID_LEN`].
pub(crate) fn numbered(id: u64, size: u64, facts: Facts) -> Message {
    let mut body = id.to_be_bytes().to_vec();
    body.resize(usize::try_from(size).expect("a small size").max(ID_LEN), b'.');
    let mut draft = Draft::new(&address(b"", b"q").expect("short"), &[0, 0], body.len() as u64, facts);
    assert!(draft.try_extend(&body));
    draft.finish().expect("complete")
}

/// A persistent message of the smallest size.
pub(crate) fn persistent(id: u64) -> Message {
    numbered(id, 8, Facts { persistent: true, ..Facts::default() })
}

/// The number.
pub(crate) fn id(message: &Message) -> u64 {
    message.body().first_chunk::<ID_LEN>().map_or(0, |octets| u64::from_be_bytes(*octets))
}
