//! Messages as octets on the wire, built once and sent again and again.
//!
//! Pure. Invariants: what [`Batch::take`] gives is whole messages, one after the other; stamps and random keys are written
//! over octets that are there for them. Deliberately absent: sending, counting, time.

use std::ops::Range;

use amq_protocol::protocol::{AMQPClass, basic};

use super::connection::CHANNEL;
use crate::wire::encode;
use crate::wire::frame::FRAME_OVERHEAD;

/// One write carries about so many octets: with more, the publisher's buffer leaves the processor's cache, with fewer,
/// calls to the system cost more than messages.
const WRITE: usize = 32 * 1024;
/// One write carries at most so many messages.
const MESSAGES: usize = 256;
/// Octets of a timestamp at the beginning of a body.
pub(super) const STAMP: usize = 8;
/// Characters of a random routing key.
const KEY: usize = 32;

/// What messages look like.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) exchange: String,
    /// `None` is another random key for each.
    pub(super) routing_key: Option<String>,
    pub(super) persistent: bool,
    pub(super) mandatory: bool,
    /// Bodies begin with a timestamp, and are long enough for it.
    pub(super) stamped: bool,
    /// The largest frame, as agreed with the broker; 0 is without limit.
    pub(super) frame_max: u32,
}

/// Where in the octets one message ends, and what can be written over.
#[derive(Clone, Copy, Debug)]
struct Place {
    end: usize,
    body: usize,
}

/// A ring of messages.
#[derive(Debug)]
pub(super) struct Batch {
    octets: Vec<u8>,
    places: Vec<Place>,
    /// The next message.
    at: usize,
    keyed: bool,
    stamped: bool,
    random: u64,
}

impl Batch {
    /// Messages of these sizes, which take turns.
    pub(super) fn new(shape: &Shape, sizes: &[usize], seed: u64) -> Self {
        let key = shape.routing_key.clone().unwrap_or_else(|| "0".repeat(KEY));
        let publish = basic::Publish {
            exchange: shape.exchange.as_str().into(),
            routing_key: key.as_str().into(),
            mandatory: shape.mandatory,
            immediate: false,
        };
        let mut method = Vec::new();
        encode::method(&mut method, CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Publish(publish)));
        // Flags of delivery-mode and its value, or no flags.
        let properties: &[u8] = if shape.persistent { &[0x10, 0, 2] } else { &[0, 0] };
        let (mut octets, mut places) = (Vec::new(), Vec::new());
        while places.is_empty() || (octets.len() < WRITE && places.len() + sizes.len() <= MESSAGES) {
            for size in sizes {
                let size = if shape.stamped { (*size).max(STAMP) } else { *size };
                octets.extend_from_slice(&method);
                encode::content_header(&mut octets, CHANNEL, size as u64, properties);
                let body = octets.len() + FRAME_OVERHEAD - 1;
                encode::body(&mut octets, CHANNEL, &vec![b'x'; size], shape.frame_max);
                places.push(Place { end: octets.len(), body });
            }
        }
        let keyed = shape.routing_key.is_none();
        Self { octets, places, at: 0, keyed, stamped: shape.stamped, random: seed | 1 }
    }

    /// How many messages can be taken before the ring begins anew; at least one.
    pub(super) fn available(&self) -> usize {
        self.places.len() - self.at
    }

    /// Prepares the next `n` messages, at most those [`available`](Self::available), and says where their octets are.
    /// `stamp` is asked for the time of each, in order, whether it is written into the body or not.
    pub(super) fn take(&mut self, n: usize, mut stamp: impl FnMut() -> u64) -> Range<usize> {
        let begin = self.begin(self.at);
        for index in self.at..self.at + n {
            let place = self.places[index];
            let at = stamp();
            if self.stamped {
                self.octets[place.body..place.body + STAMP].copy_from_slice(&at.to_be_bytes());
            }
            if self.keyed {
                self.renew_key(index);
            }
        }
        self.at += n;
        let end = self.begin(self.at);
        if self.at == self.places.len() {
            self.at = 0;
        }
        begin..end
    }

    /// The octets of a range that [`take`](Self::take) gave.
    pub(super) fn octets(&self, range: Range<usize>) -> &[u8] {
        &self.octets[range]
    }

    fn begin(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.places[index - 1].end }
    }

    /// Writes another key over that of a message. It stands at the end of the method, before the octet of bits and the
    /// end of the frame.
    fn renew_key(&mut self, index: usize) {
        let begin = self.begin(index);
        let size = u32::from_be_bytes([
            self.octets[begin + 3],
            self.octets[begin + 4],
            self.octets[begin + 5],
            self.octets[begin + 6],
        ]) as usize;
        let end = begin + 7 + size - 1;
        for half in [end - KEY, end - KEY / 2] {
            // Xorshift: keys have to differ, nothing more.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let digits = format!("{:016x}", self.random);
            self.octets[half..half + KEY / 2].copy_from_slice(digits.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{self, FrameKind};
    use crate::wire::method::{self, Method};

    fn shape() -> Shape {
        Shape {
            exchange: "ex".to_owned(),
            routing_key: Some("key".to_owned()),
            persistent: true,
            mandatory: false,
            stamped: false,
            frame_max: 4096,
        }
    }

    /// Routing key and body of each message.
    fn messages(mut octets: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut out: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut left = 0;
        while let Some((frame, used)) = frame::decode(octets, 4096 - 8).unwrap() {
            match frame.kind {
                FrameKind::Method => {
                    assert_eq!(left, 0, "the body before is whole");
                    let Ok(Method::Publish(publish)) = method::decode(frame.payload) else { panic!("not a publish") };
                    assert_eq!(publish.exchange, b"ex");
                    out.push((publish.routing_key.to_vec(), Vec::new()));
                }
                FrameKind::Header => {
                    let header = method::decode_header(frame.payload).unwrap();
                    assert_eq!(header.properties, [0x10, 0, 2]);
                    left = usize::try_from(header.body_size).unwrap();
                }
                FrameKind::Body => {
                    left -= frame.payload.len();
                    out.last_mut().unwrap().1.extend_from_slice(frame.payload);
                }
                FrameKind::Heartbeat => panic!("no heartbeats"),
            }
            octets = &octets[used..];
        }
        assert!(octets.is_empty() && left == 0);
        out
    }

    #[test]
    fn large_bodies_are_split_and_empty_ones_have_no_frame() {
        let sizes = [0, 1, 4088, 4089, 100_000];
        let mut batch = Batch::new(&shape(), &sizes, 1);
        let all = batch.available();
        assert_eq!(all % sizes.len(), 0);
        let range = batch.take(all, || 0);
        let sent = messages(batch.octets(range));
        assert_eq!(sent.iter().map(|(_, body)| body.len()).take(5).collect::<Vec<_>>(), sizes);
        assert!(sent.iter().all(|(key, _)| key == b"key"));
        assert_eq!(batch.available(), all, "the ring begins anew");
    }

    #[test]
    fn pieces_of_the_ring_are_whole_messages() {
        let mut batch = Batch::new(&shape(), &[16], 1);
        let all = batch.available();
        assert!(all <= MESSAGES && all > 100, "{all}");
        let mut seen = 0;
        while seen < 3 * all {
            let n = batch.available().min(7);
            let range = batch.take(n, || 0);
            assert_eq!(messages(batch.octets(range)).len(), n);
            seen += n;
        }
    }

    #[test]
    fn bodies_are_stamped_and_padded_to_hold_it() {
        let mut batch = Batch::new(&Shape { stamped: true, ..shape() }, &[0, 20], 1);
        let mut now = 100;
        let range = batch.take(4, || {
            now += 1;
            now
        });
        let sent = messages(batch.octets(range));
        let stamps: Vec<u64> = sent.iter().map(|(_, body)| u64::from_be_bytes(body[..8].try_into().unwrap())).collect();
        assert_eq!(stamps, [101, 102, 103, 104]);
        assert_eq!(sent.iter().map(|(_, body)| body.len()).collect::<Vec<_>>(), [8, 20, 8, 20]);
    }

    #[test]
    fn random_keys_differ() {
        let mut batch = Batch::new(&Shape { routing_key: None, ..shape() }, &[16], 1);
        let mut keys = Vec::new();
        for _ in 0..2 {
            let range = batch.take(batch.available(), || 0);
            keys.extend(messages(batch.octets(range)).into_iter().map(|(key, _)| key));
        }
        assert!(keys.iter().all(|key| key.len() == KEY && key.iter().all(u8::is_ascii_hexdigit)));
        let n = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), n);
    }
}
